//! Modes `eio-client` and `sio-client`: what the stock test suites of the two client libraries talk to.

mod posts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use serde::Deserialize;
use serde_json::json;
use socketio_server::engine::{AddHeaders, AllowRequest, Engine, EngineConfig, Incoming, Message, Request};
use socketio_server::{Ack, Bytes, ConnectError, Data, Event, Recovery, Server, Socket, Value, serve};
use tokio::net::TcpListener;
use tower_layer::Layer;

use self::posts::Posts;
use crate::Options;
use crate::values::{arguments, bytes};

// ---- engine.io-client -----------------------------------------------------------------------------------------

/// Serves Engine.IO alone.
pub(crate) async fn engine_client(options: Options, listener: TcpListener) {
    let config = EngineConfig {
        allow_request: Some(AllowRequest::new(async |request: Request| match request.query("deny") {
            Some(_) => Err("Forbidden".into()),
            None => Ok(()),
        })),
        initial_headers: Some(AddHeaders::new(add_cookies)),
        ..options.engine()
    };
    let posts = Posts::default();
    let engine = Engine::new(config, {
        let posts = posts.clone();
        move |incoming| greet(incoming, posts.clone())
    });
    serve(listener, posts.layer(engine.service())).await;
}

fn add_cookies(headers: &mut HeaderMap, _: &Request) {
    let now = httpdate::fmt_http_date(SystemTime::now());
    let plain = ["1=1; Max-Age=86400", "2=2; Path=/; HttpOnly; Secure; SameSite=Strict", "3=3; Max-Age=0"];
    for cookie in plain.into_iter().map(str::to_owned).chain([format!("4=4; Expires={now}")]) {
        headers.append(SET_COOKIE, HeaderValue::try_from(cookie).expect("these are plain ASCII"));
    }
}

async fn greet(mut incoming: Incoming, posts: Posts) {
    let _ = incoming.connection().send(Message::Text("hi".into()));
    while let Some(message) = incoming.recv().await {
        let connection = incoming.connection();
        let answer = match &message {
            Message::Text(text) => match &**text {
                "give binary" => Message::Binary(bytes(5)),
                "give utf8" => Message::Text("пойду спать всем спокойной ночи".into()),
                "sendHeaders" => Message::Text(json!(posts.headers(connection.id())).to_string().into()),
                _ => message,
            },
            Message::Binary(_) => message,
        };
        let _ = connection.send(answer); // Closed or full: `recv` says so next.
    }
}

// ---- socket.io-client -----------------------------------------------------------------------------------------

/// Serves Socket.IO alone.
pub(crate) async fn socket_client(options: Options, listener: TcpListener) {
    let io = options
        .server("/socket.io")
        .connection_state_recovery(Recovery::default())
        .allow_request(async |_| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(())
        })
        .build();
    io.middleware(async |socket: Socket| match socket.handshake().query("fail") {
        Some(fail) if !fail.is_empty() => Err(ConnectError::new("Auth failed (main namespace)")),
        _ => Ok(()),
    });
    plain(&io);
    texts(&io);
    binary(&io);
    io.of("/foo").on("getId", async |socket: Socket| socket.id().clone());
    io.of("/abc").on_connection(async |socket: Socket| {
        let _ = socket.emit("handshake", handshake(&socket));
    });
    io.of("/no").middleware(async |_: Socket| Err("Auth failed (custom namespace)".into()));
    for name in ["/asd", "/valid", "/timeout_socket"] {
        io.of(name);
    }
    io.serve(listener).await;
}

fn handshake(socket: &Socket) -> serde_json::Value {
    let handshake = socket.handshake();
    let query: serde_json::Map<_, _> =
        handshake.request().query_pairs().into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({ "query": query, "auth": handshake.auth::<serde_json::Value>().unwrap_or_default() })
}

fn plain(io: &Server) {
    io.on("hi", async |socket: Socket| socket.emit("hi", ()).map(drop));
    io.on("echo", async |Data(value): Data<Value>| value);
    io.on("getId", async |socket: Socket| socket.id().clone());
    io.on("getHandshake", async |socket: Socket| handshake(&socket));
    io.on("ack", async |socket: Socket| {
        #[derive(Deserialize)]
        struct Test {
            test: bool,
        }
        let answer = socket.emit_with_ack::<(i64, Test)>("ack", ()).await;
        if let Ok((5, Test { test: true })) = answer {
            let _ = socket.emit("got it", ());
        }
    });
    io.on("false", async |socket: Socket| socket.emit("false", false).map(drop));
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn texts(io: &Server) {
    io.on("getAckDate", async || now());
    io.on("getDate", async |socket: Socket| socket.emit("takeDate", now()).map(drop));
    io.on("getDateObj", async |socket: Socket| socket.emit("takeDateObj", json!({ "date": now() })).map(drop));
    io.on("getUtf8", async |socket: Socket| {
        ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"]
            .iter()
            .try_for_each(|text| socket.emit("takeUtf8", text).map(drop))
    });
}

fn binary(io: &Server) {
    const ASDF: Bytes = Bytes::from_static(b"asdfasdf");
    io.on("doge", async |socket: Socket| socket.emit("doge", ASDF).map(drop));
    io.on("getbin", async |socket: Socket| socket.emit("takebin", ASDF).map(drop));
    io.on("buffa", async |socket: Socket, event: Event| {
        if is_binary(&event) {
            let _ = socket.emit("buffack", ());
        }
    });
    io.on("jsonbuff", async |socket: Socket, Data(value): Data<Value>| {
        let text = |name| value.get(name).and_then(Value::as_str);
        let binary = matches!(value.get("message"), Some(Value::Binary(_)));
        if text("hello") == Some("lol") && binary && text("goodbye") == Some("gotcha") {
            let _ = socket.emit("jsonbuff-ack", ());
        }
    });
    io.on_connection(async |socket: Socket| {
        let came = Arc::new(AtomicBool::new(false));
        let first = came.clone();
        socket.on("abuff1", async move |event: Event| first.store(is_binary(&event), Ordering::Relaxed));
        socket.on("abuff2", async move |socket: Socket, _ack: Ack| {
            if came.load(Ordering::Relaxed) {
                let _ = socket.emit("abuff2-ack", ());
            }
        });
    });
}

fn is_binary(event: &Event) -> bool {
    matches!(arguments(event).first(), Some(Value::Binary(_)))
}
