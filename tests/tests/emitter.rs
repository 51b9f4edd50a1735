//! Our emitter and our command line, beside npm's emitter, reach the clients of every server of a cluster.
//!
//! The suite in Node.js has the servers and clients; this lends it the emitter, one JSON object a line:
//! `{"op": "emit", "nsp": "/chat", "to": ["room"], "event": "news", "args": [1, {"$bin": "00ff"}]}` and the like.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde::Deserialize;
use socketio_emitter::{EmitError, Emitted, Emitter};
use socketio_protocol::socket::{Args, Value};
use socketio_tests::{NodeSuite, workspace_binary};
use tokio::runtime::Runtime;

#[test]
fn emitters_reach_five_servers_of_three_generations() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback gives a port");
    let address = listener.local_addr().expect("a listener has an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || lend_emitter(stream));
        }
    });
    NodeSuite::new("emitter.test.mjs")
        .server("SERVER_CMD", env!("CARGO_BIN_EXE_cluster-node"))
        .server("EMITTER_CMD", workspace_binary("emitter-cli", "emitter-cli"))
        .env("EMITTER_LINES", address)
        .run();
}

/// What a line asks for.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
enum Line {
    Connect {
        url: String,
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
        sockets
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
            Ok(()) => serde_json::json!({ "ok": true }),
            Err(error) => serde_json::json!({ "ok": false, "error": error }),
        };
        if answers.write_all(format!("{answer}\n").as_bytes()).is_err() {
            break;
        }
    }
}

async fn obey(emitter: &mut Option<Emitter>, line: &str) -> Result<(), String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if let Line::Connect { url } = line {
        *emitter = Some(Emitter::connect(&url).await.map_err(|error| error.to_string())?);
        return Ok(());
    }
    let emitter = emitter.as_ref().ok_or("the first line connects")?;
    let emitted = send(emitter, line);
    emitted.await.map(drop).map_err(|error: EmitError| error.to_string())
}

fn send(emitter: &Emitter, line: Line) -> Emitted {
    match line {
        Line::Connect { .. } => unreachable!("handled before"),
        Line::Emit { event, args, target } => target.sockets(emitter).emit(&event, arguments(args)),
        Line::SocketsJoin { rooms, target } => target.sockets(emitter).sockets_join(rooms),
        Line::SocketsLeave { rooms, target } => target.sockets(emitter).sockets_leave(rooms),
        Line::DisconnectSockets { close, target } => target.sockets(emitter).disconnect_sockets(close),
        Line::ServerSideEmit { event, args, target } => {
            target.namespace(emitter).server_side_emit(&event, arguments(args))
        }
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
