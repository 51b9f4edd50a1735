//! The protocol of the Admin UI: what a person sees, and does, at <https://admin.socket.io>.
//!
//! [`Server::instrument`] opens a namespace that the stock front end (npm's `@socket.io/admin-ui`, or the page at
//! `admin.socket.io`) connects to. It is told of servers, sockets, rooms and events, and asks for sockets to be sent to,
//! moved between rooms and disconnected. All goes through the adapter, so that it sees the whole cluster wherever it is
//! connected, Node.js servers with the same package among it.
//!
//! ```no_run
//! use socketio_server::Server;
//! use socketio_server::admin::AdminOptions;
//! use socketio_server::engine::Cors;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // The page is of another origin, and sends cookies along.
//! let io = Server::builder().cors(Cors::origins(["https://admin.socket.io"]).credentials(true)).build();
//! io.instrument(AdminOptions::basic("ana", "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS"))?;
//! io.listen("127.0.0.1:3000").await?;
//! # Ok(()) }
//! ```
//!
//! In [development](AdminMode::Development), the default, each socket, room and event is told, which costs more than the
//! event itself did: for busy servers there is [`AdminMode::Production`], which tells numbers alone. A server that is not
//! instrumented pays nothing.
//!
//! Times are ISO 8601 text, with the MessagePack parser as well. A socket's data is told as far as it is written as JSON;
//! of an object, `_admin` is how servers tell each other of the connection under a socket, and is shown to nobody.

mod auth;
mod orders;
#[cfg(feature = "admin-redis")]
mod redis_sessions;
mod sockets;
mod stats;
mod watch;

use std::sync::{Arc, Weak};

use bytestring::ByteString;
use serde::Serialize;

pub use self::auth::{AdminSessions, MemorySessions};
#[cfg(feature = "admin-redis")]
pub use self::redis_sessions::RedisSessions;
pub(crate) use self::sockets::{ConnectionInfo, SerializedSocket, add_connection, take_connection};
pub(crate) use self::watch::Admin;

use self::auth::Credentials;
use crate::pattern::with_slash;
use crate::server::Server;
use crate::socket::Socket;

/// How a server is instrumented; see [`Server::instrument`].
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::admin::{AdminMode, AdminOptions};
///
/// let options = AdminOptions::without_authentication()
///     .namespace_name("/watch")
///     .mode(AdminMode::Production)
///     .readonly(true);
/// io.instrument(options).unwrap();
/// TestClient::to(&io).namespace("/watch").connect().await;
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AdminOptions {
    namespace_name: ByteString,
    credentials: Option<Credentials>,
    readonly: bool,
    server_id: Option<String>,
    mode: AdminMode,
    sessions: Arc<dyn AdminSessions>,
}

/// How much the Admin UI is told.
///
/// ```
/// use socketio_server::{Server, admin::{AdminMode, AdminOptions}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let mode = if cfg!(debug_assertions) { AdminMode::Development } else { AdminMode::Production };
/// io.instrument(AdminOptions::without_authentication().mode(mode)).unwrap();
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminMode {
    /// Each socket, room and event.
    #[default]
    Development,
    /// Numbers alone.
    Production,
}

/// Why a server is not instrumented.
///
/// ```
/// use socketio_server::{Server, admin::{AdminError, AdminOptions}};
///
/// let error = Server::new().instrument(AdminOptions::basic("ana", "the password itself")).unwrap_err();
/// assert_eq!(error, AdminError::InvalidHash);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// What was given for a password is no hash of bcrypt.
    #[error("the password must be given as a bcrypt hash ($2a$, $2b$ or $2y$)")]
    InvalidHash,
    /// The server is instrumented already.
    #[error("the server is instrumented already")]
    Twice,
}

impl AdminOptions {
    /// Lets in who knows the password, given as its bcrypt hash (`$2a$`, `$2b$` or `$2y$`): what `htpasswd -nbB` prints, or
    /// `bcrypt.hashSync` of npm.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    ///
    /// let hash = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
    /// io.instrument(AdminOptions::basic("ana", hash)).unwrap();
    /// // Who shows no password is not let in.
    /// assert!(TestClient::to(&io).namespace("/admin").try_connect().await.is_err());
    /// # }
    /// ```
    pub fn basic(username: &str, password_hash: &str) -> Self {
        Self::new(Some(Credentials { username: username.into(), hash: password_hash.into() }))
    }

    /// Lets everybody in. For servers that only the right people reach.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    ///
    /// io.instrument(AdminOptions::without_authentication()).unwrap();
    /// assert!(TestClient::to(&io).namespace("/admin").try_connect().await.is_ok());
    /// # }
    /// ```
    pub fn without_authentication() -> Self {
        Self::new(None)
    }

    fn new(credentials: Option<Credentials>) -> Self {
        Self {
            namespace_name: ByteString::from_static("/admin"),
            credentials,
            readonly: false,
            server_id: None,
            mode: AdminMode::default(),
            sessions: Arc::new(MemorySessions::default()),
        }
    }

    /// The namespace that the Admin UI connects to. Default `/admin`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    ///
    /// io.instrument(AdminOptions::without_authentication().namespace_name("/watch")).unwrap();
    /// assert!(TestClient::to(&io).namespace("/watch").try_connect().await.is_ok());
    /// assert!(TestClient::to(&io).namespace("/admin").try_connect().await.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn namespace_name(self, name: &str) -> Self {
        Self { namespace_name: with_slash(name), ..self }
    }

    /// Whether the Admin UI may only look. Default false.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    ///
    /// io.instrument(AdminOptions::without_authentication().readonly(true)).unwrap();
    /// let mut page = TestClient::to(&io).namespace("/admin").connect().await;
    /// let config: serde_json::Value = page.expect("config").await;
    /// assert!(!config["supportedFeatures"].as_array().unwrap().contains(&"DISCONNECT".into()));
    /// # }
    /// ```
    #[must_use]
    pub fn readonly(self, readonly: bool) -> Self {
        Self { readonly, ..self }
    }

    /// What the Admin UI calls this server; each needs a name of its own. Default the name of the host and the number
    /// of the process, `host#1234`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    ///
    /// io.instrument(AdminOptions::without_authentication().server_id("chat-1")).unwrap();
    /// let mut page = TestClient::to(&io).namespace("/admin").connect().await;
    /// let stats: serde_json::Value = page.expect("server_stats").await;
    /// assert_eq!(stats["serverId"], "chat-1");
    /// # }
    /// ```
    #[must_use]
    pub fn server_id(self, id: &str) -> Self {
        Self { server_id: Some(id.to_owned()), ..self }
    }

    /// How much the Admin UI is told. Default everything.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    /// use socketio_server::admin::AdminMode;
    ///
    /// io.instrument(AdminOptions::without_authentication().mode(AdminMode::Production)).unwrap();
    /// let mut page = TestClient::to(&io).namespace("/admin").connect().await;
    /// let config: serde_json::Value = page.expect("config").await;
    /// assert!(!config["supportedFeatures"].as_array().unwrap().contains(&"ALL_EVENTS".into()));
    /// # }
    /// ```
    #[must_use]
    pub fn mode(self, mode: AdminMode) -> Self {
        Self { mode, ..self }
    }

    /// Where it is kept who has shown the password. Default [`MemorySessions`], which other servers do not see: with
    /// several servers, one that all share saves people from showing it to each: `RedisSessions`, with the feature
    /// `admin-redis`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// use socketio_server::admin::AdminOptions;
    /// use socketio_server::admin::MemorySessions;
    ///
    /// let hash = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
    /// let options = AdminOptions::basic("ana", hash).sessions(MemorySessions::default());
    /// assert!(io.instrument(options).is_ok());
    /// # }
    /// ```
    #[doc(alias = "store")]
    #[must_use]
    pub fn sessions(self, sessions: impl AdminSessions) -> Self {
        Self { sessions: Arc::new(sessions), ..self }
    }

    /// What the Admin UI may ask for.
    fn features(&self) -> Vec<&'static str> {
        let mut features = match self.readonly {
            true => Vec::new(),
            false => vec!["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"],
        };
        features.push("AGGREGATED_EVENTS");
        if self.mode == AdminMode::Development {
            features.push("ALL_EVENTS");
        }
        features
    }
}

impl Server {
    /// Opens the server to the [Admin UI](crate::admin). To be called inside a Tokio runtime, before clients come: those
    /// that are connected already are not counted.
    ///
    /// ```
    /// # use socketio_server::Server;
    /// use socketio_server::admin::AdminOptions;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), socketio_server::admin::AdminError> {
    /// let io = Server::new();
    /// io.instrument(AdminOptions::without_authentication().readonly(true).server_id("chat-1"))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdminError`] when the hash of the password is none, and the second time. Nothing has changed then.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    #[doc(alias = "admin-ui")]
    pub fn instrument(&self, options: AdminOptions) -> Result<(), AdminError> {
        if let Some(credentials) = &options.credentials {
            credentials.check()?;
        }
        if self.0.shared.admin.get().is_some() {
            return Err(AdminError::Twice);
        }
        let verbose = options.mode == AdminMode::Development;
        let (admin, news) = Admin::new(options.namespace_name.clone(), verbose);
        let namespace = self.of(&options.namespace_name);
        if let Some(credentials) = &options.credentials {
            // Before anything else: the namespace is open from now on.
            auth::guard(&namespace, credentials.clone(), options.sessions.clone());
        }
        if !self.0.instrument(&admin) {
            return Err(AdminError::Twice); // Another thread was faster.
        }
        if !options.readonly {
            orders::serve(&namespace);
        }
        let features = options.features();
        namespace.on_connection(async move |socket: Socket| {
            #[derive(Serialize)]
            struct Config {
                #[serde(rename = "supportedFeatures")]
                supported_features: Vec<&'static str>,
            }
            let _ = socket.emit("config", Config { supported_features: features });
            if verbose && let Some(server) = server_of(&socket) {
                let sockets = sockets::all(&server).await;
                let _ = socket.emit("all_sockets", (sockets,));
            }
        });
        let identity = stats::Identity::new(options.server_id);
        let closing = self.engine().closing().clone();
        let server = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let told = watch::tell(server, admin, identity, news);
            closing.run_until_cancelled(told).await;
        });
        Ok(())
    }
}

/// The server of a socket, unless it has been dropped.
fn server_of(socket: &Socket) -> Option<Server> {
    socket.namespace().shared().server.get().and_then(Weak::upgrade).map(Server)
}
