//! What is registered with one socket beyond `on`: handlers that can be taken away alone, those of every event, and those
//! of what is sent to it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::adapter::Outgoing;
use crate::error::{DisconnectReason, EmitError, EventError};
use crate::gate::erase_packet_middleware;
use crate::handler::{Event, Handler, erase, text_of};
use crate::handlers::ListenerId;
use crate::socket::{Socket, erase_disconnect};

impl Socket {
    /// As [`on`](Socket::on), for a handler that can be taken away alone, by what this returns.
    ///
    /// ```
    /// # fn example(socket: socketio_server::Socket) {
    /// # use socketio_server::Data;
    /// let logger = socket.add_listener("move", async |Data(to): Data<(f64, f64)>| println!("{to:?}"));
    /// socket.remove_listener(logger);
    /// # }
    /// ```
    #[doc(alias = "addListener")]
    pub fn add_listener<M>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.listeners().get_or_insert_default().on(event, erase(handler), false)
    }

    /// Takes one handler of this socket away. Returns whether it was there.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// let once = socket.add_listener("tick", async || 1);
    /// assert!(socket.remove_listener(once));
    /// let answer: Option<u32> = client.try_emit_with_ack("tick", (), std::time::Duration::from_millis(10)).await;
    /// assert_eq!(answer, None);
    /// # }
    /// ```
    #[doc(alias = "removeListener")]
    pub fn remove_listener(&self, listener: ListenerId) -> bool {
        self.listeners().as_mut().is_some_and(|listeners| listeners.remove(listener))
    }

    /// How many handlers of this socket an event has; those of its namespace and those of every event are not counted.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.on("move", async || {});
    /// assert_eq!((socket.listener_count("move"), socket.listener_count("stop")), (1, 0));
    /// # }
    /// ```
    #[doc(alias = "listeners")]
    pub fn listener_count(&self, event: &str) -> usize {
        self.listeners().as_ref().map_or(0, |listeners| listeners.count(event))
    }

    /// Runs `handler` on every event of this socket, ahead of those of the event.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.on_any(async |event: Event| println!("{} {:?}", event.name(), event.args()));
    /// # }
    /// ```
    #[doc(alias = "onAny")]
    pub fn on_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.listeners().get_or_insert_default().on_any(erase(handler));
        self
    }

    /// Looks at each event of this socket before its handlers, and behind the middlewares of its namespace; see
    /// [`Namespace::use_packet`](crate::Namespace::use_packet).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.use_packet(async |_, event: Event| if event.name() == "admin" { Err("no".into()) } else { Ok(event) });
    /// let refused: serde_json::Value = client.emit_with_ack("admin", ()).await;
    /// assert_eq!(refused["error"], "no");
    /// # }
    /// ```
    #[doc(alias = "use")]
    pub fn use_packet<F, Fut>(&self, middleware: F) -> &Self
    where
        F: FnOnce(Socket, Event) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Event, EventError>> + Send + 'static,
    {
        self.listeners().get_or_insert_default().packet_middlewares.push(erase_packet_middleware(middleware));
        self
    }

    /// Runs `handler` once the socket is disconnected. It is in no room any more.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.on_disconnect(async |socket: Socket, reason: DisconnectReason| println!("{} left: {reason}", socket.id()));
    /// # }
    /// ```
    pub fn on_disconnect<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.listeners().get_or_insert_default().disconnect.push(erase_disconnect(handler));
        self
    }

    /// Runs `handler` when the socket is about to be disconnected, while it is still in its rooms.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.on_disconnecting(async |socket: Socket, _: DisconnectReason| {
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
        self.listeners().get_or_insert_default().disconnecting.push(erase_disconnect(handler));
        self
    }

    /// As [`on_any`](Socket::on_any), ahead of those that are there.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     socket.on_any(async |event: Event| println!("second: {}", event.name()));
    ///     socket.prepend_any(async |event: Event| println!("first: {}", event.name()));
    /// });
    /// # }
    /// ```
    #[doc(alias = "prependAny")]
    pub fn prepend_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.listeners().get_or_insert_default().prepend_any(erase(handler));
        self
    }

    /// Removes this socket's handlers of every event; those of single events stay.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     socket.on_any(async |event: Event| println!("{}", event.name()));
    ///     socket.once("enough", async |socket: Socket| { socket.off_any(); });
    /// });
    /// # }
    /// ```
    #[doc(alias = "offAny")]
    pub fn off_any(&self) -> &Self {
        if let Some(listeners) = self.listeners().as_mut() {
            listeners.off_any();
        }
        self
    }

    /// Has `handler` look at each event that is sent to this socket: by its own emits, and by broadcasts of this and of
    /// other servers that reach it. It runs before the event is queued, also if that fails or a volatile event is
    /// dropped then. Acknowledgements are no events.
    ///
    /// It runs on the task that sends, so it is to be quick.
    ///
    /// ```
    /// # use socketio_server::{Event, Server, Socket};
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     socket.on_any_outgoing(|socket: &Socket, event: &Event| println!("{} < {}", socket.id(), event.name()));
    /// });
    /// ```
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(&self, handler: impl Fn(&Socket, &Event) + Send + Sync + 'static) -> ListenerId {
        let id = ListenerId::new();
        self.listeners().get_or_insert_default().any_outgoing.push((id, Arc::new(handler)));
        self.watch_outgoing();
        id
    }

    /// As [`on_any_outgoing`](Socket::on_any_outgoing), ahead of those that are there.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.on_any_outgoing(|_, event| println!("second: {}", event.name()));
    /// socket.prepend_any_outgoing(|_, event| println!("first: {}", event.name()));
    /// socket.emit("hello", ()).unwrap();
    /// # }
    /// ```
    #[doc(alias = "prependAnyOutgoing")]
    pub fn prepend_any_outgoing(&self, handler: impl Fn(&Socket, &Event) + Send + Sync + 'static) -> ListenerId {
        let id = ListenerId::new();
        self.listeners().get_or_insert_default().any_outgoing.insert(0, (id, Arc::new(handler)));
        self.watch_outgoing();
        id
    }

    /// Removes all that look at what is sent to this socket. One alone goes with
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
    /// socket.on_any_outgoing(|_: &Socket, event: &Event| println!("< {}", event.name()));
    /// socket.off_any_outgoing();
    /// # }
    /// ```
    #[doc(alias = "offAnyOutgoing")]
    pub fn off_any_outgoing(&self) -> &Self {
        if let Some(listeners) = self.listeners().as_mut() {
            listeners.any_outgoing.clear();
        }
        self.namespace().adapter().local().watchers().remove(self.id());
        self
    }

    fn watch_outgoing(&self) {
        let (weak, watchers) = (self.downgrade(), self.namespace().adapter().local().watchers());
        watchers.add(
            self.id(),
            Arc::new(move |packet| {
                if let Some(socket) = weak.upgrade() {
                    socket.outgoing(packet);
                }
            }),
        );
        if self.is_gone() {
            watchers.remove(self.id());
        }
    }

    fn outgoing(&self, packet: &Outgoing) {
        let handlers = self.listeners().as_ref().map(|listeners| listeners.any_outgoing.clone()).unwrap_or_default();
        let event = Event::of(packet.args());
        for (_, handler) in handlers {
            if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| handler(self, &event))) {
                self.namespace().shared().report_panic(self, &event.name(), text_of(&*panic));
            }
        }
    }

    /// Waits until little is queued for the client; see [`Connection::ready`](crate::engine::Connection::ready).
    ///
    /// ```
    /// # async fn example(socket: socketio_server::Socket, file: Vec<bytes::Bytes>) -> Result<(), socketio_server::EmitError> {
    /// for chunk in file {
    ///     socket.ready().await?;
    ///     socket.emit("chunk", chunk)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EmitError::Closed`] when the socket is disconnected, before or meanwhile.
    #[doc(alias = "drain")]
    pub async fn ready(&self) -> Result<(), EmitError> {
        self.conn().ready().await?;
        if self.is_gone() { Err(EmitError::Closed) } else { Ok(()) }
    }
}
