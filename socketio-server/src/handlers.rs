//! Which handlers there are: of a namespace, for all its sockets, and of one socket.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::error::{ConnectError, DisconnectReason};
use crate::gate::{Gate, Middlewares};
use crate::handler::{Callback, Event, HandlerFuture};
use crate::socket::Socket;

pub(crate) type OnConnection = Arc<dyn Fn(Socket) -> HandlerFuture + Send + Sync>;
pub(crate) type OnDisconnect = Arc<dyn Fn(Socket, DisconnectReason) -> HandlerFuture + Send + Sync>;
pub(crate) type Middleware =
    Arc<dyn Fn(Socket) -> Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>> + Send + Sync>;
pub(crate) type OnOutgoing = Arc<dyn Fn(&Socket, &Event) + Send + Sync>;

/// What a namespace has registered for its sockets.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) middlewares: Vec<Middleware>,
    pub(crate) connection: Vec<OnConnection>,
    pub(crate) listeners: Listeners,
}

impl Handlers {
    pub(crate) fn on_connection<F, Fut>(&mut self, handler: F)
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.connection.push(Arc::new(move |socket| Box::pin(handler.clone()(socket))));
    }

    pub(crate) fn middleware<F, Fut>(&mut self, middleware: F)
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ConnectError>> + Send + 'static,
    {
        self.middlewares.push(Arc::new(move |socket| Box::pin(middleware.clone()(socket))));
    }
}

/// Tells one registered handler from all others: what
/// [`add_listener`](crate::Socket::add_listener) returns and [`remove_listener`](crate::Socket::remove_listener) takes.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let first = io.add_listener("tick", async || 1);
/// io.on("tick", async || 2);
/// io.remove_listener(first);
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<u32>("tick", ()).await, 2);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

impl ListenerId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The handlers of events, by name.
#[derive(Default)]
pub(crate) struct Listeners {
    named: HashMap<Box<str>, SmallVec<[Listener; 1]>, foldhash::fast::RandomState>,
    any: Vec<Listener>,
    pub(crate) any_outgoing: Vec<(ListenerId, OnOutgoing)>,
    pub(crate) packet_middlewares: Middlewares,
    /// The way of a socket's events is held up. Namespaces have none.
    pub(crate) gate: Option<Gate>,
    pub(crate) disconnecting: Vec<OnDisconnect>,
    pub(crate) disconnect: Vec<OnDisconnect>,
}

#[derive(Clone)]
struct Listener {
    id: ListenerId,
    callback: Callback,
    once: bool,
}

/// The handlers that one event runs.
pub(crate) type Found = SmallVec<[Callback; 2]>;

impl Listeners {
    pub(crate) fn on(&mut self, event: &str, callback: Callback, once: bool) -> ListenerId {
        let id = ListenerId::new();
        self.named.entry(event.into()).or_default().push(Listener { id, callback, once });
        id
    }

    pub(crate) fn on_any(&mut self, callback: Callback) -> ListenerId {
        let id = ListenerId::new();
        self.any.push(Listener { id, callback, once: false });
        id
    }

    pub(crate) fn prepend_any(&mut self, callback: Callback) -> ListenerId {
        let id = ListenerId::new();
        self.any.insert(0, Listener { id, callback, once: false });
        id
    }

    /// Removes all handlers of an event.
    pub(crate) fn off(&mut self, event: &str) {
        self.named.remove(event);
    }

    /// Removes all handlers of every event.
    pub(crate) fn off_any(&mut self) {
        self.any.clear();
    }

    /// Removes one handler, whatever it is for. Returns whether it was there.
    pub(crate) fn remove(&mut self, id: ListenerId) -> bool {
        let mut found = false;
        let mut keep = |one: ListenerId| {
            found |= one == id;
            one != id
        };
        self.any.retain(|listener| keep(listener.id));
        self.any_outgoing.retain(|(one, _)| keep(*one));
        self.named.retain(|_, named| {
            named.retain(|listener| keep(listener.id));
            !named.is_empty()
        });
        found
    }

    /// How many handlers an event has, those of every event not counted.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.named.get(event).map_or(0, SmallVec::len)
    }

    /// Adds those that an event runs; those that run once are taken out with [`take_once`](Listeners::take_once).
    /// Returns whether there are such.
    pub(crate) fn find(&self, event: &str, found: &mut Found) -> bool {
        // Pushed one by one: there is mostly one, and `extend` is made for many.
        for listener in &self.any {
            found.push(listener.callback.clone());
        }
        let Some(named) = self.named.get(event) else { return false };
        let mut once = false;
        for listener in named {
            found.push(listener.callback.clone());
            once |= listener.once;
        }
        once
    }

    pub(crate) fn take_once(&mut self, event: &str) {
        if let Some(named) = self.named.get_mut(event) {
            named.retain(|listener| !listener.once);
            if named.is_empty() {
                self.named.remove(event);
            }
        }
    }
}
