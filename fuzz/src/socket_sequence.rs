//! Texts and attachments of one connection, in a row: each packet is written again and read alike.
//!
//! A byte 0xff stands between the messages of the input and 0xfe before a binary one: neither is in any UTF-8 text.

use socketio_protocol::socket::{Decoder, Limits, Packet, encode_packet};
use socketio_protocol::{ByteString, Bytes};

const LIMITS: Limits = Limits { max_attachments: 10, max_bytes: 4096, max_args: 1_000 };

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let mut decoder = Decoder::new(LIMITS);
    for message in input.split(|&byte| byte == 0xff) {
        let read = match message.strip_prefix(&[0xfe]) {
            Some(attachment) => decoder.binary(Bytes::copy_from_slice(attachment)),
            None => match ByteString::try_from(message) {
                Ok(text) => decoder.text(text),
                Err(_) => return,
            },
        };
        match read {
            Ok(Some(packet)) => {
                assert!(!decoder.waiting());
                read_again(&packet);
            }
            Ok(None) => assert!(decoder.waiting()),
            Err(_) => return,
        }
    }
}

fn read_again(packet: &Packet) {
    let mut text = Vec::new();
    let attachments = encode_packet(&mut text, packet).expect("what was read can be written");
    assert!(attachments.len() <= LIMITS.max_attachments);
    // Numbers and names may become longer when they are written out.
    let mut decoder = Decoder::new(Limits { max_bytes: usize::MAX, ..LIMITS });
    let mut read = decoder.text(ByteString::try_from(text).expect("packets are UTF-8"));
    for attachment in attachments {
        assert_eq!(read, Ok(None));
        read = decoder.binary(attachment);
    }
    let again = read.expect("what we write we read").expect("it is whole");
    assert_eq!((again.kind, &again.nsp, again.id), (packet.kind, &packet.nsp, packet.id));
    assert_eq!(again.data.attachments(), packet.data.attachments());
    assert_eq!(again.data.to_values(), packet.data.to_values());
}
