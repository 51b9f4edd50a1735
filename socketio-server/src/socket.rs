//! One client in one namespace.

mod phase;
mod rooms;
mod sending;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::engine::{CloseReason, TransportKind, Version};
use socketio_protocol::socket::{Args, Kind};
use tokio::sync::oneshot;

use self::phase::{CONNECTED, CONNECTING, GONE, LEAVING, Phase};
use crate::adapter::{Command, Member, Outgoing, Resumed, Session, Target, tell_after};
use crate::engine::Connection;
use crate::engine::counters::bump;
use crate::error::DisconnectReason;
use crate::gate::Middlewares;
use crate::handler::{Handler, Load, erase, run_occasion};
use crate::handlers::{Found, Listeners, OnDisconnect};
use crate::handshake::Handshake;
use crate::namespace::Namespace;

/// A client in a namespace: emits to it, listens to it, puts it into rooms. Cheap to clone; clones are the same socket.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on_connection(async |socket: Socket| {
///     socket.join("lobby");
///     let _ = socket.emit("welcome", ("you are", socket.id()));
///     let _ = socket.to("lobby").emit("new here", socket.id());
/// });
///
/// let mut client = TestClient::connect(&io).await;
/// let (_, id) = client.expect::<(String, String)>("welcome").await;
/// assert_eq!(id, client.id());
/// # }
/// ```
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    member: Arc<Member>,
    namespace: Namespace,
    load: Arc<Load>,
    phase: Phase,
    /// The secret by which the client can come back to its session.
    pid: Option<Box<str>>,
    recovered: bool,
    /// Handlers of this socket alone; most have none.
    listeners: Mutex<Option<Box<Listeners>>>,
    acks: Mutex<Option<Box<Acks>>>,
}

type Acks = HashMap<u64, oneshot::Sender<Args>, foldhash::fast::RandomState>;

/// A socket that may be gone.
pub(crate) struct WeakSocket(Weak<Inner>);

impl WeakSocket {
    pub(crate) fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }
}

/// How long a client that is to be disconnected is left to what was sent to it before, if that is held up.
const PATIENCE: Duration = Duration::from_secs(1);

impl Socket {
    pub(crate) fn new(
        id: ByteString,
        connection: Arc<Connection>,
        handshake: Handshake,
        namespace: Namespace,
        load: Arc<Load>,
        pid: Option<Box<str>>,
    ) -> Self {
        Self::assemble(id, connection, handshake, namespace, load, pid, false)
    }

    /// A socket that goes on with the session of one that was lost.
    pub(crate) fn resume(
        session: &Session,
        connection: Arc<Connection>,
        handshake: Handshake,
        namespace: Namespace,
        load: Arc<Load>,
        pid: Box<str>,
    ) -> Self {
        let socket = Self::assemble(session.id.clone(), connection, handshake, namespace, load, Some(pid), true);
        socket.0.member.restore(session.data.clone());
        socket.0.phase.early_rooms().extend(session.rooms.iter().filter(|room| **room != session.id).cloned());
        socket
    }

    fn assemble(
        id: ByteString,
        connection: Arc<Connection>,
        handshake: Handshake,
        namespace: Namespace,
        load: Arc<Load>,
        pid: Option<Box<str>>,
        recovered: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            member: Arc::new(Member::new(id, connection, Arc::new(handshake))),
            namespace,
            load,
            phase: Phase::default(),
            pid,
            recovered,
            listeners: Mutex::default(),
            acks: Mutex::default(),
        }))
    }

    /// Its id: random, and safe to tell others. Not the session id of the connection under it.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// assert_eq!(&**socket.id(), client.id());
    /// io.to(socket.id()).emit("for you alone", ()).unwrap();
    /// client.expect::<()>("for you alone").await;
    /// # }
    /// ```
    pub fn id(&self) -> &ByteString {
        self.0.member.id()
    }

    /// Its namespace.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.of("/chat").on("where", async |socket: Socket| socket.namespace().name().to_string());
    /// let client = TestClient::to(&io).namespace("/chat").connect().await;
    /// assert_eq!(client.emit_with_ack::<String>("where", ()).await, "/chat");
    /// # }
    /// ```
    #[doc(alias = "nsp")]
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Whether it is connected. False in a middleware, and after its end.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// assert!(socket.connected());
    /// socket.disconnect(false);
    /// assert!(!socket.connected());
    /// # }
    /// ```
    pub fn connected(&self) -> bool {
        matches!(self.phase(), CONNECTED | LEAVING)
    }

    /// Whether the client came back to a session: with the id, rooms and data that it had, and the events that it
    /// missed. See [`Builder::connection_state_recovery`](crate::Builder::connection_state_recovery).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     if !socket.recovered() {
    ///         let _ = socket.emit("history", "all of it");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn recovered(&self) -> bool {
        self.0.recovered
    }

    /// What the client said when it connected.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("token", async |socket: Socket| socket.handshake().query("token"));
    /// let client = TestClient::to(&io).query("token", "abc").connect().await;
    /// assert_eq!(client.emit_with_ack::<String>("token", ()).await, "abc");
    /// # }
    /// ```
    pub fn handshake(&self) -> &Handshake {
        self.0.member.handshake()
    }

    /// The connection under it, which other namespaces of the client share.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.emit("hello", ()).unwrap();
    /// println!("{} bytes wait for the client", socket.conn().queued_bytes());
    /// # }
    /// ```
    #[doc(alias = "client")]
    pub fn conn(&self) -> &Arc<Connection> {
        self.0.member.connection()
    }

    /// The transport in use now.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// use socketio_server::engine::TransportKind;
    ///
    /// assert_eq!(socket.transport(), TransportKind::WebSocket);
    /// # }
    /// ```
    pub fn transport(&self) -> TransportKind {
        self.conn().transport()
    }

    /// Which Engine.IO protocol the client speaks: 3 for Socket.IO 2, else 4.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// use socketio_server::engine::Version;
    ///
    /// assert_eq!(socket.protocol(), Version::V4);
    /// # }
    /// ```
    pub fn protocol(&self) -> Version {
        self.conn().version()
    }

    /// Keeps `data` with the socket, in place of what was kept before. It travels with
    /// [`fetch_sockets`](crate::Broadcast::fetch_sockets), so it is something that serde can write.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct User { name: String }
    ///
    /// socket.set_data(User { name: "Ana".into() });
    /// assert_eq!(socket.data::<User>().unwrap().name, "Ana");
    ///
    /// let sockets = io.fetch_sockets().await.unwrap(); // from any server
    /// assert_eq!(sockets[0].data::<User>().unwrap().name, "Ana");
    /// # }
    /// ```
    pub fn set_data<T: Serialize + Send + Sync + 'static>(&self, data: T) {
        self.0.member.set_data(data);
        self.data_changed();
    }

    /// What is kept with the socket, if it is a `T`, or if another server has patched it and it reads as a `T`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.set_data(vec!["red".to_owned(), "blue".to_owned()]);
    /// assert_eq!(*socket.data::<Vec<String>>().unwrap(), ["red", "blue"]);
    /// assert!(socket.data::<u32>().is_none());
    /// # }
    /// ```
    pub fn data<T>(&self) -> Option<Arc<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.0.member.data()
    }

    /// Changes what is kept with the socket, beginning with the default if it is no `T`, and returns it. If somebody
    /// else changes it at the same time, `change` is called again with what that came to.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # fn example(socket: socketio_server::Socket) {
    /// #[derive(Clone, Default, Serialize, Deserialize)]
    /// struct Player { name: String, score: u32 }
    ///
    /// let player = socket.update_data(|player: &mut Player| player.score += 10);
    /// println!("{} points", player.score);
    /// # }
    /// ```
    pub fn update_data<T>(&self, change: impl FnMut(&mut T)) -> Arc<T>
    where
        T: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static,
    {
        let data = self.0.member.update_data(change);
        self.data_changed();
        data
    }

    /// Tells those who keep it, too.
    fn data_changed(&self) {
        self.namespace().adapter().local().data_changed(&self.0.member);
    }

    // ---- listening --------------------------------------------------------------------------------------------

    /// Runs `handler` on each `event` of this socket, besides those of its [`Namespace`]. Registered before the first
    /// `.await` of a connection handler, it misses nothing.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     if socket.handshake().query("admin").is_some() {
    ///         socket.on("restart", async || println!("as an admin wishes"));
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on<M>(&self, event: &str, handler: impl Handler<M>) -> &Self {
        self.listeners().get_or_insert_default().on(event, erase(handler), false);
        self
    }

    /// Runs `handler` on the next `event` of this socket only.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.once("ready", async || "noted");
    /// assert_eq!(client.emit_with_ack::<String>("ready", ()).await, "noted");
    /// assert_eq!(socket.listener_count("ready"), 0);
    /// # }
    /// ```
    pub fn once<M>(&self, event: &str, handler: impl Handler<M>) -> &Self {
        self.listeners().get_or_insert_default().on(event, erase(handler), true);
        self
    }

    /// Removes this socket's handlers of `event`; those of its namespace stay. One alone goes with
    /// [`remove_listener`](Socket::remove_listener).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.on("move", async |Data(to): Data<String>| println!("to {to}"));
    /// socket.off("move");
    /// assert_eq!(socket.listener_count("move"), 0);
    /// # }
    /// ```
    pub fn off(&self, event: &str) -> &Self {
        if let Some(listeners) = self.listeners().as_mut() {
            listeners.off(event);
        }
        self
    }

    /// Has the client leave the namespace; with `close` every namespace, and closes the connection. What was sent
    /// before still leaves.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.emit("bye", "for now").unwrap();
    /// socket.disconnect(true);
    /// assert_eq!(client.expect::<String>("bye").await, "for now");
    /// assert_eq!(client.disconnected().await, "io server disconnect");
    /// # }
    /// ```
    pub fn disconnect(&self, close: bool) {
        if self.phase() == CONNECTED && self.is_logged() {
            // Behind what was sent to it before, which waits for its place in the order of all servers.
            let target = Target::socket(self.id().clone());
            if let Ok(ordered) = self.namespace().adapter().disconnect_sockets(&target, close) {
                drop(ordered);
                let socket = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(PATIENCE).await;
                    socket.disconnect_now(close);
                });
                return;
            }
        }
        self.disconnect_now(close);
    }

    /// As [`disconnect`](Socket::disconnect), whatever is still on its way.
    pub(crate) fn disconnect_now(&self, close: bool) {
        if self.phase() == CONNECTED {
            self.send_packet(Kind::Disconnect, Args::none());
            self.end(DisconnectReason::ServerNamespaceDisconnect);
        }
        if close {
            self.0.member.order(Command::Disconnect { close: true });
        }
    }

    // ---- for the floors around --------------------------------------------------------------------------------

    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.0.member
    }

    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.0.load
    }

    /// The socket, for one who does not keep it.
    pub(crate) fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.phase() == GONE
    }

    fn phase(&self) -> u8 {
        self.0.phase.get()
    }

    pub(crate) fn listeners(&self) -> MutexGuard<'_, Option<Box<Listeners>>> {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acks(&self) -> MutexGuard<'_, Option<Box<Acks>>> {
        self.0.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether answers of its client alone are waited for.
    #[cfg(test)]
    pub(crate) fn waits_for_answers(&self) -> bool {
        self.acks().is_some()
    }

    pub(crate) fn pid(&self) -> Option<&str> {
        self.0.pid.as_deref()
    }

    /// The socket is in: it is sent what it missed, and its rooms count from now on.
    pub(crate) fn connect(&self, resumed: Option<Resumed>) {
        let (Some(history), Some(pid)) = (self.namespace().history(), self.pid()) else {
            return self.enter_rooms();
        };
        // The history is locked while the socket enters, and who is told of its rooms may send.
        tell_after(|| match resumed {
            Some(resumed) => {
                let send = |packet: &Outgoing| {
                    let _ = self.conn().send_frame(packet.frame(), false); // What fails here fails for good below.
                };
                if !history.replay(pid, resumed, send, || self.enter_rooms()) {
                    self.conn().close();
                }
            }
            None => history.enter(pid, self.id(), || self.enter_rooms()),
        });
    }

    fn enter_rooms(&self) {
        let local = self.namespace().adapter().local();
        local.add(self.0.member.clone());
        let join = |room: &ByteString| {
            let _ = local.join(self.id(), room); // What may not be joined was refused when it was asked for.
        };
        self.0.phase.enter(join, |room| local.leave(self.id(), room));
    }

    /// The socket was refused.
    pub(crate) fn refuse(&self) {
        if self.0.phase.refuse() {
            self.namespace().adapter().local().watchers().remove(self.id());
            drop(self.acks().take());
            drop(self.listeners().take());
            self.namespace().guest_left();
        }
    }

    /// The client is back on another connection before this one was found to be gone.
    pub(crate) fn give_way(&self) {
        let gone = CloseReason::TransportClose;
        self.end(DisconnectReason::Connection(gone));
        self.conn().discard(gone);
    }

    /// The socket is disconnected: handlers, rooms, answers, in the reference's order. Does nothing the second time.
    pub(crate) fn end(&self, reason: DisconnectReason) {
        if !self.0.phase.leave() {
            return;
        }
        tracing::debug!(target: "socketio::socket", nsp = &**self.namespace().name(), socket = &**self.id(), %reason, "disconnected");
        self.run_disconnect("disconnecting", reason, |listeners| &listeners.disconnecting);
        if let (Some(history), Some(pid)) = (self.namespace().history(), self.pid()) {
            history.leave(pid, reason.is_recoverable().then(|| Session::of(&self.0.member, self.rooms())));
        }
        #[cfg(feature = "admin")]
        if let Some(admin) = self.namespace().shared().admin.get() {
            admin.disconnected(self, reason);
        }
        self.namespace().remove(self);
        self.0.phase.end();
        drop(self.acks().take());
        self.run_disconnect("disconnect", reason, |listeners| &listeners.disconnect);
        drop(self.listeners().take());
        self.namespace().guest_left();
    }

    fn run_disconnect(
        &self,
        name: &'static str,
        reason: DisconnectReason,
        which: fn(&Listeners) -> &Vec<OnDisconnect>,
    ) {
        let mut handlers = self.namespace().disconnect_handlers(which);
        if let Some(listeners) = self.listeners().as_ref() {
            handlers.extend(which(listeners).iter().cloned());
        }
        for handler in handlers {
            run_occasion(self, name, || handler(self.clone(), reason));
        }
    }

    /// The handlers of an event, and the middlewares that it has to pass, if it has not.
    pub(crate) fn find(&self, event: &str, found: &mut Found, middlewares: Option<&mut Middlewares>) {
        let mut listeners = self.listeners();
        let Some(own) = listeners.as_mut() else { return };
        if let Some(middlewares) = middlewares {
            middlewares.extend_from_slice(&own.packet_middlewares);
            if !middlewares.is_empty() {
                return; // Its handlers are looked for once it has passed.
            }
        }
        if own.find(event, found) {
            own.take_once(event);
        }
    }

    pub(crate) fn answered(&self, id: u64, args: &Args) {
        bump(&self.namespace().shared().counts.acks_received);
        let waiting = self.acks().as_mut().and_then(|acks| acks.remove(&id));
        match waiting {
            Some(waiting) => drop(waiting.send(args.clone())), // Nobody waits any more: the answer is late.
            None => {
                let item_id = self.id();
                let _: bool = self.namespace().adapter().local().acks().answer(id, item_id, args);
            }
        }
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        let mut acks = self.acks();
        if let Some(waiting) = acks.as_mut() {
            waiting.remove(&id);
            if waiting.is_empty() {
                *acks = None;
            }
        }
    }
}

pub(crate) fn erase_disconnect<F, Fut>(handler: F) -> OnDisconnect
where
    F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |socket, reason| Box::pin(handler.clone()(socket, reason)))
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("id", self.id()).field("nsp", self.namespace().name()).finish_non_exhaustive()
    }
}
