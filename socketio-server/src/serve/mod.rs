//! The server behind ports of its own.
//!
//! A [`Listener`] is where connections come from, with all that holds for them before they are a session: how long the
//! head of a request may take, how many there may be, TLS, which proxies stand in front. One [loop](accept) takes them
//! in, [`connection`] speaks with each. An application that has a server of its own needs none of this; see
//! [`Server::layer`].

mod accept;
mod answer;
mod connection;
mod http1;
mod listener;
mod proxy_protocol;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;

use std::convert::Infallible;
use std::io;
#[cfg(unix)]
use std::path::Path;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use tokio::net::ToSocketAddrs;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;
use tower_service::Service;

use crate::engine::Engine;
use crate::server::Server;
use crate::service::NotFound;

pub use self::listener::{IntoListeners, Listener, bind};
#[cfg(feature = "tls")]
pub use self::tls::{TlsConfig, TlsError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Server {
    /// Listens on `addr` until the server is [closed](Server::close).
    ///
    /// Of several addresses that a name stands for, the first that can be listened on is. To listen on several, or
    /// with other options, there is [`serve`](Server::serve).
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    ///
    /// ```no_run
    /// # #[tokio::main] async fn main() -> std::io::Result<()> {
    /// let io = socketio_server::Server::new();
    /// io.listen("127.0.0.1:3000").await
    /// # }
    /// ```
    pub async fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.serve(Listener::bind(addr).await?).await;
        Ok(())
    }

    /// Listens on the unix socket `path` until the server is [closed](Server::close); see [`Listener::bind_unix`].
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(unix)]
    pub async fn listen_unix(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.serve(Listener::bind_unix(path)?).await;
        Ok(())
    }

    /// Listens on `addr` with TLS until the server is [closed](Server::close).
    ///
    /// ```no_run
    /// # use socketio_server::{Server, TlsConfig};
    /// # async fn example(io: Server) -> Result<(), Box<dyn std::error::Error>> {
    /// io.listen_tls("0.0.0.0:443", TlsConfig::from_pem_files("fullchain.pem", "privkey.pem")?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    #[cfg(feature = "tls")]
    pub async fn listen_tls(&self, addr: impl ToSocketAddrs, tls: TlsConfig) -> io::Result<()> {
        self.serve(Listener::bind(addr).await?.tls(tls)).await;
        Ok(())
    }

    /// Serves the connections of a listener, or of several at once, until the server is [closed](Server::close).
    ///
    /// ```no_run
    /// # use socketio_server::{Listener, Server, bind};
    /// # async fn example(io: Server) -> std::io::Result<()> {
    /// io.serve([Listener::bind("0.0.0.0:80").await?, Listener::bind("[::1]:8080").await?]).await;
    /// # Ok(()) }
    /// ```
    pub async fn serve(&self, listeners: impl IntoListeners) {
        self.serve_with(listeners, NotFound).await;
    }

    /// Serves the connections of listeners; requests that are not the server's own go to `inner`.
    ///
    /// ```no_run
    /// use socketio_server::{Listener, Server};
    ///
    /// # async fn example(io: Server) -> std::io::Result<()> {
    /// let app = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    /// let listener = Listener::bind("127.0.0.1:3000").await?.max_connections(10_000);
    /// io.serve_with(listener, app).await;
    /// # Ok(()) }
    /// ```
    pub async fn serve_with<S, ResBody>(&self, listeners: impl IntoListeners, inner: S)
    where
        S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        serve_until(listeners, self.layer().layer(inner), Some(self.engine()), self.engine().closing()).await;
    }
}

impl Engine {
    /// Listens on `addr` until the engine is [closed](Engine::close).
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.serve(Listener::bind(addr).await?).await;
        Ok(())
    }

    /// Serves the connections of listeners until the engine is [closed](Engine::close).
    pub async fn serve(&self, listeners: impl IntoListeners) {
        serve_until(listeners, self.service(), Some(self), self.closing()).await;
    }
}

/// Serves the connections of listeners with any service, as [`Server::serve`] does with its own, for as long as it is
/// polled: for a server, or several, inside other layers.
///
/// ```no_run
/// # use socketio_server::{Server, bind, serve};
/// # use tower_layer::Layer;
/// # async fn example(chat: Server, game: Server) -> std::io::Result<()> {
/// serve(bind("127.0.0.1:3000").await?, chat.layer().layer(game.service())).await;
/// # Ok(()) }
/// ```
pub async fn serve<S, ResBody>(listeners: impl IntoListeners, service: S)
where
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    serve_until(listeners, service, None, &CancellationToken::new()).await;
}

/// Serves the connections of listeners until `closing` is cancelled. Plain requests for `engine` need not go through
/// `service`, which would answer them alike.
async fn serve_until<S, ResBody>(
    listeners: impl IntoListeners,
    service: S,
    engine: Option<&Engine>,
    closing: &CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let listeners = listeners.into_listeners().into_iter();
    join_all(listeners.map(|listener| accept::run(listener, service.clone(), engine, closing))).await;
}
