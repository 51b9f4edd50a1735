//! The options of a server.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock, Weak};
use std::time::Duration;

use bytestring::ByteString;
use tokio_util::task::TaskTracker;

use super::{Config, Server, ServerInner, Shared};
use crate::adapter::{AdapterFactory, Recovery, SingleServer};
use crate::client::Client;
use crate::drain::Departures;
use crate::engine::{Engine, EngineConfig, Incoming, TransportKind};
use crate::exits::Exits;
use crate::limits::Limits;
use crate::parser::Parser;
use crate::stats::{Counts, NamedEvents};

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
    ///
    /// ```
    /// let io = socketio_server::Server::builder().path("/live").build();
    /// assert!(io.engine().owns("/live/") && !io.engine().owns("/socket.io/"));
    /// ```
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

    /// Serves clients whose session another server has, so that what stands in front of the servers need not be sticky:
    /// their polls, posts and WebSockets are carried to that server over `bus`, such as a `RedisAdapter`. Default off.
    ///
    /// Each such request costs a question to all servers, and each message of a WebSocket that is carried one over the bus.
    /// If one may be lost, the WebSocket is closed. The messages are those of `@socket.io/cluster-engine`. To be called
    /// inside a Tokio runtime, if `bus` wants one.
    #[must_use]
    pub fn without_sticky_sessions(mut self, bus: impl socketio_protocol::cluster::SessionBus) -> Self {
        self.engine.session_bus = Some(crate::engine::SessionBusOf::new(bus));
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
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use std::time::Duration;
    ///
    /// let io = Server::builder().ping_interval(Duration::from_secs(10)).max_http_buffer_size(100_000).build();
    /// assert_eq!(io.engine().config().max_http_buffer_size, 100_000);
    /// TestClient::connect(&io).await;
    /// # }
    /// ```
    pub fn build(mut self) -> Server {
        if let Some((_, silence)) = &mut self.config.recovery {
            *silence = self.engine.timing.ping_interval.saturating_add(self.engine.timing.ping_timeout);
        }
        self.config.limits.bound();
        self.config.limits.apply(&mut self.engine);
        let inner = Arc::new(ServerInner {
            shared: Arc::new(Shared {
                config: self.config,
                server: OnceLock::new(),
                states: self.states,
                error_hook: RwLock::default(),
                counts: Counts::naming(self.named_events),
                handlers: TaskTracker::new(),
                departures: Departures::default(),
                exits: Exits::default(),
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
