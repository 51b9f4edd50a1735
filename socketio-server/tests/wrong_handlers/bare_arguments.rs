//~ is not an event handler
//~ the arguments of the event come in `Data`: `Data(text): Data<String>`, not `text: String`
use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.on("chat message", async |socket: Socket, text: String| {
        let _ = socket.broadcast().emit("chat message", text);
    });
}
