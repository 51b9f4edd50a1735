//! What all namespaces of one adapter share, whatever the family.

use std::{future::Future, sync::Arc, time::Duration};

use socketio_protocol::cluster::{BusError, BusStatus, Envelope, Inbox, MessageError};
use socketio_redis_client::{Publisher, Subscriber, resp::Reply};
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
    /// How many connections are subscribed to `channel`: `PUBSUB NUMSUB` or `PUBSUB SHARDNUMSUB`.
    pub(crate) fn count(
        &self,
        question: &'static [u8],
        channel: &str,
    ) -> impl Future<Output = Result<usize, BusError>> + Send + use<> {
        let answer = self.publisher.call(&[b"PUBSUB", question, channel.as_bytes()]);
        let after = self.timeout;
        async move {
            let late = |_| BusError::Timeout { after_ms: after.as_millis().try_into().unwrap_or(u64::MAX) };
            if let Reply::Array(pair) = timeout(after, answer).await.map_err(late)??
                && let [_, Reply::Integer(count)] = pair.as_slice()
            {
                return Ok(usize::try_from(*count).unwrap_or(0));
            }
            Err(BusError::Refused { reason: "the number of subscribers was not answered with a number".into() })
        }
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
