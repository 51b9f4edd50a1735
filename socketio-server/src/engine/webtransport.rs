//! From an HTTP/3 session to a session of ours: who is refused, what the first packet asks for.
//!
//! A client asks for an HTTP/3 session at the engine's path, and is refused for its path or its origin as others are.
//! Then it opens one bidirectional stream, on which it says whether it wants a new session, about which the application
//! is asked, or goes on with one that polls. From there on the stream is a [`Connection`](super::Connection)'s, like the
//! stream of a WebSocket; everything else that the HTTP/3 session could carry is left unread.
//!
//! The stock client puts nothing into the query of its request; what stands there counts nevertheless.

mod stream;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use socketio_protocol::engine::webtransport::{Decoder, Opening};
use socketio_protocol::engine::{self, BadRequest, HandshakeError, Packet, Query, TransportKind, Version};
use tokio::time::timeout;
use wtransport::endpoint::{IncomingSession, SessionRequest};

use super::clock::now;
use super::connection::Connection;
use super::engine::{Engine, NewId, Shared};
use super::frame::{Frame, Terms};
use super::head::Head;
use super::http::{Pass, mismatch};
use super::incoming::Incoming;
use super::io::{Reader, Writer};
use super::opening::probe;
use super::origin;
use super::request::{RemoteAddress, Request, Secure};

pub(super) use self::stream::{ReadHalf, WriteHalf};

/// What a client may have.
enum Admission {
    New(NewId, Option<Pass>),
    Upgrade(Arc<Connection>),
}

/// A stream whose client has said what it wants.
struct Opened {
    opening: Opening,
    reader: ReadHalf,
    writer: WriteHalf,
    /// What has been read behind the first packet.
    ahead: BytesMut,
}

impl Engine {
    /// Takes a QUIC connection through its handshakes, and serves it to its end. `handshaking` is dropped in between.
    pub(crate) async fn web_transport(self, incoming: IncomingSession, handshaking: impl Send) {
        let shared = &self.shared;
        let established = Box::pin(self.establish(incoming));
        let Some(Some((admission, request, stream))) = self.closing().run_until_cancelled(established).await else {
            return;
        };
        drop(handshaking);
        match admission {
            // It counts as a connection until it has been served.
            Admission::New(id, _pass) if !shared.is_closed() => {
                if let Some(incoming) = shared.open_web_transport(id, request, stream) {
                    shared.accept(incoming).await;
                }
            }
            Admission::Upgrade(connection) => match connection.open_probe() {
                Ok(number) => {
                    let reader = Reader::WebTransport(Box::new(stream.reader));
                    let writer = Writer::WebTransport(Box::new(stream.writer));
                    probe(&connection, number, reader, writer, stream.ahead, TERMS).await;
                }
                Err(_) => stream.reader.refuse(),
            },
            Admission::New(..) => stream.reader.refuse(),
        }
    }

    /// Both the session and the first packet have as long as an upgrade may take.
    async fn establish(&self, incoming: IncomingSession) -> Option<(Admission, Request, Opened)> {
        let patience = self.shared.config.timing.upgrade_timeout;
        let session = match timeout(patience, incoming).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a QUIC connection became no session");
                return None;
            }
            Err(_) => return None,
        };
        let Some(http) = as_http(&session).filter(|http| self.owns(http.uri().path())) else {
            let _ = timeout(patience, session.not_found()).await;
            return None;
        };
        let request = Request::new(&Head::of(&http), None); // No proxy writes into a QUIC connection.
        let named = match self.shared.look_at(&http, &request) {
            Ok(named) => named,
            Err(error) => {
                self.shared.refused(&request, &error);
                // Of the 4xx there are only these two.
                let _ = match error.code() {
                    0 | 1 => timeout(patience, session.not_found()).await,
                    _ => timeout(patience, session.forbidden()).await,
                };
                return None;
            }
        };
        let first_packet = first_packet(session, self.shared.config.max_payload(TransportKind::WebTransport));
        let stream = timeout(patience, first_packet).await.ok()??;
        match self.shared.admit_web_transport(named, &stream.opening, &request).await {
            Ok(admission) => Some((admission, request, stream)),
            Err(error) => {
                self.shared.refused(&request, &error);
                stream.reader.refuse();
                None
            }
        }
    }
}

impl Shared {
    /// The checks that need no more than the request. Gives back the session that it names, if it names one.
    fn look_at(&self, http: &http::Request<()>, request: &Request) -> Result<Option<Arc<Connection>>, HandshakeError> {
        let query = Query::parse(request.raw_query());
        match query.get("transport") {
            Some(other) if query.transport() != Some(TransportKind::WebTransport) => {
                return Err(HandshakeError::UnknownTransport { transport: Some(other.to_owned()) });
            }
            _ => origin::check(&self.config, &Head::of(http))?,
        }
        if query.eio().is_some() && query.version() != Some(Version::V4) {
            return Err(HandshakeError::UnsupportedVersion { protocol: 3 });
        }
        query.sid().map(|sid| self.changing_session(sid)).transpose()
    }

    /// A session that may change to WebTransport.
    fn changing_session(&self, sid: &str) -> Result<Arc<Connection>, HandshakeError> {
        let connection = self.known_session(sid, Some(Version::V4))?;
        if !self.config.allow_upgrades {
            return Err(mismatch(TransportKind::WebTransport, &connection));
        }
        Ok(connection)
    }

    /// The checks that need the first packet, too: both name the same session, or the packet alone does.
    async fn admit_web_transport(
        self: &Arc<Self>,
        named: Option<Arc<Connection>>,
        opening: &Opening,
        request: &Request,
    ) -> Result<Admission, HandshakeError> {
        match (named, opening) {
            (None, Opening::New) => {
                let pass = self.count_in(request)?;
                Ok(Admission::New(self.admit(request).await?, pass))
            }
            (None, Opening::Upgrade { sid }) => self.changing_session(sid).map(Admission::Upgrade),
            (Some(connection), Opening::Upgrade { sid }) if *connection.id() == *sid => {
                Ok(Admission::Upgrade(connection))
            }
            (Some(_), _) => Err(BadRequest::TransportHandshakeError.into()),
        }
    }

    fn open_web_transport(self: &Arc<Self>, id: NewId, request: Request, stream: Opened) -> Option<Incoming> {
        let (sid, transport) = (id.sid.clone(), TransportKind::WebTransport);
        let open = Frame::control(&self.open_packet(&sid, transport));
        let initial = self.config.initial_packet.clone();
        let connection = Connection::new(sid, Version::V4, transport, false, request, self.clone(), now());
        self.remember(&connection);
        drop(id);
        connection.opened(Writer::WebTransport(Box::new(stream.writer)), TERMS);
        let mut incoming = Incoming::new(connection);
        incoming.read_from(Reader::WebTransport(Box::new(stream.reader)), stream.ahead);
        let mut frames = std::iter::once(open).chain(initial.map(Frame::message));
        frames.all(|frame| incoming.connection().send_frame(&frame, false).is_ok()).then_some(incoming)
    }
}

/// Accepts the session, and waits for its stream and the first packet on it.
async fn first_packet(request: SessionRequest, max: usize) -> Option<Opened> {
    let session = request.accept().await.ok()?;
    let (writer, reader) = session.accept_bi().await.ok()?;
    let mut reader = ReadHalf::new(reader, session);
    let mut decoder = Decoder::new(max.min(MAX_FIRST_PACKET));
    let mut ahead = BytesMut::new();
    let packet = loop {
        match decoder.decode(&mut ahead) {
            Ok(Some(engine::Frame::Text(text))) => break Packet::decode_text(text, Version::V4).ok(),
            Ok(Some(engine::Frame::Binary(_))) | Err(_) => break None,
            Ok(None) => {}
        }
        let read = poll_fn(|cx| tokio_util::io::poll_read_buf(std::pin::Pin::new(&mut reader), cx, &mut ahead));
        if read.await.ok()? == 0 {
            return None;
        }
    };
    match packet.as_ref().and_then(Opening::read) {
        Some(opening) => Some(Opened { opening, reader, writer: WriteHalf::new(writer), ahead }),
        None => {
            tracing::debug!("a WebTransport stream begins with what is no open packet");
            reader.refuse();
            None
        }
    }
}

/// The longest first packet: `{"sid":"..."}` with room for ids that an application makes.
const MAX_FIRST_PACKET: usize = 4096;

/// The request as the other transports have it. HTTP/3 has `:authority` in place of `Host`.
fn as_http(session: &SessionRequest) -> Option<http::Request<()>> {
    let mut request = http::Request::builder().uri(session.path());
    let mut headers: Vec<_> = session.headers().iter().filter(|(name, _)| !name.starts_with(':')).collect();
    headers.sort_unstable();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            request = request.header(name, value);
        }
    }
    let mut request = request.body(()).ok()?;
    if let Ok(host) = HeaderValue::from_str(session.authority()) {
        request.headers_mut().entry(http::header::HOST).or_insert(host);
    }
    request.extensions_mut().insert(RemoteAddress(session.remote_address()));
    request.extensions_mut().insert(Secure);
    Some(request)
}

/// What is known without asking of who comes this way.
const TERMS: Terms = Terms { base64: false, agreement: None, web_transport: true };
