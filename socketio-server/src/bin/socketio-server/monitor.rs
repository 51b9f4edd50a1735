//! The port of those who watch the server: Prometheus, and whoever asks whether it lives.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the server's numbers in Prometheus' text format |
//! | `/healthz` | 200 as long as the process answers |
//! | `/readyz` | 200, or 503 with the reason: the server drains, or does not hear the others if it is to |
//!
//! It stays open while the server drains, so that whoever sends clients here sees it in time.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use socketio_server::Server;
use tower_service::Service;

use crate::gateway::Gateway;

/// Answers those who watch `io`.
#[derive(Clone)]
pub(crate) struct Monitor {
    io: Server,
    gateway: Arc<Gateway>,
    needs_redis: bool,
}

impl Monitor {
    /// With `needs_redis` a server that does not hear the others is not ready.
    pub(crate) fn new(io: &Server, gateway: Arc<Gateway>, needs_redis: bool) -> Self {
        Self { io: io.clone(), gateway, needs_redis }
    }

    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let respond: fn(&Self) -> _ = match path {
            "/metrics" => Self::metrics,
            "/healthz" => |_| (StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => Self::readiness,
            _ => return text(StatusCode::NOT_FOUND, "Here are /metrics, /healthz and /readyz\n".to_owned()),
        };
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD\n".to_owned());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let (status, body) = respond(self);
        text(status, body)
    }

    fn metrics(&self) -> (StatusCode, String) {
        (StatusCode::OK, self.io.stats().to_prometheus() + &self.gateway.to_prometheus())
    }

    fn readiness(&self) -> (StatusCode, String) {
        let deaf = || self.io.stats().cluster.is_some_and(|cluster| cluster.deaf_namespaces > 0);
        if self.io.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        } else if self.needs_redis && deaf() {
            (StatusCode::SERVICE_UNAVAILABLE, "other servers are not heard: no Redis\n".to_owned())
        } else {
            (StatusCode::OK, "ready\n".to_owned())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

impl<B> Service<Request<B>> for Monitor {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(request.method(), request.uri().path())))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    #[tokio::test]
    async fn a_server_that_drains_lives_and_is_not_ready() {
        let io = Server::new();
        let options = Options::parse_from(["socketio-server"]);
        let gateway = Gateway::open(&options.tokens, &options.webhooks).unwrap();
        let monitor = Monitor::new(&io, Arc::new(gateway), true);
        let status = |path| monitor.respond(&Method::GET, path).status().as_u16();
        assert_eq!((status("/metrics"), status("/healthz"), status("/readyz")), (200, 200, 200));
        assert_eq!((status("/"), monitor.respond(&Method::POST, "/metrics").status().as_u16()), (404, 405));
        io.drain(std::time::Duration::ZERO).await;
        assert_eq!((status("/metrics"), status("/healthz"), status("/readyz")), (200, 200, 503));
    }
}
