//! What is sent in a namespace, and what is asked of its sockets and servers.

use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::cluster::BusError;
use socketio_protocol::socket::Args;

use super::Namespace;
use crate::ack::BroadcastAcks;
use crate::adapter::{Answers, Emitted, Outgoing, Target};
use crate::broadcast::{Broadcast, IntoRooms, check_name, check_request};
use crate::error::{EmitError, RequestError};
use crate::remote::RemoteSocketHandle;
use crate::socket::Socket;

impl Namespace {
    /// Every socket of the namespace.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// let mut audience = io.everyone();
    /// # let night = true;
    /// if night {
    ///     audience = audience.except("asleep");
    /// }
    /// audience.emit("news", 1).unwrap();
    /// assert_eq!(client.expect::<u32>("news").await, 1);
    /// # }
    /// ```
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
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut ana = TestClient::connect(&io).await;
    /// let names = io.emit_with_ack::<String>("name?", ());
    /// ana.expect_event("name?").await.answer("Ana");
    /// assert_eq!(names.await.unwrap().answers, ["Ana"]);
    /// # }
    /// ```
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
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// io.local().emit("restart", "this server, in a minute").unwrap();
    /// assert_eq!(client.expect::<String>("restart").await, "this server, in a minute");
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast {
        self.everyone().local()
    }

    /// Everybody who can take a packet at once.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.volatile().emit("position", (12.5, 3.0)).unwrap(); // the next one will do as well
    /// # }
    /// ```
    pub fn volatile(&self) -> Broadcast {
        self.everyone().volatile()
    }

    /// Everybody, compressed or not where compression is on.
    pub fn compress(&self, compress: bool) -> Broadcast {
        self.everyone().compress(compress)
    }

    /// Everybody, with a time limit for answers; see [`Broadcast::timeout`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let _silent = TestClient::connect(&io).await;
    /// # use std::time::Duration;
    /// let acks = io.timeout(Duration::from_millis(10)).emit_with_ack::<u32>("ping", ()).await.unwrap();
    /// assert_eq!((acks.asked, acks.missing), (1, 1));
    /// # }
    /// ```
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
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("lobby");
    /// io.sockets_leave("lobby").unwrap();
    /// assert_eq!(io.to("lobby").count().await.unwrap().total(), 0);
    /// # }
    /// ```
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
    ///
    /// ```
    /// # async fn example(io: socketio_server::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let loads = io.server_side_emit_with_ack::<f64>("load?", ()).await?;
    /// println!("{:?}, and {} servers did not answer", loads.received, loads.missing);
    /// # Ok(()) }
    /// ```
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
    /// With dynamic sharding a room is subscribed to when it gets its first socket here: what others send to it is missed
    /// before Redis knows, one way later, as in Node.js. This waits for that, too, for rooms that were joined so far.
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
}
