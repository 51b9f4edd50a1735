//~ Serialize
//~ is not implemented for `Score`
//~ required for `Score` to implement `Reply<Plain>`
use socketio_server::{Data, Server};

pub struct Score(pub u32);

pub fn application(io: &Server) {
    io.on("score", async |Data(points): Data<u32>| Score(points));
}
