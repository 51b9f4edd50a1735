//! Who has answered a question to the cluster, and who is still to be waited for.
//!
//! A [`Tally`] is told how many servers there are and each answer as it comes. It is complete when every server has
//! answered and, of a broadcast that wants acknowledgements, every client that they name or count. A server that has left
//! is not waited for: while some are silent, their number is asked again ([`recounted`](Tally::recounted)).

use std::collections::HashSet;

use super::Message;

/// The answers to one question.
///
/// ```
/// use socketio_protocol::cluster::{Message, Tally};
///
/// let mut tally = Tally::new(2);
/// let request = || "1".to_owned();
/// tally.took(&Message::BroadcastClientCount { count: 1, request: request() });
/// tally.took(&Message::BroadcastClientCount { count: 0, request: request() });
/// assert!(!tally.is_complete(), "one client has yet to answer");
/// tally.took(&Message::BroadcastAck { answer: socketio_protocol::socket::Args::none(), request: request() });
/// assert!(tally.is_complete());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tally {
    servers: usize,
    answered: usize,
    clients: u64,
    acked: u64,
    silent: HashSet<String>,
}

impl Tally {
    /// Of a question to so many servers.
    pub fn new(servers: usize) -> Tally {
        Tally { servers, ..Tally::default() }
    }

    /// An answer has come.
    pub fn took(&mut self, answer: &Message) {
        match answer {
            Message::BroadcastClientCount { count, .. } => {
                self.answered += 1;
                self.clients += count;
            }
            Message::ClientsAsked { ids, .. } => {
                self.answered += 1;
                self.clients += ids.len() as u64;
                self.silent.extend(ids.iter().cloned());
            }
            Message::BroadcastAck { .. } => self.acked += 1,
            Message::AckOf { sid, .. } => {
                self.acked += 1;
                self.silent.remove(sid);
            }
            _ => self.answered += 1,
        }
        // One more has come meanwhile, and answers too.
        self.servers = self.servers.max(self.answered);
    }

    /// So many servers are there now. Those that came after the question were not asked.
    pub fn recounted(&mut self, servers: usize) {
        self.servers = self.servers.min(servers).max(self.answered);
    }

    /// Whether nothing is to be waited for.
    pub fn is_complete(&self) -> bool {
        self.missing_servers() == 0 && self.missing_clients() == 0
    }

    /// How many servers were asked.
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// How many of them have not answered.
    pub fn missing_servers(&self) -> usize {
        self.servers - self.answered
    }

    /// How many clients were asked, as far as servers have said.
    pub fn clients(&self) -> u64 {
        self.clients
    }

    /// How many of them have neither answered nor left.
    pub fn missing_clients(&self) -> u64 {
        self.clients.saturating_sub(self.acked)
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

    #[test]
    fn each_server_is_waited_for_unless_it_has_left() {
        let mut tally = Tally::new(3);
        tally.took(&Message::AllRoomsResponse { request: request(), rooms: vec![] });
        assert_eq!((tally.servers(), tally.missing_servers()), (3, 2));
        tally.recounted(5);
        assert_eq!(tally.missing_servers(), 2, "who came later was not asked");
        tally.recounted(2);
        assert_eq!((tally.servers(), tally.missing_servers()), (2, 1));
        tally.recounted(0);
        assert!(tally.is_complete() && tally.servers() == 1);
    }

    #[test]
    fn each_client_is_waited_for_that_a_server_counts_or_names() {
        let mut tally = Tally::new(2);
        tally.took(&Message::ClientsAsked { request: request(), ids: vec!["a".into(), "b".into()] });
        tally.took(&Message::AckOf { request: request(), sid: "b".into(), answer: None });
        assert!(!tally.is_complete());
        tally.took(&Message::BroadcastClientCount { request: request(), count: 1 });
        assert_eq!((tally.clients(), tally.missing_servers(), tally.missing_clients()), (3, 0, 2));
        tally.took(&Message::BroadcastAck { request: request(), answer: Args::none() });
        assert_eq!((tally.missing_clients(), tally.silent_clients().contains("a")), (1, true));
        tally.took(&Message::AckOf { request: request(), sid: "a".into(), answer: Some(Args::none()) });
        assert!(tally.is_complete());
    }

    #[test]
    fn an_answer_that_overtakes_its_count_is_not_lost() {
        let mut tally = Tally::new(1);
        tally.took(&Message::BroadcastAck { request: request(), answer: Args::none() });
        tally.took(&Message::BroadcastClientCount { request: request(), count: 1 });
        assert!(tally.is_complete());
    }
}
