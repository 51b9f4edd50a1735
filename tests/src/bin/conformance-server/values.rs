//! Values to send, and what is said about values that came.

use socketio_server::{Bytes, Event, Value};

/// `n` bytes 0, 1, ... 255, 0, ...
pub(crate) fn bytes(n: usize) -> Bytes {
    (0..n).map(|i| i as u8).collect()
}

/// An object.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A list of texts.
pub(crate) fn texts<S: ToString>(texts: impl IntoIterator<Item = S>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::String(text.to_string())).collect())
}

/// The same list, sorted.
pub(crate) fn sorted<S: Ord>(names: impl IntoIterator<Item = S>) -> Vec<S> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names
}

/// All arguments of an event.
pub(crate) fn arguments(event: &Event) -> Vec<Value> {
    event.args().to_values().unwrap_or_default()
}

pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Binary(_) => "binary",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The same value, with each binary part as `{"$bin": "<hex>"}`.
pub(crate) fn described(value: Value) -> Value {
    match value {
        Value::Binary(data) => {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            object([("$bin", Value::String(hex))])
        }
        Value::Array(values) => Value::Array(values.into_iter().map(described).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, described(value))).collect())
        }
        plain => plain,
    }
}
