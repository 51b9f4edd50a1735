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

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts, and how many of their bytes can be the beginning of UTF-8.
    const CASES: &[(&[u8], usize)] = &[
        (b"", 0),
        (b"plain", 5),
        ("é€😀\u{10ffff}\u{d7ff}\u{e000}".as_bytes(), 19),
        (b"a\x80", 1),
        (b"a\xc0\xaf", 1),
        (b"\xc3\x28", 1),
        (b"\xe0\x80\x80", 1),
        (b"\xed\xa0\x80", 1),
        (b"\xe2\x82\x28", 2),
        (b"\xf0\x80\x80\x80", 1),
        (b"\xf4\x90\x80\x80", 1),
        (b"\xf0\x9f\x98\xc0", 3),
        (b"ab\xf5", 2),
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 12),
        (b"\xe2\x82", 2),
        (b"\xff", 0),
    ];

    #[test]
    fn a_bad_byte_is_found_when_it_comes() {
        for (text, good) in CASES {
            let mut utf8 = Utf8::default();
            let found = text.iter().take_while(|&&byte| utf8.push(&[byte]).is_ok()).count();
            assert_eq!(found, *good, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn the_answer_does_not_depend_on_the_cuts() {
        for (text, good) in CASES {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut utf8 = Utf8::default();
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    let answer = pieces.into_iter().try_for_each(|piece| utf8.push(piece));
                    assert_eq!(answer.is_ok(), *good == text.len(), "{} at {first}, {second}", text.escape_ascii());
                }
            }
        }
    }
}
