//~ is not an event handler
//~ by value, each with its type written down
use socketio_server::{Server, Socket};

async fn join(socket: &Socket) {
    socket.join("room");
}

pub fn application(io: &Server) {
    io.on("join", join);
}
