//! How packets are written for clients and read from them: as text with attachments, as MessagePack, or in a format of
//! the application's own.
//!
//! A server speaks one of them, and its clients must speak the same. [`Parser`] says which; [`PacketParser`] is what an
//! application implements for its own. Between the servers of a cluster packets travel in another format, which knows
//! nothing of parsers.

mod custom;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::socket::{self, Attachments, DecodeError, MsgpackError, msgpack};

#[cfg(test)]
pub(crate) use self::custom::Reversed;
pub use self::custom::{Encoded, PacketDecoder, PacketParser};
use crate::engine::Frame;
pub use socketio_protocol::engine::Message;
pub use socketio_protocol::socket::{Args, EncodeError, Kind, Limits, Packet};

/// The format of Socket.IO packets.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let io = Server::builder().parser(Parser::MsgPack).build();
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Parser {
    /// Text with JSON inside, followed by its attachments. What every client speaks.
    #[default]
    Json,
    /// One binary message for each packet, in MessagePack: clients use `socket.io-msgpack-parser`. Smaller when much
    /// of what is sent is binary or numbers.
    MsgPack,
    /// The application's own: clients use its counterpart.
    Custom(Arc<dyn PacketParser>),
}

impl PartialEq for Parser {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Parser::Json, Parser::Json) | (Parser::MsgPack, Parser::MsgPack) => true,
            (Parser::Custom(one), Parser::Custom(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Parser {}

impl Parser {
    /// The application's own.
    ///
    /// See [`PacketParser`], whose example is a whole parser.
    ///
    /// ```
    /// use socketio_server::parser::{PacketParser, Parser};
    ///
    /// fn agreed(parser: impl PacketParser) -> Parser {
    ///     Parser::custom(parser)
    /// }
    /// ```
    pub fn custom(parser: impl PacketParser) -> Self {
        Parser::Custom(Arc::new(parser))
    }

    /// An event.
    pub(crate) fn event<T: Serialize + ?Sized>(
        &self,
        nsp: &str,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(event.len() + 96);
                let attachments = socket::encode_event(&mut out, nsp, id, event, args)?;
                Ok(seal(out, attachments))
            }
            Parser::MsgPack => {
                let mut out = Vec::with_capacity(event.len() + 64);
                msgpack::encode_event(&mut out, nsp, id, event, args)?;
                Ok(binary(out))
            }
            Parser::Custom(_) => self.event_of(&nsp.into(), id, &Args::new_event(event, args)?),
        }
    }

    /// An event whose name and arguments are there already.
    pub(crate) fn event_of(&self, nsp: &ByteString, id: Option<u64>, args: &Args) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(nsp.len() + args.json_len() + 32);
                let attachments = socket::encode_args_event(&mut out, nsp, id, args)?;
                Ok(seal(out, attachments))
            }
            Parser::MsgPack | Parser::Custom(_) => {
                self.packet(&Packet { id, ..Packet::new(Kind::Event, nsp.clone(), args.clone()) })
            }
        }
    }

    pub(crate) fn ack<T: Serialize + ?Sized>(&self, nsp: &ByteString, id: u64, args: &T) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(64);
                let attachments = socket::encode_ack(&mut out, nsp, id, args)?;
                Ok(seal(out, attachments))
            }
            Parser::MsgPack | Parser::Custom(_) => {
                self.packet(&Packet::new(Kind::Ack, nsp.clone(), Args::new_list(args)?).with_id(id))
            }
        }
    }

    /// Any other packet.
    pub(crate) fn packet(&self, packet: &Packet) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(64);
                let attachments = socket::encode_packet(&mut out, packet)?;
                Ok(seal(out, attachments))
            }
            Parser::MsgPack => {
                let mut out = Vec::with_capacity(64);
                msgpack::encode(&mut out, packet);
                Ok(binary(out))
            }
            Parser::Custom(parser) => match parser.encode(packet)? {
                // Nothing would be written for ever.
                nothing if nothing == Encoded::default() => {
                    Err(EncodeError::Serialize("the parser made no message of a packet".into()))
                }
                encoded => Ok(encoded.frame()),
            },
        }
    }

    /// What reads the packets of one connection.
    pub(crate) fn decoder(&self, limits: Limits) -> Decoder {
        match self {
            Parser::Json => Decoder::Json(socket::Decoder::new(limits)),
            // What is binary in MessagePack has come with the packet: nobody waits for it.
            Parser::MsgPack => Decoder::MsgPack(Limits { max_attachments: usize::MAX, ..limits }),
            Parser::Custom(parser) => Decoder::Custom(parser.decoder(limits)),
        }
    }
}

/// Most packets have no attachments, and are spared what it takes to carry some along.
fn seal(out: Vec<u8>, attachments: Attachments) -> Frame {
    if attachments.is_empty() { Frame::seal(out, []) } else { Frame::seal(out, attachments) }
}

fn binary(packet: Vec<u8>) -> Frame {
    Frame::message(Message::Binary(packet.into()))
}

/// The arguments of an event in MessagePack; nothing if it is none.
pub(crate) fn msgpack_args(packet: &Bytes) -> Args {
    let limits = Limits { max_attachments: usize::MAX, max_bytes: usize::MAX, max_args: usize::MAX };
    msgpack::decode(packet, limits).map_or_else(|_| Args::none(), |packet| packet.data)
}

/// Reads the packets of one connection.
#[derive(Debug)]
pub(crate) enum Decoder {
    Json(socket::Decoder),
    MsgPack(Limits),
    Custom(Box<dyn PacketDecoder>),
}

/// Why a message is no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPacket {
    #[error(transparent)]
    Ours(#[from] DecodeError),
    #[error("{0}")]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl Decoder {
    /// The packet that this message completes. After an error the connection is to be closed.
    pub(crate) fn message(&mut self, message: Message) -> Result<Option<Packet>, NoPacket> {
        Ok(match (self, message) {
            (Decoder::Json(decoder), Message::Text(text)) => decoder.text(text)?,
            (Decoder::Json(decoder), Message::Binary(data)) => decoder.binary(data)?,
            (Decoder::MsgPack(limits), Message::Binary(data)) => Some(msgpack::decode(&data, *limits)?),
            (Decoder::MsgPack(_), Message::Text(_)) => return Err(DecodeError::from(MsgpackError::NotAPacket).into()),
            (Decoder::Custom(decoder), message) => {
                let packet = decoder.decode(message).map_err(NoPacket::Custom)?;
                packet.map(Packet::checked).transpose()?
            }
        })
    }

    /// Whether the rest of a packet has to follow.
    pub(crate) fn waiting(&self) -> bool {
        match self {
            Decoder::Json(decoder) => decoder.waiting(),
            Decoder::MsgPack(_) => false,
            Decoder::Custom(decoder) => decoder.waiting(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client gets, as the messages that it would send for the same packet.
    fn messages(frame: &Frame) -> Vec<Message> {
        let text = (!frame.text().is_empty()).then(|| String::from_utf8(frame.text().to_vec()).unwrap());
        let text = text.map(|text| Message::Text(text.into()));
        text.into_iter().chain(frame.attachments().cloned().map(Message::Binary)).collect()
    }

    #[test]
    fn either_parser_reads_what_it_writes() {
        let nsp = ByteString::from_static("/admin");
        let data = (1, Bytes::from_static(b"\x00\xff"), "é");
        for parser in [Parser::Json, Parser::MsgPack, Parser::custom(Reversed)] {
            let args = Args::new_event("ev", &data).unwrap();
            let refusal = Args::new_single(&serde_json::json!({ "message": "no" })).unwrap();
            for (frame, kind, id) in [
                (parser.event(&nsp, Some(7), "ev", &data).unwrap(), Kind::Event, Some(7)),
                (parser.event_of(&nsp, None, &args).unwrap(), Kind::Event, None),
                (parser.ack(&nsp, 3, &data).unwrap(), Kind::Ack, Some(3)),
                (
                    parser.packet(&Packet::new(Kind::ConnectError, nsp.clone(), refusal)).unwrap(),
                    Kind::ConnectError,
                    None,
                ),
                (
                    parser.packet(&Packet::new(Kind::Disconnect, nsp.clone(), Args::none())).unwrap(),
                    Kind::Disconnect,
                    None,
                ),
            ] {
                let mut decoder = parser.decoder(Limits::default());
                let mut packet = None;
                for message in messages(&frame) {
                    assert!(packet.is_none(), "nothing follows a packet that is complete");
                    packet = decoder.message(message).unwrap();
                }
                let packet = packet.expect("all parts have come");
                assert_eq!((packet.kind, packet.id, &packet.nsp), (kind, id, &nsp), "{parser:?}");
                if matches!(kind, Kind::Event | Kind::Ack) {
                    assert_eq!(packet.data.to::<(i32, Bytes, String)>().unwrap(), (1, data.1.clone(), "é".into()));
                }
            }
        }
    }

    /// Writes no message, and reads packets that no client may send.
    #[derive(Debug)]
    struct Odd(Packet);

    impl PacketParser for Odd {
        fn encode(&self, _: &Packet) -> Result<Encoded, EncodeError> {
            Ok(Encoded::default())
        }

        fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
            Box::new(Odd(self.0.clone()))
        }
    }

    impl PacketDecoder for Odd {
        fn decode(&mut self, _: Message) -> Result<Option<Packet>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Some(self.0.clone()))
        }
    }

    #[test]
    fn what_a_custom_parser_reads_and_writes_is_looked_at() {
        let list = |name: &str| Args::new_list(&(name, 1)).unwrap();
        for (packet, allowed) in [
            (Packet::new(Kind::Event, "/", list("ev")), true),
            (Packet::new(Kind::Event, "/", list("connect")), false),
            (Packet::new(Kind::Event, "/", Args::new_single(&1).unwrap()), false),
            (Packet::new(Kind::Event, "admin", list("ev")), false),
            (Packet::new(Kind::Connect, "/", list("ev")), false),
        ] {
            let parser = Parser::custom(Odd(packet.clone()));
            let read = parser.decoder(Limits::default()).message(Message::Text("x".into()));
            assert_eq!(read.is_ok(), allowed, "{packet:?}");
            if let Ok(Some(read)) = read {
                assert_eq!(read.data.event().as_deref(), Some("ev"), "a list becomes an event");
            }
            assert!(parser.packet(&packet).is_err(), "no message is no packet");
        }
    }

    #[test]
    fn text_is_no_packet_in_msgpack() {
        let mut decoder = Parser::MsgPack.decoder(Limits::default());
        assert!(decoder.message(Message::Text("2[\"ev\"]".into())).is_err());
    }
}
