//! Tests of an application's handlers, without a port and without waiting.
//!
//! A [`TestClient`] is a client in the same process. Its bytes go through all that the bytes of a real one go through:
//! the HTTP service, the handshake, WebSocket frames or polling bodies, the heartbeat. Only the network is missing, so
//! a test needs no port, and with Tokio's clock paused (`start_paused`, Tokio's feature `test-util`) timeouts of any
//! length pass at once. In `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! socketio-server = { version = "0.1", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! A whole test, of a chat that greets who comes, answers who asks, and gives up on who does not answer:
//!
//! ```
//! use std::time::Duration;
//!
//! use socketio_server::testing::TestClient;
//! use socketio_server::{ConnectError, Data, Server, Socket};
//!
//! /// What the application does; its `main` calls it too.
//! fn chat() -> Server {
//!     let io = Server::new();
//!     let chat = io.of("/chat");
//!     chat.middleware(async |socket: Socket| match socket.handshake().auth::<Name>() {
//!         Ok(name) => Ok(socket.set_data(name.name)),
//!         Err(_) => Err(ConnectError::new("who are you?")),
//!     });
//!     chat.on_connection(async |socket: Socket| {
//!         let name = socket.data::<String>().expect("set by the middleware");
//!         let _ = socket.broadcast().emit("joined", &*name);
//!         if socket.emit_with_ack::<String>("rules?", ()).await.is_err() {
//!             socket.disconnect(true);
//!         }
//!     });
//!     chat.on("say", async |socket: Socket, Data(text): Data<String>| {
//!         let _ = socket.broadcast().emit("said", &text);
//!         text.len()
//!     });
//!     io
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Name { name: String }
//!
//! # fn main() {
//! #[tokio::test(start_paused = true)]
//! # async fn unused() {}
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(the_chat());
//! # }
//! async fn the_chat() {
//!     let io = chat();
//!     let enter = |name| TestClient::to(&io).namespace("/chat").auth(serde_json::json!({ "name": name }));
//!
//!     let mut ana = enter("ana").connect().await;
//!     ana.expect_event("rules?").await.answer("yes");
//!
//!     let mut bob = enter("bob").connect().await;
//!     assert_eq!(ana.expect::<String>("joined").await, "bob");
//!
//!     let length: usize = ana.emit_with_ack("say", "hello").await;
//!     assert_eq!(length, 5);
//!     assert_eq!(bob.expect::<String>("said").await, "hello");
//!
//!     // Bob does not accept the rules. The server waits half a minute for him; the test does not.
//!     assert_eq!(bob.disconnected_within(Duration::from_secs(40)).await, "io server disconnect");
//!
//!     let refusal = TestClient::to(&io).namespace("/chat").try_connect().await.unwrap_err();
//!     assert_eq!(refusal.message, "who are you?");
//! }
//! ```
//!
//! Methods that a test would `unwrap` panic with a message that says what came instead. They wait up to five seconds of
//! Tokio's time unless told otherwise.

mod link;
mod polling;
mod web_socket;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::engine::{TransportKind, Version};
use socketio_protocol::socket::{Args, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use self::link::{Link, News};
use crate::server::Server;

/// A client of a [`Server`] in the same process, in one namespace; see the [module documentation](self).
///
/// Dropping the last client of a connection closes it, as the end of a browser would.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on("greet", async |Data(name): Data<String>| format!("hello {name}"));
///
/// let mut client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<String>("greet", "ana").await, "hello ana");
/// io.emit("news", 1).unwrap();
/// assert_eq!(client.expect::<u32>("news").await, 1);
/// # }
/// ```
pub struct TestClient {
    link: Arc<Link>,
    nsp: ByteString,
    id: String,
    pid: Option<String>,
    news: mpsc::UnboundedReceiver<News>,
    unread: VecDeque<ReceivedEvent>,
    ended: Option<&'static str>,
}

/// How a [`TestClient`] connects.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::engine::TransportKind;
///
/// io.on("lang?", async |socket: Socket| socket.handshake().query("lang"));
///
/// let client = TestClient::to(&io).query("lang", "de").transport(TransportKind::Polling).connect().await;
/// assert_eq!(client.emit_with_ack::<String>("lang?", ()).await, "de");
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does not connect until `connect` is awaited"]
pub struct Connecting {
    server: Server,
    nsp: ByteString,
    auth: Args,
    pub(self) query: Vec<(String, String)>,
    pub(self) headers: Vec<(String, String)>,
    pub(self) transport: TransportKind,
    pub(self) version: Version,
    pub(self) address: SocketAddr,
}

/// Why a client was not let in.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.middleware(async |_: Socket| Err(ConnectError::new("not now")));
///
/// let refused = TestClient::to(&io).try_connect().await.unwrap_err();
/// assert_eq!((refused.status, &*refused.message), (None, "not now"));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// The HTTP status if the handshake was refused; `None` if the namespace was.
    pub status: Option<u16>,
    /// The message: what `connect_error` shows.
    pub message: String,
    /// The data that came with it.
    pub data: Option<Value>,
}

impl TestClient {
    /// Connects to the namespace `/` over WebSocket.
    ///
    /// # Panics
    ///
    /// When it is refused.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let client = TestClient::connect(&io).await;
    /// assert!(io.local_socket(client.id()).is_some());
    /// # }
    /// ```
    pub async fn connect(server: &Server) -> Self {
        Self::to(server).connect().await
    }

    /// A client that is to be told more before it connects.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("room?", async |socket: Socket| socket.handshake().query("room"));
    ///
    /// let client = TestClient::to(&io).query("room", "red").connect().await;
    /// assert_eq!(client.emit_with_ack::<String>("room?", ()).await, "red");
    /// # }
    /// ```
    pub fn to(server: &Server) -> Connecting {
        Connecting {
            server: server.clone(),
            nsp: ByteString::from_static("/"),
            auth: Args::none(),
            query: Vec::new(),
            headers: Vec::new(),
            transport: TransportKind::WebSocket,
            version: Version::V4,
            address: ([127, 0, 0, 1], 40_000).into(),
        }
    }

    /// Enters another namespace over the same connection, with an object as `auth`, or `()`.
    ///
    /// # Errors
    ///
    /// When it is refused.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.of("/chat").on("whoami", async |socket: Socket| socket.namespace().name().to_string());
    ///
    /// let client = TestClient::connect(&io).await;
    /// let chat = client.enter("/chat", ()).await.unwrap();
    /// assert_eq!(chat.emit_with_ack::<String>("whoami", ()).await, "/chat");
    /// assert!(client.enter("/unknown", ()).await.is_err());
    /// # }
    /// ```
    pub async fn enter(&self, namespace: &str, auth: impl Serialize) -> Result<TestClient, Refused> {
        let auth = auth_of(auth);
        Self::join(self.link.clone(), crate::pattern::with_slash(namespace), auth).await
    }

    async fn join(link: Arc<Link>, nsp: ByteString, auth: Args) -> Result<Self, Refused> {
        let (news, entered) = link.enter(&nsp, auth);
        let entered = timeout_at(Instant::now() + PATIENCE, entered).await;
        let entered = entered.unwrap_or_else(|_| panic!("the server did not answer to the connect packet for {nsp}"));
        let gone = || Refused { status: None, message: "the connection was closed".into(), data: None };
        let (id, pid) = entered.map_err(|_| gone())??;
        Ok(Self { link, nsp, id, pid, news, unread: VecDeque::new(), ended: None })
    }

    /// The id of the socket that the server has for it.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("id?", async |socket: Socket| socket.id().to_string());
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<String>("id?", ()).await, client.id());
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret by which it can come back, with connection state recovery: `{"pid": .., "offset": ..}` as
    /// [`auth`](Connecting::auth).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let forgetful = TestClient::connect(&io).await;
    /// assert_eq!(forgetful.pid(), None);
    ///
    /// let io = Server::builder().connection_state_recovery(Recovery::default()).build();
    /// assert!(TestClient::connect(&io).await.pid().is_some());
    /// # }
    /// ```
    pub fn pid(&self) -> Option<&str> {
        self.pid.as_deref()
    }

    /// Sends an event.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("say", async |socket: Socket, Data(text): Data<String>| {
    ///     let _ = socket.broadcast().emit("said", text);
    /// });
    ///
    /// let (ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// ana.emit("say", "hello");
    /// assert_eq!(bob.expect::<String>("said").await, "hello");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        self.link.emit(&self.nsp, None, event, &args);
    }

    /// Sends an event and waits for the answer: its first argument, or all of them if `R` is a tuple.
    ///
    /// # Panics
    ///
    /// When there is none within five seconds, or it is no `R`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("half", async |Data(number): Data<u32>| number / 2);
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<u32>("half", 8).await, 4);
    /// # }
    /// ```
    pub async fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> R {
        let answer = self.try_emit_with_ack(event, args, PATIENCE).await;
        answer.unwrap_or_else(|| panic!("no answer to \"{event}\" within {PATIENCE:?}"))
    }

    /// As [`emit_with_ack`](TestClient::emit_with_ack), with `None` if there is no answer in time or the connection ends.
    ///
    /// # Panics
    ///
    /// When the answer is no `R`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use std::time::Duration;
    ///
    /// let client = TestClient::connect(&io).await;
    /// // Nothing handles it, so nobody answers.
    /// assert_eq!(client.try_emit_with_ack::<u32>("half", 8, Duration::from_millis(10)).await, None);
    /// # }
    /// ```
    pub async fn try_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
        within: Duration,
    ) -> Option<R> {
        let answer = self.link.ask(&self.nsp, event, &args);
        let answer = timeout_at(Instant::now() + within, answer).await.ok()?.ok()?;
        Some(read(&answer, event))
    }

    /// Waits for the next event of this name and gives its arguments: a tuple is the list of arguments, any other type
    /// is the first of them. Events of other names are kept for later.
    ///
    /// # Panics
    ///
    /// When none comes within five seconds, or its arguments are no `T`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// io.emit("score", ("ana", 3)).unwrap();
    /// io.emit("news", "rain").unwrap();
    /// assert_eq!(client.expect::<String>("news").await, "rain"); // the other is kept
    /// assert_eq!(client.expect::<(String, u32)>("score").await, ("ana".into(), 3));
    /// # }
    /// ```
    pub async fn expect<T: DeserializeOwned>(&mut self, event: &str) -> T {
        self.expect_event(event).await.args()
    }

    /// As [`expect`](TestClient::expect), for an event that is to be [answered](ReceivedEvent::answer).
    ///
    /// # Panics
    ///
    /// When none comes within five seconds.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// let ready = io.emit_with_ack::<bool>("ready?", ());
    /// client.expect_event("ready?").await.answer(true);
    /// assert_eq!(ready.await.unwrap().answers, [true]);
    /// # }
    /// ```
    pub async fn expect_event(&mut self, event: &str) -> ReceivedEvent {
        let found = self.find(event, PATIENCE).await;
        found.unwrap_or_else(|| panic!("no \"{event}\" within {PATIENCE:?}; {}", self.describe()))
    }

    /// Makes sure that no event of this name comes within a time.
    ///
    /// # Panics
    ///
    /// When one comes.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use std::time::Duration;
    ///
    /// let mut client = TestClient::connect(&io).await;
    /// io.to("red").emit("secret", 1).unwrap();
    /// client.expect_none("secret", Duration::from_millis(10)).await; // it is not in the room
    /// # }
    /// ```
    pub async fn expect_none(&mut self, event: &str, within: Duration) {
        if let Some(found) = self.find(event, within).await {
            panic!("\"{event}\" was not to come, but did: {found:?}");
        }
    }

    async fn find(&mut self, event: &str, within: Duration) -> Option<ReceivedEvent> {
        let deadline = Instant::now() + within;
        let mut looked_at = 0;
        loop {
            if let Some(at) = self.unread.iter().skip(looked_at).position(|unread| unread.name == event) {
                return self.unread.remove(looked_at + at);
            }
            looked_at = self.unread.len();
            if !self.hear(deadline).await {
                return None;
            }
        }
    }

    /// The next event, whatever its name; `None` if the socket is disconnected, or nothing comes within a time.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use std::time::Duration;
    ///
    /// let mut client = TestClient::connect(&io).await;
    /// io.emit("first", 1).unwrap();
    /// assert_eq!(client.next_event(Duration::from_secs(5)).await.unwrap().name(), "first");
    /// assert!(client.next_event(Duration::from_millis(10)).await.is_none());
    /// # }
    /// ```
    pub async fn next_event(&mut self, within: Duration) -> Option<ReceivedEvent> {
        let deadline = Instant::now() + within;
        while self.unread.is_empty() && self.hear(deadline).await {}
        self.unread.pop_front()
    }

    /// Takes in what comes next. False if nothing does any more.
    async fn hear(&mut self, deadline: Instant) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match timeout_at(deadline, self.news.recv()).await {
            Err(_) => return false,
            Ok(Some(News::Event(args, id))) => {
                let name = args.event().unwrap_or_default().into_owned();
                self.unread.push_back(ReceivedEvent { name, args, id, link: self.link.clone(), nsp: self.nsp.clone() });
            }
            Ok(Some(News::Ended(reason))) => self.ended = Some(reason),
            Ok(None) => self.ended = Some("transport close"),
        }
        true
    }

    /// Waits until the socket is disconnected and gives the reason that the JavaScript client would give: `io server
    /// disconnect` or `transport close`.
    ///
    /// # Panics
    ///
    /// When that takes more than five seconds.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// io.everyone().disconnect_sockets(false).unwrap();
    /// assert_eq!(client.disconnected().await, "io server disconnect");
    /// # }
    /// ```
    pub async fn disconnected(&mut self) -> &'static str {
        self.disconnected_within(PATIENCE).await
    }

    /// As [`disconnected`](TestClient::disconnected), with patience of one's own.
    ///
    /// # Panics
    ///
    /// When it takes longer.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use std::time::Duration;
    ///
    /// let mut client = TestClient::connect(&io).await;
    /// io.everyone().disconnect_sockets(true).unwrap();
    /// assert_eq!(client.disconnected_within(Duration::from_secs(1)).await, "io server disconnect");
    /// # }
    /// ```
    pub async fn disconnected_within(&mut self, within: Duration) -> &'static str {
        let deadline = Instant::now() + within;
        while self.ended.is_none() && self.hear(deadline).await {}
        self.ended.unwrap_or_else(|| panic!("still connected after {within:?}; {}", self.describe()))
    }

    /// Leaves the namespace: the server's handlers hear `client namespace disconnect`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let (gone, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    /// io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
    ///     let _ = gone.send(reason.to_string());
    /// });
    ///
    /// let mut client = TestClient::connect(&io).await;
    /// client.disconnect();
    /// assert_eq!(reasons.recv().await.unwrap(), "client namespace disconnect");
    /// # }
    /// ```
    pub fn disconnect(&mut self) {
        self.link.leave(&self.nsp);
        self.ended = Some("io client disconnect");
    }

    /// Closes the connection as a client does that goes: the server's handlers hear `transport close`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let (gone, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    /// io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
    ///     let _ = gone.send(reason.to_string());
    /// });
    ///
    /// let mut client = TestClient::connect(&io).await;
    /// client.close();
    /// assert_eq!(reasons.recv().await.unwrap(), "transport close");
    /// # }
    /// ```
    pub fn close(&self) {
        self.link.close();
    }

    /// Is silent from now on without closing anything, like a client whose network is gone: nothing is read, no ping
    /// answered, and the server's handlers hear `ping timeout` in time.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    ///
    /// let soon = Duration::from_millis(20);
    /// let io = Server::builder().ping_interval(soon).ping_timeout(soon).build();
    /// let (gone, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    /// io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
    ///     let _ = gone.send(reason.to_string());
    /// });
    ///
    /// let client = TestClient::connect(&io).await;
    /// client.go_silent();
    /// assert_eq!(reasons.recv().await.unwrap(), "ping timeout");
    /// # }
    /// ```
    pub fn go_silent(&self) {
        self.link.go_silent();
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.unread.iter().map(|event| &event.name).collect();
        let ended = self.ended.map_or(String::new(), |reason| format!("; disconnected: {reason}"));
        format!("other events that came: {names:?}{ended}")
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("nsp", &self.nsp).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Connecting {
    /// The namespace to enter. Default `/`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.of("/chat");
    /// let client = TestClient::to(&io).namespace("/chat").connect().await;
    /// assert!(io.of("/chat").local_socket(client.id()).is_some());
    /// # }
    /// ```
    pub fn namespace(mut self, name: &str) -> Self {
        self.nsp = crate::pattern::with_slash(name);
        self
    }

    /// What the server finds in [`Handshake::auth`](crate::Handshake::auth): an object, or `()` for nothing.
    ///
    /// # Panics
    ///
    /// When it is neither.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # #[derive(serde::Deserialize)]
    /// # struct Token { token: String }
    /// io.on("token?", async |socket: Socket| socket.handshake().auth::<Token>().unwrap().token);
    ///
    /// let client = TestClient::to(&io).auth(serde_json::json!({ "token": "abc" })).connect().await;
    /// assert_eq!(client.emit_with_ack::<String>("token?", ()).await, "abc");
    /// # }
    /// ```
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        self.auth = auth_of(auth);
        self
    }

    /// Adds a parameter to the query of the handshake.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("lang?", async |socket: Socket| socket.handshake().query("lang"));
    ///
    /// let client = TestClient::to(&io).query("lang", "de").connect().await;
    /// assert_eq!(client.emit_with_ack::<String>("lang?", ()).await, "de");
    /// # }
    /// ```
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header to the requests.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let client = TestClient::to(&io).header("x-tenant", "acme").connect().await;
    /// let socket = io.local_socket(client.id()).unwrap();
    /// assert_eq!(socket.handshake().header("x-tenant"), Some("acme"));
    /// # }
    /// ```
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Over which transport: [`TransportKind::WebSocket`] (the default) or [`TransportKind::Polling`].
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::engine::TransportKind;
    ///
    /// let client = TestClient::to(&io).transport(TransportKind::Polling).connect().await;
    /// let socket = io.local_socket(client.id()).unwrap();
    /// assert_eq!(socket.transport(), TransportKind::Polling);
    /// # }
    /// ```
    pub fn transport(mut self, transport: TransportKind) -> Self {
        self.transport = transport;
        self
    }

    /// Which Engine.IO protocol to speak: [`Version::V3`] as a client of Socket.IO 2. Default 4.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use socketio_server::engine::Version;
    ///
    /// let io = Server::builder().allow_eio3(true).build();
    /// let mut client = TestClient::to(&io).version(Version::V3).connect().await;
    /// io.emit("news", 1).unwrap();
    /// assert_eq!(client.expect::<u32>("news").await, 1);
    /// # }
    /// ```
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// From which address it seems to come. Default 127.0.0.1.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let client = TestClient::to(&io).address(([192, 0, 2, 7], 5000)).connect().await;
    /// let socket = io.local_socket(client.id()).unwrap();
    /// assert_eq!(socket.handshake().address().as_deref(), Some("192.0.2.7"));
    /// # }
    /// ```
    pub fn address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.address = address.into();
        self
    }

    /// Connects.
    ///
    /// # Panics
    ///
    /// When it is refused.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let client = TestClient::to(&io).query("lang", "de").connect().await;
    /// assert!(io.local_socket(client.id()).is_some());
    /// # }
    /// ```
    pub async fn connect(self) -> TestClient {
        self.try_connect().await.unwrap_or_else(|refused| panic!("refused: {refused}"))
    }

    /// Connects, or says why not.
    ///
    /// # Errors
    ///
    /// When the handshake or the namespace is refused.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let refused = TestClient::to(&io).namespace("/unknown").try_connect().await.unwrap_err();
    /// assert_eq!((refused.status, &*refused.message), (None, "Invalid namespace"));
    /// # }
    /// ```
    pub async fn try_connect(self) -> Result<TestClient, Refused> {
        let (nsp, auth) = (self.nsp.clone(), self.auth.clone());
        let deadline = Instant::now() + PATIENCE;
        let link = timeout_at(deadline, Link::open(self)).await.expect("the server answers a handshake")?;
        TestClient::join(link, nsp, auth).await
    }

    pub(self) fn target(&self) -> String {
        let mut query: Vec<(&str, &str)> =
            vec![("EIO", if self.version == Version::V3 { "3" } else { "4" }), ("transport", self.transport.as_str())];
        query.extend(self.query.iter().map(|(name, value)| (&**name, &**value)));
        let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        format!("{}/?{}", self.server.engine().config().path, pairs.join("&"))
    }
}

fn auth_of(auth: impl Serialize) -> Args {
    match serde_json::to_value(&auth) {
        Ok(serde_json::Value::Null) => Args::none(),
        Ok(auth @ serde_json::Value::Object(_)) => Args::new_single(&auth).expect("just written"),
        other => panic!("auth is an object: {other:?}"),
    }
}

/// Percent-encodes what has a meaning in a query.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} (HTTP {status})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refused {}

/// An event that came.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// let votes = io.emit_with_ack::<String>("vote", ("tea", "coffee"));
/// let question = client.expect_event("vote").await;
/// let (first, _second): (String, String) = question.args();
/// question.answer(first);
/// assert_eq!(votes.await.unwrap().answers, ["tea"]);
/// # }
/// ```
#[derive(Clone)]
pub struct ReceivedEvent {
    name: String,
    args: Args,
    id: Option<u64>,
    link: Arc<Link>,
    nsp: ByteString,
}

impl ReceivedEvent {
    /// Its name.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// io.emit("news", 1).unwrap();
    /// assert_eq!(client.expect_event("news").await.name(), "news");
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments: a tuple is the list, any other type is the first of them.
    ///
    /// # Panics
    ///
    /// When they are no `T`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// io.emit("score", ("ana", 3)).unwrap();
    /// let score = client.expect_event("score").await;
    /// assert_eq!(score.args::<(String, u32)>(), ("ana".into(), 3));
    /// assert_eq!(score.args::<String>(), "ana");
    /// # }
    /// ```
    pub fn args<T: DeserializeOwned>(&self) -> T {
        read(&self.args, &self.name)
    }

    /// Whether the server wants an answer.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// io.emit("news", 1).unwrap();
    /// assert!(!client.expect_event("news").await.wants_answer());
    /// let _answers = io.emit_with_ack::<bool>("ready?", ());
    /// assert!(client.expect_event("ready?").await.wants_answer());
    /// # }
    /// ```
    pub fn wants_answer(&self) -> bool {
        self.id.is_some()
    }

    /// Answers. A tuple is a list of values.
    ///
    /// # Panics
    ///
    /// When the server has not asked.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let mut client = TestClient::connect(&io).await;
    /// let names = io.emit_with_ack::<(String, u32)>("who?", ());
    /// client.expect_event("who?").await.answer(("ana", 30));
    /// assert_eq!(names.await.unwrap().answers, [("ana".into(), 30)]);
    /// # }
    /// ```
    pub fn answer(&self, args: impl Serialize) {
        let id = self.id.unwrap_or_else(|| panic!("the server wants no answer to \"{}\"", self.name));
        self.link.answer(&self.nsp, id, &args);
    }
}

impl fmt::Debug for ReceivedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.args.to_values().unwrap_or_default();
        f.debug_struct("ReceivedEvent").field("name", &self.name).field("args", &values).field("id", &self.id).finish()
    }
}

fn read<T: DeserializeOwned>(args: &Args, event: &str) -> T {
    args.to().unwrap_or_else(|error| {
        let values = args.to_values().unwrap_or_default();
        panic!("\"{event}\": {values:?} is no {}: {error}", std::any::type_name::<T>())
    })
}

/// How long a client waits when it is not told.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a transport is made of: a future to spawn.
type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
