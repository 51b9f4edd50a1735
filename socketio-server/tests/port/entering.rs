//! Middlewares: in which order they run, what they see, and what is left of a client that one of them refuses.

use std::time::Duration;

use serde_json::json;
use socketio_server::testing::TestClient;
use socketio_server::{ConnectError, RoomEvent, Server, Socket};

use crate::{Log, settle};

#[tokio::test(start_paused = true)]
async fn all_run_in_order_however_long_they_take_and_then_the_handlers_of_the_connection() {
    let io = Server::new();
    let log = Log::default();
    for (name, takes) in [("first", 300), ("second", 0), ("third", 100)] {
        let log = log.clone();
        io.middleware(async move |socket: Socket| {
            log.note(format!("{name} begins, connected: {}", socket.connected()));
            tokio::time::sleep(Duration::from_millis(takes)).await;
            log.note(format!("{name} ends"));
            Ok(())
        });
    }
    let connected = log.clone();
    io.on_connection(async move |socket: Socket| connected.note(format!("connected: {}", socket.connected())));
    TestClient::connect(&io).await;
    let begins = |name: &str| format!("{name} begins, connected: false");
    let ends = |name: &str| format!("{name} ends");
    let all = ["first", "second", "third"].iter().flat_map(|name| [begins(name), ends(name)]);
    assert_eq!(log.taken(), all.chain(["connected: true".to_owned()]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_is_the_last_word_and_reaches_the_client_with_its_data() {
    let io = Server::new();
    let log = Log::default();
    let (later, connected) = (log.clone(), log.clone());
    io.middleware(async |socket: Socket| match socket.handshake().query("why").as_deref() {
        None => Ok(()),
        Some("data") => Err(ConnectError::new("wrong").data(json!({ "a": [1, "b"], "c": null }))),
        Some(why) => Err(ConnectError::new(why)),
    });
    io.middleware(async move |_| {
        later.note("second");
        Err("from the second".into())
    });
    io.on_connection(async move |_| connected.note("connected"));
    let refused = async |why: Option<&str>| {
        let connecting = TestClient::to(&io);
        let connecting = if let Some(why) = why { connecting.query("why", why) } else { connecting };
        connecting.try_connect().await.unwrap_err()
    };
    let first = refused(Some("Authentication error")).await;
    assert_eq!((&*first.message, first.data, log.taken().len()), ("Authentication error", None, 0));
    let with_data = refused(Some("data")).await;
    assert_eq!(serde_json::to_value(with_data.data).unwrap(), json!({ "a": [1, "b"], "c": null }));
    assert_eq!(refused(None).await.message, "from the second");
    assert_eq!(log.taken(), ["second"], "and nobody was connected");
    assert_eq!(io.local_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_namespace_has_its_own() {
    let io = Server::new();
    let log = Log::default();
    for name in ["/", "/chat"] {
        let (before, after) = (log.clone(), log.clone());
        io.of(name).middleware(async move |_| {
            before.note(format!("middleware of {name}"));
            Ok(())
        });
        io.of(name).on_connection(async move |_| after.note(format!("connection to {name}")));
    }
    let ana = TestClient::connect(&io).await;
    ana.enter("/chat", ()).await.unwrap();
    let expected = ["middleware of /", "connection to /", "middleware of /chat", "connection to /chat"];
    assert_eq!(log.taken(), expected);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_added_is_for_those_who_come_later() {
    let io = Server::new();
    io.middleware(async |_| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    });
    let entering = tokio::spawn(TestClient::to(&io).try_connect());
    tokio::time::sleep(Duration::from_millis(50)).await;
    io.middleware(async |_| Err("too late".into()));
    entering.await.unwrap().expect("it came before");
    assert_eq!(TestClient::to(&io).try_connect().await.unwrap_err().message, "too late");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_has_left_every_room_it_was_put_in() {
    let io = Server::new();
    let log = Log::default();
    let events = log.clone();
    io.on_room_event(move |event| {
        if let RoomEvent::Create { room } | RoomEvent::Delete { room } = event
            && room.len() < 20
        {
            events.note(room.to_string());
        }
    });
    io.middleware(async |socket: Socket| {
        socket.join("room");
        if socket.handshake().query("ok").is_some() { Ok(()) } else { Err("no".into()) }
    });
    TestClient::to(&io).try_connect().await.unwrap_err();
    settle().await;
    assert_eq!(io.rooms().await.unwrap().complete().unwrap(), Vec::<String>::new());
    assert_eq!(log.taken(), Vec::<String>::new(), "who was not let in was in none");
    TestClient::to(&io).query("ok", "1").connect().await;
    assert_eq!(log.taken()[..], ["room"], "who is let in is in it");
}

#[tokio::test(start_paused = true)]
async fn what_looks_at_each_packet_runs_in_order_and_the_first_error_stops_it() {
    let io = Server::new();
    let (log, errors) = (Log::default(), Log::default());
    let reported = errors.clone();
    io.on_error(move |error| reported.note(format!("{}: {}", error.event, error.kind)));
    for name in ["first", "second"] {
        let log = log.clone();
        io.use_packet(async move |_, event| {
            log.note(format!("{name} {}", event.name()));
            if event.name() == name { Err("no".into()) } else { Ok(event) }
        });
    }
    let handled = log.clone();
    io.on_any(async move |event: socketio_server::Event| handled.note(format!("any {}", event.name())));
    let handled = log.clone();
    for name in ["join", "first", "second"] {
        let handled = handled.clone();
        io.on(name, async move || handled.note(format!("handler of {name}")));
    }
    let ana = TestClient::connect(&io).await;
    for (event, ran) in [
        ("join", &["first join", "second join", "handler of join"][..]),
        ("first", &["first first"]),
        ("second", &["first second", "second second"]),
    ] {
        ana.emit(event, ());
        settle().await;
        let without_any: Vec<_> = log.taken().into_iter().filter(|line| !line.starts_with("any")).collect();
        assert_eq!(without_any, ran);
    }
    let errors = errors.taken();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("first: ") && errors[0].contains("no"), "{errors:?}");
}
