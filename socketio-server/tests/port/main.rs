//! Behaviours of the reference's own server tests that no other test of ours shows, with clients in memory.
//!
//! `tests/REFERENCE.md` is the table: each behaviour, and where it is shown.

mod broadcasting;
mod cluster;
mod coming_back;
mod entering;
#[cfg(feature = "client-bundle")]
mod files;
mod namespaces;
mod sockets;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketio_server::testing::TestClient;
use socketio_server::{Server, Socket};

/// What happened, in order, to be compared with what was to happen.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("nobody panics here").push(what.into());
    }

    /// What has been noted since it was asked for last.
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics here"))
    }
}

/// Lets everything run that can run now.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The server's socket of a client of `/`.
fn socket_of(io: &Server, client: &TestClient) -> Socket {
    io.local_socket(client.id()).expect("the client is connected")
}

/// The values, sorted.
fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort();
    values
}
