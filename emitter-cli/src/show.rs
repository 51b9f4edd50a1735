//! A message as people read it.

use std::fmt::Write;

use socketio_emitter::Plan;
use socketio_protocol::socket::Value;

/// The content of a message: JSON as it is, MessagePack as JSON with the binary named.
pub(crate) fn payload(plan: &Plan) -> String {
    if plan.payload.starts_with(b"{") {
        return String::from_utf8_lossy(&plan.payload).into_owned();
    }
    match Value::read_msgpack(&plan.payload) {
        Ok((value, _)) => text(&value),
        Err(error) => format!("<not readable: {error}>"),
    }
}

/// The content of a message for programs. Binary is `{"binary": bytes}`: how much, not what.
pub(crate) fn json(plan: &Plan) -> serde_json::Value {
    if plan.payload.starts_with(b"{") {
        return serde_json::from_slice(&plan.payload).unwrap_or_default();
    }
    Value::read_msgpack(&plan.payload).map(|(value, _)| plain(&value)).unwrap_or_default()
}

fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Binary(bytes) => {
            let _ = write!(out, "<binary {} B>", bytes.len());
        }
        Value::Array(values) => {
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(out, value);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (place, (key, value)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", serde_json::Value::from(key.as_str()));
                write(out, value);
            }
            out.push('}');
        }
        plain => out.push_str(&serde_json::to_string(plain).unwrap_or_default()),
    }
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => number.clone().into(),
        Value::String(text) => text.as_str().into(),
        Value::Binary(bytes) => serde_json::json!({ "binary": bytes.len() }),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use socketio_emitter::Emitter;
    use socketio_protocol::Bytes;

    use super::*;

    #[test]
    fn messages_are_shown_with_their_binary_named() {
        let io = Emitter::lazy("localhost").expect("a URL");
        let event = io.plan_emit("photo", ("alice", Bytes::from_static(&[0; 1_134]))).expect("it can be sent");
        let shown = r#"["emitter",{"type":2,"data":["photo","alice",<binary 1134 B>],"nsp":"/"},{"rooms":[],"flags":{},"except":[]}]"#;
        assert_eq!(payload(&event), shown);
        let read = json(&event);
        assert_eq!(read[1]["data"], serde_json::json!(["photo", "alice", { "binary": 1134 }]));
        let request = io.plan_server_side_emit("hello", 1.5).expect("it can be sent");
        assert_eq!(payload(&request), r#"{"uid":"emitter","type":6,"data":["hello",1.5]}"#);
    }
}
