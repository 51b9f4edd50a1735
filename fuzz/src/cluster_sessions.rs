//! What servers keep in Redis for clients that may come back, and what they tell each other of polls: what is read is
//! written as we write it, and that is read alike.
//!
//! An input that begins with `k` is a kept session without its base64, with `b` one as it stands in Redis; another is a
//! notice between servers.

use base64::{Engine, engine::general_purpose::STANDARD};
use socketio_protocol::cluster::KeptSession;
use socketio_protocol::cluster::sessions::Notice;

/// Panics on a finding.
pub fn run(input: &[u8]) {
    match input.split_first() {
        Some((b'k', bytes)) => kept(STANDARD.encode(bytes).as_bytes()),
        Some((b'b', text)) => kept(text),
        _ => notice(input),
    }
}

fn kept(text: &[u8]) {
    let Ok(session) = KeptSession::decode(text) else { return };
    // What was read nests no deeper than may be written.
    let written = session.encode().expect("what was read can be written");
    let again = KeptSession::decode(written.as_bytes()).expect("what we write we read");
    let rewritten = again.encode().expect("what was written can be written again");
    assert_eq!(rewritten, written, "{session:?} became {again:?}");
}

fn notice(payload: &[u8]) {
    let Ok(Some(read)) = Notice::decode(payload) else { return };
    let again = Notice::decode(&read.encode());
    assert_eq!(again.as_ref(), Ok(&Some(read)));
}
