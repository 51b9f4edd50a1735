//! One connection to Redis, entered: connected, authenticated, its database chosen.
//!
//! Behind Sentinels it is the master of this moment: each new link asks them again, so that a failover is followed as
//! soon as the old link breaks. In a cluster it is the first node that answers.

use std::{io, time::Duration};

use bytes::BytesMut;
use socketio_protocol::cluster::BusError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    address::{Address, Host, Place, Protocol},
    resp::{self, Reply, Scanner},
};

/// How long connecting and entering may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of several Sentinels or nodes may take before the next is tried.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(1);
/// As long as a string of Redis may be: more is no answer.
const MAX_ANSWER: usize = 512 << 20;

/// Why there is no connection to Redis.
///
/// Redis, the network or the configuration is at fault. A `connect` fails with it; what runs already tries again.
///
/// ```
/// use socketio_redis_client::{Address, ConnectError};
///
/// let error = "http://localhost".parse::<Address>().unwrap_err();
/// assert!(matches!(error, ConnectError::Url { .. }));
/// assert!(error.to_string().contains("it looks like redis://"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be read. It is not shown, because it may hold a password.
    #[error("the Redis URL is not understood: {reason}; it looks like redis://user:password@host:6379/0")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// A `rediss://` URL, and TLS is not built in.
    #[error("{address} wants TLS, which is not built in: turn on the feature `tls`")]
    NoTls {
        /// Without secrets.
        address: String,
    },
    /// Nobody answers there.
    #[error("cannot reach {address}: {reason}; is Redis running, and is this its address?")]
    Unreachable {
        /// Without secrets.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody took the connection and did not answer.
    #[error("{address} did not answer within {after:?}; it may be overloaded, frozen, or not a Redis")]
    Timeout {
        /// Without secrets.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// A user name or password is missing or wrong.
    #[error("{address} does not let us in: {reason}; give user and password in the URL")]
    Auth {
        /// Without secrets.
        address: String,
        /// What Redis says, starting with its code: `NOAUTH`, `WRONGPASS`.
        reason: String,
    },
    /// Redis reads its data from disk.
    #[error("{address} is still starting: {reason}; try again in a moment")]
    Loading {
        /// Without secrets.
        address: String,
        /// What Redis says, starting with its code: `LOADING`.
        reason: String,
    },
    /// Redis refused something else.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// Without secrets.
        address: String,
        /// What Redis says, starting with its code.
        reason: String,
    },
}

impl From<ConnectError> for BusError {
    fn from(error: ConnectError) -> BusError {
        match error {
            ConnectError::Auth { reason, .. }
            | ConnectError::Loading { reason, .. }
            | ConnectError::Refused { reason, .. } => BusError::Refused { reason },
            other => BusError::Unreachable { reason: other.to_string() },
        }
    }
}

/// A byte stream to Redis: TCP, TLS or a Unix socket.
#[doc(hidden)]
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An entered connection, nothing asked yet.
///
/// ```no_run
/// use socketio_redis_client::{CONNECT_TIMEOUT, Link};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut link = Link::open(&"redis://localhost".parse()?, "my-program", CONNECT_TIMEOUT).await?;
/// println!("{:?}", link.ask(&[b"GET", b"visits"]).await?);
/// # Ok(()) }
/// ```
pub struct Link {
    /// What Redis hears and says.
    pub stream: Box<dyn Stream>,
}

impl Link {
    /// Connects and enters; `name` is what `CLIENT LIST` shows.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; [`ConnectError::Timeout`] after `within`.
    pub async fn open(address: &Address, name: &str, within: Duration) -> Result<Link, ConnectError> {
        match timeout(within, Link::find(address, name)).await {
            Ok(link) => link,
            Err(_) => Err(ConnectError::Timeout { address: address.to_string(), after: within }),
        }
    }

    async fn find(address: &Address, name: &str) -> Result<Link, ConnectError> {
        match &address.place {
            Place::Host(_) | Place::Unix(_) => Link::enter(address, name, false).await,
            Place::Sentinel { sentinels, service } => {
                let master = find_master(address, sentinels, service).await?;
                Link::enter(&address.server(master), name, true).await
            }
            Place::Cluster(nodes) => {
                first_of(nodes, |node| async move { Link::enter(&address.server(node), name, false).await }).await
            }
        }
    }

    /// Connects to one server; with `master` it has to say that it is one.
    async fn enter(address: &Address, name: &str, master: bool) -> Result<Link, ConnectError> {
        let unreachable =
            |error: io::Error| ConnectError::Unreachable { address: address.to_string(), reason: error.to_string() };
        let stream = connect(address).await?;
        let mut link = Link { stream };
        let mut commands = Vec::new();
        let asked = greet(address, name, master, &mut commands);
        link.stream.write_all(&commands).await.map_err(unreachable)?;
        link.stream.flush().await.map_err(unreachable)?;
        let mut received = BytesMut::new();
        for asked in asked {
            match (asked, link.reply(&mut received).await.map_err(unreachable)?) {
                (asked, Reply::Error(reason)) => check(address, asked, reason)?,
                (Asked::Role, reply) if !says_master(&reply) => {
                    return Err(unreachable(io::Error::other("it is not the master, though the Sentinels say so")));
                }
                _ => {}
            }
        }
        Ok(link)
    }

    /// Asks one thing when nothing else is under way.
    ///
    /// # Errors
    ///
    /// When the link breaks, or what comes is no answer of a Redis, or one of more than 512 MiB. That Redis says no is no
    /// error here but a [`Reply::Error`].
    pub async fn ask(&mut self, parts: &[&[u8]]) -> io::Result<Reply> {
        let mut command = Vec::new();
        resp::command(&mut command, parts);
        self.stream.write_all(&command).await?;
        self.stream.flush().await?;
        self.reply(&mut BytesMut::new()).await
    }

    async fn reply(&mut self, received: &mut BytesMut) -> io::Result<Reply> {
        loop {
            let mut scanner = Scanner::new(received);
            match resp::reply(&mut scanner) {
                Ok(Some(reply)) => {
                    let used = scanner.position();
                    let _ = received.split_to(used);
                    return Ok(reply);
                }
                Ok(None) if received.len() < MAX_ANSWER => {
                    if self.stream.read_buf(received).await? == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
                    }
                }
                Ok(None) | Err(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak as Redis does"));
                }
            }
        }
    }
}

/// The first commands on a link, and what each is for.
fn greet(address: &Address, name: &str, master: bool, commands: &mut Vec<u8>) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut say = |purpose, parts: &[&[u8]]| {
        resp::command(commands, parts);
        asked.push(purpose);
    };
    let login = &address.login;
    match (&login.username, &login.password) {
        (None, None) if login.protocol == Protocol::Resp3 => say(Asked::Hello, &[b"HELLO", b"3"]),
        (user, password) if login.protocol == Protocol::Resp3 => {
            let user = user.as_deref().unwrap_or("default").as_bytes();
            let password = password.as_deref().unwrap_or_default().as_bytes();
            say(Asked::Hello, &[b"HELLO", b"3", b"AUTH", user, password]);
        }
        (Some(user), password) => {
            say(Asked::Auth, &[b"AUTH", user.as_bytes(), password.as_deref().unwrap_or_default().as_bytes()]);
        }
        (None, Some(password)) => say(Asked::Auth, &[b"AUTH", password.as_bytes()]),
        (None, None) => {}
    }
    if login.database != 0 {
        say(Asked::Select, &[b"SELECT", login.database.to_string().as_bytes()]);
    }
    say(Asked::Ready, &[b"PING"]);
    if master {
        say(Asked::Role, &[b"ROLE"]);
    }
    say(Asked::Courtesy, &[b"CLIENT", b"SETNAME", name.as_bytes()]);
    for (key, value) in [("LIB-NAME", env!("CARGO_PKG_NAME")), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
        say(Asked::Courtesy, &[b"CLIENT", b"SETINFO", key.as_bytes(), value.as_bytes()]);
    }
    asked
}

#[derive(Clone, Copy)]
enum Asked {
    Auth,
    /// For RESP 3, and who we are.
    Hello,
    Select,
    /// A name for `CLIENT LIST`: an error matters only if it says that nothing else will work.
    Courtesy,
    /// A first ping. A user who may publish need not be allowed to, and a cluster that is down in part is still there.
    Ready,
    Role,
}

fn check(address: &Address, asked: Asked, reason: String) -> Result<(), ConnectError> {
    let address = address.to_string();
    match (reason.split(' ').next().unwrap_or_default(), asked) {
        ("NOAUTH" | "WRONGPASS", _) => Err(ConnectError::Auth { address, reason }),
        // Without a password set, older servers say so with a bare ERR.
        (_, Asked::Auth) if reason.to_lowercase().contains("auth") => Err(ConnectError::Auth { address, reason }),
        ("LOADING", _) => Err(ConnectError::Loading { address, reason }),
        ("NOPERM" | "CLUSTERDOWN" | "MASTERDOWN", Asked::Ready | Asked::Role) => Ok(()),
        (_, Asked::Hello) => {
            let reason = format!("{reason} (the URL asks for RESP 3: without ?protocol=resp3 it is RESP 2)");
            Err(ConnectError::Refused { address, reason })
        }
        (_, Asked::Auth | Asked::Select | Asked::Ready) | ("DENIED", _) => {
            Err(ConnectError::Refused { address, reason })
        }
        (_, Asked::Courtesy) if reason.contains("max number of clients") => {
            Err(ConnectError::Refused { address, reason })
        }
        (_, Asked::Courtesy | Asked::Role) => Ok(()),
    }
}

fn says_master(role: &Reply) -> bool {
    matches!(role, Reply::Array(parts) if matches!(parts.first(), Some(Reply::Bulk(Some(role))) if role == "master"))
}

/// Asks the Sentinels, one after the other, who the master is.
async fn find_master(address: &Address, sentinels: &[Host], service: &str) -> Result<Host, ConnectError> {
    first_of(sentinels, |sentinel| ask_for_master(address, sentinel, service)).await
}

async fn ask_for_master(address: &Address, sentinel: Host, service: &str) -> Result<Host, ConnectError> {
    let open = address.sentinel(sentinel.clone());
    let mut link = match Link::enter(&open, "socketio-sentinel", false).await {
        // Sentinels that want a login mostly want that of their servers.
        Err(ConnectError::Auth { .. }) if address.login.password.is_some() => {
            let mut entered = address.server(sentinel);
            entered.login.database = 0;
            entered.login.protocol = Protocol::Resp2;
            Link::enter(&entered, "socketio-sentinel", false).await?
        }
        link => link?,
    };
    let unreachable = |reason: String| ConnectError::Unreachable { address: open.to_string(), reason };
    let answer = link.ask(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service.as_bytes()]).await;
    match answer.map_err(|error| unreachable(error.to_string()))? {
        Reply::Array(parts) => read_host(&parts).ok_or_else(|| unreachable("it names no address".to_owned())),
        Reply::Error(reason) => Err(ConnectError::Refused { address: open.to_string(), reason }),
        _ => Err(unreachable(format!("this Sentinel knows no master of the name {service:?}"))),
    }
}

/// A host and a port, as Redis answers with them.
pub(crate) fn read_host(parts: &[Reply]) -> Option<Host> {
    let text = |reply: &Reply| match reply {
        Reply::Bulk(Some(text)) => std::str::from_utf8(text).ok().map(str::to_owned),
        Reply::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    let name = text(parts.first()?).filter(|name| !name.is_empty())?;
    Some(Host { name, port: text(parts.get(1)?)?.parse().ok()? })
}

/// What the first of `hosts` says with which `ask` succeeds; else the error of the last.
async fn first_of<T, F: Future<Output = Result<T, ConnectError>> + Send>(
    hosts: &[Host],
    ask: impl Fn(Host) -> F + Send,
) -> Result<T, ConnectError> {
    let mut last = None;
    for host in hosts {
        match timeout(ONE_OF_SEVERAL, ask(host.clone())).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(ConnectError::Timeout { address: host.to_string(), after: ONE_OF_SEVERAL }),
        }
    }
    Err(last.unwrap_or_else(|| ConnectError::Url { reason: "it names no host".to_owned() }))
}

async fn connect(address: &Address) -> Result<Box<dyn Stream>, ConnectError> {
    let unreachable = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        ConnectError::Unreachable { address: address.to_string(), reason }
    };
    match &address.place {
        Place::Host(Host { name, port }) => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(unreachable)?;
            // What waits is written in one go; nothing is gained by the kernel waiting for more.
            stream.set_nodelay(true).map_err(unreachable)?;
            match &address.tls {
                None => Ok(Box::new(stream)),
                #[cfg(feature = "tls")]
                Some(options) => Ok(Box::new(crate::tls::connect(options, name, stream).await.map_err(unreachable)?)),
                #[cfg(not(feature = "tls"))]
                Some(_) => Err(ConnectError::NoTls { address: address.to_string() }),
            }
        }
        #[cfg(unix)]
        Place::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await.map_err(unreachable)?)),
        #[cfg(not(unix))]
        Place::Unix(_) => Err(unreachable(io::ErrorKind::Unsupported.into())),
        Place::Sentinel { .. } | Place::Cluster(_) => unreachable!("one of their servers is connected to"),
    }
}
