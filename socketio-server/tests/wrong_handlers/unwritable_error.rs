//~ an event handler cannot return `Result<u32, Refusal>`
//~ the error of a `Result` is an `std::error::Error`, a `Box<dyn Error + Send + Sync>`, or implements `Serialize`
use socketio_server::{Data, Server};

pub struct Refusal;

pub fn application(io: &Server) {
    io.on("score", async |Data(points): Data<u32>| if points > 3 { Err(Refusal) } else { Ok(points) });
}
