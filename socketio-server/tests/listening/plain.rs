//! Requests that are answered without hyper, beside the same requests answered by it: byte for byte the same, and of all
//! that is unusual nothing is understood in another way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socketio_server::engine::{Cookie, Cors};
use socketio_server::{Builder, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Client, PATH, local, serve, server, within};

/// A server whose sessions are called `id-1`, `id-2`.
fn counting(builder: Builder) -> Server {
    let ids = Arc::new(AtomicUsize::new(0));
    server(builder.generate_id(move |_| {
        let id = ids.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok(format!("id-{id}")) }
    }))
}

/// Two servers that are alike, at addresses of their own; one has all its requests from hyper.
async fn both(builder: impl Fn() -> Builder) -> [(Server, SocketAddr); 2] {
    let (ours, theirs) = (counting(builder()), counting(builder()));
    let listeners = [local().await, local().await];
    let addrs = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [first, second] = listeners;
    serve(&ours, first);
    let service = theirs.service();
    tokio::spawn(async move { socketio_server::serve(second, service).await });
    [(ours, addrs[0]), (theirs, addrs[1])]
}

/// All that a server says to these bytes until it closes, without what differs each time.
async fn said(addr: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    let talk = async {
        for piece in pieces {
            if stream.write_all(piece).await.is_err() {
                break; // It has heard enough.
            }
            tokio::task::yield_now().await;
        }
        while stream.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {}
    };
    within("the end of the connection", talk).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines = text.split("\r\n").map(|line| if line.starts_with("date: ") { "date" } else { line });
    let text = lines.collect::<Vec<_>>().join("\n");
    match text.split_once("40{\"sid\":\"") {
        Some((before, rest)) => format!("{before}40{}", rest.get(20..).unwrap_or_default()),
        None => text,
    }
}

/// What ends a connection, whatever comes before.
const LAST: &str = "GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Requests in a row on one connection; each refers to sessions by their order.
fn requests() -> Vec<String> {
    let open = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n");
    let poll = format!("GET {PATH}&sid=id-1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = |headers: &str, body: &str| format!("POST {PATH}&sid=id-1 HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
    let get = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    vec![
        // id-1, which what follows is about.
        format!("{open}\r\n"),
        post("Content-Length: 2\r\n", "40") + &poll,
        format!("{open}Origin: http://page.test\r\nUser-Agent: x;MSIE 9\r\n\r\n"),
        format!("{open}Origin: http://other.test\r\n\r\n"),
        format!("{open}Connection: close\r\n\r\n"),
        format!("{open}Connection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
        get(&format!("GET {PATH}&j=0 HTTP/1.1")),
        // Pipelined, a whole life of a session in one piece.
        format!("{open}\r\n").repeat(3),
        post("Content-Length: 19\r\nContent-Type: text/plain;charset=UTF-8\r\n", "42[\"echo\",\"a b c d\"]") + &poll,
        post("Content-Length: 1\r\n", "2"),
        post("Content-Length: 0\r\n", ""),
        post("Content-Length: 0\r\nContent-Type: application/octet-stream\r\n", ""),
        // Refusals.
        get("GET /socket.io/?EIO=4&transport=other HTTP/1.1"),
        get("GET /socket.io/?EIO=4 HTTP/1.1"),
        get("GET /socket.io/?EIO=3&transport=polling HTTP/1.1"),
        get(&format!("GET {PATH}&sid=nobody HTTP/1.1")),
        get(&format!("POST {PATH} HTTP/1.1")),
        format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n40"),
        format!("{open}{HANDSHAKE}Sec-WebSocket-Version: 13\r\n\r\n"),
        format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}\r\n"),
        format!("GET {PATH}&sid=nobody HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}Sec-WebSocket-Version: 13\r\n\r\n"),
        // Other paths and methods.
        get("GET /socket.io?EIO=4&transport=polling HTTP/1.1"),
        get("GET /socket.io/below?EIO=4&transport=polling HTTP/1.1"),
        get("GET /elsewhere HTTP/1.1"),
        get(&format!("GET http://a{PATH} HTTP/1.1")),
        get("GET /socket%2eio/?EIO=4&transport=polling HTTP/1.1"),
        get(&format!("GET {PATH}&a={{\"b\"}} HTTP/1.1")),
        get(&format!("GET {PATH}#part HTTP/1.1")),
        get(&format!("PUT {PATH} HTTP/1.1")),
        get(&format!("OPTIONS {PATH} HTTP/1.1")),
        get(&format!("HEAD {PATH} HTTP/1.1")),
        get(&format!("get {PATH} HTTP/1.1")),
        get(&format!("GET {PATH} HTTP/1.0")),
        format!("GET {PATH} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        get("GET * HTTP/1.1"),
        // Two readings.
        format!("GET {PATH} HTTP/1.1\nHost: a\n\n"),
        format!("\r\n{open}\r\n"),
        format!("{open}X: a\r\n b\r\n\r\n"),
        format!("{open}X : a\r\n\r\n"),
        format!("{open} X: a\r\n\r\n"),
        format!("{open}X\r\n\r\n"),
        format!("{open}X: a\rb\r\n\r\n"),
        format!("{open}X: a\0b\r\n\r\n"),
        format!("{open}X: \u{e9}\r\n\r\n"),
        format!("{open}Host: b\r\n\r\n"),
        format!("GET {PATH}&a b HTTP/1.1\r\n\r\n"),
        format!("GET  {PATH} HTTP/1.1\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1 \r\n\r\n"),
        format!("GET {PATH} HTTP/2.0\r\n\r\n"),
        format!("{open}Connection: keep-alive, other\r\n\r\n"),
        format!("{open}Connection: close, keep-alive\r\n\r\n"),
        format!("{open}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"),
        format!("{open}Content-Length: 5\r\n\r\nhello"),
        format!("{open}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        post("Content-Length: 1\r\nContent-Length: 1\r\n", "2"),
        post("Content-Length: 1\r\nContent-Length: 2\r\n", "2"),
        post("Content-Length: 1, 1\r\n", "2"),
        post("Content-Length: +1\r\n", "2"),
        post("Content-Length: 0x1\r\n", "2"),
        post("Content-Length: \r\n", ""),
        post("Content-Length: 99999999999999999999999\r\n", "2"),
        post("Transfer-Encoding: chunked\r\n", "1\r\n2\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "1\r\n2\r\n0\r\n\r\n"),
        post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "1\r\n2\r\n0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\nContent-Length: 1\r\n", "2"),
        post("Transfer-Encoding: chunked, identity\r\n", "1\r\n2\r\n0\r\n\r\n"),
        format!("{open}{}\r\n", "X: y\r\n".repeat(40)),
        format!("{open}{}\r\n", "X: y\r\n".repeat(120)),
        format!("{open}X: {}\r\n\r\n", "y".repeat(10_000)),
        format!("{open}X: {}\r\n\r\n", "y".repeat(20_000)),
        post("Content-Length: 1000001\r\n", ""),
    ]
}

async fn answered_alike(builder: impl Fn() -> Builder) {
    let [(ours, our_addr), (theirs, their_addr)] = both(builder).await;
    for request in requests() {
        let whole = request + LAST;
        let [a, b] = [said(our_addr, &[whole.as_bytes()]).await, said(their_addr, &[whole.as_bytes()]).await];
        assert!(a.starts_with("HTTP/1.") || a.is_empty(), "{a}");
        assert_eq!(a, b, "{whole:?}");
    }
    ours.close().await;
    theirs.close().await;
}

#[tokio::test]
async fn every_request_is_answered_as_by_hyper() {
    answered_alike(Server::builder).await;
}

#[tokio::test]
async fn with_cors_a_cookie_and_headers_of_the_application_too() {
    answered_alike(|| {
        Server::builder()
            .cors(Cors::origins(["http://page.test"]).credentials(true))
            .cookie(Cookie::new("io"))
            .allow_eio3(true)
            .headers(|headers, request| {
                headers.insert("x-url", request.url().parse().unwrap());
                headers.insert("x-agent", request.header("user-agent").unwrap_or("none").parse().unwrap());
            })
    })
    .await;
}

#[tokio::test]
async fn requests_in_pieces_are_the_same_requests() {
    for pieces in [1, 200] {
        let [(ours, our_addr), (theirs, their_addr)] = both(Server::builder).await;
        for request in requests().into_iter().take(16) {
            let whole = request + LAST;
            let pieces: Vec<_> = whole.as_bytes().chunks(pieces).collect();
            assert_eq!(said(our_addr, &pieces).await, said(their_addr, &pieces).await, "{whole:?}");
        }
        ours.close().await;
        theirs.close().await;
    }
}

/// Also if its last bytes and the end of the stream come at once, which hyper misses.
#[tokio::test]
async fn a_poll_whose_client_goes_is_given_up() {
    let [(ours, addr), _] = both(Server::builder).await;
    let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
    let (path, _) = client.open("").await;
    client.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    client.stream.shutdown().await.unwrap();
    let ended = async {
        loop {
            let answer = Client::new(TcpStream::connect(addr).await.unwrap()).request("POST", &path, "", "3").await;
            if answer.body.contains("Session ID unknown") {
                return;
            }
        }
    };
    within("the end of the session", ended).await;
    ours.close().await;
}

#[tokio::test]
async fn a_web_socket_begins_behind_polls_and_with_frames_that_came_early() {
    let [(ours, our_addr), (theirs, their_addr)] = both(Server::builder).await;
    for addr in [our_addr, their_addr] {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        client.who("").await;
        let (mut socket, _) = client.web_socket("").await;
        socket.echoes().await;

        let frame =
            socketio_protocol::websocket::masked_frame(socketio_protocol::websocket::Opcode::Text, b"40", [1; 4]);
        let line = PATH.replace("polling", "websocket");
        let mut early =
            format!("GET {line} HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}Sec-WebSocket-Version: 13\r\n\r\n").into_bytes();
        early.extend_from_slice(&frame);
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&early).await.unwrap();
        let mut bytes = Vec::new();
        let entered = async {
            while !bytes.windows(4).any(|four| four == b"40{\"") {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
            }
        };
        within("the answer to an early frame", entered).await;
    }
    ours.close().await;
    theirs.close().await;
}

#[tokio::test]
async fn the_end_of_the_server_answers_a_poll_and_closes() {
    let [(ours, our_addr), (theirs, their_addr)] = both(Server::builder).await;
    for (io, addr) in [(ours, our_addr), (theirs, their_addr)] {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        let (path, _) = client.open("").await;
        assert_eq!(client.request("POST", &path, "", "42[\"echo\",1]").await.body, "ok");
        // Both are read at once: when the first is answered, the second waits.
        let poll = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.stream.write_all(poll.repeat(2).as_bytes()).await.unwrap();
        assert_eq!(client.answer().await.body, "42[\"echo\",1]");
        io.close().await;
        assert_eq!(client.answer().await.status, 200);
    }
}
