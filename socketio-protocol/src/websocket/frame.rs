//! Writing a frame, and the parts of one that reading needs too.
//!
//! RFC 6455, section 5.

use bytes::Bytes;
use bytestring::ByteString;

/// What a frame is.
///
/// ```
/// use socketio_protocol::websocket::Opcode;
///
/// assert_eq!(Opcode::from_bits(0x9), Some(Opcode::Ping));
/// assert!(Opcode::Ping.is_control() && !Opcode::Text.is_control());
/// assert_eq!(Opcode::from_bits(0x3), None, "reserved");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// Goes on with a message in several frames.
    Continuation,
    /// A text message, or its first frame.
    Text,
    /// A binary message, or its first frame.
    Binary,
    /// The sender will send no more.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or nothing.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    /// Reads the four bits; the others are reserved.
    pub fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether it is a close, ping or pong, which may stand between the frames of a message.
    pub fn is_control(self) -> bool {
        self.bits() >= 0x8
    }
}

/// What a close frame says, if it says anything.
///
/// ```
/// use socketio_protocol::websocket::{CloseFrame, Decoder, Event, Role, close_frame};
///
/// let mut buf = (&close_frame(Some(1001), "going away")[..]).into();
/// let event = Decoder::new(Role::Client, 100).decode(&mut buf)?;
/// assert_eq!(event, Some(Event::Close(Some(CloseFrame { code: 1001, reason: "going away".into() }))));
/// # Ok::<_, socketio_protocol::websocket::WsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why, as a number of RFC 6455, section 7.4, or of its registry.
    pub code: u16,
    /// Why, in words; may be empty.
    pub reason: ByteString,
}

/// The largest payload of a close, ping or pong frame.
pub const MAX_CONTROL: usize = 125;

/// Writes the header of an unmasked frame that is a whole message, and returns its length, 2 to 10 bytes.
///
/// ```
/// use socketio_protocol::websocket::{Opcode, encode_header};
///
/// let mut header = [0; 10];
/// let len = encode_header(Opcode::Binary, 300, &mut header);
/// assert_eq!(header[..len], [0x82, 126, 1, 44]);
/// ```
pub fn encode_header(opcode: Opcode, len: usize, out: &mut [u8; 10]) -> usize {
    out[0] = FIN | opcode.bits();
    match len {
        0..=125 => {
            out[1] = len as u8;
            2
        }
        126..=0xffff => {
            out[1] = 126;
            out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    }
}

/// An unmasked frame that is a whole message, as a server sends it.
///
/// ```
/// use socketio_protocol::websocket::{Opcode, frame};
///
/// assert_eq!(frame(Opcode::Text, b"hi"), &b"\x81\x02hi"[..]);
/// ```
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut header = [0; 10];
    let header_len = encode_header(opcode, payload.len(), &mut header);
    [&header[..header_len], payload].concat().into()
}

/// A masked frame that is a whole message, as a client sends it. `mask` should be random.
///
/// ```
/// use socketio_protocol::websocket::{Opcode, masked_frame};
///
/// assert_eq!(masked_frame(Opcode::Text, b"hi", [1, 2, 3, 4]), [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
/// ```
pub fn masked_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut header = [0; 10];
    let header_len = encode_header(opcode, payload.len(), &mut header);
    header[1] |= MASKED;
    let mut out = [&header[..header_len], &mask, payload].concat();
    apply_mask(&mut out[header_len + 4..], mask);
    out
}

/// The close frame of a server, empty without a `code`. A reason longer than fits is cut between two characters.
///
/// ```
/// use socketio_protocol::websocket::close_frame;
///
/// assert_eq!(close_frame(Some(1000), "bye"), &b"\x88\x05\x03\xe8bye"[..]);
/// assert_eq!(close_frame(None, ""), &b"\x88\x00"[..]);
/// ```
pub fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else {
        return Bytes::from_static(&[FIN | 0x8, 0]);
    };
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    frame(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The bit of the first byte that says a message is complete.
pub(super) const FIN: u8 = 0x80;
/// The bits of the first byte that belong to extensions.
pub(super) const RESERVED: u8 = 0x70;
/// The one of them that says a message is compressed: on its first frame, and only where that was agreed (RFC 7692,
/// section 6).
pub const COMPRESSED: u8 = 0x40;
/// The bit of the second byte that says a mask follows.
pub(super) const MASKED: u8 = 0x80;

/// Masks or unmasks `payload`, whose first byte meets the mask's first.
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask, mask].as_flattened().try_into().expect("twice four is eight"));
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_as_the_rfc_shows() {
        assert_eq!(frame(Opcode::Text, b"Hello"), &b"\x81\x05Hello"[..]);
        assert_eq!(
            masked_frame(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
        assert_eq!(frame(Opcode::Ping, b"Hello"), &b"\x89\x05Hello"[..]);
        assert_eq!(
            masked_frame(Opcode::Pong, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
        assert_eq!(&frame(Opcode::Binary, &[7; 256])[..5], b"\x82\x7e\x01\x00\x07");
        assert_eq!(&frame(Opcode::Binary, &[7; 65536])[..11], b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00\x07");
    }

    #[test]
    fn a_length_is_written_in_its_shortest_form() {
        for (len, header) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65535, &[0x82, 126, 255, 255]),
            (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = [0; 10];
            let written = encode_header(Opcode::Binary, len, &mut out);
            assert_eq!(&out[..written], header, "{len}");
        }
    }

    #[test]
    fn a_close_frame_says_no_more_than_fits() {
        assert_eq!(close_frame(None, "unsaid"), &[0x88, 0][..]);
        assert_eq!(close_frame(Some(1000), ""), &[0x88, 2, 3, 0xe8][..]);
        assert_eq!(close_frame(Some(1009), "big"), &b"\x88\x05\x03\xf1big"[..]);
        assert_eq!(close_frame(Some(1000), &"x".repeat(123)).len(), 127);
        assert_eq!(close_frame(Some(1000), &"x".repeat(124)).len(), 127);
        // The 62nd character would end at byte 124.
        assert_eq!(close_frame(Some(1000), &"é".repeat(62)).len(), 126);
    }

    #[test]
    fn the_mask_goes_round_every_four_bytes() {
        let mask = [1, 2, 3, 4];
        for len in 0..40 {
            let mut payload: Vec<u8> = (0..len).collect();
            apply_mask(&mut payload, mask);
            let expected: Vec<u8> = (0..len).zip(mask.into_iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(payload, expected, "{len} bytes");
        }
    }

    #[test]
    fn every_opcode_reads_and_writes_the_same_bits() {
        let known: Vec<u8> = (0..16).filter(|&bits| Opcode::from_bits(bits).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 8, 9, 10]);
        for bits in known {
            let opcode = Opcode::from_bits(bits).unwrap();
            assert_eq!((opcode.bits(), opcode.is_control()), (bits, bits >= 8));
        }
    }
}
