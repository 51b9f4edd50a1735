//! The time, as Tokio has it: in a test with a paused clock, sessions live by that clock too. Outside of tests it is
//! [`Instant::now`] and costs the same.

use std::time::Instant;

/// The time now.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
