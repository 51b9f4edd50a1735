//! Hears what others publish, through one connection to Redis that is made again for ever.
//!
//! Each [`LinkListener`] is one namespace: its channels, its pattern, and whom to tell. Every subscription is confirmed
//! one by one before a listener is told that it is up; after an outage it is told how long it heard nothing.
//!
//! One task reads and delivers. A message is delivered from where it was read to, without a copy: some 600 instructions
//! from the read to the sink. While deliveries take long it goes on reading in between, so that Redis does not cut
//! us off as a slow reader; what waits here is bounded, and what does not fit is dropped and counted.
//!
//! A link on which nothing comes is asked every few seconds whether it is still there: a half-open TCP connection
//! would otherwise be deaf for ever.

use std::{
    collections::{HashMap, VecDeque},
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use socketio_protocol::cluster::{BusError, BusStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    ConnectError,
    address::Address,
    backoff::Backoff,
    counts::Brought,
    heard::{Event, event},
    link::{CONNECT_TIMEOUT, Link, Stream},
    resp::{self, NotResp},
    subscriber::{Sink, Topics},
    topology::Topology,
};

/// So much is read at once.
const READ_BYTES: usize = 64 << 10;
/// So many messages are delivered before it is looked whether that has taken long …
const SLICE: usize = 64;
/// … which is so long: what has arrived besides waits, and reading goes on.
const TURN: Duration = Duration::from_millis(2);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Redis is asked whether it is there after so long a silence …
const IDLE_PING: Duration = Duration::from_secs(4);
/// … and the link given up after so much more.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a confirmation may take.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long until a refused subscription is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(5);
/// A link that lived so long was a good one; the next trouble is a new one.
const GOOD_LINK: Duration = Duration::from_secs(2);

/// How a listener's subscriptions stand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// Asked for, or to be asked for once there is a link.
    Pending,
    /// All confirmed.
    Up,
    /// Redis said no.
    Refused(BusError),
    /// Given up by us.
    Closed,
}

impl Standing {
    /// Waits until it is known whether Redis lets us hear all.
    pub(crate) async fn settled(mut standing: watch::Receiver<Standing>) -> Result<(), BusError> {
        let settled = standing.wait_for(|standing| *standing != Standing::Pending).await;
        match settled.as_deref() {
            Ok(Standing::Up) => Ok(()),
            Ok(Standing::Refused(error)) => Err(error.clone()),
            _ => Err(BusError::Closed),
        }
    }
}

/// A handle on one namespace's subscriptions.
pub(crate) struct LinkListener {
    id: u64,
    commands: mpsc::UnboundedSender<Command>,
    standing: watch::Receiver<Standing>,
    /// How many channels were added.
    added: AtomicU64,
    /// How many of these are known to be heard, or not.
    settled: watch::Receiver<u64>,
    closed: AtomicBool,
}

impl LinkListener {
    /// Waits for all confirmations, those of the channels that were added so far among them.
    pub(crate) async fn ready(&self) -> Result<(), BusError> {
        self.open()?;
        Standing::settled(self.standing.clone()).await?;
        self.added().await?;
        Standing::settled(self.standing.clone()).await
    }

    /// Waits for the confirmations of the channels that were added so far.
    pub(crate) fn added(&self) -> impl Future<Output = Result<(), BusError>> + Send + use<> {
        let (added, mut settled) = (self.added.load(Ordering::Relaxed), self.settled.clone());
        async move { settled.wait_for(|settled| *settled >= added).await.map(drop).map_err(|_| BusError::Closed) }
    }

    /// Subscribes to one more sharded channel, in the background.
    pub(crate) fn add(&self, channel: String) {
        self.added.fetch_add(1, Ordering::Relaxed);
        let _ = self.commands.send(Command::Add(self.id, channel));
    }

    /// Unsubscribes from a sharded channel.
    pub(crate) fn remove(&self, channel: String) {
        let _ = self.commands.send(Command::Remove(self.id, channel));
    }

    /// An error once it is closed.
    pub(crate) fn open(&self) -> Result<(), BusError> {
        if self.closed.load(Ordering::Relaxed) { Err(BusError::Closed) } else { Ok(()) }
    }

    /// Unsubscribes.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let _ = self.commands.send(Command::Close(self.id));
    }
}

enum Command {
    Open {
        id: u64,
        topics: Topics,
        sink: Arc<dyn Sink>,
        standing: watch::Sender<Standing>,
        settled: watch::Sender<u64>,
    },
    Add(u64, String),
    Remove(u64, String),
    Close(u64),
}

/// Opens listeners. The connection ends when the subscriber and all listeners are gone.
#[derive(Clone)]
pub(crate) struct LinkSubscriber {
    commands: mpsc::UnboundedSender<Command>,
    next_id: Arc<AtomicU64>,
    link: watch::Receiver<Option<Result<(), ConnectError>>>,
}

impl LinkSubscriber {
    /// Starts listening at `place`; `buffer` is how many bytes of messages may wait to be delivered.
    pub(crate) fn start(place: Place, buffer: usize, brought: Arc<Brought>) -> LinkSubscriber {
        let (commands, received) = mpsc::unbounded_channel();
        let (link_state, link) = watch::channel(None);
        let task = Task {
            place,
            buffer,
            brought,
            commands: received,
            listeners: HashMap::new(),
            topics: HashMap::new(),
            expected: VecDeque::new(),
            last_heard: Instant::now(),
            link_state,
        };
        tokio::spawn(task.run());
        LinkSubscriber { commands, next_id: Arc::default(), link }
    }

    /// Waits until there is a link, or the first attempt to make one has failed.
    pub(crate) async fn connected(&self) -> Result<(), ConnectError> {
        let mut link = self.link.clone();
        match link.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Err(error))) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Subscribes to `topics` in the background and from then on tells `sink`.
    pub(crate) fn open(&self, topics: Topics, sink: Arc<dyn Sink>) -> LinkListener {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (tell_standing, standing) = watch::channel(Standing::Pending);
        let (tell_settled, settled) = watch::channel(0);
        let open = Command::Open { id, topics, sink, standing: tell_standing, settled: tell_settled };
        let _ = self.commands.send(open);
        let (commands, closed) = (self.commands.clone(), AtomicBool::new(false));
        LinkListener { id, commands, standing, added: AtomicU64::new(0), settled, closed }
    }
}

/// Where a subscriber listens.
pub(crate) enum Place {
    Server(Address),
    /// One node of a cluster.
    Node(Address, Arc<Topology>),
    /// Any node of a cluster, where every message comes that is not for a sharded channel.
    AnyNode(Arc<Topology>),
}

impl Place {
    async fn link(&self) -> Result<Link, ConnectError> {
        match self {
            Place::Server(address) | Place::Node(address, _) => Link::open(address, NAME, CONNECT_TIMEOUT).await,
            Place::AnyNode(topology) => topology.open_any(NAME).await,
        }
    }

    fn address(&self) -> &Address {
        match self {
            Place::Server(address) | Place::Node(address, _) => address,
            Place::AnyNode(topology) => topology.address(),
        }
    }

    fn topology(&self) -> Option<&Topology> {
        match self {
            Place::Server(_) => None,
            Place::Node(_, topology) | Place::AnyNode(topology) => Some(topology),
        }
    }
}

/// Why a link is given up on which something else came.
const NOT_RESP: &str = "it does not speak as Redis does";

/// What `CLIENT LIST` shows.
const NAME: &str = "socketio-subscriber";

struct Task {
    place: Place,
    buffer: usize,
    brought: Arc<Brought>,
    commands: mpsc::UnboundedReceiver<Command>,
    listeners: HashMap<u64, Open>,
    /// Whom a confirmed or asked-for name belongs to, by the name Redis repeats with each message.
    topics: HashMap<Vec<u8>, Vec<Hearer>>,
    /// Confirmations that are due, in the order in which Redis gives them.
    expected: VecDeque<Expected>,
    last_heard: Instant,
    link_state: watch::Sender<Option<Result<(), ConnectError>>>,
}

struct Open {
    topics: Topics,
    sink: Arc<dyn Sink>,
    standing: watch::Sender<Standing>,
    /// Confirmations still due, but for those of channels that were added since.
    due: usize,
    /// How many channels were added, and how many of them when all was subscribed to anew.
    added: u64,
    added_before: u64,
    /// How many of them are known to be heard, or not.
    settled: watch::Sender<u64>,
    /// It was up once; the moment until which it surely heard all.
    heard_until: Option<Instant>,
    /// It was told that the link is down.
    told_down: bool,
    /// Messages dropped and not yet told.
    lost: u64,
    /// One of the commands under way was refused.
    refused: Option<BusError>,
}

impl Open {
    /// So many subscriptions were confirmed or refused. With the last of them it is known how things stand.
    fn settle(&mut self, names: usize) {
        self.due = self.due.saturating_sub(names);
        if self.due > 0 {
            return;
        }
        self.settled_until(self.added_before);
        if let Some(error) = self.refused.take() {
            self.standing.send_replace(Standing::Refused(error.clone()));
            if !std::mem::replace(&mut self.told_down, true) {
                tracing::warn!(target: "socketio::redis", %error, "Redis refuses a subscription; trying again every few seconds");
                self.sink.status(BusStatus::Down { error });
            }
            return;
        }
        self.told_down = false;
        self.standing.send_replace(Standing::Up);
        self.sink.status(BusStatus::Up);
        if let Some(since) = self.heard_until.take() {
            self.sink.status(BusStatus::Gap { since, until: Instant::now(), lost: None });
        }
    }

    /// So many of the channels that were added are known to be heard, or not.
    fn settled_until(&self, added: u64) {
        self.settled.send_if_modified(|settled| std::mem::replace(settled, added.max(*settled)) < added);
    }
}

struct Expected {
    /// `None` for an unsubscription, or a channel that was added.
    listener: Option<u64>,
    /// The listener for which a channel was added, and which of its additions that was.
    added: Option<(u64, u64)>,
    verb: &'static [u8],
    names: usize,
    since: Instant,
}

/// Who hears a name: a listener, and whom it tells.
struct Hearer {
    id: u64,
    sink: Arc<dyn Sink>,
}

/// How much of what has arrived was passed on.
#[derive(Default)]
struct Passed {
    bytes: usize,
    messages: usize,
    message_bytes: u64,
}

/// A message that has arrived and waits to be delivered.
struct Waiting {
    sink: Arc<dyn Sink>,
    frame: Bytes,
    channel: Range<usize>,
    payload: Range<usize>,
}

enum End {
    /// Nobody listens any more.
    Finished,
    Broken(ConnectError),
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            if !self.pause(backoff.next_wait()).await {
                return;
            }
            let error = match self.place.link().await {
                Ok(link) => {
                    let since = Instant::now();
                    self.last_heard = since;
                    let End::Broken(error) = self.carry(link).await else { return };
                    if since.elapsed() >= GOOD_LINK {
                        backoff.reset();
                    }
                    error
                }
                Err(error) => error,
            };
            self.fell(error);
        }
    }

    /// Sleeps, taking commands meanwhile. `false` when nobody listens any more.
    async fn pause(&mut self, wait: Duration) -> bool {
        let mut wait = std::pin::pin!(sleep(wait));
        loop {
            tokio::select! {
                () = &mut wait => return true,
                command = self.commands.recv() => match command {
                    Some(command) => self.note(command, &mut Vec::new()),
                    None => return false,
                },
            }
        }
    }

    /// The link is gone: tell everybody who does not know.
    fn fell(&mut self, error: ConnectError) {
        self.expected.clear();
        if let Some(topology) = self.place.topology() {
            topology.doubt();
        }
        let first = self.link_state.borrow().as_ref().is_none_or(Result::is_ok);
        if first {
            tracing::warn!(target: "socketio::redis", %error, "no link to Redis for listening; trying again");
        }
        let bus_error = BusError::from(error.clone());
        self.link_state.send_replace(Some(Err(error)));
        for open in self.listeners.values_mut() {
            (open.due, open.refused) = (0, None);
            if *open.standing.borrow() == Standing::Up {
                open.heard_until = Some(self.last_heard);
            }
            open.standing.send_replace(Standing::Pending);
            if !std::mem::replace(&mut open.told_down, true) {
                open.sink.status(BusStatus::Down { error: bus_error.clone() });
            }
        }
    }

    /// Takes a command; what has to be said to Redis for it is appended to `out`.
    fn note(&mut self, command: Command, out: &mut Vec<u8>) {
        match command {
            Command::Open { id, topics, sink, standing, settled } => {
                for name in topics.names() {
                    let hearer = Hearer { id, sink: sink.clone() };
                    self.topics.entry(name.clone().into_bytes()).or_default().push(hearer);
                }
                let open = Open {
                    topics,
                    sink,
                    standing,
                    due: 0,
                    added: 0,
                    added_before: 0,
                    settled,
                    heard_until: None,
                    told_down: false,
                    lost: 0,
                    refused: None,
                };
                self.listeners.insert(id, open);
                self.subscribe(id, out);
            }
            Command::Add(id, channel) => {
                let Some(open) = self.listeners.get_mut(&id) else { return };
                open.added += 1;
                let added = open.added;
                let under_way = |expected: &&mut Expected| expected.added.is_some_and(|(whose, _)| whose == id);
                if open.topics.shards.insert(channel.clone()) {
                    let hearer = Hearer { id, sink: open.sink.clone() };
                    self.topics.entry(channel.clone().into_bytes()).or_default().push(hearer);
                    self.ask(None, b"SSUBSCRIBE", &[&channel], out);
                    if let Some(expected) = self.expected.back_mut() {
                        expected.added = Some((id, added));
                    }
                } else if let Some(expected) = self.expected.iter_mut().rev().find(under_way) {
                    expected.added = Some((id, added)); // It is there once the last one is.
                } else if open.due == 0 && *open.standing.borrow() == Standing::Up {
                    open.settled_until(added);
                } else {
                    open.added_before = added;
                }
            }
            Command::Remove(id, channel) => {
                let Some(open) = self.listeners.get_mut(&id) else { return };
                if open.topics.shards.remove(&channel) && self.forget(id, &channel) {
                    self.ask(None, b"SUNSUBSCRIBE", &[&channel], out);
                }
            }
            Command::Close(id) => {
                let Some(open) = self.listeners.remove(&id) else { return };
                open.standing.send_replace(Standing::Closed);
                let Topics { patterns, channels, shards } = &open.topics;
                let mut gone = |names: &mut dyn Iterator<Item = &String>| -> Vec<String> {
                    names.filter(|name| self.forget(id, name)).cloned().collect()
                };
                let (patterns, channels) = (gone(&mut patterns.iter()), gone(&mut channels.iter()));
                let shards = gone(&mut shards.iter());
                self.ask(None, b"PUNSUBSCRIBE", &patterns.iter().collect::<Vec<_>>(), out);
                self.ask(None, b"UNSUBSCRIBE", &channels.iter().collect::<Vec<_>>(), out);
                for shard in &shards {
                    self.ask(None, b"SUNSUBSCRIBE", &[shard], out);
                }
            }
        }
    }

    /// The listener does not want `name` any more; whether nobody does.
    fn forget(&mut self, id: u64, name: &str) -> bool {
        let Some(hearers) = self.topics.get_mut(name.as_bytes()) else { return false };
        hearers.retain(|hearer| hearer.id != id);
        let nobody = hearers.is_empty();
        if nobody {
            self.topics.remove(name.as_bytes());
        }
        nobody
    }

    fn subscribe(&mut self, id: u64, out: &mut Vec<u8>) {
        let Some(open) = self.listeners.get_mut(&id) else { return };
        open.added_before = open.added;
        let Topics { patterns, channels, shards } = &open.topics;
        open.due = patterns.len() + channels.len() + shards.len();
        let (patterns, channels, shards) = (patterns.clone(), channels.clone(), shards.clone());
        self.ask(Some(id), b"PSUBSCRIBE", &patterns.iter().collect::<Vec<_>>(), out);
        self.ask(Some(id), b"SUBSCRIBE", &channels.iter().collect::<Vec<_>>(), out);
        // Channels of different slots may not be named together.
        for shard in &shards {
            self.ask(Some(id), b"SSUBSCRIBE", &[shard], out);
        }
    }

    fn ask(&mut self, listener: Option<u64>, verb: &'static [u8], names: &[&String], out: &mut Vec<u8>) {
        if names.is_empty() {
            return;
        }
        let parts: Vec<&[u8]> = std::iter::once(verb).chain(names.iter().map(|name| name.as_bytes())).collect();
        resp::command(out, &parts);
        self.expected.push_back(Expected { listener, added: None, verb, names: names.len(), since: Instant::now() });
    }

    /// Hears until the link breaks or nobody listens any more.
    async fn carry(&mut self, mut link: Link) -> End {
        let broken = |address: &Address, error: io::Error| {
            End::Broken(ConnectError::Unreachable { address: address.to_string(), reason: error.to_string() })
        };
        let mut out = Vec::new();
        self.expected.clear();
        for id in self.listeners.keys().copied().collect::<Vec<_>>() {
            self.subscribe(id, &mut out);
        }
        self.link_state.send_replace(Some(Ok(())));
        let mut received = BytesMut::with_capacity(READ_BYTES);
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut waiting_bytes = 0;
        let mut pinged: Option<Instant> = None;
        let mut refused_retry = Instant::now() + REFUSED_RETRY;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !out.is_empty() {
                if let Err(error) = send(&mut link.stream, &out).await {
                    return broken(self.place.address(), error);
                }
                out.clear();
            }
            let read = if waiting.is_empty() {
                tokio::select! {
                    biased;
                    read = link.stream.read_buf(&mut received) => Some(read),
                    command = self.commands.recv() => match command {
                        Some(command) => {
                            self.note(command, &mut out);
                            while let Ok(command) = self.commands.try_recv() {
                                self.note(command, &mut out);
                            }
                            continue;
                        }
                        None => return End::Finished,
                    },
                    _ = tick.tick() => {
                        if let Some(error) = self.overdue(&mut pinged, &mut out) {
                            return End::Broken(error);
                        }
                        if Instant::now() >= refused_retry {
                            refused_retry = Instant::now() + REFUSED_RETRY;
                            self.retry_refused(&mut out);
                        }
                        continue;
                    }
                }
            } else {
                for message in waiting.drain(..waiting.len().min(SLICE)) {
                    waiting_bytes -= message.frame.len();
                    message.sink.message(&message.frame[message.channel], &message.frame[message.payload]);
                }
                if waiting.is_empty() {
                    self.tell_lost();
                }
                link.stream.read_buf(&mut received).now_or_never()
            };
            match read {
                None => tokio::task::yield_now().await,
                Some(Ok(0)) => {
                    return broken(
                        self.place.address(),
                        io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"),
                    );
                }
                Some(Err(error)) => return broken(self.place.address(), error),
                Some(Ok(_)) => {
                    self.last_heard = Instant::now();
                    pinged = None;
                    let delivered = match self.take(&mut received, &mut waiting, &mut waiting_bytes) {
                        Ok(delivered) => delivered,
                        Err(reason) => {
                            return broken(self.place.address(), io::Error::new(io::ErrorKind::InvalidData, reason));
                        }
                    };
                    received.reserve(READ_BYTES);
                    if delivered >= SLICE {
                        // There is more to come: what was delivered leaves first, while the cache has it.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Looks at the deadlines: an error when the link is dead.
    fn overdue(&mut self, pinged: &mut Option<Instant>, out: &mut Vec<u8>) -> Option<ConnectError> {
        let timeout = |after| Some(ConnectError::Timeout { address: self.place.address().to_string(), after });
        if self.expected.front().is_some_and(|expected| expected.since.elapsed() > CONFIRM_TIMEOUT)
            && self.last_heard.elapsed() > TICK
        {
            return timeout(CONFIRM_TIMEOUT);
        }
        match *pinged {
            Some(since) if since.elapsed() > PING_TIMEOUT => return timeout(PING_TIMEOUT),
            None if self.last_heard.elapsed() > IDLE_PING => {
                *pinged = Some(Instant::now());
                resp::command(out, &[b"PING"]);
            }
            _ => {}
        }
        None
    }

    fn retry_refused(&mut self, out: &mut Vec<u8>) {
        let refused = |open: &Open| matches!(*open.standing.borrow(), Standing::Refused(_));
        let ids: Vec<u64> =
            self.listeners.iter().filter(|(_, open)| refused(open) && open.due == 0).map(|(id, _)| *id).collect();
        for id in ids {
            self.subscribe(id, out);
        }
    }

    /// Delivers what has arrived, from where it lies, for as long as a turn may take. Says how many bytes and messages that
    /// were.
    fn pass_on(&mut self, received: &[u8]) -> Result<(usize, usize), &'static str> {
        let mut passed = Passed::default();
        let since = Instant::now();
        while let Some((event, frame)) = self.pass_on_messages(received, since, &mut passed)? {
            self.answered(&event, frame)?;
        }
        self.brought.add(passed.messages as u64, passed.message_bytes);
        Ok((passed.bytes, passed.messages))
    }

    /// Delivers up to what is no message, and gives that back.
    fn pass_on_messages<'a>(
        &self,
        received: &'a [u8],
        since: Instant,
        passed: &mut Passed,
    ) -> Result<Option<(Event, &'a [u8])>, &'static str> {
        // Mostly one message after the other comes on the same topic: it is looked up once.
        let mut last: (&[u8], &[Hearer]) = (&[], &[]);
        while let Some((event, used)) = event(&received[passed.bytes..]).map_err(|NotResp| NOT_RESP)? {
            let frame = &received[passed.bytes..passed.bytes + used];
            passed.bytes += used;
            let Event::Message { topic, channel, payload } = event else { return Ok(Some((event, frame))) };
            if *last.0 != frame[topic.clone()] {
                last = (&frame[topic.clone()], self.topics.get(&frame[topic]).map_or(&[], Vec::as_slice));
            }
            for hearer in last.1 {
                hearer.sink.message(&frame[channel.clone()], &frame[payload.clone()]);
            }
            passed.messages += 1;
            passed.message_bytes += used as u64;
            if passed.messages.is_multiple_of(SLICE) && since.elapsed() >= TURN {
                break;
            }
        }
        Ok(None)
    }

    /// Cuts what has arrived into messages and confirmations. Delivers at once what it may, and says how many messages.
    fn take(
        &mut self,
        received: &mut BytesMut,
        waiting: &mut VecDeque<Waiting>,
        waiting_bytes: &mut usize,
    ) -> Result<usize, &'static str> {
        let mut delivered = 0;
        if waiting.is_empty() {
            let used;
            (used, delivered) = self.pass_on(received)?;
            received.advance(used);
        }
        let (mut messages, mut bytes) = (0, 0);
        while let Some((event, used)) = event(received).map_err(|NotResp| NOT_RESP)? {
            let frame = received.split_to(used).freeze();
            match event {
                Event::Message { topic, channel, payload } => {
                    messages += 1;
                    bytes += frame.len() as u64;
                    for Hearer { id, sink } in self.topics.get(&frame[topic]).into_iter().flatten() {
                        if *waiting_bytes + frame.len() > self.buffer && !waiting.is_empty() {
                            if let Some(open) = self.listeners.get_mut(id) {
                                open.lost += 1;
                            }
                            continue;
                        }
                        *waiting_bytes += frame.len();
                        let (sink, channel, payload) = (sink.clone(), channel.clone(), payload.clone());
                        waiting.push_back(Waiting { sink, frame: frame.clone(), channel, payload });
                    }
                }
                event => self.answered(&event, &frame)?,
            }
        }
        self.brought.add(messages, bytes);
        Ok(delivered)
    }

    /// Takes what is no message.
    fn answered(&mut self, event: &Event, frame: &[u8]) -> Result<(), &'static str> {
        match event {
            Event::Confirmed { verb } => self.confirmed(&frame[verb.clone()]),
            Event::Refused { reason } => self.refused(&String::from_utf8_lossy(&frame[reason.clone()])),
            Event::Message { .. } | Event::Pong => Ok(()),
        }
    }

    fn confirmed(&mut self, verb: &[u8]) -> Result<(), &'static str> {
        const UNEXPECTED: &str = "it confirmed a subscription that was not asked for";
        let expected = self.expected.front_mut().filter(|expected| expected.verb.eq_ignore_ascii_case(verb));
        let Some(expected) = expected else {
            return match self.place.topology() {
                // The slot of a channel has moved to another node. Who has opened this listener looks where it is now.
                Some(topology) if verb == b"sunsubscribe" => {
                    topology.doubt();
                    Ok(())
                }
                _ => Err(UNEXPECTED),
            };
        };
        let (listener, added) = (expected.listener, expected.added);
        expected.names -= 1;
        expected.since = Instant::now();
        if expected.names == 0 {
            self.expected.pop_front();
        }
        if let Some(open) = listener.and_then(|id| self.listeners.get_mut(&id)) {
            open.settle(1);
        }
        if let Some((id, number)) = added
            && let Some(open) = self.listeners.get(&id)
        {
            open.settled_until(number);
        }
        Ok(())
    }

    /// Redis refuses a command; in order of asking, like its confirmations.
    fn refused(&mut self, reason: &str) -> Result<(), &'static str> {
        let expected = self.expected.pop_front().ok_or("it reported an error that belongs to nothing")?;
        if let Some(topology) = self.place.topology() {
            topology.moved(reason);
        }
        let added = expected.added.map(|(id, _)| id);
        if let Some(open) = expected.listener.or(added).and_then(|id| self.listeners.get_mut(&id)) {
            // Of a channel that has moved its listener hears elsewhere.
            if added.is_none() || !reason.starts_with("MOVED") {
                open.refused = Some(BusError::Refused { reason: reason.to_owned() });
                open.settle(if added.is_some() { 0 } else { expected.names });
            }
            if let Some((_, number)) = expected.added {
                open.settled_until(number);
            }
        }
        Ok(())
    }

    fn tell_lost(&mut self) {
        for open in self.listeners.values_mut() {
            if let count @ 1.. = std::mem::take(&mut open.lost) {
                open.sink.status(BusStatus::Lost { count });
            }
        }
    }
}

async fn send(stream: &mut Box<dyn Stream>, bytes: &[u8]) -> io::Result<()> {
    let sent = timeout(CONFIRM_TIMEOUT, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
