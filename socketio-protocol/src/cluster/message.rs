//! What one server says to the others, whatever the format.
//!
//! One variant of [`Message`] per operation. A message that asks carries a `request` id; the answers repeat
//! it. Which server answers what, and when an asker has heard enough, is the server's part
//! (`socketio-server`, `adapter/cluster`).

use crate::socket::{Args, Value};

/// Whom an operation is for, as it travels: rooms, exceptions and how to send.
///
/// No rooms means every socket of the namespace. Rooms that Node.js servers named by a number arrive as its text.
///
/// ```
/// use socketio_protocol::cluster::{Flags, Options};
///
/// let players = Options {
///     rooms: vec!["red".into(), "blue".into()],
///     except: vec!["muted".into()],
///     flags: Flags { volatile: true, ..Flags::default() },
/// };
/// assert_eq!(Options::default().rooms, [""; 0], "everybody");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The sockets of any of these rooms; all sockets of the namespace when empty.
    pub rooms: Vec<String>,
    /// But none of the sockets of these rooms. A socket's id is a room of its own.
    pub except: Vec<String>,
    /// How the packet is to be sent.
    pub flags: Flags,
}

/// How a broadcast is to be sent. `local` is not here: what is local never travels.
///
/// ```
/// let flags = socketio_protocol::cluster::Flags { timeout: Some(5_000), ..Default::default() };
/// assert!(!flags.volatile && flags.compress.is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Clients that cannot take the packet now do without.
    pub volatile: bool,
    /// Whether frames may be compressed; the receiving server's default when `None`.
    pub compress: Option<bool>,
    /// How many milliseconds the sender waits for acknowledgements.
    pub timeout: Option<u64>,
    /// The sender addresses one socket and wants its one answer.
    pub expect_single_response: bool,
}

/// A socket of another server, as `fetch_sockets` returns it.
///
/// ```
/// use socketio_protocol::cluster::RemoteSocket;
///
/// /// The names of those who are in a room, of what `fetch_sockets` gave.
/// fn names<'a>(sockets: &'a [RemoteSocket], room: &str) -> Vec<&'a str> {
///     let inside = sockets.iter().filter(|socket| socket.rooms.iter().any(|name| name == room));
///     inside.filter_map(|socket| socket.data.get("name")?.as_str()).collect()
/// }
///
/// let ana = RemoteSocket {
///     id: "a".into(),
///     handshake: serde_json::Value::Null,
///     rooms: vec!["a".into(), "red".into()],
///     data: serde_json::json!({ "name": "Ana" }).into(),
/// };
/// assert_eq!(names(&[ana], "red"), ["Ana"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteSocket {
    /// Its id, which is also the name of its own room.
    pub id: String,
    /// The handshake as JSON: headers, time, address, xdomain, secure, issued, url, query, auth.
    pub handshake: serde_json::Value,
    /// The rooms it is in, its own among them.
    pub rooms: Vec<String>,
    /// What the application keeps with the socket.
    pub data: Value,
}

/// What an asker wants to know of sockets, if it is less than everything.
///
/// ```
/// use socketio_protocol::cluster::{Message, Options, Want};
///
/// let how_many = Message::Summarize { options: Options::default(), want: Want::Count, request: "1".into() };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// How many there are.
    Count,
    /// How many are in each room; the rooms of single sockets are left out.
    RoomSizes,
    /// The sockets, with some of what is known of them.
    Sockets {
        /// With their handshakes.
        handshake: bool,
        /// With their rooms.
        rooms: bool,
        /// With what the application keeps with them.
        data: bool,
    },
}

impl Want {
    /// The words for it, as they travel.
    pub(super) fn words(self) -> Vec<String> {
        let words: &[(&str, bool)] = match self {
            Want::Count => &[("count", true)],
            Want::RoomSizes => &[("roomSizes", true)],
            Want::Sockets { handshake, rooms, data } => {
                &[("id", true), ("handshake", handshake), ("rooms", rooms), ("data", data)]
            }
        };
        words.iter().filter(|(_, wanted)| *wanted).map(|(word, _)| (*word).to_owned()).collect()
    }

    /// What words mean; `None` if that is everything, or unknown.
    pub(super) fn of(words: &[String]) -> Option<Self> {
        let has = |word: &str| words.iter().any(|one| one == word);
        match words {
            [word] if word == "count" => Some(Want::Count),
            [word] if word == "roomSizes" => Some(Want::RoomSizes),
            _ if has("id") => {
                Some(Want::Sockets { handshake: has("handshake"), rooms: has("rooms"), data: has("data") })
            }
            _ => None,
        }
    }
}

/// What an asker's request begins with if it reads more of an answer than Node.js servers write: [`Message::AckOf`] and
/// [`Message::ClientsAsked`]. Node.js servers repeat it like any other.
pub const READS_MORE: char = '+';

/// One operation of a cluster, over all families.
///
/// ```
/// use socketio_protocol::cluster::{Message, Options};
///
/// let join = Message::Join { options: Options::default(), rooms: vec!["red".into()] };
/// assert_eq!(join.answers(), None);
/// let answer = Message::AllRoomsResponse { rooms: vec!["red".into()], request: "1".into() };
/// assert_eq!(answer.answers(), Some("1"));
/// ```
#[derive(Debug, Clone)]
pub enum Message {
    /// Send an event to sockets.
    Broadcast {
        /// The event's name and its arguments, `[event, ...args]`.
        args: Args,
        /// Whom it is for.
        options: Options,
        /// Set when the clients' acknowledgements are wanted: one [`Message::BroadcastClientCount`], then one
        /// [`Message::BroadcastAck`] for each client that answers.
        request: Option<String>,
    },
    /// Let sockets join rooms.
    Join {
        /// Which sockets.
        options: Options,
        /// The rooms to join.
        rooms: Vec<String>,
    },
    /// Let sockets leave rooms.
    Leave {
        /// Which sockets.
        options: Options,
        /// The rooms to leave.
        rooms: Vec<String>,
    },
    /// Disconnect sockets from the namespace.
    Disconnect {
        /// Which sockets.
        options: Options,
        /// Whether to close the whole connection, not only this namespace.
        close: bool,
    },
    /// Which sockets do you have here? Answered by [`Message::FetchSocketsResponse`], also when none.
    FetchSockets {
        /// Which sockets are meant.
        options: Options,
        /// Repeated by the answer.
        request: String,
    },
    /// The sockets of one server.
    FetchSocketsResponse {
        /// Of the question.
        request: String,
        /// What the answering server has.
        sockets: Vec<RemoteSocket>,
    },
    /// As [`Message::FetchSockets`], but a server that knows the words sends only what is wanted: a [`Message::Summary`],
    /// or sockets with some of their parts left empty. Node.js servers do not see the words, and send all they have.
    Summarize {
        /// Which sockets are meant.
        options: Options,
        /// Repeated by the answer.
        request: String,
        /// What is wanted.
        want: Want,
    },
    /// The answer to a [`Message::Summarize`] that wants no sockets.
    Summary {
        /// Of the question.
        request: String,
        /// How many sockets are meant here.
        count: u64,
        /// How many of them are in each room, if that is wanted.
        rooms: Vec<(String, u64)>,
    },
    /// Which rooms do you have? Classic only. Answered by [`Message::AllRoomsResponse`].
    AllRooms {
        /// Repeated by the answer.
        request: String,
    },
    /// The rooms of one server.
    AllRoomsResponse {
        /// Of the question.
        request: String,
        /// What the answering server has, the sockets' own rooms among them.
        rooms: Vec<String>,
    },
    /// The ids of the sockets in these rooms? Classic up to 7.x. Answered by [`Message::SocketsResponse`].
    Sockets {
        /// The rooms; all sockets when empty.
        rooms: Vec<String>,
        /// Repeated by the answer.
        request: String,
    },
    /// The socket ids of one server.
    SocketsResponse {
        /// Of the question.
        request: String,
        /// What the answering server has.
        ids: Vec<String>,
    },
    /// An event for the servers themselves.
    ServerSideEmit {
        /// The event's name and its arguments, `[event, ...args]`.
        args: Args,
        /// Set when an answer is wanted: one [`Message::ServerSideEmitResponse`] from each other server.
        request: Option<String>,
    },
    /// One server's answer to a [`Message::ServerSideEmit`].
    ServerSideEmitResponse {
        /// Of the question.
        request: String,
        /// A list of no or one value.
        answer: Args,
    },
    /// How many clients of one server got a broadcast whose acknowledgements are wanted; once per server, also 0.
    BroadcastClientCount {
        /// Of the broadcast.
        request: String,
        /// How many [`Message::BroadcastAck`] may follow.
        count: u64,
    },
    /// One client's acknowledgement of a broadcast.
    BroadcastAck {
        /// Of the broadcast.
        request: String,
        /// A list of no or one value.
        answer: Args,
    },
    /// As [`Message::BroadcastClientCount`], and who they are: for an asker that [reads more](READS_MORE).
    ClientsAsked {
        /// Of the broadcast.
        request: String,
        /// The sockets.
        ids: Vec<String>,
    },
    /// As [`Message::BroadcastAck`], with all that the client answered and whose answer it is: for an asker that [reads
    /// more](READS_MORE).
    AckOf {
        /// Of the broadcast.
        request: String,
        /// The socket.
        sid: String,
        /// A list of any number of values; `None` if the socket left without an answer.
        answer: Option<Args>,
    },
    /// Let one socket join one room; classic up to 7.x. The server that has it answers [`Message::OneDone`].
    JoinOne {
        /// The socket.
        sid: String,
        /// The room.
        room: String,
        /// Repeated by the answer.
        request: String,
    },
    /// Let one socket leave one room; classic up to 7.x. The server that has it answers [`Message::OneDone`].
    LeaveOne {
        /// The socket.
        sid: String,
        /// The room.
        room: String,
        /// Repeated by the answer.
        request: String,
    },
    /// Disconnect one socket; classic up to 7.x. The server that has it answers [`Message::OneDone`].
    DisconnectOne {
        /// The socket.
        sid: String,
        /// Whether to close the whole connection, not only this namespace.
        close: bool,
        /// Repeated by the answer.
        request: String,
    },
    /// A `…One` request has been carried out.
    OneDone {
        /// Of the request.
        request: String,
    },
}

impl Message {
    /// The id of the question that this answers. `None` if it is no answer.
    pub fn answers(&self) -> Option<&str> {
        match self {
            Message::FetchSocketsResponse { request, .. }
            | Message::AllRoomsResponse { request, .. }
            | Message::SocketsResponse { request, .. }
            | Message::ServerSideEmitResponse { request, .. }
            | Message::BroadcastClientCount { request, .. }
            | Message::BroadcastAck { request, .. }
            | Message::Summary { request, .. }
            | Message::ClientsAsked { request, .. }
            | Message::AckOf { request, .. }
            | Message::OneDone { request } => Some(request),
            _ => None,
        }
    }
}

/// A message with where it came from.
///
/// ```
/// use socketio_protocol::cluster::{Envelope, Message};
///
/// fn tell(envelope: &Envelope) -> String {
///     let sender = envelope.uid.as_deref().unwrap_or("somebody");
///     match &envelope.message {
///         Message::Join { rooms, .. } => format!("{sender}: sockets of {} join {}", envelope.nsp, rooms.join(", ")),
///         other => format!("{sender}: {other:?}"),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The server that sent it, if the format says: classic answers do not, nor do requests of 6.x.
    pub uid: Option<String>,
    /// The namespace it is for, with its slash.
    pub nsp: String,
    /// What it says.
    pub message: Message,
}
