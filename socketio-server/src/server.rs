//! The server: its options, its namespaces, and the ways to put it behind a port.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytestring::ByteString;
use tokio_util::task::TaskTracker;

use crate::adapter::{AdapterFactory, History, Recovery, SingleServer};
use crate::client::Client;
use crate::engine::{CloseReason, ConnectionError, Engine, EngineConfig, Incoming, TransportKind};
use crate::error::{HandlerError, HandlerErrorKind};
use crate::limits::Limits;
use crate::namespace::{Guest, Namespace};
use crate::parser::Parser;
use crate::pattern::{NamespacePattern, NamespaceRequest, with_slash};
use crate::socket::Socket;
use crate::stats::{Counts, NamedEvents};

/// A Socket.IO server. Cheap to clone; clones are the same server.
///
/// It is also its namespace `/`: `io.emit(..)` is `io.of("/").emit(..)`.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let io = Server::new();
/// io.on_connection(async |socket: Socket| println!("{} is here", socket.id()));
/// io.on("echo", async |Data(text): Data<String>| text);
/// io.of("/admin").middleware(async |_: Socket| Err(ConnectError::new("nobody is let in yet")));
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<String>("echo", "hi").await, "hi");
/// assert!(client.enter("/admin", ()).await.is_err());
/// # }
/// ```
#[derive(Clone)]
pub struct Server(pub(crate) Arc<ServerInner>);

pub(crate) struct ServerInner {
    pub(crate) shared: Arc<Shared>,
    namespaces: RwLock<HashMap<ByteString, Namespace>>,
    patterns: RwLock<Vec<NamespacePattern>>,
    new_namespace: RwLock<Vec<NewNamespace>>,
    root: OnceLock<Namespace>,
    pub(crate) factory: Box<dyn AdapterFactory>,
    engine: OnceLock<Engine>,
}

/// What all namespaces and sockets of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) server: OnceLock<Weak<ServerInner>>,
    states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    error_hook: RwLock<Option<ErrorHook>>,
    pub(crate) counts: Counts,
    /// The handlers that wait for something.
    pub(crate) handlers: TaskTracker,
    #[cfg(feature = "admin")]
    pub(crate) admin: OnceLock<Arc<crate::admin::Admin>>,
}

type NewNamespace = Arc<dyn Fn(&Namespace) + Send + Sync>;

/// What a client finds where it asks for a namespace.
#[derive(Debug)]
pub(crate) enum Door {
    Open(Guest),
    /// The function of a pattern is to be [asked](ServerInner::admit).
    Ask,
    Closed,
}

type ErrorHook = Arc<dyn Fn(HandlerError) + Send + Sync>;

/// The options of the Socket.IO part; those of the engine are in [`EngineConfig`].
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) limits: Limits,
    pub(crate) slow_handler: Duration,
    pub(crate) serve_client: bool,
    pub(crate) parser: Parser,
    pub(crate) cleanup_empty_child_namespaces: bool,
    /// With how long a client that is gone may pass for connected.
    pub(crate) recovery: Option<(Recovery, Duration)>,
}

impl Config {
    /// What the clients of a new namespace come back to, if they can.
    pub(crate) fn history(&self) -> Option<History> {
        self.recovery.clone().map(|(recovery, silence)| History::new(recovery, silence))
    }
}

impl Server {
    /// A server with the default options: path `/socket.io`, one server, everything in memory.
    #[expect(clippy::new_without_default, reason = "Server::new() is how Socket.IO says it")]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A server with options.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let io = Server::builder().path("/live").ping_interval(Duration::from_secs(10)).build();
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The namespace of this name, which is made if there is none. A slash is put in front if it is missing.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// assert_eq!(io.of("chat"), io.of("/chat"));
    /// assert_eq!(io.of("/").name(), io.name());
    /// # }
    /// ```
    pub fn of(&self, name: &str) -> Namespace {
        self.0.of(with_slash(name))
    }

    /// All namespaces whose names pass a test. One is made when a client asks for it, or [`of`](Server::of) is called
    /// with its name. Of several patterns the first that was registered counts, and a namespace that is there already
    /// is not looked for among them.
    ///
    /// ```
    /// # use socketio_server::{Server, Socket};
    /// # let io = Server::new();
    /// let boards = io.of_matching(|name| name.starts_with("/board-"));
    /// boards.on_connection(async |socket: Socket| println!("someone looks at {}", socket.namespace().name()));
    /// ```
    #[doc(alias = "parentNsp")]
    pub fn of_matching(&self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> NamespacePattern {
        self.add_pattern(NamespacePattern::new(Arc::downgrade(&self.0), matches))
    }

    /// As [`of_matching`](Server::of_matching), for clients that an async function lets in: it sees the name, what the
    /// client sent along, and its handshake. It is asked for each client whose namespace's name passes the test, whether
    /// the namespace is there already or not. If it says no, the next pattern that the name fits is asked; if none
    /// lets the client in, it is told `Invalid namespace`, as for a name that does not exist.
    ///
    /// ```
    /// # use socketio_server::{NamespaceRequest, Server};
    /// # let io = Server::new();
    /// # #[derive(Clone)] struct Database;
    /// # impl Database { async fn is_tenant(&self, name: &str, key: &str) -> bool { true } }
    /// # let database = Database;
    /// #[derive(serde::Deserialize)]
    /// struct Auth { key: String }
    ///
    /// let tenants = io.of_matching_async(
    ///     |name| name.starts_with("/tenant-"),
    ///     move |asked: NamespaceRequest| {
    ///         let database = database.clone();
    ///         async move {
    ///             match asked.handshake().auth::<Auth>() {
    ///                 Ok(auth) => database.is_tenant(asked.name(), &auth.key).await,
    ///                 Err(_) => false,
    ///             }
    ///         }
    ///     },
    /// );
    /// tenants.on_connection(async |_| println!("a tenant's client"));
    /// ```
    ///
    /// It has the [`connect_timeout`](Builder::connect_timeout) to decide.
    #[doc(alias = "parentNsp")]
    pub fn of_matching_async<F, Fut>(
        &self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
        decide: F,
    ) -> NamespacePattern
    where
        F: Fn(NamespaceRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.add_pattern(NamespacePattern::new_async(Arc::downgrade(&self.0), matches, decide))
    }

    fn add_pattern(&self, pattern: NamespacePattern) -> NamespacePattern {
        self.0.patterns.write().unwrap_or_else(PoisonError::into_inner).push(pattern.clone());
        pattern
    }

    /// All namespaces that there are now, `/` among them, in no order.
    ///
    /// ```
    /// # fn example(io: socketio_server::Server) -> Result<(), socketio_server::EmitError> {
    /// for namespace in io.namespaces() {
    ///     namespace.emit("maintenance", "in five minutes")?;
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "_nsps")]
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.0.namespaces().values().cloned().collect()
    }

    /// Has every socket that this server has in a namespace leave it, and forgets the namespace with its handlers. A
    /// client that asks for it later is let in only if a pattern makes it anew. Returns whether there was such a
    /// namespace; `/` stays.
    ///
    /// ```
    /// # let io = socketio_server::Server::new();
    /// io.of("/lottery");
    /// assert!(io.remove_namespace("/lottery"));
    /// assert!(!io.remove_namespace("/lottery"));
    /// ```
    pub fn remove_namespace(&self, name: &str) -> bool {
        let name = with_slash(name);
        let removed = if name == "/" { None } else { self.0.write().remove(&name) };
        if let Some(namespace) = &removed {
            namespace.shut();
        }
        removed.is_some()
    }

    /// Has `hook` told of each namespace that is made from now on, by [`of`](Server::of) or because a client asked for
    /// it. What is to hold for all namespaces of a pattern is registered with the pattern: when this hook runs, another
    /// client may be in already.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_new_namespace(|namespace: &Namespace| println!("{} is there now", namespace.name()));
    /// io.of("/chat");
    /// # }
    /// ```
    #[doc(alias = "new_namespace")]
    pub fn on_new_namespace(&self, hook: impl Fn(&Namespace) + Send + Sync + 'static) -> &Self {
        self.0.new_namespace.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
        self
    }

    /// Its engine: clients as connections, without namespaces.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// println!("{} connections", io.engine().clients_count());
    /// # }
    /// ```
    pub fn engine(&self) -> &Engine {
        self.0.engine.get().expect("set when the server was made")
    }

    /// Has `hook` told of everything that goes wrong in handlers: arguments that do not fit, errors that they return,
    /// panics. Without a hook it is logged.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_error(|error: HandlerError| eprintln!("{} of {}: {}", error.event, error.socket, error.kind));
    /// io.on("half", async |Data(n): Data<u32>| n / 2);
    ///
    /// let client = TestClient::connect(&io).await;
    /// let answer: serde_json::Value = client.emit_with_ack("half", "a lot").await;
    /// assert!(answer["error"].as_str().unwrap().starts_with("the arguments do not fit"));
    /// # }
    /// ```
    pub fn on_error(&self, hook: impl Fn(HandlerError) + Send + Sync + 'static) -> &Self {
        *self.0.shared.error_hook.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
        self
    }

    /// Has `hook` told of each HTTP request that is refused; see [`Engine::on_connection_error`].
    ///
    /// ```
    /// # let io = socketio_server::Server::new();
    /// io.on_connection_error(|error| println!("{} {} {}", error.code(), error.message(), error.error.context()));
    /// ```
    #[doc(alias = "connection_error")]
    pub fn on_connection_error(&self, hook: impl Fn(&ConnectionError) + Send + Sync + 'static) -> &Self {
        self.engine().on_connection_error(hook);
        self
    }

    /// Disconnects every client with the reason `server shutting down`, leaves the cluster, and ends
    /// [`listen`](Server::listen). Returns once the clients have been told, or after two seconds.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.close().await;
    /// client.disconnected().await;
    /// # }
    /// ```
    pub async fn close(&self) {
        self.engine().close_for(CloseReason::ServerShutdown);
        for namespace in self.0.all() {
            for socket in namespace.local_sockets() {
                socket.end(crate::DisconnectReason::Connection(CloseReason::ServerShutdown));
            }
            namespace.adapter().close();
        }
        self.engine().closed().await;
    }
}

impl ServerInner {
    fn namespaces(&self) -> RwLockReadGuard<'_, HashMap<ByteString, Namespace>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Namespace> {
        self.namespaces().values().cloned().collect()
    }

    fn of(&self, name: ByteString) -> Namespace {
        if let Some(namespace) = self.namespaces().get(&name) {
            return namespace.clone();
        }
        let pattern = self.patterns(&name).next();
        self.find_or_make(&name, pattern, Namespace::clone)
    }

    /// The namespace that a client asks for, with the client as its guest.
    pub(crate) fn enter(&self, name: &ByteString) -> Door {
        if let Some(namespace) = self.namespaces().get(name) {
            return match namespace.pattern().is_some_and(NamespacePattern::is_guarded) {
                true => Door::Ask,
                // Under the lock, so that a namespace that is being removed for want of guests is not entered.
                false => Door::Open(Guest::of(namespace)),
            };
        }
        match self.patterns(name).next() {
            None => Door::Closed,
            Some(pattern) if pattern.is_guarded() => Door::Ask,
            pattern => Door::Open(self.find_or_make(name, pattern, Guest::of)),
        }
    }

    /// The namespace that a client asks for, if the patterns that its name fits let the client in.
    pub(crate) async fn admit(&self, request: &NamespaceRequest) -> Option<Guest> {
        let name = request.name();
        let mut willing: Option<NamespacePattern> = None;
        loop {
            let there = self.namespaces().get(name).cloned();
            let Some(namespace) = there else {
                let mut patterns = self.patterns(name);
                willing = loop {
                    let pattern = patterns.next()?;
                    if pattern.lets_in(request).await {
                        break Some(pattern);
                    }
                };
                drop(self.find_or_make(name, willing.clone(), Namespace::clone));
                continue;
            };
            if let Some(pattern) = namespace.pattern().filter(|pattern| willing.as_ref() != Some(*pattern)) {
                if !pattern.lets_in(request).await {
                    return None;
                }
                willing = Some(pattern.clone());
            }
            // It may have been removed while the function was waited for.
            if let Some(same) = self.namespaces().get(name).filter(|same| **same == namespace) {
                return Some(Guest::of(same));
            }
        }
    }

    /// The namespace of a name, handed to `take` under the lock. Who watches is told if it is new.
    fn find_or_make<T>(
        &self,
        name: &ByteString,
        pattern: Option<NamespacePattern>,
        take: impl FnOnce(&Namespace) -> T,
    ) -> T {
        let mut made = None;
        let taken = {
            let mut namespaces = self.write();
            let namespace = namespaces.entry(ByteString::from(&**name)).or_insert_with(|| {
                // A client's name may share the memory of all that it sent: this one is a copy.
                let namespace = Namespace::new(ByteString::from(&**name), self.shared.clone(), &*self.factory, pattern);
                #[cfg(feature = "admin")]
                if let Some(admin) = self.shared.admin.get() {
                    admin.watch(&namespace);
                }
                made.insert(namespace).clone()
            });
            take(namespace)
        };
        if let Some(namespace) = made {
            let hooks = self.new_namespace.read().unwrap_or_else(PoisonError::into_inner).clone();
            hooks.iter().for_each(|hook| hook(&namespace));
        }
        taken
    }

    /// Has `admin` watch every namespace, from now on and of those there are. Returns whether nobody has before.
    #[cfg(feature = "admin")]
    pub(crate) fn instrument(&self, admin: &Arc<crate::admin::Admin>) -> bool {
        // Under the lock, so that a namespace that is made meanwhile is watched once.
        let namespaces = self.write();
        let first = self.shared.admin.set(admin.clone()).is_ok();
        if first {
            namespaces.values().for_each(|namespace| admin.watch(namespace));
        }
        first
    }

    /// The namespace of a name: one that there is, or one that a pattern makes, but none out of nothing.
    #[cfg(feature = "admin")]
    pub(crate) fn find(&self, name: &str) -> Option<Namespace> {
        let found = self.namespaces().get(name).cloned();
        found.or_else(|| self.patterns(name).next().map(|_| self.of(name.into())))
    }

    /// The patterns that a name fits, the first registered first.
    fn patterns(&self, name: &str) -> impl Iterator<Item = NamespacePattern> + use<> {
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner).clone();
        let name = name.to_owned();
        patterns.into_iter().filter(move |pattern| pattern.matches(&name))
    }

    pub(crate) fn made_by(&self, pattern: &NamespacePattern) -> Vec<Namespace> {
        self.namespaces().values().filter(|namespace| namespace.pattern() == Some(pattern)).cloned().collect()
    }

    pub(crate) fn remove_if_empty(&self, namespace: &Namespace) {
        let mut namespaces = self.write();
        if namespace.is_empty() && namespaces.get(namespace.name()) == Some(namespace) {
            namespaces.remove(namespace.name());
            drop(namespaces);
            namespace.adapter().close();
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ByteString, Namespace>> {
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub(crate) fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.states.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }

    pub(crate) fn report(&self, error: HandlerError) {
        self.counts.failed(&error.kind);
        let hook = self.error_hook.read().unwrap_or_else(PoisonError::into_inner).clone();
        match hook {
            Some(hook) => hook(error),
            None => {
                tracing::warn!(nsp = %error.nsp, socket = %error.socket, event = ?error.event, error = %error.kind, "a handler failed")
            }
        }
    }

    pub(crate) fn report_panic(&self, socket: &Socket, event: &str, panic: String) {
        self.report(HandlerError {
            nsp: socket.namespace().name().clone(),
            socket: socket.id().clone(),
            event: event.to_owned(),
            kind: HandlerErrorKind::Panic(panic),
        });
    }
}

impl std::ops::Deref for Server {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        self.0.root.get().expect("set when the server was made")
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("config", &self.0.shared.config).finish_non_exhaustive()
    }
}

/// The options of a [`Server`], in the reference server's words and with its defaults.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let io = Server::builder()
///     .path("/live")
///     .ping_interval(Duration::from_secs(10))
///     .ping_timeout(Duration::from_secs(5))
///     .max_http_buffer_size(100_000)
///     .ack_timeout(Duration::from_secs(3))
///     .connection_state_recovery(Recovery::default())
///     .state("what handlers take as State<&str>")
///     .build();
/// # }
/// ```
pub struct Builder {
    pub(crate) engine: EngineConfig,
    config: Config,
    factory: Box<dyn AdapterFactory>,
    states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    named_events: NamedEvents,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            engine: EngineConfig { path: "/socket.io".into(), ..EngineConfig::default() },
            config: Config {
                limits: Limits::default(),
                slow_handler: Duration::from_millis(100),
                serve_client: true,
                parser: Parser::Json,
                cleanup_empty_child_namespaces: false,
                recovery: None,
            },
            factory: Box::new(SingleServer),
            states: HashMap::new(),
            named_events: NamedEvents::default(),
        }
    }
}

impl Builder {
    /// Under which path the server answers. Default `/socket.io`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.engine.path = format!("/{}", path.trim_matches('/'));
        self
    }

    /// What makes this server one of a cluster. Default: it is alone.
    ///
    /// ```
    /// # use socketio_redis_adapter::RedisAdapter;
    /// # use socketio_server::Server;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let adapter = RedisAdapter::connect("redis://localhost:6379").await?;
    /// let io = Server::builder().adapter(adapter).build();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn adapter(mut self, adapter: impl AdapterFactory) -> Self {
        self.factory = Box::new(adapter);
        self
    }

    /// How often a silent client is asked whether it is there. Default 25 s.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.engine.timing.ping_interval = interval;
        self
    }

    /// How long it may take to answer. Default 20 s.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.engine.timing.ping_timeout = timeout;
        self
    }

    /// How long the change from polling to another transport may take. Default 10 s.
    #[must_use]
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.engine.timing.upgrade_timeout = timeout;
        self
    }

    /// The longest message or polling body that is accepted, in bytes. Default 1,000,000.
    #[must_use]
    pub fn max_http_buffer_size(mut self, bytes: usize) -> Self {
        self.config.limits.max_http_buffer_size = bytes;
        self
    }

    /// What one client may cost: all limits, in place of those set so far. The methods for single limits change them
    /// further.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let mut limits = Limits::default();
    /// limits.max_rooms_per_socket = 10;
    /// limits.max_http_buffer_size = 50_000;
    /// let io = Server::builder().limits(limits).build();
    /// # }
    /// ```
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// The transports on offer. Default polling and WebSocket. WebTransport also needs the cargo feature `webtransport`
    /// and a listener of its own.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use socketio_server::engine::TransportKind;
    ///
    /// let io = Server::builder().transports([TransportKind::WebSocket]).build();
    /// let polling = TestClient::to(&io).transport(TransportKind::Polling).try_connect().await;
    /// assert!(polling.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn transports(mut self, transports: impl IntoIterator<Item = TransportKind>) -> Self {
        self.engine.transports = transports.into_iter().collect();
        self
    }

    /// Whether a polling client may change to another transport. Default true.
    #[must_use]
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.engine.allow_upgrades = allow;
        self
    }

    /// Whether Socket.IO 2 clients (Engine.IO protocol 3) are served. Default true.
    #[doc(alias = "allowEIO3")]
    #[must_use]
    pub fn allow_eio3(mut self, allow: bool) -> Self {
        self.engine.allow_eio3 = allow;
        self
    }

    /// How many packets and bytes may wait for one client; past it the client is closed as a slow consumer. Default
    /// 65,536 packets and 16 MiB.
    #[must_use]
    pub fn max_queue(mut self, packets: usize, bytes: usize) -> Self {
        self.config.limits.max_queued_packets = packets;
        self.config.limits.max_queued_bytes = bytes;
        self
    }

    /// How long a client may be connected without entering a namespace, and how long middlewares may take to let it into
    /// one. Default 45 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.limits.connect_timeout = timeout;
        self
    }

    /// How long a client may take to answer when nothing else is said. Default 30 s.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.limits.ack_timeout = timeout;
        self
    }

    /// Whether the JavaScript client is served below the path. Default true.
    #[must_use]
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.config.serve_client = serve;
        self
    }

    /// How many attachments a client's packet may have. Default 10.
    #[must_use]
    pub fn max_attachments(mut self, max: usize) -> Self {
        self.config.limits.max_attachments = max;
        self
    }

    /// In how many rooms a socket may be besides its own. Default 1,024.
    #[must_use]
    pub fn max_rooms_per_socket(mut self, max: usize) -> Self {
        self.config.limits.max_rooms_per_socket = max;
        self
    }

    /// In how many namespaces one client may be. Default 128.
    #[must_use]
    pub fn max_namespaces_per_connection(mut self, max: usize) -> Self {
        self.config.limits.max_namespaces_per_connection = max;
        self
    }

    /// How many handlers of one client may wait for something before the client is not read any more. Default 256.
    #[must_use]
    pub fn max_waiting_handlers(mut self, max: usize) -> Self {
        self.config.limits.max_waiting_handlers = max;
        self
    }

    /// How packets are written; clients must use the same parser. Default [`Parser::Json`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let io = Server::builder().parser(Parser::MsgPack).build(); // for clients with socket.io-msgpack-parser
    /// # }
    /// ```
    #[must_use]
    pub fn parser(mut self, parser: Parser) -> Self {
        self.config.parser = parser;
        self
    }

    /// How much clients may do: connections, events and bytes, by socket and by address. Default everything.
    #[cfg(feature = "rate-limit")]
    #[must_use]
    pub fn rate_limits(mut self, limits: crate::engine::RateLimits) -> Self {
        self.engine.rate_limits = Some(limits);
        self
    }

    /// How long a handler may hold its thread, which other clients need too, before it is logged with its name and
    /// counted. Waiting does not hold the thread; computing for long does, and calls that block, which belong into
    /// `tokio::task::spawn_blocking`. Default 100 ms; measured to within some milliseconds.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let io = Server::builder().slow_handler(Duration::from_millis(20)).build();
    /// io.on("sum", async |Data(numbers): Data<Vec<u64>>| {
    ///     // What takes long has a thread of its own, and no other client waits for it.
    ///     tokio::task::spawn_blocking(move || numbers.iter().sum::<u64>()).await.unwrap()
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn slow_handler(mut self, longest: Duration) -> Self {
        self.config.slow_handler = longest;
        self
    }

    /// Takes clients that were away for a moment back to where they were: the same id, rooms and data, and the events
    /// that they missed. Default off.
    ///
    /// Each event has one more argument then, by which a client says how far it came. A client counts as away once the
    /// server has noticed; one that comes back earlier takes the place of its former self.
    ///
    /// What is kept, is kept in the memory of this server, and in its memory only, also in a cluster over Redis pub/sub.
    /// With the streams adapter of `socketio-redis-adapter` it is kept in Redis: a client may come back on any server, also
    /// when the one it was on has died. Every event, [`Socket::emit`](crate::Socket::emit) too, goes through the stream
    /// then and is sent once it has its place there, here as elsewhere; while Redis is away it waits, as long as the
    /// adapter's publish queue says. Questions to clients, `local` broadcasts and what a middleware sends do not wait, and
    /// are not sent again. The stream has to hold what is sent while a client is away (`max_len`).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let recovery = Recovery::default().max_disconnection_duration(Duration::from_secs(60)).skip_middlewares(false);
    /// let io = Server::builder().connection_state_recovery(recovery).build();
    /// assert!(TestClient::connect(&io).await.pid().is_some());
    /// # }
    /// ```
    #[must_use]
    pub fn connection_state_recovery(mut self, recovery: Recovery) -> Self {
        self.config.recovery = Some((recovery, Duration::ZERO));
        self
    }

    /// Whether a namespace that [a pattern](Server::of_matching) made goes when its last socket has left. Default
    /// false.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let io = Server::builder().cleanup_empty_child_namespaces(true).build();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// let mut client = TestClient::to(&io).namespace("/game-1").connect().await;
    /// assert_eq!(games.namespaces().len(), 1);
    /// client.disconnect();
    /// # tokio::time::sleep(Duration::from_millis(50)).await;
    /// assert_eq!(games.namespaces().len(), 0);
    /// # }
    /// ```
    #[must_use]
    pub fn cleanup_empty_child_namespaces(mut self, cleanup: bool) -> Self {
        self.config.cleanup_empty_child_namespaces = cleanup;
        self
    }

    /// Gives handlers a value of this type, as [`State<T>`](crate::State).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// struct Greeting(&'static str);
    ///
    /// let io = Server::builder().state(Greeting("good morning")).build();
    /// io.on("greet", async |Data(name): Data<String>, greeting: State<Greeting>| format!("{}, {name}", greeting.0.0));
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<String>("greet", "Ana").await, "good morning, Ana");
    /// # }
    /// ```
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(state));
        self
    }

    /// Counts the events of clients by these names in [`Server::stats`], all others as `other`. Which names there are is
    /// said here, since names are otherwise in the hands of clients. Default none.
    ///
    /// ```
    /// # use socketio_server::Server;
    /// let io = Server::builder().count_events(["chat message", "typing"]).build();
    /// assert_eq!(io.stats().events_by_name[0], ("chat message".to_owned(), 0));
    /// ```
    #[must_use]
    pub fn count_events(mut self, names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.named_events = NamedEvents::of(names);
        self
    }

    /// The server. With an adapter that reaches other servers, to be called inside a Tokio runtime.
    ///
    /// # Panics
    ///
    /// When the options contradict themselves; see [`Cors::credentials`](crate::engine::Cors::credentials).
    pub fn build(mut self) -> Server {
        if let Some((_, silence)) = &mut self.config.recovery {
            *silence = self.engine.timing.ping_interval + self.engine.timing.ping_timeout;
        }
        self.config.limits.apply(&mut self.engine);
        let inner = Arc::new(ServerInner {
            shared: Arc::new(Shared {
                config: self.config,
                server: OnceLock::new(),
                states: self.states,
                error_hook: RwLock::default(),
                counts: Counts::naming(self.named_events),
                handlers: TaskTracker::new(),
                #[cfg(feature = "admin")]
                admin: OnceLock::new(),
            }),
            namespaces: RwLock::default(),
            patterns: RwLock::default(),
            new_namespace: RwLock::default(),
            root: OnceLock::new(),
            factory: self.factory,
            engine: OnceLock::new(),
        });
        let server: Weak<ServerInner> = Arc::downgrade(&inner);
        let _ = inner.shared.server.set(server.clone()); // Just made: nobody else has set it.
        let engine = Engine::boxed(self.engine, move |incoming: Incoming| match server.upgrade() {
            Some(server) => Box::pin(Client::serve(server, incoming)),
            None => Box::pin(std::future::ready(())),
        });
        let _ = inner.engine.set(engine); // Just made: nobody else has set it.
        let _ = inner.root.set(inner.of(ByteString::from_static("/")));
        Server(inner)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("engine", &self.engine).field("config", &self.config).finish_non_exhaustive()
    }
}
