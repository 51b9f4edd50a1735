//! Messages of the sharded adapter: what is read is written as we write it, and that is read and written the same from
//! then on.

use socketio_protocol::cluster::sharded::{self, Channels, SubscriptionMode};

/// Panics on a finding.
pub fn run(payload: &[u8]) {
    let channels = Channels::new("socket.io", "/");
    let Ok(Some(envelope)) = sharded::decode(&channels, "own", payload) else { return };
    let mut written = Vec::new();
    sharded::encode(&channels, SubscriptionMode::Dynamic, "other", &envelope.message, &mut written)
        .expect("no message of this format is classic only");
    let again = sharded::decode(&channels, "own", &written).expect("what we write we read").expect("it is not our own");
    let mut rewritten = Vec::new();
    sharded::encode(&channels, SubscriptionMode::Dynamic, "other", &again.message, &mut rewritten)
        .expect("what was read was of this format");
    assert_eq!(rewritten, written, "{envelope:?} became {again:?}");
}
