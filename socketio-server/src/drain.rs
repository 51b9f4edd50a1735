//! Ending a server without haste; see [`Server::drain`].

use std::collections::HashMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::socket::{Args, EncodeError};
use tokio::time::{Instant, timeout_at};

use crate::engine::{Busy, Connection};
use crate::handler::Load;
use crate::server::Server;

/// The end of a server, which begins when this is awaited; see [`Server::drain`].
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// use std::time::Duration;
///
/// let drain = io.drain(Duration::from_secs(1)).notify("restart", ()); // nothing ends yet
/// assert!(!io.is_draining());
/// drain.await;
/// client.expect::<()>("restart").await;
/// assert_eq!(client.disconnected().await, "transport close");
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing ends until it is awaited"]
pub struct Drain {
    server: Server,
    deadline: Duration,
    notice: Option<(String, Result<Args, EncodeError>)>,
}

impl Server {
    /// Ends the server without haste, within `deadline` from the moment when this is awaited:
    ///
    /// 1. New clients are refused (503), so that a load balancer sends them elsewhere; [`is_draining`](Server::is_draining)
    ///    says so to a readiness probe. Those that are connected are served on.
    /// 2. They are told with the event that [`notify`](Drain::notify) names, if any.
    /// 3. One after another they are disconnected, spread over three quarters of the time, at most 50 ms apart: a
    ///    client once its handlers have returned and its queue has left. The reason is `server shutting down`; clients
    ///    see `transport close`, and come back to whatever server answers.
    /// 4. When all are gone, or the time is over, the server is [closed](Server::close), and the handlers that still
    ///    run, those of `disconnect` among them, may finish until the deadline.
    ///
    /// ```no_run
    /// # async fn example(io: socketio_server::Server) {
    /// use std::time::Duration;
    ///
    /// let _ = tokio::signal::ctrl_c().await;
    /// io.drain(Duration::from_secs(20)).notify("maintenance", "back in a minute").await;
    /// # }
    /// ```
    pub fn drain(&self, deadline: Duration) -> Drain {
        Drain { server: self.clone(), deadline, notice: None }
    }

    /// Whether the server takes no new clients any more, since [`drain`](Server::drain) was awaited or
    /// [`close`](Server::close) was called: the answer for a readiness probe.
    ///
    /// ```
    /// use axum::{Router, http::StatusCode, routing::get};
    /// use socketio_server::Server;
    ///
    /// fn app(io: Server) -> Router {
    ///     let probe = io.clone();
    ///     let ready = async move || if probe.is_draining() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    ///     Router::new().route("/ready", get(ready)).layer(io.layer())
    /// }
    /// # app(Server::new());
    /// ```
    pub fn is_draining(&self) -> bool {
        self.engine().is_draining()
    }

    /// Returns once the server is [closed](Server::close), at once if it is: for a listener that is not its own.
    ///
    /// ```no_run
    /// # async fn example(io: socketio_server::Server, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// let app = axum::Router::new().layer(io.layer());
    /// axum::serve(listener, app).with_graceful_shutdown(async move { io.closed().await }).await
    /// # }
    /// ```
    pub async fn closed(&self) {
        self.engine().closing().cancelled().await;
    }
}

impl Drain {
    /// Tells every client of this server first, in every namespace. Arguments that cannot be written are logged, and
    /// nothing is told.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// io.drain(Duration::from_secs(1)).notify("restart", "be back soon").await;
    /// assert_eq!(client.expect::<String>("restart").await, "be back soon");
    /// # }
    /// ```
    pub fn notify(mut self, event: &str, args: impl Serialize) -> Self {
        self.notice = Some((event.to_owned(), Args::new_list(&args)));
        self
    }

    async fn run(self) {
        let end = Instant::now() + self.deadline;
        let server = &self.server;
        server.engine().refuse_new();
        tracing::info!(target: "socketio::lifecycle", clients = server.engine().clients_count(), deadline = ?self.deadline, "draining");
        if let Some((event, args)) = &self.notice {
            self.tell(event, args);
        }
        let loads = self.loads();
        let busy = |connection: &Connection| -> Busy {
            let load = loads.get(connection.id()).cloned();
            Box::pin(async move {
                if let Some(load) = load {
                    load.idle().await;
                }
            })
        };
        server.engine().end_sessions(end, busy).await;
        server.close().await;
        let handlers = &server.0.shared.handlers;
        handlers.close();
        if timeout_at(end, handlers.wait()).await.is_err() {
            tracing::warn!(target: "socketio::lifecycle", running = handlers.len(), "handlers still run at the end of the server");
        }
    }

    fn tell(&self, event: &str, args: &Result<Args, EncodeError>) {
        for namespace in self.server.0.all() {
            let told = match args {
                Ok(args) => namespace.local().emit(event, args).map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = told {
                tracing::warn!(target: "socketio::lifecycle", %error, "clients are not told that the server ends");
            }
        }
    }

    /// The handlers that run on each connection, by its session id.
    fn loads(&self) -> HashMap<ByteString, Arc<Load>> {
        let sockets = self.server.0.all().into_iter().flat_map(|namespace| namespace.local_sockets());
        sockets.map(|socket| (socket.conn().id().clone(), socket.load().clone())).collect()
    }
}

impl IntoFuture for Drain {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
