//! Messages of `@socket.io/redis-adapter`: what is read is written as we write it, and that is
//! read and written the same from then on.
//!
//! The first byte of the input says which channel it comes from: `b`roadcasts, `r`equests, else answers.

use socketio_protocol::cluster::classic::{self, Channels};
use socketio_protocol::cluster::{Envelope, Flags, Message, MessageError};

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Some((&place, payload)) = input.split_first() else { return };
    let channels = Channels::new("socket.io", "/");
    let read = |payload: &[u8]| -> Result<Option<Envelope>, MessageError> {
        match place {
            b'b' => classic::decode_broadcast(&channels, "own", payload),
            b'r' => classic::decode_request(&channels, "own", payload),
            _ => classic::decode_response(&channels, payload, |_| true),
        }
    };
    let Ok(Some(mut envelope)) = read(payload) else { return };
    forget_flags(&mut envelope.message);
    let mut written = Vec::new();
    classic::encode(&channels, "other", &envelope.message, &mut written);
    let again = read(&written).expect("what we write we read").expect("it is not our own");
    let mut rewritten = Vec::new();
    classic::encode(&channels, "other", &again.message, &mut rewritten);
    assert_eq!(rewritten, written, "{envelope:?} became {again:?}");
}

/// In this format only broadcasts are written with flags.
fn forget_flags(message: &mut Message) {
    match message {
        Message::Join { options, .. }
        | Message::Leave { options, .. }
        | Message::Disconnect { options, .. }
        | Message::FetchSockets { options, .. }
        | Message::Summarize { options, .. } => options.flags = Flags::default(),
        _ => {}
    }
}
