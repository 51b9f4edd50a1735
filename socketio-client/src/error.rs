//! Why something did not work.

use std::time::Duration;

/// Why a client did not connect, or an event did not arrive.
///
/// ```
/// use socketio_client::{Client, ClientError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let error = Client::connect("ftp://localhost").await.unwrap_err();
/// assert!(matches!(error, ClientError::Url { .. }), "{error}");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// It does not name a server. Nothing was sent.
    #[error("{url:?} is not the URL of a server: {reason}; it looks like http://host:3000/namespace")]
    Url {
        /// The URL, its secrets hidden: [`without_secrets`](crate::without_secrets).
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody answers there.
    #[error("cannot reach {address}: {reason}; is the server running, and is this its address?")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody answers who is no Socket.IO server, or refuses.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// Host and port.
        address: String,
        /// What it says.
        reason: String,
    },
    /// The server does not let us into the namespace (a CONNECT_ERROR).
    #[error("the server does not let us into {nsp}: {reason}")]
    Denied {
        /// The namespace.
        nsp: String,
        /// What its middleware says.
        reason: String,
    },
    /// No answer in time. What was sent may have arrived.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended. What was sent shortly before may have arrived.
    #[error("the connection ended: {reason}")]
    Disconnected {
        /// Why.
        reason: String,
    },
    /// The name of the event belongs to the protocol, or the arguments have no form on the wire. Nothing was sent.
    #[error("the event cannot be sent: {reason}")]
    Encode {
        /// What is wrong.
        reason: String,
    },
}
