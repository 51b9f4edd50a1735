//! Polling bodies of version 3, text and binary: what is read is written again, either way, and that is read alike.
//!
//! The first byte of the input says whether the body is binary.

use socketio_protocol::Bytes;
use socketio_protocol::engine::{Packet, Version, decode_payload, encode_payload};

const MAX_PACKETS: usize = 64;

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Some((&kind, body)) = input.split_first() else { return };
    let binary = kind == b'b';
    let read: Vec<_> = decode_payload(Version::V3, binary, Bytes::copy_from_slice(body), MAX_PACKETS).collect();
    assert!(read.len() <= MAX_PACKETS + 1);
    assert!(read.iter().rev().skip(1).all(Result::is_ok), "something came after an error: {read:?}");
    let packets: Vec<Packet> = read.into_iter().filter_map(Result::ok).collect();
    if packets.is_empty() {
        return;
    }
    for supports_binary in [true, false] {
        let written = encode_payload(Version::V3, supports_binary, &packets);
        assert!(supports_binary || !written.binary);
        let again: Result<Vec<Packet>, _> =
            decode_payload(Version::V3, written.binary, written.bytes, MAX_PACKETS).collect();
        assert_eq!(again.as_ref(), Ok(&packets));
    }
}
