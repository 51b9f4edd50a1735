//! One Engine.IO packet, encoded and framed once, shared by everyone it is for.
//!
//! A [`Frame`] is a reference count. The bytes behind it are what a WebSocket client receives, header and all, so
//! that a recipient costs a queue slot and its part of a `writev`. A WebTransport client receives them without the first. A Socket.IO packet with attachments is one frame:
//! its parts never part. Polling bodies are put together from the same bytes.

use std::io::IoSlice;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;
use socketio_protocol::engine::{Message, Packet, PayloadEncoder, Version, webtransport};
use socketio_protocol::websocket::{self, Opcode};

/// Room in front of a packet for the longest header that an unmasked WebSocket frame has.
const HEADROOM: usize = 10;

/// A packet on its way to clients. Cloning shares the bytes.
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
    /// All of it for a client that can take text only, once there is one.
    as_text: OnceLock<Box<[u8]>>,
    /// What the frame counts against an outbox's bound.
    size: usize,
    /// Whether it may be compressed on its way.
    compress: bool,
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

/// How a client that has a stream of its own wants its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    V4,
    V3,
    /// A v3 client that can take text only (`b64=1`): binary messages are text frames, in base64.
    V3Text,
    /// The stream of a WebTransport session: version 4, with other headers.
    WebTransport,
}

impl Wire {
    pub(crate) fn new(version: Version, base64: bool) -> Self {
        match (version, base64) {
            (Version::V4, _) => Wire::V4,
            (Version::V3, false) => Wire::V3,
            (Version::V3, true) => Wire::V3Text,
        }
    }
}

impl Attachment {
    fn new(data: Bytes) -> Self {
        let len = data.len();
        let (v4, v3) = (Prefix::new(len, &[]), Prefix::new(len, &[MESSAGE_TYPE]));
        Self { v4, v3, webtransport: Prefix::of_length(len), data }
    }

    fn prefix(&self, wire: Wire) -> &[u8] {
        match wire {
            Wire::V4 => self.v4.as_slice(),
            Wire::V3 | Wire::V3Text => self.v3.as_slice(),
            Wire::WebTransport => self.webtransport.as_slice(),
        }
    }
}

/// The type byte of a message packet in an Engine.IO v3 binary frame.
const MESSAGE_TYPE: u8 = 4;

impl Frame {
    /// A buffer to write a message's text into, for [`Frame::seal`].
    pub(crate) fn buffer(capacity: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEADROOM + 1 + capacity);
        head.resize(HEADROOM, 0);
        head.push(b'4');
        head
    }

    /// Frames what was written behind [`Frame::buffer`], followed by its attachments.
    pub(crate) fn seal(mut head: Vec<u8>, attachments: impl IntoIterator<Item = Bytes>) -> Self {
        let packet_at = HEADROOM;
        let mut header = [0; HEADROOM];
        let len = websocket::encode_header(Opcode::Text, head.len() - packet_at, &mut header);
        let header_at = HEADROOM - len;
        head[header_at..HEADROOM].copy_from_slice(&header[..len]);
        Self::assemble(head, header_at, packet_at, attachments)
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
        let size = head.len() + attachments.iter().map(|part| HEADROOM + part.data.len()).sum::<usize>();
        let as_text = OnceLock::new();
        Self(Arc::new(Inner { head, header_at, packet_at, attachments, as_text, size, compress: true }))
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
            as_text: OnceLock::new(),
            size: *size,
            compress: false,
        }))
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
        wire: Wire,
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
        if wire == Wire::V3Text && !self.0.attachments.is_empty() {
            return add(self.as_text());
        }
        add(self.head(wire)) && self.0.attachments.iter().all(|part| add(part.prefix(wire)) && add(&part.data))
    }

    /// The text with its header. That of a WebTransport text is the second byte of a WebSocket's and what follows.
    fn head(&self, wire: Wire) -> &[u8] {
        let head = &self.0.head[self.0.header_at..];
        match wire {
            Wire::WebTransport => head.get(1..).unwrap_or_default(),
            _ => head,
        }
    }

    fn as_text(&self) -> &[u8] {
        self.0.as_text.get_or_init(|| {
            let mut out = self.0.head[self.0.header_at..].to_vec();
            for part in &self.0.attachments {
                let mut packet = Vec::new();
                Packet::Message(Message::Binary(part.data.clone())).encode_text(Version::V3, &mut packet);
                out.extend_from_slice(&websocket::frame(Opcode::Text, &packet));
            }
            out.into()
        })
    }

    /// How many bytes a client gets.
    pub(crate) fn wire_len(&self, wire: Wire) -> usize {
        if wire == Wire::V3Text && !self.0.attachments.is_empty() {
            return self.as_text().len();
        }
        let attachments = self.0.attachments.iter().map(|part| part.prefix(wire).len() + part.data.len());
        self.head(wire).len() + attachments.sum::<usize>()
    }

    /// Adds the packet to a polling body.
    pub(crate) fn write_payload(&self, payload: &mut PayloadEncoder) {
        if let Some(packet) = self.0.head.get(self.0.packet_at..).filter(|packet| !packet.is_empty()) {
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

/// How many pieces one `writev` takes: past some dozens the kernel's cost per piece stays the same.
pub(crate) const MAX_SLICES: usize = 64;

#[cfg(test)]
mod tests {
    use socketio_protocol::engine;

    use super::*;

    fn wire(frame: &Frame, wire: Wire, skip: usize) -> Vec<u8> {
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
