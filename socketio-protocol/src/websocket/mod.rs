//! The frames of RFC 6455, without the connection they travel on.
//!
//! [`Decoder`] takes whole messages off the front of a read buffer; [`frame`] and its neighbours write frames whose
//! bytes any number of connections can share; [`handshake`] answers the request that opens a WebSocket. The role of a
//! server is what the server crate needs, the role of a client is there for tests and tools. No extension is spoken.

mod decoder;
mod error;
mod frame;
pub mod handshake;
mod utf8;

pub use decoder::{Decoder, Event, Role};
pub use error::WsError;
pub use frame::{CloseFrame, MAX_CONTROL, Opcode, close_frame, encode_header, frame, masked_frame};
