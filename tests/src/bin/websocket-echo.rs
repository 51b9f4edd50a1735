//! Sends back every WebSocket message it hears, for Autobahn (`scripts/autobahn.sh`).
//!
//! Autobahn speaks plain WebSocket, without Engine.IO inside, so this is our frames and handshake alone: what
//! `socketio_protocol::websocket` reads and writes, behind the smallest loop that can carry it. Configured by
//! environment: PORT, 0 for a free one. The first line of output is the address.

use std::io::{self, Write};

use bytes::BytesMut;
use socketio_protocol::websocket::{CloseFrame, Decoder, Event, Opcode, Role, close_frame, frame, handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "0".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    writeln!(io::stdout(), "ws://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("connection ended: {error}");
            }
        });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = BytesMut::new();
    if !open(&mut stream, &mut buf).await? {
        return Ok(());
    }
    let mut decoder = Decoder::new(Role::Server, MAX_MESSAGE);
    loop {
        let mut out = Vec::new();
        let goes_on = loop {
            match decoder.decode(&mut buf) {
                Ok(Some(Event::Text(text))) => out.extend_from_slice(&frame(Opcode::Text, text.as_bytes())),
                Ok(Some(Event::Binary(data))) => out.extend_from_slice(&frame(Opcode::Binary, &data)),
                Ok(Some(Event::Ping(data))) => out.extend_from_slice(&frame(Opcode::Pong, &data)),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(said))) => {
                    out.extend_from_slice(&answer(said));
                    break false;
                }
                Ok(None) => break true,
                Err(error) => {
                    out.extend_from_slice(&close_frame(Some(error.close_code()), &error.to_string()));
                    break false;
                }
            }
        };
        stream.write_all(&out).await?;
        if !goes_on {
            return finish(stream).await;
        }
        if stream.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
    }
}

/// Answers the request that opens the WebSocket. `false` if it was refused.
async fn open(stream: &mut TcpStream, buf: &mut BytesMut) -> io::Result<bool> {
    let end = loop {
        if let Some(end) = buf.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if buf.len() > MAX_REQUEST || stream.read_buf(buf).await? == 0 {
            return Ok(false);
        }
    };
    let request = buf.split_to(end);
    let request = String::from_utf8_lossy(&request);
    let mut lines = request.split("\r\n");
    let method = lines.next().and_then(|line| line.split(' ').next()).unwrap_or_default();
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let values = |wanted: &'static str| {
        headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    match handshake::check(method, values) {
        Ok(accept) => {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            Ok(true)
        }
        Err(refused) => {
            let answer =
                format!("HTTP/1.1 {} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", refused.status());
            stream.write_all(answer.as_bytes()).await?;
            Ok(false)
        }
    }
}

/// The close frame that answers the peer's: the same code, or none.
fn answer(said: Option<CloseFrame>) -> bytes::Bytes {
    match said {
        Some(CloseFrame { code, reason }) => close_frame(Some(code), &reason),
        None => close_frame(None, ""),
    }
}

/// Ends the connection in the order of the RFC, and reads what was on its way: unread bytes would turn the end into a reset.
async fn finish(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Autobahn's largest message is 16 MiB.
const MAX_MESSAGE: usize = 20_000_000;
const MAX_REQUEST: usize = 16_384;
