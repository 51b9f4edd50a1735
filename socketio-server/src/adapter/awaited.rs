//! Rooms that are empty, but that a client may come back to: what others send there meanwhile is heard for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytestring::ByteString;

/// The rooms of all who are away, and who is told when nobody is awaited in one any more.
#[derive(Default)]
pub(crate) struct Awaited {
    rooms: Mutex<HashMap<ByteString, usize>>,
    given_up: OnceLock<GivenUp>,
}

/// Told the name of a room.
type GivenUp = Box<dyn Fn(&str) + Send + Sync>;

impl Awaited {
    /// Has `given_up` called for each room in which nobody is awaited any more; under no lock of this.
    pub(super) fn on_given_up(&self, given_up: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.given_up.set(Box::new(given_up)); // One adapter, one observer.
    }

    /// One more who may come back to `rooms`, for as long as what is returned lives.
    pub(super) fn hold(self: &Arc<Self>, rooms: &[ByteString]) -> Hold {
        let mut awaited = self.lock();
        for room in rooms {
            *awaited.entry(room.clone()).or_default() += 1;
        }
        Hold { awaited: self.clone(), rooms: rooms.to_vec() }
    }

    pub(super) fn contains(&self, room: &str) -> bool {
        self.lock().contains_key(room)
    }

    /// Whether that was the last one for `room`.
    fn give_up(&self, room: &ByteString) -> bool {
        let mut awaited = self.lock();
        let Some(count) = awaited.get_mut(room) else { return false };
        *count -= 1;
        *count == 0 && awaited.remove(room).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ByteString, usize>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Awaited").field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

/// Keeps rooms heard. See [`Awaited::hold`].
#[derive(Debug)]
pub(crate) struct Hold {
    awaited: Arc<Awaited>,
    rooms: Vec<ByteString>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        for room in &self.rooms {
            if self.awaited.give_up(room)
                && let Some(given_up) = self.awaited.given_up.get()
            {
                given_up(room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::super::memory::RoomObserver;
    use super::*;
    use crate::Server;
    use crate::testing::TestClient;

    #[derive(Debug, Clone, Default)]
    struct Heard(Arc<Mutex<HashSet<String>>>);

    impl RoomObserver for Heard {
        fn created(&self, room: &str) {
            self.0.lock().unwrap().insert(room.to_owned());
        }

        fn deleted(&self, room: &str) {
            std::thread::sleep(Duration::from_micros(200)); // For the other to come in between.
            self.0.lock().unwrap().remove(room);
        }
    }

    #[tokio::test]
    async fn one_who_comes_while_the_last_one_goes_is_heard() {
        let io = Server::new();
        let [first, second] = [TestClient::connect(&io).await, TestClient::connect(&io).await];
        let local = io.adapter().local();
        let heard = Heard::default();
        local.observe(Box::new(heard.clone()));
        for round in 0..200 {
            local.join(first.id(), "red").unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| local.leave(first.id(), "red"));
                std::thread::sleep(Duration::from_micros(100));
                local.join(second.id(), "red").unwrap();
            });
            assert!(heard.0.lock().unwrap().contains("red"), "in round {round}");
            local.leave(second.id(), "red");
            assert!(heard.0.lock().unwrap().is_empty());
        }
    }
}
