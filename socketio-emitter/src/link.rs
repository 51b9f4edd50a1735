//! The one connection, and the task that keeps it.
//!
//! The task takes batches from the queue, sends each in one write and does not wait for its answers before it sends
//! the next. When the link breaks it is made again, with pauses that grow; what waits goes over the new one, what
//! was already sent does not, because it may have been delivered. What waits longer than it may is given up, and its
//! senders are told why.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use socketio_redis_client::{Address, resp::Reply};
use tokio::io::AsyncWriteExt;

use crate::{
    EmitError,
    address::{self, Connection},
    batch::{Answers, Batch},
    queue::Queue,
};

/// So many batches may be on their way at a time.
const BATCHES_ON_THE_WAY: usize = 16;

/// When so many messages have no answer, Redis needs about as long as a [`REST`] for them …
const MANY: usize = 2_048;

/// … for which its answers are left to gather: each piece of them that is read costs about as much as ten messages.
const REST: Duration = Duration::from_millis(1);

/// The first pause between two attempts to connect; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often is looked for what has waited too long.
const TICK: Duration = Duration::from_millis(50);

/// How to keep the link.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    /// How long a message waits for the link, and once more for the answer.
    pub(crate) timeout: Duration,
    /// How often an attempt to connect is repeated before what waits is given up.
    pub(crate) retries: Option<u32>,
    /// The largest message.
    pub(crate) max_message: usize,
    /// How long answers of servers and clients are waited for.
    pub(crate) answer_timeout: Duration,
}

/// Serves `queue` until it is closed and empty.
pub(crate) async fn run(queue: Arc<Queue>, settings: Settings, mut connection: Option<Connection>) {
    let queue = Served(queue);
    let mut pause = Pause::new();
    loop {
        match connection.take() {
            Some(link) => {
                let made = Instant::now();
                if carry(&queue.0, &settings, link).await == Carried::Closed {
                    return;
                }
                if made.elapsed() > LONGEST_PAUSE {
                    pause = Pause::new();
                } else {
                    // Something lets us in only to throw us out again.
                    tokio::time::sleep(pause.next()).await;
                }
            }
            // The first message makes the link.
            None if !queue.0.ready().await => return,
            None => {}
        }
        connection = reconnect(&queue.0, &settings, &mut pause).await;
    }
}

/// Marks the queue as served as long as it lives, also when the runtime ends in the middle.
struct Served(Arc<Queue>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Why [`carry`] came back.
#[derive(PartialEq, Eq)]
enum Carried {
    Broken,
    Closed,
}

/// Sends over `connection` until it breaks, or the queue is closed and all is answered.
async fn carry(queue: &Queue, settings: &Settings, connection: Connection) -> Carried {
    let Connection { mut answers, mut commands } = connection;
    let address = settings.address.to_string();
    let mut sent = OnTheWay::default();
    let mut open = true;
    let mut rest = None;
    let broken = loop {
        if !open && sent.batches.is_empty() {
            return Carried::Closed;
        }
        tokio::select! {
            biased;
            () = until(rest), if rest.is_some() => rest = None,
            more = answers.more(), if rest.is_none() => {
                if let Err(error) = more.and_then(|()| answers.each(|reply| sent.answer(reply, queue, &address))) {
                    break EmitError::unanswered(&error);
                }
                rest = (sent.due() >= MANY).then(|| Instant::now() + REST);
            }
            written = commands.write(sent.unwritten()), if !sent.unwritten().is_empty() => match written {
                Ok(0) => break EmitError::unanswered(&io::ErrorKind::WriteZero.into()),
                Ok(written) => sent.written += written,
                Err(error) => break EmitError::unanswered(&error),
            },
            more = queue.ready(), if open && sent.has_room() => match queue.take() {
                Some(batch) => sent.begin(batch, settings.timeout),
                None => open = more,
            },
            () = until(sent.deadline()) => break EmitError::Timeout { after: settings.timeout },
        }
    };
    sent.fail(queue, &broken);
    Carried::Broken
}

/// What was sent and has no answer yet, the newest batch perhaps not yet as a whole.
#[derive(Default)]
struct OnTheWay {
    batches: VecDeque<Sent>,
    /// How much of the newest batch is written.
    written: usize,
}

struct Sent {
    batch: Batch,
    answers: Answers,
    /// When the answers have to be there.
    deadline: Instant,
}

impl OnTheWay {
    fn has_room(&self) -> bool {
        self.batches.len() < BATCHES_ON_THE_WAY && self.unwritten().is_empty()
    }

    fn begin(&mut self, batch: Batch, timeout: Duration) {
        self.batches.push_back(Sent { batch, answers: Answers::default(), deadline: Instant::now() + timeout });
        self.written = 0;
    }

    fn unwritten(&self) -> &[u8] {
        self.batches.back().and_then(|sent| sent.batch.bytes().get(self.written..)).unwrap_or_default()
    }

    /// How many messages have no answer, about.
    fn due(&self) -> usize {
        self.batches.iter().map(|sent| sent.batch.count() - sent.answers.count()).sum()
    }

    fn deadline(&self) -> Option<Instant> {
        self.batches.front().map(|sent| sent.deadline)
    }

    /// Takes the next answer.
    fn answer(&mut self, reply: Reply, queue: &Queue, address: &str) -> io::Result<()> {
        let Some(sent) = self.batches.front_mut() else { return Err(unasked(&reply)) };
        sent.answers.push(reply, address);
        if sent.answers.count() == sent.batch.count()
            && let Some(Sent { batch, answers, .. }) = self.batches.pop_front()
        {
            queue.settle(batch, answers);
        }
        Ok(())
    }

    /// No more answers will come.
    fn fail(self, queue: &Queue, error: &EmitError) {
        for Sent { batch, mut answers, .. } in self.batches {
            answers.fail(error.clone());
            queue.settle(batch, answers);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// A server that is about to close the link says why, without having been asked.
fn unasked(reply: &Reply) -> io::Error {
    let said = match reply {
        Reply::Error(reason) => reason.clone(),
        other => format!("{other:?}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, format!("Redis said, without being asked: {said}"))
}

/// Connects, or gives up what waits and tells why. `None` when the next attempt needs a new message.
async fn reconnect(queue: &Queue, settings: &Settings, pause: &mut Pause) -> Option<Connection> {
    let mut attempts = 0;
    let mut reason = None;
    loop {
        attempts += 1;
        let attempt =
            while_giving_up(queue, settings, reason.as_ref(), address::connect(&settings.address, settings.timeout));
        let error = match attempt.await {
            Ok(connection) => return Some(connection),
            Err(error) => after(attempts, error),
        };
        let hopeless = !error.is_transient() || settings.retries.is_some_and(|retries| attempts > retries);
        if hopeless {
            queue.fail_all(&error);
        }
        let pausing = tokio::time::sleep(pause.next());
        if hopeless {
            pausing.await;
            return None;
        }
        while_giving_up(queue, settings, Some(&error), pausing).await;
        reason = Some(error);
        if queue.is_over() {
            return None;
        }
    }
}

/// Does `work`. Meanwhile, what has waited too long fails for `reason`.
async fn while_giving_up<T>(
    queue: &Queue,
    settings: &Settings,
    reason: Option<&EmitError>,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    let started = Instant::now();
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(TICK) => {}
        }
        queue.seal();
        let silence = || EmitError::Unreachable {
            address: settings.address.to_string(),
            reason: format!("no answer for {:?}", started.elapsed()),
            attempts: 1,
        };
        queue.fail_older_than(settings.timeout, &reason.cloned().unwrap_or_else(silence));
    }
}

/// Connects, with a new attempt for each of `retries` as long as there is hope.
pub(crate) async fn connect(
    address: &Address,
    timeout: Duration,
    retries: u32,
    pause: &mut Pause,
) -> Result<Connection, EmitError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match address::connect(address, timeout).await {
            Ok(connection) => return Ok(connection),
            Err(error) if !error.is_transient() || attempts > retries => return Err(after(attempts, error)),
            Err(_) => tokio::time::sleep(pause.next()).await,
        }
    }
}

/// The error with how many attempts were made.
fn after(made: u32, error: EmitError) -> EmitError {
    match error {
        EmitError::Unreachable { address, reason, .. } => EmitError::Unreachable { address, reason, attempts: made },
        error => error,
    }
}

/// How long to wait before the next attempt: longer each time, and a little different for each emitter, so that
/// many do not come back at once.
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Pause {
        Pause(FIRST_PAUSE)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let longest = self.0;
        self.0 = (longest * 2).min(LONGEST_PAUSE);
        // Any number will do: the hasher's keys are random.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), longest);
        longest / 2 + longest.mul_f64(f64::from(random as u32) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stop_growing() {
        let mut pause = Pause::new();
        let mut longest = FIRST_PAUSE;
        for _ in 0..10 {
            let next = pause.next();
            assert!(next >= longest / 2 && next <= longest, "{next:?} of {longest:?}");
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(longest, LONGEST_PAUSE);
    }
}
