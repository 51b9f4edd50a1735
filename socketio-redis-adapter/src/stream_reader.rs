//! Reads the streams of all namespaces, through one connection that is made again for ever, from where it stopped; in a
//! Redis Cluster, where each stream has a node of its own, through one for each stream.
//!
//! What is added while the link is down is read afterwards, so an outage loses nothing, unless the stream was trimmed
//! or emptied meanwhile: that is told as a gap. An entry that cannot be read is passed over.
//!
//! Redis counts what was ever added to a stream (since version 7, `XINFO STREAM`), we count what was read of it: so it is
//! known how many entries were trimmed before they were read.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use socketio_protocol::cluster::{BusError, BusStatus, Inbox, Offset, streams};
use socketio_redis_client::{
    ConnectError, Link, Redis,
    backoff::Backoff,
    resp::{self, Reply, Scanner},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{shared::tell, streams::StreamOptions};

/// How long Redis holds a read back when there is nothing; as in Node.js.
const BLOCK: Duration = Duration::from_secs(5);
/// An answer that is so much later does not come.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A link that lived so long was a good one; the next trouble is a new one.
pub(crate) const GOOD_LINK: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 << 10;

/// The tasks that read; end with the last handle.
pub(crate) struct Reader {
    namespaces: Namespaces,
    positioned: Vec<watch::Receiver<bool>>,
    trimmed: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

type Namespaces = Arc<RwLock<HashMap<String, Namespace>>>;

struct Namespace {
    /// The stream that what is for it comes in.
    stream: String,
    uid: String,
    inbox: Arc<dyn Inbox>,
    /// It hears the place of each entry, and of its own ones, too.
    log: bool,
}

/// One namespace hears what is for it as long as this is not closed.
pub(crate) struct Registered {
    reader: Arc<Reader>,
    nsp: String,
    uid: String,
}

impl Registered {
    /// Waits until it is known from which entry on the streams are read.
    pub(crate) async fn ready(&self) -> Result<(), BusError> {
        for mut positioned in self.reader.positioned.iter().cloned() {
            positioned.wait_for(|known| *known).await.map_err(|_| BusError::Closed)?;
        }
        Ok(())
    }

    /// From now on the namespace hears the places of entries.
    pub(crate) fn log(&self) {
        let mut namespaces = self.reader.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = namespaces.get_mut(&self.nsp).filter(|namespace| namespace.uid == self.uid) {
            namespace.log = true;
        }
    }

    pub(crate) fn close(&self) {
        let mut namespaces = self.reader.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        if namespaces.get(&self.nsp).is_some_and(|namespace| namespace.uid == self.uid) {
            namespaces.remove(&self.nsp);
        }
    }
}

impl Reader {
    pub(crate) fn start(redis: &Redis, options: &StreamOptions) -> Arc<Reader> {
        let namespaces = Namespaces::default();
        let streams: Vec<Stream> = streams::all_streams(&options.name, options.count)
            .into_iter()
            .map(|name| Stream { name, position: None, passed: None, full: false, doubted: false })
            .collect();
        let at_a_time = if redis.address().is_cluster() { 1 } else { streams.len().max(1) };
        let (mut positioned, mut tasks) = (Vec::new(), Vec::new());
        let trimmed = Arc::<AtomicU64>::default();
        let mut streams = streams.into_iter().peekable();
        while streams.peek().is_some() {
            let (tell_positioned, known) = watch::channel(false);
            let task = Task {
                redis: redis.clone(),
                streams: streams.by_ref().take(at_a_time).collect(),
                read_count: options.read_count.max(1),
                namespaces: namespaces.clone(),
                positioned: tell_positioned,
                trimmed: trimmed.clone(),
                last_heard: Instant::now(),
            };
            positioned.push(known);
            tasks.push(tokio::spawn(task.run()));
        }
        Arc::new(Reader { namespaces, positioned, trimmed, tasks })
    }

    /// How many entries were trimmed before they were read, as far as Redis tells.
    pub(crate) fn trimmed(&self) -> u64 {
        self.trimmed.load(Ordering::Relaxed)
    }

    /// Has `inbox` hear what comes for namespace `nsp`, in `stream`.
    pub(crate) fn register(
        self: &Arc<Self>,
        nsp: &str,
        stream: String,
        uid: String,
        inbox: Arc<dyn Inbox>,
    ) -> Registered {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(nsp.to_owned(), Namespace { stream, uid: uid.clone(), inbox, log: false });
        Registered { reader: self.clone(), nsp: nsp.to_owned(), uid }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Task {
    redis: Redis,
    streams: Vec<Stream>,
    read_count: usize,
    namespaces: Namespaces,
    positioned: watch::Sender<bool>,
    trimmed: Arc<AtomicU64>,
    last_heard: Instant,
}

struct Stream {
    name: String,
    /// The last entry read; `None` before the first connection.
    position: Option<Offset>,
    /// How many entries were added up to there since there is the stream, if Redis has told.
    passed: Option<u64>,
    /// The last read brought as much as was asked for: there may be more, and it may have been trimmed.
    full: bool,
    /// It is to be looked whether something was trimmed.
    doubted: bool,
}

impl Stream {
    /// Compares with what there is. `Some` if entries are gone that were not read, and how many, if that is known.
    fn compare(&mut self, extent: &Extent) -> Option<Option<u64>> {
        let position = self.position.unwrap_or_default();
        let begins_later = extent.first.is_none_or(|first| first > position);
        let Some(added) = extent.added else {
            self.passed = None;
            return (position != Offset::default() && extent.first.is_some() && begins_later).then_some(None);
        };
        // So many are behind us, or gone.
        let is_at_end = extent.last == self.position;
        let behind = if is_at_end { added } else { added.saturating_sub(extent.length) };
        let passed = self.passed.replace(self.passed.unwrap_or(behind).max(behind))?;
        if begins_later && behind < passed {
            // Another stream of the same name: Redis has forgotten the one that was read, to an end that nobody knows.
            self.passed = Some(behind);
            return Some(None);
        }
        let missed = behind.saturating_sub(passed);
        (missed > 0).then_some(Some(missed))
    }
}

/// What Redis says of a stream.
struct Extent {
    first: Option<Offset>,
    /// The last entry, or the last there was.
    last: Option<Offset>,
    length: u64,
    /// How many were ever added.
    added: Option<u64>,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut last_error = None;
        loop {
            sleep(backoff.next_wait()).await;
            let error = match self.redis.open(&self.streams[0].name, "socketio-streams").await {
                Ok(link) => {
                    let since = Instant::now();
                    let error = self.read(link).await;
                    if since.elapsed() >= GOOD_LINK {
                        backoff.reset();
                        last_error = None; // The next trouble is a new one, to be logged.
                    }
                    error
                }
                Err(error) => error,
            };
            if last_error.as_ref() != Some(&error) {
                tracing::warn!(target: "socketio::redis", %error, "no link to Redis for reading streams; trying again");
            }
            last_error = Some(error);
        }
    }

    async fn read(&mut self, link: Link) -> ConnectError {
        let mut talk = Talk::over(link);
        let Err(error) = self.read_on(&mut talk).await;
        self.redis.refused(&error.to_string());
        match error.kind() {
            io::ErrorKind::TimedOut => {
                ConnectError::Timeout { address: self.redis.address().to_string(), after: ANSWER_TIMEOUT }
            }
            _ => ConnectError::Unreachable { address: self.redis.address().to_string(), reason: error.to_string() },
        }
    }

    async fn read_on(&mut self, talk: &mut Talk) -> io::Result<Infallible> {
        self.find_positions(talk).await?;
        self.positioned.send_replace(true);
        loop {
            self.look_for_trimming(talk).await?;
            self.read_once(talk).await?;
        }
    }

    async fn read_once(&mut self, talk: &mut Talk) -> io::Result<()> {
        let (block, count) = (BLOCK.as_millis().to_string(), self.read_count.to_string());
        let positions: Vec<String> =
            self.streams.iter().map(|stream| stream.position.unwrap_or_default().to_string()).collect();
        let mut parts: Vec<&[u8]> = vec![b"XREAD", b"BLOCK", block.as_bytes(), b"COUNT", count.as_bytes(), b"STREAMS"];
        parts.extend(self.streams.iter().map(|stream| stream.name.as_bytes()));
        parts.extend(positions.iter().map(String::as_bytes));
        let reply = talk.ask(&parts, BLOCK + ANSWER_TIMEOUT).await?;
        self.last_heard = Instant::now();
        for stream in &mut self.streams {
            // Once more after the last that was full, so that what was trimmed while it was read is seen.
            stream.doubted = std::mem::take(&mut stream.full);
        }
        let Reply::Array(streams) = reply else { return Ok(()) };
        for stream in streams {
            let Reply::Array(pair) = stream else { return Err(odd()) };
            let [Reply::Bulk(Some(name)), Reply::Array(entries)] = pair.as_slice() else { return Err(odd()) };
            self.take(name, entries)?;
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Gives the entries of one stream to those they are for.
    fn take(&mut self, name: &Bytes, entries: &[Reply]) -> io::Result<()> {
        let stream = self.streams.iter_mut().find(|stream| stream.name.as_bytes() == name).ok_or_else(odd)?;
        stream.full = entries.len() >= self.read_count;
        stream.doubted |= stream.full;
        stream.passed = stream.passed.map(|passed| passed + entries.len() as u64);
        for entry in entries {
            let Reply::Array(pair) = entry else { return Err(odd()) };
            let [Reply::Bulk(Some(id)), fields] = pair.as_slice() else { return Err(odd()) };
            // First, so that an entry nobody can bear is not read again.
            let at = offset(id)?;
            stream.position = Some(at);
            // The fields are nil when the entry was deleted meanwhile.
            let Reply::Array(fields) = fields else { continue };
            deliver(&self.namespaces, name, at, fields);
        }
        Ok(())
    }

    /// After connecting: where to read on, or, the first time, from where.
    async fn find_positions(&mut self, talk: &mut Talk) -> io::Result<()> {
        for at in 0..self.streams.len() {
            let extent = talk.extent(&self.streams[at].name).await?;
            let stream = &mut self.streams[at];
            match stream.position {
                None => (stream.position, stream.passed) = (Some(extent.last.unwrap_or_default()), extent.added),
                // Redis lost what we had read, and its clock went back: go on from what there is.
                Some(position) if extent.last.is_some_and(|last| last < position) => {
                    (stream.position, stream.passed) = (extent.last, extent.added);
                    tell_gap(&self.namespaces, &stream.name, self.last_heard, None);
                }
                Some(_) => (stream.full, stream.doubted) = (true, true),
            }
        }
        Ok(())
    }

    /// Where more may wait than was read: whether the first that is still there comes after what we know.
    async fn look_for_trimming(&mut self, talk: &mut Talk) -> io::Result<()> {
        for at in 0..self.streams.len() {
            if !std::mem::take(&mut self.streams[at].doubted) {
                continue;
            }
            let extent = talk.extent(&self.streams[at].name).await?;
            if let Some(missed) = self.streams[at].compare(&extent) {
                self.trimmed.fetch_add(missed.unwrap_or_default(), Ordering::Relaxed);
                tell_gap(&self.namespaces, &self.streams[at].name, self.last_heard, missed);
            }
        }
        Ok(())
    }
}

/// Tells those to whom `stream` brings something that some of it may be missing.
fn tell_gap(namespaces: &Namespaces, stream: &str, since: Instant, lost: Option<u64>) {
    let until = Instant::now();
    let inboxes: Vec<_> = {
        let namespaces = namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let hit = namespaces.values().filter(|namespace| namespace.stream == stream);
        hit.map(|namespace| namespace.inbox.clone()).collect()
    };
    for inbox in inboxes {
        inbox.status(BusStatus::Gap { since, until, lost });
    }
}

fn deliver(namespaces: &Namespaces, stream: &[u8], at: Offset, fields: &[Reply]) {
    let nsp = pairs(fields).find(|(field, _)| *field == b"nsp").map(|(_, nsp)| nsp);
    // What is told to whom is decided under the lock, telling happens outside it.
    let (inbox, own, log) = {
        let namespaces = namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let nsp = nsp.and_then(|nsp| std::str::from_utf8(nsp).ok());
        let Some(namespace) = nsp.and_then(|nsp| namespaces.get(nsp)) else { return };
        let own = pairs(fields).any(|(field, value)| field == b"uid" && value == namespace.uid.as_bytes());
        (namespace.inbox.clone(), own, namespace.log)
    };
    if own && !log {
        return;
    }
    let read = streams::decode_entry(pairs(fields), |_| Some(""));
    if !log {
        return tell(&*inbox, stream, read);
    }
    match read {
        Ok(envelope) => inbox.logged(at, own, envelope),
        Err(error) => {
            tell(&*inbox, stream, Err(error));
            inbox.logged(at, own, None);
        }
    }
}

/// The fields of an entry and their values.
pub(crate) fn pairs(fields: &[Reply]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.chunks_exact(2).map(|pair| (bytes_of(&pair[0]), bytes_of(&pair[1])))
}

fn bytes_of(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Bulk(Some(bytes)) => bytes,
        _ => &[],
    }
}

/// The id of an entry, as Redis writes it.
pub(crate) fn offset(id: &[u8]) -> io::Result<Offset> {
    std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()).ok_or_else(odd)
}

pub(crate) fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not answer as Redis does")
}

impl Extent {
    /// Reads the names and values that `XINFO STREAM` answers with: in a row, or with RESP 3 as pairs.
    fn read(fields: &[Reply]) -> Option<Extent> {
        let named = |name: &[u8]| {
            let in_a_row = fields.chunks_exact(2).map(|pair| (&pair[0], &pair[1]));
            let pairs = fields.iter().filter_map(|pair| match pair {
                Reply::Array(pair) => Some((pair.first()?, pair.get(1)?)),
                _ => None,
            });
            in_a_row.chain(pairs).find(|(key, _)| bytes_of(key) == name).map(|(_, value)| value)
        };
        let number = |name| match named(name) {
            Some(Reply::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        let first = match named(b"first-entry") {
            Some(Reply::Array(entry)) => Some(offset(bytes_of(entry.first()?)).ok()?),
            _ => None,
        };
        let last = offset(bytes_of(named(b"last-generated-id")?)).ok();
        Some(Extent { first, last, length: number(b"length")?, added: number(b"entries-added") })
    }
}

/// Questions and answers, one at a time.
pub(crate) struct Talk {
    link: Link,
    received: BytesMut,
}

impl Talk {
    pub(crate) fn over(link: Link) -> Talk {
        Talk { link, received: BytesMut::with_capacity(READ_BYTES) }
    }

    pub(crate) async fn ask(&mut self, parts: &[&[u8]], within: Duration) -> io::Result<Reply> {
        let mut command = Vec::new();
        resp::command(&mut command, parts);
        let asked = async {
            self.write(&command).await?;
            match self.answer().await? {
                Reply::Error(reason) => Err(io::Error::other(reason)),
                reply => Ok(reply),
            }
        };
        timeout(within, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    pub(crate) async fn write(&mut self, commands: &[u8]) -> io::Result<()> {
        self.link.stream.write_all(commands).await?;
        self.link.stream.flush().await
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Reply> {
        loop {
            let mut scanner = Scanner::new(&self.received);
            if let Some(reply) = resp::reply(&mut scanner).map_err(|_| odd())? {
                let used = scanner.position();
                let _ = self.received.split_to(used);
                return Ok(reply);
            }
            self.received.reserve(READ_BYTES);
            if self.link.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
            }
        }
    }

    /// What there is of a stream.
    async fn extent(&mut self, stream: &str) -> io::Result<Extent> {
        let mut command = Vec::new();
        resp::command(&mut command, &[b"XINFO", b"STREAM", stream.as_bytes()]);
        let asked = async {
            self.write(&command).await?;
            self.answer().await
        };
        let info = timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        match info {
            Reply::Array(fields) => Extent::read(&fields).ok_or_else(odd),
            Reply::Error(reason) if reason.contains("no such key") => {
                Ok(Extent { first: None, last: None, length: 0, added: Some(0) })
            }
            // One who may read it need not be allowed to ask about it.
            Reply::Error(reason) if reason.starts_with("NOPERM") => {
                let first = self.entry_id(&[b"XRANGE", stream.as_bytes(), b"-", b"+", b"COUNT", b"1"]).await?;
                let last = self.entry_id(&[b"XREVRANGE", stream.as_bytes(), b"+", b"-", b"COUNT", b"1"]).await?;
                Ok(Extent { first, last, length: 0, added: None })
            }
            Reply::Error(reason) => Err(io::Error::other(reason)),
            _ => Err(odd()),
        }
    }

    /// The id of the one entry that is answered, if any.
    pub(crate) async fn entry_id(&mut self, parts: &[&[u8]]) -> io::Result<Option<Offset>> {
        let Reply::Array(entries) = self.ask(parts, ANSWER_TIMEOUT).await? else { return Err(odd()) };
        let Some(entry) = entries.first() else { return Ok(None) };
        let Reply::Array(entry) = entry else { return Err(odd()) };
        match entry.first() {
            Some(Reply::Bulk(Some(id))) => offset(id).map(Some),
            _ => Err(odd()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use socketio_protocol::cluster::Envelope;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<BusStatus>>);

    impl Inbox for Told {
        fn receive(&self, _: Envelope) {}

        fn has_room(&self, _: &str) -> bool {
            true
        }

        fn status(&self, status: BusStatus) {
            self.0.lock().unwrap().push(status);
        }
    }

    #[test]
    fn a_gap_is_told_to_those_whose_stream_has_it() {
        let (namespaces, [here, elsewhere]) = (Namespaces::default(), [(); 2].map(|()| Arc::new(Told::default())));
        for (stream, told) in [("s-0", &here), ("s-1", &elsewhere)] {
            let namespace = Namespace { stream: stream.into(), uid: String::new(), inbox: told.clone(), log: false };
            namespaces.write().unwrap().insert(format!("/{stream}"), namespace);
        }
        tell_gap(&namespaces, "s-0", Instant::now(), Some(3));
        assert!(matches!(here.0.lock().unwrap()[..], [BusStatus::Gap { lost: Some(3), .. }]));
        assert!(elsewhere.0.lock().unwrap().is_empty());
    }

    #[test]
    fn what_was_trimmed_unread_is_counted_once() {
        let at = |n: u64| Some(format!("{n}-0").parse::<Offset>().expect("it is one"));
        let mut stream = Stream { name: "s".into(), position: at(10), passed: Some(10), full: true, doubted: true };
        let extent = |first, last, length, added| Extent { first: at(first), last: at(last), length, added };
        for (extent, missed, why) in [
            (extent(1, 10, 10, Some(10)), None, "all is there, and read"),
            (extent(5, 20, 16, Some(20)), None, "what was read is trimmed"),
            (extent(11, 20, 10, Some(20)), None, "all that was read is trimmed, and no more"),
            (extent(14, 20, 7, Some(20)), Some(Some(3)), "three are missing"),
            (extent(14, 20, 7, Some(20)), None, "they are counted"),
            (extent(17, 30, 14, Some(30)), Some(Some(3)), "three more"),
            (extent(100, 102, 3, Some(3)), Some(None), "another stream"),
            (extent(100, 103, 4, Some(4)), None, "the same"),
            (extent(100, 103, 4, None), Some(None), "Redis does not count"),
        ] {
            assert_eq!(stream.compare(&extent), missed, "{why}");
        }
        let gone = Extent { first: None, last: None, length: 0, added: Some(0) };
        (stream.position, stream.passed) = (at(10), Some(10));
        assert_eq!((stream.compare(&gone), stream.compare(&gone)), (Some(None), None));
    }
}
