//! `decode`: what a packet or a message says that somebody has found.
//!
//! What was found may be written as it is, in hex or in base64. Each reading is tried in turn, and the first that makes
//! sense is told: Engine.IO and Socket.IO packets, polling payloads, and what servers and emitters publish in Redis.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use socketio_protocol::{
    ByteString, Bytes,
    engine::{self, Version},
    socket::{Decoder, Kind, Limits, Packet, Value, msgpack},
};

use crate::{
    args::Settings,
    failure::{Failure, code},
    output, show,
    told::{self, Told},
    watch::hex,
};

/// `decode`
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Decode {
    /// What was found: text, hex or base64; `-` or nothing reads stdin
    input: Option<String>,

    /// Read it from a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "input")]
    file: Option<PathBuf>,
}

const EXAMPLES: &str = r#"Examples:
  emitter-cli decode '42/admin,12["hello",{"a":1}]'
  redis-cli --raw XRANGE socket.io - + COUNT 1 | tail -1 | emitter-cli decode
  emitter-cli decode 93a7656d697474657283a474797065..."#;

pub(crate) fn run(settings: &Settings, decode: &Decode) -> Result<u8, Failure> {
    let found = match (&decode.input, &decode.file) {
        (Some(text), _) if text != "-" => text.clone().into_bytes(),
        (_, Some(file)) => {
            let unreadable = |error| Failure::usage(format!("cannot read {}", file.display())).cause(error);
            std::fs::read(file).map_err(unreadable)?
        }
        _ => {
            let mut bytes = Vec::new();
            let read = io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| Failure::new(code::FAILED, "cannot read stdin").cause(error))?;
            bytes
        }
    };
    let found = found.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(found);
    let Some((written, explained)) =
        readings(found).into_iter().find_map(|(written, bytes)| Some((written, explain(&bytes)?)))
    else {
        return Err(Failure::new(code::FAILED, "this is nothing that Socket.IO writes")
            .cause("neither as it is nor as hex or base64 is it a packet, a payload or a message of a cluster")
            .tip("it has to be whole: all of one WebSocket frame, or all of one message of Redis"));
    };
    if settings.json {
        explained.iter().for_each(|one| output::line(one.json()));
    } else {
        for one in &explained {
            output::line(format!("{}{written}", one.what));
            one.parts.iter().for_each(|(name, text)| output::line(format!("  {name:<11} {text}")));
        }
    }
    Ok(code::DONE)
}

/// As it is, and what it is if it is hex or base64.
fn readings(found: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let compact: Vec<u8> = found.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut readings = vec![("", found)];
    readings.extend(from_hex(&compact).map(|bytes| (", from hex", bytes)));
    readings.extend(STANDARD.decode(&compact).ok().map(|bytes| (", from base64", bytes)));
    readings
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

/// One packet or message, explained.
struct Explained {
    what: String,
    parts: Vec<(&'static str, String)>,
    json: Option<String>,
}

impl Explained {
    fn new(what: impl Into<String>) -> Explained {
        Explained { what: what.into(), parts: Vec::new(), json: None }
    }

    fn json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        match &self.json {
            Some(json) => json.clone(),
            None => {
                let parts = self.parts.iter().map(|(name, value)| format!(",{}:{}", text(name), text(value)));
                format!("{{\"packet\":{}{}}}", text(&self.what), parts.collect::<String>())
            }
        }
    }
}

fn explain(bytes: &[u8]) -> Option<Vec<Explained>> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.starts_with(|c: char| c.is_ascii_digit() || c == 'b')
    {
        let packets: Option<Vec<_>> = text.split('\u{1e}').map(packet).collect();
        if packets.is_some() {
            return packets;
        }
    }
    if !matches!(bytes.first(), Some(b'{' | 0x80..=0x9f | 0xdc..=0xdf)) {
        return None;
    }
    let parser_packet =
        || Some(of_packet("Socket.IO packet of the msgpack parser", &msgpack::decode(bytes, Limits::default()).ok()?));
    // Only what servers say to each other names a sender or a request.
    if Value::read_msgpack(bytes).is_ok_and(|(value, _)| {
        value.get("type").is_some() && ["uid", "requestId"].iter().all(|key| value.get(key).is_none())
    }) && let Some(packet) = parser_packet()
    {
        return Some(vec![packet]);
    }
    let readable = |told: &Told| told.kind != "heartbeat";
    let broadcast = told::broadcast(bytes).ok().filter(readable).map(|told| of_told(&told, true));
    let request = || told::request("/", bytes).ok().filter(readable).map(|told| of_told(&told, false));
    let response = || told::response("/", bytes).ok().filter(readable).map(|told| of_told(&told, false));
    broadcast.or_else(request).or_else(response).map(|explained| vec![explained])
}

/// A packet in text: of Engine.IO, or of Socket.IO without the `4` of Engine.IO before it.
fn packet(text: &str) -> Option<Explained> {
    let of_engine = matches!(text, "1" | "2" | "3" | "5" | "6" | "2probe" | "3probe")
        || text.starts_with('b')
        || text.starts_with("0{") && text.contains("\"pingInterval\"");
    if let Some(inside) = text.strip_prefix('4')
        && let Some(packet) = socket_packet(inside)
    {
        return Some(of_packet("Socket.IO packet in an Engine.IO message", &packet));
    }
    if !of_engine {
        return socket_packet(text).map(|packet| of_packet("Socket.IO packet", &packet));
    }
    let read = engine::Packet::decode_text(ByteString::from(text), Version::V4).ok()?;
    let (what, data) = match read {
        engine::Packet::Open(json) => ("Engine.IO open", Some(json.to_string())),
        engine::Packet::Close => ("Engine.IO close", None),
        engine::Packet::Ping(data) => ("Engine.IO ping", Some(data.to_string())),
        engine::Packet::Pong(data) => ("Engine.IO pong", Some(data.to_string())),
        engine::Packet::Upgrade => ("Engine.IO upgrade", None),
        engine::Packet::Noop => ("Engine.IO noop", None),
        engine::Packet::Message(engine::Message::Text(text)) => ("Engine.IO message", Some(text.to_string())),
        engine::Packet::Message(engine::Message::Binary(bytes)) => {
            ("Engine.IO message, binary: an attachment", Some(hex(&bytes)))
        }
    };
    let mut explained = Explained::new(what);
    explained.parts.extend(data.filter(|data| !data.is_empty()).map(|data| ("data", data)));
    Some(explained)
}

/// A packet whose attachments, which are messages of their own, are taken for empty.
fn socket_packet(text: &str) -> Option<Packet> {
    let mut decoder = Decoder::new(Limits::default());
    let mut packet = decoder.text(ByteString::from(text)).ok()?;
    while packet.is_none() && decoder.waiting() {
        packet = decoder.binary(Bytes::new()).ok()?;
    }
    packet.filter(|packet| packet.kind != Kind::Event || packet.data.event().is_some())
}

fn of_packet(what: &str, packet: &Packet) -> Explained {
    let kind = match packet.kind {
        Kind::Connect => "CONNECT",
        Kind::Disconnect => "DISCONNECT",
        Kind::Event => "EVENT",
        Kind::Ack => "ACK",
        Kind::ConnectError => "CONNECT_ERROR",
    };
    let mut parts = vec![("type", kind.to_owned()), ("namespace", packet.nsp.to_string())];
    parts.extend(packet.data.event().map(|event| ("event", format!("{event:?}"))));
    let args = packet.data.without_name();
    if !args.is_empty() {
        let text = args.to_values().map(|values| match (packet.kind, values.as_slice()) {
            (Kind::Connect | Kind::ConnectError, [value]) => show::value(value),
            _ => show::values(&values),
        });
        parts.extend(text.ok().map(|text| (if packet.kind == Kind::Event { "arguments" } else { "data" }, text)));
    }
    parts.extend(packet.id.map(|id| ("ack id", id.to_string())));
    let attachments = packet.data.attachments().len();
    if attachments > 0 {
        parts.push(("attachments", attachments.to_string()));
    }
    Explained { what: what.to_owned(), parts, json: None }
}

fn of_told(told: &Told, names_nsp: bool) -> Explained {
    let what = match told.kind {
        "event" => "message of a cluster: an event for clients".to_owned(),
        "server-event" => "message of a cluster: an event for servers".to_owned(),
        kind => format!("message of a cluster: {kind}"),
    };
    let mut parts = Vec::new();
    if names_nsp {
        parts.push(("namespace", told.nsp.clone()));
    } else {
        parts.push(("namespace", "that of its channel".to_owned()));
    }
    parts.extend(told.event.as_ref().map(|event| ("event", format!("{event:?}"))));
    parts.extend(told.args.as_ref().map(|args| ("arguments", show::values(args))));
    for (name, rooms) in [("rooms", &told.rooms), ("except", &told.except)] {
        if !rooms.is_empty() {
            parts.push((name, rooms.join(", ")));
        }
    }
    if told.flags.volatile {
        parts.push(("volatile", "yes".to_owned()));
    }
    parts.extend(told.more.iter().cloned());
    parts.extend(told.uid.as_ref().map(|uid| ("sender", uid.clone())));
    parts.push(("size", output::size(told.bytes)));
    Explained { what, parts, json: Some(told.json(&[])) }
}

#[cfg(test)]
mod tests {
    use socketio_emitter::Emitter;

    use super::*;

    fn told(found: &[u8]) -> String {
        let explained =
            readings(found.to_vec()).into_iter().find_map(|(written, bytes)| Some((written, explain(&bytes)?)));
        let Some((written, explained)) = explained else { return "nothing".to_owned() };
        let one = |one: &Explained| {
            let parts: Vec<_> = one.parts.iter().map(|(name, text)| format!("{name}={text}")).collect();
            format!("{}{written}: {}", one.what, parts.join(" "))
        };
        explained.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn packets_are_explained_however_they_are_written() {
        for (found, expected) in [
            (
                r#"42["a",1]"#,
                r#"Socket.IO packet in an Engine.IO message: type=EVENT namespace=/ event="a" arguments=[1]"#,
            ),
            (r#"2/admin,12["a"]"#, r#"Socket.IO packet: type=EVENT namespace=/admin event="a" arguments=[] ack id=12"#),
            ("0", "Socket.IO packet: type=CONNECT namespace=/"),
            (
                r#"44{"message":"no"}"#,
                r#"Socket.IO packet in an Engine.IO message: type=CONNECT_ERROR namespace=/ data={"message":"no"}"#,
            ),
            (r#"3["late",2]"#, r#"Socket.IO packet: type=ACK namespace=/ data=["late",2]"#),
            ("2", "Engine.IO ping: "),
            ("2probe", "Engine.IO ping: data=probe"),
            ("6\u{1e}1", "Engine.IO noop: ; Engine.IO close: "),
            ("bAAH/", "Engine.IO message, binary: an attachment: data=0001ff"),
            (
                r#"452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                r#"Socket.IO packet in an Engine.IO message: type=EVENT namespace=/ event="a" arguments=[<0 bytes>,<0 bytes>] attachments=2"#,
            ),
            (
                "34325b2261225d",
                r#"Socket.IO packet in an Engine.IO message, from hex: type=EVENT namespace=/ event="a" arguments=[]"#,
            ),
            (
                "NDJbImEiXQ==",
                r#"Socket.IO packet in an Engine.IO message, from base64: type=EVENT namespace=/ event="a" arguments=[]"#,
            ),
            ("hello", "nothing"),
            ("", "nothing"),
            ("{}", "nothing"),
            ("9", "nothing"),
        ] {
            assert_eq!(told(found.as_bytes()), expected, "{found}");
        }
    }

    #[test]
    fn messages_of_a_cluster_are_explained() {
        let io = Emitter::lazy("localhost").expect("a URL").of("/chat");
        let plan = io.plan_emit("log", ("x", 1)).expect("it can be sent");
        let bytes = plan.payload.len();
        let expected = format!(
            r#"message of a cluster: an event for clients, from hex: namespace=/chat event="log" arguments=["x",1] sender=emitter size={bytes} B"#
        );
        assert_eq!(told(hex(&plan.payload).as_bytes()), expected);
        assert_eq!(told(&plan.payload), expected.replace(", from hex", ""));
        let plan = io.to("a").plan_sockets_join("r").expect("it can be sent").expect("somebody is meant");
        let size = plan.payload.len();
        assert_eq!(
            told(&plan.payload),
            format!("message of a cluster: join: namespace=that of its channel rooms=a joins=r size={size} B")
        );
        let parser = Packet::new(
            Kind::Event,
            "/",
            socketio_protocol::socket::Args::new_event("a", &1).expect("it can be written"),
        );
        let mut out = Vec::new();
        msgpack::encode(&mut out, &parser);
        assert_eq!(
            told(&out),
            r#"Socket.IO packet of the msgpack parser: type=EVENT namespace=/ event="a" arguments=[1]"#
        );
    }
}
