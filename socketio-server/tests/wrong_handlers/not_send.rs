//~ future cannot be sent between threads safely
//~ has type `Rc<std::string::String>` which is not `Send`
use std::rc::Rc;

use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.on("wait", async |socket: Socket| {
        let names = Rc::new(String::from("ana"));
        pause().await;
        let _ = socket.emit("name", names.as_str());
    });
}

async fn pause() {
    std::future::ready(()).await
}
