//! What a client that was lost comes back to, as `@socket.io/redis-streams-adapter` keeps it in Redis.
//!
//! A session is MessagePack in base64: `{sid, pid, rooms, data}`. Servers of Node.js write it when they notice that a
//! client is gone; ours while it is connected, too, so that it outlives its server, with three more members that Node.js
//! servers pass over: `since` and `entered`, and `node` as long as the client is connected.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{MessageError, parts, reader::Reader};
use crate::socket::{Args, Value};

/// The place of an entry in a stream: milliseconds, and a number within them.
///
/// ```
/// use socketio_protocol::cluster::Offset;
///
/// let seen: Offset = "1700000000000-3".parse()?;
/// assert_eq!(seen, Offset(1_700_000_000_000, 3));
/// assert!(seen < seen.next() && seen.next().to_string() == "1700000000000-4");
/// # Ok::<_, socketio_protocol::cluster::NoOffset>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64, pub u64);

impl Offset {
    /// The next one there could be.
    pub fn next(self) -> Self {
        Self(self.0, self.1.saturating_add(1))
    }
}

/// What clients show is not an offset.
///
/// ```
/// use socketio_protocol::cluster::{NoOffset, Offset};
///
/// assert_eq!("yesterday".parse::<Offset>(), Err(NoOffset));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an offset as milliseconds-number")]
pub struct NoOffset;

impl FromStr for Offset {
    type Err = NoOffset;

    fn from_str(text: &str) -> Result<Self, NoOffset> {
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse().map_err(|_| NoOffset),
            false => Err(NoOffset),
        };
        let (milliseconds, within) = text.split_once('-').ok_or(NoOffset)?;
        Ok(Self(number(milliseconds)?, number(within)?))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A session, as it is kept for a client that may come back on any server.
///
/// ```
/// use socketio_protocol::{cluster::KeptSession, socket::Value};
///
/// let session = KeptSession {
///     sid: "abc".into(),
///     pid: "secret".into(),
///     rooms: vec!["abc".into(), "red".into()],
///     data: Value::Null,
///     since: None,
///     entered: None,
///     node: Some("node-1".into()),
/// };
/// assert_eq!(KeptSession::decode(session.encode()?.as_bytes())?, session);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KeptSession {
    /// The socket's id.
    pub sid: String,
    /// The client's secret.
    pub pid: String,
    /// The rooms, the socket's own among them.
    pub rooms: Vec<String>,
    /// What the application kept with the socket.
    pub data: Value,
    /// Where a client that has seen no offset goes on.
    pub since: Option<Offset>,
    /// Where the session began: nothing from before is for it.
    pub entered: Option<Offset>,
    /// The server that the client is connected to; `None` once it is known to be gone.
    pub node: Option<String>,
}

impl KeptSession {
    /// As it stands in Redis.
    ///
    /// # Errors
    ///
    /// When `data` cannot be written.
    pub fn encode(&self) -> Result<String, crate::socket::EncodeError> {
        let data = Args::new_single(&self.data)?;
        let more = [
            ("since", self.since.map(|offset| offset.to_string())),
            ("entered", self.entered.map(|offset| offset.to_string())),
            ("node", self.node.clone()),
        ];
        let mut out = Vec::new();
        parts::write_map(&mut out, 4 + more.iter().filter(|(_, value)| value.is_some()).count() as u32);
        for (key, value) in [("sid", &self.sid), ("pid", &self.pid)] {
            parts::write_text(&mut out, key);
            parts::write_text(&mut out, value);
        }
        parts::write_text(&mut out, "rooms");
        parts::write_names(&mut out, &self.rooms);
        parts::write_text(&mut out, "data");
        data.write_msgpack(&mut out);
        for (key, value) in more {
            if let Some(value) = value {
                parts::write_text(&mut out, key);
                parts::write_text(&mut out, &value);
            }
        }
        Ok(STANDARD.encode(out))
    }

    /// Reads what stands in Redis.
    ///
    /// # Errors
    ///
    /// When it is no session.
    pub fn decode(kept: &[u8]) -> Result<Self, MessageError> {
        let wrong = |reason: String| MessageError::Wrong { part: "session", reason };
        let bytes = STANDARD.decode(kept).map_err(|error| wrong(error.to_string()))?;
        let mut reader = Reader::new(&bytes);
        let (mut sid, mut pid, mut rooms, mut data) = (None, None, None, Value::Null);
        let (mut since, mut entered, mut node) = (None, None, None);
        for _ in 0..reader.map()? {
            match reader.text()? {
                "sid" => sid = reader.optional_text()?.map(str::to_owned),
                "pid" => pid = reader.optional_text()?.map(str::to_owned),
                "rooms" => rooms = Some(parts::read_names(&mut reader)?),
                "data" => {
                    let one = parts::list_of_one(reader.raw()?)?;
                    (data,) = one.to().map_err(|error| wrong(error.to_string()))?;
                }
                "since" => since = reader.optional_text()?.and_then(|offset| offset.parse().ok()),
                "entered" => entered = reader.optional_text()?.and_then(|offset| offset.parse().ok()),
                "node" => node = reader.optional_text()?.map(str::to_owned),
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        let missing = |part| MessageError::Missing { part };
        let (sid, pid) = (sid.ok_or(missing("sid"))?, pid.ok_or(missing("pid"))?);
        Ok(Self { sid, pid, rooms: rooms.ok_or(missing("rooms"))?, data, since, entered, node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_reads_as_it_was_written_and_as_node_js_writes_it() {
        let whole = KeptSession {
            sid: "s".into(),
            pid: "p".into(),
            rooms: vec!["s".into(), "red".into()],
            data: Value::Object(vec![("n".into(), Value::Binary(vec![1, 2].into()))]),
            since: Some(Offset(5, 0)),
            entered: Some(Offset(4, 7)),
            node: Some("n1".into()),
        };
        let gone = KeptSession { since: None, entered: None, node: None, ..whole.clone() };
        for session in [whole, gone] {
            assert_eq!(KeptSession::decode(session.encode().unwrap().as_bytes()), Ok(session));
        }
        // encode({sid: "abc", pid: "def", rooms: ["abc", "red"], data: {name: "ana"}}) of @msgpack/msgpack 2.8.
        let theirs = b"hKNzaWSjYWJjo3BpZKNkZWalcm9vbXOSo2FiY6NyZWSkZGF0YYGkbmFtZaNhbmE=";
        let session = KeptSession::decode(theirs).unwrap();
        assert_eq!((session.sid.as_str(), session.pid.as_str(), session.node), ("abc", "def", None));
        assert_eq!(session.rooms, ["abc", "red"]);
        assert_eq!(session.data, Value::Object(vec![("name".into(), Value::from("ana"))]));
        for odd in ["", "x", "gA==", "hKNzaWSj"] {
            assert!(KeptSession::decode(odd.as_bytes()).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn an_offset_is_two_numbers() {
        for (text, offset) in [("0-0", Offset(0, 0)), ("1700000000000-12", Offset(1_700_000_000_000, 12))] {
            assert_eq!(text.parse(), Ok(offset));
            assert_eq!(offset.to_string(), text);
        }
        for odd in ["", "-", "1", "1-", "-1", "+1-2", "1-2-3", "a-1", "99999999999999999999-0"] {
            assert_eq!(odd.parse::<Offset>(), Err(NoOffset), "{odd}");
        }
    }
}
