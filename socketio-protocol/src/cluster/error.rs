//! Why what came from another server is not a message.

use crate::socket::{DecodeError, MsgpackError};

/// Why what came from another server, or from whoever may publish in Redis, is not a message of the cluster.
///
/// The message is ignored and counted; nothing is closed for it.
///
/// ```
/// use socketio_protocol::cluster::{MessageError, classic::{Channels, decode_request}};
///
/// let wrong = decode_request(&Channels::new("socket.io", "/"), "abcdef", b"{oops").unwrap_err();
/// assert!(matches!(wrong, MessageError::Json { .. }), "{wrong}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are not MessagePack, or not of the shape expected here.
    #[error("MessagePack, byte {at}: {what}")]
    MessagePack {
        /// What is wrong.
        what: &'static str,
        /// How many bytes were read.
        at: usize,
    },
    /// The text is not JSON, or not of the shape expected here.
    #[error("JSON: {reason}")]
    Json {
        /// What the JSON reader says.
        reason: String,
    },
    /// A part is not there.
    #[error("{part} is missing")]
    Missing {
        /// Which.
        part: &'static str,
    },
    /// A part is there, but is not what it has to be.
    #[error("{part} is not what it has to be: {reason}")]
    Wrong {
        /// Which.
        part: &'static str,
        /// Why.
        reason: String,
    },
    /// A kind of message that no published version sends.
    #[error("no message has type {0}")]
    UnknownType(u64),
}

impl From<serde_json::Error> for MessageError {
    fn from(error: serde_json::Error) -> Self {
        MessageError::Json { reason: error.to_string() }
    }
}

impl From<MsgpackError> for MessageError {
    fn from(error: MsgpackError) -> Self {
        MessageError::Wrong { part: "arguments", reason: error.to_string() }
    }
}

impl From<DecodeError> for MessageError {
    fn from(error: DecodeError) -> Self {
        MessageError::Wrong { part: "arguments", reason: error.to_string() }
    }
}
