//! Answers of clients: whose they are, who is missing, and that nothing is left of a wait. Rooms, and who hears of them.

use super::*;
use crate::{AckError, Fields, Limits, RoomEvent};

/// Answers the next question of the server with the JSON list `answer`.
async fn answer(client: &mut Polling<'_>, answer: &str) {
    let question = client.next().await;
    let (id, _) = question.strip_prefix('2').unwrap().split_once('[').unwrap();
    client.send(&[&format!("3{id}{answer}")]).await;
}

#[tokio::test]
async fn answers_come_with_their_sockets_and_those_that_are_missing_come_last() {
    let io = Server::new();
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        clients.push(Polling::connect(&io).await);
        let known = |socket: &Socket| ids.contains(socket.id());
        let new = io.local_sockets().into_iter().find(|socket| !known(socket)).unwrap();
        ids.push(new.id().clone());
    }
    let mut answers = io.timeout(Duration::from_millis(300)).emit_with_ack::<(u32, String)>("ask", ());
    answer(&mut clients[0], r#"[1,"one"]"#).await;
    let first = answers.next().await.unwrap();
    assert_eq!((first.id, first.value.unwrap()), (Some(ids[0].clone()), (1, "one".to_owned())));
    answer(&mut clients[1], r#"["no number"]"#).await;
    let second = answers.next().await.unwrap();
    assert_eq!(second.id, Some(ids[1].clone()));
    assert!(matches!(second.value, Err(AckError::Decode(_))));
    assert_eq!(clients[2].request("1").await.0, 200);
    let third = answers.next().await.unwrap();
    assert_eq!(third.id, Some(ids[2].clone()));
    assert!(matches!(third.value, Err(AckError::Disconnected)));
    let fourth = answers.next().await.unwrap();
    assert_eq!(fourth.id, Some(ids[3].clone()));
    assert!(matches!(fourth.value, Err(AckError::Timeout)));
    assert!(answers.next().await.is_none());
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn the_answers_as_one_value_say_how_many_and_who_is_missing() {
    let io = Server::new();
    let (mut quick, _silent) = (Polling::connect(&io).await, Polling::connect(&io).await);
    let quick_id = io.local_sockets();
    let acks = io.timeout(Duration::from_millis(100)).emit_with_ack::<u32>("ask", ());
    answer(&mut quick, "[5,6]").await;
    let acks = acks.await.unwrap();
    assert_eq!((&acks.answers[..], acks.asked, acks.missing, acks.missing_ids.len()), (&[5][..], 2, 1, 1));
    assert!(quick_id.iter().any(|socket| *socket.id() == acks.missing_ids[0]));
    assert_eq!(acks.complete().unwrap_err().to_string(), "operation has timed out");
    let none = io.to("nobody").emit_with_ack::<u32>("ask", ()).await.unwrap();
    assert!(none.is_complete() && none.asked == 0);
}

#[tokio::test]
async fn nothing_is_left_of_a_wait_when_the_time_is_over_or_the_client_gone() {
    let io = Server::new();
    let client = Polling::connect(&io).await;
    let socket = io.local_sockets().pop().unwrap();
    let table = io.adapter().local().acks().clone();
    let late = socket.timeout(Duration::from_millis(20)).emit_with_ack::<u32>("ask", ());
    let dropped = socket.emit_with_ack::<u32>("ask", ());
    let broadcast = io.timeout(Duration::from_millis(20)).emit_with_ack::<u32>("ask", ());
    assert!(socket.waits_for_answers());
    assert_eq!(table.len(), 1);
    drop(dropped);
    assert!(matches!(late.await, Err(AckError::Timeout)));
    assert_eq!(broadcast.await.unwrap().missing, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!socket.waits_for_answers());
    assert_eq!(table.len(), 0);
    client.send(&["30[1]", "31[1]", "399[1]"]).await; // Too late, and never asked.

    let unanswered = socket.emit_with_ack::<u32>("ask", ());
    let mut all = io.emit_with_ack::<u32>("ask", ());
    let member = Arc::downgrade(socket.member());
    drop(socket);
    assert_eq!(client.request("1").await.0, 200);
    assert!(matches!(unanswered.await, Err(AckError::Disconnected)));
    assert!(matches!(all.next().await.unwrap().value, Err(AckError::Disconnected)));
    assert!(all.next().await.is_none());
    drop(all);
    drop(client);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(table.len(), 0);
    assert!(member.upgrade().is_none(), "the socket itself is gone");
}

#[tokio::test]
async fn a_question_of_a_middleware_that_refuses_is_not_waited_for() {
    let io = Server::builder().ack_timeout(Duration::from_millis(100)).build();
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    io.middleware(async move |socket: Socket| {
        let _ = asked.send(socket.emit_with_ack::<u32>("ask", ()));
        Err(ConnectError::new("no"))
    });
    let client = Polling::open(&io).await;
    client.send(&["0"]).await;
    let question = questions.recv().await.unwrap();
    assert!(matches!(question.await, Err(AckError::Disconnected)));
}

#[tokio::test]
async fn the_longest_of_all_times_stands_for_one_without_end() {
    let (connect_timeout, attachments_timeout, ack_timeout) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let limits = Limits { connect_timeout, attachments_timeout, ack_timeout, ..Limits::default() };
    let io = Server::builder().limits(limits).build();
    io.on("echo", async |Data(n): Data<i32>| n);
    let mut client = Polling::connect(&io).await;
    let one = io.local_sockets().pop().unwrap().emit_with_ack::<u32>("ask", ());
    answer(&mut client, "[1]").await;
    assert_eq!(one.await.unwrap(), 1);
    let all = io.timeout(Duration::MAX).emit_with_ack::<u32>("ask", ());
    answer(&mut client, "[2]").await;
    assert_eq!(all.await.unwrap().answers, [2]);
    // An attachment may take its time.
    let half = r#"451-1["file",{"_placeholder":true,"num":0}]"#;
    assert_eq!(client.request(half).await, (200, "ok".into()));
    assert_eq!(client.request("bAQ==\u{1e}42[\"x\"]\u{1e}421[\"echo\",5]").await, (200, "ok".into()));
    assert_eq!(client.next().await, "31[5]");
    Server::new().drain(Duration::MAX).await;
}

#[tokio::test]
async fn who_comes_to_a_room_and_who_leaves_is_told_in_the_references_order() {
    let io = Server::new();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = told.clone();
    io.on_room_event(move |event: &RoomEvent| {
        log.lock().unwrap().push(match event {
            RoomEvent::Create { room } => format!("create {room}"),
            RoomEvent::Join { room, id } => format!("{id} joins {room}"),
            RoomEvent::Leave { room, id } => format!("{id} leaves {room}"),
            RoomEvent::Delete { room } => format!("delete {room}"),
        });
    });
    io.on_room_event(|_| panic!("its own fault"));
    let taken = |id: &str, name: &str| -> Vec<String> {
        std::mem::take(&mut *told.lock().unwrap()).iter().map(|line| line.replace(id, name)).collect()
    };
    let _ana = Polling::connect(&io).await;
    let ana = io.local_sockets().pop().unwrap();
    assert_eq!(taken(ana.id(), "ana"), ["create ana", "ana joins ana"]);
    ana.join(["red", "red"]);
    assert_eq!(taken(ana.id(), "ana"), ["create red", "ana joins red"]);
    io.sockets_join("blue").unwrap().await.unwrap();
    ana.leave("blue");
    assert_eq!(taken(ana.id(), "ana"), ["create blue", "ana joins blue", "ana leaves blue", "delete blue"]);
    ana.leave("blue");
    assert!(taken(ana.id(), "ana").is_empty());
    ana.disconnect(false);
    assert_eq!(taken(ana.id(), "ana"), ["ana leaves ana", "delete ana", "ana leaves red", "delete red"]);
}

#[tokio::test]
async fn sockets_are_counted_described_and_changed() {
    let io = Server::new();
    let _clients = (Polling::connect(&io).await, Polling::connect(&io).await);
    let sockets = io.local_sockets();
    sockets[0].join(["red", "blue"]);
    sockets[1].join("red");
    assert_eq!(io.count().await.unwrap().total(), 2);
    assert_eq!(io.except("blue").count().await.unwrap().received, [1]);
    assert_eq!(io.to(Vec::<String>::new()).count().await.unwrap().total(), 0);
    let mut sizes = io.room_sizes().await.unwrap().complete().unwrap();
    sizes.sort();
    assert_eq!(sizes, [("blue".to_owned(), 1), ("red".into(), 2)]);
    let mut sizes = io.except("blue").room_sizes().await.unwrap().complete().unwrap();
    sizes.sort();
    assert_eq!(sizes, [("red".to_owned(), 1)]);

    io.to("red").patch_data(serde_json::json!({ "team": "red" })).unwrap().await.unwrap();
    io.to("blue").patch_data(serde_json::json!({ "captain": true })).unwrap().await.unwrap();
    let found = io.to("blue").fetch_sockets_with(Fields::NONE.data()).await.unwrap();
    assert_eq!(found[0].data::<serde_json::Value>().unwrap(), serde_json::json!({ "team": "red", "captain": true }));
    assert_eq!((found[0].rooms().len(), found[0].handshake().is_null()), (0, true));
    found[0].patch_data(serde_json::json!({ "captain": null })).unwrap().await.unwrap();
    assert_eq!(*sockets[0].data::<serde_json::Value>().unwrap(), serde_json::json!({ "team": "red" }));
    let all = io.to("blue").fetch_sockets().await.unwrap();
    assert_eq!((all[0].rooms().len(), all[0].handshake()["query"]["EIO"].as_str()), (3, Some("4")));
}
