//! A session that is here, and its WebSocket on another server.
//!
//! For the [`Connection`] it is a WebSocket like any other: a pipe, at whose far end the frames of the session become
//! packets for the other server, and the packets that it brings frames of the client.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socketio_protocol::cluster::Published;
use socketio_protocol::cluster::sessions::NoticeBody;
use socketio_protocol::engine::{Message, Packet, TransportKind, Version};
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use super::Connection;
use super::frame::Terms;
use super::io::{Reader, Writer};
use super::links::{Ear, Said};
use super::opening::probe;
use super::strangers::Strangers;

/// So many bytes are on the way inside a pipe.
const PIPE: usize = 64 << 10;
/// So many notices are on their way to the carrier before more is read.
pub(super) const UNCONFIRMED: usize = 256;

/// Lets the WebSocket that `server` has probe a session of ours. False if it may not.
pub(super) fn lend_web_socket(
    strangers: &Arc<Strangers>,
    connection: Arc<Connection>,
    server: &str,
    sid: &str,
) -> bool {
    let may = connection.shared.config.allow_upgrades
        && connection.version() == Version::V4
        && connection.transport() == TransportKind::Polling;
    let Some(ear) = may.then(|| strangers.tie(sid, server, false)).flatten() else { return false };
    let Ok(number) = connection.open_probe() else { return false };
    let (near, far) = tokio::io::duplex(PIPE);
    let (reader, writer) = tokio::io::split(near);
    let (reader, writer) = (Reader::Pipe(reader), Writer::Pipe(writer));
    let closing = connection.shared.closing().clone();
    tokio::spawn(async move { probe(&connection, number, reader, writer, BytesMut::new(), Terms::default()).await });
    let lent = Lent { strangers: strangers.clone(), server: server.to_owned(), sid: sid.to_owned() };
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(far);
        tokio::select! {
            () = lent.bring(reader) => {}
            _ = lent.take(ear, writer) => {}
            () = closing.cancelled() => {}
        }
        lent.tell(vec![Packet::Close]);
    });
    true
}

struct Lent {
    strangers: Arc<Strangers>,
    server: String,
    sid: String,
}

impl Lent {
    /// From the session to the client, until it is over, or something may be lost.
    async fn bring(&self, mut reader: ReadHalf<DuplexStream>) {
        let mut decoder = Decoder::new(Role::Client, usize::MAX);
        let mut buffer = BytesMut::with_capacity(PIPE);
        let mut unconfirmed = FuturesUnordered::new();
        loop {
            tokio::select! {
                read = reader.read_buf(&mut buffer), if unconfirmed.len() < UNCONFIRMED => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                    let mut packets = Vec::new();
                    let open = loop {
                        let packet = match decoder.decode(&mut buffer) {
                            Ok(None) => break true,
                            Ok(Some(Event::Text(text))) => Packet::decode_text(text, Version::V4),
                            Ok(Some(Event::Binary(data))) => Packet::decode_binary(data, Version::V4),
                            Ok(Some(Event::Ping(_) | Event::Pong(_))) => continue,
                            Ok(Some(Event::Close(_))) | Err(_) => break false,
                        };
                        // The answer to the probe was given where the WebSocket is.
                        packets.extend(packet.ok().filter(|packet| !matches!(packet, Packet::Pong(_))));
                    };
                    buffer.reserve(PIPE);
                    if !packets.is_empty() {
                        let Some(published) = self.tell(packets) else { return };
                        unconfirmed.push(published);
                    }
                    if !open {
                        return;
                    }
                }
                Some(outcome) = unconfirmed.next() => if outcome.is_err() {
                    return;
                },
            }
        }
    }

    fn tell(&self, packets: Vec<Packet>) -> Option<Published> {
        self.strangers.tell(Some(self.server.clone()), NoticeBody::Drain { sid: self.sid.clone(), packets })
    }

    /// From the client to the session, until it is over.
    async fn take(&self, mut ear: Ear, mut writer: WriteHalf<DuplexStream>) -> std::io::Result<()> {
        writer.write_all(&client_frame(&Packet::Ping("probe".into()))).await?;
        loop {
            match ear.next().await {
                Said::Packets(packets) => {
                    let frames: Vec<u8> = packets.iter().flat_map(client_frame).collect();
                    writer.write_all(&frames).await?;
                }
                Said::Upgrade(Some(request)) => {
                    let body = NoticeBody::Upgraded { request, take_over: false, packets: Vec::new() };
                    self.strangers.tell(Some(self.server.clone()), body);
                    writer.write_all(&client_frame(&Packet::Upgrade)).await?;
                }
                Said::Ping(_) => {}
                Said::Upgrade(None) | Said::End => return Ok(()),
            }
        }
    }
}

/// A packet as its client would have sent it here.
pub(super) fn client_frame(packet: &Packet) -> Vec<u8> {
    // Nobody is between us and ourselves whom a mask would keep from anything.
    let mask = [0; 4];
    match packet {
        Packet::Message(Message::Binary(data)) => masked_frame(Opcode::Binary, data, mask),
        packet => {
            let mut text = Vec::new();
            packet.encode_text(Version::V4, &mut text);
            masked_frame(Opcode::Text, &text, mask)
        }
    }
}
