//! How much goes on at a server: what `server_stats` tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytestring::ByteString;
use serde::Serialize;

use crate::engine::{CloseReason, Connection, Meter, TransportKind};
use crate::server::Server;

/// What is counted. Packets only add to a number; once a second the numbers are put beside the second.
#[derive(Debug, Default)]
pub(super) struct Stats {
    polling_clients: AtomicUsize,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    seconds: Mutex<BTreeMap<Key, u64>>,
}

/// The second, in milliseconds, and what happened in it.
type Key = (u64, &'static str, Option<&'static str>);

/// How often one thing happened in one second.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedEvent {
    timestamp: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_type: Option<&'static str>,
    count: u64,
}

impl Stats {
    fn add(&self, kind: &'static str, sub_type: Option<&'static str>, count: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let key = (now.as_secs() * 1000, kind, sub_type);
        *self.seconds.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += count;
    }

    /// Puts what has been counted since the last time beside the second.
    pub(super) fn settle(&self) {
        for (kind, counter) in [
            ("packetsIn", &self.packets_in),
            ("packetsOut", &self.packets_out),
            ("bytesIn", &self.bytes_in),
            ("bytesOut", &self.bytes_out),
        ] {
            match counter.swap(0, Ordering::Relaxed) {
                0 => {}
                count => self.add(kind, None, count),
            }
        }
    }

    /// What happened since this was called last.
    fn take(&self) -> Vec<AggregatedEvent> {
        self.settle();
        let seconds = std::mem::take(&mut *self.seconds.lock().unwrap_or_else(PoisonError::into_inner));
        let event = |((timestamp, kind, sub_type), count)| AggregatedEvent { timestamp, kind, sub_type, count };
        seconds.into_iter().map(event).collect()
    }
}

/// Counts one connection.
#[derive(Debug)]
pub(crate) struct ConnectionMeter {
    stats: Arc<Stats>,
    polling: AtomicBool,
}

impl ConnectionMeter {
    pub(super) fn start(stats: Arc<Stats>, connection: &Arc<Connection>) -> Arc<Self> {
        let polling = connection.transport() == TransportKind::Polling;
        stats.add("rawConnection", None, 1);
        stats.polling_clients.fetch_add(polling.into(), Ordering::Relaxed);
        let meter = Arc::new(Self { stats, polling: AtomicBool::new(polling) });
        connection.set_meter(meter.clone());
        meter
    }

    /// The connection is closed.
    pub(crate) fn closed(&self, reason: CloseReason) {
        self.upgraded(); // Not when it is dropped: the application may hold it for long.
        self.stats.add("rawDisconnection", Some(reason.as_str()), 1);
    }
}

impl Meter for ConnectionMeter {
    fn packet_in(&self, bytes: usize) {
        self.stats.packets_in.fetch_add(1, Ordering::Relaxed);
        self.stats.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn packet_out(&self, bytes: usize) {
        self.stats.packets_out.fetch_add(1, Ordering::Relaxed);
        self.stats.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn upgraded(&self) {
        if self.polling.swap(false, Ordering::Relaxed) {
            self.stats.polling_clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// However it ended, and if its task panicked.
impl Drop for ConnectionMeter {
    fn drop(&mut self) {
        self.upgraded();
    }
}

/// Which server it is.
#[derive(Debug)]
pub(super) struct Identity {
    server_id: String,
    hostname: String,
    pid: u32,
    since: Instant,
}

impl Identity {
    pub(super) fn new(server_id: Option<String>) -> Self {
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        let pid = std::process::id();
        let server_id = server_id.unwrap_or_else(|| format!("{hostname}#{pid}"));
        Self { server_id, hostname, pid, since: Instant::now() }
    }
}

/// What the Admin UI is told every two seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerStats<'a> {
    server_id: &'a str,
    hostname: &'a str,
    pid: u32,
    uptime: f64,
    clients_count: usize,
    polling_clients_count: usize,
    aggregated_events: Vec<AggregatedEvent>,
    namespaces: Vec<NamespaceStats>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceStats {
    name: ByteString,
    sockets_count: usize,
}

impl<'a> ServerStats<'a> {
    /// What there is now, and what happened since this was asked last.
    pub(super) fn take(server: &Server, stats: &Stats, identity: &'a Identity) -> Self {
        let namespaces = server.namespaces().into_iter();
        let namespaces =
            namespaces.map(|nsp| NamespaceStats { name: nsp.name().clone(), sockets_count: nsp.local_count() });
        Self {
            server_id: &identity.server_id,
            hostname: &identity.hostname,
            pid: identity.pid,
            uptime: identity.since.elapsed().as_secs_f64(),
            clients_count: server.engine().clients_count(),
            polling_clients_count: stats.polling_clients.load(Ordering::Relaxed),
            aggregated_events: stats.take(),
            namespaces: namespaces.collect(),
        }
    }
}
