//! The HTTP request that becomes a WebSocket.
//!
//! RFC 6455, section 4.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a request does not become a WebSocket.
///
/// Each of these is the client's doing. The request is answered with [`status`](UpgradeError::status), nothing else is
/// touched.
///
/// ```
/// use socketio_protocol::websocket::handshake::{UpgradeError, check};
///
/// let refused = check("POST", |_| []).unwrap_err();
/// assert_eq!((refused, refused.status()), (UpgradeError::BadMethod, 405));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Only a GET can.
    #[error("a WebSocket is opened by a GET")]
    BadMethod,
    /// `Connection` does not name `Upgrade`.
    #[error("Connection header does not ask for an upgrade")]
    NoUpgrade,
    /// `Upgrade` does not name `websocket`.
    #[error("Upgrade header does not name websocket")]
    NotWebSocket,
    /// `Sec-WebSocket-Version` is missing or not 13.
    #[error("WebSocket version is not 13")]
    UnsupportedVersion,
    /// `Sec-WebSocket-Key` is missing, given twice, or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    BadKey,
}

impl UpgradeError {
    /// The HTTP status of the answer. With 426 goes the header `Sec-WebSocket-Version: 13`.
    pub fn status(&self) -> u16 {
        match self {
            UpgradeError::BadMethod => 405,
            UpgradeError::UnsupportedVersion => 426,
            _ => 400,
        }
    }
}

/// Looks whether a request may become a WebSocket, and returns the value of `Sec-WebSocket-Accept` for its answer.
///
/// `values` gives all values of a header, whose name it is asked for in lower case.
///
/// # Errors
///
/// The first [`UpgradeError`] that applies, in the order of its variants.
///
/// ```
/// use socketio_protocol::websocket::handshake::check;
///
/// let accept = check("GET", |name| match name {
///     "connection" => Some("keep-alive, Upgrade"),
///     "upgrade" => Some("websocket"),
///     "sec-websocket-version" => Some("13"),
///     "sec-websocket-key" => Some("dGhlIHNhbXBsZSBub25jZQ=="),
///     _ => None,
/// });
/// assert_eq!(accept.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
/// ```
pub fn check<'a, V>(method: &str, values: impl Fn(&'static str) -> V) -> Result<String, UpgradeError>
where
    V: IntoIterator<Item = &'a str>,
{
    if method != "GET" {
        return Err(UpgradeError::BadMethod);
    }
    if !has_token(values("connection"), "upgrade") {
        return Err(UpgradeError::NoUpgrade);
    }
    if !has_token(values("upgrade"), "websocket") {
        return Err(UpgradeError::NotWebSocket);
    }
    if only(values("sec-websocket-version")) != Some("13") {
        return Err(UpgradeError::UnsupportedVersion);
    }
    match only(values("sec-websocket-key")) {
        Some(key) if is_key(key) => Ok(accept_key(key)),
        _ => Err(UpgradeError::BadKey),
    }
}

/// What a server answers to `Sec-WebSocket-Key`, and a client compares.
///
/// The RFC's own example:
///
/// ```
/// use socketio_protocol::websocket::handshake::accept_key;
///
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.digest().bytes())
}

/// The `Sec-WebSocket-Key` a client makes of 16 random bytes.
///
/// ```
/// use socketio_protocol::websocket::handshake::client_key;
///
/// assert_eq!(client_key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
/// ```
pub fn client_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The first subprotocol that `Sec-WebSocket-Protocol` offers, which the reference server always takes.
///
/// ```
/// use socketio_protocol::websocket::handshake::first_protocol;
///
/// assert_eq!(first_protocol(["chat, superchat"]), Some("chat"));
/// ```
pub fn first_protocol<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_token = |name: &&str| {
        let special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
    };
    tokens(values).find(is_token)
}

fn tokens<'a>(values: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    values.into_iter().flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token<'a>(values: impl IntoIterator<Item = &'a str>, wanted: &str) -> bool {
    tokens(values).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The value of a header that must be given once.
fn only<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut values = values.into_iter();
    let value = values.next()?.trim();
    values.next().is_none().then_some(value)
}

fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    const GOOD: &[(&str, &str)] = &[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];

    fn asked(method: &str, headers: &[(&str, &str)]) -> Result<String, UpgradeError> {
        check(method, |name| headers.iter().filter(move |header| header.0 == name).map(|header| header.1))
    }

    /// The good request with the values of one header replaced.
    fn with(name: &'static str, values: &[&'static str]) -> Result<String, UpgradeError> {
        let others = GOOD.iter().copied().filter(|header| header.0 != name);
        let headers: Vec<_> = others.chain(values.iter().map(|&value| (name, value))).collect();
        asked("GET", &headers)
    }

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        assert_eq!(asked("GET", GOOD).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(client_key(*b"the sample nonce"), KEY);
    }

    #[test]
    fn headers_are_lists_in_any_case() {
        for (name, values) in [
            ("connection", &["keep-alive, Upgrade"][..]),
            ("connection", &["keep-alive", "UPGRADE"]),
            ("connection", &["keep-alive ,upgrade ,"]),
            ("upgrade", &["WebSocket"]),
            ("upgrade", &["h2c, websocket"]),
            ("sec-websocket-version", &[" 13 "]),
        ] {
            assert!(with(name, values).is_ok(), "{name}: {values:?}");
        }
    }

    #[test]
    fn what_does_not_ask_for_a_websocket_is_refused() {
        use UpgradeError::*;
        for method in ["POST", "get", "CONNECT", ""] {
            assert_eq!(asked(method, GOOD), Err(BadMethod));
        }
        for (name, values, error) in [
            ("connection", &[][..], NoUpgrade),
            ("connection", &["close"], NoUpgrade),
            ("connection", &["xupgrade, upgrade2"], NoUpgrade),
            ("upgrade", &[], NotWebSocket),
            ("upgrade", &["h2c"], NotWebSocket),
            ("upgrade", &["websocket/13"], NotWebSocket),
            ("sec-websocket-version", &[], UnsupportedVersion),
            ("sec-websocket-version", &["8"], UnsupportedVersion),
            ("sec-websocket-version", &["13, 8"], UnsupportedVersion),
            ("sec-websocket-version", &["13", "13"], UnsupportedVersion),
            ("sec-websocket-key", &[], BadKey),
            ("sec-websocket-key", &[""], BadKey),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ"], BadKey),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZSE="], BadKey),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25!ZQ=="], BadKey),
            ("sec-websocket-key", &[KEY, KEY], BadKey),
        ] {
            assert_eq!(with(name, values), Err(error), "{name}: {values:?}");
        }
        assert_eq!(asked("POST", &[]), Err(BadMethod), "the first fault is the one told");
        let statuses = [BadMethod, NoUpgrade, NotWebSocket, UnsupportedVersion, BadKey].map(|error| error.status());
        assert_eq!(statuses, [405, 400, 400, 426, 400]);
    }

    #[test]
    fn the_first_protocol_offered_is_taken() {
        for (values, protocol) in [
            (&[][..], None),
            (&["chat"][..], Some("chat")),
            (&["chat, superchat", "third"], Some("chat")),
            (&[" , chat.v1+json "], Some("chat.v1+json")),
            (&["bad protocol, good"], Some("good")),
            (&["bad\r\nx: y"], None),
            (&["é"], None),
        ] {
            assert_eq!(first_protocol(values.iter().copied()), protocol, "{values:?}");
        }
    }
}
