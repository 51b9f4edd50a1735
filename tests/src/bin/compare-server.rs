//! Servers with different options, each on a port of its own, for `compare.test.mjs`.
//!
//! `tests/node/servers/compare.mjs` is the same on the reference library. Prints the ports as one line of JSON once all
//! of them listen.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;
use socketio_server::engine::{Cookie, Cors, SameSite, TransportKind};
use socketio_server::{Ack, Builder, ConnectError, Event, Namespace, Parser, Server, Socket, bind};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ports = BTreeMap::new();
    for (name, builder) in sets() {
        let listener = bind("127.0.0.1:0").await?;
        ports.insert(name, listener.local_addr()?.port());
        let io = builder.build();
        events(&io);
        tokio::spawn(async move { io.serve(listener).await });
    }
    writeln!(io::stdout(), "{}", json!(ports))?;
    terminate.recv().await;
    Ok(())
}

/// The sets of options, by the names that `compare.mjs` gives them.
fn sets() -> Vec<(&'static str, Builder)> {
    let origins = || Cors::origins(["http://a.test", "http://b.test"]);
    let mut cookie = Cookie::new("node");
    cookie.path = Some("/x".into());
    cookie.same_site = Some(SameSite::Strict);
    (cookie.http_only, cookie.secure) = (false, true);
    vec![
        ("default", Server::builder()),
        ("today", Server::builder().allow_eio3(false)),
        ("cors-any", Server::builder().cors(Cors::any())),
        ("cors-list", Server::builder().cors(origins())),
        (
            "cors-all",
            Server::builder().cors(
                origins()
                    .credentials(true)
                    .methods(["GET", "POST"])
                    .allowed_headers(["x-one", "x-two"])
                    .exposed_headers(["x-three"])
                    .max_age(Duration::from_secs(600)),
            ),
        ),
        ("cookie", Server::builder().cookie(Cookie::default())),
        ("cookie-all", Server::builder().cookie(cookie)),
        ("polling", Server::builder().transports([TransportKind::Polling])),
        ("websocket", Server::builder().transports([TransportKind::WebSocket])),
        ("no-upgrades", Server::builder().allow_upgrades(false)),
        ("small", Server::builder().max_http_buffer_size(100)),
        (
            "deny",
            Server::builder().allow_request(async |request| match request.header("x-deny") {
                Some(_) => Err("no entry".into()),
                None => Ok(()),
            }),
        ),
        ("msgpack", Server::builder().parser(Parser::MsgPack)),
        ("path", Server::builder().path("/chat").add_trailing_slash(false).serve_client(false)),
    ]
}

fn events(io: &Server) {
    for namespace in [io.of("/"), io.of("/custom")] {
        echo(&namespace);
    }
    io.of("/refuse").middleware(async |_: Socket| Err(ConnectError::new("refused").data(json!({ "code": 401 }))));
}

fn echo(namespace: &Namespace) {
    namespace.on("message", async |socket: Socket, event: Event| socket.emit("message-back", event.args()).map(drop));
    namespace.on("message-with-ack", async |event: Event, ack: Ack| ack.send(event.args()));
    namespace.on("kick", async |socket: Socket| socket.disconnect(false));
    namespace.on("close", async |socket: Socket| socket.disconnect(true));
}
