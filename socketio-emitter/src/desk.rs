//! Where answers come: a subscription for each namespace that was asked something, and who waits for what.
//!
//! It is made with the first question and heard by nobody else: an asker has an id of its own, and the answers to it have
//! a channel. An emitter that never asks has no subscription.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use socketio_protocol::cluster::{BusStatus, Message, READS_MORE, Tally, emitter::Format};
use socketio_redis_client::{
    Listener, Publisher, QueueLimits, Redis, Sink, Subscriber, Topics,
    random::{random_hex, random_id},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{EmitError, Emitter, cluster};

/// How many bytes of answers may wait to be looked at.
const BUFFER: usize = 64 << 20;

/// How often the number of servers is looked at while one has not answered.
const RECOUNT: Duration = Duration::from_millis(500);

/// The connections that questions need beside the emitter's own: one that counts servers, one that hears.
pub(crate) struct Desk {
    redis: Redis,
    counter: Publisher,
    subscriber: Subscriber,
    /// By namespace.
    ears: Mutex<HashMap<String, Arc<Ear>>>,
}

/// Hears the answers in one namespace.
struct Ear {
    uid: String,
    waiting: Arc<Waiting>,
    listener: Listener,
}

/// An answer, and the uid of who gives it, if that is known.
type Told = (Option<String>, Message);

/// The questions that wait for answers, by the id that the answers repeat.
struct Waiting {
    format: Arc<Format>,
    uid: String,
    questions: Mutex<HashMap<String, mpsc::UnboundedSender<Told>>>,
}

impl Desk {
    /// Has to be called inside a Tokio runtime. `counter` is a way to all nodes, if there is one already.
    pub(crate) fn open(redis: Redis, counter: Option<Publisher>) -> Desk {
        let start = || Publisher::start(&redis, concat!(env!("CARGO_PKG_NAME"), "-counter"), QueueLimits::default());
        let counter = counter.unwrap_or_else(start);
        let subscriber = Subscriber::start(&redis, BUFFER);
        Desk { redis, counter, subscriber, ears: Mutex::default() }
    }

    fn ear(&self, format: &Arc<Format>) -> Arc<Ear> {
        let open = || {
            let uid = match format.uid_length() {
                short @ ..16 => random_id(short),
                long => random_hex(long),
            };
            let channels = format.answers_to(&uid);
            let topics = match format.is_sharded() {
                true => Topics { shards: channels.into_iter().collect(), ..Topics::default() },
                false => Topics { channels, ..Topics::default() },
            };
            let waiting = Waiting { format: format.clone(), uid: uid.clone(), questions: Mutex::default() };
            let waiting = Arc::new(waiting);
            Arc::new(Ear { uid, waiting: waiting.clone(), listener: self.subscriber.open(topics, waiting) })
        };
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.entry(format.nsp().to_owned()).or_insert_with(open).clone()
    }

    /// How many servers there are.
    pub(crate) async fn servers(&self, format: &Format) -> Result<usize, EmitError> {
        self.subscribers(format, format.servers()).await
    }

    /// Whether a server is there, as far as is known.
    async fn is_there(&self, format: &Format, uid: &str) -> bool {
        let Some(channel) = format.answers_to(uid).pop() else { return false };
        self.subscribers(format, &channel).await.is_ok_and(|count| count > 0)
    }

    async fn subscribers(&self, format: &Format, channel: &str) -> Result<usize, EmitError> {
        let address = self.redis.address().to_string();
        self.counter.connected().await.map_err(crate::address::in_our_words)?;
        let count = match format.is_sharded() {
            true => self.counter.shard_subscribers(channel).await,
            false => self.counter.subscribers(channel).await,
        };
        let count = count.map_err(|error| cluster::unsent(&address, error))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Told>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Waiting {
    fn message(&self, _channel: &[u8], payload: &[u8]) {
        let wants = |request: &str| self.lock().contains_key(request);
        // What is no answer is nobody's; on the common channel of the classic family it may be an answer of any age.
        let Ok(Some(envelope)) = self.format.read_answer(&self.uid, payload, wants) else { return };
        if let Some(asker) = envelope.message.answers().and_then(|request| self.lock().get(request).cloned()) {
            let _ = asker.send((envelope.uid, envelope.message)); // The asker has heard enough.
        }
    }

    fn status(&self, _status: BusStatus) {}
}

/// A question that was asked, and the answers as they come.
pub(crate) struct Question {
    emitter: Emitter,
    ear: Arc<Ear>,
    id: String,
    answers: mpsc::UnboundedReceiver<Told>,
    deadline: Instant,
    /// When the number of servers is looked at again.
    next_count: Instant,
    pub(crate) tally: Tally,
}

impl Question {
    /// Asks all servers; `None` if there are none. Answers are waited for until `deadline`.
    pub(crate) async fn ask(
        emitter: &Emitter,
        deadline: Instant,
        question: impl FnOnce(String) -> Message,
    ) -> Result<Option<Question>, EmitError> {
        let desk = emitter.desk()?;
        let ear = desk.ear(emitter.shared_format());
        let late = |_| EmitError::Unreachable {
            address: emitter.address(),
            reason: "no answer in the time for this question".to_owned(),
            attempts: 1,
        };
        let ready = async {
            let servers = desk.servers(emitter.format()).await?;
            // Answers that come before they are listened for are lost.
            let ready = ear.listener.ready().await;
            ready.map(|()| servers).map_err(|error| cluster::unsent(&emitter.address(), error))
        };
        let servers = timeout_at(deadline, ready).await.map_err(late)??;
        if servers == 0 {
            return Ok(None);
        }
        let (sink, answers) = mpsc::unbounded_channel();
        // About as short as the classic format's; all formats take any text.
        let id = format!("{READS_MORE}{}", random_id(6));
        ear.waiting.lock().insert(id.clone(), sink);
        let message = question(id.clone());
        let (next_count, tally) = (Instant::now() + RECOUNT, Tally::new(servers));
        let asked = Question { emitter: emitter.clone(), ear, id, answers, deadline, next_count, tally };
        emitter.publish_question(&asked.ear.uid, &message).await?;
        Ok(Some(asked))
    }

    /// The next answer; `None` when all have come, or the time is over.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        while !self.tally.is_over() {
            match timeout_at(self.next_count.min(self.deadline), self.answers.recv()).await {
                Ok(Some((from, mut answer))) => {
                    if self.tally.took(from.as_deref(), &mut answer) {
                        self.next_count =
                            Instant::now() + if self.tally.has_fewer() { Duration::ZERO } else { RECOUNT };
                        return Some(answer);
                    }
                }
                Ok(None) => return None,
                Err(_) if Instant::now() >= self.deadline => return None,
                Err(_) if self.tally.missing_servers() > 0 => {
                    let _ = timeout_at(self.deadline, self.recount()).await; // Then the question is over.
                }
                Err(_) => {}
            }
            self.next_count = Instant::now() + RECOUNT;
        }
        None
    }

    /// Servers that have left are not waited for. Who they are nobody says: but those who have answered and are there
    /// still are none of them.
    async fn recount(&mut self) {
        let (Ok(desk), format) = (self.emitter.desk(), self.emitter.format()) else { return };
        let Ok(servers) = desk.servers(format).await else { return };
        if servers >= self.tally.servers() && !self.tally.has_fewer() {
            return;
        }
        let mut there = 0;
        for uid in self.tally.answered_by() {
            there += usize::from(desk.is_there(format, uid).await);
        }
        self.tally.recounted(servers, there);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.ear.waiting.lock().remove(&self.id);
    }
}
