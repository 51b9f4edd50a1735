//! Where connections come from.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socketio_protocol::NEVER;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};

#[cfg(feature = "tls")]
use super::tls::TlsConfig;
#[cfg(unix)]
use super::unix::{self, SocketFile};
use crate::engine::TrustedProxies;

/// A port or a unix socket that clients connect to, and what holds for their connections until they are sessions.
///
/// One that the process has inherited, from a supervisor for instance, is made of a [`std::net::TcpListener`] or
/// [`std::os::unix::net::UnixListener`] by [`TryFrom`].
///
/// ```no_run
/// # use std::time::Duration;
/// # use socketio_server::{Listener, Server};
/// # async fn example(io: Server) -> std::io::Result<()> {
/// // Behind a load balancer that keeps connections for a minute.
/// let listener = Listener::bind("0.0.0.0:3000").await?.keep_alive_timeout(Duration::from_secs(65));
/// io.serve([listener, Listener::bind_unix("/run/chat.sock")?]).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Listener {
    pub(super) source: Source,
    pub(super) settings: Settings,
}

/// What connections are taken from.
#[derive(Debug)]
pub(super) enum Source {
    Tcp(TcpListener),
    /// With the file to remove at the end, if we have made it.
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] Option<SocketFile>),
}

/// What holds for the connections of a listener.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) header_read_timeout: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) max_header_size: usize,
    pub(super) max_connections: usize,
    pub(super) admit: Option<Admit>,
    pub(super) http2_prior_knowledge: bool,
    pub(super) proxy_protocol: Option<TrustedProxies>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(10),
            max_header_size: 16 << 10,
            max_connections: usize::MAX,
            admit: None,
            http2_prior_knowledge: false,
            proxy_protocol: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Listener {
    /// Listens on the first of the addresses that can be listened on; see [`bind`].
    ///
    /// ```
    /// # use socketio_server::{Listener, Server};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0").await?.max_header_size(16 << 10).max_connections(10_000);
    /// println!("{:?}", listener.local_addr());
    /// let io = Server::new();
    /// # let closing = io.clone();
    /// # tokio::spawn(async move { closing.close().await });
    /// io.serve([listener]).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When none can.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(bind(addr).await?.into())
    }

    /// Listens on a unix socket at `path`, which anyone may connect to who may enter its folder (mode 0666). The file is
    /// removed when the listener is dropped.
    ///
    /// A socket that a server before has left behind is replaced.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] when another server answers there, [`io::ErrorKind::AlreadyExists`] when there is
    /// a file that is no socket. Others when the socket cannot be made.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_unix_with_mode(path, 0o666)
    }

    /// Like [`bind_unix`](Listener::bind_unix), with who may connect: `0o660` are the owner and the group. The socket has
    /// this mode from the first moment on.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(unix)]
    pub fn bind_unix_with_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let (listener, file) = unix::bind(path.as_ref(), mode)?;
        Ok(Self::new(Source::Unix(listener, Some(file))))
    }

    fn new(source: Source) -> Self {
        Self { source, settings: Settings::default() }
    }

    /// Where it listens; `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.source {
            Source::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Source::Unix(..) => None,
        }
    }

    /// Has connections encrypted with TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Has proxies say by the PROXY protocol, version 1 or 2, whom a connection is for. Each connection that comes from
    /// one of `proxies` has to begin with a header, within the time of [`header_read_timeout`]; one without is closed.
    /// Those that come from elsewhere are for whom they come from, and what looks like a header is a malformed request.
    ///
    /// [`header_read_timeout`]: Listener::header_read_timeout
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: TrustedProxies) -> Self {
        self.settings.proxy_protocol = Some(proxies);
        self
    }

    /// Whether clients may speak HTTP/2 without TLS if they know that they may ("h2c"), as proxies can. On TCP only.
    /// Default false. With TLS it is agreed on by ALPN.
    #[must_use]
    pub fn http2_prior_knowledge(mut self, allow: bool) -> Self {
        self.settings.http2_prior_knowledge = allow;
        self
    }

    /// How long the head of a request may take: of the first from the connection on, of others from their first byte
    /// on. A connection past it is closed. Default 10 s.
    #[must_use]
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.settings.header_read_timeout = timeout.min(NEVER);
        self
    }

    /// How long a connection is kept on which nothing happens between requests; what a slow client takes in of an answer
    /// is something. Behind a proxy that keeps connections it should be longer than the proxy's own. Default 10 s.
    #[doc(alias = "keepAliveTimeout")]
    #[must_use]
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.settings.keep_alive_timeout = timeout.min(NEVER);
        self
    }

    /// The longest head of a request, in bytes; a longer one is answered with 431. A waiting poll holds as much memory.
    /// Default 16 KiB, at least 8 KiB.
    #[must_use]
    pub fn max_header_size(mut self, bytes: usize) -> Self {
        self.settings.max_header_size = bytes.max(8 << 10);
        self
    }

    /// How many connections may speak HTTP at one time; one more is closed at once. Those that have become WebSockets do
    /// not count: [`admit`](Listener::admit) can have an eye on them. Default no limit.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.settings.max_connections = max;
        self
    }

    /// Asks `admit` about each connection before a byte of it is read. One that it does not want is closed. The address
    /// is where the connection comes from, `None` for a unix socket; for each connection of a proxy, the proxy's.
    ///
    /// ```no_run
    /// # async fn example(io: socketio_server::Server) -> std::io::Result<()> {
    /// let engine = io.engine().clone();
    /// let listener = socketio_server::Listener::bind("0.0.0.0:3000").await?;
    /// io.serve(listener.admit(move |_| engine.clients_count() < 50_000)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn admit(mut self, admit: impl Fn(Option<SocketAddr>) -> bool + Send + Sync + 'static) -> Self {
        self.settings.admit = Some(Admit(Arc::new(admit)));
        self
    }
}

/// Looks at each connection.
#[derive(Clone)]
pub(super) struct Admit(pub(super) Arc<dyn Fn(Option<SocketAddr>) -> bool + Send + Sync>);

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admit")
    }
}

/// A listener on the first of `addr` that can be listened on, with room for many clients that come at once:
/// [`TcpListener::bind`] has the kernel turn away those past 128, who come back a second later.
///
/// # Errors
///
/// When none can.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let app = axum::Router::new();
/// let listener = socketio_server::bind("127.0.0.1:0").await?;
/// axum::serve(listener, app).await?;
/// # Ok(()) }
/// ```
pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut last = None;
    for addr in lookup_host(addr).await? {
        match listen_at(addr) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")))
}

fn listen_at(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts anew has its port back at once. On Windows it would take one that another has.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// How many clients may wait to be accepted; the kernel takes less if it is set to less.
pub(super) const BACKLOG: u32 = 4096;

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::new(Source::Tcp(listener))
    }
}

/// One that was inherited.
impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?.into())
    }
}

/// Its file stays when the listener is dropped.
#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::new(Source::Unix(listener, None))
    }
}

/// One that was inherited. Its file stays when the listener is dropped.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener::from_std(listener)?.into())
    }
}

/// One listener or several.
///
/// ```no_run
/// use socketio_server::{Listener, Server, bind};
///
/// # async fn example(io: Server) -> std::io::Result<()> {
/// io.serve(bind("0.0.0.0:80").await?).await; // a listener of Tokio's
/// io.serve([Listener::bind("0.0.0.0:80").await?, Listener::bind_unix("/run/chat.sock")?]).await;
/// # Ok(()) }
/// ```
pub trait IntoListeners {
    /// All of them.
    fn into_listeners(self) -> Vec<Listener>;
}

impl IntoListeners for Listener {
    fn into_listeners(self) -> Vec<Listener> {
        vec![self]
    }
}

impl IntoListeners for TcpListener {
    fn into_listeners(self) -> Vec<Listener> {
        vec![self.into()]
    }
}

#[cfg(unix)]
impl IntoListeners for UnixListener {
    fn into_listeners(self) -> Vec<Listener> {
        vec![self.into()]
    }
}

impl<L: Into<Listener>> IntoListeners for Vec<L> {
    fn into_listeners(self) -> Vec<Listener> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<L: Into<Listener>, const N: usize> IntoListeners for [L; N] {
    fn into_listeners(self) -> Vec<Listener> {
        self.into_iter().map(Into::into).collect()
    }
}
