//! WebTransport beside long-polling and WebSocket, with a certificate that signs itself: for development. A real one is
//! read from PEM files by `Certificate::from_pem_files`.
//!
//!     PORT=3000 cargo run --example webtransport --features webtransport      # then open http://127.0.0.1:3000/

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use socketio_server::engine::TransportKind;
use socketio_server::webtransport::Certificate;
use socketio_server::{Server, Socket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let address = format!("127.0.0.1:{port}");
    let io = Server::builder()
        .transports([TransportKind::Polling, TransportKind::WebSocket, TransportKind::WebTransport])
        .build();
    io.on("transport", async |socket: Socket| socket.transport().as_str());

    let certificate = Certificate::self_signed(["localhost", "127.0.0.1"])?;
    let hash = certificate.sha256().ok_or("the certificate has no hash")?;
    let page = PAGE.replace("HASH", &format!("{hash:?}"));
    let app = Router::new().route("/", get(async move || Html(page))).layer(io.layer());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    io.listen_webtransport(&address, certificate).await?; // The same port, of UDP.
    Ok(())
}

const PAGE: &str = r#"<!doctype html><title>WebTransport</title><link rel="icon" href="data:,"><p id="shown">connecting</p>
<script src="/socket.io/socket.io.js"></script>
<script>
  const hash = { algorithm: "sha-256", value: new Uint8Array(HASH) };
  const socket = io({
    transports: ["polling", "websocket", "webtransport"],
    transportOptions: { webtransport: { serverCertificateHashes: [hash] } },
  });
  const show = () => socket.emit("transport", (name) => (shown.textContent = name));
  socket.on("connect", () => { show(); socket.io.engine.on("upgrade", show); });
</script>"#;
