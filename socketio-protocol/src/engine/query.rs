//! The query of a request: `?EIO=4&transport=polling&sid=...`.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{TransportKind, Version};

/// The parameters of a request, decoded.
///
/// Of several parameters with one name the last counts. Anything a client adds is kept, for the application's eyes.
///
/// ```
/// use socketio_protocol::engine::{Query, TransportKind, Version};
///
/// let query = Query::parse("EIO=4&transport=polling&token=a%20b");
/// assert_eq!((query.version(), query.transport()), (Some(Version::V4), Some(TransportKind::Polling)));
/// assert_eq!((query.sid(), query.get("token")), (None, Some("a b")));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    pairs: SmallVec<[(Cow<'a, str>, Cow<'a, str>); 6]>,
}

impl<'a> Query<'a> {
    /// Reads what stands behind the `?` of a URL, or the body of a form. Nothing is wrong with any text: bad percent
    /// signs stay as they are, bytes that are not UTF-8 become replacement characters.
    pub fn parse(query: &'a str) -> Query<'a> {
        // Mostly there is nothing to decode anywhere.
        let coded = memchr::memchr2(b'%', b'+', query.as_bytes()).is_some();
        let decode = |text: &'a str| if coded { decode(text) } else { text.into() };
        let mut pairs = SmallVec::new();
        let mut rest = query;
        while !rest.is_empty() {
            let pair;
            (pair, rest) = cut(rest, b'&');
            if !pair.is_empty() {
                let (name, value) = cut(pair, b'=');
                pairs.push((decode(name), decode(value)));
            }
        }
        Query { pairs }
    }

    /// The value of a parameter; the last if it is given more than once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// All parameters in the order they came, duplicates too.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// `EIO`, as the client wrote it.
    pub fn eio(&self) -> Option<&str> {
        self.get("EIO")
    }

    /// The protocol version in `EIO`: 3 if it is missing, as in the days when there was no other; `None` if it is one we
    /// do not speak.
    pub fn version(&self) -> Option<Version> {
        self.eio().map_or(Some(Version::V3), Version::from_query)
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

/// What is before the first `at`, and what is behind it.
fn cut(text: &str, at: u8) -> (&str, &str) {
    match memchr::memchr(at, text.as_bytes()) {
        Some(place) => (text.get(..place).unwrap_or_default(), text.get(place + 1..).unwrap_or_default()),
        None => (text, ""),
    }
}

/// Undoes percent-encoding, and `+` for a space.
fn decode(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
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
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into(),
    }
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_of_a_client() {
        let query = Query::parse("EIO=4&transport=polling&t=OxyZ&sid=abc_-1&token=a%20b");
        assert_eq!((query.eio(), query.version()), (Some("4"), Some(Version::V4)));
        assert_eq!(query.transport(), Some(TransportKind::Polling));
        assert_eq!((query.sid(), query.j(), query.b64()), (Some("abc_-1"), None, false));
        assert_eq!(query.get("token"), Some("a b"));
        let names: Vec<&str> = query.pairs().map(|(name, _)| name).collect();
        assert_eq!(names, ["EIO", "transport", "t", "sid", "token"]);
    }

    #[test]
    fn the_version_is_three_or_four_or_one_we_do_not_speak() {
        for (query, version) in [
            ("EIO=3", Some(Version::V3)),
            ("EIO=4", Some(Version::V4)),
            ("EIO=5", None),
            ("EIO=04", None),
            ("EIO=4x", None),
            ("EIO=", None),
            ("eio=4", Some(Version::V3)),
            ("", Some(Version::V3)),
        ] {
            assert_eq!(Query::parse(query).version(), version, "{query}");
        }
    }

    #[test]
    fn odd_transports_are_unknown() {
        for name in ["", "Polling", "__proto__", "constructor", "polling ", "websocket%00"] {
            assert_eq!(Query::parse(&format!("transport={name}")).transport(), None, "{name}");
        }
        for kind in [TransportKind::Polling, TransportKind::WebSocket, TransportKind::WebTransport] {
            assert_eq!(Query::parse(&format!("transport={kind}")).transport(), Some(kind));
        }
    }

    #[test]
    fn flags() {
        for (query, b64, j, sid) in [
            ("b64=1", true, None, None),
            ("b64=true&j=0", true, Some("0"), None),
            ("b64=&j=&sid=", false, Some(""), None),
            ("b64&j", false, Some(""), None),
            ("sid=a", false, None, Some("a")),
        ] {
            let query = Query::parse(query);
            assert_eq!((query.b64(), query.j(), query.sid()), (b64, j, sid), "{query:?}");
        }
    }

    #[test]
    fn decoding() {
        for (query, pairs) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("=b", &[("", "b")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=1&a=2", &[("a", "1"), ("a", "2")]),
            ("a+b=c+d", &[("a b", "c d")]),
            ("%61=%e2%82%AC", &[("a", "€")]),
            ("a=%26%3D%2b", &[("a", "&=+")]),
            ("a=%&b=%4&c=%zz&d=%€", &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%€")]),
            ("a=%ff", &[("a", "\u{fffd}")]),
            ("a=%25%34%31", &[("a", "%41")]),
            ("a=€", &[("a", "€")]),
        ] {
            assert_eq!(Query::parse(query).pairs().collect::<Vec<_>>(), pairs, "{query}");
        }
        assert_eq!(Query::parse("a=1&b=2&a=3").get("a"), Some("3"), "the last counts");
    }

    proptest! {
        #[test]
        fn every_encoded_text_comes_back(name: String, value: String) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let text = format!("{}={}", encode(&name), encode(&value));
            let query = Query::parse(&text);
            prop_assert_eq!(query.pairs().collect::<Vec<_>>(), [(&*name, &*value)]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a%&=+0-9€\u{0}]{0,24}") {
            Query::parse(&text);
        }
    }
}
