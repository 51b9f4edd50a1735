//! Who listens to what.
//!
//! [`Topics`] knows the listeners of each channel and each pattern and queues a message for them.
//! It waits for nothing and writes nothing. Its lock gives all listeners the same order of messages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::glob;
use super::outbox::Outbox;
use super::resp::{Reply, Version};

/// What a subscription names: one channel, or all that a pattern means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
}

/// The number of a connection, never used twice.
pub(super) type ClientId = u64;

/// The listeners of every channel and pattern that has any.
#[derive(Debug, Default)]
pub(super) struct Topics {
    channels: HashMap<Bytes, Listeners>,
    patterns: HashMap<Bytes, Listeners>,
    last_client: ClientId,
}

type Listeners = BTreeMap<ClientId, Arc<Outbox>>;

/// What came of a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// How often it was queued; a client that listens in two ways is counted twice, as in Redis.
    pub receivers: i64,
    /// Listeners that were closed because it did not fit into their outbox any more.
    pub slow: u64,
}

impl Topics {
    /// A number for a new connection.
    pub(super) fn next_client(&mut self) -> ClientId {
        self.last_client += 1;
        self.last_client
    }

    /// From now on `outbox` gets what is published to `name`.
    pub(super) fn subscribe(&mut self, kind: Kind, name: &Bytes, client: ClientId, outbox: &Arc<Outbox>) {
        let listeners = self.of(kind).entry(name.clone()).or_default();
        listeners.insert(client, outbox.clone());
    }

    /// Ends what [`Topics::subscribe`] began.
    pub(super) fn unsubscribe(&mut self, kind: Kind, name: &Bytes, client: ClientId) {
        let topics = self.of(kind);
        if let Some(listeners) = topics.get_mut(name) {
            listeners.remove(&client);
            if listeners.is_empty() {
                topics.remove(name);
            }
        }
    }

    /// Queues `payload` for everyone who listens to `channel`.
    pub(super) fn publish(&self, channel: &Bytes, payload: &Bytes) -> Published {
        let mut published = Published::default();
        if let Some(listeners) = self.channels.get(channel) {
            let words = vec![Reply::text("message"), Reply::Bulk(channel.clone()), Reply::Bulk(payload.clone())];
            deliver(listeners, words, &mut published);
        }
        for (pattern, listeners) in &self.patterns {
            if glob::matches(pattern, channel) {
                let words = vec![
                    Reply::text("pmessage"),
                    Reply::Bulk(pattern.clone()),
                    Reply::Bulk(channel.clone()),
                    Reply::Bulk(payload.clone()),
                ];
                deliver(listeners, words, &mut published);
            }
        }
        published
    }

    /// The channels somebody listens to by name; of those, if given, the ones that `pattern` means.
    pub(super) fn channels(&self, pattern: Option<&[u8]>) -> impl Iterator<Item = &Bytes> {
        self.channels.keys().filter(move |name| pattern.is_none_or(|pattern| glob::matches(pattern, name)))
    }

    /// How many listen to this channel by name.
    pub(super) fn listeners(&self, channel: &Bytes) -> usize {
        self.channels.get(channel).map_or(0, BTreeMap::len)
    }

    /// How many different patterns are listened to.
    pub(super) fn patterns(&self) -> usize {
        self.patterns.len()
    }

    fn of(&mut self, kind: Kind) -> &mut HashMap<Bytes, Listeners> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }
}

/// Queues one message for `listeners`, encoded at most once for each version.
fn deliver(listeners: &Listeners, words: Vec<Reply>, published: &mut Published) {
    let message = Reply::Push(words);
    let mut frames: [Option<Bytes>; 2] = [None, None];
    let [resp2, resp3] = &mut frames;
    for outbox in listeners.values() {
        let version = outbox.version();
        let frame = match version {
            Version::Resp2 => &mut *resp2,
            Version::Resp3 => &mut *resp3,
        };
        let frame = frame.get_or_insert_with(|| message.encode(version));
        match outbox.push(frame.clone()) {
            true => published.receivers += 1,
            false => published.slow += 1,
        }
    }
}
