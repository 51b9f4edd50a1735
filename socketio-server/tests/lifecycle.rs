//! How a server ends: at once, and without haste.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use socketio_server::engine::TransportKind;
use socketio_server::testing::TestClient;
use socketio_server::{Data, DisconnectReason, Server, Socket};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

const TRANSPORTS: [TransportKind; 2] = [TransportKind::WebSocket, TransportKind::Polling];

/// Gives the reasons for which sockets of `/` were disconnected, and when.
fn ends(io: &Server) -> mpsc::UnboundedReceiver<(&'static str, Instant)> {
    let (sender, ends) = mpsc::unbounded_channel();
    io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
        let _ = sender.send((reason.as_str(), Instant::now()));
    });
    ends
}

#[tokio::test(start_paused = true)]
async fn closing_disconnects_everyone_and_refuses_newcomers() {
    let io = Server::new();
    let mut ends = ends(&io);
    let mut clients = Vec::new();
    for transport in TRANSPORTS {
        clients.push(TestClient::to(&io).transport(transport).connect().await);
    }
    assert!(!io.is_draining());
    io.close().await;
    io.closed().await;
    assert!(io.is_draining());
    for client in &mut clients {
        assert_eq!(client.disconnected().await, "transport close");
        assert_eq!(ends.recv().await.unwrap().0, "server shutting down");
    }
    for transport in TRANSPORTS {
        let refused = TestClient::to(&io).transport(transport).try_connect().await.unwrap_err();
        assert_eq!((refused.status, &*refused.message), (Some(503), "Server shutting down"));
    }
}

#[tokio::test(start_paused = true)]
async fn draining_tells_flushes_staggers_and_closes() {
    let io = Server::new();
    let mut ends = ends(&io);
    io.on("ping me", async |socket: Socket| socket.emit("pong", ()).map(drop));
    let mut clients = Vec::new();
    for i in 0..100 {
        clients.push(TestClient::to(&io).transport(TRANSPORTS[i % 2]).connect().await);
    }
    io.emit("before", "x".repeat(1000)).unwrap();

    let start = Instant::now();
    let draining = tokio::spawn({
        let io = io.clone();
        async move { io.drain(Duration::from_secs(10)).notify("bye", ("soon", 10)).await }
    });
    sleep(Duration::from_millis(1)).await;
    assert!(io.is_draining());
    let refused = TestClient::to(&io).try_connect().await.unwrap_err();
    assert_eq!(refused.status, Some(503));

    for client in &mut clients {
        client.expect::<String>("before").await;
        assert_eq!(client.expect::<(String, i32)>("bye").await, ("soon".into(), 10));
        assert_eq!(client.disconnected_within(Duration::from_secs(10)).await, "transport close");
    }
    draining.await.unwrap();
    let took = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "100 clients, 50 ms each: {took:?}");

    let mut times = Vec::new();
    for _ in 0..100 {
        let (reason, at) = ends.recv().await.unwrap();
        assert_eq!(reason, "server shutting down");
        times.push(at - start);
    }
    for half_second in 0..9 {
        let from = Duration::from_millis(500) * half_second;
        let together = times.iter().filter(|at| (from..from + Duration::from_millis(500)).contains(*at)).count();
        assert!(together <= 12, "{together} end within half a second from {from:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_finish_before_their_client_is_disconnected() {
    for transport in TRANSPORTS {
        let io = Server::new();
        io.on("work", async || {
            sleep(Duration::from_secs(3)).await;
            "done"
        });
        let (worker, mut idle) =
            (TestClient::to(&io).transport(transport).connect().await, TestClient::connect(&io).await);
        let work = tokio::spawn(async move { (worker.emit_with_ack::<String>("work", ()).await, worker) });
        sleep(Duration::from_millis(100)).await;

        let start = Instant::now();
        io.drain(Duration::from_secs(10)).await;
        assert_eq!((idle.disconnected().await, &*work.await.unwrap().0), ("transport close", "done"), "{transport:?}");
        assert!((2.8..5.2).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_and_handlers_of_disconnect_may_use_it() {
    let io = Server::new();
    let saved = Arc::new(AtomicUsize::new(0));
    let count = saved.clone();
    io.on_disconnect(async move |_: Socket, _: DisconnectReason| {
        sleep(Duration::from_secs(1)).await;
        count.fetch_add(1, Ordering::Relaxed);
    });
    let _ana = TestClient::connect(&io).await;
    io.drain(Duration::from_secs(10)).await;
    assert_eq!(saved.load(Ordering::Relaxed), 1, "it was waited for");

    let io = Server::new();
    io.on("forever", async || std::future::pending::<()>().await);
    let mut bob = TestClient::connect(&io).await;
    bob.emit("forever", ());
    sleep(Duration::from_millis(10)).await;
    let start = Instant::now();
    io.drain(Duration::from_secs(10)).await;
    assert_eq!(bob.disconnected().await, "transport close");
    assert!((9.9..12.1).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn many_servers_in_one_process_do_not_meet() {
    let servers: Vec<_> = (0..5).map(|_| Server::new()).collect();
    let mut clients = Vec::new();
    for (i, io) in servers.iter().enumerate() {
        io.on("which", async move || i);
        io.on_connection(async |socket: Socket| socket.join("room"));
        clients.push(TestClient::connect(io).await);
    }
    for (i, client) in clients.iter().enumerate() {
        assert_eq!(client.emit_with_ack::<usize>("which", ()).await, i);
    }
    servers[3].to("room").emit("hello", 3).unwrap();
    servers[1].close().await;
    for (i, client) in clients.iter_mut().enumerate() {
        match i {
            1 => assert_eq!(client.disconnected().await, "transport close"),
            3 => assert_eq!(client.expect::<i32>("hello").await, 3),
            _ => client.expect_none("hello", Duration::from_secs(1)).await,
        }
    }
    for (i, io) in servers.iter().enumerate() {
        assert_eq!((io.is_draining(), io.local_count()), (i == 1, usize::from(i != 1)));
    }
}

/// Which numbers of which clients have been given to a handler, and which of them were answered.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<BTreeSet<(usize, u64)>>>);

impl Numbers {
    fn note(&self, client: usize, number: u64) {
        assert!(self.0.lock().unwrap().insert((client, number)), "{number} of client {client} twice");
    }

    fn all(&self) -> BTreeSet<(usize, u64)> {
        self.0.lock().unwrap().clone()
    }
}

/// Has each of `clients` send one number after the other, `under_way` of them at a time, until it is disconnected.
/// Gives what was answered.
fn keep_sending(clients: Vec<TestClient>, under_way: usize, pause: Duration) -> (Numbers, JoinSet<()>) {
    let (answered, mut sending) = (Numbers::default(), JoinSet::new());
    for (id, client) in clients.into_iter().enumerate() {
        let client = Arc::new(client);
        for first in 0..under_way {
            let (client, answered) = (client.clone(), answered.clone());
            sending.spawn(async move {
                sleep(pause * first as u32).await;
                for number in (first as u64..).step_by(under_way) {
                    let answer = client.try_emit_with_ack::<u64>("number", (id, number), Duration::from_secs(60));
                    if answer.await != Some(number) {
                        return;
                    }
                    answered.note(id, number);
                }
            });
        }
    }
    (answered, sending)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_the_moment_of_the_end_is_handled_and_answered_or_neither() {
    const CLIENTS: usize = 40;
    let (io, handled) = (Server::new(), Numbers::default());
    let handling = handled.clone();
    io.on("number", async move |Data((client, number)): Data<(usize, u64)>| {
        handling.note(client, number);
        match number % 3 {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => sleep(Duration::from_millis(1)).await,
        }
        number
    });
    let mut clients = Vec::new();
    for i in 0..CLIENTS {
        clients.push(TestClient::to(&io).transport(TRANSPORTS[i % 2]).connect().await);
    }
    let (answered, mut sending) = keep_sending(clients, 3, Duration::ZERO);
    while answered.all().len() < 10 * CLIENTS {
        sleep(Duration::from_millis(1)).await;
    }
    io.drain(Duration::from_secs(20)).await;
    while let Some(ended) = sending.join_next().await {
        ended.unwrap();
    }
    let (handled, answered) = (handled.all(), answered.all());
    assert!(answered.is_subset(&handled));
    let unanswered: Vec<_> = handled.difference(&answered).collect();
    assert!(unanswered.is_empty(), "handled and not answered, of {}: {unanswered:?}", handled.len());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_without_a_pause_is_stopped_in_time_and_has_all_its_answers() {
    for transport in TRANSPORTS {
        let (io, handled) = (Server::new(), Numbers::default());
        let handling = handled.clone();
        io.on("number", async move |Data((client, number)): Data<(usize, u64)>| {
            handling.note(client, number);
            sleep(Duration::from_secs(1)).await;
            number
        });
        let client = TestClient::to(&io).transport(transport).connect().await;
        // There is always one that is handled.
        let (answered, mut sending) = keep_sending(vec![client], 2, Duration::from_millis(500));
        sleep(Duration::from_secs(3)).await;
        let start = Instant::now();
        io.drain(Duration::from_secs(10)).await;
        let took = start.elapsed().as_secs_f64();
        assert!((5.0..6.5).contains(&took), "served on for half of the time, and not longer: {took}");
        while sending.join_next().await.is_some() {}
        assert_eq!(handled.all(), answered.all(), "{transport:?}");
        assert!(answered.all().len() > 10, "{transport:?}: {:?}", answered.all());
    }
}

/// A client that polls when it is told to.
struct Polling<'a> {
    io: &'a Server,
    sid: String,
}

impl<'a> Polling<'a> {
    async fn open(io: &'a Server) -> Self {
        let mut client = Self { io, sid: String::new() };
        let (_, open) = client.request("").await;
        client.sid = open.split('"').nth(3).unwrap().to_owned();
        client
    }

    /// One that is in `/`.
    async fn connect(io: &'a Server) -> Self {
        let client = Self::open(io).await;
        assert_eq!(client.request("40").await, (200, "ok".into()));
        assert!(client.request("").await.1.starts_with("40{"));
        client
    }

    /// GETs, or POSTs if there is something to send.
    async fn request(&self, body: &'static str) -> (u16, String) {
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        let request = http::Request::builder()
            .method(if body.is_empty() { "GET" } else { "POST" })
            .uri(format!("/socket.io/?EIO=4&transport=polling{sid}"))
            .body(Full::new(bytes::Bytes::from_static(body.as_bytes())))
            .unwrap();
        let response = self.io.engine().respond(request).await;
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }
}

fn drain(io: &Server, deadline: Duration) -> JoinHandle<()> {
    let io = io.clone();
    tokio::spawn(async move { io.drain(deadline).await })
}

#[tokio::test(start_paused = true)]
async fn a_polling_client_that_is_between_two_requests_is_told_by_the_next() {
    let io = Server::new();
    let client = Polling::connect(&io).await;
    let draining = drain(&io, Duration::from_secs(10));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.request("").await, (200, "1".into()), "the server waited for it");
    draining.await.unwrap();
    assert_eq!(client.request("").await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_polling_client_that_sends_before_it_has_its_answer_gets_it() {
    let (io, handled) = (Server::new(), Numbers::default());
    let handling = handled.clone();
    io.on("number", async move |Data(number): Data<u64>| {
        handling.note(0, number);
        number
    });
    let client = Polling::connect(&io).await;
    assert_eq!(client.request("421[\"number\",1]").await, (200, "ok".into()));
    let draining = drain(&io, Duration::from_secs(10));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.request("422[\"number\",2]").await, (200, "ok".into()), "a refusal would be the end to it");
    assert_eq!(client.request("").await, (200, "431[1]".into()));
    assert_eq!(client.request("").await, (200, "1".into()));
    draining.await.unwrap();
    assert_eq!(handled.all(), [(0, 1)].into(), "the second came too late");
}

#[tokio::test(start_paused = true)]
async fn clients_that_are_stopped_still_answer_and_enter_no_namespace() {
    for transport in TRANSPORTS {
        let (io, begun) = (Server::new(), Arc::new(AtomicUsize::new(0)));
        io.on("ask", async |socket: Socket| socket.emit_with_ack::<u32>("question", ()).await);
        let count = begun.clone();
        io.of("/late");
        io.on("too late", async move || count.fetch_add(1, Ordering::Relaxed));
        let mut client = TestClient::to(&io).transport(transport).connect().await;
        client.emit("ask", ());
        let question = client.expect_event("question").await;
        let draining = drain(&io, Duration::from_secs(10));
        sleep(Duration::from_millis(5500)).await;
        // Half of the time is over: the handler is waited for, and nothing else begins.
        client.emit("too late", ());
        let (late, ()) = tokio::join!(client.enter("/late", ()), async {
            sleep(Duration::from_millis(500)).await;
            question.answer(1);
        });
        assert!(late.is_err(), "{late:?}");
        assert_eq!(client.disconnected().await, "transport close");
        draining.await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 0, "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_in_no_namespace_are_not_waited_for() {
    let io = Server::new();
    let (gone, alive) = (Polling::open(&io).await, Polling::open(&io).await);
    let start = Instant::now();
    let draining = drain(&io, Duration::from_secs(60));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(alive.request("").await, (200, "1".into()), "who comes back at once is told");
    draining.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(gone.request("").await.0, 400, "who does not finds it out");
}

#[tokio::test(start_paused = true)]
async fn a_draining_that_is_given_up_leaves_no_client_unheard() {
    let io = Server::new();
    io.on("work", async || sleep(Duration::from_secs(9)).await);
    let mut client = TestClient::connect(&io).await;
    client.emit("work", ());
    sleep(Duration::from_millis(10)).await;
    let draining = drain(&io, Duration::from_secs(10));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(io.local_count(), 1, "it waits for its handler");
    draining.abort();
    assert_eq!(client.disconnected().await, "transport close");
}
