//! Who has answered a question to the cluster, and who is still to be waited for.
//!
//! A [`Tally`] is told how many servers there are and each answer as it comes. It is complete when every server has
//! answered and, of a broadcast that wants acknowledgements, every client that they name or count. A server that has left
//! is not waited for ([`is_over`](Tally::is_over)): while some are silent, their number is asked again
//! ([`recounted`](Tally::recounted)).
//!
//! Answers may come twice, and an acknowledgement before the word who was asked. Each counts once, and when in doubt, an
//! answer is short rather than whole.

use std::collections::HashSet;

use super::Message;

/// The answers to one question.
///
/// ```
/// use socketio_protocol::cluster::{Message, Tally};
///
/// let mut tally = Tally::new(2);
/// let request = || "1".to_owned();
/// tally.took(Some("one"), &mut Message::BroadcastClientCount { count: 1, request: request() });
/// tally.took(Some("other"), &mut Message::BroadcastClientCount { count: 0, request: request() });
/// assert!(!tally.is_complete(), "one client has yet to answer");
/// let answer = socketio_protocol::socket::Args::none();
/// tally.took(Some("one"), &mut Message::BroadcastAck { answer, request: request() });
/// assert!(tally.is_complete());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tally {
    servers: usize,
    answered: usize,
    /// No more than so many can be silent and there, as far as they were counted again.
    left: Option<usize>,
    /// Those who have answered, as far as they say who they are.
    by: HashSet<String>,
    /// Clients of servers that name nobody.
    counted: u64,
    acked: u64,
    /// Clients that were named: those that are waited for, and those that have answered or left.
    silent: HashSet<String>,
    heard: HashSet<String>,
}

impl Tally {
    /// Of a question to so many servers.
    pub fn new(servers: usize) -> Tally {
        Tally { servers, ..Tally::default() }
    }

    /// An answer has come; `from` is the uid of its envelope, if it has one. `false` if it had come before: it is to be
    /// ignored. Of clients that were asked those that are known already are taken out.
    pub fn took(&mut self, from: Option<&str>, answer: &mut Message) -> bool {
        match answer {
            Message::BroadcastAck { .. } => self.acked = self.acked.saturating_add(1),
            Message::AckOf { sid, .. } => {
                let sid = self.silent.take(sid).unwrap_or_else(|| sid.clone());
                return self.heard.insert(sid);
            }
            answer => {
                if from.is_some_and(|uid| !self.by.insert(uid.to_owned())) {
                    return false;
                }
                self.answered += 1;
                match answer {
                    // Numbers of others may be anything.
                    Message::BroadcastClientCount { count, .. } => self.counted = self.counted.saturating_add(*count),
                    Message::ClientsAsked { ids, .. } => {
                        ids.retain(|id| !self.heard.contains(id) && self.silent.insert(id.clone()));
                    }
                    _ => {}
                }
            }
        }
        // One more has come meanwhile, and answers too.
        self.servers = self.servers.max(self.answered);
        true
    }

    /// So many servers are there now, and so many of them are known to have answered. Those that came after the question
    /// were not asked. An answer that comes after this may be the last word of one that has left, so it does not make
    /// fewer missing: they are to be counted again.
    pub fn recounted(&mut self, servers: usize, answered: usize) {
        self.left = Some(servers.saturating_sub(answered));
    }

    /// Whether some have left: then their number is to be asked again after each answer.
    pub fn has_fewer(&self) -> bool {
        self.left.is_some_and(|left| left < self.servers - self.answered)
    }

    /// Whether nothing is to be waited for.
    pub fn is_complete(&self) -> bool {
        self.missing_servers() == 0 && self.missing_clients() == 0
    }

    /// Whether nothing is to be waited for, or only what will hardly come: no more servers are there than have answered,
    /// but some did not say who they are, so that one that has answered may have left, and a silent one be there.
    pub fn is_over(&self) -> bool {
        let unnamed = self.answered.saturating_sub(self.by.len());
        let all_may_have_answered = self.left.is_some_and(|left| left <= unnamed);
        self.is_complete() || (all_may_have_answered && self.missing_clients() == 0)
    }

    /// How many servers were asked, those that have left without an answer aside.
    pub fn servers(&self) -> usize {
        self.answered + self.missing_servers()
    }

    /// How many of them have not answered.
    pub fn missing_servers(&self) -> usize {
        let silent = self.servers - self.answered;
        self.left.map_or(silent, |left| silent.min(left))
    }

    /// The uids of those that have answered. Servers of Node.js do not say theirs in the classic format.
    pub fn answered_by(&self) -> impl Iterator<Item = &str> {
        self.by.iter().map(String::as_str)
    }

    /// How many clients were asked, as far as servers have said.
    pub fn clients(&self) -> u64 {
        self.counted.saturating_add((self.silent.len() + self.heard.len()) as u64)
    }

    /// How many of them have neither answered nor left.
    pub fn missing_clients(&self) -> u64 {
        self.counted.saturating_sub(self.acked).saturating_add(self.silent.len() as u64)
    }

    /// Those of them that are known. Servers of Node.js do not say whom they asked.
    pub fn silent_clients(&self) -> &HashSet<String> {
        &self.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Args;

    fn request() -> String {
        "q".to_owned()
    }

    fn asked(ids: &[&str]) -> Message {
        Message::ClientsAsked { request: request(), ids: ids.iter().map(|id| (*id).to_owned()).collect() }
    }

    fn ack_of(sid: &str) -> Message {
        Message::AckOf { request: request(), sid: sid.to_owned(), answer: Some(Args::none()) }
    }

    fn rooms() -> Message {
        Message::AllRoomsResponse { request: request(), rooms: vec![] }
    }

    #[test]
    fn each_server_is_waited_for_unless_it_has_left() {
        let mut tally = Tally::new(3);
        tally.took(Some("one"), &mut rooms());
        assert_eq!((tally.servers(), tally.missing_servers()), (3, 2));
        tally.recounted(5, 1);
        assert_eq!(tally.missing_servers(), 2, "who came later was not asked");
        tally.recounted(2, 1);
        assert_eq!((tally.servers(), tally.missing_servers()), (2, 1));
        tally.recounted(1, 0);
        assert_eq!(tally.missing_servers(), 1, "the one that has left is the one that has answered");
        tally.recounted(0, 0);
        assert!(tally.is_complete() && tally.servers() == 1);
    }

    #[test]
    fn beside_servers_without_a_name_one_that_has_left_is_missing_and_not_waited_for() {
        let mut tally = Tally::new(3);
        tally.took(Some("one"), &mut rooms());
        tally.took(None, &mut rooms());
        tally.recounted(3, 1);
        assert!(!tally.is_over(), "it is there");
        tally.recounted(2, 1);
        assert!(tally.is_over() && !tally.is_complete());
        assert_eq!(tally.missing_servers(), 1, "the one without a name may be the one that has left");
    }

    #[test]
    fn who_comes_after_the_count_and_answers_is_one_more() {
        let mut tally = Tally::new(1);
        tally.recounted(1, 0);
        assert!(!tally.has_fewer(), "all are there that were asked");
        tally.took(Some("one"), &mut rooms());
        tally.took(Some("other"), &mut rooms());
        assert!(tally.is_complete());
        assert_eq!((tally.servers(), tally.missing_servers()), (2, 0));
    }

    #[test]
    fn nothing_is_over_while_a_client_that_is_there_has_not_answered() {
        let mut tally = Tally::new(1);
        tally.took(Some("one"), &mut asked(&["a"]));
        assert!(!tally.is_complete() && !tally.is_over());

        let mut tally = Tally::new(2);
        tally.took(None, &mut asked(&["a"]));
        tally.recounted(1, 0);
        assert!(!tally.is_over(), "one server may have left, but a has not answered");
        tally.took(None, &mut ack_of("a"));
        assert!(tally.is_over() && !tally.is_complete());
    }

    #[test]
    fn the_last_word_of_one_that_has_left_does_not_stand_in_for_another() {
        let mut tally = Tally::new(2);
        tally.recounted(1, 0);
        assert!(tally.has_fewer());
        tally.took(Some("gone"), &mut rooms());
        assert_eq!(tally.missing_servers(), 1);
        tally.recounted(1, 0);
        assert_eq!(tally.missing_servers(), 1);
        tally.took(Some("there"), &mut rooms());
        assert!(tally.is_complete());
    }

    #[test]
    fn what_comes_twice_counts_once() {
        let mut tally = Tally::new(2);
        assert!(tally.took(Some("one"), &mut rooms()));
        assert!(!tally.took(Some("one"), &mut rooms()));
        assert_eq!(tally.missing_servers(), 1);

        let mut tally = Tally::new(1);
        assert!(tally.took(Some("one"), &mut asked(&["a", "b"])));
        assert!(tally.took(Some("one"), &mut ack_of("a")));
        assert!(!tally.took(Some("one"), &mut ack_of("a")));
        assert!(!tally.took(Some("one"), &mut asked(&["a", "b"])));
        assert_eq!((tally.clients(), tally.missing_clients()), (2, 1));
    }

    #[test]
    fn each_client_is_waited_for_that_a_server_counts_or_names() {
        let mut tally = Tally::new(2);
        tally.took(None, &mut asked(&["a", "b"]));
        tally.took(None, &mut ack_of("b"));
        assert!(!tally.is_complete());
        tally.took(None, &mut Message::BroadcastClientCount { request: request(), count: 1 });
        assert_eq!((tally.clients(), tally.missing_servers(), tally.missing_clients()), (3, 0, 2));
        tally.took(None, &mut Message::BroadcastAck { request: request(), answer: Args::none() });
        assert_eq!((tally.missing_clients(), tally.silent_clients().contains("a")), (1, true));
        tally.took(None, &mut ack_of("a"));
        assert!(tally.is_complete());
    }

    #[test]
    fn counts_larger_than_can_be_added_up_stay_at_the_largest() {
        let mut tally = Tally::new(3);
        for _ in 0..2 {
            tally.took(None, &mut Message::BroadcastClientCount { request: request(), count: u64::MAX });
        }
        tally.took(None, &mut asked(&["a"]));
        assert_eq!((tally.clients(), tally.missing_clients()), (u64::MAX, u64::MAX));
    }

    #[test]
    fn an_answer_that_overtakes_its_count_is_not_lost() {
        let mut tally = Tally::new(1);
        tally.took(None, &mut Message::BroadcastAck { request: request(), answer: Args::none() });
        tally.took(None, &mut Message::BroadcastClientCount { request: request(), count: 1 });
        assert!(tally.is_complete());

        let mut tally = Tally::new(1);
        tally.took(None, &mut ack_of("a"));
        let mut named = asked(&["a", "b"]);
        tally.took(None, &mut named);
        assert!(matches!(named, Message::ClientsAsked { ids, .. } if ids == ["b"]), "who is still to be waited for");
        assert_eq!((tally.clients(), tally.missing_clients()), (2, 1));
    }

    #[test]
    fn the_answer_of_a_client_nobody_named_does_not_stand_in_for_another() {
        let mut tally = Tally::new(2);
        tally.took(Some("one"), &mut asked(&["a", "b"]));
        tally.took(Some("one"), &mut ack_of("a"));
        tally.took(Some("other"), &mut ack_of("c"));
        tally.recounted(1, 1);
        assert_eq!((tally.missing_servers(), tally.missing_clients()), (0, 1), "b has not answered");
    }
}
