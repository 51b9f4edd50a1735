//! A channel inside the connections of clients: its sockets, handlers and middlewares, and its operators.

mod sending;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};

use bytestring::ByteString;
use tokio::sync::mpsc;

use crate::adapter::{Adapter, AdapterFactory, History, MemoryAdapter, RoomEvent, ServerEvent};
use crate::error::{ConnectError, DisconnectReason, EventError};
use crate::gate::{Middlewares, erase_packet_middleware};
use crate::handler::{Event, Handler, erase};
use crate::handlers::{Found, Handlers, ListenerId, Listeners, Middleware, OnConnection, OnDisconnect};
use crate::parser::Parser;
use crate::pattern::NamespacePattern;
use crate::server::Shared;
use crate::server_event::{ServerEventHandler, ServerHandlers};
use crate::socket::{Socket, erase_disconnect};

/// A namespace. Cheap to clone; clones are the same namespace.
///
/// Its handlers are for all its sockets: registered once, they cost nothing per socket and are there before a client
/// is told that it is connected.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let chat = io.of("/chat");
/// chat.on("say", async |socket: Socket, Data(text): Data<String>| socket.broadcast().emit("said", text).map(drop));
///
/// let ana = TestClient::to(&io).namespace("/chat").connect().await;
/// let mut bob = TestClient::to(&io).namespace("/chat").connect().await;
/// ana.emit("say", "hello");
/// assert_eq!(bob.expect::<String>("said").await, "hello");
/// chat.emit("closing", "in an hour").unwrap();
/// assert_eq!(bob.expect::<String>("closing").await, "in an hour");
/// # }
/// ```
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    name: ByteString,
    shared: Arc<Shared>,
    adapter: OnceLock<Arc<dyn Adapter>>,
    sockets: RwLock<HashMap<ByteString, Socket, foldhash::fast::RandomState>>,
    /// The pattern that the namespace was made by; its handlers run first.
    pattern: Option<NamespacePattern>,
    handlers: RwLock<Handlers>,
    server_handlers: Arc<ServerHandlers>,
    /// How many clients are in, or on their way in.
    guests: AtomicUsize,
    /// The application has removed it.
    removed: AtomicBool,
}

/// How many events of other servers may wait to be handled.
const SERVER_EVENTS: usize = 1024;

impl Namespace {
    pub(crate) fn new(
        name: ByteString,
        shared: Arc<Shared>,
        factory: &dyn AdapterFactory,
        pattern: Option<NamespacePattern>,
    ) -> Self {
        let local = MemoryAdapter::new(
            name.clone(),
            shared.config.parser.clone(),
            shared.config.history(),
            shared.config.limits.rooms(),
        );
        let local = Arc::new(local.counting(shared.counts.cluster.clone()));
        let namespace = Self(Arc::new(Inner {
            name,
            shared,
            adapter: OnceLock::new(),
            sockets: RwLock::default(),
            pattern,
            handlers: RwLock::default(),
            server_handlers: Arc::default(),
            guests: AtomicUsize::new(0),
            removed: AtomicBool::new(false),
        }));
        let (events, incoming) = mpsc::channel(SERVER_EVENTS);
        let adapter = factory.create(local, events);
        let _ = namespace.0.adapter.set(adapter); // Just made: nobody else has set it.
        namespace.hear_servers(incoming);
        namespace
    }

    /// Runs the handlers of events that other servers send, for as long as the adapter lives.
    fn hear_servers(&self, mut incoming: mpsc::Receiver<ServerEvent>) {
        if incoming.is_closed() {
            return; // The adapter has dropped its end: there are no other servers.
        }
        let (weak, handlers) = (Arc::downgrade(&self.0), self.0.server_handlers.clone());
        let of_pattern = self.0.pattern.as_ref().map(|pattern| pattern.server_handlers().clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while let Some(event) = incoming.recv().await {
                    let Some(namespace) = weak.upgrade().map(Namespace) else { return };
                    ServerHandlers::run(of_pattern.iter().chain([&handlers]), &namespace, event);
                }
            });
        }
    }

    /// Its name, with its slash.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// assert_eq!(io.of("chat").name(), "/chat");
    /// assert_eq!(io.name(), "/");
    /// # }
    /// ```
    pub fn name(&self) -> &ByteString {
        &self.0.name
    }

    /// What knows its rooms, and the other servers.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let client = TestClient::connect(&io).await;
    /// assert!(io.adapter().local().has_room(client.id()));
    /// assert_eq!(io.adapter().server_count().await.unwrap(), 1);
    /// # }
    /// ```
    pub fn adapter(&self) -> &Arc<dyn Adapter> {
        self.0.adapter.get().expect("set when the namespace was made")
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    // ---- listening --------------------------------------------------------------------------------------------

    /// Runs `handler` on each socket that connects. What it registers before its first `.await` misses nothing.
    ///
    /// ```
    /// # use socketio_server::{Data, Server, Socket};
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     socket.on("my other event", async |Data(data): Data<serde_json::Value>| println!("{data}"));
    ///     let _ = socket.emit("news", serde_json::json!({ "hello": "world" }));
    /// });
    /// ```
    #[doc(alias = "connect")]
    #[doc(alias = "connection")]
    pub fn on_connection<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().on_connection(handler);
        self
    }

    /// Runs `handler` on each `event` of each socket.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("add", async |Data((a, b)): Data<(i64, i64)>| a + b);
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<i64>("add", (2, 3)).await, 5);
    /// # }
    /// ```
    pub fn on<M>(&self, event: &str, handler: impl Handler<M>) -> &Self {
        self.write().listeners.on(event, erase(handler), false);
        self
    }

    /// Runs `handler` on every event of each socket, ahead of those of the event.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_any(async |socket: Socket, event: Event| println!("{}: {}", socket.id(), event.name()));
    /// # }
    /// ```
    #[doc(alias = "onAny")]
    pub fn on_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.write().listeners.on_any(erase(handler));
        self
    }

    /// Removes the namespace's handlers of `event`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("vote", async || "counted");
    /// io.off("vote"); // the vote is over
    /// # }
    /// ```
    pub fn off(&self, event: &str) -> &Self {
        self.write().listeners.off(event);
        self
    }

    /// As [`on`](Namespace::on), for a handler that can be taken away alone, by what this returns.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let trace = io.add_listener("move", async |event: Event| println!("{event:?}"));
    /// assert!(io.remove_listener(trace));
    /// # }
    /// ```
    #[doc(alias = "addListener")]
    pub fn add_listener<M>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.write().listeners.on(event, erase(handler), false)
    }

    /// Takes one handler away. Returns whether it was there.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let listener = io.add_listener("tick", async || 1);
    /// assert!(io.remove_listener(listener));
    /// assert!(!io.remove_listener(listener), "it is gone");
    /// # }
    /// ```
    #[doc(alias = "removeListener")]
    pub fn remove_listener(&self, listener: ListenerId) -> bool {
        self.write().listeners.remove(listener)
    }

    /// As [`on_any`](Namespace::on_any), ahead of those that are there.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_any(async |event: Event| println!("second: {}", event.name()));
    /// io.prepend_any(async |event: Event| println!("first: {}", event.name()));
    /// # }
    /// ```
    #[doc(alias = "prependAny")]
    pub fn prepend_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.write().listeners.prepend_any(erase(handler));
        self
    }

    /// Removes the namespace's handlers of every event.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_any(async |event: Event| println!("{}", event.name()));
    /// io.off_any(); // those of `on` stay
    /// # }
    /// ```
    #[doc(alias = "offAny")]
    pub fn off_any(&self) -> &Self {
        self.write().listeners.off_any();
        self
    }

    /// Runs `handler` for each socket that has been disconnected.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_disconnect(async |socket: Socket, reason: DisconnectReason| {
    ///     println!("{} left: {}", socket.id(), reason.as_str());
    /// });
    /// # }
    /// ```
    pub fn on_disconnect<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().listeners.disconnect.push(erase_disconnect(handler));
        self
    }

    /// Runs `handler` for each socket that is about to be disconnected, while it is still in its rooms.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_disconnecting(async |socket: Socket, _: DisconnectReason| {
    ///     for room in socket.rooms() {
    ///         let _ = socket.to(&room).emit("left", socket.id());
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_disconnecting<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().listeners.disconnecting.push(erase_disconnect(handler));
        self
    }

    /// Looks at each event of each socket before its handlers, which run with the event that it returns: the one that
    /// came, or another. Several run in order, those of the namespace before those of a socket. It may wait: events of
    /// the same socket that come meanwhile wait behind it, and keep their order.
    ///
    /// An error drops the event and goes to the [error hook](crate::Server::on_error), and as `{"error": ..}` to the
    /// client if it asked for an acknowledgement. A client of Socket.IO 2 is sent it as an `error` event, too; newer
    /// ones have no packet for it.
    ///
    /// ```
    /// # use socketio_server::{Data, Event, EventError, testing::TestClient};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = socketio_server::Server::new();
    /// io.use_packet(async |socket, event: Event| match &*event.name() {
    ///     "delete" if socket.handshake().query("admin").is_none() => Err(EventError::new("not for you")),
    ///     "old name" => Ok(Event::new("name", event.args())?),
    ///     _ => Ok(event),
    /// });
    /// io.on("name", async |Data(name): Data<String>| name.len());
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<usize>("old name", "ana").await, 3);
    /// # }
    /// ```
    #[doc(alias = "use")]
    pub fn use_packet<F, Fut>(&self, middleware: F) -> &Self
    where
        F: FnOnce(Socket, Event) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Event, EventError>> + Send + 'static,
    {
        self.write().listeners.packet_middlewares.push(erase_packet_middleware(middleware));
        self
    }

    /// Looks at each client before it is let in; an error refuses it. Several run in order, the first error ends it.
    ///
    /// A client that has not been decided on within the [`connect_timeout`](crate::Builder::connect_timeout) is refused,
    /// and one that goes meanwhile is forgotten; what still runs for it is dropped at its `.await`.
    ///
    /// ```
    /// # use socketio_server::{ConnectError, Server, Socket};
    /// # let io = Server::new();
    /// io.of("/admin").middleware(async |socket: Socket| {
    ///     #[derive(serde::Deserialize)]
    ///     struct Auth { token: String }
    ///     match socket.handshake().auth::<Auth>() {
    ///         Ok(auth) if auth.token == "secret" => Ok(()),
    ///         _ => Err(ConnectError::new("not authorized").data(serde_json::json!({ "code": 401 }))),
    ///     }
    /// });
    /// ```
    #[doc(alias = "use")]
    pub fn middleware<F, Fut>(&self, middleware: F) -> &Self
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ConnectError>> + Send + 'static,
    {
        self.write().middleware(middleware);
        self
    }

    /// Runs `handler` on each `event` that another server sends with
    /// [`server_side_emit`](Namespace::server_side_emit). What it returns answers the other server, if that asked; or
    /// take a [`ServerAnswer`](crate::ServerAnswer) for it.
    ///
    /// ```
    /// # use socketio_server::{Data, Server, State};
    /// # struct Jobs;
    /// # impl Jobs { fn running(&self, _: &str) -> u32 { 0 } }
    /// # let io = Server::builder().state(Jobs).build();
    /// io.on_server_event("cache cleared", async |Data(key): Data<String>| println!("{key} is to be read again"));
    /// io.on_server_event("jobs?", async |Data(queue): Data<String>, jobs: State<Jobs>| jobs.running(&queue));
    /// # async fn ask(io: Server) -> Result<(), socketio_server::RequestError> {
    /// // On another server:
    /// let running = io.server_side_emit_with_ack::<u32>("jobs?", "mail").await?;
    /// println!("{} jobs on {} servers", running.iter().sum::<u32>(), running.len());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "serverSideEmit")]
    pub fn on_server_event<M>(&self, event: &str, handler: impl ServerEventHandler<M>) -> &Self {
        self.0.server_handlers.add(event, handler);
        self
    }

    /// Has `hook` told when a room gets its first socket on this server or loses its last, and when a socket joins or
    /// leaves one. The rooms that sockets have by themselves are rooms like others. It runs on the task that joins or
    /// leaves, so it is to be quick.
    ///
    /// ```
    /// # use socketio_server::{RoomEvent, Server};
    /// # let io = Server::new();
    /// io.on_room_event(|event: &RoomEvent| match event {
    ///     RoomEvent::Create { room } => println!("{room} is new"),
    ///     RoomEvent::Join { room, id } => println!("{id} joins {room}"),
    ///     RoomEvent::Leave { room, id } => println!("{id} leaves {room}"),
    ///     RoomEvent::Delete { room } => println!("{room} is empty"),
    ///     _ => {}
    /// });
    /// ```
    #[doc(alias = "create-room")]
    #[doc(alias = "delete-room")]
    #[doc(alias = "join-room")]
    #[doc(alias = "leave-room")]
    pub fn on_room_event(&self, hook: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &Self {
        self.adapter().local().on_room_event(Arc::new(hook));
        self
    }

    // ---- for the floors around --------------------------------------------------------------------------------

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Handlers> {
        self.0.handlers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is registered for its sockets: with the pattern that it was made by, and with itself.
    fn handlers(&self) -> impl Iterator<Item = RwLockReadGuard<'_, Handlers>> {
        let of_pattern = self.0.pattern.iter().map(NamespacePattern::handlers);
        // Chained lazily: one lock is let go before the next is taken.
        of_pattern.chain(std::iter::once_with(|| self.0.handlers.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The pattern that the namespace was made by.
    pub(crate) fn pattern(&self) -> Option<&NamespacePattern> {
        self.0.pattern.as_ref()
    }

    /// Has every socket of this server leave, and lets nobody in any more.
    pub(crate) fn shut(&self) {
        self.0.removed.store(true, Ordering::SeqCst);
        self.local_sockets().iter().for_each(|socket| socket.disconnect_now(false));
        self.adapter().close();
    }

    /// Whether the application has removed it.
    pub(crate) fn is_removed(&self) -> bool {
        self.0.removed.load(Ordering::SeqCst)
    }

    pub(crate) fn parser(&self) -> &Parser {
        &self.0.shared.config.parser
    }

    /// What clients come back to, if they can.
    pub(crate) fn history(&self) -> Option<&History> {
        self.adapter().local().history()
    }

    pub(crate) fn add(&self, socket: Socket) {
        self.0.sockets.write().unwrap_or_else(PoisonError::into_inner).insert(socket.id().clone(), socket);
    }

    /// Removes a socket; not the one that has come back under its id meanwhile.
    pub(crate) fn remove(&self, socket: &Socket) {
        self.adapter().local().remove(socket.member());
        let mut sockets = self.0.sockets.write().unwrap_or_else(PoisonError::into_inner);
        if sockets.get(socket.id()) == Some(socket) {
            sockets.remove(socket.id());
        }
    }

    fn guest_came(&self) {
        self.0.guests.fetch_add(1, Ordering::AcqRel);
    }

    /// A client that was in, or was refused, is gone. The last one closes the door of a namespace that a pattern made.
    pub(crate) fn guest_left(&self) {
        if self.0.guests.fetch_sub(1, Ordering::AcqRel) == 1
            && self.0.pattern.is_some()
            && self.0.shared.config.cleanup_empty_child_namespaces
            && let Some(server) = self.0.shared.server.get().and_then(Weak::upgrade)
        {
            server.remove_if_empty(self);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.guests.load(Ordering::Acquire) == 0
    }

    pub(crate) fn middlewares(&self) -> Vec<Middleware> {
        self.handlers().flat_map(|handlers| handlers.middlewares.clone()).collect()
    }

    pub(crate) fn connection_handlers(&self) -> Vec<OnConnection> {
        self.handlers().flat_map(|handlers| handlers.connection.clone()).collect()
    }

    pub(crate) fn disconnect_handlers(&self, which: fn(&Listeners) -> &Vec<OnDisconnect>) -> Vec<OnDisconnect> {
        self.handlers().flat_map(|handlers| which(&handlers.listeners).clone()).collect()
    }

    /// The handlers of an event, and the middlewares that it has to pass, if it has not.
    pub(crate) fn find(&self, event: &str, found: &mut Found, mut middlewares: Option<&mut Middlewares>) {
        for handlers in self.handlers() {
            handlers.listeners.find(event, found);
            if let Some(middlewares) = &mut middlewares {
                middlewares.extend_from_slice(&handlers.listeners.packet_middlewares);
            }
        }
    }
}

/// A client that is on its way into a namespace, which stays for as long. Dropped, the client has gone elsewhere.
#[derive(Debug)]
pub(crate) struct Guest(Option<Namespace>);

impl Guest {
    pub(crate) fn of(namespace: &Namespace) -> Self {
        namespace.guest_came();
        Self(Some(namespace.clone()))
    }

    /// Where it goes.
    pub(crate) fn namespace(&self) -> &Namespace {
        self.0.as_ref().expect("taken by `into_namespace` only")
    }

    /// The client is a socket from now on, which says [when it leaves](Namespace::guest_left).
    pub(crate) fn into_namespace(mut self) -> Namespace {
        self.0.take().expect("taken here only")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(namespace) = self.0.take() {
            namespace.guest_left();
        }
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Namespace {}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(&&**self.name()).finish()
    }
}
