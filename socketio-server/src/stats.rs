//! What a server counts, as numbers to look at and as metrics.
//!
//! Everything is counted all the time, in plain numbers; [`Server::stats`] puts them together. For Prometheus
//! [`Stats::to_prometheus`] is the whole answer of a `/metrics` route; with the feature `metrics`
//! [`Stats::publish`](Stats::publish) gives the same numbers to whatever recorder the program has. The names are listed
//! in `docs/observability.md`.

use std::collections::HashMap;
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::adapter::{Answers, ClusterCounts, ClusterStats};
use crate::engine::Traffic;
use crate::engine::counters::{REASONS, StripedCounter, TRANSPORT_NAMES, bump, read};
use crate::error::HandlerErrorKind;
use crate::server::Server;

/// What the Socket.IO part of a server counts; the engine counts for itself.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) events_received: StripedCounter,
    pub(crate) acks_received: AtomicU64,
    pub(crate) acks_sent: AtomicU64,
    pub(crate) ack_timeouts: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) slow_handlers: AtomicU64,
    handler_errors: [AtomicU64; KINDS.len()],
    requests: AtomicU64,
    request_micros: AtomicU64,
    missing_answers: AtomicU64,
    pub(crate) cluster: Arc<ClusterCounts>,
    pub(crate) named: NamedEvents,
}

/// How handlers fail.
const KINDS: [&str; 7] = ["arguments", "state", "returned", "panic", "answer", "join", "refused"];

/// How often clients sent the events that are counted by name.
#[derive(Default)]
pub(crate) struct NamedEvents {
    by_name: Option<HashMap<Box<str>, StripedCounter, foldhash::fast::RandomState>>,
    other: StripedCounter,
}

impl NamedEvents {
    pub(crate) fn of(names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let by_name: HashMap<_, _, _> =
            names.into_iter().map(|name| (name.into(), StripedCounter::default())).collect();
        Self { by_name: Some(by_name).filter(|names| !names.is_empty()), other: StripedCounter::default() }
    }

    pub(crate) fn count(&self, event: &str) {
        if let Some(by_name) = &self.by_name {
            by_name.get(event).unwrap_or(&self.other).add(1);
        }
    }

    /// Sorted by name, the others last.
    fn read(&self) -> Vec<(String, u64)> {
        let Some(by_name) = &self.by_name else { return Vec::new() };
        let mut read: Vec<_> = by_name.iter().map(|(name, count)| (name.to_string(), count.total())).collect();
        read.sort();
        read.push(("other".to_owned(), self.other.total()));
        read
    }
}

impl Counts {
    pub(crate) fn naming(named: NamedEvents) -> Self {
        Self { named, ..Self::default() }
    }

    pub(crate) fn failed(&self, kind: &HandlerErrorKind) {
        bump(
            &self.handler_errors[match kind {
                HandlerErrorKind::Arguments(_) => 0,
                HandlerErrorKind::MissingState(_) => 1,
                HandlerErrorKind::Returned(_) => 2,
                HandlerErrorKind::Panic(_) => 3,
                HandlerErrorKind::Answer(_) => 4,
                HandlerErrorKind::Join(_) => 5,
                HandlerErrorKind::Refused(_) => 6,
            }],
        );
    }

    /// Takes the time of a question to the other servers, and counts who did not answer.
    pub(crate) async fn ask<T, E>(
        &self,
        question: impl Future<Output = Result<Answers<T>, E>>,
    ) -> Result<Answers<T>, E> {
        use std::sync::atomic::Ordering::Relaxed;
        let start = crate::engine::now();
        let answers = question.await;
        bump(&self.requests);
        let took = crate::engine::now().saturating_duration_since(start);
        self.request_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        if let Ok(answers) = &answers {
            self.missing_answers.fetch_add(answers.missing as u64, Relaxed);
        }
        answers
    }
}

/// What a server has counted since it was made, and how it is at this moment.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let client = TestClient::connect(&io).await;
/// let stats = io.stats();
/// assert_eq!((stats.sockets, stats.connections.web_socket), (1, 1));
/// assert!(stats.closed.iter().all(|(_reason, count)| *count == 0));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now, by transport.
    pub connections: ByTransport<u64>,
    /// Connections that were opened, by the transport that they began with.
    pub opened: ByTransport<u64>,
    /// Connections that ended, with the reason as [`CloseReason::as_str`](crate::engine::CloseReason::as_str) has it.
    pub closed: Vec<(&'static str, u64)>,
    /// How many changed from polling to a WebSocket or WebTransport.
    pub upgrades: u64,
    /// What came from clients.
    pub received: ByTransport<Traffic>,
    /// What has left for clients.
    pub sent: ByTransport<Traffic>,
    /// Requests that were refused, by the code in the answer, 0 to 5.
    pub handshake_errors: [u64; 6],
    /// Volatile packets that were dropped because a client was not ready.
    pub volatile_dropped: u64,
    /// Events, handshakes and connections that a rate limit turned away.
    pub rate_limited: u64,
    /// Packets that wait for clients now.
    pub queued_packets: u64,
    /// The bytes of these.
    pub queued_bytes: u64,
    /// The bytes that wait for the client with the longest queue.
    pub longest_queue: u64,
    /// Namespaces now.
    pub namespaces: u64,
    /// Sockets now, in all namespaces.
    pub sockets: u64,
    /// Rooms now, those of single sockets not among them.
    pub rooms: u64,
    /// Events from clients.
    pub events_received: u64,
    /// Events from clients by name: those that [`Builder::count_events`](crate::Builder::count_events) named, and all
    /// others together as `other`. Empty if none were named.
    pub events_by_name: Vec<(String, u64)>,
    /// Answers from clients.
    pub acks_received: u64,
    /// Answers to clients.
    pub acks_sent: u64,
    /// Questions that a client did not answer in time.
    pub ack_timeouts: u64,
    /// Clients that a middleware did not let in.
    pub middleware_refusals: u64,
    /// Handlers that failed, by how: `arguments`, `state`, `returned`, `panic`, `answer`, `join`,
    /// `refused`: events that a [packet middleware](crate::Namespace::use_packet) did not let through.
    pub handler_errors: Vec<(&'static str, u64)>,
    /// Handlers that wait for something now.
    pub handlers_waiting: u64,
    /// Handlers that held their thread for longer than [`Builder::slow_handler`](crate::Builder::slow_handler) says.
    pub slow_handlers: u64,
    /// Questions to the other servers of the cluster.
    pub cluster_requests: u64,
    /// How long these took, added up.
    pub cluster_request_time: Duration,
    /// Servers that did not answer one of them.
    pub cluster_missing_answers: u64,
    /// How the way to the other servers is. `None` without an adapter that reaches others.
    pub cluster: Option<ClusterStats>,
}

/// A number for each transport.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::engine::TransportKind;
///
/// let client = TestClient::to(&io).transport(TransportKind::Polling).connect().await;
/// let opened = io.stats().opened;
/// assert_eq!((opened.polling, opened.web_socket), (1, 0));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ByTransport<T> {
    /// Long-polling.
    pub polling: T,
    /// WebSocket.
    pub web_socket: T,
    /// WebTransport.
    pub web_transport: T,
}

impl<T> From<[T; 3]> for ByTransport<T> {
    fn from([polling, web_socket, web_transport]: [T; 3]) -> Self {
        Self { polling, web_socket, web_transport }
    }
}

impl<T: Copy> ByTransport<T> {
    fn named(&self) -> [(&'static str, T); 3] {
        let values = [self.polling, self.web_socket, self.web_transport];
        std::array::from_fn(|i| (TRANSPORT_NAMES[i], values[i]))
    }
}

impl Server {
    /// What was counted so far, and how things are now. Looks at each connection once: some milliseconds for a hundred
    /// thousand.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// let stats = io.stats();
    /// assert_eq!((stats.connections.web_socket, stats.sockets), (1, 1));
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        let engine = self.engine();
        let (counters, counts) = (engine.counters(), &self.0.shared.counts);
        let totals = counters.totals();
        let mut connections = [0; 3];
        let (mut queued_packets, mut queued_bytes, mut longest_queue) = (0, 0, 0);
        for connection in engine.connections() {
            let Some((packets, bytes)) = connection.queued() else { continue };
            connections[crate::engine::counters::index(connection.transport())] += 1;
            queued_packets += packets as u64;
            queued_bytes += bytes as u64;
            longest_queue = longest_queue.max(bytes as u64);
        }
        let namespaces = self.0.all();
        let locals = || namespaces.iter().map(|namespace| namespace.adapter().local());
        let sockets = locals().map(|local| local.len() as u64).sum();
        Stats {
            connections: connections.into(),
            opened: totals.opened.into(),
            closed: REASONS.into_iter().zip(totals.closed).collect(),
            upgrades: read(&counters.upgrades),
            received: totals.received.into(),
            sent: totals.sent.into(),
            handshake_errors: totals.refused,
            volatile_dropped: read(&counters.volatile_dropped),
            rate_limited: read(&counters.rate_limited),
            queued_packets,
            queued_bytes,
            longest_queue,
            namespaces: namespaces.len() as u64,
            sockets,
            rooms: locals().map(|local| local.room_count() as u64).sum(),
            events_received: counts.events_received.total(),
            events_by_name: counts.named.read(),
            acks_received: read(&counts.acks_received),
            acks_sent: read(&counts.acks_sent),
            ack_timeouts: read(&counts.ack_timeouts),
            middleware_refusals: read(&counts.refused),
            handler_errors: KINDS.into_iter().zip(counts.handler_errors.each_ref().map(read)).collect(),
            handlers_waiting: self.0.shared.handlers.len() as u64,
            slow_handlers: read(&counts.slow_handlers),
            cluster_requests: read(&counts.requests),
            cluster_request_time: Duration::from_micros(read(&counts.request_micros)),
            cluster_missing_answers: read(&counts.missing_answers),
            cluster: self.0.factory.bus_stats().map(|bus| counts.cluster.read(bus)),
        }
    }
}

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// One metric: its name, what it means, and its values, each with the value of its label.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    label: Option<&'static str>,
    values: Vec<(String, f64)>,
}

impl Stats {
    /// The numbers in the text format of Prometheus, version 0.0.4: the body of an answer to `GET /metrics`, with the
    /// content type `text/plain; version=0.0.4`.
    ///
    /// ```
    /// # use socketio_server::Server;
    /// let io = Server::new();
    /// assert!(io.stats().to_prometheus().contains("socketio_connections{transport=\"websocket\"} 0\n"));
    /// ```
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        for metric in self.metrics().into_iter().filter(|metric| !metric.values.is_empty()) {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            let name = metric.name;
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
            for (value_of_label, value) in &metric.values {
                let _ = match metric.label {
                    Some(label) => writeln!(text, "{name}{{{label}=\"{}\"}} {value}", escaped(value_of_label)),
                    None => writeln!(text, "{name} {value}"),
                };
            }
        }
        text
    }

    /// Gives the numbers to the recorder of the crate `metrics` (0.24) that the program has installed. To be called
    /// again and again: before each answer to a scraper, or every few seconds.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        for metric in self.metrics() {
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            }
            for (value_of_label, value) in metric.values {
                let labels: Vec<_> =
                    metric.label.map(|label| metrics::Label::new(label, value_of_label)).into_iter().collect();
                match metric.kind {
                    // Those with a fraction of a second are rounded down: the crate counts in whole numbers.
                    Kind::Counter => metrics::counter!(metric.name, labels).absolute(value as u64),
                    Kind::Gauge => metrics::gauge!(metric.name, labels).set(value),
                }
            }
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.metrics_of_one();
        metrics.extend(self.cluster.iter().flat_map(metrics_of_cluster));
        metrics
    }

    fn metrics_of_one(&self) -> Vec<Metric> {
        use Kind::{Counter, Gauge};
        let one = |value: u64| vec![(String::new(), value as f64)];
        let by_transport = |values: &ByTransport<u64>| named(&values.named());
        let traffic = |values: &ByTransport<Traffic>, of: fn(&Traffic) -> u64| {
            named(&values.named().map(|(transport, traffic)| (transport, of(&traffic))))
        };
        let metric = |name, kind, help, values| Metric { name, kind, help, label: None, values };
        let labelled = |name, kind, help, label, values| Metric { name, kind, help, label: Some(label), values };
        let codes = self.handshake_errors.iter().enumerate().map(|(code, n)| (code.to_string(), *n as f64)).collect();
        vec![
            labelled("socketio_connections", Gauge, "Connections now.", "transport", by_transport(&self.connections)),
            labelled(
                "socketio_connections_opened_total",
                Counter,
                "Connections opened, by the transport they began with.",
                "transport",
                by_transport(&self.opened),
            ),
            labelled(
                "socketio_connections_closed_total",
                Counter,
                "Connections that ended.",
                "reason",
                named(&self.closed),
            ),
            metric(
                "socketio_upgrades_total",
                Counter,
                "Connections that changed from polling to a WebSocket or WebTransport.",
                one(self.upgrades),
            ),
            labelled(
                "socketio_received_packets_total",
                Counter,
                "Engine.IO packets from clients.",
                "transport",
                traffic(&self.received, |traffic| traffic.packets),
            ),
            labelled(
                "socketio_received_bytes_total",
                Counter,
                "Bytes from clients.",
                "transport",
                traffic(&self.received, |traffic| traffic.bytes),
            ),
            labelled(
                "socketio_sent_packets_total",
                Counter,
                "Engine.IO packets to clients.",
                "transport",
                traffic(&self.sent, |traffic| traffic.packets),
            ),
            labelled(
                "socketio_sent_bytes_total",
                Counter,
                "Bytes to clients.",
                "transport",
                traffic(&self.sent, |traffic| traffic.bytes),
            ),
            labelled("socketio_handshake_errors_total", Counter, "Requests that were refused.", "code", codes),
            metric(
                "socketio_volatile_dropped_total",
                Counter,
                "Volatile packets dropped because a client was not ready.",
                one(self.volatile_dropped),
            ),
            metric(
                "socketio_rate_limited_total",
                Counter,
                "Events, handshakes and connections turned away by a rate limit.",
                one(self.rate_limited),
            ),
            metric("socketio_queued_packets", Gauge, "Packets that wait for clients.", one(self.queued_packets)),
            metric("socketio_queued_bytes", Gauge, "Bytes that wait for clients.", one(self.queued_bytes)),
            metric(
                "socketio_longest_queue_bytes",
                Gauge,
                "Bytes that wait for the client with the longest queue.",
                one(self.longest_queue),
            ),
            metric("socketio_namespaces", Gauge, "Namespaces.", one(self.namespaces)),
            metric("socketio_sockets", Gauge, "Sockets in all namespaces.", one(self.sockets)),
            metric("socketio_rooms", Gauge, "Rooms, without those of single sockets.", one(self.rooms)),
            metric("socketio_received_events_total", Counter, "Events from clients.", one(self.events_received)),
            labelled(
                "socketio_received_events_by_name_total",
                Counter,
                "Events from clients, those that are counted by name.",
                "event",
                self.events_by_name.iter().map(|(name, count)| (name.clone(), *count as f64)).collect(),
            ),
            metric("socketio_received_acks_total", Counter, "Answers from clients.", one(self.acks_received)),
            metric("socketio_sent_acks_total", Counter, "Answers to clients.", one(self.acks_sent)),
            metric(
                "socketio_ack_timeouts_total",
                Counter,
                "Questions that a client did not answer in time.",
                one(self.ack_timeouts),
            ),
            metric(
                "socketio_middleware_refusals_total",
                Counter,
                "Clients that a middleware did not let in.",
                one(self.middleware_refusals),
            ),
            labelled(
                "socketio_handler_errors_total",
                Counter,
                "Handlers that failed.",
                "kind",
                named(&self.handler_errors),
            ),
            metric("socketio_handlers_waiting", Gauge, "Handlers that wait for something.", one(self.handlers_waiting)),
            metric(
                "socketio_slow_handlers_total",
                Counter,
                "Handlers that held their thread for too long.",
                one(self.slow_handlers),
            ),
            metric(
                "socketio_cluster_requests_total",
                Counter,
                "Questions to the other servers.",
                one(self.cluster_requests),
            ),
            metric(
                "socketio_cluster_request_seconds_total",
                Counter,
                "How long these took, added up.",
                vec![(String::new(), self.cluster_request_time.as_secs_f64())],
            ),
            metric(
                "socketio_cluster_missing_answers_total",
                Counter,
                "Servers that did not answer one of them.",
                one(self.cluster_missing_answers),
            ),
        ]
    }
}

fn metrics_of_cluster(cluster: &ClusterStats) -> [Metric; 15] {
    use Kind::{Counter, Gauge};
    let metric =
        |name, kind, help, value| Metric { name, kind, help, label: None, values: vec![(String::new(), value)] };
    let (counter, gauge) = (
        |name, help, value: u64| metric(name, Counter, help, value as f64),
        |name, help, value: u64| metric(name, Gauge, help, value as f64),
    );
    let seconds = |name, help, time: Duration| metric(name, Counter, help, time.as_secs_f64());
    let bus = &cluster.bus;
    [
        gauge(
            "socketio_cluster_deaf_namespaces",
            "Namespaces that do not hear the other servers.",
            cluster.deaf_namespaces,
        ),
        counter(
            "socketio_cluster_outages_total",
            "Times that a namespace lost the link to the other servers.",
            cluster.outages,
        ),
        counter("socketio_cluster_gaps_total", "Times that a namespace may have missed messages.", cluster.gap_count),
        seconds(
            "socketio_cluster_gap_seconds_total",
            "Time in which namespaces may have missed messages.",
            cluster.gaps,
        ),
        counter("socketio_cluster_received_messages_total", "Messages of the other servers.", cluster.received),
        counter(
            "socketio_cluster_lost_messages_total",
            "Messages of the other servers that were dropped here.",
            cluster.lost,
        ),
        counter("socketio_cluster_malformed_messages_total", "Messages that could not be read.", cluster.malformed),
        Metric {
            name: "socketio_cluster_links",
            kind: Gauge,
            help: "Links over which is sent to the other servers.",
            label: Some("state"),
            values: named(&[("up", bus.links_up), ("down", bus.links_down)]),
        },
        Metric {
            name: "socketio_cluster_unsent_messages_total",
            kind: Counter,
            help: "Messages that were not sent to the other servers, or perhaps not.",
            label: Some("reason"),
            values: named(&[("dropped", bus.dropped), ("failed", bus.failed), ("unknown", bus.unknown)]),
        },
        counter("socketio_cluster_trimmed_entries_total", "Stream entries trimmed before they were read.", bus.trimmed),
        counter("socketio_cluster_brought_messages_total", "Messages that came over subscriptions.", bus.brought),
        counter("socketio_cluster_brought_bytes_total", "Their bytes.", bus.brought_bytes),
        gauge("socketio_cluster_queued_messages", "Messages that wait to be sent to the other servers.", bus.queued),
        counter("socketio_cluster_round_trips_total", "Times that something was sent and confirmed.", bus.round_trips),
        seconds("socketio_cluster_round_trip_seconds_total", "How long these took, added up.", bus.round_trip_time),
    ]
}

/// A value of a label, as Prometheus wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn named(values: &[(&'static str, u64)]) -> Vec<(String, f64)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value as f64)).collect()
}
