//! Answers: to a client, from a client, and from many clients.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;
use socketio_protocol::socket::{Args, ArgsError};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::adapter::{AckItem, AckSource, AckTally};
use crate::error::{AckError, EmitError};
use crate::handler::AckSlot;
use crate::socket::Socket;

/// The way to answer a client that asked for an acknowledgement.
///
/// Only the first answer leaves. Dropped without an answer, the client is not answered.
///
/// ```
/// # use socketio_server::{Ack, Data, Server};
/// # let io = Server::new();
/// io.on("ferret", async |Data((name, word)): Data<(String, String)>, ack: Ack| {
///     let _ = ack.send(format!("{name} says {word}"));
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Ack {
    socket: Socket,
    slot: Option<AckSlot>,
}

impl Ack {
    pub(crate) fn new(socket: Socket, slot: Option<AckSlot>) -> Self {
        Self { socket, slot }
    }

    /// Whether the client asked.
    pub fn is_wanted(&self) -> bool {
        self.slot.is_some()
    }

    /// Answers with `args`: a tuple is the list of arguments, `()` is none, anything else is one. Does nothing if the
    /// client did not ask, or was answered already.
    ///
    /// # Errors
    ///
    /// [`EmitError::Closed`] when the connection is closed, [`EmitError::Encode`] when `args` cannot be written.
    pub fn send(&self, args: impl Serialize) -> Result<(), EmitError> {
        match self.slot.as_ref().filter(|slot| slot.take()) {
            Some(slot) => self.socket.send_ack_args(slot.id, &args),
            None => Ok(()),
        }
    }
}

/// The answer of one client, of type `R`: its first argument, or all if `R` is a tuple.
///
/// The question has been sent already. Dropping this gives the answer up.
#[must_use = "await it for the client's answer"]
pub struct AckFuture<R> {
    state: State,
    answer: PhantomData<fn() -> R>,
}

enum State {
    Failed(Option<EmitError>),
    Waiting { socket: Socket, id: u64, answer: oneshot::Receiver<Args>, deadline: Pin<Box<Sleep>> },
}

impl<R> AckFuture<R> {
    pub(crate) fn failed(error: EmitError) -> Self {
        Self { state: State::Failed(Some(error)), answer: PhantomData }
    }

    pub(crate) fn waiting(socket: Socket, id: u64, answer: oneshot::Receiver<Args>, timeout: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(timeout));
        socket.load().asked();
        Self { state: State::Waiting { socket, id, answer, deadline }, answer: PhantomData }
    }
}

impl<R: DeserializeOwned> Future for AckFuture<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Failed(error) => Poll::Ready(Err(error.take().map_or(AckError::Timeout, AckError::Emit))),
            State::Waiting { answer, deadline, .. } => {
                if let Poll::Ready(answer) = Pin::new(answer).poll(cx) {
                    return Poll::Ready(match answer {
                        Ok(args) => Ok(args.to()?),
                        Err(_) => Err(AckError::Disconnected),
                    });
                }
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(AckError::Timeout))
            }
        }
    }
}

impl<R> Drop for AckFuture<R> {
    fn drop(&mut self) {
        if let State::Waiting { socket, id, .. } = &self.state {
            socket.forget_ack(*id);
            socket.load().answered();
        }
    }
}

impl<R> std::fmt::Debug for AckFuture<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckFuture").finish_non_exhaustive()
    }
}

/// The answers of many clients to one broadcast, each the client's first argument as `R`.
///
/// Awaited, it gives all of them at once, as [`Acks`]; [`next`](BroadcastAcks::next) gives each as it comes.
#[must_use = "await it for the clients' answers"]
pub struct BroadcastAcks<R> {
    /// One for each namespace; the namespaces of a pattern may be several.
    sources: Result<SmallVec<[AckSource; 1]>, Option<EmitError>>,
    answer: PhantomData<fn() -> R>,
}

/// One client's answer to a broadcast.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<R> {
    /// The socket that answered; `None` if it is one of another server, whose formats do not say.
    pub id: Option<ByteString>,
    /// What it answered, or why that is not an `R`.
    pub value: Result<R, ArgsError>,
}

/// What came of a broadcast with answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acks<R> {
    /// What the clients answered, in the order it came. Answers that are no `R` are missing here.
    pub answers: Vec<R>,
    /// How many clients were asked, as far as servers have said.
    pub asked: u64,
    /// How many of them did not answer.
    pub missing: u64,
    /// Those of them that are sockets of this server.
    pub missing_ids: Vec<ByteString>,
    /// How many servers did not say how many clients they asked.
    pub silent_servers: usize,
}

/// Not every client answered a broadcast in time. The text is the reference server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation has timed out")]
pub struct AcksMissing<R> {
    /// What came.
    pub acks: Acks<R>,
}

impl<R> Acks<R> {
    /// Whether every client has answered.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.silent_servers == 0
    }

    /// The answers, if every client gave one.
    ///
    /// # Errors
    ///
    /// [`AcksMissing`], with the answers that came.
    pub fn complete(self) -> Result<Vec<R>, AcksMissing<R>> {
        if self.is_complete() { Ok(self.answers) } else { Err(AcksMissing { acks: self }) }
    }
}

impl<R: DeserializeOwned> BroadcastAcks<R> {
    pub(crate) fn new(sources: Result<SmallVec<[AckSource; 1]>, EmitError>) -> Self {
        Self { sources: sources.map_err(Some), answer: PhantomData }
    }

    /// The next answer; `None` once all have come or the time is over.
    pub async fn next(&mut self) -> Option<Answer<R>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        let Ok(sources) = &mut self.sources else { return Poll::Ready(None) };
        let mut waiting = false;
        for source in sources {
            loop {
                match source.poll_next(cx) {
                    Poll::Ready(Some(AckItem::Answer { id, args })) => {
                        return Poll::Ready(Some(Answer { id, value: args.to::<(R,)>().map(|(first,)| first) }));
                    }
                    Poll::Ready(Some(AckItem::Gone { .. })) => {}
                    Poll::Ready(None) => break,
                    Poll::Pending => {
                        waiting = true;
                        break;
                    }
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for BroadcastAcks<R> {
    type Output = Result<Acks<R>, EmitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            if let Err(error) = &mut self.sources {
                return Err(error.take().unwrap_or(EmitError::Closed));
            }
            let mut answers = Vec::new();
            let mut came = 0;
            while let Some(answer) = self.next().await {
                came += 1;
                if let Ok(value) = answer.value {
                    answers.push(value);
                }
            }
            let tallies = self.sources.iter().flatten().map(AckSource::tally);
            let tally = tallies.reduce(AckTally::and).unwrap_or_default();
            Ok(Acks {
                answers,
                asked: tally.clients,
                missing: tally.clients.saturating_sub(came),
                missing_ids: tally.unanswered,
                silent_servers: tally.silent_servers,
            })
        })
    }
}

impl<R> std::fmt::Debug for BroadcastAcks<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BroadcastAcks").finish_non_exhaustive()
    }
}
