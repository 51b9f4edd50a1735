//! The format of `socket.io-msgpack-parser`: one binary message a packet.

use serde::Serialize;

use super::{Args, DecodeError, EncodeError, Kind, Limits, Packet};

/// Reads a packet.
pub fn decode(message: &[u8], _limits: Limits) -> Result<Packet, DecodeError> {
    Ok(Packet::new(Kind::Event, "/", Args::from_msgpack(message)?))
}

/// Appends `packet` to `out`.
pub fn encode(out: &mut Vec<u8>, packet: &Packet) {
    packet.data.write_msgpack(out);
}

/// Appends an event.
pub fn encode_event<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    event: &str,
    args: &T,
) -> Result<(), EncodeError> {
    encode(
        out,
        &Packet {
            kind: Kind::Event,
            nsp: nsp.into(),
            id,
            data: Args::new_event(event, args)?,
        },
    );
    Ok(())
}

/// Why bytes are not MessagePack of the kind Socket.IO uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgpackError {
    /// The bytes end inside a value, or a length exceeds what is there.
    #[error("MessagePack ends inside a value")]
    Truncated,
}
