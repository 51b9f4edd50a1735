//! HTTP on one connection, from its first byte until it ends or becomes a WebSocket.
//!
//! Plain HTTP/1.1 is spoken on the bare stream, so that a WebSocket gets it back bare. Which version is spoken is agreed
//! on with TLS; without, HTTP/2 is looked for only where it is [allowed](super::Listener::http2_prior_knowledge).

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, Version};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::BoxError;
use super::accept::Origin;
use super::http1::{self, End};
use super::listener::Settings;
use super::proxy_protocol;
#[cfg(not(feature = "tls"))]
use crate::engine::Halves as Bare;
#[cfg(feature = "tls")]
use crate::engine::UnderTls as Bare;
use crate::engine::{Activity, Answering, Engine, Halves, Hold, Life, Observed};

/// A stream as it comes from a listener.
pub(super) trait Stream: Bare + AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Its first bytes, which stay in it. None where the system cannot tell.
    fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

impl Stream for TcpStream {
    fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        TcpStream::peek(self, buf)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    async fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

/// Answers the requests of one connection, after what comes in front of them.
pub(super) async fn receive<I, S, ResBody>(
    mut stream: I,
    mut origin: Origin,
    settings: &Settings,
    service: S,
    engine: Option<&Engine>,
    closing: &CancellationToken,
) -> Option<Life>
where
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    // What is rare is boxed, so that it adds nothing to what a waiting poll holds.
    if settings.proxy_protocol.as_ref().is_some_and(|proxies| proxies.trusts(origin.remote)) {
        let header = Box::pin(tokio::time::timeout(settings.header_read_timeout, proxy_protocol::read(&mut stream)));
        match header.await {
            Ok(Ok(header)) => {
                origin.remote = header.source.or(origin.remote);
                origin.secure |= header.secure;
            }
            Ok(Err(error)) => {
                tracing::debug!(remote = ?origin.remote, %error, "no PROXY header");
                return None;
            }
            Err(_) => {
                tracing::debug!(remote = ?origin.remote, "a PROXY header was too slow");
                return None;
            }
        }
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &settings.tls {
        let stream = Box::pin(tls.accept(stream)).await?;
        origin.secure = true;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        return Box::pin(speak(stream, http2, origin, settings, service, engine, closing)).await;
    }
    let http2 = settings.http2_prior_knowledge && Box::pin(begins_http2(&stream, settings)).await;
    speak(stream, http2, origin, settings, service, engine, closing).await
}

/// Whether the client begins as one that knows it may speak HTTP/2 (RFC 9113, section 3.3).
async fn begins_http2(stream: &impl Stream, settings: &Settings) -> bool {
    let look = async {
        let mut start = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut start).await {
                Ok(n @ 1..) if n < start.len() && PREFACE.starts_with(&start[..n]) => {
                    // The rest is on its way; a peek does not wait for it.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(n) => return n == start.len() && start == *PREFACE,
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(settings.header_read_timeout, look).await.unwrap_or(false)
}

/// `PRI` alone would do: no method of HTTP/1.1 is called so.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Speaks HTTP/1.1 by ourselves for as long as its requests are plain ones for `engine`, and HTTP by hyper from there on.
async fn speak<I, S, ResBody>(
    stream: I,
    http2: bool,
    origin: Origin,
    settings: &Settings,
    service: S,
    engine: Option<&Engine>,
    closing: &CancellationToken,
) -> Option<Life>
where
    I: AsyncRead + AsyncWrite + Halves + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let activity = Activity::new();
    let (stream, ahead) = match engine.filter(|_| !http2) {
        Some(engine) => match plain(stream, origin, engine, &activity, settings, closing).await {
            End::Closed => return None,
            End::Opened(opening, stream, ahead) => {
                let (reader, writer) = stream.halves();
                return Some(opening.begin(Some((reader, writer, ahead))));
            }
            End::Other(stream, ahead) => (stream, ahead),
        },
        None => (stream, Bytes::new()),
    };
    let stream = Observed::new(stream, ahead, activity.clone(), !http2);
    // Boxed: it has some kilobytes, and most connections never need it.
    Box::pin(speak_by_hyper(stream, http2, origin, activity, settings, service, closing)).await;
    None
}

/// Speaks HTTP/1.1 by ourselves until there is something that is not plain, the connection is idle or the server closed.
async fn plain<I: AsyncRead + AsyncWrite + Unpin>(
    stream: I,
    origin: Origin,
    engine: &Engine,
    activity: &Activity,
    settings: &Settings,
    closing: &CancellationToken,
) -> End<I> {
    let mut serving = pin!(http1::serve(stream, origin.peer(), engine, activity, closing));
    tokio::select! {
        end = serving.as_mut() => return end,
        () = idled(activity, settings) => {
            tracing::debug!("an HTTP connection was idle, or its request too slow");
            return End::Closed;
        }
        () = closing.cancelled() => {}
    }
    if activity.is_idle() {
        return End::Closed;
    }
    tokio::time::timeout(GOODBYE, serving).await.unwrap_or(End::Closed)
}

async fn speak_by_hyper<I, S, ResBody>(
    stream: Observed<I>,
    http2: bool,
    origin: Origin,
    activity: Arc<Activity>,
    settings: &Settings,
    service: S,
    closing: &CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let stream = TokioIo::new(stream);
    let seen = activity.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        origin.note(request.extensions_mut());
        if request.version() == Version::HTTP_2 {
            as_http1(&mut request, &seen);
        }
        answer(service.clone(), request, seen.request())
    });
    if http2 {
        let mut connection = Box::pin(http2_builder(settings).serve_connection(stream, service));
        return drive(
            connection.as_mut(),
            |connection| connection.graceful_shutdown(),
            true,
            &activity,
            settings,
            closing,
        )
        .await;
    }
    let mut builder = conn::http1::Builder::new();
    // Times are kept by `Activity`: hyper's own would run while a slow client takes in an answer.
    builder.header_read_timeout(None).max_buf_size(settings.max_header_size);
    let connection = pin!(builder.serve_connection(stream, service).with_upgrades());
    drive(connection, |connection| connection.graceful_shutdown(), false, &activity, settings, closing).await;
}

fn http2_builder(settings: &Settings) -> conn::http2::Builder<TokioExecutor> {
    let mut builder = conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(settings.max_header_size).unwrap_or(u32::MAX))
        // Streams that are opened and reset at once ("rapid reset"), and those that we reset.
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        // A client that is gone without a word is noticed also while a poll of its waits.
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Runs a connection until it ends, is idle or the server closed. A polite one is told that it ends for idleness.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    shut_down: fn(Pin<&mut C>),
    polite: bool,
    activity: &Activity,
    settings: &Settings,
    closing: &CancellationToken,
) where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP connection ended");
            }
            return;
        }
        () = idled(activity, settings) => {
            tracing::debug!("an HTTP connection was idle, or its request too slow");
            if !polite {
                return;
            }
        }
        () = closing.cancelled() => {}
    }
    shut_down(connection.as_mut());
    let _ = tokio::time::timeout(GOODBYE, connection).await;
}

/// Gives a request of HTTP/2 the header `Host`, which it has in another form, and lets a WebSocket hold its connection.
fn as_http1(request: &mut Request<Incoming>, activity: &Arc<Activity>) {
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok()) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    if request.method() == Method::CONNECT {
        request.extensions_mut().insert(Hold::new(activity.request()));
    }
}

/// One request through the service. It counts as answered when the body of its answer is in hyper's hands.
async fn answer<S, ResBody>(
    mut service: S,
    request: Request<Incoming>,
    answering: Answering,
) -> Result<Response<impl HttpBody<Data = Bytes, Error = ResBody::Error>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible>,
    ResBody: HttpBody<Data = Bytes>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    let response = service.call(request).await?;
    Ok(response.map(|body| {
        body.map_err(move |error| {
            let _ = &answering; // Lives as long as the body.
            error
        })
    }))
}

/// Returns when the connection has been idle for too long, or the head of a request was too slow.
async fn idled(activity: &Activity, settings: &Settings) {
    let (head, idle) = (settings.header_read_timeout, settings.keep_alive_timeout);
    // No deadline that begins meanwhile ends earlier, so it is enough to look as often.
    let look = head.min(idle).max(Duration::from_millis(1));
    loop {
        let now = Instant::now();
        let again = match activity.deadline(head, idle) {
            Some(deadline) if deadline <= now => return,
            Some(deadline) => deadline.min(now + look),
            None => now + look,
        };
        tokio::time::sleep_until(again.into()).await;
    }
}

/// How long answers may take to leave once the server is closed.
const GOODBYE: Duration = Duration::from_secs(2);

/// How many requests and WebSockets one connection may have at a time; a client with more opens another.
const MAX_STREAMS: u32 = 128;

/// How many streams that have been reset may be unfinished before the connection is closed. hyper's own limit is for
/// what a client resets; what we reset, for errors of the client, it would let be 1,024.
const MAX_RESET_STREAMS: usize = 20;

/// How often a client with open streams is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
