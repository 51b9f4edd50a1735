//! A client over WebSocket: the bytes of a TCP stream, without the TCP, served by hyper as a listener does it.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socketio_protocol::engine::{Frame, Packet};
use socketio_protocol::websocket::handshake::client_key;
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tower_service::Service;

use super::link::{EndOnDrop, Order, Reaction, State, lock, refused};
use super::{Connecting, Refused, Task};
use crate::engine::RemoteAddress;

/// How many bytes wait in the stream before the writer does.
const STREAM: usize = 64 << 10;

/// Opens a session. What is returned carries it.
pub(super) async fn open(
    how: Connecting,
    state: Arc<Mutex<State>>,
    orders: mpsc::UnboundedReceiver<Order>,
) -> Result<Task, Refused> {
    let (mut stream, served) = tokio::io::duplex(STREAM);
    serve(&how, served);
    stream.write_all(head(&how).as_bytes()).await.expect("the server reads a request");
    let (status, body) = answer(&mut stream).await;
    if status != 101 {
        return Err(refused(status, &body));
    }
    Ok(Box::pin(run(stream, body, how, state, orders)))
}

fn serve(how: &Connecting, stream: DuplexStream) {
    let (service, address) = (how.server.service(), how.address);
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(RemoteAddress(address));
        service.clone().call(request)
    });
    tokio::spawn(async move {
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await; // A client that goes ends it with an error.
    });
}

fn head(how: &Connecting) -> String {
    let mut head = format!(
        "GET {} HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}\r\n",
        how.target(),
        client_key([7; 16]),
    );
    for (name, value) in &how.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// The status of the answer, and what came behind its head: of a refusal, the whole body.
async fn answer(stream: &mut DuplexStream) -> (u16, BytesMut) {
    let mut buffer = BytesMut::new();
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        let n = stream.read_buf(&mut buffer).await.expect("the server writes an answer");
        assert!(n > 0, "the server closed the connection without an answer");
    };
    let head = String::from_utf8_lossy(&buffer.split_to(end + 4)).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    while status != 101 && length.is_none_or(|length| buffer.len() < length) {
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
    }
    (status, buffer)
}

async fn run(
    mut stream: DuplexStream,
    mut buffer: BytesMut,
    how: Connecting,
    state: Arc<Mutex<State>>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let _end = EndOnDrop(state.clone());
    let version = how.version;
    drop(how); // With it the server: it may end while its clients are here.
    let mut decoder = Decoder::new(Role::Client, usize::MAX);
    loop {
        while let Some(event) = decoder.decode(&mut buffer).expect("the server writes frames that can be read") {
            let packet = match event {
                Event::Text(text) => Packet::decode_text(text, version),
                Event::Binary(data) => Packet::decode_binary(data, version),
                Event::Close(_) => {
                    let _ = stream.write_all(&masked_frame(Opcode::Close, &[], MASK)).await;
                    return;
                }
                Event::Ping(_) | Event::Pong(_) => continue,
            };
            let reaction = lock(&state).received(packet.expect("the server writes packets that can be read"));
            let written = match reaction {
                Reaction::None => Ok(()),
                Reaction::Send(packet) => write(&mut stream, &packet, version).await,
                Reaction::End => return,
            };
            if written.is_err() {
                return;
            }
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            order = orders.recv() => match order {
                Some(Order::Send(packet)) => if write(&mut stream, &packet, version).await.is_err() { return },
                Some(Order::GoSilent) => break,
                Some(Order::Close) | None => return,
            },
        }
    }
    while orders.recv().await.is_some() {} // Until the test lets go of it.
}

async fn write(
    stream: &mut DuplexStream,
    packet: &Packet,
    version: socketio_protocol::engine::Version,
) -> io::Result<()> {
    let frame = match packet.to_frame(version, true) {
        Frame::Text(text) => masked_frame(Opcode::Text, text.as_bytes(), MASK),
        Frame::Binary(data) => masked_frame(Opcode::Binary, &data, MASK),
    };
    stream.write_all(&frame).await
}

/// Clients mask what they send; nobody listens in here.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];
