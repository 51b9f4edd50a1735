//! The time, as Tokio has it: in a test with a paused clock, sessions live by that clock too. Outside of tests it is
//! [`Instant::now`] and costs the same.

use std::time::{Duration, Instant};

/// The time now.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time since some moment in the past, to within a tick of the system (some milliseconds), for a quarter of what
/// [`Instant::now`] costs: to notice what took a tenth of a second, in places that every message passes.
#[cfg(target_os = "linux")]
pub(crate) fn coarse() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}
