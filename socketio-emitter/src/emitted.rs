//! What became of a message: [`Emitted`], a future that need not be awaited.
//!
//! Messages leave in batches, and those of a batch share one answer; an `Emitted` is a reference to it and a place in it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use socketio_protocol::cluster::Receivers;

use crate::{EmitError, Receipt, batch::Answer, cluster};

/// A message on its way. It is queued already: awaiting tells how it went, dropping changes nothing.
///
/// Awaited, it is ready once Redis has answered, with a [`Receipt`] or the reason why not. What is wrong with the
/// message itself is known at once, and [`queued`](Emitted::queued) tells it without waiting:
///
/// ```no_run
/// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
/// let receipt = emitter.emit("time", "12:00").await?; // waits for the answer of Redis
/// println!("{} servers", receipt.receivers());
/// emitter.emit("time", "12:01").queued()?; // does not wait
/// # Ok(()) }
/// ```
#[must_use = "await it to learn whether Redis took the message, or call `.queued()?` if that it is queued is enough"]
pub struct Emitted(State);

enum State {
    Settled(Result<Receipt, EmitError>),
    Waiting {
        answer: Answer,
        place: usize,
    },
    /// In a Redis Cluster.
    Carried(Receivers),
}

impl Emitted {
    pub(crate) fn settled(outcome: Result<Receipt, EmitError>) -> Emitted {
        Emitted(State::Settled(outcome))
    }

    pub(crate) fn waiting(answer: Answer, place: usize) -> Emitted {
        Emitted(State::Waiting { answer, place })
    }

    pub(crate) fn carried(receivers: Receivers) -> Emitted {
        Emitted(State::Carried(receivers))
    }

    /// Whether the message is in the queue, without waiting for Redis.
    ///
    /// # Errors
    ///
    /// What keeps it out: [`EmitError::Reserved`], [`EmitError::Encode`], [`EmitError::TooLarge`],
    /// [`EmitError::Full`], [`EmitError::Closed`], [`EmitError::NoRuntime`]. Nothing was sent then.
    pub fn queued(&self) -> Result<(), EmitError> {
        match &self.0 {
            State::Settled(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Future for Emitted {
    type Output = Result<Receipt, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Settled(outcome) => Poll::Ready(outcome.clone()),
            State::Waiting { answer, place } => {
                let answers = std::task::ready!(answer.poll_unpin(cx));
                let outcome = match answers {
                    Ok(answers) => answers.of(*place),
                    Err(_) => Err(EmitError::Unanswered { reason: "the runtime of the emitter has ended".to_owned() }),
                };
                // So that it can be asked again.
                self.0 = State::Settled(outcome.clone());
                Poll::Ready(outcome)
            }
            State::Carried(receivers) => {
                let outcome = std::task::ready!(receivers.poll_unpin(cx));
                let outcome = outcome.map(|receivers| Receipt::new(receivers, None)).map_err(cluster::failed);
                self.0 = State::Settled(outcome.clone());
                Poll::Ready(outcome)
            }
        }
    }
}

impl fmt::Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Settled(outcome) => f.debug_tuple("Emitted").field(outcome).finish(),
            State::Carried(_) => f.debug_struct("Emitted").finish_non_exhaustive(),
            State::Waiting { place, .. } => f.debug_struct("Emitted").field("place", place).finish_non_exhaustive(),
        }
    }
}
