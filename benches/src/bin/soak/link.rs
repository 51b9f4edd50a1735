//! How a client of the crowd reaches its server: long-polling, a WebSocket, or the one and then the other; of both versions.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use socketio_benches::web_socket::upgrade;
use socketio_protocol::engine::{Message, Packet, Version, decode_payload};
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::Outcome;

/// Larger than any message here.
const MOST_BYTES: usize = 4 << 20;

/// What the system keeps for a WebSocket that is not read.
const RECEIVE_BUFFER: u32 = 32 << 10;

/// One transport that is open.
pub(crate) enum Link {
    WebSocket(WebSocket),
    Polling(Polling),
}

pub(crate) struct WebSocket {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
    version: Version,
    /// What polling brought before this took over.
    before: VecDeque<Packet>,
}

pub(crate) struct Polling {
    addr: SocketAddr,
    version: Version,
    path: String,
    get: TcpStream,
    buffer: BytesMut,
    /// Whether a GET waits for its answer.
    waits: bool,
    came: VecDeque<Packet>,
}

impl Link {
    /// Opens a session; the open packet has been read.
    pub(crate) async fn open(addr: SocketAddr, version: Version, polling: bool) -> Outcome<Link> {
        if polling {
            Ok(Link::Polling(Polling::open(addr, version).await?))
        } else {
            let mut web_socket = WebSocket::open(addr, version, "").await?;
            match web_socket.next().await? {
                Packet::Open(_) => Ok(Link::WebSocket(web_socket)),
                other => Err(format!("{other:?} instead of an open packet").into()),
            }
        }
    }

    /// The next packet. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Outcome<Packet> {
        match self {
            Link::WebSocket(web_socket) => web_socket.next().await,
            Link::Polling(polling) => polling.next().await,
        }
    }

    /// Sends one packet of text, its digit in front.
    pub(crate) async fn send(&mut self, packet: &str) -> Outcome<()> {
        match self {
            Link::WebSocket(web_socket) => web_socket.send(packet).await,
            Link::Polling(polling) => polling.send(packet).await,
        }
    }

    /// Changes from polling to a WebSocket.
    pub(crate) async fn upgrade(self) -> Outcome<Link> {
        let Link::Polling(mut polling) = self else { return Ok(self) };
        let sid = polling.path.split_once("&sid=").ok_or("no sid")?.1.to_owned();
        let mut web_socket = WebSocket::open(polling.addr, polling.version, &format!("&sid={sid}")).await?;
        web_socket.send("2probe").await?;
        match web_socket.next().await? {
            Packet::Pong(data) if data == "probe" => {}
            other => return Err(format!("{other:?} instead of the answer to a probe").into()),
        }
        // The server has let go of the poll, which brings what was on its way.
        if polling.waits {
            polling.read().await?;
        }
        web_socket.before = std::mem::take(&mut polling.came);
        web_socket.send("5").await?;
        Ok(Link::WebSocket(web_socket))
    }

    /// The stream that the server writes to.
    pub(crate) fn stream(&self) -> &TcpStream {
        match self {
            Link::WebSocket(web_socket) => &web_socket.stream,
            Link::Polling(polling) => &polling.get,
        }
    }
}

impl WebSocket {
    async fn open(addr: SocketAddr, version: Version, rest: &str) -> Outcome<WebSocket> {
        let socket = TcpSocket::new_v4()?;
        // So that what a client does not read waits in the server, and not with the system.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let mut stream = socket.connect(addr).await?;
        upgrade(&mut stream, &format!("EIO={}{rest}", version.number()), &[]).await?;
        let decoder = Decoder::new(Role::Client, MOST_BYTES);
        Ok(WebSocket { stream, decoder, buffer: BytesMut::new(), version, before: VecDeque::new() })
    }

    async fn next(&mut self) -> Outcome<Packet> {
        if let Some(packet) = self.before.pop_front() {
            return Ok(packet);
        }
        loop {
            match self.decoder.decode(&mut self.buffer)? {
                Some(Event::Text(text)) => return Ok(Packet::decode_text(text, self.version)?),
                Some(Event::Close(_)) => return Ok(Packet::Close),
                Some(_) => continue,
                None => {}
            }
            if self.buffer.is_empty() {
                // Between messages nothing is kept: thousands of these are idle.
                self.buffer = BytesMut::new();
            }
            self.stream.readable().await?;
            let mut chunk = [0; 16 << 10];
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return Err("the server has hung up".into()),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send(&mut self, packet: &str) -> Outcome<()> {
        Ok(self.stream.write_all(&masked_frame(Opcode::Text, packet.as_bytes(), [0x37, 0xfa, 0x21, 0x3d])).await?)
    }
}

impl Polling {
    async fn open(addr: SocketAddr, version: Version) -> Outcome<Polling> {
        let get = TcpStream::connect(addr).await?;
        get.set_nodelay(true)?;
        let path = format!("/socket.io/?EIO={}&transport=polling", version.number());
        let (buffer, came) = (BytesMut::new(), VecDeque::new());
        let mut polling = Polling { addr, version, path, get, buffer, waits: false, came };
        let Packet::Open(open) = polling.next().await? else { return Err("no open packet".into()) };
        let open: serde_json::Value = serde_json::from_str(&open)?;
        polling.path = format!("{}&sid={}", polling.path, open["sid"].as_str().ok_or("no sid")?);
        Ok(polling)
    }

    async fn next(&mut self) -> Outcome<Packet> {
        loop {
            if let Some(packet) = self.came.pop_front() {
                return Ok(packet);
            }
            if !self.waits {
                let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, self.addr);
                self.waits = true;
                self.get.write_all(request.as_bytes()).await?;
            }
            self.read().await?;
        }
    }

    /// Reads the answer to the GET that waits. What has come of it is kept if this is dropped.
    async fn read(&mut self) -> Outcome<()> {
        let body = body(&mut self.get, &mut self.buffer).await?;
        self.waits = false;
        for packet in decode_payload(self.version, false, body, 10_000) {
            self.came.push_back(packet?);
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    async fn send(&mut self, packet: &str) -> Outcome<()> {
        let body = match self.version {
            Version::V3 => format!("{}:{packet}", packet.encode_utf16().count()),
            Version::V4 => packet.to_owned(),
        };
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            self.addr,
            body.len()
        );
        // The server closes connections on which nothing is asked for some time.
        let mut stream = TcpStream::connect(self.addr).await?;
        stream.write_all(request.as_bytes()).await?;
        let answer = self::body(&mut stream, &mut BytesMut::new()).await?;
        if answer.as_ref() == b"ok" { Ok(()) } else { Err(format!("{answer:?} instead of ok").into()) }
    }
}

/// Reads a whole answer. What has come is in `buffer` until all of it has.
async fn body(stream: &mut TcpStream, buffer: &mut BytesMut) -> Outcome<Bytes> {
    loop {
        if let Some((status, length, end)) = parsed(buffer)?
            && buffer.len() >= end + length
        {
            buffer.advance(end);
            let body = buffer.split_to(length).freeze();
            return if status == 200 { Ok(body) } else { Err(format!("{status}: {body:?}").into()) };
        }
        fill(stream, buffer).await?;
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut BytesMut) -> Outcome<()> {
    match stream.read_buf(buffer).await? {
        0 => Err("the server has hung up".into()),
        _ => Ok(()),
    }
}

/// Status, length of the body, and where the head ends, if it has.
fn parsed(buffer: &[u8]) -> Outcome<Option<(u16, usize, usize)>> {
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
    let status = head.get(9..12).ok_or("no status")?.parse()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
    Ok(Some((status, length.trim().parse()?, end + 4)))
}

/// What a message packet says, if it is one.
pub(crate) fn text(packet: &Packet) -> Option<&str> {
    match packet {
        Packet::Message(Message::Text(text)) => Some(text),
        _ => None,
    }
}
