//! The questions of a server to the others of its cluster, and whom each still waits for.
//!
//! A question ends when every server has answered, or at its deadline; while it waits, the number of servers is asked
//! again from time to time, so that one that has left is not waited for. A short answer is never shown as whole: the
//! [`Tally`] counts each server and each client once, whatever comes twice, late or in another order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::join_all;
use socketio_protocol::cluster::{BusError, Channel, Message, READS_MORE, Tally};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{AckItem, AckTally};

/// How often the number of servers is looked at while one has not answered.
const RECOUNT: Duration = Duration::from_millis(500);

/// How long the link to listen is waited for before a question is asked.
const HEARING: Duration = Duration::from_secs(2);

/// How many servers are waited for when nobody can say how many there are.
const MANY: usize = usize::MAX;

/// How many servers there are, once their answers can be heard here. After an outage the link to ask may be back before
/// the one to listen: a question asked then would lose its answers, and be waited for to its deadline.
pub(super) async fn servers_that_answer(channel: &dyn Channel) -> Result<usize, BusError> {
    let count = channel.server_count().await?;
    if timeout_at(Instant::now(), channel.ready()).await.is_ok() {
        return Ok(count);
    }
    let _ = timeout_at(Instant::now() + HEARING, channel.ready()).await; // Asked all the same then.
    channel.server_count().await
}

/// The questions that wait for answers, by the id that the answers repeat.
#[derive(Default)]
pub(super) struct Questions {
    waiting: Mutex<HashMap<String, mpsc::UnboundedSender<Told>>>,
}

/// An answer, and the uid of who gives it, if that is known.
type Told = (Option<String>, Message);

/// One question. Dropping it ends the wait.
pub(super) struct Waiting {
    questions: Arc<Questions>,
    id: String,
    answers: mpsc::UnboundedReceiver<Told>,
}

impl Questions {
    pub(super) fn open(self: &Arc<Self>) -> Waiting {
        let (sink, answers) = mpsc::unbounded_channel();
        // About as short as the classic format's; all formats take any text.
        let id = format!("{READS_MORE}{}", crate::engine::random_id().get(..6).unwrap_or_default());
        self.lock().insert(id.clone(), sink);
        Waiting { questions: self.clone(), id, answers }
    }

    pub(super) fn answer(&self, request: &str, from: Option<String>, message: Message) {
        if let Some(sink) = self.lock().get(request) {
            let _ = sink.send((from, message)); // The asker has heard enough.
        }
    }

    /// Whether somebody waits for answers to `request`.
    pub(super) fn contains(&self, request: &str) -> bool {
        self.lock().contains_key(request)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What the answers repeat.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The question was published a moment ago, when there were so many `others`.
    pub(super) fn asked(self, channel: &dyn Channel, others: usize, deadline: Instant) -> Asked<'_> {
        let recount = Instant::now() + RECOUNT;
        Asked { channel, waiting: self, tally: Tally::new(others), recount, deadline }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.id);
    }
}

/// A question that is out.
pub(super) struct Asked<'a> {
    channel: &'a dyn Channel,
    waiting: Waiting,
    tally: Tally,
    /// When the servers are counted again.
    recount: Instant,
    deadline: Instant,
}

impl Asked<'_> {
    /// The next answer; `None` when no more is to be waited for, or at the deadline.
    pub(super) async fn next(&mut self) -> Option<Message> {
        while !self.tally.is_over() {
            tokio::select! {
                biased;
                told = self.waiting.answers.recv() => {
                    let (from, mut answer) = told?;
                    if self.tally.took(from.as_deref(), &mut answer) {
                        self.recount = Instant::now() + if self.tally.has_fewer() { Duration::ZERO } else { RECOUNT };
                        return Some(answer);
                    }
                }
                () = sleep_until(self.recount.min(self.deadline)) => {
                    if Instant::now() >= self.deadline {
                        return None;
                    }
                    if self.tally.missing_servers() > 0 {
                        let _ = timeout_at(self.deadline, self.recount()).await; // Then the question is over.
                    }
                    self.recount = Instant::now() + RECOUNT;
                }
            }
        }
        None
    }

    /// Servers that have left are not waited for. Who they are nobody says: but those who have answered and are there
    /// still are none of them.
    async fn recount(&mut self) {
        let Ok(count) = self.channel.server_count().await else { return };
        let others = count.saturating_sub(1);
        if others >= self.tally.servers() && !self.tally.has_fewer() {
            return;
        }
        let there = join_all(self.tally.answered_by().map(|uid| self.channel.is_there(uid))).await;
        let there = there.into_iter().filter(|is_there| *is_there == Ok(true)).count();
        self.tally.recounted(others, there);
    }

    /// How far it is.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The answers of other servers' clients to a broadcast.
pub(super) struct RemoteAcks {
    pub(super) sink: mpsc::UnboundedSender<AckItem>,
    pub(super) tally: Arc<Mutex<AckTally>>,
    /// How many clients are in `tally` by this.
    pub(super) clients: u64,
}

impl RemoteAcks {
    pub(super) async fn gather(mut self, channel: &dyn Channel, waiting: Waiting, message: Message, deadline: Instant) {
        let others = match timeout_at(deadline, servers_that_answer(channel)).await {
            Ok(Ok(count)) => count.saturating_sub(1),
            // Whoever hears it may still answer; nobody can say how many servers to wait for.
            _ => MANY,
        };
        if others == 0 {
            return;
        }
        self.note(&Tally::new(others));
        if channel.publish(&message).is_err() {
            return;
        }
        let mut asked = waiting.asked(channel, others, deadline);
        loop {
            let answer = tokio::select! {
                answer = asked.next() => answer,
                () = self.sink.closed() => return,
            };
            self.note(asked.tally());
            if !answer.is_some_and(|answer| self.take(answer)) {
                return;
            }
        }
    }

    /// `false` when nobody wants more.
    fn take(&self, answer: Message) -> bool {
        let mut tally = self.tally();
        let item = match answer {
            Message::ClientsAsked { ids, .. } => {
                tally.unanswered.extend(ids.into_iter().map(ByteString::from));
                return true;
            }
            Message::BroadcastAck { answer, .. } => AckItem::Answer { id: None, args: answer },
            Message::AckOf { sid, answer, .. } => {
                tally.settle(&sid);
                let id = ByteString::from(sid);
                match answer {
                    Some(args) => AckItem::Answer { id: Some(id), args },
                    None => AckItem::Gone { id },
                }
            }
            _ => return true,
        };
        drop(tally);
        self.sink.send(item).is_ok()
    }

    fn note(&mut self, servers: &Tally) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.silent_servers = match servers.missing_servers() {
            unknown if unknown > MANY / 2 => 1, // One stands for all: there may be some.
            known => known,
        };
        tally.clients += servers.clients() - self.clients;
        self.clients = servers.clients();
    }

    fn tally(&self) -> MutexGuard<'_, AckTally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
