//! The page and its parts, which the server sends to whoever opens its address in a browser.
//!
//! Everything is inside the program and comes from it: the page asks nothing of any other host, and
//! tells the browser not to let it. What it says to the server is in [`chat`](crate::chat).

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

/// Answers every request that is not for Socket.IO itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// Without it nothing is found.
    pub(crate) shown: bool,
}

impl<B> Service<Request<B>> for Page {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(match self.shown {
            true => respond(request.method(), request.uri().path()),
            false => plain(StatusCode::NOT_FOUND, "Not found. This is a Socket.IO server\n"),
        }))
    }
}

fn respond(method: &Method, path: &str) -> Response<Full<Bytes>> {
    let Some((_, content_type, text)) = PARTS.iter().find(|(known, ..)| *known == path) else {
        return plain(StatusCode::NOT_FOUND, "Not found. The page is at /\n");
    };
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let mut response = Response::new(Full::from(*text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The path, the type and the text of each part.
const PARTS: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Scripts, styles and connections: from and to this server alone. (Some browsers do not count a
/// WebSocket to the same server as `'self'`.)
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_sent_with_its_type() {
        for (path, content_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/style.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
        ] {
            let response = respond(&Method::GET, path);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{path}");
        }
        assert_eq!(respond(&Method::HEAD, "/").status(), StatusCode::OK);
        assert_eq!(respond(&Method::POST, "/").status(), StatusCode::METHOD_NOT_ALLOWED);
        for path in ["/index.html", "/../main.rs", "//", ""] {
            assert_eq!(respond(&Method::GET, path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn the_page_asks_only_for_what_the_server_has() {
        let (_, _, page) = PARTS[0];
        let asked = |attribute: &str| -> Vec<&str> {
            page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).collect()
        };
        let mut paths = asked("src=\"");
        paths.extend(asked("href=\""));
        assert_eq!(paths.len(), 4);
        for path in paths {
            let known = path == "/socket.io/socket.io.js" || respond(&Method::GET, path).status() == StatusCode::OK;
            assert!(known, "{path}");
        }
        for (path, _, text) in PARTS {
            let hosts = text.matches("//").filter(|_| path != "/page.js").count();
            let names = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(hosts, names, "{path} names no other host");
        }
    }
}
