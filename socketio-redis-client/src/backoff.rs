//! How long to wait before connecting again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(2);

/// Doubling waits with full jitter: a Redis that comes back is not met by all servers at the same moment.
#[derive(Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Everything works: the next trouble is a first one.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next wait: nothing at first, then anything up to a bound that doubles from 50 ms to 2 s.
    pub fn next_wait(&mut self) -> Duration {
        let bound = match self.attempts {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(10)).min(MOST),
        };
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(random_fraction())
    }
}

/// Somewhere in `0.0..=1.0`.
fn random_fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_at_once_and_no_wait_is_over_two_seconds() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_wait(), Duration::ZERO);
        for bound in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            assert!(backoff.next_wait() <= Duration::from_millis(bound));
        }
        for _ in 0..5000 {
            assert!(backoff.next_wait() <= MOST);
        }
        backoff.reset();
        assert_eq!(backoff.next_wait(), Duration::ZERO);
    }
}
