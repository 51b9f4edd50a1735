//! From an HTTP request to a session: which path is ours, what is refused and how, polling, and the way to a WebSocket.
//!
//! The order of the checks, and the bytes of each refusal, are the reference server's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::Full;
use hyper::ext::Protocol;
use smallvec::SmallVec;
use socketio_protocol::engine::{
    BadRequest, Body as Payload, HandshakeError, Input, OpenPacket, Packet, PayloadEncoder, Query, TransportKind,
    Version, decode_payload, jsonp,
};
use socketio_protocol::websocket::{Agreement, handshake};

use super::answer::{Answer, Fixed};
use super::body::{ReadBody, Streamed};
use super::clock::now;
#[cfg(feature = "compression")]
use super::compression;
use super::config::EngineConfig;
use super::connection::{Connection, PollBody};
#[cfg(feature = "compression")]
use super::encoding::Encoding;
use super::engine::{Engine, NewId, Shared};
use super::frame::{Frame, Terms};
use super::head::Head;
use super::incoming::Incoming;
use super::io::Upgrade;
use super::opening::{NewProbe, NewSession, Opening};
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

    /// Whether a path is the one that clients ask for, with nothing below it.
    pub(crate) fn is_path(&self, path: &[u8]) -> bool {
        let config = &self.shared.config;
        match path.strip_prefix(config.path.as_bytes()) {
            Some(b"/") => true,
            Some(b"") => !config.add_trailing_slash,
            _ => false,
        }
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
        let upgrade = Head::of(&request).wants_web_socket().then(|| Upgrade::of(&mut request));
        let (parts, body) = request.into_parts();
        let request = http::Request::from_parts(parts, ());
        let mut answer = self.answer(&Head::of(&request), Streamed(body)).await;
        if let (Some(opening), Some(upgrade)) = (answer.opening.take(), upgrade) {
            tokio::spawn(async move {
                let stream = upgrade.split().await.ok();
                opening.begin(stream).await;
            });
        }
        answer.into_response()
    }

    /// What [`respond`](Engine::respond) is, and the path of our own: the answer to a request, and what is to be done with
    /// the stream if it is no HTTP after that.
    pub(crate) async fn answer(&self, head: &Head<'_>, body: impl ReadBody) -> Answer {
        let shared = &self.shared;
        shared.start();
        let cors = shared.config.cors.as_ref();
        if let Some(answer) = cors.and_then(|cors| cors.preflight(head)) {
            return answer;
        }
        let upgrade = head.wants_web_socket();
        let mut answer = match shared.route(head, body, upgrade).await {
            Ok(mut answer) => {
                if let Some(headers) = &shared.config.headers
                    && (answer.status.is_success() || answer.status.is_informational())
                {
                    headers.add(answer.headers_mut(), head.copy(shared));
                }
                answer
            }
            Err(error) => {
                shared.refused(head.copy(shared), &error);
                if upgrade { refuse_upgrade(&error, head) } else { refuse(&error) }
            }
        };
        if let Some(cors) = cors {
            cors.add_headers(head.headers.get(&header::ORIGIN), answer.headers_mut());
        }
        answer
    }
}

impl Shared {
    async fn route(
        self: &Arc<Self>,
        head: &Head<'_>,
        body: impl ReadBody,
        upgrade: bool,
    ) -> Result<Answer, HandshakeError> {
        let query = Query::parse(head.query());
        let transport = match query.transport() {
            Some(transport @ (TransportKind::Polling | TransportKind::WebSocket)) if self.config.serves(transport) => {
                transport
            }
            _ => return Err(HandshakeError::UnknownTransport { transport: query.get("transport").map(str::to_owned) }),
        };
        origin::check(&self.config, head)?;
        let version = query.version();

        if let Some(sid) = query.sid() {
            let connection = match self.known_session(sid, version) {
                Err(HandshakeError::UnknownSid { sid })
                    if transport == TransportKind::Polling && !upgrade && version == Some(Version::V4) =>
                {
                    return Box::pin(self.carry(head, body, sid, &query)).await; // Boxed: it is rare.
                }
                Err(HandshakeError::UnknownSid { sid })
                    if transport == TransportKind::WebSocket
                        && self.config.allow_upgrades
                        && version == Some(Version::V4)
                        && self.strangers.get().is_some()
                        && upgrade =>
                {
                    return Box::pin(self.carry_web_socket(head, sid, query.b64())).await;
                }
                known => known?,
            };
            return match (transport, upgrade) {
                (TransportKind::WebSocket, true) if self.config.allow_upgrades => {
                    self.probe(head, connection, query.b64())
                }
                (TransportKind::Polling, false) => self.poll_or_post(head, body, connection, query.j()).await,
                (TransportKind::Polling, true) => Err(BadRequest::TransportHandshakeError.into()),
                _ => Err(mismatch(transport, &connection)),
            };
        }

        if head.method != Method::GET && head.extended.is_none() {
            return Err(HandshakeError::BadMethod { method: head.method.to_string() });
        }
        if (transport == TransportKind::WebSocket) != upgrade {
            return Err(BadRequest::TransportHandshakeError.into());
        }
        let Some(version) = version.filter(|version| *version == Version::V4 || self.config.allow_eio3) else {
            return Err(HandshakeError::UnsupportedVersion { protocol: 3 });
        };
        let request = head.copy(self);
        let pass = self.count_in(request)?;
        let id = self.admit(request).await?;
        let base64 = query.b64();
        let cookie = self.config.cookie.as_ref().and_then(|cookie| cookie.header(&id.sid, request.secure()));
        let mut answer = if upgrade {
            self.open_web_socket(head, (id, pass), version, base64)?
        } else {
            let body = self.open_polling(&id, pass, request.clone(), version, base64);
            poll_answer(&self.config, PollBody { body, compress: true }, query.j(), head).await
        };
        if let Some(cookie) = cookie {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(initial_headers) = &self.config.initial_headers {
            initial_headers.add(answer.headers_mut(), request);
        }
        Ok(answer)
    }

    /// Counts a request that is refused, and tells of it.
    pub(super) fn refused(&self, request: &Request, error: &HandshakeError) {
        self.counters.refused(error.code());
        tracing::debug!(target: "socketio::connection", code = error.code(), message = error.message(), "a request is refused");
        self.connection_errors.tell(request, error);
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
    pub(super) async fn admit(self: &Arc<Self>, request: &Request) -> Result<NewId, HandshakeError> {
        if let Some(allow_request) = &self.config.allow_request {
            allow_request.ask(request.clone()).await?;
        }
        let id = match &self.config.generate_id {
            Some(generate_id) => {
                let id = generate_id.ask(request.clone()).await?;
                self.reserve(id.into()).ok_or(BadRequest::IdGenerationError)?
            }
            None => NewId::random(),
        };
        if self.is_draining() { Err(HandshakeError::ShuttingDown) } else { Ok(id) }
    }

    /// Lets a handshake pass if there are not too many, and counts the connection for as long as the pass is held.
    #[cfg(feature = "rate-limit")]
    pub(super) fn count_in(&self, request: &Request) -> Result<Option<Pass>, HandshakeError> {
        let admitted = self.config.rate_limits.as_ref().map(|limits| self.gate.admit(limits, request)).transpose();
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
        request: Request,
        version: Version,
        base64: bool,
    ) -> Payload {
        let mut payload = PayloadEncoder::new(version, false);
        Frame::control(&self.open_packet(&id.sid, TransportKind::Polling)).write_payload(&mut payload);
        if let Some(message) = &self.config.initial_packet {
            Frame::message(message.clone()).write_payload(&mut payload);
        }
        let (sid, transport) = (id.sid.clone(), TransportKind::Polling);
        let connection = Connection::new(sid, version, transport, base64, request, self.clone(), now());
        self.remember(&connection);
        let accepted = self.accept(Incoming::new(connection));
        self.sessions_at_work.spawn(async move {
            let _counted = pass;
            accepted.await;
        });
        payload.finish()
    }

    pub(super) async fn poll_or_post(
        self: &Arc<Self>,
        head: &Head<'_>,
        body: impl ReadBody,
        connection: Arc<Connection>,
        jsonp: Option<&str>,
    ) -> Result<Answer, HandshakeError> {
        if connection.transport() != TransportKind::Polling {
            return Err(mismatch(TransportKind::Polling, &connection));
        }
        match head.method {
            Method::GET => Ok(poll(connection, jsonp, head).await),
            Method::POST => Ok(self.post(head, body, connection, jsonp.is_some()).await),
            // The reference answers 500, as if the fault were its own.
            _ => Ok(Answer::empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn post(
        self: &Arc<Self>,
        head: &Head<'_>,
        body: impl ReadBody,
        connection: Arc<Connection>,
        jsonp: bool,
    ) -> Answer {
        if connection.handle(Input::PostOpened).is_some() {
            return Answer::empty(StatusCode::BAD_REQUEST);
        }
        let mut guard = Aborted { connection: Some(connection.clone()), input: Input::PostAborted };
        #[cfg(test)]
        tokio::task::yield_now().await;
        let kind = head.headers.get(&header::CONTENT_TYPE);
        let binary = kind.is_some_and(|kind| kind.starts_with(b"application/octet-stream"));
        if binary && connection.version() == Version::V4 {
            guard.connection = None;
            connection.handle(Input::TransportFailed("invalid content"));
            return Answer::empty(StatusCode::BAD_REQUEST);
        }
        let body = match body.read(&self.config).await {
            Ok(body) => body,
            Err(status) => {
                guard.connection = None;
                connection.handle(Input::TransportFailed("message over the limit, or too slow"));
                return Answer::unread(status);
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
        #[cfg(test)]
        tokio::task::yield_now().await;
        // As in the reference, handlers have run when the client learns that its packets have come.
        poll_fn(|cx| connection.poll_handled(cx)).await;
        guard.connection = None;
        connection.handle(Input::PostAnswered);
        Answer::content(&HTML, Bytes::from_static(b"ok"))
    }

    // ---- WebSocket --------------------------------------------------------------------------------------------

    fn open_web_socket(
        self: &Arc<Self>,
        head: &Head<'_>,
        (id, pass): (NewId, Option<Pass>),
        version: Version,
        base64: bool,
    ) -> Result<Answer, HandshakeError> {
        let (mut answer, terms) = self.switch_protocols(head, base64)?;
        let (shared, tracked, request) = (self.clone(), self.sessions_at_work.token(), head.copy(self).clone());
        let session = NewSession { shared, id, pass, tracked, request, version, base64, terms };
        answer.opening = Some(Box::new(Opening::Session(session)));
        Ok(answer)
    }

    /// The answer that makes a WebSocket of a request, and on which terms.
    pub(super) fn switch_protocols(&self, head: &Head<'_>, base64: bool) -> Result<(Answer, Terms), HandshakeError> {
        let mut answer = switching_protocols(head)?;
        let offers = || Agreement::new(head.headers.texts(&header::SEC_WEBSOCKET_EXTENSIONS));
        let agreement = self.codec.as_ref().and_then(|_| offers());
        if let Some(agreed) = agreement.and_then(|agreement| HeaderValue::try_from(agreement.header()).ok()) {
            answer.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
        }
        Ok((answer, Terms { base64, agreement, web_transport: false }))
    }

    /// A WebSocket for a session that polls.
    fn probe(&self, head: &Head<'_>, connection: Arc<Connection>, base64: bool) -> Result<Answer, HandshakeError> {
        let (mut answer, terms) = self.switch_protocols(head, base64)?;
        let number = connection.open_probe().ok();
        answer.opening = Some(Box::new(Opening::Probe(NewProbe { connection, number, terms })));
        Ok(answer)
    }
}

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

async fn poll(connection: Arc<Connection>, jsonp: Option<&str>, head: &Head<'_>) -> Answer {
    let shared = connection.shared.clone();
    if connection.handle(Input::PollOpened).is_some() {
        return Answer::empty(StatusCode::BAD_REQUEST);
    }
    let mut guard = Aborted { connection: Some(connection), input: Input::PollAborted };
    #[cfg(test)]
    tokio::task::yield_now().await;
    let body = poll_fn(|cx| match &guard.connection {
        Some(connection) => connection.poll_body(cx),
        None => std::task::Poll::Pending,
    })
    .await;
    guard.connection = None;
    let config = &shared.config;
    poll_answer(config, body, jsonp, head).await
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

fn switching_protocols(head: &Head<'_>) -> Result<Answer, HandshakeError> {
    if let Some(protocol) = head.extended {
        return open_stream(protocol, head);
    }
    let values = |name: &'static str| head.headers.texts(&HeaderName::from_static(name)).collect::<SmallVec<[_; 2]>>();
    let accept = handshake::check(head.method.as_str(), values).map_err(|error| {
        tracing::debug!(%error, "a request cannot become a WebSocket");
        BadRequest::TransportHandshakeError
    })?;
    let mut answer = Answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer.fixed = Fixed::WebSocket(accept);
    add_protocol(&mut answer, head);
    Ok(answer)
}

/// The answer to a request for a WebSocket over HTTP/2, whose handshake is a part of the protocol below.
fn open_stream(protocol: &Protocol, head: &Head<'_>) -> Result<Answer, HandshakeError> {
    let version = head.headers.get(&header::SEC_WEBSOCKET_VERSION);
    if protocol.as_str() != "websocket" || version != Some(b"13") {
        return Err(BadRequest::TransportHandshakeError.into());
    }
    let mut answer = Answer::empty(StatusCode::OK);
    add_protocol(&mut answer, head);
    Ok(answer)
}

/// The reference server takes the first subprotocol, whatever it is.
fn add_protocol(answer: &mut Answer, head: &Head<'_>) {
    let first = handshake::first_protocol(head.headers.texts(&header::SEC_WEBSOCKET_PROTOCOL));
    if let Some(first) = first.and_then(|first| HeaderValue::from_str(first).ok()) {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, first);
    }
}

pub(super) async fn poll_answer(
    config: &EngineConfig,
    PollBody { body, compress }: PollBody,
    jsonp: Option<&str>,
    head: &Head<'_>,
) -> Answer {
    let (kind, bytes) = match jsonp {
        Some(index) => (&TEXT, jsonp::wrap(index, &String::from_utf8_lossy(&body.bytes)).into()),
        None if body.binary => (&BINARY, body.bytes),
        None => (&TEXT, body.bytes),
    };
    let (bytes, encoding) = match config.http_compression {
        Some(threshold) if compress && bytes.len() >= threshold => Box::pin(packed(bytes, head)).await,
        _ => (bytes, None),
    };
    let mut answer = Answer::content(kind, bytes);
    if let Some(encoding) = encoding {
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    let agent = head.headers.text(&header::USER_AGENT).unwrap_or_default();
    if agent.contains(";MSIE") || agent.contains("Trident/") {
        answer.headers_mut().insert("x-xss-protection", HeaderValue::from_static("0"));
    }
    answer
}

/// A body as the client likes it, and the name of that form.
#[cfg(feature = "compression")]
async fn packed(body: Bytes, head: &Head<'_>) -> (Bytes, Option<&'static str>) {
    let accepted = head.headers.text(&header::ACCEPT_ENCODING);
    let Some(encoding) = accepted.and_then(|accepted| Encoding::preferred(accepted, compression::OFFERED)) else {
        return (body, None);
    };
    match compression::pack(body.clone(), encoding).await {
        Some(packed) => (packed, Some(encoding.as_str())),
        None => (body, None),
    }
}

#[cfg(not(feature = "compression"))]
async fn packed(body: Bytes, _: &Head<'_>) -> (Bytes, Option<&'static str>) {
    (body, None)
}

fn refuse(error: &HandshakeError) -> Answer {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = Answer::empty(status);
    answer.body = error.to_json().into();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(error, HandshakeError::ShuttingDown) {
        // The next attempt is to come over a connection that may lead to another server.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn refuse_upgrade(error: &HandshakeError, head: &Head<'_>) -> Answer {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = Answer::empty(status);
    answer.body = error.message().to_owned().into();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if head.headers.get(&header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")); // RFC 6455, 4.4
    }
    answer
}

// Every poll is answered with one of these: checked once, when this is compiled.
static TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
static BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) static HTML: HeaderValue = HeaderValue::from_static("text/html");

/// Answers a request that is nobody's.
pub(crate) fn not_found() -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}
