//! Arguments of events as JSON, in the HTTP API and for webhooks.
//!
//! Binary parts, which JSON does not have, are `{"$base64": ".."}` wherever they stand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use socketio_server::Value;

const BASE64: &str = "$base64";

/// What JSON says, binary parts among it; what is said to be base64 and is not stays as it is.
pub(crate) fn from_json(json: Json) -> Value {
    match json {
        Json::Object(object) => match binary_of(&object) {
            Some(bytes) => Value::Binary(bytes.into()),
            None => Value::Object(object.into_iter().map(|(key, value)| (key, from_json(value))).collect()),
        },
        Json::Array(list) => Value::Array(list.into_iter().map(from_json).collect()),
        other => other.into(),
    }
}

fn binary_of(object: &Map<String, Json>) -> Option<Vec<u8>> {
    let text = object.get(BASE64).filter(|_| object.len() == 1)?.as_str()?;
    STANDARD.decode(text).ok()
}

/// The other way.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(value) => Json::Number(value.clone()),
        Value::String(value) => Json::String(value.clone()),
        Value::Binary(bytes) => Json::Object(Map::from_iter([(BASE64.to_owned(), STANDARD.encode(bytes).into())])),
        Value::Array(list) => Json::Array(list.iter().map(to_json).collect()),
        Value::Object(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn binary_parts_go_both_ways() {
        for json in [
            json!([1, -2.5, null, true, "text", { "a": [{ "b": {} }] }]),
            json!([{ "$base64": "AAEC/w==" }, { "in": { "$base64": "" } }]),
        ] {
            assert_eq!(to_json(&from_json(json.clone())), json);
        }
        assert_eq!(from_json(json!({ "$base64": "AAEC/w==" })), Value::Binary(vec![0, 1, 2, 255].into()));
        for text in [json!({ "$base64": "!" }), json!({ "$base64": 1 }), json!({ "$base64": "", "more": 1 })] {
            assert!(matches!(from_json(text.clone()), Value::Object(_)), "{text}");
        }
    }
}
