//! One text of the default parser: what is read is written again, and that is read alike; its values survive
//! MessagePack.

use socketio_protocol::ByteString;
use socketio_protocol::socket::{Args, Decoder, Limits, encode_packet};

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut decoder = Decoder::new(Limits::default());
    let Ok(Some(packet)) = decoder.text(ByteString::from(text)) else { return };
    assert!(!decoder.waiting());

    let mut written = Vec::new();
    let attachments = encode_packet(&mut written, &packet).expect("what was read can be written");
    assert!(attachments.is_empty());
    let written = ByteString::try_from(written).expect("packets are UTF-8");
    let again = decoder.text(written.clone()).expect("what we write we read").expect("it is whole");
    assert_eq!((again.kind, &again.nsp, again.id), (packet.kind, &packet.nsp, packet.id), "{text} became {written}");
    assert_eq!(again.data.to_values(), packet.data.to_values(), "{text} became {written}");
    // White space goes with the first writing, then nothing changes any more.
    let mut rewritten = Vec::new();
    encode_packet(&mut rewritten, &again).expect("what was read can be written");
    assert_eq!(rewritten, *written.as_bytes(), "{text} became {written}");

    // Nothing at all is `nil` in MessagePack.
    if packet.data.is_empty() {
        return;
    }
    let transcoded = packet.data.to_msgpack();
    let args = Args::from_msgpack(&transcoded).expect("what we write as MessagePack we read");
    // A number beyond a double becomes infinity and that becomes null, as in JavaScript.
    let infinite = transcoded.windows(3).any(|bytes| matches!(bytes, [0xcb, 0x7f | 0xff, 0xf0]));
    assert!(infinite || args.to_msgpack() == transcoded, "{text} became {args:?}");
}
