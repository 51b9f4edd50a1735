//~ is not an event handler
//~ a handler is an async closure or function: `async |socket: Socket, Data(text): Data<String>| { .. }`
use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.on("join", |socket: Socket| socket.join("room"));
}
