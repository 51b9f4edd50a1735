//! Polling bodies of version 4: what is read is written again, and that is read alike.

use socketio_protocol::Bytes;
use socketio_protocol::engine::{Packet, Version, decode_payload, encode_payload};

const MAX_PACKETS: usize = 64;

/// Panics on a finding.
pub fn run(body: &[u8]) {
    let read: Vec<_> = decode_payload(Version::V4, false, Bytes::copy_from_slice(body), MAX_PACKETS).collect();
    assert!(read.len() <= MAX_PACKETS + 1);
    assert!(read.iter().rev().skip(1).all(Result::is_ok), "something came after an error: {read:?}");
    let packets: Vec<Packet> = read.into_iter().filter_map(Result::ok).collect();
    if packets.is_empty() {
        return;
    }
    let written = encode_payload(Version::V4, true, &packets);
    assert!(!written.binary);
    let again: Result<Vec<Packet>, _> = decode_payload(Version::V4, false, written.bytes, MAX_PACKETS).collect();
    assert_eq!(again.as_ref(), Ok(&packets));
}
