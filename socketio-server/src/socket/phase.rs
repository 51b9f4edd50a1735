//! Where a socket is between its first middleware and its end, and the rooms that it joins before it is in.
//!
//! A socket may be told to join and leave by any thread while its connection's task lets it in. So its early rooms and the
//! change to [`CONNECTED`] are under one lock: whoever finds it still [`CONNECTING`] under that lock is heeded.
//!
//! `tests/tests/loom.rs` has every order of what threads do here.

use std::sync::PoisonError;

use bytestring::ByteString;

use crate::sync::{AtomicU8, Mutex, MutexGuard, Ordering};

/// A middleware still looks at it.
pub(crate) const CONNECTING: u8 = 0;
pub(crate) const CONNECTED: u8 = 1;
/// It is being disconnected: the handlers of `disconnecting` still see it connected.
pub(crate) const LEAVING: u8 = 2;
pub(crate) const GONE: u8 = 3;

/// See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Phase {
    phase: AtomicU8,
    /// Rooms joined while a middleware still looks at the socket.
    early_rooms: Mutex<Vec<ByteString>>,
}

impl Phase {
    pub(crate) fn get(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    /// Has it join `room` once it is in, if `allow` does not mind for so many early rooms. `false` if it is in, or gone.
    pub(crate) fn join_early<E>(
        &self,
        room: &ByteString,
        allow: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.get() != CONNECTING {
            return Ok(false);
        }
        let mut early = self.early_rooms();
        if self.get() != CONNECTING {
            return Ok(false);
        }
        if !early.contains(room) {
            allow(early.len())?;
            early.push(room.clone());
        }
        Ok(true)
    }

    /// Has it not join `room` once it is in. If it is in already, leaving is for the caller.
    pub(crate) fn leave_early(&self, room: &ByteString) {
        self.early_rooms().retain(|early| early != room);
    }

    pub(crate) fn early_rooms(&self) -> MutexGuard<'_, Vec<ByteString>> {
        self.early_rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is in: has it join the early rooms, and from then on whatever it is told to. One that it leaves meanwhile it
    /// leaves in the end.
    pub(crate) fn enter(&self, join: impl Fn(&ByteString), leave: impl Fn(&ByteString)) {
        loop {
            let Some(room) = self.next_early() else { return };
            join(&room); // Under no lock: the application hears of it.
            if !self.is_still_early(&room) {
                leave(&room);
            }
        }
    }

    /// The next room to join; `None` when all are, and it is connected.
    fn next_early(&self) -> Option<ByteString> {
        let early = self.early_rooms();
        let next = early.first().cloned();
        if next.is_none() {
            self.phase.store(CONNECTED, Ordering::Release);
        }
        next
    }

    /// Whether nobody has had it leave `room`, which it has joined just now.
    fn is_still_early(&self, room: &ByteString) -> bool {
        let mut early = self.early_rooms();
        let at = early.iter().position(|other| other == room);
        at.map(|at| early.remove(at)).is_some()
    }

    /// It is refused. False if it is in, or was refused before.
    pub(crate) fn refuse(&self) -> bool {
        self.phase.compare_exchange(CONNECTING, GONE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It is about to be disconnected. True for the first who says so.
    pub(crate) fn leave(&self) -> bool {
        self.phase.compare_exchange(CONNECTED, LEAVING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn end(&self) {
        self.phase.store(GONE, Ordering::Release);
    }
}
