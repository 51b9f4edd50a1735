//! Mode `webtransport`: all that a client can exercise, at `/socket.io/`, over HTTP on the TCP port and WebTransport on
//! the UDP port of the same number. A client of another transport can ask for the `certificate`'s hash.

use std::io;

use socketio_server::Bytes;
use socketio_server::engine::TransportKind;
use socketio_server::webtransport::{Certificate, Listener};
use tokio::net::TcpListener;

use crate::Options;
use crate::events::{Ended, everything};

pub(crate) async fn serve(options: Options, listener: TcpListener) -> Result<(), io::Error> {
    let transports = [TransportKind::Polling, TransportKind::WebSocket, TransportKind::WebTransport];
    let io = options.server("/socket.io").transports(transports).build();
    everything(&io, &io, &Ended::default());
    let certificate = Certificate::self_signed(["localhost", "127.0.0.1"])?;
    let hash = certificate.sha256().map_or_else(Bytes::new, |hash| hash.to_vec().into());
    io.on("certificate", async move || hash.clone());
    let sessions = Listener::bind(listener.local_addr()?, certificate).await?;
    let ((), served) = tokio::join!(io.serve(listener), io.serve_webtransport(sessions));
    served
}
