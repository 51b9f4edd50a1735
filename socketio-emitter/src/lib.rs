//! Sends Socket.IO events to a cluster from outside, through Redis.
//!
//! A cron job, a worker or any other program that is no Socket.IO server can still reach the clients of the servers:
//! it publishes in Redis what they read there. An [`Emitter`] speaks the format of `@socket.io/redis-emitter` 5.1, so
//! it is heard by servers with `socketio-redis-adapter`, with `@socket.io/redis-adapter` 6 to 8 and, as far as they
//! understand, with `socket.io-redis`.
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
//! Kept true:
//! - `emit` never waits. It queues, in order, over one connection; awaiting what it returns, an [`Emitted`], tells how
//!   many servers Redis reached.
//! - At most once: what may have been sent when the link broke is not sent again, and the sender is told.
//! - The queue is bounded. The link is made again by itself; what waits for it longer than the timeout is given up.
//!
//! What servers and clients do with a message is not reported back: Redis has no acknowledgements.

mod address;
mod answer;
mod batch;
mod broadcast;
mod emitted;
mod emitter;
mod error;
mod link;
mod plan;
mod queue;
mod rooms;

pub use broadcast::Broadcast;
pub use emitted::{Emitted, Receipt};
pub use emitter::{Builder, Emitter};
pub use error::EmitError;
pub use plan::Plan;
pub use rooms::IntoRooms;
