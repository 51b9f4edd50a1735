//! The query of a request: `?EIO=4&transport=polling&sid=...`.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{TransportKind, Version};

/// The parameters of a request, decoded.
///
/// Of several parameters with one name the last counts. Anything a client adds is kept, for the application's eyes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    pairs: SmallVec<[(Cow<'a, str>, Cow<'a, str>); 6]>,
}

impl<'a> Query<'a> {
    /// Reads what stands behind the `?` of a URL, or the body of a form. Nothing is wrong with any text: bad percent
    /// signs stay as they are, bytes that are not UTF-8 become replacement characters.
    pub fn parse(query: &'a str) -> Query<'a> {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            });
        Query {
            pairs: pairs.collect(),
        }
    }

    /// The value of a parameter; the last if it is given more than once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }

    /// All parameters in the order they came, duplicates too.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// `EIO`, as the client wrote it.
    pub fn eio(&self) -> Option<&str> {
        self.get("EIO")
    }

    /// The protocol version in `EIO`; `None` if it is missing or one we do not speak.
    pub fn version(&self) -> Option<Version> {
        self.eio().and_then(Version::from_query)
    }

    /// The transport in `transport`; `None` if it is missing or unknown.
    pub fn transport(&self) -> Option<TransportKind> {
        self.get("transport").and_then(TransportKind::from_name)
    }

    /// `sid`, the session a request is for; `None` in a handshake. Empty counts as missing.
    pub fn sid(&self) -> Option<&str> {
        self.get("sid").filter(|sid| !sid.is_empty())
    }

    /// `j`, the callback of a JSONP client. Present, even empty, it makes a request JSONP.
    pub fn j(&self) -> Option<&str> {
        self.get("j")
    }

    /// Whether the client wants binary as base64: `b64` with any value but none.
    pub fn b64(&self) -> bool {
        self.get("b64").is_some_and(|value| !value.is_empty())
    }
}

/// Undoes percent-encoding, and `+` for a space.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => match hex_pair(bytes.as_slice()) {
                Some(decoded) => {
                    bytes.nth(1);
                    decoded
                }
                None => b'%',
            },
            other => other,
        });
    }
    match String::from_utf8(out) {
        Ok(decoded) => decoded.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    }
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
    };
    Some((digit(0)? * 16 + digit(1)?) as u8)
}
