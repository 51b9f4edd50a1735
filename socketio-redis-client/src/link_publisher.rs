//! Sends messages through one connection to Redis, in order, without anybody waiting.
//!
//! [`LinkPublisher::send`] appends a ready command to the last [`Batch`] of a bounded queue. One task takes whole
//! batches, writes each in as few system calls as it takes, and fills in the answers as they come. While a write is
//! under way the next batch grows, so the more there is to send the less each message costs.
//!
//! A message is sent at most once. When the link breaks, what was being sent and had no answer yet fails: it may have
//! arrived. What was still queued waits for the next link, within the queue's size and age.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use socketio_protocol::cluster::{BusError, BusStats, Published, Receipts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    ConnectError,
    address::Address,
    backoff::Backoff,
    counts::Losses,
    link::{CONNECT_TIMEOUT, Link},
    resp::{self, Reply, Scanner, Token},
};

/// A batch is closed once it is so large: memory moves in pieces, and little is lost with a link.
const BATCH_BYTES: usize = 256 << 10;
/// A batch begins with room for so much: mostly more than one message comes.
const FIRST_BYTES: usize = 1000;
/// So much is read at once.
const READ_BYTES: usize = 16 << 10;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(500);
/// A link that says nothing for so long although an answer is due is dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// A link that was not used for so long is asked whether it is still there.
const IDLE_PING: Duration = Duration::from_secs(5);
/// How long what is queued may still be sent after the last [`LinkPublisher`] is gone.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// A link that lived so long was a good one; the next trouble is a new one.
const GOOD_LINK: Duration = Duration::from_secs(2);

/// How much a [`Publisher`](crate::Publisher) keeps when it cannot send.
///
/// ```
/// use std::time::Duration;
/// use socketio_redis_client::QueueLimits;
///
/// // What is old is worth nothing here.
/// let limits = QueueLimits { age: Duration::from_secs(5), ..QueueLimits::default() };
/// assert_eq!(limits.messages, 65_536);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// So many messages. Default 65,536.
    pub messages: usize,
    /// So many bytes. Default 64 MiB. One message alone is taken whatever its size.
    pub bytes: usize,
    /// For so long while there is no link; then they fail. Default one minute.
    pub age: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits { messages: 65_536, bytes: 64 << 20, age: Duration::from_secs(60) }
    }
}

/// Sends messages through one connection to Redis. Cheap to clone; the connection ends with the last clone, after
/// what is queued has been sent.
#[derive(Clone, Debug)]
pub(crate) struct LinkPublisher {
    owner: Arc<Owner>,
}

/// Ends the task when the last publisher is gone.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

struct Shared {
    state: Mutex<State>,
    limits: QueueLimits,
    wake: Notify,
    link: watch::Sender<LinkState>,
    detour: Option<Detour>,
    losses: Arc<Losses>,
    round_trips: RoundTrips,
}

/// How often something was sent and answered, and how long that took.
#[derive(Default)]
struct RoundTrips {
    count: AtomicU64,
    micros: AtomicU64,
}

impl RoundTrips {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// What has been sent and is not answered, and since when.
type Due = VecDeque<(Answers, Instant)>;

/// Takes a command that was refused with these words to where it belongs, and says what becomes of it there. `None` if it
/// does not belong elsewhere.
pub(crate) type Detour = Arc<dyn Fn(&str, Vec<u8>) -> Option<Published> + Send + Sync>;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        let mut shown = f.debug_struct("Shared");
        shown.field("messages", &state.messages).field("bytes", &state.bytes).field("closed", &state.closed);
        shown.finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq)]
enum LinkState {
    Connecting,
    Up,
    Down(ConnectError),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Batch>,
    /// In the queue.
    messages: usize,
    bytes: usize,
    /// The task has seen the queue empty and waits to be woken.
    idle: bool,
    closed: bool,
}

/// Commands that are written together.
struct Batch {
    commands: Vec<u8>,
    answers: Answers,
    since: Instant,
    sealed: bool,
}

/// To whom the answers to a batch go.
enum Answers {
    /// So many messages, one number each.
    Messages {
        receipts: Receipts,
        sent: usize,
        answered: usize,
        /// What was sent, where a part of it may have to take a detour.
        commands: Option<Bytes>,
    },
    /// One command, its answer as it is.
    Call(Option<oneshot::Sender<Result<Reply, BusError>>>),
    /// One command that only shows that Redis is there.
    Ping,
}

impl LinkPublisher {
    /// Starts publishing to `address`; the connection is made in the background and made again for ever.
    ///
    /// `name` is what Redis' `CLIENT LIST` shows. `losses` counts what is not sent. `detour` gets what this server is not
    /// the right one for. Has to be called inside a Tokio runtime, which carries the connection.
    pub(crate) fn start(
        address: Address,
        name: &'static str,
        limits: QueueLimits,
        losses: Arc<Losses>,
        detour: Option<Detour>,
    ) -> Self {
        let (link, _) = watch::channel(LinkState::Connecting);
        let (wake, round_trips) = (Notify::new(), RoundTrips::default());
        let shared = Arc::new(Shared { state: Mutex::default(), limits, wake, link, detour, losses, round_trips });
        tokio::spawn(run(shared.clone(), address, name));
        Self { owner: Arc::new(Owner { shared }) }
    }

    /// Waits until there is a link, or the first attempt to make one has failed.
    ///
    /// # Errors
    ///
    /// Why there is none now. It is being tried again.
    pub(crate) async fn connected(&self) -> Result<(), ConnectError> {
        let mut link = self.shared().link.subscribe();
        let state = link.wait_for(|state| *state != LinkState::Connecting).await;
        match state.as_deref() {
            Ok(LinkState::Down(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Queues a command that is answered with a number or an id.
    pub(crate) fn send(&self, parts: &[&[u8]]) -> Result<Published, BusError> {
        let shared = self.shared();
        let mut guard = shared.lock();
        let state = &mut *guard;
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if state.messages >= shared.limits.messages || (state.messages > 0 && state.bytes + size > shared.limits.bytes)
        {
            return Err(shared.losses.full(state.messages));
        }
        let open = state.queue.back_mut().filter(|batch| !batch.sealed && batch.commands.len() < BATCH_BYTES);
        let published = match open {
            Some(Batch { commands, answers: Answers::Messages { receipts, sent, .. }, .. }) => {
                let before = commands.len();
                resp::command(commands, parts);
                state.bytes += commands.len() - before;
                *sent += 1;
                receipts.published(*sent - 1)
            }
            _ => {
                let mut commands = Vec::with_capacity(FIRST_BYTES.max(size + 64));
                resp::command(&mut commands, parts);
                state.bytes += commands.len();
                let receipts = Receipts::new();
                let published = receipts.published(0);
                let answers = Answers::Messages { receipts, sent: 1, answered: 0, commands: None };
                state.queue.push_back(Batch { commands, answers, since: Instant::now(), sealed: false });
                published
            }
        };
        state.messages += 1;
        shared.wake_if_idle(guard);
        Ok(published)
    }

    /// Queues a command that comes from elsewhere, whatever the queue's size. Its answer goes to `receipts`.
    pub(crate) fn send_raw(&self, command: Vec<u8>, receipts: Receipts) {
        let shared = self.shared();
        let mut state = shared.lock();
        state.messages += 1;
        state.bytes += command.len();
        let answers = Answers::Messages { receipts, sent: 1, answered: 0, commands: None };
        state.queue.push_back(Batch { commands: command, answers, since: Instant::now(), sealed: true });
        shared.wake_if_idle(state);
    }

    /// Sends a command and gives back its answer; fails at once when there is no link.
    pub(crate) fn call(&self, parts: &[&[u8]]) -> impl Future<Output = Result<Reply, BusError>> + Send + use<> {
        let shared = self.shared();
        let (answer, answered) = oneshot::channel();
        if let LinkState::Down(error) = &*shared.link.borrow() {
            let _ = answer.send(Err(error.clone().into()));
        } else {
            let mut commands = Vec::new();
            resp::command(&mut commands, parts);
            let answers = Answers::Call(Some(answer));
            let mut state = shared.lock();
            state.queue.push_back(Batch { commands, answers, since: Instant::now(), sealed: true });
            shared.wake_if_idle(state);
        }
        async { answered.await.unwrap_or(Err(BusError::Closed)) }
    }

    /// Whether the last attempt to make a link has failed.
    pub(crate) fn is_down(&self) -> bool {
        matches!(*self.shared().link.borrow(), LinkState::Down(_))
    }

    /// Takes back the messages that wait to be sent, each with where its answer goes.
    pub(crate) fn take_back(&self) -> Vec<(Vec<u8>, Receipts)> {
        let batches: Vec<Batch> = std::iter::from_fn(|| self.shared().lock().take()).collect();
        let mut taken = Vec::new();
        for batch in batches {
            match &batch.answers {
                Answers::Messages { receipts, .. } => {
                    taken.extend(resp::commands(&batch.commands).map(|command| {
                        let elsewhere = Receipts::new();
                        receipts.answer_elsewhere(elsewhere.published(0));
                        (command.to_vec(), elsewhere)
                    }));
                }
                _ => batch.answers.fail(&BusError::Closed),
            }
        }
        taken
    }

    /// Waits until all that has been queued so far has an answer or has failed.
    pub(crate) async fn settled(&self) {
        // Answers come in order: that to a command behind all others is the last. Without a link it fails at once.
        while self.call(&[b"PING"]).await.is_err() && self.queued() > 0 {
            sleep(TICK).await;
        }
    }

    /// How the link is; not what was lost, which all links count together.
    pub(crate) fn stats(&self) -> BusStats {
        let shared = self.shared();
        let is_up = u64::from(*shared.link.borrow() == LinkState::Up);
        let RoundTrips { count, micros } = &shared.round_trips;
        BusStats {
            links_up: is_up,
            links_down: 1 - is_up,
            queued: self.queued() as u64,
            round_trips: count.load(Relaxed),
            round_trip_time: Duration::from_micros(micros.load(Relaxed)),
            ..BusStats::default()
        }
    }

    /// How many messages wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.shared().lock().messages
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task if it sleeps: once for however many messages follow.
    fn wake_if_idle(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.idle) {
            drop(state);
            self.wake.notify_one();
        }
    }

    fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let batch = state.take();
        state.idle = batch.is_none();
        batch
    }

    fn finished(&self) -> bool {
        let state = self.lock();
        state.closed && state.queue.is_empty()
    }

    /// While there is no link: calls fail now, messages when they are too old.
    fn expire(&self, error: &ConnectError) {
        let mut failed = Vec::new();
        {
            let mut state = self.lock();
            if let Some(last) = state.queue.back_mut() {
                last.sealed = true;
            }
            let age = if state.closed { FLUSH_TIMEOUT } else { self.limits.age };
            let now = Instant::now();
            let mut kept = VecDeque::new();
            while let Some(batch) = state.take() {
                match batch.answers {
                    Answers::Messages { .. } if now.duration_since(batch.since) < age => kept.push_back(batch),
                    _ => failed.push(batch),
                }
            }
            for batch in kept {
                state.put(batch);
            }
        }
        for batch in failed {
            self.losses.failed(batch.messages());
            batch.answers.fail(&error.clone().into());
        }
    }
}

impl State {
    fn take(&mut self) -> Option<Batch> {
        let batch = self.queue.pop_front()?;
        if let messages @ 1.. = batch.messages() {
            self.messages -= messages;
            self.bytes -= batch.commands.len();
        }
        Some(batch)
    }

    /// Only batches of messages come back.
    fn put(&mut self, batch: Batch) {
        self.messages += batch.messages();
        self.bytes += batch.commands.len();
        self.queue.push_back(batch);
    }
}

impl Batch {
    fn messages(&self) -> usize {
        match &self.answers {
            Answers::Messages { sent, .. } => *sent,
            _ => 0,
        }
    }
}

impl Answers {
    /// How many messages have no answer.
    fn due(&self) -> usize {
        match self {
            Answers::Messages { sent, answered, .. } => sent - answered,
            _ => 0,
        }
    }

    fn fail(self, error: &BusError) {
        match self {
            Answers::Messages { receipts, .. } => receipts.fail(error.clone()),
            Answers::Call(Some(answer)) => {
                let _ = answer.send(Err(error.clone()));
            }
            Answers::Call(None) | Answers::Ping => {}
        }
    }
}

/// The task: links, one after the other, until nobody publishes any more.
async fn run(shared: Arc<Shared>, address: Address, name: &'static str) {
    let mut backoff = Backoff::default();
    let mut last_error = None;
    loop {
        let wait = sleep(backoff.next_wait());
        let attempt = async {
            wait.await;
            Link::open(&address, name, CONNECT_TIMEOUT).await
        };
        let error = match meanwhile(&shared, last_error.as_ref(), attempt).await {
            Ok(link) => {
                shared.link.send_replace(LinkState::Up);
                let since = Instant::now();
                let Err(error) = carry(&shared, link, &address).await else { return };
                if since.elapsed() >= GOOD_LINK {
                    backoff.reset();
                    last_error = None; // The next trouble is a new one, to be logged.
                }
                error
            }
            Err(error) => error,
        };
        if last_error.as_ref() != Some(&error) {
            tracing::warn!(target: "socketio::redis", %error, "no link to Redis for publishing; trying again");
        }
        shared.expire(&error);
        shared.link.send_replace(LinkState::Down(error.clone()));
        last_error = Some(error);
        if shared.finished() {
            return;
        }
    }
}

/// Waits for `attempt` and lets messages that became too old meanwhile fail.
async fn meanwhile<T>(shared: &Shared, error: Option<&ConnectError>, attempt: impl Future<Output = T>) -> T {
    let mut attempt = std::pin::pin!(attempt);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut attempt => return done,
            _ = tick.tick() => if let Some(error) = error { shared.expire(error) },
        }
    }
}

/// Sends and receives until the link breaks (`Err`) or nobody publishes any more and all is sent (`Ok`).
async fn carry(shared: &Shared, link: Link, address: &Address) -> Result<(), ConnectError> {
    let (mut reader, mut writer) = tokio::io::split(link.stream);
    let mut due: Due = VecDeque::new();
    let outcome = exchange(shared, &mut reader, &mut writer, &mut due, address).await;
    if let Err(error) = &outcome {
        // All of these were handed to the system at least in part: they may have arrived.
        let error = BusError::from(error.clone());
        for (answers, _) in due {
            shared.losses.unknown(answers.due());
            answers.fail(&error);
        }
    }
    outcome
}

async fn exchange(
    shared: &Shared,
    reader: &mut (impl AsyncReadExt + Unpin),
    writer: &mut (impl AsyncWriteExt + Unpin),
    due: &mut Due,
    address: &Address,
) -> Result<(), ConnectError> {
    let broken =
        |error: io::Error| ConnectError::Unreachable { address: address.to_string(), reason: error.to_string() };
    let mut received = BytesMut::with_capacity(READ_BYTES);
    let mut writing = Bytes::new();
    let mut written = 0;
    let mut complained = false;
    let mut last_heard = Instant::now();
    let mut asked_since = last_heard;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if written == writing.len() {
            match shared.take() {
                Some(batch) => {
                    if due.is_empty() {
                        asked_since = Instant::now();
                    }
                    (writing, written) = (batch.commands.into(), 0);
                    let mut answers = batch.answers;
                    if let (Answers::Messages { commands, .. }, Some(_)) = (&mut answers, &shared.detour) {
                        *commands = Some(writing.clone());
                    }
                    due.push_back((answers, Instant::now()));
                }
                None => (writing, written) = (Bytes::new(), 0),
            }
            if writing.is_empty() && due.is_empty() && shared.finished() {
                return Ok(());
            }
        }
        let idle = writing.is_empty();
        tokio::select! {
            biased;
            read = reader.read_buf(&mut received) => {
                if read.map_err(broken)? == 0 {
                    return Err(broken(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")));
                }
                last_heard = Instant::now();
                let used = answer(&received, due, shared, &mut complained).map_err(broken)?;
                let _ = received.split_to(used);
                received.reserve(READ_BYTES);
            }
            wrote = writer.write(&writing[written..]), if !idle => {
                match wrote.map_err(broken)? {
                    0 => return Err(broken(io::ErrorKind::WriteZero.into())),
                    count => written += count,
                }
                if written == writing.len() {
                    flush(writer, address).await?;
                }
            }
            () = shared.wake.notified(), if idle => {}
            _ = tick.tick() => {
                let now = Instant::now();
                if due.is_empty() {
                    if now.duration_since(last_heard) >= IDLE_PING && idle {
                        let mut ping = Vec::new();
                        resp::command(&mut ping, &[b"PING"]);
                        (writing, written) = (ping.into(), 0);
                        due.push_back((Answers::Ping, now));
                        asked_since = now;
                    }
                } else if now.duration_since(last_heard.max(asked_since)) >= ANSWER_TIMEOUT {
                    return Err(ConnectError::Timeout { address: address.to_string(), after: ANSWER_TIMEOUT });
                }
            }
        }
    }
}

/// Nothing to do over TCP; over TLS, hands over what the last record holds.
async fn flush(writer: &mut (impl AsyncWriteExt + Unpin), address: &Address) -> Result<(), ConnectError> {
    let address = || address.to_string();
    match timeout(ANSWER_TIMEOUT, writer.flush()).await {
        Ok(flushed) => {
            flushed.map_err(|error| ConnectError::Unreachable { address: address(), reason: error.to_string() })
        }
        Err(_) => Err(ConnectError::Timeout { address: address(), after: ANSWER_TIMEOUT }),
    }
}

/// Gives what has arrived to those it is for; tells how many bytes that was.
fn answer(received: &[u8], due: &mut Due, shared: &Shared, complained: &mut bool) -> io::Result<usize> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "it does not speak as Redis does");
    let mut scanner = Scanner::new(received);
    let mut used = 0;
    loop {
        // Nothing that is pushed is for a link that subscribes to nothing.
        if scanner.skip_pushes().map_err(|_| bad())?.is_none() {
            return Ok(used);
        }
        used = scanner.position();
        let Some((front, since)) = due.front_mut() else { break };
        match front {
            Answers::Messages { receipts, sent, answered, commands } => {
                let mut run = Vec::new();
                let wanted = receipts.is_wanted();
                while answered < sent {
                    let Some(()) = scanner.skip_pushes().map_err(|_| bad())? else { break };
                    let outcome = match scanner.next_token().map_err(|_| bad())? {
                        Some(Token::Integer(receivers)) => Ok(u64::try_from(receivers).unwrap_or(0)),
                        // The id of a stream entry, or what was set; who reads it is not known.
                        Some(Token::Bulk(_) | Token::Status(_)) => Ok(0),
                        Some(Token::Error(reason)) => {
                            let reason = String::from_utf8_lossy(&received[reason]).into_owned();
                            let command = commands.as_ref().and_then(|sent| resp::commands(sent).nth(*answered));
                            let detour = shared.detour.as_ref().zip(command);
                            if let Some(elsewhere) = detour.and_then(|(take, command)| take(&reason, command.to_vec()))
                            {
                                receipts.answer(std::mem::take(&mut run));
                                receipts.answer_elsewhere(elsewhere);
                                used = scanner.position();
                                *answered += 1;
                                continue;
                            }
                            if !std::mem::replace(complained, true) {
                                tracing::warn!(target: "socketio::redis", %reason, "Redis refuses messages; said once for each connection");
                            }
                            shared.losses.failed(1);
                            Err(BusError::Refused { reason })
                        }
                        Some(_) => return Err(bad()),
                        None => break,
                    };
                    used = scanner.position();
                    *answered += 1;
                    if wanted {
                        run.push(outcome);
                    }
                }
                if wanted {
                    receipts.answer(run);
                }
                if answered < sent {
                    return Ok(used);
                }
            }
            Answers::Call(_) | Answers::Ping => {
                let Some(reply) = resp::reply(&mut scanner).map_err(|_| bad())? else { return Ok(used) };
                used = scanner.position();
                if let Answers::Call(answer) = front
                    && let Some(answer) = answer.take()
                {
                    let _ = answer.send(match reply {
                        Reply::Error(reason) => Err(BusError::Refused { reason }),
                        reply => Ok(reply),
                    });
                }
            }
        }
        shared.round_trips.add(since.elapsed());
        due.pop_front();
    }
    if used < received.len() { Err(bad()) } else { Ok(used) }
}
