//~ a handler of other servers' events cannot take `Socket`
//~ there is no socket
use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.on_server_event("news", async |socket: Socket| socket.join("room"));
}
