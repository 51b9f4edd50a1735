//! Which pages of other origins may talk to the server: the headers by which a server tells browsers.
//!
//! Without [`Cors`] no such header is sent, and browsers let only pages of the server's own origin in. Who is refused
//! is another question, answered by [`origin`](super::origin).

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::answer::Answer;
use super::head::{Head, text};
use super::origin::Origins;

/// Pages of which origins may talk to the server, and how.
///
/// ```
/// use socketio_server::{Server, engine::Cors};
///
/// let cors = Cors::origins(["https://example.com"]).credentials(true);
/// assert!(cors.allows("https://example.com") && !cors.allows("https://example.org"));
/// let io = Server::builder().cors(cors).build();
/// ```
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    max_age: Option<Duration>,
    methods: HeaderValue,
    allowed_headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
}

impl Cors {
    /// Pages of any origin.
    pub fn any() -> Self {
        Self::new(Origins::any())
    }

    /// Pages of these origins, written as browsers do: `https://example.com`, with a port if it is not the usual one.
    pub fn origins(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Origins::listed(origins))
    }

    /// Pages of the origins for which `allow` is true.
    ///
    /// ```
    /// let cors = socketio_server::engine::Cors::matching(|origin| origin.ends_with(".example.com"));
    /// assert!(cors.allows("https://chat.example.com"));
    /// assert!(!cors.allows("https://example.org"));
    /// ```
    pub fn matching(allow: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origins::matching(allow))
    }

    fn new(origins: Origins) -> Self {
        Self {
            origins,
            credentials: false,
            max_age: None,
            methods: HeaderValue::from_static("GET,POST"),
            allowed_headers: None,
            exposed_headers: None,
        }
    }

    /// Whether browsers may send cookies along. Default false.
    ///
    /// Not for [any](Cors::any) origin: browsers refuse `*` then, and a server that would repeat each origin instead
    /// would let every site act in the name of its visitors. Making a server of that panics.
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

    /// Which methods pages may use. Default GET and POST: a client needs no other.
    ///
    /// # Panics
    ///
    /// When one of them is no header's value.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.methods = list(methods);
        self
    }

    /// Which headers pages may send. Default: those that they ask for.
    ///
    /// # Panics
    ///
    /// When one of them is no header's value.
    #[must_use]
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.allowed_headers = Some(list(names));
        self
    }

    /// Which headers of answers pages may see. Default: those that browsers show anyway.
    ///
    /// # Panics
    ///
    /// When one of them is no header's value.
    #[must_use]
    pub fn exposed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.exposed_headers = Some(list(names));
        self
    }

    /// Whether a page of this origin is let in.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }

    /// See [`credentials`](Cors::credentials).
    pub(super) fn assert_sound(&self) {
        assert!(
            !(self.credentials && self.origins.is_any()),
            "Cors::any() does not go with credentials: name the origins that may send cookies"
        );
    }

    /// Adds to an answer what browsers want to see, given the `Origin` of the request.
    pub(crate) fn add_headers(&self, origin: Option<&[u8]>, headers: &mut HeaderMap) {
        let any = self.origins.is_any();
        if !any {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let allowed = match origin.and_then(text).filter(|origin| self.allows(origin)).map(HeaderValue::from_str) {
            // Without an origin too: the answer is the same for all, and may come from a cache.
            _ if any => HeaderValue::from_static("*"),
            Some(Ok(origin)) => origin,
            _ => return,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(names) = &self.exposed_headers {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
    }

    /// The answer to a preflight; `None` if the request is none.
    pub(crate) fn preflight(&self, head: &Head<'_>) -> Option<Answer> {
        if head.method != Method::OPTIONS {
            return None;
        }
        let mut answer = Answer::empty(StatusCode::NO_CONTENT);
        let headers = answer.headers_mut();
        self.add_headers(head.headers.get(&header::ORIGIN), headers);
        if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return Some(answer);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(names) = &self.allowed_headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        } else {
            let asked: &HeaderName = &header::ACCESS_CONTROL_REQUEST_HEADERS;
            headers.append(header::VARY, HeaderValue::from(asked.clone()));
            if let Some(Ok(names)) = head.headers.get(asked).map(HeaderValue::from_bytes) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
            }
        }
        if let Some(max_age) = self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.as_secs().into());
        }
        Some(answer)
    }
}

fn list(parts: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderValue {
    let parts: Vec<_> = parts.into_iter().map(|part| part.as_ref().to_owned()).collect();
    HeaderValue::try_from(parts.join(",")).expect("names of headers and methods are plain text")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two headers that an answer to a request of `origin` has.
    fn answer(cors: &Cors, origin: Option<&str>) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        cors.add_headers(origin.map(str::as_bytes), &mut headers);
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
            (&Cors::any(), None, (Some("*"), false)),
            (&Cors::origins(["*"]), Some("http://x.test"), (Some("*"), false)),
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
            cors.preflight(&Head::of(&request)).map(Answer::into_response)
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

    #[test]
    fn what_is_named_takes_the_place_of_what_was_asked_for() {
        let cors = Cors::any().methods(["GET", "POST", "PUT"]).allowed_headers(["x-a", "x-b"]).exposed_headers(["x-c"]);
        let request = http::Request::options("/").header("origin", "http://a.test").body(()).unwrap();
        let response = cors.preflight(&Head::of(&request)).unwrap().into_response();
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET,POST,PUT"),
            ("access-control-allow-headers", "x-a,x-b"),
            ("access-control-expose-headers", "x-c"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        assert!(!response.headers().contains_key("vary"));
    }

    #[test]
    #[should_panic(expected = "name the origins")]
    fn cookies_of_any_origin_are_a_mistake() {
        let cors = Some(Cors::any().credentials(true));
        let _ = crate::engine::Engine::new(crate::engine::EngineConfig { cors, ..Default::default() }, async |_| {});
    }
}
