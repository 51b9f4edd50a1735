//~ an event handler is async, and this returns `()`
//~ write `async |..| { .. }`, or an `async fn`
use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.on("join", |socket: Socket| socket.join("room"));
}
