//! Where one packet ends and the next begins on a client's own stream: WebSocket frames, or WebTransport's lengths.

use bytes::{Bytes, BytesMut};
#[cfg(feature = "webtransport")]
use socketio_protocol::engine::{self, TransportKind, webtransport};
use socketio_protocol::websocket::{self, Decoder, Event, Opcode, WsError};

use super::engine::Shared;
use super::frame::Terms;
use super::io::Reader;

/// Reads what comes, and frames what is written by hand.
#[derive(Debug)]
pub(super) enum Codec {
    WebSocket(Decoder),
    #[cfg(feature = "webtransport")]
    WebTransport(webtransport::Decoder),
}

/// What is wrong with what came.
#[derive(Debug)]
pub(super) enum CodecError {
    WebSocket(WsError),
    #[cfg(feature = "webtransport")]
    WebTransport(webtransport::FrameError),
}

impl Codec {
    /// The codec of this stream, at its beginning.
    pub(super) fn of(reader: &Reader, shared: &Shared, terms: Terms) -> Self {
        match reader {
            #[cfg(feature = "webtransport")]
            Reader::WebTransport(_) => {
                let max = shared.config.max_payload(TransportKind::WebTransport);
                Codec::WebTransport(webtransport::Decoder::new(max))
            }
            _ => Codec::WebSocket(shared.decoder(terms)),
        }
    }

    /// The next of what the client said, off the front of `buf`; `None` if more bytes are needed.
    #[inline]
    pub(super) fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Event>, CodecError> {
        match self {
            Codec::WebSocket(decoder) => decoder.decode(buf).map_err(CodecError::WebSocket),
            #[cfg(feature = "webtransport")]
            Codec::WebTransport(decoder) => match decoder.decode(buf) {
                Ok(frame) => Ok(frame.map(|frame| match frame {
                    engine::Frame::Text(text) => Event::Text(text),
                    engine::Frame::Binary(data) => Event::Binary(data),
                })),
                Err(error) => Err(CodecError::WebTransport(error)),
            },
        }
    }

    /// A packet's text, framed.
    pub(super) fn text_frame(&self, text: &[u8]) -> Bytes {
        match self {
            Codec::WebSocket(_) => websocket::frame(Opcode::Text, text),
            #[cfg(feature = "webtransport")]
            Codec::WebTransport(_) => {
                let mut header = [0; webtransport::MAX_HEADER];
                let len = webtransport::encode_header(false, text.len(), &mut header);
                [&header[..len], text].concat().into()
            }
        }
    }

    /// What is said before the stream ends.
    pub(super) fn goodbye(&self) -> &'static [u8] {
        match self {
            Codec::WebSocket(_) => &[0x88, 0],
            #[cfg(feature = "webtransport")]
            Codec::WebTransport(_) => &[],
        }
    }
}

#[cfg(all(test, feature = "webtransport"))]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_takes_no_more_room_for_it() {
        assert_eq!(size_of::<Codec>(), size_of::<Decoder>());
    }
}
