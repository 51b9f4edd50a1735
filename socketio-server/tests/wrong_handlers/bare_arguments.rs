//~ an event handler cannot take `std::string::String`
//~ wrap the type of the arguments in `Data`: `Data(message): Data<String>`
use socketio_server::{Server, Socket};

pub fn application(io: &Server) {
    io.on("chat message", async |socket: Socket, text: String| {
        let _ = socket.broadcast().emit("chat message", text);
    });
}
