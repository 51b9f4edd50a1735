//! What is counted is what happened, under the names that the documentation has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use socketio_redis_adapter::RedisAdapter;
use socketio_server::engine::TransportKind;
use socketio_server::testing::TestClient;
use socketio_server::{ConnectError, Data, Event, Server, Socket, Stats};
use tower_service::Service;

#[path = "../examples/metrics.rs"]
#[allow(dead_code, reason = "its main listens")]
mod example;

#[path = "wire/mod.rs"]
#[allow(dead_code, reason = "others need more of it")]
mod wire;

use wire::{Http, Running, WebSocket};

const DOCS: &str = include_str!("../../docs/observability.md");
const DASHBOARD: &str = include_str!("../../docs/grafana.json");

fn names(stats: &Stats) -> BTreeSet<String> {
    let text = stats.to_prometheus();
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn numbers_are_what_happened() {
    let io = Server::builder().max_queue(65_536, 100_000).count_events(["double", "never"]).build();
    io.on_error(|_| {});
    io.use_packet(async |_, event: Event| if event.name() == "refuse" { Err("no".into()) } else { Ok(event) });
    io.on("double", async |Data(n): Data<i32>| 2 * n);
    io.on("ask", async |socket: Socket| {
        let _ = socket.timeout(Duration::from_secs(1)).emit_with_ack::<i32>("question", ()).await;
    });
    io.on("panic", async || assert!(std::hint::black_box(false), "as asked for"));
    io.on("block", async || std::thread::sleep(Duration::from_millis(150)));
    io.on("join", async |socket: Socket| socket.join(["a", "b"]));
    io.of("/closed").middleware(async |_: Socket| Err(ConnectError::new("no")));

    let mut ana = TestClient::connect(&io).await;
    let bob = TestClient::to(&io).transport(TransportKind::Polling).connect().await;
    for client in [&ana, &bob] {
        assert_eq!(client.emit_with_ack::<i32>("double", 4).await, 8);
    }
    ana.emit("ask", ());
    ana.expect_event("question").await.answer(1);
    ana.emit("ask", ());
    tokio::time::sleep(Duration::from_secs(3)).await;
    ana.emit("double", "no number");
    ana.emit("panic", ());
    ana.emit("block", ());
    ana.emit("join", ());
    ana.emit("refuse", ());
    assert!(ana.enter("/closed", ()).await.is_err());
    assert!(
        io.engine()
            .respond(http::Request::get("/socket.io/?EIO=4&transport=x").body(Body::empty()).unwrap())
            .await
            .status()
            == 400
    );
    io.rooms().await.unwrap();
    io.volatile().emit("now or never", "x").unwrap();
    io.volatile().emit("now or never", "x").unwrap();

    let stats = io.stats();
    assert_eq!((stats.connections.web_socket, stats.connections.polling), (1, 1));
    assert_eq!((stats.opened.web_socket, stats.opened.polling), (1, 1));
    assert_eq!((stats.namespaces, stats.sockets, stats.rooms), (2, 2, 2));
    assert_eq!(stats.events_received, 9);
    let named: Vec<_> = stats.events_by_name.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_eq!(named, [("double", 3), ("never", 0), ("other", 6)]);
    assert_eq!(stats.cluster, None, "there are no others");
    assert_eq!((stats.acks_received, stats.acks_sent, stats.ack_timeouts), (1, 2, 1));
    assert_eq!(
        stats.handler_errors,
        [("arguments", 1), ("state", 0), ("returned", 0), ("panic", 1), ("answer", 0), ("join", 0), ("refused", 1)]
    );
    assert_eq!(stats.middleware_refusals, 1);
    assert!(stats.slow_handlers >= 1, "a busy machine makes others slow, too: {stats:?}");
    assert_eq!(stats.handshake_errors, [1, 0, 0, 0, 0, 0]);
    assert_eq!(stats.cluster_requests, 1);
    assert!(stats.volatile_dropped >= 1, "{stats:?}");
    // CONNECT, eight events and an answer, CONNECT again.
    assert_eq!(stats.received.web_socket.packets, 11, "{stats:?}");
    assert!(stats.received.web_socket.bytes > 100 && stats.sent.web_socket.bytes > 100, "{stats:?}");
    assert_eq!(stats.received.polling.packets, 2);
    assert!(stats.received.polling.bytes > 10 && stats.sent.polling.bytes > 10, "{stats:?}");

    bob.close();
    tokio::time::sleep(Duration::from_secs(1)).await;
    ana.go_silent();
    for _ in 0..30 {
        let _ = io.emit("much", "x".repeat(10_000));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let stats = io.stats();
    assert_eq!((stats.connections.web_socket, stats.connections.polling, stats.queued_bytes), (0, 0, 0));
    assert!(
        stats.closed.contains(&("slow consumer", 1)) && stats.closed.contains(&("transport close", 1)),
        "{stats:?}"
    );
}

#[tokio::test]
async fn a_session_that_changes_its_transport_is_counted_there() {
    let io = Server::new();
    io.on("double", async |Data(n): Data<i32>| 2 * n);
    let running = Running::start(io.clone()).await;
    let session = Http::session(running.addr).await;
    let _other = Http::session(running.addr).await;
    session.send("40").await;
    assert!(session.poll().await.starts_with("40{"));
    assert_eq!((io.stats().upgrades, io.stats().connections.polling), (0, 2));
    let mut socket = WebSocket::upgraded(&session).await;
    socket.send("421[\"double\",4]").await;
    assert_eq!(socket.next().await, "431[8]");
    let stats = io.stats();
    assert_eq!((stats.upgrades, stats.connections.polling, stats.connections.web_socket), (1, 1, 1));
    assert_eq!((stats.opened.polling, stats.opened.web_socket), (2, 0), "it began with polling");
    assert!(stats.to_prometheus().contains("\nsocketio_upgrades_total 1\n"));
}

#[tokio::test]
async fn a_redis_that_is_away_is_seen() {
    let adapter = RedisAdapter::builder("redis://127.0.0.1:1").lazy().unwrap();
    let io = Server::builder().adapter(adapter).build();
    io.emit("to whom it may concern", ()).unwrap();
    let cluster = io.stats().cluster.unwrap();
    assert_eq!((cluster.deaf_namespaces, cluster.bus.links_up, cluster.bus.links_down), (1, 0, 1));
    assert_eq!((cluster.bus.queued, cluster.bus.round_trips, cluster.received), (1, 0, 0));
    let text = io.stats().to_prometheus();
    for line in ["socketio_cluster_links{state=\"down\"} 1", "socketio_cluster_queued_messages 1"] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn names_of_events_are_written_as_prometheus_reads_them() {
    let io = Server::builder().count_events(["say \"hi\"\\\n"]).build();
    let text = io.stats().to_prometheus();
    assert!(text.contains(r#"_by_name_total{event="say \"hi\"\\\n"} 0"#), "{text}");
}

#[tokio::test]
async fn the_example_serves_what_prometheus_reads() {
    let io = Server::new();
    let mut app = example::app(&io);
    let mut ana = TestClient::connect(&io).await;
    ana.emit("echo", "hi");
    assert_eq!(ana.expect::<String>("echo").await, "hi");
    let request = http::Request::get("/metrics").body(Body::empty()).unwrap();
    let response = app.call(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    for line in ["socketio_connections{transport=\"websocket\"} 1", "socketio_received_events_total 1"] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && name.starts_with("socketio_"), "{line}");
    }
}

#[tokio::test]
async fn the_documentation_and_the_dashboard_name_what_there_is() {
    let adapter = RedisAdapter::builder("redis://127.0.0.1:1").lazy().unwrap();
    let names = names(&Server::builder().adapter(adapter).count_events(["one"]).build().stats());
    let documented: BTreeSet<_> = DOCS
        .lines()
        .filter_map(|line| line.strip_prefix("| `socketio_")?.split('`').next())
        .map(|rest| format!("socketio_{rest}"))
        .collect();
    assert_eq!(documented, names);

    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<_> = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()).collect();
    assert!(queries.len() >= 20);
    let mut shown = BTreeSet::new();
    for query in queries {
        let query = query["expr"].as_str().unwrap();
        let words: Vec<_> = query
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("socketio_"))
            .collect();
        assert!(!words.is_empty(), "{query}");
        for word in words {
            assert!(names.contains(word), "{word} in {query}");
            shown.insert(word);
        }
    }
    assert!(shown.len() > 20, "most of it is shown");
}

/// Keeps the last value of each metric.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

struct Entry(String, Kept);

impl Entry {
    fn set(&self, value: f64) {
        self.1.0.lock().unwrap().insert(self.0.clone(), value);
    }
}

impl CounterFn for Entry {
    fn increment(&self, _: u64) {
        panic!("counters are set, as they are counted elsewhere");
    }

    fn absolute(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeFn for Entry {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        Entry::set(self, value);
    }
}

impl Kept {
    fn entry(&self, key: &Key) -> Arc<Entry> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Entry(format!("{}{{{}}}", key.name(), labels.join(",")), self.clone()))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn the_recorder_of_the_program_is_given_the_same() {
    let io = Server::new();
    let _ana = TestClient::connect(&io).await;
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || io.stats().publish());
    let values = kept.0.lock().unwrap().clone();
    assert_eq!(values["socketio_connections{transport=websocket}"], 1.0);
    assert_eq!(values["socketio_sockets{}"], 1.0);
    let published: BTreeSet<_> = values.keys().map(|key| key.split('{').next().unwrap().to_owned()).collect();
    assert_eq!(published, names(&io.stats()));
}
