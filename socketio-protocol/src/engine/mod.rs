//! Engine.IO: the connection underneath a Socket.IO client.
//!
//! A client and a server exchange [`Packet`]s: over a WebSocket one a frame, over HTTP long polling many in one body
//! ([`payload`]), which old browsers receive as a script ([`jsonp`]), over WebTransport with a length in front of each
//! ([`webtransport`]). The first request, its query and what may be wrong with it are in [`handshake`]. Two revisions of
//! the protocol are spoken: `EIO=3` (Socket.IO 1 and 2) and `EIO=4` (Socket.IO 3 and later); [`Version`] says which.

pub mod handshake;
pub mod jsonp;
mod packet;
pub mod payload;
mod query;
mod session;
pub mod webtransport;

pub use handshake::{BadRequest, HandshakeError, OpenPacket};
pub use packet::{DecodeError, Frame, Message, Packet, TransportKind, Version};
pub use payload::{Body, PayloadEncoder, PayloadIter, decode_payload, encode_payload, utf16_len};
pub use query::Query;
pub use session::{CloseReason, Input, Output, Refusal, Session, Timing};
