//~ is not an event handler
//~ it takes six at most of `Socket`, `Data<T>`, `Ack`, `State<T>` and `Event`
use socketio_server::{Ack, Data, Event, Server, Socket, State};

pub fn application(io: &Server) {
    io.on("all", async |_: Socket, _: Data<u8>, _: Ack, _: State<u8>, _: State<u16>, _: State<u32>, _: Event| {});
}
