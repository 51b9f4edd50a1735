//! One client, whatever carries its packets: the queue of what it is to receive, and the session that decides.
//!
//! A [`Connection`] is shared: anyone may [`send`](Connection::send) from any thread. What is sent is queued, bounded
//! in packets and bytes, and leaves in one `writev` at the end of the turn: at the end of the connection's own turn if
//! it was sent from there ([`Incoming`](super::Incoming) *corks* the queue), else when the [flusher](super::flusher)
//! comes by. Messages that arrive go the other way through [`Incoming`](super::Incoming), which one task owns.

mod batch;
#[cfg(test)]
mod model;
mod outgoing;
mod polling;
mod state;
mod upgrade;

pub(crate) use batch::Draft;
pub(in crate::engine) use polling::PollBody;
pub(in crate::engine) use upgrade::ProbeStep;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::BytesMut;
use bytestring::ByteString;
use futures_util::task::AtomicWaker;
use socketio_protocol::engine::{
    CloseReason, Input, Message, Output, Packet, Refusal, Session, TransportKind, Version,
};
use socketio_protocol::socket::Attachments;
use socketio_protocol::websocket;

use self::polling::INBOX_MESSAGES;
use self::state::{Link, PollEnd, State};
use super::clock::now;
use super::counters::bump;
use super::engine::Shared;
use super::events::Watch;
use super::frame::{Frame, Terms, Wire};
use super::io::{Reader, Writer};
use super::request::Request;
use super::write::Farewell;

/// Why a packet was not queued for a client.
///
/// ```
/// use socketio_server::engine::{Incoming, Message, SendError};
///
/// /// Sends a number a second, until the client goes.
/// async fn clock(incoming: Incoming) {
///     for second in 0.. {
///         match incoming.connection().send(Message::Text(second.to_string().into())) {
///             Ok(()) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
///             Err(SendError::Full) => return eprintln!("it reads too slowly, and is closed for it"),
///             Err(_) => return,
///         }
///     }
/// }
/// ```
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
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// use socketio_server::engine::TransportKind;
///
/// let connection = socket.conn();
/// assert_eq!(connection.transport(), TransportKind::WebSocket);
/// assert_eq!(connection.queued_packets(), 0);
/// connection.close();
/// assert_eq!(client.disconnected().await, "transport close");
/// # }
/// ```
pub struct Connection {
    id: ByteString,
    version: Version,
    /// An Engine.IO v3 client that can take text only over polling (`b64=1`).
    base64: bool,
    request: Request,
    pub(in crate::engine) shared: Arc<Shared>,
    /// When something last arrived, in milliseconds since the engine's start.
    heard: AtomicU64,
    /// The task that owns [`Incoming`](super::Incoming).
    task: AtomicWaker,
    state: Mutex<State>,
    /// Who watches it or waits for it; mostly nobody.
    watch: OnceLock<Box<Watch>>,
}

/// What the connection's task is woken for.
pub(in crate::engine) enum Wake {
    Message(Message),
    Upgraded(Reader, BytesMut),
    Nudged,
    Closed(CloseReason),
}

impl Connection {
    pub(in crate::engine) fn new(
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
                batch: None,
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
            false => state.terms.transport(),
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
        self.lock().packets()
    }

    /// Whether the client has all that was queued for it. One that polls shows that by coming back for more.
    pub(in crate::engine) fn has_all(&self) -> bool {
        let state = self.lock();
        let listens = !state.session.is_polling() || state.session.poll_waits();
        state.closed.is_some() || state.is_empty() && listens
    }

    /// How many packets and bytes wait; `None` after the end of the session.
    pub(crate) fn queued(&self) -> Option<(usize, usize)> {
        let state = self.lock();
        state.closed.is_none().then(|| (state.packets(), state.queued_bytes))
    }

    pub(in crate::engine) fn watch(&self) -> &Watch {
        self.watch.get_or_init(Box::default)
    }

    /// Whoever watches it, if anybody does.
    pub(in crate::engine) fn watched(&self) -> Option<&Watch> {
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
        match message {
            Message::Text(text) if self.takes_drafts() => {
                let draft = Draft::write(|head| {
                    head.extend_from_slice(text.as_bytes());
                    Ok::<_, SendError>(Attachments::new())
                })?;
                self.send_draft(draft, false)
            }
            message => self.send_frame(&Frame::message(message), false),
        }
    }

    /// Queues a frame that may be shared with others; a volatile one only if it can leave at once.
    pub(crate) fn send_frame(self: &Arc<Self>, frame: &Frame, volatile: bool) -> Result<(), SendError> {
        let mut state = self.admit(frame.size(), volatile)?;
        state.push(frame.clone());
        if let Some(watch) = self.watched() {
            watch.queued(frame);
        }
        self.schedule(&mut state);
        Ok(())
    }

    /// Whether nobody looks at what is sent, and none of it is compressed, so that it can be sent as a [`Draft`].
    pub(crate) fn takes_drafts(&self) -> bool {
        self.shared.codec.is_none() && self.watched().is_none()
    }

    /// Queues a packet that is for this client alone, as [`send_frame`](Connection::send_frame) does.
    pub(crate) fn send_draft(self: &Arc<Self>, draft: Draft, volatile: bool) -> Result<(), SendError> {
        let mut state = self.admit(draft.size(), volatile)?;
        state.push_draft(draft, self.version);
        self.schedule(&mut state);
        Ok(())
    }

    /// The state, if a packet of this size may be queued now. In one piece with what queues: a third less for each recipient
    /// of a broadcast.
    #[inline(always)]
    fn admit(&self, size: usize, volatile: bool) -> Result<MutexGuard<'_, State>, SendError> {
        let state = self.lock();
        if state.closed.is_some() {
            return Err(SendError::Closed);
        }
        let config = &self.shared.config;
        if volatile && !state.writable(config.max_volatile_bytes) {
            bump(&self.shared.counters.volatile_dropped);
            return Err(SendError::Dropped);
        }
        if state.packets() >= config.max_queued_packets
            || state.queued_bytes.saturating_add(size) > config.max_queued_bytes
        {
            self.end_slow(state);
            return Err(SendError::Full);
        }
        Ok(state)
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
    pub(in crate::engine) fn close_for(self: &Arc<Self>, reason: CloseReason) {
        let mut state = self.lock();
        state.set_close_frame(websocket::close_frame(Some(GOING_AWAY), ""));
        state.closed.get_or_insert(reason);
        let effects = self.handle_locked(&mut state, Input::Close);
        drop(state);
        self.done(effects);
    }

    /// Closes the session for `reason`, without sending what is queued.
    pub(crate) fn discard(self: &Arc<Self>, reason: CloseReason) {
        let mut state = self.lock();
        state.clear();
        if state.closed.is_none() {
            state.session.handle(now(), Input::Close);
            self.apply(&mut state);
            state.closed = Some(reason);
            self.arm(&mut state);
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

    pub(in crate::engine) fn cork(&self) {
        self.lock().corked = true;
    }

    fn wire(&self, terms: Terms) -> Wire<'_> {
        Wire::new(self.version, terms, self.shared.compressor(terms).map(|codec| &**codec))
    }

    fn farewell(&self, state: &mut State, writer: Writer) -> Farewell {
        state.part_batch();
        let frames = std::mem::take(&mut state.queue);
        let written = std::mem::take(&mut state.written);
        state.clear();
        let (terms, codec) = (state.terms, self.shared.compressor(state.terms).cloned());
        Farewell { frames, written, writer, version: self.version, terms, codec }
    }

    /// What the client said it can read.
    pub(in crate::engine) fn terms(&self) -> Terms {
        self.lock().terms
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code that can panic runs under a connection's lock")
    }

    // ---- what happens -----------------------------------------------------------------------------------------

    /// Notes that something arrived.
    pub(in crate::engine) fn heard(&self, now: Instant) {
        self.heard.store(self.shared.millis(now), Ordering::Relaxed);
    }

    /// Tells the session what happened and does what it says.
    pub(in crate::engine) fn handle(self: &Arc<Self>, input: Input) -> Option<Refusal> {
        if let (Input::Received(packet), Some(watch)) = (&input, self.watched()) {
            watch.arrived(
                packet,
                matches!((packet, self.version), (Packet::Pong(_), Version::V4) | (Packet::Ping(_), Version::V3)),
            );
        }
        let mut state = self.lock();
        let effects = self.handle_locked(&mut state, input);
        drop(state);
        self.done(effects)
    }

    /// The part of it that is one with what else happens under the lock; [`done`](Connection::done) is the rest.
    fn handle_locked(self: &Arc<Self>, state: &mut State, input: Input) -> Effects {
        state.session.heard(self.shared.instant(self.heard.load(Ordering::Relaxed)));
        state.session.handle(now(), input);
        let effects = self.apply(state);
        self.arm(state);
        effects
    }

    fn done(&self, effects: Effects) -> Option<Refusal> {
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
    pub(in crate::engine) fn tick(self: &Arc<Self>, armed: Instant) {
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
            match state.probe(wire, &self.shared.counters) {
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

    // ---- the connection's task --------------------------------------------------------------------------------

    /// What the connection's task has to look at besides its stream. Puts a full stop after the turn that ends here.
    pub(in crate::engine) fn poll_wake(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Wake> {
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
    pub(in crate::engine) fn poll_attention(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Wake> {
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
        if state.blocked || !state.is_empty() {
            self.poll_flush(&mut state, cx);
            if let Some(reason) = state.closed {
                return Poll::Ready(Wake::Closed(reason));
            }
        }
        Poll::Pending
    }

    /// The connection's task has ended: says goodbye and lets the stream go. Returns the writer if there was more to
    /// say than the stream took at once.
    pub(in crate::engine) fn finish(self: &Arc<Self>) -> Option<Farewell> {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.session.handle(now(), Input::Close);
            self.apply(&mut state);
            self.arm(&mut state);
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
        if matches!(state.link, Link::Polling { .. }) {
            return None; // What is left goes out with the last GET.
        }
        let Link::WebSocket { writer, close_frame, .. } = std::mem::replace(&mut state.link, Link::Gone) else {
            return None;
        };
        if close_frame.is_empty() {
            state.clear();
            return None;
        }
        state.push_goodbye(&close_frame);
        Some(self.farewell(&mut state, writer))
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

/// RFC 6455, section 7.4.1: "such as a server going down".
const GOING_AWAY: u16 = 1001;
