//! What the engine counts: plain numbers, so that counting costs next to nothing and needs no feature.
//!
//! What is counted with each read and write lies in a few lanes, one for each of a few threads, so that threads do not
//! fight for a cache line; the sums are made when somebody looks. Everything else happens rarely enough for one number.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use socketio_protocol::engine::{CloseReason, TransportKind};

/// How many transports there are; [`index`] numbers them.
pub(crate) const TRANSPORTS: usize = 3;

/// In the order of [`index`].
pub(crate) const TRANSPORT_NAMES: [&str; TRANSPORTS] = ["polling", "websocket", "webtransport"];

/// Why sessions end; the last is for reasons that are new.
pub(crate) const REASONS: [&str; 9] = [
    "transport close",
    "transport error",
    "ping timeout",
    "parse error",
    "forced close",
    "forced server close",
    "server shutting down",
    "slow consumer",
    "other",
];

/// How many codes refused requests have.
pub(crate) const CODES: usize = 6;

/// What one engine counts.
#[derive(Default)]
pub(crate) struct Counters {
    traffic: [Lane; LANES],
    opened: [AtomicU64; TRANSPORTS],
    closed: [AtomicU64; REASONS.len()],
    refused: [AtomicU64; CODES],
    pub(crate) upgrades: AtomicU64,
    pub(crate) volatile_dropped: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
}

const LANES: usize = 8;

/// What a thread counts, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Lane {
    received: [Amount; TRANSPORTS],
    sent: [Amount; TRANSPORTS],
}

#[derive(Default)]
struct Amount {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// A counter in stripes: each thread adds to one of a few, so that none waits for another's cache line.
#[derive(Default)]
pub(crate) struct StripedCounter([Stripe; LANES]);

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl StripedCounter {
    pub(crate) fn add(&self, n: u64) {
        self.0[LANE.with(|lane| *lane)].0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|stripe| read(&stripe.0)).sum()
    }
}

/// Packets and bytes of one direction.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let client = TestClient::connect(&io).await;
/// client.try_emit_with_ack::<()>("nobody answers", (), std::time::Duration::from_millis(10)).await;
/// let received = io.stats().received.web_socket;
/// assert!(received.packets >= 2 && received.bytes > received.packets);
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Engine.IO packets; a Socket.IO packet with its attachments is one.
    pub packets: u64,
    /// Bytes: of a WebSocket all that came or went, of polling the bodies.
    pub bytes: u64,
}

thread_local! {
    static LANE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % LANES
    };
}

impl Counters {
    pub(super) fn received(&self, transport: TransportKind, packets: u64, bytes: u64) {
        self.lane().received[index(transport)].add(packets, bytes);
    }

    pub(super) fn sent(&self, transport: TransportKind, packets: u64, bytes: u64) {
        self.lane().sent[index(transport)].add(packets, bytes);
    }

    fn lane(&self) -> &Lane {
        &self.traffic[LANE.with(|lane| *lane)]
    }

    pub(super) fn opened(&self, transport: TransportKind) {
        bump(&self.opened[index(transport)]);
    }

    pub(super) fn closed(&self, reason: CloseReason) {
        let at = REASONS.iter().position(|known| *known == reason.as_str()).unwrap_or(REASONS.len() - 1);
        bump(&self.closed[at]);
    }

    /// A request was refused with this code.
    pub(super) fn refused(&self, code: u8) {
        if let Some(refused) = self.refused.get(usize::from(code)) {
            bump(refused);
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let sum = |of: fn(&Lane) -> &[Amount; TRANSPORTS]| {
            std::array::from_fn(|transport| {
                self.traffic.iter().map(|lane| &of(lane)[transport]).fold(Traffic::default(), |sum, amount| Traffic {
                    packets: sum.packets + amount.packets.load(Ordering::Relaxed),
                    bytes: sum.bytes + amount.bytes.load(Ordering::Relaxed),
                })
            })
        };
        Totals {
            received: sum(|lane| &lane.received),
            sent: sum(|lane| &lane.sent),
            opened: self.opened.each_ref().map(read),
            closed: self.closed.each_ref().map(read),
            refused: self.refused.each_ref().map(read),
        }
    }
}

/// What was counted so far, by transport, [reason](REASONS), and code.
pub(crate) struct Totals {
    pub(crate) received: [Traffic; TRANSPORTS],
    pub(crate) sent: [Traffic; TRANSPORTS],
    pub(crate) opened: [u64; TRANSPORTS],
    pub(crate) closed: [u64; REASONS.len()],
    pub(crate) refused: [u64; CODES],
}

impl Amount {
    fn add(&self, packets: u64, bytes: u64) {
        for (counter, n) in [(&self.packets, packets), (&self.bytes, bytes)] {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }
}

pub(crate) fn index(transport: TransportKind) -> usize {
    match transport {
        TransportKind::Polling => 0,
        TransportKind::WebSocket => 1,
        TransportKind::WebTransport => 2,
    }
}

pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_is_one_sum() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| counters.received(TransportKind::WebSocket, 2, 100));
            }
        });
        assert_eq!(counters.totals().received[1], Traffic { packets: 40, bytes: 2000 });
        assert_eq!(counters.totals().received[0], Traffic::default());
    }

    #[test]
    fn every_reason_has_its_number() {
        let counters = Counters::default();
        for reason in [
            CloseReason::TransportClose,
            CloseReason::TransportError("x"),
            CloseReason::PingTimeout,
            CloseReason::ParseError,
            CloseReason::ForcedClose,
            CloseReason::ForcedServerClose,
            CloseReason::ServerShutdown,
            CloseReason::SlowConsumer,
        ] {
            counters.closed(reason);
        }
        assert_eq!(counters.totals().closed, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
}
