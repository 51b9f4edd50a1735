//! Namespaces: their names, who connects to them, who is found in them, and those that patterns make.

use socketio_server::testing::TestClient;
use socketio_server::{ConnectError, DisconnectReason, EmitError, Server, Socket};

use crate::{Log, settle, sorted};

#[tokio::test(start_paused = true)]
async fn the_server_is_its_namespace_slash_and_a_name_is_one_with_its_slash_or_without() {
    let io = Server::new();
    assert!(*io == io.of("/") && *io == io.of(""));
    assert!(io.of("/chat") == io.of("chat") && io.of("/chat") != *io);
    let log = Log::default();
    let heard = log.clone();
    io.of("").on_connection(async move |socket: Socket| heard.note(socket.namespace().name().to_string()));
    for name in ["", "/"] {
        TestClient::to(&io).namespace(name).connect().await.disconnect();
    }
    settle().await;
    assert_eq!(log.taken(), ["/", "/"]);
}

#[tokio::test(start_paused = true)]
async fn each_namespace_hears_of_each_of_its_sockets_once_over_one_connection_or_many() {
    let io = Server::new();
    let log = Log::default();
    for name in ["/", "/chat", "/news"] {
        let log = log.clone();
        io.of(name).on_connection(async move |socket: Socket| log.note(socket.namespace().name().to_string()));
    }
    let ana = TestClient::connect(&io).await;
    let (chat, news) = (ana.enter("/chat", ()).await.unwrap(), ana.enter("/news", ()).await.unwrap());
    assert_eq!(log.taken(), ["/", "/chat", "/news"]);
    assert_eq!(sorted([ana.id(), chat.id(), news.id()]).windows(2).filter(|ids| ids[0] == ids[1]).count(), 0);
    let other = TestClient::to(&io).namespace("/chat").connect().await;
    assert_eq!(log.taken(), ["/chat"], "`/` is only entered by who asks for it");
    let again = TestClient::to(&io).namespace("/chat").connect().await;
    assert_ne!(other.id(), again.id());
    assert_eq!(io.of("/chat").local_count(), 3, "a second connection is a second socket");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_ends_its_socket_in_each_namespace() {
    let io = Server::new();
    let log = Log::default();
    for name in ["/", "/chat", "/news"] {
        let log = log.clone();
        io.of(name).on_disconnect(async move |socket: Socket, reason: DisconnectReason| {
            log.note(format!("{} {reason} {}", socket.namespace().name(), socket.connected()));
        });
    }
    let ana = TestClient::connect(&io).await;
    let _others = (ana.enter("/chat", ()).await.unwrap(), ana.enter("/news", ()).await.unwrap());
    ana.close();
    settle().await;
    let expected = ["/ transport close false", "/chat transport close false", "/news transport close false"];
    assert_eq!(sorted(log.taken()), expected);
    for name in ["/", "/chat", "/news"] {
        assert_eq!(io.of(name).local_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_in_its_rooms_while_it_is_disconnecting_and_in_none_once_it_is_disconnected() {
    let io = Server::new();
    let log = Log::default();
    let (before, after) = (log.clone(), log.clone());
    let of = |socket: &Socket| socket.rooms().iter().filter(|room| *room != socket.id()).count();
    io.on_disconnecting(async move |socket: Socket, reason: DisconnectReason| {
        before.note(format!("disconnecting: {reason}, {} rooms, {}", of(&socket), socket.rooms().len()));
    });
    io.on_disconnect(async move |socket: Socket, reason: DisconnectReason| {
        after.note(format!("disconnect: {reason}, {} rooms", socket.rooms().len()));
    });
    io.on_connection(async |socket: Socket| socket.join(["a", "b"]));
    let mut ana = TestClient::connect(&io).await;
    ana.disconnect();
    settle().await;
    let reason = "client namespace disconnect";
    assert_eq!(log.taken(), [format!("disconnecting: {reason}, 2 rooms, 3"), format!("disconnect: {reason}, 0 rooms")]);
}

#[tokio::test(start_paused = true)]
async fn the_sockets_of_a_namespace_are_found_in_it_and_in_its_rooms() {
    let io = Server::new();
    let chat = io.of("/chat");
    let ana = TestClient::to(&io).namespace("/chat").connect().await;
    let bob = TestClient::to(&io).namespace("/chat").connect().await;
    let cleo = TestClient::to(&io).namespace("/other").try_connect().await;
    assert_eq!(cleo.unwrap_err().message, "Invalid namespace");
    let cleo = TestClient::connect(&io).await;
    let ids = async |found: socketio_server::Broadcast| {
        let found = found.fetch_sockets().await.unwrap().complete().unwrap();
        sorted(found.iter().map(|socket| socket.id().to_owned()))
    };
    let of = |clients: &[&TestClient]| sorted(clients.iter().map(|client| client.id().to_owned()));
    assert_eq!(ids(chat.everyone()).await, of(&[&ana, &bob]));
    chat.local_socket(ana.id()).unwrap().join(["red", "green"]);
    chat.local_socket(bob.id()).unwrap().join("green");
    io.local_socket(cleo.id()).unwrap().join("green");
    assert_eq!(ids(chat.to("red")).await, of(&[&ana]));
    assert_eq!(ids(chat.to("green")).await, of(&[&ana, &bob]));
    assert_eq!(ids(chat.to("red").to("green")).await, of(&[&ana, &bob]), "each once");
    assert_eq!(ids(chat.to("green").except("red")).await, of(&[&bob]));
    assert_eq!(ids(io.to("green")).await, of(&[&cleo]));
}

#[tokio::test(start_paused = true)]
async fn names_that_the_protocol_keeps_for_itself_cannot_be_emitted_by_anyone() {
    let io = Server::new();
    let ana = TestClient::connect(&io).await;
    let socket = crate::socket_of(&io, &ana);
    for name in ["connect", "connect_error", "disconnect", "disconnecting"] {
        let refused =
            |result: Result<socketio_server::Emitted, EmitError>| matches!(result, Err(EmitError::Reserved(_)));
        assert!(refused(socket.emit(name, ())), "{name} to a socket");
        assert!(refused(io.emit(name, ())), "{name} to a namespace");
        assert!(refused(io.to("room").emit(name, ())), "{name} to a room");
        assert!(refused(io.of("/chat").volatile().emit(name, ())), "{name} as volatile");
        assert!(matches!(socket.emit_with_ack::<()>(name, ()).await, Err(error) if error.to_string().contains(name)));
    }
    assert!(socket.emit("error", ()).is_ok(), "the reference does not keep this one");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_makes_the_namespace_that_a_client_asks_for_with_its_rooms() {
    let io = Server::new();
    let log = Log::default();
    let heard = log.clone();
    let digits = |name: &str| name.strip_prefix("/dynamic-").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let pattern = io.of_matching(digits);
    pattern.on_connection(async move |socket: Socket| {
        heard.note(socket.namespace().name().to_string());
        socket.join("room");
    });
    let mut ana = TestClient::to(&io).namespace("/dynamic-101").connect().await;
    let mut bob = TestClient::to(&io).namespace("/dynamic-7").connect().await;
    assert_eq!(log.taken(), ["/dynamic-101", "/dynamic-7"]);
    io.of("/dynamic-101").to("room").emit("one", 1).unwrap();
    pattern.emit("all", 2).unwrap();
    assert_eq!(ana.expect::<i32>("one").await, 1);
    assert_eq!((ana.expect::<i32>("all").await, bob.expect::<i32>("all").await), (2, 2));
    bob.expect_none("one", std::time::Duration::from_secs(1)).await;
    let refused = TestClient::to(&io).namespace("/dynamic-abc").try_connect().await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");
}

#[tokio::test(start_paused = true)]
async fn two_clients_at_once_make_one_namespace() {
    let io = Server::new();
    io.of_matching_async(
        |name| name.starts_with("/slow-"),
        async |_| {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            true
        },
    );
    let enter = || TestClient::to(&io).namespace("/slow-1").connect();
    let (ana, bob) = tokio::join!(enter(), enter());
    assert_ne!(ana.id(), bob.id());
    assert_eq!(io.of("/slow-1").local_count(), 2);
    assert_eq!(io.namespaces().iter().filter(|namespace| &**namespace.name() == "/slow-1").count(), 1);
}

/// The six cases of a namespace that may go when it is empty, with a client that leaves it or is refused by it.
#[tokio::test(start_paused = true)]
async fn an_empty_namespace_goes_if_a_pattern_made_it_and_the_server_is_to_clean_up() {
    for cleanup in [true, false] {
        let io = Server::builder().cleanup_empty_child_namespaces(cleanup).build();
        io.of("/static");
        io.of_matching(|name| name == "/made").middleware(async |socket: Socket| {
            if socket.handshake().query("refuse").is_some() { Err(ConnectError::new("no")) } else { Ok(()) }
        });
        let there = |name: &str| io.namespaces().iter().any(|namespace| &**namespace.name() == name);
        let refused = || TestClient::to(&io).namespace("/made").query("refuse", "1").try_connect();

        refused().await.unwrap_err();
        settle().await;
        assert_eq!(there("/made"), !cleanup, "its only client was refused");

        let mut ana = TestClient::to(&io).namespace("/made").connect().await;
        refused().await.unwrap_err();
        settle().await;
        assert!(there("/made") && io.of("/made").local_count() == 1, "another client is in it");

        ana.disconnect();
        settle().await;
        assert_eq!(there("/made"), !cleanup, "its last client left");
        assert_eq!(TestClient::to(&io).namespace("/made").connect().await.id().len(), 20, "it can be entered again");

        TestClient::to(&io).namespace("/static").connect().await.disconnect();
        settle().await;
        assert!(there("/static"), "no pattern made it");
    }
}
