//! The sharded family over Redis 7: SPUBLISH and one SSUBSCRIBE for each channel.
//!
//! Which bytes go on which channel is `socketio_protocol::cluster::sharded`'s part; here they are carried.
//!
//! In the dynamic modes a room's channel is subscribed to when the room gets its first socket here. What others send to
//! the room before Redis has the subscription, one way to Redis later, does not arrive; the libraries of Node.js have
//! the same gap. [`Channel::ready`] waits until Redis has it. [`SubscriptionMode::Static`] has no such gap.

use std::{future::Future, pin::Pin, sync::Arc};

use socketio_protocol::cluster::{
    Answer, BusError, BusStatus, Channel, Inbox, Message, Published,
    sharded::{self, Channels, SubscriptionMode, UID_LENGTH},
};

use socketio_redis_client::{Listener, Sink, Topics, random::random_hex};

use crate::shared::{Shared, tell};

/// One namespace.
pub(crate) struct Sharded {
    shared: Shared,
    mode: SubscriptionMode,
    names: Arc<Names>,
    listener: Listener,
}

struct Names {
    channels: Channels,
    uid: String,
}

impl Sharded {
    pub(crate) fn open(shared: Shared, mode: SubscriptionMode, nsp: &str, inbox: Arc<dyn Inbox>) -> Sharded {
        let names = Arc::new(Names { channels: Channels::new(&shared.prefix, nsp), uid: random_hex(UID_LENGTH) });
        let shards = [names.channels.broadcast(None), sharded::answers_to(&names.channels, &names.uid)];
        let topics = Topics { shards: shards.map(|channel| channel.into_owned()).into(), ..Topics::default() };
        let listener = shared.subscriber.open(topics, Arc::new(Ear { names: names.clone(), inbox }));
        Sharded { shared, mode, names, listener }
    }

    fn send(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.listener.open()?;
        let Names { channels, uid } = &*self.names;
        let mut payload = Vec::with_capacity(256);
        let channel = sharded::encode(channels, self.mode, uid, message, &mut payload)
            .map_err(|error| BusError::Encode { reason: error.to_string() })?;
        let channel = requester.map_or(channel, |requester| sharded::answers_to(channels, requester));
        self.shared.publisher.send(&[b"SPUBLISH", channel.as_bytes(), &payload])
    }

    fn room_channel(&self, room: &str) -> Option<String> {
        self.mode.has_channel(room).then(|| self.names.channels.broadcast(Some(room)).into_owned())
    }
}

impl Channel for Sharded {
    fn uid(&self) -> &str {
        &self.names.uid
    }

    fn publish(&self, message: &Message) -> Result<Published, BusError> {
        self.send(None, message)
    }

    fn respond(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.send(requester, message)
    }

    fn server_count(&self) -> Pin<Box<dyn Future<Output = Result<usize, BusError>> + Send + '_>> {
        Box::pin(async { self.shared.count(&self.names.channels.broadcast(None), true).await })
    }

    fn is_there<'a>(&'a self, uid: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.shared.count(&sharded::answers_to(&self.names.channels, uid), true).await? > 0) })
    }

    fn room_created(&self, room: &str) {
        if let Some(channel) = self.room_channel(room) {
            self.listener.add(channel);
        }
    }

    fn room_deleted(&self, room: &str) {
        if let Some(channel) = self.room_channel(room) {
            self.listener.remove(channel);
        }
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + '_>> {
        Box::pin(self.listener.ready())
    }

    fn close(&self) {
        self.listener.close();
    }
}

impl Drop for Sharded {
    fn drop(&mut self) {
        self.listener.close();
    }
}

struct Ear {
    names: Arc<Names>,
    inbox: Arc<dyn Inbox>,
}

impl Sink for Ear {
    fn message(&self, channel: &[u8], payload: &[u8]) {
        tell(&*self.inbox, channel, sharded::decode(&self.names.channels, &self.names.uid, payload));
    }

    fn status(&self, status: BusStatus) {
        self.inbox.status(status);
    }
}
