//! How a connection gets its stream: opened over one, or changed to one that has probed.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use socketio_protocol::engine::{Input, Output, Packet, Refusal};

use super::Connection;
use super::state::{Link, Probe};
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
    /// A WebSocket wants to become the transport of this polling session. Returns its number.
    pub(in crate::engine) fn open_probe(self: &Arc<Self>) -> Result<u64, Refusal> {
        let mut state = self.lock();
        let effects = self.handle_locked(&mut state, Input::ProbeOpened);
        let mut number = 0;
        if let (Link::Polling { probe, .. }, None) = (&mut state.link, effects.refused) {
            number = probe.as_ref().map_or(0, |last| last.number + 1);
            *probe = Some(Box::new(Probe { number, ..Probe::default() }));
        }
        drop(state);
        self.done(effects).map_or(Ok(number), Err)
    }

    /// What is to be done next on the WebSocket that probes.
    pub(in crate::engine) fn poll_probe(&self, number: u64, cx: &mut Context<'_>) -> Poll<ProbeStep> {
        let mut state = self.lock();
        let Some(probe) = state.probe_of(number) else {
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

    /// A packet came on the WebSocket that probes. One that was given up is not heard.
    pub(in crate::engine) fn probe_received(self: &Arc<Self>, number: u64, packet: Packet) {
        let mut state = self.lock();
        if state.probe_of(number).is_some() {
            let effects = self.handle_locked(&mut state, Input::ProbeReceived(packet));
            drop(state);
            self.done(effects);
        }
    }

    /// The WebSocket that probes was closed, failed, or carried something that is no packet.
    pub(in crate::engine) fn probe_closed(self: &Arc<Self>, number: u64) {
        let mut state = self.lock();
        if state.probe_of(number).is_some() {
            // Between the upgrade packet and the change it is the transport already.
            let probing = state.session.is_polling();
            let input = if probing { Input::ProbeClosed } else { Input::TransportClosed };
            let effects = self.handle_locked(&mut state, input);
            drop(state);
            self.done(effects);
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
        if let Link::Polling { poll, .. } = &mut state.link
            && let Some(waker) = poll.take()
        {
            waker.wake();
        }
        bump(&self.shared.counters.upgrades);
        tracing::debug!(target: "socketio::connection", sid = self.short_id(), "upgraded");
        state.link = Link::WebSocket { writer, upgraded: Some((reader, ahead)), close_frame: NORMAL_CLOSE };
        if let Some(watch) = self.watched() {
            watch.upgraded(state.terms.transport());
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
