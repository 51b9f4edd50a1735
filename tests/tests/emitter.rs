//! Our emitter and our command line, beside npm's emitter, reach the clients of every server of a cluster.
//!
//! The suite in Node.js has the servers and clients; this lends it the emitter, one JSON object a line:
//! `{"op": "emit", "nsp": "/chat", "to": ["room"], "event": "news", "args": [1, {"$bin": "00ff"}]}` and the like.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use socketio_emitter::{AnswerError, EmitError, Emitted, Emitter, SubscriptionMode};
use socketio_protocol::socket::{Args, Value};
use socketio_tests::{NodeSuite, workspace_binary};
use tokio::runtime::Runtime;

#[test]
fn emitters_reach_five_servers_of_three_generations() {
    suite("emitter.test.mjs").run();
}

#[test]
fn beyond_the_emitter_of_node_js_with_classic_servers() {
    suite("outside.test.mjs").env("ADAPTER", "classic").run();
}

#[test]
fn beyond_the_emitter_of_node_js_with_sharded_servers() {
    suite("outside.test.mjs").env("ADAPTER", "sharded").run();
}

#[test]
fn beyond_the_emitter_of_node_js_with_servers_on_streams() {
    suite("outside.test.mjs").env("ADAPTER", "streams").run();
}

/// A suite of servers and clients, which borrows our emitter and has our command line.
fn suite(file: &str) -> NodeSuite {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback gives a port");
    let address = listener.local_addr().expect("a listener has an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || lend_emitter(stream));
        }
    });
    NodeSuite::new(file)
        .server("SERVER_CMD", env!("CARGO_BIN_EXE_cluster-node"))
        .server("EMITTER_CMD", workspace_binary("emitter-cli", "without_redis"))
        .env("EMITTER_LINES", address)
}

/// What a line asks for.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
enum Line {
    Connect {
        url: String,
        adapter: Option<String>,
    },
    Emit {
        event: String,
        args: Vec<serde_json::Value>,
        #[serde(flatten)]
        target: Target,
    },
    SocketsJoin {
        rooms: Vec<String>,
        #[serde(flatten)]
        target: Target,
    },
    SocketsLeave {
        rooms: Vec<String>,
        #[serde(flatten)]
        target: Target,
    },
    DisconnectSockets {
        close: bool,
        #[serde(flatten)]
        target: Target,
    },
    ServerSideEmit {
        event: String,
        args: Vec<serde_json::Value>,
        #[serde(flatten)]
        target: Target,
    },
    /// Answered with who answered what, and a summary.
    Request {
        event: String,
        args: Vec<serde_json::Value>,
        #[serde(flatten)]
        target: Target,
    },
    FetchSockets {
        #[serde(flatten)]
        target: Target,
    },
    Count {
        #[serde(flatten)]
        target: Target,
    },
    Rooms {
        #[serde(flatten)]
        target: Target,
    },
    RoomSizes {
        #[serde(flatten)]
        target: Target,
    },
    ServerCount {
        #[serde(flatten)]
        target: Target,
    },
    ServerSideEmitAck {
        event: String,
        args: Vec<serde_json::Value>,
        #[serde(flatten)]
        target: Target,
    },
}

#[derive(Deserialize)]
struct Target {
    nsp: Option<String>,
    to: Option<Vec<String>>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    volatile: bool,
    compress: Option<bool>,
    timeout: Option<u64>,
}

impl Target {
    fn namespace(&self, emitter: &Emitter) -> Emitter {
        emitter.of(self.nsp.as_deref().unwrap_or("/"))
    }

    fn sockets(&self, emitter: &Emitter) -> socketio_emitter::Broadcast {
        let mut sockets = self.namespace(emitter).except(&self.except);
        if let Some(rooms) = &self.to {
            sockets = sockets.to(rooms);
        }
        if self.volatile {
            sockets = sockets.volatile();
        }
        if let Some(compress) = self.compress {
            sockets = sockets.compress(compress);
        }
        match self.timeout {
            Some(timeout) => sockets.timeout(Duration::from_millis(timeout)),
            None => sockets,
        }
    }
}

/// Does what the lines of `stream` ask for, and answers each when Redis has taken it.
fn lend_emitter(stream: TcpStream) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let mut answers = stream.try_clone().expect("a stream can be shared");
    answers.set_nodelay(true).expect("a connection that is open takes options");
    let mut emitter = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let done = runtime.block_on(obey(&mut emitter, &line));
        let answer = match done {
            Ok(said) => json!({ "ok": true, "said": said }),
            Err(error) => json!({ "ok": false, "error": error }),
        };
        if answers.write_all(format!("{answer}\n").as_bytes()).is_err() {
            break;
        }
    }
}

async fn obey(emitter: &mut Option<Emitter>, line: &str) -> Result<serde_json::Value, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if let Line::Connect { url, adapter } = &line {
        // What is asked without a time of its own is not waited for longer than a test.
        let builder = Emitter::builder(url).requests_timeout(Duration::from_millis(1_500));
        let builder = match adapter.as_deref() {
            Some("sharded") => builder.sharded(SubscriptionMode::Dynamic),
            Some("streams") => builder.streams(),
            _ => builder,
        };
        *emitter = Some(builder.connect().await.map_err(|error| error.to_string())?);
        return Ok(json!(null));
    }
    let emitter = emitter.as_ref().ok_or("the first line connects")?;
    ask(emitter, line).await.map_err(|error| error.to_string())
}

async fn ask(emitter: &Emitter, line: Line) -> Result<serde_json::Value, EmitError> {
    let with = |said: serde_json::Value, asked: usize, missing: usize| json!({ "received": said, "asked": asked, "missing": missing });
    Ok(match line {
        Line::Request { event, args, target } => {
            let mut request = target.sockets(emitter).request::<Args>(&event, arguments(args));
            let mut answers = Vec::new();
            while let Some(answer) = request.next().await {
                let (values, error) = match answer.value {
                    Ok(args) => (json!(args.to_values().unwrap_or_default()), json!(null)),
                    Err(AnswerError::Emit(error)) => return Err(error),
                    Err(error) => (json!(null), json!(error.to_string())),
                };
                answers.push(json!({ "id": answer.id, "values": values, "error": error }));
            }
            let summary = request.summary().expect("all answers have been taken");
            json!({
                "answers": answers, "asked": summary.asked, "missing": summary.missing,
                "missingIds": summary.missing_ids, "servers": summary.servers, "silentServers": summary.silent_servers,
            })
        }
        Line::FetchSockets { target } => {
            let found = target.sockets(emitter).fetch_sockets().await?;
            let sockets: Vec<_> = found
                .received
                .iter()
                .map(|socket| {
                    json!({
                        "id": socket.id, "rooms": socket.rooms, "data": socket.data,
                        "hasHeaders": socket.handshake["headers"].is_object(),
                    })
                })
                .collect();
            with(json!(sockets), found.asked, found.missing)
        }
        Line::Count { target } => {
            let counts = target.sockets(emitter).count().await?;
            with(json!(counts.received), counts.asked, counts.missing)
        }
        Line::Rooms { target } => {
            let rooms = target.namespace(emitter).rooms().await?;
            with(json!(rooms.received), rooms.asked, rooms.missing)
        }
        Line::RoomSizes { target } => {
            let sizes = target.sockets(emitter).room_sizes().await?;
            with(json!(sizes.received), sizes.asked, sizes.missing)
        }
        Line::ServerCount { target } => json!(target.namespace(emitter).server_count().await?),
        Line::ServerSideEmitAck { event, args, target } => {
            let emitter = target.namespace(emitter);
            let answers = emitter.server_side_emit_with_ack::<Value>(&event, arguments(args)).await?;
            let received: Vec<_> = answers.received.into_iter().map(|answer| json!(answer.ok())).collect();
            with(json!(received), answers.asked, answers.missing)
        }
        line => {
            let receipt = send(emitter, line).await?;
            json!({ "receivers": receipt.receivers(), "entry": receipt.entry().map(|entry| entry.to_string()) })
        }
    })
}

fn send(emitter: &Emitter, line: Line) -> Emitted {
    match line {
        Line::Emit { event, args, target } => target.sockets(emitter).emit(&event, arguments(args)),
        Line::SocketsJoin { rooms, target } => target.sockets(emitter).sockets_join(rooms),
        Line::SocketsLeave { rooms, target } => target.sockets(emitter).sockets_leave(rooms),
        Line::DisconnectSockets { close, target } => target.sockets(emitter).disconnect_sockets(close),
        Line::ServerSideEmit { event, args, target } => {
            target.namespace(emitter).server_side_emit(&event, arguments(args))
        }
        _ => unreachable!("questions are asked elsewhere"),
    }
}

/// A list of arguments whose length only the line knows.
fn arguments(args: Vec<serde_json::Value>) -> Args {
    let values: Vec<Value> = args.into_iter().map(with_binary).collect();
    Args::from_values(&values).expect("JSON can be written as JSON")
}

/// The value, with each `{"$bin": "<hex>"}` in it as bytes.
fn with_binary(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Array(list) => Value::Array(list.into_iter().map(with_binary).collect()),
        Json::Object(members) => match members.get("$bin") {
            Some(Json::String(hex)) => Value::Binary(bytes_of(hex).into()),
            _ => Value::Object(members.into_iter().map(|(key, value)| (key, with_binary(value))).collect()),
        },
        plain => Value::from(plain),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("hex is written in hex digits")).collect();
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits are a byte")).collect()
}
