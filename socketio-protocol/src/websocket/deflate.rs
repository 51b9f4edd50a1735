//! Compressing and inflating messages.
//!
//! A [`Codec`] keeps a few compressors and inflaters and lends them for one message at a time: none belongs to a
//! connection. What is inflated is bounded while it grows, so that a few bytes cannot become more than is accepted.
//!
//! RFC 7692, section 7.2.

use std::sync::{Mutex, PoisonError};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::WsError;

/// How messages are compressed for the clients that offer it (permessage-deflate, RFC 7692).
///
/// ```
/// use socketio_protocol::websocket::PerMessageDeflate;
///
/// let options = PerMessageDeflate::default().threshold(256).max_inflate_ratio(100);
/// assert_eq!((options.threshold, options.level), (256, 3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerMessageDeflate {
    /// From how many bytes on a message is compressed. Default 1,024.
    pub threshold: usize,
    /// How much work goes into it, from 1 to 9. Default 3: less leaves JSON half as long again, more saves next to nothing.
    pub level: u32,
    /// How many times longer than what came a client's message may become; past it the client is closed, with 1009.
    /// Default no limit but that of every message: what it may be inflated to is `max_http_buffer_size`, and no
    /// message grows more than 1,032 times.
    pub max_inflate_ratio: Option<usize>,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self { threshold: 1024, level: 3, max_inflate_ratio: None }
    }
}

impl PerMessageDeflate {
    /// From how many bytes on a message is compressed.
    #[must_use]
    pub fn threshold(self, bytes: usize) -> Self {
        Self { threshold: bytes, ..self }
    }

    /// How much work goes into it, from 1 to 9.
    #[must_use]
    pub fn level(self, level: u32) -> Self {
        Self { level, ..self }
    }

    /// How many times longer than what came a client's message may become.
    #[must_use]
    pub fn max_inflate_ratio(self, ratio: usize) -> Self {
        Self { max_inflate_ratio: Some(ratio), ..self }
    }
}

/// Compresses and inflates messages, each by itself. Shared by any number of connections.
///
/// ```
/// use std::sync::Arc;
/// use socketio_protocol::websocket::{COMPRESSED, Codec, Decoder, Event, Opcode, PerMessageDeflate, Role, frame};
///
/// let codec = Arc::new(Codec::new(PerMessageDeflate::default()));
/// let text = "tick ".repeat(200);
/// let mut compressed = Vec::new();
/// codec.deflate(&[text.as_bytes()], &mut compressed).expect("it became shorter");
/// assert!(compressed.len() < 50);
///
/// let mut bytes = frame(Opcode::Text, &compressed).to_vec();
/// bytes[0] |= COMPRESSED;
/// let mut decoder = Decoder::new(Role::Client, 1_000_000).with_codec(Some(codec));
/// assert_eq!(decoder.decode(&mut (&bytes[..]).into()), Ok(Some(Event::Text(text.into()))));
/// ```
#[derive(Debug)]
pub struct Codec {
    options: PerMessageDeflate,
    compressors: Mutex<Vec<Compress>>,
    inflaters: Mutex<Vec<Decompress>>,
}

/// How many compressors (some 300 KB each) and inflaters (some 50 KB) are kept while nobody needs them.
const KEPT: usize = 8;

impl Codec {
    /// A codec with its options.
    pub fn new(options: PerMessageDeflate) -> Self {
        let options = PerMessageDeflate { level: options.level.clamp(1, 9), ..options };
        Self { options, compressors: Mutex::default(), inflaters: Mutex::default() }
    }

    /// From how many bytes on a message is to be compressed.
    pub fn threshold(&self) -> usize {
        self.options.threshold
    }

    /// Adds the compressed form of a message, given in parts, to `out`. `None`, and `out` is as it was, if that is not
    /// shorter.
    pub fn deflate(&self, parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
        let (start, len) = (out.len(), parts.iter().map(|part| part.len()).sum::<usize>());
        // Room for the longest that it can become: zlib-rs 0.6.8 panics at level 1 after a reset in the middle.
        out.reserve_exact(len + len / 8 + 128);
        let mut compressor =
            take(&self.compressors).unwrap_or_else(|| Compress::new(Compression::new(self.options.level), false));
        let done = deflate(&mut compressor, parts, out);
        if done.is_some() {
            compressor.reset();
            give_back(&self.compressors, compressor);
        }
        let shorter = done.filter(|()| out.len() - start < len);
        if shorter.is_none() {
            out.truncate(start);
        }
        shorter
    }

    /// The message of at most `max` bytes whose compressed form this is.
    pub(super) fn inflate(&self, data: &[u8], max: usize) -> Result<Vec<u8>, WsError> {
        let by_ratio = self.options.max_inflate_ratio.map_or(max, |ratio| data.len().saturating_mul(ratio));
        let mut inflater = take(&self.inflaters).unwrap_or_else(|| Decompress::new(false));
        let message = inflate(&mut inflater, data, max.min(by_ratio));
        inflater.reset(false);
        give_back(&self.inflaters, inflater);
        message
    }
}

fn take<T>(kept: &Mutex<Vec<T>>) -> Option<T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give_back<T>(kept: &Mutex<Vec<T>>, one: T) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT {
        kept.push(one);
    }
}

/// Compresses into what room `out` has.
fn deflate(compressor: &mut Compress, parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let last = parts.len().checked_sub(1)?;
    for (at, part) in parts.iter().enumerate() {
        let before = compressor.total_in();
        let flush = if at == last { FlushCompress::Sync } else { FlushCompress::None };
        compressor.compress_vec(part, out, flush).ok()?;
        // Without room to spare, something may not have been written.
        if compressor.total_in() - before < part.len() as u64 || out.len() == out.capacity() {
            return None;
        }
    }
    let without_tail = out.strip_suffix(TAIL)?.len();
    out.truncate(without_tail);
    Some(())
}

/// What every compressed message ends with, and is left out of it.
const TAIL: &[u8] = b"\x00\x00\xff\xff";
/// Behind the tail, an empty last block: it is heard only by one who is at the end of a block.
const END: &[u8] = b"\x00\x00\xff\xff\x03\x00";

fn inflate(inflater: &mut Decompress, data: &[u8], max: usize) -> Result<Vec<u8>, WsError> {
    let mut out = Vec::new();
    if data.is_empty() {
        return Ok(out); // Nobody sends that, but there is only one thing it can mean.
    }
    out.reserve_exact(max.min(data.len().saturating_mul(4)).saturating_add(1));
    for mut input in [data, END] {
        loop {
            if out.len() == out.capacity() {
                let wanted = max.saturating_add(1).min(out.len().saturating_mul(2));
                out.reserve_exact(wanted.saturating_sub(out.len()).max(1));
            }
            let (read, written) = (inflater.total_in(), out.len());
            let status = inflater.decompress_vec(input, &mut out, FlushDecompress::None);
            if out.len() > max {
                return Err(WsError::InflatesTooFar { max });
            }
            input = &input[(inflater.total_in() - read) as usize..];
            match status {
                Err(_) => return Err(WsError::BadDeflate),
                // The last block of a sender that marks one (RFC 7692, section 7.2.3.4) has nothing behind it but a byte
                // of padding.
                Ok(Status::StreamEnd) if matches!(input, [] | [0]) => return Ok(out),
                Ok(Status::StreamEnd) => return Err(WsError::BadDeflate),
                Ok(_) if input.is_empty() && out.len() < out.capacity() => break,
                Ok(_) if out.len() == written && out.len() < out.capacity() => return Err(WsError::BadDeflate),
                Ok(_) => {}
            }
        }
    }
    Err(WsError::BadDeflate) // It ends in the middle of a block.
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codec() -> Codec {
        Codec::new(PerMessageDeflate::default())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7692, sections 7.2.3.1, 7.2.3.3 to 7.2.3.6.
        for (data, message) in [
            (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], "Hello"),
            (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
            (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"),
            (b"\x00", ""),
            (b"", ""),
        ] {
            assert_eq!(codec().inflate(data, 100).as_deref(), Ok(message.as_bytes()), "{}", data.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_deflate_or_ends_too_early_is_refused() {
        for data in [
            &b"\xff\xff"[..],
            b"\x07",
            b"Hello",
            // The first bytes of an example, and one with bytes behind its last block.
            b"\xf2",
            b"\xf2\x48\xcd\xc9",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00",
            // A reference to before the message: its sender kept its context, against what was agreed.
            b"\xf2\x00\x11\x00\x00",
        ] {
            assert_eq!(codec().inflate(data, 100), Err(WsError::BadDeflate), "{}", data.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_shorter_is_not_compressed() {
        let codec = codec();
        let mut out = b"before".to_vec();
        for message in [&b""[..], b"x", b"Hello, Hello", &[0x5a, 0xc3, 0x99, 7].repeat(2)] {
            assert_eq!((codec.deflate(&[message], &mut out), &out[..]), (None, &b"before"[..]));
        }
        assert_eq!(codec.deflate(&[&[b'x'; 100]], &mut out), Some(()), "and the next one can be");
        assert_eq!(codec.inflate(&out[6..], 100).as_deref(), Ok(&[b'x'; 100][..]));
    }

    #[test]
    fn what_hardly_gets_shorter_does_not_spoil_the_messages_behind_it() {
        let mut noise = 77_u64;
        for level in [1, 2, 3, 9] {
            let codec = Codec::new(PerMessageDeflate::default().level(level));
            for round in 0..300 {
                let len = [16, 100, 256, 1024, 4096, 16384, 65536][round % 7];
                let mask = [0xff, 0xff, 0x7f, 0x3f, 0x0f][round % 5];
                let message: Vec<u8> = std::iter::repeat_with(|| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (noise >> 56) as u8 & mask
                })
                .take(len)
                .collect();
                let mut out = Vec::new();
                if codec.deflate(&[&message], &mut out).is_some() {
                    assert!(out.len() < len);
                    assert_eq!(codec.inflate(&out, len).as_ref(), Ok(&message), "level {level}, {len} bytes");
                }
            }
        }
    }

    #[test]
    fn a_message_is_no_longer_than_accepted_however_few_bytes_it_was() {
        let codec = codec();
        let mut bomb = Vec::new();
        codec.deflate(&[&vec![0; 10_000_000]], &mut bomb).unwrap();
        assert!(bomb.len() < 100_000);
        for max in [0, 1, 1000, 1 << 20, 9_999_999] {
            assert_eq!(codec.inflate(&bomb, max), Err(WsError::InflatesTooFar { max }), "{max}");
        }
        assert_eq!(codec.inflate(&bomb, 10_000_000).map(|message| message.len()), Ok(10_000_000));
        let strict = Codec::new(PerMessageDeflate::default().max_inflate_ratio(100));
        assert_eq!(strict.inflate(&bomb, 10_000_000), Err(WsError::InflatesTooFar { max: bomb.len() * 100 }));
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_inflated_to_the_same(
            words in prop::collection::vec("[a-d]{1,8}", 0..400),
            noise: Vec<u8>,
            level in 0..12u32,
        ) {
            let text = words.concat().into_bytes();
            let codec = Codec::new(PerMessageDeflate::default().level(level));
            for _ in 0..2 {
                let mut out = Vec::new();
                if codec.deflate(&[&b"\x04"[..], &text, &noise], &mut out).is_some() {
                    let message = [&b"\x04"[..], &text, &noise].concat();
                    prop_assert!(out.len() < message.len());
                    prop_assert_eq!(codec.inflate(&out, message.len()), Ok(message));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_longer_than_accepted(data: Vec<u8>, max in 0..2000usize) {
            if let Ok(message) = codec().inflate(&data, max) {
                prop_assert!(message.len() <= max);
            }
        }
    }
}
