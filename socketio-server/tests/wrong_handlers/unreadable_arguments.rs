//~ Deserialize
//~ is not implemented for `Point`
//~ required for `Data<Point>` to implement `FromEvent`
use socketio_server::{Data, Server};

pub struct Point {
    pub x: f64,
}

pub fn application(io: &Server) {
    io.on("move", async |Data(point): Data<Point>| point.x);
}
