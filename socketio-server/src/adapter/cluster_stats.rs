//! What a server counts of the way to the other servers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use socketio_protocol::cluster::{BusStats, BusStatus};

use crate::engine::counters::{bump, read};

/// What the namespaces of a server count together.
#[derive(Debug, Default)]
pub(crate) struct ClusterCounts {
    pub(crate) received: AtomicU64,
    deaf: AtomicU64,
    outages: AtomicU64,
    gaps: AtomicU64,
    gap_micros: AtomicU64,
    pub(crate) lost: AtomicU64,
    malformed: AtomicU64,
    hook: Hook,
}

/// Whom to tell how the way to the other servers is.
#[derive(Default)]
struct Hook(RwLock<Option<ClusterHook>>);

/// See [`Server::on_cluster`](crate::Server::on_cluster).
pub(crate) type ClusterHook = Arc<dyn Fn(&str, &BusStatus) + Send + Sync>;

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl ClusterCounts {
    pub(crate) fn tell(&self, hook: ClusterHook) {
        *self.hook.0.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    pub(crate) fn read(&self, bus: BusStats) -> ClusterStats {
        ClusterStats {
            deaf_namespaces: read(&self.deaf),
            outages: read(&self.outages),
            gap_count: read(&self.gaps),
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

    /// Counts what has happened to namespace `nsp`, and tells who wants to know.
    pub(crate) fn count(&self, nsp: &str, status: &BusStatus) {
        match status {
            BusStatus::Up if self.is_deaf.swap(false, Ordering::AcqRel) => self.hears(),
            BusStatus::Down { .. } if !self.is_deaf.swap(true, Ordering::AcqRel) => {
                bump(&self.counts.deaf);
                bump(&self.counts.outages);
            }
            BusStatus::Gap { since, until, .. } => {
                bump(&self.counts.gaps);
                let micros = u64::try_from(until.saturating_duration_since(*since).as_micros()).unwrap_or(u64::MAX);
                self.counts.gap_micros.fetch_add(micros, Ordering::Relaxed);
            }
            BusStatus::Lost { count } => drop(self.counts.lost.fetch_add(*count, Ordering::Relaxed)),
            BusStatus::Malformed { .. } => bump(&self.counts.malformed),
            _ => {}
        }
        // Last: an application's own fault makes no number wrong.
        let hook = self.counts.hook.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(nsp, status);
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
///
/// ```
/// use socketio_server::{ClusterStats, Server};
///
/// /// Whether this server may be sent clients: it hears the others.
/// fn is_ready(io: &Server) -> bool {
///     let cluster: Option<ClusterStats> = io.stats().cluster;
///     !io.is_draining() && cluster.is_none_or(|cluster| cluster.deaf_namespaces == 0)
/// }
///
/// assert!(is_ready(&Server::new()), "it is alone");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Namespaces that do not hear the other servers now: they are not subscribed yet, or the link is gone.
    pub deaf_namespaces: u64,
    /// How often a namespace lost the link.
    pub outages: u64,
    /// How often a namespace may have missed what the others sent. How many messages these are nobody here can know, but
    /// for streams: see [`BusStats::trimmed`].
    pub gap_count: u64,
    /// For how long that was, added up over namespaces.
    pub gaps: Duration,
    /// Messages of the other servers.
    pub received: u64,
    /// Messages of the other servers that were dropped here, since they came faster than they could be taken.
    pub lost: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// What the bus tells of its links, and of messages that it did not carry.
    pub bus: BusStats,
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Mutex;
    use std::time::Instant;

    use socketio_protocol::cluster::{Answer, Bus, BusError, Channel, Inbox, Message, Published};

    use super::*;
    use crate::Server;

    /// A bus that carries nothing, and keeps whom it would bring messages to.
    #[derive(Clone, Default)]
    struct Inboxes(Arc<Mutex<Vec<Arc<dyn Inbox>>>>);

    impl Bus for Inboxes {
        fn open(&self, _: &str, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
            self.0.lock().unwrap().push(inbox);
            Arc::new(Silent)
        }
    }

    struct Silent;

    impl Channel for Silent {
        fn uid(&self) -> &str {
            "one"
        }

        fn publish(&self, _: &Message) -> Result<Published, BusError> {
            Ok(Published::settled(Ok(())))
        }

        fn respond(&self, _: Option<&str>, message: &Message) -> Result<Published, BusError> {
            self.publish(message)
        }

        fn server_count(&self) -> Answer<'_, usize> {
            Box::pin(ready(Ok(1)))
        }

        fn ready(&self) -> Answer<'_, ()> {
            Box::pin(ready(Ok(())))
        }

        fn close(&self) {}
    }

    #[tokio::test]
    async fn a_hook_that_panics_ends_nothing_and_makes_no_number_wrong() {
        let bus = Inboxes::default();
        let io = Server::builder().adapter(bus.clone()).build();
        io.on_cluster(|_, _| panic!("its own fault"));
        let inbox = bus.0.lock().unwrap()[0].clone();
        inbox.status(BusStatus::Up);
        inbox.status(BusStatus::Lost { count: 3 });
        let stats = io.stats().cluster.unwrap();
        assert_eq!((stats.deaf_namespaces, stats.lost), (0, 3));
    }

    #[test]
    fn a_namespace_is_deaf_until_it_hears_and_from_then_on_outages_are_counted() {
        let counts = Arc::new(ClusterCounts::default());
        let stats = || counts.read(BusStats::default());
        let (one, other) = (Hearing::new(counts.clone()), Hearing::new(counts.clone()));
        assert_eq!((stats().deaf_namespaces, stats().outages), (2, 0));
        one.count("/", &BusStatus::Up);
        other.count("/", &BusStatus::Up);
        other.count("/", &BusStatus::Up);
        assert_eq!((stats().deaf_namespaces, stats().outages), (0, 0));
        let down = BusStatus::Down { error: BusError::Closed };
        one.count("/", &down);
        one.count("/", &down);
        assert_eq!((stats().deaf_namespaces, stats().outages), (1, 1));
        let since = Instant::now();
        let told = Arc::<std::sync::Mutex<Vec<String>>>::default();
        let tell = told.clone();
        counts.tell(Arc::new(move |nsp, status| tell.lock().unwrap().push(format!("{nsp} {status:?}"))));
        one.count("/", &BusStatus::Gap { since, until: since + Duration::from_millis(1500), lost: None });
        one.count("/", &BusStatus::Lost { count: 3 });
        one.count("/", &BusStatus::Malformed { channel: "c".into(), error: "e".into() });
        assert_eq!(
            told.lock().unwrap()[1..],
            [r#"/ Lost { count: 3 }"#, r#"/ Malformed { channel: "c", error: "e" }"#]
        );
        let now = stats();
        assert_eq!((now.gap_count, now.gaps, now.lost, now.malformed), (1, Duration::from_millis(1500), 3, 1));
        drop(one);
        assert_eq!(stats().deaf_namespaces, 0, "one that is closed is not waited for");
    }
}
