//! The sockets of this server.
//!
//! Who they are, which rooms they are in, and what is kept with them; what is sent to them is in [`delivery`]. Nothing
//! waits, and nothing of it ever depends on another server.

mod delivery;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytestring::ByteString;
use socketio_protocol::cluster::RemoteSocket;
use socketio_protocol::socket::Value;

use super::acks::AckTable;
use super::cluster_stats::ClusterCounts;
use super::member::{Command, Member};
use super::recovery::{History, SharedHistory};
use super::room_events::{RoomEvent, RoomHook, RoomHooks};
use super::rooms::{JoinError, RoomLimits, Rooms};
use super::watchers::Watchers;
use super::{Fields, Target};
use crate::parser::Parser;

/// This server's part of one namespace: its sockets and their rooms.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// let local = io.adapter().local();
/// assert_eq!(local.len(), 1);
/// local.join(client.id(), "red").unwrap();
/// assert!(local.has_room("red"));
/// assert_eq!(local.rooms_of(client.id()), [client.id(), "red"]);
/// # assert_eq!(socket.rooms().len(), 2);
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryAdapter {
    nsp: ByteString,
    parser: Parser,
    history: Option<History>,
    limits: RoomLimits,
    rooms: RwLock<Rooms<Arc<Member>>>,
    acks: Arc<AckTable>,
    observer: OnceLock<Box<dyn RoomObserver>>,
    /// Held while the observer is told, so that what it hears last is what is so.
    observing: Mutex<()>,
    watchers: Watchers,
    room_hooks: RoomHooks,
    cluster_counts: Arc<ClusterCounts>,
    #[cfg(feature = "admin")]
    data_hook: OnceLock<DataHook>,
}

/// Is told of each change of what is kept with a socket.
#[cfg(feature = "admin")]
pub(crate) struct DataHook(pub(crate) Box<dyn Fn(&Member) + Send + Sync>);

#[cfg(feature = "admin")]
impl std::fmt::Debug for DataHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataHook")
    }
}

/// Hears of rooms that appear and go on this server.
pub(crate) trait RoomObserver: std::fmt::Debug + Send + Sync {
    fn created(&self, room: &str);
    fn deleted(&self, room: &str);
}

impl MemoryAdapter {
    pub(crate) fn new(nsp: ByteString, parser: Parser, history: Option<History>, limits: RoomLimits) -> Self {
        Self {
            nsp,
            parser,
            history,
            limits,
            rooms: RwLock::default(),
            acks: Arc::default(),
            observer: OnceLock::new(),
            observing: Mutex::new(()),
            watchers: Watchers::default(),
            room_hooks: RoomHooks::default(),
            cluster_counts: Arc::default(),
            #[cfg(feature = "admin")]
            data_hook: OnceLock::new(),
        }
    }

    /// The same, counting what it has to do with other servers in `counts`.
    pub(crate) fn counting(self, counts: Arc<ClusterCounts>) -> Self {
        Self { cluster_counts: counts, ..self }
    }

    pub(crate) fn cluster_counts(&self) -> &Arc<ClusterCounts> {
        &self.cluster_counts
    }

    /// The namespace, with its slash.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// assert_eq!(*io.of("/chat").adapter().local().nsp(), "/chat");
    /// # }
    /// ```
    pub fn nsp(&self) -> &ByteString {
        &self.nsp
    }

    /// How packets for the namespace's clients are written.
    pub(crate) fn parser(&self) -> &Parser {
        &self.parser
    }

    /// What clients come back to, if they can.
    pub(crate) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    pub(crate) fn observe(self: &Arc<Self>, observer: Box<dyn RoomObserver>) {
        let _ = self.observer.set(observer); // One adapter, one observer.
        if let Some(history) = &self.history {
            let this = Arc::downgrade(self);
            history.awaited().on_given_up(move |room| {
                if let Some(this) = this.upgrade() {
                    this.observed(room);
                }
            });
        }
    }

    pub(crate) fn acks(&self) -> &Arc<AckTable> {
        &self.acks
    }

    /// Has `hook` told of rooms that appear and go, and who comes and leaves.
    pub(crate) fn on_room_event(&self, hook: RoomHook) {
        self.room_hooks.add(hook);
    }

    /// Has `hook` told of each change of what is kept with a socket. From then on others are told of the connection under
    /// each socket, too.
    #[cfg(feature = "admin")]
    pub(crate) fn on_data(&self, hook: DataHook) {
        let _ = self.data_hook.set(hook); // One Admin UI, one hook.
    }

    /// What is kept with a socket has changed.
    pub(crate) fn data_changed(&self, member: &Member) {
        self.session_changed(member.id());
        #[cfg(feature = "admin")]
        if let Some(hook) = self.data_hook.get()
            && self.member(member.id()).is_some()
        {
            (hook.0)(member); // Not of a socket that is not in yet: nobody knows it.
        }
    }

    /// What a client comes back to on another server has changed.
    fn session_changed(&self, id: &str) {
        if let Some(shared) = self.shared_history() {
            shared.changed(id);
        }
    }

    /// What clients come back to on any server, if the cluster keeps it.
    pub(crate) fn shared_history(&self) -> Option<&Arc<SharedHistory>> {
        self.history.as_ref()?.shared()
    }

    /// Who looks at what is sent to single sockets.
    pub(crate) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    // ---- membership -------------------------------------------------------------------------------------------

    pub(crate) fn add(&self, member: Arc<Member>) {
        let id = member.id().clone();
        if self.write().add(id.clone(), member) {
            self.created(&id);
        }
        self.room_hooks.tell(|| RoomEvent::Join { room: id.clone(), id: id.clone() });
    }

    /// Removes a socket from all rooms; not the one that has come back under its id meanwhile.
    pub(crate) fn remove(&self, member: &Arc<Member>) -> bool {
        let id = member.id();
        let (left, removed) = {
            let mut rooms = self.write();
            if !rooms.get(id).is_some_and(|there| Arc::ptr_eq(there, member)) {
                return false;
            }
            let left = if self.room_hooks.any() { rooms.rooms_of(id) } else { Vec::new() };
            (left, rooms.remove(id))
        };
        self.watchers.remove(id);
        let Some((_, deleted)) = removed else { return false };
        for room in &left {
            self.room_hooks.tell(|| RoomEvent::Leave { room: room.clone(), id: id.clone() });
            if deleted.contains(room) {
                self.deleted(room);
            }
        }
        for room in deleted.iter().filter(|room| !left.contains(room)) {
            self.deleted(room);
        }
        self.acks.gone(id);
        true
    }

    /// Puts a socket of this server into a room.
    ///
    /// # Errors
    ///
    /// [`JoinError`] when the socket is in too many rooms, or the name is too long.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// let local = io.adapter().local();
    /// local.join(client.id(), "red").unwrap();
    /// assert!(local.has_room("red"));
    /// # }
    /// ```
    pub fn join(&self, id: &str, room: &str) -> Result<(), JoinError> {
        let joined = self.write().join_within(self.limits, id, room)?;
        self.session_changed(id);
        if joined == Some(true) {
            self.created(room);
        }
        if joined.is_some() {
            self.room_hooks.tell(|| RoomEvent::Join { room: room.into(), id: id.into() });
        }
        Ok(())
    }

    /// As [`join`](MemoryAdapter::join), for somebody who cannot be told of a refusal.
    pub(super) fn order_join(&self, id: &str, room: &str) {
        if let Err(error) = self.join(id, room) {
            tracing::warn!(nsp = %self.nsp, socket = id, %error, "a socket does not join a room");
        }
    }

    /// Takes a socket of this server out of a room.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// let local = io.adapter().local();
    /// local.join(client.id(), "red").unwrap();
    /// local.leave(client.id(), "red");
    /// assert!(!local.has_room("red"));
    /// # }
    /// ```
    pub fn leave(&self, id: &str, room: &str) {
        let left = self.write().leave(id, room);
        self.session_changed(id);
        if left.is_some() {
            self.room_hooks.tell(|| RoomEvent::Leave { room: room.into(), id: id.into() });
        }
        if left == Some(true) {
            self.deleted(room);
        }
    }

    /// The rooms a socket of this server is in, its own first.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("red");
    /// let rooms = io.adapter().local().rooms_of(client.id());
    /// assert!(rooms.iter().any(|room| room == "red"));
    /// # }
    /// ```
    pub fn rooms_of(&self, id: &str) -> Vec<ByteString> {
        self.read().rooms_of(id)
    }

    /// All rooms with a socket of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("red");
    /// let rooms = io.adapter().local().all_rooms();
    /// assert!(rooms.iter().any(|room| room == "red"));
    /// # }
    /// ```
    pub fn all_rooms(&self) -> Vec<ByteString> {
        self.read().all_rooms()
    }

    /// Whether a socket of this server is in a room.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("red");
    /// assert!(io.adapter().local().has_room("red"));
    /// assert!(!io.adapter().local().has_room("blue"));
    /// # }
    /// ```
    pub fn has_room(&self, room: &str) -> bool {
        self.read().has_room(room)
    }

    /// How many sockets of this server are in the namespace.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let _client = TestClient::connect(&io).await;
    /// assert_eq!(io.adapter().local().len(), 1);
    /// # }
    /// ```
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether this server has no socket in the namespace.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// assert!(io.adapter().local().is_empty());
    /// let _client = TestClient::connect(&io).await;
    /// assert!(!io.adapter().local().is_empty());
    /// # }
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rooms there are, without those of single sockets.
    pub(crate) fn room_count(&self) -> usize {
        self.read().room_count()
    }

    pub(crate) fn member(&self, id: &str) -> Option<Arc<Member>> {
        self.read().get(id).cloned()
    }

    /// The ids of the selected sockets of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// assert_eq!(io.adapter().local().ids(&Target::default()), [client.id()]);
    /// # }
    /// ```
    pub fn ids(&self, target: &Target) -> Vec<ByteString> {
        let mut ids = Vec::new();
        self.read().each(target.selection(), |id, _| ids.push(id.clone()));
        ids
    }

    pub(crate) fn members(&self, target: &Target) -> Vec<Arc<Member>> {
        let mut members = Vec::new();
        self.read().each(target.selection(), |_, member| members.push(member.clone()));
        members
    }

    // ---- orders -------------------------------------------------------------------------------------

    /// Has the selected sockets of this server join rooms.
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
    /// io.adapter().local().join_all(&Target::default(), &["red".into()]);
    /// assert!(socket.rooms().iter().any(|room| room == "red"));
    /// # }
    /// ```
    pub fn join_all(&self, target: &Target, rooms: &[ByteString]) {
        for id in self.ids(target) {
            rooms.iter().for_each(|room| self.order_join(&id, room));
        }
    }

    /// Has the selected sockets of this server leave rooms.
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
    /// io.adapter().local().leave_all(&Target::default(), &["red".into()]);
    /// assert!(!socket.rooms().iter().any(|room| room == "red"));
    /// # }
    /// ```
    pub fn leave_all(&self, target: &Target, rooms: &[ByteString]) {
        for id in self.ids(target) {
            rooms.iter().for_each(|room| self.leave(&id, room));
        }
    }

    /// Disconnects the selected sockets of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// io.adapter().local().disconnect(&Target::default(), false);
    /// assert_eq!(client.disconnected().await, "io server disconnect");
    /// # }
    /// ```
    pub fn disconnect(&self, target: &Target, close: bool) {
        for member in self.members(target) {
            member.order(Command::Disconnect { close });
        }
    }

    /// What others are told about the selected sockets of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let told = io.adapter().local().describe(&Target::default(), Fields::default().rooms());
    /// assert_eq!(told[0].rooms, [client.id()]);
    /// # }
    /// ```
    pub fn describe(&self, target: &Target, fields: Fields) -> Vec<RemoteSocket> {
        self.members(target).iter().map(|member| self.describe_one(member, fields)).collect()
    }

    /// What others are told about one socket of this server.
    pub(crate) fn describe_one(&self, member: &Member, fields: Fields) -> RemoteSocket {
        let rooms = if fields.rooms { self.rooms_of(member.id()) } else { Vec::new() };
        #[cfg_attr(not(feature = "admin"), expect(unused_mut, reason = "only the Admin UI adds something"))]
        let mut told = member.describe(&rooms, fields);
        #[cfg(feature = "admin")]
        if fields.data && self.data_hook.get().is_some() {
            crate::admin::add_connection(&mut told.data, member.connection());
        }
        told
    }

    /// How many sockets of this server are selected.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// assert_eq!(io.adapter().local().count(&Target::socket(client.id())), 1);
    /// # }
    /// ```
    pub fn count(&self, target: &Target) -> u64 {
        let mut count = 0;
        self.read().each(target.selection(), |_, _| count += 1);
        count
    }

    /// How many of the selected sockets of this server are in each room, without the rooms of single sockets.
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
    /// assert_eq!(io.adapter().local().room_sizes(&Target::default())["red"], 1);
    /// # }
    /// ```
    pub fn room_sizes(&self, target: &Target) -> HashMap<String, u64> {
        let rooms = self.read();
        let mut sizes = HashMap::new();
        rooms.each(target.selection(), |id, _| {
            for room in rooms.rooms_of(id).iter().filter(|room| *room != id) {
                *sizes.entry(room.to_string()).or_default() += 1;
            }
        });
        sizes
    }

    /// Changes what is kept with the selected sockets of this server.
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
    /// io.adapter().local().patch_data(&Target::default(), &patch);
    /// let told = io.adapter().local().describe(&Target::default(), Fields::ALL);
    /// assert_eq!(serde_json::to_value(&told[0].data).unwrap()["age"], 30);
    /// # }
    /// ```
    pub fn patch_data(&self, target: &Target, patch: &Value) {
        for member in self.members(target) {
            member.patch_data(patch);
            self.data_changed(&member);
        }
    }

    fn created(&self, room: &str) {
        self.room_hooks.tell(|| RoomEvent::Create { room: room.into() });
        self.observed(room);
    }

    fn deleted(&self, room: &str) {
        self.room_hooks.tell(|| RoomEvent::Delete { room: room.into() });
        self.observed(room);
    }

    /// Tells the observer, if there is one, whether `room` is to be heard of. Of two changes at once each may see the other.
    fn observed(&self, room: &str) {
        let Some(observer) = self.observer.get() else { return };
        let _turn = self.observing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.hears(room) { observer.created(room) } else { observer.deleted(room) }
    }

    /// Whether what others send to `room` is for anybody here: who is in it, or may come back to it.
    pub(super) fn hears(&self, room: &str) -> bool {
        self.has_room(room) || self.history.as_ref().is_some_and(|history| history.awaited().contains(room))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Rooms<Arc<Member>>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Rooms<Arc<Member>>> {
        self.rooms.write().unwrap_or_else(PoisonError::into_inner)
    }
}
