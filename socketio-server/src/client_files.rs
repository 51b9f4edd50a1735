//! The JavaScript client, served below the server's path.

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

use crate::client_bundle;
use crate::engine::Body;

/// The answer to a request for one of the client's files; `None` if it is not for one.
pub(crate) fn answer<B>(request: &Request<B>, path: &str) -> Option<Response<Body>> {
    let file = request.uri().path().strip_prefix(path)?.strip_prefix('/')?;
    let value = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (if_none_match, accept_encoding) = (value(header::IF_NONE_MATCH), value(header::ACCEPT_ENCODING));
    let bundle = client_bundle::respond(request.method().as_str(), file, if_none_match, accept_encoding)?;
    let mut response = Response::new(Full::new(bundle.body));
    *response.status_mut() = StatusCode::from_u16(bundle.status).unwrap_or(StatusCode::OK);
    for (name, text) in bundle.headers {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(text));
    }
    Some(response)
}
