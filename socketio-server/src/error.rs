//! What can go wrong for an application, one enum for each thing it can do.

use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::cluster::BusError;
use socketio_protocol::socket::{Args, ArgsError, EncodeError};

use crate::adapter::{JoinError, MissingAnswers};
use crate::engine::{CloseReason, SendError};

/// Why an event was not emitted, or not to everyone.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// socket.disconnect(true);
/// assert!(matches!(socket.emit("late", ()), Err(EmitError::Closed)));
/// assert!(matches!(io.emit("disconnect", ()), Err(EmitError::Reserved(_))));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is disconnected.
    #[error("the socket is disconnected")]
    Closed,
    /// The client has left too much unread; it is closed for it.
    #[error("the client's queue is full; it is closed as a slow consumer")]
    Full,
    /// As many questions as are allowed wait for the socket's answers; see
    /// [`Limits::max_pending_acks`](crate::Limits::max_pending_acks).
    #[error("{max} questions wait for the socket's answers already, the most that are allowed")]
    TooManyAcks {
        /// How many are allowed.
        max: usize,
    },
    /// The arguments cannot be written as JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The protocol keeps the name for itself: `connect`, `connect_error`, `disconnect`, `disconnecting`,
    /// `newListener`, `removeListener`. The text is the reference server's.
    #[error("\"{0}\" is a reserved event name")]
    Reserved(String),
    /// The other servers were not told. Sockets of this one have been sent to all the same. With connection state
    /// recovery over streams nothing has been sent then: events go through the stream first.
    #[error("other servers were not reached: {0}")]
    Adapter(#[from] BusError),
}

impl From<SendError> for EmitError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => EmitError::Full,
            _ => EmitError::Closed,
        }
    }
}

/// Why a client's answer did not come.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// match socket.timeout(Duration::from_millis(10)).emit_with_ack::<u32>("how many?", ()).await {
///     Ok(number) => println!("{number}"),
///     Err(AckError::Timeout) => println!("it did not answer"),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The client did not answer in time.
    #[error("operation has timed out")]
    Timeout,
    /// The client disconnected before it answered.
    #[error("the socket was disconnected before it answered")]
    Disconnected,
    /// The answer is not of the type asked for.
    #[error("the answer does not fit: {0}")]
    Decode(#[from] ArgsError),
    /// The question was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// Why a question to the servers of a cluster has no answer.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let asked = io.server_side_emit_with_ack::<u32>("connection", ()).await;
/// assert!(matches!(asked, Err(RequestError::Reserved(name)) if name == "connection"));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The question was not sent, or nobody could say how many servers there are.
    #[error(transparent)]
    Adapter(#[from] BusError),
    /// The arguments cannot be written as JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The protocol keeps the name for itself.
    #[error("\"{0}\" is a reserved event name")]
    Reserved(String),
    /// A server answered with something else than asked for.
    #[error("an answer does not fit: {0}")]
    Decode(#[from] ArgsError),
    /// Not every server answered in time.
    #[error(transparent)]
    Missing(#[from] MissingAnswers),
}

/// Why a client is not let into a namespace. It receives the message, and the data if there is any.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.middleware(async |_: Socket| Err(ConnectError::new("not now").data(serde_json::json!({ "retry": 60 }))));
///
/// let refused = TestClient::to(&io).try_connect().await.unwrap_err();
/// assert_eq!(refused.message, "not now");
/// # }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
    data: Option<Args>,
}

impl ConnectError {
    /// A refusal that the client's `connect_error` event shows as `err.message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds what the client's `connect_error` event shows as `err.data`. Data that cannot be written is left out.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.middleware(async |_: Socket| Err(ConnectError::new("full").data(serde_json::json!({ "retry": 60 }))));
    ///
    /// let refused = TestClient::to(&io).try_connect().await.unwrap_err();
    /// assert_eq!(refused.data.unwrap().get("retry"), Some(&Value::from(60)));
    /// # }
    /// ```
    #[must_use]
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Args::new_single(&data).ok();
        self
    }

    pub(crate) fn payload(&self, as_v2: bool) -> Args {
        let payload = match (&self.data, as_v2) {
            (Some(data), true) => Ok(data.clone()),
            (None, true) => Args::new_single(&self.message),
            (data, false) => Args::new_single(&Refusal { message: &self.message, data: data.as_ref().map(DataOf) }),
        };
        payload.unwrap_or_else(|_| Args::none())
    }
}

/// Why an event is not let through to its handlers, see [`Namespace::use_packet`](crate::Namespace::use_packet); or why a
/// handler that returns it does not do what was asked. A client that wants an acknowledgement is told.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.use_packet(async |_, event: Event| match &*event.name() {
///     "admin" => Err(EventError::new("not for you").data(401)),
///     _ => Ok(event),
/// });
/// let client = TestClient::connect(&io).await;
/// let refused: serde_json::Value = client.emit_with_ack("admin", ()).await;
/// assert_eq!((&refused["error"], &refused["data"]), (&"not for you".into(), &401.into()));
///
/// io.on("half", async |Data(n): Data<i64>| match n % 2 {
///     0 => Ok(n / 2),
///     _ => Err(EventError::new("that is odd").data(n)),
/// });
/// let refused: serde_json::Value = client.emit_with_ack("half", 3).await;
/// assert_eq!(refused, serde_json::json!({ "error": "that is odd", "data": 3 }));
/// # }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct EventError(ConnectError);

impl EventError {
    /// A refusal that a client sees as `error` in its acknowledgement.
    pub fn new(message: impl Into<String>) -> Self {
        Self(ConnectError::new(message))
    }

    /// Adds what a client sees as `data` in its acknowledgement, and one of Socket.IO 2 in place of the message. Data
    /// that cannot be written is left out.
    #[must_use]
    pub fn data(self, data: impl Serialize) -> Self {
        Self(self.0.data(data))
    }

    /// What a client of Socket.IO 2 is sent.
    pub(crate) fn payload(&self) -> Args {
        self.0.payload(true)
    }

    /// What the acknowledgement has.
    pub(crate) fn answer(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Failure<'a> {
            error: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<DataOf<'a>>,
        }
        Failure { error: &self.0.message, data: self.0.data.as_ref().map(DataOf) }
    }
}

impl From<&str> for EventError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for EventError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// What the server can be asked for, and did not give: the client is told why.
macro_rules! reasons {
    ($($error:ty),*) => {
        $(impl From<$error> for EventError {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })*
    };
}

reasons!(AckError, ArgsError, BusError, EmitError, JoinError, RequestError);

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataOf<'a>>,
}

/// One value that has been written already.
struct DataOf<'a>(&'a Args);

impl Serialize for DataOf<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Option<socketio_protocol::socket::Value> = self.0.value().map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

/// Why a socket was disconnected. [`as_str`](DisconnectReason::as_str) gives the reference server's text.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on_disconnect(async |socket: Socket, reason: DisconnectReason| match reason {
///     DisconnectReason::ClientNamespaceDisconnect => println!("{} said goodbye", socket.id()),
///     reason => println!("{} was lost: {reason}", socket.id()),
/// });
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server had it leave.
    ServerNamespaceDisconnect,
    /// The connection under it ended.
    Connection(CloseReason),
}

impl DisconnectReason {
    /// The text that applications and logs know, for example `transport close`.
    pub fn as_str(self) -> &'static str {
        match self {
            DisconnectReason::ClientNamespaceDisconnect => "client namespace disconnect",
            DisconnectReason::ServerNamespaceDisconnect => "server namespace disconnect",
            DisconnectReason::Connection(reason) => reason.as_str(),
        }
    }

    /// What exactly happened, where the reason alone does not say: for a `transport error`, what the transport did.
    pub fn description(self) -> Option<&'static str> {
        match self {
            DisconnectReason::Connection(CloseReason::TransportError(how)) => Some(how),
            _ => None,
        }
    }

    /// Whether the client may come back to its session: nobody wanted it gone, and it did nothing wrong.
    pub(crate) fn is_recoverable(self) -> bool {
        match self {
            DisconnectReason::Connection(reason) => {
                !matches!(reason, CloseReason::ParseError | CloseReason::SlowConsumer)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong in a handler; see [`Server::on_error`](crate::Server::on_error).
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use std::sync::{Arc, Mutex};
///
/// let errors = Arc::new(Mutex::new(Vec::new()));
/// # let log = errors.clone();
/// io.on_error(move |error: HandlerError| log.lock().unwrap().push((error.event, error.kind.to_string())));
/// io.on("number", async |Data(_): Data<u32>| "thanks");
///
/// let client = TestClient::connect(&io).await;
/// client.emit_with_ack::<serde_json::Value>("number", "seven").await;
/// let (event, text) = errors.lock().unwrap().remove(0);
/// assert!(event == "number" && text.contains("does not fit"), "{text}");
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerError {
    /// The namespace.
    pub nsp: ByteString,
    /// The socket whose event it was. Empty if it was another server's.
    pub socket: ByteString,
    /// The event.
    pub event: String,
    /// What happened.
    pub kind: HandlerErrorKind,
}

/// How a handler failed.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on_error(|error: HandlerError| match &error.kind {
///     HandlerErrorKind::Panic(text) => eprintln!("a fault of ours in {}: {text}", error.event),
///     other => eprintln!("{}: {other}", error.event),
/// });
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerErrorKind {
    /// What the client sent does not fit the types that the handler takes. The handler did not run.
    #[error("the arguments do not fit: {0}")]
    Arguments(#[from] ArgsError),
    /// The handler takes a state that the server was not given. Whose event it was is told `Internal server error`.
    #[error("the server has no state of type {0}; give it one with Builder::state")]
    MissingState(&'static str),
    /// The socket was not allowed to [join](crate::Socket::join) a room.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The handler returned an error.
    #[error("{0}")]
    Returned(String),
    /// A [packet middleware](crate::Namespace::use_packet) did not let the event through to its handlers.
    #[error(transparent)]
    Refused(EventError),
    /// The handler panicked. Whose event it was is told `Internal server error`.
    #[error("panic: {0}")]
    Panic(String),
    /// What the handler returned cannot be written as JSON.
    #[error("the answer cannot be written: {0}")]
    Answer(EncodeError),
}

impl HandlerErrorKind {
    /// What the one is told whose event it was. A fault of the server's own is nobody else's matter.
    pub(crate) fn told(&self) -> String {
        match self {
            HandlerErrorKind::Panic(_) | HandlerErrorKind::MissingState(_) => INTERNAL_ERROR.to_owned(),
            kind => kind.to_string(),
        }
    }
}

/// All that is told of a fault of the server's own.
pub(crate) const INTERNAL_ERROR: &str = "Internal server error";
