//! Reading what Redis answers.

use std::io;

use bytes::{Buf, BytesMut};
use socketio_redis_client::{
    Stream,
    resp::{self, Reply, Scanner},
};
use tokio::io::{AsyncReadExt, ReadHalf};

/// So much is read at a time: some four thousand answers.
const AT_A_TIME: usize = 16 * 1_024;

/// The answers that come over a link.
pub(crate) struct AnswerReader {
    stream: ReadHalf<Box<dyn Stream>>,
    /// What was read and is not a whole answer yet.
    read: BytesMut,
}

impl AnswerReader {
    pub(crate) fn new(stream: ReadHalf<Box<dyn Stream>>) -> AnswerReader {
        AnswerReader { stream, read: BytesMut::new() }
    }

    /// Waits until something has come. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn more(&mut self) -> io::Result<()> {
        self.read.reserve(AT_A_TIME);
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Redis has closed it")),
            _ => Ok(()),
        }
    }

    /// Gives each answer that is there as a whole to `take`, until that fails.
    pub(crate) fn each(&mut self, take: impl FnMut(Reply) -> io::Result<()>) -> io::Result<()> {
        let read = each(&self.read, take)?;
        self.read.advance(read);
        Ok(())
    }
}

/// Gives each answer in `bytes` to `take`, and says how many bytes they have.
fn each(bytes: &[u8], mut take: impl FnMut(Reply) -> io::Result<()>) -> io::Result<usize> {
    let mut rest = bytes;
    loop {
        while let Some((number, behind)) = number(rest) {
            take(Reply::Integer(number))?;
            rest = behind;
        }
        let mut scanner = Scanner::new(rest);
        match resp::reply(&mut scanner) {
            Ok(Some(reply)) => {
                rest = rest.get(scanner.position()..).unwrap_or_default();
                take(reply)?;
            }
            Ok(None) => return Ok(bytes.len() - rest.len()),
            Err(resp::NotResp) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak as Redis does"));
            }
        }
    }
}

/// The number at the front, `:12\r\n`, which nearly every answer to a `PUBLISH` is, and what is behind it. `None` if that
/// is not what is there, in whole.
#[inline]
fn number(read: &[u8]) -> Option<(i64, &[u8])> {
    // One digit: so many servers have most.
    if let [b':', digit @ b'0'..=b'9', b'\r', b'\n', rest @ ..] = read {
        return Some((i64::from(digit - b'0'), rest));
    }
    let mut number = 0;
    let mut rest = read.strip_prefix(b":")?;
    for _ in 0..MOST_DIGITS {
        match rest {
            [digit @ b'0'..=b'9', behind @ ..] => {
                number = number * 10 + i64::from(digit - b'0');
                rest = behind;
            }
            [b'\r', b'\n', behind @ ..] if rest.len() + 1 < read.len() => return Some((number, behind)),
            _ => return None,
        }
    }
    None
}

/// No number with so many digits is too large for an `i64`. Longer ones are left to the scanner.
const MOST_DIGITS: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers in `text`, of which so many bytes arrive at a time.
    fn answers(text: &str, at_a_time: usize) -> Vec<Reply> {
        let mut read = Vec::new();
        let mut replies = Vec::new();
        for piece in text.as_bytes().chunks(at_a_time) {
            read.extend_from_slice(piece);
            let taken = each(&read, |reply| {
                replies.push(reply);
                Ok(())
            });
            read.drain(..taken.expect(text));
        }
        assert!(read.is_empty(), "{text}");
        replies
    }

    #[test]
    fn answers_are_read_alike_however_they_are_cut() {
        let text = ":0\r\n:12\r\n+OK\r\n:-1\r\n-ERR no\r\n:99999999999999999\r\n:123456789012345678\r\n$2\r\n:1\r\n:1\r\n\
            >2\r\n$3\r\nnew\r\n:7\r\n*2\r\n:1\r\n:2\r\n:3\r\n";
        let number = Reply::Integer;
        let expected = [
            number(0),
            number(12),
            Reply::Status("OK".to_owned()),
            number(-1),
            Reply::Error("ERR no".to_owned()),
            number(99_999_999_999_999_999),
            number(123_456_789_012_345_678),
            Reply::Bulk(Some(":1".into())),
            number(1),
            Reply::Array(vec![number(1), number(2)]),
            number(3),
        ];
        for at_a_time in 1..=text.len() {
            assert_eq!(answers(text, at_a_time), expected, "{at_a_time} bytes at a time");
        }
    }

    #[test]
    fn what_no_redis_says_is_an_error() {
        for text in [":\r\n", ":1\rx", ":99999999999999999999\r\n", ":1x\r\n", "HTTP/1.1 400\r\n", "\r\n"] {
            assert!(each(text.as_bytes(), |_| Ok(())).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_first_answer_that_is_not_taken_is_the_last() {
        let mut taken = 0;
        let result = each(b":1\r\n:2\r\n:3\r\n", |_| {
            taken += 1;
            if taken == 2 { Err(io::Error::other("enough")) } else { Ok(()) }
        });
        assert!(result.is_err() && taken == 2);
    }
}
