//! The HTTP API, by which backends send to clients and ask who is there, on all servers.
//!
//! Requests show a key. Bodies and answers are JSON; what cannot be done is answered by `{"error": {"code", "message"}}`, and
//! has had no effect unless the message says so. `api/openapi.json` describes all of it, and is served under `/openapi.json`.
//! [`routes`] says what each path does; this file has what is common to them.

mod routes;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use ring::hmac;
use serde_json::{Value as Json, json};
use socketio_server::Server;
use tower_service::Service;

/// Answers backends.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    io: Server,
    key: SecretKey,
    namespaces: Vec<String>,
}

/// Why a request is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

impl Api {
    pub(crate) fn new(io: &Server, key: &[u8], namespaces: Vec<String>) -> Self {
        Self(Arc::new(Inner { io: io.clone(), key: SecretKey::new(key), namespaces }))
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == "/openapi.json" && matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer(StatusCode::OK, OPENAPI.to_owned());
        }
        let allowed = if path == "/openapi.json" { Some("GET, HEAD") } else { routes::allowed(path) };
        match self.done(request, allowed).await {
            Ok(body) => answer(StatusCode::OK, body.to_string()),
            Err(Refusal { status, code, message }) => {
                let mut response = answer(status, json!({ "error": { "code": code, "message": message } }).to_string());
                if status == StatusCode::UNAUTHORIZED {
                    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                if let Some(allowed) = allowed.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                }
                response
            }
        }
    }

    async fn done(&self, request: Request<Incoming>, allowed: Option<&str>) -> Result<Json, Refusal> {
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|shown| shown.split_once(' '));
        if !shown.is_some_and(|(scheme, key)| scheme.eq_ignore_ascii_case("bearer") && self.0.key.is(key.as_bytes())) {
            let message = "show the key of the API: Authorization: Bearer KEY";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
        }
        let (parts, body) = request.into_parts();
        match allowed {
            None => {
                let message = format!("there is no {}; see /openapi.json", parts.uri.path());
                Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", message))
            }
            Some(allowed) if allowed.split(", ").all(|method| parts.method != method) => {
                let message = format!("{} takes {allowed}", parts.uri.path());
                Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message))
            }
            Some("POST") => {
                let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let kind = kind.split(';').next().unwrap_or_default().trim();
                if !kind.eq_ignore_ascii_case("application/json") {
                    let message = "the body is to be JSON: Content-Type: application/json";
                    return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
                }
                let body = read(body).await?;
                routes::post(&self.0, parts.uri.path(), &body).await
            }
            Some(_) => routes::get(&self.0, parts.uri.path(), parts.uri.query().unwrap_or_default()).await,
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("more than {MAX_BODY} bytes"));
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time")),
    }
}

fn answer(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Service<Request<Incoming>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move { Ok(api.respond(request).await) })
    }
}

/// A key that others show. How long it takes to look at one says nothing about it: what is compared are tags of both.
struct SecretKey {
    by: hmac::Key,
    tag: hmac::Tag,
}

impl SecretKey {
    fn new(key: &[u8]) -> Self {
        let by = hmac::Key::new(hmac::HMAC_SHA256, b"the key of the API");
        let tag = hmac::sign(&by, key);
        Self { by, tag }
    }

    fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.by, shown, self.tag.as_ref()).is_ok()
    }
}

/// What describes the API for programs.
const OPENAPI: &str = include_str!("api/openapi.json");

/// Bytes of a body.
const MAX_BODY: usize = 1 << 20;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);
