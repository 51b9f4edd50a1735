//! What servers and emitters tell each other through Redis.
//!
//! A cluster is several servers that share their namespaces. What one of them wants of the others is a
//! [`Message`]: a broadcast, a join, a question, an answer. Three families of Node.js packages write the same
//! messages in three ways, and each has its module here: [`classic`], [`sharded`] and [`streams`]; [`emitter`] is what a
//! sender outside writes, in any of them. The names of the channels are part of the format and are made here too.
//!
//! [`Bus`] is the seam between a server and what carries its messages: the server asks and answers over
//! `dyn Bus`, `socketio-redis-adapter` implements it. This module carries nothing by itself.
//!
//! Kept true: what another server sent never panics here, and is read as far as any published version
//! writes it; what we write is what the newest version writes, byte for byte.

mod answers;
mod body;
mod bus;
mod channels;
pub mod classic;
pub mod emitter;
mod error;
mod message;
mod parts;
mod published;
mod reader;
mod session;
pub mod sessions;
pub mod sharded;
pub mod streams;
mod tally;

pub use answers::{Answers, MissingAnswers};
pub use bus::{Answer, Bus, BusError, BusStats, BusStatus, Channel, Hear, Heard, Inbox, Log, Notices, SessionBus};
pub use error::MessageError;
pub use message::{Envelope, Flags, Message, Options, READS_MORE, RemoteSocket, Want};
pub use published::{Published, Receipts, Receivers};
pub use session::{KeptSession, NoOffset, Offset};
pub use tally::Tally;
