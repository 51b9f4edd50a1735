//! Whether numbered messages come in order and once, and whether what is missing was told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How exact moments are, in milliseconds.
const MARGIN: u64 = 1_000;

/// Who heard, who said, when the messages before and after were said, and how many are missing between.
type Hole = (u64, u64, u64, u64, u64);

/// What all clients together have found.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) heard: AtomicU64,
    /// Came twice, or after a later one.
    pub(crate) out_of_order: AtomicU64,
    /// Said on the client's own server, and not heard.
    pub(crate) lost_at_home: AtomicU64,
    /// Said on another server, and not heard.
    pub(crate) lost_abroad: AtomicU64,
    /// Where those are missing, and with how many clients.
    holes: Mutex<HashMap<Hole, u64>>,
}

/// What one client has heard last, by who said it.
#[derive(Default)]
pub(crate) struct Heard(Vec<(u64, u64, u64)>);

impl Heard {
    /// Takes in a message: of which node, in which room, with which number, sent when.
    pub(crate) fn take(&mut self, checker: &Checker, home: u64, [node, _room, number, at]: [u64; 4]) {
        checker.heard.fetch_add(1, Ordering::Relaxed);
        let Some(last) = self.0.iter_mut().find(|last| last.0 == node) else {
            self.0.push((node, number, at));
            return;
        };
        let (_, before, sent) = *last;
        *last = (node, number, at);
        if number <= before {
            checker.out_of_order.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let missing = number - before - 1;
        if missing > 0 && node == home {
            checker.lost_at_home.fetch_add(missing, Ordering::Relaxed);
        } else if missing > 0 {
            checker.lost_abroad.fetch_add(missing, Ordering::Relaxed);
            *checker.holes.lock().expect("not poisoned").entry((home, node, sent, at, missing)).or_default() += 1;
        }
    }
}

impl Checker {
    /// How many of the missing messages no server has told of: `gaps` are those of each server.
    pub(crate) fn untold(&self, gaps: &[Vec<(u64, u64)>]) -> u64 {
        let holes = self.holes.lock().expect("not poisoned");
        let told = |home: u64, at: u64| {
            gaps[home as usize].iter().any(|(since, until)| since.saturating_sub(MARGIN) <= at && at <= until + MARGIN)
        };
        let mut untold = 0;
        for (&(home, _, before, after, missing), clients) in holes.iter() {
            // A server says something in each room at the same pace, so that it is known when it said what is missing.
            let said = (1..=missing).map(|i| before + (after - before) * i / (missing + 1));
            untold += said.filter(|at| !told(home, *at)).count() as u64 * clients;
        }
        untold
    }
}
