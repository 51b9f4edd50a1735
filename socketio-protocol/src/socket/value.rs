//! Any payload: what JSON can say, and binary.

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

use super::de::ValueReader;
use super::transcode;
use super::{Args, ArgsError, MsgpackError};

/// A payload of unknown shape: what JSON can say, and binary.
///
/// ```
/// use socketio_protocol::{Bytes, socket::{Args, Value}};
///
/// let args = Args::new_list(&(serde_json::json!({ "title": "sea" }), Bytes::from_static(&[1])))?;
/// let values = args.to_values()?;
/// assert_eq!(values[0].get("title").and_then(Value::as_str), Some("sea"));
/// assert_eq!(values[1], Value::Binary(Bytes::from_static(&[1])));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`; JavaScript's `undefined` and `NaN` arrive so too.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, whole ones kept exactly up to 64 bits.
    Number(serde_json::Number),
    /// Text.
    String(String),
    /// A binary part, an attachment on the wire.
    Binary(Bytes),
    /// A list.
    Array(Vec<Value>),
    /// An object, its keys in the order they came.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The member `key` of an object; the last one if it occurs more than once, as JavaScript reads it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Value {
    /// Appends this value as MessagePack to `out`, by the rules of [`Args::write_msgpack`](super::Args::write_msgpack).
    pub fn write_msgpack(&self, out: &mut Vec<u8>) {
        transcode::write_value(out, self);
    }

    /// Reads the value at the front of `bytes` and says how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`MsgpackError`] when no value is there, or none that a payload can hold.
    pub fn read_msgpack(bytes: &[u8]) -> Result<(Value, usize), MsgpackError> {
        let (args, read) = Args::read_msgpack(bytes)?;
        let value = Value::read(&mut ValueReader::new(&args)).map_err(|_| MsgpackError::TooDeep)?;
        Ok((value, read))
    }

    /// Reads a value of a payload. Attachments are shared, not copied, which serde could not do.
    pub(super) fn read(value: &mut ValueReader<'_>) -> Result<Value, ArgsError> {
        let ValueReader { reader, attachments } = value;
        let (mut first, open) = (true, reader.peek()?);
        match open {
            b'{' if let Some(bytes) = reader.attachment(attachments) => {
                return Ok(Value::Binary(bytes.clone()));
            }
            b'{' | b'[' => reader.expect(open)?,
            _ => return Value::deserialize(value),
        }
        if open == b'[' {
            let mut values = Vec::new();
            while value.reader.advance(&mut first, b']')? {
                values.push(Value::read(value)?);
            }
            return Ok(Value::Array(values));
        }
        let mut members = Vec::new();
        while value.reader.advance(&mut first, b'}')? {
            members.push((value.reader.key()?.into_owned(), Value::read(value)?));
        }
        Ok(Value::Object(members))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(value) => match (value.as_u64(), value.as_i64(), value.as_f64()) {
                (Some(value), ..) => serializer.serialize_u64(value),
                (_, Some(value), _) => serializer.serialize_i64(value),
                (.., value) => serializer.serialize_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(value) => serializer.serialize_str(value),
            Value::Binary(value) => serializer.serialize_bytes(value),
            Value::Array(values) => values.serialize(serializer),
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Binary(Bytes::copy_from_slice(value)))
    }

    fn visit_byte_buf<E: de::Error>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Binary(value.into()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members))
    }
}

impl From<f64> for Value {
    /// [`Value::Null`] for a number that JSON cannot say.
    fn from(value: f64) -> Self {
        serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.to_owned())
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Value::Array(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(value) => Value::Number(value),
            serde_json::Value::String(value) => Value::String(value),
            serde_json::Value::Array(values) => Value::Array(values.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(map) => {
                Value::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

macro_rules! from {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

from! {
    () => |_unit| Value::Null;
    bool => |value| Value::Bool(value);
    String => |value| Value::String(value);
    Bytes => |value| Value::Binary(value);
    i32 => |value| Value::Number(value.into());
    i64 => |value| Value::Number(value.into());
    u32 => |value| Value::Number(value.into());
    u64 => |value| Value::Number(value.into());
    usize => |value| Value::Number(value.into());
}
