//! What a message of a cluster says, in parts that people ask for.
//!
//! The three families of adapters write in different ways; [`on_channel`] and [`of_entry`] read them all. [`Told`] is
//! printed by `watch` and `decode`, in a line for people or as JSON.

use anstyle::{AnsiColor, Style};
use serde_json::value::RawValue;
use socketio_protocol::{
    cluster::{Envelope, Flags, Message, MessageError, Options, classic, sharded, streams},
    socket::{Args, Value},
};

use crate::{output, show};

/// A message, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told {
    /// What it is, in the words of `--json`: `event`, `server-event`, `join` and so on.
    pub(crate) kind: &'static str,
    pub(crate) nsp: String,
    /// The server that sent it, if the format says.
    pub(crate) uid: Option<String>,
    /// The event's name.
    pub(crate) event: Option<String>,
    /// Its arguments, or the values of an answer.
    pub(crate) args: Option<Vec<Value>>,
    pub(crate) rooms: Vec<String>,
    pub(crate) except: Vec<String>,
    pub(crate) flags: Flags,
    /// Everything else: a name and a text.
    pub(crate) more: Vec<(&'static str, String)>,
    pub(crate) bytes: usize,
}

const NSP: Style = AnsiColor::Blue.on_default();
const ROOM: Style = AnsiColor::Cyan.on_default();
const NAME: Style = AnsiColor::Green.on_default().bold();
const ASIDE: Style = Style::new().dimmed();

impl Told {
    /// `/ room:ops "log" ["…"]  (uid emitter, 214 B)`
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![format!("{NSP}{}{NSP:#}", self.nsp)];
        for (word, names) in
            [(if self.rooms.len() > 1 { "rooms" } else { "room" }, &self.rooms), ("except", &self.except)]
        {
            if !names.is_empty() {
                parts.push(format!("{ROOM}{word}:{}{ROOM:#}", names.join(",")));
            }
        }
        if self.kind != "event" {
            parts.push(self.kind.to_owned());
        }
        if let Some(event) = &self.event {
            parts.push(format!("{NAME}{event:?}{NAME:#}"));
        }
        if let Some(args) = &self.args {
            parts.push(show::values(args));
        }
        for (name, text) in &self.more {
            parts.push(format!("{name} {text}"));
        }
        let uid = self.uid.as_ref().map(|uid| format!("uid {uid}, ")).unwrap_or_default();
        let volatile = if self.flags.volatile { "volatile, " } else { "" };
        format!("{}  {ASIDE}({uid}{volatile}{}){ASIDE:#}", parts.join(" "), output::size(self.bytes))
    }

    /// One JSON object; `before` are members of the caller's, as JSON.
    pub(crate) fn json(&self, before: &[(&str, String)]) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let list = |names: &[String]| serde_json::Value::from(names.to_vec()).to_string();
        let mut members: Vec<(&str, String)> = before.to_vec();
        members.extend([("kind", text(self.kind)), ("nsp", text(&self.nsp))]);
        members.extend(self.event.as_ref().map(|event| ("event", text(event))));
        members.extend(self.args.as_ref().map(|args| ("args", show::values_json(args))));
        if matches!(self.kind, "event" | "join" | "leave" | "disconnect" | "fetch-sockets") {
            members.extend([("rooms", list(&self.rooms)), ("except", list(&self.except))]);
        }
        if self.flags.volatile {
            members.push(("volatile", "true".to_owned()));
        }
        members.extend(self.more.iter().map(|(name, value)| (*name, text(value))));
        members.extend(self.uid.as_ref().map(|uid| ("uid", text(uid))));
        members.push(("bytes", self.bytes.to_string()));
        let members: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
        format!("{{{}}}", members.join(","))
    }

    fn new(envelope: Envelope, bytes: usize) -> Told {
        let Envelope { uid, nsp, message } = envelope;
        let told = Told { uid, nsp, bytes, ..Told::default() };
        match message {
            Message::Broadcast { args, options, request } => {
                let kind = "event";
                let more = request.map(|id| ("ack", id)).into_iter().collect();
                Told { kind, more, ..told.event(&args).options(options) }
            }
            Message::ServerSideEmit { args, request } => {
                let more = request.map(|id| ("ack", id)).into_iter().collect();
                Told { kind: "server-event", more, ..told.event(&args) }
            }
            Message::Join { options, rooms } => {
                Told { kind: "join", more: vec![("joins", rooms.join(","))], ..told.options(options) }
            }
            Message::Leave { options, rooms } => {
                Told { kind: "leave", more: vec![("leaves", rooms.join(","))], ..told.options(options) }
            }
            Message::Disconnect { options, close } => {
                let more = if close { vec![("close", "true".to_owned())] } else { Vec::new() };
                Told { kind: "disconnect", more, ..told.options(options) }
            }
            Message::FetchSockets { options, request } | Message::Summarize { options, request, .. } => {
                Told { kind: "fetch-sockets", more: vec![("request", request)], ..told.options(options) }
            }
            Message::FetchSocketsResponse { request, sockets } => {
                told.answer("sockets", request, sockets.iter().map(|socket| socket.id.clone()).collect())
            }
            Message::AllRooms { request } => Told { kind: "all-rooms", more: vec![("request", request)], ..told },
            Message::AllRoomsResponse { request, rooms } => told.answer("rooms", request, rooms),
            Message::Sockets { rooms, request } => {
                Told { kind: "sockets", rooms, more: vec![("request", request)], ..told }
            }
            Message::SocketsResponse { request, ids } => told.answer("sockets", request, ids),
            Message::ServerSideEmitResponse { request, answer } => {
                Told { args: answer.to_values().ok(), ..told.answer("server-answer", request, Vec::new()) }
            }
            Message::BroadcastClientCount { request, count } => {
                told.answer("clients", request, vec![count.to_string()])
            }
            Message::ClientsAsked { request, ids } => told.answer("clients", request, ids),
            Message::BroadcastAck { request, answer } => {
                Told { args: answer.to_values().ok(), ..told.answer("client-answer", request, Vec::new()) }
            }
            Message::AckOf { request, sid, answer } => {
                let args = answer.and_then(|answer| answer.to_values().ok());
                Told { args, ..told.answer("client-answer", request, vec![sid]) }
            }
            Message::Summary { request, count, rooms } => {
                let rooms = rooms.iter().map(|(room, size)| format!("{room}:{size}")).collect();
                let mut told = told.answer("rooms", request, rooms);
                told.more.insert(0, ("sockets", count.to_string()));
                told
            }
            Message::JoinOne { sid, room, request } => {
                Told { kind: "join", rooms: vec![sid], more: vec![("joins", room), ("request", request)], ..told }
            }
            Message::LeaveOne { sid, room, request } => {
                Told { kind: "leave", rooms: vec![sid], more: vec![("leaves", room), ("request", request)], ..told }
            }
            Message::DisconnectOne { sid, close, request } => {
                let close = close.then(|| ("close", "true".to_owned()));
                let more = close.into_iter().chain([("request", request)]).collect();
                Told { kind: "disconnect", rooms: vec![sid], more, ..told }
            }
            Message::OneDone { request } => told.answer("done", request, vec!["true".to_owned()]),
        }
    }

    fn event(self, args: &Args) -> Told {
        let event = args.event().map(|name| name.into_owned());
        Told { event, args: args.without_name().to_values().ok(), ..self }
    }

    fn options(self, options: Options) -> Told {
        Told { rooms: options.rooms, except: options.except, flags: options.flags, ..self }
    }

    fn answer(self, what: &'static str, request: String, names: Vec<String>) -> Told {
        let names = (!names.is_empty()).then(|| (what, names.join(",")));
        let kind = if matches!(what, "server-answer" | "client-answer") { what } else { "answer" };
        Told { kind, more: names.into_iter().chain([("request", request)]).collect(), ..self }
    }
}

/// Reads what came on a channel of Redis under the prefix `key`.
pub(crate) fn on_channel(key: &str, channel: &str, payload: &[u8]) -> Result<Told, String> {
    let rest = channel.strip_prefix(key).ok_or("it is on a channel of another key")?;
    let told = match rest.split_once('#') {
        Some(("-request", rest)) => request(rest.strip_suffix('#').unwrap_or(rest), payload),
        Some(("-response", rest)) => response(rest.split('#').next().unwrap_or_default(), payload),
        _ => broadcast(payload),
    };
    told.map_err(|error| error.to_string())
}

/// Reads what a server or an emitter publishes for all: classic is a list, sharded and streams are objects.
pub(crate) fn broadcast(payload: &[u8]) -> Result<Told, MessageError> {
    let nsp = nsp_of(payload).unwrap_or_else(|| "/".to_owned());
    let channels = classic::Channels::new("", &nsp);
    let read = match payload.first() {
        Some(0x93) => classic::decode_broadcast(&channels, NOBODY, payload),
        _ => sharded::decode(&channels, NOBODY, payload),
    };
    told(read, payload)
}

pub(crate) fn request(nsp: &str, payload: &[u8]) -> Result<Told, MessageError> {
    told(classic::decode_request(&classic::Channels::new("", nsp), NOBODY, payload), payload)
}

pub(crate) fn response(nsp: &str, payload: &[u8]) -> Result<Told, MessageError> {
    told(classic::decode_response(&classic::Channels::new("", nsp), payload, |_| true), payload)
}

/// Reads an entry of a stream; `Ok(None)` for the heartbeats that servers send each other.
pub(crate) fn of_entry(fields: &[(&[u8], &[u8])]) -> Result<Option<Told>, MessageError> {
    let bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    let read = streams::decode_entry(fields.iter().copied(), |_| Some(NOBODY))?;
    Ok(read.map(|envelope| Told::new(envelope, bytes)))
}

fn told(read: Result<Option<Envelope>, MessageError>, payload: &[u8]) -> Result<Told, MessageError> {
    match read? {
        Some(envelope) => Ok(Told::new(envelope, payload.len())),
        // Heartbeats, and requests of socket.io-redis 5.
        None => Ok(Told {
            kind: "heartbeat",
            nsp: nsp_of(payload).unwrap_or_default(),
            bytes: payload.len(),
            ..Told::default()
        }),
    }
}

/// No server has this id.
const NOBODY: &str = "\0";

/// The namespace that a message names inside.
pub(crate) fn nsp_of(payload: &[u8]) -> Option<String> {
    if payload.starts_with(b"{") {
        #[derive(serde::Deserialize)]
        struct Inside<'a> {
            nsp: Option<String>,
            #[serde(borrow)]
            packet: Option<&'a RawValue>,
        }
        let inside: Inside<'_> = serde_json::from_slice(payload).ok()?;
        return inside.nsp.or_else(|| nsp_of(inside.packet?.get().as_bytes()));
    }
    let (value, _) = Value::read_msgpack(payload).ok()?;
    let inside = match &value {
        Value::Array(parts) => parts.get(1)?,
        object => object.get("packet").unwrap_or(object),
    };
    inside.get("nsp").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use socketio_emitter::Emitter;

    use super::*;

    #[test]
    fn what_the_emitter_writes_is_told() {
        let io = Emitter::lazy("localhost").expect("a URL").of("/chat");
        let plain = |told: &Told| anstream::adapter::strip_str(&told.line()).to_string();
        let to = io.to("ops").except(["a", "b"]).volatile();
        let plan = to.plan_emit("log", ("x", 1)).expect("it can be sent").expect("somebody is meant");
        let told = on_channel("socket.io", &plan.channel, &plan.payload).expect("it is read");
        let bytes = plan.payload.len();
        assert_eq!(
            plain(&told),
            format!(r#"/chat room:ops except:a,b "log" ["x",1]  (uid emitter, volatile, {bytes} B)"#)
        );
        assert_eq!(
            told.json(&[]),
            format!(
                r#"{{"kind":"event","nsp":"/chat","event":"log","args":["x",1],"rooms":["ops"],"except":["a","b"],"volatile":true,"uid":"emitter","bytes":{bytes}}}"#
            )
        );
        let plan = io.to("ops").plan_sockets_join(["r", "s"]).expect("it can be sent").expect("somebody is meant");
        let told = on_channel("socket.io", &plan.channel, &plan.payload).expect("it is read");
        assert_eq!(plain(&told), format!("/chat room:ops join joins r,s  ({} B)", plan.payload.len()));
        let plan = io.plan_server_side_emit("hello", 1).expect("it can be sent");
        let told = on_channel("socket.io", &plan.channel, &plan.payload).expect("it is read");
        assert_eq!(plain(&told), format!(r#"/chat server-event "hello" [1]  (uid emitter, {} B)"#, plan.payload.len()));
    }

    #[test]
    fn requests_for_one_socket_and_short_answers_are_told() {
        let (request, sid, room) = (|| "q".to_owned(), || "s1".to_owned(), || "r".to_owned());
        let summary = |rooms| Message::Summary { request: request(), count: 3, rooms };
        for (message, expected) in [
            (summary(vec![]), "/ answer sockets 3 request q"),
            (summary(vec![(room(), 2), ("s".to_owned(), 1)]), "/ answer sockets 3 rooms r:2,s:1 request q"),
            (Message::JoinOne { sid: sid(), room: room(), request: request() }, "/ room:s1 join joins r request q"),
            (Message::LeaveOne { sid: sid(), room: room(), request: request() }, "/ room:s1 leave leaves r request q"),
            (
                Message::DisconnectOne { sid: sid(), close: true, request: request() },
                "/ room:s1 disconnect close true request q",
            ),
            (Message::OneDone { request: request() }, "/ answer done true request q"),
        ] {
            let told = Told::new(Envelope { uid: None, nsp: "/".to_owned(), message }, 1);
            assert_eq!(anstream::adapter::strip_str(&told.line()).to_string(), format!("{expected}  (1 B)"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for payload in [&b""[..], b"{", b"\x93", b"hello", &[0xff; 40]] {
            assert!(on_channel("socket.io", "socket.io#/#", payload).is_err(), "{payload:?}");
            assert!(on_channel("socket.io", "socket.io-request#/#", payload).is_err(), "{payload:?}");
        }
    }
}
