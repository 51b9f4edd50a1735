//! Whether the bus took a message: [`Published`], a future without an allocation of its own.
//!
//! Messages leave in batches, so the messages of a batch share one [`Receipts`]; a handle is a reference to it
//! and a place in it. The bus fills in the answers in order, in runs. What nobody waits for is not kept.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::BusError;

/// Whether the bus took a message. Awaiting it tells; dropping it changes nothing.
///
/// Ready with `Ok` once the carrier (Redis) has confirmed the message, otherwise with the reason. That nobody
/// received it is not an error.
///
/// ```
/// use socketio_protocol::cluster::{BusError, Published};
///
/// async fn tell(published: Published) {
///     match published.await {
///         Ok(()) => println!("the other servers have it"),
///         Err(BusError::Unreachable { .. }) => println!("whether they have it is not known"),
///         Err(error) => println!("they do not have it: {error}"),
///     }
/// }
/// ```
#[must_use = "await it to learn whether the other servers were reached, or drop it on purpose with `let _ =`"]
pub struct Published {
    state: State,
}

enum State {
    Settled(Option<Result<u64, BusError>>),
    Waiting { receipts: Receipts, place: usize, registered: bool },
}

impl Published {
    /// A message of which is known how it ended, for a bus that does not wait.
    pub fn settled(outcome: Result<(), BusError>) -> Published {
        Published { state: State::Settled(Some(outcome.map(|()| 0))) }
    }

    /// Waits as awaiting does, and tells how many connections took the message from the carrier.
    ///
    /// # Errors
    ///
    /// As awaiting.
    pub fn receivers(self) -> Receivers {
        Receivers(self)
    }

    fn poll_receivers(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, BusError>> {
        loop {
            let elsewhere = match &mut self.state {
                State::Settled(outcome) => {
                    return Poll::Ready(outcome.take().expect("a finished future is not polled again"));
                }
                State::Waiting { receipts, place, registered } => {
                    let mut answers = receipts.lock();
                    *registered = false;
                    match answers.elsewhere.remove(place) {
                        Some(elsewhere) => elsewhere,
                        None => match answers.outcome(*place) {
                            Some(outcome) => return Poll::Ready(outcome),
                            None => {
                                *registered = true;
                                answers.wakers.insert(*place, cx.waker().clone());
                                return Poll::Pending;
                            }
                        },
                    }
                }
            };
            *self = elsewhere;
        }
    }
}

impl Future for Published {
    type Output = Result<(), BusError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_receivers(cx).map_ok(drop)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if let State::Waiting { receipts, place, registered: true } = &self.state {
            receipts.lock().wakers.remove(place);
        }
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Settled(outcome) => f.debug_tuple("Published").field(outcome).finish(),
            State::Waiting { place, .. } => f.debug_struct("Published").field("place", place).finish_non_exhaustive(),
        }
    }
}

/// How many connections took a message from the carrier; see [`Published::receivers`].
///
/// ```
/// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// use socketio_protocol::cluster::Receipts;
///
/// let batch = Receipts::new();
/// let mut receivers = pin!(batch.published(0).receivers());
/// batch.answer([Ok(3)]);
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(receivers.as_mut().poll(&mut cx), Poll::Ready(Ok(3)));
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing unless awaited"]
pub struct Receivers(Published);

impl Future for Receivers {
    type Output = Result<u64, BusError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_receivers(cx)
    }
}

/// The answers to the messages of one batch: the side of the bus.
///
/// ```
/// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// use socketio_protocol::cluster::{BusError, Receipts};
///
/// let batch = Receipts::new();
/// let (mut first, mut second) = (pin!(batch.published(0)), pin!(batch.published(1)));
/// let mut cx = Context::from_waker(Waker::noop());
/// batch.answer([Ok(1)]);
/// assert_eq!(first.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
/// assert_eq!(second.as_mut().poll(&mut cx), Poll::Pending);
/// batch.fail(BusError::Closed);
/// assert_eq!(second.as_mut().poll(&mut cx), Poll::Ready(Err(BusError::Closed)));
/// ```
#[derive(Clone, Default)]
pub struct Receipts {
    answers: Arc<Mutex<Answers>>,
}

impl Receipts {
    /// For a new batch, nothing answered.
    pub fn new() -> Receipts {
        Receipts::default()
    }

    /// The handle of the message at `place` in the batch, counted from 0.
    pub fn published(&self, place: usize) -> Published {
        Published { state: State::Waiting { receipts: self.clone(), place, registered: false } }
    }

    /// Whether anybody holds a handle of this batch. Answers need not be given when nobody does.
    pub fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.answers) > 1
    }

    /// The next messages of the batch have been answered so.
    pub fn answer(&self, run: impl IntoIterator<Item = Result<u64, BusError>>) {
        let awake = {
            let mut answers = self.lock();
            for outcome in run {
                match outcome {
                    Ok(receivers) => answers.receivers.push(u32::try_from(receivers).unwrap_or(u32::MAX)),
                    Err(error) => {
                        let place = answers.receivers.len();
                        answers.refused.insert(place, error);
                        answers.receivers.push(0);
                    }
                }
            }
            let until = answers.receivers.len();
            let later = answers.wakers.split_off(&until);
            std::mem::replace(&mut answers.wakers, later)
        };
        awake.into_values().for_each(Waker::wake);
    }

    /// The next message of the batch was sent on, and `elsewhere` says what becomes of it.
    pub fn answer_elsewhere(&self, elsewhere: Published) {
        {
            let mut answers = self.lock();
            let place = answers.receivers.len();
            answers.elsewhere.insert(place, elsewhere);
        }
        self.answer([Ok(0)]);
    }

    /// No more answers will come: all messages not answered yet have failed so.
    pub fn fail(&self, error: BusError) {
        let awake = {
            let mut answers = self.lock();
            answers.failed.get_or_insert(error);
            std::mem::take(&mut answers.wakers)
        };
        awake.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipts").field("answered", &self.lock().receivers.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Answers {
    /// Of the messages answered so far, in order.
    receivers: Vec<u32>,
    /// Those among them that were answered with an error.
    refused: BTreeMap<usize, BusError>,
    /// Those that were sent on.
    elsewhere: BTreeMap<usize, Published>,
    /// What became of all the others.
    failed: Option<BusError>,
    wakers: BTreeMap<usize, Waker>,
}

impl Answers {
    fn outcome(&self, place: usize) -> Option<Result<u64, BusError>> {
        match self.receivers.get(place) {
            Some(receivers) => {
                Some(self.refused.get(&place).map_or(Ok(u64::from(*receivers)), |error| Err(error.clone())))
            }
            None => self.failed.clone().map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(handle: &mut Receivers) -> Poll<Result<u64, BusError>> {
        Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn gone() -> BusError {
        BusError::Unreachable { reason: "gone".into() }
    }

    #[test]
    fn each_message_hears_its_own_answer_and_the_rest_the_failure() {
        let receipts = Receipts::new();
        let mut handles: Vec<_> = (0..4).map(|place| receipts.published(place).receivers()).collect();
        let refused = BusError::Refused { reason: "NOPERM".into() };
        receipts.answer([Ok(3), Err(refused.clone())]);
        assert!(handles.iter_mut().skip(2).all(|handle| poll(handle).is_pending()));
        receipts.answer([Ok(0)]);
        receipts.fail(gone());
        let ends: Vec<_> = handles.iter_mut().map(poll).collect();
        assert_eq!(ends, [Ok(3), Err(refused), Ok(0), Err(gone())].map(Poll::Ready));
    }

    #[test]
    fn a_message_that_is_sent_on_hears_what_became_of_it_there() {
        let (here, there, beyond) = (Receipts::new(), Receipts::new(), Receipts::new());
        let mut handles: Vec<_> = (0..3).map(|place| here.published(place).receivers()).collect();
        assert!(poll(&mut handles[1]).is_pending());
        here.answer([Ok(1)]);
        here.answer_elsewhere(there.published(0));
        here.answer([Ok(2)]);
        assert!(poll(&mut handles[1]).is_pending());
        there.answer_elsewhere(beyond.published(0));
        assert!(poll(&mut handles[1]).is_pending());
        beyond.answer([Ok(7)]);
        let ends: Vec<_> = handles.iter_mut().map(poll).collect();
        assert_eq!(ends, [1, 7, 2].map(|receivers| Poll::Ready(Ok(receivers))));
    }

    #[test]
    fn those_who_wait_are_woken_and_those_who_left_are_forgotten() {
        let receipts = Receipts::new();
        let mut first = receipts.published(0).receivers();
        let mut second = receipts.published(1).receivers();
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        drop(second);
        assert_eq!(receipts.lock().wakers.keys().copied().collect::<Vec<_>>(), [0]);
        receipts.answer([Ok(1)]);
        assert!(receipts.lock().wakers.is_empty());
        assert_eq!(poll(&mut first), Poll::Ready(Ok(1)));
        drop(first);
        assert!(!receipts.is_wanted());
    }
}
