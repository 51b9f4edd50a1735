use socketio_server::{Ack, ConnectError, Data, DisconnectReason, Event, Server, Socket, State};

pub fn application(io: &Server) {
    io.on("all", async |_: Socket, Data((a, b)): Data<(i64, i64)>, _: Ack, _: State<String>, _: Event| a + b);
    io.on("result", async |Data(text): Data<String>| -> Result<usize, std::num::ParseIntError> { text.parse() });
    io.on("named", named);
    io.middleware(async |_: Socket| Err(ConnectError::new("no")));
    io.on_disconnect(async |_: Socket, _: DisconnectReason| {});
}

async fn named(socket: Socket) {
    socket.join("room");
}
