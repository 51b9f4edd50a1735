//! From a function of an application to a handler, in steps of which each can say for itself what does not fit.
//!
//! That a function can be called ([`HandlerFn`]) is told from that each of its parameters can be taken out of an event
//! ([`FromEventArgs`]) and that its answer can be written, so that the compiler names the one parameter, or the type of the
//! answer, that is wrong.

use std::future::Future;

use crate::error::HandlerErrorKind;
use crate::handler::{EventContext, FromEvent, Handler, HandlerFuture};
use crate::reply::Reply;
use crate::server_event::{FromServerEvent, ServerEventContext, ServerEventHandler};

/// A function of up to six parameters, given as a tuple.
///
/// ```
/// use socketio_server::HandlerFn;
///
/// let sum = |a: u32, b: u32| a + b;
/// assert_eq!(HandlerFn::call_with(sum, (1, 2)), 3);
/// ```
pub trait HandlerFn<Args> {
    /// What it returns: of an async function its work.
    type Output;

    /// Calls it.
    fn call_with(self, args: Args) -> Self::Output;
}

/// The work of an async function, whatever it comes to.
///
/// ```
/// fn fits(_: impl socketio_server::Async) {}
///
/// fits(async { 7 });
/// ```
#[diagnostic::on_unimplemented(
    message = "an event handler is async, and this returns `{Self}`",
    label = "write `async |..| {{ .. }}`, or an `async fn`"
)]
pub trait Async: Future {}

#[diagnostic::do_not_recommend]
impl<Work: Future> Async for Work {}

/// All parameters of a handler, taken out of an event of a client.
///
/// What a handler may take together:
///
/// ```
/// use socketio_server::{Ack, Data, FromEventArgs, Socket};
///
/// fn fits<Args: FromEventArgs>() {}
///
/// fits::<()>(); // async || { .. }
/// fits::<(Socket, Data<(String, u32)>, Ack)>(); // async |socket: Socket, Data((name, points)): Data<(String, u32)>, ack: Ack| { .. }
/// ```
pub trait FromEventArgs: Sized {
    /// Takes them in order; stops at the first that the event does not have.
    ///
    /// # Errors
    ///
    /// As [`FromEvent::from_event`].
    fn from_event_args(context: &mut EventContext) -> Result<Self, HandlerErrorKind>;
}

/// All parameters of a handler, taken out of an event of another server.
///
/// ```
/// use socketio_server::{Data, FromServerEventArgs, Namespace, ServerAnswer};
///
/// fn fits<Args: FromServerEventArgs>() {}
///
/// fits::<(Namespace, Data<String>, ServerAnswer)>();
/// ```
pub trait FromServerEventArgs: Sized {
    /// Takes them in order; stops at the first that the event does not have.
    ///
    /// # Errors
    ///
    /// As [`FromServerEvent::from_server_event`].
    fn from_server_event_args(context: &ServerEventContext) -> Result<Self, HandlerErrorKind>;
}

macro_rules! functions {
    ($(($($arg:ident),*))*) => {$(
        impl<F, Output, $($arg),*> HandlerFn<($($arg,)*)> for F
        where
            F: FnOnce($($arg),*) -> Output,
        {
            type Output = Output;

            #[allow(non_snake_case, reason = "one body for all numbers of parameters")]
            fn call_with(self, ($($arg,)*): ($($arg,)*)) -> Output {
                self($($arg),*)
            }
        }

        impl<$($arg: FromEvent),*> FromEventArgs for ($($arg,)*) {
            #[allow(unused_variables, reason = "one body for all numbers of parameters")]
            fn from_event_args(context: &mut EventContext) -> Result<Self, HandlerErrorKind> {
                Ok(($($arg::from_event(context)?,)*))
            }
        }

        impl<$($arg: FromServerEvent),*> FromServerEventArgs for ($($arg,)*) {
            #[allow(unused_variables, reason = "one body for all numbers of parameters")]
            fn from_server_event_args(context: &ServerEventContext) -> Result<Self, HandlerErrorKind> {
                Ok(($($arg::from_server_event(context)?,)*))
            }
        }
    )*};
}

functions! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, G) }

impl<F, Args, K> Handler<(K, Args)> for F
where
    F: HandlerFn<Args> + Clone + Send + Sync + 'static,
    Args: FromEventArgs,
    F::Output: Async + Send + 'static,
    <F::Output as Future>::Output: Reply<K>,
{
    fn call(self, mut context: EventContext) -> Option<HandlerFuture> {
        match Args::from_event_args(&mut context) {
            Ok(args) => {
                let work = self.call_with(args);
                Some(Box::pin(async move { work.await.reply(&context) }))
            }
            Err(error) => {
                context.fail(error);
                None
            }
        }
    }
}

impl<F, Args, K> ServerEventHandler<(K, Args)> for F
where
    F: HandlerFn<Args> + Clone + Send + Sync + 'static,
    Args: FromServerEventArgs,
    F::Output: Async + Send + 'static,
    <F::Output as Future>::Output: Reply<K>,
{
    fn call(self, context: ServerEventContext) -> Option<HandlerFuture> {
        match Args::from_server_event_args(&context) {
            Ok(args) => {
                let work = self.call_with(args);
                Some(Box::pin(async move { work.await.reply(&context) }))
            }
            Err(error) => {
                context.fail(error);
                None
            }
        }
    }
}
