//! Disconnects sockets when their token ends.
//!
//! There is one list for all, from which a socket is taken when it leaves, and one task that waits for the first of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socketio_server::{Namespace, Server, Socket};
use tokio::sync::Notify;

use super::tokens::now;

/// Which socket is to go when.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// The end in seconds since 1970, the namespace, the socket.
    ends: Mutex<BTreeSet<(u64, String, String)>>,
    earlier: Notify,
}

impl Expiry {
    /// `socket` is to go at `end`.
    pub(crate) fn add(&self, socket: &Socket, end: u64) {
        let entry = entry(socket, end);
        let mut ends = self.ends();
        ends.insert(entry.clone());
        if ends.first() == Some(&entry) {
            self.earlier.notify_one();
        }
    }

    /// `socket` has left before its `end`.
    pub(crate) fn remove(&self, socket: &Socket, end: u64) {
        self.ends().remove(&entry(socket, end));
    }

    /// Disconnects sockets of `io` for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>, io: Server) {
        loop {
            let first = self.ends().first().map(|(end, ..)| *end);
            match first.map(|end| end.saturating_sub(now())) {
                Some(0) => {
                    let Some((_, namespace, id)) = self.ends().pop_first() else { continue };
                    let namespace: Namespace = io.of(&namespace);
                    if let Some(socket) = namespace.local_socket(&id) {
                        tracing::debug!(socket = %id, "a token has ended");
                        socket.disconnect(false);
                    }
                }
                // Looked at again now and then, since the clock may be set.
                Some(seconds) => {
                    let wait = Duration::from_secs(seconds).min(LOOK_AGAIN);
                    let _ = tokio::time::timeout(wait, self.earlier.notified()).await;
                }
                None => self.earlier.notified().await,
            }
        }
    }

    fn ends(&self) -> MutexGuard<'_, BTreeSet<(u64, String, String)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(socket: &Socket, end: u64) -> (u64, String, String) {
    (end, socket.namespace().name().to_string(), socket.id().to_string())
}

const LOOK_AGAIN: Duration = Duration::from_secs(60);
