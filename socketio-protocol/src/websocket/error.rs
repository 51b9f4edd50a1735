//! What is wrong with what the other side sent.

/// Why the bytes of a peer are not acceptable WebSocket frames.
///
/// Each of these is the peer's doing, and the end of its connection: send a close frame with
/// [`close_code`](WsError::close_code) and close. No other connection is touched.
///
/// ```
/// use socketio_protocol::websocket::{Decoder, Opcode, Role, WsError, frame};
///
/// let too_long = Decoder::new(Role::Client, 100).decode(&mut (&frame(Opcode::Binary, &[0; 101])[..]).into());
/// assert_eq!(too_long, Err(WsError::TooBig { announced: 101, max: 100 }));
/// assert_eq!(too_long.unwrap_err().close_code(), 1009);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WsError {
    /// A client must mask.
    #[error("client sent a frame without a mask")]
    Unmasked,
    /// A server must not.
    #[error("server sent a frame with a mask")]
    Masked,
    /// Bits of an extension that was not agreed.
    #[error("frame has reserved bits set: {0:#04x}")]
    ReservedBits(u8),
    /// An opcode that means nothing yet.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A close, ping or pong cannot come in pieces.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// A close, ping or pong is at most 125 bytes long.
    #[error("control frame is longer than 125 bytes")]
    LongControl,
    /// A length must be written in the shortest of its three forms.
    #[error("length {0} is not written in its shortest form")]
    NonMinimalLength(u64),
    /// The first bit of a length of eight bytes must be zero.
    #[error("length has its top bit set")]
    LengthTopBit,
    /// A continuation without a message to go on with.
    #[error("continuation frame without a message before it")]
    UnexpectedContinuation,
    /// A new message inside another.
    #[error("new message before the end of the last")]
    UnfinishedMessage,
    /// A close frame with half a code.
    #[error("close frame of one byte")]
    ShortClose,
    /// A code that must not be sent, or has no meaning.
    #[error("close code {0} must not be sent")]
    BadCloseCode(u16),
    /// Text, or the reason of a close, is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A message longer than is accepted, by what its frames announce.
    #[error("message of {announced} bytes, more than the {max} accepted")]
    TooBig {
        /// The bytes announced so far, over all frames of the message.
        announced: u64,
        /// The number accepted.
        max: usize,
    },
    /// A message that is longer than is accepted once it is inflated.
    #[error("message inflates to more than the {max} bytes accepted")]
    InflatesTooFar {
        /// The number accepted, for this message.
        max: usize,
    },
    /// What is marked as compressed is not.
    #[error("compressed message cannot be inflated")]
    BadDeflate,
    /// A message in more frames than are accepted.
    #[error("message in more than the {max} frames accepted")]
    TooManyFragments {
        /// The number accepted.
        max: u16,
    },
}

impl WsError {
    /// What to say in the close frame: 1007 for text that is not UTF-8 and data that cannot be inflated, 1009 for too
    /// much of anything, else 1002.
    pub fn close_code(&self) -> u16 {
        match self {
            WsError::InvalidUtf8 | WsError::BadDeflate => 1007,
            WsError::TooBig { .. } | WsError::InflatesTooFar { .. } | WsError::TooManyFragments { .. } => 1009,
            _ => 1002,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_told_which_kind_of_fault_it_was() {
        assert_eq!(WsError::InvalidUtf8.close_code(), 1007);
        assert_eq!(WsError::BadDeflate.close_code(), 1007);
        assert_eq!(WsError::TooBig { announced: 2, max: 1 }.close_code(), 1009);
        assert_eq!(WsError::InflatesTooFar { max: 1 }.close_code(), 1009);
        assert_eq!(WsError::TooManyFragments { max: 1 }.close_code(), 1009);
        assert_eq!(WsError::Unmasked.close_code(), 1002);
        assert_eq!(WsError::BadCloseCode(1005).close_code(), 1002);
    }
}
