//! Reading frames, and joining them into messages.
//!
//! [`Decoder`] works on the front of the connection's read buffer. A frame that is complete there is unmasked in
//! place and split off without a copy. Of one that is not, the header is taken and the bytes of its payload that have
//! come are unmasked and, in a text, looked at; they stay in the buffer until the rest is there. Bytes that come slowly
//! cost no more than bytes that come at once, and nothing is reserved because a length was announced. Only a message in
//! several frames is copied, to join it. One that is compressed is inflated when all of it is there.
//!
//! RFC 6455, sections 5 and 8.1; RFC 7692, section 6.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use super::frame::{COMPRESSED, FIN, MASKED, RESERVED, apply_mask};
use super::utf8::{Invalid, Utf8};
use super::{CloseFrame, Codec, MAX_CONTROL, Opcode, WsError};

/// Which side of the connection reads.
///
/// ```
/// use socketio_protocol::websocket::{Decoder, Opcode, Role, WsError, frame};
///
/// let unmasked = frame(Opcode::Text, b"hi");
/// assert!(Decoder::new(Role::Client, 100).decode(&mut (&unmasked[..]).into()).is_ok());
/// assert_eq!(Decoder::new(Role::Server, 100).decode(&mut (&unmasked[..]).into()), Err(WsError::Unmasked));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what a client sent: masked.
    Server,
    /// Reads what a server sent: not masked.
    Client,
}

/// What the peer said. Messages are whole, however many frames they came in.
///
/// ```
/// use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
///
/// let mut buf = (&masked_frame(Opcode::Ping, b"there?", [1, 2, 3, 4])[..]).into();
/// let event = Decoder::new(Role::Server, 100).decode(&mut buf)?;
/// assert_eq!(event, Some(Event::Ping("there?".into())));
/// # Ok::<_, socketio_protocol::websocket::WsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
    /// To be answered with a pong of the same payload.
    Ping(Bytes),
    /// To be ignored, unless a ping was sent.
    Pong(Bytes),
    /// The peer will send no more; to be answered with a close frame. What follows is dropped.
    Close(Option<CloseFrame>),
}

/// Reads one connection's frames. It holds no memory but while a message in several frames comes.
///
/// A message that comes in pieces is given when it is whole:
///
/// ```
/// use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
///
/// let bytes = masked_frame(Opcode::Text, "héllo".as_bytes(), [1, 2, 3, 4]);
/// let mut decoder = Decoder::new(Role::Server, 1_000_000);
/// let mut buf = (&bytes[..8]).into();
/// assert_eq!(decoder.decode(&mut buf), Ok(None));
/// buf.extend_from_slice(&bytes[8..]);
/// assert_eq!(decoder.decode(&mut buf), Ok(Some(Event::Text("héllo".into()))));
/// ```
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    max_message: usize,
    max_frames: u16,
    /// Inflates messages, if it was agreed that they may be compressed.
    codec: Option<Arc<Codec>>,
    /// The frame whose header has been taken off the buffer.
    frame: Option<Frame>,
    /// The message whose first frames have come.
    message: Option<Message>,
    /// Set once there is nothing more to read: a close came, or an error.
    end: Option<Result<(), WsError>>,
}

/// A frame whose payload is, in part, at the front of the buffer.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// It begins a compressed message.
    compressed: bool,
    mask: [u8; 4],
    len: usize,
    /// How many bytes of the payload have come and been unmasked and looked at.
    seen: usize,
    /// What is known of the text up to there. Unused in other frames.
    utf8: Utf8,
}

impl Frame {
    /// Whether it is only a part of a message.
    fn is_part(&self) -> bool {
        !self.fin || self.opcode == Opcode::Continuation
    }
}

/// A message in several frames, so far.
#[derive(Debug)]
struct Message {
    is_text: bool,
    compressed: bool,
    frames: u16,
    utf8: Utf8,
    payload: Vec<u8>,
}

impl Decoder {
    /// A decoder at the beginning of a connection. Messages of more than `max_message` bytes are an error.
    pub fn new(role: Role, max_message: usize) -> Decoder {
        Decoder { role, max_message, max_frames: MAX_FRAMES, codec: None, frame: None, message: None, end: None }
    }

    /// The same decoder for messages of at most `frames` frames; 1,024 if nothing is said. Each frame costs us more than
    /// it costs to send.
    #[must_use]
    pub fn max_frames(self, frames: u16) -> Decoder {
        Decoder { max_frames: frames.max(1), ..self }
    }

    /// Has messages that are compressed inflated, where that was agreed. Inflated they may be as long as others.
    pub fn with_codec(self, codec: Option<Arc<Codec>>) -> Decoder {
        Decoder { codec, ..self }
    }

    /// Takes the next message, ping, pong or close off the front of `buf`; `None` if more bytes are needed.
    ///
    /// `buf` must be the same every time: what is left in it is the beginning of a frame, part of it unmasked. It may
    /// be moved to other memory between calls, and bytes may be added at its end. Payloads share its memory.
    ///
    /// # Errors
    ///
    /// [`WsError`], as soon as that is certain: for text that is not UTF-8 with the first byte that cannot be, for a
    /// message that is too long with the header that says so. Every later call gives the same error.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
    ///
    /// let mut decoder = Decoder::new(Role::Server, 1_000_000);
    /// let sent = masked_frame(Opcode::Text, b"2probe", [1, 2, 3, 4]);
    /// let mut buf = BytesMut::from(&sent[..5]);
    /// assert_eq!(decoder.decode(&mut buf), Ok(None));
    /// buf.extend_from_slice(&sent[5..]);
    /// assert_eq!(decoder.decode(&mut buf), Ok(Some(Event::Text("2probe".into()))));
    /// ```
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Event>, WsError> {
        if let Some(end) = self.end {
            buf.clear();
            return end.map(|()| None);
        }
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header(buf) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Ok(None),
                    Err(error) => return self.fail(error),
                },
            };
            if buf.len() < frame.len {
                return match self.look(frame, buf) {
                    Ok(frame) => {
                        self.frame = Some(frame);
                        Ok(None)
                    }
                    Err(error) => self.fail(error),
                };
            }
            if frame.is_part() {
                match self.join(frame, buf) {
                    Ok(None) => continue,
                    Ok(event) => return Ok(event),
                    Err(error) => return self.fail(error),
                }
            }
            let mut payload = buf.split_to(frame.len);
            self.unmask(&frame, &mut payload);
            let mut payload = payload.freeze();
            if frame.compressed {
                payload = match self.inflate(&payload) {
                    Ok(inflated) => inflated,
                    Err(error) => return self.fail(error),
                };
            }
            return match frame.opcode {
                Opcode::Text => match ByteString::try_from(payload) {
                    Ok(text) => Ok(Some(Event::Text(text))),
                    Err(_) => self.fail(WsError::InvalidUtf8),
                },
                Opcode::Ping => Ok(Some(Event::Ping(payload))),
                Opcode::Pong => Ok(Some(Event::Pong(payload))),
                Opcode::Close => match close(payload) {
                    Ok(frame) => {
                        self.end = Some(Ok(()));
                        Ok(Some(Event::Close(frame)))
                    }
                    Err(error) => self.fail(error),
                },
                Opcode::Binary | Opcode::Continuation => Ok(Some(Event::Binary(payload))),
            };
        }
    }

    /// Whether nothing has been begun: an empty buffer can be given back.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    #[cold]
    fn fail(&mut self, error: WsError) -> Result<Option<Event>, WsError> {
        self.end = Some(Err(error));
        Err(error)
    }

    /// Takes a header off the buffer, if it is all there, and checks all that it can be checked for.
    #[inline]
    fn header(&self, buf: &mut BytesMut) -> Result<Option<Frame>, WsError> {
        let Some(&first) = buf.first() else {
            return Ok(None);
        };
        let fin = first & FIN != 0;
        let opcode = Opcode::from_bits(first & 0x0f);
        let compressed = first & RESERVED != 0;
        if compressed && !(first & RESERVED == COMPRESSED && self.codec.is_some() && starts_message(opcode)) {
            return Err(WsError::ReservedBits(first & RESERVED));
        }
        let opcode = opcode.ok_or(WsError::ReservedOpcode(first & 0x0f))?;
        match (opcode, &self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if !fin => return Err(WsError::FragmentedControl),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(WsError::UnfinishedMessage),
            (Opcode::Continuation, None) => return Err(WsError::UnexpectedContinuation),
            (Opcode::Continuation, Some(message)) if message.frames >= self.max_frames => {
                return Err(WsError::TooManyFragments { max: self.max_frames });
            }
            _ => {}
        }
        let Some(&second) = buf.get(1) else {
            return Ok(None);
        };
        match (self.role, second & MASKED != 0) {
            (Role::Server, false) => return Err(WsError::Unmasked),
            (Role::Client, true) => return Err(WsError::Masked),
            _ => {}
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(WsError::LongControl);
        }
        let (len, mut header) = match short {
            126 => match buf.get(2..4).and_then(|len| len.try_into().ok()) {
                Some(len) => match u64::from(u16::from_be_bytes(len)) {
                    len @ 0..126 => return Err(WsError::NonMinimalLength(len)),
                    len => (len, 4),
                },
                None => return Ok(None),
            },
            127 => match buf.get(2..10).and_then(|len| len.try_into().ok()) {
                Some(len) => match u64::from_be_bytes(len) {
                    len @ 0..=0xffff => return Err(WsError::NonMinimalLength(len)),
                    len if len >> 63 != 0 => return Err(WsError::LengthTopBit),
                    len => (len, 10),
                },
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if !opcode.is_control() {
            let before = self.message.as_ref().map_or(0, |message| message.payload.len());
            let announced = before as u64 + len;
            if announced > self.max_message as u64 {
                return Err(WsError::TooBig { announced, max: self.max_message });
            }
        }
        let mask = match self.role {
            Role::Client => [0; 4],
            Role::Server => match buf.get(header..header + 4).and_then(|mask| mask.try_into().ok()) {
                Some(mask) => {
                    header += 4;
                    mask
                }
                None => return Ok(None),
            },
        };
        buf.advance(header);
        let utf8 = match (opcode, &self.message) {
            (Opcode::Continuation, Some(message)) => message.utf8,
            _ => Utf8::default(),
        };
        // No longer than `max_message`, or than 125.
        Ok(Some(Frame { opcode, fin, compressed, mask, len: len as usize, seen: 0, utf8 }))
    }

    /// Unmasks what has newly come of the payload, and looks whether it can be text.
    fn look(&self, mut frame: Frame, buf: &mut [u8]) -> Result<Frame, WsError> {
        let end = frame.len.min(buf.len());
        self.unmask(&frame, &mut buf[..end]);
        let is_text = match (frame.opcode, &self.message) {
            (Opcode::Text, _) => !frame.compressed,
            (Opcode::Continuation, Some(message)) => message.is_text && !message.compressed,
            _ => false,
        };
        if is_text {
            frame.utf8.push(&buf[frame.seen..end]).map_err(|Invalid| WsError::InvalidUtf8)?;
        }
        frame.seen = end;
        Ok(frame)
    }

    /// Unmasks what has newly come of the payload.
    fn unmask(&self, frame: &Frame, payload: &mut [u8]) {
        if self.role == Role::Server {
            let turned = u32::from_be_bytes(frame.mask).rotate_left(8 * (frame.seen % 4) as u32);
            apply_mask(&mut payload[frame.seen..], turned.to_be_bytes());
        }
    }

    /// Takes a frame off the buffer that is not a message by itself, and gives the message it ends, if it does.
    fn join(&mut self, frame: Frame, buf: &mut BytesMut) -> Result<Option<Event>, WsError> {
        let frame = self.look(frame, buf)?;
        let message = self.message.get_or_insert_with(|| Message {
            is_text: frame.opcode == Opcode::Text,
            compressed: frame.compressed,
            frames: 0,
            utf8: Utf8::default(),
            payload: Vec::new(),
        });
        message.frames += 1;
        message.utf8 = frame.utf8;
        message.payload.extend_from_slice(&buf[..frame.len]);
        buf.advance(frame.len);
        if !frame.fin {
            return Ok(None);
        }
        let (is_text, compressed) = (message.is_text, message.compressed);
        let mut payload = Bytes::from(std::mem::take(&mut message.payload));
        self.message = None;
        if compressed {
            payload = self.inflate(&payload)?;
        }
        Ok(Some(match is_text {
            true => Event::Text(ByteString::try_from(payload).map_err(|_| WsError::InvalidUtf8)?),
            false => Event::Binary(payload),
        }))
    }

    fn inflate(&self, payload: &[u8]) -> Result<Bytes, WsError> {
        match &self.codec {
            Some(codec) => codec.inflate(payload, self.max_message).map(Bytes::from),
            None => Err(WsError::BadDeflate), // The header has been refused.
        }
    }
}

fn starts_message(opcode: Option<Opcode>) -> bool {
    matches!(opcode, Some(Opcode::Text | Opcode::Binary))
}

fn close(mut payload: Bytes) -> Result<Option<CloseFrame>, WsError> {
    match payload.len() {
        0 => return Ok(None),
        1 => return Err(WsError::ShortClose),
        _ => {}
    }
    let code = payload.get_u16();
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(WsError::BadCloseCode(code));
    }
    let reason = ByteString::try_from(payload).map_err(|_| WsError::InvalidUtf8)?;
    Ok(Some(CloseFrame { code, reason }))
}

/// A message in more frames than this is an attack: each costs us more than it costs to send.
const MAX_FRAMES: u16 = 1024;

#[cfg(all(test, feature = "deflate"))]
mod compressed_tests;
#[cfg(test)]
mod tests;
