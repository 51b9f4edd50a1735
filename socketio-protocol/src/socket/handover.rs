//! How [`Args`] pass through serde whole.
//!
//! serde knows numbers, text, lists; it has no word for "a payload, take it as it is". So [`Args`] announce themselves
//! as a newtype struct with a name of ours, and a (de)serializer of ours that meets that name passes the payload
//! through a slot of the thread, by reference count, while serde sees an empty struct. Any other format never looks
//! into the slot and sees a list of values.

use std::cell::Cell;

use super::Args;

/// The name that nobody else gives a newtype struct.
pub(super) const NAME: &str = "$socketio::Args";

thread_local! {
    static SLOT: Cell<Slot> = const { Cell::new(Slot::Empty) };
}

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// Whoever serialises next is to leave its payload here.
    Wanted,
    Filled(Args),
}

/// Asks the [`Args`] that are serialised next for themselves.
pub(super) fn ask() {
    SLOT.set(Slot::Wanted);
}

/// Whether somebody has asked. The question is answered by [`put`].
pub(super) fn asked() -> bool {
    matches!(SLOT.take(), Slot::Wanted)
}

/// Leaves `args` for [`take`].
pub(super) fn put(args: Args) {
    SLOT.set(Slot::Filled(args));
}

/// Takes what was left, if anything was.
pub(super) fn take() -> Option<Args> {
    match SLOT.take() {
        Slot::Filled(args) => Some(args),
        Slot::Empty | Slot::Wanted => None,
    }
}
