//! Why an event did not go out, or may not have.

use std::{io, time::Duration};

use socketio_protocol::socket::EncodeError;

/// Why an event did not go out, or is not known to have gone out.
///
/// Each says what to do. [`may_have_been_sent`](EmitError::may_have_been_sent) tells whether sending again could
/// deliver twice, [`is_transient`](EmitError::is_transient) whether trying again later makes sense.
///
/// ```
/// use socketio_emitter::{EmitError, Emitter};
///
/// let emitter = Emitter::lazy("redis://localhost")?;
/// let error = emitter.plan_emit("disconnect", ()).unwrap_err();
/// assert!(matches!(error, EmitError::Reserved { .. }));
/// assert!(!error.may_have_been_sent() && !error.is_transient(), "to try again does not help");
/// # Ok::<_, EmitError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name belongs to the protocol. Nothing was sent.
    #[error("{event:?} is a reserved event name; choose another")]
    Reserved {
        /// The name.
        event: String,
    },
    /// The arguments have no form on the wire. Nothing was sent.
    #[error("{reason}; change the types of the arguments")]
    Encode {
        /// What cannot be written.
        reason: String,
    },
    /// The message is larger than this emitter sends. Nothing was sent.
    #[error("the message has {bytes} bytes, more than the {max} accepted; send less, or raise `max_message`")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What is accepted.
        max: usize,
    },
    /// Messages are made faster than Redis takes them, or Redis has been away for long. Nothing was sent.
    #[error(
        "{messages} messages{measured} wait for Redis, which is the limit; \
         await what `emit` returns now and then, or raise `queue`",
        measured = measured(*bytes)
    )]
    Full {
        /// How many wait.
        messages: usize,
        /// What they measure in all; 0 where that is not known, as in a Redis Cluster.
        bytes: usize,
    },
    /// The emitter was closed, or its Tokio runtime has ended, before the message was sent.
    #[error("the emitter was closed before the message was sent; await `flush` or the last `emit` before closing")]
    Closed,
    /// There is no Tokio runtime to send from. Nothing was sent.
    #[error("there is no Tokio runtime here; emit from inside one, as from `#[tokio::main]`")]
    NoRuntime,
    /// The URL does not name a Redis. Nothing was sent.
    #[error("{url:?} is not the URL of a Redis: {reason}; it looks like redis://[user:password@]host[:port][/db]")]
    Url {
        /// The URL, its password hidden.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// There was no link to Redis for the time a message may wait. Nothing was sent.
    #[error("cannot reach Redis at {address}: {reason} ({attempts}); start one (redis-server), or correct the URL",
        attempts = tries(*attempts))]
    Unreachable {
        /// The address, its password hidden.
        address: String,
        /// What happened the last time.
        reason: String,
        /// How often a connection was tried.
        attempts: u32,
    },
    /// Redis wants a password, or another one. Nothing was sent.
    #[error(
        "Redis at {address} refuses the login: {reason}; put user and password into the URL (redis://user:password@host)"
    )]
    Auth {
        /// The address, its password hidden.
        address: String,
        /// What Redis said.
        reason: String,
    },
    /// The user may not publish there. Nothing was sent.
    #[error("Redis does not permit it: {reason}; an administrator grants it with ACL SETUSER <user> +publish &<key>*")]
    Denied {
        /// What Redis said.
        reason: String,
    },
    /// This Redis is a replica that takes no writes. Nothing was sent.
    #[error("this Redis is a read-only replica: {reason}; give the address of its master")]
    ReadOnly {
        /// What Redis said.
        reason: String,
    },
    /// Redis is starting and reads its data. Nothing was sent.
    #[error("Redis is still loading its data: {reason}; try again in a moment")]
    Loading {
        /// What Redis said.
        reason: String,
    },
    /// A part of the cluster is down, or being moved. Nothing was sent.
    #[error("the Redis cluster cannot take it now: {reason}; look at its state (CLUSTER INFO), or try again")]
    ClusterDown {
        /// What Redis said.
        reason: String,
    },
    /// Redis said no for another reason. Nothing was sent.
    #[error("Redis refused: {reason}; look at its configuration")]
    Refused {
        /// What Redis said.
        reason: String,
    },
    /// The message was sent, Redis did not answer in time. It may have been delivered; it is not sent again.
    #[error(
        "Redis did not answer within {after:?}; the message may have been delivered, send it again only if twice does no harm"
    )]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The link broke before Redis answered. The message may have been delivered; it is not sent again.
    #[error(
        "the link to Redis broke before it answered: {reason}; the message may have been delivered, send it again only if twice does no harm"
    )]
    Unanswered {
        /// What happened to the link.
        reason: String,
    },
}

impl EmitError {
    /// Whether the message may have been delivered all the same, so that sending it again could deliver it twice.
    pub fn may_have_been_sent(&self) -> bool {
        matches!(self, EmitError::Timeout { .. } | EmitError::Unanswered { .. })
    }

    /// Whether the cause may pass by itself. Nothing was sent then, so that trying again later does no harm.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            EmitError::Full { .. }
                | EmitError::Unreachable { .. }
                | EmitError::Loading { .. }
                | EmitError::ReadOnly { .. }
                | EmitError::ClusterDown { .. }
        )
    }

    /// What Redis said, starting with its code.
    pub(crate) fn from_words(address: &str, reason: String) -> EmitError {
        match reason.split(' ').next().unwrap_or_default() {
            "NOAUTH" | "WRONGPASS" => EmitError::Auth { address: address.to_owned(), reason },
            "NOPERM" => EmitError::Denied { reason },
            "READONLY" => EmitError::ReadOnly { reason },
            "LOADING" => EmitError::Loading { reason },
            "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => EmitError::ClusterDown { reason },
            _ => EmitError::Refused { reason },
        }
    }

    /// What happened to the link while answers were due.
    pub(crate) fn unanswered(error: &io::Error) -> EmitError {
        EmitError::Unanswered { reason: error.to_string() }
    }
}

impl From<EncodeError> for EmitError {
    fn from(error: EncodeError) -> Self {
        EmitError::Encode { reason: error.to_string() }
    }
}

fn measured(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(" of {bytes} bytes in all"),
    }
}

fn tries(attempts: u32) -> String {
    match attempts {
        1 => "tried once".to_owned(),
        attempts => format!("tried {attempts} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_tells_its_bytes_where_they_are_known() {
        for (bytes, says) in [(100, "7 messages of 100 bytes in all wait for"), (0, "7 messages wait for")] {
            let text = EmitError::Full { messages: 7, bytes }.to_string();
            assert!(text.starts_with(says), "{text}");
        }
    }

    #[test]
    fn no_error_asks_to_try_again_what_may_have_been_sent() {
        let reason = String::new;
        for error in [
            EmitError::Timeout { after: Duration::from_secs(5) },
            EmitError::Unanswered { reason: reason() },
            EmitError::Loading { reason: reason() },
            EmitError::ReadOnly { reason: reason() },
            EmitError::Unreachable { address: reason(), reason: reason(), attempts: 1 },
            EmitError::Auth { address: reason(), reason: reason() },
        ] {
            assert!(!(error.may_have_been_sent() && error.is_transient()), "{error:?}");
        }
    }
}
