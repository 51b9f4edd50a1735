//! One socket: what goes to and fro, questions with a time limit, and what still happens once it is disconnected.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use socketio_server::engine::{TransportKind, Version};
use socketio_server::testing::TestClient;
use socketio_server::{AckError, Data, DisconnectReason, Event, Server, Socket};

use crate::{Log, settle, socket_of};

const WAYS: [TransportKind; 2] = [TransportKind::WebSocket, TransportKind::Polling];

#[tokio::test(start_paused = true)]
async fn null_and_empty_binary_are_arguments_like_others() {
    let io = Server::new();
    io.on("nulls", async |Data((a, b)): Data<(Value, Option<i32>)>| json!([a, b, null]));
    io.on("message", async |socket: Socket, Data(text): Data<Option<String>>| socket.send(text).map(drop));
    io.on("empty", async |Data(data): Data<Bytes>| data);
    for transport in WAYS {
        let mut ana = TestClient::to(&io).transport(transport).connect().await;
        assert_eq!(ana.emit_with_ack::<Value>("nulls", (Value::Null, Value::Null)).await, json!([null, null, null]));
        ana.emit("message", Value::Null);
        assert_eq!(ana.expect::<Value>("message").await, Value::Null);
        assert_eq!(ana.emit_with_ack::<Bytes>("empty", Bytes::new()).await, Bytes::new());
    }
}

#[tokio::test(start_paused = true)]
async fn several_types_at_once_go_both_ways() {
    type All = (i32, String, Vec<Value>, Value, Bytes);
    let io = Server::new();
    io.on("all", async |socket: Socket, event: Event, Data(all): Data<All>| {
        let _ = socket.emit("back", event.args());
        let _ = socket.emit("typed", &all);
        all
    });
    let all: All = (
        1,
        "\u{4c60}\u{1f4a9}".into(),
        vec![json!(null), json!({ "k": [true] })],
        json!({ "x": "y" }),
        Bytes::from_static(b"\x00\xff"),
    );
    for transport in WAYS {
        let mut ana = TestClient::to(&io).transport(transport).connect().await;
        let (answer,): (All,) = ana.emit_with_ack("all", &all).await;
        assert_eq!(answer, all);
        assert_eq!((ana.expect::<All>("back").await, ana.expect::<All>("typed").await), (all.clone(), all.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_follow_the_connection_at_once_come_in_order_in_any_namespace() {
    let io = Server::new();
    let log = Log::default();
    let heard = log.clone();
    io.of("/chat").middleware(async |_| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    });
    io.of("/chat").on_any(async move |event: Event| heard.note(event.name()));
    io.of("/chat").on("last", async || 0);
    for transport in WAYS {
        let ana = TestClient::to(&io).transport(transport).connect().await;
        let chat = ana.enter("/chat", ()).await.unwrap();
        for n in 0..100 {
            chat.emit(&n.to_string(), n);
        }
        chat.emit_with_ack::<i32>("last", ()).await;
        settle().await;
        let expected: Vec<_> = (0..100).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
        assert_eq!(log.taken(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_with_a_time_limit_ends_by_it_and_an_answer_that_is_late_is_nobodys() {
    let io = Server::new();
    let mut ana = TestClient::connect(&io).await;
    let socket = socket_of(&io, &ana);
    let ask = |ms| {
        let socket = socket.clone();
        tokio::spawn(async move { socket.timeout(Duration::from_millis(ms)).emit_with_ack::<i32>("ask", ms).await })
    };
    let silent = ask(50).await.unwrap().unwrap_err();
    assert!(matches!(silent, AckError::Timeout));
    assert_eq!(silent.to_string(), "operation has timed out");
    ana.expect_event("ask").await.answer(1);
    let asking = ask(50);
    let question = ana.expect_event("ask").await;
    question.answer(2);
    question.answer(3);
    assert_eq!(asking.await.unwrap().unwrap(), 2, "the first answer to this question, not to the one before");
    let asking = ask(60_000);
    ana.expect_event("ask").await;
    ana.close();
    assert!(matches!(asking.await.unwrap(), Err(AckError::Disconnected)), "one who left is not waited for");
}

/// What is sent in one go by a handler, each word one event, and what the client hears of it.
#[tokio::test(start_paused = true)]
async fn a_volatile_event_is_dropped_behind_one_that_has_not_left_and_only_that_one() {
    let io = Server::new();
    io.on("go", async |socket: Socket, Data(words): Data<Vec<String>>| {
        for word in words {
            let binary = (&word, Bytes::from_static(b"whole"));
            let _ = match word.as_str() {
                "regular" => socket.emit("heard", &word),
                "volatile" => socket.volatile().emit("heard", &word),
                "volatile binary" => socket.volatile().emit("heard", binary),
                _ => socket.namespace().volatile().emit("heard", binary),
            };
        }
    });
    for transport in WAYS {
        let mut ana = TestClient::to(&io).transport(transport).connect().await;
        for (sent, expected) in [
            (&["volatile"][..], &["volatile"][..]),
            (&["volatile binary"], &["volatile binary"]),
            (&["regular", "volatile"], &["regular"]),
            (&["volatile", "volatile"], &["volatile"]),
            (&["volatile binary", "volatile binary"], &["volatile binary"]),
            (&["volatile", "volatile", "regular"], &["volatile", "regular"]),
        ] {
            ana.emit("go", (sent,));
            let mut heard = Vec::new();
            while let Some(event) = ana.next_event(Duration::from_millis(500)).await {
                heard.push(event.args::<String>());
            }
            assert_eq!(heard, expected, "{transport:?}, of {sent:?}");
        }
        ana.emit("go", (["broadcast"],));
        let event = ana.expect_event("heard").await;
        assert_eq!(event.args::<(String, Bytes)>(), ("broadcast".into(), Bytes::from_static(b"whole")));
        ana.close();
    }
}

#[tokio::test(start_paused = true)]
async fn once_it_is_disconnected_nothing_is_heard_and_no_room_is_joined() {
    let io = Server::new();
    io.of("/other");
    let log = Log::default();
    let heard = log.clone();
    io.on("late", async move || heard.note("late"));
    io.on("kick", async |socket: Socket| socket.disconnect(false));
    let ana = TestClient::connect(&io).await;
    let other = ana.enter("/other", ()).await.unwrap();
    let socket = socket_of(&io, &ana);
    ana.emit("kick", ());
    ana.emit("late", ());
    settle().await;
    assert!(log.taken().is_empty());
    assert!(!socket.connected());
    socket.join("room");
    assert!(socket.rooms().is_empty() && io.rooms().await.unwrap().received.is_empty());
    assert_eq!(io.of("/other").local_count(), 1, "a packet that comes too late costs no other namespace");
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_disconnected_with_its_connection_leaves_every_namespace() {
    let io = Server::new();
    let log = Log::default();
    for name in ["/", "/a", "/b"] {
        let log = log.clone();
        io.of(name).on_disconnect(async move |socket: Socket, reason: DisconnectReason| {
            log.note(format!("{} {reason}", socket.namespace().name()));
        });
    }
    for transport in WAYS {
        let mut ana = TestClient::to(&io).transport(transport).connect().await;
        let (mut a, mut b) = (ana.enter("/a", ()).await.unwrap(), ana.enter("/b", ()).await.unwrap());
        socket_of(&io, &ana).disconnect(true);
        for client in [&mut ana, &mut a, &mut b] {
            assert_eq!(client.disconnected().await, "io server disconnect", "each is told");
        }
        settle().await;
        let ended = crate::sorted(log.taken());
        assert_eq!(ended, ["/", "/a", "/b"].map(|name| format!("{name} server namespace disconnect")));
    }
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_what_leaves_sees_broadcasts_with_their_binary_too() {
    let io = Server::new();
    let ana = TestClient::connect(&io).await;
    let socket = socket_of(&io, &ana);
    let log = Log::default();
    let seen = log.clone();
    socket.on_any_outgoing(move |_, event| {
        let data: Bytes = event.args().to().unwrap();
        seen.note(format!("{} {data:?}", event.name()));
    });
    io.emit("to all", Bytes::from_static(b"\x01")).unwrap();
    io.to(socket.id()).emit("to one", Bytes::from_static(b"\x02")).unwrap();
    socket.emit("direct", Bytes::from_static(b"\x03")).unwrap();
    assert_eq!(log.taken(), [r#"to all b"\x01""#, r#"to one b"\x02""#, r#"direct b"\x03""#]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_served_can_be_closed_and_more_than_once() {
    let io = Server::new();
    io.close().await;
    io.close().await;
    assert_eq!(TestClient::to(&io).try_connect().await.unwrap_err().status, Some(503));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_again_is_a_new_socket_whose_handlers_run_once() {
    let io = Server::new();
    io.on_connection(async |socket: Socket| {
        socket.on("x", async |socket: Socket| socket.emit("heard", ()).map(drop));
    });
    let mut ana = TestClient::connect(&io).await;
    let old = ana.id().to_owned();
    ana.disconnect();
    let mut ana = TestClient::connect(&io).await;
    assert_ne!(ana.id(), old);
    ana.emit("x", ());
    ana.expect::<()>("heard").await;
    ana.expect_none("heard", Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_version_2_is_refused_unless_that_is_allowed() {
    for allowed in [true, false] {
        let io = Server::builder().allow_eio3(allowed).build();
        for transport in WAYS {
            let entered = TestClient::to(&io).version(Version::V3).transport(transport).try_connect().await;
            assert_eq!(entered.is_ok(), allowed);
            if let Err(refused) = entered {
                assert_eq!((refused.status, &*refused.message), (Some(400), "Unsupported protocol version"));
            }
        }
    }
}
