//! Long-polling without a sticky proxy: requests of clients whose session another server has.
//!
//! A request that names a session which is not here asks all servers whose it is. The one that has it answers, sends what
//! is to be answered to a poll, and is sent what the client posts: the session stays there, and only the bytes of requests
//! travel. Nothing of it happens for sessions that are here, or without [`Strangers`].
//!
//! The messages are those of `@socket.io/cluster-engine`, see [`sessions`](socketio_protocol::cluster::sessions).

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use socketio_protocol::cluster::sessions::{Notice, NoticeBody};
use socketio_protocol::cluster::{Notices, SessionBus};
use socketio_protocol::engine::{Input, Packet, TransportKind, Version, decode_payload};
use tokio::sync::oneshot;

use super::clock::now;
use super::engine::Shared;
use super::ids::random_id;

/// How long another server may take to say that it has a session; as in Node.js.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How much longer than a ping may take a poll is waited for.
const POLL_GRACE: Duration = Duration::from_secs(5);

/// What carries requests between servers; see [`Builder::without_sticky_sessions`](crate::Builder::without_sticky_sessions).
#[derive(Clone)]
pub struct SessionBusOf(pub(crate) Arc<dyn SessionBus>);

impl SessionBusOf {
    /// Over `bus`, such as a `RedisAdapter`.
    pub fn new(bus: impl SessionBus) -> Self {
        Self(Arc::new(bus))
    }
}

impl std::fmt::Debug for SessionBusOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionBusOf")
    }
}

/// The sessions of other servers, as far as their clients come here.
pub(super) struct Strangers {
    node: String,
    notices: Box<dyn Notices>,
    asked: AtomicU64,
    state: Mutex<State>,
    shared: Weak<Shared>,
}

#[derive(Default)]
struct State {
    /// Who has a session, by the number of the question.
    answers: HashMap<u64, oneshot::Sender<Option<String>>>,
    /// The polls that wait here, by session.
    polls: HashMap<String, (u64, oneshot::Sender<Vec<Packet>>)>,
}

impl Strangers {
    pub(super) fn open(bus: &dyn SessionBus, shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let node = random_id()[..6].to_owned();
            let this = this.clone();
            let hear = move |payload: &[u8]| {
                if let Some(strangers) = this.upgrade() {
                    strangers.hear(payload);
                }
            };
            Self {
                notices: bus.open(&node, Box::new(hear)),
                node,
                asked: AtomicU64::new(0),
                state: Mutex::default(),
                shared: Arc::downgrade(shared),
            }
        })
    }

    // ---- a client is here, its session elsewhere -----------------------------------------------------------------

    /// What another server answers to the poll of its client. `None` if nobody has the session, or the poll is none of it.
    pub(super) async fn poll(self: &Arc<Self>, sid: &str) -> Option<Vec<Packet>> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, packets) = oneshot::channel();
        self.lock().polls.insert(sid.to_owned(), (number, sender));
        let mut poll = Poll { strangers: self.clone(), sid: sid.to_owned(), number, owner: None };
        poll.owner = Some(self.owner_of(sid, number, true).await?);
        let timing = &self.shared.upgrade()?.config.timing;
        let longest = timing.ping_interval + timing.ping_timeout + POLL_GRACE;
        let packets = tokio::time::timeout(longest, packets).await.ok()?.ok()?;
        poll.owner = None;
        Some(packets)
    }

    /// Hands what a client has posted to the server that has its session. `None` if nobody has.
    pub(super) async fn post(self: &Arc<Self>, sid: &str) -> Option<Post> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let owner = self.owner_of(sid, number, false).await?;
        Some(Post { strangers: self.clone(), sid: sid.to_owned(), owner })
    }

    /// The server that lets a client read from, or write to, its session.
    async fn owner_of(&self, sid: &str, request: u64, reads: bool) -> Option<String> {
        let (sender, answer) = oneshot::channel();
        self.lock().answers.insert(request, sender);
        let transport = TransportKind::Polling.as_str().to_owned();
        self.tell(None, NoticeBody::Ask { request, sid: sid.to_owned(), transport, reads });
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        self.lock().answers.remove(&request);
        answer.ok()?.ok()?
    }

    fn tell(&self, recipient: Option<String>, body: NoticeBody) {
        let notice = Notice { sender: self.node.clone(), recipient, body };
        if let Err(error) = self.notices.publish(notice.recipient.as_deref(), &notice.encode()).map(drop) {
            tracing::debug!(%error, "another server is not told of its client");
        }
    }

    // ---- another server has a client of a session here ------------------------------------------------------------

    fn hear(self: &Arc<Self>, payload: &[u8]) {
        let Ok(Some(Notice { sender, body, .. })) = Notice::decode(payload) else { return };
        if sender == self.node {
            return;
        }
        match body {
            NoticeBody::Ask { request, sid, transport, reads } => self.lend(sender, request, sid, &transport, reads),
            NoticeBody::Answer { request, success } => {
                if let Some(asked) = self.lock().answers.remove(&request) {
                    let _ = asked.send(success.then_some(sender)); // Who asked has gone.
                }
            }
            NoticeBody::Drain { sid, packets } => {
                if let Some((_, poll)) = self.lock().polls.remove(&sid) {
                    let _ = poll.send(packets); // The client has gone; what was for it is lost with its request.
                }
            }
            NoticeBody::Posted { sid, packet } => {
                let Some(connection) = self.session(&sid) else { return };
                connection.heard(now());
                connection.handle(Input::Received(packet));
                if connection.poll_inbox_room(&mut Context::from_waker(Waker::noop())).is_pending() {
                    connection.handle(Input::TransportFailed("messages come faster than they are handled"));
                }
            }
            NoticeBody::Closed { sid } => {
                if let Some(connection) = self.session(&sid) {
                    connection.handle(Input::PollAborted);
                }
            }
        }
    }

    /// Lets another server carry a request of a client of ours.
    fn lend(self: &Arc<Self>, server: String, request: u64, sid: String, transport: &str, reads: bool) {
        let Some(connection) = self.session(&sid) else { return };
        let success = transport == TransportKind::Polling.as_str()
            && connection.transport() == TransportKind::Polling
            && connection.version() == Version::V4
            && (!reads || connection.handle(Input::PollOpened).is_none());
        self.tell(Some(server.clone()), NoticeBody::Answer { request, success });
        if success && reads {
            let (this, max) = (self.clone(), usize::MAX);
            tokio::spawn(async move {
                let body = poll_fn(|cx| connection.poll_body(cx)).await.body;
                let packets = decode_payload(Version::V4, body.binary, body.bytes, max).filter_map(Result::ok);
                this.tell(Some(server), NoticeBody::Drain { sid, packets: packets.collect() });
            });
        }
    }

    fn session(&self, sid: &str) -> Option<Arc<super::Connection>> {
        self.shared.upgrade()?.session(sid)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poll that waits here for another server.
struct Poll {
    strangers: Arc<Strangers>,
    sid: String,
    number: u64,
    owner: Option<String>,
}

/// Also of a client that has gone.
impl Drop for Poll {
    fn drop(&mut self) {
        let mut state = self.strangers.lock();
        if state.polls.get(&self.sid).is_some_and(|(number, _)| *number == self.number) {
            state.polls.remove(&self.sid);
        }
        drop(state);
        if let Some(owner) = self.owner.take() {
            self.strangers.tell(Some(owner), NoticeBody::Closed { sid: std::mem::take(&mut self.sid) });
        }
    }
}

/// A POST for a session of another server.
pub(super) struct Post {
    strangers: Arc<Strangers>,
    sid: String,
    owner: String,
}

impl Post {
    pub(super) fn send(&self, packet: Packet) {
        self.strangers.tell(Some(self.owner.clone()), NoticeBody::Posted { sid: self.sid.clone(), packet });
    }
}

impl std::fmt::Debug for Strangers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Strangers").field("node", &self.node).finish_non_exhaustive()
    }
}
