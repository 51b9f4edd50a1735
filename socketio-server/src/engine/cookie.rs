//! The cookie that names a session, for load balancers that keep a client on its server.

use http::HeaderValue;

/// The cookie set by the answer of a handshake. Its value is the session id.
///
/// ```
/// use socketio_server::{Server, engine::{Cookie, SameSite}};
///
/// let mut cookie = Cookie::new("chat-session");
/// cookie.secure = true;
/// cookie.same_site = Some(SameSite::Strict);
/// let io = Server::builder().cookie(cookie).build();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// Default `io`.
    pub name: String,
    /// Left out when `None`. Default `/`.
    pub path: Option<String>,
    /// Left out when `None`, which is the default.
    pub domain: Option<String>,
    /// Whether scripts of a page cannot read it. Default true.
    pub http_only: bool,
    /// Whether it travels over TLS only. Over TLS it is set so in any case. Default false.
    pub secure: bool,
    /// Which requests of other sites carry it. Left out when `None`. Default [`SameSite::Lax`].
    pub same_site: Option<SameSite>,
}

/// Which requests of other sites carry a cookie.
///
/// ```
/// use socketio_server::engine::{Cookie, SameSite};
///
/// // For pages of other sites; browsers want the two together.
/// let mut cookie = Cookie::default();
/// cookie.same_site = Some(SameSite::None);
/// cookie.secure = true;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// None.
    Strict,
    /// Those that follow a link.
    Lax,
    /// All; browsers want [`Cookie::secure`] with it.
    None,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".into(),
            path: Some("/".into()),
            domain: None,
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
        }
    }
}

impl Cookie {
    /// The cookie of this name, everything else as by default.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The header's value, in the answer of a request that came over TLS or not. `None` when the name, path or domain has characters that a header cannot hold.
    pub(super) fn header(&self, sid: &str, secure: bool) -> Option<HeaderValue> {
        let mut text = format!("{}={sid}", self.name);
        if let Some(domain) = &self.domain {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        if let Some(path) = &self.path {
            text.push_str("; Path=");
            text.push_str(path);
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if self.secure || secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_stand_in_the_order_of_the_reference_server() {
        let bare = Cookie { path: None, http_only: false, same_site: None, ..Cookie::default() };
        for (cookie, text) in [
            (Cookie::default(), "io=abc; Path=/; HttpOnly; SameSite=Lax"),
            (bare.clone(), "io=abc"),
            (
                Cookie {
                    name: "node".into(),
                    domain: Some("a.test".into()),
                    secure: true,
                    same_site: Some(SameSite::None),
                    ..Cookie::default()
                },
                "node=abc; Domain=a.test; Path=/; HttpOnly; Secure; SameSite=None",
            ),
        ] {
            assert_eq!(cookie.header("abc", false).unwrap(), text);
        }
        assert_eq!(bare.header("abc", true).unwrap(), "io=abc; Secure");
        assert_eq!(Cookie { name: "a\nb".into(), ..bare }.header("abc", false), None);
    }
}
