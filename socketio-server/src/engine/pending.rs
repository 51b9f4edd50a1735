//! A list that many add to, and that one task empties: whoever adds the first one wakes it.
//!
//! `tests/tests/loom.rs` has every order of what threads do here.

use crate::sync::{Mutex, Notify};

/// See the [module documentation](self).
pub(super) struct Pending<T> {
    listed: Mutex<Vec<T>>,
    wake: Notify,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { listed: Mutex::default(), wake: Notify::default() }
    }
}

impl<T> Pending<T> {
    pub(super) fn push(&self, item: T) {
        let mut listed = self.listed.lock().expect("nothing panics under the lock of a list");
        let first = listed.is_empty();
        listed.push(item);
        drop(listed);
        if first {
            self.wake.notify_one();
        }
    }

    /// Returns once there is something. Only one task waits.
    pub(super) async fn some(&self) {
        self.wake.notified().await;
    }

    /// Takes all, and leaves `spare` in its place.
    pub(super) fn take(&self, spare: Vec<T>) -> Vec<T> {
        std::mem::replace(&mut *self.listed.lock().expect("nothing panics under the lock of a list"), spare)
    }
}
