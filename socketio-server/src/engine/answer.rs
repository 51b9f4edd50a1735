//! The answer to a request, before it is HTTP.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;

use super::http::Body;
use super::opening::Opening;

/// The answer to one request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fixed: Fixed,
    /// All other headers: mostly none, and then this holds no memory.
    headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What becomes of the stream, which is no HTTP any more.
    pub(crate) opening: Option<Box<Opening>>,
}

/// Headers that go together, and into no map unless somebody wants to see them there.
pub(crate) enum Fixed {
    Nothing,
    /// `Content-Type`, and `Cache-Control: no-store`.
    Content(&'static HeaderValue),
    /// `Connection` and `Upgrade`, and `Sec-WebSocket-Accept` with this value.
    WebSocket(String),
}

impl Answer {
    /// A status and nothing else.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, fixed: Fixed::Nothing, headers: HeaderMap::new(), body: Bytes::new(), opening: None }
    }

    /// A status, in answer to a request whose body is not read to its end. The connection is of no more use then, and
    /// the client is told.
    pub(super) fn unread(status: StatusCode) -> Self {
        let mut answer = Self::empty(status);
        answer.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    /// 200, not to be kept by anyone.
    pub(super) fn content(kind: &'static HeaderValue, body: Bytes) -> Self {
        Self { fixed: Fixed::Content(kind), body, ..Self::empty(StatusCode::OK) }
    }

    /// The headers, to be added to.
    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        let headers = &mut self.headers;
        match std::mem::replace(&mut self.fixed, Fixed::Nothing) {
            Fixed::Nothing => {}
            Fixed::Content(kind) => {
                headers.insert(header::CONTENT_TYPE, kind.clone());
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            Fixed::WebSocket(accept) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                if let Ok(accept) = HeaderValue::try_from(accept) {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                }
            }
        }
        headers
    }

    /// The headers that are not [fixed](Answer::fixed).
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The answer for hyper, or whoever has called the service.
    pub(super) fn into_response(mut self) -> Response<Body> {
        self.headers_mut();
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
