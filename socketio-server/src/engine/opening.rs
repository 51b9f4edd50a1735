//! How a WebSocket begins once its request is answered: it opens a session, or becomes the transport of one.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socketio_protocol::engine::{Packet, TransportKind, Version};
use socketio_protocol::websocket::Event;
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::carried_web_socket::Carried;
use super::clock::now;
use super::codec::Codec;
use super::connection::{Connection, ProbeStep};
use super::engine::{NewId, Shared};
use super::frame::{Frame, Terms};
use super::http::Pass;
use super::incoming::{FAREWELL, Incoming, say_farewell};
use super::io;
use super::request::Request;

/// What is to be done with a stream that becomes a WebSocket.
pub(crate) enum Opening {
    /// It is a session of its own.
    Session(NewSession),
    /// It would become the transport of a session that polls; one that has another has this one closed.
    Probe(NewProbe),
    /// It would carry a session of another server.
    Carried(Carried),
}

/// A stream that would carry a session that polls.
pub(crate) struct NewProbe {
    pub(super) connection: Arc<Connection>,
    /// Its number, if it may.
    pub(super) number: Option<u64>,
    pub(super) terms: Terms,
}

/// A session that is about to open.
pub(crate) struct NewSession {
    pub(super) shared: Arc<Shared>,
    pub(super) id: NewId,
    pub(super) pass: Option<Pass>,
    /// The closing of the engine waits for it.
    pub(super) tracked: TaskTrackerToken,
    pub(super) request: Request,
    pub(super) version: Version,
    pub(super) base64: bool,
    pub(super) terms: Terms,
}

/// A stream that has become a WebSocket, in halves, with what was read ahead.
pub(crate) type Stream = (io::Reader, io::Writer, Bytes);

/// What a WebSocket does from its beginning to its end. Small: it is a part of the task of every connection.
pub(crate) struct Life {
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _counted: Option<Pass>,
    _tracked: Option<TaskTrackerToken>,
}

impl Life {
    fn of(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { task: Some(Box::pin(task)), _counted: None, _tracked: None }
    }
}

impl Future for Life {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.task.as_mut().map_or(Poll::Ready(()), |task| task.as_mut().poll(cx))
    }
}

impl Opening {
    /// Begins on a stream; `None` is one that has broken meanwhile.
    pub(crate) fn begin(self, stream: Option<Stream>) -> Life {
        match (self, stream) {
            (Opening::Session(session), Some(stream)) => session.begin(stream),
            (Opening::Probe(NewProbe { connection, number: Some(number), terms }), Some((reader, writer, ahead))) => {
                Life::of(async move { probe(&connection, number, reader, writer, BytesMut::from(ahead), terms).await })
            }
            (Opening::Probe(_), Some(stream)) => Life::of(refuse_probe(stream)),
            (Opening::Carried(carried), stream) => Life::of(carried.begin(stream)),
            (opening, None) => {
                if let Opening::Probe(NewProbe { connection, number: Some(number), .. }) = opening {
                    connection.probe_closed(number);
                }
                Life { task: None, _counted: None, _tracked: None }
            }
        }
    }
}

impl NewSession {
    fn begin(mut self, stream: Stream) -> Life {
        let (counted, tracked) = (self.pass.take(), self.tracked.clone());
        let shared = self.shared.clone();
        let task = match self.version {
            Version::V4 => self.open(stream).map(|incoming| shared.accept(incoming)),
            Version::V3 => Some(Box::pin(async move {
                tokio::time::sleep(V3_PAUSE).await;
                if let Some(incoming) = self.open(stream) {
                    shared.accept(incoming).await;
                }
            }) as _),
        };
        Life { task, _counted: counted, _tracked: Some(tracked) }
    }

    fn open(self, (reader, writer, ahead): Stream) -> Option<Incoming> {
        let Self { shared, id, request, version, base64, terms, .. } = self;
        if shared.is_closed() {
            return None; // Nobody would end it any more.
        }
        let open = Frame::control(&shared.open_packet(&id.sid, TransportKind::WebSocket));
        let initial = shared.config.initial_packet.clone();
        let (sid, transport) = (id.sid.clone(), TransportKind::WebSocket);
        let connection = Connection::new(sid, version, transport, base64, request, shared.clone(), now());
        shared.remember(&connection);
        drop(id);
        connection.opened(writer, terms);
        let mut incoming = Incoming::new(connection);
        incoming.read_from(reader, BytesMut::from(ahead));
        let mut frames = std::iter::once(open).chain(initial.map(Frame::message));
        frames.all(|frame| incoming.connection().send_frame(&frame, false).is_ok()).then_some(incoming)
    }
}

/// Between the 101 and the first packet for a client of version 3. Some of them listen for packets only after they have
/// looked at the 101, and miss what comes in the same read.
const V3_PAUSE: Duration = Duration::from_millis(5);

/// Lets a WebSocket, or the stream of a WebTransport session, become the transport of a session that polls, if its
/// client says the right words.
pub(super) async fn probe(
    connection: &Arc<Connection>,
    number: u64,
    mut reader: io::Reader,
    mut writer: io::Writer,
    mut buffer: BytesMut,
    terms: Terms,
) {
    let mut decoder = Codec::of(&reader, &connection.shared, terms);
    let version = connection.version();
    let patience = writer.patience(connection.shared.config.write_timeout);
    let mut upgrading = false;
    loop {
        // What follows the upgrade packet belongs to the session.
        while !upgrading {
            let packet = match decoder.decode(&mut buffer) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => Packet::decode_text(text, version).ok(),
                Ok(Some(Event::Binary(data))) => Packet::decode_binary(data, version).ok(),
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => continue,
                Ok(Some(Event::Close(_))) | Err(_) => None,
            };
            let Some(packet) = packet else {
                // The client gave the probe up, or never meant it. It waits for our close frame.
                connection.probe_closed(number);
                let _ = write_all(&mut writer, decoder.goodbye(), FAREWELL).await;
                return;
            };
            upgrading = packet == Packet::Upgrade;
            connection.probe_received(number, packet);
        }
        #[cfg(test)]
        tokio::task::yield_now().await; // Others may come in between: the model has them do so.
        let step = poll_fn(|cx| {
            if let Poll::Ready(step) = connection.poll_probe(number, cx) {
                return Poll::Ready(Some(step));
            }
            match reader.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(None),
                Poll::Ready(_) => Poll::Ready(Some(ProbeStep::Dropped)),
                Poll::Pending => Poll::Pending,
            }
        });
        let step = step.await;
        #[cfg(test)]
        tokio::task::yield_now().await;
        match step {
            None => {}
            Some(ProbeStep::Write(packet)) => {
                let mut text = Vec::new();
                packet.encode_text(version, &mut text);
                if write_all(&mut writer, &decoder.text_frame(&text), patience).await.is_err() {
                    connection.probe_closed(number);
                    return;
                }
            }
            Some(ProbeStep::Upgraded) => {
                if let Some((farewell, reader)) = connection.upgraded(reader, writer, buffer, terms) {
                    say_farewell(farewell, Some(reader)).await;
                }
                return;
            }
            Some(ProbeStep::Dropped) => {
                connection.probe_closed(number);
                let _ = write_all(&mut writer, decoder.goodbye(), FAREWELL).await;
                return;
            }
        }
    }
}

async fn refuse_probe((_reader, mut writer, _): Stream) {
    let _ = write_all(&mut writer, &[0x88, 0], FAREWELL).await;
}

/// Writes to a client that takes something at least as often as after `patience`.
pub(super) async fn write_all(writer: &mut io::Writer, mut bytes: &[u8], patience: Duration) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let written = timeout(patience, poll_fn(|cx| writer.poll_write(cx, &[std::io::IoSlice::new(bytes)])));
        let n = match written.await {
            Ok(written) => written?,
            // On a slow line the kernel may have had room for long.
            Err(late) => match writer.probe(bytes) {
                Ok(n @ 1..) => n,
                _ => return Err(late.into()),
            },
        };
        if n == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(n..).unwrap_or_default();
    }
    timeout(patience, poll_fn(|cx| writer.poll_flush(cx))).await?
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_not_waited_for() {
        let (near, mut far) = tokio::io::duplex(4);
        let (_reader, writer) = tokio::io::split(near);
        let (mut writer, second) = (io::Writer::Pipe(writer), Duration::from_secs(1));
        tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..4 {
                tokio::time::sleep(second * 3 / 4).await;
                far.read_exact(&mut byte).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        assert!(write_all(&mut writer, b"12345678", second).await.is_ok(), "slowly, but it has all been taken");
        let written = write_all(&mut writer, b"9", second).await;
        assert_eq!(written.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
    }
}
