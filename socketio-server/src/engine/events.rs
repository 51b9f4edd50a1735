//! What happens to a connection, for who wants to watch it, and room in its queue, for who wants to wait for it.
//!
//! Both are rare: a connection holds a [`Watch`] only once somebody has asked for one of them, and looks at one pointer
//! otherwise.

use std::sync::Arc;

use socketio_protocol::engine::{CloseReason, Message, Packet, TransportKind};
use tokio::sync::{Notify, broadcast};

use super::connection::{Connection, SendError};
use super::frame::Frame;

/// Something that happened to a connection. See [`Connection::events`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The client has changed to this transport.
    Upgrade(TransportKind),
    /// A packet arrived.
    Packet(Packet),
    /// A packet was queued for the client.
    PacketCreate(Packet),
    /// All that was queued has been written.
    Drain,
    /// The client has shown that it lives: its pong (Engine.IO 4) or its ping (Engine.IO 3) arrived.
    Heartbeat,
    /// The session has ended. Nothing follows.
    Close(CloseReason),
}

/// What happens to a connection from now on. Made by [`Connection::events`].
#[derive(Debug)]
pub struct ConnectionEvents {
    receiver: broadcast::Receiver<ConnectionEvent>,
    missed: u64,
}

impl ConnectionEvents {
    /// The next event; `None` after [`ConnectionEvent::Close`].
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many events were lost because they were not taken fast enough: 256 are kept.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

/// How many events are kept for who watches a connection.
const EVENTS: usize = 256;

/// Below which [`Connection::ready`] lets go: so much keeps a link busy while the sender makes more.
const READY_PACKETS: usize = 256;
const READY_BYTES: usize = 256 << 10;

/// Who watches a connection or waits for it.
#[derive(Debug)]
pub(super) struct Watch {
    /// None once the session has ended.
    events: std::sync::Mutex<Option<broadcast::Sender<ConnectionEvent>>>,
    room: Notify,
}

impl Default for Watch {
    fn default() -> Self {
        Self { events: std::sync::Mutex::new(Some(broadcast::Sender::new(EVENTS))), room: Notify::new() }
    }
}

impl Watch {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<broadcast::Sender<ConnectionEvent>>> {
        self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tell(&self, event: ConnectionEvent) {
        if let Some(events) = &*self.lock() {
            let _ = events.send(event); // Nobody watches any more.
        }
    }

    fn is_watched(&self) -> bool {
        self.lock().as_ref().is_some_and(|events| events.receiver_count() > 0)
    }

    /// Packets arrived.
    pub(super) fn arrived(&self, packet: &Packet, heartbeat: bool) {
        if self.is_watched() {
            self.tell(ConnectionEvent::Packet(packet.clone()));
            if heartbeat {
                self.tell(ConnectionEvent::Heartbeat);
            }
        }
    }

    /// A message of Socket.IO was queued.
    pub(super) fn queued(&self, frame: &Frame) {
        if !self.is_watched() {
            return;
        }
        let text = std::str::from_utf8(frame.text()).ok().filter(|text| !text.is_empty());
        let text = text.map(|text| Message::Text(text.into()));
        for message in text.into_iter().chain(frame.attachments().cloned().map(Message::Binary)) {
            self.tell(ConnectionEvent::PacketCreate(Packet::Message(message)));
        }
    }

    /// A packet of the engine was queued.
    pub(super) fn queued_packet(&self, packet: &Packet) {
        self.tell(ConnectionEvent::PacketCreate(packet.clone()));
    }

    pub(super) fn upgraded(&self, transport: TransportKind) {
        self.tell(ConnectionEvent::Upgrade(transport));
    }

    /// Something was written; so much is left.
    pub(super) fn wrote(&self, packets: usize, bytes: usize) {
        if packets == 0 {
            self.tell(ConnectionEvent::Drain);
        }
        if is_room(packets, bytes) {
            self.room.notify_waiters();
        }
    }

    /// The session has ended.
    pub(super) fn closed(&self, reason: CloseReason) {
        self.tell(ConnectionEvent::Close(reason));
        *self.lock() = None;
        self.room.notify_waiters();
    }
}

fn is_room(packets: usize, bytes: usize) -> bool {
    packets < READY_PACKETS && bytes < READY_BYTES
}

impl Connection {
    /// What happens to the connection from now on: packets in and out, heartbeats, an upgrade, its end. Watching costs
    /// something for each packet; a connection that nobody watches pays nothing.
    ///
    /// ```
    /// # use socketio_server::{Server, Socket, engine::ConnectionEvent};
    /// # let io = Server::new();
    /// io.on_connection(async |socket: Socket| {
    ///     let mut events = socket.conn().events();
    ///     tokio::spawn(async move {
    ///         while let Some(event) = events.next().await {
    ///             match event {
    ///                 ConnectionEvent::Upgrade(transport) => println!("now over {transport:?}"),
    ///                 ConnectionEvent::Close(reason) => println!("closed: {}", reason.as_str()),
    ///                 _ => {}
    ///             }
    ///         }
    ///     });
    /// });
    /// ```
    #[doc(alias = "packetCreate")]
    #[doc(alias = "upgrade")]
    #[doc(alias = "heartbeat")]
    pub fn events(&self) -> ConnectionEvents {
        let watch = self.watch();
        let receiver = match &*watch.lock() {
            Some(events) => events.subscribe(),
            None => broadcast::Sender::new(1).subscribe(), // The end of the session is past: nothing comes.
        };
        ConnectionEvents { receiver, missed: 0 }
    }

    /// Waits until little is queued for the client: fewer than 256 packets and 256 KiB. Who sends much to one client
    /// waits for this between packets, and sends as fast as the client reads.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the session ends, or has ended.
    #[doc(alias = "drain")]
    pub async fn ready(self: &Arc<Self>) -> Result<(), SendError> {
        loop {
            let room = self.watch().room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.queued() {
                None => return Err(SendError::Closed),
                Some((packets, bytes)) if is_room(packets, bytes) => return Ok(()),
                Some(_) => room.await,
            }
        }
    }
}
