//! Sending to many: the operator that collects whom a packet is for, and how it is sent.

use std::future::Future;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;
use socketio_protocol::cluster::{BusError, RemoteSocket};
use socketio_protocol::socket::{Args, Value, is_reserved};

use crate::ack::BroadcastAcks;
use crate::adapter::{Answers, Emitted, Fields, Outgoing, Target};
use crate::error::{EmitError, RequestError};
use crate::namespace::Namespace;
use crate::pattern::NamespacePattern;
use crate::remote::RemoteSocketHandle;

/// One room or several: a name, or an array, slice or `Vec` of names.
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
/// socket.join(["green", "blue"]);
/// socket.join(&format!("user {}", 7));
/// socket.join(vec![socket.id().clone()]);
/// assert_eq!(socket.rooms().len(), 5);
/// # }
/// ```
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> Vec<ByteString>;
}

macro_rules! one_room {
    ($($type:ty),*) => {$(
        impl IntoRooms for $type {
            fn into_rooms(self) -> Vec<ByteString> {
                vec![ByteString::from(self.to_string())]
            }
        }
    )*};
}

one_room!(&str, &String, String);

impl IntoRooms for ByteString {
    fn into_rooms(self) -> Vec<ByteString> {
        vec![self]
    }
}

impl IntoRooms for &ByteString {
    fn into_rooms(self) -> Vec<ByteString> {
        vec![self.clone()]
    }
}

impl<T: AsRef<str>> IntoRooms for &[T] {
    fn into_rooms(self) -> Vec<ByteString> {
        self.iter().map(|room| ByteString::from(room.as_ref())).collect()
    }
}

impl<T: AsRef<str>> IntoRooms for &Vec<T> {
    fn into_rooms(self) -> Vec<ByteString> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> Vec<ByteString> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> Vec<ByteString> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>, const N: usize> IntoRooms for &[T; N] {
    fn into_rooms(self) -> Vec<ByteString> {
        self.as_slice().into_rooms()
    }
}

/// Whom to send to, and how. A value: each method gives back a new one, and one can be kept and used again.
///
/// ```
/// # fn example(io: socketio_server::Server) -> Result<(), socketio_server::EmitError> {
/// let players = io.to("game").except("banned");
/// players.emit("round", 1)?;
/// players.volatile().emit("tick", ())?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operator does nothing until it emits"]
pub struct Broadcast {
    reach: Reach,
    target: Target,
}

/// In which namespaces.
#[derive(Debug, Clone)]
enum Reach {
    Namespace(Namespace),
    /// In each that there is when something is sent.
    Pattern(NamespacePattern),
}

impl Broadcast {
    pub(crate) fn new(namespace: Namespace, target: Target) -> Self {
        Self { reach: Reach::Namespace(namespace), target }
    }

    pub(crate) fn of_pattern(pattern: NamespacePattern, target: Target) -> Self {
        Self { reach: Reach::Pattern(pattern), target }
    }

    fn namespaces(&self) -> SmallVec<[Namespace; 1]> {
        match &self.reach {
            Reach::Namespace(namespace) => SmallVec::from([namespace.clone()]),
            Reach::Pattern(pattern) => pattern.namespaces().into(),
        }
    }

    /// Does something in each of the namespaces.
    fn each<E>(&self, act: impl FnMut(&Namespace) -> Result<Emitted, E>) -> Result<Emitted, E> {
        Emitted::gather(self.namespaces(), act)
    }

    /// Asks something in each of the namespaces.
    async fn ask_each<T, E, Fut>(&self, ask: impl Fn(Namespace) -> Fut) -> Result<Answers<T>, E>
    where
        Fut: Future<Output = Result<Answers<T>, E>>,
    {
        let asked = self.namespaces().into_iter().map(ask);
        Ok(futures_util::future::try_join_all(asked).await?.into_iter().collect())
    }

    fn with(mut self, change: impl FnOnce(&mut Target)) -> Self {
        change(&mut self.target);
        self
    }

    /// Only sockets of this room, or of any of several. An empty list is nobody. Called again, rooms are added.
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
    /// io.to("red").to("blue").emit("start", ()).unwrap(); // in the one or the other
    /// io.to(bob.id()).emit("start", ()).unwrap(); // one socket
    /// ana.expect::<()>("start").await;
    /// bob.expect::<()>("start").await;
    /// # }
    /// ```
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        self.clone().with(|target| target.add_rooms(rooms.into_rooms()))
    }

    /// As [`to`](Broadcast::to): Node's `in`, which is a keyword here.
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// But no socket of this room, or of any of several. A socket's id is a room.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.everyone().except(ana.id()).emit("news", 1).unwrap();
    /// assert_eq!(bob.expect::<u32>("news").await, 1);
    /// # }
    /// ```
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        self.clone().with(|target| target.except.extend(rooms.into_rooms()))
    }

    /// Only sockets of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.to("red").local().emit("moved", ()).unwrap();
    /// # }
    /// ```
    pub fn local(&self) -> Self {
        self.clone().with(|target| target.local = true)
    }

    /// Clients that cannot take the packet at once do without it.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.to("watchers").volatile().emit("position", (1.0, 2.0)).unwrap();
    /// # }
    /// ```
    pub fn volatile(&self) -> Self {
        self.clone().with(|target| target.volatile = true)
    }

    /// Whether the packet may be compressed where compression is on.
    ///
    /// ```
    /// # let io = socketio_server::Server::new();
    /// # let jpeg = socketio_server::Bytes::new();
    /// io.to("gallery").compress(false).emit("photo", jpeg)?; // It is compressed already.
    /// # Ok::<_, socketio_server::EmitError>(())
    /// ```
    pub fn compress(&self, compress: bool) -> Self {
        self.clone().with(|target| target.compress = Some(compress))
    }

    /// Node's hint from version 2 whether there is binary data inside; it is found by itself, so this changes nothing.
    pub fn binary(&self, _binary: bool) -> Self {
        self.clone()
    }

    /// How long to wait for answers: of clients to [`emit_with_ack`](Broadcast::emit_with_ack) (30 s if not said), of
    /// servers to questions (5 s).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// let acks = io.timeout(Duration::from_millis(10)).emit_with_ack::<u32>("ping", ()).await.unwrap();
    /// assert_eq!((acks.asked, acks.missing), (2, 2));
    /// # }
    /// ```
    pub fn timeout(&self, timeout: Duration) -> Self {
        self.clone().with(|target| target.timeout = Some(timeout))
    }

    /// Sends `event` to every selected socket, on this server and on the others.
    ///
    /// Returns when the packet is queued for the sockets of this server and for the other servers; await the
    /// [`Emitted`] to know that the others' bus has taken it. A socket in several of the rooms receives it once.
    /// `args`: a tuple is the list of arguments, `()` is none, anything else is one.
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
    /// let sent = io.to("red").emit("score", (3, 1)).unwrap();
    /// assert_eq!(ana.expect::<(u32, u32)>("score").await, (3, 1));
    /// sent.await.unwrap(); // who wants to know that the other servers' bus has it
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EmitError::Reserved`] when the protocol keeps `event` for itself, [`EmitError::Encode`] when `args` cannot be
    /// written; nothing has been sent then. [`EmitError::Adapter`] when the other servers cannot be told; sockets of
    /// this one have been sent to all the same. With connection state recovery over streams nothing has been sent then:
    /// events go through the stream first.
    ///
    /// Socket.IO protocol v5, "Sending and receiving data".
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        // Each namespace gets a packet of its own: with recovery, each has its own place in a history.
        self.each(|namespace| {
            let packet = namespace.encode(event, &args)?;
            Ok(namespace.adapter().broadcast(&packet, &self.target)?)
        })
    }

    /// Sends an event that [`Namespace::encode`] has encoded, which can be sent many times. One of another namespace is
    /// encoded anew for this.
    ///
    /// # Errors
    ///
    /// As [`emit`](Broadcast::emit).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut ana = TestClient::connect(&io).await;
    /// let tick = io.encode("tick", 1).unwrap();
    /// io.to(ana.id()).emit_encoded(&tick).unwrap();
    /// io.except("muted").volatile().emit_encoded(&tick).unwrap();
    /// assert_eq!(ana.expect::<u32>("tick").await, 1);
    /// # }
    /// ```
    pub fn emit_encoded(&self, packet: &Outgoing) -> Result<Emitted, EmitError> {
        self.each(|namespace| {
            let packet = packet.within(namespace.parser(), namespace.name())?;
            Ok(namespace.adapter().broadcast(&packet, &self.target)?)
        })
    }

    /// [`emit`](Broadcast::emit)s the event `message`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.everyone().send("hi").unwrap();
    /// assert_eq!(bob.expect::<String>("message").await, "hi");
    /// # }
    /// ```
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// Sends `event` to every selected socket and collects what their clients answer, until all have or the
    /// [`timeout`](Broadcast::timeout) is over. Clients that leave are not waited for.
    ///
    /// Await it for all answers, or take them one by one with [`BroadcastAcks::next`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut ana = TestClient::connect(&io).await;
    /// # io.local_socket(ana.id()).unwrap().join("players");
    /// let moves = io.to("players").emit_with_ack::<String>("your move", ());
    /// ana.expect_event("your move").await.answer("e4");
    /// let moves = moves.await.unwrap();
    /// assert_eq!((moves.answers, moves.missing), (vec!["e4".to_owned()], 0));
    /// # }
    /// ```
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> BroadcastAcks<R> {
        BroadcastAcks::new(check_name(event).and_then(|()| {
            let args = Args::new_event(event, &args)?;
            let ask = |namespace: &Namespace| namespace.adapter().broadcast_with_ack(args.clone(), self.target.clone());
            Ok(self.namespaces().iter().map(ask).collect())
        }))
    }

    /// The selected sockets, on all servers, with how many servers did not answer.
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
    /// let found = io.to("red").fetch_sockets().await.unwrap();
    /// assert_eq!(found[0].id(), ana.id());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BusError`] when the other servers cannot be asked at all.
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocketHandle>, BusError> {
        self.fetch_sockets_with(Fields::ALL).await
    }

    /// As [`fetch_sockets`](Broadcast::fetch_sockets), with only some of what is known of them; what is left out is empty.
    /// That is much less to send: a handshake has half a kilobyte. (Node.js servers send everything all the same.)
    ///
    /// ```
    /// # use socketio_server::{Fields, Server};
    /// # async fn example(io: Server) -> Result<(), Box<dyn std::error::Error>> {
    /// for socket in io.to("game").fetch_sockets_with(Fields::NONE.rooms()).await?.complete()? {
    ///     println!("{} is in {:?}", socket.id(), socket.rooms());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`fetch_sockets`](Broadcast::fetch_sockets).
    pub async fn fetch_sockets_with(&self, fields: Fields) -> Result<Answers<RemoteSocketHandle>, BusError> {
        self.ask_each(async |namespace| {
            let counts = &namespace.shared().counts;
            let sockets = counts.ask(namespace.adapter().fetch_sockets(&self.target, fields)).await?;
            Ok(sockets.map(|socket: RemoteSocket| RemoteSocketHandle::new(namespace.clone(), socket)))
        })
        .await
    }

    /// How many sockets are selected, on all servers, without fetching them: one number for each server that answered.
    ///
    /// ```
    /// # async fn example(io: socketio_server::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let players = io.to("game").count().await?;
    /// println!("{} players, and {} servers did not say", players.total(), players.missing);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`fetch_sockets`](Broadcast::fetch_sockets).
    pub async fn count(&self) -> Result<Answers<u64>, BusError> {
        self.ask_each(async |namespace| namespace.adapter().count(&self.target).await).await
    }

    /// How many of the selected sockets are in each room, on all servers: rooms and sizes, in no order. The rooms that
    /// sockets have by themselves are left out. (Several namespaces of a pattern are not added up.)
    ///
    /// ```
    /// # async fn example(io: socketio_server::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// for (room, size) in io.room_sizes().await?.complete()? {
    ///     println!("{room}: {size}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`fetch_sockets`](Broadcast::fetch_sockets).
    pub async fn room_sizes(&self) -> Result<Answers<(String, u64)>, BusError> {
        self.ask_each(async |namespace| namespace.adapter().room_sizes(&self.target).await).await
    }

    /// Changes what is [kept](crate::Socket::set_data) with every selected socket, on all servers, as JSON Merge Patch
    /// (RFC 7396) says: objects are merged, a member that is null goes, anything else takes the place of what was there.
    /// Whoever asks for the data as a type gets it as far as it still fits.
    ///
    /// Node.js servers do not know of it; their sockets keep what they have.
    ///
    /// ```
    /// # async fn example(io: socketio_server::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// io.to("team-red").patch_data(serde_json::json!({ "score": 3, "bonus": null }))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`sockets_join`](Broadcast::sockets_join), and [`EmitError::Encode`].
    pub fn patch_data(&self, patch: impl Serialize) -> Result<Emitted, EmitError> {
        let patch = Args::new_single(&patch)?.value::<Value>().ok().flatten().unwrap_or(Value::Null);
        self.each(|namespace| Ok(namespace.adapter().patch_data(&self.target, &patch)?))
    }

    /// Has every selected socket join a room, or several.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.to(ana.id()).sockets_join(["red", "blue"]).unwrap();
    /// assert!(socket.rooms().iter().any(|room| *room == "red"));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EmitError::Adapter`] when the other servers cannot be told; sockets of this one have joined all the same. With
    /// connection state recovery over streams none has joined then: orders go through the stream first.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Result<Emitted, EmitError> {
        let rooms = rooms.into_rooms();
        self.each(|namespace| Ok(namespace.adapter().sockets_join(&self.target, &rooms)?))
    }

    /// Has every selected socket leave a room, or several.
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
    /// io.to("red").sockets_leave("red").unwrap();
    /// assert_eq!(socket.rooms().len(), 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`sockets_join`](Broadcast::sockets_join).
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Result<Emitted, EmitError> {
        let rooms = rooms.into_rooms();
        self.each(|namespace| Ok(namespace.adapter().sockets_leave(&self.target, &rooms)?))
    }

    /// Disconnects every selected socket from the namespace; with `close` the connections under them, too.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.to(ana.id()).disconnect_sockets(true).unwrap();
    /// ana.disconnected().await;
    /// assert_eq!(io.local_count(), 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`sockets_join`](Broadcast::sockets_join).
    pub fn disconnect_sockets(&self, close: bool) -> Result<Emitted, EmitError> {
        self.each(|namespace| Ok(namespace.adapter().disconnect_sockets(&self.target, close)?))
    }
}

pub(crate) fn check_name(event: &str) -> Result<(), EmitError> {
    if is_reserved(event) { Err(EmitError::Reserved(event.to_owned())) } else { Ok(()) }
}

pub(crate) fn check_request(event: &str) -> Result<(), RequestError> {
    if matches!(event, "connect" | "connection" | "new_namespace") {
        Err(RequestError::Reserved(event.to_owned()))
    } else {
        Ok(())
    }
}
