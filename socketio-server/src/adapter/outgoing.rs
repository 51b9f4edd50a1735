//! An event on its way out, encoded once for everyone it is for.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::socket::{Args, EncodeError};

use crate::engine::Frame;
use crate::parser::{Parser, msgpack_args};

/// One event of one namespace. Cloning shares the bytes.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// let tick = io.encode("tick", 1).unwrap();
/// assert_eq!(tick.args().event().as_deref(), Some("tick"));
/// io.everyone().emit_encoded(&tick).unwrap();
/// io.volatile().emit_encoded(&tick).unwrap();
/// assert_eq!(client.expect::<u32>("tick").await, 1);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Outgoing {
    frame: Frame,
    parser: Parser,
    /// Where the JSON payload starts in the frame's text.
    payload_at: usize,
    nsp: ByteString,
    /// What a parser of the application's own was given: nobody else can read what it wrote.
    given: Option<Box<Args>>,
}

impl Outgoing {
    /// Encodes an event, with the ack id `id` if answers are wanted.
    pub(crate) fn event<T: Serialize + ?Sized>(
        parser: &Parser,
        nsp: &ByteString,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Self, EncodeError> {
        if let Parser::Custom(_) = parser {
            return Self::from_args(parser, nsp, id, &Args::new_event(event, args)?);
        }
        Ok(Self::new(parser.event(nsp, id, event, args)?, parser, nsp, id))
    }

    /// An event whose name and arguments are there already.
    pub(crate) fn from_args(
        parser: &Parser,
        nsp: &ByteString,
        id: Option<u64>,
        args: &Args,
    ) -> Result<Self, EncodeError> {
        let encoded = Self::new(parser.event_of(nsp, id, args)?, parser, nsp, id);
        let given = matches!(parser, Parser::Custom(_)).then(|| Box::new(args.clone()));
        Ok(Self { given, ..encoded })
    }

    fn new(frame: Frame, parser: &Parser, nsp: &ByteString, id: Option<u64>) -> Self {
        let mut payload_at = 1;
        let attachments = frame.attachments().count();
        if attachments > 0 {
            payload_at += digits(attachments as u64) + 1;
        }
        if *nsp != "/" {
            payload_at += nsp.len() + 1;
        }
        payload_at += id.map_or(0, digits);
        Self { frame, parser: parser.clone(), payload_at, nsp: nsp.clone(), given: None }
    }

    /// The same event in a namespace: itself, if it was encoded for it.
    pub(crate) fn within(&self, parser: &Parser, nsp: &ByteString) -> Result<Cow<'_, Self>, EncodeError> {
        match self.nsp == *nsp && self.parser == *parser {
            true => Ok(Cow::Borrowed(self)),
            false => Self::from_args(parser, nsp, None, &self.args()).map(Cow::Owned),
        }
    }

    /// The same event with one more argument: the place in the history that a client comes back with.
    pub(crate) fn with_offset(&self, offset: &str) -> Self {
        let frame = match self.parser {
            Parser::Json => {
                let text = self.frame.text();
                let text = text.strip_suffix(b"]").unwrap_or(text); // An event's payload is a list, never empty.
                let mut out = Frame::buffer(text.len() + offset.len() + 4);
                out.extend_from_slice(text);
                out.extend_from_slice(b",\"");
                out.extend_from_slice(offset.as_bytes());
                out.extend_from_slice(b"\"]");
                Frame::seal(out, self.frame.attachments().cloned())
            }
            Parser::MsgPack | Parser::Custom(_) => {
                let (json, attachments) = self.args().to_json();
                let json = format!("{},\"{offset}\"]", json.strip_suffix(']').unwrap_or(&json));
                let args = Args::from_json(json, attachments).and_then(Args::into_event);
                match args.map(|args| Self::from_args(&self.parser, &self.nsp, None, &args)) {
                    Ok(Ok(longer)) => return longer.flagged(Some(self.frame.may_compress())).into_owned(),
                    _ => self.frame.clone(),
                }
            }
        };
        let frame = if self.frame.may_compress() { frame } else { frame.uncompressed() };
        Self { frame, ..self.clone() }
    }

    /// The same event as the sender's flag wants it: itself, unless it is not to be compressed and could be.
    pub(crate) fn flagged(&self, compress: Option<bool>) -> Cow<'_, Self> {
        match compress == Some(false) && self.frame.may_compress() {
            true => Cow::Owned(Self { frame: self.frame.uncompressed(), ..self.clone() }),
            false => Cow::Borrowed(self),
        }
    }

    /// What a client gets.
    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The event's name and arguments, for another format.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// let score = io.encode("score", ("ana", 3)).unwrap();
    /// assert_eq!(score.args().to::<(String, u32)>().unwrap(), ("ana".into(), 3));
    /// # }
    /// ```
    pub fn args(&self) -> Args {
        match self.parser {
            Parser::Json => {
                let json = self.frame.text().get(self.payload_at..).unwrap_or_default();
                let json = ByteString::try_from(Bytes::copy_from_slice(json)).unwrap_or_default();
                Args::of_written_event(json, self.frame.attachments().cloned()).unwrap_or_else(|_| Args::none())
            }
            Parser::MsgPack => self.frame.attachments().next().map_or_else(Args::none, msgpack_args),
            Parser::Custom(_) => self.given.as_deref().cloned().unwrap_or_default(),
        }
    }
}

fn digits(n: u64) -> usize {
    n.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::Reversed;

    #[test]
    fn the_arguments_are_found_behind_every_kind_of_header_with_an_offset_and_without() {
        let data = Bytes::from_static(b"\x01");
        for parser in [Parser::Json, Parser::MsgPack, Parser::custom(Reversed)] {
            for nsp in ["/", "/admin[1]"].map(ByteString::from_static) {
                for id in [None, Some(0), Some(12)] {
                    let plain = Outgoing::event(&parser, &nsp, id, "ev", &(1, "[x")).unwrap();
                    assert_eq!(plain.args().event().as_deref(), Some("ev"), "{nsp} {id:?}");
                    assert_eq!(plain.args().to::<(i32, String)>().unwrap(), (1, "[x".into()));
                    let binary = Outgoing::event(&parser, &nsp, id, "ev", &(data.clone(), 2)).unwrap();
                    assert_eq!(binary.args().to::<(Bytes, i32)>().unwrap(), (data.clone(), 2));
                }
                let bare = Outgoing::event(&parser, &nsp, None, "ev", &()).unwrap().with_offset("q.1");
                assert_eq!(bare.args().to::<(String,)>().unwrap(), ("q.1".into(),));
                let binary = Outgoing::event(&parser, &nsp, None, "ev", &(data.clone(),)).unwrap().with_offset("q.2");
                assert_eq!(binary.args().to::<(Bytes, String)>().unwrap(), (data.clone(), "q.2".into()));
            }
        }
    }

    #[test]
    fn an_event_that_is_not_to_be_compressed_stays_so_and_the_original_as_it_was() {
        for parser in [Parser::Json, Parser::MsgPack, Parser::custom(Reversed)] {
            let event = Outgoing::event(&parser, &"/".into(), None, "ev", &("x", Bytes::from_static(b"y"))).unwrap();
            for (flag, may) in [(None, true), (Some(true), true), (Some(false), false)] {
                let flagged = event.flagged(flag);
                assert_eq!(flagged.frame().may_compress(), may, "{flag:?}");
                assert_eq!(flagged.with_offset("q.1").frame().may_compress(), may, "{flag:?} in the history");
                assert_eq!(flagged.args().to_json(), event.args().to_json());
            }
            assert!(event.frame().may_compress());
        }
    }
}
