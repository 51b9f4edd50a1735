//~ Event`, found `()`
use socketio_server::{Event, Server, Socket};

pub fn application(io: &Server) {
    io.use_packet(async |_: Socket, _: Event| Ok(()));
}
