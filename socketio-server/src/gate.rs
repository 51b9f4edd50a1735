//! What an event passes on its way to its handlers: the packet middlewares.
//!
//! Those of a socket's events are looked at one after the other. While one waits in a middleware, those that come
//! behind it wait at the gate, so that handlers still start in the order in which their events came. Each of these
//! counts as a handler that waits: past the limit the client is not read.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt;
use socketio_protocol::engine::Version;
use socketio_protocol::socket::Kind;

use crate::error::{EventError, HandlerErrorKind};
use crate::handler::{Event, EventContext, Owner, Waiting, run, run_future, text_of};
use crate::handlers::Found;
use crate::reply::ReplyTo;
use crate::socket::Socket;

pub(crate) type PacketMiddleware =
    Arc<dyn Fn(Socket, Event) -> Pin<Box<dyn Future<Output = Result<Event, EventError>> + Send>> + Send + Sync>;

pub(crate) fn erase_packet_middleware<F, Fut>(middleware: F) -> PacketMiddleware
where
    F: FnOnce(Socket, Event) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Event, EventError>> + Send + 'static,
{
    Arc::new(move |socket, event| Box::pin(middleware.clone()(socket, event)))
}

/// The middlewares that an event passes, in order. Empty for most.
pub(crate) type Middlewares = Vec<PacketMiddleware>;

/// The events that wait behind one that is in a middleware.
#[derive(Default)]
pub(crate) struct Gate(VecDeque<(EventContext, Middlewares, Waiting)>);

impl Gate {
    fn push(&mut self, context: EventContext, middlewares: Middlewares) {
        let waiting = Waiting::new(context.socket.load().clone());
        self.0.push_back((context, middlewares, waiting));
    }

    fn pop(&mut self) -> Option<(EventContext, Middlewares)> {
        self.0.pop_front().map(|(context, middlewares, _)| (context, middlewares))
    }
}

/// Sends an event through `middlewares` to its handlers, behind those of its socket that are on their way.
pub(crate) fn pass(context: EventContext, middlewares: Middlewares) {
    let socket = context.socket.clone();
    let Some((context, middlewares)) = socket.queue_at_gate(context, middlewares) else { return };
    let (load, owner) = (socket.load().clone(), context.clone());
    let work = async move {
        let mut first = pin!(through(context, middlewares));
        if first.as_mut().now_or_never().is_some() {
            return;
        }
        socket.shut_gate();
        first.await;
        while let Some((context, middlewares)) = socket.next_at_gate() {
            through(context, middlewares).await;
        }
    };
    run_future(Box::pin(work), &load, owner);
}

/// What a middleware panics with is its event's, and is no matter of those behind it.
async fn through(context: EventContext, middlewares: Middlewares) {
    let owner = context.clone();
    let looked_at = AssertUnwindSafe(async {
        let mut event = Event::of(context.args);
        for middleware in middlewares {
            event = middleware(context.socket.clone(), event).await?;
        }
        Ok(EventContext { args: event.into_args(), socket: context.socket, ack: context.ack })
    });
    match looked_at.catch_unwind().await {
        Ok(Ok(context)) if context.socket.connected() => handle(context),
        Ok(Ok(_)) => {} // It has been disconnected meanwhile.
        Ok(Err(error)) => refuse(&owner, error),
        Err(panic) => owner.panicked(text_of(&*panic)),
    }
}

/// Runs the handlers of an event that has passed.
fn handle(context: EventContext) {
    let (name, mut found) = (context.args.event().unwrap_or_default(), Found::new());
    context.socket.namespace().find(&name, &mut found, None);
    context.socket.find(&name, &mut found, None);
    drop(name);
    run_all(found, context);
}

/// Runs the handlers of an event, the last one without a copy.
pub(crate) fn run_all(found: Found, context: EventContext) {
    let Some((last, others)) = found.split_last() else { return };
    let load = context.socket.load().clone();
    others.iter().for_each(|callback| run(callback, context.clone(), &load));
    run(last, context, &load);
}

/// Tells the client as far as it can understand: in its acknowledgement, and one of Socket.IO 2 by its `error` event.
fn refuse(context: &EventContext, error: EventError) {
    context.answer(&error.answer());
    context.socket.tell_refused(&error);
    context.report(HandlerErrorKind::Refused(error));
}

impl Socket {
    /// Has an event wait if others of this socket wait before it; else gives it back.
    fn queue_at_gate(&self, context: EventContext, middlewares: Middlewares) -> Option<(EventContext, Middlewares)> {
        match self.listeners().as_mut().and_then(|listeners| listeners.gate.as_mut()) {
            Some(gate) => {
                gate.push(context, middlewares);
                None
            }
            None => Some((context, middlewares)),
        }
    }

    /// Events wait from now on.
    fn shut_gate(&self) {
        self.listeners().get_or_insert_default().gate = Some(Gate::default());
    }

    /// The next event that waits. If there is none, none has to wait any more.
    fn next_at_gate(&self) -> Option<(EventContext, Middlewares)> {
        let mut listeners = self.listeners();
        let own = listeners.as_mut()?;
        let next = own.gate.as_mut()?.pop();
        if next.is_none() {
            own.gate = None;
        }
        next
    }

    /// Tells the client that an event was refused, if it can be told: Socket.IO 2 has a packet for it, which newer
    /// clients would take for the end of the socket.
    fn tell_refused(&self, error: &EventError) {
        if self.protocol() == Version::V3 {
            self.send_packet(Kind::ConnectError, error.payload());
        }
    }
}
