//! Sending to many: who hears it, operators as values, and what acts on many sockets at once.

use std::time::Duration;

use bytes::Bytes;
use socketio_server::testing::TestClient;
use socketio_server::{DisconnectReason, Server};

use crate::{Log, settle, socket_of, sorted};

const SECOND: Duration = Duration::from_secs(1);

/// A server and three clients: of no room, of `red`, and of `red` and `green`.
async fn three() -> (Server, [TestClient; 3]) {
    let io = Server::new();
    let clients = [TestClient::connect(&io).await, TestClient::connect(&io).await, TestClient::connect(&io).await];
    socket_of(&io, &clients[1]).join("red");
    socket_of(&io, &clients[2]).join(["red", "green"]);
    (io, clients)
}

/// Which of the clients have heard an event, and how many times.
async fn heard(clients: &mut [TestClient; 3], event: &str) -> [usize; 3] {
    settle().await;
    let mut times = [0; 3];
    for (client, times) in clients.iter_mut().zip(&mut times) {
        while let Some(event_heard) = client.next_event(Duration::from_millis(10)).await {
            assert_eq!(event_heard.name(), event);
            *times += 1;
        }
    }
    times
}

#[tokio::test(start_paused = true)]
async fn each_socket_hears_it_once_however_it_is_chosen() {
    let (io, mut clients) = three().await;
    let third = clients[2].id().to_owned();
    let first = socket_of(&io, &clients[0]);
    for (name, operator, expected) in [
        ("all", io.everyone(), [1, 1, 1]),
        ("a room", io.to("red"), [0, 1, 1]),
        ("two rooms", io.to("red").to("green"), [0, 1, 1]),
        ("two rooms at once", io.within(["green", "red"]), [0, 1, 1]),
        ("a room and a socket in it", io.to(["red", &third]), [0, 1, 1]),
        ("all but a socket", io.except(&third), [1, 1, 0]),
        ("all but a room", io.except("red"), [1, 0, 0]),
        ("a room but a room", io.to("red").except("green"), [0, 1, 0]),
        ("a room but a socket", io.to("red").except(&third), [0, 1, 0]),
        ("the others", first.broadcast(), [0, 1, 1]),
        ("the others of a room", first.to("red"), [0, 1, 1]),
        ("the others but a room", first.except("green"), [0, 1, 0]),
        ("nobody's room", io.to("blue"), [0, 0, 0]),
    ] {
        operator.emit(name, ()).unwrap();
        assert_eq!(heard(&mut clients, name).await, expected, "{name}");
        operator.emit(name, Bytes::from_static(b"binary")).unwrap();
        assert_eq!(heard(&mut clients, name).await, expected, "{name}, binary");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_a_value_that_the_next_one_leaves_as_it_was() {
    let (io, mut clients) = three().await;
    let red = io.to("red");
    let _narrower = red.except("green").local().volatile().compress(false).timeout(SECOND);
    let _wider = red.to("blue").to(clients[0].id());
    red.emit("red", ()).unwrap();
    assert_eq!(heard(&mut clients, "red").await, [0, 1, 1]);
    let socket = socket_of(&io, &clients[0]);
    let others = socket.to("green");
    let _wider = others.to("red");
    others.emit("green", ()).unwrap();
    assert_eq!(heard(&mut clients, "green").await, [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn namespaces_do_not_hear_each_other_though_their_rooms_have_one_name() {
    let io = Server::new();
    let mut ana = TestClient::connect(&io).await;
    io.of("/chat");
    let mut chat = ana.enter("/chat", ()).await.unwrap();
    socket_of(&io, &ana).join("room");
    io.of("/chat").local_socket(chat.id()).unwrap().join("room");
    io.of("/chat").to("room").emit("chat", Bytes::from_static(b"1")).unwrap();
    io.to("room").emit("main", 1).unwrap();
    assert_eq!(chat.expect::<Bytes>("chat").await, "1");
    assert_eq!(ana.expect::<i32>("main").await, 1);
    assert!(ana.next_event(SECOND).await.is_none() && chat.next_event(SECOND).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn rooms_are_there_while_somebody_is_in_them() {
    let io = Server::new();
    let (ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    let rooms = async || {
        let all = io.rooms().await.unwrap().complete().unwrap();
        sorted(all.into_iter().filter(|room| room.len() < 20))
    };
    let (first, second) = (socket_of(&io, &ana), socket_of(&io, &bob));
    first.join(["a", "b", "c"]);
    first.join("a");
    second.join("a");
    assert_eq!(sorted(first.rooms().iter().map(ToString::to_string)).len(), 4, "its own id is one of them");
    assert_eq!(rooms().await, ["a", "b", "c"]);
    first.leave("b");
    first.leave("b");
    assert_eq!(rooms().await, ["a", "c"]);
    first.leave_all();
    assert_eq!((rooms().await, first.rooms().len()), (vec!["a".to_owned()], 1), "its own id stays");
    bob.disconnect();
    settle().await;
    assert!(rooms().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn all_sockets_or_those_of_a_room_join_leave_and_are_disconnected() {
    let (io, mut clients) = three().await;
    let log = Log::default();
    let ended = log.clone();
    io.on_disconnect(async move |_, reason: DisconnectReason| ended.note(reason.as_str()));
    let sizes = async |room: &str| io.to(room).fetch_sockets().await.unwrap().complete().unwrap().len();
    io.sockets_join("all").unwrap();
    io.to("red").sockets_join(["r1", "r2"]).unwrap();
    assert_eq!((sizes("all").await, sizes("r1").await, sizes("r2").await), (3, 2, 2));
    io.to("green").sockets_leave("r1").unwrap();
    io.sockets_leave(["all", "r2"]).unwrap();
    assert_eq!((sizes("all").await, sizes("r1").await, sizes("r2").await), (0, 1, 0));

    io.emit("last words", ()).unwrap();
    io.to("green").disconnect_sockets(false).unwrap();
    clients[2].expect::<()>("last words").await;
    assert_eq!(clients[2].disconnected().await, "io server disconnect");
    assert_eq!(io.local_count(), 2);
    io.disconnect_sockets(true).unwrap();
    for client in &mut clients[..2] {
        client.expect::<()>("last words").await;
        assert_eq!(client.disconnected().await, "io server disconnect");
    }
    settle().await;
    assert_eq!(log.taken(), ["server namespace disconnect"; 3]);
    assert_eq!(io.local_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_to_many_ends_with_all_answers_or_at_its_time_with_those_that_came() {
    let (io, mut clients) = three().await;
    let asking = tokio::spawn(io.to("red").timeout(SECOND).emit_with_ack::<Bytes>("ask", 7).into_future());
    for client in &mut clients[1..] {
        let question = client.expect_event("ask").await;
        assert_eq!(question.args::<i32>(), 7);
        question.answer(Bytes::from_static(b"ok"));
    }
    let acks = asking.await.unwrap().unwrap();
    assert_eq!(acks.complete().unwrap(), [Bytes::from_static(b"ok"), Bytes::from_static(b"ok")]);

    let start = tokio::time::Instant::now();
    let asking = tokio::spawn(io.timeout(SECOND).emit_with_ack::<i32>("ask", ()).into_future());
    clients[0].expect_event("ask").await.answer(1);
    let acks = asking.await.unwrap().unwrap();
    assert_eq!((&acks.answers[..], acks.missing, start.elapsed() >= SECOND), (&[1][..], 2, true));
    assert_eq!(acks.complete().unwrap_err().to_string(), "operation has timed out");

    let nobody = io.to("blue").timeout(SECOND).emit_with_ack::<i32>("ask", ()).await.unwrap();
    assert!(nobody.is_complete() && nobody.answers.is_empty());
}
