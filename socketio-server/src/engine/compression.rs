//! The bodies of polls, packed as the client likes it: gzip, deflate or br.
//!
//! A long body is packed on a thread of its own, so that no other client waits for it; and when as many are packed
//! already as there are processors, an answer leaves as it is.

use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use tokio::sync::Semaphore;

use super::encoding::{Encoding, ZLIB_HEADER, zlib_trailer};

/// What is offered, the cheapest first.
pub(super) const OFFERED: &[Encoding] = &[Encoding::Gzip, Encoding::Deflate, Encoding::Br];

/// Packs `body`; `None` if it is to be sent as it is.
pub(super) async fn pack(body: Bytes, encoding: Encoding) -> Option<Bytes> {
    if body.len() <= AT_ONCE {
        return pack_now(&body, encoding);
    }
    let permit = WORKERS.try_acquire().ok()?;
    let work = move || {
        let _permit = permit; // For as long as it takes, also if the client has gone.
        pack_now(&body, encoding)
    };
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

/// Up to this many bytes are packed where they are, which takes about a millisecond.
const AT_ONCE: usize = 16 << 10;

static WORKERS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)));

fn pack_now(body: &[u8], encoding: Encoding) -> Option<Bytes> {
    let mut out = Vec::with_capacity(body.len() / 3 + 64);
    match encoding {
        Encoding::Br => brotli(body, &mut out)?,
        Encoding::Gzip => {
            out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]); // No name, no time, no system.
            deflate(body, &mut out)?;
            let mut crc = Crc::new();
            crc.update(body);
            out.extend_from_slice(&crc.sum().to_le_bytes());
            out.extend_from_slice(&crc.amount().to_le_bytes());
        }
        Encoding::Deflate => {
            out.extend_from_slice(&ZLIB_HEADER);
            deflate(body, &mut out)?;
            out.extend_from_slice(&zlib_trailer(body));
        }
    }
    (out.len() < body.len()).then(|| out.into())
}

/// Appends the bare stream (RFC 1951).
fn deflate(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let compress = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut compress = compress.unwrap_or_else(|| Compress::new(Compression::new(LEVEL), false));
    let status = loop {
        let done = usize::try_from(compress.total_in()).ok()?;
        match compress.compress_vec(body.get(done..)?, out, FlushCompress::Finish) {
            Ok(Status::Ok | Status::BufError) => out.reserve(body.len() / 8 + 64),
            status => break status,
        }
    };
    compress.reset();
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < MAX_IDLE {
        idle.push(compress);
    }
    status.ok().map(drop)
}

/// Compressors that wait for work: making one costs as much as packing a kilobyte. Each holds 260 KiB.
static IDLE: Mutex<Vec<Compress>> = Mutex::new(Vec::new());
const MAX_IDLE: usize = 8;

/// Events as JSON shrink to 28 %, half as fast as with level 1 (38 %); level 6, the reference's, takes three times as
/// long for 24 %.
const LEVEL: u32 = 2;

fn brotli(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut writer = brotli::CompressorWriter::new(out, 4096, BROTLI_QUALITY, BROTLI_WINDOW);
    writer.write_all(body).ok()?;
    writer.flush().ok()
}

/// To 25 %, in one and a half times the time of gzip.
const BROTLI_QUALITY: u32 = 2;
/// 256 KiB; a larger window needs memory and time, and finds little more in an answer to a poll.
const BROTLI_WINDOW: u32 = 18;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn unpack(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Encoding::Deflate => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out),
            Encoding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        }
        .unwrap();
        out
    }

    fn text(len: usize) -> Bytes {
        let mut text = String::new();
        let mut seed = 1_u32;
        while text.len() < len {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(&format!(r#"42["event",{{"id":{seed},"text":"some words that come again"}}]"#));
        }
        text.truncate(len);
        text.into()
    }

    #[tokio::test]
    async fn what_is_packed_can_be_unpacked_whatever_its_length() {
        for len in [1024, 10_000, AT_ONCE, AT_ONCE + 1, 1_000_000] {
            for &encoding in OFFERED {
                let body = text(len);
                let packed = pack(body.clone(), encoding).await.expect("it gets shorter");
                assert!(packed.len() * 2 < len, "{len} bytes as {encoding:?}: {}", packed.len());
                assert!(unpack(&packed, encoding) == body, "{len} bytes as {encoding:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_would_not_get_shorter_is_left_alone() {
        let mut bytes = vec![0; 20_000];
        getrandom::fill(&mut bytes).unwrap();
        for &encoding in OFFERED {
            assert_eq!(pack(bytes.clone().into(), encoding).await, None, "{encoding:?}");
            assert_eq!(pack(bytes[..2000].to_vec().into(), encoding).await, None, "{encoding:?}");
        }
    }
}
