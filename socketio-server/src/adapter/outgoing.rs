//! An event on its way out, encoded once for everyone it is for.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::socket::{self, Args, EncodeError};

use crate::engine::Frame;

/// One event of one namespace. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Outgoing {
    frame: Frame,
    /// Where the JSON payload starts in the frame's text.
    payload_at: usize,
    nsp: ByteString,
}

impl Outgoing {
    /// Encodes an event, with the ack id `id` if answers are wanted.
    pub(crate) fn event<T: Serialize + ?Sized>(
        nsp: &ByteString,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Self, EncodeError> {
        let mut out = Frame::buffer(event.len() + 64);
        let attachments = socket::encode_event(&mut out, nsp, id, event, args)?;
        Ok(Self::seal(out, attachments, nsp, id))
    }

    /// An event whose name and arguments are there already.
    pub(crate) fn from_args(nsp: &ByteString, id: Option<u64>, args: &Args) -> Result<Self, EncodeError> {
        let mut out = Frame::buffer(64);
        let attachments = socket::encode_args_event(&mut out, nsp, id, args)?;
        Ok(Self::seal(out, attachments, nsp, id))
    }

    fn seal(out: Vec<u8>, attachments: socket::Attachments, nsp: &ByteString, id: Option<u64>) -> Self {
        let mut payload_at = 1;
        if !attachments.is_empty() {
            payload_at += digits(attachments.len() as u64) + 1;
        }
        if *nsp != "/" {
            payload_at += nsp.len() + 1;
        }
        payload_at += id.map_or(0, digits);
        Self { frame: Frame::seal(out, attachments), payload_at, nsp: nsp.clone() }
    }

    /// The same event in a namespace: itself, if it was encoded for it.
    pub(crate) fn within(&self, nsp: &ByteString) -> Result<Cow<'_, Self>, EncodeError> {
        match self.nsp == *nsp {
            true => Ok(Cow::Borrowed(self)),
            false => Self::from_args(nsp, None, &self.args()).map(Cow::Owned),
        }
    }

    /// What a client gets.
    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The event's name and arguments, for another format.
    pub fn args(&self) -> Args {
        let json = self.frame.text().get(self.payload_at..).unwrap_or_default();
        let json = ByteString::try_from(Bytes::copy_from_slice(json)).unwrap_or_default();
        let attachments = self.frame.attachments().cloned().collect();
        Args::from_json(json, attachments).and_then(Args::into_event).unwrap_or_else(|_| Args::none())
    }
}

fn digits(n: u64) -> usize {
    n.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_found_behind_every_kind_of_header() {
        for nsp in ["/", "/admin[1]"].map(ByteString::from_static) {
            for id in [None, Some(0), Some(12)] {
                let plain = Outgoing::event(&nsp, id, "ev", &(1, "[x")).unwrap();
                assert_eq!(plain.args().event().as_deref(), Some("ev"), "{nsp} {id:?}");
                assert_eq!(plain.args().to::<(i32, String)>().unwrap(), (1, "[x".into()));
                let binary = Outgoing::event(&nsp, id, "ev", &(Bytes::from_static(b"\x01"), 2)).unwrap();
                assert_eq!(binary.args().to::<(Bytes, i32)>().unwrap(), (Bytes::from_static(b"\x01"), 2));
            }
        }
    }
}
