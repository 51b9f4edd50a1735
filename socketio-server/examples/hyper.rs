//! A Socket.IO server inside a plain hyper server, which has its own paths beside it.
//!
//!     PORT=3000 cargo run --example hyper

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socketio_server::engine::RemoteAddress;
use socketio_server::{Data, Server, Socket, State};

/// What all of the application shares.
#[derive(Default)]
struct Votes(AtomicU64);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let votes = Arc::new(Votes::default());
    let io = Server::builder().state(votes.clone()).build();
    io.on("vote", async |socket: Socket, votes: State<Arc<Votes>>, Data(points): Data<u64>| {
        let total = votes.0.0.fetch_add(points, Ordering::Relaxed) + points;
        let _ = socket.broadcast().emit("total", total);
        total
    });
    io.on("who am i", async |socket: Socket| socket.handshake().address());

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, address) = listener.accept().await?;
        let (io, votes) = (io.clone(), votes.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (io, votes) = (io.clone(), votes.clone());
            request.extensions_mut().insert(RemoteAddress(address));
            async move {
                let response = if io.engine().owns(request.uri().path()) {
                    io.engine().respond(request).await.map(Either::Left)
                } else {
                    page(&io, &votes, request).await.map(|text| Either::Right(Full::new(Bytes::from(text))))
                };
                Ok::<_, Infallible>(response)
            }
        });
        // `with_upgrades` is what makes WebSocket possible.
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}

async fn page(io: &Server, votes: &Votes, request: Request<Incoming>) -> Response<String> {
    match request.uri().path() {
        "/total" => Response::new(votes.0.load(Ordering::Relaxed).to_string()),
        "/announce" => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let told = io.emit("announcement", String::from_utf8_lossy(&body)).is_ok();
            Response::new(if told { "told" } else { "not told" }.to_owned())
        }
        _ => {
            let mut response = Response::new("there is nothing here".to_owned());
            *response.status_mut() = hyper::StatusCode::NOT_FOUND;
            response
        }
    }
}
