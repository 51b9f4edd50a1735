//! The testing kit keeps its promises, on both transports, in both protocols, by Tokio's clock.

use std::time::Duration;

use bytes::Bytes;
use socketio_server::engine::{TransportKind, Version};
use socketio_server::testing::TestClient;
use socketio_server::{ConnectError, Data, DisconnectReason, Parser, Recovery, Server, Socket};
use tokio::sync::mpsc;
use tokio::time::Instant;

const WAYS: [(TransportKind, Version); 4] = [
    (TransportKind::WebSocket, Version::V4),
    (TransportKind::Polling, Version::V4),
    (TransportKind::WebSocket, Version::V3),
    (TransportKind::Polling, Version::V3),
];

/// Gives the reasons for which sockets of `/` were disconnected.
fn reasons(io: &Server) -> mpsc::UnboundedReceiver<&'static str> {
    let (sender, reasons) = mpsc::unbounded_channel();
    io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
        let _ = sender.send(reason.as_str());
    });
    reasons
}

#[tokio::test(start_paused = true)]
async fn events_answers_and_binary_go_both_ways() {
    for parser in [Parser::Json, Parser::MsgPack] {
        let io = Server::builder().parser(parser).build();
        io.on("reverse", async |socket: Socket, Data((text, data)): Data<(String, Bytes)>| {
            let data: Vec<u8> = data.iter().rev().copied().collect();
            let _ = socket.broadcast().emit("seen", (&text, Bytes::from(data.clone())));
            (text.chars().rev().collect::<String>(), Bytes::from(data))
        });
        io.on("ask me", async |socket: Socket| {
            let answer: (i32, Bytes) = socket.emit_with_ack("question", 7).await.unwrap();
            let _ = socket.emit("answered", answer);
        });
        for (transport, version) in WAYS {
            let mut ana = TestClient::to(&io).transport(transport).version(version).connect().await;
            let mut bob = TestClient::connect(&io).await;
            let data = Bytes::from_static(b"\x00\x01\xff");

            let (answer,): ((String, Bytes),) = ana.emit_with_ack("reverse", ("abc", data.clone())).await;
            assert_eq!(answer, ("cba".into(), Bytes::from_static(b"\xff\x01\x00")), "{transport:?} {version:?}");
            assert_eq!(bob.expect::<(String, Bytes)>("seen").await, ("abc".into(), answer.1));

            ana.emit("ask me", ());
            let question = ana.expect_event("question").await;
            assert_eq!(question.args::<i32>(), 7);
            question.answer((8, data.clone()));
            assert_eq!(ana.expect::<(i32, Bytes)>("answered").await, (8, data));
            assert!(ana.next_event(Duration::from_secs(1)).await.is_none(), "nothing was left over");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_sees_what_the_client_says() {
    #[derive(serde::Deserialize)]
    struct Auth {
        token: String,
    }
    let io = Server::new();
    io.of("/told").on("tell", async |socket: Socket| {
        let handshake = socket.handshake();
        let request = socket.conn().request();
        let token = handshake.auth::<Auth>().unwrap().token;
        (
            token,
            request.query("room"),
            request.header("cookie").map(str::to_owned),
            request.remote().unwrap().to_string(),
        )
    });
    for (transport, version) in [WAYS[0], WAYS[1]] {
        let ana = TestClient::to(&io)
            .namespace("told")
            .auth(serde_json::json!({ "token": "secret" }))
            .query("room", "a & b")
            .header("cookie", "x=y");
        let ana = ana.address(([10, 1, 2, 3], 99)).transport(transport).version(version).connect().await;
        let (told,): ((String, String, String, String),) = ana.emit_with_ack("tell", ()).await;
        assert_eq!(told, ("secret".into(), "a & b".into(), "x=y".into(), "10.1.2.3:99".into()));
        assert!(io.of("/told").local_socket(ana.id()).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_say_why() {
    let io = Server::builder().allow_request(async |request: socketio_server::engine::Request| {
        if request.query("banned").is_some() { Err("go away".to_owned()) } else { Ok(()) }
    });
    let io = io.build();
    io.of("/private").middleware(async |_: Socket| Err(ConnectError::new("no").data(serde_json::json!({ "code": 7 }))));
    for (transport, _) in [WAYS[0], WAYS[1]] {
        let refused = TestClient::to(&io).transport(transport).query("banned", "1").try_connect().await.unwrap_err();
        assert_eq!((refused.status, &*refused.message), (Some(403), "go away"));
    }
    let ana = TestClient::connect(&io).await;
    let refused = ana.enter("/private", ()).await.unwrap_err();
    assert_eq!((refused.status, &*refused.message), (None, "no"));
    assert_eq!(serde_json::to_value(refused.data.unwrap()).unwrap(), serde_json::json!({ "code": 7 }));
    let refused = ana.enter("/nowhere", ()).await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");
}

#[tokio::test(start_paused = true)]
async fn each_end_has_its_reason() {
    let io = Server::new();
    let mut reasons = reasons(&io);
    io.on("kick me", async |socket: Socket| socket.disconnect(false));
    for (transport, version) in WAYS {
        let connect = async || TestClient::to(&io).transport(transport).version(version).connect().await;

        let mut ana = connect().await;
        ana.disconnect();
        assert_eq!(reasons.recv().await, Some("client namespace disconnect"), "{transport:?} {version:?}");

        let cleo = connect().await;
        cleo.close();
        assert_eq!(reasons.recv().await, Some("transport close"), "{transport:?} {version:?}");

        let mut bob = connect().await;
        bob.emit("kick me", ());
        assert_eq!(bob.disconnected().await, "io server disconnect");
        assert_eq!(reasons.recv().await, Some("server namespace disconnect"));
    }
    drop(TestClient::connect(&io).await);
    assert_eq!(reasons.recv().await, Some("transport close"));
}

#[tokio::test(start_paused = true)]
async fn time_passes_at_once_and_the_heartbeat_with_it() {
    let real = std::time::Instant::now();
    let io = Server::new();
    let mut reasons = reasons(&io);
    for (transport, version) in WAYS {
        let mut ana = TestClient::to(&io).transport(transport).version(version).connect().await;
        let bob = TestClient::to(&io).transport(transport).version(version).connect().await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(io.local_count(), 2, "both answer pings: {transport:?} {version:?}");

        let start = Instant::now();
        bob.go_silent();
        assert_eq!(reasons.recv().await, Some("ping timeout"), "{transport:?} {version:?}");
        let passed = start.elapsed();
        assert!((Duration::from_secs(20)..=Duration::from_secs(46)).contains(&passed), "{passed:?}");

        io.emit("still there", ()).unwrap();
        ana.expect::<()>("still there").await;
        ana.close();
        assert_eq!(reasons.recv().await, Some("transport close"));
    }
    assert!(real.elapsed() < Duration::from_secs(30), "an hour took {:?}", real.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_joins_no_namespace_in_time_is_closed() {
    let io = Server::builder().connect_timeout(Duration::from_secs(45)).build();
    io.of("/slow").middleware(async |_: Socket| std::future::pending().await);
    let start = Instant::now();
    let connecting = TestClient::to(&io).namespace("/slow").try_connect();
    let refused = tokio::spawn(connecting).await;
    assert!(refused.is_err(), "the client loses its patience after five seconds");
    assert!(start.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_back_to_its_session() {
    let io = Server::builder().connection_state_recovery(Recovery::default()).build();
    io.on_connection(async |socket: Socket| {
        if !socket.recovered() {
            socket.join("game");
        }
    });
    let mut ana = TestClient::connect(&io).await;
    io.to("game").emit("score", 1).unwrap();
    let score = ana.expect_event("score").await;
    let (_, offset): (i32, String) = score.args();
    let (id, pid) = (ana.id().to_owned(), ana.pid().unwrap().to_owned());
    ana.close();
    tokio::time::sleep(Duration::from_secs(60)).await;
    io.to("game").emit("score", 2).unwrap();

    let back = serde_json::json!({ "pid": pid, "offset": offset });
    let mut ana = TestClient::to(&io).auth(&back).connect().await;
    assert_eq!(ana.id(), id);
    assert_eq!(ana.expect::<i32>("score").await, 2);

    ana.close();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let ana = TestClient::to(&io).auth(&back).connect().await;
    assert_ne!(ana.id(), id, "ten minutes are too long");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no \"never\" within 5s; other events that came: [\"other\"]")]
async fn an_expectation_that_fails_says_what_came_instead() {
    let io = Server::new();
    io.on_connection(async |socket: Socket| drop(socket.emit("other", 1)));
    TestClient::connect(&io).await.expect::<()>("never").await;
}
