//! The way into a Redis Cluster: what is sent finds the node that it belongs to.
//!
//! A sharded message or an entry of a stream goes to the master of its slot, wherever that moves; the connections and the
//! topology are `socketio-redis-client`'s. Here its handles and errors become those of an emitter.

use std::time::Duration;

use socketio_protocol::cluster::{BusError, Published, emitter::Command};
use socketio_redis_client::{Publisher, QueueLimits, Redis};

use crate::{EmitError, link::Settings, queue::Limits};

/// Starts publishing to the nodes.
pub(crate) fn start(redis: &Redis, settings: &Settings, limits: Limits) -> Publisher {
    let limits = QueueLimits { messages: limits.messages, bytes: limits.bytes, age: settings.timeout };
    Publisher::start(redis, env!("CARGO_PKG_NAME"), limits)
}

/// Queues a message.
pub(crate) fn publish(publisher: &Publisher, command: &Command<'_>, payload: &[u8]) -> Result<Published, BusError> {
    let mut words: Vec<&[u8]> = vec![command.verb().as_bytes(), command.place().as_bytes()];
    let between = command.between();
    words.extend(between.iter().map(|word| word.as_bytes()));
    words.push(payload);
    publisher.send(&words)
}

/// What was queued and failed. Unless Redis refused it, it may have been sent.
pub(crate) fn failed(error: BusError) -> EmitError {
    match error {
        BusError::Unreachable { reason } => EmitError::Unanswered { reason },
        BusError::Timeout { after_ms } => EmitError::Timeout { after: Duration::from_millis(after_ms) },
        other => unsent("the Redis Cluster", other),
    }
}

/// What was not sent, or was only a question to Redis.
pub(crate) fn unsent(address: &str, error: BusError) -> EmitError {
    let unreachable = |reason| EmitError::Unreachable { address: address.to_owned(), reason, attempts: 1 };
    match error {
        BusError::Full { queued } => EmitError::Full { messages: queued, bytes: 0 },
        BusError::Refused { reason } => EmitError::from_words(address, reason),
        BusError::Encode { reason } => EmitError::Encode { reason },
        BusError::Closed => EmitError::Closed,
        BusError::Unreachable { reason } => unreachable(reason),
        other => unreachable(other.to_string()),
    }
}
