//! Subscriptions spread over the nodes of a cluster.
//!
//! One connection to any node hears plain channels and patterns; each master with sharded channels of ours has one more.
//! A listener hears of all of them as of one: it is up when each of its parts is, and down when one is not. When a slot
//! moves, its channels move, and the listener is told since when it may have missed something.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use socketio_protocol::cluster::{BusError, BusStatus};
use tokio::sync::watch;

use crate::{
    Address, ConnectError,
    address::Host,
    counts::Brought,
    link_subscriber::{LinkListener, LinkSubscriber, Place, Standing},
    subscriber::{Sink, Topics},
    topology::Topology,
};

/// The subscriber of a cluster.
pub(crate) struct Spread {
    topology: Arc<Topology>,
    buffer: usize,
    brought: Arc<Brought>,
    any: LinkSubscriber,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    masters: HashMap<Host, LinkSubscriber>,
    listeners: HashMap<u64, Parts>,
    next_id: u64,
}

/// The subscriptions of one listener.
struct Parts {
    whole: Arc<Whole>,
    plain: Option<LinkListener>,
    /// Where each sharded channel is heard.
    shards: HashMap<String, Option<Host>>,
    masters: HashMap<Host, LinkListener>,
}

impl Spread {
    pub(crate) fn start(topology: Arc<Topology>, buffer: usize, brought: Arc<Brought>) -> Arc<Spread> {
        let any = LinkSubscriber::start(Place::AnyNode(topology.clone()), buffer, brought.clone());
        let mut changes = topology.changes();
        let spread = Arc::new(Spread { topology, buffer, brought, any, state: Mutex::default() });
        let weak: Weak<Spread> = Arc::downgrade(&spread);
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(spread) = weak.upgrade() else { return };
                spread.place_all();
            }
        });
        spread
    }

    pub(crate) async fn connected(&self) -> Result<(), ConnectError> {
        self.any.connected().await
    }

    pub(crate) fn open(self: &Arc<Self>, topics: Topics, sink: Arc<dyn Sink>) -> SpreadListener {
        let Topics { patterns, channels, shards } = topics;
        let plain = Topics { patterns, channels, shards: HashSet::new() };
        let has_plain = plain.names().next().is_some();
        let whole = Arc::new(Whole::new(sink, has_plain, !shards.is_empty()));
        let plain = has_plain.then(|| self.any.open(plain, whole.part(Part::Plain)));
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let shards = shards.into_iter().map(|channel| (channel, None)).collect();
        state.listeners.insert(id, Parts { whole: whole.clone(), plain, shards, masters: HashMap::new() });
        let news = self.place(&mut state, id);
        drop(state);
        news.tell(&self.topology);
        SpreadListener { spread: self.clone(), id, whole }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_all(&self) {
        let mut state = self.lock();
        let ids: Vec<u64> = state.listeners.keys().copied().collect();
        let news: Vec<News> = ids.into_iter().map(|id| self.place(&mut state, id)).collect();
        let State { masters, listeners, .. } = &mut *state;
        masters.retain(|host, _| listeners.values().any(|parts| parts.masters.contains_key(host)));
        drop(state);
        news.into_iter().for_each(|news| news.tell(&self.topology));
    }

    /// Has each sharded channel of a listener heard where it is now. The news are to be told without the lock.
    fn place(&self, state: &mut State, id: u64) -> News {
        let State { masters, listeners, .. } = state;
        let Some(parts) = listeners.get_mut(&id) else { return News::default() };
        let mut new: HashMap<Host, (Address, HashSet<String>)> = HashMap::new();
        let (mut moved, mut placed) = (false, true);
        for (channel, place) in &mut parts.shards {
            let owner = self.topology.owner(channel.as_bytes());
            let host = owner.as_ref().and_then(Address::host);
            placed &= host.is_some();
            let (Some(owner), Some(host)) = (&owner, host) else { continue };
            if place.as_ref() == Some(host) {
                continue;
            }
            if let Some(left) = place.replace(host.clone()) {
                moved = true;
                if let Some(listener) = parts.masters.get(&left) {
                    listener.remove(channel.clone());
                }
            }
            new.entry(host.clone()).or_insert_with(|| (owner.clone(), HashSet::new())).1.insert(channel.clone());
        }
        for (host, (server, channels)) in new {
            self.listen(masters, parts, host, server, channels);
        }
        let needed: HashSet<&Host> = parts.shards.values().flatten().collect();
        let left: Vec<Host> = parts.masters.keys().filter(|host| !needed.contains(host)).cloned().collect();
        for host in &left {
            parts.masters.remove(host).inspect(LinkListener::close);
        }
        let mut unneeded: Vec<Part> = left.into_iter().map(Part::Master).collect();
        unneeded.extend(placed.then_some(Part::Unplaced));
        News { whole: Some(parts.whole.clone()), unneeded, moved }
    }

    /// Has channels of a listener heard at the master that they are at.
    fn listen(
        &self,
        masters: &mut HashMap<Host, LinkSubscriber>,
        parts: &mut Parts,
        host: Host,
        server: Address,
        channels: HashSet<String>,
    ) {
        if let Some(listener) = parts.masters.get(&host) {
            return channels.into_iter().for_each(|channel| listener.add(channel));
        }
        let place = Place::Node(server, self.topology.clone());
        let start = || LinkSubscriber::start(place, self.buffer, self.brought.clone());
        let master = masters.entry(host.clone()).or_insert_with(start);
        let sink = parts.whole.part(Part::Master(host.clone()));
        parts.masters.insert(host, master.open(Topics { shards: channels, ..Topics::default() }, sink));
    }
}

/// What has changed for a listener.
#[derive(Default)]
struct News {
    whole: Option<Arc<Whole>>,
    unneeded: Vec<Part>,
    /// Channels are heard elsewhere than before.
    moved: bool,
}

impl News {
    fn tell(self, topology: &Topology) {
        let Some(whole) = self.whole else { return };
        self.unneeded.iter().for_each(|part| whole.without(part));
        if self.moved {
            whole.sink.status(BusStatus::Gap { since: topology.seen(), until: Instant::now(), lost: None });
        }
    }
}

/// A handle on one namespace's subscriptions in a cluster.
pub(crate) struct SpreadListener {
    spread: Arc<Spread>,
    id: u64,
    whole: Arc<Whole>,
}

impl SpreadListener {
    pub(crate) async fn ready(&self) -> Result<(), BusError> {
        Standing::settled(self.whole.standing.subscribe()).await?;
        let added: Vec<_> = {
            let state = self.spread.lock();
            let parts = state.listeners.get(&self.id).ok_or(BusError::Closed)?;
            parts.masters.values().map(LinkListener::added).collect()
        };
        for added in added {
            // Of one that was closed meanwhile, as its channels have moved, nobody hears.
            let _ = added.await;
        }
        Standing::settled(self.whole.standing.subscribe()).await
    }

    pub(crate) fn add(&self, channel: String) {
        let mut state = self.spread.lock();
        let State { masters, listeners, .. } = &mut *state;
        let Some(parts) = listeners.get_mut(&self.id) else { return };
        if parts.shards.contains_key(&channel) {
            return;
        }
        // It alone: where the others are is looked at when that changes, and then this one is again, too.
        let owner = self.spread.topology.owner(channel.as_bytes());
        let host = owner.as_ref().and_then(Address::host).cloned();
        parts.shards.insert(channel.clone(), host.clone());
        if let (Some(server), Some(host)) = (owner, host) {
            self.spread.listen(masters, parts, host, server, HashSet::from([channel]));
        }
    }

    pub(crate) fn remove(&self, channel: String) {
        let mut state = self.spread.lock();
        let Some(parts) = state.listeners.get_mut(&self.id) else { return };
        match parts.shards.remove(&channel) {
            Some(Some(host)) => {
                if let Some(listener) = parts.masters.get(&host) {
                    listener.remove(channel);
                }
            }
            // It may have been the last of those of which it was not known where they are.
            Some(None) if parts.shards.values().all(Option::is_some) => {
                let whole = parts.whole.clone();
                drop(state);
                whole.without(&Part::Unplaced);
            }
            _ => {}
        }
    }

    pub(crate) fn open(&self) -> Result<(), BusError> {
        if *self.whole.standing.borrow() == Standing::Closed { Err(BusError::Closed) } else { Ok(()) }
    }

    pub(crate) fn close(&self) {
        self.whole.standing.send_replace(Standing::Closed);
        let parts = self.spread.lock().listeners.remove(&self.id);
        for part in parts.iter().flat_map(|parts| parts.plain.iter().chain(parts.masters.values())) {
            part.close();
        }
    }
}

/// One of the connections that a listener hears through.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Plain,
    Master(Host),
    /// Channels of which it is not known where they are.
    Unplaced,
}

/// What a listener is told, out of what its parts are.
struct Whole {
    sink: Arc<dyn Sink>,
    /// The parts that are not up.
    missing: Mutex<HashSet<Part>>,
    standing: watch::Sender<Standing>,
}

impl Whole {
    fn new(sink: Arc<dyn Sink>, plain: bool, shards: bool) -> Whole {
        let parts = [(plain, Part::Plain), (shards, Part::Unplaced)];
        let missing = parts.into_iter().filter(|(there, _)| *there).map(|(_, part)| part).collect();
        Whole { sink, missing: Mutex::new(missing), standing: watch::channel(Standing::Pending).0 }
    }

    fn part(self: &Arc<Self>, part: Part) -> Arc<dyn Sink> {
        self.missing().insert(part.clone());
        Arc::new(PartSink { whole: self.clone(), part })
    }

    fn missing(&self) -> MutexGuard<'_, HashSet<Part>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part is up, or is not needed any more.
    fn without(&self, part: &Part) {
        let last = {
            let mut missing = self.missing();
            missing.remove(part) && missing.is_empty()
        };
        if last && self.stand(Standing::Up) {
            self.sink.status(BusStatus::Up);
        }
    }

    fn down(&self, part: &Part, error: BusError) {
        let first = {
            let mut missing = self.missing();
            let first = missing.is_empty();
            missing.insert(part.clone());
            first
        };
        let standing = match &error {
            BusError::Refused { reason } if !reason.starts_with("MOVED") => Standing::Refused(error.clone()),
            _ => Standing::Pending,
        };
        if self.stand(standing) && first {
            self.sink.status(BusStatus::Down { error });
        }
    }

    /// `false` once it is closed.
    fn stand(&self, now: Standing) -> bool {
        self.standing.send_if_modified(|standing| {
            let open = *standing != Standing::Closed;
            if open {
                *standing = now;
            }
            open
        })
    }
}

struct PartSink {
    whole: Arc<Whole>,
    part: Part,
}

impl Sink for PartSink {
    fn message(&self, channel: &[u8], payload: &[u8]) {
        self.whole.sink.message(channel, payload);
    }

    fn status(&self, status: BusStatus) {
        match status {
            BusStatus::Up => self.whole.without(&self.part),
            BusStatus::Down { error } => self.whole.down(&self.part, error),
            other => self.whole.sink.status(other),
        }
    }
}
