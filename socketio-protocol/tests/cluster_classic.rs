//! The messages of the Node.js libraries, read and written again.
//!
//! `vectors/` holds what the published packages sent, byte for byte. Each is decoded and compared with its
//! content; what our servers can also say is encoded again and has to give the same bytes.

mod support;

use serde_json::Value as Json;
use socketio_protocol::cluster::{
    Envelope, Message, MessageError, Options, classic,
    emitter::{Family, Format},
};
use support::{Vector, malformed, vectors};

const ADAPTERS: [&str; 4] =
    ["redis-adapter-8.3.0", "redis-adapter-7.2.0", "socket.io-redis-6.1.1", "socket.io-redis-5.4.0"];
const EMITTERS: [&str; 3] = ["redis-emitter-5.1.0", "redis-emitter-4.1.1", "socket.io-emitter-3.2.0"];

/// Somebody who has not sent any of the vectors.
const OTHER: &str = "OTHER1";

#[test]
fn every_broadcast_is_read_with_all_it_says() {
    let mut read = 0;
    for (file, vector) in messages(&[&ADAPTERS[..], &EMITTERS[..]].concat()) {
        let (channels, Kind::Broadcast) = place(&vector) else { continue };
        let about = format!("{file} {}", vector.name);
        if vector.encoding != "msgpack" {
            continue; // an option of the library that no other server reads either
        }
        let decoded = classic::decode_broadcast(&channels, OTHER, &vector.payload);
        if about == "socket.io-emitter-3.2.0 rooms/array" {
            let Message::Broadcast { options, .. } = decoded.unwrap().unwrap().message else { panic!("{about}") };
            assert_eq!(
                options.rooms,
                ["\0nobody"],
                "{about}: an array names no room; nobody must not become everybody"
            );
            continue;
        }
        let envelope = decoded.unwrap_or_else(|error| panic!("{about}: {error}")).expect(&about);
        let Message::Broadcast { args, options, request: None } = envelope.message else { panic!("{about}") };
        let [uid, packet, opts] = vector.decoded.as_array().unwrap().as_slice() else { panic!("{about}") };
        assert_eq!(envelope.uid.as_deref(), uid.as_str(), "{about}");
        support::assert_event(&args, &packet["data"], &about);
        support::assert_options(&options, opts, &about);
        read += 1;
    }
    assert!(read > 400, "only {read} broadcasts were found");
}

/// What servers and emitters of today write is read in one go, all else key by key.
#[test]
fn a_broadcast_reads_alike_in_whatever_order_its_keys_come() {
    let channels = classic::Channels::new("socket.io", "/");
    let packet = [&b"\x83"[..], b"\xa4type\x02", b"\xa4data\x92\xa3foo\x81\xa1a\x07", b"\xa3nsp\xa1/"];
    let options = [&b"\x83"[..], b"\xa5rooms\x92\xa1r\x05", b"\xa6except\x90", b"\xa5flags\x80"];
    let read = |packet: [usize; 3], data: &[usize; 3], of: [&[u8]; 4], with: [&[u8]; 4]| {
        let mut payload = b"\x93\xa6sender".to_vec();
        payload.extend([of[0], of[packet[0]], of[packet[1]], of[packet[2]]].concat());
        payload.extend([with[0], with[data[0]], with[data[1]], with[data[2]]].concat());
        classic::decode_broadcast(&channels, "reader", &payload).unwrap().map(|envelope| envelope.message)
    };
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for of in orders {
        for with in &orders {
            let Some(Message::Broadcast { args, options, request: None }) = read(of, with, packet, options) else {
                panic!("{of:?} {with:?}")
            };
            assert_eq!((args.event().as_deref(), &*args.to_json().0), (Some("foo"), r#"["foo",{"a":7}]"#));
            assert_eq!(options, Options { rooms: vec!["r".into(), "5".into()], ..Options::default() });
        }
        let elsewhere = [packet[0], packet[1], packet[2], b"\xa3nsp\xa2/x"];
        assert!(read(of, &orders[0], elsewhere, options).is_none(), "another namespace");
    }
    let flagged = [options[0], options[1], options[2], b"\xa5flags\x81\xa8volatile\xc3"];
    let Some(Message::Broadcast { options, .. }) = read(orders[0], &orders[0], packet, flagged) else {
        panic!("flags")
    };
    assert!(options.flags.volatile);
}

#[test]
fn every_request_and_answer_is_read_with_all_it_says() {
    let mut read = 0;
    for (file, vector) in messages(&[&ADAPTERS[..3], &EMITTERS[..]].concat()) {
        let about = format!("{file} {}", vector.name);
        let (channels, kind) = place(&vector);
        let decoded = match kind {
            Kind::Broadcast => continue,
            Kind::Request => classic::decode_request(&channels, OTHER, &vector.payload),
            Kind::Response => classic::decode_response(&channels, &vector.payload, |_| true),
        };
        let envelope = decoded.unwrap_or_else(|error| panic!("{about}: {error}")).expect(&about);
        assert_eq!(envelope.uid.as_deref(), vector.decoded["uid"].as_str(), "{about}");
        assert_message(&envelope, &vector.decoded, kind, &about);
        read += 1;
    }
    assert!(read > 200, "only {read} messages were found");
}

#[test]
fn what_a_server_can_say_is_written_as_8_3_writes_it() {
    let mut written = 0;
    for (_, vector) in messages(&["redis-adapter-8.3.0"]) {
        let (channels, kind) = place(&vector);
        let decoded = match kind {
            Kind::Broadcast => classic::decode_broadcast(&channels, OTHER, &vector.payload),
            Kind::Request => classic::decode_request(&channels, OTHER, &vector.payload),
            Kind::Response => classic::decode_response(&channels, &vector.payload, |_| true),
        };
        let Ok(Some(Envelope { uid, message, .. })) = decoded else { continue };
        if vector.says_what_rust_does_not()
            || (kind != Kind::Broadcast && vector.encoding == "json" && vector.name.contains("parser"))
        {
            continue;
        }
        let mut out = Vec::new();
        let channel = classic::encode(&channels, uid.as_deref().unwrap_or_default(), &message, &mut out);
        let about = format!("{} {message:?}", vector.name);
        if let Some(to) = vector.channel.strip_prefix(channels.response()).and_then(|to| to.strip_suffix('#')) {
            assert_eq!(channels.response_to(to), vector.channel, "{about}");
        } else {
            assert_eq!(channel, vector.channel, "{about}");
        }
        match &message {
            // The order of keys inside a handshake is not kept.
            Message::FetchSocketsResponse { .. } => {
                assert_eq!(serde_json::from_slice::<Json>(&out).unwrap(), vector.decoded, "{about}");
            }
            _ if kind == Kind::Request && uid.is_none() => continue, // only versions before 7.1
            _ => assert_eq!(support::show(&out), support::show(&vector.payload), "{about}"),
        }
        written += 1;
    }
    assert!(written > 130, "only {written} messages were written");
}

#[test]
fn what_an_emitter_says_is_written_as_5_1_writes_it() {
    let mut written = 0;
    for (_, vector) in messages(&["redis-emitter-5.1.0"]) {
        if vector.encoding == "json" && vector.name.contains("parser") || vector.says_what_rust_does_not() {
            continue;
        }
        let (channels, kind) = place(&vector);
        let envelope = match kind {
            Kind::Broadcast => classic::decode_broadcast(&channels, OTHER, &vector.payload),
            _ => classic::decode_request(&channels, OTHER, &vector.payload),
        };
        let prefix = channels.request().split("-request#").next().unwrap();
        let format = Format::new(&Family::Classic, prefix, channels.nsp());
        let mut out = Vec::new();
        let command = support::emitted(&format, &envelope.unwrap().unwrap().message, &mut out);
        assert_eq!((command.verb(), command.place()), ("PUBLISH", &*vector.channel), "{}", vector.name);
        assert_eq!(support::show(&out), support::show(&vector.payload), "{}", vector.name);
        written += 1;
    }
    assert!(written > 70, "only {written} messages were written");
}

#[test]
fn a_server_does_not_hear_itself() {
    for (file, vector) in messages(&["redis-adapter-8.3.0"]) {
        let (channels, kind) = place(&vector);
        let own = vector.decoded[0].as_str().or(vector.decoded["uid"].as_str());
        let (Some(own), true) = (own, vector.encoding == "msgpack" || kind == Kind::Request) else { continue };
        let decoded = match kind {
            Kind::Broadcast => classic::decode_broadcast(&channels, own, &vector.payload),
            _ => classic::decode_request(&channels, own, &vector.payload),
        };
        assert!(matches!(decoded, Ok(None)), "{file} {}: {decoded:?}", vector.name);
    }
}

#[test]
fn requests_of_5_x_are_recognised_and_never_applied() {
    let mut seen = 0;
    for (_, vector) in messages(&["socket.io-redis-5.4.0"]) {
        let (channels, kind) = place(&vector);
        let decoded = match kind {
            Kind::Broadcast => continue,
            Kind::Request => classic::decode_request(&channels, OTHER, &vector.payload),
            Kind::Response => classic::decode_response(&channels, &vector.payload, |_| true),
        };
        assert!(matches!(decoded, Ok(None)), "{}: {decoded:?}", vector.name);
        seen += 1;
    }
    assert!(seen > 15, "only {seen} were found");
}

#[test]
fn a_broadcast_for_a_namespace_of_a_similar_name_is_not_ours() {
    // `/` room `x` and namespace `/#x` share a channel.
    let (channels, other) = (classic::Channels::new("socket.io", "/"), classic::Channels::new("socket.io", "/#x"));
    assert_eq!(channels.broadcast(Some("x")), other.broadcast(None));
    let mut out = Vec::new();
    let args = socketio_protocol::socket::Args::new_event("ev", &1).unwrap();
    let message = Message::Broadcast { args, options: Default::default(), request: None };
    classic::encode(&other, OTHER, &message, &mut out);
    assert!(matches!(classic::decode_broadcast(&channels, "me", &out), Ok(None)));
    assert!(matches!(classic::decode_broadcast(&other, "me", &out), Ok(Some(_))));
}

#[test]
fn what_no_library_sends_is_refused_and_cuts_of_what_they_send_do_no_harm() {
    for vector in malformed("classic") {
        let (channels, kind) = place(&vector);
        let decoded = decode(&channels, kind, &vector.payload, false);
        assert!(!matches!(decoded, Ok(Some(_))), "{} on {}: {decoded:?}", vector.name, vector.channel);
    }
    for (_, vector) in messages(&ADAPTERS) {
        let (channels, kind) = place(&vector);
        for cut in (0..vector.payload.len()).rev().take(300) {
            let decoded = decode(&channels, kind, &vector.payload[..cut], true);
            assert!(!matches!(decoded, Ok(Some(_))), "{} cut to {cut} bytes: {decoded:?}", vector.name);
        }
        // Another byte somewhere may make another message, but never a panic.
        for at in 0..vector.payload.len().min(200) {
            for byte in [0x00, 0x80, 0xc1, 0xd4, 0xdf, 0xff] {
                let mut changed = vector.payload.clone();
                changed[at] = byte;
                let _ = decode(&channels, kind, &changed, true);
            }
        }
    }
}

#[test]
fn answers_nobody_waits_for_are_not_read() {
    for (_, vector) in messages(&["redis-adapter-8.3.0"]) {
        let (channels, Kind::Response) = place(&vector) else { continue };
        let decoded = classic::decode_response(&channels, &vector.payload, |id| {
            assert_eq!(Some(id), vector.decoded["requestId"].as_str(), "{}", vector.name);
            false
        });
        assert!(matches!(decoded, Ok(None)), "{}", vector.name);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Broadcast,
    Request,
    Response,
}

fn decode(
    channels: &classic::Channels,
    kind: Kind,
    payload: &[u8],
    wanted: bool,
) -> Result<Option<Envelope>, MessageError> {
    match kind {
        Kind::Broadcast => classic::decode_broadcast(channels, OTHER, payload),
        Kind::Request => classic::decode_request(channels, OTHER, payload),
        Kind::Response => classic::decode_response(channels, payload, |_| wanted),
    }
}

/// The namespace and the meaning of a vector's channel.
fn place(vector: &Vector) -> (classic::Channels, Kind) {
    let (prefix, rest) = vector.channel.split_once('#').expect("every channel has a #");
    let (prefix, kind) = match prefix.rsplit_once('-') {
        Some((prefix, "request")) => (prefix, Kind::Request),
        Some((prefix, "response")) => (prefix, Kind::Response),
        _ => (prefix, Kind::Broadcast),
    };
    let nsp = rest.split('#').next().expect("split gives one part at least");
    (classic::Channels::new(prefix, nsp), kind)
}

fn messages(files: &[&'static str]) -> impl Iterator<Item = (&'static str, Vector)> {
    let all: Vec<_> = files.iter().flat_map(|file| vectors(file).into_iter().map(|vector| (*file, vector))).collect();
    assert!(all.iter().all(|(_, vector)| vector.channel.contains('#')));
    all.into_iter()
}

fn assert_message(envelope: &Envelope, decoded: &Json, kind: Kind, about: &str) {
    let id = decoded["requestId"].as_str();
    let one = decoded.get("sid").and_then(Json::as_str);
    match (&envelope.message, kind, decoded["type"].as_u64()) {
        (Message::Sockets { rooms, request }, Kind::Request, Some(0)) => {
            support::assert_names(rooms, &decoded["rooms"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::AllRooms { request }, Kind::Request, Some(1)) => assert_eq!(Some(request.as_str()), id, "{about}"),
        (Message::Join { options, rooms }, Kind::Request, Some(2))
        | (Message::Leave { options, rooms }, Kind::Request, Some(3)) => {
            support::assert_options(options, &decoded["opts"], about);
            support::assert_names(rooms, &decoded["rooms"], about);
        }
        (Message::JoinOne { sid, room, request }, Kind::Request, Some(2))
        | (Message::LeaveOne { sid, room, request }, Kind::Request, Some(3)) => {
            assert_eq!((Some(sid.as_str()), decoded["room"].as_str()), (one, Some(room.as_str())), "{about}");
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::Disconnect { options, close }, Kind::Request, Some(4)) => {
            support::assert_options(options, &decoded["opts"], about);
            assert_eq!(Some(*close), decoded["close"].as_bool(), "{about}");
        }
        (Message::DisconnectOne { sid, close, request }, Kind::Request, Some(4)) => {
            assert_eq!((Some(sid.as_str()), decoded["close"].as_bool()), (one, Some(*close)), "{about}");
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::FetchSockets { options, request }, Kind::Request, Some(5)) => {
            support::assert_options(options, &decoded["opts"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::ServerSideEmit { args, request }, Kind::Request, Some(6)) => {
            support::assert_event(args, &decoded["data"], about);
            assert_eq!(request.as_deref(), id, "{about}");
        }
        (Message::Broadcast { args, options, request }, Kind::Request, Some(7)) => {
            support::assert_event(args, &decoded["packet"]["data"], about);
            support::assert_options(options, &decoded["opts"], about);
            assert_eq!(request.as_deref(), id, "{about}");
        }
        (Message::ServerSideEmitResponse { request, answer }, Kind::Response, Some(6)) => {
            support::assert_answer(answer, decoded.get("data"), about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::BroadcastClientCount { request, count }, Kind::Response, Some(8)) => {
            assert_eq!((Some(request.as_str()), Some(*count)), (id, decoded["clientCount"].as_u64()), "{about}");
        }
        (Message::BroadcastAck { request, answer }, Kind::Response, Some(9)) => {
            support::assert_answer(answer, decoded.get("packet"), about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::AllRoomsResponse { request, rooms }, Kind::Response, None) => {
            support::assert_names(rooms, &decoded["rooms"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::SocketsResponse { request, ids }, Kind::Response, None) => {
            support::assert_names(ids, &decoded["sockets"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::FetchSocketsResponse { request, sockets }, Kind::Response, None) => {
            support::assert_sockets(sockets, &decoded["sockets"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::OneDone { request }, Kind::Response, None) => {
            assert_eq!(Some(request.as_str()), id, "{about}");
            assert_eq!(decoded.as_object().unwrap().len(), 1, "{about}");
        }
        (message, _, _) => panic!("{about}: {decoded} was read as {message:?}"),
    }
}
