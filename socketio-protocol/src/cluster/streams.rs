//! The format of `@socket.io/redis-streams-adapter` 0.3: XADD for what must not be lost, PUBLISH for questions.
//!
//! Broadcasts, joins, leaves and disconnections are entries of a stream, with the fields `uid`, `nsp`, `type` and
//! `data`; all namespaces share it. Questions, and broadcasts that want acknowledgements, are MessagePack on the
//! namespace's channel, answers on the asker's. Versions 0.1 and 0.2, and the emitter, put questions into the stream
//! too; those are read as well.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Envelope, Message, MessageError, Options, body};
pub use super::{
    body::ClassicOnly,
    channels::{Channels, DEFAULT_PREFIX},
    sharded::{UID_LENGTH, answers_to},
};
use crate::socket::Args;

/// The stream's name if not told otherwise.
pub const DEFAULT_STREAM: &str = "socket.io";
/// What the names of sessions begin with if not told otherwise.
pub const DEFAULT_SESSION_PREFIX: &str = "sio:session:";
/// The type of an entry that says nothing: a place from which clients can go on. (To versions 0.1 and 0.2 a server leaves
/// with it, which they have not heard of.)
pub const MARK: &str = "13";
/// About how many entries are kept if not told otherwise.
pub const DEFAULT_MAX_LEN: usize = 10_000;

/// How a message travels.
///
/// ```
/// use socketio_protocol::cluster::{Message, Options, streams::{Carried, Channels, encode}};
///
/// let channels = Channels::new("socket.io", "/");
/// let join = Message::Join { options: Options::default(), rooms: vec!["red".into()] };
/// assert!(matches!(encode(&channels, "one", None, &join)?, Carried::Entry(_)), "for all");
/// let question = Message::FetchSockets { options: Options::default(), request: "1".into() };
/// assert!(matches!(encode(&channels, "one", None, &question)?, Carried::Message { .. }));
/// # Ok::<_, socketio_protocol::cluster::sharded::ClassicOnly>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried<'a> {
    /// As an entry of a stream.
    Entry(Entry<'a>),
    /// As a message on a channel.
    Message {
        /// Which.
        channel: Cow<'a, str>,
        /// The bytes.
        payload: Vec<u8>,
    },
}

/// The fields of a stream entry.
///
/// ```
/// use socketio_protocol::cluster::streams::Entry;
///
/// /// `XADD` with the fields of an entry, as the words of a command.
/// fn command<'a>(stream: &'a str, entry: &'a Entry<'_>) -> Vec<&'a str> {
///     let mut words = vec!["XADD", stream, "*", "uid", &entry.uid, "nsp", &entry.nsp, "type", &entry.kind];
///     if let Some(data) = &entry.data {
///         words.extend(["data", data]);
///     }
///     words
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The server that adds it.
    pub uid: Cow<'a, str>,
    /// The namespace it is for.
    pub nsp: Cow<'a, str>,
    /// The message's number, in decimal.
    pub kind: String,
    /// JSON, or MessagePack in base64.
    pub data: Option<String>,
}

/// Writes `message` as server `uid` sends it. Answers go to `requester`.
///
/// # Errors
///
/// [`ClassicOnly`].
///
/// ```
/// use socketio_protocol::cluster::{Message, Options, streams::{Carried, Channels, encode}};
///
/// let message = Message::Disconnect { options: Options::default(), close: true };
/// let channels = Channels::new("socket.io", "/");
/// let Carried::Entry(entry) = encode(&channels, "one", None, &message)? else { panic!() };
/// assert_eq!((&*entry.uid, &*entry.nsp, &*entry.kind), ("one", "/", "6"));
/// # Ok::<_, socketio_protocol::cluster::sharded::ClassicOnly>(())
/// ```
pub fn encode<'a>(
    channels: &'a Channels,
    uid: &'a str,
    requester: Option<&str>,
    message: &Message,
) -> Result<Carried<'a>, ClassicOnly> {
    let kind = body::kind_of(message)?;
    match message {
        Message::Broadcast { request: None, .. }
        | Message::Join { .. }
        | Message::Leave { .. }
        | Message::Disconnect { .. } => {
            let mut data = Vec::new();
            write_data(message, &mut data)?;
            let data = String::from_utf8(data).expect("JSON and base64 are text");
            Ok(Carried::Entry(Entry {
                uid: uid.into(),
                nsp: channels.nsp().into(),
                kind: kind.to_string(),
                data: Some(data),
            }))
        }
        _ => {
            let mut payload = Vec::new();
            body::write_message(&mut body::Msgpack(&mut payload), uid, channels.nsp(), message)?;
            let channel = match requester {
                Some(requester) => answers_to(channels, requester),
                None => channels.broadcast(None),
            };
            Ok(Carried::Message { channel, payload })
        }
    }
}

/// Appends the `data` of an entry.
pub(super) fn write_data(message: &Message, out: &mut Vec<u8>) -> Result<(), ClassicOnly> {
    if !body::has_binary(message) {
        return body::write_data(&mut body::Json(out), message);
    }
    let mut data = Vec::new();
    body::write_data(&mut body::Msgpack(&mut data), message)?;
    out.extend_from_slice(STANDARD.encode(&data).as_bytes());
    Ok(())
}

/// As [`write_data`] of a broadcast, in the form of emitters.
pub(super) fn write_emitted(nsp: &str, args: &Args, options: &Options, out: &mut Vec<u8>) {
    if args.attachments().is_empty() {
        return body::write_emitted(&mut body::Json(out), nsp, args, options);
    }
    let mut data = Vec::new();
    body::write_emitted(&mut body::Msgpack(&mut data), nsp, args, options);
    out.extend_from_slice(STANDARD.encode(&data).as_bytes());
}

/// Reads what came on a channel. `Ok(None)` when it is from `own` itself, for another namespace, or a heartbeat.
///
/// # Errors
///
/// When it is not a message as these libraries write it; it is to be ignored.
///
/// ```
/// use socketio_protocol::cluster::{Message, Options, streams::{Carried, Channels, decode_message, encode}};
///
/// let channels = Channels::new("socket.io", "/");
/// let question = Message::FetchSockets { options: Options::default(), request: "1".into() };
/// let Carried::Message { payload, .. } = encode(&channels, "one", None, &question)? else { panic!() };
/// let envelope = decode_message(&channels, "another", &payload)?.expect("it is for us");
/// assert!(matches!(envelope.message, Message::FetchSockets { request, .. } if request == "1"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn decode_message(channels: &Channels, own: &str, payload: &[u8]) -> Result<Option<Envelope>, MessageError> {
    body::read_message(own, channels.nsp(), payload)
}

/// Reads the fields of a stream entry, if it is for a namespace that is here: `own` gives this server's id in it.
/// `Ok(None)` when it is not, when it is our own, or a heartbeat.
///
/// # Errors
///
/// When it is not an entry as these libraries write it; it is to be passed over.
///
/// ```
/// use socketio_protocol::cluster::{Message, streams::decode_entry};
///
/// let fields: [(&[u8], &[u8]); 4] =
///     [(b"uid", b"one"), (b"nsp", b"/"), (b"type", b"6"), (b"data", br#"{"opts":{"rooms":[],"except":[]},"close":true}"#)];
/// let here = |nsp: &str| (nsp == "/").then_some("another");
/// let envelope = decode_entry(fields, here)?.expect("the namespace is here");
/// assert!(matches!(envelope.message, Message::Disconnect { close: true, .. }));
/// # Ok::<_, socketio_protocol::cluster::MessageError>(())
/// ```
pub fn decode_entry<'a, 'o>(
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    own: impl FnOnce(&str) -> Option<&'o str>,
) -> Result<Option<Envelope>, MessageError> {
    let (mut uid, mut nsp, mut kind, mut data) = (None, None, None, None);
    for (field, value) in fields {
        match field {
            b"uid" => uid = Some(text("uid", value)?),
            b"nsp" => nsp = Some(text("nsp", value)?),
            b"type" => kind = Some(text("type", value)?),
            b"data" => data = Some(text("data", value)?),
            _ => {}
        }
    }
    let nsp = nsp.ok_or(MessageError::Missing { part: "nsp" })?;
    let Some(own) = own(nsp) else { return Ok(None) };
    if uid == Some(own) {
        return Ok(None);
    }
    let kind = kind.ok_or(MessageError::Missing { part: "type" })?;
    let kind: u64 = kind.parse().map_err(|_| MessageError::Wrong { part: "type", reason: "not a number".into() })?;
    if body::is_heartbeat(kind) {
        return Ok(None);
    }
    let data = data.ok_or(MessageError::Missing { part: "data" })?;
    let message = if data.starts_with('{') {
        body::read_json(kind, data)?
    } else {
        let data =
            STANDARD.decode(data).map_err(|error| MessageError::Wrong { part: "data", reason: error.to_string() })?;
        body::read_msgpack(kind, &data)?
    };
    Ok(Some(Envelope { uid: uid.map(str::to_owned), nsp: nsp.to_owned(), message }))
}

fn text<'a>(part: &'static str, value: &'a [u8]) -> Result<&'a str, MessageError> {
    std::str::from_utf8(value).map_err(|_| MessageError::Wrong { part, reason: "not UTF-8".into() })
}

/// The stream of namespace `nsp` when there are `count` of them: `name`, or `name-0` and so on.
///
/// Node.js divides a signed hash and for half of the longer names writes to `name--1`, which nobody reads. We write
/// where its servers read; [`all_streams`] has what it writes.
///
/// ```
/// use socketio_protocol::cluster::streams::stream_of;
///
/// assert_eq!(stream_of("socket.io", 1, "/chat"), "socket.io");
/// assert_eq!(stream_of("socket.io", 3, "/"), "socket.io-2");
/// ```
pub fn stream_of(name: &str, count: u32, nsp: &str) -> String {
    if count <= 1 {
        return name.to_owned();
    }
    format!("{name}-{}", (hash(nsp) % count as i32).unsigned_abs())
}

/// All streams that servers with `count` streams may write to.
///
/// ```
/// use socketio_protocol::cluster::streams::all_streams;
///
/// assert_eq!(all_streams("socket.io", 2), ["socket.io-0", "socket.io-1", "socket.io--1"]);
/// ```
pub fn all_streams(name: &str, count: u32) -> Vec<String> {
    if count <= 1 {
        return vec![name.to_owned()];
    }
    let (read, lost) = ((0..count).map(|i| format!("{name}-{i}")), (1..count).map(|i| format!("{name}--{i}")));
    read.chain(lost).collect()
}

/// The hash of Java's strings, over UTF-16 units.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}
