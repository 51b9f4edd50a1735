//! What is sent to the sockets of this server.
//!
//! A broadcast is one walk over the selected members under a shared lock; each costs a reference count and a slot in
//! its connection's queue.

use std::sync::Arc;

use bytestring::ByteString;
use socketio_protocol::cluster::Offset;
use socketio_protocol::socket::{Args, EncodeError};

use super::MemoryAdapter;
use crate::adapter::acks::LocalAcks;
use crate::adapter::member::Member;
use crate::adapter::recovery::SharedHistory;
use crate::adapter::{Outgoing, Target};
use crate::engine::{Frame, SendError, Version};

impl MemoryAdapter {
    /// Queues an event for the selected sockets of this server.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// let tick = io.encode("tick", 1).unwrap();
    /// io.adapter().local().deliver(&tick, &Target::default());
    /// assert_eq!(client.expect::<u32>("tick").await, 1);
    /// # }
    /// ```
    pub fn deliver(&self, packet: &Outgoing, target: &Target) {
        self.deliver_as(packet, target, |packet, send| match &self.history {
            None => self.queue(packet, target),
            Some(history) if history.shared().is_some() => history.stamp(packet, send),
            Some(history) => history.record(packet, target, send),
        });
    }

    /// As [`deliver`](MemoryAdapter::deliver), an event that has come back from the log of the cluster.
    pub(in crate::adapter) fn deliver_logged(
        &self,
        history: &SharedHistory,
        at: Offset,
        packet: &Outgoing,
        target: &Target,
    ) {
        self.deliver_as(packet, target, |packet, send| history.deliver(at, packet, target, send));
    }

    fn deliver_as(&self, packet: &Outgoing, target: &Target, place: impl FnOnce(&Outgoing, &dyn Fn(&Outgoing))) {
        self.show(packet, target);
        let packet = &*packet.flagged(target.compress);
        if packet.frame().is_long() {
            self.compress_ahead(packet.frame(), target);
        }
        place(packet, &|recorded| self.queue_recorded(packet, recorded, target));
    }

    /// Compresses a long packet once here, on the sender's task and under no lock, if any of the selected clients wants
    /// it so. Else that would be left to the one task that writes for all of them. (What is kept for those who come back
    /// is another packet, with its offset, and is left to it.)
    fn compress_ahead(&self, frame: &Frame, target: &Target) {
        let (mut v4, mut v3) = (None, None);
        self.read().each(target.selection(), |_, member| {
            let connection = member.connection();
            let first = if connection.version() == Version::V4 { &mut v4 } else { &mut v3 };
            if first.is_none() && connection.compresses() {
                *first = Some(connection.clone());
            }
        });
        for connection in v4.into_iter().chain(v3) {
            connection.compress_ahead(frame);
        }
    }

    /// Queues an event for one socket.
    ///
    /// # Errors
    ///
    /// When the socket's connection is closed, or its queue full.
    pub(crate) fn deliver_to(&self, member: &Arc<Member>, packet: &Outgoing, volatile: bool) -> Result<(), SendError> {
        self.show_to(member.id(), packet);
        let Some(history) = self.history.as_ref().filter(|_| member.connection().version() == Version::V4) else {
            if packet.frame().is_long() {
                member.connection().compress_ahead(packet.frame());
            }
            return member.connection().send_frame(packet.frame(), volatile);
        };
        let mut result = Ok(());
        let target = Target { volatile, ..Target::socket(member.id().clone()) };
        history.record(packet, &target, |packet| result = member.connection().send_frame(packet.frame(), volatile));
        result
    }

    /// Queues an event for a socket that is not in yet. It is no part of the history: the client has no session to come
    /// back to. But a client takes the last text of any event for an offset, so it gets one.
    ///
    /// # Errors
    ///
    /// As [`deliver_to`](MemoryAdapter::deliver_to).
    pub(crate) fn deliver_early(&self, member: &Member, packet: &Outgoing, volatile: bool) -> Result<(), SendError> {
        self.show_to(member.id(), packet);
        match self.history.as_ref().filter(|_| member.connection().version() == Version::V4) {
            Some(history) => {
                let mut result = Ok(());
                history.stamp(packet, |packet| result = member.connection().send_frame(packet.frame(), volatile));
                result
            }
            None => member.connection().send_frame(packet.frame(), volatile),
        }
    }

    /// Shows what is sent to those who look at it.
    fn show(&self, packet: &Outgoing, target: &Target) {
        if !self.watchers.is_empty() {
            let watchers: Vec<_> = self.ids(target).iter().filter_map(|id| self.watchers.of(id)).collect();
            watchers.iter().for_each(|watcher| watcher(packet));
        }
    }

    /// As [`show`](MemoryAdapter::show), for one socket.
    pub(crate) fn show_to(&self, id: &ByteString, packet: &Outgoing) {
        if !self.watchers.is_empty()
            && let Some(watcher) = self.watchers.of(id)
        {
            watcher(packet);
        }
    }

    /// Socket.IO 2 clients know nothing of offsets: they get the event as it is.
    fn queue_recorded(&self, packet: &Outgoing, recorded: &Outgoing, target: &Target) {
        self.read().each(target.selection(), |_, member| {
            let packet = if member.connection().version() == Version::V4 { recorded } else { packet };
            let _ = member.connection().send_frame(packet.frame(), target.volatile); // As in `queue`.
        });
    }

    fn queue(&self, packet: &Outgoing, target: &Target) {
        self.read().each(target.selection(), |_, member| {
            // A client that is gone or too slow is dealt with by its connection; the others do not feel it.
            let _ = member.connection().send_frame(packet.frame(), target.volatile);
        });
    }

    /// Queues an event for the selected sockets of this server and waits for what they answer.
    pub(crate) fn ask(&self, args: &Args, target: &Target) -> Result<LocalAcks, EncodeError> {
        let id = self.acks.next_id();
        let packet = Outgoing::from_args(&self.parser, &self.nsp, Some(id), args)?;
        self.show(&packet, target);
        let acks = self.acks.open(id, self.ids(target));
        self.queue(&packet.flagged(target.compress), target); // A question is not asked again later.
        Ok(acks)
    }
}
