//! Frames on their way out of a queue into a client's own stream: as many as possible in one system call.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

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
    if queue.len() == 1
        && let Some(piece) = queue.front().and_then(|frame| frame.in_one_piece(wire))
    {
        return write_slices(&[IoSlice::new(piece.get(written..).unwrap_or_default())], writer, cx);
    }
    SCRATCH_BUFFER.with_borrow_mut(|scratch| match copy_together(queue, written, wire, scratch) {
        true => write_slices(&[IoSlice::new(scratch)], writer, cx),
        false => write_pieces(queue, written, wire, scratch, writer, cx),
    })
}

/// Copies whole frames from the front of the queue together. `false` if something there is large or has several pieces, and
/// what stands before it is not worth a write of its own.
fn copy_together(queue: &VecDeque<Frame>, written: usize, wire: Wire<'_>, scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    let mut skip = written;
    for frame in queue {
        match frame.in_one_piece(wire) {
            Some(piece) if piece.len() <= SMALL && scratch.len() + piece.len() <= TOGETHER => {
                scratch.extend_from_slice(piece.get(std::mem::take(&mut skip)..).unwrap_or_default());
            }
            _ => return scratch.len() >= TOGETHER / 2,
        }
    }
    true
}

/// Writes once, of as many pieces as one call takes; copied together if they are small.
fn write_pieces(
    queue: &VecDeque<Frame>,
    written: usize,
    wire: Wire<'_>,
    scratch: &mut Vec<u8>,
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
        scratch.clear();
        slices.iter().for_each(|slice| scratch.extend_from_slice(slice));
        return write_slices(&[IoSlice::new(scratch)], writer, cx);
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

/// Up to this many bytes, small frames of one piece are copied together without being looked at twice. Then one call takes
/// some hundred of them, where [`MAX_SLICES`](super::frame::MAX_SLICES) pieces were the end of it.
const TOGETHER: usize = 32 << 10;

/// What is a small frame.
const SMALL: usize = 2 << 10;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes once.
pub(super) fn write_slices(
    slices: &[IoSlice<'_>],
    writer: &mut Writer,
    cx: Option<&mut Context<'_>>,
) -> Poll<io::Result<usize>> {
    // Mostly the stream takes all at once, and nobody has to be told when it would: 150 instructions less.
    let result = match (writer.try_write(slices), cx) {
        (Err(error), cx) if error.kind() == io::ErrorKind::WouldBlock => match cx {
            Some(cx) => std::task::ready!(writer.poll_write(cx, slices)),
            None => return Poll::Pending,
        },
        (result, _) => result,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(lengths: &[usize]) -> VecDeque<Frame> {
        lengths
            .iter()
            .map(|len| Frame::message(socketio_protocol::engine::Message::Text("x".repeat(*len).into())))
            .collect()
    }

    fn on_the_wire(queue: &VecDeque<Frame>) -> Vec<u8> {
        let mut slices = SmallVec::new();
        queue.iter().for_each(|frame| assert!(frame.gather(Wire::V4, 0, &mut slices)));
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn small_frames_are_copied_together_from_wherever_the_first_goes_on() {
        let (queue, mut scratch) = (queue(&[3, 0, 200, 2000]), Vec::new());
        let expected = on_the_wire(&queue);
        for written in 0..queue[0].wire_len(Wire::V4) {
            assert!(copy_together(&queue, written, Wire::V4, &mut scratch));
            assert_eq!(scratch, expected[written..]);
        }
    }

    #[test]
    fn what_stands_before_a_large_frame_waits_for_it_unless_it_is_much() {
        let mut scratch = Vec::new();
        assert!(!copy_together(&queue(&[3, 3, 3000]), 0, Wire::V4, &mut scratch));
        let many = [[1000; 20].as_slice(), &[3000, 3]].concat();
        assert!(copy_together(&queue(&many), 0, Wire::V4, &mut scratch));
        assert_eq!(scratch, on_the_wire(&queue(&many[..20])));
        assert!(copy_together(&queue(&[1000; 60]), 0, Wire::V4, &mut scratch));
        assert_eq!(scratch.len() / 1000, TOGETHER / 1005, "and no more than fits");
    }
}
