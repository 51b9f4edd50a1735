//! How a client enters a namespace.
//!
//! Patterns may have to be asked whether there is such a namespace, the cluster whether it has a session for the client,
//! and middlewares whether they let it in. What answers at once is done with at once. Else an [`Entry`] waits, with the
//! packets that come for it, and a task of its own leaves the [`Decision`] to the client's task, which it nudges.

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use socketio_protocol::engine::Version;
use socketio_protocol::socket::{Args, Kind, Packet};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, Entry};
use crate::adapter::cluster::GIVE_WAY;
use crate::adapter::{History, Resumed};
use crate::engine::counters::bump;
use crate::engine::random_id;
use crate::error::{ConnectError, INTERNAL_ERROR};
use crate::handler::{run_occasion, text_of};
use crate::handshake::Handshake;
use crate::namespace::{Guest, Namespace};
use crate::pattern::NamespaceRequest;
use crate::server::Door;
use crate::socket::Socket;

/// A namespace that is not found yet, and what came for it meanwhile.
pub(super) struct Asking {
    pub(super) name: ByteString,
    pub(super) waiting: Vec<Packet>,
    pub(super) work: Work,
}

/// A client that may have been on another server, and what came for the namespace meanwhile.
pub(super) struct Returning {
    pub(super) guest: Guest,
    auth: Args,
    pub(super) waiting: Vec<Packet>,
    pub(super) work: Work,
}

/// A socket that is not in yet, and what came for it meanwhile.
pub(super) struct Newcomer {
    pub(super) socket: Socket,
    /// The session that it goes on with.
    resumed: Option<Resumed>,
    pub(super) waiting: Vec<Packet>,
    /// None if nothing has to be waited for.
    pub(super) work: Option<Work>,
}

/// What a client shows that was connected before.
#[derive(Deserialize)]
struct Credentials<'a> {
    #[serde(borrow)]
    pid: Cow<'a, str>,
    #[serde(borrow)]
    offset: Option<Cow<'a, str>>,
}

/// A task that decides on a client. It ends when nobody waits for it any more.
pub(super) struct Work {
    pub(super) number: u64,
    _task: AbortOnDropHandle<()>,
}

/// What functions of the application that had to be waited for have decided, by the number of the [`Work`].
pub(super) type Decisions = Arc<Mutex<Vec<(u64, Decision)>>>;

pub(super) enum Decision {
    Found(Option<Guest>, Args),
    LetIn(Result<(), ConnectError>),
    Returned(Option<Resumed>),
}

impl Client {
    pub(super) fn connect(&mut self, name: ByteString, auth: Args) {
        if self.stopped {
            return;
        }
        let is_gone = |entry: &Entry| matches!(entry, Entry::Connected(socket) if socket.is_gone());
        while let Some(at) = self.entries.iter().position(is_gone) {
            self.leave(at);
        }
        if self.entries.iter().any(|entry| *entry.name() == name) {
            return; // Asked twice, connected once.
        }
        let limits = &self.server.shared.config.limits;
        if self.entries.len() >= limits.max_namespaces_per_connection {
            return self.turn_away(&name, "Too many namespaces");
        }
        if name.len() > limits.max_namespace_name {
            return self.turn_away(&name, "Invalid namespace");
        }
        match self.server.enter(&name) {
            Door::Open(guest) => self.arrive(guest, auth, Vec::new()),
            Door::Closed => self.turn_away(&name, "Invalid namespace"),
            Door::Ask => {
                let handshake = Handshake::new(self.incoming.connection().request().clone(), auth.clone());
                let request = NamespaceRequest::new(ByteString::from(&*name), Arc::new(handshake));
                let server = self.server.clone();
                let work = self.work(async move { Decision::Found(server.admit(&request).await, auth) }, || {
                    Decision::Found(None, Args::none())
                });
                self.entries.push(Entry::Asking(Box::new(Asking { name, waiting: Vec::new(), work })));
            }
        }
    }

    /// Has a task of its own decide, within the time that a client may take to connect.
    fn work(
        &mut self,
        decision: impl Future<Output = Decision> + Send + 'static,
        late: impl FnOnce() -> Decision + Send + 'static,
    ) -> Work {
        self.works += 1;
        let (number, decided) = (self.works, self.decided.get_or_insert_default().clone());
        let connection = self.incoming.connection().clone();
        let time = self.server.shared.config.limits.connect_timeout;
        let task = tokio::spawn(async move {
            let decision = tokio::time::timeout(time, decision).await.unwrap_or_else(|_| late());
            decided.lock().unwrap_or_else(PoisonError::into_inner).push((number, decision));
            connection.nudge();
        });
        Work { number, _task: AbortOnDropHandle::new(task) }
    }

    /// Goes on with those on whom functions of the application have decided meanwhile.
    pub(super) fn decisions(&mut self) {
        let decided = self
            .decided
            .as_ref()
            .map(|decided| std::mem::take(&mut *decided.lock().unwrap_or_else(PoisonError::into_inner)));
        for (number, decision) in decided.into_iter().flatten() {
            let at = self.entries.iter().position(|entry| entry.work() == Some(number));
            match (at.map(|at| self.entries.swap_remove(at)), decision) {
                (Some(Entry::Asking(asking)), Decision::Found(Some(guest), auth)) => {
                    self.arrive(guest, auth, asking.waiting);
                }
                (Some(Entry::Returning(returning)), Decision::Returned(back)) => {
                    let Returning { guest, auth, waiting, .. } = *returning;
                    self.come_in(guest.into_namespace(), auth, waiting, back);
                }
                (Some(Entry::Asking(asking)), Decision::Found(None, _)) => {
                    self.turn_away(&asking.name, "Invalid namespace");
                    self.remember_left(&asking.name);
                }
                (Some(Entry::Connecting(newcomer)), Decision::LetIn(result)) => self.decide(*newcomer, result),
                _ => {} // Nobody waits for it any more.
            }
        }
    }

    /// The namespace has been found; its middlewares look at the client. `waiting` came for it meanwhile.
    fn arrive(&mut self, guest: Guest, auth: Args, waiting: Vec<Packet>) {
        match self.look_for_session(guest.namespace(), &auth) {
            Some(work) => self.entries.push(Entry::Returning(Box::new(Returning { guest, auth, waiting, work }))),
            None => self.come_in(guest.into_namespace(), auth, waiting, None),
        }
    }

    /// Has the cluster look for the session that the client had, if it shows one and the cluster keeps any.
    fn look_for_session(&mut self, namespace: &Namespace, auth: &Args) -> Option<Work> {
        let history = namespace.history()?.shared().filter(|_| !self.is_v2())?.clone();
        let Credentials { pid, offset } = auth.value().ok().flatten()?;
        let (pid, offset) = (pid.into_owned(), offset.map(Cow::into_owned));
        self.oust(namespace, &pid);
        let adapter = namespace.adapter().clone();
        let looking = async move {
            let ask = || match Args::new_event(GIVE_WAY, &(&pid,)).map(|args| adapter.server_side_emit(args)) {
                Ok(Ok(emitted)) => drop(emitted),
                Ok(Err(error)) => tracing::debug!(%error, "no server can be asked to let go of a client"),
                Err(error) => tracing::debug!(%error, "a client's secret cannot be written"),
            };
            let back = history.resume(&pid, offset.as_deref(), ask).await;
            Decision::Returned(back.map(|back| Resumed::Shared(Box::new(back))))
        };
        Some(self.work(looking, || Decision::Returned(None)))
    }

    /// A connection that is dead without anybody having noticed may still hold the session.
    fn oust(&self, namespace: &Namespace, pid: &str) {
        let ghost = namespace.history().and_then(|history| history.live(pid));
        if let Some(ghost) = ghost.and_then(|id| namespace.local_socket(&id)) {
            ghost.give_way();
        }
    }

    /// The namespace has been found, and what the client had before; its middlewares look at the client.
    fn come_in(&mut self, namespace: Namespace, auth: Args, waiting: Vec<Packet>, back: Option<Resumed>) {
        let (socket, resumed) = self.socket(namespace, auth, back);
        let middlewares = socket.namespace().middlewares();
        let skip = resumed.is_some() && socket.namespace().history().is_some_and(History::skips_middlewares);
        let mut newcomer = Newcomer { socket, resumed, waiting, work: None };
        if middlewares.is_empty() || skip {
            return self.connected(newcomer);
        }
        let looked_at = newcomer.socket.clone();
        let mut decision: Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>> = Box::pin(async move {
            let decided = AssertUnwindSafe(async {
                for middleware in middlewares {
                    middleware(looked_at.clone()).await?;
                }
                Ok(())
            });
            decided.catch_unwind().await.unwrap_or_else(|panic| {
                looked_at.namespace().shared().report_panic(&looked_at, "middleware", text_of(&*panic));
                Err(ConnectError::new(INTERNAL_ERROR))
            })
        });
        match decision.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => self.decide(newcomer, result),
            Poll::Pending => {
                let late = || Decision::LetIn(Err(ConnectError::new("timeout")));
                newcomer.work = Some(self.work(async move { Decision::LetIn(decision.await) }, late));
                self.entries.push(Entry::Connecting(Box::new(newcomer)));
            }
        }
    }

    /// A new socket for the client, or one that goes on with what the client shows that it had.
    fn socket(&self, namespace: Namespace, auth: Args, back: Option<Resumed>) -> (Socket, Option<Resumed>) {
        let connection = self.incoming.connection().clone();
        let load = self.load.clone();
        let resumed = namespace.history().filter(|_| !self.is_v2()).and_then(|history| {
            let Credentials { pid, offset } = auth.value().ok().flatten()?;
            let resumed = match (back, history.shared()) {
                (back, Some(_)) => back?,
                (_, None) => {
                    self.oust(&namespace, &pid);
                    history.resume(&pid, offset.as_deref(), crate::engine::now())?
                }
            };
            Some((Box::<str>::from(pid), resumed))
        });
        let request = connection.request().clone();
        if let Some((pid, resumed)) = resumed {
            let handshake = Handshake::new(request, auth);
            let socket = Socket::resume(resumed.session(), connection, handshake, namespace, load, pid);
            return (socket, Some(resumed));
        }
        let id = match connection.version() {
            Version::V4 => random_id(),
            Version::V3 if *namespace.name() == "/" => connection.id().clone(),
            Version::V3 => format!("{}#{}", namespace.name(), connection.id()).into(),
        };
        let pid = (namespace.history().is_some() && !self.is_v2()).then(|| Box::from(&*random_id()));
        (Socket::new(id, connection, Handshake::new(request, auth), namespace, load, pid), None)
    }

    /// A namespace that the client cannot be in. It may ask for some of those, not for ever.
    fn turn_away(&mut self, name: &ByteString, why: &str) {
        self.refusals += 1;
        self.refuse(name, &ConnectError::new(why));
        if self.refusals > self.server.shared.config.limits.max_refused_namespaces {
            tracing::debug!("a client that asks for too many namespaces that it cannot be in is closed");
            self.incoming.connection().close();
        }
    }

    fn decide(&mut self, newcomer: Newcomer, result: Result<(), ConnectError>) {
        match result {
            Ok(()) => self.connected(newcomer),
            Err(error) => {
                let socket = newcomer.socket;
                bump(&self.server.shared.counts.refused);
                tracing::debug!(target: "socketio::socket", nsp = &**socket.namespace().name(), socket = &**socket.id(), %error, "refused by a middleware");
                socket.refuse();
                self.refuse(socket.namespace().name(), &error);
                self.remember_left(socket.namespace().name());
            }
        }
    }

    /// The socket is in: its rooms, then the client is told, then the application. All on this task, so that nothing
    /// the client sends after it was told can come before the handlers are there.
    fn connected(&mut self, Newcomer { socket, resumed, waiting, .. }: Newcomer) {
        let namespace = socket.namespace().clone();
        if namespace.is_removed() {
            socket.refuse();
            self.refuse(namespace.name(), &ConnectError::new("Invalid namespace"));
            return self.remember_left(namespace.name());
        }
        let recovered = resumed.is_some();
        socket.connect(resumed);
        namespace.add(socket.clone());
        self.tell_connected(&socket);
        tracing::debug!(target: "socketio::socket", nsp = &**namespace.name(), socket = &**socket.id(), sid = socket.conn().short_id(), recovered, "connected");
        #[cfg(feature = "admin")]
        if let Some(admin) = self.server.shared.admin.get() {
            admin.connected(&socket);
        }
        if let Some(left) = &mut self.left {
            left.remove(namespace.name());
        }
        if !self.entered {
            self.enter();
        }
        self.entries.push(Entry::Connected(socket.clone()));
        for handler in namespace.connection_handlers() {
            run_occasion(&socket, "connection", || handler(socket.clone()));
        }
        for packet in waiting {
            // A violation in one of them would have been one when it came; what is left is harmless.
            let _ = self.deliver(packet);
        }
        if namespace.is_removed() {
            socket.disconnect_now(false); // While it entered: whoever removed the namespace may not have seen it.
        }
    }

    fn tell_connected(&self, socket: &Socket) {
        #[derive(Serialize)]
        struct Connected<'a> {
            sid: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            pid: Option<&'a str>,
        }
        let payload = match self.is_v2() {
            true => Args::none(),
            false => Args::new_single(&Connected { sid: socket.id(), pid: socket.pid() }).unwrap_or_default(),
        };
        socket.send_packet(Kind::Connect, payload);
    }

    fn refuse(&self, name: &ByteString, error: &ConnectError) {
        let packet = Packet::new(Kind::ConnectError, name.clone(), error.payload(self.is_v2()));
        if let Ok(frame) = self.server.shared.config.parser.packet(&packet) {
            let _ = self.incoming.connection().send_frame(&frame, false); // A client that is gone finds out elsewhere.
        }
    }
}
