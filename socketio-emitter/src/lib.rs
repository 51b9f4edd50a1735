//! Sends Socket.IO events to a cluster from outside, through Redis.
//!
//! A cron job, a worker or any other program that is no Socket.IO server can still reach the clients of the servers:
//! it publishes in Redis what they read there. Which adapter the servers have is said when connecting:
//!
//! | the servers have | here |
//! | --- | --- |
//! | `socketio-redis-adapter`, `createAdapter` of `@socket.io/redis-adapter`, `socket.io-redis` | [`Emitter::connect`] |
//! | the same with `sharded`, `createShardedAdapter` | [`Builder::sharded`] |
//! | the same with `streams`, `@socket.io/redis-streams-adapter` | [`Builder::streams`] |
//!
//! ```no_run
//! use socketio_emitter::Emitter;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), socketio_emitter::EmitError> {
//! let emitter = Emitter::connect("redis://localhost:6379").await?;
//! emitter.emit("time", "12:00").await?;
//! emitter.to("room-7").emit("score", ("ana", 3)).await?;
//! emitter.of("/admin").to("room-7").sockets_join("room-8").await?;
//! # Ok(()) }
//! ```
//!
//! It can ask, too, which no emitter of Node.js does: [`request`](Emitter::request) sends an event that clients answer,
//! [`fetch_sockets`](Emitter::fetch_sockets), [`rooms`](Emitter::rooms) and others ask the servers, ours and those of Node.js.
//! A question ends when all have answered or its time is over; who is missing is said.
//!
//! Kept true:
//! - `emit` never waits. It queues, in order, over one connection; awaiting what it returns, an [`Emitted`], tells how
//!   many servers Redis reached.
//! - At most once: what may have been sent when the link broke is not sent again, and the sender is told.
//! - The queue is bounded. The link is made again by itself; what waits for it longer than the timeout is given up.
//!
//! What servers and clients do with a message is reported back only where they are asked: Redis has no acknowledgements.

mod address;
mod answer;
mod ask;
mod batch;
mod broadcast;
mod builder;
mod carrier;
mod cluster;
mod desk;
mod emitted;
mod emitter;
mod error;
mod link;
mod plan;
mod queue;
mod receipt;
mod request;
mod rooms;

pub use broadcast::Broadcast;
pub use builder::Builder;
pub use emitted::Emitted;
pub use emitter::Emitter;
pub use error::EmitError;
pub use plan::Plan;
pub use receipt::{EntryId, Receipt};
pub use request::{Acks, Answer, AnswerError, Request, Summary};
pub use rooms::IntoRooms;
pub use socketio_protocol::{
    cluster::{Answers, MissingAnswers, RemoteSocket, sharded::SubscriptionMode},
    socket::{Args, ArgsError, Value},
};
pub use socketio_redis_client::TlsOptions;
