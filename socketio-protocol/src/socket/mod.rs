//! Socket.IO packets and their typed arguments.
//!
//! A [`Packet`] says what happens (connect, event, ack, …) in which namespace and carries [`Args`]: the payload as it
//! came, JSON text with its attachments, which nobody parses until a handler asks for a type. [`Decoder`] and the
//! `encode_…` functions of [`codec`] turn packets into the text of the default parser and back; [`msgpack`] is the
//! format of `socket.io-msgpack-parser`, one binary message a packet.
//!
//! Binary data is ordinary data here. A [`Bytes`](bytes::Bytes) anywhere inside a serde type leaves as an attachment
//! and comes back from one; [`Value`] is the type for those who do not know what they receive.
//!
//! ```
//! use socketio_protocol::socket::{Decoder, Limits, encode_event};
//!
//! let mut text = Vec::new();
//! let attachments = encode_event(&mut text, "/", None, "draw", &("red", [1, 2]))?;
//! assert_eq!((text.as_slice(), attachments.len()), (br#"2["draw","red",[1,2]]"#.as_slice(), 0));
//!
//! let mut decoder = Decoder::new(Limits::default());
//! let packet = decoder.text(String::from_utf8(text)?.into())?.ok_or("no attachments are due")?;
//! assert_eq!(packet.data.event().as_deref(), Some("draw"));
//! assert_eq!(packet.data.to::<(String, [u8; 2])>()?, ("red".to_owned(), [1, 2]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod args;
pub mod codec;
mod compound;
mod de;
mod handover;
mod json;
pub mod msgpack;
mod pack;
mod packet;
mod plain_text;
mod ser;
mod transcode;
mod value;

pub use args::{Args, ArgsError};
pub use codec::{
    DecodeError, Decoder, EncodeError, Limits, encode_ack, encode_args_ack, encode_args_event, encode_connect,
    encode_connect_error, encode_disconnect, encode_event, encode_packet, split_query,
};
pub use msgpack::MsgpackError;
pub use pack::write_event;
pub use packet::{Kind, Packet, PacketType, RESERVED_EVENTS, is_reserved};
pub(crate) use transcode::write_str;
pub use value::Value;

/// The attachments of one packet, in the order they follow its text.
pub type Attachments = smallvec::SmallVec<[bytes::Bytes; 2]>;

#[cfg(test)]
mod tests;
