//! Many packets in one polling body, and back.
//!
//! Version 4 puts a record separator between packets: `4a\x1e4b`. Version 3 puts a length before each: `2:4a2:4b`,
//! counted in UTF-16 code units, as JavaScript counts. Where a packet is binary and the client did not ask for text
//! (`b64`), a version 3 body is binary as a whole: for each packet a byte 0 for text or 1 for binary, the digits of
//! the length in bytes, each as a byte 0 to 9, a byte 255, and the packet.
//!
//! Engine.IO protocol v4, "HTTP long-polling"; v3, "Payload".

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::packet::{base64_len, encode_base64};
use super::{DecodeError, Message, Packet, Version};

/// Reads the packets of one polling body, one after the other.
///
/// The packets share the memory of `body`. `binary_body` says that the body came as `application/octet-stream`. Reading
/// ends with the first error, so that what came before it has been delivered, as the reference server does; more than
/// `max_packets` are an error too.
///
/// ```
/// use socketio_protocol::engine::{Packet, Version, decode_payload};
///
/// let body = "2\u{1e}4hello";
/// let packets: Result<Vec<Packet>, _> = decode_payload(Version::V4, false, body.into(), 100).collect();
/// assert_eq!(packets?.len(), 2);
/// # Ok::<(), socketio_protocol::engine::DecodeError>(())
/// ```
pub fn decode_payload(version: Version, binary_body: bool, body: Bytes, max_packets: usize) -> PayloadIter {
    let (rest, then) = match (version, binary_body) {
        (Version::V3, true) if !body.is_empty() => (Rest::Binary(body), None),
        (Version::V3, _) if body.is_empty() => (Rest::End, Some(DecodeError::Empty)),
        (Version::V4, true) => (Rest::End, Some(DecodeError::BinaryBody)),
        _ => {
            let (text, whole) = valid_prefix(body);
            (Rest::Text { text, at: 0 }, (!whole).then_some(DecodeError::InvalidUtf8))
        }
    };
    PayloadIter { version, rest, then, left: max_packets, max: max_packets }
}

/// The packets of one polling body. Made by [`decode_payload`].
///
/// ```
/// use socketio_protocol::engine::{DecodeError, Packet, Version, decode_payload};
///
/// let mut packets = decode_payload(Version::V4, false, "6\x1e9\x1e6".into(), 100);
/// assert_eq!(packets.next(), Some(Ok(Packet::Noop)));
/// assert_eq!(packets.next(), Some(Err(DecodeError::UnknownType(b'9'))));
/// assert_eq!(packets.next(), None, "nothing is read behind an error");
/// ```
#[derive(Debug, Clone)]
pub struct PayloadIter {
    version: Version,
    rest: Rest,
    /// What is wrong behind `rest`.
    then: Option<DecodeError>,
    left: usize,
    max: usize,
}

#[derive(Debug, Clone)]
enum Rest {
    /// The next packet of a text begins at `at`.
    Text { text: ByteString, at: usize },
    /// The next packet of a binary body begins it.
    Binary(Bytes),
    /// Nothing is left.
    End,
}

impl Iterator for PayloadIter {
    type Item = Result<Packet, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.rest, Rest::End) {
            return self.then.take().map(Err);
        }
        let packet = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.step()
            }
            None => Err(DecodeError::TooManyPackets { max: self.max }),
        };
        if packet.is_err() {
            self.rest = Rest::End;
            // If the text breaks off because what follows is not UTF-8, that is the reason to tell.
            return Some(packet.map_err(|error| self.then.take().unwrap_or(error)));
        }
        Some(packet)
    }
}

impl std::iter::FusedIterator for PayloadIter {}

impl PayloadIter {
    fn step(&mut self) -> Result<Packet, DecodeError> {
        let (packet, is_last) = match &mut self.rest {
            Rest::Text { text, at } => {
                let (piece, next) = match self.version {
                    Version::V4 => separated(&text[*at..], self.then)?,
                    Version::V3 => counted(&text[*at..])?,
                };
                let packet = Packet::decode_within(text, piece, self.version)?;
                *at += next.unwrap_or_default();
                (packet, next.is_none())
            }
            Rest::Binary(body) => {
                let packet = binary(body)?;
                (packet, body.is_empty())
            }
            Rest::End => return Err(DecodeError::Empty),
        };
        // A text that breaks off has one more packet, which is the broken one.
        if is_last {
            self.rest = Rest::End;
        }
        Ok(packet)
    }
}

const SEPARATOR: char = '\x1e';

/// The first packet of a version 4 text, and where the next begins.
fn separated(text: &str, then: Option<DecodeError>) -> Result<(&str, Option<usize>), DecodeError> {
    match (text.find(SEPARATOR), then) {
        (Some(end), _) => Ok((&text[..end], Some(end + 1))),
        (None, Some(error)) => Err(error),
        (None, None) => Ok((text, None)),
    }
}

/// The first packet of a version 3 text, and where the next begins.
fn counted(text: &str) -> Result<(&str, Option<usize>), DecodeError> {
    let digits = text.bytes().take(MAX_DIGITS + 1).position(|byte| byte == b':').ok_or(DecodeError::BadLength)?;
    let announced = number(text.bytes().take(digits).map(|byte| byte.wrapping_sub(b'0')))?;
    let start = digits + 1;
    let body = &text[start..];
    let past_end = DecodeError::LengthPastEnd { announced, left: body.len() };
    let end = utf16_offset(body, announced).ok_or(past_end)?;
    Ok((&body[..end], (end < body.len()).then_some(start + end)))
}

/// Takes the first packet off a version 3 binary body, which is not empty.
fn binary(body: &mut Bytes) -> Result<Packet, DecodeError> {
    let is_text = match body[0] {
        0 => true,
        1 => false,
        other => return Err(DecodeError::UnknownType(other)),
    };
    let head = body[1..].iter().take(MAX_DIGITS + 1);
    let digits = head.clone().position(|&byte| byte == 255).ok_or(DecodeError::BadLength)?;
    let announced = number(head.take(digits).copied())?;
    body.advance(1 + digits + 1);
    let past_end = DecodeError::LengthPastEnd { announced, left: body.len() };
    let len = usize::try_from(announced).ok().filter(|&len| len <= body.len()).ok_or(past_end)?;
    let piece = body.split_to(len);
    if !is_text {
        return Packet::decode_binary(piece, Version::V3);
    }
    let text = ByteString::try_from(piece).map_err(|_| DecodeError::InvalidUtf8)?;
    Packet::decode_text(text, Version::V3)
}

/// Enough for any `u64`; the reference server reads up to 310, which no body can be as long as.
const MAX_DIGITS: usize = 20;

fn number(digits: impl Iterator<Item = u8>) -> Result<u64, DecodeError> {
    let mut number = None;
    for digit in digits {
        if digit > 9 {
            return Err(DecodeError::BadLength);
        }
        let next = number.unwrap_or(0u64).checked_mul(10).and_then(|n| n.checked_add(digit.into()));
        number = Some(next.ok_or(DecodeError::BadLength)?);
    }
    number.ok_or(DecodeError::BadLength)
}

/// The longest beginning of `body` that is UTF-8, and whether that is all of it.
fn valid_prefix(mut body: Bytes) -> (ByteString, bool) {
    let valid = match std::str::from_utf8(&body) {
        Ok(_) => body.len(),
        Err(error) => error.valid_up_to(),
    };
    let whole = valid == body.len();
    body.truncate(valid);
    (ByteString::try_from(body).expect("cut where it stops being UTF-8"), whole)
}

/// The length of a text in UTF-16 code units, which is how version 3 counts.
///
/// ```
/// assert_eq!(socketio_protocol::engine::utf16_len("sea 🌊"), 6);
/// ```
pub fn utf16_len(text: &str) -> usize {
    utf16_units(text.as_bytes())
}

/// Characters start at every byte that is not a continuation; those of four bytes are two units.
fn utf16_units(text: &[u8]) -> usize {
    let units = |&byte: &u8| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0);
    text.iter().map(units).sum()
}

/// Where in `text` its first `units` UTF-16 code units end; `None` past its end or within a character.
fn utf16_offset(text: &str, units: u64) -> Option<usize> {
    // A text has at most as many units as bytes.
    let units = usize::try_from(units).ok().filter(|&units| units <= text.len())?;
    if text.as_bytes()[..units].is_ascii() {
        return Some(units);
    }
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(c.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// Packets as one polling body.
///
/// ```
/// use socketio_protocol::engine::{Message, Packet, Version, encode_payload};
///
/// let image = Packet::Message(Message::Binary(vec![1, 2].into()));
/// assert!(encode_payload(Version::V3, true, [&image]).binary);
/// assert!(!encode_payload(Version::V4, true, [&image]).binary, "version 4 has base64 only");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The body.
    pub bytes: Bytes,
    /// Whether it is to be sent as `application/octet-stream` rather than `text/plain; charset=UTF-8`.
    pub binary: bool,
}

/// Writes packets as one polling body. `supports_binary` is false for a client with `b64` in its query, and for JSONP.
///
/// ```
/// use socketio_protocol::engine::{Message, Packet, Version, encode_payload};
///
/// let packets = [Packet::Message(Message::Text("hi".into())), Packet::Noop];
/// assert_eq!(encode_payload(Version::V4, true, &packets).bytes, "4hi\x1e6");
/// assert_eq!(encode_payload(Version::V3, true, &packets).bytes, "3:4hi1:6");
/// ```
pub fn encode_payload<'a>(
    version: Version,
    supports_binary: bool,
    packets: impl IntoIterator<Item = &'a Packet>,
) -> Body {
    let mut encoder = PayloadEncoder::new(version, supports_binary);
    for packet in packets {
        encoder.packet(packet);
    }
    encoder.finish()
}

/// Builds a polling body packet by packet, from packets or from what a WebSocket would carry of them.
///
/// ```
/// use socketio_protocol::engine::{PayloadEncoder, Version};
///
/// let mut body = PayloadEncoder::new(Version::V4, true);
/// body.text(b"4hello");
/// if body.len() + body.binary_cost(2) <= 1_000 {
///     body.binary(&[1, 2]);
/// }
/// assert_eq!(body.finish().bytes, "4hello\x1ebAQI=");
/// ```
#[derive(Debug, Clone)]
pub struct PayloadEncoder {
    version: Version,
    supports_binary: bool,
    out: Vec<u8>,
    /// Where each packet begins and ends in `out`: kept only while a version 3 body may still have to become binary.
    texts: Vec<(usize, usize)>,
    binary: bool,
}

impl PayloadEncoder {
    /// An empty body.
    pub fn new(version: Version, supports_binary: bool) -> Self {
        PayloadEncoder { version, supports_binary, out: Vec::new(), texts: Vec::new(), binary: false }
    }

    /// Appends a packet.
    pub fn packet(&mut self, packet: &Packet) {
        match packet {
            Packet::Message(Message::Binary(data)) => self.binary(data),
            other => {
                let mut text = Vec::new();
                other.encode_text(self.version, &mut text);
                self.text(&text);
            }
        }
    }

    /// Appends a packet that is encoded already: a digit and its data, the payload of a WebSocket text frame.
    pub fn text(&mut self, packet: &[u8]) {
        match self.version {
            Version::V4 => {
                self.separate();
                self.out.extend_from_slice(packet);
            }
            Version::V3 if self.binary => self.binary_piece(0, &[], packet),
            Version::V3 => {
                self.decimal(utf16_units(packet));
                self.out.push(b':');
                if self.supports_binary {
                    self.texts.push((self.out.len(), self.out.len() + packet.len()));
                }
                self.out.extend_from_slice(packet);
            }
        }
    }

    /// Appends a binary message.
    pub fn binary(&mut self, message: &[u8]) {
        match self.version {
            Version::V4 => {
                self.separate();
                encode_base64(self.version, message, &mut self.out);
            }
            Version::V3 if self.supports_binary => {
                if !self.binary {
                    self.become_binary();
                }
                self.binary_piece(1, self.version.binary_prefix(), message);
            }
            Version::V3 => {
                self.decimal(self.version.base64_prefix().len() + base64_len(message.len()));
                self.out.push(b':');
                encode_base64(self.version, message, &mut self.out);
            }
        }
    }

    /// The most that [`text`](Self::text) adds to the body for a packet of `len` bytes.
    pub fn text_cost(&self, len: usize) -> usize {
        len + self.overhead(len)
    }

    /// The most that [`binary`](Self::binary) adds to the body for a message of `len` bytes. A version 3 body grows
    /// besides, by a byte or two for each packet in it, when its first binary message comes.
    pub fn binary_cost(&self, len: usize) -> usize {
        let len = match (self.version, self.supports_binary) {
            (Version::V3, true) => 1 + len,
            _ => self.version.base64_prefix().len() + base64_len(len),
        };
        len + self.overhead(len)
    }

    /// The bytes of the body so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no packet is in it.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The finished body.
    pub fn finish(self) -> Body {
        Body { bytes: self.out.into(), binary: self.binary }
    }

    /// A separator, or the longest length with what surrounds it.
    fn overhead(&self, len: usize) -> usize {
        match self.version {
            Version::V4 => usize::from(!self.is_empty()),
            Version::V3 => 2 + len.checked_ilog10().unwrap_or(0) as usize + 1,
        }
    }

    fn separate(&mut self) {
        if !self.out.is_empty() {
            self.out.push(SEPARATOR as u8);
        }
    }

    fn decimal(&mut self, number: usize) {
        use std::io::Write as _;
        write!(self.out, "{number}").expect("a vector takes every write");
    }

    /// Writes what is in the body again, in binary framing.
    fn become_binary(&mut self) {
        self.binary = true;
        let text = std::mem::take(&mut self.out);
        self.out.reserve(text.len() + self.texts.len());
        for (start, end) in std::mem::take(&mut self.texts) {
            self.binary_piece(0, &[], &text[start..end]);
        }
    }

    fn binary_piece(&mut self, kind: u8, prefix: &[u8], data: &[u8]) {
        self.out.push(kind);
        let digits = self.out.len();
        self.decimal(prefix.len() + data.len());
        for digit in &mut self.out[digits..] {
            *digit -= b'0';
        }
        self.out.push(255);
        self.out.extend_from_slice(prefix);
        self.out.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests;
