//! A message as people read it.

use serde_json::value::RawValue;
use socketio_emitter::Plan;
use socketio_protocol::socket::Value;

/// The content of a message: JSON as it is, MessagePack as JSON with the binary named.
pub(crate) fn payload(plan: &Plan) -> String {
    if plan.payload.starts_with(b"{") {
        return String::from_utf8_lossy(&plan.payload).into_owned();
    }
    match Value::read_msgpack(&plan.payload) {
        Ok((value, _)) => write(&value, &|size| format!("<binary {size} B>")),
        Err(error) => format!("<not readable: {error}>"),
    }
}

/// The content of a message for programs. Binary is `{"binary": bytes}`: how much, not what.
pub(crate) fn json(plan: &Plan) -> Box<RawValue> {
    let raw = |text: String| RawValue::from_string(text).unwrap_or_default();
    if plan.payload.starts_with(b"{") {
        return raw(String::from_utf8_lossy(&plan.payload).into_owned());
    }
    let content =
        Value::read_msgpack(&plan.payload).map(|(value, _)| write(&value, &|size| format!(r#"{{"binary":{size}}}"#)));
    raw(content.unwrap_or_default())
}

/// The arguments of an event as people read them.
pub(crate) fn values(values: &[Value]) -> String {
    let list: Vec<_> = values.iter().map(|value| write(value, &|size| format!("<{size} bytes>"))).collect();
    format!("[{}]", list.join(","))
}

/// One value as people read it.
pub(crate) fn value(value: &Value) -> String {
    write(value, &|size| format!("<{size} bytes>"))
}

/// One value for programs; binary as in [`json`].
pub(crate) fn value_json(value: &Value) -> String {
    write(value, &|size| format!(r#"{{"binary":{size}}}"#))
}

/// The arguments of an event for programs; binary as in [`json`].
pub(crate) fn values_json(values: &[Value]) -> String {
    let list: Vec<_> = values.iter().map(|value| write(value, &|size| format!(r#"{{"binary":{size}}}"#))).collect();
    format!("[{}]", list.join(","))
}

/// JSON, in which `binary` says what stands for so many bytes.
fn write(value: &Value, binary: &dyn Fn(usize) -> String) -> String {
    let list = |values: Vec<String>| values.join(",");
    match value {
        Value::Binary(bytes) => binary(bytes.len()),
        Value::Array(values) => format!("[{}]", list(values.iter().map(|value| write(value, binary)).collect())),
        Value::Object(members) => {
            let member = |(key, value): &(String, Value)| format!("{}:{}", quoted(key), write(value, binary));
            format!("{{{}}}", list(members.iter().map(member).collect()))
        }
        plain => serde_json::to_string(plain).unwrap_or_default(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
        assert_eq!(json(&event).get(), shown.replace("<binary 1134 B>", r#"{"binary":1134}"#));
        let request = io.plan_server_side_emit("hello", 1.5).expect("it can be sent");
        assert_eq!(payload(&request), r#"{"uid":"emitter","type":6,"data":["hello",1.5]}"#);
    }
}
