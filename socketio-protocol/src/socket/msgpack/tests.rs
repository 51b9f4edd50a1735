//! Packets in MessagePack, both ways, and what is refused.

use bytes::Bytes;
use serde_json::json;

use super::super::Value;
use super::*;

fn event(args: impl Serialize) -> Args {
    Args::new_event("x", &args).unwrap()
}

#[test]
fn every_packet_reads_and_writes_the_same_message() {
    let single = |value: serde_json::Value| Args::new_single(&value).unwrap();
    let list = |value: serde_json::Value| Args::from_json(value.to_string(), vec![]).unwrap();
    for (packet, message) in [
        (Packet::new(Kind::Connect, "/", Args::none()), b"\x82\xa4type\x00\xa3nsp\xa1/".as_slice()),
        (
            Packet::new(Kind::Connect, "/admin", single(json!({"a": 1}))),
            b"\x83\xa4type\x00\xa4data\x81\xa1a\x01\xa3nsp\xa6/admin",
        ),
        (Packet::new(Kind::Disconnect, "/", Args::none()), b"\x82\xa4type\x01\xa3nsp\xa1/"),
        (Packet::new(Kind::Event, "/", event((1, "y"))), b"\x83\xa4type\x02\xa4data\x93\xa1x\x01\xa1y\xa3nsp\xa1/"),
        (
            Packet::new(Kind::Event, "/", event(Bytes::from_static(b"bin"))).with_id(300),
            b"\x84\xa4type\x02\xa4data\x92\xa1x\xc4\x03bin\xa3nsp\xa1/\xa2id\xcd\x01\x2c",
        ),
        (
            Packet::new(Kind::Ack, "/", list(json!([[1]]))).with_id(0),
            b"\x84\xa4type\x03\xa4data\x91\x91\x01\xa3nsp\xa1/\xa2id\x00",
        ),
        (Packet::new(Kind::ConnectError, "/", single(json!("no"))), b"\x83\xa4type\x04\xa4data\xa2no\xa3nsp\xa1/"),
    ] {
        let mut out = b"kept".to_vec();
        encode(&mut out, &packet);
        assert_eq!(out.strip_prefix(b"kept"), Some(message), "writing {packet:?}");
        assert_eq!(decode(message, Limits::default()), Ok(packet));
    }
    let mut out = Vec::new();
    encode_event(&mut out, "/", Some(1), "x", &(1, Bytes::from_static(b"b"))).unwrap();
    assert_eq!(out, b"\x84\xa4type\x02\xa4data\x93\xa1x\x01\xc4\x01b\xa3nsp\xa1/\xa2id\x01");
}

#[test]
fn members_come_in_any_order_and_others_are_ignored() {
    // As socket.io-client writes it: options, and what is undefined is written out (notepack 2).
    let message = b"\x85\xa2id\xd4\x00\x00\xa7options\x81\xa8compress\xc3\xa3nsp\xa1/\xa4data\x91\xa1x\xa4type\x02";
    assert_eq!(decode(message, Limits::default()), Ok(Packet::new(Kind::Event, "/", event(()))));
    let message = b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/";
    assert_eq!(decode(message, Limits::default()), Ok(Packet::new(Kind::Connect, "/", Args::none())));
}

#[test]
fn messages_that_are_no_packet_are_refused() {
    let wrong = |kind| DecodeError::WrongPayload { kind };
    let no_packet = || DecodeError::Msgpack(MsgpackError::NotAPacket);
    let message = |members: &[(&str, Value)]| {
        let mut out = Vec::new();
        let members = members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Value::Object(members).write_msgpack(&mut out);
        out
    };
    let list = |values: &[&str]| Value::from(values.to_vec());
    let root = Value::from("/");
    for (message, error) in [
        (vec![], DecodeError::Msgpack(MsgpackError::Truncated)),
        (vec![0x90], no_packet()),
        (vec![0x80], no_packet()),
        (message(&[("type", 2.into()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", 2.into()), ("nsp", 1.into()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", 2.into()), ("nsp", "admin".into()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", 2.into()), ("nsp", "/a,b".into()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", 2.into()), ("nsp", "".into()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", 5.into()), ("nsp", root.clone()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", "2".into()), ("nsp", root.clone()), ("data", list(&["x"]))]), no_packet()),
        (message(&[("type", 2.into()), ("nsp", root.clone())]), wrong(Kind::Event)),
        (message(&[("type", 3.into()), ("nsp", root.clone())]), wrong(Kind::Ack)),
        (message(&[("type", 4.into()), ("nsp", root.clone())]), wrong(Kind::ConnectError)),
        (message(&[("type", 0.into()), ("nsp", root.clone()), ("data", list(&[]))]), wrong(Kind::Connect)),
        (message(&[("type", 1.into()), ("nsp", root.clone()), ("data", list(&[]))]), wrong(Kind::Disconnect)),
        (message(&[("type", 2.into()), ("nsp", root.clone()), ("data", "x".into())]), wrong(Kind::Event)),
        (message(&[("type", 2.into()), ("nsp", root.clone()), ("data", list(&[]))]), DecodeError::NotAnEvent),
        (
            message(&[("type", 2.into()), ("nsp", root.clone()), ("data", list(&["disconnect"]))]),
            DecodeError::ReservedEvent { event: "disconnect".to_owned() },
        ),
        (
            message(&[("type", 2.into()), ("nsp", root.clone()), ("data", list(&["x"])), ("id", (-1).into())]),
            DecodeError::InvalidId,
        ),
        (
            message(&[("type", 2.into()), ("nsp", root.clone()), ("data", list(&["x"])), ("id", "1".into())]),
            DecodeError::InvalidId,
        ),
    ] {
        assert_eq!(decode(&message, Limits::default()), Err(error), "{message:02x?}");
    }
}

#[test]
fn the_limits_are_those_of_the_text_parser() {
    let limits = Limits { max_attachments: 2, max_bytes: 60, ..Limits::default() };
    let written = |count: usize, bytes: &'static [u8]| {
        let mut out = Vec::new();
        encode(&mut out, &Packet::new(Kind::Event, "/", event(vec![Bytes::from_static(bytes); count])));
        out
    };
    assert!(decode(&written(2, b"a"), limits).is_ok());
    let too_many = DecodeError::TooManyAttachments { announced: 3, max: 2 };
    assert_eq!(decode(&written(3, b"a"), limits), Err(too_many));
    assert_eq!(decode(&written(1, &[0; 60]), limits), Err(DecodeError::TooLarge { max: 60 }));
    let limits = Limits { max_args: 20, ..limits };
    for (count, ok) in [(20, true), (21, false)] {
        for kind in [Kind::Event, Kind::Ack] {
            let args = Args::from_values(&vec![1.into(); count]).unwrap();
            let data = if kind == Kind::Ack { args } else { Args::new_event("ev", &args).unwrap() };
            let mut out = Vec::new();
            encode(&mut out, &Packet::new(kind, "/", data).with_id(1));
            let expected = if ok { None } else { Some(DecodeError::TooManyArguments { max: 20 }) };
            assert_eq!(decode(&out, limits).err(), expected, "{kind:?} {count}");
        }
    }
    let mut trailing = written(0, b"");
    trailing.push(0);
    assert_eq!(decode(&trailing, limits), Err(MsgpackError::Trailing { bytes: 1 }.into()));
}
