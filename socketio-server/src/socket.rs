//! One client in one namespace.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::engine::{CloseReason, TransportKind, Version};
use socketio_protocol::socket::{Args, Kind, Packet};
use tokio::sync::oneshot;

use crate::ack::AckFuture;
use crate::adapter::{Command, Emitted, JoinError, Member, Outgoing, Resumed, Session, Target};
use crate::broadcast::{Broadcast, IntoRooms, check_name};
use crate::emitting::Emitting;
use crate::engine::counters::bump;
use crate::engine::{Connection, SendError};
use crate::error::{DisconnectReason, EmitError, HandlerError, HandlerErrorKind};
use crate::gate::Middlewares;
use crate::handler::{Handler, Load, Occasion, Owner, erase, run_future};
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
    phase: AtomicU8,
    /// The secret by which the client can come back to its session.
    pid: Option<Box<str>>,
    recovered: bool,
    /// Handlers of this socket alone; most have none.
    listeners: Mutex<Option<Box<Listeners>>>,
    acks: Mutex<Option<Box<Acks>>>,
    /// Rooms joined while a middleware still looks at the socket.
    early_rooms: Mutex<Vec<ByteString>>,
}

type Acks = HashMap<u64, oneshot::Sender<Args>, foldhash::fast::RandomState>;

/// A socket that may be gone.
pub(crate) struct WeakSocket(Weak<Inner>);

impl WeakSocket {
    pub(crate) fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }
}

/// A middleware still looks at it.
const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
/// It is being disconnected: the handlers of `disconnecting` still see it connected.
const LEAVING: u8 = 2;
const GONE: u8 = 3;

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
        socket.early_rooms().extend(session.rooms.iter().filter(|room| **room != session.id).cloned());
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
            phase: AtomicU8::new(CONNECTING),
            pid,
            recovered,
            listeners: Mutex::default(),
            acks: Mutex::default(),
            early_rooms: Mutex::default(),
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
    /// [`fetch_sockets`](Broadcast::fetch_sockets), so it is something that serde can write.
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

    // ---- sending ----------------------------------------------------------------------------------------------

    /// Sends `event` to the client. `args`: a tuple is the list of arguments, `()` is none, anything else is one.
    ///
    /// Returns when the packet is queued, in order with all that was sent before.
    ///
    /// # Errors
    ///
    /// [`EmitError::Closed`] when the socket is disconnected, [`EmitError::Full`] when the client reads too slowly,
    /// [`EmitError::Reserved`] and [`EmitError::Encode`] as their names say. Nothing has been sent in any case.
    ///
    /// ```
    /// # fn example(socket: socketio_server::Socket) -> Result<(), socketio_server::EmitError> {
    /// socket.emit("hello", ("can you hear me?", 1, 2, "abc"))?;
    /// # Ok(()) }
    /// ```
    ///
    /// Socket.IO protocol v5, "Sending and receiving data".
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit_flagged(event, &args, false, true)
    }

    pub(crate) fn emit_flagged<T: Serialize>(
        &self,
        event: &str,
        args: &T,
        volatile: bool,
        compress: bool,
    ) -> Result<Emitted, EmitError> {
        check_name(event)?;
        let packet = Outgoing::event(self.namespace().parser(), self.namespace().name(), None, event, args)?;
        self.send_outgoing(&packet.flagged(Some(compress)), volatile)
    }

    /// Sends an event that [`Namespace::encode`] has encoded, which can be sent many times. One of another namespace is
    /// encoded anew for this.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// let packet = io.encode("tick", 1).unwrap();
    /// for socket in io.local_sockets() {
    ///     socket.emit_encoded(&packet).unwrap();
    /// }
    /// assert_eq!(client.expect::<u32>("tick").await, 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`emit`](Socket::emit).
    pub fn emit_encoded(&self, packet: &Outgoing) -> Result<Emitted, EmitError> {
        self.send_outgoing(&*packet.within(self.namespace().parser(), self.namespace().name())?, false)
    }

    fn send_outgoing(&self, packet: &Outgoing, volatile: bool) -> Result<Emitted, EmitError> {
        let sent = match self.phase() {
            GONE => return Err(EmitError::Closed),
            // It has its place in the order of all servers first.
            CONNECTED | LEAVING if self.is_logged() => {
                let mut target = Target { volatile, ..Target::socket(self.id().clone()) };
                target.compress = (!packet.frame().may_compress()).then_some(false);
                return Ok(self.namespace().adapter().broadcast(packet, &target)?);
            }
            CONNECTING => self.namespace().adapter().local().deliver_early(&self.0.member, packet, volatile),
            _ => self.namespace().adapter().local().deliver_to(&self.0.member, packet, volatile),
        };
        match sent {
            Ok(()) | Err(SendError::Dropped) => Ok(Emitted::here()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether what it is sent goes through the log of a cluster.
    fn is_logged(&self) -> bool {
        self.0.pid.is_some() && self.namespace().adapter().local().shared_history().is_some()
    }

    /// [`emit`](Socket::emit)s the event `message`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.send("hi").unwrap();
    /// assert_eq!(client.expect::<String>("message").await, "hi");
    /// # }
    /// ```
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// Sends `event` and asks the client to answer. The question leaves at once, in order; await the result for the
    /// answer: its first argument, or all of them if `R` is a tuple. Waits 30 s, or as
    /// [`timeout`](Socket::timeout) says.
    ///
    /// ```
    /// # async fn example(socket: socketio_server::Socket) -> Result<(), socketio_server::AckError> {
    /// let answer: String = socket.emit_with_ack("question", "do you think so?").await?;
    /// # Ok(()) }
    /// ```
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> AckFuture<R> {
        self.ask(event, &args, self.namespace().shared().config.limits.ack_timeout, true)
    }

    pub(crate) fn ask<R, T: Serialize>(
        &self,
        event: &str,
        args: &T,
        timeout: Duration,
        compress: bool,
    ) -> AckFuture<R> {
        let id = self.namespace().adapter().local().acks().next_id();
        let sent = check_name(event).and_then(|()| {
            if self.phase() == GONE {
                return Err(EmitError::Closed);
            }
            let (parser, nsp) = (self.namespace().parser(), self.namespace().name());
            let packet = Outgoing::event(parser, nsp, Some(id), event, args)?;
            self.namespace().adapter().local().show_to(self.id(), &packet);
            let (sender, receiver) = oneshot::channel();
            {
                let max = self.namespace().shared().config.limits.max_pending_acks;
                let mut acks = self.acks();
                let acks = acks.get_or_insert_default();
                if acks.len() >= max {
                    return Err(EmitError::TooManyAcks { max });
                }
                acks.insert(id, sender);
            }
            match self.conn().send_frame(packet.flagged(Some(compress)).frame(), false) {
                Ok(()) => Ok(receiver),
                Err(error) => {
                    self.forget_ack(id);
                    Err(error.into())
                }
            }
        });
        match sent {
            Ok(answer) => AckFuture::waiting(self.clone(), id, answer, timeout),
            Err(error) => AckFuture::failed(error),
        }
    }

    /// The socket with a time limit for the answer to its next [`emit_with_ack`](Emitting::emit_with_ack).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// let answer = socket.timeout(Duration::from_millis(10)).emit_with_ack::<String>("question", ()).await;
    /// assert!(matches!(answer, Err(AckError::Timeout)));
    /// # }
    /// ```
    pub fn timeout(&self, timeout: Duration) -> Emitting<'_> {
        self.emitting().timeout(timeout)
    }

    /// The socket for a packet that is dropped when the client cannot take it at once.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.volatile().emit("position", (12.5, 3.0)).unwrap(); // the next one will do as well
    /// # }
    /// ```
    pub fn volatile(&self) -> Emitting<'_> {
        self.emitting().volatile()
    }

    /// The socket for a packet that is compressed, or not, where compression is on.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// # let photo = Bytes::new();
    /// socket.compress(false).emit("photo", photo).unwrap(); // is compressed already
    /// # }
    /// ```
    pub fn compress(&self, compress: bool) -> Emitting<'_> {
        self.emitting().compress(compress)
    }

    /// Node's hint from version 2 whether there is binary data inside; it is found by itself, so this changes nothing.
    pub fn binary(&self, _binary: bool) -> Emitting<'_> {
        self.emitting()
    }

    fn emitting(&self) -> Emitting<'_> {
        Emitting::of(self, self.namespace().shared().config.limits.ack_timeout)
    }

    /// Everybody in the namespace but this socket.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.broadcast().emit("joined", socket.id()).unwrap();
    /// assert_eq!(bob.expect::<String>("joined").await, ana.id());
    /// # }
    /// ```
    pub fn broadcast(&self) -> Broadcast {
        let target = Target { except: vec![self.id().clone()], ..Target::default() };
        Broadcast::new(self.namespace().clone(), target)
    }

    /// The sockets of a room, or of any of several, but not this one. (So `socket.to(socket.id())` is nobody; to send
    /// to the socket itself, [`emit`](Socket::emit).)
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.local_socket(bob.id()).unwrap().join("red");
    /// socket.to("red").emit("move", "a2").unwrap();
    /// socket.to(["red", "blue"]).emit("move", "a4").unwrap(); // once each
    /// assert_eq!(bob.expect::<String>("move").await, "a2");
    /// # }
    /// ```
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// As [`to`](Socket::to): Node's `in`, which is a keyword here.
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// Everybody but this socket and those of a room, or of any of several.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.except("muted").emit("news", "for all others").unwrap();
    /// assert_eq!(bob.expect::<String>("news").await, "for all others");
    /// # }
    /// ```
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Everybody on this server but this socket.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.local().emit("restart", "this server, in a minute").unwrap();
    /// assert_eq!(bob.expect::<String>("restart").await, "this server, in a minute");
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    /// Sends a packet that is no event.
    pub(crate) fn send_packet(&self, kind: Kind, data: Args) {
        let packet = Packet::new(kind, self.namespace().name().clone(), data);
        if let Ok(frame) = self.namespace().parser().packet(&packet) {
            let _ = self.conn().send_frame(&frame, false); // A client that is gone finds out elsewhere.
        }
    }

    /// One value, even if it is a tuple.
    pub(crate) fn send_ack<T: Serialize + ?Sized>(&self, id: u64, value: &T) -> Result<(), EmitError> {
        self.send_ack_args(id, &(value,))
    }

    pub(crate) fn send_ack_args<T: Serialize + ?Sized>(&self, id: u64, args: &T) -> Result<(), EmitError> {
        let frame = self.namespace().parser().ack(self.namespace().name(), id, args)?;
        bump(&self.namespace().shared().counts.acks_sent);
        Ok(self.conn().send_frame(&frame, false)?)
    }

    // ---- rooms ------------------------------------------------------------------------------------------------

    /// Puts the socket into a room, or several. At once on this server; a socket that is gone joins nothing.
    ///
    /// A room that it may not join is told to the [error hook](crate::Server::on_error), which hears of an event `join`
    /// then; use [`try_join`](Socket::try_join) to hear of it here.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("room 7");
    /// socket.join(["red", "blue"]);
    /// assert_eq!(socket.rooms().len(), 4, "and the one of its own");
    /// # }
    /// ```
    pub fn join(&self, rooms: impl IntoRooms) {
        if let Err(error) = self.try_join(rooms) {
            self.namespace().shared().report(HandlerError {
                nsp: self.namespace().name().clone(),
                socket: self.id().clone(),
                event: "join".into(),
                kind: HandlerErrorKind::Join(error),
            });
        }
    }

    /// As [`join`](Socket::join), and says when the socket may not: rooms are often named by clients.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::builder().max_rooms_per_socket(2).build();
    /// io.on("join", async |socket: Socket, Data(room): Data<String>| socket.try_join(room.as_str()));
    /// let client = TestClient::connect(&io).await;
    /// for room in ["a", "b"] {
    ///     client.emit("join", room);
    /// }
    /// let refused: serde_json::Value = client.emit_with_ack("join", "c").await;
    /// assert!(refused["error"].is_string());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`JoinError`] when it is in too many rooms or a name is too long, see [`Limits`](crate::Limits). It has joined the
    /// rooms before that one.
    pub fn try_join(&self, rooms: impl IntoRooms) -> Result<(), JoinError> {
        for room in rooms.into_rooms() {
            match self.phase() {
                CONNECTING => {
                    let mut early = self.early_rooms();
                    if !early.contains(&room) {
                        self.namespace().shared().config.limits.rooms().allow(&room, early.len())?;
                        early.push(room);
                    }
                }
                CONNECTED | LEAVING => self.namespace().adapter().local().join(self.id(), &room)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the socket out of a room, or several.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join(["red", "blue"]);
    /// socket.leave("red");
    /// assert_eq!(io.to("red").count().await.unwrap().total(), 0);
    /// # }
    /// ```
    pub fn leave(&self, rooms: impl IntoRooms) {
        for room in rooms.into_rooms() {
            self.early_rooms().retain(|early| *early != room);
            self.namespace().adapter().local().leave(self.id(), &room);
        }
    }

    /// Takes the socket out of every room but its own.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join(["red", "blue"]);
    /// socket.leave_all();
    /// assert_eq!(socket.rooms(), [socket.id().clone()]);
    /// # }
    /// ```
    pub fn leave_all(&self) {
        let rooms = self.rooms();
        self.leave(rooms.into_iter().filter(|room| room != self.id()).collect::<Vec<_>>());
    }

    /// The rooms it is in, its own first.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("red");
    /// assert_eq!(socket.rooms(), [&**socket.id(), "red"]);
    /// # }
    /// ```
    pub fn rooms(&self) -> Vec<ByteString> {
        if self.phase() == CONNECTING {
            return self.early_rooms().clone();
        }
        self.namespace().adapter().local().rooms_of(self.id())
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
        self.0.phase.load(Ordering::Acquire)
    }

    pub(crate) fn listeners(&self) -> MutexGuard<'_, Option<Box<Listeners>>> {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn early_rooms(&self) -> MutexGuard<'_, Vec<ByteString>> {
        self.0.early_rooms.lock().unwrap_or_else(PoisonError::into_inner)
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
        match resumed {
            Some(resumed) => {
                let send = |packet: &Outgoing| {
                    let _ = self.conn().send_frame(packet.frame(), false); // What fails here fails for good below.
                };
                if !history.replay(pid, resumed, send, || self.enter_rooms()) {
                    self.conn().close();
                }
            }
            None => history.enter(pid, self.id(), || self.enter_rooms()),
        }
    }

    fn enter_rooms(&self) {
        let local = self.namespace().adapter().local();
        local.add(self.0.member.clone());
        self.0.phase.store(CONNECTED, Ordering::Release);
        for room in std::mem::take(&mut *self.early_rooms()) {
            let _ = local.join(self.id(), &room); // What may not be joined was refused when it was asked for.
        }
    }

    /// The socket was refused.
    pub(crate) fn refuse(&self) {
        if self.0.phase.swap(GONE, Ordering::AcqRel) == CONNECTING {
            self.namespace().adapter().local().watchers().remove(self.id());
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
        let leaving = self.0.phase.compare_exchange(CONNECTED, LEAVING, Ordering::AcqRel, Ordering::Acquire);
        if leaving.is_err() {
            return;
        }
        tracing::debug!(target: "socketio::socket", nsp = &**self.namespace().name(), socket = &**self.id(), %reason, "disconnected");
        self.run_disconnect(reason, |listeners| &listeners.disconnecting);
        if let (Some(history), Some(pid)) = (self.namespace().history(), self.pid()) {
            history.leave(pid, reason.is_recoverable().then(|| Session::of(&self.0.member, self.rooms())));
        }
        #[cfg(feature = "admin")]
        if let Some(admin) = self.namespace().shared().admin.get() {
            admin.disconnected(self, reason);
        }
        self.namespace().remove(self.id());
        self.0.phase.store(GONE, Ordering::Release);
        drop(self.acks().take());
        self.run_disconnect(reason, |listeners| &listeners.disconnect);
        drop(self.listeners().take());
        self.namespace().guest_left();
    }

    fn run_disconnect(&self, reason: DisconnectReason, which: fn(&Listeners) -> &Vec<OnDisconnect>) {
        let mut handlers = self.namespace().disconnect_handlers(which);
        if let Some(listeners) = self.listeners().as_ref() {
            handlers.extend(which(listeners).iter().cloned());
        }
        for handler in handlers {
            let owner = Occasion(self.clone(), "disconnect");
            let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler(self.clone(), reason)));
            match started {
                Ok(future) => run_future(future, self.load(), owner),
                Err(_) => owner.panicked("in a disconnect handler".into()),
            }
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
