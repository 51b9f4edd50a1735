//! The way to a Redis, as Socket.IO servers and emitters need it.
//!
//! - [`Address`]: one server, the master behind Sentinels, a Redis Cluster; over TCP, TLS or a Unix socket; read from a URL.
//! - [`Link`]: one connection, entered.
//! - [`Publisher`]: sends in order through one link, batched and bounded, and nothing twice that may have been sent.
//! - [`Subscriber`]: hears through one link that is made again for ever; every confirmation is checked, and what may have
//!   been missed is told.
//!
//! It is a part of `socketio-redis-adapter` and `socketio-emitter`, which say what goes over these links.

#[doc(hidden)]
pub mod backoff;
#[doc(hidden)]
pub mod random;
#[doc(hidden)]
pub mod resp;

mod address;
mod counts;
mod heard;
mod link;
mod link_publisher;
mod link_subscriber;
mod publisher;
mod slots;
mod spread;
mod subscriber;
mod target;
mod tls;
mod topology;

pub use address::{Address, Host};
pub use counts::Losses;
pub use link::{CONNECT_TIMEOUT, ConnectError, Link, Stream};
pub use link_publisher::QueueLimits;
pub use publisher::Publisher;
pub use subscriber::{Listener, Sink, Subscriber, Topics};
pub use target::Redis;
pub use tls::TlsOptions;
