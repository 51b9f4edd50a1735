//! What an application may have done at a handshake: refuse it, and add headers to its answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderMap;

use super::request::Request;

/// Looks at each handshake before it is accepted, whichever transport it asks for. Requests of a session that is open
/// are not asked about again.
#[derive(Clone)]
pub struct AllowRequest(Arc<dyn Fn(Request) -> Verdict + Send + Sync>);

type Verdict = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl AllowRequest {
    /// An error is the message of the refusal, which a polling client gets as `{"code":4,"message":...}` with the
    /// status 403.
    pub fn new<F, Fut>(allow: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(allow(request))))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<(), String> {
        (self.0)(request).await
    }
}

impl fmt::Debug for AllowRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllowRequest")
    }
}

/// Adds headers to the answer of each handshake: the body with the open packet, or the change to WebSocket.
#[derive(Clone)]
#[doc(alias = "initial_headers")]
pub struct InitialHeaders(Arc<Add>);

type Add = dyn Fn(&mut HeaderMap, &Request) + Send + Sync;

impl InitialHeaders {
    /// `add` runs once for each session, after everything else has been added.
    pub fn new(add: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static) -> Self {
        Self(Arc::new(add))
    }

    pub(super) fn add(&self, headers: &mut HeaderMap, request: &Request) {
        (self.0)(headers, request);
    }
}

impl fmt::Debug for InitialHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitialHeaders")
    }
}
