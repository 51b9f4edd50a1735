//! The head of a request, as the engine reads it: one that hyper (or whoever calls the service) has parsed, or one of
//! the path of our own ([`serve::http1`](crate::serve)), which is read where it lies.

use std::net::SocketAddr;
use std::sync::OnceLock;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use hyper::ext::Protocol;
use socketio_protocol::http1;

use super::engine::Shared;
use super::request::{RemoteAddress, Request, Secure, UnixPeer};

/// A request without its body.
pub(crate) struct Head<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) headers: Headers<'a>,
    pub(super) peer: Peer,
    /// Whom the target itself names; headers of a WebSocket over HTTP/2.
    pub(super) authority: Option<&'a str>,
    /// How a WebSocket begins in HTTP/2 (RFC 8441).
    pub(super) extended: Option<&'a Protocol>,
    copy: OnceLock<Request>,
}

/// Where a request comes from, as far as the listener says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peer {
    pub(crate) remote: Option<SocketAddr>,
    /// Whether the listener says it: a unix socket has no address.
    pub(crate) known: bool,
    pub(crate) secure: bool,
}

/// The headers of a request.
#[derive(Clone, Copy)]
pub(crate) enum Headers<'a> {
    Map(&'a HeaderMap),
    Lines(&'a http1::Head, &'a [u8]),
}

impl<'a> Head<'a> {
    pub(crate) fn of<B>(request: &'a http::Request<B>) -> Self {
        let extensions = request.extensions();
        let remote = extensions.get::<RemoteAddress>().map(|remote| remote.0);
        Self {
            method: request.method().clone(),
            target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
            headers: Headers::Map(request.headers()),
            peer: Peer {
                remote,
                known: remote.is_some() || extensions.get::<UnixPeer>().is_some(),
                secure: extensions.get::<Secure>().is_some(),
            },
            authority: request.uri().authority().map(|authority| authority.as_str()),
            extended: extensions.get().filter(|_| *request.method() == Method::CONNECT),
            copy: OnceLock::new(),
        }
    }

    /// `bytes` is what `head` was read from.
    pub(crate) fn plain(head: &'a http1::Head, bytes: &'a [u8], peer: Peer) -> Self {
        let target = bytes.get(head.target.clone()).unwrap_or_default();
        Self {
            method: if head.post { Method::POST } else { Method::GET },
            target: str::from_utf8(target).unwrap_or("/"),
            headers: Headers::Lines(head, bytes),
            peer,
            authority: None,
            extended: None,
            copy: OnceLock::new(),
        }
    }

    /// What is behind the question mark.
    pub(super) fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(super) fn wants_web_socket(&self) -> bool {
        if let Headers::Lines(head, _) = self.headers {
            return head.upgrade; // It has been looked at in passing.
        }
        self.extended.is_some()
            || (self.headers.has_token(&header::UPGRADE, "websocket")
                && self.headers.has_token(&header::CONNECTION, "upgrade"))
    }

    /// The copy that a session keeps and applications see: made when first wanted, which by most polls it never is.
    pub(super) fn copy(&self, shared: &Shared) -> &Request {
        self.copy.get_or_init(|| Request::new(self, shared.config.trust_proxy.as_ref()))
    }
}

impl<'a> Headers<'a> {
    /// The first header of this name.
    pub(super) fn get(&self, name: &HeaderName) -> Option<&'a [u8]> {
        match self {
            Headers::Map(map) => map.get(name).map(HeaderValue::as_bytes),
            Headers::Lines(..) => self.lines(name).next(),
        }
    }

    /// The first header of this name, if it is visible ASCII.
    pub(super) fn text(&self, name: &HeaderName) -> Option<&'a str> {
        self.get(name).and_then(text)
    }

    /// All headers of this name.
    pub(super) fn all(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let map = match self {
            Headers::Map(map) => Some(map.get_all(name).into_iter().map(HeaderValue::as_bytes)),
            Headers::Lines(..) => None,
        };
        map.into_iter().flatten().chain(self.lines(name))
    }

    /// All headers of this name that are visible ASCII.
    pub(super) fn texts(&self, name: &HeaderName) -> impl Iterator<Item = &'a str> {
        self.all(name).filter_map(text)
    }

    fn has_token(&self, name: &HeaderName, token: &str) -> bool {
        self.texts(name).any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }

    fn lines(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str().as_bytes();
        let lines = match *self {
            Headers::Map(_) => None,
            Headers::Lines(head, bytes) => Some(head.lines(bytes)),
        };
        let has_name = move |line: &(&[u8], &[u8])| line.0.len() == name.len() && line.0.eq_ignore_ascii_case(name);
        lines.into_iter().flatten().filter(has_name).map(|(_, value)| value)
    }

    /// All of them, for [`Request`].
    pub(super) fn each(&self, mut each: impl FnMut(&'a [u8], &'a [u8])) {
        match *self {
            Headers::Map(map) => map.iter().for_each(|(name, value)| each(name.as_str().as_bytes(), value.as_bytes())),
            Headers::Lines(head, bytes) => head.lines(bytes).for_each(|(name, value)| each(name, value)),
        }
    }
}

/// A value that is visible ASCII, spaces and tabs.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|&byte| (0x20..0x7f).contains(&byte) || byte == b'\t');
    visible.then(|| str::from_utf8(value).ok())?
}
