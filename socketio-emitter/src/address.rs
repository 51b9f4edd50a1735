//! Where Redis is, and the way there, with what goes wrong in the words of an emitter.

use std::time::Duration;

use socketio_redis_client::{Address, ConnectError, Link, TlsOptions};
use tokio::io::WriteHalf;

use crate::{EmitError, answer::AnswerReader};

/// A link to Redis: its answers, and the way for commands.
pub(crate) struct Connection {
    pub(crate) answers: AnswerReader,
    pub(crate) commands: WriteHalf<Box<dyn socketio_redis_client::Stream>>,
}

/// Reads a URL. A bare `host:port` is taken for `redis://host:port`.
pub(crate) fn parse(url: &str, tls: TlsOptions) -> Result<Address, EmitError> {
    let full = if url.contains("://") || url.starts_with("unix:") { url.to_owned() } else { format!("redis://{url}") };
    match full.parse::<Address>() {
        Ok(address) => Ok(address.with_tls(tls)),
        Err(ConnectError::Url { reason }) => Err(EmitError::Url { url: hide_password(url), reason }),
        Err(error) => Err(EmitError::Url { url: hide_password(url), reason: error.to_string() }),
    }
}

/// Connects, logs in and looks whether Redis is ready.
pub(crate) async fn connect(address: &Address, timeout: Duration) -> Result<Connection, EmitError> {
    let link = Link::open(address, env!("CARGO_PKG_NAME"), timeout).await.map_err(in_our_words)?;
    let (answers, commands) = tokio::io::split(link.stream);
    Ok(Connection { answers: AnswerReader::new(answers), commands })
}

pub(crate) fn in_our_words(error: ConnectError) -> EmitError {
    let unreachable = |address, reason| EmitError::Unreachable { address, reason, attempts: 1 };
    match error {
        ConnectError::Unreachable { address, reason } => unreachable(address, reason),
        ConnectError::Timeout { address, after } => {
            unreachable(address, format!("no answer within {} ms", after.as_millis()))
        }
        ConnectError::Auth { address, reason } => EmitError::Auth { address, reason },
        ConnectError::Loading { reason, .. } => EmitError::Loading { reason },
        ConnectError::Refused { address, reason } => EmitError::from_words(&address, reason),
        ConnectError::Url { reason } => EmitError::Refused { reason },
        other => EmitError::Refused { reason: other.to_string() },
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
            ("rediss://ana:s3cret@h", "rediss://ana:***@h:6379"),
        ] {
            let address = parse(url, TlsOptions::default());
            assert_eq!(address.map(|address| address.to_string()).as_deref(), Ok(shown), "{url}");
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
            "",
            "redis://",
        ] {
            let error = parse(url, TlsOptions::default()).map(drop).expect_err(url);
            assert!(matches!(error, EmitError::Url { .. }), "{url}: {error:?}");
            assert!(!error.to_string().contains("s3"), "{url}: {error}");
        }
    }
}
