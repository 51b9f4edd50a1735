//! Whether the bus took a message: [`Published`], a future that costs no allocation.
//!
//! Messages of one queue leave in order, so a message's number and one shared count of what has been settled
//! say it all. [`Publishing`] is the side of the bus, which hands out numbers and settles them in runs.
//!
//! Failures are kept as runs of numbers, the newest [`KEPT_FAILURES`]; a [`Published`] that is looked at only
//! after so many later failures reads as [`BusError::Unreachable`] rather than as sent.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use super::BusError;

/// How many runs of failed messages are remembered.
const KEPT_FAILURES: usize = 64;

/// Whether the bus took a message. Awaiting it tells; dropping it changes nothing.
///
/// Ready with `Ok` once the carrier (Redis) has confirmed the message, with the reason when it is known that it
/// did not or cannot be known. Nobody's receiving it is not an error.
#[must_use = "await it to learn whether the other servers were reached, or drop it on purpose with `let _ =`"]
pub struct Published {
    state: State,
}

enum State {
    Settled(Option<Outcome>),
    Waiting {
        number: u64,
        registered: bool,
        shared: Arc<Mutex<Progress>>,
    },
}

/// How a message ended.
pub type Outcome = Result<(), BusError>;

impl Published {
    /// A message of which is known how it ended, for a bus that does not wait.
    pub fn settled(outcome: Outcome) -> Published {
        Published {
            state: State::Settled(Some(outcome)),
        }
    }
}

impl Future for Published {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.state {
            State::Settled(outcome) => Poll::Ready(
                outcome
                    .take()
                    .expect("a finished future is not polled again"),
            ),
            State::Waiting {
                number,
                registered,
                shared,
            } => {
                let mut progress = lock(shared);
                match progress.outcome(*number) {
                    Some(outcome) => {
                        *registered = false;
                        Poll::Ready(outcome)
                    }
                    None => {
                        progress.wakers.insert(*number, cx.waker().clone());
                        *registered = true;
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if let State::Waiting {
            number,
            registered: true,
            shared,
        } = &self.state
        {
            lock(shared).wakers.remove(number);
        }
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Settled(outcome) => f.debug_tuple("Published").field(outcome).finish(),
            State::Waiting { number, .. } => {
                f.debug_struct("Published").field("number", number).finish()
            }
        }
    }
}

/// The side of the bus: hands out a [`Published`] per queued message and settles them in order.
///
/// Numbers count from 0 in the order of queueing. Callers keep the queue's order and this one's the same by
/// taking the number under the queue's lock.
#[derive(Clone, Default)]
pub struct Publishing {
    shared: Arc<Mutex<Progress>>,
}

impl Publishing {
    /// Nothing queued, nothing settled.
    pub fn new() -> Publishing {
        Publishing::default()
    }

    /// The handle of message `number`.
    pub fn published(&self, number: u64) -> Published {
        Published {
            state: State::Waiting {
                number,
                registered: false,
                shared: self.shared.clone(),
            },
        }
    }

    /// All messages before number `until` that were not settled yet have ended as `outcome`.
    pub fn settle(&self, until: u64, outcome: Outcome) {
        let awake = {
            let mut progress = lock(&self.shared);
            if until <= progress.settled {
                return;
            }
            if let Err(error) = outcome {
                let failure = Failure {
                    from: progress.settled,
                    until,
                    error,
                };
                if progress.failures.len() == KEPT_FAILURES {
                    progress.forgotten = progress
                        .failures
                        .pop_front()
                        .map_or(0, |oldest| oldest.until);
                }
                progress.failures.push_back(failure);
            }
            progress.settled = until;
            if progress.wakers.is_empty() {
                return;
            }
            let later = progress.wakers.split_off(&until);
            std::mem::replace(&mut progress.wakers, later)
        };
        for waker in awake.into_values() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publishing")
            .field("settled", &lock(&self.shared).settled)
            .finish()
    }
}

#[derive(Default)]
struct Progress {
    /// All numbers below this are settled.
    settled: u64,
    /// Runs of numbers that failed, oldest first.
    failures: VecDeque<Failure>,
    /// Below this, failures are no longer known.
    forgotten: u64,
    wakers: BTreeMap<u64, Waker>,
}

struct Failure {
    from: u64,
    until: u64,
    error: BusError,
}

impl Progress {
    fn outcome(&self, number: u64) -> Option<Outcome> {
        if number >= self.settled {
            return None;
        }
        if number < self.forgotten {
            return Some(Err(BusError::Unreachable {
                reason: "the message was looked at too late to tell whether it was sent".into(),
            }));
        }
        let failed = self
            .failures
            .iter()
            .find(|failure| (failure.from..failure.until).contains(&number));
        Some(failed.map_or(Ok(()), |failure| Err(failure.error.clone())))
    }
}

fn lock(shared: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(published: &mut Published) -> Poll<Outcome> {
        Pin::new(published).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn down(reason: &str) -> BusError {
        BusError::Unreachable {
            reason: reason.into(),
        }
    }

    #[test]
    fn messages_end_in_runs_as_the_bus_settles_them() {
        let publishing = Publishing::new();
        let mut handles: Vec<_> = (0..6).map(|number| publishing.published(number)).collect();
        publishing.settle(2, Ok(()));
        publishing.settle(4, Err(down("gone")));
        publishing.settle(5, Ok(()));
        let ends: Vec<_> = handles.iter_mut().map(poll).collect();
        let failed = Poll::Ready(Err(down("gone")));
        let sent = Poll::Ready(Ok(()));
        assert_eq!(
            ends,
            [
                sent.clone(),
                sent.clone(),
                failed.clone(),
                failed,
                sent,
                Poll::Pending
            ]
        );
    }

    #[test]
    fn those_who_wait_are_woken_and_those_who_left_are_forgotten() {
        let publishing = Publishing::new();
        let mut first = publishing.published(0);
        let mut second = publishing.published(1);
        assert_eq!(
            (poll(&mut first), poll(&mut second)),
            (Poll::Pending, Poll::Pending)
        );
        drop(second);
        assert_eq!(
            lock(&publishing.shared)
                .wakers
                .keys()
                .copied()
                .collect::<Vec<_>>(),
            [0]
        );
        publishing.settle(1, Ok(()));
        assert!(lock(&publishing.shared).wakers.is_empty());
        assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_failure_too_old_to_be_known_does_not_read_as_sent() {
        let publishing = Publishing::new();
        let mut early = publishing.published(0);
        for number in 0..=KEPT_FAILURES as u64 {
            publishing.settle(number + 1, Err(down("gone")));
        }
        assert!(matches!(
            poll(&mut early),
            Poll::Ready(Err(BusError::Unreachable { .. }))
        ));
    }
}
