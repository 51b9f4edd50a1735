//~ ConnectError
use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.middleware(async |_: Socket| -> Result<(), String> { Err("no".into()) });
}
