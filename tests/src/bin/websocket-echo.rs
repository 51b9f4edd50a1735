//! Sends back every WebSocket message it hears, for Autobahn (`scripts/autobahn.sh`).
//!
//! Autobahn speaks plain WebSocket, without Engine.IO inside, so this is our frames and handshake alone: what
//! `socketio_protocol::websocket` reads and writes, behind the smallest loop that can carry it. Messages are compressed
//! where the client offers it. Configured by environment: PORT, 0 for a free one. The first line of output is the
//! address.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::BytesMut;
use socketio_protocol::websocket::{
    Agreement, COMPRESSED, CloseFrame, Codec, Decoder, Event, Opcode, PerMessageDeflate, Role, close_frame,
    encode_header, frame, handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "0".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    writeln!(io::stdout(), "ws://{}", listener.local_addr()?)?;
    let codec = Arc::new(Codec::new(PerMessageDeflate::default().threshold(0)));
    loop {
        let (stream, _) = listener.accept().await?;
        let codec = codec.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, codec).await {
                eprintln!("connection ended: {error}");
            }
        });
    }
}

async fn serve(mut stream: TcpStream, codec: Arc<Codec>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = BytesMut::new();
    let Some(agreement) = open(&mut stream, &mut buf).await? else { return Ok(()) };
    let compressor = agreement.filter(Agreement::full_window).map(|_| &*codec);
    let mut decoder = Decoder::new(Role::Server, MAX_MESSAGE).with_codec(agreement.map(|_| codec.clone()));
    loop {
        let mut out = Vec::new();
        let goes_on = loop {
            match decoder.decode(&mut buf) {
                Ok(Some(Event::Text(text))) => send(compressor, Opcode::Text, text.as_bytes(), &mut out),
                Ok(Some(Event::Binary(data))) => send(compressor, Opcode::Binary, &data, &mut out),
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

/// Adds a message, compressed if that was agreed and makes it shorter.
fn send(compressor: Option<&Codec>, opcode: Opcode, message: &[u8], out: &mut Vec<u8>) {
    let (mut compressed, mut header) = (Vec::new(), [0; 10]);
    if compressor.and_then(|codec| codec.deflate(&[message], &mut compressed)).is_some() {
        let header_len = encode_header(opcode, compressed.len(), &mut header);
        header[0] |= COMPRESSED;
        out.extend_from_slice(&header[..header_len]);
        out.extend_from_slice(&compressed);
    } else {
        out.extend_from_slice(&frame(opcode, message));
    }
}

/// Answers the request that opens the WebSocket: what was agreed about compression, or `None` if it was refused.
async fn open(stream: &mut TcpStream, buf: &mut BytesMut) -> io::Result<Option<Option<Agreement>>> {
    let end = loop {
        if let Some(end) = buf.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if buf.len() > MAX_REQUEST || stream.read_buf(buf).await? == 0 {
            return Ok(None);
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
            let agreement = Agreement::new(values("sec-websocket-extensions"));
            let extensions = agreement
                .map(|agreement| format!("Sec-WebSocket-Extensions: {}\r\n", agreement.header()))
                .unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            Ok(Some(agreement))
        }
        Err(refused) => {
            let answer =
                format!("HTTP/1.1 {} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", refused.status());
            stream.write_all(answer.as_bytes()).await?;
            Ok(None)
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
