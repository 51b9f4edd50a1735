//~ an event handler cannot take `Vec<u8>`
//~ required for `(Socket, Vec<u8>, socketio_server::Ack)` to implement `FromEventArgs`
use socketio_server::{Ack, Server, Socket};

pub fn application(io: &Server) {
    io.on("upload", async |_: Socket, _file: Vec<u8>, _: Ack| {});
}
