//! One connection and the sockets on it: from packets to sockets and handlers.
//!
//! A [`Client`] is the task of its connection. Packets are handled in the order in which they come, and what handling
//! one sends leaves together at the end of the turn.

use std::borrow::Cow;
use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytestring::ByteString;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use socketio_protocol::engine::{CloseReason, Message, Version};
use socketio_protocol::socket::{Args, Kind, Packet, split_query};
use tokio_util::task::AbortOnDropHandle;

use crate::adapter::cluster::GIVE_WAY;
use crate::adapter::{Command, History, Resumed};
use crate::engine::counters::bump;
#[cfg(feature = "rate-limit")]
use crate::engine::{Excess, SocketLimits};
use crate::engine::{Incoming, Received, random_id};
use crate::error::{ConnectError, DisconnectReason};
use crate::gate::{Middlewares, pass, run_all};
use crate::handler::{AckSlot, EventContext, Load, Occasion, Owner, run_future, text_of};
use crate::handlers::Found;
use crate::handshake::Handshake;
use crate::namespace::{Guest, Namespace};
use crate::parser::Decoder;
use crate::pattern::NamespaceRequest;
use crate::server::{Door, ServerInner};
use crate::socket::Socket;

/// See the [module documentation](self).
pub(crate) struct Client {
    server: Arc<ServerInner>,
    incoming: Incoming,
    decoder: Decoder,
    entries: SmallVec<[Entry; 1]>,
    /// Namespaces that the client was in: packets for them may still be on their way, and are nobody's fault.
    #[expect(clippy::box_collection, reason = "most clients leave none, and a set has 48 bytes")]
    left: Option<Box<HashSet<ByteString>>>,
    load: Arc<Load>,
    #[cfg(feature = "rate-limit")]
    rate_limits: Option<Box<SocketLimits>>,
    decided: Option<Decisions>,
    /// How many tasks have been started to decide.
    works: u64,
    refusals: usize,
    /// Whether the client has been in a namespace.
    entered: bool,
    /// Until when it has to be in one; once it was, until when the attachments that are missing have to come.
    due: Option<Instant>,
    /// When the clock is looked at.
    alarm: Option<Instant>,
}

/// A namespace that the client is in, or wants to be in.
enum Entry {
    /// The function of a pattern decides whether there is such a namespace for the client; its packets wait.
    Asking(Box<Asking>),
    /// The cluster looks for the session that the client had; its packets wait.
    Returning(Box<Returning>),
    /// A middleware still looks at the socket; its packets wait.
    Connecting(Box<Newcomer>),
    Connected(Socket),
}

/// A namespace that is not found yet, and what came for it meanwhile.
struct Asking {
    name: ByteString,
    waiting: Vec<Packet>,
    work: Work,
}

/// A client that may have been on another server, and what came for the namespace meanwhile.
struct Returning {
    guest: Guest,
    auth: Args,
    waiting: Vec<Packet>,
    work: Work,
}

/// A socket that is not in yet, and what came for it meanwhile.
struct Newcomer {
    socket: Socket,
    /// The session that it goes on with.
    resumed: Option<Resumed>,
    waiting: Vec<Packet>,
    /// None if nothing has to be waited for.
    work: Option<Work>,
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
struct Work {
    number: u64,
    _task: AbortOnDropHandle<()>,
}

/// What functions of the application that had to be waited for have decided, by the number of the [`Work`].
type Decisions = Arc<Mutex<Vec<(u64, Decision)>>>;

enum Decision {
    Found(Option<Guest>, Args),
    LetIn(Result<(), ConnectError>),
    Returned(Option<Resumed>),
}

/// How many namespaces a client may leave without being closed for what it still sends to one.
const LEFT_NAMESPACES: usize = 1024;

/// The client broke the protocol: its connection is closed.
struct Violation;

impl Client {
    /// Made before its future, which so holds one and not the parts of one besides.
    fn new(server: Arc<ServerInner>, mut incoming: Incoming) -> Self {
        incoming.cork();
        let config = &server.shared.config;
        Self {
            decoder: config.parser.decoder(config.limits.packet()),
            #[cfg(feature = "rate-limit")]
            rate_limits: SocketLimits::of(incoming.connection()),
            incoming,
            entries: SmallVec::new(),
            left: None,
            load: Arc::new(Load::new(server.shared.handlers.clone())),
            decided: None,
            works: 0,
            refusals: 0,
            entered: false,
            due: None,
            alarm: None,
            server,
        }
    }

    pub(crate) fn serve(server: Arc<ServerInner>, incoming: Incoming) -> impl Future<Output = ()> + Send {
        let mut client = Self::new(server, incoming);
        async move {
            client.must_by(Instant::now() + client.server.shared.config.limits.connect_timeout);
            #[cfg(feature = "admin")]
            let meter = client.server.shared.admin.get().map(|admin| admin.meter(client.incoming.connection()));
            if client.is_v2() {
                // A Socket.IO 2 client is in `/` without asking.
                client.connect("/".into(), Args::none());
                client.incoming.uncork();
            }
            let reason = client.run().await;
            #[cfg(feature = "admin")]
            if let Some(meter) = meter {
                meter.closed(reason);
            }
            client.end(reason);
        }
    }

    fn is_v2(&self) -> bool {
        self.incoming.connection().version() == Version::V3
    }

    async fn run(&mut self) -> CloseReason {
        let max_handlers = self.server.shared.config.limits.max_waiting_handlers;
        loop {
            let result = match self.incoming.next().await {
                Received::Message(message) => self.message(message),
                Received::Nudged => self.look_at_clock().map(|()| self.orders()),
                Received::Closed(reason) => return reason,
            };
            if result.is_err() {
                return self.close();
            }
            if !self.load.is_below(max_handlers) {
                Box::pin(self.catch_up(max_handlers)).await; // Boxed: most clients never wait for this.
            }
        }
    }

    /// Waits while too many handlers wait. The client is not read meanwhile: TCP tells it.
    async fn catch_up(&mut self, max_handlers: usize) {
        let load = self.load.clone();
        while !load.is_below(max_handlers) {
            self.incoming.uncork();
            tokio::select! {
                () = load.below(max_handlers) => {}
                attention = self.incoming.attention() => match attention {
                    Received::Closed(_) => return, // What has been read is handled before the end is.
                    _ => self.orders(),
                },
            }
        }
        self.alarm = None; // It may have gone off unheard.
        if self.due.is_some() && self.entered {
            self.attachments_are_due(); // They may have come while nothing was read.
        }
    }

    // ---- time -------------------------------------------------------------------------------------------------

    /// Closes the client at `at` unless it has done by then what it must.
    fn must_by(&mut self, at: Instant) {
        self.due = Some(at);
        // An alarm that comes too early looks when to come again.
        if self.alarm.is_none_or(|alarm| at < alarm) {
            self.alarm = Some(at);
            self.incoming.connection().nudge_at(Some(at));
        }
    }

    fn attachments_are_due(&mut self) {
        self.must_by(Instant::now() + self.server.shared.config.limits.attachments_timeout);
    }

    /// Closes a client that has taken too long.
    fn look_at_clock(&mut self) -> Result<(), Violation> {
        let Some(alarm) = self.alarm else { return Ok(()) };
        let now = Instant::now();
        if now < alarm {
            return Ok(());
        }
        self.alarm = None;
        match self.due {
            Some(due) if due <= now => {
                tracing::debug!(
                    entered = self.entered,
                    "a client that entered no namespace, or left a packet without its attachments, is closed"
                );
                Err(Violation)
            }
            Some(due) => {
                self.must_by(due);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The client is in a namespace, for the first time.
    fn enter(&mut self) {
        (self.entered, self.due, self.alarm) = (true, None, None);
        self.incoming.connection().nudge_at(None);
        if self.decoder.waiting() {
            self.attachments_are_due();
        }
    }

    fn close(&self) -> CloseReason {
        self.incoming.connection().close();
        CloseReason::ForcedClose
    }

    fn end(&mut self, reason: CloseReason) {
        for entry in self.entries.drain(..) {
            match entry {
                Entry::Connected(socket) => socket.end(DisconnectReason::Connection(reason)),
                Entry::Connecting(newcomer) => newcomer.socket.refuse(),
                Entry::Asking(_) | Entry::Returning(_) => {}
            }
        }
    }

    // ---- packets ----------------------------------------------------------------------------------------------

    fn message(&mut self, message: Message) -> Result<(), Violation> {
        #[cfg(feature = "rate-limit")]
        if let Some(limits) = &mut self.rate_limits {
            limits.heard(message.len());
        }
        match self.decoder.message(message) {
            Ok(Some(packet)) => {
                if self.entered {
                    self.due = None;
                }
                self.packet(packet)
            }
            Ok(None) => {
                if self.due.is_none() {
                    self.attachments_are_due();
                }
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "a client sent what is no Socket.IO packet");
                Err(Violation)
            }
        }
    }

    fn packet(&mut self, mut packet: Packet) -> Result<(), Violation> {
        if self.is_v2()
            && let (name, Some(query)) = split_query(&packet.nsp)
        {
            // Socket.IO 2 puts the namespace's query into its name; it takes the place of `auth`.
            let auth = query_as_auth(query);
            packet.nsp = name.into();
            if packet.kind == Kind::Connect {
                packet.data = auth;
            }
        }
        match packet.kind {
            Kind::Connect => {
                self.connect(packet.nsp, packet.data);
                Ok(())
            }
            Kind::ConnectError => Err(Violation),
            Kind::Event | Kind::Ack | Kind::Disconnect => self.deliver(packet),
        }
    }

    fn deliver(&mut self, packet: Packet) -> Result<(), Violation> {
        let Some(at) = self.entries.iter().position(|entry| *entry.name() == packet.nsp) else {
            let left = self.left.as_ref().is_some_and(|left| left.contains(&packet.nsp));
            return if left { Ok(()) } else { Err(Violation) };
        };
        let max_waiting = self.server.shared.config.limits.max_waiting_packets;
        match &mut self.entries[at] {
            Entry::Asking(asking) if asking.waiting.len() < max_waiting => {
                asking.waiting.push(packet);
                Ok(())
            }
            Entry::Connecting(newcomer) if newcomer.waiting.len() < max_waiting => {
                newcomer.waiting.push(packet);
                Ok(())
            }
            Entry::Returning(returning) if returning.waiting.len() < max_waiting => {
                returning.waiting.push(packet);
                Ok(())
            }
            Entry::Asking(_) | Entry::Returning(_) | Entry::Connecting(_) => Err(Violation),
            Entry::Connected(socket) if socket.is_gone() => {
                self.leave(at);
                Ok(())
            }
            Entry::Connected(socket) => {
                match packet.kind {
                    #[cfg(feature = "rate-limit")]
                    Kind::Event if is_too_much(self.rate_limits.as_deref_mut(), socket, &packet) => {}
                    Kind::Event => dispatch(socket, packet.data, packet.id),
                    Kind::Ack => {
                        if let Some(id) = packet.id {
                            socket.answered(id, &packet.data);
                        }
                    }
                    _ => {
                        socket.end(DisconnectReason::ClientNamespaceDisconnect);
                        self.leave(at);
                    }
                }
                Ok(())
            }
        }
    }

    fn remember_left(&mut self, name: &ByteString) {
        let left = self.left.get_or_insert_default();
        if left.len() < LEFT_NAMESPACES {
            left.insert(name.clone());
        }
    }

    fn leave(&mut self, at: usize) {
        let entry = self.entries.swap_remove(at);
        self.remember_left(entry.name());
    }

    // ---- entering a namespace ---------------------------------------------------------------------------------

    fn connect(&mut self, name: ByteString, auth: Args) {
        self.entries.retain(|entry| !matches!(entry, Entry::Connected(socket) if socket.is_gone()));
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
                Err(ConnectError::new("Internal server error"))
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
            return self.refuse(namespace.name(), &ConnectError::new("Invalid namespace"));
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
            let owner = Occasion(socket.clone(), "connection");
            let started = std::panic::catch_unwind(AssertUnwindSafe(|| handler(socket.clone())));
            match started {
                Ok(future) => run_future(future, &self.load, owner),
                Err(_) => owner.panicked("in a connection handler".to_owned()),
            }
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

    // ---- what others want -------------------------------------------------------------------------------------

    fn orders(&mut self) {
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
        let mut close = false;
        for socket in self.entries.iter().filter_map(Entry::socket) {
            for command in socket.member().take_commands() {
                match command {
                    Command::Disconnect { close: and_close } => {
                        socket.disconnect_now(false);
                        close |= and_close;
                    }
                    Command::GiveWay => socket.give_way(),
                }
            }
        }
        if close {
            for socket in self.entries.iter().filter_map(Entry::socket) {
                socket.disconnect_now(false);
            }
            self.incoming.connection().close();
        }
        self.incoming.uncork();
    }
}

/// Also when a function of the application has panicked on the connection's task.
impl Drop for Client {
    fn drop(&mut self) {
        self.end(CloseReason::ForcedClose);
    }
}

impl Entry {
    fn name(&self) -> &ByteString {
        match self {
            Entry::Asking(asking) => &asking.name,
            Entry::Returning(returning) => returning.guest.namespace().name(),
            Entry::Connecting(newcomer) => newcomer.socket.namespace().name(),
            Entry::Connected(socket) => socket.namespace().name(),
        }
    }

    fn socket(&self) -> Option<&Socket> {
        match self {
            Entry::Asking(_) | Entry::Returning(_) => None,
            Entry::Connecting(newcomer) => Some(&newcomer.socket),
            Entry::Connected(socket) => Some(socket),
        }
    }

    /// The number of what decides on it.
    fn work(&self) -> Option<u64> {
        match self {
            Entry::Asking(asking) => Some(asking.work.number),
            Entry::Returning(returning) => Some(returning.work.number),
            Entry::Connecting(newcomer) => newcomer.work.as_ref().map(|work| work.number),
            Entry::Connected(_) => None,
        }
    }
}

/// Whether an event is over a rate limit. What is to be done about it has been done then.
#[cfg(feature = "rate-limit")]
fn is_too_much(limits: Option<&mut SocketLimits>, socket: &Socket, packet: &Packet) -> bool {
    let Some(limits) = limits else { return false };
    let name = packet.data.event().unwrap_or_default();
    match limits.event(socket.conn(), &packet.nsp, &name) {
        Ok(()) => return false,
        Err(Excess::Drop) => {
            let ack = packet.id.map(AckSlot::new);
            EventContext { socket: socket.clone(), args: packet.data.clone(), ack }.answer_error("rate limit exceeded");
        }
        Err(Excess::Disconnect) => socket.disconnect_now(true),
    }
    true
}

/// Runs the handlers of an event, at once if no middleware looks at it first.
fn dispatch(socket: &Socket, args: Args, id: Option<u64>) {
    socket.namespace().shared().counts.events_received.add(1);
    let context = EventContext { socket: socket.clone(), args, ack: id.map(AckSlot::new) };
    let (mut found, mut middlewares) = (Found::new(), Middlewares::new());
    let name = context.args.event().unwrap_or_default();
    socket.namespace().shared().counts.named.count(&name);
    socket.namespace().find(&name, &mut found, Some(&mut middlewares));
    socket.find(&name, &mut found, Some(&mut middlewares));
    drop(name);
    if middlewares.is_empty() { run_all(found, context) } else { pass(context, middlewares) }
}

fn query_as_auth(query: &str) -> Args {
    let query = socketio_protocol::engine::Query::parse(query);
    let pairs: serde_json::Map<_, _> =
        query.pairs().map(|(name, value)| (name.to_owned(), value.to_owned().into())).collect();
    Args::new_single(&pairs).unwrap_or_else(|_| Args::none())
}

#[cfg(test)]
mod tests;
