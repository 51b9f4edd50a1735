//! How a server ends: at once, and without haste.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socketio_server::engine::TransportKind;
use socketio_server::testing::TestClient;
use socketio_server::{DisconnectReason, Server, Socket};
use tokio::sync::mpsc;
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
async fn a_polling_client_that_is_between_two_requests_is_told_by_the_next() {
    use http_body_util::{BodyExt, Full};
    let io = Server::new();
    let request = async |query: &str| {
        let uri = format!("/socket.io/?EIO=4&transport=polling{query}");
        let request = http::Request::get(uri).body(Full::<bytes::Bytes>::default()).unwrap();
        let response = io.engine().respond(request).await;
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    let (_, open) = request("").await;
    let sid = open.split('"').nth(3).unwrap().to_owned();
    let draining = tokio::spawn({
        let io = io.clone();
        async move { io.drain(Duration::from_secs(10)).await }
    });
    sleep(Duration::from_secs(2)).await;
    assert_eq!(request(&format!("&sid={sid}")).await, (200, "1".into()), "the server waited for it");
    draining.await.unwrap();
    assert_eq!(request(&format!("&sid={sid}")).await.0, 400);
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
