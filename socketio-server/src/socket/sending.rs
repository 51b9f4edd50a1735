//! What is sent to one client, and to all others.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::socket::{Args, Kind, Packet, encode_ack, encode_event};
use tokio::sync::oneshot;

use super::{CONNECTED, CONNECTING, GONE, LEAVING, Socket};
use crate::ack::AckFuture;
use crate::adapter::{Emitted, Outgoing, Target};
use crate::broadcast::{Broadcast, IntoRooms, check_name};
use crate::emitting::Emitting;
use crate::engine::counters::bump;
use crate::engine::{Draft, SendError};
use crate::error::EmitError;
use crate::parser::Parser;

impl Socket {
    /// Sends `event` to the client. `args`: a tuple is the list of arguments, `()` is none, anything else is one.
    ///
    /// Returns when the packet is queued, in order with all that was sent before.
    ///
    /// # Errors
    ///
    /// [`EmitError::Closed`] when the socket is disconnected, [`EmitError::Full`] when the client reads too slowly,
    /// [`EmitError::Reserved`] and [`EmitError::Encode`] as their names say. Nothing has been sent in any case.
    ///
    /// ```
    /// # fn example(socket: socketio_server::Socket) -> Result<(), socketio_server::EmitError> {
    /// socket.emit("hello", ("can you hear me?", 1, 2, "abc"))?;
    /// # Ok(()) }
    /// ```
    ///
    /// Socket.IO protocol v5, "Sending and receiving data".
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit_flagged(event, &args, false, true)
    }

    pub(crate) fn emit_flagged<T: Serialize>(
        &self,
        event: &str,
        args: &T,
        volatile: bool,
        compress: bool,
    ) -> Result<Emitted, EmitError> {
        check_name(event)?;
        if compress && self.is_between_us() {
            let nsp = self.namespace().name();
            let draft = Draft::write(|out| encode_event(out, nsp, None, event, args))?;
            return match (self.phase() != GONE).then(|| self.conn().send_draft(draft, volatile)) {
                Some(Ok(()) | Err(SendError::Dropped)) => Ok(Emitted::here()),
                Some(Err(error)) => Err(error.into()),
                None => Err(EmitError::Closed),
            };
        }
        let packet = Outgoing::event(self.namespace().parser(), self.namespace().name(), None, event, args)?;
        self.send_outgoing(&packet.flagged(Some(compress)), volatile)
    }

    /// Whether what is sent to the client is written for it alone: nobody else looks at it, or keeps it to send it again.
    fn is_between_us(&self) -> bool {
        let local = self.namespace().adapter().local();
        *self.namespace().parser() == Parser::Json
            && local.history().is_none()
            && local.watchers().is_empty()
            && self.conn().takes_drafts()
    }

    /// Sends an event that [`Namespace::encode`](crate::Namespace::encode) has encoded, which can be sent many times. One of another namespace is
    /// encoded anew for this.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// let packet = io.encode("tick", 1).unwrap();
    /// for socket in io.local_sockets() {
    ///     socket.emit_encoded(&packet).unwrap();
    /// }
    /// assert_eq!(client.expect::<u32>("tick").await, 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`emit`](Socket::emit).
    pub fn emit_encoded(&self, packet: &Outgoing) -> Result<Emitted, EmitError> {
        self.send_outgoing(&*packet.within(self.namespace().parser(), self.namespace().name())?, false)
    }

    fn send_outgoing(&self, packet: &Outgoing, volatile: bool) -> Result<Emitted, EmitError> {
        let sent = match self.phase() {
            GONE => return Err(EmitError::Closed),
            // It has its place in the order of all servers first.
            CONNECTED | LEAVING if self.is_logged() => {
                let mut target = Target { volatile, ..Target::socket(self.id().clone()) };
                target.compress = (!packet.frame().may_compress()).then_some(false);
                return Ok(self.namespace().adapter().broadcast(packet, &target)?);
            }
            CONNECTING => self.namespace().adapter().local().deliver_early(&self.0.member, packet, volatile),
            _ => self.namespace().adapter().local().deliver_to(&self.0.member, packet, volatile),
        };
        match sent {
            Ok(()) | Err(SendError::Dropped) => Ok(Emitted::here()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether what it is sent goes through the log of a cluster.
    pub(super) fn is_logged(&self) -> bool {
        self.0.pid.is_some() && self.namespace().adapter().local().shared_history().is_some()
    }

    /// [`emit`](Socket::emit)s the event `message`.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.send("hi").unwrap();
    /// assert_eq!(client.expect::<String>("message").await, "hi");
    /// # }
    /// ```
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// Sends `event` and asks the client to answer. The question leaves at once, in order; await the result for the
    /// answer: its first argument, or all of them if `R` is a tuple. Waits 30 s, or as
    /// [`timeout`](Socket::timeout) says.
    ///
    /// ```
    /// # async fn example(socket: socketio_server::Socket) -> Result<(), socketio_server::AckError> {
    /// let answer: String = socket.emit_with_ack("question", "do you think so?").await?;
    /// # Ok(()) }
    /// ```
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> AckFuture<R> {
        self.ask(event, &args, self.namespace().shared().config.limits.ack_timeout, true)
    }

    pub(crate) fn ask<R, T: Serialize>(
        &self,
        event: &str,
        args: &T,
        timeout: Duration,
        compress: bool,
    ) -> AckFuture<R> {
        let id = self.namespace().adapter().local().acks().next_id();
        let sent = check_name(event).and_then(|()| {
            if self.phase() == GONE {
                return Err(EmitError::Closed);
            }
            let (parser, nsp) = (self.namespace().parser(), self.namespace().name());
            let packet = Outgoing::event(parser, nsp, Some(id), event, args)?;
            self.namespace().adapter().local().show_to(self.id(), &packet);
            let (sender, receiver) = oneshot::channel();
            {
                let max = self.namespace().shared().config.limits.max_pending_acks;
                let mut acks = self.acks();
                if self.phase() == GONE {
                    return Err(EmitError::Closed); // Meanwhile: who ends it has taken all that waited.
                }
                let acks = acks.get_or_insert_default();
                if acks.len() >= max {
                    return Err(EmitError::TooManyAcks { max });
                }
                acks.insert(id, sender);
            }
            match self.conn().send_frame(packet.flagged(Some(compress)).frame(), false) {
                Ok(()) => Ok(receiver),
                Err(error) => {
                    self.forget_ack(id);
                    Err(error.into())
                }
            }
        });
        match sent {
            Ok(answer) => AckFuture::waiting(self.clone(), id, answer, timeout),
            Err(error) => AckFuture::failed(error),
        }
    }

    /// The socket with a time limit for the answer to its next [`emit_with_ack`](Emitting::emit_with_ack).
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// let answer = socket.timeout(Duration::from_millis(10)).emit_with_ack::<String>("question", ()).await;
    /// assert!(matches!(answer, Err(AckError::Timeout)));
    /// # }
    /// ```
    pub fn timeout(&self, timeout: Duration) -> Emitting<'_> {
        self.emitting().timeout(timeout)
    }

    /// The socket for a packet that is dropped when the client cannot take it at once.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.volatile().emit("position", (12.5, 3.0)).unwrap(); // the next one will do as well
    /// # }
    /// ```
    pub fn volatile(&self) -> Emitting<'_> {
        self.emitting().volatile()
    }

    /// The socket for a packet that is compressed, or not, where compression is on.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// # let photo = Bytes::new();
    /// socket.compress(false).emit("photo", photo).unwrap(); // is compressed already
    /// # }
    /// ```
    pub fn compress(&self, compress: bool) -> Emitting<'_> {
        self.emitting().compress(compress)
    }

    /// Node's hint from version 2 whether there is binary data inside; it is found by itself, so this changes nothing.
    pub fn binary(&self, _binary: bool) -> Emitting<'_> {
        self.emitting()
    }

    fn emitting(&self) -> Emitting<'_> {
        Emitting::of(self, self.namespace().shared().config.limits.ack_timeout)
    }

    /// Everybody in the namespace but this socket.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.broadcast().emit("joined", socket.id()).unwrap();
    /// assert_eq!(bob.expect::<String>("joined").await, ana.id());
    /// # }
    /// ```
    pub fn broadcast(&self) -> Broadcast {
        let target = Target { except: vec![self.id().clone()], ..Target::default() };
        Broadcast::new(self.namespace().clone(), target)
    }

    /// The sockets of a room, or of any of several, but not this one. (So `socket.to(socket.id())` is nobody; to send
    /// to the socket itself, [`emit`](Socket::emit).)
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.local_socket(bob.id()).unwrap().join("red");
    /// socket.to("red").emit("move", "a2").unwrap();
    /// socket.to(["red", "blue"]).emit("move", "a4").unwrap(); // once each
    /// assert_eq!(bob.expect::<String>("move").await, "a2");
    /// # }
    /// ```
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// As [`to`](Socket::to): Node's `in`, which is a keyword here.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// io.local_socket(bob.id()).unwrap().join("red");
    /// socket.within("red").emit("move", "a2").unwrap();
    /// assert_eq!(bob.expect::<String>("move").await, "a2");
    /// # }
    /// ```
    #[doc(alias = "in")]
    pub fn within(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// Everybody but this socket and those of a room, or of any of several.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.except("muted").emit("news", "for all others").unwrap();
    /// assert_eq!(bob.expect::<String>("news").await, "for all others");
    /// # }
    /// ```
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Everybody on this server but this socket.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let (mut ana, mut bob) = (TestClient::connect(&io).await, TestClient::connect(&io).await);
    /// # let socket = io.local_socket(ana.id()).unwrap();
    /// socket.local().emit("restart", "this server, in a minute").unwrap();
    /// assert_eq!(bob.expect::<String>("restart").await, "this server, in a minute");
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    /// Sends a packet that is no event.
    pub(crate) fn send_packet(&self, kind: Kind, data: Args) {
        let packet = Packet::new(kind, self.namespace().name().clone(), data);
        if let Ok(frame) = self.namespace().parser().packet(&packet) {
            let _ = self.conn().send_frame(&frame, false); // A client that is gone finds out elsewhere.
        }
    }

    /// One value, even if it is a tuple.
    pub(crate) fn send_ack<T: Serialize + ?Sized>(&self, id: u64, value: &T) -> Result<(), EmitError> {
        self.send_ack_args(id, &(value,))
    }

    pub(crate) fn send_ack_args<T: Serialize + ?Sized>(&self, id: u64, args: &T) -> Result<(), EmitError> {
        let (parser, nsp) = (self.namespace().parser(), self.namespace().name());
        if *parser == Parser::Json && self.conn().takes_drafts() {
            let draft = Draft::write(|out| encode_ack(out, nsp, id, args))?;
            bump(&self.namespace().shared().counts.acks_sent);
            return Ok(self.conn().send_draft(draft, false)?);
        }
        let frame = parser.ack(nsp, id, args)?;
        bump(&self.namespace().shared().counts.acks_sent);
        Ok(self.conn().send_frame(&frame, false)?)
    }
}
