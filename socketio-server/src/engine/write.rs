//! Frames on their way out of a queue into a client's own stream: as many as possible in one system call.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use std::sync::Arc;

use smallvec::SmallVec;
use socketio_protocol::engine::Version;
use socketio_protocol::websocket::Codec;

use super::frame::{Frame, Terms, Wire};
use super::io::Writer;

/// Writes once, from the front of the queue, of whose first frame `written` bytes have left. Says how much left.
pub(super) fn write_some(
    queue: &VecDeque<Frame>,
    written: usize,
    wire: Wire<'_>,
    writer: &mut Writer,
    cx: Option<&mut Context<'_>>,
) -> Poll<io::Result<usize>> {
    let mut slices = SmallVec::new();
    let mut skip = written;
    for frame in queue {
        if !frame.gather(wire, std::mem::take(&mut skip), &mut slices) {
            break;
        }
    }
    let len: usize = slices.iter().map(|slice| slice.len()).sum();
    if slices.len() > 1 && len <= SCRATCH {
        return SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            scratch.clear();
            slices.iter().for_each(|slice| scratch.extend_from_slice(slice));
            write_slices(&[IoSlice::new(scratch)], writer, cx)
        });
    }
    write_slices(&slices, writer, cx)
}

/// Writes once if a stream that is blocked has any room at all. Says how much left.
pub(super) fn probe(queue: &VecDeque<Frame>, written: usize, wire: Wire<'_>, writer: &Writer) -> io::Result<usize> {
    let mut slices = SmallVec::new();
    if let Some(frame) = queue.front() {
        frame.gather(wire, written, &mut slices);
    }
    match slices.first().map_or(Ok(0), |slice| writer.probe(slice)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Up to this many bytes, many small frames are copied together: the kernel spends more on each piece of a `writev` than
/// on the bytes of a small frame.
const SCRATCH: usize = 16 << 10;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn write_slices(slices: &[IoSlice<'_>], writer: &mut Writer, cx: Option<&mut Context<'_>>) -> Poll<io::Result<usize>> {
    let result = match cx {
        Some(cx) => match writer.poll_write(cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => return Poll::Pending,
        },
        None => match writer.try_write(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            result => result,
        },
    };
    match result {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        result => Poll::Ready(result),
    }
}

/// Takes `n` bytes off the front of the queue; returns what the frames that are done count.
pub(super) fn advance(queue: &mut VecDeque<Frame>, written: &mut usize, n: usize, wire: Wire<'_>) -> usize {
    *written += n;
    let mut done = 0;
    while let Some(frame) = queue.front() {
        let len = frame.wire_len(wire);
        if *written < len {
            break;
        }
        *written -= len;
        done += frame.size();
        queue.pop_front();
    }
    done
}

/// The last words for a client that has a stream of its own, and the stream to say them on.
pub(super) struct Farewell {
    pub(super) frames: VecDeque<Frame>,
    pub(super) written: usize,
    pub(super) writer: Writer,
    pub(super) version: Version,
    pub(super) terms: Terms,
    /// Set if messages may be compressed.
    pub(super) codec: Option<Arc<Codec>>,
}

impl Farewell {
    /// Writes on, until everything is written or the stream broken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wire = Wire::new(self.version, self.terms, self.codec.as_deref());
        while !self.frames.is_empty() {
            match write_some(&self.frames, self.written, wire, &mut self.writer, Some(&mut *cx)) {
                Poll::Ready(Ok(n)) => {
                    advance(&mut self.frames, &mut self.written, n, wire);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.writer.poll_end(cx)
    }
}
