//! The engine: which sessions there are, and what happens to an HTTP request for one of them.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use socketio_protocol::engine::{CloseReason, TransportKind};
use socketio_protocol::websocket::{Codec, Decoder, Role};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::now;
use super::config::EngineConfig;
use super::connection::Connection;
use super::counters::Counters;
use super::flusher::Flusher;
use super::frame::Terms;
use super::hooks::{ConnectionError, ConnectionErrorHooks};
use super::ids::random_id;
use super::incoming::Incoming;
use super::strangers::Strangers;
use super::timers::Timers;

/// Accepts Engine.IO clients and hands each to the application. Cheap to clone.
///
/// ```
/// use socketio_server::engine::{Engine, EngineConfig, Incoming};
///
/// // Says back what it hears, in an application made with axum.
/// let echo = Engine::new(EngineConfig::default(), async |mut incoming: Incoming| {
///     while let Some(message) = incoming.recv().await {
///         let _ = incoming.connection().send(message);
///     }
/// });
/// assert_eq!(echo.clients_count(), 0);
/// let app: axum::Router = axum::Router::new().layer(echo.layer());
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
}

/// By id. The ids are ours, or the application's: nobody outside chooses what is hashed into one bucket.
type Sessions = HashMap<ByteString, Arc<Connection>, foldhash::fast::RandomState>;

/// What every connection of an engine shares.
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    pub(super) timers: Arc<Timers>,
    pub(super) flusher: Arc<Flusher>,
    /// Compresses and inflates messages, if that is on.
    pub(super) codec: Option<Arc<Codec>>,
    pub(super) connection_errors: ConnectionErrorHooks,
    sessions: Mutex<Sessions>,
    /// Ids of the application's making whose sessions are not open yet.
    reserved: Mutex<HashSet<ByteString>>,
    /// Where the sessions of other servers are, if their clients may come here.
    pub(super) strangers: OnceLock<Arc<Strangers>>,
    accept: Accept,
    start: Instant,
    tasks: OnceLock<[AbortHandle; 2]>,
    pub(super) counters: Counters,
    #[cfg(feature = "rate-limit")]
    pub(super) gate: Arc<super::rate_limit::Gate>,
    draining: AtomicBool,
    closing: CancellationToken,
    /// The tasks of the sessions, and of streams that still have something to say.
    pub(super) sessions_at_work: TaskTracker,
}

type Accept = Box<dyn Fn(Incoming) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Engine {
    /// An engine that runs `on_connection` for each session, in a task of the session's own.
    ///
    /// # Panics
    ///
    /// When the options contradict themselves; see [`Cors::credentials`](super::Cors::credentials).
    ///
    /// ```
    /// use socketio_server::engine::{Engine, EngineConfig, Incoming};
    ///
    /// let echo = Engine::new(EngineConfig::default(), async |mut incoming: Incoming| {
    ///     while let Some(message) = incoming.recv().await {
    ///         let _ = incoming.connection().send(message);
    ///     }
    /// });
    /// ```
    pub fn new<F, Fut>(config: EngineConfig, on_connection: F) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::boxed(config, move |incoming| Box::pin(on_connection(incoming)))
    }

    pub(crate) fn boxed(
        config: EngineConfig,
        accept: impl Fn(Incoming) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static,
    ) -> Self {
        if let Some(cors) = &config.cors {
            cors.assert_sound();
        }
        let config = config.with_times_in_bounds();
        let engine = Self {
            shared: Arc::new(Shared {
                codec: config.codec(),
                config,
                timers: Arc::default(),
                flusher: Arc::default(),
                connection_errors: ConnectionErrorHooks::default(),
                sessions: Mutex::default(),
                reserved: Mutex::default(),
                strangers: OnceLock::new(),
                accept: Box::new(accept),
                start: now(),
                tasks: OnceLock::new(),
                counters: Counters::default(),
                #[cfg(feature = "rate-limit")]
                gate: Arc::default(),
                draining: AtomicBool::new(false),
                closing: CancellationToken::new(),
                sessions_at_work: TaskTracker::new(),
            }),
        };
        if let Some(bus) = &engine.shared.config.session_bus {
            let _ = engine.shared.strangers.set(Strangers::open(&*bus.0, &engine.shared)); // Just made.
        }
        engine
    }

    /// How many clients are connected.
    pub fn clients_count(&self) -> usize {
        self.shared.lock().len()
    }

    /// Has `hook` told of each request that is refused, with the code, message and context of the reference server's
    /// event `connection_error`. Each hook that was given is told.
    ///
    /// ```
    /// use socketio_server::Server;
    ///
    /// Server::new().engine().on_connection_error(|refused| {
    ///     eprintln!("{} {}: {}", refused.request.url(), refused.code(), refused.message());
    /// });
    /// ```
    #[doc(alias = "connection_error")]
    pub fn on_connection_error(&self, hook: impl Fn(&ConnectionError) + Send + Sync + 'static) -> &Self {
        self.shared.connection_errors.add(hook);
        self
    }

    /// Its options.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// Closes every session, and refuses new ones from now on. What is queued for a client is not sent. Returns once
    /// the clients have been told and the sessions' tasks have ended, or after two seconds.
    pub async fn close(&self) {
        self.close_for(CloseReason::ServerShutdown);
        self.closed().await;
    }

    /// What it counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The sessions that are open.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.shared.connections()
    }

    /// Refuses new sessions from now on.
    pub(crate) fn refuse_new(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Starts what all sessions share, if it has not been started.
    #[cfg(feature = "webtransport")]
    pub(crate) fn start(&self) {
        self.shared.start();
    }

    /// Runs what leads to a session, and serves it.
    #[cfg(feature = "webtransport")]
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        self.shared.sessions_at_work.spawn(session);
    }

    /// Is cancelled when the engine is closed.
    pub(crate) fn closing(&self) -> &CancellationToken {
        self.shared.closing()
    }

    /// Waits for the tasks of the sessions, two seconds at most.
    pub(crate) async fn closed(&self) {
        self.shared.sessions_at_work.close();
        let _ = tokio::time::timeout(CLOSE_PATIENCE, self.shared.sessions_at_work.wait()).await;
    }

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.shared.closing.cancel();
        for connection in self.shared.connections() {
            connection.discard(reason);
        }
    }
}

/// How long the closing of an engine waits for its sessions.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

impl Shared {
    /// What reads the frames of a client that came on these terms.
    pub(super) fn decoder(&self, terms: Terms) -> Decoder {
        let codec = terms.agreement.and_then(|_| self.codec.clone());
        let max = self.config.max_payload(TransportKind::WebSocket);
        Decoder::new(Role::Server, max).max_frames(self.config.max_fragments).with_codec(codec)
    }

    /// What compresses for such a client. One that has not room for what everyone gets is sent to uncompressed.
    pub(super) fn compressor(&self, terms: Terms) -> Option<&Arc<Codec>> {
        self.codec.as_ref().filter(|_| terms.agreement.is_some_and(|agreement| agreement.full_window()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().expect("nothing panics under the lock of the sessions")
    }

    /// Is cancelled when the engine is closed.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Whether new sessions are refused.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire) || self.is_closed()
    }

    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn session(&self, sid: &str) -> Option<Arc<Connection>> {
        self.lock().get(sid).cloned()
    }

    pub(super) fn remember(&self, connection: &Arc<Connection>) {
        self.lock().insert(connection.id().clone(), connection.clone());
        let transport = connection.transport();
        self.counters.opened(transport);
        tracing::debug!(target: "socketio::connection", sid = connection.short_id(), transport = transport.as_str(), protocol = connection.version().number(), "opened");
    }

    /// Keeps an id for a session that is about to open; `None` if another has it.
    pub(super) fn reserve(self: &Arc<Self>, sid: ByteString) -> Option<NewId> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.session(&sid).is_none() && reserved.insert(sid.clone());
        free.then(|| NewId { sid, reserved_by: Some(self.clone()) })
    }

    pub(super) fn forget(&self, sid: &ByteString) {
        let gone = self.lock().remove(sid);
        drop(gone); // Not under the lock: it may be the last reference.
    }

    /// Hands a new session to the application. Also starts what all sessions share, the first time.
    pub(super) fn accept(&self, incoming: Incoming) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if self.is_closed() {
            // While it opened: who closes the engine ends the sessions that it finds after saying so.
            incoming.connection().discard(CloseReason::ServerShutdown);
        }
        (self.accept)(incoming)
    }

    pub(super) fn start(&self) {
        self.tasks.get_or_init(|| {
            [
                tokio::spawn(self.timers.clone().run()).abort_handle(),
                tokio::spawn(self.flusher.clone().run()).abort_handle(),
            ]
        });
    }

    /// `at` in milliseconds since the engine's start, which a connection can keep in an atomic.
    pub(super) fn millis(&self, at: Instant) -> u64 {
        at.duration_since(self.start).as_millis() as u64
    }

    pub(super) fn instant(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }
}

/// The id of a session that is about to open. To be kept until it is among the sessions.
pub(super) struct NewId {
    pub(super) sid: ByteString,
    reserved_by: Option<Arc<Shared>>,
}

impl NewId {
    /// One that no other session can have.
    pub(super) fn random() -> Self {
        Self { sid: random_id(), reserved_by: None }
    }
}

impl Drop for NewId {
    fn drop(&mut self) {
        if let Some(shared) = &self.reserved_by {
            shared.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sid);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in self.tasks.get().into_iter().flatten() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
