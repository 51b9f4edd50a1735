//! What a server counts of the way to the other servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socketio_protocol::cluster::{BusStats, BusStatus};

use crate::engine::counters::{bump, read};

/// What the namespaces of a server count together.
#[derive(Debug, Default)]
pub(crate) struct ClusterCounts {
    pub(crate) received: AtomicU64,
    deaf: AtomicU64,
    outages: AtomicU64,
    gap_micros: AtomicU64,
    lost: AtomicU64,
    malformed: AtomicU64,
}

impl ClusterCounts {
    pub(crate) fn read(&self, bus: BusStats) -> ClusterStats {
        ClusterStats {
            deaf_namespaces: read(&self.deaf),
            outages: read(&self.outages),
            gaps: Duration::from_micros(read(&self.gap_micros)),
            received: read(&self.received),
            lost: read(&self.lost),
            malformed: read(&self.malformed),
            bus,
        }
    }
}

/// Whether one namespace hears the other servers. It does not until it is told that it does.
#[derive(Debug)]
pub(crate) struct Hearing {
    counts: Arc<ClusterCounts>,
    is_deaf: AtomicBool,
}

impl Hearing {
    pub(crate) fn new(counts: Arc<ClusterCounts>) -> Self {
        bump(&counts.deaf);
        Self { counts, is_deaf: AtomicBool::new(true) }
    }

    pub(crate) fn count(&self, status: &BusStatus) {
        match status {
            BusStatus::Up if self.is_deaf.swap(false, Ordering::AcqRel) => self.hears(),
            BusStatus::Down { .. } if !self.is_deaf.swap(true, Ordering::AcqRel) => {
                bump(&self.counts.deaf);
                bump(&self.counts.outages);
            }
            BusStatus::Gap { since, until } => {
                let micros = u64::try_from(until.saturating_duration_since(*since).as_micros()).unwrap_or(u64::MAX);
                self.counts.gap_micros.fetch_add(micros, Ordering::Relaxed);
            }
            BusStatus::Lost { count } => drop(self.counts.lost.fetch_add(*count, Ordering::Relaxed)),
            BusStatus::Malformed { .. } => bump(&self.counts.malformed),
            _ => {}
        }
    }

    fn hears(&self) {
        self.counts.deaf.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if *self.is_deaf.get_mut() {
            self.hears();
        }
    }
}

/// How the way to the other servers of the cluster is, and what it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Namespaces that do not hear the other servers now: they are not subscribed yet, or the link is gone.
    pub deaf_namespaces: u64,
    /// How often a namespace lost the link.
    pub outages: u64,
    /// For how long namespaces may have missed what the others sent, added up over namespaces.
    pub gaps: Duration,
    /// Messages of the other servers.
    pub received: u64,
    /// Messages of the other servers that were dropped here, since they came faster than they could be taken.
    pub lost: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// What the bus tells of its links.
    pub bus: BusStats,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use socketio_protocol::cluster::BusError;

    use super::*;

    #[test]
    fn a_namespace_is_deaf_until_it_hears_and_from_then_on_outages_are_counted() {
        let counts = Arc::new(ClusterCounts::default());
        let stats = || counts.read(BusStats::default());
        let (one, other) = (Hearing::new(counts.clone()), Hearing::new(counts.clone()));
        assert_eq!((stats().deaf_namespaces, stats().outages), (2, 0));
        one.count(&BusStatus::Up);
        other.count(&BusStatus::Up);
        other.count(&BusStatus::Up);
        assert_eq!((stats().deaf_namespaces, stats().outages), (0, 0));
        let down = BusStatus::Down { error: BusError::Closed };
        one.count(&down);
        one.count(&down);
        assert_eq!((stats().deaf_namespaces, stats().outages), (1, 1));
        let since = Instant::now();
        one.count(&BusStatus::Gap { since, until: since + Duration::from_millis(1500) });
        one.count(&BusStatus::Lost { count: 3 });
        one.count(&BusStatus::Malformed { channel: "c".into(), error: "e".into() });
        let now = stats();
        assert_eq!((now.gaps, now.lost, now.malformed), (Duration::from_millis(1500), 3, 1));
        drop(one);
        assert_eq!(stats().deaf_namespaces, 0, "one that is closed is not waited for");
    }
}
