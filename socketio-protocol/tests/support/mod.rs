//! The captured messages, and what they mean in our types.
#![allow(dead_code, reason = "each test file uses its part")]

use serde_json::Value as Json;
use socketio_protocol::{
    cluster::{
        Message, Options, RemoteSocket,
        emitter::{Command, Format},
    },
    socket::{Args, Value},
};

/// One captured message.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) channel: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) encoding: String,
    pub(crate) decoded: Json,
    /// The field and value pairs of a stream entry.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) whole: Json,
}

/// The messages of one file.
pub(crate) fn vectors(file: &str) -> Vec<Vector> {
    read(file).into_iter().filter(|vector| vector.whole.get("payload_hex").is_some()).collect()
}

/// The stream entries of one file.
pub(crate) fn entries(file: &str) -> Vec<Vector> {
    read(file).into_iter().filter(|vector| vector.whole.get("fields").is_some()).collect()
}

/// What no library sends, for one family.
pub(crate) fn malformed(family: &str) -> Vec<Vector> {
    let rows: Vec<_> = read("malformed").into_iter().filter(|vector| vector.whole["adapter"] == family).collect();
    assert!(!rows.is_empty());
    rows
}

fn read(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Json = serde_json::from_str(&text).unwrap();
    let text = |vector: &Json, key: &str| vector[key].as_str().unwrap_or_default().to_owned();
    let pairs = |vector: &Json| -> Vec<(String, String)> {
        serde_json::from_value(vector.get("fields").cloned().unwrap_or(Json::Array(vec![]))).unwrap()
    };
    file["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vector| Vector {
            name: text(vector, "name"),
            channel: text(vector, "channel"),
            payload: unhex(&text(vector, "payload_hex")),
            encoding: text(vector, "encoding"),
            decoded: vector["decoded"].clone(),
            fields: pairs(vector),
            whole: vector.clone(),
        })
        .collect()
}

impl Vector {
    /// Whether the message holds what no Rust value is written as: dates, `NaN`, rooms that are numbers, numbers above 2^64,
    /// which the library damages.
    pub(crate) fn says_what_rust_does_not(&self) -> bool {
        if matches!(self.name.as_str(), "emit/ints-above-u64" | "emit/floats") {
            return true;
        }
        let text = self.decoded.to_string();
        let opts = self.decoded.get(2).or_else(|| self.decoded.get("opts"));
        let numbers =
            opts.is_some_and(|opts| opts["rooms"].to_string().contains([',', '[']) && has_number(&opts["rooms"]));
        let rooms = self.decoded.get("rooms").is_some_and(has_number);
        let sockets = self.decoded.get("sockets").and_then(Json::as_array);
        let socket_rooms = sockets.into_iter().flatten().any(|socket| has_number(&socket["rooms"]));
        text.contains("$ext")
            || text.contains(r#""NaN""#)
            || text.contains("Infinity")
            || numbers
            || rooms
            || socket_rooms
    }
}

fn has_number(names: &Json) -> bool {
    names.as_array().is_some_and(|names| names.iter().any(Json::is_number))
}

/// What `decoded` shows of a value, as the value a handler receives.
///
/// `None` where the library's `undefined` leaves a key out.
pub(crate) fn meaning(shown: &Json) -> Option<Value> {
    Some(match shown {
        Json::Object(map) => {
            if let Some(hex) = map.get("$bin") {
                Value::Binary(unhex(hex.as_str().unwrap()).into())
            } else if let Some(number) = map.get("$int") {
                let text = number.as_str().unwrap();
                let number: Json = serde_json::from_str(text).unwrap();
                Value::from(number)
            } else if let Some(number) = map.get("$f64") {
                if number.is_number() { number.clone().into() } else { Value::Null }
            } else if let Some(date) = map.get("$date") {
                Value::from(date.as_str().unwrap_or("1970-01-01T00:00:00.000Z"))
            } else if map.contains_key("$arraybuffer") {
                Value::Binary(unhex(map["$ext"][1].as_str().unwrap()).into())
            } else if map.contains_key("$undefined") {
                return None;
            } else if is_buffer(map) {
                let bytes: Vec<u8> = serde_json::from_value(map["data"].clone()).unwrap();
                Value::Binary(bytes.into())
            } else {
                let members = map.iter().filter_map(|(key, value)| Some((key.clone(), meaning(value)?)));
                Value::Object(members.collect())
            }
        }
        Json::Array(values) => Value::Array(values.iter().map(|value| meaning(value).unwrap_or(Value::Null)).collect()),
        plain => plain.clone().into(),
    })
}

fn is_buffer(map: &serde_json::Map<String, Json>) -> bool {
    map.len() == 2 && map.get("type") == Some(&Json::from("Buffer")) && map.contains_key("data")
}

/// Compared without the order of keys, which JSON does not keep, and numbers by value.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members)
        }
        Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 9e15) => {
            Value::from(number.as_f64().unwrap() as i64)
        }
        other => other,
    }
}

pub(crate) fn assert_event(args: &Args, data: &Json, about: &str) {
    let [name, values @ ..] = data.as_array().unwrap().as_slice() else { panic!("{about}: no name") };
    let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
    assert_eq!(args.event().as_deref(), Some(name.as_str()), "{about}");
    assert_values(args, values, about);
}

/// No value when the library wrote none or `undefined`.
pub(crate) fn assert_answer(answer: &Args, value: Option<&Json>, about: &str) {
    let value = value.filter(|value| value.get("$undefined").is_none());
    assert_values(answer, value.map_or(&[][..], std::slice::from_ref), about);
}

fn assert_values(args: &Args, values: &[Json], about: &str) {
    let expected: Vec<Value> = values.iter().map(|value| sorted(meaning(value).unwrap_or(Value::Null))).collect();
    let found = args.to_values().unwrap_or_else(|error| panic!("{about}: {error}"));
    assert_eq!(found.into_iter().map(sorted).collect::<Vec<_>>(), expected, "{about}");
}

pub(crate) fn assert_options(options: &Options, shown: &Json, about: &str) {
    assert_names(&options.rooms, &shown["rooms"], about);
    assert_names(&options.except, shown.get("except").unwrap_or(&Json::Array(vec![])), about);
    let flags = &shown["flags"];
    let found =
        (options.flags.volatile, options.flags.compress, options.flags.timeout, options.flags.expect_single_response);
    let expected = (
        flags["volatile"].as_bool().unwrap_or(false),
        flags["compress"].as_bool(),
        flags["timeout"].as_u64(),
        flags["expectSingleResponse"].as_bool().unwrap_or(false),
    );
    assert_eq!(found, expected, "{about}");
}

pub(crate) fn assert_names(names: &[String], shown: &Json, about: &str) {
    let text = |name: &Json| name.as_str().map_or_else(|| name.to_string(), str::to_owned);
    let expected: Vec<_> = shown.as_array().unwrap_or_else(|| panic!("{about}: {shown}")).iter().map(text).collect();
    assert_eq!(names, expected, "{about}");
}

pub(crate) fn assert_sockets(sockets: &[RemoteSocket], shown: &Json, about: &str) {
    let shown = shown.as_array().unwrap();
    assert_eq!(sockets.len(), shown.len(), "{about}");
    for (socket, shown) in sockets.iter().zip(shown) {
        assert_eq!(Some(socket.id.as_str()), shown["id"].as_str(), "{about}");
        assert_eq!(socket.handshake, shown["handshake"], "{about}");
        assert_names(&socket.rooms, &shown["rooms"], about);
        let data = shown.get("data").and_then(meaning).unwrap_or(Value::Null);
        assert_eq!(sorted(socket.data.clone()), sorted(data), "{about}");
    }
}

/// Bytes in a form that tells a difference: text where it is text.
pub(crate) fn show(bytes: &[u8]) -> String {
    if bytes.first() == Some(&b'{') {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    bytes
        .iter()
        .map(|byte| if byte.is_ascii_graphic() { (*byte as char).to_string() } else { format!("\\{byte:02x}") })
        .collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// What an emitter writes to say the same.
pub(crate) fn emitted<'a>(format: &'a Format, message: &Message, out: &mut Vec<u8>) -> Command<'a> {
    match message {
        Message::Broadcast { args, options, .. } => format.broadcast(args, options, out),
        Message::Join { options, rooms } => format.join(options, rooms, out),
        Message::Leave { options, rooms } => format.leave(options, rooms, out),
        Message::Disconnect { options, close } => format.disconnect(options, *close, out),
        Message::ServerSideEmit { args, .. } => format.server_side_emit(args, out),
        other => panic!("no emitter says {other:?}"),
    }
}
