//! What a packet is, whichever parser wrote it.

use bytestring::ByteString;

use super::codec::check_payload;
use super::{Args, DecodeError};

/// One Socket.IO packet, its attachments already with its payload.
///
/// ```
/// use socketio_protocol::socket::{Args, Kind, Packet, encode_packet};
///
/// let question = Packet::new(Kind::Event, "/chat", Args::new_event("name?", &())?).with_id(7);
/// let mut text = Vec::new();
/// encode_packet(&mut text, &question)?;
/// assert_eq!(text, br#"2/chat,7["name?"]"#);
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// What happens.
    pub kind: Kind,
    /// The namespace; `/` when the text names none. In protocol v5 a `?query` is part of it. It may share the memory of
    /// the text; copy it to keep it for long.
    pub nsp: ByteString,
    /// The ack id: the sender of an event wants an answer under it, an ack answers it.
    pub id: Option<u64>,
    /// The payload: for an event `[name, …arguments]`, for an ack its arguments, otherwise one value or nothing.
    pub data: Args,
}

impl Packet {
    /// A packet without an ack id.
    pub fn new(kind: Kind, nsp: impl Into<ByteString>, data: Args) -> Self {
        Packet { kind, nsp: nsp.into(), id: None, data }
    }

    /// The same packet with ack id `id`.
    #[must_use]
    pub fn with_id(mut self, id: u64) -> Self {
        self.id = Some(id);
        self
    }

    /// The same packet, if it is one that a client may send: for whoever reads packets in a format of their own.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the namespace does not begin with a slash or contains a comma, when the payload is not what
    /// such a packet carries, or when the name of the event is reserved.
    ///
    /// ```
    /// use socketio_protocol::socket::{Args, DecodeError, Kind, Packet};
    ///
    /// let event = |name| Packet::new(Kind::Event, "/", Args::new_event(name, &1).unwrap());
    /// assert!(event("move").checked().is_ok());
    /// assert!(matches!(event("connect").checked(), Err(DecodeError::ReservedEvent { .. })));
    /// assert_eq!(Packet::new(Kind::Connect, "admin", Args::none()).checked(), Err(DecodeError::InvalidNamespace));
    /// ```
    pub fn checked(mut self) -> Result<Self, DecodeError> {
        if !self.nsp.starts_with('/') || self.nsp.contains(',') {
            return Err(DecodeError::InvalidNamespace);
        }
        check_payload(self.kind, &mut self.data)?;
        Ok(self)
    }
}

/// What a packet is about. Whether attachments follow is a matter of writing, see [`PacketType`].
///
/// ```
/// use socketio_protocol::socket::{Decoder, Kind, Limits};
///
/// let packet = Decoder::new(Limits::default()).text("1/admin,".into())?.expect("it is whole");
/// assert_eq!((packet.kind, &*packet.nsp), (Kind::Disconnect, "/admin"));
/// # Ok::<_, socketio_protocol::socket::DecodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client enters a namespace, or the server confirms it.
    Connect,
    /// Either side leaves a namespace.
    Disconnect,
    /// A named event with arguments.
    Event,
    /// The answer to an event that carried an id.
    Ack,
    /// The server refuses a [`Kind::Connect`].
    ConnectError,
}

impl Kind {
    /// All of them, in the order of the numbers that parsers give them.
    pub const ALL: [Kind; 5] = [Kind::Connect, Kind::Disconnect, Kind::Event, Kind::Ack, Kind::ConnectError];
}

/// The type digit of the default parser.
///
/// ```
/// use socketio_protocol::socket::{Kind, PacketType};
///
/// assert_eq!(PacketType::of(Kind::Event, true), PacketType::BinaryEvent);
/// assert_eq!(PacketType::from_digit(b'6').map(PacketType::kind), Some(Kind::Ack));
/// assert_eq!(PacketType::Connect.digit(), b'0');
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// `0`
    Connect = 0,
    /// `1`
    Disconnect = 1,
    /// `2`
    Event = 2,
    /// `3`
    Ack = 3,
    /// `4`
    ConnectError = 4,
    /// `5`: an event whose attachments follow.
    BinaryEvent = 5,
    /// `6`: an ack whose attachments follow.
    BinaryAck = 6,
}

impl PacketType {
    /// The type whose digit is `byte`.
    pub fn from_digit(byte: u8) -> Option<Self> {
        Some(match byte {
            b'0' => PacketType::Connect,
            b'1' => PacketType::Disconnect,
            b'2' => PacketType::Event,
            b'3' => PacketType::Ack,
            b'4' => PacketType::ConnectError,
            b'5' => PacketType::BinaryEvent,
            b'6' => PacketType::BinaryAck,
            _ => return None,
        })
    }

    /// The digit on the wire.
    pub fn digit(self) -> u8 {
        b'0' + self as u8
    }

    /// The type for writing `kind`, with attachments or without.
    ///
    /// Only events and acks have attachments; for the other kinds `binary` changes nothing.
    pub fn of(kind: Kind, binary: bool) -> Self {
        match (kind, binary) {
            (Kind::Connect, _) => PacketType::Connect,
            (Kind::Disconnect, _) => PacketType::Disconnect,
            (Kind::Event, false) => PacketType::Event,
            (Kind::Event, true) => PacketType::BinaryEvent,
            (Kind::Ack, false) => PacketType::Ack,
            (Kind::Ack, true) => PacketType::BinaryAck,
            (Kind::ConnectError, _) => PacketType::ConnectError,
        }
    }

    /// What a packet of this type is about.
    pub fn kind(self) -> Kind {
        match self {
            PacketType::Connect => Kind::Connect,
            PacketType::Disconnect => Kind::Disconnect,
            PacketType::Event | PacketType::BinaryEvent => Kind::Event,
            PacketType::Ack | PacketType::BinaryAck => Kind::Ack,
            PacketType::ConnectError => Kind::ConnectError,
        }
    }

    /// Whether attachments follow.
    pub fn is_binary(self) -> bool {
        matches!(self, PacketType::BinaryEvent | PacketType::BinaryAck)
    }
}

/// The event names that the libraries use for their own news; nobody may send them.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether `event` is one of [`RESERVED_EVENTS`].
///
/// ```
/// use socketio_protocol::socket::is_reserved;
///
/// assert!(is_reserved("disconnect"));
/// assert!(!is_reserved("chat message"));
/// ```
pub fn is_reserved(event: &str) -> bool {
    // A length tells most names apart at once.
    matches!(event.len(), 7 | 10 | 11 | 13 | 14) && RESERVED_EVENTS.contains(&event)
}
