//! What is counted of messages: those that were lost on their way out, as far as that can be known, and those that came.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use socketio_protocol::cluster::{BusError, BusStats};

/// Messages that were not sent, or perhaps not; shared by all links of a publisher, so that no number goes with a link.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Losses {
    dropped: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

impl Losses {
    /// One was not taken, as the queue is full.
    pub fn full(&self, queued: usize) -> BusError {
        self.dropped.fetch_add(1, Relaxed);
        BusError::Full { queued }
    }

    /// So many were taken and surely not sent.
    pub fn failed(&self, messages: usize) {
        self.failed.fetch_add(messages as u64, Relaxed);
    }

    /// So many may have been sent or not.
    pub fn unknown(&self, messages: usize) {
        self.unknown.fetch_add(messages as u64, Relaxed);
    }

    /// The numbers in their places, and nothing else.
    pub fn stats(&self) -> BusStats {
        BusStats {
            dropped: self.dropped.load(Relaxed),
            failed: self.failed.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            ..BusStats::default()
        }
    }
}

/// Messages that Redis has brought to the links of a subscriber.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Brought {
    pub(crate) fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn stats(&self) -> BusStats {
        BusStats {
            brought: self.messages.load(Relaxed),
            brought_bytes: self.bytes.load(Relaxed),
            ..BusStats::default()
        }
    }
}
