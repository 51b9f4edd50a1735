//! What events pass on their way to their handlers: it may wait, change them and refuse them, and they keep their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::engine::Version;
use crate::testing::TestClient;
use crate::{Event, EventError, HandlerErrorKind};

/// What handlers noted, in order.
type Log = Arc<Mutex<Vec<String>>>;

fn note_all(io: &Server) -> Log {
    let log = Log::default();
    let noted = log.clone();
    io.on_any(async move |event: Event| {
        let line = format!("{} {}", event.name(), event.args().to_json().0);
        noted.lock().unwrap().push(line);
    });
    log
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_holds_up_those_of_its_socket_and_of_no_other() {
    let io = Server::new();
    io.use_packet(async |_, event: Event| {
        if event.name() == "slow" {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(event)
    });
    let log = note_all(&io);
    let (ana, bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    for (event, n) in [("quick", 1), ("slow", 2), ("quick", 3), ("slow", 4), ("quick", 5)] {
        ana.emit(event, n);
    }
    bob.emit("quick", "bob");
    settle().await;
    assert_eq!(taken(&log), ["quick [1]", "quick [\"bob\"]"]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(taken(&log), ["slow [2]", "quick [3]"]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(taken(&log), ["slow [4]", "quick [5]"]);
    ana.emit("quick", 6);
    settle().await;
    assert_eq!(taken(&log), ["quick [6]"], "the gate is open again");
    assert_eq!(io.stats().handlers_waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn handlers_run_with_the_event_that_the_last_one_returned() {
    let io = Server::new();
    io.use_packet(async |_, event: Event| match &*event.name() {
        "old" => Ok(Event::new("new", event.args())?),
        _ => Ok(event),
    });
    io.on_connection(async |socket: Socket| {
        socket.use_packet(async |_, event: Event| {
            let (text, bytes) = event.args().to::<(String, Bytes)>()?;
            Ok(Event::new(&event.name(), (text.to_uppercase(), bytes, 3))?)
        });
        socket.once("new", async |Data(all): Data<(String, Bytes, u32)>| all);
    });
    io.on("old", async || -> () { panic!("nobody is called that any more") });
    let ana = TestClient::connect(&io).await;
    let bytes = Bytes::from_static(&[1, 2]);
    let (answer,): ((String, Bytes, u32),) = ana.emit_with_ack("old", ("a", &bytes)).await;
    assert_eq!(answer, ("A".to_owned(), bytes, 3));
    let refusal: serde_json::Value = ana.emit_with_ack("old", 5).await;
    assert!(refusal["error"].as_str().unwrap().contains("argument 1 does not fit"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_the_hook_the_acknowledgement_and_a_client_of_version_2() {
    let io = Server::new();
    let (log, errors) = (note_all(&io), Log::default());
    let reported = errors.clone();
    io.on_error(move |error: HandlerError| {
        assert!(matches!(error.kind, HandlerErrorKind::Refused(_) | HandlerErrorKind::Panic(_)));
        reported.lock().unwrap().push(format!("{}: {}", error.event, error.kind));
    });
    io.use_packet(async |_, event: Event| {
        sleep(Duration::from_millis(10)).await;
        match &*event.name() {
            "no" => Err("not for you".into()),
            "data" => Err(EventError::new("not for you").data(json!({ "code": 401 }))),
            "panic" => panic!("as the client wished"),
            _ => Ok(event),
        }
    });
    let mut ana = TestClient::connect(&io).await;
    assert_eq!(ana.emit_with_ack::<serde_json::Value>("no", ()).await, json!({ "error": "not for you" }));
    let refusal = ana.emit_with_ack::<serde_json::Value>("data", ()).await;
    assert_eq!(refusal, json!({ "error": "not for you", "data": { "code": 401 } }));
    let panicked = ana.emit_with_ack::<serde_json::Value>("panic", ()).await;
    assert_eq!(panicked, json!({ "error": "Internal server error" }));
    ana.emit("no", ());
    ana.emit("yes", ());
    assert!(ana.next_event(Duration::from_millis(100)).await.is_none(), "newer clients have no packet for it");
    let told = ["no: not for you", "data: not for you", "panic: panic: as the client wished", "no: not for you"];
    assert_eq!(taken(&errors), told);
    assert_eq!(taken(&log), ["yes []"]);
    assert!(io.stats().handler_errors.contains(&("refused", 3)));
}

#[tokio::test]
async fn a_client_of_version_2_is_sent_an_error_packet() {
    let io = Server::new();
    io.use_packet(async |_, event: Event| match &*event.name() {
        "no" => Err("not for you".into()),
        "data" => Err(EventError::new("not for you").data(json!({ "code": 401 }))),
        _ => Ok(event),
    });
    let mut old = TestClient::to(&io).version(Version::V3).connect().await;
    for (event, error) in [("no", json!("not for you")), ("data", json!({ "code": 401 }))] {
        old.emit(event, ());
        assert_eq!(old.expect::<serde_json::Value>("error").await, error);
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_on_while_a_middleware_waits_is_not_read_past_the_limit() {
    let io = Server::builder().max_waiting_handlers(4).build();
    let (looked_at, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (looking, opened) = (looked_at.clone(), gate.clone());
    io.use_packet(async move |_, event: Event| {
        looking.fetch_add(1, Ordering::SeqCst);
        drop(opened.acquire().await);
        Ok(event)
    });
    let log = note_all(&io);
    let ana = TestClient::connect(&io).await;
    (0..10).for_each(|n| ana.emit("n", n));
    settle().await;
    assert_eq!(looked_at.load(Ordering::SeqCst), 1);
    assert_eq!(io.stats().events_received, 4, "one waits in the middleware, three behind it");
    gate.add_permits(1);
    settle().await;
    assert_eq!(taken(&log), (0..10).map(|n| format!("n [{n}]")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_still_waits_when_the_socket_goes_is_dropped() {
    let io = Server::new();
    io.use_packet(async |_, event: Event| {
        sleep(Duration::from_millis(100)).await;
        Ok(event)
    });
    let log = note_all(&io);
    let mut ana = TestClient::connect(&io).await;
    (0..3).for_each(|n| ana.emit("n", n));
    settle().await;
    ana.disconnect();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(taken(&log), Vec::<String>::new());
    assert_eq!((io.local_count(), io.stats().handlers_waiting), (0, 0));
}
