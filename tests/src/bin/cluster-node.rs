//! One node of a cluster, driven by its clients: whatever the cluster API offers, on request. For tests with other
//! nodes (of Node.js, too), emitters and faults. Configured by environment: PORT, REDIS_URL, ADAPTER, NODE_NAME,
//! KEY_PREFIX, SUBSCRIPTION_MODE, ADMIN (if set, the Admin UI is served), RECOVERY (if set, clients may be away for a
//! minute), NOT_STICKY (if set, clients of sessions of other nodes are carried to them), QUEUE (how many messages may wait to
//! be sent), BUFFER (how many bytes of messages may wait to be delivered).

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::json;
use socketio_redis_adapter::{QueueLimits, RedisAdapter, SubscriptionMode};
use socketio_server::admin::AdminOptions;
use socketio_server::{
    AckError, Broadcast, BusStatus, Data, Event, Namespace, Recovery, Server, ServerAnswer, Socket, State, Value,
};

/// What every node knows of itself.
struct Node {
    name: String,
    adapter: String,
    recovery: bool,
}

/// The server, for who wants its numbers.
static SERVER: OnceLock<Server> = OnceLock::new();

/// From when until when something may have been missed, in milliseconds.
static GAPS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// A moment for other processes to compare with theirs.
fn unix(moment: Instant) -> u64 {
    let ago = moment.elapsed();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from((now - ago).as_millis()).unwrap_or(u64::MAX)
}

/// The server-side events that a namespace has heard.
type Log = Arc<Mutex<Vec<Vec<Value>>>>;

/// What a client wants done. Which fields an operation reads is its own affair.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Command {
    op: String,
    from_socket: bool,
    to: Option<Vec<String>>,
    except: Vec<String>,
    local: bool,
    volatile: bool,
    compress: Option<bool>,
    rooms: Vec<String>,
    room: String,
    data: Value,
    event: String,
    args: Vec<Value>,
    count: u64,
    size: usize,
    timeout: Option<u64>,
    sid: String,
    action: String,
    close: bool,
    ms: u64,
}

impl Default for Command {
    fn default() -> Self {
        Self {
            op: String::new(),
            from_socket: false,
            to: None,
            except: Vec::new(),
            local: false,
            volatile: false,
            compress: None,
            rooms: Vec::new(),
            room: String::new(),
            data: Value::Null,
            event: String::new(),
            args: Vec::new(),
            count: 0,
            size: 0,
            timeout: None,
            sid: String::new(),
            action: String::new(),
            close: false,
            ms: 0,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    let env = |name: &str| std::env::var(name).ok();
    let adapter = env("ADAPTER").unwrap_or_else(|| "memory".into());
    let name = env("NODE_NAME").unwrap_or_else(|| format!("rust-{}", std::process::id()));
    let recovery = env("RECOVERY").is_some();
    let mut builder = Server::builder().max_http_buffer_size(4 << 20).state(Node {
        name: name.clone(),
        adapter: adapter.clone(),
        recovery,
    });
    if recovery {
        let minute = Recovery::default().max_disconnection_duration(Duration::from_secs(60));
        builder = builder.connection_state_recovery(minute);
    }
    if adapter != "memory" {
        let url = env("REDIS_URL").ok_or("REDIS_URL is not set")?;
        let redis = RedisAdapter::builder(&url).key(env("KEY_PREFIX").unwrap_or_else(|| "socket.io".into()));
        let number = |name| env(name).and_then(|text| text.parse().ok());
        let limits = QueueLimits::default();
        let redis = redis
            .queue(QueueLimits { messages: number("QUEUE").unwrap_or(limits.messages), ..limits })
            .buffer(number("BUFFER").unwrap_or(64 << 20));
        let redis = match adapter.as_str() {
            "classic" => redis,
            "sharded" => redis.sharded(match env("SUBSCRIPTION_MODE").as_deref().unwrap_or("dynamic") {
                "dynamic" => SubscriptionMode::Dynamic,
                "dynamic-private" => SubscriptionMode::DynamicPrivate,
                "static" => SubscriptionMode::Static,
                other => return Err(format!("SUBSCRIPTION_MODE={other} is not offered").into()),
            }),
            "streams" => redis.stream_name(env("KEY_PREFIX").unwrap_or_else(|| "socket.io".into())),
            other => return Err(format!("ADAPTER={other} is not offered").into()),
        };
        let adapter = redis.connect().await?;
        if env("NOT_STICKY").is_some() {
            builder = builder.without_sticky_sessions(adapter.clone());
        }
        builder = builder.adapter(adapter);
    }
    let io = SERVER.get_or_init(|| builder.build()).clone();
    io.on_cluster(|_, status| {
        if let BusStatus::Gap { since, until, .. } = status {
            GAPS.lock().expect("not poisoned").push((unix(*since), unix(*until)));
        }
    });
    if env("ADMIN").is_some() {
        io.instrument(AdminOptions::without_authentication().server_id(&name))?;
        io.of("/admin").ready().await?;
    }
    for namespace in [io.of("/"), io.of("/chat")] {
        serve(&namespace, &name);
        namespace.ready().await?;
    }

    let addr = format!("127.0.0.1:{}", env("PORT").as_deref().unwrap_or("3000"));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = io.listen(addr) => result?,
        _ = terminate.recv() => io.close().await,
    }
    Ok(())
}

fn serve(namespace: &Namespace, name: &str) {
    let log = Log::default();
    let heard = log.clone();
    namespace.on_server_event("sse", async move |event: Event| {
        heard.lock().expect("not poisoned").push(event.args().to_values().unwrap_or_default());
    });
    let node = name.to_owned();
    namespace.on_server_event("sse-ack", async move |event: Event, answer: ServerAnswer| {
        let got = event.args().to_values().unwrap_or_default();
        answer.send(object([("node", Value::from(node.as_str())), ("got", Value::Array(got))]));
    });
    namespace.on_server_event("sse-echo", async |event: Event| {
        event.args().to_values().unwrap_or_default().into_iter().next().unwrap_or(Value::Null)
    });
    namespace.on("echo", async |event: Event, ack: socketio_server::Ack| ack.send(event.args()));
    namespace.on("cmd", async move |socket: Socket, node: State<Node>, Data(command): Data<Command>| {
        match run(&socket, &node, &log, command).await {
            Ok(mut result) => {
                result.insert(0, ("ok".into(), Value::Bool(true)));
                Value::Object(result.into_iter().collect())
            }
            Err(error) => object([("ok", Value::Bool(false)), ("error", Value::from(error.as_str()))]),
        }
    });
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

type Fields = Vec<(String, Value)>;

fn fields<const N: usize>(members: [(&str, Value); N]) -> Fields {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn texts<S: ToString>(texts: impl IntoIterator<Item = S>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::from(text.to_string().as_str())).collect())
}

fn from_json(value: &serde_json::Value) -> Value {
    serde_json::from_value(value.clone()).unwrap_or(Value::Null)
}

fn target(socket: &Socket, command: &Command) -> Broadcast {
    let mut target = if command.from_socket { socket.broadcast() } else { socket.namespace().everyone() };
    for room in command.to.iter().flatten() {
        target = target.to(room);
    }
    if !command.except.is_empty() {
        target = target.except(&command.except);
    }
    if command.local {
        target = target.local();
    }
    if command.volatile {
        target = target.volatile();
    }
    if let Some(compress) = command.compress {
        target = target.compress(compress);
    }
    match command.timeout {
        Some(timeout) => target.timeout(Duration::from_millis(timeout)),
        None => target,
    }
}

/// `values` as the argument list of an event.
fn args(values: &[Value]) -> socketio_server::Args {
    struct List<'a>(&'a [Value]);
    impl serde::Serialize for List<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut list = serializer.serialize_tuple(self.0.len())?;
            self.0.iter().try_for_each(|value| list.serialize_element(value))?;
            list.end()
        }
    }
    socketio_server::Args::new_list(&List(values)).unwrap_or_else(|_| socketio_server::Args::none())
}

async fn run(socket: &Socket, node: &Node, log: &Log, command: Command) -> Result<Fields, String> {
    let namespace = socket.namespace();
    let target = target(socket, &command);
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    match command.op.as_str() {
        "whoami" => Ok(fields([
            ("node", Value::from(node.name.as_str())),
            ("adapter", Value::from(node.adapter.as_str())),
            ("sid", Value::from(&**socket.id())),
            ("nsp", Value::from(&**namespace.name())),
            ("recovery", Value::Bool(node.recovery)),
            ("recovered", Value::Bool(socket.recovered())),
        ])),
        "join" => {
            socket.join(&command.rooms);
            // With dynamic sharding the room has a channel of its own, which Redis has to know before others send there.
            namespace.ready().await.map_err(|error| failed(&error))?;
            Ok(fields([("rooms", texts(socket.rooms()))]))
        }
        "leave" => {
            socket.leave(&command.room);
            Ok(fields([("rooms", texts(socket.rooms()))]))
        }
        "rooms" => Ok(fields([("rooms", texts(socket.rooms()))])),
        "setData" => {
            socket.set_data(command.data);
            Ok(Vec::new())
        }
        "broadcast" => {
            drop(target.emit(&command.event, args(&command.args)).map_err(|error| failed(&error))?);
            Ok(Vec::new())
        }
        "number" => {
            // When it was said, for who asks what was said while somebody could not hear.
            let at = unix(Instant::now());
            drop(target.emit(&command.event, args(&command.args)).map_err(|error| failed(&error))?);
            Ok(fields([("at", from_json(&json!(at)))]))
        }
        "emitMany" => {
            for i in 0..command.count {
                drop(target.emit(&command.event, i).map_err(|error| failed(&error))?);
            }
            Ok(Vec::new())
        }
        "emitAny" => {
            let mut refused = 0;
            for i in 0..command.count {
                refused += u64::from(target.emit(&command.event, i).is_err());
            }
            Ok(fields([("refused", from_json(&json!(refused)))]))
        }
        "stats" => {
            let stats = SERVER.get().and_then(|io| io.stats().cluster).ok_or("there is no adapter")?;
            let stats = json!({
                "gapCount": stats.gap_count, "gapMs": stats.gaps.as_millis() as u64,
                "gaps": *GAPS.lock().expect("not poisoned"), "lost": stats.lost,
                "dropped": stats.bus.dropped, "failed": stats.bus.failed, "unknown": stats.bus.unknown,
                "trimmed": stats.bus.trimmed, "brought": stats.bus.brought, "broughtBytes": stats.bus.brought_bytes,
            });
            Ok(fields([("stats", from_json(&stats))]))
        }
        "flood" => {
            let pad = "x".repeat(command.size);
            for i in 0..command.count {
                drop(target.emit(&command.event, (i, &pad)).map_err(|error| failed(&error))?);
                if i % 100 == 99 {
                    tokio::task::yield_now().await;
                }
            }
            Ok(Vec::new())
        }
        "broadcastAck" => {
            let acks = target.emit_with_ack::<Value>(&command.event, args(&command.args)).await;
            let acks = acks.map_err(|error| failed(&error))?;
            let error = if acks.is_complete() { Value::Null } else { Value::from("operation has timed out") };
            Ok(fields([("error", error), ("responses", Value::Array(acks.answers))]))
        }
        "fetchSockets" => {
            let found = target.fetch_sockets().await.map_err(|error| failed(&error))?;
            let found = found.complete().map_err(|error| failed(&error))?;
            let sockets = found.iter().map(|socket| {
                let handshake = socket.handshake();
                object([
                    ("id", Value::from(socket.id())),
                    ("rooms", texts(socket.rooms())),
                    ("data", socket.data().unwrap_or(Value::Null)),
                    ("auth", from_json(&handshake["auth"])),
                    ("query", from_json(&handshake["query"])),
                    ("address", from_json(&handshake["address"])),
                    ("hasHeaders", Value::Bool(handshake["headers"].is_object())),
                ])
            });
            Ok(fields([("sockets", Value::Array(sockets.collect()))]))
        }
        "remoteSocket" => remote_socket(namespace, &command).await,
        "socketsJoin" => {
            drop(target.sockets_join(&command.rooms).map_err(|error| failed(&error))?);
            Ok(Vec::new())
        }
        "socketsLeave" => {
            drop(target.sockets_leave(&command.rooms).map_err(|error| failed(&error))?);
            Ok(Vec::new())
        }
        "disconnectSockets" => {
            drop(target.disconnect_sockets(command.close).map_err(|error| failed(&error))?);
            Ok(Vec::new())
        }
        "serverSideEmit" => {
            let sent = namespace.server_side_emit(&command.event, args(&command.args));
            drop(sent.map_err(|error| failed(&error))?);
            Ok(Vec::new())
        }
        "serverSideEmitAck" => {
            let answers = namespace.server_side_emit_with_ack::<Value>(&command.event, args(&command.args)).await;
            let answers = answers.map_err(|error| failed(&error))?;
            let responses = Value::Array(answers.received.clone());
            let error = match answers.complete() {
                Ok(_) => Value::Null,
                Err(error) => Value::from(error.to_string().as_str()),
            };
            Ok(fields([("error", error), ("responses", responses)]))
        }
        "serverSideLog" => {
            let heard = std::mem::take(&mut *log.lock().expect("not poisoned"));
            Ok(fields([("log", Value::Array(heard.into_iter().map(Value::Array).collect()))]))
        }
        "serverCount" => {
            let count = namespace.server_count().await.map_err(|error| failed(&error))?;
            Ok(fields([("count", from_json(&json!(count)))]))
        }
        "allSockets" => {
            let found = namespace.fetch_sockets().await.map_err(|error| failed(&error))?;
            let found = found.complete().map_err(|error| failed(&error))?;
            Ok(fields([("sids", texts(found.iter().map(socketio_server::RemoteSocketHandle::id)))]))
        }
        "count" => {
            let counts = target.count().await.map_err(|error| failed(&error))?;
            let (total, missing) = (from_json(&json!(counts.total())), from_json(&json!(counts.missing)));
            let counts = counts.received.iter().map(|count| from_json(&json!(count))).collect();
            Ok(fields([("total", total), ("missing", missing), ("counts", Value::Array(counts))]))
        }
        "roomSizes" => {
            let sizes = target.room_sizes().await.map_err(|error| failed(&error))?;
            let sizes = sizes.complete().map_err(|error| failed(&error))?;
            let sizes = sizes.into_iter().map(|(room, size)| (room, from_json(&json!(size)))).collect();
            Ok(fields([("sizes", Value::Object(sizes))]))
        }
        "fetchFields" => {
            let wanted =
                command.rooms.iter().fold(socketio_server::Fields::NONE, |wanted, field| match field.as_str() {
                    "handshake" => wanted.handshake(),
                    "rooms" => wanted.rooms(),
                    _ => wanted.data(),
                });
            let found = target.fetch_sockets_with(wanted).await.map_err(|error| failed(&error))?;
            let found = found.complete().map_err(|error| failed(&error))?;
            let sockets = found.iter().map(|socket| {
                object([
                    ("id", Value::from(socket.id())),
                    ("rooms", texts(socket.rooms())),
                    ("data", socket.data().unwrap_or(Value::Null)),
                    ("hasHeaders", Value::Bool(socket.handshake()["headers"].is_object())),
                ])
            });
            Ok(fields([("sockets", Value::Array(sockets.collect()))]))
        }
        "patchData" => {
            drop(target.patch_data(command.data).map_err(|error| failed(&error))?);
            Ok(Vec::new())
        }
        "data" => Ok(fields([("data", socket.data::<Value>().map_or(Value::Null, |data| (*data).clone()))])),
        "ackStream" => {
            let mut answers = target.emit_with_ack::<(Value, Option<Value>)>(&command.event, args(&command.args));
            let mut stream = Vec::new();
            while let Some(answer) = answers.next().await {
                let id = answer.id.as_deref().map_or(Value::Null, Value::from);
                let (value, error) = match answer.value {
                    Ok((first, second)) => (Value::Array([first].into_iter().chain(second).collect()), Value::Null),
                    Err(error) => (Value::Null, Value::from(error.to_string().as_str())),
                };
                stream.push(object([("id", id), ("value", value), ("error", error)]));
            }
            Ok(fields([("stream", Value::Array(stream))]))
        }
        "allRooms" => {
            let rooms = namespace.rooms().await.map_err(|error| failed(&error))?;
            Ok(fields([("rooms", texts(rooms.complete().map_err(|error| failed(&error))?))]))
        }
        "panic" => panic!("as the client wished"),
        "block" => {
            std::thread::sleep(Duration::from_millis(command.ms));
            Ok(Vec::new())
        }
        other => Err(format!("unsupported op {other}")),
    }
}

async fn remote_socket(namespace: &Namespace, command: &Command) -> Result<Fields, String> {
    let found = namespace.to(&command.sid).fetch_sockets().await.map_err(|error| error.to_string())?;
    let Some(socket) = found.into_iter().next() else {
        return Ok(fields([("found", Value::Bool(false))]));
    };
    let mut result = fields([("found", Value::Bool(true))]);
    let done = match command.action.as_str() {
        "join" => socket.join(&command.rooms),
        "leave" => socket.leave(&command.room),
        "disconnect" => socket.disconnect(command.close),
        "emit" => socket.emit(&command.event, args(&command.args)),
        "emitAck" => {
            let asked = socket.timeout(Duration::from_millis(command.timeout.unwrap_or(5000)));
            let (error, response) = match asked.emit_with_ack::<Value>(&command.event, args(&command.args)).await {
                Ok(response) => (Value::Null, response),
                Err(error @ AckError::Timeout) => (Value::from(error.to_string().as_str()), Value::Null),
                Err(error) => return Err(error.to_string()),
            };
            result.extend(fields([("error", error), ("response", response)]));
            return Ok(result);
        }
        other => return Err(format!("unsupported action {other}")),
    };
    done.map(|_| result).map_err(|error| error.to_string())
}
