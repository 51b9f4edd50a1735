//! Entries and messages of the streams adapter: what is read is written as we write it, and that is
//! read and written the same from then on.
//!
//! An input that begins with `e` is an entry, one `field=value` a line; another is a message on the channel.

use socketio_protocol::cluster::streams::{self, Carried, Channels};
use socketio_protocol::cluster::{Envelope, MessageError};

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let channels = Channels::new("socket.io", "/");
    let Some((&place, rest)) = input.split_first() else { return };
    let read = match place {
        b'e' => {
            let fields = rest.split(|&byte| byte == b'\n').filter_map(|line| {
                let equals = line.iter().position(|&byte| byte == b'=')?;
                Some((&line[..equals], &line[equals + 1..]))
            });
            entry(fields)
        }
        _ => streams::decode_message(&channels, "own", rest),
    };
    let Ok(Some(envelope)) = read else { return };
    let carried = streams::encode(&channels, "other", Some("asker"), &envelope.message)
        .expect("no message of this format is classic only");
    let again = match &carried {
        Carried::Entry(written) => entry(
            [
                (&b"uid"[..], written.uid.as_bytes()),
                (b"nsp", written.nsp.as_bytes()),
                (b"type", written.kind.as_bytes()),
            ]
            .into_iter()
            .chain(written.data.as_ref().map(|data| (&b"data"[..], data.as_bytes()))),
        ),
        Carried::Message { payload, .. } => streams::decode_message(&channels, "own", payload),
    };
    let again = again.expect("what we write we read").expect("it is not our own");
    // A number beyond a double becomes infinity and that becomes null, as in JavaScript.
    if let Carried::Message { payload, .. } = &carried
        && payload.windows(3).any(|bytes| matches!(bytes, [0xcb, 0x7f | 0xff, 0xf0]))
    {
        return;
    }
    let rewritten = streams::encode(&channels, "other", Some("asker"), &again.message);
    assert_eq!(rewritten.as_ref(), Ok(&carried), "{envelope:?} became {again:?}");
}

fn entry<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Option<Envelope>, MessageError> {
    streams::decode_entry(fields, |_| Some("own"))
}
