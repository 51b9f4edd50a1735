//! A small message bus inside the server, so that emitters reach it where no Redis runs.
//!
//! It speaks as much of the Redis protocol as publishing and subscribing need, to any Redis client.
//! Messages go to those who listen at that moment and are kept nowhere. There is no password, no
//! cluster and no storage: the bus is for development and for one machine, many servers use Redis.
//!
//! [`glob`] says which channels a pattern means, [`topics`] who listens to what, [`resp`] how
//! commands and replies look on the wire, [`outbox`] what happens to a listener that reads too
//! slowly, [`session`] what a command does. This file takes the connections in and counts them.

mod connection;
mod glob;
mod outbox;
mod resp;
mod session;
#[cfg(test)]
mod tests;
mod topics;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;

use topics::Topics;

/// A bus that has its address and does not answer yet; [`Bus::serve`] does.
#[derive(Debug)]
pub(crate) struct Bus {
    listener: TcpListener,
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Bus {
    /// Takes `addr`. Port 0 takes any free port; [`Bus::addr`] says which.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] when somebody listens there already, most likely a Redis.
    pub(crate) async fn bind(addr: impl ToSocketAddrs) -> io::Result<Bus> {
        Bus::bind_with(addr, Limits::default()).await
    }

    async fn bind_with(addr: impl ToSocketAddrs, limits: Limits) -> io::Result<Bus> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared { topics: Mutex::default(), counters: Counters::default(), limits });
        Ok(Bus { listener, addr, shared })
    }

    /// Where the bus listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers clients until the future is dropped, which closes every connection.
    pub(crate) async fn serve(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() >= self.shared.limits.connections => {
                        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                        refuse(stream).await;
                    }
                    Ok((stream, _)) => {
                        self.shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(connection::run(stream, self.shared.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the bus could not accept a connection");
                        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Tells a client that there is no room, as far as its socket takes that at once.
async fn refuse(mut stream: TcpStream) {
    let answer = stream.write_all(b"-ERR max number of clients reached\r\n");
    let _ = tokio::time::timeout(Duration::from_millis(10), answer).await;
}

/// What all connections of one bus share.
#[derive(Debug)]
struct Shared {
    topics: Mutex<Topics>,
    counters: Counters,
    limits: Limits,
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much a client may ask of the bus.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at one time; one more is answered with an error and closed.
    connections: usize,
    /// Bytes of one command; a longer one closes its connection.
    command: usize,
    /// Bytes waiting for one connection. A listener past it is closed, as Redis does.
    queue: usize,
    /// Bytes of all channel and pattern names one connection subscribes to.
    names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, command: 16 << 20, queue: 32 << 20, names: 1 << 20 }
    }
}

/// What has happened since the bus began; `INFO` shows it.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    published: AtomicU64,
    slow: AtomicU64,
    malformed: AtomicU64,
}

/// Accepting fails when file descriptors run out, and goes on failing for a while.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
