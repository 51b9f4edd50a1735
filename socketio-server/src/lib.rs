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
//!
//! # Events and answers
//!
//! Types are those of serde. A client that sends what does not fit is told so in its acknowledgement, and the handler does not
//! run. The examples here are shown with the clients in memory of the module `testing` (a feature).
//!
//! ```
//! # use socketio_server::*;
//! use serde::{Deserialize, Serialize};
//! use socketio_server::testing::TestClient;
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Photo { title: String, image: Bytes }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let io = Server::new();
//! io.on("rename", async |Data((mut photo, title)): Data<(Photo, String)>| {
//!     photo.title = title;
//!     photo // answers the client
//! });
//!
//! let client = TestClient::connect(&io).await;
//! let photo = Photo { title: "sea".into(), image: Bytes::from_static(&[1, 2, 3]) };
//! let renamed: Photo = client.emit_with_ack("rename", (&photo, "shore")).await;
//! assert_eq!((&*renamed.title, renamed.image), ("shore", photo.image));
//!
//! let refused: serde_json::Value = client.emit_with_ack("rename", "no photo").await;
//! assert!(refused["error"].as_str().unwrap().contains("argument 1 does not fit"));
//! # }
//! ```
//!
//! A server asks in the same way: one client with [`Socket::emit_with_ack`], many with [`Broadcast::emit_with_ack`], whose
//! answers come as one value or as a stream, with who is missing.
//!
//! ```
//! # use socketio_server::*;
//! # use socketio_server::testing::TestClient;
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let io = Server::new();
//! # let (mut ana, _bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
//! let votes = io.timeout(Duration::from_millis(50)).emit_with_ack::<String>("vote", "tea or coffee?");
//! ana.expect_event("vote").await.answer("tea");
//! let votes = votes.await.unwrap();
//! assert_eq!((votes.answers, votes.missing), (vec!["tea".to_owned()], 1));
//! # }
//! ```
//!
//! # Rooms
//!
//! A room is a name that sockets share; each socket is in the room of its own id. Rooms are there while somebody is in them.
//!
//! ```
//! # use socketio_server::*;
//! # use socketio_server::testing::TestClient;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let io = Server::new();
//! io.on("watch", async |socket: Socket, Data(game): Data<u32>| {
//!     socket.join(&format!("game {game}"));
//!     socket.rooms().len()
//! });
//!
//! let mut ana = TestClient::connect(&io).await;
//! assert_eq!(ana.emit_with_ack::<usize>("watch", 7).await, 2);
//! io.to("game 7").except("muted").emit("score", (3, 1)).unwrap();
//! assert_eq!(ana.expect::<(u32, u32)>("score").await, (3, 1));
//! assert_eq!(io.to("game 7").count().await.unwrap().total(), 1); // on all servers
//! # }
//! ```
//!
//! # Who may come in
//!
//! A middleware looks at each client before it is in its namespace; what it refuses with is the client's `connect_error`.
//! [`use_packet`](Namespace::use_packet) looks at each event. Of what a client said first there is the [`Handshake`]; what is
//! known of it is kept with [`Socket::set_data`], and what all handlers share is given with [`Builder::state`].
//!
//! ```
//! # use socketio_server::*;
//! # use socketio_server::testing::TestClient;
//! #[derive(serde::Deserialize)]
//! struct Auth { token: String }
//!
//! struct Tokens(Vec<&'static str>);
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let io = Server::builder().state(Tokens(vec!["abc"])).build();
//! let admin = io.of("/admin");
//! admin.middleware(async |socket: Socket| match socket.handshake().auth::<Auth>() {
//!     Ok(auth) => {
//!         socket.set_data(auth.token);
//!         Ok(())
//!     }
//!     Err(_) => Err(ConnectError::new("a token, please")),
//! });
//! admin.on("valid?", async |socket: Socket, tokens: State<Tokens>| {
//!     socket.data::<String>().is_some_and(|token| tokens.0.0.contains(&&**token))
//! });
//!
//! let auth = serde_json::json!({ "token": "abc" });
//! let client = TestClient::to(&io).namespace("/admin").auth(auth).connect().await;
//! assert!(client.emit_with_ack::<bool>("valid?", ()).await);
//! let refused = TestClient::to(&io).namespace("/admin").try_connect().await.unwrap_err();
//! assert_eq!(refused.message, "a token, please");
//! # }
//! ```
//!
//! Namespaces that clients ask for by name are made by patterns: [`Server::of_matching`], [`Server::of_matching_async`], and
//! `Server::of_regex` (a feature).
//!
//! # Where it runs
//!
//! [`Server::listen`] has a port of its own; [`Server::serve`] takes several [`Listener`]s, with TLS, HTTP/2, Unix sockets and
//! proxies that are believed. Inside an application that speaks HTTP, [`Server::layer`] and [`Server::service`] are for
//! everything that is built on tower; examples in axum, hyper and salvo are in the repository.
//!
//! ```
//! # use socketio_server::Server;
//! let io = Server::new();
//! let app: axum::Router = axum::Router::new().route("/", axum::routing::get(async || "hello")).layer(io.layer());
//! ```
//!
//! Many servers are one: `Server::builder().adapter(RedisAdapter::connect("redis://localhost:6379").await?)`. What asks
//! everybody ([`fetch_sockets`](Broadcast::fetch_sockets), [`count`](Broadcast::count), acknowledgements) says who did not
//! answer; servers talk among themselves by [`server_side_emit`](Namespace::server_side_emit).
//!
//! # When things go wrong
//!
//! - What handlers return, panic with, or cannot take goes to [`Server::on_error`], never into silence.
//! - A client that was away for a moment comes back to its rooms and to what it missed, with
//!   [`Builder::connection_state_recovery`].
//! - What one client may cost is bounded: [`Limits`], and rates with the feature `rate-limit`.
//! - [`Server::drain`] ends a server without haste; [`Server::stats`] has its numbers, for Prometheus too.
//!
//! # Features
//!
//! | feature | what |
//! | --- | --- |
//! | `client-bundle`, `compression`, `standalone` | on by default: the JavaScript client, gzip/deflate/br for polls, the program |
//! | `admin`, `admin-redis` | the Admin UI; its sessions in Redis |
//! | `deflate` | permessage-deflate |
//! | `metrics` | numbers for the crate `metrics` |
//! | `rate-limit` | limits for rates |
//! | `regex` | namespaces by regular expression |
//! | `testing` | clients in memory |
//! | `tls`, `webtransport` | ports with TLS; WebTransport over HTTP/3 |

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
mod exits;
mod gate;
mod handler;
mod handler_fn;
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
mod sync;
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
pub use handler_fn::{Async, FromEventArgs, FromServerEventArgs, HandlerFn};
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
pub use socketio_protocol::cluster::BusStatus;
pub use socketio_protocol::socket::{Args, ArgsError, EncodeError, Value};
pub use stats::{ByTransport, Stats};
