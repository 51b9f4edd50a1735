//! The first request of a session and its answer, or why a request is refused.
//!
//! Engine.IO protocol v4, "Handshake"; the codes are the reference server's.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::TransportKind;

/// What the server tells a client in the open packet.
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

/// Why a request is refused.
///
/// Each of these is the request's doing. No session is touched by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum HandshakeError {
    /// `transport` is missing, unknown, or not switched on.
    UnknownTransport,
    /// `sid` names no session.
    UnknownSid,
    /// A handshake by another method than GET.
    BadMethod,
    /// The request contradicts itself or its session, for example `transport=websocket` without an upgrade.
    BadRequest,
    /// The application refused; the text, if any, is shown to the client in place of `Forbidden`.
    Forbidden(Option<String>),
    /// `EIO` names a version that is not spoken here.
    UnsupportedVersion,
}

impl HandshakeError {
    /// The number clients know it by.
    pub fn code(&self) -> u8 {
        match self {
            HandshakeError::UnknownTransport => 0,
            HandshakeError::UnknownSid => 1,
            HandshakeError::BadMethod => 2,
            HandshakeError::BadRequest => 3,
            HandshakeError::Forbidden(_) => 4,
            HandshakeError::UnsupportedVersion => 5,
        }
    }

    /// The text shown to the client.
    pub fn message(&self) -> &str {
        match self {
            HandshakeError::UnknownTransport => "Transport unknown",
            HandshakeError::UnknownSid => "Session ID unknown",
            HandshakeError::BadMethod => "Bad handshake method",
            HandshakeError::BadRequest => "Bad request",
            HandshakeError::Forbidden(None) => "Forbidden",
            HandshakeError::Forbidden(Some(message)) => message,
            HandshakeError::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status of a polling answer. Refused WebSocket upgrades are always answered 400.
    pub fn status(&self) -> u16 {
        match self {
            HandshakeError::Forbidden(_) => 403,
            _ => 400,
        }
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
        for (error, status, json) in [
            (UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (UnknownSid, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (BadMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
            (Forbidden(None), 403, r#"{"code":4,"message":"Forbidden"}"#),
            (Forbidden(Some("no \"x\"".into())), 403, r#"{"code":4,"message":"no \"x\""}"#),
            (UnsupportedVersion, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ] {
            assert_eq!((error.status(), error.to_json()), (status, json.into()));
            assert_eq!(error.to_string(), error.message());
        }
    }
}
