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
use socketio_protocol::socket::Args;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::adapter::{AckItem, AckSource, AckTally};
use crate::engine::counters::bump;
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
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("report", async |ack: Ack| {
    ///     if ack.is_wanted() {
    ///         let report = (1..=3).sum::<u32>(); // is only worked out for who asks
    ///         let _ = ack.send(report);
    ///     }
    /// });
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<u32>("report", ()).await, 6);
    /// # }
    /// ```
    pub fn is_wanted(&self) -> bool {
        self.slot.is_some()
    }

    /// Answers with `args`: a tuple is the list of arguments, `()` is none, anything else is one. Does nothing if the
    /// client did not ask, or was answered already.
    ///
    /// # Errors
    ///
    /// [`EmitError::Closed`] when the connection is closed, [`EmitError::Encode`] when `args` cannot be written.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// io.on("divide", async |Data((a, b)): Data<(u32, u32)>, ack: Ack| {
    ///     let _ = ack.send((a / b, a % b)); // two arguments
    /// });
    ///
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack::<(u32, u32)>("divide", (7, 2)).await, (3, 1));
    /// # }
    /// ```
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
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// let question = socket.emit_with_ack::<String>("name?", ()); // has been sent already
/// client.expect_event("name?").await.answer("Ana");
/// assert_eq!(question.await.unwrap(), "Ana");
/// # }
/// ```
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
            State::Waiting { answer, deadline, socket, .. } => {
                if let Poll::Ready(answer) = Pin::new(answer).poll(cx) {
                    return Poll::Ready(match answer {
                        Ok(args) => Ok(args.to()?),
                        Err(_) => Err(AckError::Disconnected),
                    });
                }
                ready!(deadline.as_mut().poll(cx));
                bump(&socket.namespace().shared().counts.ack_timeouts);
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

/// The answers of many clients to one broadcast, each as an `R`: the client's first argument, or all if `R` is a tuple.
/// (Node.js servers send only the first argument of their clients' answers.)
///
/// Awaited, it gives all of them at once, as [`Acks`]. As a stream, or by [`next`](BroadcastAcks::next), it gives each as it
/// comes and whose it is, and at the end those that are missing.
///
/// ```
/// # use socketio_server::{AckError, Server};
/// # async fn example(io: Server) -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// let mut answers = io.to("game").timeout(Duration::from_secs(2)).emit_with_ack::<(String, u32)>("guess", ());
/// while let Some(answer) = answers.next().await {
///     match answer.value {
///         Ok((word, seconds)) => println!("{:?} guesses {word} after {seconds} s", answer.id),
///         Err(AckError::Timeout) => println!("{:?} did not answer", answer.id),
///         Err(error) => println!("{:?}: {error}", answer.id),
///     }
/// }
/// # Ok(()) }
/// ```
#[must_use = "await it for the clients' answers"]
pub struct BroadcastAcks<R> {
    /// One for each namespace; the namespaces of a pattern may be several.
    sources: Result<SmallVec<[AckSource; 1]>, Option<EmitError>>,
    /// Those that did not answer, once that is known.
    missing: Option<Vec<ByteString>>,
    answer: PhantomData<fn() -> R>,
}

/// One client's answer to a broadcast.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut ana = TestClient::connect(&io).await;
/// let mut answers = io.emit_with_ack::<String>("name?", ());
/// ana.expect_event("name?").await.answer("Ana");
/// let answer = answers.next().await.unwrap();
/// assert_eq!(answer.id.as_deref(), Some(ana.id()));
/// assert_eq!(answer.value.unwrap(), "Ana");
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<R> {
    /// The socket; `None` if it is one of a Node.js server, which does not say.
    pub id: Option<ByteString>,
    /// What it answered; or that it answered something else than an `R`, left before it did, or did not in time.
    pub value: Result<R, AckError>,
}

/// What came of a broadcast with answers.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
/// # let socket = io.local_socket(ana.id()).unwrap();
/// let votes = io.timeout(Duration::from_millis(50)).emit_with_ack::<u32>("vote", ());
/// ana.expect_event("vote").await.answer(1);
/// let votes = votes.await.unwrap();
/// assert_eq!((votes.answers, votes.missing), (vec![1], 1));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acks<R> {
    /// What the clients answered, in the order it came. Answers that are no `R` are missing here.
    pub answers: Vec<R>,
    /// How many clients were asked, as far as servers have said.
    pub asked: u64,
    /// How many of them did not answer.
    pub missing: u64,
    /// Those of them that are known: not sockets of Node.js servers, which do not say whom they asked.
    pub missing_ids: Vec<ByteString>,
    /// How many servers did not say how many clients they asked.
    pub silent_servers: usize,
}

/// Not every client answered a broadcast in time. The text is the reference server's.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let _silent = TestClient::connect(&io).await;
/// # let patience = std::time::Duration::from_millis(10);
/// let votes = io.timeout(patience).emit_with_ack::<u32>("vote", ()).await.unwrap();
/// let error = votes.complete().unwrap_err();
/// assert_eq!((error.acks.answers.len(), error.acks.missing), (0, 1));
/// # }
/// ```
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
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut ana = TestClient::connect(&io).await;
    /// let votes = io.emit_with_ack::<u32>("vote", ());
    /// ana.expect_event("vote").await.answer(1);
    /// assert_eq!(votes.await.unwrap().complete().unwrap(), [1]);
    /// # }
    /// ```
    pub fn complete(self) -> Result<Vec<R>, AcksMissing<R>> {
        if self.is_complete() { Ok(self.answers) } else { Err(AcksMissing { acks: self }) }
    }
}

impl<R: DeserializeOwned> BroadcastAcks<R> {
    pub(crate) fn new(sources: Result<SmallVec<[AckSource; 1]>, EmitError>) -> Self {
        Self { sources: sources.map_err(Some), missing: None, answer: PhantomData }
    }

    /// The next answer. Once all have come, or the time is over, those that did not answer; then `None`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let patience = std::time::Duration::from_millis(50);
    /// let mut answers = io.timeout(patience).emit_with_ack::<u32>("vote", ());
    /// ana.expect_event("vote").await.answer(1);
    /// assert_eq!(answers.next().await.unwrap().value.unwrap(), 1);
    ///
    /// let missing = answers.next().await.unwrap();
    /// assert_eq!(missing.id.as_deref(), Some(bob.id()));
    /// assert!(matches!(missing.value, Err(AckError::Timeout)));
    /// assert!(answers.next().await.is_none());
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Answer<R>> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        if let Some(answer) = ready!(self.poll_came(cx)) {
            return Poll::Ready(Some(answer));
        }
        let sources = self.sources.iter().flatten();
        let missing =
            self.missing.get_or_insert_with(|| sources.flat_map(|source| source.tally().unanswered).collect());
        Poll::Ready(missing.pop().map(|id| Answer { id: Some(id), value: Err(AckError::Timeout) }))
    }

    /// What comes of those that were asked, until all have answered or left or the time is over.
    fn poll_came(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        let Ok(sources) = &mut self.sources else { return Poll::Ready(None) };
        let mut waiting = false;
        for source in sources {
            match source.poll_next(cx) {
                Poll::Ready(Some(AckItem::Answer { id, args })) => {
                    return Poll::Ready(Some(Answer { id, value: args.to::<R>().map_err(AckError::from) }));
                }
                Poll::Ready(Some(AckItem::Gone { id })) => {
                    return Poll::Ready(Some(Answer { id: Some(id), value: Err(AckError::Disconnected) }));
                }
                Poll::Ready(None) => {}
                Poll::Pending => waiting = true,
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl<R: DeserializeOwned> futures_util::Stream for BroadcastAcks<R> {
    type Item = Answer<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        self.poll_answer(cx)
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
            let (mut came, mut gone) = (0, Vec::new());
            while let Some(answer) = std::future::poll_fn(|cx| self.poll_came(cx)).await {
                match answer.value {
                    Ok(value) => answers.push(value),
                    Err(AckError::Disconnected) => {
                        gone.extend(answer.id);
                        continue;
                    }
                    Err(_) => {}
                }
                came += 1;
            }
            let tallies = self.sources.iter().flatten().map(AckSource::tally);
            let tally = tallies.reduce(AckTally::and).unwrap_or_default();
            Ok(Acks {
                answers,
                asked: tally.clients,
                missing: tally.clients.saturating_sub(came),
                missing_ids: gone.into_iter().chain(tally.unanswered).collect(),
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
