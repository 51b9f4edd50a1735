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
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// use socketio_server::engine::{CloseReason, ConnectionEvent};
///
/// let mut events = socket.conn().events();
/// client.close();
/// while let Some(event) = events.next().await {
///     if let ConnectionEvent::Close(reason) = event {
///         assert_eq!(reason, CloseReason::TransportClose);
///     }
/// }
/// # }
/// ```
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
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// use socketio_server::engine::ConnectionEvent;
///
/// let mut events = socket.conn().events();
/// client.emit("hello", ());
/// assert!(matches!(events.next().await, Some(ConnectionEvent::Packet(_))));
/// assert_eq!(events.missed(), 0);
/// # }
/// ```
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
#[derive(Debug, Default)]
pub(super) struct Watch {
    events: std::sync::Mutex<Events>,
    room: Notify,
    #[cfg(feature = "admin")]
    meter: std::sync::OnceLock<Arc<dyn Meter>>,
}

/// Counts what goes through a connection. It may be told under the connection's lock, so it does no more.
#[cfg(feature = "admin")]
pub(crate) trait Meter: std::fmt::Debug + Send + Sync {
    /// A packet with so many bytes of data arrived.
    fn packet_in(&self, bytes: usize);
    /// A packet with so many bytes of data was queued.
    fn packet_out(&self, bytes: usize);
    /// The client has changed to another transport.
    fn upgraded(&self);
}

/// Where events go.
#[derive(Debug, Default)]
enum Events {
    /// Nobody has asked for them. (A channel has 14 KiB.)
    #[default]
    Unwatched,
    Watched(broadcast::Sender<ConnectionEvent>),
    /// The session has ended.
    Ended,
}

impl Watch {
    fn lock(&self) -> std::sync::MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tell(&self, event: ConnectionEvent) {
        if let Events::Watched(events) = &*self.lock() {
            let _ = events.send(event); // Nobody watches any more.
        }
    }

    fn is_watched(&self) -> bool {
        matches!(&*self.lock(), Events::Watched(events) if events.receiver_count() > 0)
    }

    /// Packets arrived.
    pub(super) fn arrived(&self, packet: &Packet, heartbeat: bool) {
        #[cfg(feature = "admin")]
        if let Some(meter) = self.meter.get()
            && let Packet::Message(message) = packet
        {
            meter.packet_in(match message {
                Message::Text(text) => text.len(),
                Message::Binary(bytes) => bytes.len(),
            });
        }
        if self.is_watched() {
            self.tell(ConnectionEvent::Packet(packet.clone()));
            if heartbeat {
                self.tell(ConnectionEvent::Heartbeat);
            }
        }
    }

    /// A message of Socket.IO was queued.
    pub(super) fn queued(&self, frame: &Frame) {
        #[cfg(feature = "admin")]
        if let Some(meter) = self.meter.get() {
            let text = Some(frame.text().len()).filter(|length| *length > 0);
            text.into_iter()
                .chain(frame.attachments().map(|bytes| bytes.len()))
                .for_each(|bytes| meter.packet_out(bytes));
        }
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
        #[cfg(feature = "admin")]
        if let Some(meter) = self.meter.get() {
            meter.upgraded();
        }
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
        *self.lock() = Events::Ended;
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
        let mut events = self.watch().lock();
        let receiver = match &*events {
            Events::Watched(sender) => sender.subscribe(),
            Events::Unwatched => {
                let (sender, receiver) = broadcast::channel(EVENTS);
                *events = Events::Watched(sender);
                receiver
            }
            Events::Ended => broadcast::Sender::new(1).subscribe(), // Its sender is gone: nothing comes.
        };
        ConnectionEvents { receiver, missed: 0 }
    }

    /// Has `meter` count what goes through the connection.
    #[cfg(feature = "admin")]
    pub(crate) fn set_meter(&self, meter: Arc<dyn Meter>) {
        let _ = self.watch().meter.set(meter); // Set once, by the task of the connection.
    }

    /// Waits until little is queued for the client: fewer than 256 packets and 256 KiB. Who sends much to one client
    /// waits for this between packets, and sends as fast as the client reads.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the session ends, or has ended.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// # tokio::spawn(async move { loop { client.next_event(std::time::Duration::from_secs(1)).await; } });
    /// // A long list, as fast as the client reads it.
    /// for row in 0..1_000 {
    ///     socket.conn().ready().await.unwrap();
    ///     socket.emit("row", row).unwrap();
    /// }
    /// # }
    /// ```
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
