//! One client, whatever carries its packets: the queue of what it is to receive, and the session that decides.
//!
//! A [`Connection`] is shared: anyone may [`send`](Connection::send) from any thread. What is sent is queued, bounded
//! in packets and bytes, and leaves in one `writev` at the end of the turn: at the end of the connection's own turn if
//! it was sent from there ([`Incoming`](super::Incoming) *corks* the queue), else when the [flusher](super::flusher)
//! comes by. Messages that arrive go the other way through [`Incoming`](super::Incoming), which one task owns.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures_util::task::AtomicWaker;
use socketio_protocol::engine::{
    Body, CloseReason, Input, Message, Output, Packet, PayloadEncoder, Refusal, Session, TransportKind, Version,
};
use socketio_protocol::websocket;

use super::clock::now;
use super::counters::{Counters, bump};
use super::engine::Shared;
use super::events::Watch;
use super::frame::{Frame, Terms, Wire};
use super::io::{Reader, Writer};
use super::request::Request;
use super::write::{Farewell, advance, probe, write_some};

/// Why a packet was not queued for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The client reads too slowly: its queue is full, and it is closed for it.
    #[error("the client's queue is full; it is closed as a slow consumer")]
    Full,
    /// The packet was volatile, and the client not ready for it.
    #[error("the client was not ready for a volatile packet")]
    Dropped,
}

/// One client. Anyone may send to it, from any thread: what is sent is queued in order, within bounds, and leaves at the
/// end of the turn. What it sends comes out of its [`Incoming`](super::Incoming).
pub struct Connection {
    id: ByteString,
    version: Version,
    /// An Engine.IO v3 client that can take text only over polling (`b64=1`).
    base64: bool,
    request: Request,
    pub(super) shared: Arc<Shared>,
    /// When something last arrived, in milliseconds since the engine's start.
    heard: AtomicU64,
    /// The task that owns [`Incoming`](super::Incoming).
    task: AtomicWaker,
    state: Mutex<State>,
    /// Who watches it or waits for it; mostly nobody.
    watch: OnceLock<Box<Watch>>,
}

/// What changes in a connection, under one short lock.
struct State {
    session: Session,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    /// How much of the first frame has been written.
    written: usize,
    link: Link,
    terms: Terms,
    /// Messages that came in POSTs.
    inbox: VecDeque<Message>,
    /// POSTs that wait for room in the inbox.
    inbox_room: Option<Waker>,
    /// Whether the connection's task has not come back for more since something was put into the inbox.
    unhandled: bool,
    /// The POST that waits until it has.
    handled: Option<Waker>,
    closed: Option<CloseReason>,
    /// The connection's task is in its turn and will flush at its end.
    corked: bool,
    /// The flusher knows that something is queued.
    dirty: bool,
    /// The stream took no more; the connection's task waits until it does.
    blocked: bool,
    nudged: bool,
    /// Under which deadline the timers hold this connection.
    armed: Option<Instant>,
    /// Besides those of the session. Most of the time there are none.
    deadlines: Option<Box<Deadlines>>,
}

/// What is looked at when its time has come.
#[derive(Default)]
struct Deadlines {
    /// The connection's task wants to be nudged.
    alarm: Option<Instant>,
    /// The stream, which is blocked, has to have taken something.
    progress: Option<Instant>,
}

/// What carries packets to the client.
enum Link {
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
        close_frame: Bytes,
    },
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PollEnd {
    /// A noop, if nothing is queued.
    Noop,
    /// What is queued, and a close packet.
    Close,
    /// What is queued; a close packet only if that is nothing.
    CloseLater,
}

/// What a GET is answered.
pub(super) struct PollBody {
    pub(super) body: Body,
    /// Whether one of the packets in it may be compressed.
    pub(super) compress: bool,
}

/// What the session wants done on the WebSocket that probes.
#[derive(Default)]
struct Probe {
    outputs: VecDeque<Output>,
    waker: Option<Waker>,
}

/// What became of the WebSocket that probes.
pub(super) enum ProbeStep {
    Write(Packet),
    Upgraded,
    Dropped,
}

/// What the connection's task is woken for.
pub(super) enum Wake {
    Message(Message),
    Upgraded(Reader, BytesMut),
    Nudged,
    Closed(CloseReason),
}

/// The POSTs of a client wait when its task is this many messages behind.
const INBOX_MESSAGES: usize = 1024;

impl Connection {
    pub(super) fn new(
        id: ByteString,
        version: Version,
        transport: TransportKind,
        base64: bool,
        request: Request,
        shared: Arc<Shared>,
        now: Instant,
    ) -> Arc<Self> {
        let session = Session::new(now, version, transport, shared.config.timing);
        let link = match transport {
            TransportKind::Polling => Link::Polling { poll: None, end: None, probe: None },
            _ => Link::Gone,
        };
        let connection = Arc::new(Self {
            id,
            version,
            base64,
            request,
            heard: AtomicU64::new(shared.millis(now)),
            task: AtomicWaker::new(),
            state: Mutex::new(State {
                armed: session.deadline(),
                session,
                queue: VecDeque::new(),
                queued_bytes: 0,
                written: 0,
                link,
                terms: Terms { base64, ..Terms::default() },
                inbox: VecDeque::new(),
                inbox_room: None,
                unhandled: false,
                handled: None,
                closed: None,
                corked: false,
                dirty: false,
                blocked: false,
                nudged: false,
                deadlines: None,
            }),
            watch: OnceLock::new(),
            shared,
        });
        if let Some(at) = connection.lock().armed {
            connection.shared.timers.arm(at, &connection);
        }
        connection
    }

    /// The session id. A secret of this client: who knows it can speak for a polling client.
    pub fn id(&self) -> &ByteString {
        &self.id
    }

    /// The protocol the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The request that opened the session.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The transport in use now.
    pub fn transport(&self) -> TransportKind {
        let state = self.lock();
        match state.session.is_polling() {
            true => TransportKind::Polling,
            false if state.terms.web_transport => TransportKind::WebTransport,
            false => TransportKind::WebSocket,
        }
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// How many bytes wait for the client.
    pub fn queued_bytes(&self) -> usize {
        self.lock().queued_bytes
    }

    /// How many packets wait for the client.
    pub fn queued_packets(&self) -> usize {
        self.lock().queue.len()
    }

    /// How many packets and bytes wait; `None` after the end of the session.
    pub(crate) fn queued(&self) -> Option<(usize, usize)> {
        let state = self.lock();
        state.closed.is_none().then(|| (state.queue.len(), state.queued_bytes))
    }

    pub(super) fn watch(&self) -> &Watch {
        self.watch.get_or_init(Box::default)
    }

    /// Whoever watches it, if anybody does.
    pub(super) fn watched(&self) -> Option<&Watch> {
        self.watch.get().map(|watch| &**watch)
    }

    /// So much of the id as a log may hold: the whole is a secret.
    pub(crate) fn short_id(&self) -> &str {
        self.id.get(..6).unwrap_or_default()
    }

    /// Queues one message. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after the end of the session, [`SendError::Full`] when the client has left too much
    /// unread, which closes it.
    pub fn send(self: &Arc<Self>, message: Message) -> Result<(), SendError> {
        self.send_frame(&Frame::message(message), false)
    }

    /// Queues a frame that may be shared with others; a volatile one only if it can leave at once.
    pub(crate) fn send_frame(self: &Arc<Self>, frame: &Frame, volatile: bool) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.closed.is_some() {
            return Err(SendError::Closed);
        }
        let config = &self.shared.config;
        if volatile && !state.writable(config.max_volatile_bytes) {
            bump(&self.shared.counters.volatile_dropped);
            return Err(SendError::Dropped);
        }
        if state.queue.len() >= config.max_queued_packets
            || state.queued_bytes.saturating_add(frame.size()) > config.max_queued_bytes
        {
            self.end_slow(state);
            return Err(SendError::Full);
        }
        state.push(frame.clone());
        if let Some(watch) = self.watched() {
            watch.queued(frame);
        }
        self.schedule(&mut state);
        Ok(())
    }

    fn end_slow(&self, mut state: MutexGuard<'_, State>) {
        tracing::warn!(sid = self.short_id(), queued_bytes = state.queued_bytes, "a slow client is closed");
        state.end(CloseReason::SlowConsumer);
        drop(state);
        self.shared.forget(&self.id);
        self.task.wake();
    }

    /// Compresses a long frame that is about to be sent, here and under no lock, if that was agreed with the client.
    pub(crate) fn compress_ahead(&self, frame: &Frame) {
        if self.compresses() {
            let terms = self.lock().terms;
            frame.compress_ahead(self.wire(terms));
        }
    }

    /// Whether messages are compressed for this client.
    pub(crate) fn compresses(&self) -> bool {
        self.shared.codec.is_some() && self.shared.compressor(self.lock().terms).is_some()
    }

    /// Closes the session. What is queued still leaves; nothing more is accepted.
    pub fn close(self: &Arc<Self>) {
        self.handle(Input::Close);
    }

    /// Closes the session for `reason`, and tells a WebSocket client that the server goes. What is queued still leaves.
    pub(super) fn close_for(self: &Arc<Self>, reason: CloseReason) {
        self.set_close_frame(websocket::close_frame(Some(GOING_AWAY), ""));
        self.lock().closed.get_or_insert(reason);
        self.handle(Input::Close);
    }

    /// Closes the session for `reason`, without sending what is queued.
    pub(crate) fn discard(self: &Arc<Self>, reason: CloseReason) {
        let mut state = self.lock();
        state.clear();
        if state.closed.is_none() {
            state.session.handle(now(), Input::Close);
            self.apply(&mut state);
            state.closed = Some(reason);
        }
        drop(state);
        self.shared.forget(&self.id);
        self.task.wake();
    }

    /// Wakes the connection's task, which has something to look at besides messages.
    pub(crate) fn nudge(&self) {
        self.lock().nudged = true;
        self.task.wake();
    }

    /// Nudges the connection's task when `at` has come. There is one such time; a new one takes its place.
    pub(crate) fn nudge_at(self: &Arc<Self>, at: Option<Instant>) {
        let mut state = self.lock();
        state.deadlines().alarm = at;
        state.forget_passed();
        self.arm(&mut state);
    }

    /// Has a full stop put after this turn: what was sent while the queue was corked leaves now.
    pub(crate) fn uncork(self: &Arc<Self>) {
        let mut state = self.lock();
        state.corked = false;
        self.flush_locked(&mut state);
    }

    pub(super) fn cork(&self) {
        self.lock().corked = true;
    }

    fn wire(&self, terms: Terms) -> Wire<'_> {
        Wire::new(self.version, terms, self.shared.compressor(terms).map(|codec| &**codec))
    }

    fn farewell(&self, state: &mut State, writer: Writer) -> Farewell {
        let frames = std::mem::take(&mut state.queue);
        let written = std::mem::take(&mut state.written);
        state.clear();
        let (terms, codec) = (state.terms, self.shared.compressor(state.terms).cloned());
        Farewell { frames, written, writer, version: self.version, terms, codec }
    }

    /// What the client said it can read.
    pub(super) fn terms(&self) -> Terms {
        self.lock().terms
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code that can panic runs under a connection's lock")
    }

    // ---- what happens -----------------------------------------------------------------------------------------

    /// Notes that something arrived.
    pub(super) fn heard(&self, now: Instant) {
        self.heard.store(self.shared.millis(now), Ordering::Relaxed);
    }

    /// Tells the session what happened and does what it says.
    pub(super) fn handle(self: &Arc<Self>, input: Input) -> Option<Refusal> {
        let now = now();
        if let (Input::Received(packet), Some(watch)) = (&input, self.watched()) {
            watch.arrived(
                packet,
                matches!((packet, self.version), (Packet::Pong(_), Version::V4) | (Packet::Ping(_), Version::V3)),
            );
        }
        let mut state = self.lock();
        state.session.heard(self.shared.instant(self.heard.load(Ordering::Relaxed)));
        state.session.handle(now, input);
        let effects = self.apply(&mut state);
        self.arm(&mut state);
        drop(state);
        if effects.forget {
            self.shared.forget(&self.id);
        }
        effects.refused
    }

    /// Has the timers look earlier than they would, if there is a reason to.
    fn arm(self: &Arc<Self>, state: &mut State) {
        if let (Some(at), Some(armed)) = (state.deadline(), state.armed)
            && at < armed
        {
            state.armed = Some(at);
            self.shared.timers.arm(at, self);
        }
    }

    /// A deadline has come. Says when the next one is.
    pub(super) fn tick(self: &Arc<Self>, armed: Instant) {
        let mut state = self.lock();
        if state.armed != Some(armed) {
            return; // Another, earlier deadline has taken over.
        }
        self.check_deadlines(state);
        self.handle(Input::Tick);
        state = self.lock();
        if state.armed == Some(armed) {
            state.armed = state.deadline();
            if let Some(at) = state.armed {
                self.shared.timers.arm(at, self);
            }
        }
    }

    /// Looks at the deadlines that are not the session's.
    fn check_deadlines(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let Some(deadlines) = &mut state.deadlines else { return };
        let now = now();
        if deadlines.alarm.take_if(|at| *at <= now).is_some() {
            state.nudged = true;
            self.task.wake();
        }
        let Some(deadlines) = &mut state.deadlines else { return };
        if deadlines.progress.take_if(|at| *at <= now).is_some() && state.closed.is_none() {
            let wire = self.wire(state.terms);
            match state.probe(wire) {
                Ok(true) => {
                    let next = now + self.shared.config.write_timeout;
                    state.deadlines().progress = Some(next);
                    self.task.wake();
                }
                Ok(false) => {
                    state.clear();
                    return self.end_slow(state);
                }
                Err(_) => self.write_failed(&mut state),
            }
        }
        state.forget_passed();
    }

    fn apply(self: &Arc<Self>, state: &mut State) -> Effects {
        let mut effects = Effects { forget: false, refused: None };
        while let Some(output) = state.session.poll() {
            match output {
                Output::Deliver(message) => {
                    state.inbox.push_back(message);
                    state.unhandled = true;
                    self.task.wake();
                }
                Output::Send(packet) => {
                    if let Some(watch) = self.watched() {
                        watch.queued_packet(&packet);
                    }
                    state.push(match &packet {
                        Packet::Ping(data) if data.is_empty() => Frame::ping(),
                        packet => Frame::control(packet),
                    });
                    self.schedule(state);
                }
                Output::ReleasePoll => state.end_poll(PollEnd::Noop),
                Output::EndPoll => state.end_poll(PollEnd::Close),
                Output::ClosePoll => state.end_poll(PollEnd::CloseLater),
                Output::SendProbe(_) | Output::DropProbe | Output::Upgraded => state.tell_probe(output),
                Output::Refuse(refusal) => effects.refused = Some(refusal),
                Output::Close(reason) => {
                    state.closed.get_or_insert(reason);
                    if !matches!(reason, CloseReason::ForcedClose) && !state.is_answering_poll() {
                        state.clear();
                    }
                    state.inbox_room.take().into_iter().chain(state.handled.take()).for_each(Waker::wake);
                    self.task.wake();
                }
                Output::Forget => effects.forget = true,
            }
        }
        effects
    }

    // ---- polling ----------------------------------------------------------------------------------------------

    /// The body for the GET that waits, once there is something to say.
    pub(super) fn poll_body(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<PollBody> {
        let mut state = self.lock();
        let State { link: Link::Polling { poll, end, .. }, queue, .. } = &mut *state else {
            // The session became a WebSocket while this GET waited: the reference answers it with a close packet.
            return Poll::Ready(PollBody { body: close_body(self.version), compress: false });
        };
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
        drop(state);
        if end == Some(PollEnd::CloseLater) {
            self.handle(Input::ToldClosed);
        }
        Poll::Ready(body)
    }

    /// Waits until the connection's task is not too far behind what POSTs brought.
    pub(super) fn poll_inbox_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.inbox.len() < INBOX_MESSAGES || state.closed.is_some() {
            return Poll::Ready(());
        }
        state.inbox_room = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the connection's task has handled what POSTs brought, or says that it does not for now.
    pub(super) fn poll_handled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.unhandled || state.closed.is_some() {
            return Poll::Ready(());
        }
        state.handled = Some(cx.waker().clone());
        Poll::Pending
    }

    // ---- upgrade ----------------------------------------------------------------------------------------------

    /// A WebSocket wants to become the transport of this polling session.
    pub(super) fn open_probe(self: &Arc<Self>) -> Result<(), Refusal> {
        if let Some(refusal) = self.handle(Input::ProbeOpened) {
            return Err(refusal);
        }
        if let Link::Polling { probe, .. } = &mut self.lock().link {
            *probe = Some(Box::default());
        }
        Ok(())
    }

    /// What is to be done next on the WebSocket that probes.
    pub(super) fn poll_probe(&self, cx: &mut Context<'_>) -> Poll<ProbeStep> {
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
    pub(super) fn upgraded(
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
    pub(super) fn opened(self: &Arc<Self>, writer: Writer, terms: Terms) {
        let mut state = self.lock();
        state.terms = terms;
        state.link = Link::WebSocket { writer, upgraded: None, close_frame: NORMAL_CLOSE };
    }

    // ---- writing to a WebSocket -------------------------------------------------------------------------------

    /// Sees to it that what is queued leaves, if nobody does yet.
    fn schedule(self: &Arc<Self>, state: &mut State) {
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
    pub(super) fn flush(self: &Arc<Self>) {
        let mut state = self.lock();
        state.dirty = false;
        self.flush_locked(&mut state);
    }

    fn flush_locked(self: &Arc<Self>, state: &mut State) {
        if state.blocked || state.queue.is_empty() {
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
    fn wrote(&self, state: &State) {
        if let Some(watch) = self.watched() {
            watch.wrote(state.queue.len(), state.queued_bytes);
        }
    }

    /// The stream is full. It is given time to take something, again each time it has.
    fn stalled(self: &Arc<Self>, state: &mut State, progressed: bool) {
        let was_blocked = std::mem::replace(&mut state.blocked, true);
        if was_blocked && !progressed {
            return;
        }
        let patience = match &state.link {
            Link::WebSocket { writer, .. } if !writer.shows_progress() => OPAQUE_PATIENCE,
            _ => 1,
        };
        state.deadlines().progress = Some(now() + self.shared.config.write_timeout * patience);
        self.arm(state);
    }

    fn write_failed(self: &Arc<Self>, state: &mut State) {
        state.end(CloseReason::TransportClose);
        state.clear();
        self.task.wake();
        // The map of sessions is told by the connection's task, which ends now.
    }

    /// Sets what the client is told when the WebSocket is closed.
    pub(super) fn set_close_frame(&self, frame: Bytes) {
        if let Link::WebSocket { close_frame, .. } = &mut self.lock().link {
            *close_frame = frame;
        }
    }

    // ---- the connection's task --------------------------------------------------------------------------------

    /// What the connection's task has to look at besides its stream. Puts a full stop after the turn that ends here.
    pub(super) fn poll_wake(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Wake> {
        self.task.register(cx.waker());
        let mut state = self.lock();
        if let Some(message) = state.inbox.pop_front() {
            if state.inbox.len() < INBOX_MESSAGES / 2
                && let Some(waker) = state.inbox_room.take()
            {
                waker.wake();
            }
            return Poll::Ready(Wake::Message(message));
        }
        state.tell_handled();
        if let Link::WebSocket { upgraded, .. } = &mut state.link
            && let Some((reader, ahead)) = upgraded.take()
        {
            return Poll::Ready(Wake::Upgraded(reader, ahead));
        }
        self.poll_unread(state, cx)
    }

    /// What cannot wait while the client is not read: orders, the end of the session, and what is queued for it.
    pub(super) fn poll_attention(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Wake> {
        self.task.register(cx.waker());
        let mut state = self.lock();
        state.tell_handled();
        self.poll_unread(state, cx)
    }

    fn poll_unread(self: &Arc<Self>, mut state: MutexGuard<'_, State>, cx: &mut Context<'_>) -> Poll<Wake> {
        if std::mem::take(&mut state.nudged) {
            return Poll::Ready(Wake::Nudged);
        }
        if let Some(reason) = state.closed {
            return Poll::Ready(Wake::Closed(reason));
        }
        state.corked = false;
        if state.blocked || !state.queue.is_empty() {
            self.poll_flush(&mut state, cx);
            if let Some(reason) = state.closed {
                return Poll::Ready(Wake::Closed(reason));
            }
        }
        Poll::Pending
    }

    fn poll_flush(self: &Arc<Self>, state: &mut State, cx: &mut Context<'_>) {
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

    /// The connection's task has ended: says goodbye and lets the stream go. Returns the writer if there was more to
    /// say than the stream took at once.
    pub(super) fn finish(self: &Arc<Self>) -> Option<Farewell> {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.session.handle(now(), Input::Close);
            self.apply(&mut state);
        }
        if let Some(reason) = state.closed {
            self.shared.counters.closed(reason);
            tracing::debug!(target: "socketio::connection", sid = self.short_id(), reason = reason.as_str(), "closed");
            if let Some(watch) = self.watched() {
                watch.closed(reason);
            }
        }
        state.inbox.clear();
        state.tell_handled();
        state.inbox_room.take().into_iter().for_each(Waker::wake);
        if !state.session.is_polling() {
            self.shared.forget(&self.id);
        }
        if let Link::WebSocket { close_frame, .. } = &state.link {
            let close_frame = close_frame.clone();
            state.push_goodbye(&close_frame);
            match std::mem::replace(&mut state.link, Link::Gone) {
                Link::WebSocket { writer, .. } => {
                    return Some(self.farewell(&mut state, writer));
                }
                link => state.link = link,
            }
        }
        None
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("version", &self.version).finish_non_exhaustive()
    }
}

struct Effects {
    forget: bool,
    refused: Option<Refusal>,
}

impl State {
    fn push(&mut self, frame: Frame) {
        self.queued_bytes += frame.size();
        self.queue.push_back(frame);
    }

    /// Queues the close frame. WebTransport has none: the end of the stream says all.
    fn push_goodbye(&mut self, close_frame: &[u8]) {
        if !self.terms.web_transport {
            self.push(Frame::raw(close_frame));
        }
    }

    /// The POST whose messages have been handled can be answered.
    fn tell_handled(&mut self) {
        if std::mem::take(&mut self.unhandled)
            && let Some(waker) = self.handled.take()
        {
            waker.wake();
        }
    }

    fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.written = 0;
        self.unblock();
    }

    fn unblock(&mut self) {
        if std::mem::take(&mut self.blocked)
            && let Some(deadlines) = &mut self.deadlines
        {
            deadlines.progress = None;
        }
    }

    /// Gives the memory back when there is nothing in it.
    fn forget_passed(&mut self) {
        self.deadlines.take_if(|deadlines| deadlines.alarm.is_none() && deadlines.progress.is_none());
    }

    fn deadlines(&mut self) -> &mut Deadlines {
        self.deadlines.get_or_insert_default()
    }

    /// When there is something to look at if nothing happens before. `None` once the session is over.
    fn deadline(&self) -> Option<Instant> {
        let session = self.session.deadline()?;
        let own = self.deadlines.as_ref().into_iter().flat_map(|own| [own.alarm, own.progress]);
        Some(own.flatten().fold(session, Instant::min))
    }

    /// Whether what is sent now can leave now, the reference's rule for volatile packets, or soon enough.
    fn writable(&self, max_queued: usize) -> bool {
        match &self.link {
            Link::Polling { poll, .. } => self.queue.is_empty() && (poll.is_some() && self.session.poll_waits()),
            Link::WebSocket { .. } => self.queue.is_empty() || self.queued_bytes < max_queued,
            Link::Gone => false,
        }
    }

    /// Ends the session for a reason that its state machine does not know of.
    fn end(&mut self, reason: CloseReason) {
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

    fn tell_probe(&mut self, output: Output) {
        if let Link::Polling { probe: Some(probe), .. } = &mut self.link {
            probe.outputs.push_back(output);
            if let Some(waker) = probe.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether a GET is about to be answered, with what is queued.
    fn is_answering_poll(&self) -> bool {
        matches!(self.link, Link::Polling { end: Some(_), .. })
    }

    fn end_poll(&mut self, how: PollEnd) {
        if let Link::Polling { poll, end, .. } = &mut self.link {
            *end = Some(how);
            if let Some(waker) = poll.take() {
                waker.wake();
            }
        }
    }

    /// Takes as much of the queue as one body may hold.
    fn take_payload(&mut self, version: Version, base64: bool, max: usize, end: Option<PollEnd>) -> PollBody {
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
    fn write(&mut self, wire: Wire<'_>, cx: Option<&mut Context<'_>>, counters: &Counters) -> Poll<io::Result<()>> {
        let (waiting, mut bytes) = (self.queue.len(), 0);
        let result = self.write_queue(wire, cx, &mut bytes);
        if bytes > 0 {
            let transport = match self.terms.web_transport {
                true => TransportKind::WebTransport,
                false => TransportKind::WebSocket,
            };
            counters.sent(transport, (waiting - self.queue.len()) as u64, bytes as u64);
        }
        result
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
    fn probe(&mut self, wire: Wire<'_>) -> io::Result<bool> {
        let State { queue, link: Link::WebSocket { writer, .. }, written, queued_bytes, .. } = self else {
            return Ok(true);
        };
        let mut progressed = false;
        loop {
            match probe(queue, *written, wire, writer)? {
                0 => return Ok(progressed),
                taken => *queued_bytes -= advance(queue, written, taken, wire),
            }
            progressed = true;
        }
    }
}

/// How many times longer a stream may take nothing if it shows only large steps.
const OPAQUE_PATIENCE: u32 = 3;

fn close_body(version: Version) -> Body {
    let mut payload = PayloadEncoder::new(version, false);
    payload.text(b"1");
    payload.finish()
}

/// RFC 6455, section 7.4.1: "such as a server going down".
const GOING_AWAY: u16 = 1001;

/// A close frame without a code, as the reference server sends it.
const NORMAL_CLOSE: Bytes = Bytes::from_static(&[0x88, 0]);
