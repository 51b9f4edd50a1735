//! How long deliveries took: a histogram, so that there is room for any number of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts by microseconds; from 64 on there are [`STEPS`] counts to each power of two.
pub(crate) struct Latencies {
    counts: Vec<AtomicU64>,
    longest: AtomicU64,
}

const STEPS: u64 = 32;

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { counts: (0..=place(u64::MAX)).map(|_| AtomicU64::new(0)).collect(), longest: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, micros: u64) {
        self.counts[place(micros)].fetch_add(1, Ordering::Relaxed);
        if micros > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(micros, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }

    /// What so large a share took at most, to some 3 %.
    pub(crate) fn of_share(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut sum = 0;
        let found = self.counts.iter().position(|count| {
            sum += count.load(Ordering::Relaxed);
            sum >= wanted
        });
        found.map_or(Duration::ZERO, |place| Duration::from_micros(end(place)))
    }
}

fn place(micros: u64) -> usize {
    let shift = u64::from((u64::BITS - micros.leading_zeros()).saturating_sub(6));
    (shift * STEPS + (micros >> shift)) as usize
}

/// The most that is counted in a place.
fn end(place: usize) -> u64 {
    let place = place as u64;
    let shift = (place / STEPS).saturating_sub(1);
    ((place - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_right_to_three_percent() {
        let latencies = Latencies::new();
        (1..=100_000).for_each(|micros| latencies.add(micros));
        for (share, micros) in [(0.000_1, 10.0), (0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = latencies.of_share(share).as_secs_f64() * 1e6;
            assert!((micros..micros * 1.04).contains(&found), "{share}: {found}");
        }
        assert_eq!((latencies.count(), latencies.longest().as_micros()), (100_000, 100_000));
    }
}
