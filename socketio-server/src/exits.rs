//! Clients that are gone are cleared away a few at a time, and after what others wait for.
//!
//! When thousands go at once, as when a proxy before the server is killed, each has an end to be worked on. A worker of
//! the runtime runs the tasks in its own queue first, and those that found no room there only now and then; so many ends
//! keep its queue full until the last is done. An echo took 65 to 131 ms while 10,000 clients went. It takes 7 to 10 ms
//! since each that has been cleared away yields before the next may come: who yields comes back when a worker has nothing
//! else to do and has asked the network.

use tokio::sync::{Semaphore, SemaphorePermit};

/// See the [module documentation](self).
pub(crate) struct Exits(Semaphore);

/// How many clients are cleared away between two looks at what else there is to do. With 32 an echo took up to 28 ms, with
/// 8 and with 2 up to 17 ms, on a machine that had other work too.
const AT_ONCE: usize = 8;

impl Default for Exits {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Exits {
    /// Waits until it is one's turn to be cleared away.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn(self.0.acquire().await.expect("it is never closed"))
    }
}

/// For as long as this is there, a client is cleared away.
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "held")] SemaphorePermit<'a>);

impl Turn<'_> {
    /// Lets the next one come, after what others wait for.
    pub(crate) async fn end(self) {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::AT_ONCE;
    use crate::testing::TestClient;
    use crate::{Server, Socket};

    /// Enough that a worker's queue would be in their hands for long.
    const CROWD: usize = 200;

    #[tokio::test]
    async fn who_stays_is_answered_before_a_crowd_that_leaves_is_cleared_away() {
        let io = Server::new();
        io.on("still here", async |socket: Socket| socket.namespace().local_count());
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            crowd.push(TestClient::connect(&io).await);
        }
        let witness = TestClient::connect(&io).await;

        crowd.iter().for_each(TestClient::close);
        let mut last = CROWD + 1;
        let mut answers = 0;
        while last > 1 {
            let left: usize = witness.emit_with_ack("still here", ()).await;
            assert!(last - left <= 4 * AT_ONCE, "{} left before one answer", last - left);
            (last, answers) = (left, answers + 1);
        }
        assert!(answers > CROWD / (4 * AT_ONCE));
    }
}
