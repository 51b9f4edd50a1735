//! What is known of a Redis Cluster, kept up to date in the background.
//!
//! One task asks `CLUSTER SLOTS` of any node that answers: when somebody has met a change, and now and then unasked.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    CONNECT_TIMEOUT, ConnectError, Link,
    address::{Address, Host, Place},
    slots::{SlotMap, read_moved, slot},
};

/// How often the nodes are asked when nothing seems to have changed.
const QUIET: Duration = Duration::from_secs(30);
/// How often after something has: a failover takes its time.
const BUSY: Duration = Duration::from_millis(250);
/// How long after the last doubt that is.
const TROUBLE: Duration = Duration::from_secs(5);
const GATHER: Duration = Duration::from_millis(20);
/// How long one node may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// A Redis Cluster, as last heard.
pub(crate) struct Topology {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    address: Address,
    slots: RwLock<SlotMap>,
    hint: Notify,
    /// When the map was last seen to be true.
    seen: Mutex<std::time::Instant>,
    /// How many changes have been learned; 0 as long as nothing is known.
    changes: watch::Sender<u64>,
}

impl Topology {
    /// Starts asking the nodes that `address` names.
    pub(crate) fn start(address: Address) -> Arc<Topology> {
        let shared = Arc::new(Shared {
            address,
            slots: RwLock::default(),
            hint: Notify::new(),
            seen: Mutex::new(std::time::Instant::now()),
            changes: watch::channel(0).0,
        });
        Arc::new(Topology { task: tokio::spawn(run(shared.clone())), shared })
    }

    /// Follows what is learned; the number is 0 as long as nothing is known.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The master that serves a key or a sharded channel.
    pub(crate) fn owner(&self, key: &[u8]) -> Option<Address> {
        self.shared.read(|slots| slots.owner(slot(key)).cloned()).map(|host| self.shared.address.server(host))
    }

    /// All nodes, masters and replicas; those of the URL as long as nothing is known.
    pub(crate) fn nodes(&self) -> Vec<Address> {
        self.shared.hosts().into_iter().map(|host| self.shared.address.server(host)).collect()
    }

    /// How one enters any node.
    pub(crate) fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Something is not as it was: asks soon.
    pub(crate) fn doubt(&self) {
        self.shared.hint.notify_one();
    }

    /// A node has refused a command with `error`. Whether that was a `MOVED`, which is noted.
    pub(crate) fn moved(&self, error: &str) -> bool {
        let Some((slot, host)) = read_moved(error) else { return false };
        self.shared.slots.write().unwrap_or_else(PoisonError::into_inner).moved(slot, &host);
        self.shared.changes.send_modify(|changes| *changes += 1);
        self.doubt();
        true
    }

    /// A link to any node.
    ///
    /// # Errors
    ///
    /// Why the last of them is not reached.
    pub(crate) async fn open_any(&self, name: &str) -> Result<Link, ConnectError> {
        let mut outcome = None;
        for server in self.nodes() {
            match Link::open(&server, name, ANSWER).await {
                Ok(link) => return Ok(link),
                Err(error) => outcome = Some(error),
            }
        }
        let nowhere = || ConnectError::Url { reason: "it names no host".to_owned() };
        Err(outcome.unwrap_or_else(nowhere))
    }

    /// When it was last seen that nothing had changed.
    pub(crate) fn seen(&self) -> std::time::Instant {
        *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link to each node that answers.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when none does.
    pub(crate) async fn open_each(&self, name: &str) -> Result<Vec<Link>, ConnectError> {
        if !self.is_known().await {
            return Err(self.unknown());
        }
        let mut links = Vec::new();
        for server in self.nodes() {
            links.extend(Link::open(&server, name, ANSWER).await.ok());
        }
        if links.is_empty() { Err(self.unknown()) } else { Ok(links) }
    }

    /// Waits until a node has said where what is.
    async fn is_known(&self) -> bool {
        let known = async { self.changes().wait_for(|changes| *changes > 0).await.is_ok() };
        timeout(CONNECT_TIMEOUT, known).await == Ok(true)
    }

    fn unknown(&self) -> ConnectError {
        let reason = "no node of the cluster says where it is".to_owned();
        ConnectError::Unreachable { address: self.address().to_string(), reason }
    }

    /// A link to the master that serves `key`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; the next attempt may lead elsewhere.
    pub(crate) async fn open(&self, key: &[u8], name: &str) -> Result<Link, ConnectError> {
        let owner = if self.is_known().await { self.owner(key) } else { None };
        let Some(owner) = owner else {
            self.doubt();
            return Err(self.unknown());
        };
        let link = Link::open(&owner, name, CONNECT_TIMEOUT).await;
        if link.is_err() {
            self.doubt();
        }
        link
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&SlotMap) -> T) -> T {
        read(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn hosts(&self) -> Vec<Host> {
        let known = self.read(SlotMap::nodes);
        match &self.address.place {
            Place::Cluster(named) if known.is_empty() => named.clone(),
            _ => known,
        }
    }

    /// Asks one node after the other until one answers; tells whether one did.
    async fn ask(&self) -> bool {
        let mut hosts = self.hosts();
        if let Place::Cluster(named) = &self.address.place {
            hosts.extend(named.iter().filter(|host| !hosts.contains(host)).cloned().collect::<Vec<_>>());
        }
        for host in hosts {
            let Ok(Some(map)) = timeout(ANSWER, self.ask_one(&host)).await else { continue };
            let changed =
                std::mem::replace(&mut *self.slots.write().unwrap_or_else(PoisonError::into_inner), map.clone()) != map;
            self.changes.send_if_modified(|changes| {
                *changes += u64::from(changed);
                changed
            });
            // After the news: who hears of a change asks until when the old map was true.
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = std::time::Instant::now();
            return true;
        }
        false
    }

    async fn ask_one(&self, host: &Host) -> Option<SlotMap> {
        let mut link = Link::open(&self.address.server(host.clone()), "socketio-topology", ANSWER).await.ok()?;
        let answer = link.ask(&[b"CLUSTER", b"SLOTS"]).await.ok()?;
        // A node that has lost the others knows no slots, or old ones.
        SlotMap::read(&answer, host).filter(|map| !map.nodes().is_empty())
    }
}

async fn run(shared: Arc<Shared>) {
    let mut trouble = Instant::now();
    loop {
        if !shared.ask().await {
            trouble = Instant::now();
        }
        let pause = if trouble.elapsed() < TROUBLE { BUSY } else { QUIET };
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.hint.notified() => {
                trouble = Instant::now();
                // Many who meet the same change ask once.
                sleep(GATHER).await;
            }
        }
    }
}
