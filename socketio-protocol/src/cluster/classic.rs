//! The format of `@socket.io/redis-adapter` (`createAdapter`), version 8.3 as written, 6.0 to 8.x as read.
//!
//! Broadcasts are MessagePack, `[uid, {type, data, nsp}, {rooms, except, flags}]`, on a channel per room or the
//! namespace's own. Requests and answers are JSON, except those that carry a packet: a first byte `{` tells.
//! [`Channels`] has the names.
//!
//! Requests of socket.io-redis 5.x, which mean other things by the same numbers, are told by their lower-case
//! `requestid` and are not applied; its broadcasts read like all others.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

pub use super::channels::{Channels, DEFAULT_PREFIX, Room};
use super::{
    Envelope, Message, MessageError, Options, READS_MORE, Want,
    parts::{self, AnySocket, JsonOptions, JsonSocket, JsonTarget, Name, Names, Order},
    reader::Reader,
};
use crate::socket::Args;

/// The length of a server's id.
pub const UID_LENGTH: usize = 6;

/// The numbers of requests and of the answers that have one.
mod kind {
    pub(super) const SOCKETS: u64 = 0;
    pub(super) const ALL_ROOMS: u64 = 1;
    pub(super) const JOIN: u64 = 2;
    pub(super) const LEAVE: u64 = 3;
    pub(super) const DISCONNECT: u64 = 4;
    pub(super) const FETCH: u64 = 5;
    pub(super) const SERVER_SIDE_EMIT: u64 = 6;
    pub(super) const BROADCAST: u64 = 7;
    pub(super) const CLIENT_COUNT: u64 = 8;
    pub(super) const ACK: u64 = 9;
}

/// Appends `message` as server `uid` sends it to `out`, and tells the channel it goes to.
///
/// Answers go to the channel that all servers read, as 8.3 does by default; to send one to a single server,
/// publish the same bytes on [`Channels::response_to`].
///
/// ```
/// use socketio_protocol::cluster::{Message, classic::{Channels, encode}};
///
/// let (channels, mut out) = (Channels::new("socket.io", "/"), Vec::new());
/// let channel = encode(&channels, "abcdef", &Message::AllRooms { request: "1".into() }, &mut out);
/// assert_eq!(channel, "socket.io-request#/#");
/// assert_eq!(out, br#"{"uid":"abcdef","requestId":"1","type":1}"#);
/// ```
pub fn encode<'a>(channels: &'a Channels, uid: &str, message: &Message, out: &mut Vec<u8>) -> Cow<'a, str> {
    let request = JsonRequest::from_sender(uid);
    match message {
        Message::Broadcast { args, options, request: None } => {
            encode_broadcast(channels, uid, args, options, Order::Server, out);
            return channels.broadcast_to(&options.rooms);
        }
        Message::Broadcast { args, options, request: Some(request) } => {
            parts::write_map(out, 5);
            parts::write_text(out, "uid");
            parts::write_text(out, uid);
            parts::write_text(out, "requestId");
            parts::write_text(out, request);
            parts::write_text(out, "type");
            parts::write_uint(out, kind::BROADCAST);
            parts::write_text(out, "packet");
            let Ok(()) = write_packet(channels.nsp(), out, |out| {
                args.write_msgpack(out);
                Ok::<(), Infallible>(())
            });
            parts::write_text(out, "opts");
            parts::write_options(out, options, Order::Server);
        }
        Message::Join { options, rooms } => request.join(options, rooms).write(out),
        Message::Leave { options, rooms } => request.leave(options, rooms).write(out),
        Message::Disconnect { options, close } => request.disconnect(options, *close).write(out),
        Message::ServerSideEmit { args, request: id } => {
            JsonRequest { request_id: id.as_deref(), ..request }.server_side_emit(args, out);
        }
        Message::FetchSockets { options, request: id } => {
            JsonRequest { request_id: Some(id), kind: kind::FETCH, opts: Some(options.into()), ..request }.write(out);
        }
        Message::Summarize { options, request: id, want } => {
            let (request_id, opts, words) = (Some(&**id), Some(options.into()), want.words());
            JsonRequest { request_id, kind: kind::FETCH, opts, want: Some(&words), ..request }.write(out);
        }
        Message::AllRooms { request: id } => {
            JsonRequest { request_id: Some(id), kind: kind::ALL_ROOMS, ..request }.write(out);
        }
        Message::Sockets { rooms, request: id } => {
            JsonRequest { request_id: Some(id), kind: kind::SOCKETS, rooms: Some(rooms), ..request }.write(out);
        }
        Message::JoinOne { sid, room, request: id } => {
            let one = JsonRequest { request_id: Some(id), sid: Some(sid), room: Some(room), ..request };
            JsonRequest { kind: kind::JOIN, ..one }.write(out);
        }
        Message::LeaveOne { sid, room, request: id } => {
            let one = JsonRequest { request_id: Some(id), sid: Some(sid), room: Some(room), ..request };
            JsonRequest { kind: kind::LEAVE, ..one }.write(out);
        }
        Message::DisconnectOne { sid, close, request: id } => {
            let one = JsonRequest { request_id: Some(id), sid: Some(sid), close: Some(*close), ..request };
            JsonRequest { kind: kind::DISCONNECT, ..one }.write(out);
        }
        answer => {
            encode_answer(answer, uid, out);
            return channels.response().into();
        }
    }
    channels.request().into()
}

/// Reads what came on a broadcast channel. `Ok(None)` when it is for another namespace or from `own` itself.
///
/// # Errors
///
/// When it is not a broadcast as any version writes it; it is to be ignored.
///
/// ```
/// use socketio_protocol::{cluster::{Message, Options, classic::{Channels, decode_broadcast, encode}}, socket::Args};
///
/// let (channels, mut out) = (Channels::new("socket.io", "/"), Vec::new());
/// let (args, options) = (Args::new_event("tick", &1)?, Options::default());
/// encode(&channels, "abcdef", &Message::Broadcast { args: args.clone(), options, request: None }, &mut out);
///
/// let envelope = decode_broadcast(&channels, "another", &out)?.expect("it is for us");
/// assert!(matches!(envelope.message, Message::Broadcast { args: read, .. } if read == args));
/// assert!(decode_broadcast(&channels, "abcdef", &out)?.is_none(), "our own");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn decode_broadcast(channels: &Channels, own: &str, payload: &[u8]) -> Result<Option<Envelope>, MessageError> {
    let mut reader = Reader::new(payload);
    if reader.array()? != 3 {
        return Err(MessageError::Wrong { part: "broadcast", reason: "not three elements".into() });
    }
    let uid = reader.optional_text()?;
    if uid == Some(own) {
        return Ok(None);
    }
    let Some(args) = read_packet(&mut reader, channels.nsp())? else { return Ok(None) };
    let options = parts::read_options(&mut reader)?;
    reader.end()?;
    Ok(Some(Envelope {
        uid: uid.map(str::to_owned),
        nsp: channels.nsp().to_owned(),
        message: Message::Broadcast { args, options, request: None },
    }))
}

/// Reads what came on the request channel. `Ok(None)` when it is from `own` itself, for another namespace, or a
/// request of socket.io-redis 5.x.
///
/// # Errors
///
/// When it is not a request as versions 6.0 to 8.x write it; it is to be ignored.
///
/// ```
/// use socketio_protocol::cluster::{Message, classic::{Channels, decode_request}};
///
/// let request = br#"{"uid":"abcdef","requestId":"1","type":1}"#;
/// let envelope = decode_request(&Channels::new("socket.io", "/"), "another", request)?.expect("it is for us");
/// assert_eq!(envelope.uid.as_deref(), Some("abcdef"));
/// assert!(matches!(envelope.message, Message::AllRooms { request } if request == "1"));
/// # Ok::<_, socketio_protocol::cluster::MessageError>(())
/// ```
pub fn decode_request(channels: &Channels, own: &str, payload: &[u8]) -> Result<Option<Envelope>, MessageError> {
    let request = if payload.first() == Some(&b'{') {
        AnyRequest::from_json(payload)?
    } else {
        AnyRequest::from_msgpack(payload)?
    };
    if request.of_version_5 || request.uid.as_deref() == Some(own) {
        return Ok(None);
    }
    if request.nsp.as_deref().is_some_and(|nsp| nsp != channels.nsp()) {
        return Ok(None);
    }
    let uid = request.uid.clone();
    let message = request.message()?;
    Ok(Some(Envelope { uid, nsp: channels.nsp().to_owned(), message }))
}

/// Reads what came on a response channel, if `wants` its request id.
///
/// Answers to those who [read more](super::READS_MORE) say who answers, others do not. One with `sockets: []` reads as
/// [`Message::FetchSocketsResponse`], though it may answer [`Message::Sockets`]: the request id tells.
///
/// # Errors
///
/// When it is not an answer as versions 6.0 to 8.x write it; it is to be ignored.
///
/// ```
/// use socketio_protocol::cluster::{Message, classic::{Channels, decode_response}};
///
/// let (channels, answer) = (Channels::new("socket.io", "/"), br#"{"requestId":"1","rooms":["red"]}"#);
/// let envelope = decode_response(&channels, answer, |request| request == "1")?.expect("somebody waits for it");
/// assert!(matches!(envelope.message, Message::AllRoomsResponse { rooms, .. } if rooms == ["red"]));
/// assert!(decode_response(&channels, answer, |_| false)?.is_none());
/// # Ok::<_, socketio_protocol::cluster::MessageError>(())
/// ```
pub fn decode_response(
    channels: &Channels,
    payload: &[u8],
    wants: impl FnOnce(&str) -> bool,
) -> Result<Option<Envelope>, MessageError> {
    let (uid, message) = if payload.first() == Some(&b'{') {
        answer_from_json(payload, wants)?
    } else {
        (None, answer_from_msgpack(payload, wants)?)
    };
    Ok(message.map(|message| Envelope { uid, nsp: channels.nsp().to_owned(), message }))
}

/// `[uid, packet, options]`
fn encode_broadcast(channels: &Channels, uid: &str, args: &Args, options: &Options, order: Order, out: &mut Vec<u8>) {
    let Ok(()) = encode_broadcast_of(channels, uid, options, order, out, |out| {
        args.write_msgpack(out);
        Ok::<(), Infallible>(())
    });
}

/// As [`encode_broadcast`], of an event that `write` appends. If that fails, half a message has been appended.
pub(super) fn encode_broadcast_of<E>(
    channels: &Channels,
    uid: &str,
    options: &Options,
    order: Order,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.push(0x93);
    parts::write_text(out, uid);
    write_packet(channels.nsp(), out, write)?;
    parts::write_options(out, options, order);
    Ok(())
}

/// `{type: 2, data, nsp}`
fn write_packet<E>(nsp: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    out.extend_from_slice(b"\x83\xa4type\x02\xa4data");
    write(out)?;
    parts::write_text(out, "nsp");
    parts::write_text(out, nsp);
    Ok(())
}

/// The arguments of an event packet for namespace `nsp`; `None` when it is for another.
///
/// socket.io 2.x writes type 5 when there is binary inside; without a namespace it is `/`.
fn read_packet(reader: &mut Reader<'_>, nsp: &str) -> Result<Option<Args>, MessageError> {
    if let Some(args) = read_usual_packet(reader, nsp) {
        return Ok(Some(args));
    }
    let packet = read_any_packet(reader)?;
    (packet.nsp.unwrap_or("/") == nsp).then(|| parts::read_event(&mut Reader::new(packet.data))).transpose()
}

/// The arguments of a packet for namespace `nsp` as servers and emitters of today write it, read in one go. `None` for any
/// other and for a faulty one, which have to be looked at key by key.
fn read_usual_packet(reader: &mut Reader<'_>, nsp: &str) -> Option<Args> {
    let mut ahead = *reader;
    if !ahead.passes(b"\x83\xa4type\x02\xa4data") {
        return None;
    }
    let args = parts::try_event(&mut ahead)?;
    if !ahead.passes(b"\xa3nsp") || ahead.text().ok()? != nsp {
        return None;
    }
    *reader = ahead;
    Some(args)
}

struct AnyPacket<'a> {
    data: &'a [u8],
    nsp: Option<&'a str>,
}

fn read_any_packet<'a>(reader: &mut Reader<'a>) -> Result<AnyPacket<'a>, MessageError> {
    let (mut data, mut nsp) = (None, None);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "type" => match reader.unsigned()? {
                Some(2 | 5) => {}
                other => return Err(MessageError::UnknownType(other.unwrap_or(u64::MAX))),
            },
            "data" => data = Some(reader.raw_array()?),
            "nsp" => nsp = reader.optional_text()?,
            _ => reader.skip()?,
        }
    }
    Ok(AnyPacket { data: data.ok_or(MessageError::Missing { part: "packet.data" })?, nsp })
}

// ---- Requests ----

/// A request as 8.3 writes it: the keys in its order, those that a request does not have left out.
#[derive(Default, Serialize)]
pub(super) struct JsonRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<JsonTarget<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    want: Option<&'a [String]>,
}

impl<'a> JsonRequest<'a> {
    pub(super) fn from_sender(uid: &'a str) -> Self {
        JsonRequest { uid: Some(uid), ..JsonRequest::default() }
    }

    pub(super) fn join(self, options: &'a Options, rooms: &'a [String]) -> Self {
        JsonRequest { kind: kind::JOIN, opts: Some(options.into()), rooms: Some(rooms), ..self }
    }

    pub(super) fn leave(self, options: &'a Options, rooms: &'a [String]) -> Self {
        JsonRequest { kind: kind::LEAVE, opts: Some(options.into()), rooms: Some(rooms), ..self }
    }

    pub(super) fn disconnect(self, options: &'a Options, close: bool) -> Self {
        JsonRequest { kind: kind::DISCONNECT, opts: Some(options.into()), close: Some(close), ..self }
    }

    pub(super) fn server_side_emit(self, args: &Args, out: &mut Vec<u8>) {
        let list = parts::json_list(args);
        JsonRequest { kind: kind::SERVER_SIDE_EMIT, data: serde_json::from_str(&list).ok(), ..self }.write(out);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a Vec takes every byte, and all keys are text");
    }
}

/// A request as any version writes it.
#[derive(Default)]
struct AnyRequest {
    uid: Option<String>,
    id: Option<String>,
    kind: Option<u64>,
    of_version_5: bool,
    options: Option<Options>,
    rooms: Option<Vec<String>>,
    sid: Option<String>,
    room: Option<String>,
    close: bool,
    /// From `data` or from inside `packet`.
    args: Option<Args>,
    /// From inside `packet`.
    nsp: Option<String>,
    want: Option<Want>,
}

impl AnyRequest {
    fn from_json(payload: &[u8]) -> Result<AnyRequest, MessageError> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            uid: Option<Cow<'a, str>>,
            #[serde(borrow, rename = "requestId")]
            id: Option<Cow<'a, str>>,
            requestid: Option<IgnoredAny>,
            #[serde(rename = "type")]
            kind: Option<u64>,
            opts: Option<JsonOptions>,
            rooms: Option<Names>,
            sid: Option<String>,
            room: Option<Name>,
            close: Option<bool>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            #[serde(borrow)]
            packet: Option<Packet<'a>>,
            want: Option<Vec<String>>,
        }
        #[derive(Deserialize)]
        struct Packet<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
            nsp: Option<String>,
        }

        let fields: Fields<'_> = serde_json::from_slice(payload)?;
        if fields.requestid.is_some() {
            return Ok(AnyRequest { of_version_5: true, ..AnyRequest::default() });
        }
        let data = fields.packet.as_ref().map(|packet| packet.data).or(fields.data);
        Ok(AnyRequest {
            uid: fields.uid.map(Cow::into_owned),
            id: fields.id.map(Cow::into_owned),
            kind: fields.kind,
            of_version_5: false,
            options: fields.opts.map(JsonOptions::options).transpose()?,
            rooms: fields.rooms.map(Names::names),
            sid: fields.sid,
            room: fields.room.and_then(|name| name.0),
            close: fields.close.unwrap_or(false),
            args: data.map(parts::event_from_json).transpose()?,
            nsp: fields.packet.map(|packet| packet.nsp.unwrap_or_else(|| "/".into())),
            want: fields.want.as_deref().and_then(Want::of),
        })
    }

    fn from_msgpack(payload: &[u8]) -> Result<AnyRequest, MessageError> {
        let mut reader = Reader::new(payload);
        let mut request = AnyRequest::default();
        for _ in 0..reader.map()? {
            match reader.text()? {
                "uid" => request.uid = reader.optional_text()?.map(str::to_owned),
                "requestId" => request.id = reader.optional_text()?.map(str::to_owned),
                "requestid" => {
                    reader.skip()?;
                    request.of_version_5 = true;
                }
                "type" => request.kind = reader.unsigned()?,
                "opts" => request.options = Some(parts::read_options(&mut reader)?),
                "rooms" => request.rooms = Some(parts::read_names(&mut reader)?),
                "sid" => request.sid = reader.name()?,
                "room" => request.room = reader.name()?,
                "close" => request.close = reader.boolean()?.unwrap_or(false),
                "data" => request.args = Some(parts::read_event(&mut reader)?),
                "packet" => {
                    let packet = read_any_packet(&mut reader)?;
                    request.args = Some(parts::read_event(&mut Reader::new(packet.data))?);
                    request.nsp = Some(packet.nsp.unwrap_or("/").to_owned());
                }
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        Ok(request)
    }

    fn message(self) -> Result<Message, MessageError> {
        let missing = |part| MessageError::Missing { part };
        let request = self.id.ok_or(missing("requestId"));
        let options = self.options.ok_or(missing("opts"));
        let rooms = self.rooms.ok_or(missing("rooms"));
        let one = || -> Result<_, MessageError> { Ok((self.sid.ok_or(missing("opts"))?, request.clone()?)) };
        Ok(match self.kind.ok_or(missing("type"))? {
            kind::SOCKETS => Message::Sockets { rooms: rooms?, request: request? },
            kind::ALL_ROOMS => Message::AllRooms { request: request? },
            kind::JOIN => match options {
                Ok(options) => Message::Join { options, rooms: rooms? },
                Err(_) => {
                    let (sid, request) = one()?;
                    Message::JoinOne { sid, room: self.room.ok_or(missing("room"))?, request }
                }
            },
            kind::LEAVE => match options {
                Ok(options) => Message::Leave { options, rooms: rooms? },
                Err(_) => {
                    let (sid, request) = one()?;
                    Message::LeaveOne { sid, room: self.room.ok_or(missing("room"))?, request }
                }
            },
            kind::DISCONNECT => match options {
                Ok(options) => Message::Disconnect { options, close: self.close },
                Err(_) => {
                    let (sid, request) = one()?;
                    Message::DisconnectOne { sid, close: self.close, request }
                }
            },
            kind::FETCH => match self.want {
                Some(want) => Message::Summarize { options: options?, request: request?, want },
                None => Message::FetchSockets { options: options?, request: request? },
            },
            kind::SERVER_SIDE_EMIT => {
                Message::ServerSideEmit { args: self.args.ok_or(missing("data"))?, request: request.ok() }
            }
            kind::BROADCAST => Message::Broadcast {
                args: self.args.ok_or(missing("packet"))?,
                options: options?,
                request: Some(request?),
            },
            other => return Err(MessageError::UnknownType(other)),
        })
    }
}

// ---- Answers ----

fn encode_answer(answer: &Message, uid: &str, out: &mut Vec<u8>) {
    #[derive(Default, Serialize)]
    struct Answer<'a> {
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        kind: Option<u64>,
        #[serde(rename = "requestId")]
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sockets: Option<Vec<JsonSocket<'a>>>,
        #[serde(rename = "sockets", skip_serializing_if = "Option::is_none")]
        ids: Option<&'a [String]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rooms: Option<&'a [String]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
        #[serde(rename = "clientCount", skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        #[serde(rename = "count", skip_serializing_if = "Option::is_none")]
        summed: Option<u64>,
        #[serde(rename = "roomSizes", skip_serializing_if = "Option::is_none")]
        sizes: Option<BTreeMap<&'a str, u64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sids: Option<&'a [String]>,
        /// Who answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<&'a str>,
    }

    let reads_more = answer.answers().is_some_and(|request| request.starts_with(READS_MORE));
    let nothing = Answer { uid: reads_more.then_some(uid), ..Answer::default() };
    let data;
    let answer = match answer {
        Message::FetchSocketsResponse { request, sockets } => {
            let sockets = sockets.iter().map(JsonSocket::from).collect();
            Answer { request_id: request, sockets: Some(sockets), ..nothing }
        }
        Message::SocketsResponse { request, ids } => Answer { request_id: request, ids: Some(ids), ..nothing },
        Message::AllRoomsResponse { request, rooms } => Answer { request_id: request, rooms: Some(rooms), ..nothing },
        Message::ServerSideEmitResponse { request, answer } => {
            data = parts::json_first(answer);
            let data = data.as_deref().and_then(|data| serde_json::from_str(data).ok());
            Answer { kind: Some(kind::SERVER_SIDE_EMIT), request_id: request, data, ..nothing }
        }
        Message::BroadcastClientCount { request, count } => {
            Answer { kind: Some(kind::CLIENT_COUNT), request_id: request, count: Some(*count), ..nothing }
        }
        Message::Summary { request, count, rooms } => {
            let sizes = rooms.iter().map(|(room, size)| (&**room, *size)).collect();
            let (sockets, sizes) = (Some(Vec::new()), Some(sizes));
            Answer { request_id: request, sockets, summed: Some(*count), sizes, ..nothing }
        }
        Message::ClientsAsked { request, ids } => {
            let (kind, count) = (Some(kind::CLIENT_COUNT), Some(ids.len() as u64));
            Answer { kind, request_id: request, count, sids: Some(ids), ..nothing }
        }
        Message::OneDone { request } => Answer { request_id: request, ..nothing },
        Message::BroadcastAck { request, answer } => return encode_ack(request, answer, out),
        Message::AckOf { request, sid, answer } => return encode_ack_of(request, sid, answer.as_ref(), out),
        _ => unreachable!("requests are written before answers are looked at"),
    };
    serde_json::to_writer(out, &answer).expect("a Vec takes every byte, and all keys are text");
}

fn encode_ack(request: &str, answer: &Args, out: &mut Vec<u8>) {
    let value = answer.first();
    parts::write_map(out, 2 + u32::from(value.is_some()));
    parts::write_text(out, "type");
    parts::write_uint(out, kind::ACK);
    parts::write_text(out, "requestId");
    parts::write_text(out, request);
    if let Some(value) = value {
        parts::write_text(out, "packet");
        value.write_msgpack(out);
    }
}

fn encode_ack_of(request: &str, sid: &str, answer: Option<&Args>, out: &mut Vec<u8>) {
    parts::write_map(out, 3 + u32::from(answer.is_some()));
    parts::write_text(out, "type");
    parts::write_uint(out, kind::ACK);
    parts::write_text(out, "requestId");
    parts::write_text(out, request);
    parts::write_text(out, "sid");
    parts::write_text(out, sid);
    if let Some(answer) = answer {
        parts::write_text(out, "packets");
        answer.write_msgpack(out);
    }
}

/// With the uid of who answers, if it says so.
fn answer_from_json(
    payload: &[u8],
    wants: impl FnOnce(&str) -> bool,
) -> Result<(Option<String>, Option<Message>), MessageError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, rename = "requestId")]
        id: Option<Cow<'a, str>>,
        requestid: Option<IgnoredAny>,
        #[serde(rename = "type")]
        kind: Option<u64>,
        #[serde(borrow)]
        sockets: Option<&'a RawValue>,
        #[serde(borrow)]
        rooms: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "parts::present")]
        data: Option<&'a RawValue>,
        #[serde(rename = "clientCount")]
        count: Option<u64>,
        #[serde(borrow, default, deserialize_with = "parts::present")]
        packet: Option<&'a RawValue>,
        #[serde(rename = "count")]
        summed: Option<u64>,
        #[serde(rename = "roomSizes")]
        sizes: Option<BTreeMap<String, u64>>,
        sids: Option<Vec<String>>,
        uid: Option<String>,
    }

    let answer: Answer<'_> = serde_json::from_slice(payload)?;
    if answer.requestid.is_some() {
        return Ok((None, None));
    }
    let id = answer.id.ok_or(MessageError::Missing { part: "requestId" })?;
    if !wants(&id) {
        return Ok((None, None));
    }
    let request = id.into_owned();
    if let Some(count) = answer.summed {
        let rooms = answer.sizes.unwrap_or_default().into_iter().collect();
        return Ok((answer.uid, Some(Message::Summary { request, count, rooms })));
    }
    if let Some(ids) = answer.sids {
        return Ok((answer.uid, Some(Message::ClientsAsked { request, ids })));
    }
    let one = |value: Option<&RawValue>| value.map_or_else(|| Ok(parts::no_answer()), parts::list_of_one_from_json);
    let message = match (answer.kind, answer.sockets, answer.rooms) {
        (Some(kind::SERVER_SIDE_EMIT), ..) => Message::ServerSideEmitResponse { request, answer: one(answer.data)? },
        (Some(kind::CLIENT_COUNT), ..) => {
            let count = answer.count.ok_or(MessageError::Missing { part: "clientCount" })?;
            Message::BroadcastClientCount { request, count }
        }
        (Some(kind::ACK), ..) => Message::BroadcastAck { request, answer: one(answer.packet)? },
        (Some(other), None, None) => return Err(MessageError::UnknownType(other)),
        (_, Some(sockets), _) => match serde_json::from_str::<Vec<String>>(sockets.get()) {
            Ok(ids) if !ids.is_empty() => Message::SocketsResponse { request, ids },
            _ => {
                let sockets: Vec<AnySocket> = serde_json::from_str(sockets.get())?;
                let sockets = sockets.into_iter().map(AnySocket::socket).collect();
                Message::FetchSocketsResponse { request, sockets }
            }
        },
        (_, _, Some(rooms)) => {
            let rooms = serde_json::from_str::<Names>(rooms.get())?.names();
            Message::AllRoomsResponse { request, rooms }
        }
        (None, None, None) => Message::OneDone { request },
    };
    Ok((answer.uid, Some(message)))
}

fn answer_from_msgpack(payload: &[u8], wants: impl FnOnce(&str) -> bool) -> Result<Option<Message>, MessageError> {
    let mut reader = Reader::new(payload);
    let (mut kind, mut id, mut value, mut count) = (None, None, None, None);
    let (mut sid, mut answers) = (None, None);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "type" => kind = reader.unsigned()?,
            "requestId" => id = reader.optional_text()?,
            "packet" | "data" => value = Some(reader.raw()?).filter(|value| !parts::is_undefined(value)),
            "clientCount" => count = reader.unsigned()?,
            "sid" => sid = reader.optional_text()?,
            "packets" => answers = Some(reader.raw_array()?),
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    let id = id.ok_or(MessageError::Missing { part: "requestId" })?;
    if !wants(id) {
        return Ok(None);
    }
    let request = id.to_owned();
    let answer = || value.map_or_else(|| Ok(parts::no_answer()), parts::list_of_one);
    Ok(Some(match kind {
        Some(kind::ACK) if sid.is_some() => {
            let answer = answers.map(parts::list).transpose()?;
            Message::AckOf { request, sid: sid.unwrap_or_default().to_owned(), answer }
        }
        Some(kind::ACK) => Message::BroadcastAck { request, answer: answer()? },
        Some(kind::SERVER_SIDE_EMIT) => Message::ServerSideEmitResponse { request, answer: answer()? },
        Some(kind::CLIENT_COUNT) => {
            let count = count.ok_or(MessageError::Missing { part: "clientCount" })?;
            Message::BroadcastClientCount { request, count }
        }
        other => return Err(MessageError::UnknownType(other.unwrap_or(u64::MAX))),
    }))
}
