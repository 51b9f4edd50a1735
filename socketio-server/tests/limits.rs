//! Every limit, over a real socket: what becomes of the client that goes past it, and that no other feels it.
//!
//! `docs/limits.md` is the table of them; it names the tests here.

mod wire;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use socketio_server::{
    Ack, Data, DisconnectReason, EmitError, Event, HandlerError, JoinError, Limits, Parser, Server, Socket, Value,
};
use wire::{Http, NO_CODE, Running, WebSocket};

/// A server that echoes, and what it says about those who have left.
async fn running(limits: Limits) -> (Server, Running) {
    let io = Server::builder().limits(limits).build();
    (io.clone(), Running::start(io).await)
}

fn ends(io: &Server) -> Arc<Mutex<Vec<&'static str>>> {
    let ends: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let log = ends.clone();
    io.on_disconnect(async move |_: Socket, reason: DisconnectReason| log.lock().unwrap().push(reason.as_str()));
    ends
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// ---- what comes over a transport ------------------------------------------------------------------------------

#[tokio::test]
async fn each_transport_has_a_longest_payload_of_its_own() {
    let limits = Limits { max_polling_body: Some(2_000), max_websocket_message: Some(500), ..Limits::default() };
    let (io, server) = running(limits).await;
    io.on("echo", async |event: Event| event.args());
    io.on("much", async |socket: Socket| (0..10).try_for_each(|n| socket.emit("n", (n, "x".repeat(600))).map(drop)));

    let polling = Http::session(server.addr).await;
    assert_eq!(polling.open["maxPayload"], 2_000, "clients are told");
    polling.send("40").await;
    polling.poll().await;
    polling.send("42[\"much\"]").await;
    let sizes = [polling.poll().await.len(), polling.poll().await.len()];
    assert!(sizes.iter().all(|size| (600..=2_000).contains(size)), "answers are cut: {sizes:?}");
    assert_eq!(polling.post(&"3".repeat(2_001)).await.0, 413);
    assert_eq!(polling.get().await.0, 400, "the session is gone");

    let polling = Http::session(server.addr).await;
    assert_eq!(polling.post_in_chunks(&["4x".repeat(600), "y".repeat(900)]).await.0, 413, "no length was announced");

    let mut fits = WebSocket::joined(server.addr).await;
    let text = format!("421[\"echo\",\"{}\"]", "x".repeat(486));
    assert_eq!(text.len(), 500);
    fits.send(&text).await;
    assert!(fits.next().await.starts_with("431["));
    fits.send(&format!("{text} ")).await;
    assert_eq!(fits.ended().await, 1009);
}

#[tokio::test]
async fn pings_come_each_interval_however_long_a_pong_may_take() {
    let io = Server::builder().ping_interval(Duration::from_millis(50)).ping_timeout(Duration::from_secs(20)).build();
    let server = Running::start(io).await;
    let mut client = WebSocket::joined(server.addr).await;
    for _ in 0..4 {
        assert_eq!(client.next().await, "2"); // It fails if nothing comes within 5 s.
        client.send("3").await;
    }
}

#[tokio::test]
async fn a_payload_of_too_many_packets_ends_its_session() {
    let (_, server) = running(Limits { max_packets_per_payload: 10, ..Limits::default() }).await;
    let polling = Http::session(server.addr).await;
    assert_eq!(polling.post(&["3"; 10].join("\x1e")).await.0, 200);
    polling.post(&["3"; 11].join("\x1e")).await;
    assert_eq!(polling.get().await.0, 400);
}

#[tokio::test]
async fn a_message_of_too_many_frames_is_closed_with_1009() {
    let (io, server) = running(Limits { max_fragments: 4, ..Limits::default() }).await;
    io.on("hi", async || "hi");
    let mut client = WebSocket::joined(server.addr).await;
    client.send_in_frames("421[\"hi\"]", 4).await;
    assert_eq!(client.next().await, "431[\"hi\"]");
    client.send_in_frames("421[\"hi\"]", 5).await;
    assert_eq!(client.ended().await, 1009);
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off_inside_any_http_server() {
    let limits = Limits { body_grace: Duration::from_millis(100), ..Limits::default() };
    let io = Server::builder().limits(limits).build();
    for server in [Running::start(io.clone()).await, Running::start_in_hyper(io.clone()).await] {
        let polling = Http::session(server.addr).await;
        let start = Instant::now();
        let (status, sent) = polling.trickle(1_000, Duration::from_millis(20)).await;
        assert_eq!(status, 408, "after {sent} bytes");
        assert!(start.elapsed() < Duration::from_secs(2));
        assert_eq!(polling.get().await.0, 400, "its session is gone");
    }
}

// ---- packets --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_packet_has_so_many_attachments_bytes_and_arguments() {
    let limits = Limits { max_attachments: 2, max_packet_bytes: 2_000, max_args: 3, ..Limits::default() };
    let (io, server) = running(limits).await;
    let ends = ends(&io);
    io.on("bin", async |event: Event| event.args().attachments().len());
    let places = |n: usize| (0..n).map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}")).collect::<String>();
    let with = |n: usize| format!("45{n}-1[\"bin\"{}]", places(n));
    for (text, attachments, allowed) in [
        (with(2), vec![10, 10], true),
        (with(3), vec![], false),
        (with(2), vec![1_000, 850], true),
        (with(2), vec![1_000, 1_000], false),
        ("421[\"bin\",1,2,[3,4,5]]".into(), vec![], true),
        ("421[\"bin\",1,2,3,4]".into(), vec![], false),
    ] {
        let mut client = WebSocket::joined(server.addr).await;
        client.send(&text).await;
        for len in &attachments {
            client.send_binary(&vec![7; *len]).await;
        }
        match allowed {
            true => assert_eq!(client.next().await, format!("431[{}]", attachments.len()), "{text}"),
            false => assert_eq!(client.ended().await, NO_CODE, "{text}"),
        }
    }
    until("three are gone", || ends.lock().unwrap().iter().filter(|end| **end == "forced close").count() == 3).await;
}

#[tokio::test]
async fn attachments_come_in_time_or_the_client_is_closed() {
    let limits = Limits { attachments_timeout: Duration::from_millis(500), ..Limits::default() };
    let (io, server) = running(limits).await;
    io.on("bin", async |Data(data): Data<Bytes>| data.len());
    let event = r#"451-1["bin",{"_placeholder":true,"num":0}]"#;
    let mut prompt = WebSocket::joined(server.addr).await;
    let mut late = WebSocket::joined(server.addr).await;
    late.send(event).await;
    for _ in 0..10 {
        // One event after the other is under way, for longer than the limit, and none of them for long.
        prompt.send(event).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        prompt.send_binary(b"abc").await;
        assert_eq!(prompt.next().await, "431[3]");
    }
    assert_eq!(late.ended().await, NO_CODE);
    until("the prompt one is alone", || io.local_count() == 1).await;
    prompt.send(event).await;
    prompt.send_binary(b"abc").await;
    assert_eq!(prompt.next().await, "431[3]");
}

#[tokio::test]
async fn json_and_msgpack_are_128_levels_deep_at_most_both_ways() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let io = Server::new();
    io.on("deep", async |event: Event, ack: Ack| ack.send(event.args()));
    io.on("give", async |socket: Socket, Data(depth): Data<usize>| {
        let mut value = Value::from(1);
        for _ in 0..depth {
            value = Value::Array(vec![value]);
        }
        match socket.emit("given", (value,)) {
            Ok(_) => "given".to_owned(),
            Err(error) => error.to_string(),
        }
    });
    let server = Running::start(io.clone()).await;
    let mut client = WebSocket::joined(server.addr).await;
    client.send(&format!("421[\"deep\",{}]", nested(127))).await;
    assert_eq!(client.next().await, format!("431[{}]", nested(127)));
    client.send("422[\"give\",127]").await;
    assert!(client.next().await.starts_with("42[\"given\",[["));
    assert_eq!(client.next().await, "432[\"given\"]");
    client.send("423[\"give\",128]").await;
    assert_eq!(client.next().await, "433[\"arguments are nested deeper than 128 levels\"]");
    client.send(&format!("424[\"deep\",{}]", nested(128))).await;
    assert_eq!(client.ended().await, NO_CODE);

    let io = Server::builder().parser(Parser::MsgPack).build();
    io.on("deep", async || "heard");
    let server = Running::start(io).await;
    for (depth, allowed) in [(126, true), (128, false), (200_000, false)] {
        let mut client = WebSocket::open(server.addr).await;
        client.send_binary(b"\x82\xa4type\x00\xa3nsp\xa1/").await;
        client.next_binary().await;
        let mut packet = b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x01\xa4data\x92\xa4deep".to_vec();
        packet.extend(vec![0x91; depth]);
        packet.push(1);
        client.send_binary(&packet).await;
        match allowed {
            true => assert!(client.next_binary().await.windows(5).any(|part| part == b"heard")),
            false => assert_eq!(client.ended().await, NO_CODE, "{depth} levels"),
        }
    }
}

// ---- namespaces and handlers ----------------------------------------------------------------------------------

#[tokio::test]
async fn a_client_that_enters_no_namespace_in_time_is_closed() {
    let (io, server) = running(Limits { connect_timeout: Duration::from_millis(150), ..Limits::default() }).await;
    io.of("/slow").middleware(async |_| std::future::pending().await);
    let mut joined = WebSocket::joined(server.addr).await;
    let mut idle = WebSocket::open(server.addr).await;
    let mut undecided = WebSocket::open(server.addr).await;
    undecided.send("40/slow,").await;
    assert_eq!(idle.ended().await, NO_CODE);
    assert_eq!(undecided.ended().await, NO_CODE);
    tokio::time::sleep(Duration::from_millis(100)).await;
    joined.send("41").await;
    until("it has left", || io.local_count() == 0).await;
    joined.send("40").await;
    assert!(joined.next().await.starts_with("40{"), "who was in a namespace once may take its time");
}

#[tokio::test]
async fn a_client_is_in_so_many_namespaces_and_asks_for_so_many_others() {
    let limits = Limits { max_namespaces_per_connection: 3, max_refused_namespaces: 4, ..Limits::default() };
    let (io, server) = running(limits).await;
    io.of_matching(|name| name.starts_with("/board-"));
    let long = format!("/board-{}", "x".repeat(249));
    assert_eq!(long.len(), 256);
    let mut client = WebSocket::joined(server.addr).await;
    for (name, refusal) in [
        ("/board-1", None),
        ("/unknown", Some("Invalid namespace")),
        (long.as_str(), Some("Invalid namespace")),
        ("/board-2", None),
        ("/board-3", Some("Too many namespaces")),
        ("/unknown", Some("Too many namespaces")),
    ] {
        client.send(&format!("40{name},")).await;
        match refusal {
            Some(message) => {
                assert_eq!(client.next().await, format!("44{name},{{\"message\":\"{message}\"}}"));
            }
            None => assert!(client.next().await.starts_with(&format!("40{name},{{"))),
        }
    }
    client.send("40/unknown,").await;
    assert!(client.next().await.starts_with("44/unknown,"), "told,");
    assert_eq!(client.ended().await, NO_CODE, "and closed");
}

#[tokio::test]
async fn a_hundred_connects_for_one_namespace_make_one_socket() {
    let (io, server) = running(Limits::default()).await;
    let connected = Arc::new(Mutex::new(0));
    let count = connected.clone();
    io.on_connection(async move |_: Socket| *count.lock().unwrap() += 1);
    io.of("/slow").middleware(async |_| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    });
    let polling = Http::session(server.addr).await;
    assert_eq!(polling.post(&["40", "40/slow,"].repeat(100).join("\x1e")).await.0, 200);
    assert!(polling.poll().await.starts_with("40{"));
    assert!(polling.poll().await.starts_with("40/slow,{"));
    assert_eq!((*connected.lock().unwrap(), io.local_count(), io.of("/slow").local_count()), (1, 1, 1));
}

#[tokio::test]
async fn packets_wait_for_a_middleware_up_to_a_number() {
    let (io, server) = running(Limits { max_waiting_packets: 2, ..Limits::default() }).await;
    io.of("/slow").middleware(async |_| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    });
    io.of("/slow").on("n", async |Data(n): Data<i32>| n);
    let mut client = WebSocket::open(server.addr).await;
    client.send("40/slow,").await;
    client.send("42/slow,1[\"n\",1]").await;
    client.send("42/slow,2[\"n\",2]").await;
    assert!(client.next().await.starts_with("40/slow,{"));
    assert_eq!([client.next().await, client.next().await], ["43/slow,1[1]", "43/slow,2[2]"]);
    let mut client = WebSocket::open(server.addr).await;
    client.send("40/slow,").await;
    for _ in 0..3 {
        client.send("42/slow,[\"n\",1]").await;
    }
    assert_eq!(client.ended().await, NO_CODE);
}

#[tokio::test]
async fn a_client_whose_handlers_wait_is_not_read_and_loses_nothing() {
    let (io, server) = running(Limits { max_waiting_handlers: 3, ..Limits::default() }).await;
    let at_work = Arc::new(Mutex::new((0, 0)));
    io.on("work", async move |Data(n): Data<usize>| {
        {
            let mut at_work = at_work.lock().unwrap();
            at_work.0 += 1;
            at_work.1 = at_work.0.max(at_work.1);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut at_work = at_work.lock().unwrap();
        at_work.0 -= 1;
        (n, at_work.1)
    });
    let mut client = WebSocket::joined(server.addr).await;
    for n in 0..20 {
        client.send(&format!("42{n}[\"work\",{n}]")).await;
    }
    for _ in 0..20 {
        let answer = client.next().await;
        let (n, most): (usize, usize) = serde_json::from_str(answer.split_once("[").unwrap().1.trim_end_matches(']'))
            .or_else(|_| serde_json::from_str(&answer[answer.find("[[").unwrap() + 1..answer.len() - 1]))
            .unwrap();
        assert!(n < 20 && most <= 3, "{answer}");
    }
}

// ---- rooms ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_socket_joins_so_many_rooms_with_names_of_such_a_length() {
    let (io, server) = running(Limits { max_rooms_per_socket: 3, max_room_name: 8, ..Limits::default() }).await;
    let errors: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = errors.clone();
    io.on_error(move |HandlerError { event, kind, .. }| log.lock().unwrap().push(format!("{event}: {kind}")));
    io.on("join", async |socket: Socket, Data(rooms): Data<Vec<String>>| {
        let joined = match socket.try_join(rooms) {
            Ok(()) => "joined".to_owned(),
            Err(error @ (JoinError::TooManyRooms { .. } | JoinError::NameTooLong { .. })) => error.to_string(),
            Err(_) => "otherwise".to_owned(),
        };
        (joined, socket.rooms().len() - 1)
    });
    io.on("join anyway", async |socket: Socket| {
        socket.join("a fourth");
        "done"
    });
    let all = io.clone();
    io.on("all join", async move || all.sockets_join("fifth").map(|_| "ordered"));
    let mut client = WebSocket::joined(server.addr).await;
    for (rooms, answer) in [
        (json!(["a", "b"]), json!(["joined", 2])),
        (json!(["123456789"]), json!(["the name of the room has 9 bytes, more than the 8 allowed", 2])),
        (json!(["c", "d"]), json!(["the socket is in 3 rooms already, the most that are allowed", 3])),
        (json!(["a", "c"]), json!(["joined", 3])),
    ] {
        client.send(&format!("421[\"join\",{rooms}]")).await;
        assert_eq!(client.next().await, format!("431[{answer}]"), "{rooms}");
    }
    client.send("422[\"join anyway\"]").await;
    assert_eq!(client.next().await, "432[\"done\"]");
    assert_eq!(
        *errors.lock().unwrap(),
        ["join: the socket is in 3 rooms already, the most that are allowed"],
        "the hook hears of it"
    );
    client.send("423[\"all join\"]").await;
    assert_eq!(client.next().await, "433[\"ordered\"]");
    assert!(!io.adapter().local().has_room("fifth"), "an order is no way around it");
}

// ---- what leaves ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn so_many_questions_wait_for_a_sockets_answers_and_each_for_so_long() {
    let limits = Limits { max_pending_acks: 3, ack_timeout: Duration::from_millis(100), ..Limits::default() };
    let (io, server) = running(limits).await;
    io.on("ask", async |socket: Socket| {
        let ask = || socket.emit_with_ack::<i32>("question", ());
        let waiting: Vec<_> = (0..3).map(|_| ask()).collect();
        let one_too_many = ask().await.unwrap_err().to_string();
        let mut timeouts = 0;
        for question in waiting {
            timeouts += i32::from(question.await.is_err_and(|error| error.to_string() == "operation has timed out"));
        }
        (one_too_many, timeouts, ask().await.is_err_and(|error| error.to_string() == "operation has timed out"))
    });
    let mut client = WebSocket::joined(server.addr).await;
    client.send("421[\"ask\"]").await;
    for _ in 0..4 {
        assert!(client.next().await.ends_with("[\"question\"]"));
    }
    let expected = "3 questions wait for the socket's answers already, the most that are allowed";
    assert_eq!(client.next().await, format!("431[[\"{expected}\",3,true]]"));
}

#[tokio::test]
async fn a_client_that_leaves_too_much_unread_is_closed_as_a_slow_consumer() {
    for limits in [
        Limits { max_queued_bytes: 1 << 20, ..Limits::default() },
        Limits { max_queued_packets: 100, ..Limits::default() },
    ] {
        let (io, server) = running(limits).await;
        let ends = ends(&io);
        io.on("hi", async || "hi");
        let _slow = WebSocket::joined_small(server.addr).await;
        let slow = io.local_sockets().pop().unwrap();
        let mut healthy = WebSocket::joined(server.addr).await;
        let text = "x".repeat(50_000);
        let mut sent = 0;
        let error = loop {
            match slow.emit("news", &text) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 2_000, "100 MB for a client that reads nothing");
            tokio::task::yield_now().await;
        };
        assert!(matches!(error, EmitError::Full), "{error}");
        until("it is closed", || *ends.lock().unwrap() == ["slow consumer"]).await;
        healthy.send("421[\"hi\"]").await;
        assert_eq!(healthy.next().await, "431[\"hi\"]");
    }
}

/// Of 100 clients 20 stop reading while all are sent 4,000 messages of 1 KiB. Says how many bytes waited at most.
async fn with_slow_clients(io: &Server, server: &Running, emit: impl Fn(u64, &str)) -> u64 {
    const MESSAGES: u64 = 4_000;
    const AT_ONCE: u64 = 50;
    for _ in 0..20 {
        let slow = WebSocket::joined_small(server.addr).await;
        tokio::spawn(async move {
            let _slow = slow; // It is there, and reads nothing.
            std::future::pending::<()>().await
        });
    }
    let (report, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..80 {
        let (mut healthy, report) = (WebSocket::joined(server.addr).await, report.clone());
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                assert!(healthy.next().await.starts_with(&format!("42[\"news\",{number},")), "in order, none missing");
                if (number + 1) % AT_ONCE == 0 {
                    report.send(number).unwrap();
                }
            }
            std::future::pending::<()>().await
        });
    }
    let (text, mut most) = ("x".repeat(1_000), 0);
    for number in 0..MESSAGES {
        emit(number, &text);
        if (number + 1) % AT_ONCE == 0 {
            for _ in 0..80 {
                let soon = tokio::time::timeout(Duration::from_secs(5), heard.recv());
                soon.await.expect("who reads hears").expect("no client fails");
            }
            most = most.max(io.stats().queued_bytes);
        }
    }
    most
}

#[tokio::test]
async fn slow_clients_among_others_hold_bounded_memory_and_are_closed() {
    const BOUND: usize = 256 << 10;
    let (io, server) = running(Limits { max_queued_bytes: BOUND, ..Limits::default() }).await;
    let most = with_slow_clients(&io, &server, |number, text| drop(io.emit("news", (number, text)).unwrap())).await;
    assert!((1..=20 * BOUND as u64).contains(&most), "{most} bytes waited");
    let stats = io.stats();
    assert_eq!(stats.closed.iter().find(|(reason, _)| *reason == "slow consumer"), Some(&("slow consumer", 20)));
    assert_eq!(
        (stats.sockets, stats.queued_bytes),
        (80, 0),
        "the others are there, and nothing is left of the slow ones"
    );
}

#[tokio::test]
async fn slow_clients_among_others_miss_what_is_volatile_and_stay() {
    const BOUND: usize = 256 << 10;
    let (io, server) = running(Limits { max_volatile_bytes: BOUND, ..Limits::default() }).await;
    let emit = |number, text: &str| drop(io.volatile().emit("news", (number, text)).unwrap());
    let most = with_slow_clients(&io, &server, emit).await;
    assert!((1..=20 * (BOUND + 2_000) as u64).contains(&most), "{most} bytes waited");
    let stats = io.stats();
    assert!(
        stats.volatile_dropped > 0 && stats.sockets == 100,
        "{} dropped, {} there",
        stats.volatile_dropped,
        stats.sockets
    );
}

#[tokio::test]
async fn volatile_packets_are_dropped_with_so_many_bytes_waiting_and_others_are_not() {
    let (io, server) = running(Limits { max_volatile_bytes: 1 << 20, ..Limits::default() }).await;
    let mut client = WebSocket::joined_small(server.addr).await;
    let socket = io.local_sockets().pop().unwrap();
    let text = "x".repeat(10_000);
    for n in 0..2_000 {
        socket.volatile().emit("perhaps", (n, &text)).unwrap();
    }
    assert!(socket.conn().queued_bytes() <= (1 << 20) + 20_000, "{}", socket.conn().queued_bytes());
    socket.emit("surely", ()).unwrap();
    let mut came = 0;
    while client.next().await != "42[\"surely\"]" {
        came += 1;
    }
    assert!((100..2_000).contains(&came), "{came} came");
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_some_time_is_closed_and_a_slow_one_is_not() {
    let (io, server) = running(Limits { write_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    let ends = ends(&io);
    let frozen = WebSocket::joined_small(server.addr).await;
    let mut slow = WebSocket::joined_small(server.addr).await;
    let text = "x".repeat(100_000);
    for _ in 0..100 {
        io.emit("news", &text).unwrap();
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_500) {
        slow.read_some().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(*ends.lock().unwrap(), ["slow consumer"], "the frozen one");
    assert_eq!(io.local_count(), 1);
    assert!(io.local_sockets()[0].conn().queued_bytes() > 0, "the other is not done either");
    drop(frozen);
    drop(slow);
}
