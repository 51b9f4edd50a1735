//! One table of bodies, read whole and cut, and written; then bodies at random.

use Version::{V3, V4};
use proptest::prelude::*;

use super::*;

/// Bodies as clients and servers exchange them, each with its packets.
fn bodies() -> Vec<(Version, Body, Vec<Packet>)> {
    let text = |text: &'static str| Body { bytes: text.into(), binary: false };
    let binary = |bytes: &'static [u8]| Body { bytes: bytes.into(), binary: true };
    let four = || bytes(&[1, 2, 3, 4]);
    vec![
        (V4, text("4hello"), vec![say("hello")]),
        (V4, text("4a\x1e4\x1e2\x1e6\x1e1"), vec![say("a"), say(""), ping(""), Packet::Noop, Packet::Close]),
        (V4, text("4€\x1e2😀\x1e3"), vec![say("€"), ping("😀"), Packet::Pong("".into())]),
        (
            V4,
            text("42[\"back\",1]\x1e451-[0]\x1ebAQIDBA==\x1e43"),
            vec![say("2[\"back\",1]"), say("51-[0]"), four(), say("3")],
        ),
        (V3, text("6:4hello2:4€"), vec![say("hello"), say("€")]),
        (V3, text("1:13:4😀3:40:1:2"), vec![Packet::Close, say("😀"), say("0:"), ping("")]),
        (V3, text("10:b4AQIDBA==2:4a"), vec![four(), say("a")]),
        (V3, text("11:4aaaaaaaaaa1:4"), vec![say("aaaaaaaaaa"), say("")]),
        (V3, binary(b"\x00\x02\xff4a\x01\x05\xff\x04\x01\x02\x03\x04"), vec![say("a"), four()]),
        (V3, binary(b"\x01\x05\xff\x04\x01\x02\x03\x04\x00\x04\xff4\xe2\x82\xac"), vec![four(), say("€")]),
        (
            V3,
            binary(b"\x00\x01\x01\xff4aaaaaaaaaa\x00\x05\xff4\xf0\x9f\x98\x80\x01\x01\xff\x04\x01\x01\xff\x04"),
            vec![say("aaaaaaaaaa"), say("😀"), bytes(b""), bytes(b"")],
        ),
    ]
}

fn say(message: &str) -> Packet {
    Packet::Message(Message::Text(message.into()))
}

fn bytes(message: &'static [u8]) -> Packet {
    Packet::Message(Message::Binary(Bytes::from_static(message)))
}

fn ping(data: &str) -> Packet {
    Packet::Ping(data.into())
}

/// The packets of a body, and the error that ended them.
fn read(version: Version, binary: bool, body: &[u8]) -> (Vec<Packet>, Option<DecodeError>) {
    let mut iter = decode_payload(version, binary, Bytes::copy_from_slice(body), 100);
    let mut packets = Vec::new();
    let error = loop {
        match iter.next() {
            Some(Ok(packet)) => packets.push(packet),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert_eq!(iter.next(), None, "after the first error and after the end nothing comes");
    (packets, error)
}

#[test]
fn every_body_reads_and_writes_the_same() {
    for (version, body, packets) in bodies() {
        assert_eq!(read(version, body.binary, &body.bytes), (packets.clone(), None), "reading {body:?}");
        let supports_binary = !body.bytes.starts_with(b"10:b4");
        assert_eq!(encode_payload(version, supports_binary, &packets), body, "writing {packets:?}");
    }
}

#[test]
fn a_body_cut_anywhere_gives_the_packets_before_the_cut() {
    for (version, body, packets) in bodies() {
        for cut in 0..body.bytes.len() {
            let (before, error) = read(version, body.binary, &body.bytes[..cut]);
            // A version 4 packet that is cut short may still be a packet, a shorter one.
            let whole = before.len() - usize::from(version == V4 && error.is_none());
            assert_eq!(before[..whole], packets[..whole], "{body:?} cut at {cut}");
            assert!(before.len() <= packets.len(), "{body:?} cut at {cut}");
            let ends_between = before.len() < packets.len() && error.is_none();
            assert!(version == V4 || !ends_between || encoded_len(version, body.binary, &before) == cut);
        }
    }
}

fn encoded_len(version: Version, binary: bool, packets: &[Packet]) -> usize {
    let mut encoder = PayloadEncoder::new(version, binary);
    if binary {
        encoder.become_binary();
    }
    packets.iter().for_each(|packet| encoder.packet(packet));
    encoder.len()
}

#[test]
fn a_body_that_is_no_payload_is_refused() {
    use DecodeError::{BadLength, BinaryBody, Empty, InvalidUtf8, LengthPastEnd, UnknownType};
    let past = |announced, left| LengthPastEnd { announced, left };
    for (version, binary, body, packets, error) in [
        (V4, false, &b""[..], 0, Empty),
        (V4, false, b"4a\x1e", 1, Empty),
        (V4, false, b"\x1e4a", 0, Empty),
        (V4, false, b"4a\x1e\x1e4b", 1, Empty),
        (V4, false, b"4a\x1e9\x1e4b", 1, UnknownType(b'9')),
        (V4, false, b"4a\x1e4\xff\x1e4b", 1, InvalidUtf8),
        (V4, false, b"4a\x1e4b\x1e\xff", 2, InvalidUtf8),
        (V4, false, b"4a\xe2\x82", 0, InvalidUtf8),
        (V4, true, b"4a", 0, BinaryBody),
        (V4, true, b"", 0, BinaryBody),
        (V3, false, b"", 0, Empty),
        (V3, false, b"4hello", 0, BadLength),
        (V3, false, b":4a", 0, BadLength),
        (V3, false, b"-1:4a", 0, BadLength),
        (V3, false, b"+2:4a", 0, BadLength),
        (V3, false, b" 2:4a", 0, BadLength),
        (V3, false, b"2.0:4a", 0, BadLength),
        (V3, false, b"2", 0, BadLength),
        (V3, false, b"2:4a2", 1, BadLength),
        (V3, false, b"0:", 0, Empty),
        (V3, false, b"3:4a", 0, past(3, 2)),
        (V3, false, b"2:4", 0, past(2, 1)),
        (V3, false, b"18446744073709551615:4", 0, past(u64::MAX, 1)),
        (V3, false, b"18446744073709551616:4", 0, BadLength),
        (V3, false, b"000000000000000000002:4a", 0, BadLength),
        // Two units end in the middle of the emoji.
        (V3, false, "2:4😀".as_bytes(), 0, past(2, 5)),
        (V3, false, "3:4€".as_bytes(), 0, past(3, 4)),
        (V3, false, b"2:4a2:4\xff", 1, InvalidUtf8),
        (V3, false, b"2:4a\xff", 1, InvalidUtf8),
        (V3, false, b"2:9a2:4a", 0, UnknownType(b'9')),
        (V3, true, b"", 0, Empty),
        (V3, true, b"\x02\x01\xff4", 0, UnknownType(2)),
        (V3, true, b"\x00\xff4", 0, BadLength),
        (V3, true, b"\x00\x0a\xff4", 0, BadLength),
        (V3, true, b"\x00", 0, BadLength),
        (V3, true, b"\x00\x01", 0, BadLength),
        (V3, true, b"\x00\x00\xff", 0, Empty),
        (V3, true, b"\x01\x00\xff", 0, Empty),
        (V3, true, b"\x00\x02\xff4", 0, past(2, 1)),
        (V3, true, b"\x00\x02\xff4\xff", 0, InvalidUtf8),
        (V3, true, b"\x00\x01\xff4\x01\x01\xff\x07", 1, UnknownType(7)),
    ] {
        let (before, ended) = read(version, binary, body);
        assert_eq!((before.len(), ended), (packets, Some(error)), "{version:?} {}", body.escape_ascii());
    }
    let digits = [&[0][..], &[9; 400], &[255]].concat();
    assert_eq!(read(V3, true, &digits).1, Some(BadLength));
}

#[test]
fn no_more_packets_are_read_than_accepted() {
    for (version, body) in [(V4, &b"3\x1e3\x1e3"[..]), (V3, b"1:31:31:3")] {
        let read = |max| decode_payload(version, false, Bytes::from_static(body), max).collect::<Vec<_>>();
        assert!(read(3).iter().all(Result::is_ok));
        assert_eq!(read(2)[2], Err(DecodeError::TooManyPackets { max: 2 }));
        assert_eq!(read(0), [Err(DecodeError::TooManyPackets { max: 0 })]);
    }
}

#[test]
fn packets_share_the_memory_of_their_body() {
    let body = Bytes::from("4hello\x1e4world".to_owned());
    let range = body.as_ptr_range();
    for packet in decode_payload(V4, false, body.clone(), 10) {
        let Ok(Packet::Message(Message::Text(text))) = packet else { panic!("{packet:?}") };
        assert!(range.contains(&text.as_bytes().as_ptr()));
    }
}

#[test]
fn lengths_count_as_javascript_counts() {
    for (text, units) in [("", 0), ("abc", 3), ("é", 1), ("€", 1), ("😀", 2), ("a😀€é", 5), ("\u{ffff}\u{10000}", 3)]
    {
        assert_eq!(utf16_len(text), units, "{text}");
    }
}

/// The packets a polling body may hold, with texts that try the counting.
fn any_packet() -> impl Strategy<Value = Packet> {
    let text = || "[a-z€😀\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}:0-9\"]{0,12}".prop_map(ByteString::from);
    prop_oneof![
        4 => text().prop_map(|text| Packet::Message(Message::Text(text))),
        2 => any::<Vec<u8>>().prop_map(|data| Packet::Message(Message::Binary(data.into()))),
        1 => text().prop_map(Packet::Open),
        1 => text().prop_map(Packet::Ping),
        1 => text().prop_map(Packet::Pong),
        1 => prop_oneof![Just(Packet::Close), Just(Packet::Upgrade), Just(Packet::Noop)],
    ]
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(V3), Just(V4)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        version in any_version(),
        supports_binary: bool,
        packets in prop::collection::vec(any_packet(), 1..12),
    ) {
        let body = encode_payload(version, supports_binary, &packets);
        prop_assert_eq!(read(version, body.binary, &body.bytes), (packets, None));
    }

    #[test]
    fn the_cost_told_before_is_not_exceeded(
        version in any_version(),
        supports_binary: bool,
        packets in prop::collection::vec(any_packet(), 1..12),
    ) {
        let mut encoder = PayloadEncoder::new(version, supports_binary);
        for packet in &packets {
            let (before, was_binary, count) = (encoder.len(), encoder.binary, encoder.texts.len());
            let cost = match packet {
                Packet::Message(Message::Binary(data)) => encoder.binary_cost(data.len()),
                text => {
                    let mut out = Vec::new();
                    text.encode_text(version, &mut out);
                    encoder.text_cost(out.len())
                }
            };
            encoder.packet(packet);
            // What the packets before it grow by when a body becomes binary: bytes are counted, not units.
            let regrown = if encoder.binary && !was_binary { before + 2 * count } else { 0 };
            prop_assert!(encoder.len() <= before + cost + regrown);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(version in any_version(), binary: bool, body: Vec<u8>) {
        let (packets, _) = read(version, binary, &body);
        // Whatever was accepted is written and read again alike.
        if !packets.is_empty() {
            let again = encode_payload(version, true, &packets);
            prop_assert_eq!(read(version, again.binary, &again.bytes).0, packets);
        }
    }

    #[test]
    fn nor_do_pieces_of_bodies(
        version in any_version(),
        binary: bool,
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..16),
    ) {
        read(version, binary, &pieces.concat());
    }
}

/// What bodies are made of, and what is nearly that.
const PIECES: &[&[u8]] = &[
    b"\x1e",
    b"\xff",
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x04",
    b":",
    b"1",
    b"2",
    b"4",
    b"b",
    b"b4",
    b"AQI=",
    b"probe",
    b"99999999999999999999",
    b"\xf0\x9f\x98\x80",
    b"\xe2\x82\xac",
    b"\xe2",
    b"\x80",
];
