//! What goes to Redis for each operation: the command and the bytes.
//!
//! The formats are written by [`socketio_protocol::cluster::emitter`]; here is decided what may be sent.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use socketio_protocol::{
    cluster::{
        Flags, Options,
        emitter::{Command, Format},
    },
    socket::{Args, is_reserved},
};

use crate::EmitError;

/// A message as it goes to Redis, not sent yet. [`Emitter::publish`](crate::Emitter::publish) sends it.
///
/// What a program in another language, or a person with `redis-cli`, would send:
///
/// ```
/// let emitter = socketio_emitter::Emitter::lazy("redis://localhost")?;
/// let plan = emitter.of("/chat").plan_emit("time", "12:00")?;
/// assert_eq!((plan.verb, &*plan.channel), ("PUBLISH", "socket.io#/chat#"));
/// // emitter.publish(&plan).await?
/// # Ok::<_, socketio_emitter::EmitError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The command of Redis: `PUBLISH`, `SPUBLISH` or `XADD`.
    pub verb: &'static str,
    /// The channel of Redis it is published on, or the stream it is added to.
    pub channel: String,
    /// What is published: MessagePack, or JSON if it begins with `{`. Of an entry of a stream its `data`: JSON, or
    /// MessagePack in base64.
    pub payload: Bytes,
    pub(crate) command: Command<'static>,
}

impl Plan {
    pub(crate) fn new(command: Command<'_>, payload: Vec<u8>) -> Plan {
        let command = command.into_owned();
        Plan { verb: command.verb(), channel: command.place().to_owned(), payload: payload.into(), command }
    }
}

/// How what was written is sent; `None` when nobody is meant, and nothing was written.
pub(crate) type Written<'a> = Result<Option<Command<'a>>, EmitError>;

/// Whom an operation is for, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) options: Options,
    /// Rooms were asked for, but none were named: an empty list is nobody, never everybody.
    wants_rooms: bool,
    /// How long answers are waited for, if it is said.
    pub(crate) timeout: Option<Duration>,
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
    pub(crate) fn is_somebody(&self) -> bool {
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
    format: &'a Format,
    target: &Target,
    event: &str,
    args: &(impl Serialize + ?Sized),
    out: &mut Vec<u8>,
) -> Written<'a> {
    check_name(event)?;
    let command = format.emit(event, args, &target.options, out)?;
    Ok(target.is_somebody().then_some(command))
}

/// An event for clients, with its name in front.
pub(crate) fn client_event(event: &str, args: &(impl Serialize + ?Sized)) -> Result<Args, EmitError> {
    check_name(event)?;
    Ok(Args::new_event(event, args)?)
}

fn check_name(event: &str) -> Result<(), EmitError> {
    if is_reserved(event) { Err(EmitError::Reserved { event: event.to_owned() }) } else { Ok(()) }
}

/// Rooms to join.
pub(crate) fn join<'a>(format: &'a Format, target: &Target, rooms: &[String], out: &mut Vec<u8>) -> Written<'a> {
    let some = target.is_somebody() && !rooms.is_empty();
    Ok(some.then(|| format.join(&target.options, rooms, out)))
}

/// Rooms to leave.
pub(crate) fn leave<'a>(format: &'a Format, target: &Target, rooms: &[String], out: &mut Vec<u8>) -> Written<'a> {
    let some = target.is_somebody() && !rooms.is_empty();
    Ok(some.then(|| format.leave(&target.options, rooms, out)))
}

/// Sockets to disconnect.
pub(crate) fn disconnect<'a>(format: &'a Format, target: &Target, close: bool, out: &mut Vec<u8>) -> Written<'a> {
    Ok(target.is_somebody().then(|| format.disconnect(&target.options, close, out)))
}

/// An event for the servers themselves.
pub(crate) fn server_side_emit<'a>(
    format: &'a Format,
    event: &str,
    args: &(impl Serialize + ?Sized),
    out: &mut Vec<u8>,
) -> Written<'a> {
    Ok(Some(format.server_side_emit(&server_event(event, args)?, out)))
}

/// An event for servers, with its name in front.
pub(crate) fn server_event(event: &str, args: &(impl Serialize + ?Sized)) -> Result<Args, EmitError> {
    // Events that a server's namespace emits to itself.
    if matches!(event, "connect" | "connection" | "new_namespace") {
        return Err(EmitError::Reserved { event: event.to_owned() });
    }
    Ok(Args::new_event(event, args)?)
}
