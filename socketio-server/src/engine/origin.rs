//! Which pages may open sessions and use them: a check of `Origin`, which browsers send and scripts cannot forge.
//!
//! Without it a page of any site could open a WebSocket with the cookies of its visitor, for browsers ask no one before
//! they do. It is made for each request of each transport, not for handshakes alone. Clients that are no browsers send
//! no `Origin`, and are not asked about one.

use std::fmt;
use std::sync::Arc;

use http::header::{self, HeaderName};
use socketio_protocol::engine::{BadRequest, HandshakeError};

use super::config::EngineConfig;
use super::head::{Head, text};

/// A set of origins, written as browsers do: `https://example.com`, with a port if it is not the usual one.
///
/// A list of texts is one: `["https://example.com"]`. `*` among them stands for every origin.
///
/// ```
/// use socketio_server::engine::Origins;
///
/// let ours = Origins::listed(["https://example.com"]);
/// assert!(ours.contains("https://example.com") && !ours.contains("https://example.org"));
/// assert!(Origins::matching(|origin| origin.ends_with(".example.com")).contains("https://a.example.com"));
/// ```
#[derive(Clone)]
pub struct Origins(Kind);

#[derive(Clone)]
enum Kind {
    Any,
    Listed(Vec<String>),
    Chosen(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Origins {
    /// Every origin.
    pub fn any() -> Self {
        Self(Kind::Any)
    }

    /// These and no others; every origin if one of them is `*`.
    pub fn listed(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let listed: Vec<String> = origins.into_iter().map(Into::into).collect();
        if listed.iter().any(|origin| origin == "*") {
            return Self::any();
        }
        Self(Kind::Listed(listed.into_iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect()))
    }

    /// The origins for which `allow` is true. `null` is what a page without an origin sends, a file for one.
    pub fn matching(allow: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Chosen(Arc::new(allow)))
    }

    /// Whether `origin` is one of them.
    pub fn contains(&self, origin: &str) -> bool {
        match &self.0 {
            Kind::Any => true,
            Kind::Listed(list) => list.iter().any(|listed| listed.eq_ignore_ascii_case(origin)),
            Kind::Chosen(allow) => allow(origin),
        }
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(self.0, Kind::Any)
    }
}

impl<T: Into<String>> From<Vec<T>> for Origins {
    fn from(origins: Vec<T>) -> Self {
        Self::listed(origins)
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Origins {
    fn from(origins: [T; N]) -> Self {
        Self::listed(origins)
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("Any"),
            Kind::Listed(list) => f.debug_list().entries(list).finish(),
            Kind::Chosen(_) => f.write_str("Chosen"),
        }
    }
}

/// Refuses a request of a page that is not let in.
pub(super) fn check(config: &EngineConfig, head: &Head<'_>) -> Result<(), HandshakeError> {
    let mut origins = head.headers.all(&header::ORIGIN);
    let Some(origin) = origins.next() else { return Ok(()) };
    let origin = match text(origin) {
        Some(origin) if origins.next().is_none() => origin,
        _ => return Err(BadRequest::InvalidOrigin.into()),
    };
    let allowed = match &config.allowed_origins {
        Some(allowed) => allowed.contains(origin),
        None => config.cors.as_ref().is_some_and(|cors| cors.allows(origin)) || is_own_page(origin, head),
    };
    if allowed {
        return Ok(());
    }
    tracing::debug!(origin = origin.get(..256).unwrap_or(origin), "a page of another origin is not let in");
    Err(HandshakeError::Forbidden(None))
}

/// Whether the page came from this server. Browsers say so themselves, where they trust the network; else the host of
/// the origin is compared with the one asked for, or with the one that a proxy was asked for. Pages cannot set either.
fn is_own_page(origin: &str, head: &Head<'_>) -> bool {
    let headers = &head.headers;
    if let Some(site) = headers.text(&SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let port = if scheme == "https" { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    let asked = headers.text(&header::HOST).or(head.authority);
    let by_proxy = headers.text(&X_FORWARDED_HOST).and_then(|hosts| hosts.split(',').next()).map(str::trim);
    asked.into_iter().chain(by_proxy).any(|asked| plain(asked) == plain(host))
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::engine::Cors;

    fn answer(config: &EngineConfig, headers: &[(&str, &str)]) -> Option<u8> {
        let mut request = http::Request::get("/socket.io/");
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(config, &Head::of(&request.body(()).unwrap())).err().map(|error| error.code())
    }

    #[test]
    fn by_default_only_pages_of_the_server_itself_are_let_in() {
        let config = EngineConfig::default();
        for (headers, refused) in [
            (&[("host", "a.test")][..], None),
            (&[("host", "a.test"), ("origin", "http://a.test")], None),
            (&[("host", "A.test:80"), ("origin", "http://a.test")], None),
            (&[("host", "a.test"), ("origin", "https://a.test:443")], None),
            (&[("host", "a.test:8080"), ("origin", "http://a.test:8080")], None),
            (&[("host", "a.test:8080"), ("origin", "http://a.test")], Some(4)),
            (&[("host", "a.test"), ("origin", "http://b.test")], Some(4)),
            (&[("host", "a.test"), ("origin", "http://a.test.evil")], Some(4)),
            (&[("host", "a.test"), ("origin", "null")], Some(4)),
            (&[("host", "a.test"), ("origin", "")], Some(4)),
            (&[("origin", "http://a.test")], Some(4)),
            // Behind a proxy that asks for another host.
            (&[("host", "10.0.0.1:3000"), ("x-forwarded-host", "a.test"), ("origin", "https://a.test")], None),
            (&[("host", "10.0.0.1:3000"), ("sec-fetch-site", "same-origin"), ("origin", "https://a.test")], None),
            (&[("host", "a.test"), ("sec-fetch-site", "cross-site"), ("origin", "http://a.test")], Some(4)),
            (&[("host", "a.test"), ("origin", "http://ä.test")], Some(3)),
            (&[("host", "a.test"), ("origin", "http://a.test"), ("origin", "http://b.test")], Some(3)),
        ] {
            assert_eq!(answer(&config, headers), refused, "{headers:?}");
        }
    }

    #[test]
    fn what_cors_grants_is_let_in_beside_the_own_pages() {
        let config = EngineConfig { cors: Some(Cors::origins(["http://b.test"])), ..EngineConfig::default() };
        for (origin, refused) in [("http://a.test", None), ("http://b.test", None), ("http://c.test", Some(4))] {
            assert_eq!(answer(&config, &[("host", "a.test"), ("origin", origin)]), refused, "{origin}");
        }
        let any = EngineConfig { cors: Some(Cors::any()), ..EngineConfig::default() };
        assert_eq!(answer(&any, &[("host", "a.test"), ("origin", "null")]), None);
    }

    #[test]
    fn a_list_is_all_that_is_let_in() {
        let config = EngineConfig { allowed_origins: Some(["https://B.test/"].into()), ..EngineConfig::default() };
        for (origin, refused) in [("http://a.test", Some(4)), ("https://b.test", None), ("http://b.test", Some(4))] {
            assert_eq!(answer(&config, &[("host", "a.test"), ("origin", origin)]), refused, "{origin}");
        }
        assert_eq!(answer(&config, &[("host", "a.test")]), None, "not a browser");
        let any = EngineConfig { allowed_origins: Some(["*"].into()), ..EngineConfig::default() };
        assert_eq!(answer(&any, &[("host", "a.test"), ("origin", "http://c.test")]), None);
    }
}
