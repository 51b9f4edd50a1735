//! Functions of an application that events run: what they may take, and how they are run.
//!
//! A handler is polled at once, on the connection's own task, so that handlers of one socket start in the order in
//! which their events came, and one that never waits costs no task. One that waits goes on in a task of its own.

mod ack_slot;
mod load;

use std::any::Any;
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::socket::Args;
use tracing::Instrument;

pub(crate) use self::ack_slot::AckSlot;
pub(crate) use self::load::{Load, Waiting};
use crate::ack::Ack;
use crate::broadcast::check_name;
use crate::engine::clock::coarse;
use crate::engine::counters::bump;
use crate::error::{EmitError, EventError, HandlerError, HandlerErrorKind};
use crate::reply::{Failure, ReplyTo, text_of_error};
use crate::server::Shared;
use crate::socket::Socket;

/// One event of one socket, on its way to a handler. Cheap to clone.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::{EventContext, FromEvent, HandlerErrorKind};
///
/// /// Who has sent an event.
/// struct Sender(String);
///
/// impl FromEvent for Sender {
///     fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
///         Ok(Sender(context.socket().id().to_string()))
///     }
/// }
///
/// io.on("who am I", async |Sender(id): Sender| id);
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<String>("who am I", ()).await, client.id());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EventContext {
    pub(crate) socket: Socket,
    pub(crate) args: Args,
    pub(crate) ack: Option<AckSlot>,
}

impl EventContext {
    /// The socket that the event came from.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The event's name and arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Reports an error that is no answer of the handler's.
    pub(crate) fn fail(&self, kind: HandlerErrorKind) {
        self.answer_error(&kind.told());
        self.report(kind);
    }

    pub(crate) fn answer_error<T: Serialize + ?Sized>(&self, error: &T) {
        self.answer(&Failure { error });
    }

    pub(crate) fn report(&self, kind: HandlerErrorKind) {
        self.socket.namespace().shared().report(HandlerError {
            nsp: self.socket.namespace().name().clone(),
            socket: self.socket.id().clone(),
            event: self.args.event().map_or_else(String::new, Cow::into_owned),
            kind,
        });
    }
}

impl ReplyTo for EventContext {
    fn answer<T: Serialize + ?Sized>(&self, value: &T) {
        if let Some(ack) = self.ack.as_ref().filter(|ack| ack.take())
            && let Err(EmitError::Encode(error)) = self.socket.send_ack(ack.id, value)
        {
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

/// Something that a handler can take: made from the event.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::{EventContext, FromEvent, HandlerErrorKind};
///
/// /// Who is logged in; handlers that take it do not run for others.
/// struct User(String);
///
/// impl FromEvent for User {
///     fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
///         let name = context.socket().data::<String>();
///         name.map(|name| User((*name).clone())).ok_or(HandlerErrorKind::Returned("log in first".into()))
///     }
/// }
///
/// io.on("log in", async |socket: Socket, Data(name): Data<String>| {
///     socket.set_data(name);
///     "welcome"
/// });
/// io.on("whoami", async |User(name): User| name);
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<serde_json::Value>("whoami", ()).await["error"], "log in first");
/// assert_eq!(client.emit_with_ack::<String>("log in", "ana").await, "welcome");
/// assert_eq!(client.emit_with_ack::<String>("whoami", ()).await, "ana");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "an event handler cannot take `{Self}`",
    note = "it can take, by value, `Socket`, `Data<T>` (the arguments), `Ack`, `State<T>`, `Event`, in any order",
    note = "wrap the type of the arguments in `Data`: `Data(message): Data<String>`"
)]
pub trait FromEvent: Sized {
    /// Takes it out of the event.
    ///
    /// # Errors
    ///
    /// When the event does not have it; the handler is not run then, and the error is reported.
    fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind>;
}

impl FromEvent for Socket {
    fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
        Ok(context.socket.clone())
    }
}

/// The arguments of an event, as the type that the handler wants: a tuple is the list of arguments, any other type is
/// the first argument.
///
/// ```
/// # use socketio_server::{Data, Server, Socket};
/// # use serde::Deserialize;
/// #[derive(Deserialize)]
/// struct Point { x: f64, y: f64 }
///
/// # let io = Server::new();
/// io.on("move", async |Data(point): Data<Point>| { println!("{} {}", point.x, point.y) });
/// io.on("private message", async |socket: Socket, Data((to, text)): Data<(String, String)>| {
///     socket.to(&to).emit("private message", (socket.id(), text)).map(drop)
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromEvent for Data<T> {
    fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
        Ok(Data(context.args.to()?))
    }
}

/// The event as it came: its name, and arguments that nobody has parsed.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on_any(async |event: Event| println!("{} with {:?}", event.name(), event.args()));
/// io.on("relay", async |socket: Socket, event: Event| {
///     socket.broadcast().emit("relayed", event.args()).map(drop) // as it came, attachments included
/// });
/// # let (ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
/// ana.emit("relay", ("a", 1));
/// assert_eq!(bob.expect::<(String, u32)>("relayed").await, ("a".to_owned(), 1));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    args: Args,
}

impl Event {
    /// An event, for a [packet middleware](crate::Namespace::use_packet) that replaces the one that came. `args` are
    /// written as by [`emit`](Socket::emit): a tuple is the list of arguments.
    ///
    /// # Errors
    ///
    /// [`EmitError::Reserved`](crate::EmitError::Reserved) and [`EmitError::Encode`](crate::EmitError::Encode).
    pub fn new(name: &str, args: impl Serialize) -> Result<Self, EmitError> {
        check_name(name)?;
        Ok(Self { args: Args::new_event(name, &args)? })
    }

    pub(crate) fn of(args: Args) -> Self {
        Self { args }
    }

    pub(crate) fn into_args(self) -> Args {
        self.args
    }

    /// Its name.
    pub fn name(&self) -> Cow<'_, str> {
        self.args.event().unwrap_or_default()
    }

    /// Its arguments, without the name. They can be emitted as they are.
    pub fn args(&self) -> Args {
        self.args.without_name()
    }
}

impl FromEvent for Event {
    fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
        Ok(Event { args: context.args.clone() })
    }
}

/// What the server was given with [`Builder::state`](crate::Builder::state).
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let io = Server::builder().state(AtomicU32::new(0)).build();
/// io.on("count", async |counter: State<AtomicU32>| counter.fetch_add(1, Ordering::Relaxed) + 1);
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<u32>("count", ()).await, 1);
/// assert_eq!(client.emit_with_ack::<u32>("count", ()).await, 2);
/// # }
/// ```
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> std::ops::Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> FromEvent for State<T> {
    fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
        State::of(context.socket.namespace().shared())
    }
}

impl<T: Send + Sync + 'static> State<T> {
    pub(crate) fn of(shared: &Shared) -> Result<Self, HandlerErrorKind> {
        shared.state().map(State).ok_or(HandlerErrorKind::MissingState(std::any::type_name::<T>()))
    }
}

impl FromEvent for Ack {
    fn from_event(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
        Ok(Ack::new(context.socket.clone(), context.ack.clone()))
    }
}

/// A handler's work, boxed.
pub type HandlerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A function that an event runs: `async |socket: Socket, Data(text): Data<String>| { .. }`.
///
/// It takes up to six [`FromEvent`] values and returns a [`Reply`](crate::Reply). It is cloned for each event, so what a closure
/// captures should be cheap to clone: an `Arc`, a sender, a [`Server`](crate::Server).
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// async fn join(socket: Socket, Data(room): Data<String>) -> Result<usize, JoinError> {
///     socket.try_join(room.as_str())?;
///     Ok(socket.rooms().len())
/// }
///
/// io.on("join", join);
/// io.on("ping", async || "pong");
/// io.on("slow", async |Data(ms): Data<u64>, ack: Ack| {
///     tokio::time::sleep(Duration::from_millis(ms)).await;
///     let _ = ack.send((ms, "done")); // two arguments
/// });
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<usize>("join", "red").await, 2);
/// assert_eq!(client.emit_with_ack::<(u64, String)>("slow", 1).await, (1, "done".to_owned()));
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event handler",
    label = "this cannot be called with what an event has",
    note = "a handler is an async closure or function: `async |socket: Socket, Data(text): Data<String>| {{ .. }}`",
    note = "it takes six at most of `Socket`, `Data<T>`, `Ack`, `State<T>` and `Event`: by value, each with its type written down",
    note = "what it captures must implement `Clone`, and its future must be `Send` (no `Rc` or lock guard across an `.await`)"
)]
pub trait Handler<Marker>: Clone + Send + Sync + 'static {
    /// Starts on one event. `None` if the event does not fit, which has been reported then.
    fn call(self, context: EventContext) -> Option<HandlerFuture>;
}

/// A handler without its types.
pub(crate) type Callback = Arc<dyn Fn(EventContext) -> Option<HandlerFuture> + Send + Sync>;

pub(crate) fn erase<M, H: Handler<M>>(handler: H) -> Callback {
    Arc::new(move |context| handler.clone().call(context))
}

/// Runs a handler: at once as far as it goes without waiting, the rest in a task of its own.
pub(crate) fn run(callback: &Callback, context: EventContext, load: &Arc<Load>) {
    let span = tracing::debug_span!(
        target: "socketio::handler", "handler",
        nsp = &**context.socket.namespace().name(),
        socket = &**context.socket.id(),
        event = &*context.args.event().unwrap_or_default(),
    );
    if span.is_disabled() {
        return start(callback, context, load);
    }
    let within = span.clone();
    let callback: Callback = {
        let callback = callback.clone();
        Arc::new(move |context| Some(Box::pin(callback(context)?.instrument(span.clone()))))
    };
    within.in_scope(|| start(&callback, context, load));
}

fn start(callback: &Callback, context: EventContext, load: &Arc<Load>) {
    let started = std::panic::catch_unwind(AssertUnwindSafe(|| callback(context.clone())));
    match started {
        Ok(None) => {}
        Ok(Some(future)) => run_future(future, load, context),
        Err(panic) => context.fail(HandlerErrorKind::Panic(text_of(&*panic))),
    }
}

/// Whose work a future is, to be told what is wrong with it.
pub(crate) trait Owner: Send + Sync + 'static {
    fn socket(&self) -> &Socket;
    fn name(&self) -> Cow<'_, str>;
    fn panicked(self, panic: String);

    /// It held its thread for that long in one piece.
    fn look(&self, took: Duration) {
        let socket = self.socket();
        let shared = socket.namespace().shared();
        if took > shared.config.slow_handler {
            bump(&shared.counts.slow_handlers);
            tracing::warn!(
                target: "socketio::handler",
                nsp = &**socket.namespace().name(),
                socket = &**socket.id(),
                event = &*self.name(),
                millis = took.as_millis() as u64,
                "a handler held its thread"
            );
        }
    }
}

impl Owner for EventContext {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn name(&self) -> Cow<'_, str> {
        self.args.event().unwrap_or_default()
    }

    fn panicked(self, panic: String) {
        self.fail(HandlerErrorKind::Panic(panic));
    }
}

/// What a socket runs when something happens to it: `connection`, `disconnecting`, `disconnect`.
struct Occasion(Socket, &'static str);

impl Owner for Occasion {
    fn socket(&self) -> &Socket {
        &self.0
    }

    fn name(&self) -> Cow<'_, str> {
        self.1.into()
    }

    fn panicked(self, panic: String) {
        self.0.namespace().shared().report_panic(&self.0, self.1, panic);
    }
}

/// Starts a handler of something that happens to a socket, which goes by `name`, and runs it as [`run_future`] does.
pub(crate) fn run_occasion(socket: &Socket, name: &'static str, start: impl FnOnce() -> HandlerFuture) {
    let owner = Occasion(socket.clone(), name);
    match std::panic::catch_unwind(AssertUnwindSafe(start)) {
        Ok(future) => run_future(future, socket.load(), owner),
        Err(panic) => owner.panicked(text_of(&*panic)),
    }
}

/// Polls `future` once, and lets a task of its own do the rest.
pub(crate) fn run_future(future: HandlerFuture, load: &Arc<Load>, owner: impl Owner) {
    let mut future = AssertUnwindSafe(future).catch_unwind();
    let began = coarse();
    let polled = future.poll_unpin(&mut Context::from_waker(Waker::noop()));
    owner.look(coarse().saturating_sub(began));
    match polled {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(panic)) => owner.panicked(text_of(&*panic)),
        Poll::Pending => {
            let waiting = Waiting::new(load.clone());
            load.tasks.spawn(async move {
                let result = poll_fn(|cx| {
                    let began = coarse();
                    let polled = future.poll_unpin(cx);
                    owner.look(coarse().saturating_sub(began));
                    polled
                })
                .await;
                drop(waiting);
                if let Err(panic) = result {
                    owner.panicked(text_of(&*panic));
                }
            });
        }
    }
}

pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "of unknown kind".to_owned(),
    }
}
