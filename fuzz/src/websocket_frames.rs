//! WebSocket frames, at once, in pieces, and beside tungstenite.
//!
//! The first byte of the input says which side reads (bit 0 set: a client) and in pieces of how many bytes.
//! What ours accepts, tungstenite accepts, with the same messages. Where ours refuses, tungstenite has no further
//! message either, but for [`stricter`].

use std::io::{self, Read, Write};

use bytes::BytesMut;
use socketio_protocol::websocket::{CloseFrame, Decoder, Event, Role, WsError};
use tungstenite::protocol::{self, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const MAX_MESSAGE: usize = 4096;

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else { return };
    let role = if how & 1 == 1 { Role::Client } else { Role::Server };
    let (events, end) = ours(role, bytes, bytes.len().max(1));
    let in_pieces = ours(role, bytes, usize::from(how >> 1).max(1));
    assert_eq!((&events, &end), (&in_pieces.0, &in_pieces.1), "pieces read differently");

    let events: Vec<Event> = events.into_iter().map(as_tungstenite_says).collect();
    let theirs = tungstenites(role, bytes);
    assert!(theirs.starts_with(&events), "ours {events:?}, tungstenite {theirs:?}");
    match end {
        Err(error) if stricter(error) => {}
        _ => assert_eq!(events, theirs, "tungstenite has more: {end:?}"),
    }
}

/// 1014 is in the registry (bad gateway), but not in tungstenite: it answers 1002 and reports that as the peer's code.
fn as_tungstenite_says(event: Event) -> Event {
    match event {
        Event::Close(Some(CloseFrame { code: 1014, .. })) => {
            Event::Close(Some(CloseFrame { code: 1002, reason: "Protocol violation".into() }))
        }
        other => other,
    }
}

/// What we refuse on purpose and tungstenite does not.
fn stricter(error: WsError) -> bool {
    matches!(
        error,
        // A server that masks; lengths that need not be so long, which no control frame's need be.
        WsError::Masked | WsError::NonMinimalLength(_) | WsError::LongControl
        // It has no limit to the number of frames, and its limits of size are for one frame and for the sum apart.
        | WsError::TooManyFragments { .. } | WsError::TooBig { .. }
        // It makes 1002 of them, as of 1014.
        | WsError::BadCloseCode(_)
    )
}

fn ours(role: Role, bytes: &[u8], piece: usize) -> (Vec<Event>, Result<(), WsError>) {
    let mut decoder = Decoder::new(role, MAX_MESSAGE);
    let (mut buf, mut events) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buf), Err(error), "an error does not go away");
                    return (events, Err(error));
                }
            }
        }
    }
    (events, Ok(()))
}

fn tungstenites(role: Role, bytes: &[u8]) -> Vec<Event> {
    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(512);
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), role, Some(config));
    let mut events = Vec::new();
    while let Ok(message) = socket.read() {
        events.push(match message {
            Message::Text(text) => Event::Text(text.as_str().into()),
            Message::Binary(data) => Event::Binary(data),
            Message::Ping(data) => Event::Ping(data),
            Message::Pong(data) => Event::Pong(data),
            Message::Close(said) => Event::Close(
                said.map(|said| CloseFrame { code: said.code.into(), reason: said.reason.as_str().into() }),
            ),
            Message::Frame(_) => unreachable!("reading gives messages"),
        });
    }
    events
}

/// Gives out what came, then has nothing more; takes whatever is written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
