//~ an event handler cannot take `&Socket`
//~ it can take, by value, `Socket`
use socketio_server::{Server, Socket};

async fn join(socket: &Socket) {
    socket.join("room");
}

pub fn application(io: &Server) {
    io.on("join", join);
}
