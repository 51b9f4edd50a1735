//! Frames of a WebTransport stream, at once and in pieces; what is read is written again, and that is read alike.
//!
//! The first byte of the input says in pieces of how many bytes.

use bytes::BytesMut;
use socketio_protocol::engine::webtransport::{Decoder, FrameError, Opening, encode};
use socketio_protocol::engine::{Frame, Packet, Version};

const MAX: usize = 4096;

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    let (frames, end) = read(bytes, bytes.len());
    assert_eq!(
        (&frames, &end),
        (&read(bytes, piece.into()).0, &read(bytes, piece.into()).1),
        "pieces read differently"
    );
    let written: Vec<u8> = frames.iter().flat_map(encode).collect();
    assert!(written.len() <= bytes.len(), "a length can be written longer than needed, never shorter");
    assert_eq!(read(&written, written.len()), (frames.clone(), Ok(())));
    for frame in frames {
        let packet = match frame {
            Frame::Text(text) => Packet::decode_text(text, Version::V4),
            Frame::Binary(data) => Packet::decode_binary(data, Version::V4),
        };
        let _ = packet.ok().as_ref().and_then(Opening::read);
    }
}

fn read(bytes: &[u8], piece: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let (mut decoder, mut buf, mut frames) = (Decoder::new(MAX), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buf), Err(error), "an error does not go away");
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, Ok(()))
}
