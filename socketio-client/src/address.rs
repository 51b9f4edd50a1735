//! Where the server is: the URL.

use socketio_protocol::engine::TransportKind;

use crate::ClientError;

/// A server and a namespace on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// Without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The namespace, with its slash.
    pub(crate) nsp: String,
    /// What stands behind `?`, for the handshake.
    query: String,
    /// Where Engine.IO is, `/socket.io/`.
    pub(crate) path: String,
}

impl Address {
    /// `http://host[:port][/namespace][?query]`; `ws` for `http` and an `s` behind either are read, too.
    pub(crate) fn parse(url: &str) -> Result<Address, ClientError> {
        let bad = |reason: &str| ClientError::Url { url: without_secrets(url), reason: reason.to_owned() };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(bad("its scheme is not http, https, ws or wss")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, nsp) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad("its port is no port"))?),
            _ => (authority, default_port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !printable(host) || !printable(query) {
            return Err(bad("its host or its query is missing or holds what has to be escaped"));
        }
        Ok(Address {
            tls,
            host: host.to_owned(),
            port,
            nsp: format!("/{nsp}"),
            query: query.to_owned(),
            path: "/socket.io/".to_owned(),
        })
    }

    /// What a request asks for.
    pub(crate) fn target(&self, transport: TransportKind, sid: Option<&str>) -> String {
        let mut target = format!("{}?EIO=4&transport={transport}", self.path);
        if let Some(sid) = sid {
            target.push_str("&sid=");
            target.push_str(sid);
        }
        if !self.query.is_empty() {
            target.push('&');
            target.push_str(&self.query);
        }
        target
    }

    /// Host and port, for `Host` and for people.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The URL of a server as it may be shown: user, password and query are hidden.
///
/// ```
/// let shown = socketio_client::without_secrets("https://ana:s3cret@host:3000/chat?token=abc");
/// assert_eq!(shown, "https://***@host:3000/chat?***");
/// ```
pub fn without_secrets(url: &str) -> String {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), url),
    };
    let without_login = |place: &str| match place.rsplit_once('@') {
        Some((_, place)) => format!("***@{place}"),
        None => place.to_owned(),
    };
    match rest.split_once('?') {
        // The `?` may be in a password: then nothing in front of it is a host.
        Some((_, query)) if query.contains('@') => format!("{scheme}***"),
        Some((place, _)) => format!("{scheme}{}?***", without_login(place)),
        None => format!("{scheme}{}", without_login(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_also_in_what_is_no_url() {
        for (url, shown) in [
            ("http://localhost:3000/chat", "http://localhost:3000/chat"),
            ("localhost:3000", "localhost:3000"),
            ("http://ana:s3cret@host/chat?token=s3cret", "http://***@host/chat?***"),
            ("ana:s3cret@host", "***@host"),
            ("http://ana:s3/cret@host", "http://***@host"),
            ("http://ana:s3?cret@host", "http://***"),
            ("http://host/?token=s3cret@host&s3cret", "http://***"),
            ("ana:s3cret@host/?to=http://other", "***@host/?***"),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
        let error = Address::parse("ftp://ana:s3cret@host?token=s3cret").expect_err("no scheme of ours");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn urls_are_read() {
        for (url, expected) in [
            ("http://localhost:3000", (false, "localhost", 3000, "/")),
            ("localhost:3000", (false, "localhost", 3000, "/")),
            ("https://host/admin", (true, "host", 443, "/admin")),
            ("ws://[::1]:7/a/b?token=x", (false, "::1", 7, "/a/b")),
            ("wss://user:secret@host", (true, "host", 443, "/")),
        ] {
            let Address { tls, host, port, nsp, .. } = Address::parse(url).expect(url);
            assert_eq!((tls, host.as_str(), port, nsp.as_str()), expected, "{url}");
        }
        let address = Address::parse("http://h/n?a=b").expect("a URL");
        assert_eq!(address.target(TransportKind::Polling, Some("x")), "/socket.io/?EIO=4&transport=polling&sid=x&a=b");
        for url in ["", "http://", "redis://host", "http://host:port", "http://h o", "http://h?a b"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
