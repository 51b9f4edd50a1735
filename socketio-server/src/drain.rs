//! Ending a server without haste; see [`Server::drain`].

use std::collections::HashMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::NEVER;
use socketio_protocol::socket::{Args, EncodeError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::{Busy, Connection, halfway};
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
    ///
    ///    What a client sends is handled and answered, or neither: once none of its handlers waits (after half of the
    ///    time that is left, if there always is one), what comes is not handled any more, as if it were still on its
    ///    way. A client with `retries` sends it to the next server. Its answers to the server are still taken.
    /// 4. When all are gone, or the time is over, the server is [closed](Server::close), and the handlers that still
    ///    run, those of `disconnect` among them, may finish until the deadline.
    ///
    /// A polling client that does not come back for what is queued is waited for, for half of the time that is left; one
    /// that has been in no namespace for two seconds. Dropped half-way, it closes the clients whose turn it was; the
    /// others are served on, and new ones stay refused.
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
        let end = Instant::now() + self.deadline.min(NEVER);
        let server = &self.server;
        server.engine().refuse_new();
        tracing::info!(target: "socketio::lifecycle", clients = server.engine().clients_count(), deadline = ?self.deadline, "draining");
        if let Some((event, args)) = &self.notice {
            self.tell(event, args);
        }
        let busy = |connection: &Arc<Connection>| -> Busy {
            let (shared, connection) = (server.0.shared.clone(), connection.clone());
            Box::pin(async move { shared.departures.depart(&connection, end).await })
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
}

impl IntoFuture for Drain {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What clients are asked whose turn it is, by session id.
///
/// The task of a client looks here when it is nudged. It alone knows that none of its client's events is just being given
/// to a handler; so it is the task that stops, and says that it has. From then on all that was handled can be waited for.
#[derive(Default)]
pub(crate) struct Departures(OnceLock<Mutex<HashMap<ByteString, Departure>>>);

/// What one client is asked.
pub(crate) struct Departure {
    /// Whether it is to stop: what comes from now on is not handled any more, but for answers to the server.
    pub(crate) stop: bool,
    asker: oneshot::Sender<Departing>,
}

/// What the task of a client says of it.
struct Departing {
    load: Arc<Load>,
    /// Whether it has been in a namespace.
    entered: bool,
}

impl Departures {
    /// What a client is asked, if it is asked anything. Without a server that drains that is one look.
    pub(crate) fn take(&self, sid: &ByteString) -> Option<Departure> {
        Self::lock(self.0.get()?).remove(sid)
    }

    /// Has the handlers of a client finish. It is served on until none of them waits; one that gives them no pause, for
    /// half of the time. Says whether the client has been in a namespace and still is there.
    async fn depart(&self, connection: &Connection, end: Instant) -> bool {
        let Some(client) = self.ask(connection, false).await else { return false };
        let _ = timeout_at(halfway(end), client.load.idle()).await; // Those that still wait are waited for below.
        let Some(client) = self.ask(connection, true).await else { return false };
        client.load.idle().await;
        client.entered
    }

    /// Asks the task of a client; `None` if the client is gone.
    async fn ask(&self, connection: &Connection, stop: bool) -> Option<Departing> {
        let (asker, mut answer) = oneshot::channel();
        let departure = Departure { stop, asker };
        Self::lock(self.0.get_or_init(Mutex::default)).insert(connection.id().clone(), departure);
        connection.nudge();
        loop {
            match timeout(LOOK, &mut answer).await {
                Ok(answer) => return answer.ok(),
                Err(_) if connection.is_closed() => return self.take(connection.id()).and(None),
                Err(_) => {} // Its thread is busy.
            }
        }
    }

    fn lock(asked: &Mutex<HashMap<ByteString, Departure>>) -> MutexGuard<'_, HashMap<ByteString, Departure>> {
        asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Departure {
    /// The client has done what it was asked.
    pub(crate) fn answer(self, load: Arc<Load>, entered: bool) {
        let _ = self.asker.send(Departing { load, entered }); // The time may be over.
    }
}

/// How often it is looked whether a client that does not answer is still there.
const LOOK: Duration = Duration::from_millis(10);
