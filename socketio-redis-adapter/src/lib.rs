//! Joins Socket.IO servers into one cluster through Redis.
//!
//! Servers of this workspace and servers of Node.js with `@socket.io/redis-adapter` (or `socket.io-redis` 6) form one
//! cluster: what is broadcast on one reaches the sockets of all. [`RedisAdapter`] is a [`Bus`]: it writes messages in
//! the format of the Node.js package and carries them; who is in which room, and who answers which question, is
//! `socketio-server`'s part.
//!
//! | Node.js | here |
//! | --- | --- |
//! | `createAdapter` of `@socket.io/redis-adapter` | [`RedisAdapter::connect`] |
//! | `createShardedAdapter` of `@socket.io/redis-adapter` | [`Builder::sharded`] |
//! | `createAdapter` of `@socket.io/redis-streams-adapter` | [`Builder::streams`] |
//!
//! ```no_run
//! # async fn example() -> Result<(), socketio_redis_adapter::ConnectError> {
//! use socketio_redis_adapter::RedisAdapter;
//!
//! let adapter = RedisAdapter::connect("redis://localhost:6379").await?;
//! // Server::builder().adapter(adapter)
//! # Ok(()) }
//! ```
//!
//! Kept true: nothing that a server does for its own sockets waits for Redis. When Redis is away, what is published
//! waits in a bounded queue; when it is back, all subscriptions are made and confirmed again, and the server is told
//! from when until when it may have missed something. A message is sent at most once. The exception is connection state
//! recovery over streams, where the stream is the order of all events: local clients wait for it, and an entry without an
//! answer is looked for and sent again if it is not there.

mod classic;
mod sessions;
mod sharded;
mod shared;
mod stream_log;
mod stream_reader;
mod stream_writer;
mod streams;

use std::{fmt, sync::Arc, time::Duration};

pub use socketio_protocol::cluster::sharded::SubscriptionMode;
use socketio_protocol::cluster::{Bus, BusStats, Channel, Inbox, classic::DEFAULT_PREFIX};
pub use socketio_redis_client::{Address, ConnectError, Publisher, QueueLimits, TlsOptions};
use socketio_redis_client::{Redis, Subscriber};

use crate::{
    shared::Shared,
    stream_reader::Reader,
    streams::{StreamOptions, Writers},
};

/// How many bytes of messages may wait here to be delivered.
const DEFAULT_BUFFER: usize = 64 << 20;
/// As in Node.js (`requestsTimeout`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries a server's messages through Redis, in the format of `@socket.io/redis-adapter`.
///
/// Two connections for however many namespaces, one to publish and one to listen. Both are made again for ever.
///
/// ```
/// # use socketio_redis_adapter::*;
/// # async fn example() -> Result<(), ConnectError> {
/// let adapter = RedisAdapter::builder("redis://localhost:6379").key("chat").connect().await?;
/// // Server::builder().adapter(adapter)
/// # Ok(()) }
/// ```
#[doc(alias = "createAdapter")]
#[derive(Clone)]
pub struct RedisAdapter {
    address: Address,
    shared: Shared,
    family: Family,
}

/// In which format messages are written; families do not understand each other.
#[derive(Clone)]
enum Family {
    Classic,
    Sharded(SubscriptionMode),
    Streams(Arc<StreamOptions>, Arc<Writers>, Arc<Reader>),
}

impl RedisAdapter {
    /// Connects to the Redis at `url`, with the defaults of the Node.js adapter.
    ///
    /// Returns when both connections are made and Redis has let them in.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the URL is not understood or there is no link now. Nothing keeps running then.
    ///
    /// ```no_run
    /// use socketio_redis_adapter::{ConnectError, RedisAdapter};
    ///
    /// # #[tokio::main] async fn main() {
    /// match RedisAdapter::connect("redis://:secret@localhost:6379").await {
    ///     Ok(adapter) => println!("{adapter:?}"), // for `Server::builder().adapter(adapter)`
    ///     Err(error @ ConnectError::Auth { .. }) => eprintln!("{error}"), // says what to do, without the password
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// # }
    /// ```
    pub async fn connect(url: &str) -> Result<RedisAdapter, ConnectError> {
        RedisAdapter::builder(url).connect().await
    }

    /// Starts from the defaults; the forms of `url` are those of an [`Address`].
    ///
    /// ```
    /// # use socketio_redis_adapter::*;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), ConnectError> {
    /// let adapter = RedisAdapter::builder("redis+sentinel://localhost:26379/main").lazy()?; // connects in the background
    /// # Ok(()) }
    /// ```
    pub fn builder(url: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            tls: TlsOptions::default(),
            key: DEFAULT_PREFIX.to_owned(),
            requests_timeout: DEFAULT_TIMEOUT,
            publish_on_specific_response_channel: false,
            queue: QueueLimits::default(),
            buffer: DEFAULT_BUFFER,
            sharded: None,
            streams: None,
        }
    }
}

impl Bus for RedisAdapter {
    fn open(&self, nsp: &str, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let shared = self.shared.clone();
        match &self.family {
            Family::Classic => Arc::new(classic::Classic::open(shared, nsp, inbox)),
            Family::Sharded(mode) => Arc::new(sharded::Sharded::open(shared, *mode, nsp, inbox)),
            Family::Streams(options, writers, reader) => {
                Arc::new(streams::Streams::open(shared, options.clone(), writers.clone(), reader, nsp, inbox))
            }
        }
    }

    fn stats(&self) -> BusStats {
        let trimmed = match &self.family {
            Family::Streams(_, _, reader) => reader.trimmed(),
            _ => 0,
        };
        BusStats { trimmed, ..self.shared.publisher.stats() + self.shared.subscriber.stats() }
    }

    fn requests_timeout(&self) -> Duration {
        self.shared.timeout
    }
}

/// Without secrets.
impl fmt::Debug for RedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapter")
            .field("address", &self.address)
            .field("key", &self.shared.prefix)
            .finish_non_exhaustive()
    }
}

/// The options of a [`RedisAdapter`], named as in Node.js.
///
/// ```
/// use std::time::Duration;
/// use socketio_redis_adapter::{QueueLimits, RedisAdapter};
///
/// let queue = QueueLimits { messages: 10_000, ..QueueLimits::default() };
/// let builder = RedisAdapter::builder("redis://localhost").key("chat").requests_timeout(Duration::from_secs(2)).queue(queue);
/// ```
#[derive(Clone)]
#[must_use = "call `connect` or `lazy`"]
pub struct Builder {
    url: String,
    tls: TlsOptions,
    key: String,
    requests_timeout: Duration,
    publish_on_specific_response_channel: bool,
    queue: QueueLimits,
    buffer: usize,
    sharded: Option<SubscriptionMode>,
    streams: Option<StreamOptions>,
}

impl Builder {
    /// Speak as `createShardedAdapter` does, over the sharded channels of Redis 7.
    ///
    /// ```
    /// # use socketio_redis_adapter::*;
    /// # async fn example() -> Result<(), ConnectError> {
    /// let adapter = RedisAdapter::builder("redis://localhost").sharded(SubscriptionMode::Dynamic).connect().await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "createShardedAdapter")]
    pub fn sharded(mut self, mode: SubscriptionMode) -> Builder {
        (self.sharded, self.streams) = (Some(mode), None);
        self
    }

    /// Speak as `@socket.io/redis-streams-adapter` does: broadcasts outlive an outage in a stream.
    ///
    /// It uses the same channel names as the classic family for other things: use another Redis, or another
    /// [`key`](Builder::key), when both are in use.
    ///
    /// ```
    /// # use socketio_redis_adapter::*;
    /// # async fn example() -> Result<(), ConnectError> {
    /// let adapter = RedisAdapter::builder("redis://localhost").streams().stream_count(4).max_len(100_000).connect().await?;
    /// # Ok(()) }
    /// ```
    pub fn streams(mut self) -> Builder {
        self.sharded = None;
        self.streams.get_or_insert_default();
        self
    }

    /// Streams: the stream's name. Default `socket.io`.
    #[doc(alias = "streamName")]
    pub fn stream_name(mut self, name: impl Into<String>) -> Builder {
        self.streams.get_or_insert_default().name = name.into();
        self
    }

    /// Streams: over how many streams the namespaces are spread; the same on all servers. Default 1.
    #[doc(alias = "streamCount")]
    pub fn stream_count(mut self, count: u32) -> Builder {
        self.streams.get_or_insert_default().count = count.max(1);
        self
    }

    /// Streams: about how many entries are kept. Default 10,000.
    #[doc(alias = "maxLen")]
    pub fn max_len(mut self, entries: usize) -> Builder {
        self.streams.get_or_insert_default().max_len = entries;
        self
    }

    /// Streams: how many entries are read at once. Default 100.
    #[doc(alias = "readCount")]
    pub fn read_count(mut self, entries: usize) -> Builder {
        self.streams.get_or_insert_default().read_count = entries;
        self
    }

    /// Streams: ask and answer over the sharded channels of Redis 7. Default off.
    #[doc(alias = "useShardedPubSub")]
    pub fn use_sharded_pub_sub(mut self, on: bool) -> Builder {
        self.streams.get_or_insert_default().sharded_pub_sub = on;
        self
    }

    /// Streams: what the keys of sessions start with, to which clients come back with connection state recovery. Default
    /// `sio:session:`.
    #[doc(alias = "sessionKeyPrefix")]
    pub fn session_key_prefix(mut self, prefix: impl Into<String>) -> Builder {
        self.streams.get_or_insert_default().session_prefix = prefix.into();
        self
    }

    /// What the names of all channels start with; the same on all servers and emitters of a cluster. Default
    /// `socket.io`.
    ///
    /// ```
    /// use socketio_redis_adapter::RedisAdapter;
    ///
    /// // Two applications on one Redis, which do not hear each other.
    /// let (chat, shop) = ["chat", "shop"].map(|key| RedisAdapter::builder("redis://localhost").key(key)).into();
    /// ```
    pub fn key(mut self, key: impl Into<String>) -> Builder {
        self.key = key.into();
        self
    }

    /// How to trust a `rediss://` Redis, and who we are there. Default: as the system trusts, and without a certificate.
    ///
    /// ```
    /// use socketio_redis_adapter::{RedisAdapter, TlsOptions};
    ///
    /// let mut tls = TlsOptions::default();
    /// tls.ca = Some("/etc/redis/ca.pem".into());
    /// let builder = RedisAdapter::builder("rediss://redis.example.com").tls(tls);
    /// ```
    pub fn tls(mut self, options: TlsOptions) -> Builder {
        self.tls = options;
        self
    }

    /// How long other servers may take to answer, and Redis to tell how many there are. Default 5 s.
    #[doc(alias = "requestsTimeout")]
    pub fn requests_timeout(mut self, timeout: Duration) -> Builder {
        self.requests_timeout = timeout;
        self
    }

    /// Answer a server on a channel of its own rather than on one that all servers read. Default off, as in Node.js;
    /// servers before version 7.1 do not hear such answers.
    #[doc(alias = "publishOnSpecificResponseChannel")]
    pub fn publish_on_specific_response_channel(mut self, on: bool) -> Builder {
        self.publish_on_specific_response_channel = on;
        self
    }

    /// How much may wait to be sent when Redis is slow or away.
    pub fn queue(mut self, limits: QueueLimits) -> Builder {
        self.queue = limits;
        self
    }

    /// How many bytes of messages of other servers may wait here to be delivered; what is more is dropped and told.
    /// Default 64 MiB.
    pub fn buffer(mut self, bytes: usize) -> Builder {
        self.buffer = bytes;
        self
    }

    /// Connects, and returns when Redis has let both connections in.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the URL is not understood or there is no link now. Nothing keeps running then.
    pub async fn connect(self) -> Result<RedisAdapter, ConnectError> {
        let adapter = self.lazy()?;
        adapter.shared.publisher.connected().await?;
        adapter.shared.subscriber.connected().await?;
        Ok(adapter)
    }

    /// Returns at once and connects in the background: a server may start before its Redis.
    ///
    /// Has to be called inside a Tokio runtime, which carries the connections.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Url`] when the URL is not understood.
    ///
    /// ```
    /// use socketio_redis_adapter::{ConnectError, RedisAdapter};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let wrong = RedisAdapter::builder("http://localhost").lazy();
    /// assert!(matches!(wrong, Err(ConnectError::Url { .. })));
    /// assert!(RedisAdapter::builder("redis://nobody.is.here").lazy().is_ok(), "nobody has been asked yet");
    /// # }
    /// ```
    pub fn lazy(self) -> Result<RedisAdapter, ConnectError> {
        let address = self.url.parse::<Address>()?.with_tls(self.tls);
        let redis = Redis::at(address.clone());
        let shared = Shared {
            prefix: self.key.into(),
            publisher: Publisher::start(&redis, "socketio-publisher", self.queue),
            subscriber: Subscriber::start(&redis, self.buffer),
            timeout: self.requests_timeout,
            specific_responses: self.publish_on_specific_response_channel,
        };
        let family = match (self.sharded, self.streams) {
            (Some(mode), None) => Family::Sharded(mode),
            (_, Some(options)) => {
                let reader = Reader::start(&redis, &options);
                let writers = Writers::new(redis, self.queue, shared.publisher.losses().clone());
                Family::Streams(Arc::new(options), Arc::new(writers), reader)
            }
            (None, None) => Family::Classic,
        };
        Ok(RedisAdapter { address, shared, family })
    }
}
