//! How often memory is asked for on the way of a message: counted, so that it cannot grow unseen.

use allocation_counter::measure;
use bytes::BytesMut;
use socketio_benches::{Audience, decode, encode, frames};
use tokio::runtime::Builder;

/// The buffer that is read is made once for all; an event in it costs nothing until someone wants its text owned.
#[test]
fn reading_events_allocates_nothing_for_each() {
    let allocations = |count: usize| {
        let frames: BytesMut = frames(count);
        measure(|| assert_eq!(decode(frames), 32 * count)).count_total
    };
    assert_eq!(allocations(1000), allocations(10));
}

#[test]
fn writing_events_allocates_nothing_where_there_is_room() {
    let mut out = Vec::with_capacity(64 * 1000);
    assert_eq!(measure(|| assert!(encode(&mut out, 1000) > 0)).count_total, 0);
}

/// Encoded once, queued as a reference count: what a broadcast allocates does not depend on who hears it.
#[test]
fn a_broadcast_allocates_nothing_for_a_recipient() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let allocations = |clients: usize| {
        runtime.block_on(async {
            let mut audience = Audience::new(clients).await;
            // The queues have their memory from the first.
            for _ in 0..3 {
                audience.broadcast();
                audience.hear().await;
            }
            measure(|| audience.broadcast()).count_total
        })
    };
    let (few, many) = (allocations(5), allocations(200));
    assert_eq!(few, many);
    assert!(few <= 4, "the frame, its bytes and what finds the recipients: {few}");
}
