//! One Engine.IO session: a transport, heartbeats, and the change from polling to WebSocket.

use std::{collections::VecDeque, time::Duration};

use serde::Deserialize;
use socketio_protocol::{
    ByteString,
    engine::{Message, Packet, TransportKind, Version},
    websocket::{Event, Opcode},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    ClientError,
    address::Address,
    polling::{self, Polling},
    stream::TlsOptions,
    websocket::WebSocket,
};

/// How to open sessions.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) address: Address,
    pub(crate) tls: TlsOptions,
    /// The first is used; where it fails the next is tried. After polling, WebSocket is changed to if it is here.
    pub(crate) transports: Vec<TransportKind>,
    /// The longest message that is taken.
    pub(crate) max_message: usize,
}

/// What the server says in the open packet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    sid: String,
    upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    #[serde(default = "no_limit")]
    max_payload: usize,
}

fn no_limit() -> usize {
    usize::MAX
}

/// An open session.
pub(crate) struct Engine {
    transport: Transport,
    /// The WebSocket that is being tried while polls go on.
    probe: Option<JoinHandle<Option<WebSocket>>>,
    /// Packets that have come and were not looked at.
    ready: VecDeque<Packet>,
    /// So long may the server be silent.
    silence: Duration,
    deadline: Instant,
}

enum Transport {
    Polling(Polling),
    /// The last poll is waited for; then the WebSocket takes over. What is sent meanwhile waits.
    Changing {
        polling: Polling,
        next: WebSocket,
        waiting: Vec<Packet>,
    },
    WebSocket(WebSocket),
    Closed,
}

impl Engine {
    pub(crate) async fn open(options: &Options) -> Result<Engine, ClientError> {
        let refused =
            |reason: &str| ClientError::Refused { address: options.address.authority(), reason: reason.to_owned() };
        let mut first = None;
        for transport in &options.transports {
            let opened = match transport {
                TransportKind::Polling => Engine::by_polling(options).await,
                TransportKind::WebSocket => Engine::by_websocket(options).await,
                TransportKind::WebTransport => Err(refused("this client does not speak WebTransport")),
            };
            match opened {
                Ok(engine) => return Ok(engine),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| refused("no transport is left")))
    }

    async fn by_websocket(options: &Options) -> Result<Engine, ClientError> {
        let Options { address, tls, max_message, .. } = options;
        let mut socket = WebSocket::open(address, tls, None, *max_message).await?;
        let first = match socket.next().await? {
            Event::Text(text) => Packet::decode_text(text, Version::V4).ok(),
            _ => None,
        };
        let open = read_open(first.as_ref(), address)?;
        Ok(Engine::new(Transport::WebSocket(socket), &open))
    }

    async fn by_polling(options: &Options) -> Result<Engine, ClientError> {
        let Options { address, tls, max_message, .. } = options;
        let mut packets = polling::handshake(address, tls, *max_message).await?.into_iter();
        let open = read_open(packets.next().as_ref(), address)?;
        let polling = Polling::start(address, tls, &open.sid, open.max_payload, *max_message);
        let mut engine = Engine::new(Transport::Polling(polling), &open);
        engine.ready.extend(packets);
        let may_change = open.upgrades.iter().any(|name| name == TransportKind::WebSocket.as_str());
        if may_change && options.transports.contains(&TransportKind::WebSocket) {
            let (options, sid) = (options.clone(), open.sid);
            engine.probe = Some(tokio::spawn(async move { timeout(PROBE, probe(&options, &sid)).await.ok()?.ok() }));
        }
        Ok(engine)
    }

    fn new(transport: Transport, open: &Open) -> Engine {
        let silence =
            Duration::from_millis(open.ping_interval.saturating_add(open.ping_timeout).min(LONGEST_SILENCE_MS));
        Engine { transport, probe: None, ready: VecDeque::new(), silence, deadline: Instant::now() + silence }
    }

    /// The next message. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    ///
    /// When the session has ended, whyever.
    pub(crate) async fn next(&mut self) -> Result<Message, ClientError> {
        loop {
            while let Some(packet) = self.ready.pop_front() {
                match packet {
                    Packet::Message(message) => return Ok(message),
                    Packet::Ping(data) => self.send(vec![Packet::Pong(data)]),
                    Packet::Close => return Err(ended("the server closed the session")),
                    _ => {}
                }
            }
            self.wait().await?;
        }
    }

    /// Waits for packets, or for a step of the change of transports.
    async fn wait(&mut self) -> Result<(), ClientError> {
        let Engine { transport, probe, ready, silence, deadline } = self;
        let brought = match transport {
            Transport::Polling(polling) => tokio::select! {
                brought = polling.next() => brought,
                probed = probed(probe) => {
                    *probe = None;
                    if let Some(next) = probed {
                        polling.stop();
                        self.change(next);
                    }
                    return Ok(());
                }
                () = sleep_until(*deadline) => return Err(ended("the server has fallen silent")),
            },
            Transport::Changing { polling, .. } => tokio::select! {
                brought = polling.next() => match brought {
                    None => return self.changed(),
                    brought => brought,
                },
                () = sleep_until(*deadline) => return Err(ended("the server has fallen silent")),
            },
            Transport::WebSocket(socket) => tokio::select! {
                event = socket.next() => Some(event.and_then(packet)),
                () = sleep_until(*deadline) => return Err(ended("the server has fallen silent")),
            },
            Transport::Closed => None,
        };
        ready.extend(brought.unwrap_or_else(|| Err(ended("the session is closed")))?);
        *deadline = Instant::now() + *silence;
        Ok(())
    }

    fn change(&mut self, next: WebSocket) {
        self.transport = match std::mem::replace(&mut self.transport, Transport::Closed) {
            Transport::Polling(polling) => Transport::Changing { polling, next, waiting: Vec::new() },
            other => other,
        };
    }

    /// The last poll has come back: the WebSocket takes over.
    fn changed(&mut self) -> Result<(), ClientError> {
        if let Transport::Changing { mut next, waiting, .. } = std::mem::replace(&mut self.transport, Transport::Closed)
        {
            next.queue(Opcode::Text, b"5");
            self.transport = Transport::WebSocket(next);
            self.send(waiting);
        }
        Ok(())
    }

    /// Queues packets. They leave in this order, while [`next`](Engine::next) waits.
    pub(crate) fn send(&mut self, packets: Vec<Packet>) {
        match &mut self.transport {
            Transport::Polling(polling) => polling.send(packets),
            Transport::Changing { waiting, .. } => waiting.extend(packets),
            Transport::WebSocket(socket) => packets.iter().for_each(|packet| match packet {
                Packet::Message(Message::Binary(data)) => socket.queue(Opcode::Binary, data),
                packet => {
                    let mut text = Vec::new();
                    packet.encode_text(Version::V4, &mut text);
                    socket.queue(Opcode::Text, &text);
                }
            }),
            Transport::Closed => {}
        }
    }

    /// Whether so much waits to leave that more should wait elsewhere.
    pub(crate) fn is_full(&self) -> bool {
        match &self.transport {
            Transport::Polling(polling) => polling.queued() > FULL,
            Transport::WebSocket(socket) => socket.queued() > FULL,
            Transport::Changing { waiting, .. } => waiting.len() > MOST_WAITING,
            Transport::Closed => false,
        }
    }

    pub(crate) fn transport(&self) -> TransportKind {
        match self.transport {
            Transport::WebSocket(_) => TransportKind::WebSocket,
            _ => TransportKind::Polling,
        }
    }

    /// Says goodbye, and waits until the server has read all that was sent, or a second.
    pub(crate) async fn close(mut self) {
        self.probe.take().iter().for_each(JoinHandle::abort);
        self.send(vec![Packet::Close]);
        let goodbye = async {
            // What waits for the change of transports leaves when the last poll has come back.
            while let Transport::Changing { polling, .. } = &mut self.transport {
                if polling.next().await.is_none() {
                    let _ = self.changed();
                }
            }
            match self.transport {
                // A server closes the connection when it has read the close packet.
                Transport::WebSocket(mut socket) => {
                    let _ = socket.flush().await;
                    while socket.next().await.is_ok() {}
                }
                Transport::Polling(mut polling) => {
                    polling.stop();
                    while let Some(Ok(_)) = polling.next().await {}
                }
                Transport::Changing { .. } | Transport::Closed => {}
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

/// What became of the probe; never without one.
async fn probed(probe: &mut Option<JoinHandle<Option<WebSocket>>>) -> Option<WebSocket> {
    match probe {
        Some(probe) => probe.await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Opens a WebSocket for the session, and looks whether packets pass both ways.
async fn probe(options: &Options, sid: &str) -> Result<WebSocket, ClientError> {
    let mut socket = WebSocket::open(&options.address, &options.tls, Some(sid), options.max_message).await?;
    socket.queue(Opcode::Text, b"2probe");
    match socket.next().await? {
        Event::Text(text) if &*text == "3probe" => Ok(socket),
        _ => Err(ended("the server does not answer the probe")),
    }
}

fn packet(event: Event) -> Result<Vec<Packet>, ClientError> {
    let packet = match event {
        Event::Text(text) => Packet::decode_text(text, Version::V4),
        Event::Binary(data) => Ok(Packet::Message(Message::Binary(data))),
        _ => return Ok(Vec::new()),
    };
    Ok(vec![packet.map_err(|error| ended(&format!("the server sent what is not Engine.IO: {error}")))?])
}

fn read_open(packet: Option<&Packet>, address: &Address) -> Result<Open, ClientError> {
    let open = match packet {
        Some(Packet::Open(json)) => serde_json::from_str(json).ok(),
        _ => None,
    };
    let reason = || "its first packet is not the open packet of Engine.IO 4".to_owned();
    open.ok_or_else(|| ClientError::Refused { address: address.authority(), reason: reason() })
}

fn ended(reason: &str) -> ClientError {
    ClientError::Disconnected { reason: reason.to_owned() }
}

/// A text as a message.
pub(crate) fn text(text: impl Into<ByteString>) -> Packet {
    Packet::Message(Message::Text(text.into()))
}

/// How long a WebSocket is tried for.
const PROBE: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// So many bytes may wait to leave before more wait in front of the session.
const FULL: usize = 1 << 20;
const MOST_WAITING: usize = 1_024;
/// No server is waited for longer, whatever it says.
const LONGEST_SILENCE_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use socketio_server::{Data, Server};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_waits_for_the_change_of_transports_is_sent_before_the_end() {
        let io = Server::new();
        let (tell, mut heard) = mpsc::unbounded_channel();
        io.on("log", async move |Data(n): Data<u64>| {
            let _ = tell.send(n);
        });
        let listener = socketio_server::bind("127.0.0.1:0").await.expect("loopback has ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { io.serve(listener).await });

        let address = Address::parse(&url).expect("a URL");
        let transports = vec![TransportKind::Polling, TransportKind::WebSocket];
        let options = Options { address, tls: TlsOptions::default(), transports, max_message: 1_000_000 };
        let mut engine = Engine::open(&options).await.expect("it is let in");
        engine.send(vec![text("0")]);
        while !matches!(engine.transport, Transport::Changing { .. }) {
            engine.wait().await.expect("it goes on");
        }
        engine.send(vec![text(r#"2["log",7]"#)]);
        engine.close().await;
        assert_eq!(timeout(Duration::from_secs(10), heard.recv()).await, Ok(Some(7)));
    }
}
