//! The wire formats of Socket.IO, pure: bytes in, words out, and back.
//!
//! Nothing here opens a socket, starts a task, reads a clock or knows a Redis client. What the formats leave
//! open in time (heartbeats, upgrades, deadlines) is decided by state machines that are told what time it is.
//!
//! - [`engine`]: Engine.IO, the connection underneath: packets, polling payloads, the handshake, the session.
//! - [`websocket`]: the frames of RFC 6455; [`http1`]: the head of the request in front of them, and of polls.
//! - [`socket`]: Socket.IO packets and their typed arguments.
//! - [`cluster`]: what servers and emitters tell each other through Redis.

pub mod cluster;
pub mod engine;
pub mod http1;
pub mod socket;
pub mod websocket;

use std::time::Duration;

pub use bytes::Bytes;
pub use bytestring::ByteString;

/// What stands for "never", a century: longer than any server runs, and can be added to an [`Instant`](std::time::Instant)
/// some times over, where [`Duration::MAX`] cannot.
pub const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
