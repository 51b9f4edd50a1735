//! MessagePack, read in place: a cursor that finds a message's parts without building them.
//!
//! Lengths are believed only as far as bytes follow, and skipping a value takes no recursion, so what another
//! server sent can neither reserve memory nor overflow the stack.

use super::MessageError;

/// A place in MessagePack bytes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a value starts with: enough to know its content's length.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(usize),
    Binary(usize),
    Array(usize),
    Map(usize),
    Extension(usize),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Passes over `bytes` if they come next.
    #[inline]
    pub(super) fn passes(&mut self, bytes: &[u8]) -> bool {
        let next = self.rest().starts_with(bytes);
        if next {
            self.at += bytes.len();
        }
        next
    }

    /// Passes over so many bytes, of which it is known that they are there.
    pub(super) fn pass(&mut self, len: usize) {
        self.at = (self.at + len).min(self.bytes.len());
    }

    /// All that has not been read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The number of elements of the array here.
    pub(super) fn array(&mut self) -> Result<usize, MessageError> {
        match self.head()? {
            Head::Array(len) => Ok(len),
            _ => Err(self.fault("an array was expected")),
        }
    }

    /// The number of entries of the map here.
    pub(super) fn map(&mut self) -> Result<usize, MessageError> {
        match self.head()? {
            Head::Map(len) => Ok(len),
            _ => Err(self.fault("a map was expected")),
        }
    }

    /// The text here.
    pub(super) fn text(&mut self) -> Result<&'a str, MessageError> {
        match self.head()? {
            Head::Text(len) => {
                let text = self.take(len)?;
                std::str::from_utf8(text).map_err(|_| self.fault("text is not UTF-8"))
            }
            _ => Err(self.fault("text was expected")),
        }
    }

    /// The text here; `None` for nil.
    pub(super) fn optional_text(&mut self) -> Result<Option<&'a str>, MessageError> {
        let mut ahead = *self;
        if ahead.head()? == Head::Nil {
            *self = ahead;
            return Ok(None);
        }
        self.text().map(Some)
    }

    /// The whole number here, if it is one and not negative; anything else is passed over.
    pub(super) fn unsigned(&mut self) -> Result<Option<u64>, MessageError> {
        let mut ahead = *self;
        if let Head::Unsigned(number) = ahead.head()? {
            *self = ahead;
            return Ok(Some(number));
        }
        self.skip()?;
        Ok(None)
    }

    /// The truth value here, if it is one; anything else is passed over.
    pub(super) fn boolean(&mut self) -> Result<Option<bool>, MessageError> {
        let mut ahead = *self;
        if let Head::Bool(value) = ahead.head()? {
            *self = ahead;
            return Ok(Some(value));
        }
        self.skip()?;
        Ok(None)
    }

    /// The name of a room here: text, or the text of a number. `None` for what names no room.
    pub(super) fn name(&mut self) -> Result<Option<String>, MessageError> {
        let mut ahead = *self;
        let name = match ahead.head()? {
            Head::Unsigned(number) => number.to_string(),
            Head::Signed(number) => number.to_string(),
            Head::Float(number) => number.to_string(),
            Head::Text(_) => return Ok(Some(self.text()?.to_owned())),
            _ => {
                self.skip()?;
                return Ok(None);
            }
        };
        *self = ahead;
        Ok(Some(name))
    }

    /// The bytes of the value here, whatever it is.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], MessageError> {
        let from = self.at;
        self.skip()?;
        Ok(&self.bytes[from..self.at])
    }

    /// The bytes of the array here.
    pub(super) fn raw_array(&mut self) -> Result<&'a [u8], MessageError> {
        let mut ahead = *self;
        ahead.array()?;
        self.raw()
    }

    /// Whether the value here is nil.
    pub(super) fn is_nil(&self) -> bool {
        matches!({ *self }.head(), Ok(Head::Nil))
    }

    /// Passes over the value here.
    pub(super) fn skip(&mut self) -> Result<(), MessageError> {
        let mut values = 1usize;
        while values > 0 {
            values -= 1;
            match self.head()? {
                Head::Nil | Head::Bool(_) | Head::Unsigned(_) | Head::Signed(_) | Head::Float(_) => {}
                Head::Text(len) | Head::Binary(len) | Head::Extension(len) => {
                    self.take(len)?;
                }
                Head::Array(len) => values += len,
                Head::Map(len) => values += 2 * len,
            }
        }
        Ok(())
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), MessageError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault("bytes follow the message")) }
    }

    fn head(&mut self) -> Result<Head, MessageError> {
        let first = self.number::<1>()?;
        Ok(match first as u8 {
            byte @ 0x00..=0x7f => Head::Unsigned(byte.into()),
            byte @ 0x80..=0x8f => self.many(Head::Map, (byte & 0x0f).into(), 2)?,
            byte @ 0x90..=0x9f => self.many(Head::Array, (byte & 0x0f).into(), 1)?,
            byte @ 0xa0..=0xbf => Head::Text((byte & 0x1f).into()),
            0xc0 => Head::Nil,
            0xc1 => return Err(self.fault("0xc1 means nothing")),
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4 => Head::Binary(self.len::<1>()?),
            0xc5 => Head::Binary(self.len::<2>()?),
            0xc6 => Head::Binary(self.len::<4>()?),
            0xc7 => Head::Extension(self.len::<1>()? + 1),
            0xc8 => Head::Extension(self.len::<2>()? + 1),
            0xc9 => Head::Extension(self.len::<4>()? + 1),
            0xca => Head::Float(f32::from_bits(self.number::<4>()? as u32).into()),
            0xcb => Head::Float(f64::from_bits(self.number::<8>()?)),
            0xcc => Head::Unsigned(self.number::<1>()?),
            0xcd => Head::Unsigned(self.number::<2>()?),
            0xce => Head::Unsigned(self.number::<4>()?),
            0xcf => Head::Unsigned(self.number::<8>()?),
            0xd0 => signed((self.number::<1>()? as i8).into()),
            0xd1 => signed((self.number::<2>()? as i16).into()),
            0xd2 => signed((self.number::<4>()? as i32).into()),
            0xd3 => signed(self.number::<8>()? as i64),
            byte @ 0xd4..=0xd8 => Head::Extension(1 + (1 << (byte - 0xd4))),
            0xd9 => Head::Text(self.len::<1>()?),
            0xda => Head::Text(self.len::<2>()?),
            0xdb => Head::Text(self.len::<4>()?),
            0xdc => {
                let len = self.len::<2>()?;
                self.many(Head::Array, len, 1)?
            }
            0xdd => {
                let len = self.len::<4>()?;
                self.many(Head::Array, len, 1)?
            }
            0xde => {
                let len = self.len::<2>()?;
                self.many(Head::Map, len, 2)?
            }
            0xdf => {
                let len = self.len::<4>()?;
                self.many(Head::Map, len, 2)?
            }
            byte @ 0xe0..=0xff => Head::Signed((byte as i8).into()),
        })
    }

    /// A collection of `len` elements of at least `each` bytes, if that many bytes are there.
    fn many(&self, head: fn(usize) -> Head, len: usize, each: usize) -> Result<Head, MessageError> {
        if len.saturating_mul(each) > self.bytes.len() - self.at {
            return Err(self.fault("a length exceeds what is there"));
        }
        Ok(head(len))
    }

    fn number<const N: usize>(&mut self) -> Result<u64, MessageError> {
        Ok(self.take(N)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn len<const N: usize>(&mut self) -> Result<usize, MessageError> {
        Ok(self.number::<N>()? as usize)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MessageError> {
        match self.bytes[self.at..].split_at_checked(len) {
            Some((taken, _)) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.fault("it ends inside a value")),
        }
    }

    fn fault(&self, what: &'static str) -> MessageError {
        MessageError::MessagePack { what, at: self.at }
    }
}

fn signed(number: i64) -> Head {
    u64::try_from(number).map_or(Head::Signed(number), Head::Unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_finds_the_end_of_every_kind_of_value() {
        for (value, bytes) in [
            ("nil", "c0"),
            ("small", "7f"),
            ("negative", "ff"),
            ("u64", "cfffffffffffffffff"),
            ("f64", "cb3ff8000000000000"),
            ("text", "a3616263"),
            ("text 8", "d903616263"),
            ("binary", "c403010203"),
            ("undefined of notepack 2", "d40000"),
            ("timestamp 96", "c70cff1dcd6500fffffffffffffffe"),
            ("date of notepack 2", "d7000000018cc820d888"),
            ("array", "9201a161"),
            ("map of arrays", "82a16191c0a16290"),
        ] {
            let bytes = unhex(bytes);
            let mut reader = Reader::new(&bytes);
            reader.skip().unwrap_or_else(|error| panic!("{value}: {error}"));
            reader.end().unwrap_or_else(|error| panic!("{value}: {error}"));
            for cut in 0..bytes.len() {
                assert!(Reader::new(&bytes[..cut]).skip().is_err(), "{value} cut to {cut} bytes");
            }
        }
    }

    #[test]
    fn a_deep_value_is_skipped_without_recursion() {
        let mut bytes = vec![0x91; 1_000_000];
        bytes.push(0xc0);
        let mut reader = Reader::new(&bytes);
        assert!(reader.skip().and_then(|()| reader.end()).is_ok());
    }

    #[test]
    fn a_length_that_cannot_be_is_not_believed() {
        for bytes in ["dfffffffff", "ddffffffff00", "dbffffffff61", "c1"] {
            assert!(Reader::new(&unhex(bytes)).skip().is_err(), "{bytes}");
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }
}
