//! The parts that messages of all families are made of, in MessagePack and in JSON: room names, options,
//! arguments, remote sockets.
//!
//! JSON has no binary. The Node.js libraries leave a Buffer to `JSON.stringify`, which makes
//! `{"type":"Buffer","data":[1,2]}` of it; we write the same and read it back as binary, which they do not.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{Flags, MessageError, Options, RemoteSocket, reader::Reader};
use crate::socket::{Args, Value};

/// In which order the keys of options are written. Readers look keys up; it is for equal bytes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// `rooms, except, flags`: servers.
    Server,
    /// `rooms, flags, except`: emitters.
    Emitter,
}

// ---- MessagePack ----

pub(super) use crate::socket::write_str as write_text;

pub(super) fn write_map(out: &mut Vec<u8>, len: u32) {
    rmp::encode::write_map_len(out, len).expect("a Vec takes every byte");
}

pub(super) fn write_uint(out: &mut Vec<u8>, number: u64) {
    rmp::encode::write_uint(out, number).expect("a Vec takes every byte");
}

pub(super) fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub(super) fn write_names(out: &mut Vec<u8>, names: &[String]) {
    match names.len() {
        len @ ..=15 => out.push(0x90 | len as u8),
        len => drop(rmp::encode::write_array_len(out, len as u32).expect("a Vec takes every byte")),
    }
    for name in names {
        write_text(out, name);
    }
}

/// `{rooms, except, flags}`
pub(super) fn write_options(out: &mut Vec<u8>, options: &Options, order: Order) {
    out.extend_from_slice(b"\x83\xa5rooms");
    write_names(out, &options.rooms);
    if order == Order::Emitter && options.except.is_empty() && options.flags == Flags::default() {
        // What nearly every message of an emitter ends with.
        return out.extend_from_slice(b"\xa5flags\x80\xa6except\x90");
    }
    if order == Order::Server {
        write_text(out, "except");
        write_names(out, &options.except);
    }
    write_text(out, "flags");
    write_flags(out, options.flags);
    if order == Order::Emitter {
        write_text(out, "except");
        write_names(out, &options.except);
    }
}

fn write_flags(out: &mut Vec<u8>, flags: Flags) {
    let Flags { volatile, compress, timeout, expect_single_response } = flags;
    let set = [volatile, compress.is_some(), expect_single_response, timeout.is_some()];
    write_map(out, set.into_iter().filter(|set| *set).count() as u32);
    if volatile {
        write_text(out, "volatile");
        write_bool(out, true);
    }
    if let Some(compress) = compress {
        write_text(out, "compress");
        write_bool(out, compress);
    }
    if expect_single_response {
        write_text(out, "expectSingleResponse");
        write_bool(out, true);
    }
    if let Some(timeout) = timeout {
        write_text(out, "timeout");
        write_uint(out, timeout);
    }
}

/// Options as any version writes them: `rooms` has to be there, the others need not.
pub(super) fn read_options(reader: &mut Reader<'_>) -> Result<Options, MessageError> {
    if let Some(rooms) = read_usual_options(reader) {
        return Ok(Options { rooms, ..Options::default() });
    }
    let mut rooms = None;
    let mut options = Options::default();
    for _ in 0..reader.map()? {
        match reader.text()? {
            "rooms" => rooms = Some(read_names(reader)?),
            "except" if !reader.is_nil() => options.except = read_names(reader)?,
            "flags" if !reader.is_nil() => options.flags = read_flags(reader)?,
            _ => reader.skip()?,
        }
    }
    options.rooms = rooms.ok_or(MessageError::Missing { part: "opts.rooms" })?;
    Ok(options)
}

/// The rooms of options that say nothing else, as servers and emitters of today write them; `None` if these are not of
/// that kind.
fn read_usual_options(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut ahead = *reader;
    if !ahead.passes(b"\x83\xa5rooms") {
        return None;
    }
    let rooms = if ahead.passes(b"\x90") { Vec::new() } else { read_names(&mut ahead).ok()? };
    if !ahead.passes(b"\xa6except\x90\xa5flags\x80") && !ahead.passes(b"\xa5flags\x80\xa6except\x90") {
        return None;
    }
    *reader = ahead;
    Some(rooms)
}

fn read_flags(reader: &mut Reader<'_>) -> Result<Flags, MessageError> {
    let mut flags = Flags::default();
    for _ in 0..reader.map()? {
        match reader.text()? {
            "volatile" => flags.volatile = reader.boolean()?.unwrap_or(false),
            "compress" => flags.compress = reader.boolean()?,
            "expectSingleResponse" => flags.expect_single_response = reader.boolean()?.unwrap_or(false),
            "timeout" => flags.timeout = reader.unsigned()?,
            _ => reader.skip()?,
        }
    }
    Ok(flags)
}

pub(super) fn read_names(reader: &mut Reader<'_>) -> Result<Vec<String>, MessageError> {
    let len = reader.array()?;
    let mut names = Vec::with_capacity(len);
    for _ in 0..len {
        names.extend(reader.name()?);
    }
    Ok(some_of(names, len))
}

/// What names no room is left out, but not so that nobody becomes everybody: a list of nothing else names a room that
/// nobody is in. (Node.js servers send `[null]` when an application passes on an id that it does not have; they answer
/// each other such questions, so they are not refused.)
fn some_of(mut names: Vec<String>, given: usize) -> Vec<String> {
    if names.is_empty() && given > 0 {
        names.push(NOBODY.to_owned());
    }
    names
}

/// The name of no room that an application would use.
const NOBODY: &str = "\0nobody";

/// `[event, ...args]`
pub(super) fn read_event(reader: &mut Reader<'_>) -> Result<Args, MessageError> {
    Ok(Args::from_msgpack(reader.raw_array()?)?.into_event()?)
}

/// As [`read_event`], but what is read has to be right: `None` else, and the reader is where it was.
pub(super) fn try_event(reader: &mut Reader<'_>) -> Option<Args> {
    let mut ahead = *reader;
    { ahead }.array().ok()?;
    let (args, len) = Args::read_msgpack(ahead.rest()).ok()?;
    ahead.pass(len);
    let args = args.into_event().ok()?;
    *reader = ahead;
    Some(args)
}

/// Bytes of one value, as a list of that value.
pub(super) fn list_of_one(value: &[u8]) -> Result<Args, MessageError> {
    let mut list = Vec::with_capacity(value.len() + 1);
    list.push(0x91);
    list.extend_from_slice(value);
    Ok(Args::from_msgpack(&list)?)
}

/// Bytes of a list, as it is.
pub(super) fn list(value: &[u8]) -> Result<Args, MessageError> {
    Ok(Args::from_msgpack(value)?)
}

/// The list of an answer without a value.
pub(super) fn no_answer() -> Args {
    Args::from_json("[]", Vec::new()).unwrap_or_default()
}

/// Whether the bytes are `undefined` as notepack 2 writes it.
pub(super) fn is_undefined(value: &[u8]) -> bool {
    value == [0xd4, 0x00, 0x00]
}

// ---- JSON ----

/// `{rooms, except}`: requests carry no flags.
#[derive(Serialize)]
pub(super) struct JsonTarget<'a> {
    rooms: &'a [String],
    except: &'a [String],
}

impl<'a> From<&'a Options> for JsonTarget<'a> {
    fn from(options: &'a Options) -> Self {
        JsonTarget { rooms: &options.rooms, except: &options.except }
    }
}

/// Options in JSON as any version writes them.
#[derive(Deserialize)]
pub(super) struct JsonOptions {
    rooms: Option<Names>,
    except: Option<Names>,
    flags: Option<JsonFlags>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonFlags {
    volatile: Option<bool>,
    compress: Option<bool>,
    timeout: Option<u64>,
    expect_single_response: Option<bool>,
}

impl JsonOptions {
    pub(super) fn options(self) -> Result<Options, MessageError> {
        let rooms = self.rooms.ok_or(MessageError::Missing { part: "opts.rooms" })?.names();
        let except = self.except.map_or(Vec::new(), Names::names);
        let flags = self.flags.map_or(Flags::default(), |flags| Flags {
            volatile: flags.volatile.unwrap_or(false),
            compress: flags.compress,
            timeout: flags.timeout,
            expect_single_response: flags.expect_single_response.unwrap_or(false),
        });
        Ok(Options { rooms, except, flags })
    }
}

/// A field that may be left out but, if it is there, counts as there even when it is `null`.
pub(super) fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A list of room names, numbers as their text.
pub(super) struct Names {
    names: Vec<String>,
    given: usize,
}

impl Names {
    pub(super) fn names(self) -> Vec<String> {
        some_of(self.names, self.given)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of rooms")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
                let mut list = Names { names: Vec::new(), given: 0 };
                while let Some(Name(name)) = seq.next_element()? {
                    list.given += 1;
                    list.names.extend(name);
                }
                Ok(list)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// The name of a room, a number as its text; `None` for what names no room.
pub(super) struct Name(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;

        impl<'de> Visitor<'de> for One {
            type Value = Name;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a room")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(Some(name.to_owned())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Name, E> {
                Ok(Name(Some(number.to_string())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Name, E> {
                Ok(Name(Some(number.to_string())))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Name, E> {
                Ok(Name(Some(number.to_string())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Name, E> {
                Ok(Name(None))
            }

            fn visit_bool<E: de::Error>(self, _value: bool) -> Result<Name, E> {
                Ok(Name(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Name, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Name(None))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Name, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Name(None))
            }
        }

        deserializer.deserialize_any(One)
    }
}

/// The arguments as JSON text, binary as Buffer objects: the whole list, an event's name included.
pub(super) fn json_list(args: &Args) -> Cow<'static, str> {
    let (text, attachments) = args.to_json();
    if attachments.is_empty() {
        return String::from(text).into();
    }
    let values = args.to_values().unwrap_or_default();
    let mut list: Vec<JsonValue<'_>> = values.iter().map(JsonValue).collect();
    let name = args.event().map(|name| Value::String(name.into_owned()));
    if let Some(name) = &name {
        list.insert(0, JsonValue(name));
    }
    serde_json::to_string(&list).unwrap_or_else(|_| "[]".into()).into()
}

/// The first of the arguments as JSON text.
pub(super) fn json_first(args: &Args) -> Option<String> {
    let first = args.to_values().ok()?.into_iter().next()?;
    serde_json::to_string(&JsonValue(&first)).ok()
}

/// `[event, ...args]` in JSON.
pub(super) fn event_from_json(list: &RawValue) -> Result<Args, MessageError> {
    let list = list_from_json(list.get())?;
    Ok(list.into_event()?)
}

/// One JSON value, as a list of that value.
pub(super) fn list_of_one_from_json(value: &RawValue) -> Result<Args, MessageError> {
    list_from_json(&format!("[{}]", value.get()))
}

/// A JSON list, as it is.
pub(super) fn list_from_json(text: &str) -> Result<Args, MessageError> {
    if !text.starts_with('[') {
        return Err(MessageError::Wrong { part: "data", reason: "not a list".into() });
    }
    if !text.contains(r#""Buffer""#) {
        return Ok(Args::from_json(text.to_owned(), Vec::new())?);
    }
    let mut values: Vec<Value> = serde_json::from_str(text)?;
    values.iter_mut().for_each(revive);
    Args::from_values(&values).map_err(|error| MessageError::Wrong { part: "arguments", reason: error.to_string() })
}

/// A value for JSON: binary as a Buffer object.
struct JsonValue<'a>(&'a Value);

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Binary(bytes) => {
                let mut buffer = serializer.serialize_map(Some(2))?;
                buffer.serialize_entry("type", "Buffer")?;
                buffer.serialize_entry("data", &bytes[..])?;
                buffer.end()
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(JsonValue)),
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, JsonValue(value))))
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// Buffer objects become binary again.
fn revive(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(revive),
        Value::Object(members) => match buffer(members) {
            Some(bytes) => *value = Value::Binary(bytes),
            None => members.iter_mut().for_each(|(_, value)| revive(value)),
        },
        _ => {}
    }
}

/// The bytes of `{"type":"Buffer","data":[…]}`, if the members are just that.
fn buffer(members: &[(String, Value)]) -> Option<Bytes> {
    match members {
        [(kind, Value::String(name)), (data, Value::Array(bytes))]
            if kind == "type" && name == "Buffer" && data == "data" =>
        {
            bytes
                .iter()
                .map(|byte| match byte {
                    Value::Number(number) => number.as_u64().and_then(|byte| u8::try_from(byte).ok()),
                    _ => None,
                })
                .collect()
        }
        _ => None,
    }
}

/// A socket as `fetchSockets` answers write it.
#[derive(Serialize)]
pub(super) struct JsonSocket<'a> {
    id: &'a str,
    handshake: &'a serde_json::Value,
    rooms: &'a [String],
    data: JsonValue<'a>,
}

impl<'a> From<&'a RemoteSocket> for JsonSocket<'a> {
    fn from(socket: &'a RemoteSocket) -> Self {
        JsonSocket { id: &socket.id, handshake: &socket.handshake, rooms: &socket.rooms, data: JsonValue(&socket.data) }
    }
}

/// A socket as any version writes it.
#[derive(Deserialize)]
pub(super) struct AnySocket {
    id: String,
    #[serde(default)]
    handshake: Value,
    rooms: Names,
    #[serde(default)]
    data: Value,
}

impl AnySocket {
    pub(super) fn socket(mut self) -> RemoteSocket {
        revive(&mut self.data);
        RemoteSocket {
            id: self.id,
            handshake: serde_json::to_value(JsonValue(&self.handshake)).unwrap_or_default(),
            rooms: self.rooms.names,
            data: self.data,
        }
    }
}
