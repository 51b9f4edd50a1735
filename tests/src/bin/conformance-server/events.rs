//! What a client of mode `clients` can ask of its socket: answers, gifts, questions, endings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use socketio_server::engine::Version;
use socketio_server::{Ack, AckError, Acks, Args, Bytes, Data, EmitError, Event, Namespace, Server, Socket, Value};

use crate::protocol::echo;
use crate::rooms::rooms;
use crate::values::{arguments, bytes, described, object, sorted, texts, type_of};

/// How the sockets of this process ended, over all its servers.
#[derive(Clone, Default)]
pub(crate) struct Ended(Arc<Mutex<HashMap<String, End>>>);

struct End {
    reason: &'static str,
    rooms: Vec<String>,
    after: Vec<String>,
    nsp: String,
}

impl Ended {
    fn describe(&self, id: &str) -> Value {
        let ended = self.0.lock().expect("nothing panics under it");
        ended.get(id).filter(|end| !end.reason.is_empty()).map_or(Value::Null, |end| {
            object([
                ("reason", Value::from(end.reason)),
                ("rooms", texts(&end.rooms)),
                ("after", texts(&end.after)),
                ("nsp", Value::from(end.nsp.as_str())),
            ])
        })
    }

    fn watch(&self, namespace: &Namespace) {
        let ended = self.clone();
        namespace.on_disconnecting(async move |socket: Socket, _| {
            let end = End {
                reason: "",
                rooms: room_names(&socket),
                after: Vec::new(),
                nsp: socket.namespace().name().to_string(),
            };
            ended.0.lock().expect("nothing panics under it").insert(socket.id().to_string(), end);
        });
        let ended = self.clone();
        namespace.on_disconnect(async move |socket: Socket, reason| {
            if let Some(end) = ended.0.lock().expect("nothing panics under it").get_mut(&**socket.id()) {
                (end.reason, end.after) = (reason.as_str(), room_names(&socket));
            }
        });
    }
}

/// The rooms of a socket, sorted.
pub(crate) fn room_names(socket: &Socket) -> Vec<String> {
    sorted(socket.rooms().iter().map(ToString::to_string))
}

/// All events of `/` and `/custom`.
pub(crate) fn everything(io: &Server, namespace: &Namespace, ended: &Ended) {
    echo(namespace);
    ended.watch(namespace);
    answers(namespace, ended);
    gifts(namespace);
    questions(namespace);
    rooms(io, namespace);
    endings(namespace);
    namespace.use_packet(async |socket, event| {
        if event.name() != "forbidden" {
            return Ok(event);
        }
        let refusal = "event not allowed";
        let _ = socket.emit("packet-error", refusal);
        Err(refusal.into())
    });
    namespace.on("forbidden", async |socket: Socket| socket.emit("forbidden-ran", ()).map(drop));
}

fn answers(namespace: &Namespace, ended: &Ended) {
    namespace.on("whoami", async |socket: Socket| whoami(&socket));
    let ended = ended.clone();
    namespace.on("reason-of", async move |Data(id): Data<String>| ended.describe(&id));
    namespace.on("describe", async |event: Event, ack: Ack| {
        let described: Vec<_> = arguments(&event).into_iter().map(described).collect();
        ack.send(Args::from_values(&described)?)
    });
    namespace.on("types", async |event: Event| texts(arguments(&event).iter().map(type_of)));
    namespace.on("ack-nothing", async |ack: Ack| ack.send(()));
    namespace.on("ack-twice", async |ack: Ack| {
        ack.send(1)?;
        ack.send(2)
    });
    namespace.on("ack-late", async |Data(ms): Data<u64>| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        "late"
    });
    namespace.on("set-data", async |socket: Socket, Data(value): Data<Value>| {
        socket.set_data(value);
        "ok"
    });
}

fn whoami(socket: &Socket) -> serde_json::Value {
    let handshake = socket.handshake();
    let query: serde_json::Map<_, _> =
        handshake.request().query_pairs().into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({
        "id": socket.id(),
        "nsp": socket.namespace().name(),
        "rooms": room_names(socket),
        "transport": socket.transport().as_str(),
        "eio": if socket.protocol() == Version::V3 { 3 } else { 4 },
        "recovered": socket.recovered(),
        "query": query,
        "auth": handshake.auth::<serde_json::Value>().unwrap_or_default(),
        "header": handshake.header("x-custom"),
        "url": handshake.request().path(),
        "secure": handshake.secure(),
    })
}

fn gifts(namespace: &Namespace) {
    namespace.on("give-binary", async |socket: Socket, Data(n): Data<usize>| socket.emit("binary", bytes(n)).map(drop));
    namespace.on("give-nested", async |socket: Socket| {
        let deep = object([("deep", Value::Binary(bytes(5)))]);
        let list = Value::Array(vec![Value::Binary(bytes(1)), Value::from("text"), deep]);
        let nested = object([("a", Value::Binary(bytes(3))), ("list", list), ("n", Value::Null)]);
        socket.emit("nested", (nested, bytes(0), "end")).map(drop)
    });
    namespace
        .on("give-text", async |socket: Socket, Data(n): Data<usize>| socket.emit("text", "é".repeat(n)).map(drop));
    namespace.on("no-args", async |socket: Socket| socket.emit("no-args", ()).map(drop));
    namespace.on("burst", async |socket: Socket, Data(n): Data<usize>| {
        (0..n).try_for_each(|i| socket.emit("burst", i).map(drop))
    });
    namespace.on("burst-mixed", async |socket: Socket, Data(n): Data<usize>| {
        (0..n).try_for_each(|i| {
            let odd: Option<Bytes> = (i % 2 == 1).then(|| bytes(i));
            socket.emit("burst-mixed", (i, odd)).map(drop)
        })
    });
    namespace.on("volatile", async |socket: Socket, event: Event| -> Result<(), EmitError> {
        if let Some((name, args)) = event_in(&event, 0)? {
            drop(socket.volatile().emit(&name, args)?);
        }
        Ok(())
    });
    namespace.on("volatile-then", async |socket: Socket, Data((first, second)): Data<(String, String)>| {
        drop(socket.volatile().emit(&first, ())?);
        socket.emit(&second, ()).map(drop)
    });
}

/// The event whose name stands behind the first `skip` arguments, with what follows as its arguments.
pub(crate) fn event_in(event: &Event, skip: usize) -> Result<Option<(String, Args)>, EmitError> {
    let values = arguments(event);
    let Some((Value::String(name), args)) = values.get(skip..).and_then(<[Value]>::split_first) else {
        return Ok(None);
    };
    Ok(Some((name.clone(), Args::from_values(args)?)))
}

fn questions(namespace: &Namespace) {
    namespace.on("ask", async |socket: Socket, event: Event, ack: Ack| -> Result<(), AckError> {
        let answer: Args = socket.emit_with_ack("question", event.args()).await?;
        Ok(ack.send(answer)?)
    });
    namespace.on("ask-timeout", async |socket: Socket, Data(ms): Data<u64>, ack: Ack| {
        let asked = socket.timeout(Duration::from_millis(ms)).emit_with_ack::<Value>("question-timeout", ());
        match asked.await {
            Ok(answer) => ack.send(("answer", answer)),
            Err(_) => ack.send(("timeout", Value::Null)),
        }
    });
    let everyone = namespace.clone();
    namespace.on("ask-room", async move |Data((room, ms, value)): Data<(String, u64, Value)>, ack: Ack| {
        let room = everyone.to(room).timeout(Duration::from_millis(ms));
        let acks: Acks<Value> = room.emit_with_ack("room-question", (value,)).await?;
        let complete = acks.is_complete();
        let mut answers = acks.answers;
        answers.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        ack.send((!complete, answers))
    });
}

fn endings(namespace: &Namespace) {
    namespace.on("disconnect-me", async |socket: Socket, Data(close): Data<Option<bool>>| {
        socket.disconnect(close.unwrap_or(false));
    });
    namespace.on("emit-and-disconnect", async |socket: Socket| {
        drop(socket.emit("last-words", "bye")?);
        socket.disconnect(false);
        Ok::<_, EmitError>(())
    });
    namespace.on("close-transport", async |socket: Socket| socket.conn().close());
}
