//! The server as a tower service, as a layer in front of another, and behind a port of its own; an engine alone, too.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;
use tower_service::Service;

use crate::engine::{Body, Engine, RemoteAddress, not_found};
use crate::server::Server;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Server {
    /// The server as a [`Service`](tower_service::Service) on its own: everything that is not its own is 404.
    pub fn service(&self) -> SocketIoService<NotFound> {
        self.layer().layer(NotFound)
    }

    /// The server as a layer in front of another service (an axum `Router`, for one), which gets what is not the
    /// server's own.
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer { engine: self.engine().clone(), server: Some(self.clone()) }
    }

    /// Listens on `addr` until the server is [closed](Server::close).
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.serve(bind(addr).await?).await;
        Ok(())
    }

    /// Serves the connections of `listener` until the server is [closed](Server::close).
    pub async fn serve(&self, listener: TcpListener) {
        self.serve_with(listener, NotFound).await;
    }

    /// Serves the connections of `listener`; requests that are not the server's own go to `inner`.
    pub async fn serve_with<S, ResBody>(&self, listener: TcpListener, inner: S)
    where
        S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        serve_until(listener, self.layer().layer(inner), self.engine().closing()).await;
    }
}

impl Engine {
    /// The engine as a [`Service`](tower_service::Service) on its own: everything that is not its own is 404.
    pub fn service(&self) -> SocketIoService<NotFound> {
        self.layer().layer(NotFound)
    }

    /// The engine as a layer in front of another service, which gets what is not the engine's own.
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer { engine: self.clone(), server: None }
    }

    /// Listens on `addr` until the engine is [closed](Engine::close).
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.serve(bind(addr).await?).await;
        Ok(())
    }

    /// Serves the connections of `listener` until the engine is [closed](Engine::close).
    pub async fn serve(&self, listener: TcpListener) {
        serve_until(listener, self.service(), self.closing()).await;
    }
}

/// Serves the connections of `listener` with any service, as [`Server::serve`] does with its own, for as long as it is
/// polled: for a server, or several, inside other layers.
///
/// ```no_run
/// # use socketio_server::{Server, bind, serve};
/// # use tower_layer::Layer;
/// # async fn example(chat: Server, game: Server) -> std::io::Result<()> {
/// serve(bind("127.0.0.1:3000").await?, chat.layer().layer(game.service())).await;
/// # Ok(()) }
/// ```
pub async fn serve<S, ResBody>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    serve_until(listener, service, &CancellationToken::new()).await;
}

/// Serves the connections of `listener` until `closing` is cancelled.
async fn serve_until<S, ResBody>(listener: TcpListener, service: S, closing: &CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others may close theirs meanwhile.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            continue;
        }
        let service = service.clone();
        let closing = closing.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(RemoteAddress(remote));
                service.clone().call(request)
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "an HTTP connection ended");
                    }
                }
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(GOODBYE, connection).await;
                }
            }
        });
    }
}

/// A listener on the first of `addr` that can be listened on, with room for many clients that come at once:
/// [`TcpListener::bind`] has the kernel turn away those past 128, who come back a second later.
///
/// # Errors
///
/// When none can.
pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut last = None;
    for addr in lookup_host(addr).await? {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        match socket.bind(addr).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")))
}

/// How many clients may wait to be accepted; the kernel takes less if it is set to less.
const BACKLOG: u32 = 4096;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the head of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes; also what a waiting poll holds.
const MAX_HEAD: usize = 16 << 10;

/// How long answers may take to leave once the server is closed.
const GOODBYE: Duration = Duration::from_secs(2);

/// Puts a [`Server`] or an [`Engine`] in front of a service; see [`Server::layer`].
#[derive(Debug, Clone)]
pub struct SocketIoLayer {
    engine: Engine,
    /// The server whose engine it is, which lives as long as it can be reached.
    server: Option<Server>,
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SocketIoService { layer: self.clone(), inner }
    }
}

/// A [`Server`] or an [`Engine`] in front of a service; see [`Server::service`] and [`Server::layer`].
#[derive(Debug, Clone)]
pub struct SocketIoService<S> {
    layer: SocketIoLayer,
    inner: S,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SocketIoService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Future: Send + 'static,
    ReqBody: HttpBody + Send + 'static,
    ReqBody::Data: Send,
    ReqBody::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes>,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Either<Body, ResBody>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let engine = &self.layer.engine;
        if !engine.owns(request.uri().path()) {
            let answer = self.inner.call(request);
            return Box::pin(async move { Ok(answer.await?.map(Either::Right)) });
        }
        let file = self.layer.server.as_ref().and_then(|server| client_file(server, &request));
        let engine = engine.clone();
        Box::pin(async move {
            let response = match file {
                Some(file) => file,
                None => engine.respond(request).await,
            };
            Ok(response.map(Either::Left))
        })
    }
}

/// The answer to a request for a file of the JavaScript client.
#[cfg(feature = "client-bundle")]
fn client_file<B>(server: &Server, request: &Request<B>) -> Option<Response<Body>> {
    let config = server.engine().config();
    if !server.0.shared.config.serve_client || (config.cors.is_some() && request.method() == http::Method::OPTIONS) {
        return None; // The engine answers a preflight, for files too.
    }
    let mut file = crate::client_files::answer(request, &config.path)?;
    if let Some(cors) = &config.cors {
        cors.add_headers(request.headers().get(http::header::ORIGIN), file.headers_mut());
    }
    Some(file)
}

#[cfg(not(feature = "client-bundle"))]
fn client_file<B>(_: &Server, _: &Request<B>) -> Option<Response<Body>> {
    None
}

/// Answers everything with 404.
#[derive(Debug, Clone, Copy)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(not_found())
    }
}
