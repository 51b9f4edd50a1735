//! One connection and the sockets on it: from packets to sockets and handlers.
//!
//! A [`Client`] is the task of its connection. Packets are handled in the order in which they come, and what handling
//! one sends leaves together at the end of the turn.
//!
//! How a client gets into a namespace, which may take several functions of the application, is in [`entering`].

mod entering;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use smallvec::SmallVec;
use socketio_protocol::engine::{CloseReason, Message, Version};
use socketio_protocol::socket::{Args, Kind, Packet, split_query};

use self::entering::{Asking, Decisions, Newcomer, Returning};
use crate::adapter::Command;
#[cfg(feature = "rate-limit")]
use crate::engine::{Excess, SocketLimits};
use crate::engine::{Incoming, Received};
use crate::error::DisconnectReason;
use crate::gate::{Middlewares, pass, run_all};
use crate::handler::{AckSlot, EventContext, Load};
use crate::handlers::Found;
use crate::parser::Decoder;
use crate::server::ServerInner;
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
    /// Whether the server ends, and it is this client's turn: its events are not handled any more.
    stopped: bool,
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
            stopped: false,
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
            // Boxed: a client that lives has no room for its end, which had 80 bytes.
            Box::pin(client.leave_in_turn(reason)).await;
        }
    }

    async fn leave_in_turn(mut self, reason: CloseReason) {
        let server = self.server.clone();
        let turn = server.shared.exits.turn().await;
        self.end(reason);
        drop(self);
        turn.end().await;
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
                    // As if it were still on its way: who has no answer sends it to the next server.
                    Kind::Event if self.stopped => {}
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

    // ---- what others want -------------------------------------------------------------------------------------

    fn orders(&mut self) {
        if let Some(departure) = self.server.shared.departures.take(self.incoming.connection().id()) {
            self.stopped |= departure.stop;
            departure.answer(self.load.clone(), self.entered);
        }
        if !self.stopped {
            self.decisions();
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
