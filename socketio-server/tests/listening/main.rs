//! How connections reach a server: over real sockets, with bytes written by hand.

mod kit;
mod limits;
mod listeners;
