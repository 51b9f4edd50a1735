//! https, wss and HTTP/2 with the real clients; what they do, case by case, is in `tests/node/tls.test.mjs`.

use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use socketio_server::engine::Cookie;
use socketio_server::{Data, Listener, Server, Socket, TlsConfig, Value};
use socketio_tests::NodeSuite;

/// How long a connection may idle.
const IDLE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_clients_and_http2_over_tls() {
    let io = Server::builder().cookie(Cookie::default()).build();
    io.on_connection(async |socket: Socket| {
        let handshake = socket.handshake();
        let _ = socket.emit("who", json!([handshake.address(), handshake.secure()]));
    });
    io.on("echo", async |socket: Socket, Data(value): Data<Value>| socket.emit("echo", value).map(drop));

    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let tls = TlsConfig::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
    let ca = std::env::temp_dir().join(format!("socketio-ca-{}.pem", std::process::id()));
    std::fs::write(&ca, cert.pem()).unwrap();

    let local = async || Listener::bind("127.0.0.1:0").await.unwrap().keep_alive_timeout(IDLE);
    let (secure, plain) = (local().await.tls(tls), local().await.http2_prior_knowledge(true));
    let url = format!("https://{}", secure.local_addr().unwrap());
    let plain_url = format!("http://{}", plain.local_addr().unwrap());
    let server = io.clone();
    let serving = tokio::spawn(async move { server.serve([secure, plain]).await });
    let suite = NodeSuite::new("tls.test.mjs")
        .env("URL", url)
        .env("PLAIN_URL", plain_url)
        .env("CA", &ca)
        .env("IDLE_MS", IDLE.as_millis().to_string());
    tokio::task::spawn_blocking(move || suite.run()).await.unwrap();
    io.close().await;
    tokio::time::timeout(Duration::from_secs(3), serving).await.expect("serving ends").unwrap();
    std::fs::remove_file(ca).unwrap();
}
