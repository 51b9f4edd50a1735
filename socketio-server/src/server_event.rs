//! Events that the servers of a cluster send each other, and the handlers that they run.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Waker};

use bytestring::ByteString;
use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::socket::{Args, EncodeError};
use tokio::sync::oneshot;

use crate::adapter::ServerEvent;
use crate::error::{EventError, HandlerError, HandlerErrorKind};
use crate::handler::{Data, Event, HandlerFuture, State, text_of};
use crate::namespace::Namespace;
use crate::reply::{Failure, ReplyTo, text_of_error};

/// The way to answer another server. Only the first answer leaves; dropped without one, the asker is told nothing.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on_server_event("lock?", async |Data(name): Data<String>, answer: ServerAnswer| {
///     if name == "ours" {
///         answer.send(true); // who does not have it is silent
///     }
/// });
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServerAnswer(Option<Arc<Mutex<Option<oneshot::Sender<Args>>>>>);

impl ServerAnswer {
    /// Whether the other server wants an answer.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers with one value. Does nothing if no answer is wanted, or one was given.
    pub fn send(&self, value: impl Serialize) {
        if let Err(error) = self.try_send(value) {
            tracing::warn!(%error, "the answer to another server cannot be written");
        }
    }

    fn try_send(&self, value: impl Serialize) -> Result<(), EncodeError> {
        let Some(slot) = &self.0 else { return Ok(()) };
        let Some(sender) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        drop(sender.send(Args::new_list(&(value,))?)); // The asker has given up: fine.
        Ok(())
    }
}

/// One event of another server, on its way to a handler. Cheap to clone.
///
/// ```
/// use socketio_server::{FromServerEvent, HandlerErrorKind, ServerEventContext};
///
/// /// How many arguments the event has.
/// struct Count(usize);
///
/// impl FromServerEvent for Count {
///     fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
///         Ok(Count(context.args().to_values()?.len()))
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ServerEventContext {
    namespace: Namespace,
    args: Args,
    answer: ServerAnswer,
}

impl ServerEventContext {
    /// The namespace that it was sent in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The event's name and arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }

    pub(crate) fn fail(&self, kind: HandlerErrorKind) {
        self.answer_error(&kind.told());
        self.report(kind);
    }

    fn answer_error<T: Serialize + ?Sized>(&self, error: &T) {
        self.answer(&Failure { error });
    }

    fn report(&self, kind: HandlerErrorKind) {
        self.namespace.shared().report(HandlerError {
            nsp: self.namespace.name().clone(),
            socket: ByteString::new(),
            event: self.args.event().unwrap_or_default().into_owned(),
            kind,
        });
    }
}

impl ReplyTo for ServerEventContext {
    fn answer<T: Serialize + ?Sized>(&self, value: &T) {
        if let Err(error) = self.answer.try_send(value) {
            self.report(HandlerErrorKind::Answer(error));
        }
    }

    fn fail_with<T: Serialize + ?Sized>(&self, error: &T) {
        self.answer_error(error);
        self.report(HandlerErrorKind::Returned(text_of_error(error)));
    }

    fn refuse(&self, error: &EventError) {
        self.answer(&error.answer());
        self.report(HandlerErrorKind::Returned(error.to_string()));
    }
}

/// Something that a handler of other servers' events can take: made from the event.
///
/// ```
/// use socketio_server::{FromServerEvent, HandlerErrorKind, Server, ServerEventContext};
///
/// /// The namespace's name, as handlers want it.
/// struct Place(String);
///
/// impl FromServerEvent for Place {
///     fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
///         Ok(Place(context.namespace().name().to_string()))
///     }
/// }
///
/// Server::new().on_server_event("reload", async |Place(name): Place| println!("{name} is loaded again"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler of other servers' events cannot take `{Self}`",
    note = "it can take `Data<T>` (the arguments), `Event`, `State<T>`, `ServerAnswer` and `Namespace`; there is no socket",
    note = "wrap the type of the arguments in `Data`: `Data(message): Data<String>`"
)]
pub trait FromServerEvent: Sized {
    /// Takes it out of the event.
    ///
    /// # Errors
    ///
    /// When the event does not have it; the handler is not run then, and the error is reported.
    fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind>;
}

impl<T: DeserializeOwned> FromServerEvent for Data<T> {
    fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
        Ok(Data(context.args.to()?))
    }
}

impl FromServerEvent for Event {
    fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
        Ok(Event::of(context.args.clone()))
    }
}

impl<T: Send + Sync + 'static> FromServerEvent for State<T> {
    fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
        State::of(context.namespace.shared())
    }
}

impl FromServerEvent for ServerAnswer {
    fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
        Ok(context.answer.clone())
    }
}

impl FromServerEvent for Namespace {
    fn from_server_event(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
        Ok(context.namespace.clone())
    }
}

/// A function that an event of another server runs: `async |Data(text): Data<String>| { .. }`.
///
/// It takes up to six [`FromServerEvent`] values and returns a [`Reply`](crate::Reply), which answers the other server if it asked.
/// It is cloned for each event.
///
/// ```
/// use socketio_server::{Data, Namespace, Server};
///
/// async fn reload(namespace: Namespace, Data(key): Data<String>) -> bool {
///     println!("{key} in {}", namespace.name());
///     true // answers the server that asked
/// }
///
/// Server::new().on_server_event("reload", reload);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of other servers' events",
    label = "this cannot be called with what an event of another server has",
    note = "a handler is an async closure or function: `async |Data(text): Data<String>| {{ .. }}`",
    note = "it takes six at most of `Data<T>`, `Event`, `State<T>`, `ServerAnswer` and `Namespace`: by value, each with its type written down"
)]
pub trait ServerEventHandler<Marker>: Clone + Send + Sync + 'static {
    /// Starts on one event. `None` if the event does not fit, which has been reported then.
    fn call(self, context: ServerEventContext) -> Option<HandlerFuture>;
}

/// A handler without its types.
pub(crate) type ServerCallback = Arc<dyn Fn(ServerEventContext) -> Option<HandlerFuture> + Send + Sync>;

/// The handlers of a namespace for events of other servers.
#[derive(Default)]
pub(crate) struct ServerHandlers(RwLock<HashMap<Box<str>, Vec<ServerCallback>>>);

impl ServerHandlers {
    pub(crate) fn add<M>(&self, event: &str, handler: impl ServerEventHandler<M>) {
        let callback: ServerCallback = Arc::new(move |context| handler.clone().call(context));
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(event.into()).or_default().push(callback);
    }

    fn of(&self, event: &str) -> Vec<ServerCallback> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(event).cloned().unwrap_or_default()
    }

    /// Runs the handlers of an event that are registered with any of `all`. They start in order; one that waits goes on
    /// in a task of its own.
    pub(crate) fn run<'a>(all: impl IntoIterator<Item = &'a Arc<Self>>, namespace: &Namespace, event: ServerEvent) {
        let answer = ServerAnswer(event.answer.map(|sender| Arc::new(Mutex::new(Some(sender)))));
        let name = event.args.event().unwrap_or_default();
        let found: Vec<_> = all.into_iter().flat_map(|handlers| handlers.of(&name)).collect();
        let context = ServerEventContext { namespace: namespace.clone(), args: event.args.clone(), answer };
        for callback in found {
            start(&callback, context.clone());
        }
    }
}

fn start(callback: &ServerCallback, context: ServerEventContext) {
    let failed = context.clone();
    let started = std::panic::catch_unwind(AssertUnwindSafe(|| callback(context)));
    let mut work = match started {
        Ok(None) => return,
        Ok(Some(future)) => AssertUnwindSafe(future).catch_unwind(),
        Err(panic) => return failed.fail(HandlerErrorKind::Panic(text_of(&*panic))),
    };
    let end = move |ended: Result<(), Box<dyn std::any::Any + Send>>| {
        if let Err(panic) = ended {
            failed.fail(HandlerErrorKind::Panic(text_of(&*panic)));
        }
    };
    match work.poll_unpin(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(ended) => end(ended),
        std::task::Poll::Pending => drop(tokio::spawn(async move { end(work.await) })),
    }
}
