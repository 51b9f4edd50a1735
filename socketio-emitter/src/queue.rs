//! The bounded queue between those who emit and the task that sends.
//!
//! Counted are all messages without an answer, whether they wait here or are on their way: at the limit a message is
//! refused, which costs nobody but its sender. Whoever takes a batch gives it back when it has its answers.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use socketio_protocol::cluster::emitter::Command;
use tokio::sync::Notify;

use crate::{
    EmitError,
    batch::{Answers, Batch, LARGEST_BUFFER},
    emitted::Emitted,
};

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
    /// A buffer for the next batch.
    spare: Vec<u8>,
    /// Nobody can emit any more.
    closed: bool,
    /// There is a task that sends.
    served: bool,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Queue {
        let state =
            State { batches: VecDeque::new(), messages: 0, bytes: 0, spare: Vec::new(), closed: false, served: false };
        Queue { limits, state: Mutex::new(state), news: Notify::new(), settled: Notify::new() }
    }

    /// Puts in a message. `serve` is called if there is no task that sends.
    pub(crate) fn push(
        &self,
        command: &Command<'_>,
        payload: &[u8],
        serve: impl FnOnce() -> Result<(), EmitError>,
    ) -> Result<Emitted, EmitError> {
        let bytes = Batch::measure_of(command, payload);
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
        if let Some(batch) = state.batches.back_mut().filter(|batch| batch.has_room_for(bytes)) {
            return Ok(batch.push(command, payload));
        }
        let mut batch = Batch::new(std::mem::take(&mut state.spare));
        let emitted = batch.push(command, payload);
        state.batches.push_back(batch);
        self.news.notify_one();
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

    /// The task that sends has ended. What still waits here has nobody to send it, what was on its way nobody to
    /// settle it.
    pub(crate) fn abandon(&self) {
        let left = {
            let mut state = self.lock();
            state.served = false;
            state.messages = 0;
            state.bytes = 0;
            std::mem::take(&mut state.batches)
        };
        for batch in left {
            batch.end(Answers::failed(EmitError::Closed));
        }
        self.settled.notify_waiters();
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
            batch.seal();
        }
    }

    /// All messages of `batch` have failed so.
    pub(crate) fn fail(&self, batch: Batch, error: EmitError) {
        self.settle(batch, Answers::failed(error));
    }

    /// So have the messages of `batch` ended.
    pub(crate) fn settle(&self, batch: Batch, answers: Answers) {
        let (messages, bytes) = (batch.count(), batch.measure());
        let buffer = batch.end(answers);
        {
            let mut state = self.lock();
            state.messages = state.messages.saturating_sub(messages);
            state.bytes = state.bytes.saturating_sub(bytes);
            if (state.spare.capacity()..=LARGEST_BUFFER).contains(&buffer.capacity()) {
                state.spare = buffer;
            }
        }
        self.settled.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop_older_than(&mut self, age: Duration) -> Option<Batch> {
        let old = self.batches.front().is_some_and(|batch| batch.since().elapsed() >= age);
        if old { self.batches.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &Queue, payload: &[u8]) -> Result<Emitted, EmitError> {
        queue.push(&Command::Publish("channel".into()), payload, || Ok(()))
    }

    #[test]
    fn what_has_its_answer_no_longer_counts() {
        let queue = Queue::new(Limits { messages: 2, bytes: 1_000 });
        for _ in 0..1_000 {
            for payload in [&[0; 10][..], &[0; 700]] {
                push(&queue, payload).map(drop).expect("there is room");
            }
            assert!(matches!(push(&queue, &[]), Err(EmitError::Full { messages: 2, .. })));
            queue.fail_all(&EmitError::Closed);
        }
        let state = queue.lock();
        assert_eq!((state.messages, state.bytes), (0, 0));
    }

    #[test]
    fn one_message_larger_than_the_limit_goes_alone() {
        let queue = Queue::new(Limits { messages: 9, bytes: 100 });
        let large = push(&queue, &[0; 1_000]).map(drop);
        assert_eq!(large, Ok(()));
        assert!(matches!(push(&queue, &[]), Err(EmitError::Full { messages: 1, .. })));
    }

    #[test]
    fn a_batch_ends_when_it_is_full_or_sealed() {
        let queue = Queue::new(Limits { messages: 10_000, bytes: 1 << 30 });
        let push = |payload: &[u8]| drop(push(&queue, payload).expect("there is room"));
        (0..1_025).for_each(|_| push(&[]));
        push(&[0; 300 * 1_024]);
        push(&[]);
        queue.seal();
        push(&[]);
        let counts: Vec<_> = std::iter::from_fn(|| queue.take()).map(|batch| batch.count()).collect();
        assert_eq!(counts, [1_024, 1, 1, 1, 1]);
    }
}
