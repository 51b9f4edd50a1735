//! Sends messages to one server, or to the nodes of a cluster.
//!
//! In a cluster a sharded message or a stream entry goes to the master of its slot, through a connection for each; all
//! that is for plain channels goes through one node, so that its order is kept. What a node refuses because the slot has
//! moved is sent to the right one; what waits for a node that is gone, too.

use std::{
    collections::HashMap,
    ops::Add,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use socketio_protocol::cluster::{BusError, BusStats, Published, Receipts};
use tokio::time::{Duration, sleep, timeout};

use crate::{
    Address, ConnectError, Redis,
    address::Host,
    counts::Losses,
    link_publisher::{Detour, LinkPublisher, QueueLimits},
    resp::{self, Reply},
    topology::Topology,
};

/// How long is waited for the map of a cluster that can be reached.
const KNOWN: Duration = Duration::from_secs(1);

/// How long a slot that is being moved is left alone.
const MOVING: Duration = Duration::from_millis(100);

/// Sends messages in order, without anybody waiting. Cheap to clone; the connections end with the last clone, after what
/// is queued has been sent.
///
/// ```no_run
/// use socketio_redis_client::{Publisher, QueueLimits, Redis};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::at("redis://localhost".parse()?);
/// let publisher = Publisher::start(&redis, "my-program", QueueLimits::default());
/// publisher.connected().await?;
/// let receivers = publisher.publish("news", b"hello")?.receivers().await?;
/// println!("{receivers} of {} have it", publisher.subscribers("news").await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Publisher {
    way: Way,
    losses: Arc<Losses>,
}

#[derive(Clone)]
enum Way {
    Server(LinkPublisher),
    Cluster(Arc<Nodes>),
}

impl Publisher {
    /// Starts publishing to `redis`; connections are made in the background and made again for ever.
    ///
    /// `name` is what Redis' `CLIENT LIST` shows. `limits` are for each connection. Has to be called inside a Tokio
    /// runtime, which carries the connections.
    pub fn start(redis: &Redis, name: &'static str, limits: QueueLimits) -> Publisher {
        let losses = Arc::<Losses>::default();
        let way = match redis.topology() {
            None => Way::Server(LinkPublisher::start(redis.address().clone(), name, limits, losses.clone(), None)),
            Some(topology) => Way::Cluster(Nodes::start(topology.clone(), name, limits, losses.clone())),
        };
        Publisher { way, losses }
    }

    /// Waits until there is a link, or the first attempt to make one has failed.
    ///
    /// # Errors
    ///
    /// Why there is none now. It is being tried again.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        match &self.way {
            Way::Server(link) => link.connected().await,
            Way::Cluster(nodes) => nodes.connected().await,
        }
    }

    /// Queues `payload` for `channel`.
    ///
    /// # Errors
    ///
    /// [`BusError::Full`]; the message has not been queued then.
    pub fn publish(&self, channel: &str, payload: &[u8]) -> Result<Published, BusError> {
        self.send(&[b"PUBLISH", channel.as_bytes(), payload])
    }

    /// Queues a command that is answered with a number or an id. What follows the verb is its key or channel.
    ///
    /// # Errors
    ///
    /// [`BusError::Full`]; the command has not been queued then.
    pub fn send(&self, parts: &[&[u8]]) -> Result<Published, BusError> {
        match &self.way {
            Way::Server(link) => link.send(parts),
            Way::Cluster(nodes) => nodes.way_of(parts.iter().copied()).send(parts),
        }
    }

    /// Sends a command and gives back its answer; fails at once when there is no link. What follows the verb is its key.
    ///
    /// # Errors
    ///
    /// [`BusError`], also when Redis refuses the command.
    pub async fn call(&self, parts: &[&[u8]]) -> Result<Reply, BusError> {
        match &self.way {
            Way::Server(link) => link.call(parts).await,
            Way::Cluster(nodes) => nodes.call(parts).await,
        }
    }

    /// How many connections are subscribed to a channel: `PUBSUB NUMSUB`, of all nodes together.
    ///
    /// # Errors
    ///
    /// [`BusError`] when no node has answered with a number.
    pub async fn subscribers(&self, channel: &str) -> Result<u64, BusError> {
        let question: [&[u8]; 3] = [b"PUBSUB", b"NUMSUB", channel.as_bytes()];
        match &self.way {
            Way::Server(link) => read_count(link.call(&question).await?),
            Way::Cluster(nodes) => {
                let asked: Vec<_> = nodes.all().iter().map(|link| link.call(&question)).collect();
                let mut counted = Err(BusError::Closed);
                for answer in futures_util::future::join_all(asked).await {
                    match (answer.and_then(read_count), &mut counted) {
                        (Ok(count), Ok(sum)) => *sum += count,
                        // A node that is gone has no subscribers.
                        (Err(_), Ok(_)) => {}
                        (outcome, counted) => *counted = outcome,
                    }
                }
                counted
            }
        }
    }

    /// How many connections are subscribed to a sharded channel: `PUBSUB SHARDNUMSUB`.
    ///
    /// # Errors
    ///
    /// [`BusError`] when that is not answered with a number.
    pub async fn shard_subscribers(&self, channel: &str) -> Result<u64, BusError> {
        let question: [&[u8]; 3] = [b"PUBSUB", b"SHARDNUMSUB", channel.as_bytes()];
        let answer = match &self.way {
            Way::Server(link) => link.call(&question),
            Way::Cluster(nodes) => nodes.owner_of(channel.as_bytes()).call(&question),
        };
        read_count(answer.await?)
    }

    /// Waits until all that has been queued so far has an answer or has failed.
    pub async fn settled(&self) {
        match &self.way {
            Way::Server(link) => link.settled().await,
            Way::Cluster(nodes) => loop {
                let sent_on = nodes.sent_on.load(Ordering::Relaxed);
                let links: Vec<LinkPublisher> = nodes.lock().links.values().cloned().collect();
                futures_util::future::join_all(links.iter().map(LinkPublisher::settled)).await;
                // What one node has refused waits at another now.
                if nodes.sent_on.load(Ordering::Relaxed) == sent_on {
                    return;
                }
            },
        }
    }

    /// Where messages that are not sent are counted, for those who send over links of their own.
    pub fn losses(&self) -> &Arc<Losses> {
        &self.losses
    }

    /// How the links are, added up, and what was lost.
    pub fn stats(&self) -> BusStats {
        let links = match &self.way {
            Way::Server(link) => link.stats(),
            Way::Cluster(nodes) => {
                nodes.lock().links.values().map(LinkPublisher::stats).fold(BusStats::default(), BusStats::add)
            }
        };
        links + self.losses.stats()
    }

    /// How many messages wait to be sent.
    pub fn queued(&self) -> usize {
        match &self.way {
            Way::Server(link) => link.queued(),
            Way::Cluster(nodes) => nodes.lock().links.values().map(LinkPublisher::queued).sum(),
        }
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("queued", &self.queued()).finish_non_exhaustive()
    }
}

fn read_count(reply: Reply) -> Result<u64, BusError> {
    if let Reply::Array(pair) = reply
        && let [_, Reply::Integer(count)] = pair.as_slice()
    {
        return Ok(u64::try_from(*count).unwrap_or(0));
    }
    Err(BusError::Refused { reason: "the number of subscribers was not answered with a number".into() })
}

/// A connection for each node that is sent to.
struct Nodes {
    topology: Arc<Topology>,
    name: &'static str,
    limits: QueueLimits,
    losses: Arc<Losses>,
    detour: Detour,
    /// How many messages were sent on.
    sent_on: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: HashMap<Host, LinkPublisher>,
    /// Through which node plain channels are published to.
    plain: Option<Host>,
}

impl Nodes {
    fn start(topology: Arc<Topology>, name: &'static str, limits: QueueLimits, losses: Arc<Losses>) -> Arc<Nodes> {
        Arc::new_cyclic(|this: &Weak<Nodes>| {
            tokio::spawn(follow(this.clone(), topology.clone()));
            let this = this.clone();
            let detour: Detour = Arc::new(move |reason, command| this.upgrade()?.detour(reason, command));
            Nodes { topology, name, limits, losses, detour, sent_on: AtomicU64::new(0), state: Mutex::default() }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to one node, made if there is none.
    fn link(&self, state: &mut State, server: &Address) -> LinkPublisher {
        let Some(host) = server.host() else { unreachable!("a node of a cluster is a host") };
        let (losses, detour) = (self.losses.clone(), Some(self.detour.clone()));
        let start = || LinkPublisher::start(server.clone(), self.name, self.limits, losses, detour);
        state.links.entry(host.clone()).or_insert_with(start).clone()
    }

    /// Where a command belongs.
    fn way_of<'a>(&self, mut parts: impl Iterator<Item = &'a [u8]>) -> LinkPublisher {
        match (parts.next(), parts.next()) {
            (Some(b"PUBLISH") | None, _) | (_, None) => self.plain(),
            (Some(_), Some(key)) => self.owner_of(key),
        }
    }

    fn owner_of(&self, key: &[u8]) -> LinkPublisher {
        match self.topology.owner(key) {
            Some(owner) => self.link(&mut self.lock(), &owner),
            // Any node knows the owner, and says so.
            None => self.plain(),
        }
    }

    /// The node for plain channels: the same one as long as it is there.
    fn plain(&self) -> LinkPublisher {
        let mut state = self.lock();
        if let Some(link) = state.plain.as_ref().and_then(|host| state.links.get(host))
            && !link.is_down()
        {
            return link.clone();
        }
        let nodes = self.topology.nodes();
        let up = |server: &&Address| {
            server.host().is_some_and(|host| state.links.get(host).is_none_or(|link| !link.is_down()))
        };
        let server = nodes.iter().find(up).or(nodes.first()).unwrap_or(self.topology.address()).clone();
        let left = std::mem::replace(&mut state.plain, server.host().cloned());
        let waiting = left.and_then(|host| state.links.get(&host)).map(LinkPublisher::take_back).unwrap_or_default();
        let link = self.link(&mut state, &server);
        drop(state);
        waiting.into_iter().for_each(|(command, receipts)| self.send_again(command, receipts));
        link
    }

    fn all(&self) -> Vec<LinkPublisher> {
        let mut state = self.lock();
        self.topology.nodes().iter().map(|server| self.link(&mut state, server)).collect()
    }

    async fn connected(&self) -> Result<(), ConnectError> {
        let mut outcome = Ok(());
        for link in self.all() {
            outcome = link.connected().await;
            if outcome.is_ok() {
                // What is sent next need not take a detour. A node that does not say who has which slot still answers.
                let _ = timeout(KNOWN, self.topology.changes().wait_for(|changes| *changes > 0)).await;
                break;
            }
        }
        outcome
    }

    async fn call(&self, parts: &[&[u8]]) -> Result<Reply, BusError> {
        for _ in 0..MOVES {
            match self.way_of(parts.iter().copied()).call(parts).await {
                Err(BusError::Refused { reason }) if self.topology.moved(&reason) => {}
                Err(BusError::Refused { reason }) if is_moving(&reason) => sleep(MOVING).await,
                outcome => return outcome,
            }
        }
        Err(BusError::Refused { reason: "its slot moves from node to node".to_owned() })
    }

    /// A node is not the right one for this command.
    fn detour(self: &Arc<Self>, reason: &str, command: Vec<u8>) -> Option<Published> {
        let receipts = Receipts::new();
        let elsewhere = receipts.published(0);
        if self.topology.moved(reason) {
            self.send_again(command, receipts);
            return Some(elsewhere);
        }
        if is_moving(reason) {
            let nodes = self.clone();
            tokio::spawn(async move {
                sleep(MOVING).await;
                nodes.send_again(command, receipts);
            });
            return Some(elsewhere);
        }
        None
    }

    fn send_again(&self, command: Vec<u8>, receipts: Receipts) {
        self.sent_on.fetch_add(1, Ordering::Relaxed);
        self.way_of(resp::parts(&command)).send_raw(command.clone(), receipts);
    }
}

/// How often a call follows its key.
const MOVES: usize = 8;

/// The key is between two nodes.
fn is_moving(reason: &str) -> bool {
    reason.starts_with("ASK ") || reason.starts_with("TRYAGAIN")
}

/// Ends connections to nodes that are no more, and sends what waited there elsewhere.
async fn follow(nodes: Weak<Nodes>, topology: Arc<Topology>) {
    let mut changes = topology.changes();
    drop(topology);
    while changes.changed().await.is_ok() {
        let Some(nodes) = nodes.upgrade() else { return };
        let known = nodes.topology.nodes();
        let gone: Vec<LinkPublisher> = {
            let is_known = |host: &Host| known.iter().any(|server| server.host() == Some(host));
            nodes.lock().links.extract_if(|host, _| !is_known(host)).map(|(_, link)| link).collect()
        };
        gone.iter()
            .flat_map(LinkPublisher::take_back)
            .for_each(|(command, receipts)| nodes.send_again(command, receipts));
    }
}
