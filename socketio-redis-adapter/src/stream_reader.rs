//! Reads the streams of all namespaces, through one connection that is made again for ever, from where it stopped; in a
//! Redis Cluster, where each stream has a node of its own, through one for each stream.
//!
//! What is added while the link is down is read afterwards, so an outage loses nothing, unless the stream was trimmed
//! or emptied meanwhile: that is told as a gap. An entry that cannot be read is passed over.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{Arc, PoisonError, RwLock},
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
    tasks: Vec<JoinHandle<()>>,
}

type Namespaces = Arc<RwLock<HashMap<String, Namespace>>>;

struct Namespace {
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
            .map(|name| Stream { name, position: None, full: false })
            .collect();
        let at_a_time = if redis.address().is_cluster() { 1 } else { streams.len().max(1) };
        let (mut positioned, mut tasks) = (Vec::new(), Vec::new());
        let mut streams = streams.into_iter().peekable();
        while streams.peek().is_some() {
            let (tell_positioned, known) = watch::channel(false);
            let task = Task {
                redis: redis.clone(),
                streams: streams.by_ref().take(at_a_time).collect(),
                read_count: options.read_count.max(1),
                namespaces: namespaces.clone(),
                positioned: tell_positioned,
                last_heard: Instant::now(),
            };
            positioned.push(known);
            tasks.push(tokio::spawn(task.run()));
        }
        Arc::new(Reader { namespaces, positioned, tasks })
    }

    pub(crate) fn register(self: &Arc<Self>, nsp: &str, uid: String, inbox: Arc<dyn Inbox>) -> Registered {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(nsp.to_owned(), Namespace { uid: uid.clone(), inbox, log: false });
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
    last_heard: Instant,
}

struct Stream {
    name: String,
    /// The last entry read; `None` before the first connection.
    position: Option<Offset>,
    /// The last read brought as much as was asked for: there may be more, and it may have been trimmed.
    full: bool,
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
            stream.full = false;
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
            let name = self.streams[at].name.clone();
            let last = talk.entry_id(&[b"XREVRANGE", name.as_bytes(), b"+", b"-", b"COUNT", b"1"]).await?;
            match self.streams[at].position {
                None => self.streams[at].position = Some(last.unwrap_or_default()),
                // Redis lost what we had read, and its clock went back: go on from what there is.
                Some(position) if last.is_some_and(|last| last < position) => {
                    self.streams[at].position = last;
                    self.tell_gap();
                }
                Some(_) => self.streams[at].full = true,
            }
        }
        Ok(())
    }

    /// Where more may wait than was read: whether the first that is still there comes after what we know.
    async fn look_for_trimming(&mut self, talk: &mut Talk) -> io::Result<()> {
        for at in 0..self.streams.len() {
            let Stream { name, position: Some(position), full: true } = &self.streams[at] else { continue };
            let (name, position) = (name.clone(), *position);
            let first = talk.entry_id(&[b"XRANGE", name.as_bytes(), b"-", b"+", b"COUNT", b"1"]).await?;
            if position != Offset::default() && first.is_some_and(|first| first > position) {
                self.tell_gap();
            }
        }
        Ok(())
    }

    fn tell_gap(&self) {
        let until = Instant::now();
        let inboxes: Vec<_> = {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            namespaces.values().map(|namespace| namespace.inbox.clone()).collect()
        };
        for inbox in inboxes {
            inbox.status(BusStatus::Gap { since: self.last_heard, until });
        }
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
