//! What Redis says on a link that subscribes: messages, and answers to what was subscribed to.

use std::ops::Range;

use crate::resp::{NotResp, Scanner, Token};

/// What Redis says to a subscriber, as places in the bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Message { topic: Range<usize>, channel: Range<usize>, payload: Range<usize> },
    Confirmed { verb: Range<usize> },
    Refused { reason: Range<usize> },
    Pong,
}

/// The event at the front of `bytes` and its length; `None` when it has not arrived whole.
pub(crate) fn event(bytes: &[u8]) -> Result<Option<(Event, usize)>, NotResp> {
    let mut scanner = Scanner::new(bytes);
    let Some(first) = scanner.next_token()? else { return Ok(None) };
    let len = match first {
        // With RESP 3 what is not an answer is pushed.
        Token::Array(len @ 2..=4) | Token::Push(len @ 2..=4) => len,
        Token::Error(reason) => return Ok(Some((Event::Refused { reason }, scanner.position()))),
        Token::Status(_) => return Ok(Some((Event::Pong, scanner.position()))),
        _ => return Err(NotResp),
    };
    let mut parts: [Option<Range<usize>>; 4] = Default::default();
    for part in parts.iter_mut().take(len) {
        match scanner.next_token()? {
            Some(Token::Bulk(text)) => *part = text,
            Some(Token::Integer(_)) => {}
            Some(_) => return Err(NotResp),
            None => return Ok(None),
        }
    }
    let [Some(kind), second, third, fourth] = parts else { return Err(NotResp) };
    let event = match (&bytes[kind.clone()], second, third, fourth) {
        (b"message" | b"smessage", Some(channel), Some(payload), None) => {
            Event::Message { topic: channel.clone(), channel, payload }
        }
        (b"pmessage", Some(topic), Some(channel), Some(payload)) => Event::Message { topic, channel, payload },
        (b"pong", ..) => Event::Pong,
        (b"subscribe" | b"unsubscribe" | b"psubscribe" | b"punsubscribe" | b"ssubscribe" | b"sunsubscribe", ..) => {
            Event::Confirmed { verb: kind }
        }
        _ => return Err(NotResp),
    };
    Ok(Some((event, scanner.position())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_whole_and_only_when_whole() {
        for (text, expected) in [
            (
                "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\na\r\n\r\n",
                Event::Message { topic: 21..22, channel: 21..22, payload: 28..31 },
            ),
            (
                "*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$1\r\nc\r\n$0\r\n\r\n",
                Event::Message { topic: 22..24, channel: 30..31, payload: 37..37 },
            ),
            ("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", Event::Confirmed { verb: 8..17 }),
            ("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", Event::Confirmed { verb: 9..20 }),
            ("-NOPERM no\r\n", Event::Refused { reason: 1..10 }),
            ("*2\r\n$4\r\npong\r\n$0\r\n\r\n", Event::Pong),
            ("+PONG\r\n", Event::Pong),
            (
                ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$3\r\na\r\n\r\n",
                Event::Message { topic: 22..23, channel: 22..23, payload: 29..32 },
            ),
            (">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", Event::Confirmed { verb: 9..20 }),
        ] {
            assert_eq!(event(text.as_bytes()), Ok(Some((expected, text.len()))), "{text:?}");
            for cut in 0..text.len() {
                assert_eq!(event(&text.as_bytes()[..cut]), Ok(None), "{text:?} cut to {cut}");
            }
        }
        for text in [":1\r\n", "*1\r\n$1\r\na\r\n", "*3\r\n$3\r\nfoo\r\n$1\r\na\r\n$1\r\nb\r\n", "*3\r\n*0\r\n"] {
            assert_eq!(event(text.as_bytes()), Err(NotResp), "{text:?}");
        }
    }
}
