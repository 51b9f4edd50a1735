//! [`Emitter`]: one namespace of a cluster, seen from outside.

use std::{cell::Cell, fmt, sync::Arc, time::Duration};

use serde::Serialize;
use socketio_protocol::cluster::emitter::{Channels, DEFAULT_PREFIX};
use socketio_redis_client::TlsOptions;

use crate::{
    Broadcast, EmitError, Emitted, IntoRooms, Plan, Receipt,
    address::{self, Connection},
    link::{self, Pause, Settings},
    plan::{self, Target, Written},
    queue::{Limits, Queue},
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
    link: Arc<Link>,
    channels: Arc<Channels>,
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
        Builder {
            url: url.to_owned(),
            tls: TlsOptions::default(),
            key: DEFAULT_PREFIX.to_owned(),
            timeout: Duration::from_secs(5),
            retries: None,
            limits: Limits { messages: 65_536, bytes: 64 << 20 },
            max_message: 16 << 20,
        }
    }

    /// The same cluster's namespace `nsp`. A missing slash at its front is added.
    pub fn of(&self, nsp: &str) -> Emitter {
        let nsp = if nsp.starts_with('/') { nsp.to_owned() } else { format!("/{nsp}") };
        Emitter { link: self.link.clone(), channels: Arc::new(Channels::new(&self.link.key, &nsp)) }
    }

    /// The namespace, with its slash.
    pub fn nsp(&self) -> &str {
        self.channels.nsp()
    }

    /// Where Redis is, as a URL whose password is hidden.
    pub fn address(&self) -> String {
        self.link.settings.address.to_string()
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

    /// Every socket of the namespace.
    fn all(&self) -> Broadcast {
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
    pub fn emit(&self, event: &str, args: impl Serialize) -> Emitted {
        self.send(|out| plan::emit(&self.channels, &Target::default(), event, &args, out))
    }

    /// Has every socket of the namespace join a room, or several.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emitted {
        self.all().sockets_join(rooms)
    }

    /// Has every socket of the namespace leave a room, or several.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emitted {
        self.all().sockets_leave(rooms)
    }

    /// Disconnects every socket from the namespace; with `close` the connections under them, too.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
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
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Emitted {
        self.send(|out| plan::server_side_emit(&self.channels, event, &args, out))
    }

    /// What [`emit`](Emitter::emit) would send, without sending it.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit), without those of Redis.
    pub fn plan_emit(&self, event: &str, args: impl Serialize) -> Result<Plan, EmitError> {
        let plan = self.plan(|out| plan::emit(&self.channels, &Target::default(), event, &args, out))?;
        Ok(plan.expect("the default target is everybody"))
    }

    /// What [`server_side_emit`](Emitter::server_side_emit) would send, without sending it.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit), without those of Redis.
    pub fn plan_server_side_emit(&self, event: &str, args: impl Serialize) -> Result<Plan, EmitError> {
        let plan = self.plan(|out| plan::server_side_emit(&self.channels, event, &args, out))?;
        Ok(plan.expect("there are always servers to mean"))
    }

    /// Sends what was planned.
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit).
    pub fn publish(&self, plan: &Plan) -> Emitted {
        self.link.publish(&plan.channel, &plan.payload)
    }

    /// Waits until all that was emitted has an answer, whatever it is.
    pub async fn flush(&self) {
        self.link.queue.drained().await;
    }

    /// Takes no more messages, waits until all that was emitted has an answer, and hangs up.
    pub async fn close(&self) {
        self.link.queue.close();
        self.flush().await;
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Queues what is written. For nobody it succeeds at once.
    pub(crate) fn send<'a>(&'a self, write: impl FnOnce(&mut Vec<u8>) -> Written<'a>) -> Emitted {
        let mut payload = SCRATCH.take();
        payload.clear();
        let emitted = match write(&mut payload) {
            Ok(Some(channel)) => self.link.publish(&channel, &payload),
            Ok(None) => Emitted::settled(Ok(Receipt::new(0))),
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
        let Some(channel) = write(&mut payload)? else { return Ok(None) };
        self.link.check_size(payload.len())?;
        Ok(Some(Plan { channel: channel.into_owned(), payload: payload.into() }))
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

/// What is shared by all emitters of one connection. The connection ends with the last of them.
struct Link {
    queue: Arc<Queue>,
    settings: Settings,
    key: String,
    max_message: usize,
}

impl Link {
    fn publish(&self, channel: &str, payload: &[u8]) -> Emitted {
        let sent = self.check_size(payload.len()).and_then(|()| self.queue.push(channel, payload, || self.serve(None)));
        sent.unwrap_or_else(|error| Emitted::settled(Err(error)))
    }

    fn check_size(&self, bytes: usize) -> Result<(), EmitError> {
        if bytes > self.max_message { Err(EmitError::TooLarge { bytes, max: self.max_message }) } else { Ok(()) }
    }

    /// Starts the task that sends.
    fn serve(&self, connection: Option<Connection>) -> Result<(), EmitError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| EmitError::NoRuntime)?;
        runtime.spawn(link::run(self.queue.clone(), self.settings.clone(), connection));
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Settings of an [`Emitter`]; each has its usual value until told otherwise.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is asked to `connect` or to be `lazy`"]
pub struct Builder {
    url: String,
    tls: TlsOptions,
    key: String,
    timeout: Duration,
    retries: Option<u32>,
    limits: Limits,
    max_message: usize,
}

impl Builder {
    /// The prefix of all channels, the `key` of the servers' adapter; `socket.io` if not said.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// How to trust a `rediss://` Redis, and who we are there. If not said, as the system trusts, and without a
    /// certificate.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = options;
        self
    }

    /// How long a message waits for the link, and then again for the answer of Redis; 5 s if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a failed attempt to connect is repeated before what waits is given up.
    ///
    /// If not said, [`connect`](Builder::connect) fails with the first attempt, and a message waits for its whole
    /// [`timeout`](Builder::timeout), however many attempts that is. A wrong password is not tried twice.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// How much may be without an answer at a time, messages and their bytes; 65,536 and 64 MiB if not said. Past
    /// that, `emit` gives [`EmitError::Full`].
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.limits = Limits { messages: messages.max(1), bytes };
        self
    }

    /// The largest message; 16 MiB if not said.
    ///
    /// Redis by default cuts off each server to which it owes more than 32 MiB: one large message would do that.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Connects, see [`Emitter::connect`].
    ///
    /// # Errors
    ///
    /// As [`Emitter::connect`].
    pub async fn connect(self) -> Result<Emitter, EmitError> {
        let retries = self.retries.unwrap_or_default();
        let emitter = self.lazy()?;
        let Settings { address, timeout, .. } = &emitter.link.settings;
        let connection = link::connect(address, *timeout, retries, &mut Pause::new()).await?;
        emitter.link.queue.served();
        emitter.link.serve(Some(connection))?;
        Ok(emitter)
    }

    /// Connects with the first message, see [`Emitter::lazy`].
    ///
    /// # Errors
    ///
    /// As [`Emitter::lazy`].
    pub fn lazy(self) -> Result<Emitter, EmitError> {
        let Builder { url, tls, key, timeout, retries, limits, max_message } = self;
        let settings = Settings { address: address::parse(&url, tls)?, timeout, retries };
        let channels = Arc::new(Channels::new(&key, "/"));
        let link = Arc::new(Link { queue: Arc::new(Queue::new(limits)), settings, key, max_message });
        Ok(Emitter { link, channels })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Builder").field("key", &self.key).finish_non_exhaustive()
    }
}
