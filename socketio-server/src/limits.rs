//! What one client may cost, in one place.
//!
//! Every limit is a bound on something that a client decides: how much it sends, how long it takes, how much of what it
//! is sent it leaves unread. `docs/limits.md` tells for each what becomes of the client that goes past it.

use std::time::Duration;

use socketio_protocol::NEVER;
use socketio_protocol::socket;

use crate::adapter::RoomLimits;
use crate::engine::EngineConfig;

/// All limits of a [`Server`](crate::Server), for [`Builder::limits`](crate::Builder::limits).
///
/// The defaults are the reference server's where it has one, and fit clients that mean well. One client past a limit is
/// closed, or refused what it asked for; no other feels it. Not among them, because they are not to be changed: JSON and
/// MessagePack may be nested 128 levels deep, coming and going.
///
/// ```
/// use socketio_server::{Limits, Server};
///
/// let io = Server::builder()
///     .limits(Limits { max_rooms_per_socket: 16, max_polling_body: Some(100_000), ..Limits::default() })
///     .build();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    // ---- what comes over a transport --------------------------------------------------------------------------
    /// The longest message or polling body, in bytes, on a transport that has no limit of its own below. Default
    /// 1,000,000. A longer body is answered with 413, a longer WebSocket message with the close code 1009, both as soon
    /// as its length is announced.
    pub max_http_buffer_size: usize,
    /// The longest polling body, in bytes, in either direction; clients are told. Default `None`: as
    /// [`max_http_buffer_size`](Limits::max_http_buffer_size).
    pub max_polling_body: Option<usize>,
    /// The longest WebSocket message that is accepted, in bytes. Default `None`, as above.
    pub max_websocket_message: Option<usize>,
    /// The longest WebTransport message that is accepted, in bytes. Default `None`, as above.
    pub max_webtransport_message: Option<usize>,
    /// How many packets one polling body may hold. Default 10,000.
    pub max_packets_per_payload: usize,
    /// In how many frames a WebSocket message may come. Default 1,024. Past it the close code is 1009.
    pub max_fragments: u16,
    /// How long the body of a POST may take, from its first byte to its last. Default 30 s. A slower one is answered
    /// with 408, inside any HTTP server.
    pub body_timeout: Duration,
    /// For how long a body may come as slowly as it likes. Default 5 s.
    pub body_grace: Duration,
    /// How many bytes of a body have to come per second, on the average, once the grace is over. Default 1,000; 0 for
    /// no such limit.
    pub min_body_rate: usize,

    // ---- packets ----------------------------------------------------------------------------------------------
    /// How many attachments a packet may have. Default 10, which is also all that a stock client accepts.
    pub max_attachments: usize,
    /// How long a packet may be with its attachments, in bytes. Default 10,000,000.
    pub max_packet_bytes: usize,
    /// How long the attachments of a packet may take to come, from its first message to its last. Default 30 s.
    pub attachments_timeout: Duration,
    /// How many arguments an event or an ack may have. Default 1,000.
    pub max_args: usize,

    // ---- namespaces and handlers ------------------------------------------------------------------------------
    /// How long a client may be connected without being in a namespace. Default 45 s.
    pub connect_timeout: Duration,
    /// In how many namespaces one client may be. Default 128. It is refused more.
    pub max_namespaces_per_connection: usize,
    /// How often one client may ask for a namespace that does not exist, or for one too many. Default 64.
    pub max_refused_namespaces: usize,
    /// How long the name of a namespace may be that a client asks for, in bytes. Default 255. It is refused a longer one.
    pub max_namespace_name: usize,
    /// How many packets of a client may wait while a middleware looks at it. Default 256.
    pub max_waiting_packets: usize,
    /// How many handlers of one client may wait for something before it is not read any more. Default 256. Nothing is
    /// lost: the client's own buffers fill.
    pub max_waiting_handlers: usize,

    // ---- rooms ------------------------------------------------------------------------------------------------
    /// In how many rooms a socket may be besides its own. Default 1,024. It joins no more, see
    /// [`Socket::try_join`](crate::Socket::try_join).
    pub max_rooms_per_socket: usize,
    /// How long the name of a room may be, in bytes: rooms are often named by clients. Default 255. A socket does not
    /// join a longer one.
    pub max_room_name: usize,

    // ---- what leaves ------------------------------------------------------------------------------------------
    /// How long a client may take to answer when nothing else is said. Default 30 s.
    pub ack_timeout: Duration,
    /// How many questions to one socket may wait for their answers. Default 10,000. More are
    /// [`EmitError::TooManyAcks`](crate::EmitError::TooManyAcks).
    pub max_pending_acks: usize,
    /// How many packets may wait for one client. Default 65,536. Past it the client is closed as a slow consumer.
    pub max_queued_packets: usize,
    /// How many bytes may wait for one client. Default 16 MiB. Past it the client is closed as a slow consumer.
    pub max_queued_bytes: usize,
    /// With how many bytes waiting for a WebSocket client a volatile packet is still queued. Default 0: as the
    /// reference, only with none, so that it can leave at once. A polling client gets it if its poll waits.
    pub max_volatile_bytes: usize,
    /// How long a WebSocket client may take none of the bytes that wait for it. Default 10 s. Past it the client is
    /// closed as a slow consumer. On a stream that is not plain TCP it is three times as long, since there progress
    /// shows in large steps only.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (engine, packet, rooms) = (EngineConfig::default(), socket::Limits::default(), RoomLimits::default());
        Self {
            max_http_buffer_size: engine.max_http_buffer_size,
            max_polling_body: engine.max_polling_body,
            max_websocket_message: engine.max_websocket_message,
            max_webtransport_message: engine.max_webtransport_message,
            max_packets_per_payload: engine.max_packets_per_payload,
            max_fragments: engine.max_fragments,
            body_timeout: engine.body_timeout,
            body_grace: engine.body_grace,
            min_body_rate: engine.min_body_rate,
            max_attachments: packet.max_attachments,
            max_packet_bytes: packet.max_bytes,
            attachments_timeout: Duration::from_secs(30),
            max_args: packet.max_args,
            connect_timeout: Duration::from_secs(45),
            max_namespaces_per_connection: 128,
            max_refused_namespaces: 64,
            max_namespace_name: 255,
            max_waiting_packets: 256,
            max_waiting_handlers: 256,
            max_rooms_per_socket: rooms.per_socket,
            max_room_name: rooms.name_bytes,
            ack_timeout: Duration::from_secs(30),
            max_pending_acks: 10_000,
            max_queued_packets: engine.max_queued_packets,
            max_queued_bytes: engine.max_queued_bytes,
            max_volatile_bytes: engine.max_volatile_bytes,
            write_timeout: engine.write_timeout,
        }
    }
}

impl Limits {
    /// Makes times short enough to be added to a moment: [`Duration::MAX`] stands for one without end. The engine does so
    /// with its own.
    pub(crate) fn bound(&mut self) {
        for time in [&mut self.attachments_timeout, &mut self.connect_timeout, &mut self.ack_timeout] {
            *time = NEVER.min(*time);
        }
    }

    /// Sets those that the engine keeps.
    pub(crate) fn apply(&self, engine: &mut EngineConfig) {
        engine.max_http_buffer_size = self.max_http_buffer_size;
        engine.max_polling_body = self.max_polling_body;
        engine.max_websocket_message = self.max_websocket_message;
        engine.max_webtransport_message = self.max_webtransport_message;
        engine.max_packets_per_payload = self.max_packets_per_payload;
        engine.max_fragments = self.max_fragments;
        engine.body_timeout = self.body_timeout;
        engine.body_grace = self.body_grace;
        engine.min_body_rate = self.min_body_rate;
        engine.max_queued_packets = self.max_queued_packets;
        engine.max_queued_bytes = self.max_queued_bytes;
        engine.max_volatile_bytes = self.max_volatile_bytes;
        engine.write_timeout = self.write_timeout;
    }

    /// Those that a decoder of packets keeps.
    pub(crate) fn packet(&self) -> socket::Limits {
        socket::Limits {
            max_attachments: self.max_attachments,
            max_bytes: self.max_packet_bytes,
            max_args: self.max_args,
        }
    }

    /// Those that an adapter keeps.
    pub(crate) fn rooms(&self) -> RoomLimits {
        RoomLimits { per_socket: self.max_rooms_per_socket, name_bytes: self.max_room_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_is_given_is_what_it_has_by_default() {
        let mut engine = EngineConfig::default();
        Limits::default().apply(&mut engine);
        assert_eq!(format!("{engine:?}"), format!("{:?}", EngineConfig::default()));
    }
}
