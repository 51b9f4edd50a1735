//! A small Socket.IO client, for tools and tests.
//!
//! A [`Client`] is one socket in one namespace: it connects over long-polling or WebSocket, changes from the first to the
//! second, emits with and without acknowledgement, hears events with binary inside, and connects again by itself. It
//! speaks Socket.IO protocol 5 (Engine.IO 4), as servers of Socket.IO 3 and 4 and `socketio-server` do.
//!
//! ```no_run
//! # async fn example() -> Result<(), socketio_client::ClientError> {
//! use std::time::Duration;
//! use socketio_client::{Client, News};
//!
//! // The path of the URL is the namespace, as for the JavaScript client.
//! let mut client = Client::connect("http://localhost:3000/admin").await?;
//! client.emit("hello", ("ana", 3)).await?;
//! let sum = client.emit_with_ack("sum", (1, 2), Duration::from_secs(5)).await?;
//! while let Some(news) = client.next().await {
//!     if let News::Event(event) = news {
//!         println!("{} {}", event.name(), event.args.to_json().0);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! Kept true: packets leave in the order they were emitted in, and none is sent twice. What was emitted while there is
//! no connection waits for the next one, in a bounded queue; whose acknowledgement was due when it broke is told so.

mod address;
mod client;
mod engine;
mod error;
mod http;
mod polling;
mod socket;
mod stream;
mod websocket;

pub use address::without_secrets;
pub use client::{Builder, Client, Event, News};
pub use error::ClientError;
pub use socketio_protocol::engine::TransportKind;
pub use stream::TlsOptions;
