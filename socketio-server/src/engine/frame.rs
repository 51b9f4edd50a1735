//! One Engine.IO packet, encoded and framed once, shared by everyone it is for.
//!
//! A [`Frame`] is a reference count. The bytes behind it are what a WebSocket client receives, header and all, so
//! that a recipient costs a queue slot and its part of a `writev`. A WebTransport client receives them without the
//! first. A Socket.IO packet with attachments is one frame: its parts never part. Polling bodies are put together from
//! the same bytes. Where compression was agreed, the first client whose turn comes has the packet compressed, for all of
//! them.

use std::io::IoSlice;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;
use socketio_protocol::engine::{Message, Packet, PayloadEncoder, TransportKind, Version, webtransport};
use socketio_protocol::websocket::{self, Agreement, COMPRESSED, Codec, Opcode};

/// Room in front of a packet for the longest header that an unmasked WebSocket frame has.
pub(super) const HEADROOM: usize = 10;

/// A packet on its way to clients. Cloning shares the bytes.
///
/// ```
/// use socketio_server::engine::{Frame, Message};
///
/// let frame = Frame::message(Message::Text("hello".into()));
/// let for_another = frame.clone(); // The bytes are shared.
/// ```
#[derive(Clone, Debug)]
pub struct Frame(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `[unused, header, packet text]`; empty for a binary message alone.
    head: Vec<u8>,
    /// Where the WebSocket header starts in `head`.
    header_at: usize,
    /// Where the packet text (`4...`) starts in `head`; equal to its length if there is none.
    packet_at: usize,
    attachments: SmallVec<[Attachment; 0]>,
    /// What it is for clients that cannot take it as it stands, once there is one.
    forms: OnceLock<Box<Forms>>,
    /// What the frame counts against an outbox's bound.
    size: usize,
    /// Whether it may be compressed on its way.
    compress: bool,
}

#[derive(Debug, Default)]
struct Forms {
    /// All of it as text.
    as_text: OnceLock<Box<[u8]>>,
    /// All of it with what gets shorter by it compressed, if anything does: for version 4, and for version 3, from which
    /// it differs in attachments only.
    deflated: [OnceLock<Option<Box<[u8]>>>; 2],
}

/// A binary message with the WebSocket header of either protocol version, and that of a WebTransport stream.
#[derive(Clone, Debug)]
struct Attachment {
    v4: Prefix,
    v3: Prefix,
    webtransport: Prefix,
    data: Bytes,
}

#[derive(Clone, Debug)]
struct Prefix {
    bytes: [u8; HEADROOM + 1],
    len: u8,
}

impl Prefix {
    fn new(payload_len: usize, extra: &[u8]) -> Self {
        let mut header = [0; HEADROOM];
        let header_len = websocket::encode_header(Opcode::Binary, payload_len + extra.len(), &mut header);
        let mut bytes = [0; HEADROOM + 1];
        bytes[..header_len].copy_from_slice(&header[..header_len]);
        bytes[header_len..header_len + extra.len()].copy_from_slice(extra);
        Self { bytes, len: (header_len + extra.len()) as u8 }
    }

    /// What stands before a binary message on a WebTransport stream.
    fn of_length(len: usize) -> Self {
        let mut header = [0; webtransport::MAX_HEADER];
        let header_len = webtransport::encode_header(true, len, &mut header);
        let mut bytes = [0; HEADROOM + 1];
        bytes[..header_len].copy_from_slice(&header[..header_len]);
        Self { bytes, len: header_len as u8 }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a client said it can read when it opened its WebSocket, or stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// Text only (`b64=1`, in version 3).
    pub(super) base64: bool,
    /// What was agreed on about compression, if anything.
    pub(super) agreement: Option<Agreement>,
    /// It is the stream of a WebTransport session.
    pub(super) web_transport: bool,
}

impl Terms {
    /// What such a client's stream is.
    pub(super) fn transport(&self) -> TransportKind {
        if self.web_transport { TransportKind::WebTransport } else { TransportKind::WebSocket }
    }
}

/// How a client that has a stream of its own wants its messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire<'a> {
    V4,
    V3,
    /// A v3 client that can take text only (`b64=1`): binary messages are text frames, in base64.
    V3Text,
    /// The stream of a WebTransport session: version 4, with other headers.
    WebTransport,
    /// Compressed, where that makes them shorter.
    Deflated(Version, &'a Codec),
}

impl<'a> Wire<'a> {
    /// With a `codec` if it was agreed that messages may be compressed.
    pub(super) fn new(version: Version, terms: Terms, codec: Option<&'a Codec>) -> Self {
        match (version, terms.base64, codec) {
            _ if terms.web_transport => Wire::WebTransport,
            (Version::V3, true, _) => Wire::V3Text,
            (version, _, Some(codec)) => Wire::Deflated(version, codec),
            (Version::V4, _, None) => Wire::V4,
            (Version::V3, false, None) => Wire::V3,
        }
    }
}

impl Attachment {
    fn new(data: Bytes) -> Self {
        let len = data.len();
        let (v4, v3) = (Prefix::new(len, &[]), Prefix::new(len, &[MESSAGE_TYPE]));
        Self { v4, v3, webtransport: Prefix::of_length(len), data }
    }

    fn prefix(&self, wire: Wire<'_>) -> &[u8] {
        match wire {
            Wire::V4 | Wire::Deflated(Version::V4, _) => self.v4.as_slice(),
            Wire::V3 | Wire::V3Text | Wire::Deflated(Version::V3, _) => self.v3.as_slice(),
            Wire::WebTransport => self.webtransport.as_slice(),
        }
    }
}

/// What a message's text is written behind.
const BEGINNING: &[u8; HEADROOM + 1] = b"\0\0\0\0\0\0\0\0\0\x004";

/// The type byte of a message packet in an Engine.IO v3 binary frame.
const MESSAGE_TYPE: u8 = 4;

impl Frame {
    /// A buffer to write a message's text into, for [`Frame::seal`].
    pub(crate) fn buffer(capacity: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEADROOM + 1 + capacity);
        Self::begin(&mut head);
        head
    }

    /// Empties a buffer, for a message's text to be written into it.
    pub(super) fn begin(head: &mut Vec<u8>) {
        head.clear();
        head.extend_from_slice(BEGINNING);
    }

    /// Frames what was written behind [`Frame::buffer`], followed by its attachments.
    pub(crate) fn seal(mut head: Vec<u8>, attachments: impl IntoIterator<Item = Bytes>) -> Self {
        let header_at = Self::set_header(&mut head);
        Self::assemble(head, header_at, HEADROOM, attachments)
    }

    /// Writes the header of a text into the room in front of it. Says where it starts.
    pub(super) fn set_header(head: &mut [u8]) -> usize {
        let mut header = [0; HEADROOM];
        let len = websocket::encode_header(Opcode::Text, head.len() - HEADROOM, &mut header);
        let header_at = HEADROOM - len;
        head[header_at..HEADROOM].copy_from_slice(&header[..len]);
        header_at
    }

    /// One text or binary message.
    pub fn message(message: Message) -> Self {
        match message {
            Message::Text(text) => {
                let mut head = Self::buffer(text.len());
                head.extend_from_slice(text.as_bytes());
                Self::seal(head, [])
            }
            Message::Binary(data) => Self::assemble(Vec::new(), 0, 0, [data]),
        }
    }

    /// Some binary messages, which are not parted.
    pub(crate) fn binary(messages: Vec<Bytes>) -> Self {
        Self::assemble(Vec::new(), 0, 0, messages)
    }

    /// A packet that is not a message: a ping, a pong, the open packet.
    pub(crate) fn control(packet: &Packet) -> Self {
        let mut head = vec![0; HEADROOM];
        packet.encode_text(Version::V4, &mut head);
        Self::seal(head, [])
    }

    /// A WebSocket control frame, complete as it is. Means nothing to a WebTransport client.
    pub(crate) fn raw(frame: &[u8]) -> Self {
        let head = frame.to_vec();
        let packet_at = head.len();
        Self::assemble(head, 0, packet_at, [])
    }

    /// The ping that a v4 server sends.
    pub(crate) fn ping() -> Self {
        static PING: LazyLock<Frame> = LazyLock::new(|| Frame::control(&Packet::Ping(Default::default())));
        PING.clone()
    }

    fn assemble(
        head: Vec<u8>,
        header_at: usize,
        packet_at: usize,
        attachments: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        let attachments: SmallVec<[Attachment; 0]> = attachments.into_iter().map(Attachment::new).collect();
        let size = Self::size_of(&head, attachments.iter().map(|part| part.data.len()));
        let forms = OnceLock::new();
        Self(Arc::new(Inner { head, header_at, packet_at, attachments, forms, size, compress: true }))
    }

    /// Whether the sender has nothing against compressing it: true unless it is [`uncompressed`](Frame::uncompressed).
    pub(crate) fn may_compress(&self) -> bool {
        self.0.compress
    }

    /// The same packet, never to be compressed. Copies the text; the attachments are shared.
    pub(crate) fn uncompressed(&self) -> Self {
        let Inner { head, header_at, packet_at, attachments, size, .. } = &*self.0;
        Self(Arc::new(Inner {
            head: head.clone(),
            header_at: *header_at,
            packet_at: *packet_at,
            attachments: attachments.clone(),
            forms: OnceLock::new(),
            size: *size,
            compress: false,
        }))
    }

    /// What a frame counts that has this head, and attachments of these lengths.
    pub(super) fn size_of(head: &[u8], attachments: impl Iterator<Item = usize>) -> usize {
        head.len() + attachments.map(|len| HEADROOM + len).sum::<usize>()
    }

    /// What the frame counts against a bound in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    /// The text of the packet, without the engine's `4`.
    pub(crate) fn text(&self) -> &[u8] {
        self.0.head.get(self.0.packet_at + 1..).unwrap_or_default()
    }

    /// The binary messages behind the text.
    pub(crate) fn attachments(&self) -> impl Iterator<Item = &Bytes> {
        self.0.attachments.iter().map(|part| &part.data)
    }

    /// Adds what a client gets to `slices`, without the first `skip` bytes; stops when `slices` is full.
    /// Returns whether everything found room.
    pub(crate) fn gather<'a>(
        &'a self,
        wire: Wire<'_>,
        mut skip: usize,
        slices: &mut SmallVec<[IoSlice<'a>; MAX_SLICES]>,
    ) -> bool {
        let mut add = |part: &'a [u8]| {
            if skip >= part.len() {
                skip -= part.len();
                return true;
            }
            if slices.len() == MAX_SLICES {
                return false;
            }
            slices.push(IoSlice::new(&part[skip..]));
            skip = 0;
            true
        };
        if let Some(bytes) = self.other_form(wire) {
            return add(bytes);
        }
        add(self.head(wire)) && self.0.attachments.iter().all(|part| add(part.prefix(wire)) && add(&part.data))
    }

    /// The whole of it, if that is one piece: a text without attachments, or what was made of it for this client.
    #[inline]
    pub(super) fn in_one_piece(&self, wire: Wire<'_>) -> Option<&[u8]> {
        match wire {
            Wire::V4 | Wire::V3 | Wire::WebTransport => self.0.attachments.is_empty().then(|| self.head(wire)),
            Wire::V3Text | Wire::Deflated(..) => self.other_form(wire),
        }
    }

    /// The text with its header. That of a WebTransport text is the second byte of a WebSocket's and what follows.
    #[inline]
    fn head(&self, wire: Wire<'_>) -> &[u8] {
        let head = &self.0.head[self.0.header_at..];
        match wire {
            Wire::WebTransport => head.get(1..).unwrap_or_default(),
            _ => head,
        }
    }

    /// All of it in one piece, for a client that does not get it as it stands.
    fn other_form(&self, wire: Wire<'_>) -> Option<&[u8]> {
        match wire {
            Wire::V4 | Wire::V3 | Wire::WebTransport => None,
            Wire::V3Text => (!self.0.attachments.is_empty()).then(|| self.as_text()),
            Wire::Deflated(version, codec) => self.deflated(version, codec),
        }
    }

    fn forms(&self) -> &Forms {
        self.0.forms.get_or_init(Box::default)
    }

    fn as_text(&self) -> &[u8] {
        self.forms().as_text.get_or_init(|| {
            let mut out = self.0.head[self.0.header_at..].to_vec();
            for part in &self.0.attachments {
                let mut packet = Vec::new();
                Packet::Message(Message::Binary(part.data.clone())).encode_text(Version::V3, &mut packet);
                out.extend_from_slice(&websocket::frame(Opcode::Text, &packet));
            }
            out.into()
        })
    }

    /// Whether compressing it takes so long that it is better not left to the one who writes for everybody.
    pub(crate) fn is_long(&self) -> bool {
        self.0.size >= LONG && self.0.compress
    }

    /// Makes the form of a client that wants it compressed, if it is not there yet.
    pub(super) fn compress_ahead(&self, wire: Wire<'_>) {
        self.other_form(wire);
    }

    /// `None` if nothing of it is to be compressed, or nothing gets shorter by it.
    fn deflated(&self, version: Version, codec: &Codec) -> Option<&[u8]> {
        if !self.0.compress || self.0.size < codec.threshold() {
            return None;
        }
        let form = usize::from(version == Version::V3 && !self.0.attachments.is_empty());
        self.forms().deflated[form].get_or_init(|| self.deflate(version, codec)).as_deref()
    }

    fn deflate(&self, version: Version, codec: &Codec) -> Option<Box<[u8]>> {
        let (mut out, mut any) = (Vec::new(), false);
        let mut add = |opcode, parts: &[&[u8]]| {
            let mut compressed = Vec::new();
            let len = parts.iter().map(|part| part.len()).sum();
            let shorter = len >= codec.threshold() && codec.deflate(parts, &mut compressed).is_some();
            let mut header = [0; HEADROOM];
            let header_len =
                websocket::encode_header(opcode, if shorter { compressed.len() } else { len }, &mut header);
            if shorter {
                header[0] |= COMPRESSED;
                any = true;
            }
            out.extend_from_slice(&header[..header_len]);
            match shorter {
                true => out.extend_from_slice(&compressed),
                false => parts.iter().for_each(|part| out.extend_from_slice(part)),
            }
        };
        if let Some(packet) = self.packet() {
            add(Opcode::Text, &[packet]);
        }
        for part in &self.0.attachments {
            let kind: &[u8] = if version == Version::V3 { &[MESSAGE_TYPE] } else { &[] };
            add(Opcode::Binary, &[kind, &part.data]);
        }
        any.then(|| out.into())
    }

    /// The text of the packet with the engine's `4`, if it has any.
    fn packet(&self) -> Option<&[u8]> {
        self.0.head.get(self.0.packet_at..).filter(|packet| !packet.is_empty())
    }

    /// How many bytes a WebSocket client gets.
    #[inline]
    pub(crate) fn wire_len(&self, wire: Wire<'_>) -> usize {
        if let Some(piece) = self.in_one_piece(wire) {
            return piece.len();
        }
        let attachments = self.0.attachments.iter().map(|part| part.prefix(wire).len() + part.data.len());
        self.head(wire).len() + attachments.sum::<usize>()
    }

    /// Adds the packet to a polling body.
    pub(crate) fn write_payload(&self, payload: &mut PayloadEncoder) {
        if let Some(packet) = self.packet() {
            payload.text(packet);
        }
        for part in &self.0.attachments {
            payload.binary(&part.data);
        }
    }

    /// About how many bytes [`write_payload`](Frame::write_payload) adds.
    pub(crate) fn payload_len(&self) -> usize {
        let attachments = self.0.attachments.iter().map(|part| part.data.len().div_ceil(3) * 4 + 2);
        self.0.head.len() - self.0.packet_at + 1 + attachments.sum::<usize>()
    }
}

/// From how many bytes on a packet is compressed by its sender: that takes about 0.3 ms, and 10 ms for a megabyte.
const LONG: usize = 16 << 10;

/// How many pieces one `writev` takes: past some dozens the kernel's cost per piece stays the same.
pub(crate) const MAX_SLICES: usize = 64;

#[cfg(test)]
mod tests {
    use socketio_protocol::engine;

    use super::*;

    fn wire(frame: &Frame, wire: Wire<'_>, skip: usize) -> Vec<u8> {
        let mut slices = SmallVec::new();
        assert!(frame.gather(wire, skip, &mut slices));
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_text_message_is_one_frame_and_can_be_continued_anywhere() {
        let frame = Frame::message(Message::Text("2[\"x\"]".into()));
        let expected = b"\x81\x074".iter().chain(b"2[\"x\"]").copied().collect::<Vec<_>>();
        assert_eq!(wire(&frame, Wire::V4, 0), expected);
        assert_eq!(frame.wire_len(Wire::V4), expected.len());
        for skip in 0..=expected.len() {
            assert_eq!(wire(&frame, Wire::V4, skip), expected[skip..]);
        }
    }

    #[test]
    fn attachments_follow_their_text_and_carry_a_type_byte_in_v3() {
        let mut head = Frame::buffer(8);
        head.extend_from_slice(b"51-[]");
        let frame = Frame::seal(head, [Bytes::from_static(b"\x01\x02"), Bytes::new()]);
        assert_eq!(wire(&frame, Wire::V4, 0), b"\x81\x06451-[]\x82\x02\x01\x02\x82\x00");
        assert_eq!(wire(&frame, Wire::V3, 0), b"\x81\x06451-[]\x82\x03\x04\x01\x02\x82\x01\x04");
        assert_eq!(wire(&frame, Wire::V3Text, 0), b"\x81\x06451-[]\x81\x06b4AQI=\x81\x02b4");
        assert_eq!(wire(&frame, Wire::WebTransport, 0), b"\x06451-[]\x82\x01\x02\x80");
        for kind in [Wire::V4, Wire::V3, Wire::V3Text, Wire::WebTransport] {
            assert_eq!(frame.wire_len(kind), wire(&frame, kind, 0).len(), "{kind:?}");
        }
    }

    #[cfg(feature = "deflate")]
    mod deflated {
        use std::sync::Arc;

        use bytes::BytesMut;
        use socketio_protocol::websocket::{Decoder, Event, PerMessageDeflate, Role};

        use super::*;

        fn codec() -> Arc<Codec> {
            Arc::new(Codec::new(PerMessageDeflate::default()))
        }

        /// What a client makes of the bytes, each message with whether it was compressed.
        fn heard(bytes: &[u8], codec: &Arc<Codec>) -> Vec<(bool, Vec<u8>)> {
            let mut decoder = Decoder::new(Role::Client, 1 << 20).with_codec(Some(codec.clone()));
            let (mut buf, mut heard) = (BytesMut::from(bytes), Vec::new());
            while let Some(&first) = buf.first() {
                let message = match decoder.decode(&mut buf).unwrap() {
                    Some(Event::Text(text)) => text.as_bytes().to_vec(),
                    Some(Event::Binary(data)) => data.to_vec(),
                    other => panic!("{other:?}"),
                };
                heard.push((first & COMPRESSED != 0, message));
            }
            heard
        }

        /// `len` bytes that do not get shorter.
        fn noise(len: usize) -> Bytes {
            let mut state = 1_u64;
            let next = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            });
            next.take(len).collect::<Vec<_>>().into()
        }

        #[test]
        fn only_what_is_long_and_gets_shorter_is_compressed_and_each_part_for_itself() {
            let codec = codec();
            let long = "é€😀 ".repeat(500);
            let zeros = Bytes::from_static(&[0; 5000]);
            for (text, parts, compressed) in [
                ("short", vec![], vec![false]),
                (&long, vec![], vec![true]),
                (&long, vec![zeros.clone(), noise(5000), Bytes::from_static(b"few")], vec![true, true, false, false]),
                ("short", vec![zeros.clone()], vec![false, true]),
                ("short", vec![noise(5000)], vec![false, false]),
            ] {
                let mut head = Frame::buffer(0);
                head.extend_from_slice(text.as_bytes());
                let frame = Frame::seal(head, parts.clone());
                for (version, kind) in [(Version::V4, &[][..]), (Version::V3, &[4])] {
                    let form = Wire::Deflated(version, &codec);
                    let bytes = wire(&frame, form, 0);
                    assert_eq!(frame.wire_len(form), bytes.len());
                    assert_eq!(wire(&frame, form, 7), bytes[7..]);
                    let messages = std::iter::once(format!("4{text}").into_bytes())
                        .chain(parts.iter().map(|part| [kind, part].concat()));
                    assert_eq!(heard(&bytes, &codec), compressed.iter().copied().zip(messages).collect::<Vec<_>>());
                }
                let plain = wire(&frame.uncompressed(), Wire::Deflated(Version::V4, &codec), 0);
                assert_eq!(plain, wire(&frame, Wire::V4, 0), "the sender does not want it compressed");
            }
        }

        #[test]
        fn a_binary_message_alone_and_control_frames() {
            let codec = Arc::new(Codec::new(PerMessageDeflate::default().threshold(0)));
            let form = Wire::Deflated(Version::V4, &codec);
            let frame = Frame::message(Message::Binary(Bytes::from_static(&[0; 5000])));
            assert_eq!(heard(&wire(&frame, form, 0), &codec), [(true, vec![0; 5000])]);
            let pong = Frame::raw(&websocket::frame(Opcode::Pong, &[b'x'; 125]));
            for frame in [pong, Frame::ping()] {
                assert_eq!(wire(&frame, form, 0), wire(&frame, Wire::V4, 0));
            }
        }

        #[test]
        fn a_packet_is_compressed_once_for_all_who_want_it() {
            let codec = codec();
            let frame = Frame::message(Message::Text("x".repeat(5000).into()));
            let place = |version| {
                let (recipients, mut slices) = (frame.clone(), SmallVec::new());
                assert!(recipients.gather(Wire::Deflated(version, &codec), 0, &mut slices));
                assert_eq!(slices.len(), 1);
                slices[0].as_ptr()
            };
            let first = place(Version::V4);
            assert!((0..1000).all(|_| place(Version::V4) == first));
            assert_eq!(place(Version::V3), first, "text is the same in both versions");
        }
    }

    #[test]
    fn a_binary_message_alone_has_no_text_in_front() {
        let frame = Frame::message(Message::Binary(Bytes::from_static(b"\x01\x02")));
        for (kind, bytes) in [(Wire::V4, &b"\x82\x02\x01\x02"[..]), (Wire::WebTransport, b"\x82\x01\x02")] {
            assert_eq!((&wire(&frame, kind, 0)[..], frame.wire_len(kind)), (bytes, bytes.len()), "{kind:?}");
        }
    }

    #[test]
    fn the_header_grows_with_the_message() {
        for (len, header) in [(124, 2), (125, 4), (65_534, 4), (65_535, 10)] {
            let text = "x".repeat(len);
            let frame = Frame::message(Message::Text(text.clone().into()));
            assert_eq!(frame.wire_len(Wire::V4), header + 1 + len, "a message of {len} bytes");
            let expected = webtransport::encode(&engine::Frame::Text(format!("4{text}").into()));
            assert!(wire(&frame, Wire::WebTransport, 0) == expected, "a message of {len} bytes");
        }
    }
}
