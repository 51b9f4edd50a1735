//! One message of the MessagePack parser: what is read is written again, and reads and writes the same from then on; the
//! same packet goes through the default parser.

use socketio_protocol::ByteString;
use socketio_protocol::socket::{Decoder, Limits, encode_packet, msgpack};

/// Panics on a finding.
pub fn run(message: &[u8]) {
    let limits = Limits::default();
    let Ok(packet) = msgpack::decode(message, limits) else { return };

    let mut written = Vec::new();
    msgpack::encode(&mut written, &packet);
    // A double without a fraction is written as an integer, as notepack does.
    let again = msgpack::decode(&written, limits).expect("what we write we read");
    let mut rewritten = Vec::new();
    msgpack::encode(&mut rewritten, &again);
    assert_eq!(rewritten, written, "{packet:?} became {again:?}");

    let mut text = Vec::new();
    let attachments = encode_packet(&mut text, &packet).expect("what was read can be written");
    let text = ByteString::try_from(text).expect("packets are UTF-8");
    let mut decoder = Decoder::new(limits);
    let mut read = decoder.text(text.clone());
    for attachment in attachments {
        assert_eq!(read, Ok(None), "{text}");
        read = decoder.binary(attachment);
    }
    assert_eq!(read.as_ref(), Ok(&Some(packet)), "{text}");
}
