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

/// What an operation writes: the channel, and the payload.
pub(crate) type Written<'a> = (Cow<'a, str>, Vec<u8>);

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

    fn is_nobody(&self) -> bool {
        self.wants_rooms && self.options.rooms.is_empty()
    }
}

fn add(list: &mut Vec<String>, rooms: Vec<String>) {
    for room in rooms {
        if !list.contains(&room) {
            list.push(room);
        }
    }
}

/// An event for clients; `None` when nobody is meant.
pub(crate) fn emit<'a>(
    channels: &'a Channels,
    target: &Target,
    event: &str,
    args: &(impl Serialize + ?Sized),
) -> Result<Option<Written<'a>>, EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved { event: event.to_owned() });
    }
    let args = Args::new_event(event, args)?;
    if target.is_nobody() {
        return Ok(None);
    }
    let mut payload = Vec::with_capacity(ENVELOPE + args.to_json().0.len());
    let channel = emitter::broadcast(channels, &args, &target.options, &mut payload);
    Ok(Some((channel, payload)))
}

/// Bytes of a message around its arguments, about.
const ENVELOPE: usize = 96;

/// Rooms to join; `None` when nobody is meant, or no room.
pub(crate) fn join<'a>(channels: &'a Channels, target: &Target, rooms: &[String]) -> Option<Written<'a>> {
    if target.is_nobody() || rooms.is_empty() {
        return None;
    }
    let mut payload = Vec::new();
    let channel = emitter::join(channels, &target.options, rooms, &mut payload);
    Some((channel.into(), payload))
}

/// Rooms to leave; `None` when nobody is meant, or no room.
pub(crate) fn leave<'a>(channels: &'a Channels, target: &Target, rooms: &[String]) -> Option<Written<'a>> {
    if target.is_nobody() || rooms.is_empty() {
        return None;
    }
    let mut payload = Vec::new();
    let channel = emitter::leave(channels, &target.options, rooms, &mut payload);
    Some((channel.into(), payload))
}

/// Sockets to disconnect; `None` when nobody is meant.
pub(crate) fn disconnect<'a>(channels: &'a Channels, target: &Target, close: bool) -> Option<Written<'a>> {
    if target.is_nobody() {
        return None;
    }
    let mut payload = Vec::new();
    let channel = emitter::disconnect(channels, &target.options, close, &mut payload);
    Some((channel.into(), payload))
}

/// An event for the servers themselves.
pub(crate) fn server_side_emit<'a>(
    channels: &'a Channels,
    event: &str,
    args: &(impl Serialize + ?Sized),
) -> Result<Written<'a>, EmitError> {
    // Events that a server's namespace emits to itself.
    if matches!(event, "connect" | "connection" | "new_namespace") {
        return Err(EmitError::Reserved { event: event.to_owned() });
    }
    let args = Args::new_event(event, args)?;
    let mut payload = Vec::new();
    let channel = emitter::server_side_emit(channels, &args, &mut payload);
    Ok((channel.into(), payload))
}

impl From<Written<'_>> for Plan {
    fn from((channel, payload): Written<'_>) -> Self {
        Plan { channel: channel.into_owned(), payload: payload.into() }
    }
}
