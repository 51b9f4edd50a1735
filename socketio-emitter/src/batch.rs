//! Messages that leave together in one write, and the answers that come back together.
//!
//! A batch is the text of its commands, one behind the other, which is all that happens to a message here.
//! The answers are shared by all who wait for one of them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::{FutureExt, future::Shared};
use socketio_protocol::cluster::emitter::{Command, UID};
use socketio_redis_client::resp::Reply;
use tokio::sync::oneshot;

use crate::{EmitError, EntryId, Receipt, emitted::Emitted};

/// So many messages leave in one write at most, so that answers come while the next are on their way.
const MOST_MESSAGES: usize = 1_024;

/// So many bytes leave in one write, unless a single message is larger.
const MOST_BYTES: usize = 256 * 1_024;

/// Bytes of a command around its channel and its payload: 18, and 6 with a length of one digit for each of the two.
const AROUND: usize = 48;

/// As much of an entry of a stream, its namespace not counted.
const AROUND_ENTRY: usize = 160;

/// The largest buffer worth keeping for a later batch.
pub(crate) const LARGEST_BUFFER: usize = 2 * MOST_BYTES;

/// Messages that leave together.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    count: usize,
    /// What its messages measure, see [`measure_of`](Batch::measure_of).
    measure: usize,
    /// Takes no more messages.
    sealed: bool,
    /// When its first message came.
    since: Instant,
    answer: Answer,
    answers: oneshot::Sender<Arc<Answers>>,
}

impl Batch {
    /// An empty one, which writes into `buffer`.
    pub(crate) fn new(mut buffer: Vec<u8>) -> Batch {
        buffer.clear();
        let (answers, answer) = oneshot::channel();
        let (since, answer) = (Instant::now(), answer.shared());
        Batch { bytes: buffer, count: 0, measure: 0, sealed: false, since, answer, answers }
    }

    /// What a message measures: about the bytes it has in a batch.
    pub(crate) fn measure_of(command: &Command<'_>, payload: &[u8]) -> usize {
        let around = match command {
            Command::Append { nsp, .. } => AROUND_ENTRY + nsp.len(),
            _ => AROUND,
        };
        command.place().len() + payload.len() + around
    }

    /// What its messages measure.
    pub(crate) fn measure(&self) -> usize {
        self.measure
    }

    /// Whether a message of this measure may come in.
    pub(crate) fn has_room_for(&self, measure: usize) -> bool {
        !self.sealed && self.count < MOST_MESSAGES && self.measure + measure <= MOST_BYTES
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, command: &Command<'_>, payload: &[u8]) -> Emitted {
        let (place, measure) = (self.count, Batch::measure_of(command, payload));
        self.count += 1;
        self.measure += measure;
        self.bytes.reserve(measure);
        match command {
            Command::Publish(channel) => {
                self.bytes.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n");
                self.bulk(channel.as_bytes());
            }
            Command::ShardedPublish(channel) => {
                self.bytes.extend_from_slice(b"*3\r\n$8\r\nSPUBLISH\r\n");
                self.bulk(channel.as_bytes());
            }
            Command::Append { stream, max_len, nsp, kind } => {
                self.bytes.extend_from_slice(b"*14\r\n$4\r\nXADD\r\n");
                for word in [stream, "MAXLEN", "~", max_len, "*", "uid", UID, "nsp", nsp, "type", kind, "data"] {
                    self.bulk(word.as_bytes());
                }
            }
        }
        self.bulk(payload);
        Emitted::waiting(self.answer.clone(), place)
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.bytes.push(b'$');
        self.bytes.extend_from_slice(itoa::Buffer::new().format(bytes.len()).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Takes no more messages.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// The commands.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages it has.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// When its first message came.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Tells those who wait, and gives back the buffer.
    pub(crate) fn end(self, answers: Answers) -> Vec<u8> {
        // An error means that nobody does.
        let _ = self.answers.send(Arc::new(answers));
        self.bytes
    }
}

/// The answers to a batch, once they are there.
pub(crate) type Answer = Shared<oneshot::Receiver<Arc<Answers>>>;

/// How the messages of a batch ended.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// What Redis said, as far as it got; of those in the next two 0.
    receivers: Vec<u64>,
    entries: BTreeMap<usize, EntryId>,
    refused: BTreeMap<usize, EmitError>,
    /// What became of the others.
    failed: Option<EmitError>,
}

impl Answers {
    pub(crate) fn failed(error: EmitError) -> Answers {
        Answers { failed: Some(error), ..Answers::default() }
    }

    /// How many have come.
    pub(crate) fn count(&self) -> usize {
        self.receivers.len()
    }

    /// Redis, at `address`, has answered the next message.
    pub(crate) fn push(&mut self, reply: Reply, address: &str) {
        let place = self.receivers.len();
        let error = match reply {
            Reply::Bulk(Some(id)) if EntryId::read(&id).is_some() => {
                self.entries.extend(EntryId::read(&id).map(|id| (place, id)));
                self.receivers.push(0);
                return;
            }
            Reply::Integer(receivers) => {
                self.receivers.push(u64::try_from(receivers).unwrap_or_default());
                return;
            }
            Reply::Error(reason) => EmitError::from_words(address, reason),
            other => EmitError::Refused { reason: format!("the answer is not a number, but {other:?}") },
        };
        self.receivers.push(0);
        self.refused.insert(place, error);
    }

    /// No more will come, and the reason.
    pub(crate) fn fail(&mut self, error: EmitError) {
        self.failed = Some(error);
    }

    pub(crate) fn of(&self, place: usize) -> Result<Receipt, EmitError> {
        let refused = self.refused.get(&place);
        let receipt = |receivers| Receipt::new(receivers, self.entries.get(&place).copied());
        match self.receivers.get(place) {
            Some(receivers) => refused.map_or(Ok(receipt(*receivers)), |error| Err(error.clone())),
            None => Err(self
                .failed
                .clone()
                .unwrap_or_else(|| EmitError::Unanswered { reason: "Redis left out an answer".to_owned() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_the_text_of_its_commands() {
        let mut batch = Batch::new(b"old".to_vec());
        drop(batch.push(&Command::Publish("socket.io#/#".into()), b"one"));
        drop(batch.push(&Command::ShardedPublish("é".into()), b"\x93\r\n"));
        let [stream, max_len, nsp] = ["s", "10", "/"].map(Into::into);
        drop(batch.push(&Command::Append { stream, max_len, nsp, kind: "3" }, b"{}"));
        let text = b"*3\r\n$7\r\nPUBLISH\r\n$12\r\nsocket.io#/#\r\n$3\r\none\r\n\
            *3\r\n$8\r\nSPUBLISH\r\n$2\r\n\xc3\xa9\r\n$3\r\n\x93\r\n\r\n\
            *14\r\n$4\r\nXADD\r\n$1\r\ns\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$2\r\n10\r\n$1\r\n*\r\n\
            $3\r\nuid\r\n$7\r\nemitter\r\n$3\r\nnsp\r\n$1\r\n/\r\n$4\r\ntype\r\n$1\r\n3\r\n\
            $4\r\ndata\r\n$2\r\n{}\r\n";
        assert_eq!(batch.bytes().escape_ascii().to_string(), text.escape_ascii().to_string());
        assert_eq!(batch.count(), 3);
        assert!(batch.measure() >= batch.bytes().len());
    }

    #[test]
    fn each_message_hears_its_own_answer_and_the_rest_the_failure() {
        let mut answers = Answers::default();
        answers.push(Reply::Integer(3), "");
        answers.push(Reply::Status("OK".to_owned()), "");
        answers.push(Reply::Bulk(Some("1700000000000-7".into())), "");
        answers.fail(EmitError::Closed);
        assert_eq!(answers.of(0).map(|receipt| receipt.receivers()), Ok(3));
        assert!(matches!(answers.of(1), Err(EmitError::Refused { .. })));
        let entry = answers.of(2).expect("it is there").entry();
        assert_eq!(entry.map(|id| id.to_string()).as_deref(), Some("1700000000000-7"));
        assert_eq!(answers.of(3), Err(EmitError::Closed));
    }
}
