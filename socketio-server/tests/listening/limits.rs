//! How long a connection may take and idle, how large a head may be, how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socketio_server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::kit::{Client, PATH, local, serve, server};

const SHORT: Duration = Duration::from_millis(500);

/// Long enough not to be met by a test, also on a machine at work.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_head_that_does_not_come_whole_ends_the_connection() {
    let io = server(Server::builder());
    let listener = local().await.header_read_timeout(SHORT).keep_alive_timeout(LONG);
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    // A client that says nothing, one that says a little again and again, one that does so after a request.
    let start = Instant::now();
    let mut silent = Client::new(TcpStream::connect(addr).await.unwrap());
    silent.ended().await;
    assert!(start.elapsed() >= SHORT);

    let mut slow = Client::new(TcpStream::connect(addr).await.unwrap());
    let start = Instant::now();
    while slow.stream.write_all(b"G").await.is_ok() && start.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(8), "a byte now and then does not help");

    let mut later = Client::new(TcpStream::connect(addr).await.unwrap());
    later.who("").await;
    tokio::time::sleep(SHORT * 3).await; // It may be idle for longer than that.
    later.who("").await;
    later.stream.write_all(b"GET / HT").await.unwrap();
    later.ended().await;
    io.close().await;
}

#[tokio::test]
async fn an_idle_connection_is_ended_and_one_that_waits_for_an_answer_is_not() {
    let io = server(Server::builder().ping_interval(Duration::from_millis(2000)));
    let listener = local().await.header_read_timeout(LONG).keep_alive_timeout(SHORT);
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
    let (path, _) = client.open("").await;
    let start = Instant::now();
    let poll = client.request("GET", &path, "", "").await;
    assert_eq!(poll.body, "2");
    assert!(start.elapsed() > SHORT * 2, "the poll waited");
    let start = Instant::now();
    client.ended().await;
    assert!(start.elapsed() >= SHORT / 2);
    io.close().await;
}

#[tokio::test]
async fn a_slow_reader_of_a_long_answer_is_not_idle() {
    let io = server(Server::builder());
    let listener = local().await.keep_alive_timeout(SHORT);
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let (path, _) = Client::new(TcpStream::connect(addr).await.unwrap()).open("").await;
    // More than the buffers of the system hold.
    let long = "x".repeat(12 << 20);
    io.emit("long", &long).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let start = Instant::now();
    let mut came = 0;
    let mut buffer = vec![0; 128 << 10];
    while came < long.len() {
        let n = stream.read(&mut buffer).await.unwrap();
        assert_ne!(n, 0, "the connection ended after {came} bytes");
        came += n;
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    assert!(start.elapsed() > SHORT * 2, "it was slow: {:?}", start.elapsed());
    io.close().await;
}

#[tokio::test]
async fn a_head_has_a_size() {
    let io = server(Server::builder());
    let (small, large) = (local().await.max_header_size(8 << 10), local().await);
    let addrs = [small.local_addr().unwrap(), large.local_addr().unwrap()];
    serve(&io, [small, large]);
    for (addr, bytes, status) in
        [(addrs[0], 7_500, 200), (addrs[0], 9_000, 431), (addrs[1], 15_500, 200), (addrs[1], 17_000, 431)]
    {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        let answer = client.request("GET", PATH, &format!("X: {}\r\n", "x".repeat(bytes)), "").await;
        assert_eq!(answer.status, status, "{bytes} bytes");
    }
    io.close().await;
}

#[tokio::test]
async fn more_connections_than_wanted_are_closed() {
    let io = server(Server::builder());
    let wanted = Arc::new(AtomicBool::new(true));
    let asked = wanted.clone();
    let listener = local().await.keep_alive_timeout(LONG).max_connections(2).admit(move |from| {
        assert!(from.is_some_and(|addr| addr.ip().is_loopback()));
        asked.load(Ordering::Relaxed)
    });
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let connect = || async { Client::new(TcpStream::connect(addr).await.unwrap()) };
    let (mut first, mut second) = (connect().await, connect().await);
    first.who("").await;
    second.who("").await;
    connect().await.ended().await;
    first.who("").await;

    // A place that becomes free is given to the next, once the server has seen it.
    drop(second);
    let next = loop {
        let mut client = connect().await;
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: test\r\n\r\n");
        let sent = client.stream.write_all(request.as_bytes()).await.is_ok();
        if sent && matches!(client.stream.read(&mut [0]).await, Ok(1)) {
            break client;
        }
    };
    drop((first, next));
    wanted.store(false, Ordering::Relaxed);
    connect().await.ended().await;
    io.close().await;
}
