//! The HTTP request that becomes a WebSocket.
//!
//! RFC 6455, section 4.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a request does not become a WebSocket.
///
/// Each of these is the client's doing. The request is answered with [`status`](UpgradeError::status), nothing else is
/// touched.
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
pub fn check<'a, V>(
    method: &str,
    values: impl Fn(&'static str) -> V,
) -> Result<String, UpgradeError>
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
pub fn accept_key(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.digest().bytes())
}

/// The `Sec-WebSocket-Key` a client makes of 16 random bytes.
pub fn client_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The first subprotocol that `Sec-WebSocket-Protocol` offers, which the reference server always takes.
pub fn first_protocol<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_token = |name: &&str| {
        let special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || special(byte))
    };
    tokens(values).find(is_token)
}

fn tokens<'a>(values: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    values
        .into_iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
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
    key.len() == 24 && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}
