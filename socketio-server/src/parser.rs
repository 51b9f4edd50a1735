//! How packets are written for clients and read from them: as text with attachments, or as MessagePack.
//!
//! A server speaks one of the two, and its clients must speak the same.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::engine::Message;
use socketio_protocol::socket::{self, Args, DecodeError, EncodeError, Kind, Limits, MsgpackError, Packet, msgpack};

use crate::engine::Frame;

/// The format of Socket.IO packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Parser {
    /// Text with JSON inside, followed by its attachments. What every client speaks.
    #[default]
    Json,
    /// One binary message for each packet, in MessagePack: clients use `socket.io-msgpack-parser`. Smaller when much
    /// of what is sent is binary or numbers.
    MsgPack,
}

impl Parser {
    /// An event.
    pub(crate) fn event<T: Serialize + ?Sized>(
        self,
        nsp: &str,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(event.len() + 64);
                let attachments = socket::encode_event(&mut out, nsp, id, event, args)?;
                Ok(Frame::seal(out, attachments))
            }
            Parser::MsgPack => {
                let mut out = Vec::with_capacity(event.len() + 64);
                msgpack::encode_event(&mut out, nsp, id, event, args)?;
                Ok(binary(out))
            }
        }
    }

    /// An event whose name and arguments are there already.
    pub(crate) fn event_of(self, nsp: &ByteString, id: Option<u64>, args: &Args) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(64);
                let attachments = socket::encode_args_event(&mut out, nsp, id, args)?;
                Ok(Frame::seal(out, attachments))
            }
            Parser::MsgPack => self.packet(&Packet { id, ..Packet::new(Kind::Event, nsp.clone(), args.clone()) }),
        }
    }

    pub(crate) fn ack<T: Serialize + ?Sized>(self, nsp: &ByteString, id: u64, args: &T) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(64);
                let attachments = socket::encode_ack(&mut out, nsp, id, args)?;
                Ok(Frame::seal(out, attachments))
            }
            Parser::MsgPack => self.packet(&Packet::new(Kind::Ack, nsp.clone(), Args::new_list(args)?).with_id(id)),
        }
    }

    /// Any other packet.
    pub(crate) fn packet(self, packet: &Packet) -> Result<Frame, EncodeError> {
        match self {
            Parser::Json => {
                let mut out = Frame::buffer(64);
                let attachments = socket::encode_packet(&mut out, packet)?;
                Ok(Frame::seal(out, attachments))
            }
            Parser::MsgPack => {
                let mut out = Vec::with_capacity(64);
                msgpack::encode(&mut out, packet);
                Ok(binary(out))
            }
        }
    }

    /// What reads the packets of one connection.
    pub(crate) fn decoder(self, limits: Limits) -> Decoder {
        match self {
            Parser::Json => Decoder::Json(socket::Decoder::new(limits)),
            // What is binary in MessagePack has come with the packet: nobody waits for it.
            Parser::MsgPack => Decoder::MsgPack(Limits { max_attachments: usize::MAX, ..limits }),
        }
    }
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
}

impl Decoder {
    /// The packet that this message completes. After an error the connection is to be closed.
    pub(crate) fn message(&mut self, message: Message) -> Result<Option<Packet>, DecodeError> {
        match (self, message) {
            (Decoder::Json(decoder), Message::Text(text)) => decoder.text(text),
            (Decoder::Json(decoder), Message::Binary(data)) => decoder.binary(data),
            (Decoder::MsgPack(limits), Message::Binary(data)) => msgpack::decode(&data, *limits).map(Some),
            (Decoder::MsgPack(_), Message::Text(_)) => Err(MsgpackError::NotAPacket.into()),
        }
    }
}

impl Decoder {
    /// Whether the rest of a packet has to follow.
    pub(crate) fn waiting(&self) -> bool {
        match self {
            Decoder::Json(decoder) => decoder.waiting(),
            Decoder::MsgPack(_) => false,
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
        for parser in [Parser::Json, Parser::MsgPack] {
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

    #[test]
    fn text_is_no_packet_in_msgpack() {
        let mut decoder = Parser::MsgPack.decoder(Limits::default());
        assert!(decoder.message(Message::Text("2[\"ev\"]".into())).is_err());
    }
}
