//! Whether messages are compressed: what a client offers in `Sec-WebSocket-Extensions`, and what is answered.
//!
//! Of a list of offers the first that can be met is taken. Every answer asks for `no_context_takeover` in both
//! directions: a message is then compressed without regard to those before it, so that its compressed form is the same
//! for every client, and nothing is kept for a connection between two messages.
//!
//! RFC 6455, section 9.1; RFC 7692, sections 5 and 7.1.

use std::borrow::Cow;

/// What client and server have agreed on: permessage-deflate, with these parameters.
///
/// ```
/// use socketio_protocol::websocket::Agreement;
///
/// let agreed = Agreement::new(["permessage-deflate; server_max_window_bits=10"]).expect("it can be met");
/// assert!(!agreed.full_window());
/// assert_eq!(Agreement::new(["x-webkit-deflate-frame"]), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How far back what we send may refer, as a power of two, if the client has set a limit.
    pub server_max_window_bits: Option<u8>,
}

impl Agreement {
    /// Meets the first offer of the header's values that can be met. `None` if there is none, or if the header is not
    /// well formed: the connection goes on without compression.
    ///
    /// ```
    /// use socketio_protocol::websocket::Agreement;
    ///
    /// let agreement = Agreement::new(["permessage-deflate; client_max_window_bits"]).unwrap();
    /// assert_eq!(agreement.header(), "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    /// ```
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut agreement = None;
        for value in values {
            let mut rest = Rest(value);
            while !rest.is_done() {
                if rest.takes(',') {
                    continue;
                }
                let offer = rest.offer()?;
                agreement = agreement.or_else(|| Self::meet(&offer));
                if !rest.is_done() && !rest.takes(',') {
                    return None;
                }
            }
        }
        agreement
    }

    /// The agreement that an offer leads to. One with a parameter that is unknown, given twice or has a value that it
    /// cannot have is declined, as the RFC wants it.
    fn meet(offer: &Offer<'_>) -> Option<Self> {
        if offer.name != "permessage-deflate" {
            return None;
        }
        let mut agreement = Self { server_max_window_bits: None };
        for (at, (name, value)) in offer.parameters.iter().enumerate() {
            if offer.parameters[..at].iter().any(|(before, _)| before == name) {
                return None;
            }
            match (*name, value.as_deref()) {
                // Both are what we answer anyhow.
                ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
                ("server_max_window_bits", Some(bits)) => agreement.server_max_window_bits = Some(window_bits(bits)?),
                // What it sends is inflated with the largest window, so that there is nothing to be limited.
                ("client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(bits)) => drop(window_bits(bits)?),
                _ => return None,
            }
        }
        Some(agreement)
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub fn header(&self) -> String {
        let mut header = String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        if let Some(bits) = self.server_max_window_bits {
            header.push_str(&format!("; server_max_window_bits={bits}"));
        }
        header
    }

    /// Whether messages may be sent compressed as they are for everyone, with the largest window.
    pub fn full_window(&self) -> bool {
        self.server_max_window_bits.is_none_or(|bits| bits == 15)
    }
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

struct Offer<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// What has not been read of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn is_done(&mut self) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        self.0.is_empty()
    }

    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']).strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn offer(&mut self) -> Option<Offer<'a>> {
        let mut offer = Offer { name: self.token()?, parameters: Vec::new() };
        while self.takes(';') {
            let name = self.token()?;
            let value = if self.takes('=') { Some(self.value()?) } else { None };
            offer.parameters.push((name, value));
        }
        Some(offer)
    }

    fn value(&mut self) -> Option<Cow<'a, str>> {
        if !self.takes('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        loop {
            match chars.next()? {
                (at, '"') => {
                    self.0 = &self.0[at + 1..];
                    let is_token = !value.is_empty() && value.chars().all(is_token);
                    return is_token.then_some(Cow::Owned(value));
                }
                (_, '\\') => value.push(chars.next()?.1),
                (_, other) => value.push(other),
            }
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let end = rest.find(|other| !is_token(other)).unwrap_or(rest.len());
        let (token, rest) = rest.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }
}

fn is_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offer_that_can_be_met_is_taken() {
        const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let limited = |bits| format!("{PLAIN}; server_max_window_bits={bits}");
        for (values, answer) in [
            (&["permessage-deflate"][..], PLAIN.to_owned()),
            // Chromium, Firefox and `ws`.
            (&["permessage-deflate; client_max_window_bits"], PLAIN.to_owned()),
            (&["permessage-deflate;client_max_window_bits=10"], PLAIN.to_owned()),
            (&["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], PLAIN.to_owned()),
            (&["permessage-deflate; server_max_window_bits=15"], limited(15)),
            (&["permessage-deflate; server_max_window_bits=8"], limited(8)),
            (&["permessage-deflate ; server_max_window_bits = \"1\\0\""], limited(10)),
            // Several, in one header or more, with others between them.
            (&["x-webkit-deflate-frame, permessage-deflate"], PLAIN.to_owned()),
            (&["permessage-bzip2; level=\"a.b\"", "permessage-deflate; server_max_window_bits=9"], limited(9)),
            (&["permessage-deflate; server_max_window_bits=9, permessage-deflate"], limited(9)),
            (&["permessage-deflate; unknown, permessage-deflate"], PLAIN.to_owned()),
            (
                &["permessage-deflate; server_max_window_bits=7,permessage-deflate; server_max_window_bits=12"],
                limited(12),
            ),
            (&[", ,permessage-deflate,", ""], PLAIN.to_owned()),
        ] {
            let agreement = Agreement::new(values.iter().copied());
            assert_eq!(agreement.map(|agreement| agreement.header()), Some(answer), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_met_is_declined() {
        for value in [
            "",
            "x-webkit-deflate-frame",
            "Permessage-Deflate",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=010",
            "permessage-deflate; client_max_window_bits=x",
        ] {
            assert_eq!(Agreement::new([value]), None, "{value}");
        }
    }

    #[test]
    fn a_header_that_is_not_well_formed_offers_nothing() {
        for bad in [
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate server_no_context_takeover",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"1",
            "permessage-deflate; a=\"1 2\"",
            "permessage-deflate; a=\"1, 2\"",
            "permessage-deflate; a=\"\\",
            "permessage-deflate; a=1 2",
            "; permessage-deflate",
            "permessage-deflate, é",
            "permessage-deflate/1",
        ] {
            assert_eq!(Agreement::new([bad]), None, "{bad}");
            assert_eq!(Agreement::new(["permessage-deflate", bad]), None, "{bad} behind a good one");
        }
    }

    #[test]
    fn only_the_largest_window_takes_what_everyone_takes() {
        for (bits, full) in [(None, true), (Some(15), true), (Some(14), false), (Some(8), false)] {
            assert_eq!(Agreement { server_max_window_bits: bits }.full_window(), full, "{bits:?}");
        }
    }
}
