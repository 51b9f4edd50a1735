//! The format of `@socket.io/redis-emitter` 5.1: what a sender outside the cluster says to classic servers.
//!
//! It differs from what servers write in the order of the option keys, and in that only broadcasts and
//! server-side events name a sender, always [`UID`]. Emitters ask nothing: there is no form for questions.

use std::borrow::Cow;

pub use super::channels::{Channels, DEFAULT_PREFIX};
use super::{
    Options,
    classic::{self, JsonRequest},
    parts::Order,
};
use crate::socket::Args;

/// The server id all emitters send under.
pub const UID: &str = "emitter";

/// Appends a broadcast of `args` (`[event, ...args]`) to `out`, and tells the channel it goes to.
pub fn broadcast<'a>(channels: &'a Channels, args: &Args, options: &Options, out: &mut Vec<u8>) -> Cow<'a, str> {
    classic::encode_broadcast(channels, UID, args, options, Order::Emitter, out);
    channels.broadcast_to(&options.rooms)
}

/// Appends the request that the sockets of `options` join `rooms`, and tells the channel it goes to.
pub fn join<'a>(channels: &'a Channels, options: &Options, rooms: &[String], out: &mut Vec<u8>) -> &'a str {
    JsonRequest::default().join(options, rooms).write(out);
    channels.request()
}

/// Appends the request that the sockets of `options` leave `rooms`, and tells the channel it goes to.
pub fn leave<'a>(channels: &'a Channels, options: &Options, rooms: &[String], out: &mut Vec<u8>) -> &'a str {
    JsonRequest::default().leave(options, rooms).write(out);
    channels.request()
}

/// Appends the request to disconnect the sockets of `options`, and tells the channel it goes to.
pub fn disconnect<'a>(channels: &'a Channels, options: &Options, close: bool, out: &mut Vec<u8>) -> &'a str {
    JsonRequest::default().disconnect(options, close).write(out);
    channels.request()
}

/// Appends an event for the servers themselves (`[event, ...args]`), and tells the channel it goes to.
pub fn server_side_emit<'a>(channels: &'a Channels, args: &Args, out: &mut Vec<u8>) -> &'a str {
    JsonRequest::from_sender(UID).server_side_emit(args, out);
    channels.request()
}
