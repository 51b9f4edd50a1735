//! The client's side of a connection: packets in and out, whatever carries them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use socketio_protocol::engine::{Message, Packet as EnginePacket, TransportKind, Version};
use socketio_protocol::socket::{Args, Kind, Limits, Packet, Value};
use tokio::sync::{mpsc, oneshot};

use super::{Connecting, Refused, polling, web_socket};
use crate::engine::Frame;
use crate::parser::{Decoder, Parser};

/// See the [module documentation](self).
pub(super) struct Link {
    outgoing: mpsc::UnboundedSender<Order>,
    state: Arc<Mutex<State>>,
    parser: Parser,
    version: Version,
    next_id: AtomicU64,
}

/// What a namespace hears.
pub(super) enum News {
    Event(Args, Option<u64>),
    Ended(&'static str),
}

/// What the task of the transport is to do.
pub(super) enum Order {
    Send(EnginePacket),
    Close,
    GoSilent,
}

type Entered = Result<(String, Option<String>), Refused>;

/// What packets from the server are for.
pub(super) struct State {
    version: Version,
    decoder: Decoder,
    namespaces: HashMap<ByteString, Namespace>,
    pub(super) ended: bool,
}

struct Namespace {
    news: mpsc::UnboundedSender<News>,
    entering: Option<oneshot::Sender<Entered>>,
    asked: HashMap<u64, oneshot::Sender<Args>>,
}

/// What the transport has to do about a packet.
pub(super) enum Reaction {
    None,
    Send(EnginePacket),
    End,
}

/// How often a client of version 3 pings. Less than any server's patience.
const V3_PING: Duration = Duration::from_secs(10);

impl Link {
    pub(super) async fn open(how: Connecting) -> Result<Arc<Self>, Refused> {
        let parser = how.server.0.shared.config.parser.clone();
        let version = how.version;
        let state = Arc::new(Mutex::new(State {
            version,
            decoder: parser.decoder(Limits {
                max_attachments: usize::MAX,
                max_bytes: usize::MAX,
                max_args: usize::MAX,
            }),
            namespaces: HashMap::new(),
            ended: false,
        }));
        let (outgoing, orders) = mpsc::unbounded_channel();
        let task = match how.transport {
            TransportKind::Polling => polling::open(how, state.clone(), orders).await?,
            _ => web_socket::open(how, state.clone(), orders).await?,
        };
        tokio::spawn(task); // Ends when nobody gives it orders any more.
        if version == Version::V3 {
            let outgoing = outgoing.downgrade();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(V3_PING).await;
                    let Some(outgoing) = outgoing.upgrade() else { return };
                    let _ = outgoing.send(Order::Send(EnginePacket::Ping(ByteString::new())));
                }
            });
        }
        Ok(Arc::new(Self { outgoing, state, parser, version, next_id: AtomicU64::new(0) }))
    }

    /// Asks to be let into a namespace.
    pub(super) fn enter(
        &self,
        nsp: &ByteString,
        auth: Args,
    ) -> (mpsc::UnboundedReceiver<News>, oneshot::Receiver<Entered>) {
        let (news, hearing) = mpsc::unbounded_channel();
        let (entering, entered) = oneshot::channel();
        let namespace = Namespace { news, entering: Some(entering), asked: HashMap::new() };
        let mut state = lock(&self.state);
        if !state.ended {
            state.namespaces.insert(nsp.clone(), namespace);
        }
        drop(state);
        // A client of version 3 is in `/` without asking.
        if self.version == Version::V4 || *nsp != "/" {
            self.packet(&Packet::new(Kind::Connect, nsp.clone(), auth));
        }
        (hearing, entered)
    }

    pub(super) fn emit<T: Serialize>(&self, nsp: &ByteString, id: Option<u64>, event: &str, args: &T) {
        self.frame(&self.parser.event(nsp, id, event, args).expect("what is sent can be written as JSON"));
    }

    pub(super) fn ask<T: Serialize>(&self, nsp: &ByteString, event: &str, args: &T) -> oneshot::Receiver<Args> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        if let Some(namespace) = lock(&self.state).namespaces.get_mut(nsp) {
            namespace.asked.insert(id, sender);
        }
        self.emit(nsp, Some(id), event, args);
        answer
    }

    pub(super) fn answer<T: Serialize>(&self, nsp: &ByteString, id: u64, args: &T) {
        self.frame(&self.parser.ack(nsp, id, args).expect("what is sent can be written as JSON"));
    }

    pub(super) fn leave(&self, nsp: &ByteString) {
        self.packet(&Packet::new(Kind::Disconnect, nsp.clone(), Args::none()));
        lock(&self.state).namespaces.remove(nsp);
    }

    pub(super) fn close(&self) {
        let _ = self.outgoing.send(Order::Close); // Its task has ended if it is closed already; so below.
    }

    pub(super) fn go_silent(&self) {
        let _ = self.outgoing.send(Order::GoSilent);
    }

    fn packet(&self, packet: &Packet) {
        self.frame(&self.parser.packet(packet).expect("packets without values can be written"));
    }

    fn frame(&self, frame: &Frame) {
        let text = (!frame.text().is_empty())
            .then(|| Message::Text(ByteString::try_from(frame.text().to_vec()).expect("a packet's text is UTF-8")));
        for message in text.into_iter().chain(frame.attachments().cloned().map(Message::Binary)) {
            let _ = self.outgoing.send(Order::Send(EnginePacket::Message(message)));
        }
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Takes in a packet of the server.
    pub(super) fn received(&mut self, packet: EnginePacket) -> Reaction {
        match packet {
            EnginePacket::Ping(data) if self.version == Version::V4 => Reaction::Send(EnginePacket::Pong(data)),
            EnginePacket::Close => Reaction::End,
            EnginePacket::Message(message) => {
                let packet = self.decoder.message(message).expect("the server writes what can be read");
                if let Some(packet) = packet {
                    self.packet(packet);
                }
                Reaction::None
            }
            _ => Reaction::None,
        }
    }

    fn packet(&mut self, packet: Packet) {
        #[derive(Deserialize)]
        struct Welcome {
            sid: String,
            pid: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Refusal {
            V4 { message: String, data: Option<Value> },
            V3(String),
        }
        let Some(namespace) = self.namespaces.get_mut(&packet.nsp) else { return };
        match packet.kind {
            Kind::Connect => {
                let welcome = packet.data.value::<Welcome>().ok().flatten();
                let (id, pid) = welcome.map_or_else(Default::default, |welcome| (welcome.sid, welcome.pid));
                if let Some(entering) = namespace.entering.take() {
                    let _ = entering.send(Ok((id, pid))); // Who does not wait any more need not know.
                }
            }
            Kind::ConnectError if namespace.entering.is_none() => {
                // To clients of Socket.IO 2 it is an event.
                if let Ok(error) = Args::new_event("error", &packet.data) {
                    let _ = namespace.news.send(News::Event(error, None));
                }
            }
            Kind::ConnectError => {
                let (message, data) = match packet.data.value::<Refusal>().ok().flatten() {
                    Some(Refusal::V4 { message, data }) => (message, data),
                    Some(Refusal::V3(message)) => (message, None),
                    None => ("refused".to_owned(), None),
                };
                if let Some(entering) = namespace.entering.take() {
                    let _ = entering.send(Err(Refused { status: None, message, data }));
                }
                self.namespaces.remove(&packet.nsp);
            }
            Kind::Event => {
                let _ = namespace.news.send(News::Event(packet.data, packet.id));
            }
            Kind::Ack => {
                if let Some(asked) = packet.id.and_then(|id| namespace.asked.remove(&id)) {
                    let _ = asked.send(packet.data);
                }
            }
            Kind::Disconnect => {
                let _ = namespace.news.send(News::Ended("io server disconnect"));
                self.namespaces.remove(&packet.nsp);
            }
        }
    }

    /// The connection is over.
    pub(super) fn end(&mut self) {
        self.ended = true;
        for (_, namespace) in self.namespaces.drain() {
            let _ = namespace.news.send(News::Ended("transport close"));
        }
    }
}

/// Tells the namespaces that the connection is over, however its task ends.
pub(super) struct EndOnDrop(pub(super) Arc<Mutex<State>>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        lock(&self.0).end();
    }
}

/// The refusal that an HTTP answer is.
pub(super) fn refused(status: u16, body: &[u8]) -> Refused {
    #[derive(Deserialize)]
    struct Error {
        message: String,
    }
    let message = match serde_json::from_slice(body) {
        Ok(Error { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    Refused { status: Some(status), message, data: None }
}
