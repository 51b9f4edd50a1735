//! The server as a tower service and as a layer in front of another; an engine alone, too.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::Either;
use tower_layer::Layer;
use tower_service::Service;

use crate::engine::{Body, Engine, not_found};
use crate::server::Server;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Server {
    /// The server as a [`Service`](tower_service::Service) on its own: everything that is not its own is 404.
    ///
    /// ```
    /// use socketio_server::Server;
    ///
    /// let io = Server::new();
    /// let service = io.service(); // everything that is not the server's is 404
    /// ```
    pub fn service(&self) -> SocketIoService<NotFound> {
        self.layer().layer(NotFound)
    }

    /// The server as a layer in front of another service (an axum `Router`, for one), which gets what is not the
    /// server's own.
    ///
    /// ```
    /// use socketio_server::Server;
    ///
    /// let io = Server::new();
    /// let app: axum::Router = axum::Router::new().route("/", axum::routing::get(async || "hello")).layer(io.layer());
    /// ```
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer { engine: self.engine().clone(), server: Some(self.clone()) }
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
}

/// Puts a [`Server`] or an [`Engine`] in front of a service; see [`Server::layer`].
///
/// ```
/// use socketio_server::{Server, SocketIoLayer};
///
/// let layer: SocketIoLayer = Server::new().layer();
/// let app: axum::Router = axum::Router::new().route("/", axum::routing::get(async || "hello")).layer(layer);
/// ```
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
///
/// ```
/// use axum::http::Request;
/// use socketio_server::{Server, engine::Body};
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut service = Server::new().service();
/// let handshake = Request::get("/socket.io/?EIO=4&transport=polling").body(Body::default()).unwrap();
/// assert_eq!(service.call(handshake).await.unwrap().status(), 200);
/// # }
/// ```
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
        let origin = request.headers().get(http::header::ORIGIN);
        cors.add_headers(origin.map(|origin| origin.as_bytes()), file.headers_mut());
    }
    Some(file)
}

#[cfg(not(feature = "client-bundle"))]
fn client_file<B>(_: &Server, _: &Request<B>) -> Option<Response<Body>> {
    None
}

/// Answers everything with 404.
///
/// ```
/// use axum::http::Request;
/// use socketio_server::{NotFound, Server, engine::Body};
/// use tower_layer::Layer;
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut service = Server::new().layer().layer(NotFound); // nothing but Socket.IO
/// let answer = service.call(Request::get("/").body(Body::default()).unwrap()).await.unwrap();
/// assert_eq!(answer.status(), 404);
/// # }
/// ```
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
