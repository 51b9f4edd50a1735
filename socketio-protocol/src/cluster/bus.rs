//! The seam between a server and what carries its messages to the others.
//!
//! A [`Bus`] writes and carries; it decides nothing. One bus per server, one [`Channel`] per namespace, one
//! [`Inbox`] per channel that hears what the others sent and how the bus is doing. No runtime is named here.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Envelope, KeptSession, Message, Offset, Published};

/// Carries messages between the servers of a cluster.
///
/// A cluster of the servers of one process, who share a `Bus` by [`Arc`]; what a carrier with a network adds is in the
/// docs of [`Channel`] and [`Inbox`].
///
/// ```
/// use std::{future::{Future, ready}, pin::Pin, sync::{Arc, Mutex}};
/// use socketio_protocol::cluster::*;
///
/// /// Who is there: the namespace, the server's id in it, and where its messages go.
/// type Members = Arc<Mutex<Vec<(String, String, Arc<dyn Inbox>)>>>;
///
/// #[derive(Default)]
/// struct OneProcess(Members);
///
/// struct Here { nsp: String, uid: String, members: Members }
///
/// impl Bus for OneProcess {
///     fn open(&self, nsp: &str, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
///         let mut members = self.0.lock().unwrap();
///         let uid = members.len().to_string();
///         members.push((nsp.to_owned(), uid.clone(), inbox));
///         Arc::new(Here { nsp: nsp.to_owned(), uid, members: self.0.clone() })
///     }
/// }
///
/// impl Here {
///     fn others(&self) -> Vec<Arc<dyn Inbox>> {
///         let members = self.members.lock().unwrap();
///         let others = members.iter().filter(|(nsp, uid, _)| *nsp == self.nsp && *uid != self.uid);
///         others.map(|(_, _, inbox)| inbox.clone()).collect()
///     }
/// }
///
/// impl Channel for Here {
///     fn uid(&self) -> &str {
///         &self.uid
///     }
///
///     fn publish(&self, message: &Message) -> Result<Published, BusError> {
///         for inbox in self.others() {
///             let (uid, nsp) = (Some(self.uid.clone()), self.nsp.clone());
///             inbox.receive(Envelope { uid, nsp, message: message.clone() });
///         }
///         Ok(Published::settled(Ok(())))
///     }
///
///     fn respond(&self, _requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
///         self.publish(message) // Who did not ask looks away.
///     }
///
///     fn server_count(&self) -> Pin<Box<dyn Future<Output = Result<usize, BusError>> + Send + '_>> {
///         Box::pin(ready(Ok(self.others().len() + 1)))
///     }
///
///     fn ready(&self) -> Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + '_>> {
///         Box::pin(ready(Ok(())))
///     }
///
///     fn close(&self) {
///         self.members.lock().unwrap().retain(|(_, uid, _)| *uid != self.uid);
///     }
/// }
/// # struct Heard(Mutex<Vec<Envelope>>);
/// # impl Inbox for Heard {
/// #     fn receive(&self, envelope: Envelope) { self.0.lock().unwrap().push(envelope) }
/// #     fn has_room(&self, _: &str) -> bool { true }
/// #     fn status(&self, _: BusStatus) {}
/// # }
/// # let bus = OneProcess::default();
/// # let (a, b) = (Arc::new(Heard(Mutex::default())), Arc::new(Heard(Mutex::default())));
/// # let (channel, _other) = (bus.open("/", a.clone()), bus.open("/", b.clone()));
/// # let _ = channel.publish(&Message::AllRooms { request: "1".into() }).unwrap();
/// # assert_eq!((a.0.lock().unwrap().len(), b.0.lock().unwrap().len()), (0, 1));
/// ```
pub trait Bus: Send + Sync + 'static {
    /// Joins namespace `nsp`: subscribes, and brings what the others send to `inbox`.
    ///
    /// Returns at once; subscribing goes on in the background, and [`Channel::ready`] tells when it is done.
    /// The bus keeps `inbox` until the channel is closed.
    fn open(&self, nsp: &str, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel>;

    /// How its links are, for those who watch over a server. By default nothing is told.
    fn stats(&self) -> BusStats {
        BusStats::default()
    }

    /// How long the others may take to answer where the question says nothing else. Default 5 s.
    fn requests_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// How the links of a [`Bus`] are: those over which it sends, added up. And what went over them, or did not.
///
/// ```
/// use socketio_protocol::cluster::BusStats;
///
/// fn is_healthy(bus: BusStats) -> bool {
///     bus.links_down == 0 && bus.queued < 10_000
/// }
///
/// assert!(is_healthy(BusStats { links_up: 2, ..BusStats::default() }));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Links that work.
    pub links_up: u64,
    /// Links that do not, and are being made again.
    pub links_down: u64,
    /// Messages that wait to be sent.
    pub queued: u64,
    /// How many times something was sent and confirmed; several messages may go together.
    pub round_trips: u64,
    /// How long these took, added up.
    pub round_trip_time: Duration,
    /// Messages that were not taken, as too many waited to be sent: [`BusError::Full`].
    pub dropped: u64,
    /// Messages that were taken and not sent: no link came in time, or the carrier refused them.
    pub failed: u64,
    /// Messages of which nobody knows: the link broke when they were on their way.
    pub unknown: u64,
    /// Entries of a [`Log`]'s stream that were trimmed before they were read here, if the carrier can tell.
    pub trimmed: u64,
    /// Messages that the carrier has brought on subscriptions, whether they are for anybody here or not.
    pub brought: u64,
    /// Their bytes, with the carrier's words around them.
    pub brought_bytes: u64,
}

impl std::ops::Add for BusStats {
    type Output = BusStats;

    fn add(self, other: BusStats) -> BusStats {
        BusStats {
            links_up: self.links_up + other.links_up,
            links_down: self.links_down + other.links_down,
            queued: self.queued + other.queued,
            round_trips: self.round_trips + other.round_trips,
            round_trip_time: self.round_trip_time + other.round_trip_time,
            dropped: self.dropped + other.dropped,
            failed: self.failed + other.failed,
            unknown: self.unknown + other.unknown,
            trimmed: self.trimmed + other.trimmed,
            brought: self.brought + other.brought,
            brought_bytes: self.brought_bytes + other.brought_bytes,
        }
    }
}

/// One namespace on the bus.
///
/// ```
/// use socketio_protocol::cluster::{BusError, Channel, Flags, Message, Options};
///
/// /// Disconnects everybody but the sockets of `staff`, on the other servers.
/// async fn clear(channel: &dyn Channel) -> Result<(), BusError> {
///     channel.ready().await?;
///     let options = Options { except: vec!["staff".into()], ..Options::default() };
///     channel.publish(&Message::Disconnect { options, close: true })?.await
/// }
/// ```
pub trait Channel: Send + Sync + 'static {
    /// This server's id in this namespace.
    fn uid(&self) -> &str;

    /// Queues `message` for all other servers. Never waits; order is kept.
    ///
    /// # Errors
    ///
    /// [`BusError::Full`] when the queue is; [`BusError::Encode`] when the message has no form in this format;
    /// [`BusError::Closed`] after [`close`](Channel::close). Nothing has been queued then.
    fn publish(&self, message: &Message) -> Result<Published, BusError>;

    /// Queues an answer for the server that asked: `requester` is the uid of the question's envelope, if it had one.
    ///
    /// # Errors
    ///
    /// As [`publish`](Channel::publish).
    fn respond(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError>;

    /// How many servers share this namespace now, this one included.
    fn server_count(&self) -> Pin<Box<dyn Future<Output = Result<usize, BusError>> + Send + '_>>;

    /// Whether server `uid` is there to be asked. `false`, the default, if it cannot be told.
    ///
    /// Asked of those who have answered a question when servers have left before all have: the fewer of them are known to
    /// be there, the more are waited for.
    fn is_there<'a>(&'a self, _uid: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// A room has its first socket here. Matters where each room has a subscription of its own.
    fn room_created(&self, _room: &str) {}

    /// A room has no sockets here any more.
    fn room_deleted(&self, _room: &str) {}

    /// Resolves once the subscriptions are confirmed, those of rooms that were [created](Channel::room_created) so far among
    /// them: at once, unless the channel or a room is new or the bus is down.
    fn ready(&self) -> Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + '_>>;

    /// Has the carrier keep the namespace's events in an order that all servers share, for clients that come back on
    /// another server. From then on each event comes back to [`Inbox::logged`], those of this server, too.
    ///
    /// `None`, the default, where it keeps nothing.
    fn log(&self) -> Option<Arc<dyn Log>> {
        None
    }

    /// Leaves the namespace. Messages already queued are still sent.
    fn close(&self);
}

/// What a carrier keeps of a namespace: its last entries, and what lost clients come back to.
///
/// ```
/// use socketio_protocol::cluster::{BusError, Envelope, Log, Offset};
///
/// /// What a client missed that has seen all up to the offset it shows, if that is known.
/// async fn missed(log: &dyn Log, shown: &str, now: Offset) -> Result<Option<Vec<(Offset, Envelope)>>, BusError> {
///     match shown.parse() {
///         Ok(seen) => log.between(seen, now).await,
///         Err(_) => Ok(None),
///     }
/// }
/// ```
pub trait Log: Send + Sync + 'static {
    /// The entries after `from` up to `to`. `None` when it is not sure that these are all, since `from` is not there any
    /// more.
    fn between(&self, from: Offset, to: Offset) -> Answer<'_, Option<Vec<(Offset, Envelope)>>>;

    /// Queues a session to be kept for `keep` from now. With `renew` only if it is kept already.
    fn save(&self, session: &KeptSession, keep: Duration, renew: bool);

    /// The session of a client that shows its secret, `pid`.
    fn load<'a>(&'a self, pid: &'a str) -> Answer<'a, Option<KeptSession>>;

    /// Takes a session away. `false` when it was not there: somebody else may have it.
    fn take<'a>(&'a self, pid: &'a str) -> Answer<'a, bool>;

    /// Queues that nobody comes back to a session.
    fn forget(&self, pid: &str);

    /// Whether the server `uid` is there to be asked.
    fn is_alive<'a>(&'a self, uid: &'a str) -> Answer<'a, bool>;
}

/// Carries what servers say to each other about sessions of one another; see [`sessions`](super::sessions).
///
/// The servers of one process (nobody leaves):
///
/// ```
/// use std::{future::ready, sync::{Arc, Mutex}};
/// use socketio_protocol::cluster::{Answer, BusError, Hear, Heard, Notices, Published, SessionBus};
///
/// type Nodes = Arc<Mutex<Vec<(String, Arc<Hear>)>>>;
///
/// #[derive(Default)]
/// struct OneProcess(Nodes);
///
/// impl SessionBus for OneProcess {
///     fn open(&self, node: &str, hear: Hear) -> Box<dyn Notices> {
///         self.0.lock().unwrap().push((node.to_owned(), Arc::new(hear)));
///         Box::new(Here(self.0.clone()))
///     }
/// }
///
/// struct Here(Nodes);
///
/// impl Here {
///     fn of(&self, recipient: Option<&str>) -> Vec<Arc<Hear>> {
///         let nodes = self.0.lock().unwrap();
///         let those = nodes.iter().filter(|(node, _)| recipient.is_none_or(|recipient| recipient == node));
///         those.map(|(_, hear)| hear.clone()).collect()
///     }
/// }
///
/// impl Notices for Here {
///     fn publish(&self, recipient: Option<&str>, notice: &[u8]) -> Result<Published, BusError> {
///         self.of(recipient).iter().for_each(|hear| hear(Heard::Notice(notice)));
///         Ok(Published::settled(Ok(())))
///     }
///
///     fn listeners<'a>(&'a self, recipient: Option<&'a str>) -> Answer<'a, u64> {
///         Box::pin(ready(Ok(self.of(recipient).len() as u64)))
///     }
/// }
/// ```
pub trait SessionBus: Send + Sync + 'static {
    /// Has `hear` told what is said to server `node`, or to all, for as long as the answer is kept. It must not block.
    fn open(&self, node: &str, hear: Hear) -> Box<dyn Notices>;
}

/// What is told each notice.
pub type Hear = Box<dyn Fn(Heard<'_>) + Send + Sync>;

/// What is heard on a [`SessionBus`].
///
/// ```
/// use socketio_protocol::cluster::{Hear, Heard, sessions::Notice};
///
/// let hear: Hear = Box::new(|heard| match heard {
///     Heard::Notice(bytes) => println!("{:?}", Notice::decode(bytes)),
///     Heard::Missed => println!("sessions may have gone unheard of"),
/// });
/// hear(Heard::Missed);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// A notice.
    Notice(&'a [u8]),
    /// Some may not have come.
    Missed,
}

/// One server on a [`SessionBus`].
///
/// ```
/// use socketio_protocol::cluster::{BusError, Notices, Published, sessions::{Notice, NoticeBody}};
///
/// /// Asks all servers who has a session.
/// fn look_for(notices: &dyn Notices, sid: &str) -> Result<Published, BusError> {
///     let body = NoticeBody::Ask { request: 1, sid: sid.into(), transport: "polling".into(), reads: true, more: true };
///     notices.publish(None, &Notice { sender: "node-1".into(), recipient: None, body }.encode())
/// }
/// ```
pub trait Notices: Send + Sync + 'static {
    /// Queues a notice for one server, or for all.
    ///
    /// # Errors
    ///
    /// As [`Channel::publish`].
    fn publish(&self, recipient: Option<&str>, notice: &[u8]) -> Result<Published, BusError>;

    /// How many servers hear now what is said to one server, or to all.
    fn listeners<'a>(&'a self, recipient: Option<&'a str>) -> Answer<'a, u64>;
}

/// What is asked of a carrier.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BusError>> + Send + 'a>>;

/// Where a channel brings what the others sent. Called from the bus's own task, in order: must not block.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use socketio_protocol::cluster::{BusStatus, Envelope, Inbox, Message};
///
/// /// Counts what passes, as a monitor without sockets would.
/// #[derive(Default)]
/// struct Monitor { broadcasts: AtomicUsize }
///
/// impl Inbox for Monitor {
///     fn receive(&self, envelope: Envelope) {
///         if let Message::Broadcast { .. } = envelope.message {
///             self.broadcasts.fetch_add(1, Ordering::Relaxed);
///         }
///     }
///
///     fn has_room(&self, _room: &str) -> bool {
///         true // It wants to see the broadcasts to every room.
///     }
///
///     fn status(&self, status: BusStatus) {
///         println!("{status:?}");
///     }
/// }
/// ```
pub trait Inbox: Send + Sync + 'static {
    /// One message of another server. Own messages and those of other namespaces do not come here.
    fn receive(&self, envelope: Envelope);

    /// One entry of the namespace's [`Log`], in its order; `own` if this server has written it. Without an envelope it is
    /// only a place.
    fn logged(&self, _at: Offset, own: bool, envelope: Option<Envelope>) {
        if let Some(envelope) = envelope.filter(|_| !own) {
            self.receive(envelope);
        }
    }

    /// Whether a socket here is in `room`. Asked before a broadcast for one room is decoded.
    fn has_room(&self, room: &str) -> bool;

    /// Whether anybody here waits for answers to `request`. Asked before an answer is decoded.
    fn wants(&self, _request: &str) -> bool {
        true
    }

    /// How the bus is doing changed, or something was lost.
    fn status(&self, status: BusStatus);
}

/// What a bus tells about itself.
///
/// ```
/// use socketio_protocol::cluster::BusStatus;
///
/// fn tell(status: &BusStatus) -> String {
///     match status {
///         BusStatus::Up => "the others are heard".into(),
///         BusStatus::Gap { since, until, .. } => format!("maybe missed what was sent in {:?}", *until - *since),
///         other => format!("{other:?}"),
///     }
/// }
///
/// assert_eq!(tell(&BusStatus::Up), "the others are heard");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BusStatus {
    /// Subscribed: from now on messages of the others arrive.
    Up,
    /// The link to the others is gone; it is being made again.
    Down {
        /// Why.
        error: BusError,
    },
    /// The link is back. What the others sent between the two moments may not have arrived here.
    Gap {
        /// When the link was last known to work.
        since: Instant,
        /// When the subscriptions were confirmed again.
        until: Instant,
        /// How many messages were lost, where that can be known: of a stream that was trimmed. `None` where it cannot.
        lost: Option<u64>,
    },
    /// So many messages were dropped here because they came faster than they could be taken.
    Lost {
        /// How many, since the last time this was said.
        count: u64,
    },
    /// A message could not be read and was ignored.
    Malformed {
        /// Where it came from.
        channel: String,
        /// Why, in words.
        error: String,
    },
}

/// Why the bus did not take or did not deliver a message.
///
/// ```
/// use socketio_protocol::cluster::BusError;
///
/// fn is_worth_another_try(error: &BusError) -> bool {
///     matches!(error, BusError::Full { .. } | BusError::Unreachable { .. } | BusError::Timeout { .. })
/// }
///
/// assert!(!is_worth_another_try(&BusError::Closed));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The channel or the bus was closed.
    #[error("the channel to the other servers is closed; open the namespace again to use it")]
    Closed,
    /// Messages are made faster than they can be sent, or the link is down for long.
    #[error(
        "{queued} messages wait to be sent to the other servers, which is the limit; send less, or raise the publish queue's size"
    )]
    Full {
        /// How many wait.
        queued: usize,
    },
    /// There is no link to the others, or it broke before the message was known to have been sent.
    #[error(
        "the other servers cannot be reached: {reason}; the link is being made again, local sockets are not affected"
    )]
    Unreachable {
        /// What happened to the link.
        reason: String,
    },
    /// The message cannot be written in this format.
    #[error("the message has no form in the cluster's format: {reason}; change its arguments")]
    Encode {
        /// What does not fit.
        reason: String,
    },
    /// The carrier understood and said no.
    #[error("refused: {reason}; look at the user's rights and the state of Redis")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer within {after_ms} ms; the link may be slow or frozen")]
    Timeout {
        /// How long was waited.
        after_ms: u64,
    },
}
