//! What waits to be written to one client.
//!
//! Publishing never waits for a listener: a message is queued here, and a listener whose queue
//! would grow past its bound is closed, as Redis does. What a client asked for itself is answered
//! only while there is room, so that a client which asks and does not read is not read either.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::resp::Version;

/// The bounded queue in front of one connection.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    drained: Notify,
    closed: CancellationToken,
    resp3: AtomicBool,
    max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Of the frames above and of those taken to be written.
    bytes: usize,
    finishing: bool,
}

impl Outbox {
    /// An outbox that holds up to `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            closed: CancellationToken::new(),
            resp3: AtomicBool::new(false),
            max,
        }
    }

    /// Queues `frame`. Says `false` for the one frame that did not fit, which closes the outbox;
    /// what is pushed into a closed one is dropped.
    #[must_use]
    pub(super) fn push(&self, frame: Bytes) -> bool {
        let mut queue = self.queue();
        if self.closed.is_cancelled() {
            return true;
        }
        if queue.bytes + frame.len() > self.max {
            queue.frames.clear();
            self.closed.cancel();
            return false;
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        self.filled.notify_one();
        true
    }

    /// Waits until at least half of the room is free.
    pub(super) async fn half_free(&self) {
        while self.queue().bytes > self.max / 2 {
            self.drained.notified().await;
        }
    }

    /// Waits for frames and takes all there are; `None` after [`Outbox::finish`], when none are left.
    pub(super) async fn take(&self) -> Option<VecDeque<Bytes>> {
        loop {
            {
                let mut queue = self.queue();
                if !queue.frames.is_empty() {
                    return Some(std::mem::take(&mut queue.frames));
                }
                if queue.finishing {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Says that `bytes` of what was taken have left.
    pub(super) fn written(&self, bytes: usize) {
        let mut queue = self.queue();
        queue.bytes = queue.bytes.saturating_sub(bytes);
        self.drained.notify_one();
    }

    /// Nothing more will come: the writer ends when it has written what is queued.
    pub(super) fn finish(&self) {
        self.queue().finishing = true;
        self.filled.notify_one();
    }

    /// Waits until a frame has not fitted.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// The language the client has asked for.
    pub(super) fn version(&self) -> Version {
        match self.resp3.load(Ordering::Relaxed) {
            true => Version::Resp3,
            false => Version::Resp2,
        }
    }

    /// The client asks for another language.
    pub(super) fn set_version(&self, version: Version) {
        self.resp3.store(version == Version::Resp3, Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_does_not_fit_closes_the_outbox_once() {
        let outbox = Outbox::new(10);
        assert!(outbox.push(Bytes::from_static(b"12345")));
        assert!(outbox.push(Bytes::from_static(b"67890")));
        assert!(!outbox.push(Bytes::from_static(b"x")), "one byte too many");
        assert!(outbox.closed.is_cancelled());
        assert!(outbox.push(Bytes::from_static(b"x")), "counted as slow once only");
        assert!(outbox.queue().frames.is_empty(), "a closed outbox holds nothing");
    }

    #[tokio::test]
    async fn what_is_being_written_still_takes_room() {
        let outbox = Outbox::new(10);
        assert!(outbox.push(Bytes::from_static(b"1234567890")));
        assert_eq!(outbox.take().await.map(|frames| frames.len()), Some(1));
        assert!(!outbox.push(Bytes::from_static(b"x")));

        let outbox = Outbox::new(10);
        assert!(outbox.push(Bytes::from_static(b"1234567890")));
        outbox.take().await;
        outbox.written(10);
        assert!(outbox.push(Bytes::from_static(b"1234567890")));
    }

    #[tokio::test]
    async fn a_finished_outbox_gives_what_it_holds_first() {
        let outbox = Outbox::new(10);
        assert!(outbox.push(Bytes::from_static(b"last")));
        outbox.finish();
        assert_eq!(outbox.take().await, Some(VecDeque::from([Bytes::from_static(b"last")])));
        assert_eq!(outbox.take().await, None);
    }
}
