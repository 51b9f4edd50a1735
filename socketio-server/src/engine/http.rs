//! From an HTTP request to a session: which path is ours, what is refused and how, polling, and the way to a WebSocket.
//!
//! The order of the checks, and the bytes of each refusal, are the reference server's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::Full;
use smallvec::SmallVec;
use socketio_protocol::engine::{
    BadRequest, Body as Payload, HandshakeError, Input, OpenPacket, Packet, PayloadEncoder, Query, TransportKind,
    Version, decode_payload, jsonp,
};
use socketio_protocol::websocket::{Agreement, Event, handshake};

use super::body::BodyReader;
use super::clock::now;
use super::codec::Codec;
#[cfg(feature = "compression")]
use super::compression;
use super::config::EngineConfig;
use super::connection::{Connection, PollBody, ProbeStep};
#[cfg(feature = "compression")]
use super::encoding::Encoding;
use super::engine::{Engine, NewId, Shared};
use super::frame::{Frame, Terms};
use super::incoming::{Incoming, say_farewell};
use super::io::{self, Upgrade};
use super::origin;
#[cfg(feature = "rate-limit")]
pub(super) use super::rate_limit::Pass;
use super::request::Request;

/// There are no limits.
#[cfg(not(feature = "rate-limit"))]
pub(super) enum Pass {}

/// The body of every answer: it is known whole.
pub type Body = Full<Bytes>;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Engine {
    /// Whether a request for `path` is this engine's.
    pub fn owns(&self, path: &str) -> bool {
        let config = &self.shared.config;
        path.strip_prefix(config.path.as_str()).is_some_and(|rest| !config.add_trailing_slash || rest.starts_with('/'))
    }

    /// Answers one HTTP request for this engine, a request to upgrade to a WebSocket included.
    ///
    /// ```
    /// use axum::http::Request;
    /// use socketio_server::engine::{Body, Engine, EngineConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let engine = Engine::new(EngineConfig::default(), async |mut incoming| { incoming.closed().await; });
    /// let handshake = Request::get("/engine.io/?EIO=4&transport=polling").body(Body::default()).unwrap();
    /// assert_eq!(engine.respond(handshake).await.status(), 200);
    /// assert_eq!(engine.clients_count(), 1);
    /// # }
    /// ```
    pub async fn respond<B>(&self, mut request: http::Request<B>) -> Response<Body>
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.shared.start();
        let cors = self.shared.config.cors.as_ref();
        if let Some(response) = cors.and_then(|cors| cors.preflight(&request)) {
            return response;
        }
        let origin = cors.and_then(|_| request.headers().get(header::ORIGIN).cloned());
        let upgrade = wants_web_socket(&request).then(|| Upgrade::of(&mut request));
        let is_upgrade = upgrade.is_some();
        let (parts, body) = request.into_parts();
        let request = http::Request::from_parts(parts, ());
        let head = Head { request: &request, shared: &self.shared, copy: OnceLock::new() };
        let mut response = match self.shared.route(&head, body, upgrade).await {
            Ok(mut response) => {
                if let Some(headers) = &self.shared.config.headers
                    && (response.status().is_success() || response.status().is_informational())
                {
                    headers.add(response.headers_mut(), head.copy());
                }
                response
            }
            Err(error) => {
                self.shared.counters.refused(error.code());
                tracing::debug!(target: "socketio::connection", code = error.code(), message = error.message(), "a request is refused");
                self.shared.connection_errors.tell(head.copy(), &error);
                if is_upgrade { refuse_upgrade(&error, &request) } else { refuse(&error) }
            }
        };
        if let Some(cors) = cors {
            cors.add_headers(origin.as_ref(), response.headers_mut());
        }
        response
    }
}

/// A request without its body, and the copy of it that a session keeps and applications see: made when first wanted,
/// which by most polls it never is.
struct Head<'a> {
    request: &'a http::Request<()>,
    shared: &'a Shared,
    copy: OnceLock<Request>,
}

impl Head<'_> {
    fn copy(&self) -> &Request {
        self.copy.get_or_init(|| Request::new(self.request, self.shared.config.trust_proxy.as_ref()))
    }
}

/// How a WebSocket begins in HTTP/2 (RFC 8441).
fn is_extended_connect<B>(request: &http::Request<B>) -> bool {
    request.method() == Method::CONNECT && request.extensions().get::<hyper::ext::Protocol>().is_some()
}

fn wants_web_socket<B>(request: &http::Request<B>) -> bool {
    let has = |name, token: &str| {
        request
            .headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    is_extended_connect(request) || (has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade"))
}

impl Shared {
    async fn route<B>(
        self: &Arc<Self>,
        head: &Head<'_>,
        body: B,
        upgrade: Option<Upgrade>,
    ) -> Result<Response<Body>, HandshakeError>
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let request = head.request;
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let transport = match query.transport() {
            Some(transport @ (TransportKind::Polling | TransportKind::WebSocket)) if self.config.serves(transport) => {
                transport
            }
            _ => return Err(HandshakeError::UnknownTransport { transport: query.get("transport").map(str::to_owned) }),
        };
        origin::check(&self.config, request)?;
        let version = query.version();

        if let Some(sid) = query.sid() {
            let connection = match self.known_session(sid, version) {
                Err(HandshakeError::UnknownSid { sid })
                    if transport == TransportKind::Polling && upgrade.is_none() && version == Some(Version::V4) =>
                {
                    return Box::pin(self.carry(request, body, sid, &query)).await; // Boxed: it is rare.
                }
                Err(HandshakeError::UnknownSid { sid })
                    if transport == TransportKind::WebSocket
                        && self.config.allow_upgrades
                        && version == Some(Version::V4)
                        && self.strangers.get().is_some()
                        && let Some(upgrade) = upgrade =>
                {
                    let carried = self.carry_web_socket(request, head.copy(), sid, query.b64(), upgrade);
                    return Box::pin(carried).await;
                }
                known => known?,
            };
            return match (transport, upgrade) {
                (TransportKind::WebSocket, Some(upgrade)) if self.config.allow_upgrades => {
                    self.probe(request, connection, query.b64(), upgrade)
                }
                (TransportKind::Polling, None) => self.poll_or_post(request, body, connection, query.j()).await,
                (TransportKind::Polling, Some(_)) => Err(BadRequest::TransportHandshakeError.into()),
                _ => Err(mismatch(transport, &connection)),
            };
        }

        if request.method() != Method::GET && !is_extended_connect(request) {
            return Err(HandshakeError::BadMethod { method: request.method().to_string() });
        }
        if (transport == TransportKind::WebSocket) != upgrade.is_some() {
            return Err(BadRequest::TransportHandshakeError.into());
        }
        let Some(version) = version.filter(|version| *version == Version::V4 || self.config.allow_eio3) else {
            return Err(HandshakeError::UnsupportedVersion { protocol: 3 });
        };
        let head = head.copy();
        let pass = self.count_in(head)?;
        let id = self.admit(head).await?;
        let base64 = query.b64();
        let cookie = self.config.cookie.as_ref().and_then(|cookie| cookie.header(&id.sid, head.secure()));
        let mut response = match upgrade {
            Some(upgrade) => self.open_web_socket(request, (id, pass), head.clone(), version, base64, upgrade)?,
            None => {
                let body = self.open_polling(&id, pass, head.clone(), version, base64);
                poll_response(&self.config, PollBody { body, compress: true }, query.j(), request).await
            }
        };
        if let Some(cookie) = cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(initial_headers) = &self.config.initial_headers {
            initial_headers.add(response.headers_mut(), head);
        }
        Ok(response)
    }

    /// The session that a request names, if it is of this version.
    pub(super) fn known_session(&self, sid: &str, version: Option<Version>) -> Result<Arc<Connection>, HandshakeError> {
        let Some(connection) = self.session(sid) else {
            return Err(HandshakeError::UnknownSid { sid: sid.to_owned() });
        };
        if version != Some(connection.version()) {
            let (protocol, previous_protocol) = (number(version), number(Some(connection.version())));
            return Err(BadRequest::ProtocolMismatch { protocol, previous_protocol }.into());
        }
        Ok(connection)
    }

    /// Asks the application about a new session, and for its id.
    pub(super) async fn admit(self: &Arc<Self>, head: &Request) -> Result<NewId, HandshakeError> {
        if let Some(allow_request) = &self.config.allow_request {
            allow_request.ask(head.clone()).await?;
        }
        let id = match &self.config.generate_id {
            Some(generate_id) => {
                let id = generate_id.ask(head.clone()).await?;
                self.reserve(id.into()).ok_or(BadRequest::IdGenerationError)?
            }
            None => NewId::random(),
        };
        if self.is_draining() { Err(HandshakeError::ShuttingDown) } else { Ok(id) }
    }

    /// Lets a handshake pass if there are not too many, and counts the connection for as long as the pass is held.
    #[cfg(feature = "rate-limit")]
    pub(super) fn count_in(&self, head: &Request) -> Result<Option<Pass>, HandshakeError> {
        let admitted = self.config.rate_limits.as_ref().map(|limits| self.gate.admit(limits, head)).transpose();
        if admitted.is_err() {
            super::counters::bump(&self.counters.rate_limited);
        }
        admitted
    }

    #[cfg(not(feature = "rate-limit"))]
    pub(super) fn count_in(&self, _: &Request) -> Result<Option<Pass>, HandshakeError> {
        Ok(None)
    }

    pub(super) fn open_packet(&self, sid: &str, transport: TransportKind) -> Packet {
        let timing = &self.config.timing;
        let open = OpenPacket {
            sid,
            upgrades: self.config.upgrades(transport),
            ping_interval: timing.ping_interval,
            ping_timeout: timing.ping_timeout,
            max_payload: self.config.max_payload(transport),
        };
        Packet::Open(open.to_json().into())
    }

    // ---- polling ----------------------------------------------------------------------------------------------

    fn open_polling(
        self: &Arc<Self>,
        id: &NewId,
        pass: Option<Pass>,
        head: Request,
        version: Version,
        base64: bool,
    ) -> Payload {
        let mut payload = PayloadEncoder::new(version, false);
        Frame::control(&self.open_packet(&id.sid, TransportKind::Polling)).write_payload(&mut payload);
        if let Some(message) = &self.config.initial_packet {
            Frame::message(message.clone()).write_payload(&mut payload);
        }
        let (sid, transport) = (id.sid.clone(), TransportKind::Polling);
        let connection = Connection::new(sid, version, transport, base64, head, self.clone(), now());
        self.remember(&connection);
        let accepted = self.accept(Incoming::new(connection));
        self.sessions_at_work.spawn(async move {
            let _counted = pass;
            accepted.await;
        });
        payload.finish()
    }

    async fn poll_or_post<B>(
        self: &Arc<Self>,
        request: &http::Request<()>,
        body: B,
        connection: Arc<Connection>,
        jsonp: Option<&str>,
    ) -> Result<Response<Body>, HandshakeError>
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if connection.transport() != TransportKind::Polling {
            return Err(mismatch(TransportKind::Polling, &connection));
        }
        match *request.method() {
            Method::GET => Ok(poll(connection, jsonp, request).await),
            Method::POST => Ok(self.post(request, body, connection, jsonp.is_some()).await),
            // The reference answers 500, as if the fault were its own.
            _ => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn post<B>(
        self: &Arc<Self>,
        request: &http::Request<()>,
        body: B,
        connection: Arc<Connection>,
        jsonp: bool,
    ) -> Response<Body>
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if connection.handle(Input::PostOpened).is_some() {
            return empty(StatusCode::BAD_REQUEST);
        }
        let mut guard = Aborted { connection: Some(connection.clone()), input: Input::PostAborted };
        let binary = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream"));
        if binary && connection.version() == Version::V4 {
            guard.connection = None;
            connection.handle(Input::TransportFailed("invalid content"));
            return empty(StatusCode::BAD_REQUEST);
        }
        let body = match self.read_body(body).await {
            Ok(body) => body,
            Err(status) => {
                guard.connection = None;
                connection.handle(Input::TransportFailed("message over the limit, or too slow"));
                let mut response = empty(status);
                // The rest of the body is not read, so the connection is of no more use; the client is told.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        };
        connection.heard(now());
        self.counters.received(TransportKind::Polling, 0, body.len() as u64);
        let body = if jsonp { jsonp::unwrap(&body).map(Bytes::from) } else { Some(body) };
        for packet in body
            .into_iter()
            .flat_map(|body| decode_payload(connection.version(), binary, body, self.config.max_packets_per_payload))
        {
            self.counters.received(TransportKind::Polling, 1, 0);
            match packet {
                Ok(packet) => {
                    connection.handle(Input::Received(packet));
                }
                Err(error) => {
                    tracing::debug!(%error, "a client sent what is no Engine.IO payload");
                    connection.handle(Input::Undecodable);
                }
            }
            poll_fn(|cx| connection.poll_inbox_room(cx)).await;
        }
        // As in the reference, handlers have run when the client learns that its packets have come.
        poll_fn(|cx| connection.poll_handled(cx)).await;
        guard.connection = None;
        connection.handle(Input::PostAnswered);
        response(&HTML, Bytes::from_static(b"ok"))
    }

    /// The whole body of a POST, if it is neither too long nor too slow.
    pub(super) async fn read_body<B>(&self, body: B) -> Result<Bytes, StatusCode>
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let max = self.config.max_payload(TransportKind::Polling);
        if body.size_hint().lower() > max as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        BodyReader::new(&self.config, max).read(body).await
    }

    // ---- WebSocket --------------------------------------------------------------------------------------------

    fn open_web_socket<B>(
        self: &Arc<Self>,
        request: &http::Request<B>,
        (id, pass): (NewId, Option<Pass>),
        head: Request,
        version: Version,
        base64: bool,
        upgrade: Upgrade,
    ) -> Result<Response<Body>, HandshakeError> {
        let (response, terms) = self.switch_protocols(request, base64)?;
        let shared = self.clone();
        self.sessions_at_work.spawn(async move {
            let _counted = pass;
            let Ok((reader, writer, ahead)) = upgrade.split().await else { return };
            if version == Version::V3 {
                tokio::time::sleep(V3_PAUSE).await;
            }
            if shared.is_closed() {
                return; // Nobody would end it any more.
            }
            let open = Frame::control(&shared.open_packet(&id.sid, TransportKind::WebSocket));
            let initial = shared.config.initial_packet.clone();
            let (sid, transport) = (id.sid.clone(), TransportKind::WebSocket);
            let connection = Connection::new(sid, version, transport, base64, head, shared.clone(), now());
            shared.remember(&connection);
            drop(id);
            connection.opened(writer, terms);
            let mut incoming = Incoming::new(connection);
            incoming.read_from(reader, BytesMut::from(ahead));
            let mut frames = std::iter::once(open).chain(initial.map(Frame::message));
            if frames.all(|frame| incoming.connection().send_frame(&frame, false).is_ok()) {
                shared.accept(incoming).await;
            }
        });
        Ok(response)
    }

    /// The answer that makes a WebSocket of a request, and on which terms.
    pub(super) fn switch_protocols<B>(
        &self,
        request: &http::Request<B>,
        base64: bool,
    ) -> Result<(Response<Body>, Terms), HandshakeError> {
        let mut response = switching_protocols(request)?;
        let offers = || Agreement::new(values(request, "sec-websocket-extensions"));
        let agreement = self.codec.as_ref().and_then(|_| offers());
        if let Some(agreed) = agreement.and_then(|agreement| HeaderValue::try_from(agreement.header()).ok()) {
            response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
        }
        Ok((response, Terms { base64, agreement, web_transport: false }))
    }

    /// A WebSocket for a session that polls.
    fn probe<B>(
        self: &Arc<Self>,
        request: &http::Request<B>,
        connection: Arc<Connection>,
        base64: bool,
        upgrade: Upgrade,
    ) -> Result<Response<Body>, HandshakeError> {
        let (response, terms) = self.switch_protocols(request, base64)?;
        let opened = connection.open_probe().is_ok();
        tokio::spawn(async move {
            match upgrade.split().await {
                // A session that is a WebSocket already, or is being probed, has this one closed.
                Ok((reader, writer, ahead)) if opened => {
                    probe(&connection, reader, writer, BytesMut::from(ahead), terms).await;
                }
                Ok(stream) => refuse_probe(stream).await,
                Err(_) if opened => {
                    connection.handle(Input::ProbeClosed);
                }
                Err(_) => {}
            }
        });
        Ok(response)
    }
}

/// Between the 101 and the first packet for a client of version 3. Some of them listen for packets only after they have
/// looked at the 101, and miss what comes in the same read.
const V3_PAUSE: Duration = Duration::from_millis(5);

/// Tells the session when the client goes away before its request is answered.
struct Aborted {
    connection: Option<Arc<Connection>>,
    input: Input,
}

impl Drop for Aborted {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.handle(self.input.clone());
        }
    }
}

async fn poll(connection: Arc<Connection>, jsonp: Option<&str>, request: &http::Request<()>) -> Response<Body> {
    let shared = connection.shared.clone();
    if connection.handle(Input::PollOpened).is_some() {
        return empty(StatusCode::BAD_REQUEST);
    }
    let mut guard = Aborted { connection: Some(connection), input: Input::PollAborted };
    let body = poll_fn(|cx| match &guard.connection {
        Some(connection) => connection.poll_body(cx),
        None => std::task::Poll::Pending,
    })
    .await;
    guard.connection = None;
    let config = &shared.config;
    poll_response(config, body, jsonp, request).await
}

/// A stream that has become a WebSocket, in halves, with what was read ahead.
type Stream = (io::Reader, io::Writer, Bytes);

/// Lets a WebSocket, or the stream of a WebTransport session, become the transport of a session that polls, if its
/// client says the right words.
pub(super) async fn probe(
    connection: &Arc<Connection>,
    mut reader: io::Reader,
    mut writer: io::Writer,
    mut buffer: BytesMut,
    terms: Terms,
) {
    let mut decoder = Codec::of(&reader, &connection.shared, terms);
    let version = connection.version();
    let mut upgrading = false;
    loop {
        // What follows the upgrade packet belongs to the session.
        while !upgrading {
            let packet = match decoder.decode(&mut buffer) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => Packet::decode_text(text, version).ok(),
                Ok(Some(Event::Binary(data))) => Packet::decode_binary(data, version).ok(),
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => continue,
                Ok(Some(Event::Close(_))) | Err(_) => None,
            };
            let Some(packet) = packet else {
                // The client gave the probe up, or never meant it. It waits for our close frame.
                connection.handle(Input::ProbeClosed);
                let _ = write_all(&mut writer, decoder.goodbye()).await;
                return;
            };
            upgrading = packet == Packet::Upgrade;
            connection.handle(Input::ProbeReceived(packet));
        }
        let step = poll_fn(|cx| {
            if let std::task::Poll::Ready(step) = connection.poll_probe(cx) {
                return std::task::Poll::Ready(Some(step));
            }
            match reader.poll_read(cx, &mut buffer) {
                std::task::Poll::Ready(Ok(n)) if n > 0 => std::task::Poll::Ready(None),
                std::task::Poll::Ready(_) => std::task::Poll::Ready(Some(ProbeStep::Dropped)),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        });
        match step.await {
            None => {}
            Some(ProbeStep::Write(packet)) => {
                let mut text = Vec::new();
                packet.encode_text(version, &mut text);
                if write_all(&mut writer, &decoder.text_frame(&text)).await.is_err() {
                    connection.handle(Input::ProbeClosed);
                    return;
                }
            }
            Some(ProbeStep::Upgraded) => {
                if let Some((farewell, reader)) = connection.upgraded(reader, writer, buffer, terms) {
                    say_farewell(farewell, Some(reader)).await;
                }
                return;
            }
            Some(ProbeStep::Dropped) => {
                connection.handle(Input::ProbeClosed);
                let _ = write_all(&mut writer, decoder.goodbye()).await;
                return;
            }
        }
    }
}

async fn refuse_probe((_reader, mut writer, _): Stream) {
    let _ = write_all(&mut writer, &[0x88, 0]).await;
}

pub(super) async fn write_all(writer: &mut io::Writer, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| writer.poll_write(cx, &[std::io::IoSlice::new(bytes)])).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(n..).unwrap_or_default();
    }
    poll_fn(|cx| writer.poll_flush(cx)).await
}

/// A request for another transport than the session has.
pub(super) fn mismatch(transport: TransportKind, connection: &Connection) -> HandshakeError {
    match connection.transport() {
        same if same == transport => BadRequest::TransportHandshakeError.into(),
        previous_transport => BadRequest::TransportMismatch { transport, previous_transport }.into(),
    }
}

/// As the reference server counts: what is not 4 is 3.
fn number(version: Option<Version>) -> u8 {
    if version == Some(Version::V4) { 4 } else { 3 }
}

// ---- answers --------------------------------------------------------------------------------------------------

fn values<'a, B>(request: &'a http::Request<B>, name: &'static str) -> SmallVec<[&'a str; 2]> {
    request.headers().get_all(name).into_iter().filter_map(|value| value.to_str().ok()).collect()
}

fn switching_protocols<B>(request: &http::Request<B>) -> Result<Response<Body>, HandshakeError> {
    if is_extended_connect(request) {
        return open_stream(request);
    }
    let values = |name: &'static str| values(request, name);
    let accept = handshake::check(request.method().as_str(), values).map_err(|error| {
        tracing::debug!(%error, "a request cannot become a WebSocket");
        BadRequest::TransportHandshakeError
    })?;
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(first) = handshake::first_protocol(values("sec-websocket-protocol"))
        && let Ok(first) = HeaderValue::from_str(first)
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, first);
    }
    Ok(response)
}

/// The answer to a request for a WebSocket over HTTP/2, whose handshake is a part of the protocol below.
fn open_stream<B>(request: &http::Request<B>) -> Result<Response<Body>, HandshakeError> {
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") || version.is_none_or(|version| version != "13")
    {
        return Err(BadRequest::TransportHandshakeError.into());
    }
    let mut response = empty(StatusCode::OK);
    let offered =
        request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if let Some(first) = handshake::first_protocol(offered).and_then(|first| HeaderValue::from_str(first).ok()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, first);
    }
    Ok(response)
}

pub(super) async fn poll_response(
    config: &EngineConfig,
    PollBody { body, compress }: PollBody,
    jsonp: Option<&str>,
    request: &http::Request<()>,
) -> Response<Body> {
    let (kind, bytes) = match jsonp {
        Some(index) => (&TEXT, jsonp::wrap(index, &String::from_utf8_lossy(&body.bytes)).into()),
        None if body.binary => (&BINARY, body.bytes),
        None => (&TEXT, body.bytes),
    };
    let (bytes, encoding) = match config.http_compression {
        Some(threshold) if compress && bytes.len() >= threshold => Box::pin(packed(bytes, request)).await,
        _ => (bytes, None),
    };
    let mut response = response(kind, bytes);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    if agent.contains(";MSIE") || agent.contains("Trident/") {
        response.headers_mut().insert("x-xss-protection", HeaderValue::from_static("0"));
    }
    response
}

/// A body as the client likes it, and the name of that form.
#[cfg(feature = "compression")]
async fn packed(body: Bytes, request: &http::Request<()>) -> (Bytes, Option<&'static str>) {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok());
    let Some(encoding) = accepted.and_then(|accepted| Encoding::preferred(accepted, compression::OFFERED)) else {
        return (body, None);
    };
    match compression::pack(body.clone(), encoding).await {
        Some(packed) => (packed, Some(encoding.as_str())),
        None => (body, None),
    }
}

#[cfg(not(feature = "compression"))]
async fn packed(body: Bytes, _: &http::Request<()>) -> (Bytes, Option<&'static str>) {
    (body, None)
}

fn refuse(error: &HandshakeError) -> Response<Body> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = Response::new(Full::from(error.to_json()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(error, HandshakeError::ShuttingDown) {
        // The next attempt is to come over a connection that may lead to another server.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn refuse_upgrade(error: &HandshakeError, request: &http::Request<()>) -> Response<Body> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = Response::new(Full::from(error.message().to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")); // RFC 6455, 4.4
    }
    response
}

// Every poll is answered with one of these: checked once, when this is compiled.
static TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
static BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) static HTML: HeaderValue = HeaderValue::from_static("text/html");
static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(super) fn response(kind: &HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.clone());
    headers.insert(header::CACHE_CONTROL, NO_STORE.clone());
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Answers a request that is nobody's.
pub(crate) fn not_found() -> Result<Response<Body>, Infallible> {
    Ok(empty(StatusCode::NOT_FOUND))
}
