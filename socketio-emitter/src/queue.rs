//! The bounded queue between those who emit and the task that sends.
//!
//! Messages are collected into batches, a batch being what one write carries. Counted are all messages without an
//! answer, whether they wait here or are on their way: at the limit a message is refused, which costs nobody but its
//! sender. Whoever takes a batch settles it; one that is dropped tells its waiters that no answer will come.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, oneshot};

use crate::{
    EmitError,
    emitted::{Answer, Answers, Emitted},
};

/// So many messages leave in one write at most, so that answers come while the next are on their way.
const BATCH_MESSAGES: usize = 1_024;

/// So many bytes leave in one write, unless a single message is larger.
const BATCH_BYTES: usize = 256 * 1_024;

/// How much may be without an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

pub(crate) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    /// One who waits in [`ready`](Queue::ready) has something to look at.
    news: Notify,
    /// Those who wait in [`drained`](Queue::drained), too.
    settled: Notify,
}

struct State {
    /// Not taken yet, oldest first. Only the last takes more messages.
    batches: VecDeque<Batch>,
    /// What has no answer yet, here and on its way.
    messages: usize,
    bytes: usize,
    /// Nobody can emit any more.
    closed: bool,
    /// There is a task that sends.
    served: bool,
}

/// Messages that leave together.
pub(crate) struct Batch {
    pub(crate) pipeline: Pipeline,
    bytes: usize,
    /// Takes no more messages.
    sealed: bool,
    /// When its first message came.
    since: Instant,
    answer: Answer,
    answers: oneshot::Sender<Arc<Answers>>,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Queue {
        let state = State { batches: VecDeque::new(), messages: 0, bytes: 0, closed: false, served: false };
        Queue { limits, state: Mutex::new(state), news: Notify::new(), settled: Notify::new() }
    }

    /// Puts in `command`, which measures `bytes`. `serve` is called if there is no task that sends.
    pub(crate) fn push(
        &self,
        command: Cmd,
        bytes: usize,
        serve: impl FnOnce() -> Result<(), EmitError>,
    ) -> Result<Emitted, EmitError> {
        let mut state = self.lock();
        if state.closed {
            return Err(EmitError::Closed);
        }
        // A message larger than the limit goes when it is alone.
        let full = state.bytes + bytes > self.limits.bytes && state.messages > 0;
        if full || state.messages >= self.limits.messages {
            return Err(EmitError::Full { messages: state.messages, bytes: state.bytes });
        }
        if !state.served {
            serve()?;
            state.served = true;
        }
        state.messages += 1;
        state.bytes += bytes;
        let roomy = |batch: &&mut Batch| {
            !batch.sealed && batch.pipeline.len() < BATCH_MESSAGES && batch.bytes + bytes <= BATCH_BYTES
        };
        let emitted = match state.batches.back_mut().filter(roomy) {
            Some(batch) => batch.push(command, bytes),
            None => {
                let mut batch = Batch::new();
                let emitted = batch.push(command, bytes);
                state.batches.push_back(batch);
                self.news.notify_one();
                emitted
            }
        };
        Ok(emitted)
    }

    /// The next batch, if there is one.
    pub(crate) fn take(&self) -> Option<Batch> {
        self.lock().batches.pop_front()
    }

    /// Waits until there is a batch, with `true`, or until the queue is closed and empty, with `false`.
    pub(crate) async fn ready(&self) -> bool {
        loop {
            let news = self.news.notified();
            {
                let state = self.lock();
                if !state.batches.is_empty() {
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            news.await;
        }
    }

    /// Waits until nothing is without an answer.
    pub(crate) async fn drained(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.lock().messages == 0 {
                return;
            }
            settled.await;
        }
    }

    /// Takes no more messages. Those that are here are still sent.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// Nobody can emit any more, and nothing waits here.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.closed && state.batches.is_empty()
    }

    /// A task that sends has been started.
    pub(crate) fn served(&self) {
        self.lock().served = true;
    }

    /// The task that sends has ended. What still waits here has nobody to send it.
    pub(crate) fn abandon(&self) {
        let left = {
            let mut state = self.lock();
            state.served = false;
            std::mem::take(&mut state.batches)
        };
        left.into_iter().for_each(|batch| self.fail(batch, EmitError::Closed));
    }

    /// All that waits here has failed so.
    pub(crate) fn fail_all(&self, error: &EmitError) {
        self.fail_older_than(Duration::ZERO, error);
    }

    /// What has waited here for `age` has failed so.
    pub(crate) fn fail_older_than(&self, age: Duration, error: &EmitError) {
        loop {
            // In a statement of its own, so that the lock is not held while those who wait are told.
            let batch = self.lock().pop_older_than(age);
            let Some(batch) = batch else { return };
            self.fail(batch, error.clone());
        }
    }

    /// The batch at the end takes no more messages, so that old and new ones do not share a fate.
    pub(crate) fn seal(&self) {
        if let Some(batch) = self.lock().batches.back_mut() {
            batch.sealed = true;
        }
    }

    /// Redis has answered the messages of `batch`, each in its way.
    pub(crate) fn settle(&self, batch: Batch, values: Vec<Value>, address: &str) {
        let mut refused = BTreeMap::new();
        let receivers = values.into_iter().enumerate().map(|(place, value)| match value {
            Value::Int(receivers) => u64::try_from(receivers).unwrap_or_default(),
            Value::ServerError(error) => {
                refused.insert(place, EmitError::from_answer(address, &error));
                0
            }
            other => {
                refused.insert(place, EmitError::Refused { reason: format!("no number, but {other:?}") });
                0
            }
        });
        let receivers = receivers.collect();
        self.end(batch, Answers::Given { receivers, refused });
    }

    /// All messages of `batch` have failed so.
    pub(crate) fn fail(&self, batch: Batch, error: EmitError) {
        self.end(batch, Answers::Failed(error));
    }

    fn end(&self, batch: Batch, answers: Answers) {
        {
            let mut state = self.lock();
            state.messages = state.messages.saturating_sub(batch.pipeline.len());
            state.bytes = state.bytes.saturating_sub(batch.bytes);
        }
        // An error means that nobody waits for the answer.
        let _ = batch.answers.send(Arc::new(answers));
        self.settled.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop_older_than(&mut self, age: Duration) -> Option<Batch> {
        let old = self.batches.front().is_some_and(|batch| batch.since.elapsed() >= age);
        if old { self.batches.pop_front() } else { None }
    }
}

impl Batch {
    fn new() -> Batch {
        let (answers, answer) = oneshot::channel();
        let answer = answer.shared();
        Batch { pipeline: Pipeline::new(), bytes: 0, sealed: false, since: Instant::now(), answer, answers }
    }

    fn push(&mut self, command: Cmd, bytes: usize) -> Emitted {
        let place = self.pipeline.len();
        self.pipeline.add_command(command);
        self.bytes += bytes;
        Emitted::waiting(self.answer.clone(), place)
    }
}
