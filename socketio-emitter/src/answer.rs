//! Reading what Redis answers.
//!
//! The client library reads all that there is. Nearly every answer to a `PUBLISH` is a small number, though, and those
//! are read here: a message costs a sixth less.

use bytes::{Buf, BytesMut};
use redis::{RedisError, Value, ValueCodec};
use tokio_util::codec::Decoder;

/// Takes one answer after the other off what was read.
#[derive(Default)]
pub(crate) struct AnswerCodec {
    rest: ValueCodec,
    /// The library has read a part of an answer.
    started: bool,
}

impl Decoder for AnswerCodec {
    type Item = Value;
    type Error = RedisError;

    fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Value>, RedisError> {
        if !self.started
            && let Some((number, length)) = number(read)
        {
            read.advance(length);
            return Ok(Some(Value::Int(number)));
        }
        let value = self.rest.decode(read);
        self.started = matches!(value, Ok(None));
        value
    }

    fn decode_eof(&mut self, read: &mut BytesMut) -> Result<Option<Value>, RedisError> {
        match self.decode(read)? {
            Some(value) => Ok(Some(value)),
            None => self.rest.decode_eof(read),
        }
    }
}

/// The number at the front, `:12\r\n`, and how many bytes it has. `None` if that is not what is there, in whole.
fn number(read: &[u8]) -> Option<(i64, usize)> {
    let digits = read.strip_prefix(b":")?;
    let mut number = 0;
    for (place, byte) in digits.iter().take(MOST_DIGITS + 1).enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + i64::from(byte - b'0'),
            b'\r' if place > 0 && digits.get(place + 1) == Some(&b'\n') => return Some((number, place + 3)),
            _ => return None,
        }
    }
    None
}

/// No number with so many digits is too large for an `i64`, whatever one more byte may be.
const MOST_DIGITS: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers in `text`, of which so many bytes arrive at a time.
    fn answers(text: &str, at_a_time: usize) -> Vec<Value> {
        let mut codec = AnswerCodec::default();
        let mut read = BytesMut::new();
        let mut values = Vec::new();
        for piece in text.as_bytes().chunks(at_a_time) {
            read.extend_from_slice(piece);
            while let Some(value) = codec.decode(&mut read).expect(text) {
                values.push(value);
            }
        }
        assert!(read.is_empty() && codec.decode_eof(&mut read).is_ok_and(|value| value.is_none()), "{text}");
        values
    }

    #[test]
    fn answers_are_those_of_the_library_however_they_are_cut() {
        let text = ":0\r\n:12\r\n+OK\r\n:-1\r\n-ERR no\r\n:9223372036854775807\r\n:99999999999999999\r\n$2\r\n:1\r\n:1\r\n\
            *2\r\n:1\r\n:2\r\n:3\r\n";
        let whole = answers(text, text.len());
        let mut library = (ValueCodec::default(), BytesMut::from(text));
        let expected: Vec<_> = std::iter::from_fn(|| library.0.decode(&mut library.1).unwrap()).collect();
        assert_eq!(whole, expected);
        assert_eq!(whole.len(), 11);
        for at_a_time in 1..text.len() {
            assert_eq!(answers(text, at_a_time), whole, "{at_a_time} bytes at a time");
        }
    }
}
