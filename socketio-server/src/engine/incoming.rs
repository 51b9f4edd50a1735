//! What one client sends: the receiving half of a connection, owned by the connection's task.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use socketio_protocol::engine::{CloseReason, Input, Message, Packet, TransportKind};
use socketio_protocol::websocket::{self, Event, Opcode, WsError};
use tokio::io::AsyncReadExt;

use super::clock::now;
use super::codec::{Codec, CodecError};
use super::connection::{Connection, Wake};
use super::frame::Frame;
use super::io::Reader;
use super::write::Farewell;

/// The receiving half of a [`Connection`]. Dropping it closes the connection.
///
/// ```
/// use socketio_server::engine::{Engine, EngineConfig, Incoming, Message};
///
/// let engine = Engine::new(EngineConfig::default(), async |mut incoming: Incoming| {
///     while let Some(message) = incoming.recv().await {
///         if let Message::Text(text) = message {
///             println!("{}: {text}", incoming.connection().id());
///         }
///     }
///     println!("gone: {}", incoming.closed().await.as_str());
/// });
/// ```
#[derive(Debug)]
pub struct Incoming {
    connection: Arc<Connection>,
    web_socket: Option<WebSocket>,
    /// What was decoded of what was read last.
    packets: u32,
    corks: bool,
    corked: bool,
}

/// Or the stream of a WebTransport session.
#[derive(Debug)]
struct WebSocket {
    reader: Reader,
    decoder: Codec,
    /// The rest of a frame that has not come whole. Nothing at rest.
    rest: BytesMut,
    /// Whether `rest` is a piece of the buffer that all connections of a thread share.
    borrowed: bool,
    /// Nothing more is read.
    ended: bool,
    /// The client has ended the stream, or said that it will.
    left: bool,
}

/// What [`Incoming::next`] comes back with.
pub(crate) enum Received {
    Message(Message),
    /// Someone has called [`Connection::nudge`].
    Nudged,
    Closed(CloseReason),
}

impl Incoming {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, web_socket: None, packets: 0, corks: false, corked: false }
    }

    /// Reads from `reader` from now on, beginning with what was read ahead.
    pub(super) fn read_from(&mut self, reader: Reader, ahead: BytesMut) {
        let decoder = Codec::of(&reader, &self.connection.shared, self.connection.terms());
        self.web_socket = Some(WebSocket { reader, decoder, rest: ahead, borrowed: false, ended: false, left: false });
    }

    /// The sending half.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The next message, in the order in which the client sent them; `None` once the session has ended, for the
    /// reason that [`closed`](Incoming::closed) gives.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            match self.next().await {
                Received::Message(message) => return Some(message),
                Received::Nudged => {}
                Received::Closed(_) => return None,
            }
        }
    }

    /// Waits for the end of the session and says why it ended. Messages that still come are dropped.
    pub async fn closed(&mut self) -> CloseReason {
        loop {
            if let Received::Closed(reason) = self.next().await {
                return reason;
            }
        }
    }

    /// Corks the queue from one received message to the wait for the next: what its handling sends leaves together.
    pub(crate) fn cork(&mut self) {
        self.corks = true;
    }

    /// Puts a full stop before the turn is over: what was sent so far leaves now.
    pub(crate) fn uncork(&mut self) {
        self.corked = false;
        self.connection.uncork();
    }

    /// The next thing to look at.
    pub(crate) async fn next(&mut self) -> Received {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What cannot wait while nothing is read: never a message.
    pub(crate) async fn attention(&mut self) -> Received {
        match poll_fn(|cx| self.connection.poll_attention(cx)).await {
            Wake::Closed(reason) => Received::Closed(reason),
            Wake::Nudged | Wake::Message(_) | Wake::Upgraded(..) => Received::Nudged,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            if let Some(message) = self.decode() {
                self.start_turn();
                return Poll::Ready(Received::Message(message));
            }
            let woken = self.connection.poll_wake(cx);
            self.corked &= woken.is_ready(); // Nothing to look at: that was the end of the turn.
            match woken {
                Poll::Ready(Wake::Message(message)) => {
                    self.start_turn();
                    return Poll::Ready(Received::Message(message));
                }
                Poll::Ready(Wake::Upgraded(reader, ahead)) => {
                    self.read_from(reader, ahead);
                    continue;
                }
                Poll::Ready(Wake::Nudged) => return Poll::Ready(Received::Nudged),
                Poll::Ready(Wake::Closed(reason)) => return Poll::Ready(Received::Closed(reason)),
                Poll::Pending => {}
            }
            ready!(self.poll_read(cx));
        }
    }

    fn start_turn(&mut self) {
        if self.corks && !self.corked {
            self.connection.cork();
            self.corked = true;
        }
    }

    /// Reads once. Bytes, and the end of the stream, are looked at by the next turn of the loop.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(web_socket) = self.web_socket.as_mut().filter(|web_socket| !web_socket.ended) else {
            return Poll::Pending;
        };
        match ready!(web_socket.poll_fill(cx)) {
            Ok(n) if n > 0 => {
                self.connection.heard(now());
                self.connection.shared.counters.received(self.transport(), 0, n as u64);
            }
            result => {
                web_socket.ended = true;
                web_socket.left = true;
                // A close frame would only be answered by a reset.
                self.connection.set_close_frame(Bytes::new());
                self.connection.handle(match result {
                    Ok(_) => Input::TransportClosed,
                    Err(_) => Input::TransportFailed("connection reset"),
                });
            }
        }
        Poll::Ready(())
    }

    /// The next message in what has been read.
    fn decode(&mut self) -> Option<Message> {
        let message = self.decode_one();
        if message.is_none() {
            self.count();
        }
        message
    }

    fn transport(&self) -> TransportKind {
        match self.web_socket.as_ref().map(|web_socket| &web_socket.reader) {
            #[cfg(feature = "webtransport")]
            Some(Reader::WebTransport(_)) => TransportKind::WebTransport,
            _ => TransportKind::WebSocket,
        }
    }

    /// Adds to the engine's numbers once for all that came together.
    fn count(&mut self) {
        let packets = std::mem::take(&mut self.packets);
        self.connection.shared.counters.received(self.transport(), packets.into(), 0);
    }

    fn decode_one(&mut self) -> Option<Message> {
        let web_socket = self.web_socket.as_mut()?;
        let connection = &self.connection;
        while !web_socket.rest.is_empty() {
            let packet = match web_socket.decoder.decode(&mut web_socket.rest) {
                Ok(None) => {
                    web_socket.keep_rest();
                    return None;
                }
                Ok(Some(Event::Text(text))) => Packet::decode_text(text, connection.version()),
                Ok(Some(Event::Binary(data))) => Packet::decode_binary(data, connection.version()),
                Ok(Some(Event::Ping(data))) => {
                    // Full queues end the connection elsewhere; a pong is not worth an error of its own.
                    let _ = connection.send_frame(&Frame::raw(&websocket::frame(Opcode::Pong, &data)), false);
                    continue;
                }
                Ok(Some(Event::Pong(_))) => continue,
                Ok(Some(Event::Close(frame))) => {
                    web_socket.ended = true;
                    web_socket.left = true;
                    if let Some(frame) = frame {
                        connection.set_close_frame(websocket::close_frame(Some(frame.code), ""));
                    }
                    connection.handle(Input::TransportClosed);
                    return None;
                }
                #[cfg(feature = "webtransport")]
                Err(CodecError::WebTransport(error)) => {
                    web_socket.ended = true;
                    tracing::debug!(%error, "a client sent what is no frame");
                    connection.handle(Input::Undecodable);
                    return None;
                }
                Err(CodecError::WebSocket(error)) => {
                    web_socket.ended = true;
                    tracing::debug!(%error, "a client broke the WebSocket protocol");
                    connection.set_close_frame(websocket::close_frame(Some(error.close_code()), ""));
                    connection.handle(Input::TransportFailed(match error.close_code() {
                        1009 => "Max payload size exceeded",
                        1007 if error == WsError::BadDeflate => "message that cannot be inflated",
                        1007 => "text that is not UTF-8",
                        _ => "WebSocket protocol error",
                    }));
                    return None;
                }
            };
            self.packets += 1;
            match packet {
                Ok(Packet::Message(message)) => {
                    if let Some(watch) = connection.watched() {
                        watch.arrived(&Packet::Message(message.clone()), false);
                    }
                    return Some(message);
                }
                Ok(packet) => {
                    connection.handle(Input::Received(packet));
                }
                Err(error) => {
                    tracing::debug!(%error, "a client sent what is no Engine.IO packet");
                    web_socket.ended = true;
                    connection.handle(Input::Undecodable);
                    return None;
                }
            }
            if connection.is_closed() {
                web_socket.ended = true;
                return None;
            }
        }
        web_socket.rest = BytesMut::new();
        None
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.count();
        let Some(mut farewell) = self.connection.finish() else { return };
        let reader = self.web_socket.take().filter(|web_socket| !web_socket.left).map(|web_socket| web_socket.reader);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let told = farewell.poll(&mut cx).is_ready();
        if told && reader.is_none() {
            return; // The client is gone, or has said goodbye itself.
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            self.connection.shared.sessions_at_work.spawn(say_farewell(farewell, reader));
        }
    }
}

/// Writes what is left to say, ends the stream in our direction, and waits a moment for the client to do the same.
pub(super) async fn say_farewell(mut farewell: Farewell, reader: Option<Reader>) {
    let goodbye = async move {
        poll_fn(|cx| farewell.poll(cx)).await;
        drop(farewell);
        if let Some(reader) = reader {
            drain(reader).await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL, goodbye).await; // Longer than that nobody is waited for.
}

/// Reads until the client closes: a stream dropped with bytes unread is reset, and the last packets with it.
pub(super) async fn drain(mut reader: Reader) {
    #[cfg(feature = "webtransport")]
    if let Reader::WebTransport(reader) = &reader {
        return reader.close(); // The client has confirmed the last packets, and waits for this.
    }
    let mut sink = [0; 4096];
    while matches!(reader.read(&mut sink).await, Ok(1..)) {}
}

/// How long a closed connection may take to read its last packets.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

impl WebSocket {
    /// Reads from the stream: into a buffer shared by all connections of this thread, or behind the rest of a frame.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if !self.rest.is_empty() {
            self.rest.reserve(READ_MIN);
            return self.reader.poll_read(cx, &mut self.rest);
        }
        SHARED.with(|shared| {
            let mut buffer = shared.take();
            if buffer.capacity() < READ_MIN {
                buffer.reserve(READ_MAX);
            }
            let result = self.reader.poll_read(cx, &mut buffer);
            self.rest = buffer.split();
            self.borrowed = true;
            shared.set(buffer);
            result
        })
    }

    /// Moves what is left of a frame out of the shared buffer, which it would hold for as long as it waits.
    fn keep_rest(&mut self) {
        if std::mem::take(&mut self.borrowed) {
            let mut own = BytesMut::with_capacity(self.rest.len() + READ_MIN);
            own.put_slice(&self.rest);
            self.rest = own;
        }
    }
}

const READ_MAX: usize = 64 << 10;
const READ_MIN: usize = 8 << 10;

thread_local! {
    static SHARED: Cell<BytesMut> = Cell::new(BytesMut::new());
}
