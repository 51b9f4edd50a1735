//! Carries what servers say to each other about sessions of one another, on plain channels whatever the family.

use std::sync::Arc;

use socketio_protocol::cluster::{
    Answer, BusError, BusStatus, Hear, Heard, Notices, Published, SessionBus,
    sessions::{DEFAULT_PREFIX, channel},
};
use socketio_redis_client::{Listener, Publisher, Sink, Topics};

use crate::RedisAdapter;

impl SessionBus for RedisAdapter {
    fn open(&self, node: &str, hear: Hear) -> Box<dyn Notices> {
        let channels = vec![channel(DEFAULT_PREFIX, None), channel(DEFAULT_PREFIX, Some(node))];
        let topics = Topics { channels, ..Topics::default() };
        let listener = self.shared.subscriber.open(topics, Arc::new(Ear(hear)));
        Box::new(Line { publisher: self.shared.publisher.clone(), listener })
    }
}

struct Line {
    publisher: Publisher,
    listener: Listener,
}

impl Notices for Line {
    fn publish(&self, recipient: Option<&str>, notice: &[u8]) -> Result<Published, BusError> {
        self.publisher.publish(&channel(DEFAULT_PREFIX, recipient), notice)
    }

    fn listeners<'a>(&'a self, recipient: Option<&'a str>) -> Answer<'a, u64> {
        Box::pin(async move { self.publisher.subscribers(&channel(DEFAULT_PREFIX, recipient)).await })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listener.close();
    }
}

struct Ear(Hear);

impl Sink for Ear {
    fn message(&self, _channel: &[u8], payload: &[u8]) {
        (self.0)(Heard::Notice(payload));
    }

    fn status(&self, status: BusStatus) {
        // The rest is told by the adapter's own listeners.
        if matches!(status, BusStatus::Gap { .. } | BusStatus::Lost { .. }) {
            (self.0)(Heard::Missed);
        }
    }
}
