//! The default parser: packets as text, attachments behind them.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;

use super::{Args, Attachments, Kind, MsgpackError, Packet, PacketType, is_reserved};

/// What a packet may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attachments of one packet. Stock parsers accept 10.
    pub max_attachments: usize,
    /// Bytes of one packet, its attachments included.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_attachments: 10,
            max_bytes: 10_000_000,
        }
    }
}

/// Reads the packets of one connection.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    pending: Option<Box<(Packet, usize, Vec<Bytes>)>>,
}

impl Decoder {
    /// A decoder that accepts packets within `limits`.
    pub fn new(limits: Limits) -> Self {
        Decoder {
            limits,
            pending: None,
        }
    }

    /// Takes a text message. `None` if attachments are due.
    pub fn text(&mut self, text: ByteString) -> Result<Option<Packet>, DecodeError> {
        if self.pending.is_some() {
            return Err(DecodeError::TextInsteadOfAttachment { missing: 1 });
        }
        let first = *text.as_bytes().first().ok_or(DecodeError::Empty)?;
        let packet_type = PacketType::from_digit(first).ok_or(DecodeError::UnknownType {
            found: first as char,
        })?;
        let mut rest = &text[1..];
        let mut due = 0;
        if packet_type.is_binary() {
            let (count, after) = rest
                .split_once('-')
                .ok_or(DecodeError::IllegalAttachments)?;
            due = count.parse().map_err(|_| DecodeError::IllegalAttachments)?;
            rest = after;
        }
        let mut nsp = "/";
        if rest.starts_with('/') {
            (nsp, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        let id = if id.is_empty() {
            None
        } else {
            Some(id.parse().map_err(|_| DecodeError::InvalidId)?)
        };
        let mut data = Args::none();
        if !json.is_empty() {
            data = Args::from_json(json, vec![])?;
        }
        let kind = packet_type.kind();
        if kind == Kind::Event && !data.is_empty() {
            data = data.into_event()?;
            if data.event().is_some_and(|name| is_reserved(&name)) {
                return Err(DecodeError::ReservedEvent);
            }
        }
        let packet = Packet {
            kind,
            nsp: nsp.into(),
            id,
            data,
        };
        if due > 0 {
            self.pending = Some(Box::new((packet, due, vec![])));
            return Ok(None);
        }
        Ok(Some(packet))
    }

    /// Takes a binary message. `None` if more attachments are due.
    pub fn binary(&mut self, attachment: Bytes) -> Result<Option<Packet>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedBinary)?;
        pending.2.push(attachment);
        if pending.2.len() < pending.1.min(self.limits.max_attachments) {
            self.pending = Some(pending);
            return Ok(None);
        }
        Ok(Some(pending.0))
    }

    /// Whether attachments are due.
    pub fn waiting(&self) -> bool {
        self.pending.is_some()
    }
}

fn head(out: &mut Vec<u8>, kind: Kind, nsp: &str, id: Option<u64>) {
    out.push(PacketType::of(kind, false).digit());
    if nsp != "/" {
        out.extend_from_slice(nsp.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        out.extend_from_slice(id.to_string().as_bytes());
    }
}

/// Appends an event with arguments `args` to `out` and gives back what has to follow as binary messages.
pub fn encode_event<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    event: &str,
    args: &T,
) -> Result<Attachments, EncodeError> {
    encode_args_event(out, nsp, id, &Args::new_event(event, args)?)
}

/// Appends an ack.
pub fn encode_ack<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    id: u64,
    args: &T,
) -> Result<Attachments, EncodeError> {
    encode_args_ack(out, nsp, id, &Args::new_list(args)?)
}

/// Appends an event whose payload (name and arguments) is `data` as it is.
pub fn encode_args_event(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    data: &Args,
) -> Result<Attachments, EncodeError> {
    head(out, Kind::Event, nsp, id);
    out.extend_from_slice(data.to_json().0.as_bytes());
    Ok(data.attachments().iter().cloned().collect())
}

/// Appends an ack whose arguments are those of `data` as they are.
pub fn encode_args_ack(
    out: &mut Vec<u8>,
    nsp: &str,
    id: u64,
    data: &Args,
) -> Result<Attachments, EncodeError> {
    head(out, Kind::Ack, nsp, Some(id));
    out.extend_from_slice(data.to_json().0.as_bytes());
    Ok(data.attachments().iter().cloned().collect())
}

/// Appends a CONNECT.
pub fn encode_connect<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    payload: Option<&T>,
) -> Result<(), EncodeError> {
    head(out, Kind::Connect, nsp, None);
    if let Some(payload) = payload {
        out.extend_from_slice(Args::new_single(payload)?.to_json().0.as_bytes());
    }
    Ok(())
}

/// Appends a CONNECT_ERROR.
pub fn encode_connect_error<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    error: &T,
) -> Result<(), EncodeError> {
    head(out, Kind::ConnectError, nsp, None);
    out.extend_from_slice(Args::new_single(error)?.to_json().0.as_bytes());
    Ok(())
}

/// Appends a DISCONNECT.
pub fn encode_disconnect(out: &mut Vec<u8>, nsp: &str) {
    head(out, Kind::Disconnect, nsp, None);
}

/// Appends any packet.
pub fn encode_packet(out: &mut Vec<u8>, packet: &Packet) -> Result<Attachments, EncodeError> {
    head(out, packet.kind, &packet.nsp, packet.id);
    out.extend_from_slice(packet.data.to_json().0.as_bytes());
    Ok(packet.data.attachments().iter().cloned().collect())
}

/// Splits `/admin?token=1` into name and query, as protocol v4 (EIO3) reads a namespace. In v5 the query is part of the name.
pub fn split_query(nsp: &str) -> (&str, Option<&str>) {
    nsp.split_once('?')
        .map_or((nsp, None), |(name, query)| (name, Some(query)))
}

/// Why what a client sent is not a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A text message of no characters.
    #[error("empty message")]
    Empty,
    /// The first character is not a packet type.
    #[error("unknown packet type {found:?}")]
    UnknownType {
        /// The character found.
        found: char,
    },
    /// A binary packet without a count of attachments.
    #[error("illegal attachments")]
    IllegalAttachments,
    /// More attachments than accepted.
    #[error("packet announces {announced} attachments, more than the {max} accepted")]
    TooManyAttachments {
        /// How many the packet announces.
        announced: usize,
        /// How many are accepted.
        max: usize,
    },
    /// The ack id is too large or has leading zeros.
    #[error("invalid ack id")]
    InvalidId,
    /// The payload is not JSON.
    #[error("payload is not JSON at byte {at}")]
    InvalidJson {
        /// The byte that does not fit.
        at: usize,
    },
    /// The payload of an event is not a list beginning with a name.
    #[error("not the payload of an event")]
    NotAnEvent,
    /// An event with one of the reserved names.
    #[error("reserved event name")]
    ReservedEvent,
    /// A binary message while none is due.
    #[error("binary message while no attachment is due")]
    UnexpectedBinary,
    /// A text message while attachments are due.
    #[error("text message while {missing} attachments are due")]
    TextInsteadOfAttachment {
        /// How many are still due.
        missing: usize,
    },
    /// The MessagePack parser could not read it.
    #[error(transparent)]
    Msgpack(#[from] MsgpackError),
}

/// Why arguments cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The type's own `Serialize` refused.
    #[error("arguments cannot be serialised: {0}")]
    Serialize(String),
}
