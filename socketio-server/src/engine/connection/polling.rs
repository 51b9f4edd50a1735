//! A connection whose client polls: the answer to its GET, and how far its POSTs may run ahead.

use std::sync::Arc;
use std::task::{Context, Poll};

use socketio_protocol::engine::{Body, Input, PayloadEncoder, TransportKind, Version};

use super::Connection;
use super::state::{Link, PollEnd, State};
use crate::engine::clock::now;

/// What a GET is answered.
pub(in crate::engine) struct PollBody {
    pub(in crate::engine) body: Body,
    /// Whether one of the packets in it may be compressed.
    pub(in crate::engine) compress: bool,
}

/// The POSTs of a client wait when its task is this many messages behind.
pub(super) const INBOX_MESSAGES: usize = 1024;

impl Connection {
    /// The body for the GET that waits, once there is something to say.
    pub(in crate::engine) fn poll_body(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<PollBody> {
        let mut state = self.lock();
        let State { link: Link::Polling { poll, end, .. }, queue, closed, .. } = &mut *state else {
            // The session became a WebSocket while this GET waited: the reference answers it with a close packet.
            return Poll::Ready(PollBody { body: close_body(self.version), compress: false });
        };
        if closed.is_some() && end.is_none() {
            *end = Some(PollEnd::CloseLater); // Another GET was told: two at once.
        }
        if queue.is_empty() && end.is_none() {
            match poll {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => *poll = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        *poll = None;
        let end = match end.take() {
            Some(PollEnd::CloseLater) if !queue.is_empty() => None,
            end => end,
        };
        let waiting = state.queue.len();
        let body =
            state.take_payload(self.version, self.base64, self.shared.config.max_payload(TransportKind::Polling), end);
        let packets = (waiting - state.queue.len()) as u64;
        self.shared.counters.sent(TransportKind::Polling, packets, body.body.bytes.len() as u64);
        self.wrote(&state);
        state.session.handle(now(), Input::PollAnswered);
        if end == Some(PollEnd::CloseLater) {
            let effects = self.handle_locked(&mut state, Input::ToldClosed);
            drop(state);
            self.done(effects);
        }
        Poll::Ready(body)
    }

    /// Waits until the connection's task is not too far behind what POSTs brought.
    pub(in crate::engine) fn poll_inbox_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.inbox.len() < INBOX_MESSAGES || state.closed.is_some() {
            return Poll::Ready(());
        }
        state.inbox_room = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the connection's task has handled what POSTs brought, or says that it does not for now.
    pub(in crate::engine) fn poll_handled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.unhandled || state.closed.is_some() {
            return Poll::Ready(());
        }
        state.handled = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn close_body(version: Version) -> Body {
    let mut payload = PayloadEncoder::new(version, false);
    payload.text(b"1");
    payload.finish()
}
