//! The request that opened a session, in as few bytes as it needs.
//!
//! The headers that hyper hands over share its read buffer, and would hold 16 KiB for the life of the connection; what
//! an application may ask for is copied into one small string instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::head::{Head, Peer};
use super::proxies::TrustedProxies;

/// Method and path aside, all of the first HTTP request: headers, address, query. Cheap to clone.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on("who am i", async |socket: Socket| {
///     let request = socket.conn().request();
///     (request.query("room"), request.header("user-agent").map(str::to_owned), request.remote())
/// });
///
/// let client = TestClient::to(&io).query("room", "red").header("user-agent", "tests").connect().await;
/// assert_eq!(client.emit_with_ack::<Vec<String>>("who am i", ()).await, ["red", "tests", "127.0.0.1:40000"]);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Request(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The request target, then one `name\nvalue\n` for each header.
    text: Box<str>,
    target_len: usize,
    remote: Option<SocketAddr>,
    secure: bool,
    time: SystemTime,
}

/// Where a request comes from, in the extensions of an [`http::Request`]: a listener of ours puts it there.
///
/// ```
/// use std::net::SocketAddr;
/// use axum::{extract::{ConnectInfo, Request}, middleware::Next, response::Response};
/// use socketio_server::engine::RemoteAddress;
///
/// /// A middleware for axum, around the layer of a [`Server`](crate::Server): what axum knows of the client is told.
/// async fn tell_address(ConnectInfo(address): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(RemoteAddress(address));
///     next.run(request).await
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddress(pub SocketAddr);

/// Marks a request that came over a unix socket, in the extensions of an [`http::Request`].
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use socketio_server::engine::UnixPeer;
///
/// /// For an application that axum serves on a unix socket, with `trust_proxy("unix")`.
/// async fn over_unix(mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(UnixPeer);
///     next.run(request).await
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixPeer;

/// Marks a request that came over TLS, in the extensions of an [`http::Request`].
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use socketio_server::engine::Secure;
///
/// /// For an application whose own listener has taken off the TLS.
/// async fn over_tls(mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(Secure);
///     next.run(request).await
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure;

impl Request {
    /// Where it comes from is what the listener says, and what `proxies` say if it comes from one of them.
    pub(crate) fn new(head: &Head<'_>, proxies: Option<&TrustedProxies>) -> Self {
        let Peer { mut remote, known, mut secure } = head.peer;
        if let Some(proxies) = proxies.filter(|proxies| known && proxies.trusts(remote)) {
            (remote, secure) = proxies.client(&head.headers, remote, secure);
        }
        let mut len = head.target.len();
        head.headers.each(|name, value| len += name.len() + value.len() + 2);
        let mut text = String::with_capacity(len);
        text.push_str(head.target);
        head.headers.each(|name, value| push_header(&mut text, name, value));
        let target_len = head.target.len();
        Self(Arc::new(Inner { target_len, text: text.into(), remote, secure, time: SystemTime::now() }))
    }

    /// Path and query, as they came.
    pub fn url(&self) -> &str {
        self.0.text.get(..self.0.target_len).unwrap_or_default()
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.url().split('?').next().unwrap_or_default()
    }

    /// The query, without its question mark, as it came.
    pub fn raw_query(&self) -> &str {
        let at = self.url().bytes().position(|byte| byte == b'?');
        at.and_then(|at| self.url().get(at + 1..)).unwrap_or_default()
    }

    /// One parameter of the query, decoded. The last of several with one name.
    pub fn query(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All parameters of the query, decoded, in order.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        socketio_protocol::engine::Query::parse(self.raw_query())
            .pairs()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The first header of this name, which is asked for in any case. Bytes that are not UTF-8 are replaced.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut lines = self.0.text.get(self.0.target_len..).unwrap_or_default().split_terminator('\n');
        std::iter::from_fn(move || Some((lines.next()?, lines.next()?)))
    }

    /// Who sent it, if the listener said, or a proxy that is [trusted](crate::Builder::trust_proxy). The port is 0 if only the
    /// address is known.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.0.remote
    }

    /// Whether it came over TLS, to the server or to a trusted proxy.
    pub fn secure(&self) -> bool {
        self.0.secure
    }

    /// When it came.
    pub fn time(&self) -> SystemTime {
        self.0.time
    }
}

/// Header values cannot hold a line feed, so one ends each part. Names are kept in lower case.
fn push_header(text: &mut String, name: &[u8], value: &[u8]) {
    text.extend(name.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    text.push('\n');
    match str::from_utf8(value) {
        Ok(value) => text.push_str(value),
        Err(_) => text.push_str(&String::from_utf8_lossy(value)),
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_query_and_headers_are_kept() {
        let request = http::Request::get("http://host/socket.io/?EIO=4&a=1&a=%C3%A9+x")
            .header("X-Custom", "one")
            .header("empty", "")
            .header("cookie", "a=b")
            .body(())
            .unwrap();
        let request = Request::new(&Head::of(&request), None);
        assert_eq!(request.url(), "/socket.io/?EIO=4&a=1&a=%C3%A9+x");
        assert_eq!(request.path(), "/socket.io/");
        assert_eq!(request.query("a").as_deref(), Some("é x"));
        assert_eq!(request.query("b"), None);
        assert_eq!(request.header("x-custom"), Some("one"));
        assert_eq!(request.header("Empty"), Some(""));
        assert_eq!(request.headers().count(), 3);
    }
}
