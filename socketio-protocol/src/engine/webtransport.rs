//! Packets on the stream of a WebTransport session: a length in front of each, since a stream has no frames of its own.
//!
//! ```text
//! +-+-------------+-------------------------------+--------------+
//! |b|   length    | length again, 2 or 8 bytes,   |   payload    |
//! | |   (7 bits)  | if it was 126 or 127          |              |
//! +-+-------------+-------------------------------+--------------+
//! ```
//!
//! `b` is set before a binary message; what follows then is the message alone, without a type. It is the second byte
//! of a WebSocket frame, but for the meaning of its first bit. The client speaks first, with an open packet: [`Opening`].
//!
//! Engine.IO protocol v4 does not describe it; this is what engine.io-parser 5.2 writes and reads.

use bytes::{Buf, BytesMut};
use bytestring::ByteString;

use super::{Frame, Packet};

/// The longest header.
pub const MAX_HEADER: usize = 9;

/// Why the bytes of a client are not packets. Each of these is the end of its session; no other is touched.
///
/// ```
/// use socketio_protocol::engine::webtransport::{Decoder, FrameError};
///
/// let mut decoder = Decoder::new(100);
/// let announced = decoder.decode(&mut (&[126, 1, 0][..]).into());
/// assert_eq!(announced, Err(FrameError::TooBig { announced: 256, max: 100 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A text of no bytes, which cannot be a packet. A binary message may well be empty.
    #[error("text frame without a payload")]
    Empty,
    /// A payload longer than is accepted, by what its header announces.
    #[error("frame of {announced} bytes, more than the {max} accepted")]
    TooBig {
        /// The bytes announced.
        announced: u64,
        /// The number accepted.
        max: usize,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
}

/// Reads the frames of one stream. It holds no memory of its own.
///
/// ```
/// use socketio_protocol::engine::{Frame, webtransport::{Decoder, encode}};
///
/// let mut decoder = Decoder::new(1_000_000);
/// let mut buf = (&encode(&Frame::Text("4hi".into()))[..]).into();
/// assert_eq!(decoder.decode(&mut buf), Ok(Some(Frame::Text("4hi".into()))));
/// assert_eq!(decoder.decode(&mut buf), Ok(None), "more bytes are needed");
/// ```
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    /// Of the frame whose header has been taken off the buffer: whether it is binary, and how long it is.
    frame: Option<(bool, usize)>,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder at the beginning of a stream, or between two frames. A frame of more than `max` bytes is an error.
    pub fn new(max: usize) -> Self {
        Self { max, frame: None, failed: None }
    }

    /// Takes the next frame off the front of `buf`; `None` if more bytes are needed. Payloads share the buffer's memory.
    ///
    /// # Errors
    ///
    /// [`FrameError`], for a length as soon as it has come. Every later call gives the same error.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use socketio_protocol::engine::{Frame, webtransport::Decoder};
    ///
    /// let mut decoder = Decoder::new(1_000_000);
    /// let mut buf = BytesMut::from(&b"\x064hel"[..]);
    /// assert_eq!(decoder.decode(&mut buf), Ok(None));
    /// buf.extend_from_slice(b"lo");
    /// assert_eq!(decoder.decode(&mut buf), Ok(Some(Frame::Text("4hello".into()))));
    /// ```
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (binary, len) = match self.frame {
            Some(frame) => frame,
            None => match self.header(buf) {
                Ok(Some(frame)) => *self.frame.insert(frame),
                Ok(None) => return Ok(None),
                Err(error) => return self.fail(error),
            },
        };
        if buf.len() < len {
            return Ok(None);
        }
        self.frame = None;
        let payload = buf.split_to(len).freeze();
        if binary {
            return Ok(Some(Frame::Binary(payload)));
        }
        match ByteString::try_from(payload) {
            Ok(text) => Ok(Some(Frame::Text(text))),
            Err(_) => self.fail(FrameError::InvalidUtf8),
        }
    }

    #[cold]
    fn fail(&mut self, error: FrameError) -> Result<Option<Frame>, FrameError> {
        self.failed = Some(error);
        Err(error)
    }

    /// Takes a header off the buffer, if it is all there.
    fn header(&self, buf: &mut BytesMut) -> Result<Option<(bool, usize)>, FrameError> {
        let Some(&first) = buf.first() else {
            return Ok(None);
        };
        let (announced, header) = match first & !BINARY {
            126 => match buf.get(1..3).and_then(|len| len.try_into().ok()) {
                Some(len) => (u64::from(u16::from_be_bytes(len)), 3),
                None => return Ok(None),
            },
            127 => match buf.get(1..9).and_then(|len| len.try_into().ok()) {
                Some(len) => (u64::from_be_bytes(len), 9),
                None => return Ok(None),
            },
            len => (u64::from(len), 1),
        };
        let binary = first & BINARY != 0;
        if announced == 0 && !binary {
            return Err(FrameError::Empty);
        }
        match usize::try_from(announced) {
            Ok(len) if len <= self.max && announced <= MAX_LENGTH => {
                buf.advance(header);
                Ok(Some((binary, len)))
            }
            _ => Err(FrameError::TooBig { announced, max: self.max }),
        }
    }
}

/// Writes the header of a frame and returns its length, 1, 3 or 9 bytes.
///
/// ```
/// use socketio_protocol::engine::webtransport::{MAX_HEADER, encode_header};
///
/// let mut header = [0; MAX_HEADER];
/// assert_eq!(encode_header(true, 3, &mut header), 1);
/// assert_eq!(header[0], 0x80 | 3);
/// assert_eq!(encode_header(false, 300, &mut header), 3);
/// assert_eq!(header[..3], [126, 1, 44]);
/// ```
pub fn encode_header(binary: bool, len: usize, out: &mut [u8; MAX_HEADER]) -> usize {
    let binary = if binary { BINARY } else { 0 };
    match len {
        0..=125 => {
            out[0] = binary | len as u8;
            1
        }
        126..=0xffff => {
            out[0] = binary | 126;
            out[1..3].copy_from_slice(&(len as u16).to_be_bytes());
            3
        }
        _ => {
            out[0] = binary | 127;
            out[1..9].copy_from_slice(&(len as u64).to_be_bytes());
            9
        }
    }
}

/// One frame, header and all.
///
/// ```
/// use socketio_protocol::engine::{Frame, webtransport::encode};
///
/// assert_eq!(encode(&Frame::Text("4hi".into())), b"\x034hi");
/// ```
pub fn encode(frame: &Frame) -> Vec<u8> {
    let (binary, payload): (bool, &[u8]) = match frame {
        Frame::Text(text) => (false, text.as_bytes()),
        Frame::Binary(data) => (true, data),
    };
    let mut header = [0; MAX_HEADER];
    let len = encode_header(binary, payload.len(), &mut header);
    [&header[..len], payload].concat()
}

/// What the first packet of a stream asks for.
///
/// ```
/// use socketio_protocol::engine::{Packet, webtransport::Opening};
///
/// assert_eq!(Opening::read(&Packet::Open("".into())), Some(Opening::New));
/// let upgrade = Opening::read(&Packet::Open(r#"{"sid":"abc"}"#.into()));
/// assert_eq!(upgrade, Some(Opening::Upgrade { sid: "abc".into() }));
/// assert_eq!(Opening::read(&Packet::Noop), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A new session: `0`.
    New,
    /// To become the transport of a session that polls: `0{"sid":"..."}`.
    Upgrade {
        /// Which session.
        sid: String,
    },
}

impl Opening {
    /// Reads the first packet; `None` if it asks for nothing of the kind.
    pub fn read(packet: &Packet) -> Option<Self> {
        let Packet::Open(data) = packet else { return None };
        if data.is_empty() {
            return Some(Opening::New);
        }
        #[derive(serde::Deserialize)]
        struct Data {
            sid: String,
        }
        serde_json::from_str(data).ok().map(|Data { sid }| Opening::Upgrade { sid })
    }
}

/// The bit of the first byte that says a binary message follows.
const BINARY: u8 = 0x80;

/// The greatest length that the reference, with its doubles, can tell: 2^53 - 1.
const MAX_LENGTH: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Version;
    use super::*;

    fn text(text: &str) -> Frame {
        Frame::Text(text.into())
    }

    fn binary(len: usize) -> Frame {
        Frame::Binary(vec![7; len].into())
    }

    fn read(bytes: &[u8], piece: usize, max: usize) -> (Vec<Frame>, Option<FrameError>) {
        let (mut decoder, mut buf, mut frames) = (Decoder::new(max), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            buf.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut buf) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.decode(&mut buf), Err(error), "an error does not go away");
                        return (frames, Some(error));
                    }
                }
            }
        }
        (frames, None)
    }

    #[test]
    fn every_frame_reads_and_writes_the_same_bytes() {
        for (frame, header) in [
            (text("0"), &[1][..]),
            (text("4hello"), &[6]),
            (text("4ü€"), &[6]),
            (binary(0), &[0x80]),
            (binary(1), &[0x81]),
            (binary(125), &[0x80 | 125]),
            (binary(126), &[0x80 | 126, 0, 126]),
            (text(&"x".repeat(65_535)), &[126, 0xff, 0xff]),
            (binary(65_536), &[0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (text(&"x".repeat(70_000)), &[127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ] {
            let bytes = encode(&frame);
            assert!(bytes.starts_with(header), "{header:?}");
            for piece in [1, 2, 7, 1000, bytes.len()] {
                assert_eq!(
                    read(&bytes, piece, 100_000),
                    (vec![frame.clone()], None),
                    "{header:?} in pieces of {piece}"
                );
            }
        }
        assert_eq!(encode(&text("4hello")), b"\x064hello");
    }

    #[test]
    fn frames_follow_each_other_and_the_last_may_be_on_its_way() {
        let bytes = [encode(&text("2")), encode(&binary(300)), encode(&text("4x")), vec![5, b'4']].concat();
        for piece in 1..bytes.len() {
            assert_eq!(read(&bytes, piece, 1000), (vec![text("2"), binary(300), text("4x")], None), "by {piece}");
        }
    }

    #[test]
    fn lengths_need_not_be_short() {
        for bytes in [&[126, 0, 2, b'4', b'x'][..], &[127, 0, 0, 0, 0, 0, 0, 0, 2, b'4', b'x']] {
            assert_eq!(read(bytes, bytes.len(), 10), (vec![text("4x")], None));
        }
    }

    #[test]
    fn what_cannot_be_a_frame_is_refused_with_its_header() {
        let too_big = |announced, max| FrameError::TooBig { announced, max };
        for (bytes, max, error) in [
            (&[0][..], 10, FrameError::Empty),
            (&[126, 0, 0], 10, FrameError::Empty),
            (&[127, 0, 0, 0, 0, 0, 0, 0, 0], 10, FrameError::Empty),
            (&[11], 10, too_big(11, 10)),
            (&[0x80 | 11], 10, too_big(11, 10)),
            (&[126, 1, 0], 255, too_big(256, 255)),
            (&[127, 0, 0, 0, 0, 0, 1, 0, 0], 65_535, too_big(65_536, 65_535)),
            (&[127, 0, 0x20, 0, 0, 0, 0, 0, 0], usize::MAX, too_big(1 << 53, usize::MAX)),
            (&[0xff; 9], 10, too_big(u64::MAX, 10)),
            (&[3, b'4', 0xff, 0xff], 10, FrameError::InvalidUtf8),
        ] {
            let before = encode(&text("2"));
            for piece in [1, bytes.len() + 1] {
                let bytes = [&before, bytes].concat();
                assert_eq!(read(&bytes, piece, max), (vec![text("2")], Some(error)), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_stream_begins_with_an_open_packet() {
        for (packet, opening) in [
            ("0", Some(Opening::New)),
            (r#"0{"sid":"lv_VI97HAXpY6yYWAAAC"}"#, Some(Opening::Upgrade { sid: "lv_VI97HAXpY6yYWAAAC".into() })),
            ("0{}", None),
            ("0[", None),
            (r#"0{"sid":7}"#, None),
            ("2probe", None),
            ("4hello", None),
        ] {
            let read = Packet::decode_text(packet.into(), Version::V4).unwrap();
            assert_eq!(Opening::read(&read), opening, "{packet}");
        }
        assert_eq!(Opening::read(&Packet::decode_binary(Bytes::from_static(b"0"), Version::V4).unwrap()), None);
    }
}
