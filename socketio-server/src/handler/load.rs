//! How much of a connection's work waits, by which it is decided whether its client is read.
//!
//! `tests/tests/loom.rs` has every order of what threads do here.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Notify, Ordering, TaskTracker};

/// How many handlers of a connection wait.
#[derive(Debug, Default)]
pub(crate) struct Load {
    waiting: AtomicUsize,
    /// How many answers of the client are waited for. Not to read it because handlers wait for it would be to wait for
    /// ever.
    asked: AtomicUsize,
    fewer: Notify,
    /// The tasks of all handlers that wait, on any connection of the server.
    pub(super) tasks: TaskTracker,
}

/// How many times more handlers may wait than the limit says if it is the client's answers that they wait for.
const ASKING: usize = 16;

impl Load {
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self { tasks, ..Self::default() }
    }

    /// Returns once no handler waits.
    pub(crate) async fn idle(&self) {
        loop {
            let fewer = self.fewer.notified();
            if self.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            fewer.await;
        }
    }

    /// Returns once fewer than `limit` handlers wait.
    pub(crate) async fn below(&self, limit: usize) {
        loop {
            let fewer = self.fewer.notified();
            if self.is_below(limit) {
                return;
            }
            fewer.await;
        }
    }

    pub(crate) fn is_below(&self, limit: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Acquire);
        waiting < limit
            || waiting - self.asked.load(Ordering::Acquire).min(waiting) < limit
                && waiting < limit.saturating_mul(ASKING)
    }

    /// An answer of the client is waited for.
    pub(crate) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::AcqRel);
        self.fewer.notify_waiters();
    }

    /// The client has answered, or the answer is given up.
    pub(crate) fn answered(&self) {
        self.asked.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts something that waits, until it is dropped.
pub(crate) struct Waiting(Arc<Load>);

impl Waiting {
    pub(crate) fn new(load: Arc<Load>) -> Self {
        load.waiting.fetch_add(1, Ordering::AcqRel);
        Self(load)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.fewer.notify_waiters();
    }
}
