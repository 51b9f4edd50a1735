//! Ending without haste: new sessions are refused, and those that are open end one after another, each when its client
//! has what was queued for it.
//!
//! Clients whose connection ends come back at once, to another server if a load balancer knows of this one's end. If all
//! ended together they would come back together. Requests for open sessions are answered to the end, so that polling
//! clients, who come with a new request each time, are told as well. A session that polls stays open until its client has
//! what was queued, which it shows by coming back for more.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio_protocol::NEVER;
use socketio_protocol::engine::{CloseReason, TransportKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::connection::Connection;
use super::engine::Engine;

/// What is waited for before a session ends, besides what is queued for its client. It comes back with whether the client
/// has anything to lose; who has only shaken hands has not.
pub(crate) type Busy = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Which part of the time the ends of sessions are spread over; the rest is for the last of them.
const SPREAD: f64 = 0.75;

/// Two sessions do not end further apart than this: a server with few clients need not take its time.
const LONGEST_GAP: Duration = Duration::from_millis(50);

/// How often it is looked whether queues are empty and sessions gone.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// How long a polling client that has nothing to lose may take to come back and be told.
const NEWCOMER: Duration = Duration::from_secs(2);

impl Engine {
    /// Closes every session with the reason `server shutting down`, spread over `deadline` and each after what is
    /// queued for it has left, and refuses new ones from the beginning. What is left at the deadline is closed as
    /// [`close`](Engine::close) does it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use socketio_server::engine::{Engine, EngineConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let engine = Engine::new(EngineConfig::default(), async |mut incoming| { incoming.closed().await; });
    /// engine.drain(Duration::from_secs(20)).await;
    /// assert!(engine.is_draining());
    /// # }
    /// ```
    pub async fn drain(&self, deadline: Duration) {
        let end = Instant::now() + deadline.min(NEVER);
        self.refuse_new();
        self.end_sessions(end, |_| Box::pin(std::future::ready(true))).await;
        self.close().await;
    }

    /// Whether new sessions are refused, since [`drain`](Engine::drain) or [`close`](Engine::close) was called.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Ends all sessions before `end`. `busy` says what to wait for in each.
    pub(crate) async fn end_sessions(&self, end: Instant, busy: impl Fn(&Arc<Connection>) -> Busy) {
        let mut seen = HashSet::new();
        let mut leaving = JoinSet::new();
        loop {
            // Those whose handshake was under way when the draining began come in a later round.
            let mut round = self.shared.connections();
            round.retain(|connection| !connection.is_closed() && seen.insert(connection.id().clone()));
            let start = Instant::now();
            let gap = end.saturating_duration_since(start).mul_f64(SPREAD)
                / u32::try_from(round.len().max(1)).unwrap_or(u32::MAX);
            let gap = gap.min(LONGEST_GAP);
            for (turn, connection) in (0_u32..).zip(round) {
                sleep_until(start + gap * turn).await;
                leaving.spawn(leave(busy(&connection), connection, end));
            }
            while leaving.try_join_next().is_some() {}
            if Instant::now() >= end || self.clients_count() == 0 {
                break;
            }
            sleep(LOOK).await;
        }
        while leaving.join_next().await.is_some() {}
    }
}

/// Ends a session once it may end, at the latest at `end`.
pub(super) async fn leave(busy: Busy, connection: Arc<Connection>, end: Instant) {
    let leaving = Leaving(connection);
    let connection = &leaving.0;
    let loses = timeout_at(end, busy).await.unwrap_or(true);
    let polls = connection.transport() == TransportKind::Polling;
    let patience = match polls {
        true if loses => halfway(end), // Who does not come back has gone.
        true => end.min(Instant::now() + NEWCOMER),
        false => end,
    };
    let _ = timeout_at(patience, async {
        while !connection.has_all() {
            sleep(LOOK).await;
        }
    })
    .await;
    connection.close_for(CloseReason::ServerShutdown);
    if polls && !loses {
        connection.discard(CloseReason::ServerShutdown); // Else the session would wait for its client.
    }
}

/// A session whose turn it is. It ends with this, also when the draining is given up half-way.
struct Leaving(Arc<Connection>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.close_for(CloseReason::ServerShutdown);
    }
}

/// The middle of the time that is left until `end`.
pub(crate) fn halfway(end: Instant) -> Instant {
    let now = Instant::now();
    now + end.saturating_duration_since(now) / 2
}
