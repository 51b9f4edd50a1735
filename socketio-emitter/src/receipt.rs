//! What Redis said to a message.

use std::fmt;

/// What Redis said to a message.
///
/// ```no_run
/// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
/// let receipt = emitter.emit("time", "12:00").await?;
/// match receipt.entry() {
///     Some(entry) => println!("an entry of the stream: {entry}"),
///     None => println!("{} servers have it", receipt.receivers()),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    receivers: u64,
    entry: Option<EntryId>,
}

impl Receipt {
    pub(crate) fn new(receivers: u64, entry: Option<EntryId>) -> Receipt {
        Receipt { receivers, entry }
    }

    /// How many connections took the message from Redis: the servers that listen, never the clients.
    ///
    /// A server whose connection is being made again is not among them; of a Redis Cluster, one node counts. 0 where the
    /// message became an [`entry`](Receipt::entry) of a stream: who reads that is not known.
    pub fn receivers(&self) -> u64 {
        self.receivers
    }

    /// The entry of the stream that the message became. `None` in the other families, and in a Redis Cluster.
    pub fn entry(&self) -> Option<EntryId> {
        self.entry
    }
}

/// The id of an entry of a stream: when Redis took it, and a number. Later entries have larger ids.
///
/// ```no_run
/// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
/// let (first, second) = (emitter.emit("a", ()).await?.entry(), emitter.emit("b", ()).await?.entry());
/// assert!(first < second, "entries are in order");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since 1970.
    pub time: u64,
    /// Which of those of that millisecond.
    pub number: u64,
}

impl EntryId {
    pub(crate) fn read(text: &[u8]) -> Option<EntryId> {
        let (time, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(EntryId { time: time.parse().ok()?, number: number.parse().ok()? })
    }
}

/// As Redis writes it, `1700000000000-0`.
impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time, self.number)
    }
}
