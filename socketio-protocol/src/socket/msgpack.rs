//! The format of `socket.io-msgpack-parser`: one binary message a packet.
//!
//! A packet is the map `{type, data, nsp, id?}`, its type one of the five [kinds](Kind), binary inside `data` as it is.
//! [`decode`] and [`encode`] go between that and the same [`Packet`]s that the text codec reads and writes; what they say
//! about values is the business of `transcode`, which the cluster uses too.

use std::borrow::Cow;

use serde::Serialize;

use super::codec::{DecodeError, EncodeError, Limits, check_count, check_payload};
use super::transcode::{
    is_undefined, read_args, read_list_len, read_map_header, write_map_header, write_str, write_uint,
};
use super::{Args, Kind, Packet, PacketType};

/// Reads one packet, which fills `message`.
///
/// # Errors
///
/// [`DecodeError`] when it is not a packet; the connection is to be closed, as for a text that is none.
///
/// ```
/// use socketio_protocol::socket::{Args, Kind, Limits, Packet, msgpack};
///
/// let packet = Packet::new(Kind::Event, "/", Args::new_event("move", &3)?);
/// let mut message = Vec::new();
/// msgpack::encode(&mut message, &packet);
/// assert_eq!(msgpack::decode(&message, Limits::default()), Ok(packet));
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn decode(message: &[u8], limits: Limits) -> Result<Packet, DecodeError> {
    if message.len() > limits.max_bytes {
        return Err(DecodeError::TooLarge { max: limits.max_bytes });
    }
    let (mut kind, mut nsp, mut id, mut data, mut elements) = (None, None, None, Args::none(), 0);
    let (members, mut at) = read_map_header(message)?;
    for _ in 0..members {
        let (key, read) = read_args(message.get(at..).unwrap_or_default())?;
        at += read;
        let rest = message.get(at..).unwrap_or_default();
        let (value, read) = read_args(rest)?;
        at += read;
        // notepack 2 writes members out that are undefined.
        let defined = !is_undefined(rest);
        match key.value::<Cow<'_, str>>().ok().flatten().as_deref() {
            Some("type") => kind = value.value::<u8>().ok().flatten(),
            Some("nsp") => nsp = value.value::<String>().ok().flatten(),
            Some("id") if defined => id = Some(value.value().ok().flatten().ok_or(DecodeError::InvalidId)?),
            Some("data") if defined => (data, elements) = (value, read_list_len(rest)),
            _ => {}
        }
    }
    if at != message.len() {
        return Err(MsgpackError::Trailing { bytes: message.len() - at }.into());
    }
    let kind = match kind {
        Some(0) => Kind::Connect,
        Some(1) => Kind::Disconnect,
        Some(2) => Kind::Event,
        Some(3) => Kind::Ack,
        Some(4) => Kind::ConnectError,
        _ => return Err(MsgpackError::NotAPacket.into()),
    };
    if data.is_empty() && matches!(kind, Kind::Event | Kind::Ack | Kind::ConnectError) {
        return Err(DecodeError::WrongPayload { kind });
    }
    let announced = data.attachments().len();
    if announced > limits.max_attachments {
        return Err(DecodeError::TooManyAttachments { announced, max: limits.max_attachments });
    }
    // What could not be the name of a namespace in a text is none here either.
    let nsp = nsp.filter(|nsp| nsp.starts_with('/') && !nsp.contains(',')).ok_or(MsgpackError::NotAPacket)?;
    check_count(kind, elements.saturating_sub(1), limits)?;
    check_payload(kind, &mut data)?;
    Ok(Packet { kind, nsp: nsp.into(), id, data })
}

/// Appends `packet` to `out`, the whole message.
///
/// ```
/// use socketio_protocol::socket::{Args, Kind, Packet, msgpack};
///
/// let mut message = Vec::new();
/// msgpack::encode(&mut message, &Packet::new(Kind::Connect, "/", Args::none()));
/// assert_eq!(message, b"\x82\xa4type\x00\xa3nsp\xa1/");
/// ```
pub fn encode(out: &mut Vec<u8>, packet: &Packet) {
    head(out, packet.kind, !packet.data.is_empty(), packet.id.is_some());
    if !packet.data.is_empty() {
        write_str(out, "data");
        packet.data.write_msgpack(out);
    }
    tail(out, &packet.nsp, packet.id);
}

/// Appends an event with the arguments in `args` to `out`, the whole message.
///
/// # Errors
///
/// [`EncodeError`] when `args` cannot be written; `out` is as it was.
///
/// ```
/// use socketio_protocol::socket::{Limits, msgpack};
///
/// let mut message = Vec::new();
/// msgpack::encode_event(&mut message, "/", Some(7), "move", &3)?;
/// let packet = msgpack::decode(&message, Limits::default())?;
/// assert_eq!((packet.id, packet.data.event().as_deref()), (Some(7), Some("move")));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn encode_event<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    event: &str,
    args: &T,
) -> Result<(), EncodeError> {
    let data = Args::new_event(event, args)?;
    head(out, Kind::Event, true, id.is_some());
    write_str(out, "data");
    data.write_msgpack(out);
    tail(out, nsp, id);
    Ok(())
}

/// Writes the map's header and its first member.
fn head(out: &mut Vec<u8>, kind: Kind, data: bool, id: bool) {
    write_map_header(out, 2 + usize::from(data) + usize::from(id));
    write_str(out, "type");
    write_uint(out, PacketType::of(kind, false) as u64);
}

/// Writes the members after `data`.
fn tail(out: &mut Vec<u8>, nsp: &str, id: Option<u64>) {
    write_str(out, "nsp");
    write_str(out, nsp);
    if let Some(id) = id {
        write_str(out, "id");
        write_uint(out, id);
    }
}

/// Why bytes are not MessagePack of the kind Socket.IO uses.
///
/// Whoever sent them is at fault: a client with the MessagePack parser, or whoever writes to the cluster's channels.
///
/// ```
/// use socketio_protocol::socket::{Args, MsgpackError};
///
/// assert_eq!(Args::from_msgpack(&[0x92, 1]), Err(MsgpackError::Truncated));
/// assert_eq!(Args::from_msgpack(&[0x90, 1]), Err(MsgpackError::Trailing { bytes: 1 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgpackError {
    /// The bytes end inside a value, or a length in them exceeds what is there.
    #[error("MessagePack ends inside a value")]
    Truncated,
    /// The value has ended and bytes are left.
    #[error("{bytes} bytes follow the MessagePack value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A byte that begins no value.
    #[error("MessagePack has no type {byte:#04x}")]
    UnknownType {
        /// The byte.
        byte: u8,
    },
    /// Arrays and maps more than 128 levels deep.
    #[error("MessagePack nested more than 128 levels deep")]
    TooDeep,
    /// A map has an array or a map as key.
    #[error("a MessagePack map has a key that is no text")]
    KeyNotText,
    /// A map beside binary that a receiver of text would take for the place of an attachment.
    #[error("a map with \"_placeholder\": true cannot travel beside binary")]
    PlaceholderLookalike,
    /// Not a map with the members of a packet.
    #[error("MessagePack is not a Socket.IO packet")]
    NotAPacket,
}

#[cfg(test)]
mod tests;
