//! The parsers of `tests/node/lib/parsers.mjs`, written again.

use std::error::Error;
use std::mem::take;

use serde_json::json;
use serde_json::value::RawValue;
use socketio_server::parser::{Encoded, Kind, Limits, Message, Packet, PacketDecoder, PacketParser};
use socketio_server::{Args, Bytes, EncodeError, Value};

type BoxError = Box<dyn Error + Send + Sync>;

fn kind(number: u8) -> Result<Kind, BoxError> {
    Kind::ALL.get(usize::from(number)).copied().ok_or_else(|| "no type of a packet".into())
}

/// A text, `M` and `[type, nsp, id, data, attachments]`, and the attachments behind it.
#[derive(Debug)]
pub(crate) struct Marked;

impl PacketParser for Marked {
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
        let (payload, attachments) = packet.data.to_json();
        let payload = if payload.is_empty() { "null" } else { &*payload };
        let head = json!([packet.kind as u8, &*packet.nsp, packet.id]).to_string();
        let text = format!("M{},{payload},{}]", head.trim_end_matches(']'), attachments.len());
        Ok(attachments.into_iter().fold(Encoded::text(text), Encoded::and))
    }

    fn decoder(&self, limits: Limits) -> Box<dyn PacketDecoder> {
        Box::new(MarkedDecoder { limits, begun: None, attachments: Vec::new() })
    }
}

#[derive(Debug)]
struct MarkedDecoder {
    limits: Limits,
    begun: Option<Begun>,
    attachments: Vec<Bytes>,
}

#[derive(Debug)]
struct Begun {
    kind: Kind,
    nsp: String,
    id: Option<u64>,
    payload: Option<Box<RawValue>>,
    attachments: usize,
}

impl PacketDecoder for MarkedDecoder {
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, BoxError> {
        match message {
            Message::Text(text) if self.begun.is_none() => {
                let text = text.strip_prefix('M').ok_or("no mark")?;
                let (number, nsp, id, payload, attachments) = serde_json::from_str(text)?;
                if attachments > self.limits.max_attachments {
                    return Err("too many attachments".into());
                }
                self.begun = Some(Begun { kind: kind(number)?, nsp, id, payload, attachments });
            }
            Message::Binary(data) if self.begun.is_some() => self.attachments.push(data),
            _ => return Err("text and binary in the wrong order".into()),
        }
        let Some(begun) = self.begun.take_if(|begun| begun.attachments == self.attachments.len()) else {
            return Ok(None);
        };
        let data = match begun.payload {
            Some(payload) => Args::from_json(payload.get().to_owned(), take(&mut self.attachments))?,
            None => Args::none(),
        };
        Ok(Some(Packet { kind: begun.kind, nsp: begun.nsp.into(), id: begun.id, data }))
    }
}

/// A byte 0x99, and `[type, nsp, id, data]` as MessagePack.
#[derive(Debug)]
pub(crate) struct Packed;

impl PacketParser for Packed {
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
        let mut bytes = vec![0x99];
        Args::new_list(&(packet.kind as u8, &*packet.nsp, packet.id))?.write_msgpack(&mut bytes);
        bytes[1] += 1; // One element more than these three.
        packet.data.write_msgpack(&mut bytes);
        Ok(Encoded::binary(bytes))
    }

    fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
        Box::new(Packed)
    }
}

impl PacketDecoder for Packed {
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, BoxError> {
        let Message::Binary(bytes) = message else { return Err("a text".into()) };
        let (number, nsp, id, data): (u8, String, Option<u64>, Value) =
            Args::from_msgpack(bytes.strip_prefix(&[0x99]).ok_or("no mark")?)?.to()?;
        let data = match data {
            Value::Null => Args::none(),
            Value::Array(values) => Args::from_values(&values)?,
            value => Args::new_single(&value)?,
        };
        Ok(Some(Packet { kind: kind(number)?, nsp: nsp.into(), id, data }))
    }
}
