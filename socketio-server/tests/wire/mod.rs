//! Clients of bare TCP, which do what no client library would.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use socketio_server::{Server, bind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The close code of a frame without one.
pub(crate) const NO_CODE: u16 = 1005;

const PATIENCE: Duration = Duration::from_secs(5);
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server behind a port of its own, until it is dropped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(io: Server) -> Self {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        Self { addr, task: tokio::spawn(async move { io.serve(listener).await }) }
    }

    /// As a service inside an HTTP server that knows no limits.
    pub(crate) async fn start_in_hyper(io: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(io.service());
                tokio::spawn(async move {
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        };
        Self { addr, task: tokio::spawn(accept) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A session over polling; each request goes over a connection of its own.
pub(crate) struct Http {
    addr: SocketAddr,
    url: String,
    /// What the open packet says.
    pub(crate) open: Value,
}

impl Http {
    pub(crate) async fn session(addr: SocketAddr) -> Self {
        let (status, body) = Self::request(addr, "GET", POLLING, "", "").await;
        assert_eq!(status, 200, "{body}");
        let open: Value = serde_json::from_str(&body[1..]).unwrap();
        Self { addr, url: format!("{POLLING}&sid={}", open["sid"].as_str().unwrap()), open }
    }

    /// The status and the body of an answer. `head` is whole lines.
    pub(crate) async fn request(addr: SocketAddr, method: &str, url: &str, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!("{method} {url} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}");
        let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(whole.as_bytes()).await; // Refused before it is read whole.
        answer(&mut stream).await
    }

    pub(crate) async fn get(&self) -> (u16, String) {
        Self::request(self.addr, "GET", &self.url, "", "").await
    }

    pub(crate) async fn post(&self, body: &str) -> (u16, String) {
        Self::request(self.addr, "POST", &self.url, "", body).await
    }

    /// POSTs packets that have to be taken.
    pub(crate) async fn send(&self, body: &str) {
        assert_eq!(self.post(body).await, (200, "ok".into()));
    }

    /// Polls for packets, which have to be there.
    pub(crate) async fn poll(&self) -> String {
        let (status, body) = self.get().await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn post_in_chunks(&self, chunks: &[String]) -> (u16, String) {
        let mut stream = self.chunked().await;
        for chunk in chunks {
            let _ = stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        answer(&mut stream).await
    }

    /// Sends a body byte by byte, up to `len`. Says which status came, and how many bytes were sent by then.
    pub(crate) async fn trickle(&self, len: usize, pause: Duration) -> (u16, usize) {
        let mut stream = self.chunked().await;
        for sent in 0..len {
            tokio::select! {
                (status, _) = answer(&mut stream) => return (status, sent),
                () = tokio::time::sleep(pause) => {}
            }
            let _ = stream.write_all(b"1\r\n4\r\n").await;
        }
        (answer(&mut stream).await.0, len)
    }

    async fn chunked(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", self.url);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut read = Vec::new();
    let head_len = loop {
        if let Some(at) = read.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        let n = timeout(PATIENCE, stream.read_buf(&mut read)).await.expect("an answer in time").unwrap_or(0);
        assert!(n > 0, "the connection ended after {:?}", String::from_utf8_lossy(&read));
    };
    let head = String::from_utf8(read[..head_len].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    let len = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(|len| len.parse().unwrap()))
        .unwrap_or(0);
    while read.len() < head_len + len {
        let n = timeout(PATIENCE, stream.read_buf(&mut read)).await.expect("a body in time").unwrap();
        assert!(n > 0, "the connection ended inside a body");
    }
    (status, String::from_utf8(read[head_len..].to_vec()).unwrap())
}

/// A session over a WebSocket.
pub(crate) struct WebSocket {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl WebSocket {
    /// The open packet is read.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap()).await
    }

    /// In the namespace `/`.
    pub(crate) async fn joined(addr: SocketAddr) -> Self {
        Self::open(addr).await.join().await
    }

    /// In the namespace `/`, with a receive buffer that is full soon.
    pub(crate) async fn joined_small(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        Self::over(socket.connect(addr).await.unwrap()).await.join().await
    }

    /// What a session that polls has changed to.
    #[allow(dead_code, reason = "not all tests with these clients upgrade")]
    pub(crate) async fn upgraded(session: &Http) -> Self {
        let url = session.url.replace("polling", "websocket");
        let mut socket = Self::handshake(TcpStream::connect(session.addr).await.unwrap(), &url).await;
        socket.send("2probe").await;
        assert_eq!(socket.next().await, "3probe");
        socket.send("5").await;
        socket
    }

    async fn over(stream: TcpStream) -> Self {
        let mut socket = Self::handshake(stream, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(socket.next().await.starts_with("0{"));
        socket
    }

    async fn handshake(mut stream: TcpStream, url: &str) -> Self {
        let head = format!(
            "GET {url} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut buffer = BytesMut::new();
        while !buffer.windows(4).any(|part| part == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0, "no WebSocket");
        }
        assert!(buffer.starts_with(b"HTTP/1.1 101"), "{buffer:?}");
        let end = buffer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        let _ = buffer.split_to(end + 4);
        Self { stream, decoder: Decoder::new(Role::Client, 1 << 30), buffer }
    }

    async fn join(mut self) -> Self {
        self.send("40").await;
        assert!(self.next().await.starts_with("40{"));
        self
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.write(&masked_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4])).await;
    }

    pub(crate) async fn send_binary(&mut self, data: &[u8]) {
        self.write(&masked_frame(Opcode::Binary, data, [1, 2, 3, 4])).await;
    }

    /// One text in `count` frames, of which the last are empty.
    pub(crate) async fn send_in_frames(&mut self, text: &str, count: usize) {
        for n in 0..count {
            let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
            let mut frame = masked_frame(opcode, if n == 0 { text.as_bytes() } else { b"" }, [1, 2, 3, 4]);
            if n + 1 < count {
                frame[0] &= 0x7f;
            }
            self.write(&frame).await;
        }
    }

    /// What is written to a connection that the server has closed is of no use, and no harm.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads");
    }

    /// The next text.
    pub(crate) async fn next(&mut self) -> String {
        match self.event().await {
            Some(Event::Text(text)) => text.to_string(),
            other => panic!("{other:?} instead of a text"),
        }
    }

    /// The next binary message.
    pub(crate) async fn next_binary(&mut self) -> Vec<u8> {
        match self.event().await {
            Some(Event::Binary(data)) => data.to_vec(),
            other => panic!("{other:?} instead of binary"),
        }
    }

    /// Reads until the server ends the connection, which it has to. The close code; 1006 if there was no close frame.
    pub(crate) async fn ended(&mut self) -> u16 {
        loop {
            match self.event().await {
                None => return 1006,
                Some(Event::Close(frame)) => return frame.map_or(NO_CODE, |frame| frame.code),
                Some(_) => {}
            }
        }
    }

    /// Takes a few bytes off the stream, whatever they are.
    pub(crate) async fn read_some(&mut self) {
        let mut bytes = [0; 4 << 10];
        let _ = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("there is more").unwrap();
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            match self.decoder.decode(&mut self.buffer).unwrap() {
                Some(event) => return Some(event),
                None => match timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("news in time") {
                    Ok(1..) => {}
                    _ => return None,
                },
            }
        }
    }
}
