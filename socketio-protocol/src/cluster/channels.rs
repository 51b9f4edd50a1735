//! How the channels of the classic family are named.
//!
//! All names start with a prefix that the servers of one cluster share (option `key` in Node.js, default
//! `socket.io`) and hold the namespace with its slash:
//!
//! | what | name |
//! | --- | --- |
//! | broadcasts, all rooms | `socket.io#/chat#` |
//! | broadcasts to one room | `socket.io#/chat#room-7#` |
//! | requests | `socket.io-request#/chat#` |
//! | answers, read by all servers | `socket.io-response#/chat#` |
//! | answers, read by one server | `socket.io-response#/chat#8flRKk#` |

use std::borrow::Cow;

/// The prefix all libraries use if not told otherwise.
pub const DEFAULT_PREFIX: &str = "socket.io";

/// The channels of one namespace.
///
/// ```
/// use socketio_protocol::cluster::classic::{Channels, DEFAULT_PREFIX, Room};
///
/// let channels = Channels::new(DEFAULT_PREFIX, "/chat");
/// assert_eq!(channels.broadcast(Some("red")), "socket.io#/chat#red#");
/// assert_eq!(channels.request(), "socket.io-request#/chat#");
/// assert_eq!(channels.pattern(), "socket.io#/chat#*");
/// assert_eq!(channels.room_of(b"socket.io#/chat#red#"), Some(Room::Named(b"red")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    nsp: String,
    broadcast: String,
    request: String,
    response: String,
}

impl Channels {
    /// The channels of namespace `nsp` (with its slash) under `prefix`.
    pub fn new(prefix: &str, nsp: &str) -> Channels {
        Channels {
            nsp: nsp.to_owned(),
            broadcast: format!("{prefix}#{nsp}#"),
            request: format!("{prefix}-request#{nsp}#"),
            response: format!("{prefix}-response#{nsp}#"),
        }
    }

    /// The namespace.
    pub fn nsp(&self) -> &str {
        &self.nsp
    }

    /// Where a broadcast to exactly one room goes, or, with `None`, any other broadcast.
    pub fn broadcast(&self, room: Option<&str>) -> Cow<'_, str> {
        match room {
            Some(room) => {
                let mut channel = String::with_capacity(self.broadcast.len() + room.len() + 1);
                channel.push_str(&self.broadcast);
                channel.push_str(room);
                channel.push('#');
                channel.into()
            }
            None => self.broadcast.as_str().into(),
        }
    }

    /// Where a broadcast to `rooms` goes: one room has a channel of its own.
    pub fn broadcast_to(&self, rooms: &[String]) -> Cow<'_, str> {
        match rooms {
            [room] => self.broadcast(Some(room)),
            _ => self.broadcast(None),
        }
    }

    /// Where a broadcast goes that is not for exactly one room.
    pub fn all(&self) -> &str {
        &self.broadcast
    }

    /// Where requests go. All servers of the namespace read it, and who reads it counts as a server.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Where answers go that all servers read.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Where answers go that only server `uid` reads.
    pub fn response_to(&self, uid: &str) -> String {
        format!("{}{uid}#", self.response)
    }

    /// The pattern for PSUBSCRIBE that matches all broadcasts.
    ///
    /// What the pattern language gives a meaning to is escaped; the Node.js adapters do not, and hear nothing in
    /// a namespace such as `/[ab]`.
    pub fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.broadcast.len() + 1);
        for c in self.broadcast.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('*');
        pattern
    }

    /// The room a broadcast on `channel` is for: `Some("")` for all rooms or the room named so, which share a
    /// channel name up to one `#`; `None` when the channel is not one of this namespace's.
    ///
    /// A name can belong to two namespaces (`/` room `x#y`, and `/#x` room `y`): the packet inside decides.
    pub fn room_of<'a>(&self, channel: &'a [u8]) -> Option<Room<'a>> {
        let rest = channel.strip_prefix(self.broadcast.as_bytes())?;
        match rest {
            [] => Some(Room::Any),
            [room @ .., b'#'] => Some(Room::Named(room)),
            // A name that no library makes, but whose packet says all there is to know.
            _ => Some(Room::Any),
        }
    }
}

/// Which room a channel belongs to.
///
/// ```
/// use socketio_protocol::cluster::classic::{Channels, Room};
///
/// let channels = Channels::new("socket.io", "/");
/// assert_eq!(channels.room_of(b"socket.io#/#"), Some(Room::Any));
/// assert_eq!(channels.room_of(b"socket.io#/#red#"), Some(Room::Named(b"red")));
/// assert_eq!(channels.room_of(b"socket.io#/admin#"), None, "another namespace");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room<'a> {
    /// The channel is for any rooms; the message says which.
    Any,
    /// The channel is for this room alone.
    Named(&'a [u8]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_node_adapters() {
        let channels = Channels::new("socket.io", "/chat");
        assert_eq!(channels.broadcast(None), "socket.io#/chat#");
        assert_eq!(channels.broadcast(Some("room-7")), "socket.io#/chat#room-7#");
        assert_eq!(channels.broadcast_to(&["a".into(), "b".into()]), "socket.io#/chat#");
        assert_eq!(channels.request(), "socket.io-request#/chat#");
        assert_eq!(channels.response(), "socket.io-response#/chat#");
        assert_eq!(channels.response_to("8flRKk"), "socket.io-response#/chat#8flRKk#");
    }

    #[test]
    fn a_namespace_with_pattern_characters_matches_itself_only() {
        assert_eq!(Channels::new("socket.io", r"/[a]*?\b").pattern(), r"socket.io#/\[a\]\*\?\\b#*");
    }

    #[test]
    fn a_channel_tells_its_room() {
        let channels = Channels::new("socket.io", "/");
        for (channel, room) in [
            ("socket.io#/#", Some(Room::Any)),
            ("socket.io#/#r#", Some(Room::Named(b"r"))),
            ("socket.io#/#r#m#", Some(Room::Named(b"r#m"))),
            ("socket.io#/##", Some(Room::Named(b""))),
            ("socket.io#/admin#", None),
            ("", None),
        ] {
            assert_eq!(channels.room_of(channel.as_bytes()), room, "{channel}");
        }
    }
}
