//! [`Client`]: one socket, as applications see it.

use std::time::Duration;

use serde::Serialize;
use socketio_protocol::{
    engine::TransportKind,
    socket::{Args, Value, is_reserved},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ClientError, TlsOptions,
    address::{Address, without_secrets},
    engine::Options,
    socket::{self, Command, Session, Settings},
};

/// One socket in one namespace of a server. When it is dropped, it disconnects.
///
/// ```
/// use std::time::Duration;
/// use socketio_client::Client;
/// # use socketio_server::{Data, Server};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::new();
/// io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
/// # let listener = socketio_server::bind("127.0.0.1:0").await?;
/// # let url = format!("http://{}", listener.local_addr()?);
/// # tokio::spawn(async move { io.serve(listener).await });
///
/// let client = Client::connect(&url).await?;
/// let sum = client.emit_with_ack("sum", (1, 2), Duration::from_secs(5)).await?;
/// assert_eq!(sum.to::<i64>()?, 3);
/// client.close().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    news: mpsc::Receiver<News>,
    sid: String,
}

/// What a client hears.
///
/// ```no_run
/// use socketio_client::{Client, News};
///
/// # async fn example(mut client: Client) {
/// while let Some(news) = client.next().await {
///     match news {
///         News::Event(event) => println!("{}", event.name()),
///         News::Disconnected { reason } => println!("gone for now: {reason}"),
///         News::Connected { sid } => println!("back, as {sid}"), // the place to join rooms again
///         _ => {}
///     }
/// }
/// println!("gone for good");
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// An event of the server.
    Event(Event),
    /// The connection is gone. It is made again, unless the server has put us out or the client does not reconnect: then
    /// this is the last news.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// Connected again; rooms and everything else that the server knew of the socket are gone, unless it recovered them.
    Connected {
        /// The new id.
        sid: String,
    },
}

/// An event of the server.
///
/// ```no_run
/// use socketio_client::{Client, ClientError, Event};
///
/// /// Answers the server's questions for a name.
/// async fn hear(client: &Client, event: &Event) -> Result<(), ClientError> {
///     match &*event.name() {
///         "name?" if event.wants_answer() => client.answer(event, "ana").await,
///         name => {
///             println!("{name} {}", event.args.to_json().0);
///             Ok(())
///         }
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Event {
    /// Its name and its arguments.
    pub args: Args,
    /// The number to answer with, and the session it belongs to.
    pub(crate) ack: Option<(u64, u64)>,
    /// What it came over.
    pub transport: TransportKind,
}

impl Event {
    /// Its name.
    pub fn name(&self) -> String {
        self.args.event().unwrap_or_default().into_owned()
    }

    /// Whether the server waits for an answer; see [`Client::answer`].
    pub fn wants_answer(&self) -> bool {
        self.ack.is_some()
    }
}

impl Client {
    /// Connects to the namespace that `url` names: `http://host[:port][/namespace][?query]`.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; later, connections are made again by themselves.
    pub async fn connect(url: &str) -> Result<Client, ClientError> {
        Client::builder(url).connect().await
    }

    /// A client with other settings than the usual ones.
    pub fn builder(url: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            nsp: None,
            path: None,
            auth: None,
            tls: TlsOptions::default(),
            transports: vec![TransportKind::Polling, TransportKind::WebSocket],
            timeout: Duration::from_secs(20),
            reconnect: true,
        }
    }

    /// The socket's id when it first connected.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Sends an event. A tuple is the list of arguments, `()` is none, anything else is one.
    ///
    /// Returns when it is queued, and waits only while the queue is full: what is emitted while there is no connection
    /// leaves with the next.
    ///
    /// # Errors
    ///
    /// [`ClientError::Encode`], and [`ClientError::Disconnected`] when there will be no connection any more.
    pub async fn emit(&self, event: &str, args: impl Serialize) -> Result<(), ClientError> {
        self.emit_args(encode(event, &args)?).await
    }

    /// As [`emit`](Client::emit), of a name and arguments that are written already.
    ///
    /// # Errors
    ///
    /// As [`emit`](Client::emit).
    pub async fn emit_args(&self, args: Args) -> Result<(), ClientError> {
        self.say(Command::Emit { args: check(args)?, ack: None }).await
    }

    /// Sends an event and waits for what the server answers.
    ///
    /// # Errors
    ///
    /// As [`emit`](Client::emit); [`ClientError::Timeout`] when there is no answer in time.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
        timeout: Duration,
    ) -> Result<Args, ClientError> {
        self.emit_args_with_ack(encode(event, &args)?, timeout).await
    }

    /// As [`emit_with_ack`](Client::emit_with_ack), of a name and arguments that are written already.
    ///
    /// # Errors
    ///
    /// As [`emit_with_ack`](Client::emit_with_ack).
    pub async fn emit_args_with_ack(&self, args: Args, timeout: Duration) -> Result<Args, ClientError> {
        let args = check(args)?;
        let asked = async {
            let (ack, answer) = oneshot::channel();
            self.say(Command::Emit { args, ack: Some(ack) }).await?;
            answer.await.unwrap_or_else(|_| Err(closed()))
        };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Err(ClientError::Timeout { after: timeout }))
    }

    /// Answers an event that [wants](Event::wants_answer) it; without effect when the connection has been made anew since.
    ///
    /// # Errors
    ///
    /// As [`emit`](Client::emit).
    pub async fn answer(&self, event: &Event, args: impl Serialize) -> Result<(), ClientError> {
        let Some((id, session)) = event.ack else { return Ok(()) };
        let args = Args::new_list(&args).map_err(|error| ClientError::Encode { reason: error.to_string() })?;
        self.say(Command::Answer { id, args, session }).await
    }

    /// What happens next; `None` when nothing will any more. Nothing is lost when it is not waited for to the end.
    ///
    /// A client whose news are not taken stops when a thousand of them wait: it reads nothing, sends nothing and
    /// answers no ping, so that the server closes it.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Disconnects, once the server has read all that was emitted before, or after a second.
    pub async fn close(mut self) {
        let (done, closed) = oneshot::channel();
        // Events that nobody wants any more must not be in the way.
        self.news.close();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn say(&self, command: Command) -> Result<(), ClientError> {
        self.commands.send(command).await.map_err(|_| closed())
    }
}

fn closed() -> ClientError {
    ClientError::Disconnected { reason: "the client does not connect any more".to_owned() }
}

fn encode(event: &str, args: &impl Serialize) -> Result<Args, ClientError> {
    Args::new_event(event, args).map_err(|error| ClientError::Encode { reason: error.to_string() })
}

fn check(args: Args) -> Result<Args, ClientError> {
    let reason = match args.event() {
        None => "it has no name".to_owned(),
        Some(name) if is_reserved(&name) => format!("{name:?} is a reserved event name"),
        Some(_) => return Ok(args),
    };
    Err(ClientError::Encode { reason })
}

/// Settings of a [`Client`]; each has its usual value until told otherwise.
///
/// ```no_run
/// use socketio_client::{Client, TransportKind};
///
/// # async fn example() -> Result<(), socketio_client::ClientError> {
/// let client = Client::builder("http://localhost:3000/admin")
///     .auth(serde_json::json!({ "token": "abc" }).into())
///     .transports(&[TransportKind::WebSocket])
///     .reconnect(false)
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is asked to `connect`"]
pub struct Builder {
    url: String,
    nsp: Option<String>,
    path: Option<String>,
    auth: Option<Value>,
    tls: TlsOptions,
    transports: Vec<TransportKind>,
    timeout: Duration,
    reconnect: bool,
}

impl Builder {
    /// The namespace, in place of the path of the URL. A missing slash at its front is added.
    pub fn namespace(mut self, nsp: &str) -> Self {
        self.nsp = Some(if nsp.starts_with('/') { nsp.to_owned() } else { format!("/{nsp}") });
        self
    }

    /// Where the server's Engine.IO is; `/socket.io/` if not said.
    pub fn path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        self.path = Some(if path.is_empty() { "/".to_owned() } else { format!("/{path}/") });
        self
    }

    /// What middlewares of the server are shown (`socket.handshake.auth`): an object.
    pub fn auth(mut self, auth: Value) -> Self {
        self.auth = Some(auth);
        self
    }

    /// How to trust an `https://` server.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = options;
        self
    }

    /// The transports: the first is used, the next where it fails; polling is changed for WebSocket if both are there.
    /// Polling and WebSocket in this order if not said.
    pub fn transports(mut self, transports: &[TransportKind]) -> Self {
        self.transports = transports.to_vec();
        self
    }

    /// How long connecting may take, the namespace included; 20 s if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether to connect again when the connection is gone; true if not said.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Connects, see [`Client::connect`].
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn connect(self) -> Result<Client, ClientError> {
        let mut address = Address::parse(&self.url)?;
        address.nsp = self.nsp.unwrap_or(address.nsp);
        address.path = self.path.unwrap_or(address.path);
        if address.nsp.contains(',') {
            let url = without_secrets(&self.url);
            return Err(ClientError::Url { url, reason: "a namespace holds no comma".to_owned() });
        }
        let engine = Options { address, tls: self.tls, transports: self.transports, max_message: MAX_MESSAGE };
        let settings = Settings { engine, auth: self.auth, timeout: self.timeout, reconnect: self.reconnect };
        let session = Session::open(&settings, 0).await?;
        let sid = session.sid.clone();
        let (commands, to_do) = mpsc::channel(QUEUE);
        let (tell, news) = mpsc::channel(QUEUE);
        tokio::spawn(socket::run(settings, session, to_do, tell));
        Ok(Client { commands, news, sid })
    }
}

/// The longest message that is taken from a server.
const MAX_MESSAGE: usize = 128 << 20;

/// So many commands, and so much news, may wait.
const QUEUE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_and_ends_with_one_slash() {
        for (path, expected) in [("/", "/"), ("", "/"), ("other", "/other/"), ("/a/b/", "/a/b/")] {
            assert_eq!(Client::builder("http://h").path(path).path.as_deref(), Some(expected), "{path:?}");
        }
    }
}
