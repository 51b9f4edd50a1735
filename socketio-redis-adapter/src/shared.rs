//! What all namespaces of one adapter share, whatever the family.

use std::{sync::Arc, time::Duration};

use socketio_protocol::cluster::{BusError, BusStatus, Envelope, Inbox, MessageError};
use socketio_redis_client::{Publisher, Subscriber};
use tokio::time::timeout;

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) prefix: Arc<str>,
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    pub(crate) timeout: Duration,
    pub(crate) specific_responses: bool,
}

impl Shared {
    /// How many servers there are: how many connections are subscribed to a channel of all of them.
    pub(crate) async fn count(&self, channel: &str, sharded: bool) -> Result<usize, BusError> {
        let count = async {
            match sharded {
                true => self.publisher.shard_subscribers(channel).await,
                false => self.publisher.subscribers(channel).await,
            }
        };
        let late = |_| BusError::Timeout { after_ms: self.timeout.as_millis().try_into().unwrap_or(u64::MAX) };
        Ok(usize::try_from(timeout(self.timeout, count).await.map_err(late)??).unwrap_or(usize::MAX))
    }
}

/// Gives an inbox what was read, or says that it could not be.
pub(crate) fn tell(inbox: &dyn Inbox, from: &[u8], read: Result<Option<Envelope>, MessageError>) {
    match read {
        Ok(Some(envelope)) => inbox.receive(envelope),
        Ok(None) => {}
        Err(error) => inbox.status(BusStatus::Malformed {
            channel: String::from_utf8_lossy(from).into_owned(),
            error: error.to_string(),
        }),
    }
}
