//! A Socket.IO server.
//!
//! Clients connect over HTTP long-polling, WebSocket or (opt-in) WebTransport, enter namespaces, and exchange named events
//! with arguments, binary data and acknowledgements. The server puts them into rooms and sends to any of them, on this
//! server or, with an adapter, on all servers of a cluster.
//!
//! ```no_run
//! use socketio_server::{Data, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let io = Server::new();
//!     io.on_connection(async |socket: Socket| {
//!         socket.join("lobby");
//!         let _ = socket.broadcast().emit("user connected", socket.id());
//!     });
//!     io.on("chat message", async |socket: Socket, Data(text): Data<String>| {
//!         socket.to("lobby").emit("chat message", text).map(drop)
//!     });
//!     io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
//!     io.listen("127.0.0.1:3000").await
//! }
//! ```
//!
//! # The ideas
//!
//! - A [`Server`] has [`Namespace`]s, and is its namespace `/` itself. A [`Socket`] is one client in one namespace.
//! - **Handlers** are async functions of a [`Socket`], the arguments as [`Data`], an [`Ack`], a [`State`]; see
//!   [`Handler`]. Those of a namespace are for all its sockets, those of a socket for it alone. Handlers of one socket
//!   start in the order in which their events came. What a handler returns answers the client, if it asked.
//! - **Arguments**: a tuple is the list of arguments, `()` is none, anything else is one. A [`Bytes`] anywhere inside a
//!   type travels as binary.
//! - **`emit` never waits.** It queues in order for the clients of this server and for the other servers. Queues are
//!   bounded: a client that reads too slowly is closed, and no other feels it.
//! - A [`Broadcast`] is whom to send to and how: `io.to("a").to("b").except("c").volatile()`. It is a value.
//! - With an adapter (`socketio-redis-adapter`) the same code runs on many servers; see [`adapter`].
//!
//! Below Socket.IO there is Engine.IO, which can be used alone; see [`engine`].

pub mod adapter;
#[cfg(feature = "admin")]
pub mod admin;
pub mod engine;
pub mod parser;

mod ack;
mod broadcast;
mod client;
#[cfg(feature = "client-bundle")]
mod client_bundle;
#[cfg(feature = "client-bundle")]
mod client_files;
mod drain;
mod emitting;
mod error;
mod gate;
mod handler;
mod handlers;
mod handshake;
mod http_options;
mod limits;
mod listening;
mod namespace;
mod pattern;
mod remote;
mod reply;
mod serve;
mod server;
mod server_event;
mod service;
mod socket;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "webtransport")]
pub mod webtransport;

pub use ack::{Ack, AckFuture, Acks, AcksMissing, Answer, BroadcastAcks};
pub use adapter::{Answers, ClusterStats, Emitted, Fields, JoinError, MissingAnswers, Recovery, RoomEvent};
pub use broadcast::{Broadcast, IntoRooms};
pub use bytes::Bytes;
pub use drain::Drain;
pub use emitting::Emitting;
pub use engine::{TrustedProxies, UnknownProxy};
pub use error::{
    AckError, ConnectError, DisconnectReason, EmitError, EventError, HandlerError, HandlerErrorKind, RequestError,
};
pub use handler::{Data, Event, EventContext, FromEvent, Handler, HandlerFuture, State};
pub use handlers::ListenerId;
pub use handshake::Handshake;
pub use limits::Limits;
pub use namespace::Namespace;
pub use parser::Parser;
pub use pattern::{NamespacePattern, NamespaceRequest};
pub use remote::RemoteSocketHandle;
pub use reply::{Boxed, Fallible, Plain, Reply, ReplyTo};
pub use serve::{IntoListeners, Listener, bind, serve};
#[cfg(feature = "tls")]
pub use serve::{TlsConfig, TlsError};
pub use server::{Builder, Server};
pub use server_event::{FromServerEvent, ServerAnswer, ServerEventContext, ServerEventHandler};
pub use service::{NotFound, SocketIoLayer, SocketIoService};
pub use socket::Socket;
pub use socketio_protocol::socket::{Args, ArgsError, EncodeError, Value};
pub use stats::{ByTransport, Stats};
