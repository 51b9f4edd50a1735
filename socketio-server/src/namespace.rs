//! A channel inside the connections of clients: its sockets, handlers and middlewares, and its operators.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::cluster::BusError;
use socketio_protocol::socket::Args;
use tokio::sync::mpsc;

use crate::ack::BroadcastAcks;
use crate::adapter::{
    Adapter, AdapterFactory, Answers, Emitted, History, MemoryAdapter, Outgoing, RoomEvent, ServerEvent, Target,
};
use crate::broadcast::{Broadcast, IntoRooms, check_name, check_request};
use crate::error::{ConnectError, DisconnectReason, EmitError, EventError, RequestError};
use crate::gate::{Middlewares, erase_packet_middleware};
use crate::handler::{Event, Handler, erase};
use crate::handlers::{Found, Handlers, ListenerId, Listeners, Middleware, OnConnection, OnDisconnect};
use crate::parser::Parser;
use crate::pattern::NamespacePattern;
use crate::remote::RemoteSocketHandle;
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
    #[doc(alias = "removeListener")]
    pub fn remove_listener(&self, listener: ListenerId) -> bool {
        self.write().listeners.remove(listener)
    }

    /// As [`on_any`](Namespace::on_any), ahead of those that are there.
    #[doc(alias = "prependAny")]
    pub fn prepend_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.write().listeners.prepend_any(erase(handler));
        self
    }

    /// Removes the namespace's handlers of every event.
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

    // ---- sending ----------------------------------------------------------------------------------------------

    /// Every socket of the namespace.
    pub fn everyone(&self) -> Broadcast {
        Broadcast::new(self.clone(), Target::default())
    }

    /// Sends `event` to every socket of the namespace, on all servers; see [`Broadcast::emit`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.emit("news", ("a", 1)).unwrap();
    /// assert_eq!(client.expect::<(String, u32)>("news").await, ("a".to_owned(), 1));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::emit`].
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.everyone().emit(event, args)
    }

    /// Encodes an event once, to be sent many times with [`Broadcast::emit_encoded`] or [`Socket::emit_encoded`].
    ///
    /// ```
    /// # use socketio_server::Server;
    /// # fn example(io: Server) -> Result<(), socketio_server::EmitError> {
    /// let tick = io.encode("tick", (1, "a"))?;
    /// io.to("players").emit_encoded(&tick)?;
    /// io.to("watchers").volatile().emit_encoded(&tick)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EmitError::Reserved`] and [`EmitError::Encode`].
    pub fn encode(&self, event: &str, args: impl Serialize) -> Result<Outgoing, EmitError> {
        check_name(event)?;
        Ok(Outgoing::event(self.parser(), self.name(), None, event, &args)?)
    }

    /// [`emit`](Namespace::emit)s the event `message`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.send("hi").unwrap();
    /// assert_eq!(client.expect::<String>("message").await, "hi");
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::emit`].
    #[doc(alias = "write")]
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// Sends `event` to every socket and collects the answers; see [`Broadcast::emit_with_ack`].
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> BroadcastAcks<R> {
        self.everyone().emit_with_ack(event, args)
    }

    /// The sockets of a room, or of any of several; see [`Broadcast::to`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.join("red");
    /// io.to("red").to("blue").except("muted").emit("start", ()).unwrap();
    /// ana.expect::<()>("start").await;
    /// # }
    /// ```
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.everyone().to(rooms)
    }

    /// As [`to`](Namespace::to): Node's `in`, which is a keyword here.
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Broadcast {
        self.everyone().to(rooms)
    }

    /// Everybody but the sockets of a room, or of any of several.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.join("muted");
    /// io.except("muted").emit("news", 1).unwrap();
    /// assert_eq!(bob.expect::<u32>("news").await, 1);
    /// # }
    /// ```
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.everyone().except(rooms)
    }

    /// Everybody on this server.
    pub fn local(&self) -> Broadcast {
        self.everyone().local()
    }

    /// Everybody who can take a packet at once.
    pub fn volatile(&self) -> Broadcast {
        self.everyone().volatile()
    }

    /// Everybody, compressed or not where compression is on.
    pub fn compress(&self, compress: bool) -> Broadcast {
        self.everyone().compress(compress)
    }

    /// Everybody, with a time limit for answers; see [`Broadcast::timeout`].
    pub fn timeout(&self, timeout: Duration) -> Broadcast {
        self.everyone().timeout(timeout)
    }

    /// Every socket of the namespace, on all servers; see [`Broadcast::fetch_sockets`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// for found in io.fetch_sockets().await.unwrap() {
    ///     println!("{} in {:?}", found.id(), found.rooms());
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocketHandle>, BusError> {
        self.everyone().fetch_sockets().await
    }

    /// How many sockets the namespace has, on all servers; see [`Broadcast::count`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// assert_eq!(io.count().await.unwrap().total(), 2);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    pub async fn count(&self) -> Result<Answers<u64>, BusError> {
        self.everyone().count().await
    }

    /// How many sockets are in each room, on all servers; see [`Broadcast::room_sizes`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.join("red");
    /// assert_eq!(io.room_sizes().await.unwrap().complete().unwrap(), [("red".to_owned(), 1)]);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    pub async fn room_sizes(&self) -> Result<Answers<(String, u64)>, BusError> {
        self.everyone().room_sizes().await
    }

    /// Has every socket join a room, or several; see [`Broadcast::sockets_join`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.sockets_join("everybody").unwrap();
    /// assert_eq!(io.to("everybody").count().await.unwrap().total(), 2);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::sockets_join`].
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Result<Emitted, EmitError> {
        self.everyone().sockets_join(rooms)
    }

    /// Has every socket leave a room, or several; see [`Broadcast::sockets_leave`].
    ///
    /// # Errors
    ///
    /// As [`Broadcast::sockets_join`].
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Result<Emitted, EmitError> {
        self.everyone().sockets_leave(rooms)
    }

    /// Disconnects every socket; see [`Broadcast::disconnect_sockets`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.disconnect_sockets(true).unwrap();
    /// client.disconnected().await;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::sockets_join`].
    pub fn disconnect_sockets(&self, close: bool) -> Result<Emitted, EmitError> {
        self.everyone().disconnect_sockets(close)
    }

    /// Sends `event` to the other servers themselves, whose
    /// [`on_server_event`](Namespace::on_server_event) handlers run. This server does not hear it.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_server_event("cache cleared", async |Data(key): Data<String>| println!("{key}"));
    /// io.server_side_emit("cache cleared", "users").unwrap(); // the others run their handlers
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is reserved, `args` cannot be written, or the other servers cannot be told.
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, RequestError> {
        check_request(event)?;
        Ok(self.adapter().server_side_emit(Args::new_event(event, &args)?)?)
    }

    /// Sends `event` to the other servers themselves and waits for what each answers: its first argument as `R`. Waits
    /// 5 s; a server that left meanwhile is not waited for.
    ///
    /// # Errors
    ///
    /// As [`server_side_emit`](Namespace::server_side_emit), and when an answer is no `R`. Servers that do not answer
    /// in time are counted in [`Answers::missing`].
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<R>, RequestError> {
        check_request(event)?;
        let args = Args::new_event(event, &args)?;
        let answers = self.shared().counts.ask(self.adapter().server_side_emit_with_ack(args, None)).await?;
        let received = answers.received.iter().map(|args| args.to::<(R,)>().map(|(answer,)| answer));
        Ok(Answers { received: received.collect::<Result<_, _>>()?, asked: answers.asked, missing: answers.missing })
    }

    /// How many servers share the namespace, this one included.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// assert_eq!(io.server_count().await.unwrap(), 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When nobody can say.
    pub async fn server_count(&self) -> Result<usize, BusError> {
        self.adapter().server_count().await
    }

    /// The rooms of the namespace, on all servers, each once, those of single sockets among them.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.join("red");
    /// let rooms = io.rooms().await.unwrap().complete().unwrap();
    /// assert_eq!(rooms.len(), 3, "each socket has one of its own");
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the other servers cannot be asked at all.
    pub async fn rooms(&self) -> Result<Answers<String>, BusError> {
        self.shared().counts.ask(self.adapter().all_rooms(None)).await
    }

    /// Waits until messages of the other servers arrive here. At once if there are none.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.ready().await.unwrap(); // from here on nothing of the other servers is missed
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the namespace is closed.
    pub async fn ready(&self) -> Result<(), BusError> {
        self.adapter().ready().await
    }

    /// The connected sockets of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// assert_eq!(io.local_sockets().len(), 2);
    /// # }
    /// ```
    #[doc(alias = "sockets")]
    pub fn local_sockets(&self) -> Vec<Socket> {
        self.0.sockets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The connected socket of this id, if it is on this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// assert_eq!(io.local_socket(ana.id()), Some(socket));
    /// assert_eq!(io.local_socket("nobody"), None);
    /// # }
    /// ```
    pub fn local_socket(&self, id: &str) -> Option<Socket> {
        self.0.sockets.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// How many sockets of this server are connected.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// assert_eq!(io.local_count(), 2);
    /// # }
    /// ```
    pub fn local_count(&self) -> usize {
        self.adapter().local().len()
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

    pub(crate) fn remove(&self, id: &ByteString) {
        self.adapter().local().remove(id);
        self.0.sockets.write().unwrap_or_else(PoisonError::into_inner).remove(id);
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
