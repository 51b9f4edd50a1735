//! What may and may not come where compression was agreed, and the messages of Autobahn's sections 12 and 13.

use super::tests::{Heard, raw, read_by};
use super::*;
use crate::websocket::PerMessageDeflate;

const MAX: usize = 1000;

fn codec() -> Arc<Codec> {
    Arc::new(Codec::new(PerMessageDeflate::default()))
}

fn read<'a>(role: Role, max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    read_by(Decoder::new(role, max).with_codec(Some(codec())), pieces)
}

/// Frames, each as its first byte and its payload.
type Frames<'a> = Vec<(u8, &'a [u8])>;

/// "Hello", compressed (RFC 7692, section 7.2.3.1).
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// A compressed message of bytes that are not UTF-8, and one that becomes 2,000 zeros.
const NO_TEXT: &[u8] = b"\x00\x02\x00\xfd\xff\xff\xfe\x00";

fn zeros() -> Vec<u8> {
    let mut out = Vec::new();
    codec().deflate(&[&[0; 2000]], &mut out).unwrap();
    out
}

#[test]
fn every_stream_is_heard_the_same_however_it_is_cut() {
    use WsError::*;
    let hello = || Event::Text("Hello".into());
    let hello_bytes = || Event::Binary(Bytes::from_static(b"Hello"));
    let ping = |data: &'static [u8]| Event::Ping(Bytes::from_static(data));
    let (none, zeros) = (Vec::new, zeros());
    let cases: Vec<(Frames<'_>, Heard)> = vec![
        // Compressed and not, in one frame.
        (vec![(0xc1, HELLO)], (vec![hello()], None)),
        (vec![(0xc2, HELLO), (0xc1, HELLO), (0x81, b"Hello")], (vec![hello_bytes(), hello(), hello()], None)),
        (vec![(0xc1, b"\x00"), (0xc2, b"\x00")], (vec![Event::Text("".into()), Event::Binary(Bytes::new())], None)),
        (vec![(0xc2, NO_TEXT)], (vec![Event::Binary(Bytes::from_static(b"\xff\xfe"))], None)),
        // In several: only the first says so; the cuts are anywhere (RFC 7692, section 7.2.3.1).
        (vec![(0x41, b"\xf2\x48\xcd"), (0x80, b"\xc9\xc9\x07\x00")], (vec![hello()], None)),
        (vec![(0x41, b""), (0x00, HELLO), (0x80, b"")], (vec![hello()], None)),
        (vec![(0x42, &HELLO[..1]), (0x89, b"p"), (0x80, &HELLO[1..])], (vec![ping(b"p"), hello_bytes()], None)),
        (vec![(0x01, b"Hel"), (0x80, b"lo"), (0xc1, HELLO)], (vec![hello(), hello()], None)),
        (vec![(0x41, HELLO), (0x80, b""), (0x81, b"Hello")], (vec![hello(), hello()], None)),
        // Where the bit must not be.
        (vec![(0x41, b"\xf2"), (0xc0, &HELLO[1..])], (none(), Some(ReservedBits(0x40)))),
        (vec![(0x01, b"Hel"), (0xc0, b"lo")], (none(), Some(ReservedBits(0x40)))),
        (vec![(0xc9, b"p")], (none(), Some(ReservedBits(0x40)))),
        (vec![(0xca, b"p")], (none(), Some(ReservedBits(0x40)))),
        (vec![(0xc8, b"")], (none(), Some(ReservedBits(0x40)))),
        (vec![(0xc3, HELLO)], (none(), Some(ReservedBits(0x40)))),
        // Nor the others beside it or alone.
        (vec![(0xe1, HELLO)], (none(), Some(ReservedBits(0x60)))),
        (vec![(0xd1, HELLO)], (none(), Some(ReservedBits(0x50)))),
        (vec![(0xa1, b"x")], (none(), Some(ReservedBits(0x20)))),
        (vec![(0x91, b"x")], (none(), Some(ReservedBits(0x10)))),
        // The rules of messages stay what they are.
        (vec![(0x41, b"\xf2"), (0xc1, HELLO)], (none(), Some(UnfinishedMessage))),
        (vec![(0x83, b"")], (none(), Some(ReservedOpcode(3)))),
        // What is inside.
        (vec![(0xc1, NO_TEXT)], (none(), Some(InvalidUtf8))),
        (vec![(0x41, &NO_TEXT[..6]), (0x80, &NO_TEXT[6..])], (none(), Some(InvalidUtf8))),
        (vec![(0xc1, b"Hello")], (none(), Some(BadDeflate))),
        (vec![(0xc1, &HELLO[..4])], (none(), Some(BadDeflate))),
        (vec![(0x42, b"\xff"), (0x80, b"\xff")], (none(), Some(BadDeflate))),
        (vec![(0xc1, HELLO), (0xc2, &zeros)], (vec![hello()], Some(InflatesTooFar { max: MAX }))),
        (vec![(0x42, &zeros[..4]), (0x80, &zeros[4..])], (none(), Some(InflatesTooFar { max: MAX }))),
    ];
    for (role, (frames, heard)) in
        [Role::Server, Role::Client].into_iter().flat_map(|role| cases.iter().map(move |case| (role, case)))
    {
        let stream: Vec<u8> = frames.iter().flat_map(|&(first, payload)| raw(role, first, payload)).collect();
        let name = format!("{role:?} {}", stream.escape_ascii());
        assert_eq!(&read(role, MAX, [&stream[..]]), heard, "whole: {name}");
        assert_eq!(&read(role, MAX, stream.chunks(1)), heard, "byte by byte: {name}");
        for cut in 0..=stream.len() {
            assert_eq!(&read(role, MAX, [&stream[..cut], &stream[cut..]]), heard, "cut at {cut}: {name}");
        }
    }
}

#[test]
fn what_was_not_agreed_is_refused() {
    let stream = raw(Role::Server, 0xc1, HELLO);
    let heard = read_by(Decoder::new(Role::Server, MAX), [&stream[..]]);
    assert_eq!(heard, (vec![], Some(WsError::ReservedBits(0x40))));
}

/// Autobahn's sections 12 and 13: text that shrinks and bytes that do not, 16 bytes to 128 KiB, in frames of so many
/// bytes each.
#[test]
fn messages_of_every_length_come_through_in_any_number_of_frames() {
    let codec = codec();
    let text = "{\"name\":\"Ana\",\"score\":12},é€😀 ".repeat(5000);
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()
    })
    .take(16384)
    .flatten()
    .collect();
    for len in [0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131_072] {
        let text = &text[..text.floor_char_boundary(len)];
        for (opcode, message, event) in [
            (0x01, text.as_bytes(), Event::Text(text.into())),
            (0x02, &noise[..len], Event::Binary(Bytes::copy_from_slice(&noise[..len]))),
        ] {
            let mut compressed = Vec::new();
            let first = match codec.deflate(&[message], &mut compressed) {
                Some(()) => opcode | COMPRESSED,
                None => {
                    compressed.extend_from_slice(message);
                    opcode
                }
            };
            if opcode == 0x01 && len > 256 {
                assert!(first & COMPRESSED != 0 && compressed.len() < len / 4, "{len} bytes of text shrink");
            }
            for size in [256, 1024, 32768, 1 << 20] {
                let frames: Vec<&[u8]> = match compressed.is_empty() {
                    true => vec![b""],
                    false => compressed.chunks(size).collect(),
                };
                let stream: Vec<u8> = frames
                    .iter()
                    .enumerate()
                    .flat_map(|(at, part)| {
                        let fin = if at == frames.len() - 1 { FIN } else { 0 };
                        raw(Role::Server, fin | if at == 0 { first } else { 0 }, part)
                    })
                    .collect();
                let heard = read(Role::Server, 131_072, stream.chunks(1448));
                assert_eq!(heard, (vec![event.clone()], None), "{len} bytes in frames of {size}");
            }
        }
    }
}
