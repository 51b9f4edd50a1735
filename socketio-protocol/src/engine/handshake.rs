//! The first request of a session and its answer, or why a request is refused.
//!
//! Engine.IO protocol v4, "Handshake"; the codes are the reference server's.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::json;

use super::TransportKind;

/// What the server tells a client in the open packet.
///
/// ```
/// use std::time::Duration;
/// use socketio_protocol::engine::{OpenPacket, TransportKind};
///
/// let open = OpenPacket {
///     sid: "abc",
///     upgrades: &[TransportKind::WebSocket],
///     ping_interval: Duration::from_secs(25),
///     ping_timeout: Duration::from_secs(20),
///     max_payload: 1_000_000,
/// };
/// assert_eq!(
///     open.to_json(),
///     r#"{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPacket<'a> {
    /// The id of the new session.
    pub sid: &'a str,
    /// The transports the client may upgrade to.
    pub upgrades: &'a [TransportKind],
    /// How often the server (version 3: the client) pings. Travels in milliseconds.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered. Travels in milliseconds.
    pub ping_timeout: Duration,
    /// The largest polling body and the largest message the server takes, in bytes.
    pub max_payload: usize,
}

impl OpenPacket<'_> {
    /// The JSON text, its keys in the reference server's order.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }
}

impl Serialize for OpenPacket<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let upgrades: smallvec::SmallVec<[&str; 2]> = self.upgrades.iter().map(|kind| kind.as_str()).collect();
        let mut open = serializer.serialize_struct("OpenPacket", 5)?;
        open.serialize_field("sid", self.sid)?;
        open.serialize_field("upgrades", &upgrades[..])?;
        open.serialize_field("pingInterval", &millis(self.ping_interval))?;
        open.serialize_field("pingTimeout", &millis(self.ping_timeout))?;
        open.serialize_field("maxPayload", &self.max_payload)?;
        open.end()
    }
}

/// Why a request is refused, with what the reference server calls the *context*.
///
/// Each of these but [`ShuttingDown`](HandshakeError::ShuttingDown) is the request's doing. No session is touched by it.
///
/// ```
/// let error = socketio_protocol::engine::HandshakeError::UnknownSid { sid: "abc".into() };
/// assert_eq!((error.status(), error.code()), (400, 1));
/// assert_eq!(error.to_json(), r#"{"code":1,"message":"Session ID unknown"}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum HandshakeError {
    /// `transport` is missing, unknown, or not switched on.
    UnknownTransport {
        /// As the client wrote it.
        transport: Option<String>,
    },
    /// `sid` names no session.
    UnknownSid {
        /// As the client wrote it.
        sid: String,
    },
    /// A handshake by another method than GET.
    BadMethod {
        /// The method.
        method: String,
    },
    /// The request contradicts itself or its session, or could not be served.
    BadRequest(BadRequest),
    /// The application refused, or the page's origin is not let in; the text, if any, is shown to the client in place
    /// of `Forbidden`.
    Forbidden(Option<String>),
    /// `EIO` names a version that is not spoken here.
    UnsupportedVersion {
        /// What it counts as: 3, whatever it is, unless it is 4.
        protocol: u8,
    },
    /// The server takes no new sessions, as it is about to end. Another server may.
    ShuttingDown,
    /// Too many sessions, or attempts to open one; the text says which. A later attempt may do better.
    TooMany(&'static str),
}

/// What is bad about a request. The client is told no more than `Bad request`.
///
/// ```
/// use socketio_protocol::engine::{BadRequest, HandshakeError};
///
/// let error = HandshakeError::from(BadRequest::InvalidOrigin);
/// assert_eq!((error.code(), error.message()), (3, "Bad request"));
/// assert_eq!(BadRequest::InvalidOrigin.name(), "INVALID_ORIGIN");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRequest {
    /// The `Origin` has characters that no header may hold.
    InvalidOrigin,
    /// The request is for another transport than the session has.
    TransportMismatch {
        /// What the request is for.
        transport: TransportKind,
        /// What the session has.
        previous_transport: TransportKind,
    },
    /// The request is not one that this transport begins with, for example `transport=websocket` without an upgrade.
    TransportHandshakeError,
    /// What the application has look at requests failed.
    MiddlewareFailure,
    /// The application had no id for the session, or one that cannot be used.
    IdGenerationError,
    /// The request is for another protocol version than the session has.
    ProtocolMismatch {
        /// What the request is for.
        protocol: u8,
        /// What the session has.
        previous_protocol: u8,
    },
}

impl BadRequest {
    /// The reference server's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            BadRequest::InvalidOrigin => "INVALID_ORIGIN",
            BadRequest::TransportMismatch { .. } => "TRANSPORT_MISMATCH",
            BadRequest::TransportHandshakeError => "TRANSPORT_HANDSHAKE_ERROR",
            BadRequest::MiddlewareFailure => "MIDDLEWARE_FAILURE",
            BadRequest::IdGenerationError => "ID_GENERATION_ERROR",
            BadRequest::ProtocolMismatch { .. } => "PROTOCOL_MISMATCH",
        }
    }
}

impl From<BadRequest> for HandshakeError {
    fn from(bad: BadRequest) -> Self {
        HandshakeError::BadRequest(bad)
    }
}

impl HandshakeError {
    /// The number clients know it by.
    pub fn code(&self) -> u8 {
        match self {
            HandshakeError::UnknownTransport { .. } => 0,
            HandshakeError::UnknownSid { .. } => 1,
            HandshakeError::BadMethod { .. } => 2,
            HandshakeError::BadRequest(_) => 3,
            // The numbers of the reference end with 5; to clients these are refusals as well.
            HandshakeError::Forbidden(_) | HandshakeError::ShuttingDown | HandshakeError::TooMany(_) => 4,
            HandshakeError::UnsupportedVersion { .. } => 5,
        }
    }

    /// The text shown to the client.
    pub fn message(&self) -> &str {
        match self {
            HandshakeError::UnknownTransport { .. } => "Transport unknown",
            HandshakeError::UnknownSid { .. } => "Session ID unknown",
            HandshakeError::BadMethod { .. } => "Bad handshake method",
            HandshakeError::BadRequest(_) => "Bad request",
            HandshakeError::Forbidden(None) => "Forbidden",
            HandshakeError::Forbidden(Some(message)) => message,
            HandshakeError::UnsupportedVersion { .. } => "Unsupported protocol version",
            HandshakeError::ShuttingDown => "Server shutting down",
            HandshakeError::TooMany(what) => what,
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            HandshakeError::Forbidden(_) => 403,
            HandshakeError::TooMany(_) => 429,
            HandshakeError::ShuttingDown => 503,
            _ => 400,
        }
    }

    /// What the reference server's `connection_error` event has as its `context`, as JSON.
    pub fn context(&self) -> String {
        let context = match self {
            HandshakeError::UnknownTransport { transport: Some(transport) } => json!({ "transport": transport }),
            HandshakeError::UnknownTransport { transport: None } => json!({}),
            HandshakeError::UnknownSid { sid } => json!({ "sid": sid }),
            HandshakeError::BadMethod { method } => json!({ "method": method }),
            HandshakeError::BadRequest(bad) => match bad {
                BadRequest::TransportMismatch { transport, previous_transport } => json!({
                    "name": bad.name(),
                    "transport": transport.as_str(),
                    "previousTransport": previous_transport.as_str(),
                }),
                BadRequest::ProtocolMismatch { protocol, previous_protocol } => {
                    json!({ "name": bad.name(), "protocol": protocol, "previousProtocol": previous_protocol })
                }
                bad => json!({ "name": bad.name() }),
            },
            HandshakeError::Forbidden(_) | HandshakeError::ShuttingDown | HandshakeError::TooMany(_) => {
                json!({ "message": self.message() })
            }
            HandshakeError::UnsupportedVersion { protocol } => json!({ "protocol": protocol }),
        };
        context.to_string()
    }

    /// The JSON body of a polling answer. Refused WebSocket upgrades carry [`message`](Self::message) alone.
    pub fn to_json(&self) -> String {
        let message = serde_json::to_string(self.message()).expect("a string is always JSON");
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_packet_is_written_as_the_reference_server_writes_it() {
        let open = OpenPacket {
            sid: "nNGa61iLzCcoFL4lAAAA",
            upgrades: &[TransportKind::WebSocket, TransportKind::WebTransport],
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_millis(20_000),
            max_payload: 1_000_000,
        };
        assert_eq!(
            open.to_json(),
            r#"{"sid":"nNGa61iLzCcoFL4lAAAA","upgrades":["websocket","webtransport"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        let bare = OpenPacket { upgrades: &[], ping_interval: Duration::MAX, ..open };
        assert!(bare.to_json().contains(r#""upgrades":[],"pingInterval":18446744073709551615,"#));
    }

    #[test]
    fn refusals_are_written_as_the_reference_server_writes_them() {
        use HandshakeError::*;
        let mismatch = super::BadRequest::TransportMismatch {
            transport: TransportKind::WebSocket,
            previous_transport: TransportKind::Polling,
        };
        for (error, status, json, context) in [
            (
                UnknownTransport { transport: Some("x".into()) },
                400,
                r#"{"code":0,"message":"Transport unknown"}"#,
                r#"{"transport":"x"}"#,
            ),
            (UnknownTransport { transport: None }, 400, r#"{"code":0,"message":"Transport unknown"}"#, "{}"),
            (
                UnknownSid { sid: "a\"b".into() },
                400,
                r#"{"code":1,"message":"Session ID unknown"}"#,
                r#"{"sid":"a\"b"}"#,
            ),
            (
                BadMethod { method: "PUT".into() },
                400,
                r#"{"code":2,"message":"Bad handshake method"}"#,
                r#"{"method":"PUT"}"#,
            ),
            (
                BadRequest(mismatch),
                400,
                r#"{"code":3,"message":"Bad request"}"#,
                r#"{"name":"TRANSPORT_MISMATCH","previousTransport":"polling","transport":"websocket"}"#,
            ),
            (
                BadRequest(super::BadRequest::ProtocolMismatch { protocol: 3, previous_protocol: 4 }),
                400,
                r#"{"code":3,"message":"Bad request"}"#,
                r#"{"name":"PROTOCOL_MISMATCH","previousProtocol":4,"protocol":3}"#,
            ),
            (
                BadRequest(super::BadRequest::InvalidOrigin),
                400,
                r#"{"code":3,"message":"Bad request"}"#,
                r#"{"name":"INVALID_ORIGIN"}"#,
            ),
            (Forbidden(None), 403, r#"{"code":4,"message":"Forbidden"}"#, r#"{"message":"Forbidden"}"#),
            (
                Forbidden(Some("no \"x\"".into())),
                403,
                r#"{"code":4,"message":"no \"x\""}"#,
                r#"{"message":"no \"x\""}"#,
            ),
            (
                UnsupportedVersion { protocol: 3 },
                400,
                r#"{"code":5,"message":"Unsupported protocol version"}"#,
                r#"{"protocol":3}"#,
            ),
            (
                ShuttingDown,
                503,
                r#"{"code":4,"message":"Server shutting down"}"#,
                r#"{"message":"Server shutting down"}"#,
            ),
            (
                TooMany("Too many connections"),
                429,
                r#"{"code":4,"message":"Too many connections"}"#,
                r#"{"message":"Too many connections"}"#,
            ),
        ] {
            assert_eq!((error.status(), error.to_json()), (status, json.into()));
            assert_eq!(error.context(), context);
            assert_eq!(error.to_string(), error.message());
        }
    }
}
