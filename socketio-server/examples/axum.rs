//! A Socket.IO server inside an axum application. Routes send to sockets, and handlers of events reach what the
//! application shares.
//!
//!     PORT=3000 cargo run --example axum

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use socketio_server::engine::RemoteAddress;
use socketio_server::{Data, Server, Socket};

/// What all of the application shares.
#[derive(Default)]
struct Votes(AtomicU64);

/// What the routes are given: axum's state.
#[derive(Clone)]
struct App {
    io: Server,
    votes: Arc<Votes>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let votes = Arc::new(Votes::default());
    // What events are given: the server's state, the same votes.
    let io = Server::builder().state(votes.clone()).build();
    io.on("vote", vote);
    io.on("who am i", async |socket: Socket| socket.handshake().address());

    let app = Router::new()
        .route("/total", get(total))
        .route("/announce", post(announce))
        .with_state(App { io: io.clone(), votes })
        .layer(io.layer()) // Takes `/socket.io/`, and lets the router have the rest.
        .layer(middleware::from_fn(tell_address));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

async fn vote(socket: Socket, votes: socketio_server::State<Arc<Votes>>, Data(points): Data<u64>) -> u64 {
    let total = votes.0.0.fetch_add(points, Ordering::Relaxed) + points;
    let _ = socket.broadcast().emit("total", total);
    total // It answers the client, if it asked.
}

async fn total(State(app): State<App>) -> String {
    app.votes.0.load(Ordering::Relaxed).to_string()
}

async fn announce(State(app): State<App>, text: String) -> &'static str {
    match app.io.emit("announcement", text) {
        Ok(_) => "told",
        Err(_) => "not told",
    }
}

/// Lets handlers know where a client comes from: axum knows it, and the server looks for it here.
async fn tell_address(ConnectInfo(address): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(RemoteAddress(address));
    next.run(request).await
}
