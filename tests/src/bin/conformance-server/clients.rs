//! Mode `clients`: an Engine.IO echo and seven independent Socket.IO servers on one port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use socketio_server::engine::{Cookie, Cors, Engine, EngineConfig, Incoming, Message, TransportKind, Version};
use socketio_server::{ConnectError, Parser, Server, Socket};
use tokio::net::TcpListener;
use tower_layer::Layer;

use crate::Options;
use crate::events::{Ended, everything};
use crate::parsers::{Marked, Packed};
use crate::recovery;

/// Serves until the process ends.
pub(crate) async fn serve(options: Options, listener: TcpListener) {
    let ended = Ended::default();
    let server = |path: &str| options.server(path).connect_timeout(Duration::from_secs(1));

    let main = server("/socket.io")
        .cookie(Cookie::default())
        .cors(Cors::origins(["http://allowed.test"]).credentials(true))
        .allow_request(async |request| match request.header("x-deny") {
            Some(_) => Err("denied by allowRequest".into()),
            None => Ok(()),
        })
        .build();
    let recovery = recovery::serve(server("/recovery"), &ended);
    let msgpack = server("/msgpack").parser(Parser::MsgPack).build();
    let polling_only = server("/polling-only").transports([TransportKind::Polling]).build();
    let marked = server("/marked").parser(Parser::custom(Marked)).build();
    let packed = server("/packed").parser(Parser::custom(Packed)).build();
    let marked_recovery = recovery::serve(server("/marked-recovery").parser(Parser::custom(Marked)), &ended);
    for io in [&main, &msgpack, &polling_only, &marked, &packed] {
        namespaces(io, &ended);
    }

    let others = polling_only.layer().layer(engine_echo(options.engine()).service());
    let others = marked.layer().layer(packed.layer().layer(marked_recovery.layer().layer(others)));
    main.serve_with(listener, recovery.layer().layer(msgpack.layer().layer(others))).await;
}

fn namespaces(io: &Server, ended: &Ended) {
    for name in ["/", "/custom"] {
        everything(io, &io.of(name), ended);
    }
    io.of("/auth").middleware(async |socket: Socket| match socket.handshake().auth::<serde_json::Value>() {
        Ok(auth) if auth["token"] == "secret" => Ok(()),
        _ => Err(ConnectError::new("not authorized").data(json!({ "code": 401 }))),
    });
    io.of("/refuse").middleware(async |_: Socket| Err("refused".into()));
    io.of("/slow").middleware(async |_: Socket| {
        tokio::time::sleep(Duration::from_millis(150)).await;
        Ok(())
    });
    let digits = |name: &str| name.strip_prefix("/dyn-").is_some_and(|rest| !rest.is_empty() && digits_only(rest));
    io.of_matching(digits).on_connection(async |socket: Socket| {
        let _ = socket.emit("dyn", socket.namespace().name());
    });
}

fn digits_only(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Sends every message back, but for the few that ask for something.
fn engine_echo(config: EngineConfig) -> Engine {
    let reasons: Arc<Mutex<HashMap<String, &'static str>>> = Arc::default();
    let refusals: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
    let refused = refusals.clone();
    let engine = Engine::new(config, move |mut incoming: Incoming| {
        let (reasons, refusals) = (reasons.clone(), refusals.clone());
        async move {
            while let Some(message) = incoming.recv().await {
                let connection = incoming.connection();
                let answer = match &message {
                    Message::Text(text) if text == "close-me" => {
                        connection.close();
                        continue;
                    }
                    Message::Text(text) if text == "who" => {
                        let eio = if connection.version() == Version::V3 { 3 } else { 4 };
                        let transport = connection.transport().as_str();
                        let who = json!({ "id": connection.id(), "transport": transport, "eio": eio });
                        Message::Text(who.to_string().into())
                    }
                    Message::Text(text) if text == "refusals" => {
                        let refusals = std::mem::take(&mut *refusals.lock().expect("nothing panics under it"));
                        Message::Text(serde_json::Value::Array(refusals).to_string().into())
                    }
                    Message::Text(text) if let Some(sid) = text.strip_prefix("reason-of ") => {
                        let reason = reasons.lock().expect("nothing panics under it").get(sid).copied();
                        Message::Text(format!("reason {}", reason.unwrap_or("none")).into())
                    }
                    _ => message,
                };
                let _ = connection.send(answer); // Closed or full: `recv` says so next.
            }
            let reason = incoming.closed().await.as_str();
            reasons.lock().expect("nothing panics under it").insert(incoming.connection().id().to_string(), reason);
        }
    });
    engine.on_connection_error(move |error| {
        let context: serde_json::Value = serde_json::from_str(&error.error.context()).expect("it is JSON");
        let refusal = json!({ "code": error.code(), "message": error.message(), "context": context });
        refused.lock().expect("nothing panics under it").push(refusal);
    });
    engine
}
