//! What goes over the wire to Redis and back: RESP 2, as far as publishing and subscribing need it.
//!
//! A message is found in the read buffer and cut out of it, without a copy: 0.6 µs of CPU to hear and decode one, where
//! the `redis` crate needs 0.9 to hear it (`examples/throughput.rs`). That each confirmation and each refusal is seen
//! in its place matters more.

use std::ops::Range;

use bytes::Bytes;

/// Redis' own limit for one string (`proto-max-bulk-len`).
const MAX_BULK: usize = 512 << 20;
/// No command that is used here answers with more than this at once.
const MAX_ARRAY: usize = 1 << 16;
/// A line (status, error, number) longer than this is not from Redis.
const MAX_LINE: usize = 64 << 10;

/// Appends the command made of `parts` to `out`.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    header(out, b'*', parts.len());
    for part in parts {
        header(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    // Digits from the end; no formatting machinery for a number in front of every part.
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = len;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Cuts what [`command`] has written into the commands.
pub fn commands(written: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = written;
    std::iter::from_fn(move || {
        let mut scanner = Scanner::new(rest);
        let Ok(Some(Token::Array(parts))) = scanner.next_token() else { return None };
        for _ in 0..parts {
            scanner.next_token().ok().flatten()?;
        }
        let (command, after) = rest.split_at(scanner.position());
        rest = after;
        Some(command)
    })
}

/// The parts of one command that [`command`] has written.
pub fn parts(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut scanner = Scanner::new(command);
    let _ = scanner.next_token();
    std::iter::from_fn(move || match scanner.next_token() {
        Ok(Some(Token::Bulk(Some(part)))) => Some(&command[part]),
        _ => None,
    })
}

/// One element of what Redis sends, as a place in the bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// `+OK`
    Status(Range<usize>),
    /// `-ERR …`
    Error(Range<usize>),
    /// `:3`
    Integer(i64),
    /// `$3…`; `None` for the null.
    Bulk(Option<Range<usize>>),
    /// So many elements follow.
    Array(usize),
}

/// Redis said something that is not RESP 2. The link is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotResp;

/// Reads tokens from the front of what has arrived.
#[derive(Clone)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Scanner { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next token; `None` when it has not arrived whole.
    pub fn next_token(&mut self) -> Result<Option<Token>, NotResp> {
        let Some(line) = self.line()? else { return Ok(None) };
        let (kind, text) = (self.bytes[line.start], line.start + 1..line.end);
        let token = match kind {
            b'+' => Token::Status(text),
            b'-' => Token::Error(text),
            b':' => Token::Integer(self.integer(text)?),
            b'*' => match self.integer(text)? {
                -1 => Token::Bulk(None),
                len => Token::Array(usize::try_from(len).ok().filter(|len| *len <= MAX_ARRAY).ok_or(NotResp)?),
            },
            b'$' => match self.integer(text)? {
                -1 => Token::Bulk(None),
                len => {
                    let len = usize::try_from(len).ok().filter(|len| *len <= MAX_BULK).ok_or(NotResp)?;
                    let start = line.end + 2;
                    let Some(end) = self.bytes.get(start + len..start + len + 2) else { return Ok(None) };
                    if end != b"\r\n" {
                        return Err(NotResp);
                    }
                    self.at = start + len + 2;
                    return Ok(Some(Token::Bulk(Some(start..start + len))));
                }
            },
            _ => return Err(NotResp),
        };
        self.at = line.end + 2;
        Ok(Some(token))
    }

    /// The line here, without its end.
    fn line(&self) -> Result<Option<Range<usize>>, NotResp> {
        let rest = &self.bytes[self.at..];
        match rest.iter().take(MAX_LINE).position(|byte| *byte == b'\r') {
            Some(0) => Err(NotResp),
            Some(len) => match rest.get(len + 1) {
                Some(b'\n') => Ok(Some(self.at..self.at + len)),
                Some(_) => Err(NotResp),
                None => Ok(None),
            },
            None if rest.len() >= MAX_LINE => Err(NotResp),
            None => Ok(None),
        }
    }

    fn integer(&self, text: Range<usize>) -> Result<i64, NotResp> {
        let text = &self.bytes[text];
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(NotResp);
        }
        let number = digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Ok(if negative { -number } else { number })
    }
}

/// A whole answer, for commands whose answer is looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR …`
    Error(String),
    /// `:3`
    Integer(i64),
    /// `$3…`; `None` for the null.
    Bulk(Option<Bytes>),
    /// Several answers in one.
    Array(Vec<Reply>),
}

/// Reads the answer at the scanner's place; `None` when it has not arrived whole.
pub fn reply(scanner: &mut Scanner<'_>) -> Result<Option<Reply>, NotResp> {
    reply_within(scanner, 6)
}

fn reply_within(scanner: &mut Scanner<'_>, depth: usize) -> Result<Option<Reply>, NotResp> {
    let Some(token) = scanner.next_token()? else { return Ok(None) };
    let text = |range: Range<usize>| String::from_utf8_lossy(&scanner.bytes[range]).into_owned();
    Ok(Some(match token {
        Token::Status(status) => Reply::Status(text(status)),
        Token::Error(error) => Reply::Error(text(error)),
        Token::Integer(number) => Reply::Integer(number),
        Token::Bulk(bulk) => Reply::Bulk(bulk.map(|range| Bytes::copy_from_slice(&scanner.bytes[range]))),
        Token::Array(len) => {
            if depth == 0 {
                return Err(NotResp);
            }
            let mut elements = Vec::new();
            for _ in 0..len {
                match reply_within(scanner, depth - 1)? {
                    Some(element) => elements.push(element),
                    None => return Ok(None),
                }
            }
            Reply::Array(elements)
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"PUBLISH", b"socket.io#/#", b"0123456789"]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$12\r\nsocket.io#/#\r\n$10\r\n0123456789\r\n");
    }

    #[test]
    fn what_was_written_can_be_cut_again() {
        let mut written = Vec::new();
        command(&mut written, &[b"PUBLISH", b"a", b"\r\n*1\r\n"]);
        command(&mut written, &[b"PING"]);
        let cut: Vec<Vec<&[u8]>> = commands(&written).map(|command| parts(command).collect()).collect();
        assert_eq!(cut, [vec![&b"PUBLISH"[..], b"a", b"\r\n*1\r\n"], vec![b"PING"]]);
    }

    #[test]
    fn every_answer_is_read_whole_and_only_when_whole() {
        let bulk = |text: &'static str| Reply::Bulk(Some(Bytes::from_static(text.as_bytes())));
        for (text, expected) in [
            ("+OK\r\n", Reply::Status("OK".into())),
            ("-NOAUTH Authentication required.\r\n", Reply::Error("NOAUTH Authentication required.".into())),
            (":-12\r\n", Reply::Integer(-12)),
            ("$5\r\na\r\nb\n\r\n", bulk("a\r\nb\n")),
            ("$0\r\n\r\n", bulk("")),
            ("$-1\r\n", Reply::Bulk(None)),
            ("*2\r\n$1\r\nc\r\n:3\r\n", Reply::Array(vec![bulk("c"), Reply::Integer(3)])),
        ] {
            let mut scanner = Scanner::new(text.as_bytes());
            assert_eq!(reply(&mut scanner), Ok(Some(expected)), "{text:?}");
            assert_eq!(scanner.position(), text.len());
            for cut in 0..text.len() {
                assert_eq!(reply(&mut Scanner::new(&text.as_bytes()[..cut])), Ok(None), "{text:?} cut to {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        for text in
            ["HTTP/1.1 400\r\n", "$-2\r\n", "$x\r\n", "$3\r\nabcd\r\n", "*99999999\r\n", ":\r\n", "\r\n", ":1\rx"]
        {
            assert_eq!(reply(&mut Scanner::new(text.as_bytes())), Err(NotResp), "{text:?}");
        }
        let nested = "*1\r\n".repeat(100);
        assert_eq!(reply(&mut Scanner::new(nested.as_bytes())), Err(NotResp));
        assert_eq!(reply(&mut Scanner::new(&[b'+'; MAX_LINE + 1])), Err(NotResp));
    }
}
