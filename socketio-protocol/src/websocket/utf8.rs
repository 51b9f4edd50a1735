//! Whether bytes are UTF-8, asked before all of them have come.

/// Looks at a text piece by piece and says of every byte at once whether the text can still become UTF-8.
///
/// Whether it ends with a whole character is for the caller to ask, who has all of it then.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8 {
    /// The bytes of a character that has not ended yet.
    partial: [u8; 3],
    len: u8,
}

/// A byte came that no UTF-8 text can have there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

impl Utf8 {
    /// Looks at the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            let [a, b, c] = self.partial;
            let held = usize::from(self.len);
            let mut character = [a, b, c, 0];
            character[held] = byte;
            self.keep(&character[..=held])?;
        }
        self.keep(piece)
    }

    /// Keeps the beginning of a character that `bytes` end with.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let tail = match std::str::from_utf8(bytes) {
            Ok(_) => &[],
            Err(error) if error.error_len().is_none() => &bytes[error.valid_up_to()..],
            Err(_) => return Err(Invalid),
        };
        // A character has at most four bytes, so an unfinished one has at most three.
        self.partial[..tail.len()].copy_from_slice(tail);
        self.len = tail.len() as u8;
        Ok(())
    }
}
