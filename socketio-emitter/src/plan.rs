//! What goes to Redis for each operation: the channel and the bytes.
//!
//! The format is that of `@socket.io/redis-emitter` 5.1 and is written by
//! [`socketio_protocol::cluster::emitter`]; here is decided what may be sent.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use socketio_protocol::{
    cluster::{
        Flags, Options,
        emitter::{self, Channels},
    },
    socket::{Args, is_reserved},
};

use crate::EmitError;

/// A message as it goes to Redis, not sent yet. [`Emitter::publish`](crate::Emitter::publish) sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The channel of Redis it is published on.
    pub channel: String,
    /// What is published: MessagePack for events to clients, JSON for everything else.
    pub payload: Bytes,
}

/// The channel of what was written; `None` when nobody is meant, and nothing was written.
pub(crate) type Written<'a> = Result<Option<Cow<'a, str>>, EmitError>;

/// Whom an operation is for, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) options: Options,
    /// Rooms were asked for, but none were named: an empty list is nobody, never everybody.
    wants_rooms: bool,
}

impl Target {
    pub(crate) fn add_rooms(&mut self, rooms: Vec<String>) {
        self.wants_rooms = true;
        add(&mut self.options.rooms, rooms);
    }

    pub(crate) fn add_except(&mut self, rooms: Vec<String>) {
        add(&mut self.options.except, rooms);
    }

    pub(crate) fn flags(&mut self) -> &mut Flags {
        &mut self.options.flags
    }

    /// Whether anybody can be meant.
    fn is_somebody(&self) -> bool {
        !self.wants_rooms || !self.options.rooms.is_empty()
    }
}

fn add(list: &mut Vec<String>, rooms: Vec<String>) {
    for room in rooms {
        if !list.contains(&room) {
            list.push(room);
        }
    }
}

/// An event for clients.
pub(crate) fn emit<'a>(
    channels: &'a Channels,
    target: &Target,
    event: &str,
    args: &(impl Serialize + ?Sized),
    out: &mut Vec<u8>,
) -> Written<'a> {
    if is_reserved(event) {
        return Err(EmitError::Reserved { event: event.to_owned() });
    }
    let args = Args::new_event(event, args)?;
    Ok(target.is_somebody().then(|| emitter::broadcast(channels, &args, &target.options, out)))
}

/// Rooms to join.
pub(crate) fn join<'a>(channels: &'a Channels, target: &Target, rooms: &[String], out: &mut Vec<u8>) -> Written<'a> {
    let some = target.is_somebody() && !rooms.is_empty();
    Ok(some.then(|| emitter::join(channels, &target.options, rooms, out).into()))
}

/// Rooms to leave.
pub(crate) fn leave<'a>(channels: &'a Channels, target: &Target, rooms: &[String], out: &mut Vec<u8>) -> Written<'a> {
    let some = target.is_somebody() && !rooms.is_empty();
    Ok(some.then(|| emitter::leave(channels, &target.options, rooms, out).into()))
}

/// Sockets to disconnect.
pub(crate) fn disconnect<'a>(channels: &'a Channels, target: &Target, close: bool, out: &mut Vec<u8>) -> Written<'a> {
    Ok(target.is_somebody().then(|| emitter::disconnect(channels, &target.options, close, out).into()))
}

/// An event for the servers themselves.
pub(crate) fn server_side_emit<'a>(
    channels: &'a Channels,
    event: &str,
    args: &(impl Serialize + ?Sized),
    out: &mut Vec<u8>,
) -> Written<'a> {
    // Events that a server's namespace emits to itself.
    if matches!(event, "connect" | "connection" | "new_namespace") {
        return Err(EmitError::Reserved { event: event.to_owned() });
    }
    Ok(Some(emitter::server_side_emit(channels, &Args::new_event(event, args)?, out).into()))
}
