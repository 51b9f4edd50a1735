//! How what is queued for a connection leaves: who writes it when, and what happens when the stream takes no more.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use socketio_protocol::engine::CloseReason;

use super::Connection;
use super::state::{Link, State};
use crate::engine::clock::now;

impl Connection {
    /// Sees to it that what is queued leaves, if nobody does yet.
    #[inline(always)]
    pub(super) fn schedule(self: &Arc<Self>, state: &mut State) {
        match &mut state.link {
            Link::Polling { poll, .. } => {
                if let Some(waker) = poll.take() {
                    waker.wake();
                }
            }
            Link::WebSocket { .. } if !state.corked && !state.dirty && !state.blocked => {
                state.dirty = true;
                self.shared.flusher.push(self.clone());
            }
            Link::WebSocket { .. } | Link::Gone => {}
        }
    }

    /// Writes what is queued, as far as the stream takes it.
    pub(in crate::engine) fn flush(self: &Arc<Self>) {
        let mut state = self.lock();
        state.dirty = false;
        self.flush_locked(&mut state);
    }

    pub(super) fn flush_locked(self: &Arc<Self>, state: &mut State) {
        if state.blocked || state.is_empty() {
            return;
        }
        let wire = self.wire(state.terms);
        match state.write(wire, None, &self.shared.counters) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => self.write_failed(state),
            Poll::Pending => {
                self.stalled(state, true);
                self.task.wake();
            }
        }
        self.wrote(state);
    }

    /// Something has been written.
    pub(super) fn wrote(&self, state: &State) {
        if let Some(watch) = self.watched() {
            watch.wrote(state.packets(), state.queued_bytes);
        }
    }

    /// The stream is full. It is given time to take something, again each time it has.
    pub(super) fn stalled(self: &Arc<Self>, state: &mut State, progressed: bool) {
        let was_blocked = std::mem::replace(&mut state.blocked, true);
        if was_blocked && !progressed {
            return;
        }
        let write_timeout = self.shared.config.write_timeout;
        let patience = match &state.link {
            Link::WebSocket { writer, .. } => writer.patience(write_timeout),
            _ => write_timeout,
        };
        state.deadlines().progress = Some(now() + patience);
        self.arm(state);
    }

    pub(super) fn write_failed(self: &Arc<Self>, state: &mut State) {
        state.end(CloseReason::TransportClose);
        state.clear();
        state.set_close_frame(Bytes::new());
        self.task.wake();
        // The map of sessions is told by the connection's task, which ends now.
    }

    /// Sets what the client is told when the WebSocket is closed; nothing if that is empty.
    pub(in crate::engine) fn set_close_frame(&self, frame: Bytes) {
        self.lock().set_close_frame(frame);
    }

    pub(super) fn poll_flush(self: &Arc<Self>, state: &mut State, cx: &mut Context<'_>) {
        let before = (state.queued_bytes, state.written);
        let wire = self.wire(state.terms);
        match state.write(wire, Some(cx), &self.shared.counters) {
            Poll::Ready(Ok(())) => state.unblock(),
            Poll::Ready(Err(_)) => self.write_failed(state),
            Poll::Pending => {
                let progressed = before != (state.queued_bytes, state.written);
                self.stalled(state, progressed);
            }
        }
        self.wrote(state);
    }
}
