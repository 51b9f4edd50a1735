//! A WebSocket that is here, for a session of another server.
//!
//! It probes here, as any does. Once its client has changed to it, what it sends goes to the server that has the session, and
//! what that server sends is written to it, until one end is over. A server of Node.js may hand its session over instead; it
//! is ours from then on, and the WebSocket that of an ordinary [`Connection`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socketio_protocol::cluster::sessions::NoticeBody;
use socketio_protocol::engine::{HandshakeError, Message, Packet, TransportKind, Version};
use socketio_protocol::websocket::{self, Event, Opcode};
use tokio::io::AsyncReadExt;

use super::Connection;
use super::answer::Answer;
use super::clock::now;
use super::codec::Codec;
use super::engine::Shared;
use super::frame::Terms;
use super::head::Head;
use super::incoming::{FAREWELL, Incoming, drain};
use super::io::{Reader, Writer};
use super::lent::{UNCONFIRMED, client_frame};
use super::links::{Ear, Mouth, Said};
use super::opening::{Opening, Stream, write_all};
use super::request::Request;
use super::strangers::Strangers;

/// So much is read at once.
const READ: usize = 16 << 10;

impl Shared {
    /// Takes a WebSocket for a session of another server, if that server lets it probe.
    pub(super) async fn carry_web_socket(
        self: &Arc<Self>,
        head: &Head<'_>,
        sid: String,
        base64: bool,
    ) -> Result<Answer, HandshakeError> {
        let unknown = || HandshakeError::UnknownSid { sid: sid.clone() };
        let strangers = self.strangers.get().ok_or_else(unknown)?.clone();
        let (mut answer, terms) = self.switch_protocols(head, base64)?;
        let owner = strangers.owner_of_web_socket(&sid).await.ok_or_else(unknown)?;
        let (shared, request) = (self.clone(), head.copy(self).clone());
        let carried = Carried { shared, strangers, owner, sid, request, terms };
        answer.opening = Some(Box::new(Opening::Carried(carried)));
        Ok(answer)
    }
}

pub(crate) struct Carried {
    shared: Arc<Shared>,
    strangers: Arc<Strangers>,
    owner: String,
    sid: String,
    request: Request,
    terms: Terms,
}

impl Carried {
    /// Begins on a stream; `None` is one that has broken meanwhile.
    pub(super) async fn begin(self, stream: Option<Stream>) {
        let Some((reader, writer, ahead)) = stream else {
            return self.strangers.not_upgraded(self.owner, self.sid);
        };
        let codec = Codec::of(&reader, &self.shared, self.terms);
        self.run(From { codec, reader, buffer: BytesMut::from(ahead) }, writer).await;
    }

    async fn run(self, mut from: From, mut writer: Writer) {
        let closing = self.shared.closing().clone();
        let config = &self.shared.config;
        let patience = writer.patience(config.write_timeout);
        let probing = from.probe(&mut writer, patience);
        let probed = tokio::select! {
            probed = tokio::time::timeout(config.timing.upgrade_timeout, probing) => probed,
            () = closing.cancelled() => Ok(false),
        };
        let tied = probed.is_ok_and(|upgraded| upgraded).then(|| self.strangers.tie(&self.sid, &self.owner, true));
        let Some(ear) = tied.flatten() else {
            self.strangers.not_upgraded(self.owner, self.sid);
            return say_goodbye(writer, from.reader).await;
        };
        match self.strangers.upgrade(&self.owner, &self.sid).await {
            Some((false, _)) => {
                tokio::select! {
                    () = self.send(&mut from, ear.mouth()) => {}
                    _ = receive(ear, &mut writer, patience) => {}
                    () = closing.cancelled() => {}
                }
                self.strangers.tell(Some(self.owner), NoticeBody::Closed { sid: self.sid });
                say_goodbye(writer, from.reader).await;
            }
            Some((true, packets)) => {
                drop(ear);
                self.take_over(packets, from, writer).await;
            }
            None => say_goodbye(writer, from.reader).await,
        }
    }

    /// What the client sends, to the server that has its session, until it is over, or something may be lost.
    async fn send(&self, from: &mut From, mouth: Mouth) {
        let mut unconfirmed = FuturesUnordered::new();
        loop {
            tokio::select! {
                packet = from.packet(), if unconfirmed.len() < UNCONFIRMED => match packet {
                    Some(Heard::Packet(Packet::Close)) | None => return,
                    Some(Heard::Packet(packet)) => {
                        let body = NoticeBody::Posted { sid: self.sid.clone(), packet };
                        let Some(published) = self.strangers.tell(Some(self.owner.clone()), body) else { return };
                        unconfirmed.push(published);
                    }
                    Some(Heard::Ping(data)) => mouth.say(Said::Ping(data)),
                },
                Some(outcome) = unconfirmed.next() => if outcome.is_err() {
                    return;
                },
            }
        }
    }

    /// The session is ours from now on. What its client has sent comes first.
    async fn take_over(self, packets: Vec<Packet>, from: From, writer: Writer) {
        let Carried { shared, sid, request, terms, .. } = self;
        let mut ahead: BytesMut = packets.iter().flat_map(client_frame).collect::<Vec<u8>>().as_slice().into();
        ahead.extend_from_slice(&from.buffer);
        let (sid, transport) = (sid.into(), TransportKind::WebSocket);
        let connection = Connection::new(sid, Version::V4, transport, false, request, shared.clone(), now());
        shared.remember(&connection);
        connection.opened(writer, terms);
        let mut incoming = Incoming::new(connection);
        incoming.read_from(from.reader, ahead);
        shared.sessions_at_work.spawn(shared.accept(incoming));
    }
}

/// What the other server sends, to the client, until it is over.
async fn receive(mut ear: Ear, writer: &mut Writer, patience: Duration) -> io::Result<()> {
    loop {
        let mut out = Vec::new();
        let mut over = false;
        match ear.next().await {
            Said::Packets(packets) => {
                for packet in packets {
                    over |= packet == Packet::Close;
                    if !over {
                        out.extend_from_slice(&frame(&packet));
                    }
                }
            }
            Said::Ping(data) => out.extend_from_slice(&websocket::frame(Opcode::Pong, &data)),
            Said::Upgrade(_) => {}
            Said::End => return Ok(()),
        }
        write_all(writer, &out, patience).await?;
        if over {
            return Ok(());
        }
    }
}

fn frame(packet: &Packet) -> Bytes {
    match packet {
        Packet::Message(Message::Binary(data)) => websocket::frame(Opcode::Binary, data),
        packet => {
            let mut text = Vec::new();
            packet.encode_text(Version::V4, &mut text);
            websocket::frame(Opcode::Text, &text)
        }
    }
}

async fn say_goodbye(mut writer: Writer, reader: Reader) {
    let goodbye = async {
        let _ = write_all(&mut writer, &[0x88, 0], FAREWELL).await;
        drop(writer);
        drain(reader).await;
    };
    let _ = tokio::time::timeout(FAREWELL, goodbye).await; // Longer than that nobody is waited for.
}

/// The reading half of the WebSocket.
struct From {
    reader: Reader,
    codec: Codec,
    buffer: BytesMut,
}

enum Heard {
    Packet(Packet),
    /// Of the WebSocket's own.
    Ping(Bytes),
}

impl From {
    /// Whether the client says the words with which it changes to this WebSocket.
    async fn probe(&mut self, writer: &mut Writer, patience: Duration) -> bool {
        loop {
            match self.packet().await {
                Some(Heard::Packet(Packet::Ping(data))) if data == "probe" => {
                    if write_all(writer, &frame(&Packet::Pong(data)), patience).await.is_err() {
                        return false;
                    }
                }
                Some(Heard::Packet(Packet::Upgrade)) => return true,
                Some(Heard::Ping(_)) => {}
                _ => return false,
            }
        }
    }

    /// The next packet. `None` when the client has left, or sends what is none. Can be dropped and asked again.
    async fn packet(&mut self) -> Option<Heard> {
        loop {
            match self.codec.decode(&mut self.buffer) {
                Ok(None) => {}
                Ok(Some(Event::Text(text))) => return Packet::decode_text(text, Version::V4).ok().map(Heard::Packet),
                Ok(Some(Event::Binary(data))) => {
                    return Packet::decode_binary(data, Version::V4).ok().map(Heard::Packet);
                }
                Ok(Some(Event::Ping(data))) => return Some(Heard::Ping(data)),
                Ok(Some(Event::Pong(_))) => continue,
                Ok(Some(Event::Close(_))) | Err(_) => return None,
            }
            self.buffer.reserve(READ);
            if !matches!(self.reader.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }
}
