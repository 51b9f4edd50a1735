//! A payload as it came.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::codec::{DecodeError, EncodeError};
use super::msgpack::MsgpackError;
use super::value::Value;

/// A payload as it came: JSON text and its attachments, parsed only when someone asks for a type. Cheap to clone.
#[derive(Clone, Default)]
pub struct Args {
    json: ByteString,
    attachments: Option<Arc<[Bytes]>>,
    form: Form,
}

/// How the JSON text is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// There is no payload.
    #[default]
    Nothing,
    /// One value.
    Single,
    /// `[arguments…]`
    List,
    /// `[name, arguments…]`
    Event,
}

impl Args {
    /// No payload at all.
    pub fn none() -> Self {
        Args::default()
    }

    /// The payload of an event: its name, then `args`.
    pub fn new_event<T: Serialize + ?Sized>(event: &str, args: &T) -> Result<Self, EncodeError> {
        let args: serde_json::Value =
            serde_json::to_value(args).map_err(|e| EncodeError::Serialize(e.to_string()))?;
        let mut list = vec![serde_json::Value::from(event)];
        match args {
            serde_json::Value::Null => {}
            serde_json::Value::Array(values) => list.extend(values),
            value => list.push(value),
        }
        Ok(Args {
            json: serde_json::Value::from(list).to_string().into(),
            attachments: None,
            form: Form::Event,
        })
    }

    /// A list of arguments, the payload of an ack.
    pub fn new_list<T: Serialize + ?Sized>(args: &T) -> Result<Self, EncodeError> {
        let args: serde_json::Value =
            serde_json::to_value(args).map_err(|e| EncodeError::Serialize(e.to_string()))?;
        let list = match args {
            serde_json::Value::Null => vec![],
            serde_json::Value::Array(values) => values,
            value => vec![value],
        };
        Ok(Args {
            json: serde_json::Value::from(list).to_string().into(),
            attachments: None,
            form: Form::List,
        })
    }

    /// One value, the payload of a CONNECT or CONNECT_ERROR.
    pub fn new_single<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let json =
            serde_json::to_string(value).map_err(|e| EncodeError::Serialize(e.to_string()))?;
        Ok(Args {
            json: json.into(),
            attachments: None,
            form: Form::Single,
        })
    }

    /// A payload from JSON text and attachments: an array becomes a list of arguments, anything else one value.
    pub fn from_json(
        json: impl Into<ByteString>,
        attachments: Vec<Bytes>,
    ) -> Result<Self, DecodeError> {
        let json = json.into();
        let value: serde_json::Value =
            serde_json::from_str(&json).map_err(|_| DecodeError::InvalidJson { at: 0 })?;
        let form = if value.is_array() {
            Form::List
        } else {
            Form::Single
        };
        Ok(Args {
            json,
            attachments: (!attachments.is_empty()).then(|| attachments.into()),
            form,
        })
    }

    /// The same payload, its first element understood as the name of an event.
    pub fn into_event(self) -> Result<Self, DecodeError> {
        let named = Args {
            form: Form::Event,
            ..self
        };
        if named.event().is_none() {
            Err(DecodeError::NotAnEvent)
        } else {
            Ok(named)
        }
    }

    /// The name of the event; a number stands for its text. `None` if this is not the payload of an event.
    pub fn event(&self) -> Option<Cow<'_, str>> {
        if self.form != Form::Event {
            return None;
        }
        match self.list().first()? {
            serde_json::Value::String(name) => Some(name.clone().into()),
            serde_json::Value::Number(number) => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// Whether there is no payload at all.
    pub fn is_empty(&self) -> bool {
        self.form == Form::Nothing
    }

    /// The attachments, in the order the placeholders count them.
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments.as_deref().unwrap_or_default()
    }

    fn list(&self) -> Vec<serde_json::Value> {
        match serde_json::from_str(&self.json) {
            Ok(serde_json::Value::Array(values)) => values,
            Ok(value) => vec![value],
            Err(_) => vec![],
        }
    }

    fn arguments(&self) -> Vec<serde_json::Value> {
        let mut list = self.list();
        if self.form == Form::Event {
            list.remove(0);
        }
        list
    }

    /// The arguments as `T`: those after the name for an event, all of them otherwise.
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ArgsError> {
        let list = self.arguments();
        let fail = |error: serde_json::Error| ArgsError {
            message: error.to_string(),
        };
        let first = list.first().cloned().unwrap_or_default();
        T::deserialize(first)
            .or_else(|_| T::deserialize(serde_json::Value::from(list)))
            .map_err(fail)
    }

    /// The one value of a CONNECT or CONNECT_ERROR.
    pub fn value<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, ArgsError> {
        if self.is_empty() {
            Ok(None)
        } else {
            self.to().map(Some)
        }
    }

    /// The arguments as values.
    pub fn to_values(&self) -> Result<Vec<Value>, ArgsError> {
        Ok(self.arguments().into_iter().map(Value::from).collect())
    }

    /// The first argument alone, as one value.
    pub fn first(&self) -> Option<Args> {
        let first = self.arguments().into_iter().next()?;
        Some(Args {
            json: first.to_string().into(),
            attachments: self.attachments.clone(),
            form: Form::Single,
        })
    }

    /// The arguments after the name, as a list.
    #[must_use]
    pub fn without_name(&self) -> Args {
        let json = serde_json::Value::from(self.arguments()).to_string().into();
        Args {
            json,
            attachments: self.attachments.clone(),
            form: Form::List,
        }
    }

    /// The whole payload as JSON text and attachments.
    pub fn to_json(&self) -> (ByteString, Vec<Bytes>) {
        (self.json.clone(), self.attachments().to_vec())
    }

    /// The whole payload as MessagePack.
    pub fn to_msgpack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_msgpack(&mut out);
        out
    }

    /// Appends the whole payload as MessagePack to `out`.
    pub fn write_msgpack(&self, out: &mut Vec<u8>) {
        let value: serde_json::Value = serde_json::from_str(&self.json).unwrap_or_default();
        out.extend(rmp_serde::to_vec_named(&value).unwrap_or_default());
    }

    /// Reads a payload that fills `bytes`: an array becomes a list of arguments, anything else one value.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Args, MsgpackError> {
        Ok(Args::read_msgpack(bytes)?.0)
    }

    /// Reads the payload at the front of `bytes` and says how many bytes it took.
    pub fn read_msgpack(bytes: &[u8]) -> Result<(Args, usize), MsgpackError> {
        let mut rest = bytes;
        let value = serde_json::Value::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
            .map_err(|_| MsgpackError::Truncated)?;
        let form = if value.is_array() {
            Form::List
        } else {
            Form::Single
        };
        Ok((
            Args {
                json: value.to_string().into(),
                attachments: None,
                form,
            },
            bytes.len() - rest.len(),
        ))
    }
}

impl PartialEq for Args {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
            && self.json == other.json
            && self.attachments() == other.attachments()
    }
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.json)
    }
}

impl Serialize for Args {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.arguments().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Args::new_list(&serde_json::Value::deserialize(deserializer)?)
            .map_err(serde::de::Error::custom)
    }
}

/// Why arguments are not of the type asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArgsError {
    message: String,
}
