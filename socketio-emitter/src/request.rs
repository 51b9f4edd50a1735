//! A question to clients: an event that each of them acknowledges.

use std::{
    fmt,
    future::{Future, IntoFuture, poll_fn},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use serde::{Serialize, de::DeserializeOwned};
use socketio_protocol::{
    cluster::{Message, Tally},
    socket::{Args, ArgsError},
};
use tokio::{sync::mpsc, time::Instant};

use crate::{Broadcast, EmitError, Emitter, desk::Question, plan};

/// The answers of many clients to one event, each as an `R`: the client's first argument, or all if `R` is a tuple or
/// [`Args`]. (Node.js servers send only the first argument of their clients' answers.)
///
/// The event is on its way. Awaited, this gives all answers at once, as [`Acks`]. As a stream, or by
/// [`next`](Request::next), it gives each as it comes, and at the end those that are missing; [`summary`](Request::summary)
/// then tells how many there were. Dropped, it gives the answers up.
///
/// ```no_run
/// # use socketio_emitter::{Emitter, EmitError};
/// # async fn example(emitter: Emitter) -> Result<(), EmitError> {
/// # use std::time::Duration;
/// let mut answers = emitter.to("game").timeout(Duration::from_secs(2)).request::<(String, u32)>("guess", ());
/// while let Some(answer) = answers.next().await {
///     match answer.value {
///         Ok((word, seconds)) => println!("{:?} guesses {word} after {seconds} s", answer.id),
///         Err(error) => println!("{:?}: {error}", answer.id),
///     }
/// }
/// let acks = emitter.request::<String>("name", ()).await?;
/// println!("{:?}, and {} clients did not answer", acks.answers, acks.summary.missing);
/// # Ok(()) }
/// ```
#[must_use = "await it for the clients' answers"]
pub struct Request<R> {
    items: Result<mpsc::UnboundedReceiver<Item>, Option<EmitError>>,
    /// Those that left without an answer.
    gone: Vec<String>,
    /// Those still to be told of as missing.
    untold: Vec<String>,
    summary: Option<Summary>,
    answer: PhantomData<fn() -> R>,
}

/// What the task that gathers says.
enum Item {
    Answer { id: Option<String>, args: Args },
    Gone { id: String },
    Failed(EmitError),
    End(Tally),
}

/// One client's answer.
///
/// ```no_run
/// use socketio_emitter::Answer;
///
/// # async fn example(emitter: socketio_emitter::Emitter) {
/// let mut answers = emitter.request::<String>("name?", ());
/// while let Some(Answer { id: Some(id), value: Ok(name), .. }) = answers.next().await {
///     println!("{id} is {name}");
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<R> {
    /// The socket; `None` if it is one of a Node.js server, which does not say.
    pub id: Option<String>,
    /// What it answered, or why there is no answer of its.
    pub value: Result<R, AnswerError>,
}

/// Why there is no answer of a client.
///
/// ```no_run
/// use socketio_emitter::AnswerError;
///
/// # async fn example(emitter: socketio_emitter::Emitter) {
/// let mut answers = emitter.request::<u32>("how many?", ());
/// while let Some(answer) = answers.next().await {
///     match answer.value {
///         Ok(number) => println!("{number}"),
///         Err(AnswerError::Timeout | AnswerError::Disconnected) => {}
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It answered something else.
    #[error("the answer is not what was asked for: {0}")]
    Decode(#[from] ArgsError),
    /// It left before it answered.
    #[error("the client has left")]
    Disconnected,
    /// It did not answer in time.
    #[error("operation has timed out")]
    Timeout,
    /// The servers could not be asked; this is of no client, and the only answer.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// What came of a question to clients.
///
/// ```no_run
/// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
/// let votes = emitter.to("voters").request::<bool>("agreed?", ()).await?;
/// let agreed = votes.answers.iter().filter(|vote| **vote).count();
/// println!("{agreed} of {} agree, {} are silent", votes.summary.asked, votes.summary.missing);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acks<R> {
    /// What the clients answered, in the order it came. Answers that are no `R` are missing here.
    pub answers: Vec<R>,
    /// Who was asked and who is missing.
    pub summary: Summary,
}

/// Who was asked, and who is missing.
///
/// ```no_run
/// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
/// let summary = emitter.request::<()>("ready?", ()).await?.summary;
/// if !summary.is_complete() {
///     println!("not ready: {:?}, and {} servers", summary.missing_ids, summary.silent_servers);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// How many clients were asked, as far as servers have said.
    pub asked: u64,
    /// How many of them did not answer, or have left.
    pub missing: u64,
    /// Those of them that are known: not sockets of Node.js servers, which do not say whom they asked.
    pub missing_ids: Vec<String>,
    /// How many servers were asked.
    pub servers: usize,
    /// How many of them did not say how many clients they asked.
    pub silent_servers: usize,
}

impl Summary {
    /// Whether every client has answered.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.silent_servers == 0
    }
}

impl Emitter {
    /// Sends `event` to every client of the namespace and gathers what they answer; see [`Request`].
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitter::emit), in the [`Request`].
    #[doc(alias = "emitWithAck")]
    pub fn request<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> Request<R> {
        self.all().request(event, args)
    }
}

impl Broadcast {
    /// Sends `event` to the selected clients and gathers what they answer; see [`Request`].
    ///
    /// Answers are waited for as long as [`timeout`](Broadcast::timeout) says, the emitter's
    /// [`requests_timeout`](crate::Builder::requests_timeout) if it says nothing. (A server of Node.js before
    /// `@socket.io/redis-adapter` 7.2 ends with an error when it hears such an event.)
    ///
    /// # Errors
    ///
    /// As [`emit`](Broadcast::emit), in the [`Request`].
    #[doc(alias = "emitWithAck")]
    pub fn request<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> Request<R> {
        let ask = |args: Args| {
            let (emitter, target) = (self.emitter().clone(), self.target());
            let timeout = target.timeout.unwrap_or(emitter.answer_timeout());
            let mut options = target.options.clone();
            options.flags.timeout = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            let (sink, items) = mpsc::unbounded_channel();
            if !target.is_somebody() {
                let _ = sink.send(Item::End(Tally::default()));
                return Ok(items);
            }
            let runtime = tokio::runtime::Handle::try_current().map_err(|_| EmitError::NoRuntime)?;
            runtime.spawn(async move {
                let question = |request| Message::Broadcast { args, options, request: Some(request) };
                tokio::select! {
                    end = gather(&emitter, timeout, question, &sink) => {
                        let _ = sink.send(end.map_or_else(Item::Failed, Item::End));
                    }
                    // Nobody waits any more.
                    () = sink.closed() => {}
                }
            });
            Ok(items)
        };
        let items = plan::client_event(event, &args).and_then(ask).map_err(Some);
        Request { items, gone: Vec::new(), untold: Vec::new(), summary: None, answer: PhantomData }
    }
}

async fn gather(
    emitter: &Emitter,
    timeout: Duration,
    question: impl FnOnce(String) -> Message,
    sink: &mpsc::UnboundedSender<Item>,
) -> Result<Tally, EmitError> {
    let Some(mut question) = Question::ask(emitter, Instant::now() + timeout, question).await? else {
        return Ok(Tally::default());
    };
    while let Some(answer) = question.next().await {
        let item = match answer {
            Message::BroadcastAck { answer, .. } => Item::Answer { id: None, args: answer },
            Message::AckOf { sid, answer: Some(args), .. } => Item::Answer { id: Some(sid), args },
            Message::AckOf { sid, answer: None, .. } => Item::Gone { id: sid },
            _ => continue,
        };
        let _ = sink.send(item);
    }
    Ok(std::mem::take(&mut question.tally))
}

impl<R: DeserializeOwned> Request<R> {
    /// The next answer. Once all have come, or the time is over, those that did not answer; then `None`.
    pub async fn next(&mut self) -> Option<Answer<R>> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Who was asked and who is missing, once all answers have been taken.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        let failed = |error| Some(Answer { id: None, value: Err(AnswerError::Emit(error)) });
        let items = match &mut self.items {
            Ok(items) => items,
            Err(error) => return Poll::Ready(error.take().and_then(failed)),
        };
        if self.summary.is_none() {
            let answer = match ready!(items.poll_recv(cx)) {
                Some(Item::Answer { id, args }) => Answer { id, value: args.to::<R>().map_err(AnswerError::Decode) },
                Some(Item::Gone { id }) => {
                    self.gone.push(id.clone());
                    Answer { id: Some(id), value: Err(AnswerError::Disconnected) }
                }
                Some(Item::End(tally)) => {
                    self.end(&tally);
                    return self.poll_answer(cx);
                }
                Some(Item::Failed(error)) => {
                    self.items = Err(None);
                    return Poll::Ready(failed(error));
                }
                None => {
                    // The runtime has ended.
                    self.items = Err(None);
                    return Poll::Ready(failed(EmitError::Closed));
                }
            };
            return Poll::Ready(Some(answer));
        }
        Poll::Ready(self.untold.pop().map(|id| Answer { id: Some(id), value: Err(AnswerError::Timeout) }))
    }

    fn end(&mut self, tally: &Tally) {
        self.untold = tally.silent_clients().iter().cloned().collect();
        let gone = std::mem::take(&mut self.gone);
        self.summary = Some(Summary {
            asked: tally.clients(),
            missing: tally.missing_clients().saturating_add(gone.len() as u64),
            missing_ids: gone.into_iter().chain(self.untold.iter().cloned()).collect(),
            servers: tally.servers(),
            silent_servers: tally.missing_servers(),
        });
    }
}

impl<R: DeserializeOwned> Stream for Request<R> {
    type Item = Answer<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        self.poll_answer(cx)
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for Request<R> {
    type Output = Result<Acks<R>, EmitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut answers = Vec::new();
            while let Some(answer) = self.next().await {
                match answer.value {
                    Ok(value) => answers.push(value),
                    Err(AnswerError::Emit(error)) => return Err(error),
                    Err(_) => {}
                }
            }
            Ok(Acks { answers, summary: self.summary.unwrap_or_default() })
        })
    }
}

impl<R> fmt::Debug for Request<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("summary", &self.summary).finish_non_exhaustive()
    }
}
