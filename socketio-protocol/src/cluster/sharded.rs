//! The format of `createShardedAdapter` of `@socket.io/redis-adapter` 8.2 and later, for Redis 7: SPUBLISH.
//!
//! Everything is a `{type, data, uid, nsp}`, JSON unless something inside is binary. The channels are named like the
//! classic ones but live in the sharded space of Redis, each subscribed to by itself: the namespace's, one for
//! answers to this server, and, depending on the [`SubscriptionMode`], one for each room with sockets here.

use std::borrow::Cow;

use super::{Envelope, Message, MessageError, body};
pub use super::{
    body::ClassicOnly,
    channels::{Channels, DEFAULT_PREFIX},
};

/// The length of a server's id.
pub const UID_LENGTH: usize = 16;
/// A room whose name has so many characters is taken for a socket's own: that is how the libraries tell.
const SOCKET_ID_LENGTH: usize = 20;

/// Which rooms have a channel of their own. All servers of a cluster have to use the same.
///
/// ```
/// use socketio_protocol::cluster::sharded::SubscriptionMode;
///
/// assert!(SubscriptionMode::Dynamic.has_channel("red"));
/// assert!(!SubscriptionMode::Dynamic.has_channel("a7Xk02mQzLr9TyBwAAAB"), "the room of a single socket");
/// assert!(!SubscriptionMode::Static.has_channel("red"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubscriptionMode {
    /// None: two subscriptions for a namespace, and every server reads every broadcast.
    Static,
    /// All but those that sockets have by themselves.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Whether broadcasts to `room` alone go on a channel of its own.
    pub fn has_channel(self, room: &str) -> bool {
        match self {
            SubscriptionMode::Static => false,
            SubscriptionMode::Dynamic => room.encode_utf16().count() != SOCKET_ID_LENGTH,
            SubscriptionMode::DynamicPrivate => true,
        }
    }
}

/// Appends `message` as server `uid` sends it to `out`, and tells the channel it goes to.
///
/// An answer goes to the server that asked: on [`answers_to`] it, whatever this function says.
///
/// # Errors
///
/// [`ClassicOnly`]; nothing has been appended then.
///
/// ```
/// use socketio_protocol::{cluster::{Message, Options, sharded::{Channels, SubscriptionMode, encode}}, socket::Args};
///
/// let (channels, mut out) = (Channels::new("socket.io", "/"), Vec::new());
/// let options = Options { rooms: vec!["red".into()], ..Options::default() };
/// let message = Message::Broadcast { args: Args::new_event("tick", &1)?, options, request: None };
/// let channel = encode(&channels, SubscriptionMode::Dynamic, "0123456789abcdef", &message, &mut out)?;
/// assert_eq!(channel, "socket.io#/#red#");
/// assert!(out.starts_with(br#"{"type":3,"#) || out.starts_with(br#"{"uid":"#), "JSON, as nothing in it is binary");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn encode<'a>(
    channels: &'a Channels,
    mode: SubscriptionMode,
    uid: &str,
    message: &Message,
    out: &mut Vec<u8>,
) -> Result<Cow<'a, str>, ClassicOnly> {
    body::kind_of(message)?;
    if body::has_binary(message) {
        body::write_message(&mut body::Msgpack(out), uid, channels.nsp(), message)?;
    } else {
        body::write_message(&mut body::Json(out), uid, channels.nsp(), message)?;
    }
    Ok(match message {
        Message::Broadcast { options, request: None, .. } => match options.rooms.as_slice() {
            [room] if mode.has_channel(room) => channels.broadcast(Some(room)),
            _ => channels.broadcast(None),
        },
        _ => channels.broadcast(None),
    })
}

/// The channel for answers to server `uid`.
///
/// ```
/// use socketio_protocol::cluster::sharded::{Channels, answers_to};
///
/// let channels = Channels::new("socket.io", "/");
/// assert_eq!(answers_to(&channels, "0123456789abcdef"), "socket.io#/#0123456789abcdef#");
/// ```
pub fn answers_to<'a>(channels: &'a Channels, uid: &str) -> Cow<'a, str> {
    channels.broadcast(Some(uid))
}

/// Reads what came on any of the channels. `Ok(None)` when it is from `own` itself, for another namespace, or one of
/// the heartbeats that related adapters send.
///
/// # Errors
///
/// When it is not a message as these libraries write it; it is to be ignored.
///
/// ```
/// use socketio_protocol::cluster::{Message, Options, sharded::{Channels, SubscriptionMode, decode, encode}};
///
/// let (channels, mut out) = (Channels::new("socket.io", "/"), Vec::new());
/// let message = Message::Disconnect { options: Options::default(), close: true };
/// encode(&channels, SubscriptionMode::Dynamic, "one", &message, &mut out)?;
/// let envelope = decode(&channels, "another", &out)?.expect("it is for us");
/// assert!(matches!(envelope.message, Message::Disconnect { close: true, .. }));
/// assert!(decode(&channels, "one", &out)?.is_none(), "our own");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn decode(channels: &Channels, own: &str, payload: &[u8]) -> Result<Option<Envelope>, MessageError> {
    body::read_message(own, channels.nsp(), payload)
}
