//! Answers of many clients to one broadcast.
//!
//! All clients answer under one ack id, which belongs to the namespace. Each broadcast that waits has one collector,
//! and each client in it is waited for until it answers or leaves: a client that is gone ends its wait at once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;
use socketio_protocol::socket::Args;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::AckTally;

/// What comes of a client that was asked.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::adapter::{AckItem, Target};
/// # let mut client = TestClient::connect(&io).await;
///
/// let question = Args::new_event("name?", &()).unwrap();
/// let mut answers = io.adapter().broadcast_with_ack(question, Target::default());
/// client.expect_event("name?").await;
/// client.close();
/// assert!(matches!(answers.next().await, Some(AckItem::Gone { id }) if id == client.id()));
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AckItem {
    /// A client answered.
    Answer {
        /// The socket, unless it is one of a Node.js server, which does not say.
        id: Option<ByteString>,
        /// What it answered.
        args: Args,
    },
    /// A client left before it answered.
    Gone {
        /// The socket.
        id: ByteString,
    },
}

/// The broadcasts of a namespace that wait for answers.
#[derive(Debug, Default)]
pub(crate) struct AckTable {
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, Collector, foldhash::fast::RandomState>>,
}

#[derive(Debug)]
struct Collector {
    asked: HashSet<ByteString>,
    sink: mpsc::UnboundedSender<AckItem>,
}

/// Takes the answers of this server's clients. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct LocalAcks {
    table: Arc<AckTable>,
    id: u64,
    items: mpsc::UnboundedReceiver<AckItem>,
    /// Who was asked.
    pub(crate) asked: Vec<ByteString>,
}

impl AckTable {
    /// An ack id that no other packet of this namespace has.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for answers to `id` from `asked`. To be called before they are asked.
    pub(crate) fn open(self: &Arc<Self>, id: u64, asked: Vec<ByteString>) -> LocalAcks {
        let (sink, items) = mpsc::unbounded_channel();
        if !asked.is_empty() {
            self.lock().insert(id, Collector { asked: asked.iter().cloned().collect(), sink });
        }
        LocalAcks { table: self.clone(), id, items, asked }
    }

    /// A client has answered. False if nobody waits for it.
    pub(crate) fn answer(&self, id: u64, socket: &ByteString, args: &Args) -> bool {
        let item = AckItem::Answer { id: Some(socket.clone()), args: args.clone() };
        Self::settle(&mut self.lock(), id, socket, item)
    }

    /// A client has left: nobody waits for it any more.
    pub(crate) fn gone(&self, socket: &ByteString) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        let ids: Vec<u64> = waiting.iter().filter(|(_, c)| c.asked.contains(socket)).map(|(id, _)| *id).collect();
        for id in ids {
            Self::settle(&mut waiting, id, socket, AckItem::Gone { id: socket.clone() });
        }
    }

    fn settle(
        waiting: &mut HashMap<u64, Collector, foldhash::fast::RandomState>,
        id: u64,
        socket: &ByteString,
        item: AckItem,
    ) -> bool {
        let Some(collector) = waiting.get_mut(&id) else { return false };
        if !collector.asked.remove(socket) {
            return false;
        }
        let _ = collector.sink.send(item); // Nobody listens any more: then nobody needs it.
        if collector.asked.is_empty() {
            waiting.remove(&id);
        }
        true
    }

    /// How many broadcasts wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Collector, foldhash::fast::RandomState>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalAcks {
    /// The next answer, or client that left; `None` once all have.
    pub(crate) async fn next(&mut self) -> Option<AckItem> {
        self.items.recv().await
    }
}

impl Drop for LocalAcks {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

/// Passes on what this server's clients answer, until all have or the time is over.
pub(super) async fn forward(
    mut acks: LocalAcks,
    deadline: Instant,
    sink: mpsc::UnboundedSender<AckItem>,
    tally: Arc<Mutex<AckTally>>,
) {
    {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.clients += acks.asked.len() as u64;
        tally.unanswered = std::mem::take(&mut acks.asked);
    }
    loop {
        let item = tokio::select! {
            item = timeout_at(deadline, acks.next()) => item,
            () = sink.closed() => return,
        };
        let Ok(Some(item)) = item else { return };
        if let AckItem::Answer { id: Some(id), .. } | AckItem::Gone { id } = &item {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.settle(id);
        }
        if sink.send(item).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_taken_once_and_from_those_asked_only() {
        let table = Arc::new(AckTable::default());
        let mut acks = table.open(7, vec!["ana".into(), "bob".into()]);
        let args = Args::new_list(&(1,)).unwrap();
        assert!(!table.answer(7, &"eve".into(), &args), "was not asked");
        assert!(table.answer(7, &"ana".into(), &args));
        assert!(!table.answer(7, &"ana".into(), &args), "twice");
        table.gone(&"bob".into());
        assert!(matches!(acks.next().await, Some(AckItem::Answer { id: Some(id), .. }) if id == "ana"));
        assert!(matches!(acks.next().await, Some(AckItem::Gone { id }) if id == "bob"));
        assert!(acks.next().await.is_none());
        assert_eq!(table.len(), 0);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_wait_that_was_given_up() {
        let table = Arc::new(AckTable::default());
        drop(table.open(1, vec!["ana".into()]));
        assert_eq!(table.len(), 0);
        assert!(table.open(2, vec![]).next().await.is_none(), "nobody asked, nothing to wait for");
    }
}
