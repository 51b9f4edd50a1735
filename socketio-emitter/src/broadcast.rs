//! Whom to send to, and how.

use std::time::Duration;

use serde::Serialize;
use socketio_protocol::NEVER;

use crate::{
    EmitError, Emitted, Emitter, IntoRooms, Plan,
    plan::{self, Target},
};

/// Whom to send to, and how. A value: each method gives back a new one, and one can be kept and used again.
///
/// ```no_run
/// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
/// let players = emitter.to("game").except("banned");
/// players.emit("round", 1).await?;
/// players.volatile().emit("tick", ()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operator does nothing until it emits"]
pub struct Broadcast {
    emitter: Emitter,
    target: Target,
}

impl Broadcast {
    pub(crate) fn new(emitter: Emitter, target: Target) -> Self {
        Self { emitter, target }
    }

    pub(crate) fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    fn with(&self, change: impl FnOnce(&mut Target)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.target);
        changed
    }

    /// Only sockets of this room, or of any of several. An empty list is nobody. Called again, rooms are added.
    ///
    /// ```
    /// let emitter = socketio_emitter::Emitter::lazy("redis://localhost")?;
    /// let players = emitter.to("red").to("blue"); // in the one or the other; it can be used many times
    /// assert!(players.plan_emit("start", ())?.is_some());
    /// # Ok::<_, socketio_emitter::EmitError>(())
    /// ```
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        self.with(|target| target.add_rooms(rooms.into_rooms()))
    }

    /// As [`to`](Broadcast::to): Node's `in`, which is a keyword here.
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// But no socket of this room, or of any of several. A socket's id is a room.
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        self.with(|target| target.add_except(rooms.into_rooms()))
    }

    /// Clients that cannot take the packet at once do without it.
    pub fn volatile(&self) -> Self {
        self.with(|target| target.flags().volatile = true)
    }

    /// Whether the packet may be compressed where compression is on.
    pub fn compress(&self, compress: bool) -> Self {
        self.with(|target| target.flags().compress = Some(compress))
    }

    /// How long answers are waited for, of clients to a [`request`](Broadcast::request), of servers to questions; if not
    /// said, the emitter's [`requests_timeout`](crate::Builder::requests_timeout).
    pub fn timeout(&self, timeout: Duration) -> Self {
        self.with(|target| target.timeout = Some(timeout.min(NEVER)))
    }

    /// Sends `event` to the selected clients, on all servers; see [`Emitter::emit`].
    ///
    /// # Errors
    ///
    /// As [`Emitter::emit`].
    pub fn emit(&self, event: &str, args: impl Serialize) -> Emitted {
        self.emitter.send(|out| plan::emit(self.emitter.format(), &self.target, event, &args, out))
    }

    /// Has the selected sockets join a room, or several. They do so when the servers have read it.
    ///
    /// # Errors
    ///
    /// As [`Emitter::emit`].
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emitted {
        self.emitter.send(|out| plan::join(self.emitter.format(), &self.target, &rooms.into_rooms(), out))
    }

    /// Has the selected sockets leave a room, or several. They do so when the servers have read it.
    ///
    /// # Errors
    ///
    /// As [`Emitter::emit`].
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emitted {
        self.emitter.send(|out| plan::leave(self.emitter.format(), &self.target, &rooms.into_rooms(), out))
    }

    /// Disconnects the selected sockets from the namespace; with `close` the connections under them, too.
    ///
    /// # Errors
    ///
    /// As [`Emitter::emit`].
    pub fn disconnect_sockets(&self, close: bool) -> Emitted {
        self.emitter.send(|out| plan::disconnect(self.emitter.format(), &self.target, close, out))
    }

    /// What [`emit`](Broadcast::emit) would send, without sending it; `None` when nobody is meant.
    ///
    /// # Errors
    ///
    /// As [`Emitter::emit`], without those of Redis. The other plans have the same.
    pub fn plan_emit(&self, event: &str, args: impl Serialize) -> Result<Option<Plan>, EmitError> {
        self.emitter.plan(|out| plan::emit(self.emitter.format(), &self.target, event, &args, out))
    }

    /// What [`sockets_join`](Broadcast::sockets_join) would send; `None` when nobody is meant, or no room.
    ///
    /// # Errors
    ///
    /// As [`plan_emit`](Broadcast::plan_emit).
    pub fn plan_sockets_join(&self, rooms: impl IntoRooms) -> Result<Option<Plan>, EmitError> {
        self.emitter.plan(|out| plan::join(self.emitter.format(), &self.target, &rooms.into_rooms(), out))
    }

    /// What [`sockets_leave`](Broadcast::sockets_leave) would send; `None` when nobody is meant, or no room.
    ///
    /// # Errors
    ///
    /// As [`plan_emit`](Broadcast::plan_emit).
    pub fn plan_sockets_leave(&self, rooms: impl IntoRooms) -> Result<Option<Plan>, EmitError> {
        self.emitter.plan(|out| plan::leave(self.emitter.format(), &self.target, &rooms.into_rooms(), out))
    }

    /// What [`disconnect_sockets`](Broadcast::disconnect_sockets) would send; `None` when nobody is meant.
    ///
    /// # Errors
    ///
    /// As [`plan_emit`](Broadcast::plan_emit).
    pub fn plan_disconnect_sockets(&self, close: bool) -> Result<Option<Plan>, EmitError> {
        self.emitter.plan(|out| plan::disconnect(self.emitter.format(), &self.target, close, out))
    }
}
