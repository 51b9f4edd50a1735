//! A server that says what it knows of a client, and a client whose every byte is known.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::{Value, json};
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use socketio_server::{Builder, Data, IntoListeners, Listener, Server, Socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;

/// A server that tells each socket its `handshake`, and sends back what it hears as `echo`.
pub(crate) fn server(builder: Builder) -> Server {
    let io = builder.build();
    io.on_connection(async |socket: Socket| {
        let handshake = socket.handshake();
        let _ = socket.emit("who", json!([handshake.address(), handshake.secure()]));
    });
    io.on("echo", async |socket: Socket, Data(value): Data<Value>| socket.emit("echo", value).map(drop));
    io
}

/// Serves until the server is closed.
pub(crate) fn serve(io: &Server, listeners: impl IntoListeners + Send + 'static) -> JoinHandle<()> {
    let io = io.clone();
    tokio::spawn(async move { io.serve(listeners).await })
}

pub(crate) async fn local() -> Listener {
    Listener::bind("127.0.0.1:0").await.unwrap()
}

/// Speaks HTTP over any stream.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    buffer: BytesMut,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// What the server tells a polling client about itself, whose every request has the given header lines.
    pub(crate) async fn who(&mut self, lines: &str) -> Value {
        let (_, who) = self.open(lines).await;
        who
    }

    /// Opens a session; returns its path and what the server tells about the client.
    pub(crate) async fn open(&mut self, lines: &str) -> (String, Value) {
        let open = self.request("GET", PATH, lines, "").await;
        assert_eq!(open.status, 200, "{open:?}");
        let open: Value = serde_json::from_str(&open.body[1..]).unwrap();
        let path = format!("{PATH}&sid={}", open["sid"].as_str().unwrap());
        assert_eq!(self.request("POST", &path, lines, "40").await.body, "ok");
        let packets = self.request("GET", &path, lines, "").await.body;
        let who = packets.split('\u{1e}').find_map(|packet| packet.strip_prefix("42[\"who\",")).unwrap();
        (path, serde_json::from_str(who.strip_suffix(']').unwrap()).unwrap())
    }

    pub(crate) async fn request(&mut self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{lines}\r\n", body.len());
        self.stream.write_all((head + body).as_bytes()).await.unwrap();
        self.answer().await
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.buffer.split_to(end + 4);
            }
            assert_ne!(self.fill().await, 0, "the connection ended: {:?}", self.buffer);
        };
        let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
        let line = |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
        let len: usize = line("content-length:").map_or(0, |len| len.parse().unwrap());
        while self.buffer.len() < len {
            assert_ne!(self.fill().await, 0, "the connection ended");
        }
        let body = String::from_utf8(self.buffer.split_to(len).to_vec()).unwrap();
        Answer { status: head[9..12].parse().unwrap(), body }
    }

    /// Changes to a WebSocket, and enters the namespace.
    pub(crate) async fn web_socket(mut self, lines: &str) -> (WebSocket<S>, Value) {
        let path = PATH.replace("polling", "websocket");
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let answer = self.request("GET", &path, &format!("{upgrade}{lines}"), "").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        let decoder = Decoder::new(Role::Client, 10_000_000);
        let mut socket = WebSocket { stream: self.stream, buffer: self.buffer, decoder };
        assert!(socket.text().await.starts_with("0{"));
        socket.send("40").await;
        assert!(socket.text().await.starts_with("40{"));
        let who = socket.text().await;
        let who = who.strip_prefix("42[\"who\",").unwrap().strip_suffix(']').unwrap();
        (socket, serde_json::from_str(who).unwrap())
    }

    /// Waits until the server has ended the connection, whatever it says before.
    pub(crate) async fn ended(&mut self) {
        let end = async { while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0) {} };
        within("the end of the connection", end).await;
    }

    async fn fill(&mut self) -> usize {
        within("more bytes", self.stream.read_buf(&mut self.buffer)).await.unwrap_or(0)
    }
}

/// A client's end of a WebSocket.
pub(crate) struct WebSocket<S> {
    stream: S,
    buffer: BytesMut,
    decoder: Decoder,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(&masked_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4])).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.decoder.decode(&mut self.buffer).unwrap() {
                Some(Event::Text(text)) => return text.to_string(),
                Some(other) => panic!("not expected: {other:?}"),
                None => {
                    let n = within("more bytes", self.stream.read_buf(&mut self.buffer)).await.unwrap();
                    assert_ne!(n, 0, "the connection ended");
                }
            }
        }
    }

    /// Has messages of many sizes sent back, many at once, so that they leave in every way the server has.
    pub(crate) async fn echoes(&mut self) {
        let sizes = (0..200).map(|n| n * 7).chain([20_000, 300_000]);
        let events: Vec<_> = sizes.map(|size| format!("42[\"echo\",\"{}\"]", "x".repeat(size))).collect();
        for event in &events {
            self.send(event).await;
        }
        for event in &events {
            assert!(self.text().await == *event, "the echo is what was sent");
        }
    }
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.unwrap_or_else(|_| panic!("not within 10 s: {what}"))
}

pub(crate) const PATH: &str = "/socket.io/?EIO=4&transport=polling";
