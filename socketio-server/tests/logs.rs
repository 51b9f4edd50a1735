//! What is logged is what happened, under targets that the documentation has, and no secret.
//!
//! The only test of its process: a subscriber that comes while other threads log for the first time misses some of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketio_server::engine::TransportKind;
use socketio_server::testing::TestClient;
use socketio_server::{ConnectError, Data, Server, Socket};
use tracing::field::{Field, Visit};

const DOCS: &str = include_str!("../../docs/observability.md");

/// Writes down events and spans, one line each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut line =
            Line(format!("{} {} span {}", span.metadata().target(), span.metadata().level(), span.metadata().name()));
        span.record(&mut line);
        let mut lines = self.0.lock().unwrap();
        lines.push(line.0);
        tracing::span::Id::from_u64(lines.len() as u64)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(format!("{} {}", event.metadata().target(), event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, span: &tracing::span::Id) {
        self.0.lock().unwrap().push(format!("enter {}", span.into_u64()));
    }

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn logs_say_what_happened_and_keep_secrets() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let io = Server::new();
    let sids = Arc::new(Mutex::new(Vec::new()));
    let seen = sids.clone();
    io.on_connection(async move |socket: Socket| seen.lock().unwrap().push(socket.conn().id().to_string()));
    io.on("slow", async |Data(_): Data<String>| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::thread::sleep(Duration::from_millis(120));
        "done"
    });
    io.of("/closed").middleware(async |_: Socket| Err(ConnectError::new("not today")));

    let mut ana = TestClient::connect(&io).await;
    ana.emit_with_ack::<String>("slow", "a secret of ana").await;
    assert!(ana.enter("/closed", serde_json::json!({ "token": "a secret of ana" })).await.is_err());
    let polling = TestClient::to(&io).transport(TransportKind::Polling).connect().await;
    polling.close();
    ana.disconnect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    io.drain(Duration::from_secs(1)).await;

    let lines = log.0.lock().unwrap().clone();
    let text = lines.join("\n");
    let id = ana.id();
    let sid = sids.lock().unwrap()[0][..6].to_owned();
    for expected in [
        format!("socketio::connection DEBUG message=opened sid=\"{sid}\" transport=\"websocket\" protocol=4"),
        format!("socketio::socket DEBUG message=connected nsp=\"/\" socket=\"{id}\" sid=\"{sid}\" recovered=false"),
        format!("socketio::handler DEBUG span handler nsp=\"/\" socket=\"{id}\" event=\"slow\""),
        format!(
            "socketio::handler WARN message=a handler held its thread nsp=\"/\" socket=\"{id}\" event=\"slow\" millis="
        ),
        format!(
            "socketio::socket DEBUG message=disconnected nsp=\"/\" socket=\"{id}\" reason=client namespace disconnect"
        ),
        "socketio::connection DEBUG message=closed sid=".to_owned(),
        "socketio::lifecycle INFO message=draining clients=".to_owned(),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(&expected)), "{expected}\n{text}");
    }
    let held = lines.iter().find_map(|line| line.split_once("event=\"slow\" millis=")).expect("it is among them").1;
    assert!(held.parse::<u64>().expect("a number") >= 120, "{held}");
    let refused =
        |line: &String| line.starts_with("socketio::socket DEBUG message=refused") && line.ends_with("error=not today");
    assert!(lines.iter().any(refused), "{text}");
    let span = lines.iter().position(|line| line.contains("span handler")).unwrap() + 1;
    assert!(
        lines.iter().filter(|line| **line == format!("enter {span}")).count() >= 2,
        "the span is entered again after a wait\n{text}"
    );

    assert!(!text.contains("a secret"), "{text}");
    for sid in sids.lock().unwrap().iter() {
        assert!(!text.contains(&**sid), "{sid} in full\n{text}");
    }
    for line in &lines {
        let target = line.split(' ').next().unwrap();
        assert!(
            target == "enter" || !target.starts_with("socketio::") || DOCS.contains(&format!("`{target}`")),
            "{line}"
        );
    }
}
