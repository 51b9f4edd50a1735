//! One connection to Redis, entered: connected, authenticated, its database chosen.

use std::{io, time::Duration};

use bytes::BytesMut;
use socketio_protocol::cluster::BusError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    resp::{self, Reply, Scanner},
    url::{Address, Place},
};

/// How long connecting and entering may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection to Redis.
///
/// Redis, the network or the configuration is at fault. A `connect` fails with it; what runs already tries again.
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

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An entered connection, nothing asked yet.
pub(crate) struct Link {
    pub(crate) stream: Box<dyn Stream>,
}

impl Link {
    /// Connects and enters; `name` is what `CLIENT LIST` shows.
    pub(crate) async fn open(address: &Address, name: &str) -> Result<Link, ConnectError> {
        match timeout(CONNECT_TIMEOUT, Link::enter(address, name)).await {
            Ok(link) => link,
            Err(_) => Err(ConnectError::Timeout { address: address.to_string(), after: CONNECT_TIMEOUT }),
        }
    }

    async fn enter(address: &Address, name: &str) -> Result<Link, ConnectError> {
        let unreachable =
            |error: io::Error| ConnectError::Unreachable { address: address.to_string(), reason: error.to_string() };
        let stream = connect(address).await?;
        let mut link = Link { stream };
        let mut commands = Vec::new();
        let mut asked = Vec::new();
        match (&address.username, &address.password) {
            (Some(user), password) => {
                let password = password.as_deref().unwrap_or_default();
                resp::command(&mut commands, &[b"AUTH", user.as_bytes(), password.as_bytes()]);
                asked.push(Asked::Auth);
            }
            (None, Some(password)) => {
                resp::command(&mut commands, &[b"AUTH", password.as_bytes()]);
                asked.push(Asked::Auth);
            }
            (None, None) => {}
        }
        if address.database != 0 {
            resp::command(&mut commands, &[b"SELECT", address.database.to_string().as_bytes()]);
            asked.push(Asked::Select);
        }
        resp::command(&mut commands, &[b"CLIENT", b"SETNAME", name.as_bytes()]);
        asked.push(Asked::Courtesy);
        resp::command(&mut commands, &[b"PING"]);
        asked.push(Asked::Courtesy);
        link.stream.write_all(&commands).await.map_err(unreachable)?;

        let mut received = BytesMut::new();
        for asked in asked {
            let reply = link.reply(&mut received).await.map_err(unreachable)?;
            if let Reply::Error(reason) = reply {
                check(address, asked, reason)?;
            }
        }
        Ok(link)
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
                Ok(None) if received.len() < 4096 => {
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

enum Asked {
    Auth,
    Select,
    /// A name for `CLIENT LIST` and a first ping: an error matters only if it says that nothing else will work.
    Courtesy,
}

fn check(address: &Address, asked: Asked, reason: String) -> Result<(), ConnectError> {
    let address = address.to_string();
    match (reason.split(' ').next().unwrap_or_default(), asked) {
        ("NOAUTH" | "WRONGPASS", _) | (_, Asked::Auth) => Err(ConnectError::Auth { address, reason }),
        ("LOADING", _) => Err(ConnectError::Loading { address, reason }),
        (_, Asked::Select) | ("DENIED", _) => Err(ConnectError::Refused { address, reason }),
        (_, Asked::Courtesy) if reason.contains("max number of clients") => {
            Err(ConnectError::Refused { address, reason })
        }
        (_, Asked::Courtesy) => Ok(()),
    }
}

async fn connect(address: &Address) -> Result<Box<dyn Stream>, ConnectError> {
    let unreachable =
        |error: io::Error| ConnectError::Unreachable { address: address.to_string(), reason: error.to_string() };
    match &address.place {
        Place::Tcp { tls: true, .. } => Err(ConnectError::NoTls { address: address.to_string() }),
        Place::Tcp { host, port, tls: false } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
            // What waits is written in one go; nothing is gained by the kernel waiting for more.
            stream.set_nodelay(true).map_err(unreachable)?;
            Ok(Box::new(stream))
        }
        #[cfg(unix)]
        Place::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await.map_err(unreachable)?)),
        #[cfg(not(unix))]
        Place::Unix(_) => Err(unreachable(io::ErrorKind::Unsupported.into())),
    }
}
