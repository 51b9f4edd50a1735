//! The messages of the sharded and the streams adapters, read and written again.

mod support;

use serde_json::Value as Json;
use socketio_protocol::cluster::{
    Envelope, Message,
    emitter::{self, Family, Format, StreamNames},
    sharded::{self, Channels, SubscriptionMode},
    streams::{self, Carried, Entry},
};
use support::{Vector, entries, malformed, vectors};

/// Somebody who has not sent any of the vectors.
const OTHER: &str = "ffffffffffffffff";

fn nsp_of(vector: &Vector) -> String {
    let field = vector.fields.iter().find(|(name, _)| name == "nsp").map(|(_, nsp)| nsp.as_str());
    field.or(vector.decoded["nsp"].as_str()).unwrap_or("/").to_owned()
}

fn channels(vector: &Vector) -> Channels {
    let prefix = vector.channel.split('#').next().unwrap();
    Channels::new(if prefix.is_empty() { "socket.io" } else { prefix }, &nsp_of(vector))
}

fn fields(vector: &Vector) -> impl Iterator<Item = (&[u8], &[u8])> {
    vector.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn mode_of(vector: &Vector) -> SubscriptionMode {
    if vector.name.contains("/static/") {
        SubscriptionMode::Static
    } else if vector.name.contains("dynamic-private") {
        SubscriptionMode::DynamicPrivate
    } else {
        SubscriptionMode::Dynamic
    }
}

#[test]
fn sharded_messages_are_read_with_all_they_say() {
    let mut read = 0;
    for vector in vectors("sharded-8.3.0") {
        let about = format!("sharded {}", vector.name);
        let envelope = sharded::decode(&channels(&vector), OTHER, &vector.payload)
            .unwrap_or_else(|error| panic!("{about}: {error}"))
            .expect(&about);
        assert_eq!(envelope.uid.as_deref(), vector.decoded["uid"].as_str(), "{about}");
        let kind = vector.decoded["type"].as_u64().unwrap();
        assert_data(&envelope.message, kind, vector.decoded.get("data").unwrap(), &about);
        let own = vector.decoded["uid"].as_str().unwrap();
        assert!(matches!(sharded::decode(&channels(&vector), own, &vector.payload), Ok(None)), "{about}");
        read += 1;
    }
    assert!(read > 150, "only {read}");
}

#[test]
fn sharded_messages_are_written_as_8_3_writes_them() {
    let mut written = 0;
    for vector in vectors("sharded-8.3.0") {
        if says_what_rust_does_not(&vector) {
            continue;
        }
        let channels = channels(&vector);
        let Envelope { uid, message, .. } = sharded::decode(&channels, OTHER, &vector.payload).unwrap().unwrap();
        let mut out = Vec::new();
        let channel = sharded::encode(&channels, mode_of(&vector), &uid.unwrap(), &message, &mut out).unwrap();
        match &message {
            // The order of keys inside a handshake is not kept.
            Message::FetchSocketsResponse { .. } if vector.encoding == "json" => {
                assert_eq!(serde_json::from_slice::<Json>(&out).unwrap(), vector.decoded, "{}", vector.name);
            }
            Message::FetchSocketsResponse { .. } => {
                let again = sharded::decode(&channels, OTHER, &out).unwrap().unwrap();
                assert_eq!(format!("{:?}", again.message), format!("{message:?}"));
                assert_eq!(out.len(), vector.payload.len());
            }
            _ => assert_eq!(support::show(&out), support::show(&vector.payload), "{}", vector.name),
        }
        if vector.decoded["type"].as_u64().is_some_and(|kind| matches!(kind, 8 | 10 | 11 | 12)) {
            let asker = vector.channel.split('#').nth(2).unwrap();
            assert_eq!(sharded::answers_to(&channels, asker), vector.channel, "{}", vector.name);
        } else {
            assert_eq!(channel, vector.channel, "{}", vector.name);
        }
        written += 1;
    }
    assert!(written > 130, "only {written}");
}

#[test]
fn stream_entries_of_all_versions_and_the_emitter_are_read_with_all_they_say() {
    let mut read = 0;
    for file in ["streams-adapter-0.3.1", "streams-adapter-0.2.3", "streams-emitter-0.1.1"] {
        for vector in entries(file) {
            let about = format!("{file} {}", vector.name);
            let envelope = streams::decode_entry(fields(&vector), |nsp| (nsp == nsp_of(&vector)).then_some(OTHER))
                .unwrap_or_else(|error| panic!("{about}: {error}"));
            let value = |field: &str| vector.fields.iter().find(|(name, _)| name == field).map(|(_, v)| v.as_str());
            let kind: u64 = value("type").unwrap().parse().unwrap();
            let Some(envelope) = envelope else {
                assert!(matches!(kind, 1 | 2 | 13), "{about}");
                continue;
            };
            assert_eq!(envelope.uid.as_deref(), value("uid"), "{about}");
            assert_data(&envelope.message, kind, &vector.decoded, &about);
            assert!(matches!(streams::decode_entry(fields(&vector), |_| None), Ok(None)), "{about}");
            assert!(matches!(streams::decode_entry(fields(&vector), |_| value("uid")), Ok(None)), "{about}");
            read += 1;
        }
    }
    assert!(read > 300, "only {read}");
}

#[test]
fn messages_beside_the_stream_are_read_with_all_they_say() {
    let mut read = 0;
    for vector in vectors("streams-adapter-0.3.1") {
        let about = format!("streams {}", vector.name);
        let envelope = streams::decode_message(&channels(&vector), OTHER, &vector.payload)
            .unwrap_or_else(|error| panic!("{about}: {error}"))
            .expect(&about);
        assert_data(&envelope.message, vector.decoded["type"].as_u64().unwrap(), &vector.decoded["data"], &about);
        read += 1;
    }
    assert!(read > 50, "only {read}");
}

#[test]
fn streams_are_written_as_0_3_writes_them() {
    let mut written = 0;
    for vector in entries("streams-adapter-0.3.1").into_iter().chain(vectors("streams-adapter-0.3.1")) {
        let damaged = vector.name.contains("onlyPlaintext") || vector.name.contains("arraybuffer");
        if says_what_rust_does_not(&vector) || damaged {
            continue;
        }
        let channels = channels(&vector);
        let decoded = if vector.fields.is_empty() {
            streams::decode_message(&channels, OTHER, &vector.payload)
        } else {
            streams::decode_entry(fields(&vector), |_| Some(OTHER))
        };
        let Envelope { uid, message, .. } = decoded.unwrap().unwrap();
        let uid = uid.unwrap();
        let asker = vector.channel.split('#').nth(2).filter(|asker| !asker.is_empty());
        match streams::encode(&channels, &uid, asker, &message).unwrap() {
            Carried::Entry(Entry { uid, nsp, kind, data }) => {
                let written = [("uid", &*uid), ("nsp", &*nsp), ("type", &*kind), ("data", &data.unwrap())]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()));
                assert_eq!(written.as_slice(), vector.fields, "{}", vector.name);
            }
            Carried::Message { channel, payload } => {
                assert_eq!(channel, vector.channel, "{}", vector.name);
                let nil = vector.decoded["data"]["packet"].is_null() && vector.name.starts_with("ack/");
                if !matches!(message, Message::FetchSocketsResponse { .. }) && !nil {
                    assert_eq!(support::show(&payload), support::show(&vector.payload), "{}", vector.name);
                }
            }
        }
        written += 1;
    }
    assert!(written > 120, "only {written}");
}

#[test]
fn what_an_emitter_says_to_streams_is_written_as_0_1_writes_it() {
    let mut written = 0;
    for vector in entries("streams-emitter-0.1.1") {
        // A missing slash is added.
        let as_it_is = vector.name != "nsp/without-slash";
        if says_what_rust_does_not(&vector) || vector.name.contains("arraybuffer") || !as_it_is {
            continue;
        }
        let trim: Vec<&str> = vector.whole["trim"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        let (name, max_len) = (vector.whole["stream"].as_str().unwrap(), trim[2].parse().unwrap());
        let names = StreamNames { name: name.to_owned(), max_len, ..StreamNames::default() };
        let format = Format::new(&Family::Streams(names), "socket.io", &nsp_of(&vector));
        let message = streams::decode_entry(fields(&vector), |_| Some(OTHER)).unwrap().unwrap().message;
        let mut data = Vec::new();
        let command = support::emitted(&format, &message, &mut data);
        assert_eq!((command.verb(), command.place()), ("XADD", name), "{}", vector.name);
        let data = String::from_utf8(data).unwrap();
        let mut words = command.between();
        words.push(&data);
        let expected = vector.fields.iter().flat_map(|(field, value)| [&**field, &**value]);
        let expected: Vec<&str> = trim.into_iter().chain(["*"]).chain(expected).collect();
        assert_eq!(words, expected, "{}", vector.name);
        written += 1;
    }
    assert!(written > 70, "only {written}");
}

#[test]
fn what_an_emitter_says_to_sharded_servers_differs_from_what_they_say_by_the_id() {
    let mut written = 0;
    for vector in vectors("sharded-8.3.0") {
        let channels = channels(&vector);
        let Envelope { uid, message, .. } = sharded::decode(&channels, OTHER, &vector.payload).unwrap().unwrap();
        let says = match &message {
            Message::Broadcast { request, .. } | Message::ServerSideEmit { request, .. } => request.is_none(),
            Message::Join { .. } | Message::Leave { .. } | Message::Disconnect { .. } => true,
            _ => false,
        };
        if !says || says_what_rust_does_not(&vector) {
            continue;
        }
        let prefix = vector.channel.split('#').next().unwrap();
        let format = Format::new(&Family::Sharded(mode_of(&vector)), prefix, channels.nsp());
        let mut out = Vec::new();
        let command = support::emitted(&format, &message, &mut out);
        assert_eq!((command.verb(), command.place()), ("SPUBLISH", &*vector.channel), "{}", vector.name);
        let (theirs, ours) = match vector.encoding.as_str() {
            "json" => (format!(r#""uid":"{}""#, uid.unwrap()), format!(r#""uid":"{}""#, emitter::UID)),
            // A text of 16 characters, and one of 7.
            _ => (format!("\\a3uid\\b0{}", uid.unwrap()), format!("\\a3uid\\a7{}", emitter::UID)),
        };
        let payload = support::show(&vector.payload);
        assert!(payload.contains(&theirs), "{}: {payload}", vector.name);
        assert_eq!(support::show(&out), payload.replace(&theirs, &ours), "{}", vector.name);
        written += 1;
    }
    assert!(written > 60, "only {written}");
}

#[test]
fn what_an_asker_says_is_what_a_server_says() {
    let mut asked = 0;
    for (file, family) in [
        ("sharded-8.3.0", Family::Sharded(SubscriptionMode::Dynamic)),
        ("streams-adapter-0.3.1", Family::Streams(StreamNames::default())),
    ] {
        for vector in vectors(file).into_iter().filter(|vector| !vector.name.starts_with("option/")) {
            let channels = channels(&vector);
            let Envelope { uid, message, .. } = sharded::decode(&channels, OTHER, &vector.payload).unwrap().unwrap();
            let (uid, prefix) = (uid.unwrap(), vector.channel.split('#').next().unwrap());
            let format = Format::new(&family, prefix, channels.nsp());
            let question = match &message {
                Message::FetchSockets { .. } => true,
                Message::Broadcast { request, .. } | Message::ServerSideEmit { request, .. } => request.is_some(),
                _ => false,
            };
            if !question || says_what_rust_does_not(&vector) {
                // An answer comes where its asker listens.
                let asker = vector.channel.split('#').nth(2).filter(|asker| asker.len() == format.uid_length());
                if let Some(asker) = asker.filter(|_| vector.name.contains('#')) {
                    assert_eq!(format.answers_to(asker), [vector.channel.as_str()], "{}", vector.name);
                }
                continue;
            }
            let mut out = Vec::new();
            let command = format.ask(&uid, &message, &mut out).unwrap();
            assert_eq!(command.verb(), vector.whole["command"], "{}", vector.name);
            assert_eq!((command.place(), format.servers()), (&*vector.channel, &*vector.channel), "{}", vector.name);
            assert_eq!(support::show(&out), support::show(&vector.payload), "{}", vector.name);
            asked += 1;
        }
    }
    assert!(asked > 30, "only {asked}");
}

#[test]
fn a_namespace_has_the_stream_that_node_servers_read() {
    for vector in entries("streams-adapter-0.3.1").iter().filter(|vector| vector.name.contains("option/streamCount")) {
        let nsp = nsp_of(vector);
        let stream = vector.whole["stream"].as_str().unwrap();
        let ours = streams::stream_of("socket.io", 3, &nsp);
        assert_eq!(ours, stream.replace("--", "-"), "{nsp}");
        assert!(streams::all_streams("socket.io", 3).contains(&stream.to_owned()), "{stream}");
    }
    assert_eq!(streams::stream_of("s", 1, "/chat"), "s");
    assert_eq!(streams::all_streams("s", 1), ["s"]);
}

#[test]
fn what_no_library_sends_is_refused() {
    for vector in malformed("sharded").into_iter().chain(malformed("streams")) {
        let decoded = if vector.fields.is_empty() {
            streams::decode_message(&channels(&vector), OTHER, &vector.payload)
        } else {
            streams::decode_entry(fields(&vector), |_| Some(OTHER))
        };
        assert!(!matches!(decoded, Ok(Some(_))), "{} {}: {decoded:?}", vector.channel, vector.name);
    }
    for vector in vectors("sharded-8.3.0").into_iter().chain(vectors("streams-adapter-0.3.1")) {
        for cut in (0..vector.payload.len()).rev().take(200) {
            let decoded = sharded::decode(&channels(&vector), OTHER, &vector.payload[..cut]);
            assert!(!matches!(decoded, Ok(Some(_))), "{} cut to {cut}", vector.name);
        }
    }
}

fn says_what_rust_does_not(vector: &Vector) -> bool {
    let content = vector.decoded.get("data").unwrap_or(&vector.decoded);
    let has_number = |names: &Json| names.as_array().is_some_and(|names| names.iter().any(Json::is_number));
    let text = vector.decoded.to_string();
    let rooms = has_number(&content["opts"]["rooms"]) || has_number(&content["rooms"]);
    let sockets = content["sockets"].as_array().into_iter().flatten().any(|socket| has_number(&socket["rooms"]));
    // What the library makes of numbers above 2^64, and what JSON text of ours is not: 1e21 for 1e+21.
    let numbers = text.contains("e+") || text.contains("$int") || vector.name.contains("ints-above");
    text.contains("$ext") || text.contains(r#""NaN""#) || text.contains("Infinity") || rooms || sockets || numbers
}

fn assert_data(message: &Message, kind: u64, data: &Json, about: &str) {
    let id = data["requestId"].as_str();
    match (message, kind) {
        (Message::Broadcast { args, options, request }, 3) => {
            support::assert_event(args, &data["packet"]["data"], about);
            support::assert_options(options, &data["opts"], about);
            assert_eq!(request.as_deref(), id, "{about}");
        }
        (Message::Join { options, rooms }, 4) | (Message::Leave { options, rooms }, 5) => {
            support::assert_options(options, &data["opts"], about);
            support::assert_names(rooms, &data["rooms"], about);
        }
        (Message::Disconnect { options, close }, 6) => {
            support::assert_options(options, &data["opts"], about);
            assert_eq!(Some(*close), data["close"].as_bool(), "{about}");
        }
        (Message::FetchSockets { options, request }, 7) => {
            support::assert_options(options, &data["opts"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::FetchSocketsResponse { request, sockets }, 8) => {
            support::assert_sockets(sockets, &data["sockets"], about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::ServerSideEmit { args, request }, 9) => {
            support::assert_event(args, &data["packet"], about);
            assert_eq!(request.as_deref(), id, "{about}");
        }
        (Message::ServerSideEmitResponse { request, answer }, 10) | (Message::BroadcastAck { request, answer }, 12) => {
            support::assert_answer(answer, data.get("packet"), about);
            assert_eq!(Some(request.as_str()), id, "{about}");
        }
        (Message::BroadcastClientCount { request, count }, 11) => {
            assert_eq!((Some(request.as_str()), Some(*count)), (id, data["clientCount"].as_u64()), "{about}");
        }
        (message, _) => panic!("{about}: {kind} {data} was read as {message:?}"),
    }
}
