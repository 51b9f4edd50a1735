//! Engine.IO: bytes in, messages out.
//!
//! An [`Engine`] answers HTTP requests, opens sessions over long-polling or WebSocket and lets the one become the
//! other. Each session is a [`Connection`], to which anyone may send, and an [`Incoming`], from which one task
//! receives. Namespaces, rooms and events are unknown here.

mod activity;
mod answer;
mod body;
mod carried;
mod carried_web_socket;
pub(crate) mod clock;
mod codec;
#[cfg(feature = "compression")]
mod compression;
mod config;
mod connection;
mod cookie;
mod cors;
pub(crate) mod counters;
mod drain;
#[cfg(any(feature = "client-bundle", feature = "compression"))]
mod encoding;
#[expect(clippy::module_inception, reason = "the type it is named after")]
mod engine;
mod events;
mod flusher;
mod frame;
mod head;
mod hooks;
mod http;
mod ids;
mod incoming;
mod io;
mod lent;
mod links;
mod opening;
mod origin;
mod pending;
mod proxies;
#[cfg(feature = "rate-limit")]
mod rate_limit;
mod request;
mod strangers;
mod timers;
#[cfg(feature = "webtransport")]
mod webtransport;
mod write;

pub use self::config::EngineConfig;
pub(crate) use self::connection::Draft;
pub use self::connection::{Connection, SendError};
pub use self::cookie::{Cookie, SameSite};
pub use self::cors::Cors;
pub use self::counters::Traffic;
pub use self::engine::Engine;
pub use self::events::{ConnectionEvent, ConnectionEvents};
pub use self::frame::Frame;
pub use self::hooks::{AddHeaders, AllowRequest, ConnectionError, GenerateId};
pub use self::http::Body;
pub use self::ids::random_id;
pub use self::incoming::Incoming;
pub use self::origin::Origins;
pub use self::proxies::{TrustedProxies, UnknownProxy};
#[cfg(feature = "rate-limit")]
pub use self::rate_limit::{Excess, Rate, RateLimits};
pub use self::request::{RemoteAddress, Request, Secure, UnixPeer};
pub use self::strangers::SessionBusOf;
pub use socketio_protocol::engine::{
    BadRequest, CloseReason, HandshakeError, Message, Packet, Timing, TransportKind, Version,
};
#[cfg(feature = "deflate")]
pub use socketio_protocol::websocket::PerMessageDeflate;

pub(crate) use self::activity::{Activity, Answering, Observed};
pub(crate) use self::answer::{Answer, Fixed};
pub(crate) use self::clock::now;
pub(crate) use self::drain::{Busy, halfway};
#[cfg(feature = "client-bundle")]
pub(crate) use self::encoding::{Encoding, ZLIB_HEADER, zlib_trailer};
#[cfg(feature = "admin")]
pub(crate) use self::events::Meter;
pub(crate) use self::head::{Head, Peer};
pub(crate) use self::http::not_found;
pub(crate) use self::incoming::Received;
#[cfg(feature = "tls")]
pub(crate) use self::io::UnderTls;
pub(crate) use self::io::{Halves, Hold};
pub(crate) use self::opening::{Life, Opening};
#[cfg(feature = "rate-limit")]
pub(crate) use self::rate_limit::SocketLimits;
