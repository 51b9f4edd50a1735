//! Where Redis is, and the way there.
//!
//! [`Address`] is read from a URL once. It connects, logs in and looks whether Redis is ready, and says what went
//! wrong in the words of Redis, which the client library would keep to itself. What it shows of itself never contains the password.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, ServerError, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::codec::FramedRead;

use crate::{EmitError, answer::AnswerCodec};

/// Where Redis is, and how to log in.
#[derive(Clone)]
pub(crate) struct Address {
    info: ConnectionInfo,
    shown: String,
}

/// A link to Redis: its answers, and the way for commands.
pub(crate) struct Connection {
    pub(crate) answers: FramedRead<Box<dyn AsyncRead + Send + Unpin>, AnswerCodec>,
    pub(crate) commands: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Address {
    /// Reads `redis://[user][:password@]host[:port][/db]` or `unix:/path`. A bare `host:port` is taken for the former.
    pub(crate) fn parse(url: &str) -> Result<Address, EmitError> {
        let error = |reason: String| EmitError::Url { url: hide_password(url), reason };
        let full = if url.contains(':') && (url.contains("://") || url.starts_with("unix:")) {
            url.to_owned()
        } else {
            format!("redis://{url}")
        };
        let info = full.as_str().into_connection_info().map_err(|e| error(words(&e)))?;
        let shown = shown(&info);
        match info.addr() {
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) => Ok(Address { info, shown }),
            _ => Err(error("TLS is not built in".to_owned())),
        }
    }

    /// Connects, logs in and looks whether Redis is ready.
    pub(crate) async fn connect(&self, timeout: Duration) -> Result<Connection, EmitError> {
        match tokio::time::timeout(timeout, self.connect_slowly()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unreachable(format!("no answer within {timeout:?}"))),
        }
    }

    /// The URL without the password.
    pub(crate) fn as_str(&self) -> &str {
        &self.shown
    }

    async fn connect_slowly(&self) -> Result<Connection, EmitError> {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| self.io(&e))?;
                stream.set_nodelay(true).map_err(|e| self.io(&e))?;
                let (read, write) = stream.into_split();
                self.log_in(Box::new(read), Box::new(write)).await
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(|e| self.io(&e))?;
                let (read, write) = stream.into_split();
                self.log_in(Box::new(read), Box::new(write)).await
            }
            other => Err(self.unreachable(format!("{other} cannot be connected to on this system"))),
        }
    }

    /// Says who we are, and looks whether Redis is ready.
    async fn log_in(
        &self,
        read: Box<dyn AsyncRead + Send + Unpin>,
        mut commands: Box<dyn AsyncWrite + Send + Unpin>,
    ) -> Result<Connection, EmitError> {
        let greeting = self.greeting();
        let text: Vec<u8> = greeting.iter().flat_map(|(_, command)| command.get_packed_command()).collect();
        commands.write_all(&text).await.map_err(|e| self.io(&e))?;
        let mut answers = FramedRead::new(read, AnswerCodec::default());
        for (purpose, _) in greeting {
            match answers.next().await {
                Some(Ok(Value::ServerError(error))) => self.check(purpose, &error)?,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.unreachable(words(&error))),
                None => return Err(self.unreachable("the link was closed at once".to_owned())),
            }
        }
        Ok(Connection { answers, commands })
    }

    /// The first commands on a link.
    fn greeting(&self) -> Vec<(Purpose, Cmd)> {
        let settings = self.info.redis_settings();
        let mut greeting = Vec::new();
        if let Some(password) = settings.password() {
            let mut auth = redis::cmd("AUTH");
            settings.username().map(|user| auth.arg(user));
            auth.arg(password);
            greeting.push((Purpose::Login, auth));
        }
        if settings.db() != 0 {
            greeting.push((Purpose::Select, redis::cmd("SELECT").arg(settings.db()).clone()));
        }
        greeting.push((Purpose::Ready, redis::cmd("PING")));
        for (key, value) in [("LIB-NAME", env!("CARGO_PKG_NAME")), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
            greeting.push((Purpose::Name, redis::cmd("CLIENT").arg("SETINFO").arg(key).arg(value).clone()));
        }
        greeting
    }

    /// Whether a refusal of what was sent for `purpose` matters.
    fn check(&self, purpose: Purpose, error: &ServerError) -> Result<(), EmitError> {
        let error = EmitError::from_answer(&self.shown, error);
        match (purpose, error) {
            (Purpose::Login, EmitError::Refused { reason }) if reason.to_lowercase().contains("auth") => {
                Err(EmitError::Auth { address: self.shown.clone(), reason })
            }
            // A user who may publish need not be allowed to PING.
            (Purpose::Ready, EmitError::Denied { .. } | EmitError::ClusterDown { .. }) => Ok(()),
            // Redis before 7.2 does not know SETINFO.
            (Purpose::Name, _) => Ok(()),
            (Purpose::Login | Purpose::Select | Purpose::Ready, error) => Err(error),
        }
    }

    fn io(&self, error: &std::io::Error) -> EmitError {
        let reason = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        self.unreachable(reason)
    }

    fn unreachable(&self, reason: String) -> EmitError {
        EmitError::Unreachable { address: self.shown.clone(), reason, attempts: 1 }
    }
}

/// What a command of the greeting is for.
#[derive(Clone, Copy)]
enum Purpose {
    Login,
    Select,
    Ready,
    Name,
}

fn shown(info: &ConnectionInfo) -> String {
    let settings = info.redis_settings();
    let who = match (settings.username(), settings.password()) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", user.unwrap_or_default()),
        (user, Some(_)) => format!("{}:***@", user.unwrap_or_default()),
    };
    let db = if settings.db() == 0 { String::new() } else { format!("/{}", settings.db()) };
    match info.addr() {
        ConnectionAddr::Unix(path) => format!("unix:{}", path.display()),
        ConnectionAddr::Tcp(host, port) if host.contains(':') => format!("redis://{who}[{host}]:{port}{db}"),
        other => format!("redis://{who}{other}{db}"),
    }
}

/// A URL that may be wrong in any way, without what could be a password.
fn hide_password(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let (scheme, who) = before.split_once("://").map_or(("", before), |(scheme, who)| (scheme, who));
    let user = who.split_once(':').map_or("", |(user, _)| user);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{user}:***@{host}")
}

/// What the client library says, without its own words around it.
fn words(error: &RedisError) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.to_string().trim_end_matches(" - InvalidClientConfig").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_itself_without_its_password() {
        for (url, shown) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379"),
            ("localhost", "redis://localhost:6379"),
            ("localhost:7000", "redis://localhost:7000"),
            ("redis://:s3cret@h:1/2", "redis://:***@h:1/2"),
            ("redis://ana:s3cret@h", "redis://ana:***@h:6379"),
            ("redis://ana:s3%40cret@h", "redis://ana:***@h:6379"),
            ("valkey://[::1]:7", "redis://[::1]:7"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
        ] {
            assert_eq!(Address::parse(url).map(|address| address.shown).as_deref(), Ok(shown), "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_its_password() {
        for url in [
            "http://ana:s3cret@h",
            "redis://ana:s3cret@h:port",
            "redis://ana:s3cret@h/x",
            "ana:s3cret@h:port",
            "redis://ana:s3:c@r@et@h:99999",
            "rediss://ana:s3cret@h",
            "",
            "redis://",
        ] {
            let error = Address::parse(url).map(drop).expect_err(url);
            assert!(matches!(error, EmitError::Url { .. }), "{url}: {error:?}");
            assert!(!error.to_string().contains("s3"), "{url}: {error}");
        }
    }
}
