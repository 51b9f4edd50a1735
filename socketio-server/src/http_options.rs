//! The options of a [`Builder`] that are about HTTP: who may connect, and what answers say besides packets.

use std::future::Future;

use http::HeaderMap;

use crate::engine::{AddHeaders, AllowRequest, Cookie, Cors, GenerateId, Message, Origins, Request, TrustedProxies};
use crate::server::Builder;

impl Builder {
    /// Whether the path ends with a slash. Default true: `/socket.io/` and what is below it is the server's. With
    /// false it is all that begins with `/socket.io`.
    #[must_use]
    pub fn add_trailing_slash(mut self, add: bool) -> Self {
        self.engine.add_trailing_slash = add;
        self
    }

    /// Takes the word of these proxies on where a request comes from, and whether it uses TLS: the header
    /// `X-Forwarded-For`, read from the right up to the first address that is no proxy, and `X-Forwarded-Proto`; or
    /// [`Forwarded`](TrustedProxies::with_forwarded_header). The same headers of others mean nothing. Default none.
    ///
    /// ```
    /// # use socketio_server::Server;
    /// let io = Server::builder().trust_proxy("loopback".parse().unwrap()).build();
    /// ```
    #[must_use]
    pub fn trust_proxy(mut self, proxies: TrustedProxies) -> Self {
        self.engine.trust_proxy = Some(proxies);
        self
    }

    /// Looks at each handshake before it is accepted; an error is the message of the refusal (403).
    #[must_use]
    pub fn allow_request<F, Fut>(mut self, allow: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.engine.allow_request = Some(AllowRequest::new(allow));
        self
    }

    /// Which pages may talk to the server, over each transport; others are refused (403). Default: those of the server
    /// itself and of the origins that [`cors`](Builder::cors) grants. What is given here takes the place of both; with
    /// [`Origins::any`] or `["*"]` nobody is refused. Clients that are no browsers send no origin, and are let in.
    ///
    /// Pages of other origins need [`cors`](Builder::cors) as well to use long-polling.
    ///
    /// The reference server refuses nobody for an origin. There a page of any site can open a WebSocket with the
    /// cookies of its visitor.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use socketio_server::engine::Origins;
    ///
    /// let io = Server::builder().allowed_origins(Origins::listed(["https://example.com"])).build();
    /// # }
    /// ```
    #[must_use]
    pub fn allowed_origins(mut self, origins: impl Into<Origins>) -> Self {
        self.engine.allowed_origins = Some(origins.into());
        self
    }

    /// Which pages of other origins may talk to the server. Default none.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.engine.cors = Some(cors);
        self
    }

    /// Sets a cookie with the session id in the answer of each handshake. Default none.
    #[must_use]
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.engine.cookie = Some(cookie);
        self
    }

    /// Names each new session of the engine; see [`GenerateId::new`]. Ids of sockets are others. Default: 20 characters
    /// from 120 random bits.
    #[doc(alias = "generateId")]
    #[must_use]
    pub fn generate_id<F, Fut>(mut self, generate: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.engine.generate_id = Some(GenerateId::new(generate));
        self
    }

    /// Adds headers to the answer of each handshake.
    #[must_use]
    pub fn initial_headers(mut self, add: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static) -> Self {
        self.engine.initial_headers = Some(AddHeaders::new(add));
        self
    }

    /// Adds headers to each answer: those of handshakes, of polls and POSTs that were taken, and the changes to
    /// WebSocket. Refusals have none of them.
    #[must_use]
    pub fn headers(mut self, add: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static) -> Self {
        self.engine.headers = Some(AddHeaders::new(add));
        self
    }

    /// From how many bytes on the answer to a poll is compressed, as gzip, deflate or br, whichever the client likes
    /// best; `None` for never. Packets that were all sent with `compress(false)` are not. Default 1024 bytes.
    #[cfg(feature = "compression")]
    #[doc(alias = "httpCompression")]
    #[must_use]
    pub fn http_compression(mut self, threshold: impl Into<Option<usize>>) -> Self {
        self.engine.http_compression = threshold.into();
        self
    }

    /// A message that each client gets with the open packet, before any other. Default none. The stock clients take it
    /// for a Socket.IO packet.
    #[doc(alias = "initialPacket")]
    #[must_use]
    pub fn initial_packet(mut self, message: Message) -> Self {
        self.engine.initial_packet = Some(message);
        self
    }

    /// Compresses WebSocket messages for clients that can read that, and lets them compress theirs
    /// (permessage-deflate, RFC 7692). Default off, as in Node.
    ///
    /// A packet for many is compressed once. Each message is compressed by itself, so that a connection costs no memory
    /// for it. [`compress(false)`](crate::Broadcast::compress) spares what would not get shorter, images for example.
    ///
    /// ```
    /// use socketio_server::Server;
    /// use socketio_server::engine::PerMessageDeflate;
    ///
    /// let io = Server::builder().per_message_deflate(PerMessageDeflate::default().threshold(4096)).build();
    /// ```
    #[cfg(feature = "deflate")]
    #[doc(alias = "perMessageDeflate")]
    #[must_use]
    pub fn per_message_deflate(mut self, options: crate::engine::PerMessageDeflate) -> Self {
        self.engine.per_message_deflate = Some(options);
        self
    }
}
