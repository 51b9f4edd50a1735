//! [`Builder`]: the settings of an emitter.

use std::{fmt, time::Duration};

use socketio_protocol::NEVER;
use socketio_protocol::cluster::{
    emitter::{DEFAULT_PREFIX, Family, StreamNames},
    sharded::SubscriptionMode,
};
use socketio_redis_client::TlsOptions;

use crate::{EmitError, Emitter, address, carrier::Carrier, link::Settings, queue::Limits};

/// Settings of an [`Emitter`]; each has its usual value until told otherwise.
///
/// ```no_run
/// use std::time::Duration;
/// use socketio_emitter::Emitter;
///
/// # async fn example() -> Result<(), socketio_emitter::EmitError> {
/// let emitter = Emitter::builder("redis://localhost")
///     .key("chat") // as the servers have it
///     .timeout(Duration::from_secs(2))
///     .retries(5)
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is asked to `connect` or to be `lazy`"]
pub struct Builder {
    url: String,
    tls: TlsOptions,
    key: String,
    timeout: Duration,
    retries: Option<u32>,
    limits: Limits,
    max_message: usize,
    answer_timeout: Duration,
    sharded: Option<SubscriptionMode>,
    streams: Option<StreamNames>,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            tls: TlsOptions::default(),
            key: DEFAULT_PREFIX.to_owned(),
            timeout: Duration::from_secs(5),
            retries: None,
            limits: Limits { messages: 65_536, bytes: 64 << 20 },
            max_message: 16 << 20,
            answer_timeout: Duration::from_secs(5),
            sharded: None,
            streams: None,
        }
    }

    /// The servers have `createShardedAdapter` of `@socket.io/redis-adapter`, over the sharded channels of Redis 7, with
    /// this mode; see `socketio-redis-adapter`'s builder. If not said, they have `createAdapter`.
    ///
    /// ```
    /// use socketio_emitter::{Emitter, SubscriptionMode};
    ///
    /// let emitter = Emitter::builder("redis://localhost").sharded(SubscriptionMode::Dynamic).lazy()?;
    /// assert_eq!(emitter.plan_emit("time", "12:00")?.verb, "SPUBLISH");
    /// # Ok::<_, socketio_emitter::EmitError>(())
    /// ```
    #[doc(alias = "createShardedAdapter")]
    pub fn sharded(mut self, mode: SubscriptionMode) -> Self {
        (self.sharded, self.streams) = (Some(mode), None);
        self
    }

    /// The servers have `@socket.io/redis-streams-adapter`. What is emitted is an entry of a stream, which a server that is
    /// away reads when it is back.
    ///
    /// ```
    /// let emitter = socketio_emitter::Emitter::builder("redis://localhost").streams().lazy()?;
    /// let plan = emitter.plan_emit("time", "12:00")?;
    /// assert_eq!((plan.verb, &*plan.channel), ("XADD", "socket.io"));
    /// # Ok::<_, socketio_emitter::EmitError>(())
    /// ```
    pub fn streams(mut self) -> Self {
        self.sharded = None;
        self.streams.get_or_insert_default();
        self
    }

    /// Streams: the stream's name; `socket.io` if not said.
    #[doc(alias = "streamName")]
    pub fn stream_name(mut self, name: impl Into<String>) -> Self {
        self.streams.get_or_insert_default().name = name.into();
        self
    }

    /// Streams: over how many streams the namespaces are spread, as the servers have it; 1 if not said.
    #[doc(alias = "streamCount")]
    pub fn stream_count(mut self, count: u32) -> Self {
        self.streams.get_or_insert_default().count = count.max(1);
        self
    }

    /// Streams: about how many entries are kept; 10,000 if not said.
    #[doc(alias = "maxLen")]
    pub fn max_len(mut self, entries: usize) -> Self {
        self.streams.get_or_insert_default().max_len = entries;
        self
    }

    /// Streams: the servers are asked, and answer, over the sharded channels of Redis 7; not if not said.
    #[doc(alias = "useShardedPubSub")]
    pub fn use_sharded_pub_sub(mut self, on: bool) -> Self {
        self.streams.get_or_insert_default().sharded_pub_sub = on;
        self
    }

    /// The prefix of all channels, the `key` of the servers' adapter; `socket.io` if not said.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// How to trust a `rediss://` Redis, and who we are there. If not said, as the system trusts, and without a
    /// certificate.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = options;
        self
    }

    /// How long a message waits for the link, and then again for the answer of Redis; 5 s if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(NEVER);
        self
    }

    /// How long answers of servers and clients are waited for where that is not said; 5 s if not said here either.
    #[doc(alias = "requestsTimeout")]
    pub fn requests_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout.min(NEVER);
        self
    }

    /// How often a failed attempt to connect is repeated before what waits is given up.
    ///
    /// If not said, [`connect`](Builder::connect) fails with the first attempt, and a message waits for its whole
    /// [`timeout`](Builder::timeout), however many attempts that is. A wrong password is not tried twice.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// How much may be without an answer at a time, messages and their bytes; 65,536 and 64 MiB if not said. Past
    /// that, `emit` gives [`EmitError::Full`].
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.limits = Limits { messages: messages.max(1), bytes };
        self
    }

    /// The largest message; 16 MiB if not said.
    ///
    /// Redis by default cuts off each server to which it owes more than 32 MiB: one large message would do that.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Connects, see [`Emitter::connect`].
    ///
    /// # Errors
    ///
    /// As [`Emitter::connect`].
    pub async fn connect(self) -> Result<Emitter, EmitError> {
        let emitter = self.lazy()?;
        emitter.connected().await?;
        Ok(emitter)
    }

    /// Connects with the first message, see [`Emitter::lazy`].
    ///
    /// # Errors
    ///
    /// As [`Emitter::lazy`].
    pub fn lazy(self) -> Result<Emitter, EmitError> {
        let Builder { url, tls, key, timeout, retries, limits, max_message, answer_timeout, sharded, streams } = self;
        let address = address::parse(&url, tls)?;
        let settings = Settings { address, timeout, retries, max_message, answer_timeout };
        let family = match (sharded, streams) {
            (Some(mode), None) => Family::Sharded(mode),
            (_, Some(names)) => Family::Streams(names),
            (None, None) => Family::Classic,
        };
        Ok(Emitter::new(Carrier::new(settings, key, limits), &family))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Builder").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn for_ever_can_be_added_to_a_time() {
        let builder = Builder::new("redis://localhost").timeout(Duration::MAX).requests_timeout(Duration::MAX);
        let until = [builder.timeout, builder.answer_timeout].map(|time| Instant::now().checked_add(time));
        assert!(until.iter().all(Option::is_some), "{until:?}");
    }
}
