//! What threads agree by in the small parts that are not under a connection's lock. Here it is the real thing;
//! `tests/tests/loom.rs` compiles the same files with loom's, and tries every order of what two or three threads do.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use tokio::sync::Notify;
pub(crate) use tokio_util::task::TaskTracker;
