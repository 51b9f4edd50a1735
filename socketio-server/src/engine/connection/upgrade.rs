//! How a connection gets its stream: opened over one, or changed to one that has probed.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use socketio_protocol::engine::{Input, Output, Packet, Refusal, TransportKind};

use super::Connection;
use super::state::Link;
use crate::engine::counters::bump;
use crate::engine::frame::Terms;
use crate::engine::io::{Reader, Writer};
use crate::engine::write::Farewell;

/// What became of the WebSocket that probes.
pub(in crate::engine) enum ProbeStep {
    Write(Packet),
    Upgraded,
    Dropped,
}

impl Connection {
    /// A WebSocket wants to become the transport of this polling session.
    pub(in crate::engine) fn open_probe(self: &Arc<Self>) -> Result<(), Refusal> {
        if let Some(refusal) = self.handle(Input::ProbeOpened) {
            return Err(refusal);
        }
        if let Link::Polling { probe, .. } = &mut self.lock().link {
            *probe = Some(Box::default());
        }
        Ok(())
    }

    /// What is to be done next on the WebSocket that probes.
    pub(in crate::engine) fn poll_probe(&self, cx: &mut Context<'_>) -> Poll<ProbeStep> {
        let mut state = self.lock();
        let Link::Polling { probe: Some(probe), .. } = &mut state.link else {
            return Poll::Ready(ProbeStep::Dropped);
        };
        match probe.outputs.pop_front() {
            Some(Output::SendProbe(packet)) => Poll::Ready(ProbeStep::Write(packet)),
            Some(Output::Upgraded) => Poll::Ready(ProbeStep::Upgraded),
            Some(_) => Poll::Ready(ProbeStep::Dropped),
            None => {
                probe.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The WebSocket that probed carries the session from now on; `ahead` was read from it already. If the session was
    /// closed meanwhile, gives back what is left to say on it.
    pub(in crate::engine) fn upgraded(
        self: &Arc<Self>,
        reader: Reader,
        writer: Writer,
        ahead: BytesMut,
        terms: Terms,
    ) -> Option<(Farewell, Reader)> {
        let mut state = self.lock();
        state.terms = terms;
        if state.closed.is_some() {
            state.push_goodbye(&NORMAL_CLOSE);
            state.link = Link::Gone;
            return Some((self.farewell(&mut state, writer), reader));
        }
        if let Link::Polling { poll, end, .. } = &mut state.link
            && let Some(waker) = poll.take()
        {
            *end = None;
            waker.wake();
        }
        bump(&self.shared.counters.upgrades);
        tracing::debug!(target: "socketio::connection", sid = self.short_id(), "upgraded");
        state.link = Link::WebSocket { writer, upgraded: Some((reader, ahead)), close_frame: NORMAL_CLOSE };
        if let Some(watch) = self.watched() {
            watch.upgraded(match state.terms.web_transport {
                true => TransportKind::WebTransport,
                false => TransportKind::WebSocket,
            });
        }
        self.flush_locked(&mut state);
        drop(state);
        self.task.wake();
        None
    }

    /// The session was opened over this WebSocket, or stream.
    pub(in crate::engine) fn opened(self: &Arc<Self>, writer: Writer, terms: Terms) {
        let mut state = self.lock();
        state.terms = terms;
        state.link = Link::WebSocket { writer, upgraded: None, close_frame: NORMAL_CLOSE };
    }
}

/// A close frame without a code, as the reference server sends it.
const NORMAL_CLOSE: Bytes = Bytes::from_static(&[0x88, 0]);
