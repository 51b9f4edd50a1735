//! JSON with attachments to MessagePack and back, without a tree in between.
//!
//! The dialect is that of `notepack.io`, which the Redis adapters, emitters and the MessagePack parser use. Writing takes
//! the shortest integers, whole floats as integers, other floats in 64 bits, bin for attachments, and no extension.
//! Reading takes all that the versions 2 and 3 of the library write: dates in three ways and binary in two become what a
//! client of a Node.js server would see, ISO 8601 text and attachments.
//!
//! Lengths in the input are believed only as far as there is input, and never reserve memory.

use bytes::Bytes;

use super::de::{ListReader, ValueReader};
use super::json::{Fault, MAX_DEPTH, Number, PLACEHOLDER, Reader, write_placeholder, write_plain, write_string};
use super::{Args, ArgsError, Attachments, MsgpackError, Value};

/// Appends checked JSON as MessagePack.
pub(super) fn write_json(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) {
    let start = out.len();
    let mut value = ValueReader { reader: Reader::new(json), attachments };
    if convert(out, &mut value).is_err() {
        // Not reached with checked text; half a value would spoil the message around it.
        out.truncate(start);
        write_nil(out);
    }
}

/// Appends the arguments of `list` as an array.
pub(super) fn write_list(out: &mut Vec<u8>, list: ListReader<'_>) {
    let start = out.len();
    out.push(0);
    match append_list(out, list) {
        Ok(count) => put_array_header(out, start, count),
        Err(_) => {
            out.truncate(start);
            write_nil(out);
        }
    }
}

/// Appends the arguments of `list`, one behind the other, and says how many there are.
pub(super) fn append_list(out: &mut Vec<u8>, mut list: ListReader<'_>) -> Result<usize, ArgsError> {
    let mut count = 0;
    while let Some(value) = list.next()? {
        convert(out, value)?;
        count += 1;
    }
    Ok(count)
}

fn convert(out: &mut Vec<u8>, value: &mut ValueReader<'_>) -> Result<(), Fault> {
    let ValueReader { reader, attachments } = value;
    let open = reader.peek()?;
    match open {
        b'"' => write_str(out, &reader.string()?),
        b'-' | b'0'..=b'9' => write_number(out, Number::parse(reader.number()?)),
        b'{' | b'[' => {
            if let (b'{', Some(bytes)) = (open, reader.attachment(attachments)) {
                write_bin(out, bytes);
                return Ok(());
            }
            let (start, mut count, mut first) = (out.len(), 0, true);
            out.push(0);
            reader.expect(open)?;
            while value.reader.advance(&mut first, open + 2)? {
                if open == b'{' {
                    write_str(out, &value.reader.key()?);
                }
                convert(out, value)?;
                count += 1;
            }
            match open {
                b'{' => put_map_header(out, start, count),
                _ => put_array_header(out, start, count),
            }
        }
        b't' => {
            reader.word("true")?;
            out.push(0xc3);
        }
        b'f' => {
            reader.word("false")?;
            out.push(0xc2);
        }
        _ => {
            reader.word("null")?;
            write_nil(out);
        }
    }
    Ok(())
}

pub(super) fn put_array_header(out: &mut Vec<u8>, start: usize, count: usize) {
    put_header(out, start, 0x90, 0xdc, count);
}

pub(super) fn put_map_header(out: &mut Vec<u8>, start: usize, count: usize) {
    put_header(out, start, 0x80, 0xde, count);
}

/// Puts the header of `count` elements where one byte was left for it at `start`.
///
/// The number of elements is known when they have been written. Up to 15, which is nearly always, the byte is enough.
fn put_header(out: &mut Vec<u8>, start: usize, short: u8, long: u8, count: usize) {
    if let (count @ ..=15, Some(header)) = (count, out.get_mut(start)) {
        *header = short | count as u8;
        return;
    }
    let mut header = Vec::new();
    write_header(&mut header, short, long, count);
    out.splice(start..=start, header);
}

fn write_header(out: &mut Vec<u8>, short: u8, long: u8, count: usize) {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count @ ..=15), _) => out.push(short | count),
        (_, Ok(count)) => {
            out.push(long);
            out.extend_from_slice(&count.to_be_bytes());
        }
        _ => {
            out.push(long + 1);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

/// Appends a value that somebody built.
pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => write_nil(out),
        Value::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Number(number) => {
            let float = || Number::Float(number.as_f64().unwrap_or(f64::NAN));
            let negative = || number.as_i64().map_or_else(float, Number::Negative);
            write_number(out, number.as_u64().map_or_else(negative, Number::Unsigned));
        }
        Value::String(text) => write_str(out, text),
        Value::Binary(bytes) => write_bin(out, bytes),
        Value::Array(values) => {
            write_header(out, 0x90, 0xdc, values.len());
            values.iter().for_each(|value| write_value(out, value));
        }
        Value::Object(members) => {
            write_map_header(out, members.len());
            for (key, value) in members {
                write_str(out, key);
                write_value(out, value);
            }
        }
    }
}

pub(super) fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(super) fn write_map_header(out: &mut Vec<u8>, members: usize) {
    write_header(out, 0x80, 0xde, members);
}

pub(super) fn write_number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Unsigned(number) => write_uint(out, number),
        Number::Negative(number) => write_negative(out, number),
        // JavaScript has no other numbers than floats: notepack writes the whole ones as integers.
        Number::Float(number) if number.fract() == 0.0 && number.abs() < 9_223_372_036_854_775_808.0 => {
            match number as i64 {
                number @ 0.. => write_uint(out, number.unsigned_abs()),
                number => write_negative(out, number),
            }
        }
        Number::Float(number) => {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

pub(super) fn write_uint(out: &mut Vec<u8>, number: u64) {
    match number {
        0..0x80 => out.push(number as u8),
        0x80..0x100 => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..0x1_0000 => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_negative(out: &mut Vec<u8>, number: i64) {
    match number {
        -0x20.. => out.push(number as u8),
        -0x80.. => out.extend_from_slice(&[0xd0, number as u8]),
        -0x8000.. => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000.. => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

#[inline]
pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ ..0x20 => out.push(0xa0 | len as u8),
        len => write_length(out, 0xd9, len),
    }
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, 0xc4, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes a length in one, two or four bytes behind `marker`, `marker + 1` or `marker + 2`.
fn write_length(out: &mut Vec<u8>, marker: u8, len: usize) {
    match len {
        ..0x100 => out.extend_from_slice(&[marker, len as u8]),
        0x100..0x1_0000 => {
            out.push(marker + 1);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(marker + 2);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

/// Reads the value at the front of `bytes` as a payload and says how many bytes it took.
pub(super) fn read_args(bytes: &[u8]) -> Result<(Args, usize), MsgpackError> {
    // JSON is a little longer: brackets, commas and quotes for heads of one byte.
    let json = Vec::with_capacity((bytes.len() + 32).min(4096));
    let mut source = Source { rest: bytes, json, attachments: Attachments::new(), lookalike: false };
    let first = source.payload()?;
    if source.lookalike && !source.attachments.is_empty() {
        return Err(MsgpackError::PlaceholderLookalike);
    }
    let read = bytes.len() - source.rest.len();
    Ok((Args::from_written(source.json, source.attachments).with_first(first), read))
}

/// Reads the header of a map: how many members it has, and how many bytes the header took.
pub(super) fn read_map_header(bytes: &[u8]) -> Result<(usize, usize), MsgpackError> {
    let mut source = Source { rest: bytes, json: Vec::new(), attachments: Attachments::new(), lookalike: false };
    let members = match source.byte()? {
        marker @ 0x80..=0x8f => usize::from(marker & 15),
        0xde => source.length(2)?,
        0xdf => source.length(4)?,
        _ => return Err(MsgpackError::NotAPacket),
    };
    Ok((members, bytes.len() - source.rest.len()))
}

/// How many elements the list at the front of `bytes` announces; 0 if it is no list.
pub(super) fn read_list_len(bytes: &[u8]) -> usize {
    let mut source = Source { rest: bytes, json: Vec::new(), attachments: Attachments::new(), lookalike: false };
    let len = match source.byte() {
        Ok(marker @ 0x90..=0x9f) => Ok(usize::from(marker & 15)),
        Ok(0xdc) => source.length(2),
        Ok(0xdd) => source.length(4),
        _ => Ok(0),
    };
    len.unwrap_or(0)
}

/// Whether the value at the front of `bytes` is JavaScript's `undefined`, as notepack 2 writes it.
pub(super) fn is_undefined(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xd4, 0])
}

/// MessagePack on its way to JSON.
struct Source<'a> {
    rest: &'a [u8],
    json: Vec<u8>,
    attachments: Attachments,
    /// A map was read that a receiver would take for the place of an attachment.
    lookalike: bool,
}

impl<'a> Source<'a> {
    /// Writes a payload. Of a list of few elements, such as that of nearly every event, says where the first ends; else 0.
    fn payload(&mut self) -> Result<usize, MsgpackError> {
        let Some(marker @ 0x91..=0x9f) = self.rest.first().copied() else { return self.value(0).map(|()| 0) };
        self.byte()?;
        let len = usize::from(marker & 15);
        self.enter(len, 0)?;
        self.json.push(b'[');
        self.value(1)?;
        let first = self.json.len();
        for _ in 1..len {
            self.json.push(b',');
            self.value(1)?;
        }
        self.json.push(b']');
        Ok(first)
    }

    /// Writes the next value, which is in `depth` others.
    fn value(&mut self, depth: usize) -> Result<(), MsgpackError> {
        match self.byte()? {
            byte @ ..=0x7f => self.plain(byte),
            byte @ 0xe0.. => self.plain(byte as i8),
            marker @ 0x80..=0x8f => self.map(usize::from(marker & 15), depth)?,
            0xde => self.length(2).and_then(|len| self.map(len, depth))?,
            0xdf => self.length(4).and_then(|len| self.map(len, depth))?,
            marker @ 0x90..=0x9f => self.array(usize::from(marker & 15), depth)?,
            0xdc => self.length(2).and_then(|len| self.array(len, depth))?,
            0xdd => self.length(4).and_then(|len| self.array(len, depth))?,
            marker @ (0xa0..=0xbf | 0xd9..=0xdb) => {
                let text = self.text(marker)?;
                self.string(text);
            }
            0xc0 => self.null(),
            byte @ (0xc2 | 0xc3) => self.plain(byte == 0xc3),
            marker @ 0xc4..=0xc6 => {
                let bytes = self.length(1 << (marker - 0xc4)).and_then(|len| self.take(len))?;
                self.binary(bytes);
            }
            0xca => {
                let number = f32::from_be_bytes(self.array_of()?);
                self.plain(f64::from(number));
            }
            0xcb => {
                let number = f64::from_be_bytes(self.array_of()?);
                self.plain(number);
            }
            marker @ 0xcc..=0xcf => {
                let number = self.uint(1 << (marker - 0xcc))?;
                self.plain(number);
            }
            marker @ 0xd0..=0xd3 => {
                let width = 1 << (marker - 0xd0);
                // Move the sign to the top bit and back.
                let unused = 64 - 8 * width as u32;
                let number = (self.uint(width)? << unused).cast_signed() >> unused;
                self.plain(number);
            }
            marker @ 0xd4..=0xd8 => self.extension(1 << (marker - 0xd4), true, depth)?,
            marker @ 0xc7..=0xc9 => {
                let len = self.length(1 << (marker - 0xc7))?;
                self.extension(len, false, depth)?;
            }
            byte @ 0xc1 => return Err(MsgpackError::UnknownType { byte }),
        }
        Ok(())
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<(), MsgpackError> {
        self.enter(len, depth)?;
        self.json.push(b'[');
        for index in 0..len {
            if index > 0 {
                self.json.push(b',');
            }
            self.value(depth + 1)?;
        }
        self.json.push(b']');
        Ok(())
    }

    /// Writes `len` members. Those that are undefined are left out, as a client of a Node.js server would see it.
    fn map(&mut self, len: usize, depth: usize) -> Result<(), MsgpackError> {
        self.enter(len.saturating_mul(2), depth)?;
        self.json.push(b'{');
        let empty = self.json.len();
        for _ in 0..len {
            let start = self.json.len();
            if start > empty {
                self.json.push(b',');
            }
            let key = self.key()?;
            self.json.push(b':');
            if is_undefined(self.rest) {
                self.take(3)?;
                self.json.truncate(start);
                continue;
            }
            self.lookalike |= key && self.rest.first() == Some(&0xc3);
            self.value(depth + 1)?;
        }
        self.json.push(b'}');
        Ok(())
    }

    /// Writes a key as text and says whether it is that of a placeholder.
    fn key(&mut self) -> Result<bool, MsgpackError> {
        if let Some(&marker @ (0xa0..=0xbf | 0xd9..=0xdb | 0xc4..=0xc6)) = self.rest.first() {
            self.byte()?;
            let text = match marker {
                0xc4..=0xc6 => self.length(1 << (marker - 0xc4)).and_then(|len| self.take(len))?,
                _ => self.text(marker)?,
            };
            self.string(text);
            return Ok(text == PLACEHOLDER.as_bytes());
        }
        let start = self.json.len();
        self.json.push(b'"');
        self.value(MAX_DEPTH).map_err(|error| match error {
            MsgpackError::TooDeep => MsgpackError::KeyNotText,
            error => error,
        })?;
        // Dates and binary are text or an object by now.
        match self.json.get(start + 1) {
            Some(b'"') => drop(self.json.remove(start)),
            Some(b'{') => return Err(MsgpackError::KeyNotText),
            _ => self.json.push(b'"'),
        }
        Ok(false)
    }

    /// Checks that a container of `len` values may begin here.
    fn enter(&self, len: usize, depth: usize) -> Result<(), MsgpackError> {
        if depth >= MAX_DEPTH {
            return Err(MsgpackError::TooDeep);
        }
        // Each value takes a byte at least.
        if len > self.rest.len() {
            return Err(MsgpackError::Truncated);
        }
        Ok(())
    }

    /// Writes an extension of `len` bytes; `fixed` if its length is that of its marker.
    fn extension(&mut self, len: usize, fixed: bool, depth: usize) -> Result<(), MsgpackError> {
        let kind = self.byte()? as i8;
        let content = self.take(len)?;
        let be = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        match (kind, content.len(), fixed) {
            // notepack 2: undefined and dates. Its typed arrays are never of fixed length.
            (0, 1, true) => self.null(),
            (0, 8, true) => self.date(Some(be(content).cast_signed())),
            (0 | 2, ..) => self.binary(content),
            // The timestamps of the MessagePack specification.
            (-1, 4, _) => self.date(be(content).cast_signed().checked_mul(1000)),
            (-1, 8, _) => {
                let (seconds, nanos) = (be(content) & 0x3_ffff_ffff, be(content) >> 34);
                self.date(Some((seconds * 1000 + nanos / 1_000_000).cast_signed()));
            }
            (-1, 12, _) => {
                let (nanos, seconds) = content.split_at(4);
                let millis = (be(nanos) / 1_000_000).cast_signed();
                self.date(be(seconds).cast_signed().checked_mul(1000).and_then(|seconds| seconds.checked_add(millis)));
            }
            // What notepack makes of an extension it does not know.
            _ => {
                self.enter(0, depth)?;
                self.json.push(b'[');
                self.plain(kind);
                self.json.push(b',');
                self.binary(content);
                self.json.push(b']');
            }
        }
        Ok(())
    }

    /// Writes a number or a boolean; what JSON cannot say becomes null.
    fn plain<T: serde::Serialize>(&mut self, value: T) {
        write_plain(&mut self.json, &value);
    }

    /// Writes text. What is not UTF-8 becomes the replacement character.
    fn string(&mut self, text: &[u8]) {
        // Looking for what is wrong takes four times as long as finding that nothing is.
        match std::str::from_utf8(text) {
            Ok(text) => write_string(&mut self.json, text),
            Err(_) => write_string(&mut self.json, &String::from_utf8_lossy(text)),
        }
    }

    fn null(&mut self) {
        self.json.extend_from_slice(b"null");
    }

    fn binary(&mut self, bytes: &[u8]) {
        write_placeholder(&mut self.json, self.attachments.len());
        self.attachments.push(Bytes::copy_from_slice(bytes));
    }

    /// Writes what `JSON.stringify` makes of a date.
    fn date(&mut self, millis: Option<i64>) {
        match millis.and_then(iso_8601) {
            Some(text) => write_string(&mut self.json, &text),
            None => self.null(),
        }
    }

    /// The bytes of a str with this marker.
    fn text(&mut self, marker: u8) -> Result<&'a [u8], MsgpackError> {
        let len = match marker {
            0xd9..=0xdb => self.length(1 << (marker - 0xd9))?,
            _ => usize::from(marker & 31),
        };
        self.take(len)
    }

    fn length(&mut self, width: usize) -> Result<usize, MsgpackError> {
        self.uint(width).and_then(|len| usize::try_from(len).map_err(|_| MsgpackError::Truncated))
    }

    fn uint(&mut self, width: usize) -> Result<u64, MsgpackError> {
        Ok(self.take(width)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn byte(&mut self) -> Result<u8, MsgpackError> {
        let (&byte, rest) = self.rest.split_first().ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MsgpackError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// The text of a date as `Date.prototype.toISOString` writes it; `None` outside of what a date can be.
fn iso_8601(millis: i64) -> Option<String> {
    const MAX_MILLIS: u64 = 8_640_000_000_000_000;
    if millis.unsigned_abs() > MAX_MILLIS {
        return None;
    }
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days to the civil calendar: count from 1 March of year 0, in eras of 400 years, so that leap days come last.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        10_000.. => format!("+{year:06}"),
        _ => format!("-{:06}", year.unsigned_abs()),
    };
    let (hour, minute, second, milli) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

#[cfg(test)]
mod tests;
