//! What is sent to this client alone: framed, and copied together.
//!
//! A packet that nobody else gets needs nothing that could be shared. It is written into a buffer of the thread's, copied
//! behind those before it, and all of them leave in one `send` from where they lie: no memory is asked for, where a
//! [`Frame`] asks twice, and a turn of 16 answers is one piece.
//!
//! A batch has the queue for itself. Once something shared is queued, or the stream takes only a part, it becomes frames.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use socketio_protocol::socket::Attachments;
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, encode_header};

use crate::engine::frame::{Frame, HEADROOM};

/// A message for one client, written but not framed.
#[derive(Debug)]
pub(crate) struct Draft {
    /// As in a frame: room for a header, then the packet's text.
    head: Vec<u8>,
    attachments: Attachments,
}

impl Draft {
    /// What `write` adds to a buffer, and the attachments it gives back.
    pub(crate) fn write<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<Attachments, E>) -> Result<Self, E> {
        let mut head = SPARE_HEAD.take();
        Frame::begin(&mut head);
        match write(&mut head) {
            Ok(attachments) => Ok(Self { head, attachments }),
            Err(error) => {
                Self { head, attachments: Attachments::new() }.recycle();
                Err(error)
            }
        }
    }

    /// What it counts against a bound in bytes: as much as its frame.
    pub(super) fn size(&self) -> usize {
        Frame::size_of(&self.head, self.attachments.iter().map(Bytes::len))
    }

    pub(super) fn has_attachments(&self) -> bool {
        !self.attachments.is_empty()
    }

    /// A frame of its own, which takes the buffer along.
    pub(super) fn into_frame(self) -> Frame {
        Frame::seal(self.head, self.attachments)
    }

    /// Gives the buffer back.
    fn recycle(self) {
        if self.head.capacity() <= KEPT {
            SPARE_HEAD.set(self.head);
        }
    }
}

/// Packets as they stand on the wire of a WebSocket, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    packets: usize,
    /// What they count against the bound in bytes.
    size: usize,
}

impl Batch {
    /// An empty one.
    pub(super) fn new() -> Box<Self> {
        SPARE_BATCH.take().unwrap_or_default()
    }

    pub(super) fn push(&mut self, mut draft: Draft) {
        self.packets += 1;
        self.size += draft.size();
        let header_at = Frame::set_header(&mut draft.head);
        self.bytes.extend_from_slice(&draft.head[header_at..]);
        for data in &draft.attachments {
            let mut header = [0; HEADROOM];
            let len = encode_header(Opcode::Binary, data.len(), &mut header);
            self.bytes.extend_from_slice(&header[..len]);
            self.bytes.extend_from_slice(data);
        }
        draft.recycle();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn packets(&self) -> usize {
        self.packets
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The same packets as frames.
    pub(super) fn frames(&self) -> Vec<Frame> {
        let mut decoder = Decoder::new(Role::Client, usize::MAX);
        let mut bytes = BytesMut::from(&*self.bytes);
        let mut packets: Vec<(Vec<u8>, Attachments)> = Vec::with_capacity(self.packets);
        while let Ok(Some(event)) = decoder.decode(&mut bytes) {
            match (event, packets.last_mut()) {
                (Event::Text(packet), _) => {
                    let mut head = vec![0; HEADROOM];
                    head.extend_from_slice(packet.as_bytes());
                    packets.push((head, Attachments::new()));
                }
                (Event::Binary(data), Some((_, attachments))) => attachments.push(data),
                _ => {} // Nothing else is written here.
            }
        }
        packets.into_iter().map(|(head, attachments)| Frame::seal(head, attachments)).collect()
    }

    /// Gives the buffer back, for the next connection of the thread that has something to send.
    pub(super) fn recycle(mut self: Box<Self>) {
        if self.bytes.capacity() <= KEPT {
            self.bytes.clear();
            (self.packets, self.size) = (0, 0);
            SPARE_BATCH.set(Some(self));
        }
    }
}

/// So much a batch may count. What is longer is not worth a copy.
pub(super) const MAX: usize = 32 << 10;

/// A thread keeps its two buffers up to this size.
const KEPT: usize = 2 * MAX;

thread_local! {
    static SPARE_HEAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE_BATCH: Cell<Option<Box<Batch>>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use smallvec::{SmallVec, smallvec};

    use super::*;
    use crate::engine::frame::Wire;

    fn draft(text: &str, attachments: Attachments) -> Draft {
        Draft::write(|head| {
            head.extend_from_slice(text.as_bytes());
            Ok::<_, ()>(attachments)
        })
        .unwrap()
    }

    #[test]
    fn a_batch_is_what_its_frames_are() {
        let (long, photo) = ("x".repeat(70_000), Bytes::from(vec![0xff; 200]));
        let (mut batch, mut size) = (Batch::new(), 0);
        for (text, attachments) in [
            (r#"2["one"]"#, smallvec![]),
            (r#"52-["photos",..]"#, smallvec![photo.clone(), Bytes::new()]),
            (r#"2["é"]"#, smallvec![]),
            (&long, smallvec![photo]),
        ] {
            let one = draft(text, attachments);
            size += one.size();
            batch.push(one);
        }
        let frames = batch.frames();
        assert_eq!((frames.len(), batch.packets()), (4, 4));
        assert_eq!((frames.iter().map(Frame::size).sum::<usize>(), batch.size()), (size, size));
        let mut slices = SmallVec::new();
        frames.iter().for_each(|frame| assert!(frame.gather(Wire::V4, 0, &mut slices)));
        assert_eq!(slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(), batch.bytes());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let half = Draft::write(|head| {
            head.extend_from_slice(b"2[\"half");
            Err(())
        });
        assert!(half.is_err());
        assert_eq!(draft("2[\"whole\"]", smallvec![]).into_frame().text(), b"2[\"whole\"]");
    }

    #[test]
    fn a_thread_keeps_no_large_buffer_even_if_nothing_came_of_it() {
        let failed = Draft::write(|head| {
            head.resize(KEPT + 1, b'x');
            Err(())
        });
        assert!(failed.is_err() && SPARE_HEAD.take().capacity() <= KEPT);
    }
}
