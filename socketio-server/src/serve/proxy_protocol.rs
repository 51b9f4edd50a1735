//! The PROXY protocol, by which a load balancer says in front of a connection whom it is for: version 1, a line of text,
//! and version 2, in binary.
//!
//! Exactly the header is read and not a byte more, so that the stream stays a bare one. Anyone who may connect could
//! write such a header, so it is read from trusted addresses only; from those there has to be one, since a header that
//! may be missing can be one that a client wrote. (HAProxy, "The PROXY protocol", versions 1 and 2.)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header says of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Whom it is for. `None` when the proxy speaks for itself (a health check), or does not say.
    pub(super) source: Option<SocketAddr>,
    /// Whether the client came to the proxy over TLS. Only version 2 can say so.
    pub(super) secure: bool,
}

/// Why what a trusted address sent is no header. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the connection ended in the header: {0}")]
    Read(#[from] io::Error),
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the line of version 1 is malformed")]
    Line,
    #[error("version and command {0:#04x} are unknown")]
    Command(u8),
    #[error("the header of version 2 announces {0} bytes, more than the {MAX_V2} accepted")]
    TooLong(usize),
    #[error("the header of version 2 is shorter than what it holds")]
    TooShort,
}

/// Reads the header from the front of a stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, HeaderError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        return read_v2(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(HeaderError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_V1 {
            return Err(HeaderError::Line);
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line).ok_or(HeaderError::Line)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n`
fn parse_v1(line: &[u8]) -> Option<Header> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Header::default()); // What else it says is to be ignored.
    }
    let mut parts = line.split(' ');
    let mut next = || parts.next();
    let family = next()?;
    let (source, destination) = (next()?.parse::<IpAddr>().ok()?, next()?.parse::<IpAddr>().ok()?);
    let (port, _) = (port(next()?)?, port(next()?)?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && next().is_none()).then_some(Header { source: Some(SocketAddr::new(source, port)), secure: false })
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, HeaderError> {
    let [command, family, high, low] = stream.read_u32().await?.to_be_bytes();
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_V2 {
        return Err(HeaderError::TooLong(len));
    }
    let mut rest = vec![0; len];
    stream.read_exact(&mut rest).await?;
    match command {
        // The proxy's own connection: whatever addresses there are, are not meant.
        0x20 => Ok(Header::default()),
        0x21 => parse_v2(family, &rest).ok_or(HeaderError::TooShort),
        other => Err(HeaderError::Command(other)),
    }
}

/// Addresses and what follows them. `None` when they are cut off.
fn parse_v2(family: u8, rest: &[u8]) -> Option<Header> {
    let (source, mut rest) = match family {
        0x11 => {
            let (addresses, rest) = rest.split_first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            (Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)), rest)
        }
        0x21 => {
            let (addresses, rest) = rest.split_first_chunk::<36>()?;
            let (source, ports) = (addresses.first_chunk::<16>()?, addresses.last_chunk::<4>()?);
            let port = u16::from_be_bytes([ports[0], ports[1]]);
            (Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port)), rest)
        }
        // A client of the proxy's unix socket has a path of 108 bytes, and no address.
        0x31 => (None, rest.split_first_chunk::<216>()?.1),
        // Unknown, or a datagram.
        _ => return Some(Header::default()),
    };
    let mut secure = false;
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        secure |= kind == TYPE_SSL && value.first()? & CLIENT_SSL != 0;
        rest = after;
    }
    rest.is_empty().then_some(Header { source, secure })
}

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, as its text says.
const MAX_V1: usize = 107;

/// The longest header of version 2 that is read. With addresses, names and what a client's certificate says it has some
/// hundred bytes.
const MAX_V2: usize = 2048;

const TYPE_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> Result<(Header, usize), HeaderError> {
        let mut stream = bytes;
        let header = read(&mut stream).await?;
        Ok((header, stream.len()))
    }

    #[tokio::test]
    async fn lines_of_version_1() {
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n", Some("192.0.2.1:56324")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n", Some("1.1.1.1:0")),
            ("PROXY TCP6 2001:db8::1 ::1 4 5\r\n", Some("[2001:db8::1]:4")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        ] {
            let text = format!("{line}GET /");
            let (header, left) = read_all(text.as_bytes()).await.unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(header.source.map(|source| source.to_string()).as_deref(), source, "{line}");
            assert!(!header.secure);
            assert_eq!(left, 5, "not a byte more is read: {line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.9 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 056 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 +56 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 65536 443\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.9 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.9 1 443\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.9 1 443\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 1 443\n",
            "proxy TCP4 192.0.2.1 192.0.2.9 1 443\r\n",
            "GET /socket.io/ HTTP/1.1\r\n",
            &long,
        ] {
            assert!(read_all(line.as_bytes()).await.is_err(), "{line}");
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &len, rest].concat()
    }

    #[tokio::test]
    async fn headers_of_version_2() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 9, 0xdc, 0x04, 1, 187];
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &[0, 4, 0, 5]].concat();
        let ssl = |client: u8| [&[0x20, 0, 5, client, 0, 0, 0, 0][..], &[0x04, 0, 1, 0]].concat();
        let with = |addresses: &[u8], more: &[u8]| [addresses, more].concat();
        for (bytes, source, secure) in [
            (v2(0x21, 0x11, &v4), Some("192.0.2.1:56324"), false),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::1]:4"), false),
            (v2(0x21, 0x11, &with(&v4, &ssl(1))), Some("192.0.2.1:56324"), true),
            (v2(0x21, 0x21, &with(&v6, &ssl(0))), Some("[2001:db8::1]:4"), false),
            (v2(0x21, 0x31, &[0; 216]), None, false),
            (v2(0x21, 0x00, &[1, 2, 3]), None, false),
            (v2(0x20, 0x11, &v4), None, false),
            (v2(0x20, 0x00, &[]), None, false),
        ] {
            let (header, left) = read_all(&with(&bytes, b"GET /")).await.unwrap();
            assert_eq!(header.source.map(|source| source.to_string()).as_deref(), source);
            assert_eq!(header.secure, secure);
            assert_eq!(left, 5);
            for cut in 0..bytes.len() {
                assert!(read_all(&bytes[..cut]).await.is_err(), "cut off at {cut}");
            }
        }
        for bytes in [
            v2(0x22, 0x11, &v4),
            v2(0x11, 0x11, &v4),
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
            v2(0x21, 0x11, &with(&v4, &[0x20])),
            v2(0x21, 0x11, &with(&v4, &[0x20, 0, 9, 1])),
            v2(0x21, 0x11, &with(&v4, &[0x20, 0, 0])),
            v2(0x21, 0x11, &[0; MAX_V2 + 1]),
        ] {
            assert!(read_all(&bytes).await.is_err(), "{bytes:?}");
        }
    }
}
