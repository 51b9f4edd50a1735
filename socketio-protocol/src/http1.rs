//! The head of an HTTP/1.1 request, if it is as plain as those of Engine.IO clients are.
//!
//! A server that speaks HTTP in general is needed for all the rest, and is to have it: what is unusual, or could be
//! understood in two ways, is [`Verdict::Other`]. So nothing is refused here, and nothing is guessed.

use std::ops::Range;

/// What the bytes that a client has sent so far begin with.
///
/// ```
/// use socketio_protocol::http1::{Head, Verdict};
///
/// assert_eq!(Head::read(b"GET /socket.io/?EIO=4 HT"), Verdict::Partial);
/// // Two lengths can be understood in two ways.
/// let odd = b"POST /socket.io/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
/// assert_eq!(Head::read(odd), Verdict::Other);
/// ```
#[expect(clippy::large_enum_variant, reason = "it is looked at where it is made, for each request")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A head that is not whole yet.
    Partial,
    /// A plain request.
    Plain(Head),
    /// Something else.
    Other,
}

/// A plain request: GET without a body, or POST with a `Content-Length`.
///
/// ```
/// use socketio_protocol::http1::{Head, Verdict};
///
/// let bytes = b"POST /socket.io/?EIO=4 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n40";
/// let Verdict::Plain(head) = Head::read(bytes) else { panic!("it is plain") };
/// assert_eq!(&bytes[head.target.clone()], b"/socket.io/?EIO=4");
/// assert_eq!(&bytes[head.len..head.len + head.body], b"40");
/// assert_eq!(head.lines(bytes).next(), Some((&b"Host"[..], &b"a"[..])));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whether it is a POST.
    pub post: bool,
    /// Where its path and query stand: `/`, then only what needs no thought in a URL.
    pub target: Range<usize>,
    /// How many bytes it has; behind them is the body.
    pub len: usize,
    /// How many bytes the body has.
    pub body: usize,
    /// Whether it asks for a WebSocket, so that what follows may not be HTTP any more.
    pub upgrade: bool,
    /// Whether the client wants the connection closed after the answer.
    pub close: bool,
    lines: [Line; MAX_LINES],
    count: usize,
}

/// Where a name and its value stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Line {
    name: (u16, u16),
    value: (u16, u16),
}

/// More lines than that are not plain.
const MAX_LINES: usize = 32;

/// Longer heads are not plain.
pub const MAX_HEAD: usize = 8 << 10;

impl Head {
    /// Looks at what a client has sent.
    pub fn read(bytes: &[u8]) -> Verdict {
        let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
        let mut request = httparse::Request::new(&mut lines);
        match request.parse(bytes.get(..MAX_HEAD).unwrap_or(bytes)) {
            Ok(httparse::Status::Complete(len)) => {
                Self::of(bytes, len, &request).map_or(Verdict::Other, Verdict::Plain)
            }
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => Verdict::Partial,
            _ => Verdict::Other,
        }
    }

    fn of(bytes: &[u8], len: usize, request: &httparse::Request<'_, '_>) -> Option<Self> {
        let post = match request.method? {
            "GET" => false,
            "POST" => true,
            _ => return None,
        };
        let target = request.path?;
        if request.version != Some(1) || !is_plain(target) || has_bare_line_feed(bytes.get(..len)?) {
            return None;
        }
        let mut head = Self {
            post,
            target: place(bytes, target.as_bytes())?,
            len,
            body: 0,
            upgrade: false,
            close: false,
            lines: [Line::default(); MAX_LINES],
            count: request.headers.len(),
        };
        let mut length = None;
        let mut upgrades = false;
        for (header, line) in request.headers.iter().zip(&mut head.lines) {
            let name = header.name;
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // Told apart by their lengths first: most lines are none of these.
            match name.len() {
                6 if is("expect") => return None,
                7 if is("trailer") => return None,
                7 if is("upgrade") => match header.value.eq_ignore_ascii_case(b"websocket") && !head.upgrade {
                    true => head.upgrade = true,
                    false => return None,
                },
                10 if is("connection") => match connection(header.value)? {
                    Connection::KeepAlive => {}
                    Connection::Close => head.close = true,
                    Connection::Upgrade => upgrades = true,
                },
                14 if is("content-length") => match length {
                    None => length = Some(number(header.value)?),
                    Some(_) => return None,
                },
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
            *line = Line { name: short(bytes, name.as_bytes())?, value: short(bytes, header.value)? };
        }
        // An upgrade of which only one line speaks is none; who means it does not close, or send a body.
        if head.upgrade != upgrades || (head.upgrade && (post || head.close)) {
            return None;
        }
        head.body = match (post, length) {
            (true, Some(length)) => length,
            (false, None | Some(0)) => 0,
            _ => return None,
        };
        Some(head)
    }

    /// Its header lines in the order they came; names as the client wrote them. `bytes` is what it was read from.
    pub fn lines<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        let piece = |(start, end): (u16, u16)| bytes.get(start.into()..end.into()).unwrap_or_default();
        self.lines.iter().take(self.count).map(move |line| (piece(line.name), piece(line.value)))
    }
}

enum Connection {
    KeepAlive,
    Close,
    Upgrade,
}

/// `Connection` with what clients and proxies write; `None` if there is more in it.
fn connection(value: &[u8]) -> Option<Connection> {
    let mut said = Connection::KeepAlive;
    let mut others = 0;
    for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if token.eq_ignore_ascii_case(b"keep-alive") {
            continue;
        }
        said = match token {
            close if close.eq_ignore_ascii_case(b"close") => Connection::Close,
            upgrade if upgrade.eq_ignore_ascii_case(b"upgrade") => Connection::Upgrade,
            _ => return None,
        };
        others += 1;
    }
    (others < 2).then_some(said)
}

/// A length: digits and nothing else.
fn number(value: &[u8]) -> Option<usize> {
    if value.is_empty() || value.len() > 9 {
        return None;
    }
    value.iter().try_fold(0, |number, &digit| digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0')))
}

/// Whether a target is a path with a query, of characters that nobody reads in two ways.
fn is_plain(target: &str) -> bool {
    let bytes = target.as_bytes();
    bytes.first() == Some(&b'/') && bytes.iter().all(|&byte| PLAIN[usize::from(byte)])
}

/// The characters of RFC 3986 in path and query.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+,;=:@/?";
    let mut at = 0;
    while at < others.len() {
        plain[others[at] as usize] = true;
        at += 1;
    }
    plain
};

/// Some take a line feed alone for the end of a line, and some do not.
fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head.get(at - 1) != Some(&b'\r'))
}

/// Where a piece of `bytes` stands in it.
fn place(bytes: &[u8], piece: &[u8]) -> Option<Range<usize>> {
    let start = (piece.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    Some(start..start + piece.len())
}

fn short(bytes: &[u8], piece: &[u8]) -> Option<(u16, u16)> {
    if piece.is_empty() {
        return Some((0, 0)); // Which may stand anywhere.
    }
    let Range { start, end } = place(bytes, piece)?;
    Some((u16::try_from(start).ok()?, u16::try_from(end).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /socket.io/?EIO=4&transport=polling&sid=a_-1 HTTP/1.1\r\n";
    const POST: &str = "POST /socket.io/?EIO=4 HTTP/1.1\r\n";

    fn plain(text: &str) -> Option<Head> {
        match Head::read(text.as_bytes()) {
            Verdict::Plain(head) => Some(head),
            _ => None,
        }
    }

    #[test]
    fn what_clients_send_is_plain() {
        let text = format!("{GET}Host: a.test\r\nX-Empty:\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\nnext");
        let head = plain(&text).unwrap();
        assert_eq!(&text[head.target.clone()], "/socket.io/?EIO=4&transport=polling&sid=a_-1");
        assert_eq!((head.post, head.body, head.upgrade, head.close), (false, 0, false, false));
        assert_eq!(&text[head.len..], "next");
        let lines: Vec<_> = head.lines(text.as_bytes()).collect();
        assert_eq!(lines[0], (&b"Host"[..], &b"a.test"[..]));
        assert_eq!(lines[1], (&b"X-Empty"[..], &b""[..]));
        assert_eq!(lines.len(), 4);

        let head = plain(&format!("{POST}Host: a\r\ncontent-length: 12\r\nConnection: close\r\n\r\n")).unwrap();
        assert_eq!((head.post, head.body, head.close), (true, 12, true));
        let head = plain(&format!("{GET}Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n")).unwrap();
        assert!(head.upgrade);
    }

    #[test]
    fn a_head_in_pieces_is_partial_until_it_is_whole() {
        let text = format!("{POST}Host: a\r\nContent-Length: 5\r\n\r\n");
        for len in 0..text.len() {
            assert_eq!(Head::read(&text.as_bytes()[..len]), Verdict::Partial, "{:?}", &text[..len]);
        }
        assert!(plain(&text).is_some());
    }

    #[test]
    fn what_is_unusual_or_has_two_readings_is_for_others() {
        for text in [
            "PUT / HTTP/1.1\r\n\r\n".to_owned(),
            "OPTIONS / HTTP/1.1\r\n\r\n".to_owned(),
            "HEAD / HTTP/1.1\r\n\r\n".to_owned(),
            "get / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/1.0\r\n\r\n".to_owned(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "GET http://a/ HTTP/1.1\r\n\r\n".to_owned(),
            "GET * HTTP/1.1\r\n\r\n".to_owned(),
            "GET /a b HTTP/1.1\r\n\r\n".to_owned(),
            "GET /a#b HTTP/1.1\r\n\r\n".to_owned(),
            "GET /\u{e9} HTTP/1.1\r\n\r\n".to_owned(),
            "GET /\"a\" HTTP/1.1\r\n\r\n".to_owned(),
            "GET  / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\n\n".to_owned(),
            format!("{GET}Host: a\n\r\n"),
            format!("{GET}Host : a\r\n\r\n"),
            format!("{GET} Host: a\r\n\r\n"),
            format!("{GET}Host: a\r\n b\r\n\r\n"),
            format!("{GET}Host: a\rb\r\n\r\n"),
            format!("{GET}Content-Length: 1\r\n\r\n"),
            format!("{POST}Host: a\r\n\r\n"),
            format!("{POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            format!("{POST}Content-Length: 1, 1\r\n\r\n"),
            format!("{POST}Content-Length: +1\r\n\r\n"),
            format!("{POST}Content-Length: 0x1\r\n\r\n"),
            format!("{POST}Content-Length:\r\n\r\n"),
            format!("{POST}Content-Length: 1234567890\r\n\r\n"),
            format!("{POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("{POST}Transfer-Encoding: identity\r\n\r\n"),
            format!("{POST}Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"),
            format!("{GET}Connection: keep-alive, te\r\n\r\n"),
            format!("{GET}Connection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"),
            format!("{GET}Connection: close\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            format!("{GET}Connection: upgrade\r\n\r\n"),
            format!("{GET}Upgrade: websocket\r\n\r\n"),
            format!("{GET}Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
            format!("{POST}Content-Length: 0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            format!("{GET}{}\r\n", "a: b\r\n".repeat(33)),
            format!("{GET}a: {}\r\n\r\n", "b".repeat(MAX_HEAD)),
            format!("{GET}a: {}", "b".repeat(MAX_HEAD)),
        ] {
            assert_eq!(Head::read(text.as_bytes()), Verdict::Other, "{text:?}");
        }
    }
}
