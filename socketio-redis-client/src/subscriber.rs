//! Hears what others publish, from one server or from the nodes of a cluster.
//!
//! In a cluster, channels and patterns are heard at any node; a sharded channel only at the master of its slot, and when
//! the slot moves the subscription moves with it ([`spread`](crate::spread)).

use std::{collections::HashSet, sync::Arc};

use socketio_protocol::cluster::{BusError, BusStats, BusStatus};

use crate::{
    ConnectError, Redis,
    counts::Brought,
    link_subscriber::{LinkListener, LinkSubscriber, Place},
    spread::{Spread, SpreadListener},
};

/// Whom to tell. Called from the subscriber's task: must not block.
///
/// ```
/// use socketio_protocol::cluster::BusStatus;
/// use socketio_redis_client::Sink;
/// use tokio::sync::mpsc::UnboundedSender;
///
/// struct Forward(UnboundedSender<Vec<u8>>);
///
/// impl Sink for Forward {
///     fn message(&self, _channel: &[u8], payload: &[u8]) {
///         let _ = self.0.send(payload.to_vec()); // It does not wait.
///     }
///
///     fn status(&self, status: BusStatus) {
///         if let BusStatus::Gap { .. } = status {
///             eprintln!("messages may have been missed");
///         }
///     }
/// }
/// ```
pub trait Sink: Send + Sync + 'static {
    /// A message on one of the listener's channels.
    fn message(&self, channel: &[u8], payload: &[u8]);
    /// How the subscription is doing.
    fn status(&self, status: BusStatus);
}

/// What one namespace wants to hear.
///
/// ```
/// use socketio_redis_client::Topics;
///
/// let topics = Topics { channels: vec!["news".into()], patterns: vec!["chat.*".into()], ..Topics::default() };
/// ```
#[derive(Default)]
pub struct Topics {
    /// `PSUBSCRIBE`.
    pub patterns: Vec<String>,
    /// `SUBSCRIBE`.
    pub channels: Vec<String>,
    /// Sharded channels; more of them may come and go.
    pub shards: HashSet<String>,
}

impl Topics {
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.patterns.iter().chain(&self.channels).chain(&self.shards)
    }
}

/// Opens listeners. The connections end when the subscriber and all listeners are gone.
///
/// ```no_run
/// use std::sync::Arc;
/// use socketio_redis_client::{Redis, Sink, Subscriber, Topics};
///
/// # async fn example(sink: Arc<dyn Sink>) -> Result<(), Box<dyn std::error::Error>> {
/// let subscriber = Subscriber::start(&Redis::at("redis://localhost".parse()?), 64 << 20);
/// let listener = subscriber.open(Topics { channels: vec!["news".into()], ..Topics::default() }, sink);
/// listener.ready().await?; // From now on the sink hears what is published.
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Subscriber {
    way: Way,
    brought: Arc<Brought>,
}

#[derive(Clone)]
enum Way {
    Server(LinkSubscriber),
    Cluster(Arc<Spread>),
}

impl Subscriber {
    /// Starts listening at `redis`; `buffer` is how many bytes of messages may wait to be delivered. Has to be called
    /// inside a Tokio runtime, which carries the connections.
    pub fn start(redis: &Redis, buffer: usize) -> Subscriber {
        let brought = Arc::<Brought>::default();
        let way = match redis.topology() {
            None => {
                let place = Place::Server(redis.address().clone());
                Way::Server(LinkSubscriber::start(place, buffer, brought.clone()))
            }
            Some(topology) => Way::Cluster(Spread::start(topology.clone(), buffer, brought.clone())),
        };
        Subscriber { way, brought }
    }

    /// Waits until there is a link, or the first attempt to make one has failed.
    ///
    /// # Errors
    ///
    /// Why there is none now. It is being tried again.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        match &self.way {
            Way::Server(subscriber) => subscriber.connected().await,
            Way::Cluster(spread) => spread.connected().await,
        }
    }

    /// What Redis has brought: [`BusStats::brought`] and [`BusStats::brought_bytes`].
    pub fn stats(&self) -> BusStats {
        self.brought.stats()
    }

    /// Subscribes to `topics` in the background and from then on tells `sink`.
    pub fn open(&self, topics: Topics, sink: Arc<dyn Sink>) -> Listener {
        Listener(match &self.way {
            Way::Server(subscriber) => Ear::Server(subscriber.open(topics, sink)),
            Way::Cluster(spread) => Ear::Cluster(spread.open(topics, sink)),
        })
    }
}

/// A handle on one namespace's subscriptions.
///
/// ```no_run
/// use socketio_redis_client::Listener;
///
/// # async fn example(listener: Listener) -> Result<(), Box<dyn std::error::Error>> {
/// listener.add("room-7".into()); // one more sharded channel
/// listener.ready().await?;
/// listener.remove("room-7".into());
/// listener.close();
/// assert!(listener.open().is_err());
/// # Ok(()) }
/// ```
pub struct Listener(Ear);

enum Ear {
    Server(LinkListener),
    Cluster(SpreadListener),
}

impl Listener {
    /// Waits for all confirmations, those of the channels that were added so far among them.
    ///
    /// # Errors
    ///
    /// [`BusError::Refused`] when Redis says no, [`BusError::Closed`] once this is closed.
    pub async fn ready(&self) -> Result<(), BusError> {
        match &self.0 {
            Ear::Server(listener) => listener.ready().await,
            Ear::Cluster(listener) => listener.ready().await,
        }
    }

    /// Subscribes to one more sharded channel, in the background.
    pub fn add(&self, channel: String) {
        match &self.0 {
            Ear::Server(listener) => listener.add(channel),
            Ear::Cluster(listener) => listener.add(channel),
        }
    }

    /// Unsubscribes from a sharded channel.
    pub fn remove(&self, channel: String) {
        match &self.0 {
            Ear::Server(listener) => listener.remove(channel),
            Ear::Cluster(listener) => listener.remove(channel),
        }
    }

    /// Whether it still listens.
    ///
    /// # Errors
    ///
    /// [`BusError::Closed`] once it is closed.
    pub fn open(&self) -> Result<(), BusError> {
        match &self.0 {
            Ear::Server(listener) => listener.open(),
            Ear::Cluster(listener) => listener.open(),
        }
    }

    /// Unsubscribes.
    pub fn close(&self) {
        match &self.0 {
            Ear::Server(listener) => listener.close(),
            Ear::Cluster(listener) => listener.close(),
        }
    }
}
