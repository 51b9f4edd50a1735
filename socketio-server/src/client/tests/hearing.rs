//! What is registered with one socket, and what can be seen of its connection.

use super::*;
use crate::engine::{CloseReason, ConnectionEvent, Message, Packet};
use crate::{DisconnectReason, EmitError, Event, Recovery, RoomEvent};

/// A server that keeps its sockets, and the socket of a client that has just connected.
async fn connected(io: &Server) -> (Polling<'_>, Socket) {
    let client = Polling::connect(io).await;
    let socket = io.local_sockets().pop().unwrap();
    (client, socket)
}

type Log = Arc<Mutex<Vec<String>>>;

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

#[tokio::test]
async fn handlers_run_in_order_and_can_be_taken_away_one_by_one() {
    let io = Server::new();
    let (client, socket) = connected(&io).await;
    let log = Log::default();
    macro_rules! noting {
        ($name:literal) => {{
            let log = log.clone();
            async move || log.lock().unwrap().push($name.to_owned())
        }};
    }
    let of_namespace = io.add_listener("x", noting!("namespace"));
    let first = socket.add_listener("x", noting!("first"));
    socket.on("x", noting!("second")).once("x", noting!("once")).on_any(noting!("any"));
    socket.prepend_any(noting!("ahead"));
    assert_eq!(socket.listener_count("x"), 3);
    let x = async || {
        client.send(&["2[\"x\"]"]).await;
        taken(&log)
    };
    assert_eq!(x().await, ["namespace", "ahead", "any", "first", "second", "once"]);
    assert!(socket.remove_listener(first));
    assert!(!socket.remove_listener(first), "it is gone already");
    assert_eq!(x().await, ["namespace", "ahead", "any", "second"]);
    socket.off_any();
    assert!(io.remove_listener(of_namespace));
    assert_eq!(x().await, ["second"]);
    socket.off("x");
    assert!(x().await.is_empty());
    assert_eq!(socket.listener_count("x"), 0);
}

#[tokio::test]
async fn what_is_sent_to_a_socket_is_shown_to_who_looks_and_to_nobody_else() {
    let io = Server::new();
    let errors = errors_of(&io);
    let (mut client, socket) = connected(&io).await;
    let (mut other, _) = connected(&io).await;
    socket.join("red");
    let log = Log::default();
    let seen = log.clone();
    socket.on_any_outgoing(move |_, event: &Event| {
        seen.lock().unwrap().push(event.name().into_owned());
    });
    let panics = socket.prepend_any_outgoing(|_, _| panic!("a handler's own fault"));
    socket.emit("one", 1).unwrap();
    assert_eq!(errors.lock().unwrap().pop().unwrap(), "one: panic: a handler's own fault");
    assert!(socket.remove_listener(panics));

    io.emit("all", ()).unwrap();
    io.to("red").except(socket.id()).emit("nobody", ()).unwrap();
    io.to("red").emit("red", "x").unwrap();
    socket.broadcast().emit("others", ()).unwrap();
    socket.volatile().emit("dropped", ()).unwrap();
    let asked = socket.emit_with_ack::<i32>("asked", ());
    let all_asked = io.to("red").emit_with_ack::<i32>("all asked", ());
    assert_eq!(taken(&log), ["one", "all", "red", "dropped", "asked", "all asked"]);
    drop((asked, all_asked));

    io.on("question", async || 5);
    client.send(&["27[\"question\"]"]).await;
    assert!(taken(&log).is_empty(), "an acknowledgement is no event");
    for expected in ["2[\"one\",1]", "2[\"all\"]", "2[\"red\",\"x\"]"] {
        assert_eq!(client.next().await, expected);
    }
    assert_eq!(other.next().await, "2[\"all\"]");

    socket.off_any_outgoing();
    socket.emit("unseen", ()).unwrap();
    assert!(taken(&log).is_empty());
    let watchers = || io.adapter().local().watchers().is_empty();
    assert!(watchers());
    socket.on_any_outgoing(|_, _| {});
    assert!(!watchers());
    socket.disconnect(false);
    assert!(watchers(), "nothing is left of a socket that is gone");
    socket.on_any_outgoing(|_, _| {});
    assert!(watchers());
}

#[tokio::test]
async fn what_happens_to_a_connection_can_be_watched() {
    let io = Server::builder().ping_interval(Duration::from_millis(300)).build();
    io.on("x", async |socket: Socket| socket.emit("y", bytes::Bytes::from_static(b"ab")).map(drop));
    let (mut client, socket) = connected(&io).await;
    let mut events = socket.conn().events();
    client.send(&["2[\"x\"]"]).await;
    assert_eq!(client.next().await, r#"51-["y",{"_placeholder":true,"num":0}]"#);
    let text = |text: &str| Packet::Message(Message::Text(text.into()));
    let binary = Packet::Message(Message::Binary(Bytes::from_static(b"ab")));
    for expected in [
        ConnectionEvent::Packet(text("2[\"x\"]")),
        ConnectionEvent::PacketCreate(text(r#"51-["y",{"_placeholder":true,"num":0}]"#)),
        ConnectionEvent::PacketCreate(binary),
        ConnectionEvent::Drain,
    ] {
        assert_eq!(events.next().await, Some(expected));
    }
    assert_eq!(client.request("").await.1, "2", "the server's ping");
    assert_eq!(client.request("3").await.0, 200);
    for expected in [
        ConnectionEvent::PacketCreate(Packet::Ping(Default::default())),
        ConnectionEvent::Drain,
        ConnectionEvent::Packet(Packet::Pong(Default::default())),
        ConnectionEvent::Heartbeat,
    ] {
        assert_eq!(events.next().await, Some(expected));
    }
    assert_eq!(client.request("1").await.0, 200);
    assert_eq!(events.next().await, Some(ConnectionEvent::Packet(Packet::Close)));
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(ConnectionEvent::Close(CloseReason::TransportClose)));
    assert_eq!(socket.conn().events().next().await, None, "it is too late to watch");
}

#[tokio::test]
async fn who_sends_much_can_wait_for_room() {
    let io = Server::new();
    let (mut client, socket) = connected(&io).await;
    socket.ready().await.unwrap();
    for n in 0..300 {
        socket.emit("n", n).unwrap();
    }
    assert_eq!(socket.conn().queued_packets(), 300);
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.ready().await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    client.next().await;
    waiting.await.unwrap().unwrap();
    socket.emit("big", "x".repeat(300 << 10)).unwrap();
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.ready().await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished(), "few packets, but many bytes");
    assert_eq!(client.request("1").await.0, 200);
    assert!(matches!(waiting.await.unwrap(), Err(EmitError::Closed)));
    assert!(matches!(socket.ready().await, Err(EmitError::Closed)));
}

#[tokio::test]
async fn what_a_transport_did_is_told_with_the_reason() {
    let io = Server::new();
    let log = Log::default();
    let told = log.clone();
    io.on_disconnect(async move |_, reason: DisconnectReason| {
        told.lock().unwrap().push(format!("{reason}: {:?}", reason.description()));
    });
    let (client, _) = connected(&io).await;
    let (first, second) = tokio::join!(client.request(""), client.request(""));
    assert_eq!((first.0, second.0), (200, 400), "one GET at a time");
    let (_client, socket) = connected(&io).await;
    socket.disconnect(false);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(taken(&log), ["transport error: Some(\"overlap from client\")", "server namespace disconnect: None"]);
}

#[tokio::test]
async fn the_data_of_a_socket_can_be_changed_in_place() {
    #[derive(Clone, Default, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Player {
        name: String,
        score: u32,
    }
    let io = Server::new();
    let (_client, socket) = connected(&io).await;
    assert_eq!(socket.data::<Player>(), None);
    assert_eq!(socket.update_data(|player: &mut Player| player.score += 1).score, 1);
    let adding = (0..4).map(|_| {
        let socket = socket.clone();
        std::thread::spawn(move || {
            for _ in 0..500 {
                socket.update_data(|player: &mut Player| player.score += 1);
            }
        })
    });
    adding.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(socket.data::<Player>().unwrap().score, 2001, "no change is lost");

    // What another server has patched has no type until somebody asks for one.
    let patch = serde_json::from_str(r#"{"name":"ana","team":"red"}"#).unwrap();
    socket.member().patch_data(&patch);
    let expected = Player { name: "ana".into(), score: 2001 };
    assert_eq!(*socket.data::<Player>().unwrap(), expected);
    assert_eq!(socket.data::<i32>(), None, "it is none");
    socket.member().patch_data(&serde_json::from_str(r#"{"score":"many"}"#).unwrap());
    assert_eq!(socket.data::<Player>(), None, "it does not fit any more");
    assert_eq!(socket.data::<serde_json::Value>().unwrap()["score"], "many");
}

#[tokio::test]
async fn an_event_before_the_connection_does_not_spoil_the_way_back() {
    let io = Server::builder().connection_state_recovery(Recovery::default()).build();
    io.middleware(async |socket: Socket| {
        socket.emit("session", "a text at the end").unwrap();
        socket.join("red");
        Ok(())
    });
    io.emit("before", ()).unwrap();
    let mut client = Polling::open(&io).await;
    client.send(&["0"]).await;
    let early: (String, String, String) = serde_json::from_str(&client.next().await[1..]).unwrap();
    let greeting: serde_json::Value = serde_json::from_str(&client.next().await[1..]).unwrap();
    assert_eq!(client.request("1").await.0, 200);
    io.to("red").emit("missed", ()).unwrap();

    let mut client = Polling::open(&io).await;
    // As the stock client does: the last text of the last event is its offset.
    let back = serde_json::json!({ "pid": greeting["pid"], "offset": early.2 });
    client.send(&[&format!("0{back}")]).await;
    assert!(client.next().await.starts_with("2[\"missed\","), "exactly what it missed, and nothing from before");
    let again: serde_json::Value = serde_json::from_str(&client.next().await[1..]).unwrap();
    assert_eq!(again["sid"], greeting["sid"]);
}

#[test]
fn who_is_told_of_a_room_may_send_to_it_while_a_client_comes_back() {
    let (tell, told) = std::sync::mpsc::channel();
    // On a thread of its own, for the case that it is blocked for ever.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = tell.send(runtime.block_on(comes_back_to_a_room_that_greets()));
    });
    let heard = told.recv_timeout(Duration::from_secs(20)).expect("nothing is blocked");
    assert!(heard[0].starts_with("2[\"welcome\","), "{heard:?}");
    assert!(heard[1].starts_with("0{\"sid\":"), "{heard:?}");
}

/// What a client hears that comes back to a room in which everybody is greeted who joins.
async fn comes_back_to_a_room_that_greets() -> [String; 2] {
    let io = Server::builder().connection_state_recovery(Recovery::default()).build();
    let greeter = io.clone();
    io.on_room_event(move |event: &RoomEvent| {
        if let RoomEvent::Join { room, id } = event
            && room != id
        {
            greeter.to(room).emit("welcome", ()).unwrap();
        }
    });
    let mut client = Polling::open(&io).await;
    client.send(&["0"]).await;
    let greeting: serde_json::Value = serde_json::from_str(&client.next().await[1..]).unwrap();
    io.local_sockets().pop().unwrap().join("red");
    let (_, offset): (String, String) = serde_json::from_str(&client.next().await[1..]).unwrap();
    assert_eq!(client.request("1").await.0, 200);

    let mut client = Polling::open(&io).await;
    let back = serde_json::json!({ "pid": greeting["pid"], "offset": offset });
    client.send(&[&format!("0{back}")]).await;
    [client.next().await, client.next().await]
}
