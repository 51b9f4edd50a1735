//! The frames of RFC 6455, without the connection they travel on.
//!
//! [`Decoder`] takes whole messages off the front of a read buffer; [`frame`] and its neighbours write frames whose
//! bytes any number of connections can share; [`handshake`] answers the request that opens a WebSocket. The role of a
//! server is what the server crate needs, the role of a client is there for tests and tools. Of the extensions
//! permessage-deflate is spoken: an [`Agreement`] is what comes of an offer, and a [`Codec`] does the work, with the
//! feature `deflate`.

mod decoder;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
mod error;
mod extension;
mod frame;
pub mod handshake;
mod utf8;

pub use decoder::{Decoder, Event, Role};
pub use deflate::Codec;
#[cfg(feature = "deflate")]
pub use deflate::PerMessageDeflate;
pub use error::WsError;
pub use extension::Agreement;
pub use frame::{COMPRESSED, CloseFrame, MAX_CONTROL, Opcode, close_frame, encode_header, frame, masked_frame};
