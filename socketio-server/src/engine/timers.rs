//! One clock for all connections: a heap of deadlines and a single task, instead of a timer for each.
//!
//! A connection stands in the heap under one deadline. Those only move away while a client is alive, so an entry that
//! comes up early is put back at little cost, and a pong costs nothing here at all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use super::clock::now;
use super::connection::Connection;

/// Deadlines, soonest first.
#[derive(Default)]
pub(super) struct Timers {
    heap: Mutex<BinaryHeap<Entry>>,
    sooner: Notify,
}

struct Entry {
    at: Reverse<Instant>,
    connection: Weak<Connection>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Timers {
    /// Has `connection` looked at when `at` has come.
    pub(super) fn arm(&self, at: Instant, connection: &Arc<Connection>) {
        let entry = Entry { at: Reverse(at), connection: Arc::downgrade(connection) };
        let mut heap = self.heap.lock().expect("nothing panics under the timers' lock");
        let soonest = heap.peek().is_none_or(|first| at < first.at.0);
        heap.push(entry);
        drop(heap);
        if soonest {
            self.sooner.notify_one();
        }
    }

    /// Looks at every connection whose deadline has come. Says when the next one comes.
    fn run_due(&self) -> Option<Instant> {
        let now = now();
        loop {
            let mut heap = self.heap.lock().expect("nothing panics under the timers' lock");
            match heap.peek() {
                None => return None,
                Some(first) if first.at.0 > now => return Some(first.at.0),
                Some(_) => {
                    let entry = heap.pop().expect("just seen");
                    drop(heap);
                    if let Some(connection) = entry.connection.upgrade() {
                        connection.tick(entry.at.0);
                    }
                }
            }
        }
    }

    /// Runs until it is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let next = self.run_due();
            let sooner = self.sooner.notified();
            match next {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = sooner => {}
                    }
                }
                None => sooner.await,
            }
        }
    }
}
