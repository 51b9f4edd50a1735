//~ is not an event handler
//~ it returns `()`, what implements `serde::Serialize`, or a `Result` of that
use socketio_server::{Data, Server};

pub struct Score(pub u32);

pub fn application(io: &Server) {
    io.on("score", async |Data(points): Data<u32>| Score(points));
}
