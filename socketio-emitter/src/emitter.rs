//! [`Emitter`]: one namespace of a cluster, seen from outside.

use std::{cell::Cell, fmt, sync::Arc, time::Duration};

use serde::Serialize;
use socketio_protocol::cluster::{
    Message,
    emitter::{Family, Format},
};

use crate::{
    Broadcast, Builder, EmitError, Emitted, IntoRooms, Plan, Receipt,
    carrier::Carrier,
    desk::Desk,
    plan::{self, Target, Written},
};

/// Sends to the clients and servers of a cluster, without being a server.
///
/// Cheap to clone; clones, namespaces and operators share one connection. When the last of them is dropped, what is
/// queued is still sent as long as the Tokio runtime lives.
///
/// ```no_run
/// # async fn example() -> Result<(), socketio_emitter::EmitError> {
/// use socketio_emitter::Emitter;
///
/// let emitter = Emitter::connect("redis://127.0.0.1:6379").await?;
/// emitter.emit("time", "12:00").await?;
/// emitter.of("chat").to("room-7").except("muted").emit("said", ("ana", "hello")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Emitter {
    carrier: Arc<Carrier>,
    format: Arc<Format>,
}

impl Emitter {
    /// Connects to the Redis at `url`, `redis://[user][:password@]host[:port][/db]` or `unix:/path`.
    ///
    /// Returns when Redis has let us in. Later the link is made again whenever it breaks.
    ///
    /// # Errors
    ///
    /// [`EmitError::Url`], [`EmitError::Unreachable`], [`EmitError::Auth`] or [`EmitError::Loading`], at the first
    /// attempt that fails; [`Builder::retries`] asks for more of them.
    ///
    /// ```no_run
    /// use socketio_emitter::{EmitError, Emitter};
    ///
    /// # #[tokio::main] async fn main() {
    /// match Emitter::connect("redis://:secret@localhost:6379").await {
    ///     Ok(emitter) => drop(emitter.emit("time", "12:00").await),
    ///     Err(error @ EmitError::Auth { .. }) => eprintln!("{error}"), // says what to do
    ///     Err(error) => eprintln!("no Redis now: {error}"),
    /// }
    /// # }
    /// ```
    pub async fn connect(url: &str) -> Result<Emitter, EmitError> {
        Emitter::builder(url).connect().await
    }

    /// An emitter that connects when the first message is emitted.
    ///
    /// # Errors
    ///
    /// [`EmitError::Url`] when `url` does not name a Redis.
    pub fn lazy(url: &str) -> Result<Emitter, EmitError> {
        Emitter::builder(url).lazy()
    }

    /// An emitter with other settings than the usual ones.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// The same cluster's namespace `nsp`. A missing slash at its front is added.
    ///
    /// ```
    /// let emitter = socketio_emitter::Emitter::lazy("redis://localhost")?;
    /// assert_eq!(emitter.nsp(), "/");
    /// assert_eq!(emitter.of("admin").nsp(), "/admin"); // over the same connection
    /// # Ok::<_, socketio_emitter::EmitError>(())
    /// ```
    pub fn of(&self, nsp: &str) -> Emitter {
        let nsp = if nsp.starts_with('/') { nsp.to_owned() } else { format!("/{nsp}") };
        let format = Format::new(self.format.family(), self.carrier.key(), &nsp);
        Emitter { carrier: self.carrier.clone(), format: Arc::new(format) }
    }

    /// The namespace, with its slash.
    pub fn nsp(&self) -> &str {
        self.format.nsp()
    }

    /// Where Redis is, as a URL whose password is hidden.
    pub fn address(&self) -> String {
        self.carrier.address()
    }

    /// Only sockets of this room, or of any of several. An empty list is nobody.
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.all().to(rooms)
    }

    /// As [`to`](Emitter::to): Node's `in`, which is a keyword here.
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Broadcast {
        self.all().to(rooms)
    }

    /// No socket of this room, or of any of several. A socket's id is a room.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.all().except(rooms)
    }

    /// Clients that cannot take the packet at once do without it.
    pub fn volatile(&self) -> Broadcast {
        self.all().volatile()
    }

    /// Whether the packet may be compressed where compression is on.
    pub fn compress(&self, compress: bool) -> Broadcast {
        self.all().compress(compress)
    }

    /// How long answers are waited for; see [`Broadcast::timeout`].
    pub fn timeout(&self, timeout: Duration) -> Broadcast {
        self.all().timeout(timeout)
    }

    /// Every socket of the namespace.
    pub(crate) fn all(&self) -> Broadcast {
        Broadcast::new(self.clone(), Target::default())
    }

    /// Sends `event` to every client of the namespace, on all servers.
    ///
    /// The message is queued at once, in order, and never waits; await the [`Emitted`] to learn whether Redis took it
    /// and how many servers listen. `args`: a tuple is the list of arguments, `()` is none, anything else is one.
    ///
    /// # Errors
    ///
    /// In the [`Emitted`]: [`EmitError::Reserved`], [`EmitError::Encode`], [`EmitError::TooLarge`],
    /// [`EmitError::Full`] at once; the others when Redis has been asked.
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
    /// emitter.emit("photo", ("sea", bytes::Bytes::from_static(&[1, 2]))).await?; // two arguments, one of them binary
    /// for second in 0..60 {
    ///     let _ = emitter.emit("tick", second); // queued in order; nobody waits
    /// }
    /// emitter.flush().await;
    /// # Ok(()) }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) -> Emitted {
        self.send(|out| plan::emit(&self.format, &Target::default(), event, &args, out))
    }

    /// Has every socket of the namespace join a room, or several.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
    /// emitter.to("room-7").sockets_join("archive").await?; // all that are in room-7
    /// emitter.sockets_join("everybody").await?;
    /// # Ok(()) }
    /// ```
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emitted {
        self.all().sockets_join(rooms)
    }

    /// Has every socket of the namespace leave a room, or several.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
    /// emitter.to("room-7").sockets_leave(["room-7", "room-8"]).await?;
    /// # Ok(()) }
    /// ```
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emitted {
        self.all().sockets_leave(rooms)
    }

    /// Disconnects every socket from the namespace; with `close` the connections under them, too.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter, banned: &str) -> Result<(), socketio_emitter::EmitError> {
    /// emitter.to(banned).disconnect_sockets(true).await?; // a socket's id is a room
    /// # Ok(()) }
    /// ```
    pub fn disconnect_sockets(&self, close: bool) -> Emitted {
        self.all().disconnect_sockets(close)
    }

    /// Sends `event` to the servers themselves, where `on_server_event` (Node: `io.on`) hears it. Clients do not.
    ///
    /// Binary arrives as an object `{"type":"Buffer","data":[…]}`: the format has no binary here.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
    /// emitter.server_side_emit("cache cleared", "users").await?; // the servers run their handlers
    /// # Ok(()) }
    /// ```
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Emitted {
        self.send(|out| plan::server_side_emit(&self.format, event, &args, out))
    }

    /// What [`emit`](Emitter::emit) would send, without sending it.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit), without those of Redis.
    pub fn plan_emit(&self, event: &str, args: impl Serialize) -> Result<Plan, EmitError> {
        let plan = self.plan(|out| plan::emit(&self.format, &Target::default(), event, &args, out))?;
        Ok(plan.expect("the default target is everybody"))
    }

    /// What [`server_side_emit`](Emitter::server_side_emit) would send, without sending it.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit), without those of Redis.
    pub fn plan_server_side_emit(&self, event: &str, args: impl Serialize) -> Result<Plan, EmitError> {
        let plan = self.plan(|out| plan::server_side_emit(&self.format, event, &args, out))?;
        Ok(plan.expect("there are always servers to mean"))
    }

    /// Sends what was planned.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    pub fn publish(&self, plan: &Plan) -> Emitted {
        self.carrier.publish(&plan.command, &plan.payload)
    }

    /// Waits until all that was emitted has an answer, whatever it is.
    pub async fn flush(&self) {
        self.carrier.settled().await;
    }

    /// Takes no more messages, waits until all that was emitted has an answer, and hangs up.
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) {
    /// let _ = emitter.emit("night", ());
    /// emitter.close().await; // after this it has left, or was given up
    /// assert!(emitter.emit("day", ()).queued().is_err());
    /// # }
    /// ```
    pub async fn close(&self) {
        self.carrier.close();
        self.flush().await;
    }

    /// What a [`Builder`] has gathered.
    pub(crate) fn new(carrier: Carrier, family: &Family) -> Emitter {
        let format = Arc::new(Format::new(family, carrier.key(), "/"));
        Emitter { carrier: Arc::new(carrier), format }
    }

    /// Connects, if that is to be done before the first message.
    pub(crate) async fn connected(&self) -> Result<(), EmitError> {
        self.carrier.connect().await
    }

    pub(crate) fn format(&self) -> &Format {
        &self.format
    }

    pub(crate) fn shared_format(&self) -> &Arc<Format> {
        &self.format
    }

    /// How long answers are waited for if it is not said.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.carrier.answer_timeout()
    }

    /// Where answers come.
    pub(crate) fn desk(&self) -> Result<&Desk, EmitError> {
        self.carrier.desk()
    }

    /// Sends a question of asker `uid`.
    pub(crate) async fn publish_question(&self, uid: &str, question: &Message) -> Result<(), EmitError> {
        let mut payload = Vec::new();
        let command = self.format.ask(uid, question, &mut payload);
        let command = command.map_err(|error| EmitError::Encode { reason: error.to_string() })?;
        self.carrier.publish(&command, &payload).await.map(drop)
    }

    /// Queues what is written. For nobody it succeeds at once.
    pub(crate) fn send<'a>(&'a self, write: impl FnOnce(&mut Vec<u8>) -> Written<'a>) -> Emitted {
        let mut payload = SCRATCH.take();
        payload.clear();
        let emitted = match write(&mut payload) {
            Ok(Some(command)) => self.carrier.publish(&command, &payload),
            Ok(None) => Emitted::settled(Ok(Receipt::new(0, None))),
            Err(error) => Emitted::settled(Err(error)),
        };
        if payload.capacity() <= LARGEST_SCRATCH {
            SCRATCH.set(payload);
        }
        emitted
    }

    /// What is written, as a plan.
    pub(crate) fn plan<'a>(
        &'a self,
        write: impl FnOnce(&mut Vec<u8>) -> Written<'a>,
    ) -> Result<Option<Plan>, EmitError> {
        let mut payload = Vec::new();
        let Some(command) = write(&mut payload)? else { return Ok(None) };
        self.carrier.check_size(payload.len())?;
        Ok(Some(Plan::new(command, payload)))
    }
}

thread_local! {
    /// Where payloads are written before they are copied into the queue, so that none needs memory of its own.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that became larger is given back to the system.
const LARGEST_SCRATCH: usize = 64 * 1_024;

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("redis", &self.address()).field("nsp", &self.nsp()).finish_non_exhaustive()
    }
}
