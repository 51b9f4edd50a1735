//! HTTP on one connection, from its first byte until it ends or becomes a WebSocket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::BoxError;
use super::accept::Origin;
use super::listener::Settings;
use crate::engine::{Activity, Answering, Observed};

/// Answers the requests of one connection.
pub(super) async fn speak<I, S, ResBody>(
    stream: I,
    origin: Origin,
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
    let activity = Activity::new();
    let stream = TokioIo::new(Observed::new(stream, activity.clone(), true));
    let seen = activity.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        origin.note(request.extensions_mut());
        answer(service.clone(), request, seen.request())
    });
    let mut builder = http1::Builder::new();
    // Times are kept by `Activity`: hyper's own would run while a slow client takes in an answer.
    builder.header_read_timeout(None).max_buf_size(settings.max_header_size);
    let connection = builder.serve_connection(stream, service).with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        }
        () = idled(&activity, settings) => {
            tracing::debug!(remote = ?origin.remote, "an HTTP connection was idle, or its request too slow");
        }
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GOODBYE, connection).await;
        }
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
