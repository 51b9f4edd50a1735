//! One table of what may and may not come, read whole, cut at every byte and every two; then streams at random.

use proptest::prelude::*;

use super::*;
use crate::websocket::{close_frame, frame, masked_frame};

/// What came of a stream.
pub(super) type Heard = (Vec<Event>, Option<WsError>);

const MAX: usize = 1000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Reads what comes in pieces, as a connection does.
fn read<'a>(role: Role, max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    read_by(Decoder::new(role, max), pieces)
}

pub(super) fn read_by<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let mut buf = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buf), Err(error), "an error stays");
                    return (events, Some(error));
                }
            }
        }
    }
    (events, None)
}

/// A frame as `role` receives it, whatever its first byte says.
pub(super) fn raw(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match role {
        Role::Server => masked_frame(Opcode::Text, payload, MASK),
        Role::Client => frame(Opcode::Text, payload).to_vec(),
    };
    bytes[0] = first;
    bytes
}

/// A header as `role` receives it, with its length as it stands.
fn header(role: Role, first: u8, length: &[u8]) -> Vec<u8> {
    let masked = if role == Role::Server { MASKED } else { 0 };
    let mut bytes = vec![first, length[0] | masked];
    bytes.extend_from_slice(&length[1..]);
    if role == Role::Server {
        bytes.extend_from_slice(&MASK);
    }
    bytes
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

fn binary(bytes: &'static [u8]) -> Event {
    Event::Binary(Bytes::from_static(bytes))
}

fn closed(code: u16, reason: &str) -> Event {
    Event::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// Frames, each as its first byte and its payload.
type Frames = &'static [(u8, &'static [u8])];

/// What may come, and what is heard then.
fn cases() -> Vec<(Frames, Heard)> {
    use WsError::*;
    let ping = |data: &'static [u8]| Event::Ping(data.into());
    let pong = |data: &'static [u8]| Event::Pong(data.into());
    let none = || Vec::new();
    vec![
        // Messages in one frame.
        (&[(0x81, b"Hello")], (vec![text("Hello")], None)),
        (&[(0x81, b"")], (vec![text("")], None)),
        (
            &[(0x81, b"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), (0x82, b"\xff\x00")],
            (vec![text("é€😀"), binary(b"\xff\x00")], None),
        ),
        (&[(0x82, b"")], (vec![binary(b"")], None)),
        (&[(0x89, b"p"), (0x8a, b"q"), (0x89, b"")], (vec![ping(b"p"), pong(b"q"), ping(b"")], None)),
        // Messages in several.
        (&[(0x01, b"Hel"), (0x80, b"lo")], (vec![text("Hello")], None)),
        (&[(0x02, b"\xff"), (0x00, b""), (0x80, b"\xfe")], (vec![binary(b"\xff\xfe")], None)),
        (&[(0x01, b""), (0x00, b""), (0x80, b"")], (vec![text("")], None)),
        (&[(0x01, b"a"), (0x89, b"p"), (0x8a, b""), (0x80, b"b")], (vec![ping(b"p"), pong(b""), text("ab")], None)),
        (&[(0x01, b"\xf0\x9f"), (0x89, b"\xff"), (0x80, b"\x98\x80")], (vec![ping(b"\xff"), text("😀")], None)),
        (&[(0x01, b"a\xe2"), (0x00, b"\x82"), (0x80, b"\xac")], (vec![text("a€")], None)),
        (&[(0x01, b"a"), (0x80, b"b"), (0x81, b"c")], (vec![text("ab"), text("c")], None)),
        // Closes, and what follows them.
        (&[(0x88, b"")], (vec![Event::Close(None)], None)),
        (&[(0x88, b"\x03\xe8")], (vec![closed(1000, "")], None)),
        (&[(0x88, b"\x0b\xb8bye \xe2\x82\xac"), (0x81, b"late")], (vec![closed(3000, "bye €")], None)),
        (&[(0x88, b""), (0xff, b"rubbish")], (vec![Event::Close(None)], None)),
        (&[(0x01, b"a"), (0x88, b"")], (vec![Event::Close(None)], None)),
        (&[(0x88, b"\x03")], (none(), Some(ShortClose))),
        (&[(0x88, b"\x03\xed")], (none(), Some(BadCloseCode(1005)))),
        (&[(0x88, b"\x03\xe8\xff")], (none(), Some(InvalidUtf8))),
        (&[(0x88, b"\x03\xe8\xe2\x82")], (none(), Some(InvalidUtf8))),
        // First bytes that cannot be.
        (&[(0xc1, b"x")], (none(), Some(ReservedBits(0x40)))),
        (&[(0xa1, b"x")], (none(), Some(ReservedBits(0x20)))),
        (&[(0x91, b"x")], (none(), Some(ReservedBits(0x10)))),
        (&[(0xf9, b"")], (none(), Some(ReservedBits(0x70)))),
        (&[(0x81, b"a"), (0x83, b"")], (vec![text("a")], Some(ReservedOpcode(3)))),
        (&[(0x07, b"")], (none(), Some(ReservedOpcode(7)))),
        (&[(0x8b, b"")], (none(), Some(ReservedOpcode(0xb)))),
        (&[(0x8f, b"")], (none(), Some(ReservedOpcode(0xf)))),
        (&[(0x08, b"")], (none(), Some(FragmentedControl))),
        (&[(0x09, b"")], (none(), Some(FragmentedControl))),
        (&[(0x0a, b"")], (none(), Some(FragmentedControl))),
        (&[(0x80, b"a")], (none(), Some(UnexpectedContinuation))),
        (&[(0x00, b"a")], (none(), Some(UnexpectedContinuation))),
        (&[(0x01, b"a"), (0x80, b"b"), (0x80, b"c")], (vec![text("ab")], Some(UnexpectedContinuation))),
        (&[(0x01, b"a"), (0x81, b"b")], (none(), Some(UnfinishedMessage))),
        (&[(0x02, b"a"), (0x01, b"b")], (none(), Some(UnfinishedMessage))),
        (&[(0x01, b"a"), (0xc0, b"b")], (none(), Some(ReservedBits(0x40)))),
        // Text that is none.
        (&[(0x81, b"ab\xff")], (none(), Some(InvalidUtf8))),
        (&[(0x81, b"\xed\xa0\x80")], (none(), Some(InvalidUtf8))),
        (&[(0x81, b"\xe2\x82")], (none(), Some(InvalidUtf8))),
        (&[(0x01, b"\xe2\x82"), (0x80, b"")], (none(), Some(InvalidUtf8))),
        (&[(0x01, b"\xe2"), (0x89, b"p"), (0x80, b"\x28")], (vec![ping(b"p")], Some(InvalidUtf8))),
        (&[(0x01, b"a\xff"), (0x89, b"p")], (none(), Some(InvalidUtf8))),
    ]
}

/// Headers with lengths that cannot be, and the first byte they come with.
fn headers() -> Vec<(u8, &'static [u8], WsError)> {
    use WsError::*;
    let big = |announced| TooBig { announced, max: MAX };
    vec![
        (0x81, &[126, 0, 125], NonMinimalLength(125)),
        (0x81, &[126, 0, 0], NonMinimalLength(0)),
        (0x82, &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], NonMinimalLength(0xffff)),
        (0x82, &[127, 0, 0, 0, 0, 0, 0, 0, 1], NonMinimalLength(1)),
        (0x82, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], LengthTopBit),
        (0x82, &[127, 255, 255, 255, 255, 255, 255, 255, 255], LengthTopBit),
        (0x82, &[127, 127, 255, 255, 255, 255, 255, 255, 255], big(i64::MAX as u64)),
        (0x81, &[127, 0, 0, 1, 0, 0, 0, 0, 0], big(1 << 40)),
        (0x81, &[126, 0x03, 0xe9], big(1001)),
        (0x01, &[126, 0x03, 0xe9], big(1001)),
        (0x88, &[126, 0, 126], LongControl),
        (0x89, &[126, 0, 126], LongControl),
        (0x8a, &[127, 0, 0, 0, 0, 0, 1, 0, 0], LongControl),
    ]
}

/// The streams of both tables, for both roles.
fn streams() -> impl Iterator<Item = (Role, Vec<u8>, Heard)> {
    [Role::Server, Role::Client].into_iter().flat_map(|role| {
        let cases = cases().into_iter().map(move |(frames, heard)| {
            let stream = frames.iter().flat_map(|&(first, payload)| raw(role, first, payload)).collect();
            (role, stream, heard)
        });
        let headers = headers()
            .into_iter()
            .map(move |(first, length, error)| (role, header(role, first, length), (Vec::new(), Some(error))));
        cases.chain(headers)
    })
}

#[test]
fn every_stream_is_heard_the_same_however_it_is_cut() {
    for (role, stream, heard) in streams() {
        let name = format!("{role:?} {}", stream.escape_ascii());
        assert_eq!(read(role, MAX, [&stream[..]]), heard, "whole: {name}");
        assert_eq!(read(role, MAX, stream.chunks(1)), heard, "byte by byte: {name}");
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(read(role, MAX, pieces), heard, "cut at {first} and {second}: {name}");
            }
        }
    }
}

#[test]
fn every_length_is_read_as_it_is_written() {
    for len in [0, 1, 3, 4, 7, 8, 9, 125, 126, 127, 65535, 65536, 70000] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let expected = (vec![Event::Binary(payload.clone().into())], None);
        let masked = masked_frame(Opcode::Binary, &payload, MASK);
        let bare = frame(Opcode::Binary, &payload);
        assert_eq!(read(Role::Server, 70000, [&masked[..]]), expected, "{len}");
        assert_eq!(read(Role::Client, 70000, [&bare[..]]), expected, "{len}");
        for size in [1, 3, 1448] {
            assert_eq!(read(Role::Server, 70000, masked.chunks(size)), expected, "{len} in pieces of {size}");
        }
    }
}

#[test]
fn a_client_masks_and_a_server_does_not() {
    assert_eq!(read(Role::Server, MAX, [&frame(Opcode::Text, b"x")[..]]).1, Some(WsError::Unmasked));
    assert_eq!(read(Role::Client, MAX, [&masked_frame(Opcode::Text, b"x", MASK)[..]]).1, Some(WsError::Masked));
    // Two bytes are enough to know.
    assert_eq!(read(Role::Server, MAX, [&[0x81, 0x01][..]]).1, Some(WsError::Unmasked));
}

#[test]
fn the_close_codes_that_may_be_sent() {
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let heard = read(Role::Client, MAX, [&close_frame(Some(code), "why")[..]]);
        match allowed {
            true => assert_eq!(heard, (vec![closed(code, "why")], None)),
            false => assert_eq!(heard, (vec![], Some(WsError::BadCloseCode(code)))),
        }
    }
}

#[test]
fn a_bad_byte_is_told_before_its_frame_is_complete() {
    for (payload, good) in [
        (&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..], 12),
        (b"ab\xff________", 2),
        (b"ab\xf4\x90______", 3),
        (b"\xe2\x82\x28_____", 2),
        (b"_________\x80_____", 9),
    ] {
        // In one frame, and with the message's first `split` bytes in a frame before.
        for split in 0..=good {
            let mut decoder = Decoder::new(Role::Server, MAX);
            let mut buf = BytesMut::from(&raw(Role::Server, 0x01, &payload[..split])[..]);
            assert_eq!(decoder.decode(&mut buf), Ok(None));
            for (at, &byte) in raw(Role::Server, 0x00, &payload[split..]).iter().enumerate() {
                buf.extend_from_slice(&[byte]);
                let is_bad = at == 6 + good - split;
                let expected = if is_bad { Err(WsError::InvalidUtf8) } else { Ok(None) };
                assert_eq!(decoder.decode(&mut buf), expected, "{}, {at} behind {split}", payload.escape_ascii());
                if is_bad {
                    break;
                }
            }
        }
    }
}

#[test]
fn the_limit_holds_for_what_is_announced() {
    let exactly = [7; MAX];
    let frames = |lens: &[usize]| -> Vec<u8> {
        let last = lens.len() - 1;
        let part = |(at, &len): (usize, &usize)| {
            let first = if at == 0 { 0x02 } else { 0x00 } | if at == last { 0x80 } else { 0 };
            raw(Role::Server, first, &exactly[..len])
        };
        lens.iter().enumerate().flat_map(part).collect()
    };
    for lens in [&[1000][..], &[500, 500], &[0, 999, 1], &[1000, 0]] {
        let expected = vec![Event::Binary(Bytes::copy_from_slice(&exactly))];
        assert_eq!(read(Role::Server, MAX, [&frames(lens)[..]]), (expected, None), "{lens:?}");
    }
    for lens in [&[500, 501][..], &[1000, 1], &[1, 999, 0, 1]] {
        let stream = frames(lens);
        let payload_of_last = lens[lens.len() - 1];
        let before_it = &stream[..stream.len() - payload_of_last];
        let expected = WsError::TooBig { announced: 1001, max: MAX };
        assert_eq!(read(Role::Server, MAX, [before_it]), (vec![], Some(expected)), "{lens:?}");
    }
    // Pings between the frames do not count, nor do they have a limit but their own.
    let mut stream = raw(Role::Server, 0x02, &exactly);
    stream.extend(raw(Role::Server, 0x89, &exactly[..125]));
    stream.extend(raw(Role::Server, 0x80, b""));
    assert_eq!(read(Role::Server, MAX, [&stream[..]]).0.len(), 2);
    assert_eq!(read(Role::Server, 0, [&raw(Role::Server, 0x89, &exactly[..125])[..]]).0.len(), 1);
}

#[test]
fn a_message_has_no_more_frames_than_accepted() {
    let stream = |frames: u16| {
        let mut stream = raw(Role::Server, 0x02, b"a");
        (2..frames).for_each(|_| stream.extend(raw(Role::Server, 0x00, b"")));
        stream.extend(raw(Role::Server, 0x80, b"z"));
        stream
    };
    assert_eq!(read(Role::Server, MAX, [&stream(MAX_FRAMES)[..]]), (vec![binary(b"az")], None));
    let two_messages = [stream(MAX_FRAMES), stream(MAX_FRAMES)].concat();
    assert_eq!(read(Role::Server, MAX, [&two_messages[..]]), (vec![binary(b"az"), binary(b"az")], None));
    let too_many = WsError::TooManyFragments { max: MAX_FRAMES };
    assert_eq!(read(Role::Server, MAX, [&stream(MAX_FRAMES + 1)[..]]), (vec![], Some(too_many)));
}

#[test]
fn a_payload_is_a_part_of_the_buffer() {
    let mut decoder = Decoder::new(Role::Server, MAX);
    let mut buf = BytesMut::from(&masked_frame(Opcode::Text, b"Hello", MASK)[..]);
    let range = buf.as_ptr_range();
    let Ok(Some(Event::Text(text))) = decoder.decode(&mut buf) else { panic!("a whole frame") };
    assert!(range.contains(&text.as_bytes().as_ptr()));
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut decoder = Decoder::new(Role::Server, 1 << 40);
    let mut buf = BytesMut::with_capacity(64);
    buf.extend_from_slice(&header(Role::Server, 0x01, &[127, 0, 0, 0, 0xff, 0, 0, 0, 0]));
    buf.extend_from_slice(b"\x37\xfa\x21\x3d");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert_eq!((&buf[..], buf.capacity() <= 64), (&[0, 0, 0, 0][..], true));
    assert!(decoder.message.is_none());
    assert!(size_of::<Decoder>() <= 200);
}

#[test]
fn between_frames_nothing_is_kept() {
    let mut decoder = Decoder::new(Role::Server, MAX);
    let mut buf = BytesMut::new();
    assert!(decoder.is_between_frames());
    for (stream, is_between) in [
        (raw(Role::Server, 0x81, b"abc"), true),
        (raw(Role::Server, 0x81, b"abc")[..7].to_vec(), false),
        (raw(Role::Server, 0x81, b"abc")[7..].to_vec(), true),
        (raw(Role::Server, 0x01, b"abc"), false),
        (raw(Role::Server, 0x80, b""), true),
    ] {
        buf.extend_from_slice(&stream);
        decoder.decode(&mut buf).unwrap();
        assert_eq!(decoder.is_between_frames(), is_between);
    }
}

/// A message, cut into fragments with pings between them, and its frames as `role` receives them.
fn any_messages(role: Role) -> impl Strategy<Value = (Vec<Event>, Vec<u8>)> {
    let message = prop_oneof![
        "[a-z€😀\u{80}\u{7ff}]{0,40}".prop_map(|text| (0x01, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (0x02, bytes)),
        prop::collection::vec(any::<u8>(), 0..126).prop_map(|bytes| (0x09, bytes)),
        prop::collection::vec(any::<u8>(), 0..126).prop_map(|bytes| (0x0a, bytes)),
    ];
    let fragments = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4);
    prop::collection::vec((message, fragments), 0..6).prop_map(move |messages| {
        let (mut events, mut stream) = (Vec::new(), Vec::new());
        for ((opcode, payload), mut cuts) in messages {
            if opcode >= 0x08 {
                cuts.clear();
            }
            let mut ends: Vec<(usize, bool)> =
                cuts.iter().map(|(at, ping)| (at.index(payload.len() + 1), *ping)).collect();
            ends.sort_unstable();
            let (mut start, mut first) = (0, opcode);
            for (end, ping) in ends {
                stream.extend(raw(role, first, &payload[start..end]));
                if ping {
                    stream.extend(raw(role, 0x89, b"between"));
                    events.push(Event::Ping(Bytes::from_static(b"between")));
                }
                (start, first) = (end, 0x00);
            }
            stream.extend(raw(role, first | 0x80, &payload[start..]));
            events.push(match opcode {
                0x01 => Event::Text(ByteString::try_from(payload).unwrap()),
                0x02 => Event::Binary(payload.into()),
                0x09 => Event::Ping(payload.into()),
                _ => Event::Pong(payload.into()),
            });
        }
        (events, stream)
    })
}

/// The pieces of `stream` between `cuts`.
fn pieces<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn what_is_said_is_heard(
        (events, stream) in any_messages(Role::Server),
        (bare_events, bare) in any_messages(Role::Client),
        cuts: Vec<prop::sample::Index>,
    ) {
        prop_assert_eq!(read(Role::Server, MAX, pieces(&stream, &cuts)), (events, None));
        prop_assert_eq!(read(Role::Client, MAX, pieces(&bare, &cuts)), (bare_events, None));
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_cut_changes_what_is_heard(
        stream: Vec<u8>,
        cuts: Vec<prop::sample::Index>,
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
        max in 0..400usize,
    ) {
        prop_assert_eq!(read(role, max, pieces(&stream, &cuts)), read(role, max, [&stream[..]]));
    }

    #[test]
    fn nor_does_a_byte_changed_in_good_frames(
        (_, mut stream) in any_messages(Role::Server),
        at: prop::sample::Index,
        byte: u8,
        cuts: Vec<prop::sample::Index>,
    ) {
        if !stream.is_empty() {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        prop_assert_eq!(read(Role::Server, MAX, pieces(&stream, &cuts)), read(Role::Server, MAX, [&stream[..]]));
    }
}
