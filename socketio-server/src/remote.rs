//! A socket anywhere in the cluster.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::cluster::RemoteSocket;
use socketio_protocol::socket::{Args, ArgsError};

use crate::adapter::{Emitted, Target};
use crate::broadcast::{Broadcast, IntoRooms};
use crate::error::{AckError, EmitError};
use crate::namespace::Namespace;

/// A socket as [`fetch_sockets`](crate::Broadcast::fetch_sockets) found it, on any server: what it was then, and the
/// way to act on it now.
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
///     found.emit("found you", ()).unwrap();
///     found.join("found").unwrap();
/// }
/// client.expect::<()>("found you").await;
/// assert_eq!(io.to("found").count().await.unwrap().total(), 1);
/// # }
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "RemoteSocket")]
pub struct RemoteSocketHandle {
    namespace: Namespace,
    socket: RemoteSocket,
    timeout: Option<Duration>,
    /// What an instrumented server tells of the connection under it, beside the application's data.
    #[cfg(feature = "admin")]
    connection: Option<crate::admin::ConnectionInfo>,
}

impl RemoteSocketHandle {
    pub(crate) fn new(namespace: Namespace, socket: RemoteSocket) -> Self {
        #[cfg(feature = "admin")]
        let (socket, connection) = crate::admin::take_connection(socket);
        Self {
            namespace,
            socket,
            timeout: None,
            #[cfg(feature = "admin")]
            connection,
        }
    }

    /// As the Admin UI is told of it.
    #[cfg(feature = "admin")]
    pub(crate) fn serialized(&self) -> crate::admin::SerializedSocket<'_> {
        crate::admin::SerializedSocket::new(self.namespace.name(), &self.socket, self.connection.as_ref())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.socket.id
    }

    /// The rooms it was in, its own among them.
    pub fn rooms(&self) -> &[String] {
        &self.socket.rooms
    }

    /// What its application kept with it.
    ///
    /// # Errors
    ///
    /// When that is no `T`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    /// struct User { name: String }
    ///
    /// socket.set_data(User { name: "Ana".into() });
    /// let found = &io.fetch_sockets().await.unwrap()[0];
    /// assert_eq!(found.data::<User>().unwrap().name, "Ana");
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        let args = Args::new_single(&self.socket.data).map_err(<ArgsError as serde::de::Error>::custom)?;
        args.value().map(|value| value.expect("a single value was written"))
    }

    /// The handshake as the reference describes it: headers, query, auth, address, and more.
    pub fn handshake(&self) -> &serde_json::Value {
        &self.socket.handshake
    }

    /// How long [`emit_with_ack`](RemoteSocketHandle::emit_with_ack) waits.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }

    fn target(&self) -> Broadcast {
        let target = Target { timeout: self.timeout, ..Target::socket(self.socket.id.as_str()) };
        Broadcast::new(self.namespace.clone(), target)
    }

    /// Emits to it.
    ///
    /// # Errors
    ///
    /// As [`Broadcast::emit`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// for socket in io.fetch_sockets().await.unwrap() {
    ///     socket.emit("seat", socket.id()).unwrap(); // to each its own
    /// }
    /// assert_eq!(client.expect::<String>("seat").await, client.id());
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.target().emit(event, args)
    }

    /// Emits to it and waits for what its client answers.
    ///
    /// # Errors
    ///
    /// [`AckError::Timeout`] when it does not, or was gone already; [`AckError::Disconnected`] when it leaves meanwhile.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// let found = io.fetch_sockets().await.unwrap().received.remove(0);
    /// let name = tokio::spawn(async move { found.emit_with_ack::<String>("name?", ()).await });
    /// client.expect_event("name?").await.answer("Ana");
    /// assert_eq!(name.await.unwrap().unwrap(), "Ana");
    /// # }
    /// ```
    pub async fn emit_with_ack<R>(&self, event: &str, args: impl Serialize) -> Result<R, AckError>
    where
        R: DeserializeOwned + Send + 'static,
    {
        let mut acks = self.target().emit_with_ack::<R>(event, args);
        match acks.next().await {
            Some(answer) => answer.value,
            None => Err(AckError::Timeout),
        }
    }

    /// Changes what is kept with it; see [`Broadcast::patch_data`]. What this handle shows is still what it was.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.fetch_sockets().await.unwrap()[0].patch_data(serde_json::json!({ "muted": true })).unwrap();
    /// let data = socket.data::<serde_json::Value>().unwrap();
    /// assert_eq!(data["muted"], true);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::patch_data`].
    pub fn patch_data(&self, patch: impl Serialize) -> Result<Emitted, EmitError> {
        self.target().patch_data(patch)
    }

    /// [`emit`](RemoteSocketHandle::emit)s the event `message`.
    ///
    /// # Errors
    ///
    /// As [`Broadcast::emit`].
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// Has it join a room, or several.
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
    /// # let client = TestClient::connect(&io).await;
    /// for (n, socket) in io.fetch_sockets().await.unwrap().into_iter().enumerate() {
    ///     socket.join(if n % 2 == 0 { "red" } else { "blue" }).unwrap();
    /// }
    /// assert_eq!(io.to("red").count().await.unwrap().total(), 1);
    /// # }
    /// ```
    pub fn join(&self, rooms: impl IntoRooms) -> Result<Emitted, EmitError> {
        self.target().sockets_join(rooms)
    }

    /// Has it leave a room, or several.
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
    /// socket.join("red");
    /// io.fetch_sockets().await.unwrap()[0].leave("red").unwrap();
    /// assert_eq!(socket.rooms(), [client.id()]);
    /// # }
    /// ```
    pub fn leave(&self, rooms: impl IntoRooms) -> Result<Emitted, EmitError> {
        self.target().sockets_leave(rooms)
    }

    /// Disconnects it; with `close` the connection under it, too.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.fetch_sockets().await.unwrap()[0].disconnect(true).unwrap();
    /// client.disconnected().await;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::sockets_join`].
    pub fn disconnect(&self, close: bool) -> Result<Emitted, EmitError> {
        self.target().disconnect_sockets(close)
    }
}
