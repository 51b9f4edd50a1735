//! What goes over the wire to Redis and back: RESP 2 and RESP 3, as far as publishing and subscribing need them.
//!
//! A link speaks RESP 2 unless Redis was asked for RESP 3 when it was entered. What RESP 3 writes in ways of its own is
//! read here into what RESP 2 has for it, so that nobody above asks which of them it is: any null is [`Token::Bulk`] of
//! nothing, a set is an array, `#t` and `#f` are 1 and 0, other numbers and verbatim texts are strings. Only a map and a push
//! are something new; a whole [`Reply`] has a map as an array of pairs, which is what RESP 2 has in its place.
//!
//! A message is found in the read buffer and cut out of it, without a copy: 0.6 µs of CPU to hear and decode one, where
//! the `redis` crate needs 0.9 to hear it (`socketio-redis-adapter/examples/throughput.rs`). That each confirmation and
//! each refusal is seen in its place matters more.

use std::ops::Range;

use bytes::Bytes;

/// Redis' own limit for one string (`proto-max-bulk-len`).
const MAX_BULK: usize = 512 << 20;
/// No command that is used here answers with more than this at once.
const MAX_ARRAY: usize = 1 << 16;
/// Lengths of up to so many digits, below [`MAX_BULK`], need no second look.
const PLAIN_DIGITS: usize = 8;
/// A line (status, error, number) longer than this is not from Redis.
const MAX_LINE: usize = 64 << 10;

/// Appends the command made of `parts` to `out`.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len() + PART_HEADER).sum::<usize>() + PART_HEADER);
    header(out, b'*', parts.len());
    for part in parts {
        header(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// What a part needs besides its bytes, unless it is huge.
const PART_HEADER: usize = 16;

#[inline]
fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    // No formatting machinery for a number in front of every part: written from the end, in one piece with what is around.
    let mut line = [0u8; 23];
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut rest = len;
    loop {
        at -= 1;
        line[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    at -= 1;
    line[at] = kind;
    out.extend_from_slice(&line[at..]);
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
    /// So many keys follow, each with its value; RESP 3.
    Map(usize),
    /// So many elements follow, and they answer nothing; RESP 3.
    Push(usize),
}

/// Redis said something that is not RESP. The link is given up.
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
    #[inline]
    pub fn next_token(&mut self) -> Result<Option<Token>, NotResp> {
        let plain = match self.bytes.get(self.at..).unwrap_or_default() {
            [b'$', ..] => self.plain_string().map(|string| Token::Bulk(Some(string))),
            [kind @ (b'*' | b':' | b'>'), digit @ b'0'..=b'9', b'\r', b'\n', ..] => {
                self.at += 4;
                Some(match (kind, digit - b'0') {
                    (b'*', len) => Token::Array(len.into()),
                    (b'>', len) => Token::Push(len.into()),
                    (_, number) => Token::Integer(number.into()),
                })
            }
            _ => None,
        };
        if plain.is_some() { Ok(plain) } else { self.any_token() }
    }

    /// A string that is there as a whole, which most tokens are: found in one pass over its length. `None` for all else,
    /// which [`any_token`](Scanner::any_token) looks at again.
    #[inline]
    fn plain_string(&mut self) -> Option<Range<usize>> {
        let [b'$', rest @ ..] = self.bytes.get(self.at..)? else { return None };
        let (mut len, mut digits) = (0, 0);
        while let byte @ b'0'..=b'9' = *rest.get(digits)? {
            len = len * 10 + usize::from(byte - b'0');
            digits += 1;
            if digits > PLAIN_DIGITS {
                return None;
            }
        }
        let string = digits + 2..digits + 2 + len;
        let ends = rest.get(digits..digits + 2)? == b"\r\n" && rest.get(string.end..string.end + 2)? == b"\r\n";
        if digits == 0 || !ends {
            return None;
        }
        let start = self.at + 1;
        self.at = start + string.end + 2;
        Some(start + string.start..start + string.end)
    }

    fn any_token(&mut self) -> Result<Option<Token>, NotResp> {
        let Some(line) = self.line()? else { return Ok(None) };
        let (kind, text) = (self.bytes[line.start], line.start + 1..line.end);
        let token = match kind {
            b'+' => Token::Status(text),
            b'-' => Token::Error(text),
            b':' => Token::Integer(self.integer(text)?),
            b'*' | b'$' if &self.bytes[text.clone()] == b"-1" => Token::Bulk(None),
            b'*' | b'~' => Token::Array(self.count(text)?),
            b'$' | b'=' | b'!' => {
                let Some(string) = self.string(text, line.end + 2)? else { return Ok(None) };
                self.at = string.end + 2;
                return Ok(Some(match kind {
                    b'!' => Token::Error(string),
                    // Three letters and a colon say what kind of text it is.
                    b'=' => Token::Bulk(Some((string.start + 4).min(string.end)..string.end)),
                    _ => Token::Bulk(Some(string)),
                }));
            }
            b'_' => Token::Bulk(None),
            b'#' => Token::Integer(i64::from(&self.bytes[text] == b"t")),
            b',' | b'(' => Token::Bulk(Some(text)),
            b'%' => Token::Map(self.count(text)?),
            b'>' => Token::Push(self.count(text)?),
            b'|' => return self.behind_attributes(self.count(text)?, line.end + 2),
            _ => return Err(NotResp),
        };
        self.at = line.end + 2;
        Ok(Some(token))
    }

    /// Passes over what was pushed here. `None` when that has not arrived whole.
    pub fn skip_pushes(&mut self) -> Result<Option<()>, NotResp> {
        while self.bytes.get(self.at) == Some(&b'>') {
            let mut ahead = self.clone();
            let Some(Token::Push(len)) = ahead.next_token()? else { return Ok(None) };
            if ahead.skip(len)?.is_none() {
                return Ok(None);
            }
            self.at = ahead.at;
        }
        Ok(Some(()))
    }

    /// Passes over so many elements and all that is in them.
    fn skip(&mut self, elements: usize) -> Result<Option<()>, NotResp> {
        let mut left = elements;
        while left > 0 {
            left -= 1;
            self.no_attributes()?;
            left += match self.next_token()? {
                None => return Ok(None),
                Some(Token::Array(len) | Token::Push(len)) => len,
                Some(Token::Map(len)) => 2 * len,
                Some(_) => 0,
            };
        }
        Ok(Some(()))
    }

    /// The token behind `len` pairs that say something about it, which nobody here asks for.
    fn behind_attributes(&mut self, len: usize, start: usize) -> Result<Option<Token>, NotResp> {
        let mut ahead = Scanner { bytes: self.bytes, at: start };
        if ahead.skip(2 * len)?.is_none() {
            return Ok(None);
        }
        ahead.no_attributes()?;
        let token = ahead.next_token()?;
        if token.is_some() {
            self.at = ahead.at;
        }
        Ok(token)
    }

    /// Attributes of attributes would be read as deep as somebody likes to write them.
    fn no_attributes(&self) -> Result<(), NotResp> {
        if self.bytes.get(self.at) == Some(&b'|') { Err(NotResp) } else { Ok(()) }
    }

    fn count(&self, text: Range<usize>) -> Result<usize, NotResp> {
        usize::try_from(self.integer(text)?).ok().filter(|len| *len <= MAX_ARRAY).ok_or(NotResp)
    }

    /// The string whose length is `text`, if it is there as a whole.
    fn string(&self, text: Range<usize>, start: usize) -> Result<Option<Range<usize>>, NotResp> {
        let len = usize::try_from(self.integer(text)?).ok().filter(|len| *len <= MAX_BULK).ok_or(NotResp)?;
        match self.bytes.get(start + len..start + len + 2) {
            None => Ok(None),
            Some(b"\r\n") => Ok(Some(start..start + len)),
            Some(_) => Err(NotResp),
        }
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
    /// Several answers in one. A map of RESP 3 is an array of its pairs.
    Array(Vec<Reply>),
}

/// Reads the answer at the scanner's place; `None` when it has not arrived whole. What was pushed before it is passed over.
pub fn reply(scanner: &mut Scanner<'_>) -> Result<Option<Reply>, NotResp> {
    match scanner.skip_pushes()? {
        Some(()) => reply_within(scanner, 6),
        None => Ok(None),
    }
}

fn reply_within(scanner: &mut Scanner<'_>, depth: usize) -> Result<Option<Reply>, NotResp> {
    let Some(token) = scanner.next_token()? else { return Ok(None) };
    let text = |range: Range<usize>| String::from_utf8_lossy(&scanner.bytes[range]).into_owned();
    Ok(Some(match token {
        Token::Status(status) => Reply::Status(text(status)),
        Token::Error(error) => Reply::Error(text(error)),
        Token::Integer(number) => Reply::Integer(number),
        Token::Bulk(bulk) => Reply::Bulk(bulk.map(|range| Bytes::copy_from_slice(&scanner.bytes[range]))),
        Token::Array(len) => match elements(scanner, len, depth)? {
            Some(elements) => Reply::Array(elements),
            None => return Ok(None),
        },
        Token::Map(len) => {
            let mut pairs = Vec::new();
            for _ in 0..len {
                let Some(pair) = elements(scanner, 2, depth)? else { return Ok(None) };
                pairs.push(Reply::Array(pair));
            }
            Reply::Array(pairs)
        }
        Token::Push(_) => return Err(NotResp),
    }))
}

fn elements(scanner: &mut Scanner<'_>, len: usize, depth: usize) -> Result<Option<Vec<Reply>>, NotResp> {
    let depth = depth.checked_sub(1).ok_or(NotResp)?;
    let mut elements = Vec::new();
    for _ in 0..len {
        match reply_within(scanner, depth)? {
            Some(element) => elements.push(element),
            None => return Ok(None),
        }
    }
    Ok(Some(elements))
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
            // RESP 3.
            ("_\r\n", Reply::Bulk(None)),
            ("#t\r\n", Reply::Integer(1)),
            ("#f\r\n", Reply::Integer(0)),
            (",1.5\r\n", bulk("1.5")),
            ("(12345678901234567890\r\n", bulk("12345678901234567890")),
            ("=7\r\ntxt:a\r\n\r\n", bulk("a\r\n")),
            ("!5\r\nERR a\r\n", Reply::Error("ERR a".into())),
            ("~1\r\n:1\r\n", Reply::Array(vec![Reply::Integer(1)])),
            ("%1\r\n$1\r\na\r\n:1\r\n", Reply::Array(vec![Reply::Array(vec![bulk("a"), Reply::Integer(1)])])),
            (">2\r\n+a\r\n%1\r\n+b\r\n*1\r\n:1\r\n>0\r\n:7\r\n", Reply::Integer(7)),
            ("|1\r\n+ttl\r\n:3600\r\n:7\r\n", Reply::Integer(7)),
            ("*1\r\n|1\r\n+a\r\n*1\r\n_\r\n:7\r\n", Reply::Array(vec![Reply::Integer(7)])),
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
        for text in [
            "HTTP/1.1 400\r\n",
            "$-2\r\n",
            "*1\r\n>0\r\n",
            "%x\r\n",
            "|0\r\n|0\r\n",
            "|1\r\n|0\r\n",
            "$x\r\n",
            "$3\r\nabcd\r\n",
            "*99999999\r\n",
            ":\r\n",
            "\r\n",
            ":1\rx",
        ] {
            assert_eq!(reply(&mut Scanner::new(text.as_bytes())), Err(NotResp), "{text:?}");
        }
        for nested in ["*1\r\n", "%1\r\n", "%1\r\n:1\r\n"] {
            assert_eq!(reply(&mut Scanner::new(nested.repeat(100).as_bytes())), Err(NotResp));
        }
        assert_eq!(reply(&mut Scanner::new(&[b'+'; MAX_LINE + 1])), Err(NotResp));
    }
}
