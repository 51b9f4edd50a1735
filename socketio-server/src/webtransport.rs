//! WebTransport: sessions over HTTP/3, on a UDP port. **Opt-in**, with the cargo feature `webtransport`: the protocol is
//! still a draft, and the library that carries it ([wtransport](https://docs.rs/wtransport)) is young.
//!
//! Name it among the [transports](crate::Builder::transports), and listen on a UDP port beside the HTTP server; browsers
//! go to the UDP port with the number that the page's server has:
//!
//! ```no_run
//! use socketio_server::engine::TransportKind;
//! use socketio_server::webtransport::Certificate;
//! use socketio_server::{Server, Socket};
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let io = Server::builder()
//!     .transports([TransportKind::Polling, TransportKind::WebSocket, TransportKind::WebTransport])
//!     .build();
//! let certificate = Certificate::from_pem_files("cert.pem", "key.pem")?;
//! tokio::try_join!(io.listen("0.0.0.0:3000"), io.listen_webtransport("0.0.0.0:3000", certificate))?;
//! # Ok(()) }
//! ```
//!
//! A client opens a session over it at once (`transports: ["webtransport"]`), or polls first and changes to it, as it
//! would to a WebSocket. What looks at handshakes elsewhere does here: the check of origins, `allow_request`,
//! `generate_id`, and who is told of refusals; the handshake has the path, headers and address. Browsers send no cookies
//! along, and show nobody the headers of the answer, of which there are none. Options count alike: the largest message,
//! the heartbeat, the queue in front of a slow client; the client has the
//! [`upgrade_timeout`](crate::Builder::upgrade_timeout) for its session, and again for its first packet.
//!
//! # Certificates
//!
//! QUIC is always encrypted. For development, [`Certificate::self_signed`] makes a certificate that browsers accept by its
//! hash, for the two weeks that it is valid:
//!
//! ```js
//! io({ transportOptions: { webtransport: { serverCertificateHashes: [{ algorithm: "sha-256", value: hash }] } } })
//! ```
//!
//! A certificate that is renewed is given to the clones that listen by [`Certificate::reload_pem_files`], and used from the
//! next handshake on; sessions stay.

mod certificate;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{ToSocketAddrs, lookup_host};
use tokio::sync::Semaphore;
use wtransport::endpoint::endpoint_side;
use wtransport::quinn::{self, IdleTimeout};
use wtransport::{Endpoint, ServerConfig};

pub use self::certificate::Certificate;
use crate::Server;
use crate::engine::{Engine, EngineConfig, TransportKind};

/// A UDP port for WebTransport.
///
/// ```no_run
/// use socketio_server::{Server, webtransport::{Certificate, Listener}};
///
/// # async fn example(io: Server) -> std::io::Result<()> {
/// // The port is taken before anybody is told of it.
/// let listener = Listener::bind("0.0.0.0:3000", Certificate::from_pem_files("cert.pem", "key.pem")?).await?;
/// println!("listening on {}", listener.local_addr()?);
/// io.serve_webtransport(listener).await;
/// # Ok(()) }
/// ```
pub struct Listener {
    endpoint: Endpoint<endpoint_side::Server>,
    certificate: Certificate,
}

impl Listener {
    /// Takes the first of `addr` that can be had. Clients are served from [`Server::serve_webtransport`] on.
    ///
    /// # Errors
    ///
    /// When none can, or the certificate is of no use for QUIC.
    ///
    /// ```
    /// use socketio_server::webtransport::{Certificate, Listener};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Certificate::self_signed(["localhost"])?).await?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(()) }
    /// ```
    pub async fn bind(addr: impl ToSocketAddrs, certificate: Certificate) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in lookup_host(addr).await? {
            match UdpSocket::bind(addr) {
                Ok(socket) => {
                    let quic = quic_config(&certificate, &EngineConfig::default())?;
                    let config = ServerConfig::builder().with_bind_socket(socket).build_with_quic_config(quic);
                    return Ok(Self { endpoint: Endpoint::server(config)?, certificate });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the socket does not know.
    ///
    /// ```
    /// use socketio_server::webtransport::{Certificate, Listener};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Certificate::self_signed(["localhost"])?).await?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok(()) }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("addr", &self.local_addr().ok()).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens for WebTransport sessions on the UDP port `addr`, until the server is [closed](Server::close). See
    /// [`webtransport`](crate::webtransport).
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, the certificate is of no use, or WebTransport is not among the
    /// [`transports`](crate::Builder::transports) of the server.
    ///
    /// ```no_run
    /// use socketio_server::webtransport::{Certificate};
    ///
    /// # async fn example(io: socketio_server::Server) -> std::io::Result<()> {
    /// io.listen_webtransport("0.0.0.0:3000", Certificate::from_pem_files("cert.pem", "key.pem")?).await?;
    /// # Ok(()) }
    /// ```
    pub async fn listen_webtransport(&self, addr: impl ToSocketAddrs, certificate: Certificate) -> io::Result<()> {
        self.engine().listen_webtransport(addr, certificate).await
    }

    /// Serves the sessions that come to `listener`, until the server is [closed](Server::close).
    ///
    /// # Errors
    ///
    /// When WebTransport is not among the [`transports`](crate::Builder::transports) of the server.
    ///
    /// ```no_run
    /// use socketio_server::webtransport::{Certificate, Listener};
    ///
    /// # async fn example(io: socketio_server::Server) -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Certificate::self_signed(["localhost"])?).await?;
    /// println!("listening on {}", listener.local_addr()?);
    /// io.serve_webtransport(listener).await?;
    /// # Ok(()) }
    /// ```
    pub async fn serve_webtransport(&self, listener: Listener) -> io::Result<()> {
        self.engine().serve_webtransport(listener).await
    }
}

impl Engine {
    /// Listens for WebTransport sessions on the UDP port `addr`, until the engine is [closed](Engine::close).
    ///
    /// # Errors
    ///
    /// As for [`Server::listen_webtransport`].
    ///
    /// ```no_run
    /// use socketio_server::{engine::Engine, webtransport::Certificate};
    ///
    /// # async fn example(engine: Engine) -> std::io::Result<()> {
    /// engine.listen_webtransport("0.0.0.0:3000", Certificate::from_pem_files("cert.pem", "key.pem")?).await
    /// # }
    /// ```
    pub async fn listen_webtransport(&self, addr: impl ToSocketAddrs, certificate: Certificate) -> io::Result<()> {
        self.serve_webtransport(Listener::bind(addr, certificate).await?).await
    }

    /// Serves the sessions that come to `listener`, until the engine is [closed](Engine::close).
    ///
    /// # Errors
    ///
    /// As for [`Server::serve_webtransport`].
    ///
    /// ```no_run
    /// use socketio_server::engine::Engine;
    /// use socketio_server::webtransport::{Certificate, Listener};
    ///
    /// # async fn example(engine: Engine) -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Certificate::self_signed(["localhost"])?).await?;
    /// engine.serve_webtransport(listener).await
    /// # }
    /// ```
    pub async fn serve_webtransport(&self, listener: Listener) -> io::Result<()> {
        if !self.config().transports.contains(&TransportKind::WebTransport) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "webtransport is not among the transports"));
        }
        let Listener { endpoint, certificate } = listener;
        let quic = quic_config(&certificate, self.config())?;
        let config = ServerConfig::builder().with_bind_default(0).build_with_quic_config(quic);
        endpoint.reload_config(config, false)?;
        self.start();
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        while let Some(incoming) = self.closing().run_until_cancelled(endpoint.accept()).await {
            let busy = handshakes.available_permits() < MAX_HANDSHAKES - UNVALIDATED_HANDSHAKES;
            match handshakes.clone().try_acquire_owned() {
                // Whoever comes again with the token that it is sent now can be reached under its address.
                _ if busy && !incoming.remote_address_validated() => incoming.retry(),
                Ok(handshaking) => self.spawn(self.clone().web_transport(incoming, handshaking)),
                Err(_) => incoming.refuse(),
            }
        }
        let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
        Ok(())
    }
}

/// How many clients may be on their way to a session.
const MAX_HANDSHAKES: usize = 1024;

/// Beyond how many of them a client has to show that its address is its own.
const UNVALIDATED_HANDSHAKES: usize = 128;

/// How long the closing of sessions may take once the server is closed.
const GOODBYE: Duration = Duration::from_secs(2);

/// One stream a session, silence judged by our heartbeat, and little kept for one client.
fn quic_config(certificate: &Certificate, config: &EngineConfig) -> io::Result<quinn::ServerConfig> {
    let mut transport = quinn::TransportConfig::default();
    let silence =
        config.timing.ping_interval.saturating_add(config.timing.ping_timeout).max(config.timing.upgrade_timeout);
    let silence = IdleTimeout::try_from(silence.saturating_add(IDLE_MARGIN)).ok();
    transport
        .max_idle_timeout(silence)
        .max_concurrent_bidi_streams(MAX_STREAMS)
        .max_concurrent_uni_streams(MAX_STREAMS)
        .receive_window(RECEIVE_WINDOW)
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(0);
    let mut quic = quinn::ServerConfig::with_crypto(certificate.quic()?);
    quic.transport_config(Arc::new(transport));
    Ok(quic)
}

/// What QUIC's idea of silence is longer than ours.
const IDLE_MARGIN: Duration = Duration::from_secs(5);

/// HTTP/3 has up to four streams of each kind open for itself; a session of ours adds one.
const MAX_STREAMS: quinn::VarInt = quinn::VarInt::from_u32(8);

/// How many bytes a client may have sent that were not read.
const RECEIVE_WINDOW: quinn::VarInt = quinn::VarInt::from_u32(2 << 20);

/// How many bytes may be on their way to a client, besides those in its queue.
const SEND_WINDOW: u64 = 1 << 20;

/// Browsers want to hear that datagrams could be sent. None are read: of what comes, this much is kept.
const DATAGRAMS: usize = 16 << 10;
