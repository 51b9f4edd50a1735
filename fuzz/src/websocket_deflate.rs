//! Compressed messages, at once, in fragments, and beside miniz_oxide.
//!
//! The first two bytes of the input say after how many bytes the message is cut in two. What ours inflates, miniz_oxide
//! inflates to the same; what only miniz_oxide takes has something behind its last block. And whatever the bytes are, as
//! a message they come back from being compressed.
use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};
use socketio_protocol::websocket::{
    COMPRESSED, Codec, Decoder, Event, Opcode, PerMessageDeflate, Role, WsError, encode_header,
};

const MAX_MESSAGE: usize = 1 << 16;

static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| Arc::new(Codec::new(PerMessageDeflate::default())));

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Some((&[high, low], bytes)) = input.split_first_chunk() else { return };
    if bytes.len() > MAX_MESSAGE {
        return;
    }
    let heard = hear(&[bytes]);
    let cut = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    assert_eq!(heard, hear(&[&bytes[..cut], &bytes[cut..]]), "cut at {cut}");

    let with_end = [bytes, b"\x00\x00\xff\xff\x03\x00"].concat();
    match (heard, decompress_to_vec_with_limit(&with_end, MAX_MESSAGE)) {
        (Ok(message), Ok(theirs)) => assert_eq!(message, theirs),
        (Ok(message), Err(_)) => assert!(bytes.is_empty() && message.is_empty(), "only ours reads it"),
        (Err(WsError::BadDeflate), Ok(_)) => assert!(has_last_block(bytes), "only theirs reads it"),
        (Err(WsError::InflatesTooFar { .. }), Err(error)) => {
            assert!(matches!(error.status, TINFLStatus::HasMoreOutput | TINFLStatus::Failed), "{error:?}");
        }
        (Err(WsError::BadDeflate), Err(_)) => {}
        (Err(error), theirs) => panic!("ours {error:?}, miniz_oxide {theirs:?}"),
    }

    let mut compressed = Vec::new();
    if CODEC.deflate(&[&bytes[..cut], &bytes[cut..]], &mut compressed).is_some() {
        assert!(compressed.len() < bytes.len());
        assert_eq!(hear(&[&compressed]), Ok(bytes.to_vec()));
    }
}

/// Whether it ends before the last block that everyone adds: by itself, or with the first bits of what is added.
fn has_last_block(bytes: &[u8]) -> bool {
    decompress_to_vec_with_limit(&[bytes, b"\x00\x00\xff\xff"].concat(), MAX_MESSAGE).is_ok()
}

/// Reads a compressed binary message in so many frames.
fn hear(parts: &[&[u8]]) -> Result<Vec<u8>, WsError> {
    let mut buf = BytesMut::new();
    for (at, part) in parts.iter().enumerate() {
        let mut header = [0; 10];
        let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
        let len = encode_header(opcode, part.len(), &mut header);
        if at == 0 {
            header[0] |= COMPRESSED;
        }
        if at + 1 < parts.len() {
            header[0] &= 0x7f;
        }
        buf.extend_from_slice(&header[..len]);
        buf.extend_from_slice(part);
    }
    let mut decoder = Decoder::new(Role::Client, MAX_MESSAGE).with_codec(Some(CODEC.clone()));
    match decoder.decode(&mut buf)? {
        Some(Event::Binary(message)) => Ok(message.to_vec()),
        other => panic!("{other:?} of a whole message"),
    }
}
