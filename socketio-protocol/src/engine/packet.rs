//! One packet, as text or as bytes, and back.
//!
//! A packet is a type digit and what follows it: `2probe` is a ping with the data `probe`. Binary messages are the
//! exception. On a WebSocket they are a binary frame: the message alone in version 4, a type byte (4, not the digit)
//! and the message in version 3. Where only text can travel they are base64: `bAQI=` in version 4, `b4AQI=` in 3.
//!
//! Engine.IO protocol v4, "Packet encoding"; v3, "Encoding".

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use bytestring::ByteString;

/// The revision of the Engine.IO protocol a client speaks, `EIO` in its query.
///
/// ```
/// use socketio_protocol::engine::{Packet, Version};
///
/// assert_eq!(Version::from_query("4"), Some(Version::V4));
/// let image = Packet::Message(socketio_protocol::engine::Message::Binary(vec![1, 2].into()));
/// let mut text = Vec::new();
/// image.encode_text(Version::V3, &mut text);
/// assert_eq!(text, b"b4AQI=", "where version 4 has `bAQI=`");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `EIO=3`: Socket.IO 1 and 2. The client pings.
    V3,
    /// `EIO=4`: Socket.IO 3 and later. The server pings.
    V4,
}

impl Version {
    /// The version a query's `EIO` names; `None` for any other text than `3` and `4`.
    pub fn from_query(eio: &str) -> Option<Version> {
        match eio {
            "3" => Some(Version::V3),
            "4" => Some(Version::V4),
            _ => None,
        }
    }

    /// The number in a query's `EIO`.
    pub fn number(self) -> u8 {
        match self {
            Version::V3 => 3,
            Version::V4 => 4,
        }
    }

    /// What stands before a binary message in a WebSocket's binary frame: the type byte in version 3, nothing in 4.
    pub fn binary_prefix(self) -> &'static [u8] {
        match self {
            Version::V3 => &[4],
            Version::V4 => &[],
        }
    }

    /// What stands before the base64 of a binary message in text: `b4` in version 3, `b` in 4.
    pub fn base64_prefix(self) -> &'static str {
        match self {
            Version::V3 => "b4",
            Version::V4 => "b",
        }
    }
}

/// What carries the packets of a session.
///
/// ```
/// use socketio_protocol::engine::TransportKind;
///
/// assert_eq!(TransportKind::from_name("websocket"), Some(TransportKind::WebSocket));
/// assert_eq!(TransportKind::Polling.to_string(), "polling");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportKind {
    /// HTTP long polling.
    Polling,
    /// RFC 6455.
    WebSocket,
    /// One bidirectional stream of an HTTP/3 session.
    WebTransport,
}

impl TransportKind {
    /// The name in a query and in the open packet's `upgrades`.
    pub fn as_str(self) -> &'static str {
        match self {
            TransportKind::Polling => "polling",
            TransportKind::WebSocket => "websocket",
            TransportKind::WebTransport => "webtransport",
        }
    }

    /// The transport of that name, if there is one.
    pub fn from_name(name: &str) -> Option<TransportKind> {
        match name {
            "polling" => Some(TransportKind::Polling),
            "websocket" => Some(TransportKind::WebSocket),
            "webtransport" => Some(TransportKind::WebTransport),
            _ => None,
        }
    }
}

impl std::fmt::Display for TransportKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a message packet carries: all that the floors above ever see.
///
/// ```
/// use socketio_protocol::engine::{Message, Packet, Version};
///
/// let packet = Packet::decode_text("4hello".into(), Version::V4)?;
/// assert_eq!(packet, Packet::Message(Message::Text("hello".into())));
/// # Ok::<_, socketio_protocol::engine::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One unit of the protocol.
///
/// ```
/// use socketio_protocol::engine::{Message, Packet, Version};
///
/// let packet = Packet::decode_text("4hello".into(), Version::V4)?;
/// assert_eq!(packet, Packet::Message(Message::Text("hello".into())));
/// let mut out = Vec::new();
/// packet.encode_text(Version::V4, &mut out);
/// assert_eq!(out, b"4hello");
/// # Ok::<(), socketio_protocol::engine::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0`: the server's answer to a handshake, a JSON text.
    Open(ByteString),
    /// `1`: the session ends.
    Close,
    /// `2`: are you there?
    Ping(ByteString),
    /// `3`: I am; carries back the ping's data.
    Pong(ByteString),
    /// `4`: something for the application.
    Message(Message),
    /// `5`: from now on this transport is the one in use.
    Upgrade,
    /// `6`: nothing; answers a poll.
    Noop,
}

/// Why what a client sent is not an Engine.IO packet or payload.
///
/// Each of these is the client's doing. The session it came for is closed with `parse error`, no other is touched.
///
/// ```
/// use socketio_protocol::engine::{DecodeError, Packet, Version};
///
/// assert_eq!(Packet::decode_text("".into(), Version::V4), Err(DecodeError::Empty));
/// assert_eq!(Packet::decode_text("9".into(), Version::V4), Err(DecodeError::UnknownType(b'9')));
/// assert_eq!(Packet::decode_text("b?".into(), Version::V4), Err(DecodeError::InvalidBase64));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A packet without even a type.
    #[error("packet is empty")]
    Empty,
    /// The first character or byte is none of the types.
    #[error("packet type {0:#04x} does not exist")]
    UnknownType(u8),
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A `b` packet holds something else than base64.
    #[error("binary message is not base64")]
    InvalidBase64,
    /// A binary body came from a client of version 4, which has none.
    #[error("a binary body does not exist in version 4")]
    BinaryBody,
    /// Something else than a decimal number stands where a packet's length must be.
    #[error("packet length is not a number")]
    BadLength,
    /// A packet is announced to be longer than what is left of its body, or its end cuts a character in two.
    #[error("packet of {announced} announced, at most {left} left")]
    LengthPastEnd {
        /// The length announced: bytes, or UTF-16 code units of a text.
        announced: u64,
        /// The bytes left.
        left: usize,
    },
    /// More packets in one payload than are accepted.
    #[error("payload holds more than the {max} packets accepted")]
    TooManyPackets {
        /// The number accepted.
        max: usize,
    },
}

/// A packet as the payload of one frame, of a WebSocket or of a WebTransport stream.
///
/// ```
/// use socketio_protocol::engine::{Frame, Message, Packet, Version};
///
/// let image = Packet::Message(Message::Binary(vec![1, 2].into()));
/// assert_eq!(image.to_frame(Version::V4, true), Frame::Binary(vec![1, 2].into()));
/// assert_eq!(image.to_frame(Version::V4, false), Frame::Text("bAQI=".into()), "a client with `b64` in its query");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The payload of a text frame.
    Text(ByteString),
    /// The payload of a binary frame.
    Binary(Bytes),
}

impl Packet {
    /// Reads one WebSocket text frame, or one packet of a polling payload.
    ///
    /// What follows the digit of a close, upgrade or noop packet means nothing and is dropped, as the reference
    /// server does.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Empty`], [`UnknownType`](DecodeError::UnknownType), or
    /// [`InvalidBase64`](DecodeError::InvalidBase64) after a `b`.
    ///
    /// ```
    /// use socketio_protocol::engine::{Packet, Version};
    ///
    /// assert_eq!(Packet::decode_text("2probe".into(), Version::V4), Ok(Packet::Ping("probe".into())));
    /// ```
    pub fn decode_text(frame: ByteString, version: Version) -> Result<Packet, DecodeError> {
        Packet::decode_within(&frame, &frame, version)
    }

    /// Reads the packet `text`, which is a part of `whole` and shares its memory.
    pub(super) fn decode_within(whole: &ByteString, text: &str, version: Version) -> Result<Packet, DecodeError> {
        let kind = *text.as_bytes().first().ok_or(DecodeError::Empty)?;
        let data = || whole.slice_ref(&text[1..]);
        Ok(match kind {
            b'4' => Packet::Message(Message::Text(data())),
            b'0' => Packet::Open(data()),
            b'1' => Packet::Close,
            b'2' => Packet::Ping(data()),
            b'3' => Packet::Pong(data()),
            b'5' => Packet::Upgrade,
            b'6' => Packet::Noop,
            b'b' => Packet::Message(Message::Binary(decode_base64(&text[1..], version)?)),
            other => return Err(DecodeError::UnknownType(other)),
        })
    }

    /// Reads one WebSocket binary frame, or one binary packet of a version 3 payload.
    ///
    /// # Errors
    ///
    /// None in version 4, where every binary frame is a message. In version 3 [`DecodeError::Empty`],
    /// [`UnknownType`](DecodeError::UnknownType), or [`InvalidUtf8`](DecodeError::InvalidUtf8) in packets whose data
    /// is text.
    pub fn decode_binary(mut frame: Bytes, version: Version) -> Result<Packet, DecodeError> {
        if version == Version::V4 {
            return Ok(Packet::Message(Message::Binary(frame)));
        }
        if frame.is_empty() {
            return Err(DecodeError::Empty);
        }
        let kind = frame.split_to(1)[0];
        let text = |data: Bytes| ByteString::try_from(data).map_err(|_| DecodeError::InvalidUtf8);
        Ok(match kind {
            4 => Packet::Message(Message::Binary(frame)),
            0 => Packet::Open(text(frame)?),
            1 => Packet::Close,
            2 => Packet::Ping(text(frame)?),
            3 => Packet::Pong(text(frame)?),
            5 => Packet::Upgrade,
            6 => Packet::Noop,
            other => return Err(DecodeError::UnknownType(other)),
        })
    }

    /// Writes the packet as text behind what `out` holds; a binary message becomes base64.
    pub fn encode_text(&self, version: Version, out: &mut Vec<u8>) {
        let (digit, data) = match self {
            Packet::Open(data) => (b'0', data.as_bytes().as_ref()),
            Packet::Close => (b'1', &[][..]),
            Packet::Ping(data) => (b'2', data.as_bytes().as_ref()),
            Packet::Pong(data) => (b'3', data.as_bytes().as_ref()),
            Packet::Message(Message::Text(data)) => (b'4', data.as_bytes().as_ref()),
            Packet::Message(Message::Binary(data)) => return encode_base64(version, data, out),
            Packet::Upgrade => (b'5', &[][..]),
            Packet::Noop => (b'6', &[][..]),
        };
        out.reserve(1 + data.len());
        out.push(digit);
        out.extend_from_slice(data);
    }

    /// The packet as the payload of a WebSocket frame.
    ///
    /// A binary message becomes a binary frame, or base64 text for a client without `supports_binary` (`b64` in its
    /// query). In version 4 its bytes are not copied.
    pub fn to_frame(&self, version: Version, supports_binary: bool) -> Frame {
        if let (Packet::Message(Message::Binary(data)), true) = (self, supports_binary) {
            return Frame::Binary(match version {
                Version::V4 => data.clone(),
                Version::V3 => [version.binary_prefix(), data].concat().into(),
            });
        }
        let mut out = Vec::new();
        self.encode_text(version, &mut out);
        Frame::Text(ByteString::try_from(out).expect("a digit, texts and base64 are UTF-8"))
    }
}

/// Appends a binary message as text: the prefix and the base64 of `data`.
pub(super) fn encode_base64(version: Version, data: &[u8], out: &mut Vec<u8>) {
    let prefix = version.base64_prefix().as_bytes();
    let start = out.len() + prefix.len();
    out.extend_from_slice(prefix);
    out.resize(start + base64_len(data.len()), 0);
    let written = BASE64.encode_slice(data, &mut out[start..]);
    written.expect("the room was computed for this length");
}

/// The length of the base64 of `len` bytes, padded.
pub(super) fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

fn decode_base64(text: &str, version: Version) -> Result<Bytes, DecodeError> {
    let text = match (version, text.as_bytes().first()) {
        (Version::V4, _) => text,
        // The type is written here too, and there is no binary packet but a message.
        (Version::V3, Some(b'4')) => &text[1..],
        (Version::V3, Some(&other)) => return Err(DecodeError::UnknownType(other)),
        (Version::V3, None) => return Err(DecodeError::Empty),
    };
    BASE64.decode(text).map(Bytes::from).map_err(|_| DecodeError::InvalidBase64)
}

/// Writes padding and does not insist on it: some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use Version::{V3, V4};

    use super::*;

    fn text(text: &str) -> ByteString {
        text.into()
    }

    fn say(message: &str) -> Packet {
        Packet::Message(Message::Text(message.into()))
    }

    fn bytes(message: &'static [u8]) -> Packet {
        Packet::Message(Message::Binary(Bytes::from_static(message)))
    }

    #[test]
    fn every_text_reads_and_writes_the_same() {
        for (version, wire, packet) in [
            (V4, r#"0{"sid":"x"}"#, Packet::Open(text(r#"{"sid":"x"}"#))),
            (V4, "1", Packet::Close),
            (V4, "2", Packet::Ping(text(""))),
            (V4, "2probe", Packet::Ping(text("probe"))),
            (V4, "3", Packet::Pong(text(""))),
            (V4, "3probe", Packet::Pong(text("probe"))),
            (V4, "4", say("")),
            (V4, "4hello", say("hello")),
            (V4, "4€ and 😀", say("€ and 😀")),
            (V4, "42[\"a\\u0000\"]", say("2[\"a\\u0000\"]")),
            (V4, "5", Packet::Upgrade),
            (V4, "6", Packet::Noop),
            (V4, "b", bytes(b"")),
            (V4, "bAQIDBA==", bytes(&[1, 2, 3, 4])),
            (V4, "b////", bytes(&[255, 255, 255])),
            (V3, "0{}", Packet::Open(text("{}"))),
            (V3, "2probe", Packet::Ping(text("probe"))),
            (V3, "4b4", say("b4")),
            (V3, "b4", bytes(b"")),
            (V3, "b4AQIDBA==", bytes(&[1, 2, 3, 4])),
        ] {
            assert_eq!(Packet::decode_text(text(wire), version), Ok(packet.clone()), "reading {wire}");
            let mut out = b"before".to_vec();
            packet.encode_text(version, &mut out);
            assert_eq!(out, format!("before{wire}").as_bytes(), "writing {packet:?}");
            assert_eq!(packet.to_frame(version, false), Frame::Text(text(wire)), "framing {packet:?}");
        }
    }

    #[test]
    fn every_binary_frame_reads_and_writes_the_same() {
        for (version, wire, packet) in [
            (V4, &[][..], bytes(b"")),
            (V4, &[4, 1, 2], bytes(&[4, 1, 2])),
            (V4, b"4hello", bytes(b"4hello")),
            (V3, &[4], bytes(b"")),
            (V3, &[4, 1, 2], bytes(&[1, 2])),
            (V3, &[4, 0xff, 0xfe], bytes(&[0xff, 0xfe])),
        ] {
            let frame = Bytes::from_static(wire);
            assert_eq!(Packet::decode_binary(frame.clone(), version), Ok(packet.clone()), "reading {wire:?}");
            assert_eq!(packet.to_frame(version, true), Frame::Binary(frame), "writing {packet:?}");
        }
    }

    #[test]
    fn version_3_knows_every_type_in_a_binary_frame() {
        for (wire, packet) in [
            (&b"\x00{}"[..], Packet::Open(text("{}"))),
            (b"\x01", Packet::Close),
            (b"\x02probe", Packet::Ping(text("probe"))),
            (b"\x03", Packet::Pong(text(""))),
            (b"\x05", Packet::Upgrade),
            (b"\x06", Packet::Noop),
        ] {
            assert_eq!(Packet::decode_binary(Bytes::from_static(wire), V3), Ok(packet), "reading {wire:?}");
        }
    }

    #[test]
    fn what_follows_a_packet_without_data_is_dropped() {
        for (wire, packet) in [("1x", Packet::Close), ("5probe", Packet::Upgrade), ("6\u{20ac}", Packet::Noop)] {
            assert_eq!(Packet::decode_text(text(wire), V4), Ok(packet), "reading {wire}");
        }
    }

    #[test]
    fn base64_may_come_without_padding() {
        assert_eq!(Packet::decode_text(text("bAQIDBA"), V4), Ok(bytes(&[1, 2, 3, 4])));
        assert_eq!(Packet::decode_text(text("b4AQI"), V3), Ok(bytes(&[1, 2])));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        use DecodeError::{Empty, InvalidBase64, InvalidUtf8, UnknownType};
        for (version, wire, error) in [
            (V4, "", Empty),
            (V4, "7", UnknownType(b'7')),
            (V4, "/", UnknownType(b'/')),
            (V4, "abc", UnknownType(b'a')),
            (V4, " 4", UnknownType(b' ')),
            (V4, "€4", UnknownType(0xe2)),
            (V4, "😀", UnknownType(0xf0)),
            (V4, "\u{0}", UnknownType(0)),
            (V4, "bA", InvalidBase64),
            (V4, "b4AQI=", InvalidBase64),
            (V4, "bAQ-_", InvalidBase64),
            (V4, "bAQ ID", InvalidBase64),
            (V4, "b€", InvalidBase64),
            (V3, "", Empty),
            (V3, "b", Empty),
            (V3, "b2AQI=", UnknownType(b'2')),
            (V3, "b€", UnknownType(0xe2)),
            (V3, "b4%", InvalidBase64),
        ] {
            assert_eq!(Packet::decode_text(text(wire), version), Err(error), "reading {wire:?}");
        }
        for (wire, error) in [
            (&b""[..], Empty),
            (b"4text", UnknownType(b'4')),
            (b"\x07", UnknownType(7)),
            (b"\x02\xff", InvalidUtf8),
            (b"\x00\xed\xa0\x80", InvalidUtf8),
        ] {
            assert_eq!(Packet::decode_binary(Bytes::from_static(wire), V3), Err(error), "reading {wire:?}");
        }
    }
}
