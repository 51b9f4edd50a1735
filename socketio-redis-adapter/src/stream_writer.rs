//! Adds entries to a stream: each once and in order, also when the link breaks while they are on their way.
//!
//! Entries carry a number of their own (`n`), so that after a break the stream itself tells which of those without an
//! answer have arrived; the others are sent again, before all that came later. Nothing waits longer than the queue's age.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use socketio_protocol::cluster::{BusError, Offset, Published, Receipts};
use socketio_redis_client::{
    ConnectError, Losses, QueueLimits, Redis,
    backoff::Backoff,
    resp::{self, Reply},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::stream_reader::{ANSWER_TIMEOUT, GOOD_LINK, Talk, odd, offset, pairs};

/// So many are on their way at once.
const IN_FLIGHT: usize = 512;
/// So many entries of the stream are looked through at once after a break.
const PAGE: &str = "1000";
/// How long what is queued may still be sent after the last [`StreamWriter`] is gone.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Adds to one stream. The connection ends with it, after what is queued has been sent.
pub(crate) struct StreamWriter {
    shared: Arc<Shared>,
}

struct Shared {
    redis: Redis,
    stream: String,
    limits: QueueLimits,
    losses: Arc<Losses>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Addition>,
    bytes: usize,
    /// The number of the last entry.
    last: u64,
    /// Since when nobody adds any more.
    closed: Option<Instant>,
}

struct Addition {
    uid: String,
    number: u64,
    command: Vec<u8>,
    since: Instant,
    receipts: Receipts,
}

impl StreamWriter {
    pub(crate) fn start(redis: Redis, stream: String, limits: QueueLimits, losses: Arc<Losses>) -> StreamWriter {
        let shared = Shared { redis, stream, limits, losses, state: Mutex::default(), wake: Notify::new() };
        let shared = Arc::new(shared);
        tokio::spawn(run(shared.clone()));
        StreamWriter { shared }
    }

    /// Queues an entry of server `uid` with these fields, in a stream that is kept to about `max_len` entries.
    pub(crate) fn add(&self, max_len: &str, uid: &str, fields: &[&[u8]]) -> Result<Published, BusError> {
        let Shared { stream, limits, .. } = &*self.shared;
        let mut state = self.shared.lock();
        let size: usize = fields.iter().map(|field| field.len()).sum();
        let waiting = state.queue.len();
        if waiting >= limits.messages || (waiting > 0 && state.bytes + size > limits.bytes) {
            return Err(self.shared.losses.full(waiting));
        }
        state.last += 1;
        let number = state.last;
        let digits = number.to_string();
        let mut parts: Vec<&[u8]> =
            vec![b"XADD", stream.as_bytes(), b"MAXLEN", b"~", max_len.as_bytes(), b"*", b"uid", uid.as_bytes()];
        parts.extend(fields);
        parts.extend([&b"n"[..], digits.as_bytes()]);
        let mut command = Vec::with_capacity(size + 128);
        resp::command(&mut command, &parts);
        let receipts = Receipts::new();
        let published = receipts.published(0);
        state.bytes += command.len();
        state.queue.push_back(Addition { uid: uid.to_owned(), number, command, since: Instant::now(), receipts });
        drop(state);
        self.shared.wake.notify_one();
        Ok(published)
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.shared.lock().closed = Some(Instant::now());
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ones to send.
    fn take(&self) -> VecDeque<Addition> {
        let mut state = self.lock();
        let count = state.queue.len().min(IN_FLIGHT);
        let taken: VecDeque<Addition> = state.queue.drain(..count).collect();
        state.bytes -= taken.iter().map(|addition| addition.command.len()).sum::<usize>();
        taken
    }

    /// While there is no link: what is too old fails.
    fn expire(&self, flight: &mut VecDeque<Addition>, error: &ConnectError) {
        let mut state = self.lock();
        let age = if state.closed.is_some() { FLUSH_TIMEOUT } else { self.limits.age };
        let too_old = |addition: &Addition| addition.since.elapsed() >= age;
        let mut failed: Vec<Addition> = Vec::new();
        while flight.front().is_some_and(too_old) {
            failed.extend(flight.pop_front());
        }
        while state.queue.front().is_some_and(too_old) {
            let addition = state.queue.pop_front();
            state.bytes -= addition.as_ref().map_or(0, |addition| addition.command.len());
            failed.extend(addition);
        }
        drop(state);
        self.losses.failed(failed.len());
        failed.iter().for_each(|addition| addition.receipts.fail(error.clone().into()));
    }

    fn finished(&self) -> bool {
        let state = self.lock();
        state.closed.is_some_and(|since| state.queue.is_empty() || since.elapsed() >= FLUSH_TIMEOUT)
    }
}

/// The task: links, one after the other, until nobody adds any more.
async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    let mut flight = VecDeque::new();
    // The last entry that was there before those on their way.
    let mut known = None;
    let mut last_error = None;
    loop {
        sleep(backoff.next_wait()).await;
        let error = match shared.redis.open(&shared.stream, "socketio-stream-writer").await {
            Ok(link) => {
                let since = Instant::now();
                let Err(error) = carry(&shared, Talk::over(link), &mut flight, &mut known).await else { return };
                shared.redis.refused(&error.to_string());
                if since.elapsed() >= GOOD_LINK {
                    backoff.reset();
                    last_error = None; // The next trouble is a new one, to be logged.
                }
                let address = shared.redis.address().to_string();
                match error.kind() {
                    io::ErrorKind::TimedOut => ConnectError::Timeout { address, after: ANSWER_TIMEOUT },
                    _ => ConnectError::Unreachable { address, reason: error.to_string() },
                }
            }
            Err(error) => error,
        };
        if last_error.as_ref() != Some(&error) {
            tracing::warn!(%error, "no link to Redis for writing a stream; trying again");
        }
        shared.expire(&mut flight, &error);
        last_error = Some(error);
        if flight.is_empty() && shared.finished() {
            return;
        }
    }
}

async fn carry(
    shared: &Shared,
    mut talk: Talk,
    flight: &mut VecDeque<Addition>,
    known: &mut Option<Offset>,
) -> io::Result<()> {
    match *known {
        Some(from) if !flight.is_empty() => look_for(shared, &mut talk, flight, from).await?,
        _ => {}
    }
    if known.is_none() || flight.is_empty() {
        let last = [&b"XREVRANGE"[..], shared.stream.as_bytes(), b"+", b"-", b"COUNT", b"1"];
        *known = Some(talk.entry_id(&last).await?.unwrap_or_default());
    }
    loop {
        if flight.is_empty() {
            *flight = shared.take();
        }
        if flight.is_empty() {
            if shared.finished() {
                return Ok(());
            }
            // Where nothing is to be said the link is not looked at: what is sent over a dead one is sent again.
            shared.wake.notified().await;
            continue;
        }
        let commands: Vec<u8> = flight.iter().flat_map(|addition| addition.command.iter().copied()).collect();
        let answers = async {
            talk.write(&commands).await?;
            while let Some(addition) = flight.front() {
                match talk.answer().await? {
                    Reply::Bulk(Some(id)) => {
                        *known = Some(offset(&id)?);
                        addition.receipts.answer([Ok(0)]);
                    }
                    Reply::Error(reason) if is_elsewhere(&reason) => return Err(io::Error::other(reason)),
                    Reply::Error(reason) => {
                        tracing::warn!(%reason, "Redis refuses an entry");
                        shared.losses.failed(1);
                        addition.receipts.answer([Err(BusError::Refused { reason })]);
                    }
                    _ => return Err(odd()),
                }
                flight.pop_front();
            }
            Ok(())
        };
        timeout(ANSWER_TIMEOUT, answers).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    }
}

/// Whether the stream can be written on another server, or here a moment later.
fn is_elsewhere(reason: &str) -> bool {
    ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN"]
        .iter()
        .any(|word| reason.starts_with(word))
}

/// Settles those that have arrived before the link broke.
async fn look_for(
    shared: &Shared,
    talk: &mut Talk,
    flight: &mut VecDeque<Addition>,
    mut from: Offset,
) -> io::Result<()> {
    let mut arrived: HashSet<(Vec<u8>, u64)> = HashSet::new();
    loop {
        let first = from.next().to_string();
        let page = [&b"XRANGE"[..], shared.stream.as_bytes(), first.as_bytes(), b"+", b"COUNT", PAGE.as_bytes()];
        let Reply::Array(entries) = talk.ask(&page, ANSWER_TIMEOUT).await? else { return Err(odd()) };
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            let Reply::Array(pair) = entry else { return Err(odd()) };
            let [Reply::Bulk(Some(id)), Reply::Array(fields)] = pair.as_slice() else { return Err(odd()) };
            from = offset(id)?;
            let field = |name: &[u8]| pairs(fields).find(|(field, _)| *field == name).map(|(_, value)| value);
            let number = field(b"n").and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
            if let (Some(uid), Some(number)) = (field(b"uid"), number) {
                arrived.insert((uid.to_vec(), number));
            }
        }
    }
    flight.retain(|addition| {
        let there = arrived.contains(&(addition.uid.as_bytes().to_vec(), addition.number));
        if there {
            addition.receipts.answer([Ok(0)]);
        }
        !there
    });
    Ok(())
}
