//! WebSockets that one server has and sessions that another has, tied together: what either end hears of the other.
//!
//! A [`Link`] is one such tie, kept by both servers under the id of the session. What the other server says of it goes
//! into a bounded queue, which the task at this end takes from. A link ends with that task, with the other server, and when
//! something that was said may have been lost: what goes over a WebSocket is whole and in order, or the WebSocket ends.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use socketio_protocol::engine::{Message, Packet};
use tokio::sync::mpsc;

/// What the other end has said.
#[derive(Debug)]
pub(super) enum Said {
    Packets(Vec<Packet>),
    /// The client has changed to the WebSocket (question number so), or has not.
    Upgrade(Option<u64>),
    /// The client of a WebSocket has sent a ping of that protocol, which is to be answered there.
    Ping(Bytes),
    /// It is over.
    End,
}

/// All ties of one server.
#[derive(Debug)]
pub(super) struct Links {
    /// How many bytes may wait for the task of one link.
    max_waiting: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: HashMap<String, Link>,
    /// How many there have been.
    number: u64,
    /// Somebody looks whether the others are still there.
    watched: bool,
}

#[derive(Debug)]
struct Link {
    peer: String,
    number: u64,
    /// The WebSocket is the transport of the session: what its server says comes from there.
    upgraded: bool,
    mouth: Mouth,
}

/// Where what is said goes in. More than may wait ends the link.
#[derive(Debug, Clone)]
pub(super) struct Mouth {
    said: mpsc::UnboundedSender<Said>,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
    /// It was too much. The end is the last that was said.
    over: Arc<AtomicBool>,
}

/// Where it comes out. Dropping it ends the link at this end.
#[derive(Debug)]
pub(super) struct Ear {
    links: Arc<Links>,
    sid: String,
    number: u64,
    mouth: Mouth,
    said: mpsc::UnboundedReceiver<Said>,
}

impl Links {
    pub(super) fn new(max_waiting: usize) -> Arc<Self> {
        Arc::new(Self { max_waiting, state: Mutex::default() })
    }

    /// Ties a session to server `peer`. `None` if it is tied already. True if somebody has to begin to watch.
    pub(super) fn tie(self: &Arc<Self>, sid: &str, peer: &str, upgraded: bool) -> Option<(Ear, bool)> {
        let mut state = self.lock();
        if state.links.contains_key(sid) {
            return None;
        }
        state.number += 1;
        let number = state.number;
        let (sender, said) = mpsc::unbounded_channel();
        let mouth =
            Mouth { said: sender, waiting: Arc::default(), max_waiting: self.max_waiting, over: Arc::default() };
        state.links.insert(sid.to_owned(), Link { peer: peer.to_owned(), number, upgraded, mouth: mouth.clone() });
        let unwatched = !std::mem::replace(&mut state.watched, true);
        Some((Ear { links: self.clone(), sid: sid.to_owned(), number, mouth, said }, unwatched))
    }

    /// `peer` has said packets of a session. They come back if that is not by a link.
    pub(super) fn packets(&self, sid: &str, peer: &str, packets: Vec<Packet>) -> Result<(), Vec<Packet>> {
        match self.lock().links.get(sid) {
            Some(link) if link.upgraded && link.peer == peer => {
                link.mouth.say(Said::Packets(packets));
                Ok(())
            }
            _ => Err(packets),
        }
    }

    /// `peer` says that the client has changed to the WebSocket, or has not.
    pub(super) fn upgrade(&self, sid: &str, peer: &str, request: Option<u64>) {
        if let Some(link) = self.lock().links.get_mut(sid).filter(|link| link.peer == peer) {
            link.upgraded = request.is_some();
            link.mouth.say(Said::Upgrade(request));
        }
    }

    /// `peer` says that it is over. False if that is not of a link.
    pub(super) fn end(&self, sid: &str, peer: &str) -> bool {
        let state = self.lock();
        let link = state.links.get(sid).filter(|link| link.upgraded && link.peer == peer);
        link.map(|link| link.mouth.say(Said::End)).is_some()
    }

    /// Ends all links with `peer`; without one, all.
    pub(super) fn end_all(&self, peer: Option<&str>) {
        let state = self.lock();
        let meant = state.links.values().filter(|link| peer.is_none_or(|peer| link.peer == peer));
        meant.for_each(|link| link.mouth.say(Said::End));
    }

    /// The servers at the other ends. Without any, nobody watches from now on.
    pub(super) fn peers(&self) -> HashSet<String> {
        let mut state = self.lock();
        state.watched = !state.links.is_empty();
        state.links.values().map(|link| link.peer.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mouth {
    /// What would be too much is lost, and so is all that comes after it: in its place the end is said.
    pub(super) fn say(&self, mut said: Said) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let size = said.size();
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        // One alone is taken whatever its size.
        if size > 0 && waiting > 0 && waiting + size > self.max_waiting {
            if self.over.swap(true, Ordering::Relaxed) {
                return;
            }
            said = Said::End;
        }
        let _ = self.said.send(said); // The task has ended.
    }
}

impl Ear {
    /// For what is to be said at this end.
    pub(super) fn mouth(&self) -> Mouth {
        self.mouth.clone()
    }

    pub(super) async fn next(&mut self) -> Said {
        let said = self.said.recv().await.unwrap_or(Said::End);
        self.mouth.waiting.fetch_sub(said.size(), Ordering::Relaxed);
        said
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut state = self.links.lock();
        if state.links.get(&self.sid).is_some_and(|link| link.number == self.number) {
            state.links.remove(&self.sid);
        }
    }
}

impl Said {
    fn size(&self) -> usize {
        match self {
            Said::Packets(packets) => packets.iter().map(packet_size).sum(),
            Said::Ping(data) => data.len() + size_of::<Said>(),
            Said::Upgrade(_) | Said::End => 0,
        }
    }
}

/// About what a packet takes in memory.
fn packet_size(packet: &Packet) -> usize {
    let content = match packet {
        Packet::Message(Message::Text(text)) => text.len(),
        Packet::Message(Message::Binary(data)) => data.len(),
        _ => 0,
    };
    content + size_of::<Packet>()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn message(len: usize) -> Vec<Packet> {
        vec![Packet::Message(Message::Text("x".repeat(len).into()))]
    }

    #[tokio::test]
    async fn only_the_other_end_is_heard_and_only_once_the_client_has_changed() {
        let links = Links::new(1000);
        let (mut ear, unwatched) = links.tie("sid", "peer", false).expect("it is not tied");
        assert!(unwatched && links.tie("sid", "other", true).is_none());
        assert!(links.packets("sid", "peer", message(1)).is_err(), "a POST of a client that polls");
        assert!(!links.end("sid", "peer"));
        links.upgrade("sid", "other", Some(1));
        links.upgrade("sid", "peer", Some(2));
        assert!(links.packets("sid", "other", message(1)).is_err());
        assert!(links.packets("sid", "peer", message(1)).is_ok());
        assert!(links.end("sid", "peer"));
        assert!(matches!(ear.next().await, Said::Upgrade(Some(2))));
        assert!(matches!(ear.next().await, Said::Packets(packets) if packets == message(1)));
        assert!(matches!(ear.next().await, Said::End));
        assert_eq!(links.peers().into_iter().collect::<Vec<_>>(), ["peer"]);
        drop(ear);
        assert!(links.peers().is_empty() && links.tie("sid", "other", true).is_some_and(|(_, unwatched)| unwatched));
    }

    #[tokio::test]
    async fn an_end_that_hears_too_slowly_is_let_go() {
        let links = Links::new(1000);
        let (mut ear, _) = links.tie("sid", "peer", true).expect("it is not tied");
        assert!(links.packets("sid", "peer", message(5000)).is_ok(), "one alone is taken whatever its size");
        assert!(matches!(ear.next().await, Said::Packets(_)));
        for _ in 0..4 {
            assert!(links.packets("sid", "peer", message(600)).is_ok());
        }
        assert!(matches!(ear.next().await, Said::Packets(_)));
        assert!(matches!(ear.next().await, Said::End));
        assert!(links.packets("sid", "peer", message(1)).is_ok());
        assert!(ear.next().now_or_never().is_none(), "nothing comes after what is lost");
    }

    #[tokio::test]
    async fn pings_without_content_count_too() {
        let links = Links::new(1000);
        let (mut ear, _) = links.tie("sid", "peer", true).expect("it is not tied");
        let mouth = ear.mouth();
        (0..1000).for_each(|_| mouth.say(Said::Ping(Bytes::new())));
        for _ in 0..1000 / size_of::<Said>() {
            assert!(matches!(ear.next().await, Said::Ping(_)));
        }
        assert!(matches!(ear.next().await, Said::End));
        assert!(ear.next().now_or_never().is_none());
    }
}
