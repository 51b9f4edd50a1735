//! Who hears a packet: rooms, delivery on this server, and the other servers of a cluster.
//!
//! Every namespace has one [`Adapter`]. It holds members, that is addresses: a broadcast goes from here to the
//! queues of the connections without passing through a socket or a namespace. [`MemoryAdapter`] knows this server's
//! sockets; a cluster is a [`MemoryAdapter`] plus something that carries messages between servers.

mod acks;
mod awaited;
pub(crate) mod cluster;
mod cluster_stats;
mod member;
mod memory;
#[cfg(test)]
mod model;
mod outgoing;
mod questions;
mod recovery;
mod room_events;
mod rooms;
mod single;
mod target;
mod watchers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use socketio_protocol::cluster::{Bus, BusError, BusStats, Published, RemoteSocket, Want};
use socketio_protocol::socket::{Args, Value};
use tokio::sync::mpsc;

pub use self::acks::AckItem;
pub(crate) use self::cluster_stats::ClusterCounts;
pub use self::cluster_stats::ClusterStats;
pub(crate) use self::member::{Command, Member};
#[cfg(feature = "admin")]
pub(crate) use self::memory::DataHook;
pub use self::memory::MemoryAdapter;
pub use self::outgoing::Outgoing;
pub use self::recovery::Recovery;
pub(crate) use self::recovery::{History, Resumed, Session};
pub use self::room_events::RoomEvent;
pub(crate) use self::room_events::tell_after;
pub use self::rooms::JoinError;
pub(crate) use self::rooms::RoomLimits;
pub use self::target::Target;
pub use socketio_protocol::cluster::{Answers, MissingAnswers};

/// What a namespace asks of its adapter. Membership is kept by the [`MemoryAdapter`] that each one is built on.
///
/// Sends and orders never wait: they are done here at once and queued for other servers. Only questions wait.
///
/// Asked without the operators of a [`Namespace`](crate::Namespace):
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// use socketio_server::adapter::Target;
///
/// let adapter = io.adapter();
/// adapter.sockets_join(&Target::socket(client.id()), &["red".into()]).unwrap();
/// assert!(socket.rooms().iter().any(|room| room == "red"));
/// assert_eq!(adapter.count(&Target::default()).await.unwrap().total(), 1);
/// # }
/// ```
#[async_trait]
pub trait Adapter: Send + Sync + 'static {
    /// This server's sockets.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// assert_eq!(io.adapter().local().len(), 1);
    /// assert_eq!(io.adapter().local().rooms_of(client.id()), [client.id()]);
    /// # }
    /// ```
    fn local(&self) -> &Arc<MemoryAdapter>;

    /// Sends an event to every socket of the target, here and on the other servers.
    ///
    /// # Errors
    ///
    /// When the other servers cannot be told; sockets of this one have been sent to all the same. With connection state
    /// recovery over streams nothing has been sent then: events go through the stream first.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let tick = io.encode("tick", 1).unwrap();
    /// io.adapter().broadcast(&tick, &Target::socket(client.id())).unwrap();
    /// assert_eq!(client.expect::<u32>("tick").await, 1);
    /// # }
    /// ```
    fn broadcast(&self, packet: &Outgoing, target: &Target) -> Result<Emitted, BusError>;

    /// Sends an event to every socket of the target and collects what the clients answer.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let question = Args::new_event("name?", &()).unwrap();
    /// let mut answers = io.adapter().broadcast_with_ack(question, Target::socket(client.id()));
    /// client.expect_event("name?").await.answer("Ana");
    /// assert!(answers.next().await.is_some());
    /// # }
    /// ```
    fn broadcast_with_ack(&self, args: Args, target: Target) -> AckSource;

    /// Has every socket of the target join rooms.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Adapter::broadcast).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// io.adapter().sockets_join(&Target::default(), &["red".into(), "blue".into()]).unwrap();
    /// assert!(io.adapter().local().has_room("red"));
    /// # }
    /// ```
    fn sockets_join(&self, target: &Target, rooms: &[bytestring::ByteString]) -> Result<Emitted, BusError>;

    /// Has every socket of the target leave rooms.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Adapter::broadcast).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// use socketio_server::adapter::Target;
    ///
    /// socket.join("red");
    /// io.adapter().sockets_leave(&Target::default(), &["red".into()]).unwrap();
    /// assert!(!io.adapter().local().has_room("red"));
    /// # }
    /// ```
    fn sockets_leave(&self, target: &Target, rooms: &[bytestring::ByteString]) -> Result<Emitted, BusError>;

    /// Disconnects every socket of the target, with `close` their connections too.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Adapter::broadcast).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// io.adapter().disconnect_sockets(&Target::socket(client.id()), false).unwrap();
    /// assert_eq!(client.disconnected().await, "io server disconnect");
    /// # }
    /// ```
    fn disconnect_sockets(&self, target: &Target, close: bool) -> Result<Emitted, BusError>;

    /// The sockets of the target, on all servers, with the `fields` that are wanted.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let found = io.adapter().fetch_sockets(&Target::default(), Fields::NONE).await.unwrap();
    /// assert_eq!(found.received[0].id, client.id());
    /// # }
    /// ```
    async fn fetch_sockets(&self, target: &Target, fields: Fields) -> Result<Answers<RemoteSocket>, BusError>;

    /// How many sockets the target has, one number for each server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let count = io.adapter().count(&Target::default()).await.unwrap();
    /// assert_eq!(count.received, [1], "one server, with one socket");
    /// # }
    /// ```
    async fn count(&self, target: &Target) -> Result<Answers<u64>, BusError>;

    /// How many sockets of the target are in each room, on all servers; the rooms of single sockets are left out.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// use socketio_server::adapter::Target;
    ///
    /// socket.join("red");
    /// let sizes = io.adapter().room_sizes(&Target::default()).await.unwrap();
    /// assert_eq!(sizes.received, [("red".into(), 1)]);
    /// # }
    /// ```
    async fn room_sizes(&self, target: &Target) -> Result<Answers<(String, u64)>, BusError>;

    /// Changes what is kept with every socket of the target, as JSON Merge Patch (RFC 7396) says.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Adapter::broadcast).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// use socketio_server::adapter::Target;
    ///
    /// socket.set_data(serde_json::json!({ "name": "ana" }));
    /// let patch = Args::new_single(&serde_json::json!({ "age": 30 })).unwrap().value().unwrap().unwrap();
    /// io.adapter().patch_data(&Target::default(), &patch).unwrap();
    /// let told = io.adapter().local().describe(&Target::default(), Fields::ALL);
    /// assert_eq!(serde_json::to_value(&told[0].data).unwrap()["age"], 30);
    /// # }
    /// ```
    fn patch_data(&self, target: &Target, patch: &Value) -> Result<Emitted, BusError>;

    /// The rooms of the namespace, on all servers, each once.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("red");
    /// let rooms = io.adapter().all_rooms(None).await.unwrap();
    /// assert!(rooms.received.iter().any(|room| room == "red"));
    /// # }
    /// ```
    async fn all_rooms(&self, timeout: Option<Duration>) -> Result<Answers<String>, BusError>;

    /// Sends an event to the other servers themselves.
    ///
    /// # Errors
    ///
    /// When they cannot be told.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let event = Args::new_event("reload", &()).unwrap();
    /// io.adapter().server_side_emit(event).unwrap().await.unwrap(); // there is nobody else to tell
    /// # }
    /// ```
    fn server_side_emit(&self, args: Args) -> Result<Emitted, BusError>;

    /// Sends an event to the other servers themselves and waits for what each answers.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let question = Args::new_event("load?", &()).unwrap();
    /// let loads = io.adapter().server_side_emit_with_ack(question, None).await.unwrap();
    /// assert!(loads.received.is_empty(), "there is no other server");
    /// # }
    /// ```
    async fn server_side_emit_with_ack(&self, args: Args, timeout: Option<Duration>)
    -> Result<Answers<Args>, BusError>;

    /// How many servers share the namespace, this one included.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// assert_eq!(io.adapter().server_count().await.unwrap(), 1);
    /// # }
    /// ```
    async fn server_count(&self) -> Result<usize, BusError>;

    /// Waits until messages of the other servers arrive here.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.adapter().ready().await.unwrap(); // a single server always is
    /// # }
    /// ```
    async fn ready(&self) -> Result<(), BusError>;

    /// The namespace is closed.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let adapter = io.adapter();
    /// io.close().await; // closes each namespace, and with it the adapter
    /// assert_eq!(adapter.local().nsp(), "/");
    /// # }
    /// ```
    fn close(&self);
}

/// What is to be known of sockets; see [`Broadcast::fetch_sockets_with`](crate::Broadcast::fetch_sockets_with). Their ids
/// always are.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// let ids_and_rooms = io.everyone().fetch_sockets_with(Fields::default().rooms()).await.unwrap();
/// assert_eq!(ids_and_rooms[0].rooms().len(), 1);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Fields {
    /// The handshake: about half a kilobyte each.
    pub handshake: bool,
    /// The rooms.
    pub rooms: bool,
    /// What the application keeps with the socket.
    pub data: bool,
}

impl Fields {
    /// All there is.
    pub const ALL: Self = Self { handshake: true, rooms: true, data: true };
    /// The ids alone.
    pub const NONE: Self = Self { handshake: false, rooms: false, data: false };

    /// With the handshake.
    ///
    /// ```
    /// use socketio_server::adapter::Fields;
    ///
    /// assert!(Fields::NONE.handshake().handshake && !Fields::NONE.handshake);
    /// ```
    #[must_use]
    pub fn handshake(self) -> Self {
        Self { handshake: true, ..self }
    }

    /// With the rooms.
    ///
    /// ```
    /// use socketio_server::adapter::Fields;
    ///
    /// assert!(Fields::NONE.rooms().rooms && !Fields::NONE.rooms);
    /// ```
    #[must_use]
    pub fn rooms(self) -> Self {
        Self { rooms: true, ..self }
    }

    /// With what the application keeps.
    ///
    /// ```
    /// use socketio_server::adapter::Fields;
    ///
    /// assert!(Fields::NONE.data().data && !Fields::NONE.data);
    /// ```
    #[must_use]
    pub fn data(self) -> Self {
        Self { data: true, ..self }
    }

    fn want(self) -> Want {
        Want::Sockets { handshake: self.handshake, rooms: self.rooms, data: self.data }
    }
}

/// Makes the adapter of each namespace. Given to [`Builder::adapter`](crate::Builder::adapter).
///
/// A factory may choose by namespace, here one of which the other servers are to hear nothing:
///
/// ```
/// use std::sync::Arc;
/// use socketio_server::Server;
/// use socketio_server::adapter::{Adapter, AdapterFactory, MemoryAdapter, ServerEvents, SingleServer};
///
/// struct AllBut<F>(&'static str, F);
///
/// impl<F: AdapterFactory> AdapterFactory for AllBut<F> {
///     fn create(&self, local: Arc<MemoryAdapter>, events: ServerEvents) -> Arc<dyn Adapter> {
///         match local.nsp() == self.0 {
///             true => SingleServer.create(local, events),
///             false => self.1.create(local, events),
///         }
///     }
/// }
///
/// # let redis = SingleServer; // Stands for a `RedisAdapter`.
/// let io = Server::builder().adapter(AllBut("/internal", redis)).build();
/// ```
pub trait AdapterFactory: Send + Sync + 'static {
    /// The adapter of one namespace; called when the namespace is made. Events that other servers send to this one
    /// go to `events`.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use socketio_server::Server;
    /// use socketio_server::adapter::{Adapter, AdapterFactory, MemoryAdapter, ServerEvents, SingleServer};
    ///
    /// /// Notes for which namespaces it was asked.
    /// struct Noting(Arc<Mutex<Vec<String>>>);
    ///
    /// impl AdapterFactory for Noting {
    ///     fn create(&self, local: Arc<MemoryAdapter>, events: ServerEvents) -> Arc<dyn Adapter> {
    ///         self.0.lock().unwrap().push(local.nsp().to_string());
    ///         SingleServer.create(local, events)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let asked = Arc::<Mutex<Vec<String>>>::default();
    /// let io = Server::builder().adapter(Noting(asked.clone())).build();
    /// io.of("/chat");
    /// assert!(asked.lock().unwrap().contains(&"/chat".to_owned()));
    /// # }
    /// ```
    fn create(&self, local: Arc<MemoryAdapter>, events: ServerEvents) -> Arc<dyn Adapter>;

    /// How the links to the other servers are. `None`, the default, if there are no other servers.
    ///
    /// ```
    /// use socketio_server::adapter::{AdapterFactory, SingleServer};
    ///
    /// assert!(SingleServer.bus_stats().is_none());
    /// ```
    fn bus_stats(&self) -> Option<BusStats> {
        None
    }
}

/// A single server: no others to tell.
///
/// ```
/// use socketio_server::{Server, adapter::SingleServer};
///
/// let io = Server::builder().adapter(SingleServer).build(); // as without saying anything
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleServer;

impl AdapterFactory for SingleServer {
    fn create(&self, local: Arc<MemoryAdapter>, _events: ServerEvents) -> Arc<dyn Adapter> {
        Arc::new(single::Single(local))
    }
}

/// Whatever carries messages between servers makes a cluster of them: the Redis adapters are given as they are.
impl<B: Bus> AdapterFactory for B {
    fn create(&self, local: Arc<MemoryAdapter>, events: ServerEvents) -> Arc<dyn Adapter> {
        cluster::ClusterAdapter::open(self, local, events)
    }

    fn bus_stats(&self) -> Option<BusStats> {
        Some(Bus::stats(self))
    }
}

/// Where an adapter puts the events that other servers send.
pub type ServerEvents = mpsc::Sender<ServerEvent>;

/// An event that another server sent to this one.
///
/// ```
/// use socketio_server::{Args, adapter::{ServerEvent, ServerEvents}};
///
/// /// What an adapter does with an event of another server that wants no answer.
/// fn heard(events: &ServerEvents, args: Args) {
///     if events.try_send(ServerEvent { args, answer: None }).is_err() {
///         eprintln!("events come faster than handlers take them");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ServerEvent {
    /// Its name and arguments.
    pub args: Args,
    /// Takes the answer, if one is wanted.
    pub answer: Option<tokio::sync::oneshot::Sender<Args>>,
}

/// A packet or an order that is on its way.
///
/// It has been queued for the clients of this server; awaiting it tells whether the other servers' bus has taken it.
/// Nobody has to.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let sent = io.emit("news", 1).unwrap(); // the clients of this server have it in their queues
/// sent.await.unwrap(); // and the bus has taken it for the others
/// # }
/// ```
#[derive(Debug)]
pub struct Emitted(Way);

#[derive(Debug)]
enum Way {
    Here,
    Published(Published),
    /// In several namespaces; awaited one after the other.
    Several(Vec<Emitted>),
}

impl Emitted {
    /// Done: nobody else has to be told.
    ///
    /// ```
    /// use socketio_server::adapter::Emitted;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// assert!(Emitted::here().await.is_ok());
    /// # }
    /// ```
    pub fn here() -> Self {
        Self(Way::Here)
    }

    /// On its way to the other servers.
    ///
    /// ```
    /// use socketio_protocol::cluster::Published;
    /// use socketio_server::adapter::Emitted;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let emitted = Emitted::published(Published::settled(Ok(()))); // of a bus that does not wait
    /// assert!(emitted.await.is_ok());
    /// # }
    /// ```
    pub fn published(published: Published) -> Self {
        Self(Way::Published(published))
    }

    /// Acts on each of `namespaces`, and on the others if one fails. The error is the last one.
    pub(crate) fn gather<T, E>(
        namespaces: impl IntoIterator<Item = T>,
        mut act: impl FnMut(&T) -> Result<Emitted, E>,
    ) -> Result<Self, E> {
        let mut namespaces = namespaces.into_iter();
        let Some(first) = namespaces.next() else { return Ok(Self::here()) };
        let mut result = act(&first);
        for namespace in namespaces {
            result = match (result, act(&namespace)) {
                (Ok(Self(Way::Several(mut several))), Ok(next)) => {
                    several.push(next);
                    Ok(Self(Way::Several(several)))
                }
                (Ok(one), Ok(next)) => Ok(Self(Way::Several(vec![one, next]))),
                (_, Err(error)) | (Err(error), _) => Err(error),
            };
        }
        result
    }
}

impl Future for Emitted {
    type Output = Result<(), BusError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Published(published) => Pin::new(published).poll(cx),
            Way::Here => Poll::Ready(Ok(())),
            Way::Several(several) => {
                while let Some(last) = several.last_mut() {
                    std::task::ready!(Pin::new(last).poll(cx))?;
                    several.pop();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// The answers of clients to one broadcast, as they come.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::adapter::{AckItem, Target};
/// # let mut client = TestClient::connect(&io).await;
///
/// let question = Args::new_event("name?", &()).unwrap();
/// let mut answers = io.adapter().broadcast_with_ack(question, Target::default());
/// client.expect_event("name?").await.answer("Ana");
/// let Some(AckItem::Answer { args, .. }) = answers.next().await else { panic!("an answer was given") };
/// assert_eq!(args.to::<String>().unwrap(), "Ana");
/// # }
/// ```
#[derive(Debug)]
pub struct AckSource {
    items: mpsc::UnboundedReceiver<AckItem>,
    tally: Arc<std::sync::Mutex<AckTally>>,
}

/// How far the answers to a broadcast are.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::adapter::Target;
/// # let client = TestClient::connect(&io).await;
///
/// let question = Args::new_event("name?", &()).unwrap();
/// let mut all = Target::default();
/// all.timeout = Some(std::time::Duration::from_millis(10));
/// let mut answers = io.adapter().broadcast_with_ack(question, all);
/// assert!(answers.next().await.is_none(), "the time is over");
/// let tally = answers.tally();
/// assert_eq!((tally.clients, tally.silent_servers), (1, 0));
/// assert_eq!(tally.unanswered, [client.id()]);
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckTally {
    /// How many clients were asked, as far as servers have said.
    pub clients: u64,
    /// How many servers did not say how many clients they asked.
    pub silent_servers: usize,
    /// The sockets that have not answered: those of this server, and of other servers that say whom they asked. Node.js
    /// servers do not.
    pub unanswered: Vec<bytestring::ByteString>,
}

impl AckTally {
    /// One is not waited for any more.
    pub(crate) fn settle(&mut self, id: &str) {
        if let Some(at) = self.unanswered.iter().position(|waiting| *waiting == id) {
            self.unanswered.swap_remove(at);
        }
    }

    /// The two together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.clients += other.clients;
        self.silent_servers += other.silent_servers;
        self.unanswered.extend(other.unanswered);
        self
    }
}

impl AckSource {
    pub(crate) fn new(items: mpsc::UnboundedReceiver<AckItem>, tally: Arc<std::sync::Mutex<AckTally>>) -> Self {
        Self { items, tally }
    }

    /// The next answer; `None` once all have come, or the time is over.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let question = Args::new_event("name?", &()).unwrap();
    /// let mut answers = io.adapter().broadcast_with_ack(question, Target::default());
    /// client.expect_event("name?").await.answer("Ana");
    /// while answers.next().await.is_some() {}
    /// assert!(answers.tally().unanswered.is_empty());
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<AckItem> {
        self.items.recv().await
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<AckItem>> {
        self.items.poll_recv(cx)
    }

    /// How far it is.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let question = Args::new_event("name?", &()).unwrap();
    /// let mut answers = io.adapter().broadcast_with_ack(question, Target::default());
    /// client.expect_event("name?").await.answer("Ana");
    /// while answers.next().await.is_some() {}
    /// assert_eq!(answers.tally().clients, 1);
    /// # }
    /// ```
    pub fn tally(&self) -> AckTally {
        self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// How long answers are waited for when nobody says.
pub(crate) const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(30);
