//! What a client of mode `clients` can send to others, and do with the sockets of a room.

use socketio_server::{Broadcast, Data, EmitError, Event, Namespace, Server, Socket, Value};

use crate::events::{event_in, room_names};
use crate::values::{arguments, sorted};

/// Registers these events.
pub(crate) fn rooms(io: &Server, namespace: &Namespace) {
    namespace.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
        room_names(&socket)
    });
    namespace.on("leave", async |socket: Socket, Data(room): Data<String>| {
        socket.leave(room);
        room_names(&socket)
    });
    sends(io, namespace);
    orders(namespace);
}

/// Each event names whom it is for in its first `skip` arguments; behind them stands what is sent.
fn sends(io: &Server, namespace: &Namespace) {
    let send = |event: &str, skip: usize, target: fn(&Server, &Socket, &[Value]) -> Broadcast| {
        let io = io.clone();
        namespace.on(event, async move |socket: Socket, event: Event| -> Result<(), EmitError> {
            if let Some((name, args)) = event_in(&event, skip)? {
                drop(target(&io, &socket, &arguments(&event)).emit(&name, args)?);
            }
            Ok(())
        });
    };
    send("to-room", 1, |_, socket, args| socket.to(names(&args[0])));
    send("in-room", 1, |_, socket, args| socket.namespace().to(names(&args[0])));
    send("in-room-uncompressed", 1, |_, socket, args| socket.namespace().to(names(&args[0])).compress(false));
    send("to-rooms", 1, |_, socket, args| socket.namespace().to(names(&args[0])));
    send("room-except", 2, |_, socket, args| socket.namespace().to(names(&args[0])).except(names(&args[1])));
    send("broadcast", 0, |_, socket, _| socket.broadcast());
    send("to-all", 0, |_, socket, _| socket.namespace().everyone());
    send("to-namespace", 1, |io, _, args| io.of(args[0].as_str().unwrap_or_default()).everyone());
}

/// A room, or the rooms of a list.
fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

fn orders(namespace: &Namespace) {
    let nsp = namespace.clone();
    namespace.on("sockets-in", async move |Data(room): Data<String>| {
        let found = nsp.to(room).fetch_sockets().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(sorted(found.iter().map(|socket| socket.id().to_owned())))
    });
    let nsp = namespace.clone();
    namespace.on("data-of", async move |Data(id): Data<String>| {
        let found = nsp.to(id).fetch_sockets().await?;
        let data = found.first().and_then(|socket| socket.data::<Value>().ok());
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(data)
    });
    let nsp = namespace.clone();
    namespace.on("sockets-join", async move |Data((room, more)): Data<(String, String)>| {
        nsp.to(room).sockets_join(more).map(|_| "ok")
    });
    let nsp = namespace.clone();
    namespace.on("sockets-leave", async move |Data((room, less)): Data<(String, String)>| {
        nsp.to(room).sockets_leave(less).map(|_| "ok")
    });
    let nsp = namespace.clone();
    namespace.on("kick-room", async move |Data((room, close)): Data<(String, Option<bool>)>| {
        nsp.to(room).disconnect_sockets(close.unwrap_or(false)).map(drop)
    });
}
