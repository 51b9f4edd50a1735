//! Without a sticky proxy: a server that is asked for a session of another one asks it, over Redis.
//!
//! The messages are those of `@socket.io/cluster-engine` (its `RedisEngine`), MessagePack maps on `engine.io#` for all and
//! `engine.io#NODE#` for one: who may read from or write to the session, what is to be answered to a poll or written to a
//! WebSocket, what a client has sent, and that it has changed to a WebSocket elsewhere. Servers of ours say a word more,
//! which those of Node.js do not read: who asks with `more` is also told by those who have not the session.

use bytes::Bytes;
use bytestring::ByteString;

use super::{MessageError, parts, reader::Reader};
use crate::engine::{Message, Packet};

/// What the names of channels begin with if not told otherwise.
pub const DEFAULT_PREFIX: &str = "engine.io";

/// The channel of one server, or of all.
///
/// ```
/// use socketio_protocol::cluster::sessions::{DEFAULT_PREFIX, channel};
///
/// assert_eq!(channel(DEFAULT_PREFIX, Some("node-1")), "engine.io#node-1#");
/// assert_eq!(channel(DEFAULT_PREFIX, None), "engine.io#");
/// ```
pub fn channel(prefix: &str, node: Option<&str>) -> String {
    match node {
        Some(node) => format!("{prefix}#{node}#"),
        None => format!("{prefix}#"),
    }
}

/// What one server says to another about a session.
///
/// ```
/// use socketio_protocol::cluster::sessions::{Notice, NoticeBody};
///
/// let body = NoticeBody::Ask { request: 1, sid: "abc".into(), transport: "polling".into(), reads: true, more: true };
/// let question = Notice { sender: "node-1".into(), recipient: None, body };
/// assert_eq!(Notice::decode(&question.encode())?, Some(question));
/// # Ok::<_, socketio_protocol::cluster::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The server that says it.
    pub sender: String,
    /// To whom; to all if it is not known who has the session.
    pub recipient: Option<String>,
    /// What.
    pub body: NoticeBody,
}

/// See [`Notice`].
///
/// ```
/// use socketio_protocol::cluster::sessions::{Notice, NoticeBody};
///
/// /// Yes, the session is here.
/// fn answer(question: Notice, own: &str) -> Option<Notice> {
///     let NoticeBody::Ask { request, .. } = question.body else { return None };
///     let body = NoticeBody::Answer { request, success: true, known: true };
///     Some(Notice { sender: own.to_owned(), recipient: Some(question.sender), body })
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeBody {
    /// A client of this session is here, and reads by a GET, writes by a POST, or wants to change to a WebSocket.
    Ask {
        /// Repeated by the answer.
        request: u64,
        /// The session.
        sid: String,
        /// By which transport.
        transport: String,
        /// Whether it reads.
        reads: bool,
        /// Whether those who have not the session say so.
        more: bool,
    },
    /// Whether it may.
    Answer {
        /// Of the question.
        request: u64,
        /// Whether it may.
        success: bool,
        /// Whether the session is there. Only who asks for more is told that it is not.
        known: bool,
    },
    /// The poll that waits is answered with these, or they are written to the WebSocket.
    Drain {
        /// The session.
        sid: String,
        /// In order.
        packets: Vec<Packet>,
    },
    /// The client has sent this.
    Posted {
        /// The session.
        sid: String,
        /// One of them.
        packet: Packet,
    },
    /// The client has changed to the WebSocket that was asked about; or it has not, and will not.
    Upgrade {
        /// Repeated by the answer.
        request: u64,
        /// The session.
        sid: String,
        /// Whether it has.
        success: bool,
    },
    /// What becomes of the session whose client has changed.
    Upgraded {
        /// Of the change.
        request: u64,
        /// It goes to the server that has the WebSocket. Servers of ours keep theirs.
        take_over: bool,
        /// What the client has sent before, if it goes.
        packets: Vec<Packet>,
    },
    /// The request of the client broke, or its WebSocket was closed.
    Closed {
        /// The session.
        sid: String,
    },
}

/// What marks a message as one of these.
const SOURCE: &str = "_eio";

impl Notice {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (kind, request) = match &self.body {
            NoticeBody::Ask { request, .. } => (0, Some(*request)),
            NoticeBody::Answer { request, .. } => (1, Some(*request)),
            NoticeBody::Drain { .. } => (2, None),
            NoticeBody::Posted { .. } => (3, None),
            NoticeBody::Upgrade { request, .. } => (4, Some(*request)),
            NoticeBody::Upgraded { request, .. } => (5, Some(*request)),
            NoticeBody::Closed { .. } => (6, None),
        };
        let entries = 4 + u32::from(request.is_some()) + u32::from(self.recipient.is_some());
        parts::write_map(&mut out, entries);
        if let Some(request) = request {
            parts::write_text(&mut out, "requestId");
            parts::write_uint(&mut out, request);
        }
        parts::write_text(&mut out, "senderId");
        parts::write_text(&mut out, &self.sender);
        if let Some(recipient) = &self.recipient {
            parts::write_text(&mut out, "recipientId");
            parts::write_text(&mut out, recipient);
        }
        parts::write_text(&mut out, "type");
        parts::write_uint(&mut out, kind);
        parts::write_text(&mut out, "data");
        self.body.write(&mut out);
        parts::write_text(&mut out, "_source");
        parts::write_text(&mut out, SOURCE);
        out
    }

    /// Reads what travelled. `None` when it is not one of these, or one that is not used.
    ///
    /// # Errors
    ///
    /// When it is not as these servers write it; it is to be ignored.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, MessageError> {
        let mut reader = Reader::new(payload);
        let (mut kind, mut request, mut sender, mut recipient, mut data, mut source) =
            (None, None, None, None, None, None);
        for _ in 0..reader.map()? {
            match reader.text()? {
                "type" => kind = reader.unsigned()?,
                "requestId" => request = reader.unsigned()?,
                "senderId" => sender = reader.optional_text()?.map(str::to_owned),
                "recipientId" => recipient = reader.optional_text()?.map(str::to_owned),
                "data" => data = Some(reader.raw()?),
                "_source" => source = reader.optional_text()?,
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        if source != Some(SOURCE) {
            return Ok(None);
        }
        let missing = |part| MessageError::Missing { part };
        let kind = kind.ok_or(missing("type"))?;
        let data = Data::read(data.ok_or(missing("data"))?)?;
        let sid = data.sid.ok_or(missing("sid"));
        let body = match kind {
            0 => NoticeBody::Ask {
                request: request.ok_or(missing("requestId"))?,
                sid: sid?,
                transport: data.transport.ok_or(missing("transportName"))?,
                reads: data.reads,
                more: data.more,
            },
            1 => NoticeBody::Answer {
                request: request.ok_or(missing("requestId"))?,
                success: data.success,
                known: !data.unknown,
            },
            2 => NoticeBody::Drain { sid: sid?, packets: data.packets },
            3 => {
                let packet = data.packets.into_iter().next().ok_or(missing("packet"))?;
                NoticeBody::Posted { sid: sid?, packet }
            }
            4 => {
                NoticeBody::Upgrade { request: request.ok_or(missing("requestId"))?, sid: sid?, success: data.success }
            }
            5 => NoticeBody::Upgraded {
                request: request.ok_or(missing("requestId"))?,
                take_over: data.take_over,
                packets: data.packets,
            },
            6 => NoticeBody::Closed { sid: sid? },
            _ => return Ok(None),
        };
        Ok(Some(Self { sender: sender.ok_or(missing("senderId"))?, recipient, body }))
    }
}

impl NoticeBody {
    fn write(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, key: &str, value: &str| {
            parts::write_text(out, key);
            parts::write_text(out, value);
        };
        let flag = |out: &mut Vec<u8>, key: &str, value: bool| {
            parts::write_text(out, key);
            parts::write_bool(out, value);
        };
        match self {
            NoticeBody::Ask { sid, transport, reads, more, .. } => {
                parts::write_map(out, 3 + u32::from(*more));
                text(out, "sid", sid);
                text(out, "transportName", transport);
                text(out, "type", if *reads { "read" } else { "write" });
                if *more {
                    flag(out, "more", true);
                }
            }
            NoticeBody::Answer { success, known, .. } => {
                parts::write_map(out, 1 + u32::from(!known));
                flag(out, "success", *success);
                if !known {
                    flag(out, "unknown", true);
                }
            }
            NoticeBody::Drain { sid, packets } => {
                parts::write_map(out, 2);
                text(out, "sid", sid);
                write_packets(out, packets);
            }
            NoticeBody::Upgrade { sid, success, .. } => {
                parts::write_map(out, 2);
                text(out, "sid", sid);
                flag(out, "success", *success);
            }
            NoticeBody::Upgraded { take_over, packets, .. } => {
                parts::write_map(out, 2);
                flag(out, "takeOver", *take_over);
                write_packets(out, packets);
            }
            NoticeBody::Posted { sid, packet } => {
                parts::write_map(out, 2);
                text(out, "sid", sid);
                parts::write_text(out, "packet");
                write_packet(out, packet);
            }
            NoticeBody::Closed { sid } => {
                parts::write_map(out, 2);
                text(out, "sid", sid);
                text(out, "reason", "transport close");
            }
        }
    }
}

#[derive(Default)]
struct Data {
    sid: Option<String>,
    transport: Option<String>,
    reads: bool,
    success: bool,
    more: bool,
    unknown: bool,
    take_over: bool,
    packets: Vec<Packet>,
}

impl Data {
    fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        let (mut reader, mut data) = (Reader::new(bytes), Self::default());
        for _ in 0..reader.map()? {
            match reader.text()? {
                "sid" => data.sid = reader.optional_text()?.map(str::to_owned),
                "transportName" => data.transport = reader.optional_text()?.map(str::to_owned),
                "type" => data.reads = reader.optional_text()? == Some("read"),
                "success" => data.success = reader.boolean()?.unwrap_or(false),
                "more" => data.more = reader.boolean()?.unwrap_or(false),
                "unknown" => data.unknown = reader.boolean()?.unwrap_or(false),
                "takeOver" => data.take_over = reader.boolean()?.unwrap_or(false),
                "packet" => data.packets = vec![read_packet(&mut reader)?],
                "packets" => {
                    for _ in 0..reader.array()? {
                        data.packets.push(read_packet(&mut reader)?);
                    }
                }
                _ => reader.skip()?,
            }
        }
        Ok(data)
    }
}

fn write_packets(out: &mut Vec<u8>, packets: &[Packet]) {
    parts::write_text(out, "packets");
    out.push(0xdd);
    out.extend_from_slice(&(packets.len() as u32).to_be_bytes());
    packets.iter().for_each(|packet| write_packet(out, packet));
}

/// `{type, data}`, as `engine.io-parser` has it.
fn write_packet(out: &mut Vec<u8>, packet: &Packet) {
    let (name, data) = match packet {
        Packet::Open(data) => ("open", Some(data)),
        Packet::Close => ("close", None),
        Packet::Ping(data) => ("ping", Some(data)),
        Packet::Pong(data) => ("pong", Some(data)),
        Packet::Upgrade => ("upgrade", None),
        Packet::Noop => ("noop", None),
        Packet::Message(Message::Text(text)) => ("message", Some(text)),
        Packet::Message(Message::Binary(bytes)) => {
            parts::write_map(out, 2);
            parts::write_text(out, "type");
            parts::write_text(out, "message");
            parts::write_text(out, "data");
            out.push(0xc6);
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(bytes);
            return;
        }
    };
    let data = data.filter(|data| !data.is_empty() || name == "message");
    parts::write_map(out, 1 + u32::from(data.is_some()));
    parts::write_text(out, "type");
    parts::write_text(out, name);
    if let Some(data) = data {
        parts::write_text(out, "data");
        parts::write_text(out, data);
    }
}

fn read_packet(reader: &mut Reader<'_>) -> Result<Packet, MessageError> {
    let (mut name, mut data) = (None, None);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "type" => name = reader.optional_text()?,
            "data" => data = read_content(reader)?,
            _ => reader.skip()?,
        }
    }
    let text = |data: Option<Message>| match data {
        Some(Message::Text(text)) => text,
        _ => ByteString::default(),
    };
    Ok(match name {
        Some("open") => Packet::Open(text(data)),
        Some("close") => Packet::Close,
        Some("ping") => Packet::Ping(text(data)),
        Some("pong") => Packet::Pong(text(data)),
        Some("upgrade") => Packet::Upgrade,
        Some("noop") => Packet::Noop,
        Some("message") => Packet::Message(data.unwrap_or(Message::Text(ByteString::default()))),
        _ => return Err(MessageError::Wrong { part: "packet", reason: "of no known type".into() }),
    })
}

/// Text or bytes; `None` for anything else.
fn read_content(reader: &mut Reader<'_>) -> Result<Option<Message>, MessageError> {
    let mut ahead = *reader;
    if let Ok(text) = ahead.text() {
        *reader = ahead;
        return Ok(Some(Message::Text(text.into())));
    }
    let raw = reader.raw()?;
    let head = match raw.first() {
        Some(0xc4) => 2,
        Some(0xc5) => 3,
        Some(0xc6) => 5,
        _ => return Ok(None),
    };
    Ok(raw.get(head..).map(|bytes| Message::Binary(Bytes::copy_from_slice(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> Vec<NoticeBody> {
        let sid = || "abcdefghijklmnopqrst".to_owned();
        let packets = vec![
            Packet::Message(Message::Text("2[\"é\"]".into())),
            Packet::Message(Message::Text("".into())),
            Packet::Message(Message::Binary(Bytes::from_static(&[1, 2, 255]))),
            Packet::Ping("".into()),
            Packet::Pong("probe".into()),
            Packet::Noop,
            Packet::Close,
        ];
        let mut bodies = vec![
            NoticeBody::Ask { request: 1, sid: sid(), transport: "polling".into(), reads: true, more: false },
            NoticeBody::Ask { request: 300, sid: sid(), transport: "websocket".into(), reads: false, more: true },
            NoticeBody::Answer { request: 1, success: true, known: true },
            NoticeBody::Answer { request: 1, success: false, known: false },
            NoticeBody::Upgrade { request: 7, sid: sid(), success: true },
            NoticeBody::Upgrade { request: 7, sid: sid(), success: false },
            NoticeBody::Upgraded { request: 7, take_over: false, packets: vec![] },
            NoticeBody::Upgraded { request: 7, take_over: true, packets: packets.clone() },
            NoticeBody::Drain { sid: sid(), packets: packets.clone() },
            NoticeBody::Drain { sid: sid(), packets: vec![] },
            NoticeBody::Closed { sid: sid() },
        ];
        bodies.extend(packets.into_iter().map(|packet| NoticeBody::Posted { sid: sid(), packet }));
        bodies
    }

    #[test]
    fn every_notice_reads_as_it_was_written_and_none_that_is_cut() {
        for body in bodies() {
            for recipient in [None, Some("a1b2c3".to_owned())] {
                let notice = Notice { sender: "d4e5f6".into(), recipient, body: body.clone() };
                let bytes = notice.encode();
                assert_eq!(Notice::decode(&bytes), Ok(Some(notice)));
                for cut in 0..bytes.len() {
                    assert!(Notice::decode(&bytes[..cut]).is_err(), "{body:?} cut to {cut}");
                }
            }
        }
    }

    #[test]
    fn what_node_js_writes_is_read() {
        // encode({requestId: 1, senderId: "a1b2c3", type: 0, data: {sid: "s", transportName: "polling", type: "read"},
        // _source: "_eio"})
        let ask = b"\x85\xa9requestId\x01\xa8senderId\xa6a1b2c3\xa4type\x00\xa4data\x83\xa3sid\xa1s\xadtransportName\
            \xa7polling\xa4type\xa4read\xa7_source\xa4_eio";
        let (sid, transport) = ("s".into(), "polling".into());
        let body = NoticeBody::Ask { request: 1, sid, transport, reads: true, more: false };
        assert_eq!(Notice::decode(ask), Ok(Some(Notice { sender: "a1b2c3".into(), recipient: None, body })));
        let other = b"\x82\xa4type\x00\xa4data\x80";
        assert_eq!(Notice::decode(other), Ok(None));
    }
}
