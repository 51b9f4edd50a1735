//! How a webhook gets to the backend, signed as <https://www.standardwebhooks.com> says.
//!
//! A message is a POST of JSON. It may be asked, once, for an answer that somebody waits for; or told, again and again with
//! longer and longer pauses until the backend has it, or the attempts are over. Its id stays the same over all attempts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ring::hmac;
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;

use super::connector::Connector;
use super::options::WebhookOptions;
use crate::gateway::keys::KeyError;
use crate::gateway::tokens::now;

/// The way to the backend.
pub(super) struct Delivery {
    client: Client<Connector, Full<Bytes>>,
    url: Uri,
    key: hmac::Key,
    time: Duration,
    attempts: u32,
    /// How many requests may be under way.
    slots: Semaphore,
    pub(super) counts: Counts,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Event,
    Disconnect,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Connect, Kind::Event, Kind::Disconnect];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Connect => "connect",
            Kind::Event => "event",
            Kind::Disconnect => "disconnect",
        }
    }
}

/// What the backend answered: a status of 2xx, 401 or 403, and JSON; null if there is no body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Json,
}

/// Why a message has not got there, or its answer not back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    Late,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer cannot be read: {0}")]
    Answer(String),
}

impl Failure {
    /// Whether the backend may take the message later. What it says is wrong with the message stays wrong.
    fn may_pass(&self) -> bool {
        match self {
            Failure::Unreachable(_) | Failure::Late => true,
            Failure::Status(status) => status.is_server_error() || [408, 409, 425, 429].contains(&status.as_u16()),
            Failure::Answer(_) => false,
        }
    }
}

/// How messages ended.
#[derive(Debug, Default)]
pub(super) struct Counts {
    ends: [[AtomicU64; 4]; 3],
    again: AtomicU64,
    waiting: AtomicU64,
}

/// How a message ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Delivered,
    Refused,
    Failed,
    Dropped,
}

impl Counts {
    pub(super) fn end(&self, kind: Kind, end: End) {
        self.ends[kind as usize][end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages wait for their end.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// In Prometheus' text format.
    pub(super) fn to_prometheus(&self) -> String {
        let mut text = String::from(
            "# HELP socketio_webhooks_total Webhooks, by how they ended.\n# TYPE socketio_webhooks_total counter\n",
        );
        for kind in Kind::ALL {
            for (end, name) in ["delivered", "refused", "failed", "dropped"].iter().enumerate() {
                let count = self.ends[kind as usize][end].load(Ordering::Relaxed);
                text += &format!("socketio_webhooks_total{{type=\"{}\",end=\"{name}\"}} {count}\n", kind.name());
            }
        }
        let (again, waiting) = (self.again.load(Ordering::Relaxed), self.waiting());
        text += &format!(
            "# HELP socketio_webhook_retries_total Attempts after the first one.\n# TYPE socketio_webhook_retries_total counter\n\
             socketio_webhook_retries_total {again}\n\
             # HELP socketio_webhooks_waiting Webhooks on their way, or waiting for the next attempt.\n# TYPE socketio_webhooks_waiting gauge\n\
             socketio_webhooks_waiting {waiting}\n"
        );
        text
    }
}

/// A message that is on its way, counted as such.
struct Waiting<'a>(&'a Counts);

impl<'a> Waiting<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Message {
    id: String,
    body: Bytes,
}

impl Message {
    fn new(kind: Kind, data: &Json) -> Self {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let body = json!({ "type": kind.name(), "timestamp": time, "data": data }).to_string();
        Self { id: format!("msg_{}", uuid::Uuid::new_v4().simple()), body: body.into() }
    }
}

impl Delivery {
    pub(super) fn new(url: &Uri, options: &WebhookOptions) -> Result<Self, KeyError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &options.secret()?);
        let secure = url.scheme_str() == Some("https");
        let connector = Connector::new(options.webhook_ca.as_deref(), secure);
        let connector = connector.map_err(|error| KeyError::Tls(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(options.webhook_concurrency)
            .build(connector);
        Ok(Self {
            client,
            url: url.clone(),
            key,
            time: options.webhook_timeout,
            attempts: options.webhook_attempts,
            slots: Semaphore::new(options.webhook_concurrency),
            counts: Counts::default(),
        })
    }

    /// Asks for an answer, within the time that a request may take; waiting for others is part of it.
    pub(super) async fn ask(&self, kind: Kind, data: &Json) -> Result<Answer, Failure> {
        let _waiting = Waiting::new(&self.counts);
        let message = Message::new(kind, data);
        let answered = tokio::time::timeout(self.time, self.attempt(&message)).await.unwrap_or(Err(Failure::Late));
        match &answered {
            Ok(answer) if answer.status.is_success() => self.counts.end(kind, End::Delivered),
            Ok(_) => self.counts.end(kind, End::Refused),
            Err(error) => {
                tracing::warn!(kind = kind.name(), %error, "the backend of the webhooks does not answer");
                self.counts.end(kind, End::Failed);
            }
        }
        answered
    }

    /// Has the backend take it, however often that has to be tried.
    pub(super) async fn tell(&self, kind: Kind, data: &Json) {
        let _waiting = Waiting::new(&self.counts);
        let message = Message::new(kind, data);
        let mut attempt = 1;
        loop {
            let done = tokio::time::timeout(self.time, self.attempt(&message)).await.unwrap_or(Err(Failure::Late));
            let error = match done {
                Ok(answer) if answer.status.is_success() => return self.counts.end(kind, End::Delivered),
                Ok(answer) => Failure::Status(answer.status),
                Err(error) => error,
            };
            if !error.may_pass() {
                tracing::warn!(kind = kind.name(), %error, "the backend refuses a webhook");
                return self.counts.end(kind, End::Refused);
            }
            if attempt >= self.attempts {
                tracing::warn!(kind = kind.name(), %error, attempt, "a webhook is given up");
                return self.counts.end(kind, End::Failed);
            }
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
            self.counts.again.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn attempt(&self, message: &Message) -> Result<Answer, Failure> {
        let _slot = self.slots.acquire().await.map_err(|_| Failure::Late)?;
        let timestamp = now().to_string();
        let signature = sign(&self.key, &message.id, &timestamp, &message.body);
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("socketio-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(message.body.clone()))
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| Failure::Unreachable(causes(&error)))?;
        let status = response.status();
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| Failure::Answer(error.to_string());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(unreadable)?.to_bytes();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
            }
            status if !status.is_success() => Err(Failure::Status(status)),
            status if body.iter().all(u8::is_ascii_whitespace) => Ok(Answer { status, body: Json::Null }),
            status => {
                let body = serde_json::from_slice(&body).map_err(|error| Failure::Answer(error.to_string()))?;
                Ok(Answer { status, body })
            }
        }
    }
}

/// An error of hyper's says little without its cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The signature of one attempt: over its id, its time and its body.
fn sign(key: &hmac::Key, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// How long to wait after so many attempts: twice as long each time, and at random up to a half less, so that many do not
/// come back at once.
fn pause(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_PAUSE);
    let mut random = [0; 2];
    let part = getrandom::fill(&mut random).map_or(0.5, |()| f64::from(u16::from_ne_bytes(random)) / 65_536.0);
    longest.mul_f64(1.0 - part / 2.0)
}

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a connection is kept that nothing is sent over.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn pauses_get_longer_up_to_a_bound() {
        for (attempts, longest) in [(1, 200), (2, 400), (5, 3_200), (7, 10_000), (1_000, 10_000)] {
            let pause = pause(attempts).as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{attempts}: {pause}");
        }
    }
}
