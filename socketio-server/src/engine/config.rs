//! The options of the engine, in the reference server's words and with its defaults.

use std::sync::Arc;
use std::time::Duration;

use socketio_protocol::NEVER;
use socketio_protocol::engine::{Message, Timing, TransportKind};
use socketio_protocol::websocket::Codec;
#[cfg(feature = "deflate")]
use socketio_protocol::websocket::PerMessageDeflate;

use super::cookie::Cookie;
use super::cors::Cors;
use super::hooks::{AddHeaders, AllowRequest, GenerateId};
use super::origin::Origins;
use super::proxies::TrustedProxies;

/// How an [`Engine`](super::Engine) serves its clients.
///
/// ```
/// use std::time::Duration;
/// use socketio_server::engine::{Engine, EngineConfig, Incoming, Timing, TransportKind};
///
/// let config = EngineConfig {
///     path: "/live".into(),
///     transports: vec![TransportKind::WebSocket],
///     timing: Timing { ping_interval: Duration::from_secs(10), ..Timing::default() },
///     ..EngineConfig::default()
/// };
/// let engine = Engine::new(config, async |mut incoming: Incoming| while incoming.recv().await.is_some() {});
/// assert!(engine.owns("/live/"));
/// ```
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Under which path the engine answers, without a slash at the end. Default `/engine.io`.
    pub path: String,
    /// Whether a slash follows the path. Without, all that begins with the path is the engine's. Default true.
    pub add_trailing_slash: bool,
    /// Heartbeat and upgrade times. Default 25 s, 20 s and 10 s.
    pub timing: Timing,
    /// The longest message or polling body that is accepted, in bytes. Default 1,000,000.
    pub max_http_buffer_size: usize,
    /// The longest polling body, in bytes, in either direction. Default `None`: `max_http_buffer_size`.
    pub max_polling_body: Option<usize>,
    /// The longest WebSocket message that is accepted, in bytes. Default `None`: `max_http_buffer_size`.
    pub max_websocket_message: Option<usize>,
    /// The longest WebTransport message that is accepted, in bytes. Default `None`: `max_http_buffer_size`.
    pub max_webtransport_message: Option<usize>,
    /// The transports on offer. Default polling and WebSocket. WebTransport also needs the cargo feature `webtransport`
    /// and a listener of its own.
    pub transports: Vec<TransportKind>,
    /// Whether a polling session may change to WebSocket or WebTransport. Default true.
    pub allow_upgrades: bool,
    /// Whether clients of Engine.IO protocol 3 (Socket.IO 2) are served. Default true.
    pub allow_eio3: bool,
    /// How many packets may wait for one client. Default 65,536.
    pub max_queued_packets: usize,
    /// How many bytes may wait for one client; past it the client is closed as a slow consumer. Default 16 MiB.
    pub max_queued_bytes: usize,
    /// With how many bytes waiting for a WebSocket client a volatile packet is still queued. Default 0: only with none.
    pub max_volatile_bytes: usize,
    /// How long a WebSocket client may take none of the bytes that wait for it before it is closed as a slow consumer.
    /// Default 10 s; three times as long on a stream that is not plain TCP.
    pub write_timeout: Duration,
    /// How many packets one polling body may hold. Default 10,000.
    pub max_packets_per_payload: usize,
    /// In how many frames a WebSocket message may come. Default 1,024.
    pub max_fragments: u16,
    /// How long the body of a POST may take, from its first byte to its last. Default 30 s.
    pub body_timeout: Duration,
    /// For how long a body may come as slowly as it likes. Default 5 s.
    pub body_grace: Duration,
    /// How many bytes of a body have to come per second, on the average, once the grace is over. Default 1,000.
    pub min_body_rate: usize,
    /// The cookie that names the session, set by the answer of a handshake. Default none.
    pub cookie: Option<Cookie>,
    /// Which pages of other origins may talk to the server. Default none.
    pub cors: Option<Cors>,
    /// Which pages may talk to the server; others are refused. Default: its own, and those that `cors` grants.
    pub allowed_origins: Option<Origins>,
    /// The proxies whose word on where a request comes from is taken. Default none.
    pub trust_proxy: Option<TrustedProxies>,
    /// How much clients may do. Default everything.
    #[cfg(feature = "rate-limit")]
    pub rate_limits: Option<super::rate_limit::RateLimits>,
    /// What looks at each handshake before it is accepted. Default nothing.
    pub allow_request: Option<AllowRequest>,
    /// What names each new session. Default 20 characters from 120 random bits.
    pub generate_id: Option<GenerateId>,
    /// What adds headers to the answer of each handshake, after everything else has been added. Default nothing.
    pub initial_headers: Option<AddHeaders>,
    /// What adds headers to the answer of each request that is not refused. Default nothing.
    pub headers: Option<AddHeaders>,
    /// From how many bytes on the answer to a poll is compressed for a client that can read that; `None` for never.
    /// Without the feature `compression` none is. Default 1024.
    pub http_compression: Option<usize>,
    /// How requests of clients come to the server that has their session. Default not at all: whatever stands in front of
    /// several servers is sticky.
    pub session_bus: Option<super::SessionBusOf>,
    /// The message that follows the open packet. Default none.
    pub initial_packet: Option<Message>,
    /// How WebSocket messages are compressed for clients that can read that. Default not at all.
    #[cfg(feature = "deflate")]
    pub per_message_deflate: Option<PerMessageDeflate>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            path: "/engine.io".into(),
            add_trailing_slash: true,
            timing: Timing::default(),
            max_http_buffer_size: 1_000_000,
            max_polling_body: None,
            max_websocket_message: None,
            max_webtransport_message: None,
            transports: vec![TransportKind::Polling, TransportKind::WebSocket],
            allow_upgrades: true,
            allow_eio3: true,
            max_queued_packets: 65_536,
            max_queued_bytes: 16 << 20,
            max_volatile_bytes: 0,
            write_timeout: Duration::from_secs(10),
            max_packets_per_payload: 10_000,
            max_fragments: 1024,
            body_timeout: Duration::from_secs(30),
            body_grace: Duration::from_secs(5),
            min_body_rate: 1000,
            cookie: None,
            cors: None,
            allowed_origins: None,
            trust_proxy: None,
            #[cfg(feature = "rate-limit")]
            rate_limits: None,
            allow_request: None,
            generate_id: None,
            initial_headers: None,
            headers: None,
            http_compression: Some(1024),
            session_bus: None,
            initial_packet: None,
            #[cfg(feature = "deflate")]
            per_message_deflate: None,
        }
    }
}

impl EngineConfig {
    /// The same with no time longer than [`NEVER`]: a clock to which [`Duration::MAX`] is added panics.
    pub(super) fn with_times_in_bounds(mut self) -> Self {
        let Timing { ping_interval, ping_timeout, upgrade_timeout } = &mut self.timing;
        for time in [
            ping_interval,
            ping_timeout,
            upgrade_timeout,
            &mut self.write_timeout,
            &mut self.body_timeout,
            &mut self.body_grace,
        ] {
            *time = NEVER.min(*time);
        }
        self
    }

    /// What a session that speaks over `transport` may change to.
    pub(crate) fn upgrades(&self, transport: TransportKind) -> &[TransportKind] {
        if transport != TransportKind::Polling || !self.allow_upgrades {
            return &[];
        }
        match (self.serves(TransportKind::WebSocket), self.serves(TransportKind::WebTransport)) {
            (true, true) => &[TransportKind::WebSocket, TransportKind::WebTransport],
            (true, false) => &[TransportKind::WebSocket],
            (false, true) => &[TransportKind::WebTransport],
            (false, false) => &[],
        }
    }

    /// The longest message on `transport`, or the longest body of many.
    pub(crate) fn max_payload(&self, transport: TransportKind) -> usize {
        let own = match transport {
            TransportKind::Polling => self.max_polling_body,
            TransportKind::WebSocket => self.max_websocket_message,
            TransportKind::WebTransport => self.max_webtransport_message,
        };
        own.unwrap_or(self.max_http_buffer_size)
    }

    /// What compresses and inflates messages, if that is on.
    pub(super) fn codec(&self) -> Option<Arc<Codec>> {
        #[cfg(feature = "deflate")]
        return self.per_message_deflate.map(|options| Arc::new(Codec::new(options)));
        #[cfg(not(feature = "deflate"))]
        None
    }

    pub(crate) fn serves(&self, transport: TransportKind) -> bool {
        let built = transport != TransportKind::WebTransport || cfg!(feature = "webtransport");
        built && self.transports.contains(&transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Body, Engine, Incoming};

    #[tokio::test]
    async fn a_session_can_be_open_for_ever() {
        let ever = Duration::MAX;
        let config = EngineConfig {
            timing: Timing { ping_interval: ever, ping_timeout: ever, upgrade_timeout: ever },
            write_timeout: ever,
            body_timeout: ever,
            body_grace: ever,
            ..EngineConfig::default()
        };
        let engine = Engine::new(config, async |mut incoming: Incoming| {
            incoming.closed().await;
        });
        let handshake = http::Request::get("/engine.io/?EIO=4&transport=polling").body(Body::default()).unwrap();
        assert_eq!(engine.respond(handshake).await.status(), 200);
        let EngineConfig { write_timeout, body_timeout, body_grace, .. } = engine.config();
        assert_eq!([write_timeout, body_timeout, body_grace], [&NEVER; 3]);
    }
}
