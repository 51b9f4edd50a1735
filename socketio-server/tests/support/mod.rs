//! Bare HTTP over TCP, for tests that look at every byte of an answer.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use socketio_server::{Server, bind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Serves `io` on a port of its own until the test ends.
pub(crate) async fn start(io: &Server) -> SocketAddr {
    let listener = bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let io = io.clone();
    tokio::spawn(async move { io.serve(listener).await });
    addr
}

/// An answer: its head, and as much of its body as came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// A header; several of one name are joined by a bar.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join("|"))
    }

    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("the body is text")
    }

    /// The session id in the open packet that the body begins with.
    pub(crate) fn sid(&self) -> &str {
        self.body().split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an open packet")
    }
}

/// Sends `method target`, with `headers` one a line and a body, on a connection of its own.
pub(crate) async fn request(addr: SocketAddr, line: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    send(&mut stream, addr, line, headers, body).await;
    let mut answer = read_head(&mut stream).await;
    let len = answer.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    while answer.bytes.len() < len {
        read_more(&mut stream, &mut answer.bytes).await;
    }
    answer
}

/// Asks for a WebSocket. The body of the answer is what came behind the head, frames for one.
pub(crate) async fn upgrade(addr: SocketAddr, target: &str, headers: &str) -> (TcpStream, Answer) {
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    let asked = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    send(&mut stream, addr, &format!("GET {target}"), &format!("{asked}{headers}"), "").await;
    let answer = read_head(&mut stream).await;
    (stream, answer)
}

async fn send(stream: &mut TcpStream, addr: SocketAddr, line: &str, headers: &str, body: &str) {
    let head = format!("{line} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("the server reads");
}

async fn read_head(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let end = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end,
            None => read_more(stream, &mut bytes).await,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.expect("a status line"),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
        bytes: bytes.split_off(end + 4),
    }
}

/// Waits for more bytes.
pub(crate) async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) {
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_buf(bytes)).await;
    let n = read.expect("the server answers in time").expect("the connection holds");
    assert!(n > 0, "the server closed; so far: {}", String::from_utf8_lossy(bytes));
}
