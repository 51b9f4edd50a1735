//! A Socket.IO server inside a salvo application. Routes send to sockets, and handlers of events reach what the
//! application shares.
//!
//!     PORT=3000 cargo run --example salvo
//!
//! Then `io("http://127.0.0.1:3000")` in the stock client, and `GET /total` and `POST /announce` with anything else.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use salvo::http::body::{ReqBody, ResBody};
use salvo::prelude::*;
use socketio_server::engine::RemoteAddress;
use socketio_server::{Data, Socket};
use tower_service::Service as _;

/// What all of the application shares.
#[derive(Default)]
struct Votes(AtomicU64);

#[tokio::main]
async fn main() {
    let votes = Arc::new(Votes::default());
    // What events are given: the server's state, the same votes.
    let io = socketio_server::Server::builder().state(votes.clone()).build();
    io.on("vote", vote);
    io.on("who am i", async |socket: Socket| socket.handshake().address());

    let app = Router::new()
        .hoop(affix_state::inject(io.clone()).inject(votes))
        .push(Router::with_path("socket.io/{**rest}").goal(SocketIo(io)))
        .push(Router::with_path("total").get(get_total))
        .push(Router::with_path("announce").post(announce));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let acceptor = TcpListener::new(format!("127.0.0.1:{port}")).bind().await;
    Server::new(acceptor).serve(app).await;
}

async fn vote(socket: Socket, votes: socketio_server::State<Arc<Votes>>, Data(points): Data<u64>) -> u64 {
    let total = votes.0.0.fetch_add(points, Ordering::Relaxed) + points;
    let _ = socket.broadcast().emit("total", total);
    total // It answers the client, if it asked.
}

#[handler]
async fn get_total(depot: &mut Depot) -> String {
    let votes = depot.get_typed::<Arc<Votes>>().expect("main shares it");
    votes.0.load(Ordering::Relaxed).to_string()
}

#[handler]
async fn announce(request: &mut Request, depot: &mut Depot) -> &'static str {
    let io = depot.get_typed::<socketio_server::Server>().expect("main shares it").clone();
    let text = request.payload().await.map(|text| String::from_utf8_lossy(text).into_owned());
    match text.map(|text| io.emit("announcement", text)) {
        Ok(Ok(_)) => "told",
        _ => "not told",
    }
}

/// The server as a handler of salvo: a request goes to it as hyper has it, with what upgrades it to a WebSocket.
struct SocketIo(socketio_server::Server);

#[async_trait]
impl Handler for SocketIo {
    async fn handle(&self, request: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        let address = request.remote_addr().clone().into_std();
        let Ok(mut request) = request.strip_to_hyper::<ReqBody>() else {
            return response.render(StatusError::bad_request());
        };
        if let Some(address) = address {
            // Lets handlers know where a client comes from.
            request.extensions_mut().insert(RemoteAddress(address));
        }
        let Ok::<_, Infallible>(answer) = self.0.service().call(request).await;
        response.merge_hyper(answer.map(|body| ResBody::Boxed(Box::pin(body))));
    }
}
