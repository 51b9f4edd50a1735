//! A client's wish for an answer, which is fulfilled once, whoever does it.
//!
//! `tests/tests/loom.rs` has every order of what threads do here.

use std::sync::Arc;

use crate::sync::{AtomicBool, Ordering};

/// See the [module documentation](self).
#[derive(Debug, Clone)]
pub(crate) struct AckSlot {
    pub(crate) id: u64,
    answered: Arc<AtomicBool>,
}

impl AckSlot {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, answered: Arc::default() }
    }

    /// True for the first who asks.
    pub(crate) fn take(&self) -> bool {
        !self.answered.swap(true, Ordering::AcqRel)
    }
}
