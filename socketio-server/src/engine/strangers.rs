//! Without a sticky proxy: requests of clients whose session another server has.
//!
//! A request that names a session which is not here asks all servers whose it is. The one that has it answers, sends what
//! is to be answered to a poll or written to a WebSocket, and is sent what the client says: the session stays there, and
//! only what clients and sessions say travels. Nothing of it happens for sessions that are here, or without [`Strangers`].
//!
//! The messages are those of `@socket.io/cluster-engine`, see [`sessions`](socketio_protocol::cluster::sessions). What a
//! request brings is answered in [`carried`](super::carried) and [`carried_web_socket`](super::carried_web_socket); what the
//! WebSocket of another server is for a session of ours, in [`lent`](super::lent).

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use socketio_protocol::cluster::sessions::{Notice, NoticeBody};
use socketio_protocol::cluster::{Heard, Notices, Published, SessionBus};
use socketio_protocol::engine::{Input, Packet, TransportKind, Version, decode_payload};
use tokio::sync::{mpsc, oneshot};

use super::clock::now;
use super::engine::Shared;
use super::ids::random_id;
use super::lent::lend_web_socket;
use super::links::{Ear, Links};

/// How long another server may take to say that it has a session; as in Node.js.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked whether the servers at the other ends of links are still there.
const WATCH: Duration = Duration::from_secs(1);
/// How much longer than a ping may take a poll is waited for.
const POLL_GRACE: Duration = Duration::from_secs(5);

/// What carries requests between servers; see [`Builder::without_sticky_sessions`](crate::Builder::without_sticky_sessions).
///
/// ```
/// use socketio_protocol::cluster::SessionBus;
/// use socketio_server::engine::{EngineConfig, SessionBusOf};
///
/// fn config(redis: impl SessionBus) -> EngineConfig {
///     EngineConfig { session_bus: Some(SessionBusOf::new(redis)), ..EngineConfig::default() }
/// }
/// ```
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
    links: Arc<Links>,
    shared: Weak<Shared>,
}

#[derive(Default)]
struct State {
    /// Who has a session, by the number of the question.
    answers: HashMap<u64, mpsc::UnboundedSender<Answer>>,
    /// What becomes of a session whose client has changed to a WebSocket here, by the number of the question.
    upgrades: HashMap<u64, oneshot::Sender<(bool, Vec<Packet>)>>,
    /// The polls that wait here, by session.
    polls: HashMap<String, (u64, oneshot::Sender<Vec<Packet>>)>,
}

/// One server's answer to the question whose a session is.
struct Answer {
    server: String,
    success: bool,
    /// It has the session.
    known: bool,
}

impl Strangers {
    pub(super) fn open(bus: &dyn SessionBus, shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let node = random_id()[..6].to_owned();
            let this = this.clone();
            let hear = move |heard: Heard<'_>| match (this.upgrade(), heard) {
                (Some(strangers), Heard::Notice(payload)) => strangers.hear(payload),
                (Some(strangers), Heard::Missed) => strangers.links.end_all(None),
                (None, _) => {}
            };
            Self {
                notices: bus.open(&node, Box::new(hear)),
                node,
                asked: AtomicU64::new(0),
                state: Mutex::default(),
                links: Links::new(shared.config.max_queued_bytes),
                shared: Arc::downgrade(shared),
            }
        })
    }

    // ---- a client is here, its session elsewhere -----------------------------------------------------------------

    /// What another server answers to the poll of its client. `None` if nobody has the session, or the poll is none of it.
    pub(super) async fn poll(self: &Arc<Self>, sid: &str) -> Option<Vec<Packet>> {
        let number = self.number();
        let (sender, packets) = oneshot::channel();
        self.lock().polls.insert(sid.to_owned(), (number, sender));
        let mut poll = Poll { strangers: self.clone(), sid: sid.to_owned(), number, owner: None };
        poll.owner = Some(self.owner_of(sid, number, TransportKind::Polling, true).await?);
        let timing = &self.shared.upgrade()?.config.timing;
        let longest = timing.ping_interval + timing.ping_timeout + POLL_GRACE;
        let packets = tokio::time::timeout(longest, packets).await.ok()?.ok()?;
        poll.owner = None;
        Some(packets)
    }

    /// Hands what a client has posted to the server that has its session. `None` if nobody has.
    pub(super) async fn post(self: &Arc<Self>, sid: &str) -> Option<Post> {
        let owner = self.owner_of(sid, self.number(), TransportKind::Polling, false).await?;
        Some(Post { strangers: self.clone(), sid: sid.to_owned(), owner })
    }

    /// The server that lets a WebSocket probe its session.
    pub(super) async fn owner_of_web_socket(&self, sid: &str) -> Option<String> {
        self.owner_of(sid, self.number(), TransportKind::WebSocket, true).await
    }

    /// The client of a WebSocket has changed to it. Whether the session comes here, and what its client has sent, or `None`
    /// if the other server does not answer.
    pub(super) async fn upgrade(&self, owner: &str, sid: &str) -> Option<(bool, Vec<Packet>)> {
        let (request, (sender, answer)) = (self.number(), oneshot::channel());
        self.lock().upgrades.insert(request, sender);
        self.tell(Some(owner.to_owned()), NoticeBody::Upgrade { request, sid: sid.to_owned(), success: true });
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        self.lock().upgrades.remove(&request);
        answer.ok()?.ok()
    }

    /// The client of a WebSocket that was let probe has not changed to it, and will not.
    pub(super) fn not_upgraded(&self, owner: String, sid: String) {
        self.tell(Some(owner), NoticeBody::Upgrade { request: self.number(), sid, success: false });
    }

    fn number(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The server that lets a client read from, or write to, its session. `None` once all others have said that they have it
    /// not; servers of Node.js do not say that, and are waited for.
    async fn owner_of(&self, sid: &str, request: u64, transport: TransportKind, reads: bool) -> Option<String> {
        let (sender, mut answers) = mpsc::unbounded_channel();
        self.lock().answers.insert(request, sender);
        let _asking = Asking { strangers: self, request };
        let transport = transport.as_str().to_owned();
        self.tell(None, NoticeBody::Ask { request, sid: sid.to_owned(), transport, reads, more: true });
        let answer = async {
            let mut count = std::pin::pin!(self.notices.listeners(None));
            let (mut counted, mut others, mut without) = (false, None, 0);
            loop {
                if others.is_some_and(|others| without >= others) {
                    return None;
                }
                tokio::select! {
                    biased;
                    answer = answers.recv() => match answer? {
                        Answer { server, success: true, .. } => return Some(server),
                        Answer { known: true, .. } => return None,
                        _ => without += 1,
                    },
                    count = &mut count, if !counted => {
                        counted = true;
                        others = count.ok().map(|count| count.saturating_sub(1));
                    }
                }
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.ok()?
    }

    /// Says something to one server, or to all. `None` if it cannot be said now.
    pub(super) fn tell(&self, recipient: Option<String>, body: NoticeBody) -> Option<Published> {
        let notice = Notice { sender: self.node.clone(), recipient, body };
        match self.notices.publish(notice.recipient.as_deref(), &notice.encode()) {
            Ok(published) => Some(published),
            Err(error) => {
                tracing::debug!(%error, "another server is not told of its client");
                None
            }
        }
    }

    /// Ties a session to another server; see [`Links::tie`].
    pub(super) fn tie(self: &Arc<Self>, sid: &str, peer: &str, upgraded: bool) -> Option<Ear> {
        let (ear, unwatched) = self.links.tie(sid, peer, upgraded)?;
        if unwatched {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
        Some(ear)
    }

    // ---- another server has a client of a session here ------------------------------------------------------------

    fn hear(self: &Arc<Self>, payload: &[u8]) {
        let Ok(Some(Notice { sender, body, .. })) = Notice::decode(payload) else { return };
        if sender == self.node {
            return;
        }
        match body {
            NoticeBody::Ask { request, sid, transport, reads, more } => match self.session(&sid) {
                Some(connection) => self.lend(connection, sender, request, sid, &transport, reads),
                None if more => {
                    self.tell(Some(sender), NoticeBody::Answer { request, success: false, known: false });
                }
                None => {}
            },
            NoticeBody::Answer { request, success, known } => {
                if let Some(asked) = self.lock().answers.get(&request) {
                    let _ = asked.send(Answer { server: sender, success, known }); // Who asked has gone.
                }
            }
            NoticeBody::Drain { sid, packets } => {
                let Err(packets) = self.links.packets(&sid, &sender, packets) else { return };
                if let Some((_, poll)) = self.lock().polls.remove(&sid) {
                    let _ = poll.send(packets); // The client has gone; what was for it is lost with its request.
                }
            }
            NoticeBody::Upgrade { request, sid, success } => {
                self.links.upgrade(&sid, &sender, success.then_some(request));
            }
            NoticeBody::Upgraded { request, take_over, packets } => {
                if let Some(asked) = self.lock().upgrades.remove(&request) {
                    let _ = asked.send((take_over, packets)); // The client has gone.
                }
            }
            NoticeBody::Posted { sid, packet } => {
                let Err(packets) = self.links.packets(&sid, &sender, vec![packet]) else { return };
                let Some(packet) = packets.into_iter().next() else { return };
                let Some(connection) = self.session(&sid) else { return };
                connection.heard(now());
                connection.handle(Input::Received(packet));
                if connection.poll_inbox_room(&mut Context::from_waker(Waker::noop())).is_pending() {
                    connection.handle(Input::TransportFailed("messages come faster than they are handled"));
                }
            }
            NoticeBody::Closed { sid } if self.links.end(&sid, &sender) => {}
            NoticeBody::Closed { sid } => {
                if let Some(connection) = self.session(&sid) {
                    connection.handle(Input::PollAborted);
                }
            }
        }
    }

    /// Lets another server carry a request of a client of ours.
    fn lend(
        self: &Arc<Self>,
        connection: Arc<super::Connection>,
        server: String,
        request: u64,
        sid: String,
        transport: &str,
        reads: bool,
    ) {
        if transport == TransportKind::WebSocket.as_str() {
            let success = lend_web_socket(self, connection, &server, &sid);
            self.tell(Some(server), NoticeBody::Answer { request, success, known: true });
            return;
        }
        let success = transport == TransportKind::Polling.as_str()
            && connection.transport() == TransportKind::Polling
            && connection.version() == Version::V4
            && (!reads || connection.handle(Input::PollOpened).is_none());
        self.tell(Some(server.clone()), NoticeBody::Answer { request, success, known: true });
        if success && reads {
            let (this, max) = (self.clone(), usize::MAX);
            tokio::spawn(async move {
                let body = poll_fn(|cx| connection.poll_body(cx)).await.body;
                let packets = decode_payload(Version::V4, body.binary, body.bytes, max).filter_map(Result::ok);
                let body = NoticeBody::Drain { sid, packets: packets.collect() };
                if this.tell(Some(server), body).is_none() {
                    connection.handle(Input::TransportFailed("what was for the client is lost on the way"));
                }
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

/// Ends the links with servers that are gone, as long as there are links.
async fn watch(strangers: Weak<Strangers>) {
    loop {
        tokio::time::sleep(WATCH).await;
        let Some(strangers) = strangers.upgrade() else { return };
        let peers = strangers.links.peers();
        if peers.is_empty() {
            return;
        }
        for peer in peers {
            // As long as Redis is away nobody knows.
            if let Ok(0) = strangers.notices.listeners(Some(&peer)).await {
                strangers.links.end_all(Some(&peer));
            }
        }
    }
}

/// The question whose a session is, until it is answered or the client that it was asked for has gone.
struct Asking<'a> {
    strangers: &'a Strangers,
    request: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.strangers.lock().answers.remove(&self.request);
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
    /// `None` if it cannot be sent now.
    pub(super) fn send(&self, packet: Packet) -> Option<Published> {
        self.strangers.tell(Some(self.owner.clone()), NoticeBody::Posted { sid: self.sid.clone(), packet })
    }
}

impl std::fmt::Debug for Strangers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Strangers").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use socketio_protocol::cluster::{self, BusError, Hear};

    use super::*;
    use crate::engine::{Engine, EngineConfig, Incoming};

    /// A bus on which nobody answers.
    struct Silent;

    impl SessionBus for Silent {
        fn open(&self, _: &str, _: Hear) -> Box<dyn Notices> {
            Box::new(Silent)
        }
    }

    impl Notices for Silent {
        fn publish(&self, _: Option<&str>, _: &[u8]) -> Result<Published, BusError> {
            Ok(Published::settled(Ok(())))
        }

        fn listeners<'a>(&'a self, _: Option<&'a str>) -> cluster::Answer<'a, u64> {
            Box::pin(pending())
        }
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_leaves_no_question_behind() {
        let config = EngineConfig { session_bus: Some(SessionBusOf::new(Silent)), ..EngineConfig::default() };
        let engine = Engine::new(config, async |_: Incoming| {});
        let strangers = engine.shared.strangers.get().expect("there is a bus");
        let mut asked = Box::pin(strangers.owner_of_web_socket("sid"));
        assert_eq!(asked.as_mut().now_or_never(), None);
        assert_eq!(strangers.lock().answers.len(), 1);
        drop(asked);
        assert!(strangers.lock().answers.is_empty());
    }
}
