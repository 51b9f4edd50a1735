//! What the Admin UI is told, and what it may ask for: the cases of the reference's own tests, and those it has not.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socketio_server::admin::{AdminError, AdminMode, AdminOptions, AdminSessions, MemorySessions};
use socketio_server::engine::TransportKind;
use socketio_server::testing::{Refused, TestClient};
use socketio_server::{Data, Server, Socket};

/// Of `changeit`, and quick to check.
const HASH: &str = "$2a$04$e7BrVKn63VCWoqvfra.Yd.cmileEISqNSXlkmVlB5.eSpwGt2ZWX6";

fn open() -> AdminOptions {
    AdminOptions::without_authentication().server_id("one")
}

fn instrumented(options: AdminOptions) -> Server {
    let io = Server::new();
    io.instrument(options).unwrap();
    io
}

/// The Admin UI, once it has been told of all sockets.
async fn admin(io: &Server) -> TestClient {
    let mut admin = TestClient::to(io).namespace("/admin").connect().await;
    for event in ["config", "all_sockets", "room_joined", "socket_connected"] {
        admin.expect::<Value>(event).await; // It is told of itself, too.
    }
    admin
}

async fn shown(io: &Server, auth: Value) -> Result<TestClient, Refused> {
    TestClient::to(io).namespace("/admin").auth(auth).try_connect().await
}

fn message(refused: Result<TestClient, Refused>) -> String {
    match refused {
        Ok(_) => panic!("let in"),
        Err(refused) => refused.message,
    }
}

/// Waits for an event of the Admin UI whose arguments pass a test.
async fn told(admin: &mut TestClient, event: &str, test: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    loop {
        let args: Vec<Value> = all_args(admin, event).await;
        if test(&args) {
            return args;
        }
    }
}

async fn all_args(admin: &mut TestClient, event: &str) -> Vec<Value> {
    let event = admin.expect_event(event).await;
    match event.name() {
        "room_joined" | "room_left" | "socket_disconnected" | "event_received" | "event_sent" => {
            let (a, b, c, d) = event.args::<(Value, Value, Value, Value)>();
            vec![a, b, c, d]
        }
        "socket_connected" => {
            let (socket, time) = event.args::<(Value, Value)>();
            vec![socket, time]
        }
        _ => vec![event.args::<(Value,)>().0],
    }
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 24 && text.starts_with("20") && text.ends_with('Z'))
}

// ---- who is let in ------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn who_shows_no_password_or_a_wrong_one_is_refused() {
    let io = instrumented(AdminOptions::basic("ana", HASH));
    for auth in [
        Value::Null,
        json!({ "username": "ana" }),
        json!({ "username": "ana", "password": "guessed" }),
        json!({ "username": "bob", "password": "changeit" }),
        json!({ "username": 1, "password": ["changeit"] }),
        json!({ "sessionId": "guessed" }),
    ] {
        assert_eq!(message(shown(&io, auth.clone()).await), "invalid credentials", "{auth}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_shows_the_password_gets_a_session_that_lets_in_again() {
    let io = instrumented(AdminOptions::basic("ana", HASH));
    let mut admin = shown(&io, json!({ "username": "ana", "password": "changeit" })).await.unwrap();
    let session: String = admin.expect("session").await;
    assert!(session.len() == 16 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{session}");
    let mut again = shown(&io, json!({ "sessionId": session })).await.unwrap();
    assert_eq!(again.next_event(Duration::from_secs(1)).await.unwrap().name(), "config", "no other session");
}

#[tokio::test(start_paused = true)]
async fn sessions_may_be_kept_elsewhere() {
    #[derive(Debug)]
    struct OneKnown;
    #[async_trait::async_trait]
    impl AdminSessions for OneKnown {
        async fn exists(&self, id: &str) -> bool {
            tokio::time::sleep(Duration::from_millis(5)).await;
            id == "known"
        }
        async fn save(&self, _id: &str) {}
    }
    let io = instrumented(AdminOptions::basic("ana", HASH).sessions(OneKnown));
    assert!(shown(&io, json!({ "sessionId": "known" })).await.is_ok());
    assert_eq!(message(shown(&io, json!({ "sessionId": "unknown" })).await), "invalid credentials");
    let memory = MemorySessions::default();
    memory.save("kept").await;
    let io = instrumented(AdminOptions::basic("ana", HASH).sessions(memory));
    assert!(shown(&io, json!({ "sessionId": "kept" })).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_is_said_at_the_start() {
    let io = Server::new();
    assert_eq!(io.instrument(AdminOptions::basic("ana", "changeit")), Err(AdminError::InvalidHash));
    assert_eq!(io.instrument(AdminOptions::basic("ana", HASH)), Ok(()));
    assert_eq!(io.instrument(open()), Err(AdminError::Twice));
}

// ---- what is told -------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_may_be_asked_for_and_what_is_told_depend_on_the_options() {
    let orders = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];
    for (options, may_ask, verbose) in [
        (open(), true, true),
        (open().mode(AdminMode::Production), true, false),
        (open().readonly(true), false, true),
        (open().readonly(true).mode(AdminMode::Production), false, false),
    ] {
        let io = instrumented(options);
        let mut admin = TestClient::to(&io).namespace("/admin").connect().await;
        let config: Value = admin.expect("config").await;
        let mut expected: Vec<_> = may_ask.then_some(orders).into_iter().flatten().collect();
        expected.push("AGGREGATED_EVENTS");
        expected.extend(verbose.then_some("ALL_EVENTS"));
        assert_eq!(config, json!({ "supportedFeatures": expected }));
        let _client = TestClient::connect(&io).await;
        match verbose {
            true => drop(admin.expect::<Value>("socket_connected").await),
            false => admin.expect_none("socket_connected", Duration::from_secs(3)).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_namespace_can_have_another_name() {
    let io = instrumented(open().namespace_name("staff"));
    assert_eq!(TestClient::to(&io).namespace("/admin").try_connect().await.unwrap_err().message, "Invalid namespace");
    let mut admin = TestClient::to(&io).namespace("/staff").connect().await;
    admin.expect::<Value>("config").await;
}

#[tokio::test(start_paused = true)]
async fn numbers_are_told_every_two_seconds() {
    let io = instrumented(open().mode(AdminMode::Production));
    io.on("echo", async |Data(text): Data<String>| text);
    let client = TestClient::connect(&io).await;
    let polling = TestClient::to(&io).transport(TransportKind::Polling).connect().await;
    let mut admin = TestClient::to(&io).namespace("/admin").connect().await;
    admin.expect::<Value>("server_stats").await;
    client.emit_with_ack::<String>("echo", "héllo").await;
    polling.close();
    let before = tokio::time::Instant::now();
    let mut stats = Vec::<Value>::new();
    for _ in 0..2 {
        stats.push(admin.expect("server_stats").await);
    }
    assert!(before.elapsed() <= Duration::from_secs(4), "{:?}", before.elapsed());
    let last = stats.last().unwrap();
    assert_eq!((&last["serverId"], &last["pid"]), (&json!("one"), &json!(std::process::id())));
    assert!(!last["hostname"].as_str().unwrap().is_empty() && last["uptime"].is_f64());
    assert_eq!((&last["clientsCount"], &last["pollingClientsCount"]), (&json!(2), &json!(0)));
    let mut namespaces = last["namespaces"].as_array().unwrap().clone();
    namespaces.sort_by_key(|namespace| namespace["name"].to_string());
    assert_eq!(json!(namespaces), json!([{ "name": "/", "socketsCount": 1 }, { "name": "/admin", "socketsCount": 1 }]));
    let events: Vec<_> = stats.iter().flat_map(|stats| stats["aggregatedEvents"].as_array().unwrap()).collect();
    let count = |kind: &str| -> u64 {
        let of_kind = events.iter().filter(|event| event["type"] == kind);
        of_kind.map(|event| event["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(count("packetsIn"), 1);
    assert_eq!(count("bytesIn"), r#"20["echo","héllo"]"#.len() as u64);
    assert!(count("packetsOut") >= 2 && count("bytesOut") > 30, "the answer, and what the Admin UI is told");
    let gone = events.iter().find(|event| event["type"] == "rawDisconnection").unwrap();
    assert_eq!((&gone["subType"], &gone["count"]), (&json!("transport close"), &json!(1)));
    assert_eq!(gone["timestamp"].as_u64().unwrap() % 1000, 0);
}

#[tokio::test(start_paused = true)]
async fn polling_clients_are_counted() {
    let io = instrumented(open().mode(AdminMode::Production));
    let _polling = TestClient::to(&io).transport(TransportKind::Polling).connect().await;
    let mut admin = TestClient::to(&io).namespace("/admin").connect().await;
    let stats: Value = admin.expect("server_stats").await;
    assert_eq!((&stats["clientsCount"], &stats["pollingClientsCount"]), (&json!(2), &json!(1)));
    let connections = stats["aggregatedEvents"].as_array().unwrap();
    let connections = connections.iter().filter(|event| event["type"] == "rawConnection");
    assert_eq!(connections.map(|event| event["count"].as_u64().unwrap()).sum::<u64>(), 2);
}

#[tokio::test(start_paused = true)]
async fn sockets_that_are_there_are_told_with_all_that_is_known_but_secrets() {
    let io = instrumented(open());
    io.of("/chat").on_connection(async |socket: Socket| {
        socket.set_data(json!({ "name": "ana" }));
        socket.join("lobby");
    });
    let client = TestClient::to(&io)
        .namespace("/chat")
        .auth(json!({ "token": "secret" }))
        .query("page", "1")
        .header("X-Forwarded-For", "192.0.2.7");
    let client = client.connect().await;
    let mut admin = TestClient::to(&io).namespace("/admin").connect().await;
    let sockets: Vec<Value> = admin.expect("all_sockets").await;
    let nsps: Vec<_> = sockets.iter().map(|socket| &socket["nsp"]).collect();
    assert!(nsps.len() == 2 && nsps.contains(&&json!("/admin")), "{nsps:?}");
    let socket = sockets.iter().find(|socket| socket["nsp"] == "/chat").unwrap();
    let sid = io.of("/chat").local_socket(client.id()).unwrap().conn().id().to_string();
    assert_eq!(socket["id"], client.id());
    assert_eq!(socket["clientId"], sid[..12]);
    assert_eq!(socket["transport"], "websocket");
    assert_eq!(socket["data"], json!({ "name": "ana" }));
    assert_eq!(socket["rooms"], json!([client.id(), "lobby"]));
    let handshake = socket["handshake"].as_object().unwrap();
    assert_eq!((&handshake["address"], &handshake["query"]["page"]), (&json!("192.0.2.7"), &json!("1")));
    assert_eq!(handshake["headers"]["x-forwarded-for"], "192.0.2.7");
    assert!(handshake["issued"].is_u64() && handshake["time"].is_string() && handshake["url"].is_string());
    assert_eq!((&handshake["secure"], &handshake["xdomain"]), (&json!(false), &json!(false)));
    assert!(!socket.to_string().contains("secret"), "{socket}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_told_when_it_comes_moves_and_goes() {
    let io = instrumented(open());
    io.on("join", async |socket: Socket| socket.join("lobby"));
    io.on("leave", async |socket: Socket| socket.leave("lobby"));
    let mut admin = admin(&io).await;
    let mut client = TestClient::connect(&io).await;
    let id = client.id().to_owned();
    let joined = told(&mut admin, "room_joined", |args| args[2] == id).await;
    assert_eq!(joined[..3], [json!("/"), json!(id), json!(id)]);
    assert!(is_time(&joined[3]));
    let connected = all_args(&mut admin, "socket_connected").await;
    assert_eq!((&connected[0]["id"], &connected[0]["nsp"]), (&json!(id), &json!("/")));
    assert_eq!((&connected[0]["rooms"], &connected[0]["data"]), (&json!([id]), &json!({})));
    assert!(is_time(&connected[1]));

    client.emit("join", ());
    assert_eq!(all_args(&mut admin, "room_joined").await[..3], [json!("/"), json!("lobby"), json!(id)]);
    client.emit("leave", ());
    let left = all_args(&mut admin, "room_left").await;
    assert_eq!(left[..3], [json!("/"), json!("lobby"), json!(id)]);
    assert!(is_time(&left[3]));
    client.emit("join", ());
    all_args(&mut admin, "room_joined").await;

    client.disconnect();
    let mut names = Vec::new();
    let mut rooms = Vec::new();
    while rooms.len() < 2 {
        let event = admin.next_event(Duration::from_secs(1)).await.expect("told");
        if event.name() == "room_left" {
            rooms.push(event.args::<(String, String, String, Value)>().1);
        }
        if event.name() == "socket_disconnected" {
            let (nsp, gone, reason, time) = event.args::<(String, String, String, Value)>();
            assert_eq!((&*nsp, &*gone, &*reason), ("/", &*id, "client namespace disconnect"));
            assert!(is_time(&time));
        }
        names.push(event.name().to_owned());
    }
    names.retain(|name| name != "event_received" && name != "server_stats");
    assert_eq!(names, ["socket_disconnected", "room_left", "room_left"], "its end, and then the rooms");
    assert_eq!(rooms, [&*id, "lobby"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_told_both_ways_without_the_function_that_answers() {
    let io = instrumented(open());
    io.on("ask", async |socket: Socket, Data((n, bytes)): Data<(u32, socketio_server::Bytes)>| {
        let _ = socket.emit("told", (n + 1, "x", bytes));
        let _ = socket.broadcast().emit("not to me", ());
        "answer"
    });
    let mut admin = admin(&io).await;
    let client = TestClient::connect(&io).await;
    let bytes = socketio_server::Bytes::from_static(b"\x00\xff");
    let answer: String = client.emit_with_ack("ask", (1, bytes.clone())).await;
    assert_eq!(answer, "answer");
    type Told = (String, String, (String, u32, socketio_server::Bytes), Value);
    let (nsp, id, (name, n, got), time): Told = admin.expect("event_received").await;
    assert_eq!((&*nsp, &*id, &*name, n, got), ("/", client.id(), "ask", 1, bytes.clone()));
    assert!(is_time(&time));
    type Sent = (String, String, (String, u32, String, socketio_server::Bytes), Value);
    let (nsp, id, (name, n, text, got), time): Sent = admin.expect("event_sent").await;
    assert_eq!((&*nsp, &*id, &*name, n, &*text, got), ("/", client.id(), "told", 2, "x", bytes));
    assert!(is_time(&time));
    admin.expect_none("event_sent", Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_is_told_for_each_who_gets_it_and_what_the_admin_ui_hears_is_not_told() {
    let io = instrumented(open());
    let mut admin = admin(&io).await;
    let (ana, bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    io.emit("hello", 1).unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let args = all_args(&mut admin, "event_sent").await;
        assert_eq!(args[2], json!(["hello", 1]));
        ids.push(args[1].as_str().unwrap().to_owned());
    }
    ids.sort();
    let mut expected = [ana.id().to_owned(), bob.id().to_owned()];
    expected.sort();
    assert_eq!(ids, expected);
    io.of("/admin").emit("hello", 2).unwrap();
    admin.expect::<Value>("hello").await;
    admin.expect_none("event_sent", Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_with_a_socket_is_told_when_it_changes() {
    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Player {
        score: u32,
    }
    let io = instrumented(open());
    io.middleware(async |socket: Socket| {
        socket.set_data(Player { score: 1 });
        Ok(())
    });
    io.on("score", async |socket: Socket| socket.update_data(|player: &mut Player| player.score += 1).score);
    let mut admin = admin(&io).await;
    let client = TestClient::connect(&io).await;
    assert_eq!(all_args(&mut admin, "socket_connected").await[0]["data"], json!({ "score": 1 }));
    assert_eq!(client.emit_with_ack::<u32>("score", ()).await, 2);
    let update = json!({ "id": client.id(), "nsp": "/", "data": { "score": 2 } });
    assert_eq!(admin.expect::<Value>("socket_updated").await, update, "not of what it was before it was in");
    io.everyone().patch_data(json!({ "score": 7 })).unwrap();
    assert_eq!(admin.expect::<Value>("socket_updated").await["data"], json!({ "score": 7 }));
    let handle = io.fetch_sockets().await.unwrap().received.remove(0);
    assert_eq!(handle.data::<Value>().unwrap(), json!({ "score": 7 }), "nothing that is not the application's");
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_are_made_later_are_told_too() {
    let io = instrumented(open());
    io.of_matching(|name| name.starts_with("/board-"));
    let mut admin = admin(&io).await;
    let client = TestClient::to(&io).namespace("/board-7").connect().await;
    let connected = all_args(&mut admin, "socket_connected").await;
    assert_eq!((&connected[0]["nsp"], &connected[0]["id"]), (&json!("/board-7"), &json!(client.id())));
    client.emit("draw", 1);
    assert_eq!(
        all_args(&mut admin, "event_received").await[..3],
        [json!("/board-7"), json!(client.id()), json!(["draw", 1])]
    );
    admin.emit("join", ("/board-7", "lobby"));
    assert_eq!(all_args(&mut admin, "room_joined").await[..2], [json!("/board-7"), json!(client.id())]);
    assert_eq!(all_args(&mut admin, "room_joined").await[..2], [json!("/board-7"), json!("lobby")]);
}

// ---- what is asked for --------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn sockets_are_sent_to_moved_and_disconnected() {
    let io = instrumented(open());
    let admin = admin(&io).await;
    let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    admin.emit("emit", ("/", (), "hello", 1, "a"));
    for client in [&mut ana, &mut bob] {
        assert_eq!(client.expect::<(u32, String)>("hello").await, (1, "a".into()));
    }
    admin.emit("emit", ("/", ana.id(), "alone", ()));
    ana.expect_event("alone").await;
    bob.expect_none("alone", Duration::from_secs(1)).await;

    admin.emit("join", ("/", "red", ana.id()));
    admin.emit("join", ("/", ["all", "blue"]));
    admin.emit("emit", ("/", "red", "to red"));
    ana.expect_event("to red").await;
    bob.expect_none("to red", Duration::from_secs(1)).await;
    let rooms = |client: &TestClient| io.local_socket(client.id()).unwrap().rooms()[1..].to_vec();
    assert_eq!(
        (rooms(&ana), rooms(&bob)),
        (vec!["red".into(), "all".into(), "blue".into()], vec!["all".into(), "blue".into()])
    );
    admin.emit("leave", ("/", "all", "red"));
    admin.emit("leave", ("/", "blue"));
    admin.emit("emit", ("/", (), "done"));
    bob.expect_event("done").await;
    assert_eq!((rooms(&ana), rooms(&bob)), (vec!["red".into()], vec!["all".into()]));

    admin.emit("_disconnect", ("/", false, bob.id()));
    assert_eq!(bob.disconnected().await, "io server disconnect");
    assert!(bob.enter("/admin", ()).await.is_ok(), "its connection is still there");
    admin.emit("_disconnect", ("/", true));
    ana.disconnected().await;
}

#[tokio::test(start_paused = true)]
async fn who_may_only_look_is_not_obeyed() {
    let io = instrumented(open().readonly(true));
    let admin = admin(&io).await;
    let mut client = TestClient::connect(&io).await;
    admin.emit("emit", ("/", (), "hello"));
    admin.emit("join", ("/", "red"));
    admin.emit("_disconnect", ("/", true));
    client.expect_none("hello", Duration::from_secs(2)).await;
    assert_eq!(io.local_socket(client.id()).unwrap().rooms(), [client.id()]);
}

#[tokio::test(start_paused = true)]
async fn orders_that_make_no_sense_change_nothing() {
    let io = instrumented(open());
    let mut admin = admin(&io).await;
    let mut client = TestClient::connect(&io).await;
    for (order, args) in [
        ("emit", json!([])),
        ("emit", json!(["/"])),
        ("emit", json!(["/", null, 5])),
        ("emit", json!(["/", null, "disconnect"])),
        ("emit", json!(["/", { "a": 1 }, "hello"])),
        ("join", json!(["/", 7])),
        ("join", json!([{ "nsp": "/" }, "red"])),
        ("leave", json!(null)),
        ("_disconnect", json!(["/nowhere", true])),
        ("_disconnect", json!([])),
    ] {
        let args: Vec<Value> = serde_json::from_value(args).unwrap_or_default();
        admin.emit(order, args);
    }
    admin.emit("emit", ("/", (), "hello"));
    client.expect_event("hello").await;
    assert_eq!(io.local_socket(client.id()).unwrap().rooms(), [client.id()]);
    assert!(!io.namespaces().iter().any(|namespace| **namespace.name() == "/nowhere"[..]));
    admin.expect::<Value>("server_stats").await;
}
