//! How connections reach a server: over real sockets, with bytes written by hand.

mod http2;
mod kit;
mod limits;
mod listeners;
mod plain;
mod proxies;
#[cfg(feature = "tls")]
mod tls;
