//! Writing a frame, and the parts of one that reading needs too.
//!
//! RFC 6455, section 5.

use bytes::Bytes;
use bytestring::ByteString;

/// What a frame is.
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
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut header = [0; 10];
    let header_len = encode_header(opcode, payload.len(), &mut header);
    [&header[..header_len], payload].concat().into()
}

/// A masked frame that is a whole message, as a client sends it. `mask` should be random.
pub fn masked_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut header = [0; 10];
    let header_len = encode_header(opcode, payload.len(), &mut header);
    header[1] |= MASKED;
    let mut out = [&header[..header_len], &mask, payload].concat();
    apply_mask(&mut out[header_len + 4..], mask);
    out
}

/// The close frame of a server, empty without a `code`. A reason longer than fits is cut between two characters.
pub fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else {
        return Bytes::from_static(&[FIN | 0x8, 0]);
    };
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    frame(
        Opcode::Close,
        &[&code.to_be_bytes(), reason.as_bytes()].concat(),
    )
}

/// The bit of the first byte that says a message is complete.
pub(super) const FIN: u8 = 0x80;
/// The bits of the first byte that belong to extensions.
pub(super) const RESERVED: u8 = 0x70;
/// The bit of the second byte that says a mask follows.
pub(super) const MASKED: u8 = 0x80;

/// Masks or unmasks `payload`, whose first byte meets the mask's first.
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes(
        [mask, mask]
            .as_flattened()
            .try_into()
            .expect("twice four is eight"),
    );
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}
