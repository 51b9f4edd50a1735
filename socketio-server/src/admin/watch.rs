//! What happens to sockets, rooms and events, on its way to the Admin UI.
//!
//! Whoever does something only puts the news into a bounded queue; one task takes them out and sends them. When the
//! queue is full, news are dropped, and the Admin UI is told anew of all sockets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::socket::{Args, Value};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::sockets::{self, SerializedSocket, iso, take_connection};
use super::stats::{ConnectionMeter, Identity, ServerStats, Stats};
use crate::adapter::{DataHook, Fields, Member, RoomEvent};
use crate::engine::{Connection, TransportKind};
use crate::error::DisconnectReason;
use crate::handler::Event;
use crate::namespace::Namespace;
use crate::server::{Server, ServerInner};
use crate::socket::Socket;

/// How many news may wait.
const NEWS: usize = 8192;

/// How often counters are put beside the second.
const SECOND: Duration = Duration::from_secs(1);

/// An event for the Admin UI.
#[derive(Debug)]
pub(super) struct News {
    event: &'static str,
    args: Args,
}

/// What the parts of an instrumented server tell of what they do.
#[derive(Debug)]
pub(crate) struct Admin {
    namespace: ByteString,
    verbose: bool,
    stats: Arc<Stats>,
    news: mpsc::Sender<News>,
    lost: AtomicU64,
}

impl Admin {
    /// With where its news come out.
    pub(super) fn new(namespace: ByteString, verbose: bool) -> (Arc<Self>, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(NEWS);
        (Arc::new(Self { namespace, verbose, stats: Arc::default(), news, lost: AtomicU64::new(0) }), receiver)
    }

    fn tell<T: Serialize>(&self, event: &'static str, args: &T) {
        let Ok(args) = Args::new_list(args) else { return };
        if self.news.try_send(News { event, args }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what goes through a new connection.
    pub(crate) fn meter(&self, connection: &Arc<Connection>) -> Arc<ConnectionMeter> {
        ConnectionMeter::start(self.stats.clone(), connection)
    }

    /// Tells what happens in a namespace. It holds no reference to it.
    pub(crate) fn watch(self: &Arc<Self>, namespace: &Namespace) {
        if !self.verbose {
            return;
        }
        let (admin, nsp) = (self.clone(), namespace.name().clone());
        namespace.on_room_event(move |event: &RoomEvent| match event {
            RoomEvent::Join { room, id } => admin.tell("room_joined", &(&*nsp, &**room, &**id, now())),
            RoomEvent::Leave { room, id } => admin.tell("room_left", &(&*nsp, &**room, &**id, now())),
            _ => {}
        });
        let (admin, nsp) = (self.clone(), namespace.name().clone());
        namespace.adapter().local().on_data(DataHook(Box::new(move |member: &Member| {
            let data = member.data_value();
            admin.tell("socket_updated", &(Update { id: member.id(), nsp: &nsp, transport: None, data: Some(data) },));
        })));
        if *namespace.name() != self.namespace {
            let admin = self.clone();
            namespace.use_packet(async move |socket: Socket, event: Event| {
                admin.tell_event("event_received", &socket, &event);
                Ok(event)
            });
            namespace.local_sockets().iter().for_each(|socket| self.watch_outgoing(socket));
        }
    }

    fn watch_outgoing(self: &Arc<Self>, socket: &Socket) {
        let admin = self.clone();
        socket.on_any_outgoing(move |socket: &Socket, event: &Event| admin.tell_event("event_sent", socket, event));
    }

    /// `event` with its name and arguments as one list.
    fn tell_event(&self, kind: &'static str, socket: &Socket, event: &Event) {
        let mut list = vec![Value::String(event.name().into_owned())];
        list.extend(event.args().to_values().unwrap_or_default());
        self.tell(kind, &(&**socket.namespace().name(), &**socket.id(), list, now()));
    }

    /// A socket is in, and its handlers have not run.
    pub(crate) fn connected(self: &Arc<Self>, socket: &Socket) {
        if !self.verbose {
            return;
        }
        let nsp = socket.namespace().name();
        let transport = socket.transport();
        let (told, connection) =
            take_connection(socket.namespace().adapter().local().describe_one(socket.member(), Fields::ALL));
        self.tell("socket_connected", &(SerializedSocket::new(nsp, &told, connection.as_ref()), now()));
        if *nsp != self.namespace {
            self.watch_outgoing(socket);
        }
        if transport == TransportKind::Polling {
            self.watch_upgrade(socket);
        }
    }

    fn watch_upgrade(self: &Arc<Self>, socket: &Socket) {
        let (nsp, id) = (socket.namespace().name().clone(), socket.id().clone());
        let connection = socket.conn().clone();
        let mut events = connection.events();
        let admin = self.clone();
        tokio::spawn(async move {
            // The event itself may be lost among others: what counts is the transport.
            while connection.transport() == TransportKind::Polling {
                if events.next().await.is_none() {
                    return;
                }
            }
            let transport = Some(connection.transport().as_str());
            admin.tell("socket_updated", &(Update { id: &id, nsp: &nsp, transport, data: None },));
        });
    }

    /// A socket is about to leave its rooms.
    pub(crate) fn disconnected(&self, socket: &Socket, reason: DisconnectReason) {
        if self.verbose {
            self.tell("socket_disconnected", &(&**socket.namespace().name(), &**socket.id(), reason.as_str(), now()));
        }
    }
}

/// What has changed of a socket.
#[derive(Serialize)]
struct Update<'a> {
    id: &'a str,
    nsp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

fn now() -> String {
    iso(SystemTime::now())
}

/// Sends what there is to tell for as long as the server lives: news at once, numbers every two seconds.
pub(super) async fn tell(
    server: Weak<ServerInner>,
    admin: Arc<Admin>,
    identity: Identity,
    mut news: mpsc::Receiver<News>,
) {
    let mut seconds = interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks: u64 = 0;
    loop {
        let told = tokio::select! {
            _ = seconds.tick() => None,
            told = news.recv() => told,
        };
        let Some(server) = server.upgrade().map(Server) else { return };
        // Not made anew if the application has removed it.
        let Some(namespace) = server.0.find(&admin.namespace) else { continue };
        let result = match told {
            Some(News { event, args }) => namespace.emit(event, args),
            None => {
                ticks += 1;
                if ticks.is_multiple_of(2) {
                    admin.stats.settle();
                    continue;
                }
                namespace.emit("server_stats", (ServerStats::take(&server, &admin.stats, &identity),))
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the Admin UI on other servers is not told");
        }
        match admin.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => {
                tracing::warn!(lost, "more happens than the Admin UI can be told");
                let sockets = sockets::all(&server).await;
                let _ = namespace.emit("all_sockets", (sockets,));
            }
        }
    }
}
