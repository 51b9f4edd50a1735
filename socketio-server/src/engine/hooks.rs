//! What an application may have done at HTTP requests: refuse a handshake, name its session, add headers to answers, and
//! learn of what was refused.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt;
use http::HeaderMap;
use socketio_protocol::engine::{BadRequest, HandshakeError};

use super::request::Request;

/// Looks at each handshake before it is accepted, whichever transport it asks for. Requests of a session that is open
/// are not asked about again.
///
/// ```
/// use socketio_server::engine::{AllowRequest, EngineConfig};
///
/// let allow = AllowRequest::new(async |request| match request.header("x-api-key") {
///     Some("abc") => Ok(()),
///     _ => Err("a key, please".to_owned()),
/// });
/// let config = EngineConfig { allow_request: Some(allow), ..EngineConfig::default() };
/// ```
#[derive(Clone)]
pub struct AllowRequest(Asked<()>);

/// Something that an application says about a request.
type Asked<T> = Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Result<T, String>> + Send>> + Send + Sync>;

/// What it said, if it did not panic.
async fn ask<T>(hook: &Asked<T>, request: Request) -> Option<Result<T, String>> {
    AssertUnwindSafe(async { hook(request).await }).catch_unwind().await.ok()
}

impl AllowRequest {
    /// An error is the message of the refusal, which a polling client gets as `{"code":4,"message":...}` with the
    /// status 403. A panic refuses, too.
    pub fn new<F, Fut>(allow: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(allow(request))))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<(), HandshakeError> {
        match ask(&self.0, request).await {
            Some(verdict) => verdict.map_err(|message| HandshakeError::Forbidden(Some(message))),
            None => Err(BadRequest::MiddlewareFailure.into()),
        }
    }
}

impl fmt::Debug for AllowRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllowRequest")
    }
}

/// Names each new session. Who knows the name of a polling session can speak for its client, so it must not be one that
/// can be guessed; the ids that the engine makes itself are 120 random bits.
///
/// ```
/// use socketio_server::engine::{EngineConfig, GenerateId, random_id};
///
/// // The ids say which server has the session.
/// let generate = GenerateId::new(async |_| Ok(format!("eu-3.{}", random_id())));
/// let config = EngineConfig { generate_id: Some(generate), ..EngineConfig::default() };
/// ```
#[derive(Clone)]
#[doc(alias = "generateId")]
pub struct GenerateId(Asked<String>);

impl GenerateId {
    /// The id may have 128 characters at most, `A-Z a-z 0-9 - . _ ~`, which have no meaning in URLs and cookies. One
    /// that is something else, or that a session has already, is refused as an error is: the client gets the answer
    /// `{"code":3,"message":"Bad request"}`.
    pub fn new<F, Fut>(generate: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(generate(request))))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<String, HandshakeError> {
        let id = match ask(&self.0, request).await {
            Some(Ok(id)) if is_safe(&id) => return Ok(id),
            Some(Ok(_)) => "it cannot stand in a URL".to_owned(),
            Some(Err(error)) => error,
            None => "panic".to_owned(),
        };
        tracing::warn!(error = id, "there is no id for a session");
        Err(BadRequest::IdGenerationError.into())
    }
}

fn is_safe(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// The longest id of a session: it is part of every request of a polling client.
const MAX_ID: usize = 128;

impl fmt::Debug for GenerateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GenerateId")
    }
}

/// Adds headers to answers: see [`initial_headers`](super::EngineConfig::initial_headers) and
/// [`headers`](super::EngineConfig::headers).
///
/// ```
/// use axum::http::HeaderValue;
/// use socketio_server::engine::{AddHeaders, EngineConfig};
///
/// let add = AddHeaders::new(|headers, _request| {
///     headers.insert("x-server", HeaderValue::from_static("eu-3"));
/// });
/// let config = EngineConfig { headers: Some(add), ..EngineConfig::default() };
/// ```
#[derive(Clone)]
pub struct AddHeaders(Arc<Add>);

type Add = dyn Fn(&mut HeaderMap, &Request) + Send + Sync;

impl AddHeaders {
    /// `add` gets the headers of the answer, as they are so far, and the request.
    pub fn new(add: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static) -> Self {
        Self(Arc::new(add))
    }

    pub(super) fn add(&self, headers: &mut HeaderMap, request: &Request) {
        (self.0)(headers, request);
    }
}

impl fmt::Debug for AddHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddHeaders")
    }
}

/// A request that was refused, as the reference server's event `connection_error` tells it.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use std::sync::{Arc, Mutex};
/// use socketio_server::engine::ConnectionError;
///
/// let refusals = Arc::new(Mutex::new(Vec::new()));
/// # let log = refusals.clone();
/// io.engine().on_connection_error(move |refused: &ConnectionError| log.lock().unwrap().push(refused.code()));
/// io.close().await;
/// assert!(TestClient::to(&io).try_connect().await.is_err());
/// assert_eq!(refusals.lock().unwrap().len(), 1);
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[doc(alias = "connection_error")]
pub struct ConnectionError {
    /// The request.
    pub request: Request,
    /// Why it was refused, with what the reference server calls the context.
    pub error: HandshakeError,
}

impl ConnectionError {
    /// The number that the client got, 0 to 5.
    pub fn code(&self) -> u8 {
        self.error.code()
    }

    /// The text that the client got.
    pub fn message(&self) -> &str {
        self.error.message()
    }
}

/// Who is told of requests that were refused.
#[derive(Default)]
pub(super) struct ConnectionErrorHooks(RwLock<Vec<ConnectionErrorHook>>);

type ConnectionErrorHook = Arc<dyn Fn(&ConnectionError) + Send + Sync>;

impl ConnectionErrorHooks {
    pub(super) fn add(&self, hook: impl Fn(&ConnectionError) + Send + Sync + 'static) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
    }

    pub(super) fn tell(&self, request: &Request, error: &HandshakeError) {
        let hooks = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if hooks.is_empty() {
            return;
        }
        let error = ConnectionError { request: request.clone(), error: error.clone() };
        for hook in hooks {
            hook(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_safe_in_urls_and_cookies() {
        for (id, safe) in [
            ("a", true),
            ("AZaz09-._~", true),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("a&sid=b", false),
            ("a;b", false),
            ("é", false),
            ("a\r\n", false),
        ] {
            assert_eq!(is_safe(id), safe, "{id:?}");
        }
        assert!(is_safe(&"x".repeat(128)));
        assert!(!is_safe(&"x".repeat(129)));
    }
}
