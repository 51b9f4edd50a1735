//! The loop that takes connections in.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::BoxError;
use super::connection;
use super::listener::{Listener, Settings, Source};
use crate::engine::{Engine, Life, Peer, RemoteAddress, Secure, UnixPeer};

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// `None`: a unix socket.
    pub(super) remote: Option<SocketAddr>,
    /// Whether it is encrypted, here or before a proxy.
    pub(super) secure: bool,
}

impl Origin {
    /// What the engine wants to know of it.
    pub(super) fn peer(self) -> Peer {
        Peer { remote: self.remote, known: true, secure: self.secure }
    }

    /// Notes it where the engine looks.
    pub(super) fn note(&self, extensions: &mut Extensions) {
        match self.remote {
            Some(remote) => drop(extensions.insert(RemoteAddress(remote))),
            None => drop(extensions.insert(UnixPeer)),
        }
        if self.secure {
            extensions.insert(Secure);
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Source {
    async fn accept(&self) -> io::Result<(Stream, Origin)> {
        match self {
            Source::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Origin { remote: Some(remote), secure: false }))
            }
            #[cfg(unix)]
            Source::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Origin { remote: None, secure: false }))
            }
        }
    }
}

/// Takes connections in, each with a task of its own, until `closing` is cancelled.
pub(super) async fn run<S, ResBody>(
    listener: Listener,
    service: S,
    engine: Option<&Engine>,
    closing: &CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<ResBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let Listener { source, settings } = listener;
    let settings = Arc::new(settings);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            accepted = source.accept() => accepted,
            () = closing.cancelled() => return,
        };
        let (stream, origin) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors, most likely: others may close theirs meanwhile.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = Place::take(&open, &settings, origin.remote) else {
            tracing::debug!(remote = ?origin.remote, "a connection is turned away");
            continue;
        };
        let (settings, service, closing) = (settings.clone(), service.clone(), closing.clone());
        let engine = engine.cloned();
        match stream {
            Stream::Tcp(stream) => {
                // Fails only on a stream that is broken already, which the first read will say.
                let _ = stream.set_nodelay(true);
                spawn(place, async move {
                    connection::receive(stream, origin, &settings, service, engine.as_ref(), &closing).await
                });
            }
            #[cfg(unix)]
            Stream::Unix(stream) => spawn(place, async move {
                connection::receive(stream, origin, &settings, service, engine.as_ref(), &closing).await
            }),
        }
    }
}

/// A task for a connection: as HTTP it has a place and needs some memory, which it gives back when it becomes something else.
fn spawn(place: Place, http: impl Future<Output = Option<Life>> + Send + 'static) {
    // Boxed also because a task is copied several times on its way to the heap.
    let http = Box::pin(async move {
        let _place = place;
        http.await
    });
    tokio::spawn(async move {
        if let Some(life) = http.await {
            life.await;
        }
    });
}

/// Whether it was only the one connection that could not be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The place of one connection among those of its listener.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>, settings: &Settings, remote: Option<SocketAddr>) -> Option<Self> {
        open.fetch_add(1, Ordering::Relaxed);
        let place = Self(open.clone());
        let room = open.load(Ordering::Relaxed) <= settings.max_connections;
        let wanted = room && settings.admit.as_ref().is_none_or(|admit| (admit.0)(remote));
        wanted.then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
