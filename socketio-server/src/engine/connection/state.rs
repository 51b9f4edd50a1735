//! What changes in a connection, under one short lock.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use socketio_protocol::engine::{CloseReason, Input, Message, Output, PayloadEncoder, Session, Version};

use super::batch::{self, Batch, Draft};
use super::polling::PollBody;
use crate::engine::clock::now;
use crate::engine::counters::Counters;
use crate::engine::frame::{Frame, Terms, Wire};
use crate::engine::io::{Reader, Writer};
use crate::engine::write::{advance, probe, write_slices, write_some};

/// What changes in a connection, under one short lock.
pub(super) struct State {
    pub(super) session: Session,
    pub(super) queue: VecDeque<Frame>,
    /// In place of a queue: packets for this client alone, on a WebSocket.
    pub(super) batch: Option<Box<Batch>>,
    pub(super) queued_bytes: usize,
    /// How much of the first frame has been written.
    pub(super) written: usize,
    pub(super) link: Link,
    pub(super) terms: Terms,
    /// Messages that came in POSTs.
    pub(super) inbox: VecDeque<Message>,
    /// POSTs that wait for room in the inbox.
    pub(super) inbox_room: Option<Waker>,
    /// Whether the connection's task has not come back for more since something was put into the inbox.
    pub(super) unhandled: bool,
    /// The POST that waits until it has.
    pub(super) handled: Option<Waker>,
    pub(super) closed: Option<CloseReason>,
    /// The connection's task is in its turn and will flush at its end.
    pub(super) corked: bool,
    /// The flusher knows that something is queued.
    pub(super) dirty: bool,
    /// The stream took no more; the connection's task waits until it does.
    pub(super) blocked: bool,
    pub(super) nudged: bool,
    /// Under which deadline the timers hold this connection.
    pub(super) armed: Option<Instant>,
    /// Besides those of the session. Most of the time there are none.
    pub(super) deadlines: Option<Box<Deadlines>>,
}

/// What is looked at when its time has come.
#[derive(Default)]
pub(super) struct Deadlines {
    /// The connection's task wants to be nudged.
    pub(super) alarm: Option<Instant>,
    /// The stream, which is blocked, has to have taken something.
    pub(super) progress: Option<Instant>,
}

/// What carries packets to the client.
pub(super) enum Link {
    Polling {
        /// The GET that waits.
        poll: Option<Waker>,
        /// Said to the waiting GET when nothing is queued.
        end: Option<PollEnd>,
        probe: Option<Box<Probe>>,
    },
    /// Or the stream of a WebTransport session. `upgraded` is the reading half and what was read ahead, until the
    /// connection's task has taken it.
    WebSocket {
        writer: Writer,
        upgraded: Option<(Reader, BytesMut)>,
        /// What is said at the end; empty if nobody is there any more to be told.
        close_frame: Bytes,
    },
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PollEnd {
    /// A noop, if nothing is queued.
    Noop,
    /// What is queued, and a close packet.
    Close,
    /// What is queued; a close packet only if that is nothing.
    CloseLater,
}

/// What the session wants done on the WebSocket that probes.
#[derive(Default)]
pub(super) struct Probe {
    /// Which of the WebSockets that have probed it is. One that was given up may not have ended yet when the next comes.
    pub(super) number: u64,
    pub(super) outputs: VecDeque<Output>,
    pub(super) waker: Option<Waker>,
}

impl State {
    #[inline(always)]
    pub(super) fn push(&mut self, frame: Frame) {
        if self.batch.is_some() {
            self.part_batch();
        }
        self.queued_bytes += frame.size();
        self.queue.push_back(frame);
    }

    /// Queues a packet that is for this client alone, and is not compressed.
    pub(super) fn push_draft(&mut self, draft: Draft, version: Version) {
        let size = draft.size();
        let web_socket = matches!(self.link, Link::WebSocket { .. }) && !self.terms.web_transport;
        let plain = web_socket && (version == Version::V4 || !draft.has_attachments());
        let room = self.batch.as_ref().map_or(0, |batch| batch.size()) + size <= batch::MAX;
        if plain && room && self.queue.is_empty() && !self.blocked {
            self.queued_bytes += size;
            self.batch.get_or_insert_with(Batch::new).push(draft);
        } else {
            self.push(draft.into_frame());
        }
    }

    /// Makes frames of the batch.
    #[cold]
    pub(super) fn part_batch(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.queue.extend(batch.frames());
            batch.recycle();
        }
    }

    /// Whether nothing waits for the client.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.batch.is_none()
    }

    /// How many packets wait for the client.
    pub(super) fn packets(&self) -> usize {
        self.queue.len() + self.batch.as_ref().map_or(0, |batch| batch.packets())
    }

    pub(super) fn set_close_frame(&mut self, frame: Bytes) {
        if let Link::WebSocket { close_frame, .. } = &mut self.link {
            *close_frame = frame;
        }
    }

    /// Queues the close frame. WebTransport has none: the end of the stream says all.
    pub(super) fn push_goodbye(&mut self, close_frame: &[u8]) {
        if !self.terms.web_transport {
            self.push(Frame::raw(close_frame));
        }
    }

    /// The POST whose messages have been handled can be answered.
    pub(super) fn tell_handled(&mut self) {
        if std::mem::take(&mut self.unhandled)
            && let Some(waker) = self.handled.take()
        {
            waker.wake();
        }
    }

    /// Throws away what is queued. A frame of which a part has left is kept: whatever came next would be taken for its rest.
    pub(super) fn clear(&mut self) {
        self.batch = None;
        let begun = self.queue.pop_front().filter(|_| self.written > 0);
        self.queued_bytes = begun.as_ref().map_or(0, Frame::size);
        self.queue = begun.into_iter().collect();
        self.unblock();
    }

    pub(super) fn unblock(&mut self) {
        if std::mem::take(&mut self.blocked)
            && let Some(deadlines) = &mut self.deadlines
        {
            deadlines.progress = None;
        }
    }

    /// Gives the memory back when there is nothing in it.
    pub(super) fn forget_passed(&mut self) {
        self.deadlines.take_if(|deadlines| deadlines.alarm.is_none() && deadlines.progress.is_none());
    }

    pub(super) fn deadlines(&mut self) -> &mut Deadlines {
        self.deadlines.get_or_insert_default()
    }

    /// When there is something to look at if nothing happens before. `None` once the session is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let session = self.session.deadline()?;
        let own = self.deadlines.as_ref().into_iter().flat_map(|own| [own.alarm, own.progress]);
        Some(own.flatten().fold(session, Instant::min))
    }

    /// Whether what is sent now can leave now, the reference's rule for volatile packets, or soon enough.
    pub(super) fn writable(&self, max_queued: usize) -> bool {
        match &self.link {
            Link::Polling { poll, .. } => self.queue.is_empty() && (poll.is_some() && self.session.poll_waits()),
            Link::WebSocket { .. } => self.is_empty() || self.queued_bytes < max_queued,
            Link::Gone => false,
        }
    }

    /// Ends the session for a reason that its state machine does not know of.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if self.closed.is_none() {
            self.closed = Some(reason);
            if self.session.poll_waits() {
                self.end_poll(PollEnd::Close);
            }
            self.session.handle(now(), Input::TransportFailed(reason.as_str()));
            while let Some(output) = self.session.poll() {
                if output == Output::DropProbe {
                    self.tell_probe(output);
                }
            }
            if matches!(self.link, Link::Polling { .. }) && !self.is_answering_poll() {
                self.clear();
            }
        }
    }

    /// The WebSocket that probes, or has probed last, if it is this one.
    pub(super) fn probe_of(&mut self, number: u64) -> Option<&mut Probe> {
        match &mut self.link {
            Link::Polling { probe, .. } => probe.as_deref_mut().filter(|probe| probe.number == number),
            Link::WebSocket { .. } | Link::Gone => None,
        }
    }

    pub(super) fn tell_probe(&mut self, output: Output) {
        if let Link::Polling { probe: Some(probe), .. } = &mut self.link {
            probe.outputs.push_back(output);
            if let Some(waker) = probe.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether a GET is about to be answered, with what is queued.
    pub(super) fn is_answering_poll(&self) -> bool {
        matches!(self.link, Link::Polling { end: Some(_), .. })
    }

    pub(super) fn end_poll(&mut self, how: PollEnd) {
        if let Link::Polling { poll, end, .. } = &mut self.link {
            *end = Some(how);
            if let Some(waker) = poll.take() {
                waker.wake();
            }
        }
    }

    /// Takes as much of the queue as one body may hold.
    pub(super) fn take_payload(
        &mut self,
        version: Version,
        base64: bool,
        max: usize,
        end: Option<PollEnd>,
    ) -> PollBody {
        let mut payload = PayloadEncoder::new(version, !base64);
        let (mut len, mut compress) = (0, false);
        while let Some(frame) = self.queue.front() {
            len += frame.payload_len();
            if !payload.is_empty() && len > max && end != Some(PollEnd::Close) {
                break;
            }
            frame.write_payload(&mut payload);
            compress |= frame.may_compress();
            self.queued_bytes -= frame.size();
            self.queue.pop_front();
        }
        match end {
            Some(PollEnd::Close | PollEnd::CloseLater) => payload.text(b"1"),
            Some(PollEnd::Noop) if payload.is_empty() => payload.text(b"6"),
            _ => {}
        }
        PollBody { body: payload.finish(), compress }
    }

    /// Writes until the queue is empty or the stream full.
    pub(super) fn write(
        &mut self,
        wire: Wire<'_>,
        cx: Option<&mut Context<'_>>,
        counters: &Counters,
    ) -> Poll<io::Result<()>> {
        let (waiting, mut bytes) = (self.packets(), 0);
        let result = match self.batch {
            Some(_) => self.write_batch(wire, cx, &mut bytes),
            None => self.write_queue(wire, cx, &mut bytes),
        };
        self.count(waiting, bytes, counters);
        result
    }

    /// Counts what has left since `waiting` packets were queued.
    fn count(&self, waiting: usize, bytes: usize, counters: &Counters) {
        if bytes > 0 {
            counters.sent(self.terms.transport(), (waiting - self.packets()) as u64, bytes as u64);
        }
    }

    fn write_batch(
        &mut self,
        wire: Wire<'_>,
        mut cx: Option<&mut Context<'_>>,
        bytes: &mut usize,
    ) -> Poll<io::Result<()>> {
        let State { batch: Some(batch), link: Link::WebSocket { writer, .. }, .. } = self else {
            return Poll::Ready(Ok(()));
        };
        let len = batch.bytes().len();
        match write_slices(&[IoSlice::new(batch.bytes())], writer, cx.as_deref_mut()) {
            Poll::Ready(Ok(n)) if n == len => {
                *bytes += n;
                self.queued_bytes -= batch.size();
                self.batch.take().into_iter().for_each(Batch::recycle);
            }
            Poll::Ready(Ok(n)) => {
                *bytes += n;
                self.part_batch();
                self.queued_bytes -= advance(&mut self.queue, &mut self.written, n, wire);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                self.part_batch();
                return Poll::Pending;
            }
        }
        self.write_queue(wire, cx, bytes)
    }

    fn write_queue(
        &mut self,
        wire: Wire<'_>,
        mut cx: Option<&mut Context<'_>>,
        bytes: &mut usize,
    ) -> Poll<io::Result<()>> {
        let State { queue, link: Link::WebSocket { writer, .. }, written, queued_bytes, .. } = self else {
            return Poll::Ready(Ok(()));
        };
        while !queue.is_empty() {
            match write_some(queue, *written, wire, writer, cx.as_deref_mut()) {
                Poll::Ready(Ok(n)) => {
                    *bytes += n;
                    *queued_bytes -= advance(queue, written, n, wire);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if queue.capacity() > 64 {
            *queue = VecDeque::new();
        }
        match cx {
            Some(cx) => writer.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether a stream that is blocked takes anything now, however little; it is given all that it takes.
    pub(super) fn probe(&mut self, wire: Wire<'_>, counters: &Counters) -> io::Result<bool> {
        let (waiting, mut bytes) = (self.packets(), 0);
        let State { queue, link: Link::WebSocket { writer, .. }, written, queued_bytes, .. } = self else {
            return Ok(true);
        };
        let result = loop {
            match probe(queue, *written, wire, writer) {
                Ok(0) => break Ok(bytes > 0),
                Ok(taken) => {
                    bytes += taken;
                    *queued_bytes -= advance(queue, written, taken, wire);
                }
                Err(error) => break Err(error),
            }
        };
        self.count(waiting, bytes, counters);
        result
    }
}
