//~ the trait `Clone` is not implemented for `std::sync::Mutex<i32>`
use std::sync::Mutex;

use socketio_server::Server;

pub fn application(io: &Server) {
    let counted = Mutex::new(0);
    io.on("count", async move || *counted.lock().unwrap() += 1);
}
