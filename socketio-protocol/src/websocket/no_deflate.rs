//! In the place of compression where it is not built in (feature `deflate`): there is no codec to be had.

use super::WsError;

/// Compresses and inflates messages, with the feature `deflate`. Without it there is none.
#[derive(Debug)]
#[doc(hidden)]
pub enum Codec {}

impl Codec {
    pub fn threshold(&self) -> usize {
        match *self {}
    }

    pub fn deflate(&self, _parts: &[&[u8]], _out: &mut Vec<u8>) -> Option<()> {
        match *self {}
    }

    pub(super) fn inflate(&self, _data: &[u8], _max: usize) -> Result<Vec<u8>, WsError> {
        match *self {}
    }
}
