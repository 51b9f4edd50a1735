//! The default parser: a packet as text, its attachments as binary messages behind it.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]
//!
//! 2["foo",1]                                            event in the namespace /
//! 2/admin,13["foo"]                                     event in /admin that wants an answer under 13
//! 51-["baz",{"_placeholder":true,"num":0}]              event that one attachment follows
//! ```
//!
//! [`Decoder`] reads the packets of one connection, the `encode_…` functions write them. Where the stock decoder turns odd
//! text into something, this one refuses it; the tests list the differences.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;

use super::json::{Fault, PlaceholderFault, write_plain};
use super::ser::Writer;
use super::{Args, Attachments, Kind, MsgpackError, Packet, PacketType, is_reserved};

/// What one packet may cost.
///
/// Its JSON may be 128 levels deep, which is not to be changed: reading is partly recursive, and so is what applications
/// do with what they read.
///
/// ```
/// use socketio_protocol::socket::{DecodeError, Decoder, Limits};
///
/// let mut decoder = Decoder::new(Limits { max_attachments: 1, ..Limits::default() });
/// let refused = decoder.text(r#"52-["photos",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#.into());
/// assert_eq!(refused, Err(DecodeError::TooManyAttachments { announced: 2, max: 1 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The number of attachments; 10 by default. Stock clients refuse packets with more, so a server that raises this
    /// must not send on what it receives.
    pub max_attachments: usize,
    /// Bytes of the text and the attachments together; 10,000,000 by default.
    pub max_bytes: usize,
    /// Arguments of an event, its name not counted, or of an ack; 1,000 by default.
    pub max_args: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_attachments: 10, max_bytes: 10_000_000, max_args: 1_000 }
    }
}

/// Reads the packets of one connection: texts, and the attachments that follow them.
///
/// After an error the connection is to be closed; what it sends next has no meaning any more. A decoder that waits for
/// attachments holds what has come so far, at most [`Limits::max_bytes`]; how long it may wait is the caller's to decide.
///
/// ```
/// use socketio_protocol::socket::{Decoder, Limits};
///
/// let mut decoder = Decoder::new(Limits::default());
/// assert!(decoder.text(r#"51-["photo",{"_placeholder":true,"num":0}]"#.into())?.is_none());
/// let packet = decoder.binary(bytes::Bytes::from_static(&[1, 2]))?.expect("all has come");
/// assert_eq!(packet.data.event().as_deref(), Some("photo"));
/// # Ok::<(), socketio_protocol::socket::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    pending: Option<Box<Pending>>,
}

/// A packet whose attachments have not all come.
#[derive(Debug)]
struct Pending {
    packet: Packet,
    missing: usize,
    bytes: usize,
    attachments: Vec<Bytes>,
}

impl Decoder {
    /// A decoder that accepts packets within `limits`.
    pub fn new(limits: Limits) -> Self {
        Decoder { limits, pending: None }
    }

    /// Takes a text message. `None` if attachments have to follow.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is not a packet, or an attachment was due.
    pub fn text(&mut self, text: ByteString) -> Result<Option<Packet>, DecodeError> {
        if let Some(pending) = self.pending.take() {
            return Err(DecodeError::TextInsteadOfAttachment { missing: pending.missing });
        }
        let bytes = text.len();
        if bytes > self.limits.max_bytes {
            return Err(DecodeError::TooLarge { max: self.limits.max_bytes });
        }
        let (packet, missing) = decode_text(text, self.limits)?;
        if missing == 0 {
            return Ok(Some(packet));
        }
        self.pending = Some(Box::new(Pending { packet, missing, bytes, attachments: Vec::new() }));
        Ok(None)
    }

    /// Takes a binary message. `None` if more attachments have to follow.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when none was due, or the packet becomes too large.
    pub fn binary(&mut self, attachment: Bytes) -> Result<Option<Packet>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedBinary)?;
        pending.bytes = pending.bytes.saturating_add(attachment.len());
        if pending.bytes > self.limits.max_bytes {
            return Err(DecodeError::TooLarge { max: self.limits.max_bytes });
        }
        pending.attachments.push(attachment);
        pending.missing -= 1;
        if pending.missing > 0 {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Packet { kind, nsp, id, data } = pending.packet;
        Ok(Some(Packet { kind, nsp, id, data: data.with(pending.attachments) }))
    }

    /// Whether attachments have to follow.
    pub fn waiting(&self) -> bool {
        self.pending.is_some()
    }
}

/// Reads the text of a packet and how many attachments follow it.
fn decode_text(text: ByteString, limits: Limits) -> Result<(Packet, usize), DecodeError> {
    let bytes = text.as_bytes();
    let first = text.chars().next().ok_or(DecodeError::Empty)?;
    let packet_type =
        u8::try_from(first).ok().and_then(PacketType::from_digit).ok_or(DecodeError::UnknownType { found: first })?;
    let mut at = 1;

    let mut attachments = 0;
    if packet_type.is_binary() {
        let digits = digits(bytes, at);
        if bytes.get(at + digits) != Some(&b'-') {
            return Err(DecodeError::IllegalAttachments);
        }
        // Leading zeros and "0" are refused; a number that does not fit is certainly too many.
        let announced = text.get(at..at + digits).filter(|digits| digits.starts_with(|first| first != '0'));
        attachments = announced.ok_or(DecodeError::IllegalAttachments)?.parse().unwrap_or(usize::MAX);
        if attachments > limits.max_attachments {
            return Err(DecodeError::TooManyAttachments { announced: attachments, max: limits.max_attachments });
        }
        at += digits + 1;
    }

    let mut nsp = ByteString::from_static("/");
    if bytes.get(at) == Some(&b'/') {
        let rest = text.get(at..).unwrap_or_default();
        let (name, comma) = rest.split_once(',').map_or((rest, 0), |(name, _)| (name, 1));
        if name.len() > 1 {
            nsp = text.slice_ref(name);
        }
        at += name.len() + comma;
    }

    let digits = digits(bytes, at);
    let mut id = None;
    if digits > 0 {
        let number = text.get(at..at + digits).unwrap_or_default();
        if number.len() > 1 && number.starts_with('0') {
            return Err(DecodeError::InvalidId);
        }
        id = Some(number.parse().map_err(|_| DecodeError::InvalidId)?);
        at += digits;
    }

    let mut data = Args::none();
    match bytes.get(at) {
        None if attachments == 0 => {}
        Some(b'[' | b'{' | b'"') => {
            let (payload, behind_first) = Args::from_json_at(text, at, attachments)?;
            check_count(packet_type.kind(), behind_first, limits)?;
            data = payload;
        }
        // Attachments of nothing, or something that no payload begins with.
        None | Some(_) => {
            return Err(DecodeError::WrongPayload { kind: packet_type.kind() });
        }
    }
    let kind = packet_type.kind();
    check_payload(kind, &mut data)?;
    Ok((Packet { kind, nsp, id, data }, attachments))
}

fn digits(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Checks that a list with this many elements behind its first, which is the name of an event, is not too long.
pub(super) fn check_count(kind: Kind, behind_first: usize, limits: Limits) -> Result<(), DecodeError> {
    match kind {
        Kind::Event if behind_first > limits.max_args => Err(DecodeError::TooManyArguments { max: limits.max_args }),
        Kind::Ack if behind_first >= limits.max_args.max(1) => {
            Err(DecodeError::TooManyArguments { max: limits.max_args })
        }
        _ => Ok(()),
    }
}

/// Checks that `data` can be the payload of such a packet. None at all can be the payload of any.
pub(super) fn check_payload(kind: Kind, data: &mut Args) -> Result<(), DecodeError> {
    if data.is_empty() {
        return Ok(());
    }
    let (first, no_attachments) = (data.json().as_bytes().first(), data.attachments().is_empty());
    let fits = match kind {
        Kind::Event | Kind::Ack => data.is_list(),
        Kind::Connect => first == Some(&b'{') && no_attachments,
        Kind::ConnectError => matches!(first, Some(b'{' | b'"')) && no_attachments,
        Kind::Disconnect => false,
    };
    if !fits {
        return Err(DecodeError::WrongPayload { kind });
    }
    if kind == Kind::Event
        && let Some(event) = data.set_event(|name| !is_reserved(name))?
    {
        return Err(DecodeError::ReservedEvent { event });
    }
    Ok(())
}

/// Appends an event with the arguments in `args` to `out`, and gives back what has to follow as binary messages.
///
/// What `out` holds stays: a server leaves room for a frame header and puts the engine's `4` there. `nsp` begins with a
/// slash and contains no comma, else the packet goes elsewhere.
///
/// ```
/// use socketio_protocol::socket::encode_event;
///
/// let mut out = Vec::new();
/// let attachments = encode_event(&mut out, "/chat", Some(7), "say", &("hello", bytes::Bytes::from_static(&[1, 2])))?;
/// assert_eq!(out, br#"51-/chat,7["say","hello",{"_placeholder":true,"num":0}]"#);
/// assert_eq!(attachments[0], [1, 2][..]);
/// # Ok::<(), socketio_protocol::socket::EncodeError>(())
/// ```
///
/// # Errors
///
/// [`EncodeError`] when `args` cannot be written; `out` is as it was.
pub fn encode_event<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    event: &str,
    args: &T,
) -> Result<Attachments, EncodeError> {
    write(out, Kind::Event, nsp, id, |writer| writer.list(Some(event), args))
}

/// Appends an ack that answers `id` with the arguments in `args`, as [`encode_event`] does an event.
///
/// # Errors
///
/// [`EncodeError`] when `args` cannot be written; `out` is as it was.
///
/// ```
/// let mut out = Vec::new();
/// let attachments = socketio_protocol::socket::encode_ack(&mut out, "/admin", 7, &("ok", 200))?;
/// assert_eq!(out, br#"3/admin,7["ok",200]"#);
/// assert!(attachments.is_empty());
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn encode_ack<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    id: u64,
    args: &T,
) -> Result<Attachments, EncodeError> {
    write(out, Kind::Ack, nsp, Some(id), |writer| writer.list(None, args))
}

/// Appends an event whose payload, name and arguments, is `data` as it is.
///
/// # Errors
///
/// [`EncodeError::NotAnEvent`] when `data` has no name; `out` is as it was.
///
/// ```
/// use socketio_protocol::socket::{Args, EncodeError, encode_args_event};
///
/// let mut out = Vec::new();
/// encode_args_event(&mut out, "/", None, &Args::new_event("move", &3)?)?;
/// assert_eq!(out, br#"2["move",3]"#);
/// let nameless = encode_args_event(&mut out, "/", None, &Args::new_list(&3)?);
/// assert_eq!(nameless, Err(EncodeError::NotAnEvent));
/// # Ok::<_, EncodeError>(())
/// ```
pub fn encode_args_event(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    data: &Args,
) -> Result<Attachments, EncodeError> {
    if !data.is_event() {
        return Err(EncodeError::NotAnEvent);
    }
    let attachments = list_head(out, Kind::Event, nsp, id, data);
    out.extend_from_slice(data.json().as_bytes());
    Ok(attachments)
}

/// Appends an ack that answers `id` with the arguments of `data` as they are.
///
/// ```
/// use socketio_protocol::socket::{Args, encode_args_ack};
///
/// let mut out = Vec::new();
/// encode_args_ack(&mut out, "/", 7, &Args::new_list("ok")?);
/// assert_eq!(out, br#"37["ok"]"#);
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn encode_args_ack(out: &mut Vec<u8>, nsp: &str, id: u64, data: &Args) -> Attachments {
    write_args_ack(out, nsp, Some(id), data)
}

fn write_args_ack(out: &mut Vec<u8>, nsp: &str, id: Option<u64>, data: &Args) -> Attachments {
    let attachments = list_head(out, Kind::Ack, nsp, id, data);
    out.push(b'[');
    data.write_arguments(out, true);
    out.push(b']');
    attachments
}

/// Writes what stands before the JSON of `data`.
fn list_head(out: &mut Vec<u8>, kind: Kind, nsp: &str, id: Option<u64>, data: &Args) -> Attachments {
    let attachments: Attachments = data.attachments().iter().cloned().collect();
    head(out, PacketType::of(kind, !attachments.is_empty()), attachments.len(), nsp, id);
    attachments
}

/// Appends a CONNECT with `payload`, a map or a struct.
///
/// # Errors
///
/// [`EncodeError`] when `payload` cannot be written or contains binary; `out` is as it was.
///
/// ```
/// let mut out = Vec::new();
/// let payload = serde_json::json!({ "sid": "abc" });
/// socketio_protocol::socket::encode_connect(&mut out, "/admin", Some(&payload))?;
/// assert_eq!(out, br#"0/admin,{"sid":"abc"}"#);
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn encode_connect<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    payload: Option<&T>,
) -> Result<(), EncodeError> {
    match payload {
        Some(payload) => write_single(out, Kind::Connect, nsp, payload),
        None => {
            head(out, PacketType::Connect, 0, nsp, None);
            Ok(())
        }
    }
}

/// Appends a CONNECT_ERROR with `error`: in protocol v5 `{message, data?}`, in v4 (EIO3) any value.
///
/// # Errors
///
/// [`EncodeError`] when `error` cannot be written or contains binary; `out` is as it was.
///
/// ```
/// let mut out = Vec::new();
/// let error = serde_json::json!({ "message": "a token, please" });
/// socketio_protocol::socket::encode_connect_error(&mut out, "/", &error)?;
/// assert_eq!(out, br#"4{"message":"a token, please"}"#);
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn encode_connect_error<T: Serialize + ?Sized>(out: &mut Vec<u8>, nsp: &str, error: &T) -> Result<(), EncodeError> {
    write_single(out, Kind::ConnectError, nsp, error)
}

/// Appends a DISCONNECT.
///
/// ```
/// let mut out = Vec::new();
/// socketio_protocol::socket::encode_disconnect(&mut out, "/admin");
/// assert_eq!(out, b"1/admin,");
/// ```
pub fn encode_disconnect(out: &mut Vec<u8>, nsp: &str) {
    head(out, PacketType::Disconnect, 0, nsp, None);
}

/// Appends any packet, as it is.
///
/// # Errors
///
/// [`EncodeError::NotAnEvent`] when an event has no name, [`EncodeError::BinaryNotAllowed`] when another packet than an
/// event or an ack has attachments; `out` is as it was.
///
/// ```
/// use socketio_protocol::socket::{Args, Kind, Packet, encode_packet};
///
/// let mut out = Vec::new();
/// let packet = Packet::new(Kind::Event, "/", Args::new_event("move", &3)?).with_id(7);
/// encode_packet(&mut out, &packet)?;
/// assert_eq!(out, br#"27["move",3]"#);
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn encode_packet(out: &mut Vec<u8>, packet: &Packet) -> Result<Attachments, EncodeError> {
    let Packet { kind, nsp, id, data } = packet;
    match kind {
        Kind::Event if !data.is_empty() => encode_args_event(out, nsp, *id, data),
        Kind::Ack if !data.is_empty() => Ok(write_args_ack(out, nsp, *id, data)),
        _ if !data.attachments().is_empty() => Err(EncodeError::BinaryNotAllowed),
        _ => {
            head(out, PacketType::of(*kind, false), 0, nsp, *id);
            out.extend_from_slice(data.json().as_bytes());
            Ok(Attachments::new())
        }
    }
}

/// Writes a packet whose type is known when its payload has been written.
fn write(
    out: &mut Vec<u8>,
    kind: Kind,
    nsp: &str,
    id: Option<u64>,
    payload: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<Attachments, EncodeError> {
    let start = out.len();
    head(out, PacketType::of(kind, false), 0, nsp, id);
    let mut writer = Writer::new(out);
    let written = payload(&mut writer).and_then(|()| writer.finish());
    match &written {
        Ok(attachments) if attachments.is_empty() => {}
        Ok(attachments) => {
            let mut head = vec![PacketType::of(kind, true).digit()];
            write_plain(&mut head, &attachments.len());
            head.push(b'-');
            out.splice(start..=start, head);
        }
        Err(_) => out.truncate(start),
    }
    written
}

fn write_single<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    kind: Kind,
    nsp: &str,
    payload: &T,
) -> Result<(), EncodeError> {
    let start = out.len();
    let attachments = write(out, kind, nsp, None, |writer| payload.serialize(writer))?;
    if !attachments.is_empty() {
        out.truncate(start);
        return Err(EncodeError::BinaryNotAllowed);
    }
    Ok(())
}

/// Writes what stands before the JSON.
fn head(out: &mut Vec<u8>, packet_type: PacketType, attachments: usize, nsp: &str, id: Option<u64>) {
    out.push(packet_type.digit());
    if packet_type.is_binary() {
        write_plain(out, &attachments);
        out.push(b'-');
    }
    if nsp.len() > 1 {
        out.extend_from_slice(nsp.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        write_plain(out, &id);
    }
}

/// Splits `/admin?token=1` into name and query, as protocol v4 (EIO3) reads a namespace. In v5 the query is part of the
/// name.
///
/// ```
/// use socketio_protocol::socket::split_query;
///
/// assert_eq!(split_query("/admin?token=1"), ("/admin", Some("token=1")));
/// assert_eq!(split_query("/admin"), ("/admin", None));
/// ```
pub fn split_query(nsp: &str) -> (&str, Option<&str>) {
    nsp.split_once('?').map_or((nsp, None), |(name, query)| (name, Some(query)))
}

/// Why what a client sent is not a Socket.IO packet.
///
/// Each of these is the client's doing. The connection it came from is closed, no other is touched.
///
/// ```
/// use socketio_protocol::socket::{DecodeError, Decoder, Limits};
///
/// let read = |text: &'static str| Decoder::new(Limits::default()).text(text.into()).unwrap_err();
/// assert!(matches!(read("9"), DecodeError::UnknownType { .. }));
/// assert!(matches!(read("2[oops]"), DecodeError::InvalidJson { .. }));
/// assert!(matches!(read(r#"2["disconnect"]"#), DecodeError::ReservedEvent { .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A text message without text.
    #[error("empty message")]
    Empty,
    /// The type is none of the seven.
    #[error("unknown packet type {found:?}")]
    UnknownType {
        /// What stands in its place.
        found: char,
    },
    /// A binary packet that does not say how many attachments follow, or says none.
    #[error("binary packet without a number of attachments")]
    IllegalAttachments,
    /// More attachments than accepted, see [`Limits`].
    #[error("packet announces {announced} attachments, more than the {max} accepted")]
    TooManyAttachments {
        /// How many the packet announces.
        announced: usize,
        /// How many are accepted.
        max: usize,
    },
    /// Text and attachments are larger than accepted, see [`Limits`].
    #[error("packet is larger than the {max} bytes accepted")]
    TooLarge {
        /// How many bytes are accepted.
        max: usize,
    },
    /// More arguments than accepted, see [`Limits`].
    #[error("packet has more than the {max} arguments accepted")]
    TooManyArguments {
        /// How many are accepted.
        max: usize,
    },
    /// The name of the namespace does not begin with a slash, or contains a comma. Only other formats can say that.
    #[error("invalid name of a namespace")]
    InvalidNamespace,
    /// The ack id does not fit 64 bits or has leading zeros.
    #[error("invalid ack id")]
    InvalidId,
    /// The payload is not JSON.
    #[error("payload is not JSON from its byte {at} on")]
    InvalidJson {
        /// The byte that does not fit.
        at: usize,
    },
    /// The payload is nested deeper than 128 levels.
    #[error("payload is nested deeper than 128 levels")]
    TooDeep,
    /// The payload is not what such a packet carries.
    #[error("invalid payload for {kind:?}")]
    WrongPayload {
        /// What the packet is about.
        kind: Kind,
    },
    /// The payload of an event does not begin with a name.
    #[error("payload does not begin with the name of an event")]
    NotAnEvent,
    /// The event has a name that [nobody may send](super::RESERVED_EVENTS).
    #[error("event name {event:?} is reserved")]
    ReservedEvent {
        /// The name.
        event: String,
    },
    /// A placeholder names no attachment of the packet, or is something else besides.
    #[error("illegal placeholder for an attachment")]
    IllegalPlaceholder,
    /// Two placeholders for one attachment.
    #[error("attachment {num} has two placeholders")]
    RepeatedPlaceholder {
        /// Its number.
        num: usize,
    },
    /// A binary message while no attachment is due.
    #[error("binary message while no attachment is due")]
    UnexpectedBinary,
    /// A text message while attachments are due.
    #[error("text message while {missing} attachments are due")]
    TextInsteadOfAttachment {
        /// How many are due.
        missing: usize,
    },
    /// What the MessagePack parser says.
    #[error(transparent)]
    Msgpack(#[from] MsgpackError),
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax { at } => DecodeError::InvalidJson { at },
            Fault::TooDeep => DecodeError::TooDeep,
        }
    }
}

impl From<PlaceholderFault> for DecodeError {
    fn from(fault: PlaceholderFault) -> Self {
        match fault {
            PlaceholderFault::Illegal => DecodeError::IllegalPlaceholder,
            PlaceholderFault::Repeated { num } => DecodeError::RepeatedPlaceholder { num },
        }
    }
}

/// Why arguments cannot be written.
///
/// Whoever emits is at fault; nothing has been sent.
///
/// ```
/// use socketio_protocol::{Bytes, socket::{Args, EncodeError, encode_connect}};
///
/// let refused = encode_connect(&mut Vec::new(), "/", Some(&Bytes::from_static(&[1])));
/// assert_eq!(refused, Err(EncodeError::BinaryNotAllowed));
/// let by_list = std::collections::HashMap::from([(vec![1], 2)]);
/// assert_eq!(Args::new_list(&by_list), Err(EncodeError::KeyNotText));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The type's own `Serialize` refused.
    #[error("arguments cannot be serialised: {0}")]
    Serialize(String),
    /// Lists and objects more than 128 levels deep.
    #[error("arguments are nested deeper than 128 levels")]
    TooDeep,
    /// A map with keys that are not text, numbers or booleans.
    #[error("arguments contain a map with keys that cannot be text")]
    KeyNotText,
    /// An object beside binary that a receiver would take for the place of an attachment.
    #[error("an object with \"_placeholder\": true cannot travel beside binary")]
    PlaceholderLookalike,
    /// Binary in the payload of a CONNECT or CONNECT_ERROR.
    #[error("binary can only travel in events and acks")]
    BinaryNotAllowed,
    /// A payload that has no name was to be sent as an event.
    #[error("payload does not begin with the name of an event")]
    NotAnEvent,
}

#[cfg(test)]
mod tests;
