//! The messages that the sharded and the streams family share: those of the ClusterAdapter of `socket.io-adapter`.
//!
//! A message is `{type, data, uid, nsp}`, in JSON or in MessagePack; this module has `data`, in both, and the numbers.
//! Which of the two forms is written when, and how the other fields travel, is [`sharded`](super::sharded)'s and
//! [`streams`](super::streams)' part.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Flags, Message, MessageError, Options, RemoteSocket, Want,
    parts::{self, AnySocket, JsonOptions, JsonSocket, Names, Order},
    reader::Reader,
};
use crate::socket::{Args, Value};

/// The numbers of the messages.
mod kind {
    pub(super) const INITIAL_HEARTBEAT: u64 = 1;
    pub(super) const HEARTBEAT: u64 = 2;
    pub(super) const BROADCAST: u64 = 3;
    pub(super) const JOIN: u64 = 4;
    pub(super) const LEAVE: u64 = 5;
    pub(super) const DISCONNECT: u64 = 6;
    pub(super) const FETCH: u64 = 7;
    pub(super) const FETCH_ANSWER: u64 = 8;
    pub(super) const SERVER_SIDE_EMIT: u64 = 9;
    pub(super) const SERVER_SIDE_EMIT_ANSWER: u64 = 10;
    pub(super) const CLIENT_COUNT: u64 = 11;
    pub(super) const ACK: u64 = 12;
    pub(super) const ADAPTER_CLOSE: u64 = 13;
}

/// The sharded and the streams family have no such message: [`Message::AllRooms`], [`Message::Sockets`], and the
/// one-socket requests of old classic versions.
///
/// ```
/// use socketio_protocol::cluster::{Message, sharded::{Channels, ClassicOnly, SubscriptionMode, encode}};
///
/// let all_rooms = Message::AllRooms { request: "1".into() };
/// let (channels, mode) = (Channels::new("socket.io", "/"), SubscriptionMode::Dynamic);
/// assert_eq!(encode(&channels, mode, "one", &all_rooms, &mut Vec::new()), Err(ClassicOnly));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this kind of message exists in the classic format only")]
pub struct ClassicOnly;

/// The number of a message.
pub(super) fn kind_of(message: &Message) -> Result<u64, ClassicOnly> {
    Ok(match message {
        Message::Broadcast { .. } => kind::BROADCAST,
        Message::Join { .. } => kind::JOIN,
        Message::Leave { .. } => kind::LEAVE,
        Message::Disconnect { .. } => kind::DISCONNECT,
        Message::FetchSockets { .. } | Message::Summarize { .. } => kind::FETCH,
        Message::FetchSocketsResponse { .. } | Message::Summary { .. } => kind::FETCH_ANSWER,
        Message::ServerSideEmit { .. } => kind::SERVER_SIDE_EMIT,
        Message::ServerSideEmitResponse { .. } => kind::SERVER_SIDE_EMIT_ANSWER,
        Message::BroadcastClientCount { .. } | Message::ClientsAsked { .. } => kind::CLIENT_COUNT,
        Message::BroadcastAck { .. } | Message::AckOf { .. } => kind::ACK,
        _ => return Err(ClassicOnly),
    })
}

/// Whether the number says that a server lives or leaves. Only versions that count heartbeats send these; ours ask
/// Redis how many servers there are.
pub(super) fn is_heartbeat(kind: u64) -> bool {
    matches!(kind, kind::INITIAL_HEARTBEAT | kind::HEARTBEAT | kind::ADAPTER_CLOSE)
}

/// Whether something inside is binary, which JSON cannot say.
pub(super) fn has_binary(message: &Message) -> bool {
    match message {
        Message::Broadcast { args, .. } | Message::ServerSideEmit { args, .. } => !args.attachments().is_empty(),
        Message::ServerSideEmitResponse { answer, .. } | Message::BroadcastAck { answer, .. } => {
            !answer.attachments().is_empty()
        }
        Message::AckOf { answer: Some(answer), .. } => !answer.attachments().is_empty(),
        Message::FetchSocketsResponse { sockets, .. } => sockets.iter().any(|socket| holds_binary(&socket.data)),
        _ => false,
    }
}

fn holds_binary(value: &Value) -> bool {
    match value {
        Value::Binary(_) => true,
        Value::Array(values) => values.iter().any(holds_binary),
        Value::Object(members) => members.iter().any(|(_, value)| holds_binary(value)),
        _ => false,
    }
}

/// How maps and what is in them are written: JSON or MessagePack.
pub(super) trait Form {
    /// A map of so many entries begins.
    fn map(&mut self, entries: u32);
    /// The key of the next entry.
    fn key(&mut self, key: &str);
    /// The map ends.
    fn end(&mut self);
    fn text(&mut self, text: &str);
    fn number(&mut self, number: u64);
    fn boolean(&mut self, value: bool);
    fn names(&mut self, names: &[String]);
    /// The whole list.
    fn list(&mut self, args: &Args);
    /// The first of the list.
    fn first(&mut self, answer: &Args);
    fn sockets(&mut self, sockets: &[RemoteSocket]);
}

/// Writes JSON text; binary as Buffer objects.
pub(super) struct Json<'a>(pub(super) &'a mut Vec<u8>);

impl Json<'_> {
    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut *self.0, value).expect("a Vec takes every byte, and all keys are text");
    }
}

impl Form for Json<'_> {
    fn map(&mut self, _entries: u32) {
        self.0.push(b'{');
    }

    fn key(&mut self, key: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.value(key);
        self.0.push(b':');
    }

    fn end(&mut self) {
        self.0.push(b'}');
    }

    fn text(&mut self, text: &str) {
        self.value(text);
    }

    fn number(&mut self, number: u64) {
        self.value(&number);
    }

    fn boolean(&mut self, value: bool) {
        self.value(&value);
    }

    fn names(&mut self, names: &[String]) {
        self.value(names);
    }

    fn list(&mut self, args: &Args) {
        self.0.extend_from_slice(parts::json_list(args).as_bytes());
    }

    fn first(&mut self, answer: &Args) {
        self.0.extend_from_slice(parts::json_first(answer).as_deref().unwrap_or("null").as_bytes());
    }

    fn sockets(&mut self, sockets: &[RemoteSocket]) {
        self.value(&sockets.iter().map(JsonSocket::from).collect::<Vec<_>>());
    }
}

/// Writes MessagePack.
pub(super) struct Msgpack<'a>(pub(super) &'a mut Vec<u8>);

impl Form for Msgpack<'_> {
    fn map(&mut self, entries: u32) {
        parts::write_map(self.0, entries);
    }

    fn key(&mut self, key: &str) {
        parts::write_text(self.0, key);
    }

    fn end(&mut self) {}

    fn text(&mut self, text: &str) {
        parts::write_text(self.0, text);
    }

    fn number(&mut self, number: u64) {
        parts::write_uint(self.0, number);
    }

    fn boolean(&mut self, value: bool) {
        parts::write_bool(self.0, value);
    }

    fn names(&mut self, names: &[String]) {
        parts::write_names(self.0, names);
    }

    fn list(&mut self, args: &Args) {
        args.write_msgpack(self.0);
    }

    fn first(&mut self, answer: &Args) {
        match answer.first() {
            Some(first) => first.write_msgpack(self.0),
            None => self.0.push(0xc0),
        }
    }

    fn sockets(&mut self, sockets: &[RemoteSocket]) {
        #[derive(Serialize)]
        struct Socket<'a> {
            id: &'a str,
            handshake: &'a serde_json::Value,
            rooms: &'a [String],
            data: &'a Value,
        }
        let sockets: Vec<Socket<'_>> = sockets
            .iter()
            .map(|RemoteSocket { id, handshake, rooms, data }| Socket { id, handshake, rooms, data })
            .collect();
        match Args::new_single(&sockets) {
            Ok(sockets) => sockets.write_msgpack(self.0),
            Err(_) => self.0.push(0x90),
        }
    }
}

/// The whole message: `{type, data, uid, nsp}`.
pub(super) fn write_message(form: &mut impl Form, uid: &str, nsp: &str, message: &Message) -> Result<(), ClassicOnly> {
    let kind = kind_of(message)?;
    form.map(4);
    form.key("type");
    form.number(kind);
    form.key("data");
    write_data(form, message)?;
    form.key("uid");
    form.text(uid);
    form.key("nsp");
    form.text(nsp);
    form.end();
    Ok(())
}

/// The `data` of a message.
pub(super) fn write_data(form: &mut impl Form, message: &Message) -> Result<(), ClassicOnly> {
    match message {
        Message::Broadcast { args, options, request } => {
            form.map(2 + u32::from(request.is_some()));
            write_packet(form, args, None);
            if let Some(request) = request {
                form.key("requestId");
                form.text(request);
            }
            write_options(form, options, Order::Server);
        }
        Message::Join { options, rooms } | Message::Leave { options, rooms } => {
            form.map(2);
            write_options(form, options, Order::Server);
            form.key("rooms");
            form.names(rooms);
        }
        Message::Disconnect { options, close } => {
            form.map(2);
            write_options(form, options, Order::Server);
            form.key("close");
            form.boolean(*close);
        }
        Message::FetchSockets { options, request } => {
            form.map(2);
            write_options(form, options, Order::Server);
            form.key("requestId");
            form.text(request);
        }
        Message::Summarize { options, request, want } => {
            form.map(3);
            write_options(form, options, Order::Server);
            form.key("requestId");
            form.text(request);
            form.key("want");
            form.names(&want.words());
        }
        Message::ServerSideEmit { args, request } => {
            form.map(1 + u32::from(request.is_some()));
            if let Some(request) = request {
                form.key("requestId");
                form.text(request);
            }
            form.key("packet");
            form.list(args);
        }
        Message::FetchSocketsResponse { request, sockets } => {
            form.map(2);
            form.key("requestId");
            form.text(request);
            form.key("sockets");
            form.sockets(sockets);
        }
        Message::Summary { request, count, rooms } => {
            form.map(4);
            form.key("requestId");
            form.text(request);
            form.key("sockets");
            form.sockets(&[]);
            form.key("count");
            form.number(*count);
            form.key("roomSizes");
            form.map(u32::try_from(rooms.len()).unwrap_or(u32::MAX));
            for (room, size) in rooms {
                form.key(room);
                form.number(*size);
            }
            form.end();
        }
        Message::ClientsAsked { request, ids } => {
            form.map(3);
            form.key("requestId");
            form.text(request);
            form.key("clientCount");
            form.number(ids.len() as u64);
            form.key("sids");
            form.names(ids);
        }
        Message::AckOf { request, sid, answer } => {
            form.map(2 + u32::from(answer.is_some()));
            form.key("requestId");
            form.text(request);
            form.key("sid");
            form.text(sid);
            if let Some(answer) = answer {
                form.key("packets");
                form.list(answer);
            }
        }
        Message::BroadcastClientCount { request, count } => {
            form.map(2);
            form.key("requestId");
            form.text(request);
            form.key("clientCount");
            form.number(*count);
        }
        Message::ServerSideEmitResponse { request, answer } | Message::BroadcastAck { request, answer } => {
            let answered = answer.first().is_some();
            form.map(1 + u32::from(answered));
            form.key("requestId");
            form.text(request);
            if answered {
                form.key("packet");
                form.first(answer);
            }
        }
        _ => return Err(ClassicOnly),
    }
    form.end();
    Ok(())
}

/// The `data` of a broadcast as emitters write it: the packet names its namespace, and the options have another order.
pub(super) fn write_emitted(form: &mut impl Form, nsp: &str, args: &Args, options: &Options) {
    form.map(2);
    write_packet(form, args, Some(nsp));
    write_options(form, options, Order::Emitter);
    form.end();
}

/// `packet: {type: 2, data}`, of emitters with its namespace.
fn write_packet(form: &mut impl Form, args: &Args, nsp: Option<&str>) {
    form.key("packet");
    form.map(2 + u32::from(nsp.is_some()));
    form.key("type");
    form.number(2);
    form.key("data");
    form.list(args);
    if let Some(nsp) = nsp {
        form.key("nsp");
        form.text(nsp);
    }
    form.end();
}

/// `opts: {rooms, except, flags}`
fn write_options(form: &mut impl Form, options: &Options, order: Order) {
    let Flags { volatile, compress, timeout, expect_single_response } = options.flags;
    form.key("opts");
    form.map(3);
    form.key("rooms");
    form.names(&options.rooms);
    if order == Order::Server {
        form.key("except");
        form.names(&options.except);
    }
    form.key("flags");
    let set = [volatile, compress.is_some(), expect_single_response, timeout.is_some()];
    form.map(set.into_iter().filter(|set| *set).count() as u32);
    if volatile {
        form.key("volatile");
        form.boolean(true);
    }
    if let Some(compress) = compress {
        form.key("compress");
        form.boolean(compress);
    }
    if expect_single_response {
        form.key("expectSingleResponse");
        form.boolean(true);
    }
    if let Some(timeout) = timeout {
        form.key("timeout");
        form.number(timeout);
    }
    form.end();
    if order == Order::Emitter {
        form.key("except");
        form.names(&options.except);
    }
    form.end();
}

/// What `data` held, whichever form it had.
#[derive(Default)]
struct Data {
    options: Option<Options>,
    rooms: Option<Vec<String>>,
    close: bool,
    request: Option<String>,
    count: Option<u64>,
    /// From `packet`, where it is an event.
    event: Option<Args>,
    /// From `packet`, where it is an answer.
    answer: Option<Args>,
    sockets: Option<Vec<RemoteSocket>>,
    want: Option<Vec<String>>,
    summed: Option<u64>,
    sizes: Vec<(String, u64)>,
    sids: Option<Vec<String>>,
    sid: Option<String>,
    /// From `packets`: all that a client answered.
    answers: Option<Args>,
}

/// Reads the JSON `data` of a message of type `kind`.
pub(super) fn read_json(kind: u64, data: &str) -> Result<Message, MessageError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        opts: Option<JsonOptions>,
        rooms: Option<Names>,
        close: Option<bool>,
        #[serde(borrow, rename = "requestId")]
        request: Option<Cow<'a, str>>,
        #[serde(rename = "clientCount")]
        count: Option<u64>,
        #[serde(borrow, default, deserialize_with = "parts::present")]
        packet: Option<&'a RawValue>,
        #[serde(borrow)]
        sockets: Option<&'a RawValue>,
        want: Option<Vec<String>>,
        #[serde(rename = "count")]
        summed: Option<u64>,
        #[serde(rename = "roomSizes")]
        sizes: Option<std::collections::BTreeMap<String, u64>>,
        sids: Option<Vec<String>>,
        sid: Option<String>,
        #[serde(borrow)]
        packets: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Packet<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }

    let fields: Fields<'_> = serde_json::from_str(data)?;
    let mut data = Data {
        options: fields.opts.map(JsonOptions::options).transpose()?,
        rooms: fields.rooms.map(Names::names),
        close: fields.close.unwrap_or(false),
        request: fields.request.map(Cow::into_owned),
        count: fields.count,
        want: fields.want,
        summed: fields.summed,
        sizes: fields.sizes.unwrap_or_default().into_iter().collect(),
        sids: fields.sids,
        sid: fields.sid,
        answers: fields.packets.map(|list| parts::list_from_json(list.get())).transpose()?,
        ..Data::default()
    };
    match (kind, fields.packet) {
        (kind::BROADCAST, Some(packet)) => {
            let packet: Packet<'_> = serde_json::from_str(packet.get())?;
            data.event = Some(parts::event_from_json(packet.data)?);
        }
        (kind::SERVER_SIDE_EMIT, Some(packet)) => data.event = Some(parts::event_from_json(packet)?),
        (_, Some(packet)) => data.answer = Some(parts::list_of_one_from_json(packet)?),
        (_, None) => {}
    }
    if let Some(sockets) = fields.sockets {
        let sockets: Vec<AnySocket> = serde_json::from_str(sockets.get())?;
        data.sockets = Some(sockets.into_iter().map(AnySocket::socket).collect());
    }
    data.message(kind)
}

/// Reads the MessagePack `data` of a message of type `kind`.
pub(super) fn read_msgpack(kind: u64, data: &[u8]) -> Result<Message, MessageError> {
    let mut reader = Reader::new(data);
    let mut data = Data::default();
    for _ in 0..reader.map()? {
        match reader.text()? {
            "opts" => data.options = Some(parts::read_options(&mut reader)?),
            "rooms" => data.rooms = Some(parts::read_names(&mut reader)?),
            "close" => data.close = reader.boolean()?.unwrap_or(false),
            "requestId" => data.request = reader.optional_text()?.map(str::to_owned),
            "clientCount" => data.count = reader.unsigned()?,
            "packet" if kind == kind::BROADCAST => data.event = Some(read_packet(&mut reader)?),
            "packet" if kind == kind::SERVER_SIDE_EMIT => data.event = Some(parts::read_event(&mut reader)?),
            "packet" => data.answer = Some(parts::list_of_one(reader.raw()?)?),
            "sockets" => {
                let list = parts::list_of_one(reader.raw_array()?)?;
                let (sockets,) = list
                    .to::<(Vec<AnySocket>,)>()
                    .map_err(|error| MessageError::Wrong { part: "sockets", reason: error.to_string() })?;
                data.sockets = Some(sockets.into_iter().map(AnySocket::socket).collect());
            }
            "want" => data.want = Some(parts::read_names(&mut reader)?),
            "count" => data.summed = reader.unsigned()?,
            "roomSizes" => {
                let mut sizes = std::collections::BTreeMap::new();
                for _ in 0..reader.map()? {
                    let room = reader.text()?.to_owned();
                    sizes.insert(room, reader.unsigned()?.unwrap_or_default());
                }
                data.sizes = sizes.into_iter().collect();
            }
            "sids" => data.sids = Some(parts::read_names(&mut reader)?),
            "sid" => data.sid = reader.optional_text()?.map(str::to_owned),
            "packets" => data.answers = Some(parts::list(reader.raw_array()?)?),
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    data.message(kind)
}

/// The arguments in `{type: 2, data}`.
fn read_packet(reader: &mut Reader<'_>) -> Result<Args, MessageError> {
    let mut args = None;
    for _ in 0..reader.map()? {
        match reader.text()? {
            "data" => args = Some(parts::read_event(reader)?),
            _ => reader.skip()?,
        }
    }
    args.ok_or(MessageError::Missing { part: "packet.data" })
}

impl Data {
    fn message(self, kind: u64) -> Result<Message, MessageError> {
        let missing = |part| MessageError::Missing { part };
        let Data { options, rooms, close, request, count, event, answer, sockets, .. } = self;
        let options = options.ok_or(missing("opts"));
        let rooms = rooms.ok_or(missing("rooms"));
        let event = event.ok_or(missing("packet"));
        let answered = request.clone().ok_or(missing("requestId"));
        let answer = || answer.unwrap_or_else(parts::no_answer);
        Ok(match kind {
            kind::BROADCAST => Message::Broadcast { args: event?, options: options?, request },
            kind::JOIN => Message::Join { options: options?, rooms: rooms? },
            kind::LEAVE => Message::Leave { options: options?, rooms: rooms? },
            kind::DISCONNECT => Message::Disconnect { options: options?, close },
            kind::FETCH => match self.want.as_deref().and_then(Want::of) {
                Some(want) => Message::Summarize { options: options?, request: answered?, want },
                None => Message::FetchSockets { options: options?, request: answered? },
            },
            kind::FETCH_ANSWER if self.summed.is_some() => {
                let count = self.summed.unwrap_or_default();
                Message::Summary { request: answered?, count, rooms: self.sizes }
            }
            kind::FETCH_ANSWER => {
                Message::FetchSocketsResponse { request: answered?, sockets: sockets.ok_or(missing("sockets"))? }
            }
            kind::SERVER_SIDE_EMIT => Message::ServerSideEmit { args: event?, request },
            kind::SERVER_SIDE_EMIT_ANSWER => Message::ServerSideEmitResponse { request: answered?, answer: answer() },
            kind::CLIENT_COUNT if self.sids.is_some() => {
                Message::ClientsAsked { request: answered?, ids: self.sids.unwrap_or_default() }
            }
            kind::CLIENT_COUNT => {
                Message::BroadcastClientCount { request: answered?, count: count.ok_or(missing("clientCount"))? }
            }
            kind::ACK => match self.sid {
                Some(sid) => Message::AckOf { request: answered?, sid, answer: self.answers },
                None => Message::BroadcastAck { request: answered?, answer: answer() },
            },
            other => return Err(MessageError::UnknownType(other)),
        })
    }
}

/// Reads a whole message, JSON or MessagePack by its first byte. `Ok(None)` when it is from `own` itself, for
/// another namespace, or a heartbeat.
pub(super) fn read_message(own: &str, nsp: &str, payload: &[u8]) -> Result<Option<super::Envelope>, MessageError> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(rename = "type")]
        kind: u64,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        uid: Option<Cow<'a, str>>,
        #[serde(borrow)]
        nsp: Option<Cow<'a, str>>,
    }
    enum Content<'a> {
        Json(&'a str),
        Msgpack(&'a [u8]),
    }

    let (kind, uid, to, content) = if payload.first() == Some(&b'{') {
        let whole: Whole<'_> = serde_json::from_slice(payload)?;
        (whole.kind, whole.uid, whole.nsp, whole.data.map(|data| Content::Json(data.get())))
    } else {
        let mut reader = Reader::new(payload);
        let (mut kind, mut uid, mut to, mut content) = (None, None, None, None);
        for _ in 0..reader.map()? {
            match reader.text()? {
                "type" => kind = reader.unsigned()?,
                "uid" => uid = reader.optional_text()?.map(Cow::Borrowed),
                "nsp" => to = reader.optional_text()?.map(Cow::Borrowed),
                "data" => content = Some(Content::Msgpack(reader.raw()?)),
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        (kind.ok_or(MessageError::Missing { part: "type" })?, uid, to, content)
    };
    if uid.as_deref() == Some(own) || to.as_deref() != Some(nsp) || is_heartbeat(kind) {
        return Ok(None);
    }
    let message = match content {
        Some(Content::Json(data)) => read_json(kind, data)?,
        Some(Content::Msgpack(data)) => read_msgpack(kind, data)?,
        None if kind_exists(kind) => return Err(MessageError::Missing { part: "data" }),
        None => return Err(MessageError::UnknownType(kind)),
    };
    Ok(Some(super::Envelope { uid: uid.map(Cow::into_owned), nsp: nsp.to_owned(), message }))
}

fn kind_exists(kind: u64) -> bool {
    (kind::INITIAL_HEARTBEAT..=kind::ADAPTER_CLOSE).contains(&kind)
}
