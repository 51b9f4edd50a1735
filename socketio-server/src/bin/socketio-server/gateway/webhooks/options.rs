//! The options of webhooks.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use http::Uri;

use crate::gateway::keys::{KeyError, secret_in};

/// The backend that is told what clients do.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct WebhookOptions {
    /// Where the backend is told that a client connects, of its events, and that it has gone; its answers let clients in
    /// and are their acknowledgements
    #[arg(long, value_name = "URL", env = "SOCKETIO_WEBHOOK_URL", value_parser = url, requires = "the_webhook_secret")]
    pub(crate) webhook_url: Option<Uri>,

    /// What webhooks are signed with, as standardwebhooks.com says: whsec_ and base64, or 24 characters at least
    #[arg(
        long,
        value_name = "SECRET",
        env = "SOCKETIO_WEBHOOK_SECRET",
        hide_env_values = true,
        group = "the_webhook_secret"
    )]
    pub(crate) webhook_secret: Option<String>,

    /// A file with the secret
    #[arg(long, value_name = "FILE", env = "SOCKETIO_WEBHOOK_SECRET_FILE", group = "the_webhook_secret")]
    pub(crate) webhook_secret_file: Option<PathBuf>,

    /// A PEM file with the certificates of those to trust about a backend behind https, in place of those that the system trusts
    #[arg(long, value_name = "FILE", env = "SOCKETIO_WEBHOOK_CA", requires = "webhook_url")]
    pub(crate) webhook_ca: Option<PathBuf>,

    /// What the backend is told
    #[arg(
        long,
        value_enum,
        value_name = "TYPE",
        env = "SOCKETIO_WEBHOOK_TYPES",
        value_delimiter = ',',
        default_value = "connect,event,disconnect"
    )]
    pub(crate) webhook_types: Vec<WebhookType>,

    /// How many seconds the backend may take to answer
    #[arg(long, value_name = "SECONDS", env = "SOCKETIO_WEBHOOK_TIMEOUT", default_value = "5", value_parser = crate::options::seconds)]
    pub(crate) webhook_timeout: Duration,

    /// What becomes of a client when the backend cannot be asked about it
    #[arg(long, value_enum, value_name = "WHAT", env = "SOCKETIO_WEBHOOK_UNANSWERED", default_value = "refuse")]
    pub(crate) webhook_unanswered: Unanswered,

    /// How often an event without acknowledgement, or a disconnect, is tried; pauses grow from 0.2 to 10 seconds
    #[arg(long, value_name = "NUMBER", env = "SOCKETIO_WEBHOOK_ATTEMPTS", default_value = "8", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) webhook_attempts: u32,

    /// How many requests may be under way at once
    #[arg(long, value_name = "NUMBER", env = "SOCKETIO_WEBHOOK_CONCURRENCY", default_value = "64", value_parser = number)]
    pub(crate) webhook_concurrency: usize,

    /// How many disconnects may wait for the backend; more are dropped
    #[arg(long, value_name = "NUMBER", env = "SOCKETIO_WEBHOOK_QUEUE", default_value = "10000")]
    pub(crate) webhook_queue: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WebhookType {
    Connect,
    Event,
    Disconnect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unanswered {
    Refuse,
    Allow,
}

impl WebhookOptions {
    /// What webhooks are signed with.
    pub(super) fn secret(&self) -> Result<Vec<u8>, KeyError> {
        let secret = match (&self.webhook_secret, &self.webhook_secret_file) {
            (Some(secret), _) => secret.clone().into_bytes(),
            (None, Some(path)) => secret_in(path)?,
            (None, None) => Vec::new(),
        };
        let secret = match secret.strip_prefix(b"whsec_") {
            Some(base64) => STANDARD.decode(base64).map_err(|_| KeyError::WebhookSecret)?,
            None => secret,
        };
        if secret.len() < 24 { Err(KeyError::WebhookSecret) } else { Ok(secret) }
    }
}

fn url(text: &str) -> Result<Uri, String> {
    let url = text.parse::<Uri>().ok();
    url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        .ok_or_else(|| "expected a URL, such as http://127.0.0.1:8000/socketio".to_owned())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=100_000).contains(number))
        .ok_or_else(|| "expected a number from 1".to_owned())
}
