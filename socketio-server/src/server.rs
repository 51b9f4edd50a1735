//! The server: its options, its namespaces, and the ways to put it behind a port.

mod builder;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytestring::ByteString;
use tokio_util::task::TaskTracker;

use socketio_protocol::cluster::BusStatus;

use crate::adapter::{AdapterFactory, History, Recovery};
use crate::drain::Departures;
use crate::engine::{CloseReason, ConnectionError, Engine};
use crate::error::{HandlerError, HandlerErrorKind};
use crate::exits::Exits;
use crate::limits::Limits;
use crate::namespace::{Guest, Namespace};
use crate::parser::Parser;
use crate::pattern::{NamespacePattern, NamespaceRequest, with_slash};
use crate::socket::Socket;
use crate::stats::Counts;

pub use self::builder::Builder;

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
    pub(crate) departures: Departures,
    pub(crate) exits: Exits,
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

    /// Has `hook` told, with the name of the namespace, when the other servers can be reached, when they cannot, and when
    /// messages of theirs were lost or may have been: [`BusStatus::Gap`] says from when until when, and of a stream how many.
    ///
    /// It is called on the task that reads from the carrier, and must not block. How much was lost so far is in
    /// [`stats`](Self::stats); without a hook it is logged all the same.
    ///
    /// ```
    /// # let io = socketio_server::Server::new();
    /// use socketio_server::BusStatus;
    ///
    /// io.on_cluster(|nsp, status| match status {
    ///     BusStatus::Gap { since, until, lost } => println!("{nsp}: {:?}, lost: {lost:?}", *until - *since),
    ///     BusStatus::Lost { count } => println!("{nsp}: {count} came faster than they could be taken"),
    ///     _ => {}
    /// });
    /// ```
    pub fn on_cluster(&self, hook: impl Fn(&str, &BusStatus) + Send + Sync + 'static) -> &Self {
        self.0.shared.counts.cluster.tell(Arc::new(hook));
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
