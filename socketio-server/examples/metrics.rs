//! A server whose numbers Prometheus collects.
//!
//! ```sh
//! cargo run -p socketio-server --example metrics
//! curl http://127.0.0.1:3000/metrics
//! ```
//!
//! What the numbers mean is in `docs/observability.md`; `docs/grafana.json` is a dashboard for them.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use socketio_server::{Data, Server, Socket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let io = Server::new();
        let listener = socketio_server::bind("127.0.0.1:3000").await?;
        axum::serve(listener, app(&io)).await?;
        Ok(())
    })
}

/// The application: an echo, and the route that is scraped.
pub(crate) fn app(io: &Server) -> Router {
    io.on("echo", async |socket: Socket, Data(text): Data<String>| socket.emit("echo", text).map(drop));
    let numbers = io.clone();
    let metrics =
        async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], numbers.stats().to_prometheus()).into_response();
    Router::new().route("/metrics", get(metrics)).layer(io.layer())
}
