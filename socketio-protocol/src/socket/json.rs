//! Reading JSON text in place.
//!
//! A [`Reader`] walks over text and builds nothing. It serves whoever needs JSON here: the check of what a client sent
//! ([`check`]), the typed reading of arguments, the way to MessagePack. What it reads has mostly been checked before,
//! but it does not rely on that: bad text is a [`Fault`], never a panic.
//!
//! It reads what `JSON.parse` reads. Half a surrogate pair, which JavaScript strings can hold and Rust's cannot, becomes
//! U+FFFD.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

/// Arrays and objects inside each other, both when reading and when writing.
///
/// Reading is partly recursive, and so is what users do with what they read; a client must not choose the depth of our stack.
pub(super) const MAX_DEPTH: usize = 128;

/// The key that marks the place of an attachment; its value is `true`.
pub(super) const PLACEHOLDER: &str = "_placeholder";

/// Why text is not JSON that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON from byte `at` on.
    Syntax { at: usize },
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
}

/// Checks that `text` is one JSON value and gives back where it is; only white space may stand around it.
pub(super) fn check(text: &str) -> Result<Range<usize>, Fault> {
    check_list(text).map(|(place, _)| place)
}

/// As [`check`]; also says what is seen in passing of a list.
pub(super) fn check_list(text: &str) -> Result<(Range<usize>, Shape), Fault> {
    let mut reader = Reader::new(text);
    reader.peek()?;
    let start = reader.at;
    let shape = reader.skip_value()?;
    let end = reader.at;
    if end == text.len() {
        return Ok((start..end, shape));
    }
    reader.skip_whitespace();
    if reader.at == text.len() { Ok((start..end, shape)) } else { Err(reader.fault()) }
}

/// What is seen of an array or object by whoever steps over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// How many commas stand between its elements or members.
    pub(super) commas: usize,
    /// Where its first element ends; 0 if it has none.
    pub(super) first_end: usize,
}

/// A place in JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The start of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Reader { text, at: 0 }
    }

    /// Byte `at` of `text`.
    pub(super) fn new_at(text: &'a str, at: usize) -> Self {
        Reader { text, at }
    }

    /// How many bytes have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The error "something else was expected here".
    pub(super) fn fault(&self) -> Fault {
        Fault::Syntax { at: self.at }
    }

    /// The next byte that is not white space; it stays unread.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<u8, Fault> {
        match self.text.as_bytes().get(self.at) {
            Some(&byte) if byte > b' ' => Ok(byte),
            _ => self.peek_far(),
        }
    }

    #[cold]
    fn peek_far(&mut self) -> Result<u8, Fault> {
        self.skip_whitespace();
        self.text.as_bytes().get(self.at).copied().ok_or(self.fault())
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// Reads the one byte `expected`.
    #[inline]
    pub(super) fn expect(&mut self, expected: u8) -> Result<(), Fault> {
        if self.peek()? != expected {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(())
    }

    /// Steps to the next element or key of an array or object that ends with `close`, or over its end.
    ///
    /// `first` is true before the first element and stays false from then on.
    #[inline]
    pub(super) fn advance(&mut self, first: &mut bool, close: u8) -> Result<bool, Fault> {
        let byte = self.peek()?;
        if byte == close {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Reads a key and the colon behind it.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Reads `null`, `true` or `false`.
    #[inline]
    pub(super) fn word(&mut self, word: &str) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a string; nothing is copied if nothing in it is escaped.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        match self.skip_plain() {
            Some(b'"') => {
                self.at += 1;
                self.between(start, self.at - 1).map(Cow::Borrowed)
            }
            Some(b'\\') => self.unescape(start).map(Cow::Owned),
            _ => Err(self.fault()),
        }
    }

    /// Reads the rest of a string that began at `start` and has its first backslash here.
    #[cold]
    fn unescape(&mut self, start: usize) -> Result<String, Fault> {
        let mut string = self.between(start, self.at)?.to_owned();
        loop {
            let run = self.at;
            let stop = self.skip_plain();
            string.push_str(self.between(run, self.at)?);
            match stop {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                _ => return Err(self.fault()),
            }
        }
    }

    /// Reads one escaped character, or two that are the halves of a surrogate pair.
    fn escape(&mut self) -> Result<char, Fault> {
        let byte = self.text.as_bytes().get(self.at + 1).copied().ok_or(self.fault())?;
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex(self.at + 2)?;
                self.at += 6;
                return Ok(match unit {
                    0xD800..0xDC00 => self.low_surrogate(unit),
                    _ => char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
                });
            }
            _ => return Err(self.fault()),
        };
        self.at += 2;
        Ok(character)
    }

    /// Reads the second half of a pair, if it is there.
    fn low_surrogate(&mut self, high: u32) -> char {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        match (rest.starts_with(b"\\u"), self.hex(self.at + 2)) {
            (true, Ok(low @ 0xDC00..0xE000)) => {
                self.at += 6;
                char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => char::REPLACEMENT_CHARACTER,
        }
    }

    /// Four hexadecimal digits at `at`.
    fn hex(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(at..at + 4).ok_or(self.fault())?;
        digits.iter().try_fold(0, |unit, &digit| {
            char::from(digit).to_digit(16).map(|digit| unit << 4 | digit).ok_or(self.fault())
        })
    }

    /// Skips characters that stand for themselves in a string and gives back what stopped it, unread.
    #[inline]
    fn skip_plain(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        self.at += plain_run(bytes.get(self.at..)?);
        bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.skip_plain() {
            Some(b'"') => {
                self.at += 1;
                Ok(())
            }
            _ => self.skip_escaped(),
        }
    }

    /// Skips the rest of a string from its first backslash on.
    #[cold]
    fn skip_escaped(&mut self) -> Result<(), Fault> {
        loop {
            match self.skip_plain() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => drop(self.escape()?),
                _ => return Err(self.fault()),
            }
        }
    }

    /// Reads a number, as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.skip_number()?;
        self.between(start, self.at)
    }

    #[inline]
    fn skip_number(&mut self) -> Result<(), Fault> {
        self.skip_if(b"-");
        if !self.skip_if(b"0") && self.skip_digits() == 0 {
            return Err(self.fault());
        }
        if self.skip_if(b".") && self.skip_digits() == 0 {
            return Err(self.fault());
        }
        if self.skip_if(b"eE") {
            self.skip_if(b"+-");
            if self.skip_digits() == 0 {
                return Err(self.fault());
            }
        }
        Ok(())
    }

    #[inline]
    fn skip_if(&mut self, any: &[u8]) -> bool {
        let found = self.text.as_bytes().get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn skip_digits(&mut self) -> usize {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    /// Skips one value and checks it while doing so.
    pub(super) fn skip_value(&mut self) -> Result<Shape, Fault> {
        // What we are inside of, one bit a level, the innermost last: 1 for an object, 0 for an array.
        let mut objects = 0_u128;
        let mut depth = 0;
        let mut shape = Shape::default();
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'-' | b'0'..=b'9' => self.skip_number()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                open @ (b'{' | b'[') => {
                    if depth == MAX_DEPTH {
                        return Err(Fault::TooDeep);
                    }
                    self.at += 1;
                    // The closing byte is two above the opening one in ASCII.
                    if self.peek()? == open + 2 {
                        self.at += 1;
                    } else {
                        depth += 1;
                        objects = objects << 1 | u128::from(open == b'{');
                        if open == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(self.fault()),
            }
            // A value is complete, and with it perhaps what it is in.
            loop {
                if depth == 0 {
                    return Ok(shape);
                }
                if depth == 1 && shape.first_end == 0 {
                    shape.first_end = self.at;
                }
                match (self.peek()?, objects & 1 == 1) {
                    (b',', in_object) => {
                        self.at += 1;
                        shape.commas += usize::from(depth == 1);
                        if in_object {
                            self.skip_key()?;
                        }
                        break;
                    }
                    (b']', false) | (b'}', true) => {
                        self.at += 1;
                        depth -= 1;
                        objects >>= 1;
                    }
                    _ => return Err(self.fault()),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Fault> {
        if self.peek()? != b'"' {
            return Err(self.fault());
        }
        self.skip_string()?;
        self.expect(b':')
    }

    /// Reads one value, as it is written.
    pub(super) fn raw_value(&mut self) -> Result<&'a str, Fault> {
        self.peek()?;
        let start = self.at;
        self.skip_value()?;
        self.between(start, self.at)
    }

    fn between(&self, start: usize, end: usize) -> Result<&'a str, Fault> {
        self.text.get(start..end).ok_or(self.fault())
    }

    /// If a placeholder is next, reads it and gives back the number of its attachment.
    ///
    /// A placeholder has its two members, in either order, and no other.
    pub(super) fn placeholder(&mut self) -> Option<usize> {
        let mut reader = *self;
        reader.expect(b'{').ok()?;
        let (mut marked, mut num) = (false, None);
        for separator in [b',', b'}'] {
            match reader.key().ok()?.as_ref() {
                PLACEHOLDER => {
                    reader.peek().ok()?;
                    reader.word("true").ok()?;
                    marked = true;
                }
                "num" => {
                    reader.peek().ok()?;
                    num = Some(reader.number().ok()?.parse().ok()?);
                }
                _ => return None,
            }
            reader.expect(separator).ok()?;
        }
        if marked && num.is_some() {
            *self = reader;
        }
        num.filter(|_| marked)
    }

    /// If a placeholder for one of `attachments` is next, reads it and gives back the attachment.
    pub(super) fn attachment(&mut self, attachments: &'a [Bytes]) -> Option<&'a Bytes> {
        if attachments.is_empty() {
            return None;
        }
        self.placeholder().and_then(|num| attachments.get(num))
    }
}

/// How many bytes at the front of `bytes` stand for themselves in a JSON string: no quote, backslash or control character.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    if bytes.len() < LONG { plain_words(bytes) } else { plain_long(bytes) }
}

/// [`plain_run`] of what is long: not inlined, so that the short way stays short.
#[inline(never)]
fn plain_long(bytes: &[u8]) -> usize {
    let blocks = plain_blocks(bytes);
    blocks + plain_words(&bytes[blocks..])
}

/// From how many bytes on a string is looked through in blocks first.
const LONG: usize = 128;

/// How many bytes at the front of `bytes` are in blocks of which each byte stands for itself. The loops are such that the
/// compiler compares 16 bytes at once: half an instruction a byte, where words take more than two.
fn plain_blocks(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let special = |byte: u8| 0_u8.wrapping_sub(u8::from((byte < b' ') | (byte == b'"') | (byte == b'\\')));
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let plain = |block: &&[u8; BLOCK]| {
        let mut any = [0_u8; 16];
        for lanes in block.as_chunks::<16>().0 {
            for (any, &byte) in any.iter_mut().zip(lanes) {
                *any |= special(byte);
            }
        }
        u128::from_ne_bytes(any) == 0
    };
    blocks.iter().take_while(plain).count() * BLOCK
}

/// [`plain_run`], eight bytes at a time.
#[inline]
fn plain_words(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    // The top bit of each byte that is zero; bytes above the first zero may be marked by mistake, those below are not.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let found = controls | zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|&&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count();
    bytes.len() - rest.len() + plain
}

/// A number, in the narrowest of the types that JSON's numbers become here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Negative(i64),
    Float(f64),
}

impl Number {
    /// Reads what [`Reader::number`] gave back. Whole numbers of more than 64 bits become floats, as in JavaScript.
    pub(super) fn parse(text: &str) -> Self {
        if let Ok(number) = text.parse() {
            return Number::Unsigned(number);
        }
        match text.parse() {
            Ok(0) => Number::Unsigned(0),
            Ok(number) => Number::Negative(number),
            Err(_) => Number::Float(text.parse().unwrap_or(f64::NAN)),
        }
    }
}

/// Why attachments and the places for them do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceholderFault {
    /// No attachment of that number, a number that is none, or members beside the two.
    Illegal,
    /// Two places for attachment `num`.
    Repeated { num: usize },
}

/// Checks that each placeholder in `json`, which is valid, names one of `count` attachments, and no two the same one.
///
/// Stock parsers allow the second; no encoder writes it, and it would let a small packet grow without bound when it is
/// written in another format. Whoever reads the text later relies on this check having been made.
pub(super) fn check_placeholders(json: &str, count: usize) -> Result<(), PlaceholderFault> {
    let mut seen = SmallVec::<[bool; 16]>::from_elem(false, count);
    visit(&mut Reader::new(json), &mut seen).unwrap_or(Err(PlaceholderFault::Illegal))
}

fn visit(reader: &mut Reader<'_>, seen: &mut [bool]) -> Result<Result<(), PlaceholderFault>, Fault> {
    let (open, start) = (reader.peek()?, *reader);
    if open != b'[' && open != b'{' {
        return reader.skip_value().map(|_| Ok(()));
    }
    reader.expect(open)?;
    let (mut first, mut marked) = (true, false);
    while reader.advance(&mut first, open + 2)? {
        if open == b'{' && reader.key()? == PLACEHOLDER {
            marked |= reader.peek()? == b't';
        }
        if let Err(fault) = visit(reader, seen)? {
            return Ok(Err(fault));
        }
    }
    if !marked {
        return Ok(Ok(()));
    }
    Ok(match { start }.placeholder() {
        Some(num) => match seen.get_mut(num) {
            None => Err(PlaceholderFault::Illegal),
            Some(true) => Err(PlaceholderFault::Repeated { num }),
            Some(seen) => {
                *seen = true;
                Ok(())
            }
        },
        None => Err(PlaceholderFault::Illegal),
    })
}

/// Appends `text` to `out` as a JSON string, escaped as `JSON.stringify` does.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Appends what is between the quotes of a JSON string.
pub(super) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            return;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x8 => out.extend_from_slice(b"\\b"),
            0xC => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let hex = |digit: u8| digit + if digit < 10 { b'0' } else { b'a' - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        }
        rest = after;
    }
}

/// Appends the placeholder of attachment `num`.
pub(super) fn write_placeholder(out: &mut Vec<u8>, num: usize) {
    out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
    write_plain(out, &num);
    out.push(b'}');
}

/// Appends a number or `true`/`false` as serde_json writes it; what JSON cannot say (NaN) becomes `null`.
pub(super) fn write_plain<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("writing a number into a Vec does not fail");
}
