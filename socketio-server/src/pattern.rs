//! Namespaces that are made when a client asks for them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytestring::ByteString;
use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::cluster::BusError;

use crate::ack::BroadcastAcks;
use crate::adapter::{Answers, Emitted, Target};
use crate::broadcast::{Broadcast, IntoRooms};
use crate::error::{ConnectError, DisconnectReason, EmitError, EventError, RequestError};
use crate::gate::erase_packet_middleware;
use crate::handler::{Event, Handler, erase};
use crate::handlers::{Handlers, ListenerId};
use crate::handshake::Handshake;
use crate::namespace::Namespace;
use crate::remote::RemoteSocketHandle;
use crate::server::ServerInner;
use crate::server_event::{ServerEventHandler, ServerHandlers};
use crate::socket::{Socket, erase_disconnect};

/// All namespaces whose names pass a test; see [`Server::of_matching`](crate::Server::of_matching). Cheap to clone.
///
/// What is registered here is for the sockets of each of them, whether it was made before or is made later, and runs
/// ahead of what is registered with the one namespace.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let games = io.of_matching(|name| name.starts_with("/game-"));
/// games.on_connection(async |socket: Socket| println!("{} plays {}", socket.id(), socket.namespace().name()));
///
/// let mut ana = TestClient::to(&io).namespace("/game-1").connect().await;
/// let mut bob = TestClient::to(&io).namespace("/game-2").connect().await;
/// games.emit("pause", "all games").unwrap();
/// assert_eq!(ana.expect::<String>("pause").await, "all games");
/// assert_eq!(bob.expect::<String>("pause").await, "all games");
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "ParentNamespace")]
pub struct NamespacePattern(Arc<Inner>);

struct Inner {
    server: Weak<ServerInner>,
    matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Has the last word on each client, if there is one.
    decide: Option<Decide>,
    handlers: RwLock<Handlers>,
    server_handlers: Arc<ServerHandlers>,
}

type Decide = Box<dyn Fn(NamespaceRequest) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

#[cfg(feature = "regex")]
impl crate::Server {
    /// All namespaces in whose names a regular expression finds something, as [`of_matching`](crate::Server::of_matching).
    /// As in Node.js it need not fit the whole name unless `^` and `$` say so; a name begins with its slash. Whatever the
    /// expression, looking takes time in proportion to the name.
    ///
    /// ```
    /// # use socketio_server::{Server, Socket, testing::TestClient};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_regex(regex::Regex::new(r"^/game-\d+$").unwrap());
    /// games.on("where", async |socket: Socket| socket.namespace().name().to_string());
    ///
    /// let client = TestClient::to(&io).namespace("/game-7").connect().await;
    /// assert_eq!(client.emit_with_ack::<String>("where", ()).await, "/game-7");
    /// assert!(TestClient::to(&io).namespace("/game-x").try_connect().await.is_err());
    /// # }
    /// ```
    #[doc(alias = "parentNsp")]
    pub fn of_regex(&self, regex: regex::Regex) -> NamespacePattern {
        self.of_matching(move |name| regex.is_match(name))
    }
}

/// A client's wish to enter a namespace; see [`Server::of_matching_async`](crate::Server::of_matching_async).
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let is_game = |name: &str| name.starts_with("/game-");
/// io.of_matching_async(is_game, async |request: NamespaceRequest| {
///     let auth = request.handshake().auth::<serde_json::Value>();
///     request.name().starts_with("/game-") && auth.is_ok_and(|auth| auth["player"] == true)
/// });
///
/// let enter = |auth| TestClient::to(&io).namespace("/game-7").auth(auth);
/// assert!(enter(serde_json::json!({ "player": true })).try_connect().await.is_ok());
/// assert!(enter(serde_json::json!({})).try_connect().await.is_err());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NamespaceRequest {
    name: ByteString,
    handshake: Arc<Handshake>,
}

impl NamespaceRequest {
    pub(crate) fn new(name: ByteString, handshake: Arc<Handshake>) -> Self {
        Self { name, handshake }
    }

    /// The name that the client asks for, with its slash.
    pub fn name(&self) -> &ByteString {
        &self.name
    }

    /// What the client said: its request, and in [`auth`](Handshake::auth) what it sent along with CONNECT, which for a
    /// Socket.IO 2 client is the query behind the namespace's name.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl NamespacePattern {
    pub(crate) fn new(server: Weak<ServerInner>, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::with(server, Box::new(matches), None)
    }

    pub(crate) fn new_async<F, Fut>(
        server: Weak<ServerInner>,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
        decide: F,
    ) -> Self
    where
        F: Fn(NamespaceRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self::with(server, Box::new(matches), Some(Box::new(move |request| Box::pin(decide(request)))))
    }

    fn with(
        server: Weak<ServerInner>,
        matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
        decide: Option<Decide>,
    ) -> Self {
        let (handlers, server_handlers) = Default::default();
        Self(Arc::new(Inner { server, matches, decide, handlers, server_handlers }))
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        (self.0.matches)(name)
    }

    /// Whether each client has to be decided on.
    pub(crate) fn is_guarded(&self) -> bool {
        self.0.decide.is_some()
    }

    /// Whether a client whose namespace's name fits may enter. A function that panics lets nobody in.
    pub(crate) async fn lets_in(&self, request: &NamespaceRequest) -> bool {
        let Some(decide) = &self.0.decide else { return true };
        let decided = AssertUnwindSafe(async { decide(request.clone()).await }).catch_unwind().await;
        decided.unwrap_or_else(|_| {
            tracing::error!(nsp = %request.name, "the function of a namespace pattern panicked");
            false
        })
    }

    pub(crate) fn handlers(&self) -> RwLockReadGuard<'_, Handlers> {
        self.0.handlers.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn server_handlers(&self) -> &Arc<ServerHandlers> {
        &self.0.server_handlers
    }

    fn write(&self) -> RwLockWriteGuard<'_, Handlers> {
        self.0.handlers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespaces that have been made on this server and still are.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// io.of("/game-1");
    /// assert_eq!(games.namespaces(), [io.of("/game-1")]);
    /// # }
    /// ```
    pub fn namespaces(&self) -> Vec<Namespace> {
        let server = self.0.server.upgrade();
        server.map(|server| server.made_by(self)).unwrap_or_default()
    }

    // ---- sending ----------------------------------------------------------------------------------------------

    /// Every socket of each namespace there is when something is sent. Everything that a [`Broadcast`] can do, it does
    /// in each of the namespaces that this server has.
    ///
    /// ```
    /// # async fn example(io: socketio_server::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let boards = io.of_matching(|name| name.starts_with("/board-"));
    /// boards.to("editors").emit("saved", ())?;
    /// println!("{} people look at boards", boards.fetch_sockets().await?.len());
    /// # Ok(()) }
    /// ```
    pub fn everyone(&self) -> Broadcast {
        Broadcast::of_pattern(self.clone(), Target::default())
    }

    /// Sends `event` to every socket of each namespace that there is now; see [`Broadcast::emit`].
    ///
    /// # Errors
    ///
    /// As [`Broadcast::emit`], the last one that occurred.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// # let enter = async |name: &str| TestClient::to(&io).namespace(name).connect().await;
    /// let (mut one, mut two) = (enter("/game-1").await, enter("/game-2").await);
    /// games.emit("pause", "a minute").unwrap(); // in both
    /// assert_eq!(one.expect::<String>("pause").await, "a minute");
    /// assert_eq!(two.expect::<String>("pause").await, "a minute");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.everyone().emit(event, args)
    }

    /// [`emit`](NamespacePattern::emit)s the event `message`.
    ///
    /// # Errors
    ///
    /// As [`emit`](NamespacePattern::emit).
    #[doc(alias = "write")]
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// Sends `event` to every socket and collects the answers; see [`Broadcast::emit_with_ack`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// # let mut client = TestClient::to(&io).namespace("/game-1").connect().await;
    /// let votes = games.emit_with_ack::<bool>("another round?", ());
    /// client.expect_event("another round?").await.answer(true);
    /// assert_eq!(votes.await.unwrap().answers, [true]);
    /// # }
    /// ```
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> BroadcastAcks<R> {
        self.everyone().emit_with_ack(event, args)
    }

    /// The sockets of a room, or of any of several, in each namespace; see [`Broadcast::to`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// games.on_connection(async |socket: Socket| socket.join("players"));
    /// let mut client = TestClient::to(&io).namespace("/game-1").connect().await;
    /// games.to("players").except("out").emit("deal", 3).unwrap(); // in each game
    /// assert_eq!(client.expect::<u32>("deal").await, 3);
    /// # }
    /// ```
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.everyone().to(rooms)
    }

    /// As [`to`](NamespacePattern::to): Node's `in`, which is a keyword here.
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Broadcast {
        self.everyone().to(rooms)
    }

    /// Everybody but the sockets of a room, or of any of several.
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

    /// Every socket of each namespace; see [`Broadcast::fetch_sockets`].
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// # let enter = async |name: &str| TestClient::to(&io).namespace(name).connect().await;
    /// let _players = (enter("/game-1").await, enter("/game-2").await);
    /// assert_eq!(games.fetch_sockets().await.unwrap().len(), 2);
    /// # }
    /// ```
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocketHandle>, BusError> {
        self.everyone().fetch_sockets().await
    }

    /// Has every socket join a room, or several; see [`Broadcast::sockets_join`].
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
    /// # Errors
    ///
    /// As [`Broadcast::sockets_join`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// let mut client = TestClient::to(&io).namespace("/game-1").connect().await;
    /// games.disconnect_sockets(false).unwrap();
    /// assert_eq!(client.disconnected().await, "io server disconnect");
    /// # }
    /// ```
    pub fn disconnect_sockets(&self, close: bool) -> Result<Emitted, EmitError> {
        self.everyone().disconnect_sockets(close)
    }

    /// Sends `event` to the other servers in each namespace; see [`Namespace::server_side_emit`].
    ///
    /// # Errors
    ///
    /// As [`Namespace::server_side_emit`], the last one that occurred.
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, RequestError> {
        Emitted::gather(self.namespaces(), |namespace| namespace.server_side_emit(event, &args))
    }

    /// Sends `event` to the other servers in each namespace and waits for what each answers; see
    /// [`Namespace::server_side_emit_with_ack`]. A server counts once for each namespace.
    ///
    /// # Errors
    ///
    /// As [`Namespace::server_side_emit_with_ack`].
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<R>, RequestError> {
        let namespaces = self.namespaces();
        let asked = namespaces.iter().map(|namespace| namespace.server_side_emit_with_ack(event, &args));
        Ok(futures_util::future::try_join_all(asked).await?.into_iter().collect())
    }

    // ---- listening --------------------------------------------------------------------------------------------

    /// As [`Namespace::on_server_event`].
    #[doc(alias = "serverSideEmit")]
    pub fn on_server_event<M>(&self, event: &str, handler: impl ServerEventHandler<M>) -> &Self {
        self.server_handlers().add(event, handler);
        self
    }

    /// As [`Namespace::on_connection`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// games.on_connection(async |socket: Socket| {
    ///     let _ = socket.emit("welcome", socket.namespace().name());
    /// });
    ///
    /// let mut client = TestClient::to(&io).namespace("/game-1").connect().await;
    /// assert_eq!(client.expect::<String>("welcome").await, "/game-1");
    /// # }
    /// ```
    pub fn on_connection<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().on_connection(handler);
        self
    }

    /// As [`Namespace::on`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// games.on("move", async |socket: Socket, Data(to): Data<String>| {
    ///     socket.broadcast().emit("moved", &to).map(drop) // to those of the same game
    /// });
    ///
    /// # let enter = async |name: &str| TestClient::to(&io).namespace(name).connect().await;
    /// let (ana, mut bob) = (enter("/game-1").await, enter("/game-1").await);
    /// ana.emit("move", "e4");
    /// assert_eq!(bob.expect::<String>("moved").await, "e4");
    /// # }
    /// ```
    pub fn on<M>(&self, event: &str, handler: impl Handler<M>) -> &Self {
        self.write().listeners.on(event, erase(handler), false);
        self
    }

    /// As [`Namespace::on_any`].
    pub fn on_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.write().listeners.on_any(erase(handler));
        self
    }

    /// As [`Namespace::off`].
    pub fn off(&self, event: &str) -> &Self {
        self.write().listeners.off(event);
        self
    }

    /// As [`Namespace::add_listener`].
    #[doc(alias = "addListener")]
    pub fn add_listener<M>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.write().listeners.on(event, erase(handler), false)
    }

    /// As [`Namespace::remove_listener`].
    #[doc(alias = "removeListener")]
    pub fn remove_listener(&self, listener: ListenerId) -> bool {
        self.write().listeners.remove(listener)
    }

    /// As [`Namespace::prepend_any`].
    #[doc(alias = "prependAny")]
    pub fn prepend_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.write().listeners.prepend_any(erase(handler));
        self
    }

    /// As [`Namespace::off_any`].
    #[doc(alias = "offAny")]
    pub fn off_any(&self) -> &Self {
        self.write().listeners.off_any();
        self
    }

    /// As [`Namespace::on_disconnect`].
    pub fn on_disconnect<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().listeners.disconnect.push(erase_disconnect(handler));
        self
    }

    /// As [`Namespace::on_disconnecting`].
    pub fn on_disconnecting<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().listeners.disconnecting.push(erase_disconnect(handler));
        self
    }

    /// As [`Namespace::use_packet`].
    #[doc(alias = "use")]
    pub fn use_packet<F, Fut>(&self, middleware: F) -> &Self
    where
        F: FnOnce(Socket, Event) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Event, EventError>> + Send + 'static,
    {
        self.write().listeners.packet_middlewares.push(erase_packet_middleware(middleware));
        self
    }

    /// As [`Namespace::middleware`]. It can look at the name: `socket.namespace().name()`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let games = io.of_matching(|name| name.starts_with("/game-"));
    /// games.middleware(async |socket: Socket| match &**socket.namespace().name() {
    ///     "/game-1" => Ok(()),
    ///     _ => Err(ConnectError::new("this game has ended")),
    /// });
    ///
    /// let enter = |name| TestClient::to(&io).namespace(name);
    /// assert!(enter("/game-1").try_connect().await.is_ok());
    /// assert_eq!(enter("/game-2").try_connect().await.unwrap_err().message, "this game has ended");
    /// # }
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
}

impl PartialEq for NamespacePattern {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for NamespacePattern {}

impl std::fmt::Debug for NamespacePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamespacePattern").finish_non_exhaustive()
    }
}

/// The name of a namespace as it travels: with a slash in front.
pub(crate) fn with_slash(name: &str) -> ByteString {
    match name {
        "" => ByteString::from_static("/"),
        name if name.starts_with('/') => name.into(),
        name => format!("/{name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::server::Door;

    /// The namespace that a client asks for, which becomes its guest.
    fn enter(io: &Server, name: &'static str) -> Option<Namespace> {
        match io.0.enter(&name.into()) {
            Door::Open(guest) => Some(guest.into_namespace()),
            Door::Ask => panic!("nobody has to be asked"),
            Door::Closed => None,
        }
    }

    fn boards(cleanup: bool) -> (Server, NamespacePattern) {
        let io = Server::builder().cleanup_empty_child_namespaces(cleanup).build();
        io.of("/board-static");
        let pattern = io.of_matching(|name| name.starts_with("/board-"));
        (io, pattern)
    }

    #[test]
    fn every_way_to_a_name_leads_through_the_patterns() {
        let (io, pattern) = boards(false);
        let later = io.of_matching(|_| true);
        assert!(pattern.namespaces().is_empty());
        let asked = enter(&io, "/board-1").unwrap();
        assert_eq!(pattern.namespaces(), std::slice::from_ref(&asked));
        assert_eq!(io.of("board-1"), asked);
        let made = io.of("/board-2");
        assert!(pattern.namespaces().contains(&made), "the application asks as clients do");
        assert!(!pattern.namespaces().contains(&io.of("/board-static")), "it was there before");
        assert_eq!(enter(&io, "/other").as_ref(), later.namespaces().first());
        let (io, _) = boards(false);
        assert_eq!(enter(&io, "/other"), None);
    }

    #[test]
    fn what_is_registered_with_a_pattern_later_is_for_earlier_namespaces_too() {
        let (io, pattern) = boards(false);
        let board = io.of("/board-1");
        pattern.middleware(async |_| Ok(())).on_connection(async |_| {});
        board.middleware(async |_| Ok(()));
        assert_eq!((board.middlewares().len(), board.connection_handlers().len()), (2, 1));
        assert_eq!(io.of("/board-2").middlewares().len(), 1);
        assert_eq!(io.of("/board-static").middlewares().len(), 0);
    }

    #[test]
    fn a_namespace_goes_with_its_last_guest_if_a_pattern_made_it() {
        for cleanup in [true, false] {
            let (io, pattern) = boards(cleanup);
            let [first, second] = [(); 2].map(|()| enter(&io, "/board-1").unwrap());
            let fixed = enter(&io, "/board-static").unwrap();
            first.guest_left();
            fixed.guest_left();
            assert_eq!(pattern.namespaces().len(), 1, "someone is in, or on the way in");
            second.guest_left();
            assert_eq!(pattern.namespaces().is_empty(), cleanup);
            assert_eq!(io.of("/board-static"), fixed);
            assert_eq!(io.of("/board-1") == first, !cleanup);
        }
    }
}
