//! How commands and replies look on the wire: the Redis protocol, versions 2 and 3.
//!
//! A command is an array of byte strings. It is taken in word by word, each read by `redis-protocol`,
//! so that nothing nests, nothing is looked at twice and every length has a bound. Commands in a line
//! of plain words (`PING`, as typed into telnet) are an error, so that a web page cannot smuggle one
//! in through an HTTP request.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

/// The words of one command, its name first. Never empty.
pub(super) type Command = Vec<Bytes>;

/// Takes commands apart, however their bytes are cut.
#[derive(Debug)]
pub(super) struct Decoder {
    words: Command,
    /// How many words the command begun still lacks; 0 between commands.
    missing: usize,
    /// Bytes of the words taken.
    taken: usize,
    max: usize,
}

impl Decoder {
    /// A decoder of commands of up to `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { words: Vec::new(), missing: 0, taken: 0, max }
    }

    /// The next command, taken off the front of `input`; `Ok(None)` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// The client's doing, and the end of its connection: what follows cannot be told apart any more.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Command>, ProtocolError> {
        loop {
            if self.missing == 0 {
                let Some(line) = first_line(input, b'*')? else {
                    return Ok(None);
                };
                // An array of none, or of less, is no command and no error.
                let words = number(line).ok_or(ProtocolError::NotACommand)?.max(0);
                input.advance(line.len() + LINE_ENDS);
                self.missing = words.try_into().unwrap_or(usize::MAX);
                self.taken = 0;
                continue;
            }
            let Some(line) = first_line(input, b'$')? else {
                return Ok(None);
            };
            let length = number(line).and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or(ProtocolError::NotACommand)?;
            if self.taken.saturating_add(length) > self.max {
                return Err(ProtocolError::TooLong { max: self.max });
            }
            let Ok(word) = decode(input) else {
                return Err(ProtocolError::NotACommand);
            };
            let Some((OwnedFrame::BulkString(word), read)) = word else {
                return Ok(None);
            };
            input.advance(read);
            self.taken += word.len() + PER_WORD;
            self.words.push(word.into());
            self.missing -= 1;
            if self.missing == 0 {
                return Ok(Some(std::mem::take(&mut self.words)));
            }
        }
    }
}

/// The line that `input` starts with, without its end, if it is there. It must be of this kind, and short.
fn first_line(input: &[u8], kind: u8) -> Result<Option<&[u8]>, ProtocolError> {
    match input.first() {
        None => return Ok(None),
        Some(&first) if first == kind => {}
        Some(_) => return Err(ProtocolError::NotACommand),
    }
    let head = input.get(..LONGEST_LINE).unwrap_or(input);
    match head.windows(LINE_ENDS).position(|end| end == b"\r\n") {
        Some(end) => Ok(input.get(..end)),
        None if head.len() < LONGEST_LINE => Ok(None),
        None => Err(ProtocolError::NotACommand),
    }
}

/// The number in a line, behind the byte that says of what kind the line is.
fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.get(1..)?).ok()?.parse().ok()
}

/// `\r\n`.
const LINE_ENDS: usize = 2;

/// A line with one number has at most 20 digits.
const LONGEST_LINE: usize = 32;

/// What a word costs beside its bytes, about.
const PER_WORD: usize = 32;

/// Why what a client sent is not a command. Its connection is closed, no other is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    #[error("Protocol error: expected a command as an array of bulk strings")]
    NotACommand,
    #[error("Protocol error: a command longer than the {max} bytes this bus takes")]
    TooLong { max: usize },
}

/// Which of the two languages a connection has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Version {
    #[default]
    Resp2,
    Resp3,
}

/// What the bus says to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Status(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Reply>),
    /// Pairs; in version 2 a list with keys and values in turn.
    Map(Vec<(Reply, Reply)>),
    /// What was not asked for at this moment, such as a message; in version 2 a plain list.
    Push(Vec<Reply>),
}

impl Reply {
    /// A bulk string of words that stand in the program.
    pub(super) fn text(text: &'static str) -> Self {
        Reply::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// The reply as bytes for the wire.
    pub(super) fn encode(&self, version: Version) -> Bytes {
        let mut out = Vec::with_capacity(64);
        self.write(version, &mut out);
        out.into()
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Reply::Status(text) => line(out, b'+', text.as_bytes()),
            Reply::Error(text) => line(out, b'-', text.as_bytes()),
            Reply::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Reply::Bulk(bytes) => {
                header(out, b'$', bytes.len());
                out.put_slice(bytes);
                out.put_slice(b"\r\n");
            }
            Reply::Null if version == Version::Resp3 => out.put_slice(b"_\r\n"),
            Reply::Null => out.put_slice(b"$-1\r\n"),
            Reply::Array(items) => list(out, b'*', version, items),
            Reply::Push(items) if version == Version::Resp3 => list(out, b'>', version, items),
            Reply::Push(items) => list(out, b'*', version, items),
            Reply::Map(pairs) => {
                match version {
                    Version::Resp2 => header(out, b'*', pairs.len() * 2),
                    Version::Resp3 => header(out, b'%', pairs.len()),
                }
                for (key, value) in pairs {
                    key.write(version, out);
                    value.write(version, out);
                }
            }
        }
    }
}

fn list(out: &mut Vec<u8>, kind: u8, version: Version, items: &[Reply]) {
    header(out, kind, items.len());
    for item in items {
        item.write(version, out);
    }
}

fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    line(out, kind, len.to_string().as_bytes());
}

/// One line. A line break inside would be read as the next reply, so it becomes a space.
fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.put_u8(kind);
    out.extend(text.iter().map(|&byte| match byte {
        b'\r' | b'\n' => b' ',
        byte => byte,
    }));
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&'static str]) -> Command {
        words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect()
    }

    /// Everything `pieces` hold, up to the first error.
    fn read<'a>(max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Command>, ProtocolError> {
        let mut decoder = Decoder::new(max);
        let mut input = BytesMut::new();
        let mut commands = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(command) = decoder.decode(&mut input)? {
                commands.push(command);
            }
        }
        Ok(commands)
    }

    #[test]
    fn commands_are_read_whole_and_a_byte_at_a_time() {
        for (bytes, commands) in [
            ("", vec![]),
            ("*1\r\n$4\r\nPING\r\n", vec![command(&["PING"])]),
            ("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", vec![command(&["ECHO", ""])]),
            ("*2\r\n$4\r\nECHO\r\n$4\r\n\r\n*1\r\n", vec![command(&["ECHO", "\r\n*1"])]),
            ("*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", vec![command(&["PING"])]),
            (
                "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4",
                vec![command(&["PING"]), command(&["ECHO", "hi"])],
            ),
        ] {
            assert_eq!(read(1_000, [bytes.as_bytes()]), Ok(commands.clone()), "{bytes:?} whole");
            assert_eq!(read(1_000, bytes.as_bytes().chunks(1)), Ok(commands), "{bytes:?} in bytes");
        }
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        for bytes in [
            "PING\r\n",
            "GET / HTTP/1.1\r\n",
            "+OK\r\n",
            ":1\r\n",
            "*1\r\n:1\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n*1\r\n$4\r\nPING\r\n",
            "*x\r\n",
            "*99999999999999999999\r\n",
            "*1\r\n$00000000000000000000000000000000004\r\nPING\r\n",
            "$3\r\nabc\r\n",
            &("*1\r\n".repeat(50_000)),
        ] {
            let shown: String = bytes.chars().take(40).collect();
            let expected = Err(ProtocolError::NotACommand);
            assert_eq!(read(1_000_000, [bytes.as_bytes()]), expected, "{shown:?} whole");
            assert_eq!(read(1_000_000, bytes.as_bytes().chunks(1)), expected, "{shown:?} in bytes");
        }
    }

    #[test]
    fn a_command_past_the_bound_is_refused_before_it_has_come() {
        let too_long = Err(ProtocolError::TooLong { max: 1_000 });
        assert_eq!(read(1_000, [&b"*1\r\n$1001\r\n"[..]]), too_long);
        assert_eq!(read(1_000, [&b"*1\r\n$9223372036854775807\r\n"[..]]), too_long);

        let empty_words = std::iter::repeat_n(&b"$0\r\n\r\n"[..], 100);
        let many = [&b"*999999999\r\n"[..]].into_iter().chain(empty_words);
        assert_eq!(read(1_000, many), too_long);
    }

    #[test]
    fn the_bound_is_for_one_command_and_not_for_the_connection() {
        let ping = &b"*1\r\n$4\r\nPING\r\n"[..];
        let commands = read(40, std::iter::repeat_n(ping, 1_000)).expect("each is short");
        assert_eq!(commands.len(), 1_000);
    }

    #[test]
    fn every_reply_has_its_form_in_both_versions() {
        for (reply, resp2, resp3) in [
            (Reply::Status("OK"), "+OK\r\n", "+OK\r\n"),
            (Reply::Error("ERR a\r\n+OK".into()), "-ERR a  +OK\r\n", "-ERR a  +OK\r\n"),
            (Reply::Integer(-7), ":-7\r\n", ":-7\r\n"),
            (Reply::text("ü\r\n"), "$4\r\nü\r\n\r\n", "$4\r\nü\r\n\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::Array(vec![Reply::Integer(1), Reply::Null]), "*2\r\n:1\r\n$-1\r\n", "*2\r\n:1\r\n_\r\n"),
            (
                Reply::Map(vec![(Reply::text("a"), Reply::Integer(1))]),
                "*2\r\n$1\r\na\r\n:1\r\n",
                "%1\r\n$1\r\na\r\n:1\r\n",
            ),
            (Reply::Push(vec![Reply::text("a")]), "*1\r\n$1\r\na\r\n", ">1\r\n$1\r\na\r\n"),
        ] {
            assert_eq!(reply.encode(Version::Resp2), resp2, "{reply:?} in version 2");
            assert_eq!(reply.encode(Version::Resp3), resp3, "{reply:?} in version 3");
        }
    }
}
