//~ is not an event handler
//~ whose error is an `std::error::Error` or implements `Serialize`
use socketio_server::{Data, Server};

pub struct Refusal;

pub fn application(io: &Server) {
    io.on("score", async |Data(points): Data<u32>| if points > 3 { Err(Refusal) } else { Ok(points) });
}
