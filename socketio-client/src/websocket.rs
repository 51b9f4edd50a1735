//! A WebSocket to the server: the handshake, and frames in both directions.

use std::io;

use bytes::{Buf, BytesMut};
use socketio_protocol::{
    engine::TransportKind,
    websocket::{
        Decoder, Event, Opcode, Role,
        handshake::{accept_key, client_key},
        masked_frame,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::{
    ClientError,
    address::Address,
    http,
    stream::{self, BoxedStream, TlsOptions},
};

/// An open WebSocket. What is to be sent is queued, and leaves while [`next`](WebSocket::next) waits.
pub(crate) struct WebSocket {
    reader: ReadHalf<BoxedStream>,
    writer: WriteHalf<BoxedStream>,
    decoder: Decoder,
    received: BytesMut,
    queued: BytesMut,
}

impl WebSocket {
    pub(crate) async fn open(
        address: &Address,
        tls: &TlsOptions,
        sid: Option<&str>,
        max_message: usize,
    ) -> Result<WebSocket, ClientError> {
        let mut stream = stream::connect(address, tls).await?;
        let key = client_key(random());
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n",
            address.target(TransportKind::WebSocket, sid),
            address.authority(),
        );
        let broken = |error: io::Error| ClientError::Disconnected { reason: error.to_string() };
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut received = BytesMut::new();
        let head = http::head(&mut stream, &mut received).await.map_err(broken)?;
        if head.status != 101 || head.accept.as_deref() != Some(accept_key(&key).as_str()) {
            let reason = format!("it answers a WebSocket with HTTP status {}", head.status);
            return Err(ClientError::Refused { address: address.authority(), reason });
        }
        let (reader, writer) = tokio::io::split(stream);
        let decoder = Decoder::new(Role::Client, max_message);
        Ok(WebSocket { reader, writer, decoder, received, queued: BytesMut::new() })
    }

    pub(crate) fn queue(&mut self, opcode: Opcode, payload: &[u8]) {
        self.queued.extend_from_slice(&masked_frame(opcode, payload, random()));
    }

    /// The bytes that have not left yet.
    pub(crate) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// The next message; meanwhile what is queued is written. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Result<Event, ClientError> {
        let broken = |reason: String| ClientError::Disconnected { reason };
        loop {
            let event = self.decoder.decode(&mut self.received).map_err(|error| broken(error.to_string()))?;
            match event {
                Some(Event::Ping(payload)) => {
                    self.queue(Opcode::Pong, &payload);
                    continue;
                }
                Some(Event::Pong(_)) => continue,
                Some(Event::Close(_)) => return Err(broken("the server closed the connection".to_owned())),
                Some(event) => return Ok(event),
                None => {}
            }
            tokio::select! {
                written = self.writer.write(&self.queued), if !self.queued.is_empty() => {
                    match written.map_err(|error| broken(error.to_string()))? {
                        0 => return Err(broken("the server closed the connection".to_owned())),
                        written => self.queued.advance(written),
                    }
                    if self.queued.is_empty() {
                        self.writer.flush().await.map_err(|error| broken(error.to_string()))?;
                    }
                }
                read = self.reader.read_buf(&mut self.received) => {
                    if read.map_err(|error| broken(error.to_string()))? == 0 {
                        return Err(broken("the server closed the connection".to_owned()));
                    }
                }
            }
        }
    }

    /// Writes what is queued.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.queued).await?;
        self.queued.clear();
        self.writer.flush().await
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A mask need not be secret from us: where the system has no random numbers, any are better than none.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
