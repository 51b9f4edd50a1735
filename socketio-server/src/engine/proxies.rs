//! Which proxies are believed, and what they say about a client.
//!
//! A header like `X-Forwarded-For` can be written by anyone. It is believed as far as it was written by someone trusted:
//! when the connection comes from a trusted address, the last entry is what that proxy saw; if that is a trusted address
//! itself, the entry before is what this one saw, and so on. The first address from the right that is not trusted is the
//! client's.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::header::{FORWARDED, HeaderName};

use super::head::{Headers, text};

/// The proxies between clients and the server, whose headers are believed.
///
/// ```
/// # use socketio_server::{Server, TrustedProxies};
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies: TrustedProxies = "loopback, 10.20.0.0/16".parse()?;
/// let io = Server::builder().trust_proxy(proxies).build();
/// # Ok(()) }
/// # example().unwrap();
/// ```
///
/// In the text, parted by commas: addresses, networks (`10.0.0.0/8`), `loopback` (127.0.0.0/8, ::1), `linklocal`
/// (169.254.0.0/16, fe80::/10), `uniquelocal` (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7), and `unix` for
/// whoever connects to a unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    unix: bool,
    forwarded: bool,
}

/// A text that names no proxies.
///
/// ```
/// use socketio_server::TrustedProxies;
///
/// let error = "10.0.0.0/8, my proxy".parse::<TrustedProxies>().unwrap_err();
/// assert!(error.to_string().starts_with("\"my proxy\" is no address"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address, no network such as 10.0.0.0/8, and none of loopback, linklocal, uniquelocal, unix")]
pub struct UnknownProxy(String);

impl FromStr for TrustedProxies {
    type Err = UnknownProxy;

    fn from_str(text: &str) -> Result<Self, UnknownProxy> {
        let mut proxies = Self::default();
        for name in text.split(',').map(str::trim) {
            let networks: &[&str] = match name {
                "unix" => {
                    proxies.unix = true;
                    continue;
                }
                "loopback" => &["127.0.0.0/8", "::1"],
                "linklocal" => &["169.254.0.0/16", "fe80::/10"],
                "uniquelocal" => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
                one => &[one],
            };
            for network in networks {
                proxies.networks.push(Network::parse(network).ok_or_else(|| UnknownProxy(name.to_owned()))?);
            }
        }
        Ok(proxies)
    }
}

impl TrustedProxies {
    /// Has them use the header `Forwarded` (RFC 7239) in place of `X-Forwarded-For` and `X-Forwarded-Proto`.
    ///
    /// Only one of the two is ever looked at: a proxy that writes the one hands on the other as the client wrote it.
    #[must_use]
    pub fn with_forwarded_header(mut self) -> Self {
        self.forwarded = true;
        self
    }

    /// Whether a connection that comes from there is a proxy's; `None` is a unix socket.
    pub(crate) fn trusts(&self, remote: Option<SocketAddr>) -> bool {
        match remote {
            Some(remote) => self.contains(remote.ip()),
            None => self.unix,
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let ip = bits(ip);
        self.networks.iter().any(|network| ip & network.mask == network.bits)
    }

    /// The address of a client, and whether it uses TLS, by the headers of a request that a trusted proxy hands on. What
    /// the headers do not say stays as it is.
    pub(super) fn client(
        &self,
        headers: &Headers<'_>,
        mut remote: Option<SocketAddr>,
        mut secure: bool,
    ) -> (Option<SocketAddr>, bool) {
        let hops = match self.forwarded {
            true => forwarded(headers).unwrap_or_default(),
            false => x_forwarded(headers),
        };
        for hop in hops.into_iter().rev() {
            if let Some(tls) = hop.secure {
                secure = tls;
            }
            let Some(address) = hop.address else { break };
            remote = Some(address);
            if !self.contains(address.ip()) {
                break;
            }
        }
        (remote, secure)
    }
}

/// What one proxy says about whom it has its request from.
#[derive(Debug, Default, PartialEq)]
struct Hop {
    address: Option<SocketAddr>,
    secure: Option<bool>,
}

/// `X-Forwarded-For: client, proxy` and `X-Forwarded-Proto`. Proxies overwrite the latter, or add to it as to the former;
/// if its entries are not as many, the last is all that is known, and said by the last proxy.
fn x_forwarded(headers: &Headers<'_>) -> Vec<Hop> {
    let mut hops: Vec<_> = entries(headers, &X_FORWARDED_FOR)
        .map(|entry| Hop { address: entry.and_then(address), secure: None })
        .collect();
    let protocols: Vec<_> = entries(headers, &X_FORWARDED_PROTO).map(|entry| entry.and_then(protocol)).collect();
    if protocols.len() == hops.len() {
        hops.iter_mut().zip(protocols).for_each(|(hop, secure)| hop.secure = secure);
    } else if let Some(&secure) = protocols.last() {
        match hops.last_mut() {
            Some(last) => last.secure = secure,
            None => hops.push(Hop { address: None, secure }),
        }
    }
    hops
}

/// The entries of a list that may stand in several lines. `None` for those of a line that is no text.
fn entries<'a>(headers: &Headers<'a>, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    headers.all(name).flat_map(|line| {
        let text = text(line);
        text.unwrap_or_default().split(',').map(move |entry| text.map(|_| entry.trim()))
    })
}

/// `Forwarded: for=client;proto=https, for="[2001:db8::1]:80"`. `None` when it is malformed, since then it is unclear where
/// an entry ends.
fn forwarded(headers: &Headers<'_>) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for line in headers.all(&FORWARDED) {
        let mut rest = text(line)?;
        let mut hop = Hop::default();
        loop {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => hop.address = address(&value),
                "proto" => hop.secure = protocol(&value),
                _ => {}
            }
            let after = after.trim_start();
            match after.chars().next() {
                Some(';') => {}
                Some(',') => hops.push(std::mem::take(&mut hop)),
                Some(_) => return None,
                None => break,
            }
            rest = after.get(1..)?;
        }
        hops.push(hop);
    }
    Some(hops)
}

/// A token or a quoted string, and what is behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

/// An address with or without a port, which is 0 then. `None` for `unknown` and names that hide one.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    ip.or_else(|_| text.parse()).ok()
}

fn protocol(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// Addresses that begin alike. Those of IPv4 are seen as a part of IPv6's, as they reach a socket for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    bits: u128,
    mask: u128,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().ok()?;
        let (width, before) = if ip.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse().ok()?,
            Some(_) => return None,
            None => width,
        };
        if prefix > width {
            return None;
        }
        let mask = u128::MAX.checked_shl(128 - before - prefix).unwrap_or(0);
        Some(Self { bits: bits(ip) & mask, mask })
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    const PEER: &str = "10.0.0.1:4000";

    fn client(proxies: &TrustedProxies, lines: &[(&'static str, &str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let (remote, secure) = proxies.client(&Headers::Map(&headers), PEER.parse().ok(), false);
        (remote.unwrap().to_string(), secure)
    }

    #[test]
    fn names_and_networks() {
        let all: TrustedProxies = "loopback, linklocal,uniquelocal,203.0.113.7,2001:db8::/32, unix".parse().unwrap();
        for (ip, trusted) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::1", true),
            ("::2", false),
            ("::ffff:127.0.0.1", true),
            ("169.254.1.1", true),
            ("fe80::1", true),
            ("fec0::1", false),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("172.15.255.255", false),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.168.3.4", true),
            ("fd00::1", true),
            ("203.0.113.7", true),
            ("203.0.113.8", false),
            ("2001:db8:1::", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(all.trusts(Some(SocketAddr::new(ip.parse().unwrap(), 1))), trusted, "{ip}");
        }
        assert!(all.trusts(None));
        assert!(!TrustedProxies::default().trusts(None));
        let everyone: TrustedProxies = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(everyone.trusts(PEER.parse().ok()));
        for wrong in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "loopback,,"] {
            let error = wrong.parse::<TrustedProxies>().unwrap_err();
            assert!(error.to_string().contains("is no address"), "{error}");
        }
    }

    #[test]
    fn x_forwarded_is_read_from_the_right() {
        let proxies: TrustedProxies = "10.0.0.0/8, 2001:db8::9".parse().unwrap();
        for (lines, expected) in [
            (&[][..], (PEER, false)),
            (&[("x-forwarded-for", "192.0.2.1")], ("192.0.2.1:0", false)),
            (&[("x-forwarded-for", "192.0.2.1:5000")], ("192.0.2.1:5000", false)),
            (&[("x-forwarded-for", "2001:db8::1")], ("[2001:db8::1]:0", false)),
            (&[("x-forwarded-for", "[2001:db8::1]")], ("[2001:db8::1]:0", false)),
            (&[("x-forwarded-for", "[2001:db8::1]:80")], ("[2001:db8::1]:80", false)),
            // What the client itself has written is to the left.
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.1")], ("192.0.2.1:0", false)),
            (&[("x-forwarded-for", "6.6.6.6,192.0.2.1 , 10.9.9.9,2001:db8::9")], ("192.0.2.1:0", false)),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], ("192.0.2.1:0", false)),
            // All are proxies: the one farthest away asks for itself.
            (&[("x-forwarded-for", "10.2.2.2, 10.3.3.3")], ("10.2.2.2:0", false)),
            // From what cannot be read on nothing is believed.
            (&[("x-forwarded-for", "6.6.6.6, unknown")], (PEER, false)),
            (&[("x-forwarded-for", "6.6.6.6, nonsense, 10.3.3.3")], ("10.3.3.3:0", false)),
            (&[("x-forwarded-for", "192.0.2.1,")], (PEER, false)),
            (&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")], ("192.0.2.1:0", true)),
            (&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "WSS")], ("192.0.2.1:0", true)),
            (&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "http")], ("192.0.2.1:0", false)),
            (&[("x-forwarded-proto", "https")], (PEER, true)),
            (
                &[("x-forwarded-for", "6.6.6.6, 192.0.2.1"), ("x-forwarded-proto", "https, http")],
                ("192.0.2.1:0", false),
            ),
            (
                &[("x-forwarded-for", "192.0.2.1, 10.3.3.3"), ("x-forwarded-proto", "https, http")],
                ("192.0.2.1:0", true),
            ),
            (&[("x-forwarded-for", "192.0.2.1, 10.3.3.3"), ("x-forwarded-proto", "https")], ("192.0.2.1:0", true)),
            (&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https, http")], ("192.0.2.1:0", false)),
            (&[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=6.6.6.6;proto=https")], ("192.0.2.1:0", false)),
            (&[("forwarded", "for=6.6.6.6;proto=https")], (PEER, false)),
        ] {
            assert_eq!(client(&proxies, lines), (expected.0.to_owned(), expected.1), "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_from_the_right() {
        let proxies = "10.0.0.0/8".parse::<TrustedProxies>().unwrap().with_forwarded_header();
        for (lines, expected) in [
            (&[][..], (PEER, false)),
            (&[("forwarded", "for=192.0.2.1")], ("192.0.2.1:0", false)),
            (&[("forwarded", "For=\"[2001:db8:cafe::17]:4711\"; Proto=https")], ("[2001:db8:cafe::17]:4711", true)),
            (&[("forwarded", "for=\"192.0.2.1:5\";proto=http;by=203.0.113.43;host=\"a,b;c\"")], ("192.0.2.1:5", false)),
            (&[("forwarded", "for=6.6.6.6;proto=https, for=192.0.2.1, for=10.1.1.1")], ("192.0.2.1:0", false)),
            (
                &[("forwarded", "for=6.6.6.6, for=192.0.2.1;proto=https, for=10.1.1.1;proto=http")],
                ("192.0.2.1:0", true),
            ),
            (&[("forwarded", "for=6.6.6.6"), ("forwarded", "for=192.0.2.1")], ("192.0.2.1:0", false)),
            (&[("forwarded", "for=6.6.6.6, for=unknown")], (PEER, false)),
            (&[("forwarded", "for=6.6.6.6, for=_hidden, for=10.1.1.1")], ("10.1.1.1:0", false)),
            (&[("forwarded", "for=6.6.6.6, proto=https")], (PEER, true)),
            (&[("forwarded", "for=\"1\\92.0.2.1\"")], ("192.0.2.1:0", false)),
            // A client that leaves a quote open cannot swallow what the proxy adds.
            (&[("forwarded", "for=\"6.6.6.6, for=192.0.2.1")], (PEER, false)),
            (&[("forwarded", "for=6.6.6.6 for=192.0.2.1")], (PEER, false)),
            (&[("forwarded", "nonsense")], (PEER, false)),
            (&[("forwarded", "for=192.0.2.1;")], (PEER, false)),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")], (PEER, false)),
        ] {
            assert_eq!(client(&proxies, lines), (expected.0.to_owned(), expected.1), "{lines:?}");
        }
    }
}
