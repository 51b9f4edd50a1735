//! Which pages of other origins may talk to the server: the headers by which a server tells browsers.
//!
//! Without [`Cors`] no such header is sent, and browsers let only pages of the server's own origin in. Nothing is
//! refused here: it is the browser that keeps a page from what it may not read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use super::http::Body;

/// Pages of which origins may talk to the server, and how.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    max_age: Option<Duration>,
}

#[derive(Clone)]
enum Origins {
    Any,
    Listed(Vec<String>),
    Chosen(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Cors {
    /// Pages of any origin.
    pub fn any() -> Self {
        Self::new(Origins::Any)
    }

    /// Pages of these origins, written as browsers do: `https://example.com`, with a port if it is not the usual one.
    pub fn origins(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Origins::Listed(origins.into_iter().map(Into::into).collect()))
    }

    /// Pages of the origins for which `allow` is true.
    pub fn matching(allow: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origins::Chosen(Arc::new(allow)))
    }

    fn new(origins: Origins) -> Self {
        Self { origins, credentials: false, max_age: None }
    }

    /// Whether browsers may send cookies along. Default false.
    #[must_use]
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// How long a browser may remember the answer to a preflight. Default: as long as it likes.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether a page of this origin is let in.
    pub fn allows(&self, origin: &str) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(list) => list.iter().any(|listed| listed == origin),
            Origins::Chosen(allow) => allow(origin),
        }
    }

    /// Adds to an answer what browsers want to see, given the `Origin` of the request.
    pub(crate) fn add_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        // With credentials a browser does not take `*`, so the origin is repeated then.
        let any = matches!(self.origins, Origins::Any) && !self.credentials;
        if !any {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = origin.filter(|origin| origin.to_str().is_ok_and(|origin| self.allows(origin))) else {
            return;
        };
        let allowed = if any { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to a preflight; `None` if the request is none.
    pub(crate) fn preflight<B>(&self, request: &http::Request<B>) -> Option<Response<Body>> {
        if request.method() != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.add_headers(request.headers().get(header::ORIGIN), headers);
        if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return Some(response);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
        let asked: &HeaderName = &header::ACCESS_CONTROL_REQUEST_HEADERS;
        headers.append(header::VARY, HeaderValue::from(asked.clone()));
        if let Some(names) = request.headers().get(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        if let Some(max_age) = self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.as_secs().into());
        }
        Some(response)
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origins::Any => f.write_str("Any"),
            Origins::Listed(list) => f.debug_list().entries(list).finish(),
            Origins::Chosen(_) => f.write_str("Chosen"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two headers that an answer to a request of `origin` has.
    fn answer(cors: &Cors, origin: Option<&str>) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        let origin = origin.map(|origin| HeaderValue::from_str(origin).unwrap());
        cors.add_headers(origin.as_ref(), &mut headers);
        let allowed = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        let credentials = headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        (allowed.map(|value| value.to_str().unwrap().to_owned()), credentials)
    }

    #[test]
    fn an_origin_is_repeated_only_if_it_may_enter() {
        let listed = Cors::origins(["http://a.test", "http://b.test:8080"]).credentials(true);
        let chosen = Cors::matching(|origin| origin.ends_with(".a.test"));
        for (cors, origin, expected) in [
            (&listed, Some("http://a.test"), (Some("http://a.test"), true)),
            (&listed, Some("http://b.test:8080"), (Some("http://b.test:8080"), true)),
            (&listed, Some("http://b.test"), (None, false)),
            (&listed, Some("http://a.test.evil"), (None, false)),
            (&listed, None, (None, false)),
            (&chosen, Some("https://x.a.test"), (Some("https://x.a.test"), false)),
            (&chosen, Some("https://a.test"), (None, false)),
            (&Cors::any(), Some("http://x.test"), (Some("*"), false)),
            (&Cors::any().credentials(true), Some("http://x.test"), (Some("http://x.test"), true)),
        ] {
            let (allowed, credentials) = expected;
            assert_eq!(answer(cors, origin), (allowed.map(str::to_owned), credentials), "{cors:?} {origin:?}");
        }
    }

    #[test]
    fn a_preflight_allows_what_was_asked_for() {
        let cors = Cors::origins(["http://a.test"]).max_age(Duration::from_secs(60));
        let ask = |method: Method, origin: &str| {
            let request = http::Request::builder()
                .method(method)
                .header("origin", origin)
                .header("access-control-request-headers", "x-custom,content-type")
                .body(())
                .unwrap();
            cors.preflight(&request)
        };
        let response = ask(Method::OPTIONS, "http://a.test").unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        for (name, value) in [
            ("access-control-allow-origin", "http://a.test"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "x-custom,content-type"),
            ("access-control-max-age", "60"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let response = ask(Method::OPTIONS, "http://b.test").unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        assert!(ask(Method::GET, "http://a.test").is_none());
    }
}
