//! Who looks at what is sent to single sockets. Mostly nobody does, which costs one look at a number for each packet,
//! however many receive it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytestring::ByteString;

use super::Outgoing;

/// See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Watchers {
    count: AtomicUsize,
    by_id: RwLock<HashMap<ByteString, Watcher>>,
}

/// Is shown what is sent to a socket, under no lock.
pub(crate) type Watcher = Arc<dyn Fn(&Outgoing) + Send + Sync>;

impl Watchers {
    /// Has `watcher` shown what is sent to a socket, in place of the one before.
    pub(crate) fn add(&self, id: &ByteString, watcher: Watcher) {
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        by_id.insert(id.clone(), watcher);
        self.count.store(by_id.len(), Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, id: &str) {
        if self.is_empty() {
            return;
        }
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        by_id.remove(id);
        self.count.store(by_id.len(), Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whoever looks at what is sent to the socket.
    pub(super) fn of(&self, id: &str) -> Option<Watcher> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchers").field("count", &self.count).finish_non_exhaustive()
    }
}
