//! Parsers that an application brings along.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use socketio_protocol::engine::Message;
use socketio_protocol::socket::{EncodeError, Limits, Packet};

use crate::engine::Frame;

/// What packets look like on the wire, where that is neither the default nor MessagePack: the counterpart of what the
/// clients are given as their `parser`. [`Parser::custom`](super::Parser::custom) makes a server speak it.
///
/// One for the whole server, as the reference's `Encoder`; each connection gets a [`PacketDecoder`] of its own. A packet
/// for many clients is encoded once.
///
/// ```
/// use socketio_server::Server;
/// use socketio_server::parser::{Args, Encoded, EncodeError, Kind, Limits, Message, Packet, PacketDecoder, PacketParser, Parser};
///
/// /// A JSON array for each packet: `[type, namespace, id, payload]`. It has no place for binary.
/// #[derive(Debug)]
/// struct Arrays;
///
/// impl PacketParser for Arrays {
///     fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
///         let (payload, attachments) = packet.data.to_json();
///         if !attachments.is_empty() {
///             return Err(EncodeError::BinaryNotAllowed);
///         }
///         let head = serde_json::json!([packet.kind as u8, &*packet.nsp, packet.id]).to_string();
///         let payload = if payload.is_empty() { "null" } else { &payload };
///         Ok(Encoded::text(format!("{},{payload}]", &head[..head.len() - 1])))
///     }
///
///     fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
///         Box::new(Arrays)
///     }
/// }
///
/// impl PacketDecoder for Arrays {
///     fn decode(&mut self, message: Message) -> Result<Option<Packet>, Box<dyn std::error::Error + Send + Sync>> {
///         let Message::Text(text) = message else { return Err("binary".into()) };
///         let (kind, nsp, id, payload): (u8, String, Option<u64>, Option<Box<serde_json::value::RawValue>>) =
///             serde_json::from_str(&text)?;
///         let data = match payload {
///             Some(payload) => Args::from_json(payload.get().to_owned(), Vec::new())?,
///             None => Args::none(),
///         };
///         let kind = *Kind::ALL.get(usize::from(kind)).ok_or("unknown type")?;
///         Ok(Some(Packet { kind, nsp: nsp.into(), id, data }))
///     }
/// }
///
/// let io = Server::builder().parser(Parser::custom(Arrays)).build();
/// ```
pub trait PacketParser: fmt::Debug + Send + Sync + 'static {
    /// Writes a packet. The payload of an event begins with its name; that of a packet without one is
    /// [empty](socketio_protocol::socket::Args::is_empty).
    ///
    /// # Errors
    ///
    /// When this format cannot say it; who emits is told, and nothing is sent.
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError>;

    /// What reads the messages of one connection, within what the server accepts: a decoder looks itself at the limits
    /// that mean something in its format. Each message has been bounded by
    /// [`Limits::max_http_buffer_size`](crate::Limits::max_http_buffer_size) before.
    fn decoder(&self, limits: Limits) -> Box<dyn PacketDecoder>;
}

/// Reads the packets of one connection, for a [`PacketParser`].
///
/// A decoder that has to put packets together; the text announces that bytes follow:
///
/// ```
/// use socketio_server::parser::{Args, Kind, Message, Packet, PacketDecoder};
///
/// #[derive(Debug, Default)]
/// struct TextThenBytes {
///     text: Option<String>,
/// }
///
/// impl PacketDecoder for TextThenBytes {
///     fn decode(&mut self, message: Message) -> Result<Option<Packet>, Box<dyn std::error::Error + Send + Sync>> {
///         match (message, self.text.take()) {
///             (Message::Text(text), None) => self.text = Some(text.to_string()),
///             (Message::Binary(bytes), Some(name)) => {
///                 return Ok(Some(Packet::new(Kind::Event, "/", Args::new_event(&name, &bytes)?)));
///             }
///             _ => return Err("out of turn".into()),
///         }
///         Ok(None)
///     }
/// }
///
/// let mut decoder = TextThenBytes::default();
/// assert!(decoder.decode(Message::Text("photo".into())).unwrap().is_none());
/// let packet = decoder.decode(Message::Binary(vec![1, 2].into())).unwrap().unwrap();
/// assert_eq!(packet.data.event().as_deref(), Some("photo"));
/// ```
pub trait PacketDecoder: fmt::Debug + Send {
    /// The packet that `message` completes; `None` if more has to follow.
    ///
    /// The server looks itself whether the payload is one that such a packet can have, whether the namespace begins with
    /// a slash, and whether the event's name is reserved.
    ///
    /// # Errors
    ///
    /// When it is no packet. The text is logged and the connection closed.
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, Box<dyn std::error::Error + Send + Sync>>;

    /// Whether a packet has begun that more messages have to complete, for which a client has
    /// [some time](crate::Limits::attachments_timeout). Asked after a message that completed none. Default true.
    fn waiting(&self) -> bool {
        true
    }
}

/// A packet as messages: a text, binary messages, or a text with binary messages behind it.
///
/// ```
/// use socketio_server::parser::Encoded;
///
/// let with_attachment = Encoded::text(r#"["photo"]"#).and(vec![1, 2]);
/// assert_ne!(with_attachment, Encoded::binary(vec![1, 2]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    text: Option<ByteString>,
    binary: Vec<Bytes>,
}

impl Encoded {
    /// One text message.
    pub fn text(text: impl Into<ByteString>) -> Self {
        Self { text: Some(text.into()), binary: Vec::new() }
    }

    /// One binary message.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self { text: None, binary: vec![data.into()] }
    }

    /// Adds a binary message behind what is there.
    #[must_use]
    pub fn and(mut self, data: impl Into<Bytes>) -> Self {
        self.binary.push(data.into());
        self
    }

    pub(super) fn frame(self) -> Frame {
        match self.text {
            Some(text) => {
                let mut out = Frame::buffer(text.len());
                out.extend_from_slice(text.as_bytes());
                Frame::seal(out, self.binary)
            }
            None => Frame::binary(self.binary),
        }
    }
}

/// A parser for tests: MessagePack, its last byte first.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Reversed;

#[cfg(test)]
impl PacketParser for Reversed {
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
        let mut out = Vec::new();
        socketio_protocol::socket::msgpack::encode(&mut out, packet);
        out.reverse();
        Ok(Encoded::binary(out))
    }

    fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
        Box::new(Reversed)
    }
}

#[cfg(test)]
impl PacketDecoder for Reversed {
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, Box<dyn std::error::Error + Send + Sync>> {
        let Message::Binary(data) = message else { return Err("text".into()) };
        let bytes: Vec<u8> = data.iter().rev().copied().collect();
        Ok(Some(socketio_protocol::socket::msgpack::decode(&bytes, Limits::default())?))
    }
}
