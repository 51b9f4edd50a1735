//! What a sender outside the cluster says and asks, in the format of each family.
//!
//! | family | as |
//! | --- | --- |
//! | classic | `@socket.io/redis-emitter` 5.1 |
//! | sharded | `createShardedAdapter` of `@socket.io/redis-adapter`: nobody publishes an emitter for it |
//! | streams | `@socket.io/redis-streams-emitter` 0.1 |
//!
//! Emitters differ from servers in the order of the option keys, and in that all send under one id, [`UID`]. To ask, which
//! no emitter of Node.js does, one needs an id of its own, because that is where the answers go; questions are those of a
//! server, and so are what is read of the answers. An asker listens where answers come, and nowhere else: whoever listens
//! where servers do is counted as one and waited for.

use std::{borrow::Cow, convert::Infallible};

use serde::Serialize;

pub use super::channels::{Channels, DEFAULT_PREFIX};
use super::{
    Envelope, Message, MessageError, Options,
    classic::{self, JsonRequest},
    parts::Order,
    sharded::{self, SubscriptionMode},
    streams,
};
use crate::socket::{Args, EncodeError, write_event};

/// The server id all emitters send under.
pub const UID: &str = "emitter";

/// Which adapter the servers have.
///
/// ```
/// use socketio_protocol::cluster::emitter::{Command, Family, Format, StreamNames};
/// use socketio_protocol::{cluster::Options, socket::Args};
///
/// let place = |family| {
///     let options = Options { rooms: vec!["red".into()], ..Options::default() };
///     let format = Format::new(&family, "socket.io", "/");
///     let command = format.broadcast(&Args::new_event("tick", &1).unwrap(), &options, &mut Vec::new()).into_owned();
///     (command.verb(), command.place().to_owned())
/// };
/// assert_eq!(place(Family::Classic), ("PUBLISH", "socket.io#/#red#".into()));
/// assert_eq!(place(Family::Sharded(Default::default())), ("SPUBLISH", "socket.io#/#red#".into()));
/// assert_eq!(place(Family::Streams(StreamNames::default())), ("XADD", "socket.io".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Family {
    /// Pub/sub: `createAdapter` of `@socket.io/redis-adapter`.
    #[default]
    Classic,
    /// Sharded pub/sub of Redis 7: `createShardedAdapter`, with the mode of all servers.
    Sharded(SubscriptionMode),
    /// `@socket.io/redis-streams-adapter`.
    Streams(StreamNames),
}

/// How the streams are named and kept; the same on all servers of a cluster.
///
/// ```
/// use socketio_protocol::cluster::emitter::StreamNames;
///
/// let names = StreamNames { count: 4, ..StreamNames::default() };
/// assert_eq!((&*names.name, names.max_len), ("socket.io", 10_000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamNames {
    /// The stream, or what the names of all begin with.
    pub name: String,
    /// Over how many the namespaces are spread.
    pub count: u32,
    /// About how many entries are kept.
    pub max_len: usize,
    /// Questions and answers go over the sharded channels of Redis 7.
    pub sharded_pub_sub: bool,
}

impl Default for StreamNames {
    fn default() -> Self {
        let name = streams::DEFAULT_STREAM.to_owned();
        StreamNames { name, count: 1, max_len: streams::DEFAULT_MAX_LEN, sharded_pub_sub: false }
    }
}

/// How what was written gets to the servers.
///
/// ```
/// use socketio_protocol::cluster::emitter::{Command, Family, Format, StreamNames};
/// use socketio_protocol::cluster::Options;
///
/// let mut payload = Vec::new();
/// let format = Format::new(&Family::Streams(StreamNames::default()), "socket.io", "/");
/// let command = format.disconnect(&Options::default(), true, &mut payload);
/// let words: Vec<_> = [command.verb(), command.place()].into_iter().chain(command.between()).collect();
/// assert_eq!(words.join(" "), "XADD socket.io MAXLEN ~ 10000 * uid emitter nsp / type 6 data");
/// assert_eq!(payload, br#"{"opts":{"rooms":[],"except":[],"flags":{}},"close":true}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// `PUBLISH channel payload`
    Publish(Cow<'a, str>),
    /// `SPUBLISH channel payload`
    ShardedPublish(Cow<'a, str>),
    /// `XADD stream MAXLEN ~ max_len * uid emitter nsp nsp type kind data payload`
    Append {
        /// The stream.
        stream: Cow<'a, str>,
        /// About how many entries it keeps, in decimal.
        max_len: Cow<'a, str>,
        /// The namespace.
        nsp: Cow<'a, str>,
        /// The number of the message, in decimal.
        kind: &'static str,
    },
}

impl Command<'_> {
    /// `PUBLISH`, `SPUBLISH` or `XADD`.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Publish(_) => "PUBLISH",
            Command::ShardedPublish(_) => "SPUBLISH",
            Command::Append { .. } => "XADD",
        }
    }

    /// The channel or the stream.
    pub fn place(&self) -> &str {
        match self {
            Command::Publish(channel) | Command::ShardedPublish(channel) => channel,
            Command::Append { stream, .. } => stream,
        }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Command<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Command::Publish(channel) => Command::Publish(own(channel)),
            Command::ShardedPublish(channel) => Command::ShardedPublish(own(channel)),
            Command::Append { stream, max_len, nsp, kind } => {
                Command::Append { stream: own(stream), max_len: own(max_len), nsp: own(nsp), kind }
            }
        }
    }

    /// The words between the place and the payload.
    pub fn between(&self) -> Vec<&str> {
        match self {
            Command::Publish(_) | Command::ShardedPublish(_) => Vec::new(),
            Command::Append { max_len, nsp, kind, .. } => {
                vec!["MAXLEN", "~", max_len, "*", "uid", UID, "nsp", nsp, "type", kind, "data"]
            }
        }
    }
}

/// One namespace, as emitters of a family address it.
///
/// What to send to Redis:
///
/// ```
/// use socketio_protocol::cluster::emitter::{Command, DEFAULT_PREFIX, Family, Format};
/// use socketio_protocol::cluster::Options;
///
/// let format = Format::new(&Family::Classic, DEFAULT_PREFIX, "/");
/// let (options, mut payload) = (Options { rooms: vec!["red".into()], ..Options::default() }, Vec::new());
/// let command = format.emit("tick", &1, &options, &mut payload)?;
/// assert_eq!((command.verb(), command.place()), ("PUBLISH", "socket.io#/#red#"));
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    channels: Channels,
    family: Family,
    /// Of the streams family: the namespace's stream, and how much it keeps.
    stream: String,
    max_len: String,
}

impl Format {
    /// Namespace `nsp` (with its slash) of the servers of a family whose channels begin with `prefix`.
    pub fn new(family: &Family, prefix: &str, nsp: &str) -> Format {
        let (stream, max_len) = match family {
            Family::Streams(names) => (streams::stream_of(&names.name, names.count, nsp), names.max_len.to_string()),
            _ => Default::default(),
        };
        Format { channels: Channels::new(prefix, nsp), family: family.clone(), stream, max_len }
    }

    /// The namespace.
    pub fn nsp(&self) -> &str {
        self.channels.nsp()
    }

    /// The family.
    pub fn family(&self) -> &Family {
        &self.family
    }

    /// Appends a broadcast of `event` with `args`, as [`Args::new_event`] takes them, to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when `args` cannot be written; what has been appended by then is to be thrown away.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        options: &Options,
        out: &mut Vec<u8>,
    ) -> Result<Command<'_>, EncodeError> {
        match &self.family {
            Family::Classic => self.classic(options, out, |out| write_event(event, args, out)),
            _ => Ok(self.broadcast(&Args::new_event(event, args)?, options, out)),
        }
    }

    fn classic<E>(
        &self,
        options: &Options,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Command<'_>, E> {
        classic::encode_broadcast_of(&self.channels, UID, options, Order::Emitter, out, write)?;
        Ok(Command::Publish(self.channels.broadcast_to(&options.rooms)))
    }

    /// Appends a broadcast of `args` (`[event, ...args]`) to `out`.
    pub fn broadcast(&self, args: &Args, options: &Options, out: &mut Vec<u8>) -> Command<'_> {
        match &self.family {
            Family::Classic => {
                let Ok(command) = self.classic(options, out, |out| {
                    args.write_msgpack(out);
                    Ok::<(), Infallible>(())
                });
                command
            }
            Family::Sharded(_) => {
                self.say("3", Message::Broadcast { args: args.clone(), options: options.clone(), request: None }, out)
            }
            Family::Streams(_) => {
                streams::write_emitted(self.nsp(), args, options, out);
                self.append("3")
            }
        }
    }

    /// Appends the request that the sockets of `options` join `rooms` to `out`.
    pub fn join(&self, options: &Options, rooms: &[String], out: &mut Vec<u8>) -> Command<'_> {
        match &self.family {
            Family::Classic => self.request(JsonRequest::default().join(options, rooms), out),
            _ => self.say("4", Message::Join { options: options.clone(), rooms: rooms.to_vec() }, out),
        }
    }

    /// Appends the request that the sockets of `options` leave `rooms` to `out`.
    pub fn leave(&self, options: &Options, rooms: &[String], out: &mut Vec<u8>) -> Command<'_> {
        match &self.family {
            Family::Classic => self.request(JsonRequest::default().leave(options, rooms), out),
            _ => self.say("5", Message::Leave { options: options.clone(), rooms: rooms.to_vec() }, out),
        }
    }

    /// Appends the request to disconnect the sockets of `options` to `out`.
    pub fn disconnect(&self, options: &Options, close: bool, out: &mut Vec<u8>) -> Command<'_> {
        match &self.family {
            Family::Classic => self.request(JsonRequest::default().disconnect(options, close), out),
            _ => self.say("6", Message::Disconnect { options: options.clone(), close }, out),
        }
    }

    /// Appends an event for the servers themselves (`[event, ...args]`) to `out`.
    pub fn server_side_emit(&self, args: &Args, out: &mut Vec<u8>) -> Command<'_> {
        match &self.family {
            Family::Classic => {
                JsonRequest::from_sender(UID).server_side_emit(args, out);
                Command::Publish(self.channels.request().into())
            }
            _ => self.say("9", Message::ServerSideEmit { args: args.clone(), request: None }, out),
        }
    }

    fn request(&self, request: JsonRequest<'_>, out: &mut Vec<u8>) -> Command<'_> {
        request.write(out);
        Command::Publish(self.channels.request().into())
    }

    /// Writes a message with the number `kind` as servers of the two other families write it.
    fn say(&self, kind: &'static str, message: Message, out: &mut Vec<u8>) -> Command<'_> {
        let written = "what needs no answer has a form in each family";
        match &self.family {
            Family::Sharded(mode) => {
                Command::ShardedPublish(sharded::encode(&self.channels, *mode, UID, &message, out).expect(written))
            }
            _ => {
                streams::write_data(&message, out).expect(written);
                self.append(kind)
            }
        }
    }

    fn append(&self, kind: &'static str) -> Command<'_> {
        let [stream, max_len, nsp] = [&self.stream, &self.max_len, self.nsp()].map(Cow::Borrowed);
        Command::Append { stream, max_len, nsp, kind }
    }

    /// Appends a question of asker `uid` to `out`.
    ///
    /// # Errors
    ///
    /// [`ClassicOnly`](sharded::ClassicOnly) for [`Message::AllRooms`] in the other families.
    pub fn ask(&self, uid: &str, question: &Message, out: &mut Vec<u8>) -> Result<Command<'_>, sharded::ClassicOnly> {
        let channels = &self.channels;
        Ok(match &self.family {
            Family::Classic => Command::Publish(classic::encode(channels, uid, question, out)),
            Family::Sharded(mode) => Command::ShardedPublish(sharded::encode(channels, *mode, uid, question, out)?),
            Family::Streams(names) => match streams::encode(channels, uid, None, question)? {
                streams::Carried::Message { channel, payload } => {
                    out.extend_from_slice(&payload);
                    let channel = channel.into_owned().into();
                    if names.sharded_pub_sub { Command::ShardedPublish(channel) } else { Command::Publish(channel) }
                }
                streams::Carried::Entry(_) => unreachable!("questions are no entries"),
            },
        })
    }

    /// Whether servers of the family can be asked for their rooms, [`Message::AllRooms`].
    pub fn asks_for_rooms(&self) -> bool {
        self.family == Family::Classic
    }

    /// How many characters the id of an asker has, as those of servers.
    pub fn uid_length(&self) -> usize {
        if self.family == Family::Classic { classic::UID_LENGTH } else { sharded::UID_LENGTH }
    }

    /// Whether questions and answers go over sharded channels.
    pub fn is_sharded(&self) -> bool {
        match &self.family {
            Family::Classic => false,
            Family::Sharded(_) => true,
            Family::Streams(names) => names.sharded_pub_sub,
        }
    }

    /// Where answers to asker `uid` come.
    pub fn answers_to(&self, uid: &str) -> Vec<String> {
        match &self.family {
            // Which of the two is the choice of each server.
            Family::Classic => vec![self.channels.response().to_owned(), self.channels.response_to(uid)],
            _ => vec![sharded::answers_to(&self.channels, uid).into_owned()],
        }
    }

    /// The channel to which each server is subscribed once: its subscribers are the servers.
    pub fn servers(&self) -> &str {
        match &self.family {
            Family::Classic => self.channels.request(),
            _ => self.channels.all(),
        }
    }

    /// Reads what came where answers to asker `uid` come, if `wants` its request id.
    ///
    /// # Errors
    ///
    /// When it is not an answer as any version writes it; it is to be ignored.
    pub fn read_answer(
        &self,
        uid: &str,
        payload: &[u8],
        wants: impl FnOnce(&str) -> bool,
    ) -> Result<Option<Envelope>, MessageError> {
        match &self.family {
            Family::Classic => classic::decode_response(&self.channels, payload, wants),
            _ => sharded::decode(&self.channels, uid, payload),
        }
    }
}
