//! One server for every behaviour that foreign clients and protocol suites ask about.
//!
//! `MODE` says which: `protocol`, `legacy`, `protocol-msgpack` and `ws` send back what comes, `clients` serves all that
//! a client can exercise, `eio-client` and `sio-client` are what the stock suites of the two client libraries talk to,
//! `webtransport` offers that transport too, `admin` the Admin UI, `abuse` is a server with default options. PORT,
//! PING_INTERVAL, PING_TIMEOUT and MAX_PAYLOAD are read from the environment, too; with DEFLATE WebSocket messages are
//! compressed.

mod admin;
mod clients;
mod events;
mod parsers;
mod protocol;
mod recovery;
mod rooms;
mod stock;
mod values;
mod webtransport;

use std::env::var;
use std::io;
use std::time::Duration;

use socketio_server::engine::{EngineConfig, PerMessageDeflate, Timing};
use socketio_server::{Builder, Parser, Server, bind};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What the modes differ in, before what they serve.
#[derive(Debug, Clone, Copy)]
struct Options {
    ping_interval: Duration,
    ping_timeout: Duration,
    max_payload: usize,
    eio3: bool,
    deflate: bool,
}

impl Options {
    fn new(ping_interval: u64, ping_timeout: u64, max_payload: usize, eio3: bool) -> Result<Self, io::Error> {
        let (ping_interval, ping_timeout) = (Duration::from_millis(ping_interval), Duration::from_millis(ping_timeout));
        Ok(Self {
            ping_interval: number("PING_INTERVAL")?.map_or(ping_interval, Duration::from_millis),
            ping_timeout: number("PING_TIMEOUT")?.map_or(ping_timeout, Duration::from_millis),
            max_payload: number("MAX_PAYLOAD")?.map_or(max_payload, |bytes| bytes as usize),
            eio3,
            deflate: var("DEFLATE").is_ok(),
        })
    }

    /// An Engine.IO server of its own.
    fn engine(&self) -> EngineConfig {
        EngineConfig {
            timing: Timing { ping_interval: self.ping_interval, ping_timeout: self.ping_timeout, ..Timing::default() },
            max_http_buffer_size: self.max_payload,
            max_queued_bytes: EngineConfig::default().max_queued_bytes.max(4 * self.max_payload),
            allow_eio3: self.eio3,
            per_message_deflate: self.deflate.then(PerMessageDeflate::default),
            ..EngineConfig::default()
        }
    }

    /// A Socket.IO server at `path`.
    fn server(&self, path: &str) -> Builder {
        let engine = self.engine();
        let builder = Server::builder()
            .path(path)
            .ping_interval(self.ping_interval)
            .ping_timeout(self.ping_timeout)
            .max_http_buffer_size(self.max_payload)
            .max_queue(engine.max_queued_packets, engine.max_queued_bytes)
            .allow_eio3(self.eio3);
        if self.deflate { builder.per_message_deflate(PerMessageDeflate::default()) } else { builder }
    }
}

fn number(name: &str) -> Result<Option<u64>, io::Error> {
    let Ok(text) = var(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| io::Error::other(format!("{name}={text} is no number")))
}

#[tokio::main]
async fn main() -> Result<(), io::Error> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter("warn").init();
    let port = number("PORT")?.unwrap_or(3000);
    let mode = var("MODE").unwrap_or_else(|_| "clients".into());
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = bind(format!("127.0.0.1:{port}")).await?;
    tokio::select! {
        result = serve(&mode, listener) => result,
        _ = terminate.recv() => Ok(()),
    }
}

async fn serve(mode: &str, listener: TcpListener) -> Result<(), io::Error> {
    match mode {
        "protocol" => protocol::serve(Options::new(300, 200, 1_000_000, false)?, Parser::Json, listener).await,
        "legacy" => protocol::serve(Options::new(300, 200, 1_000_000, true)?, Parser::Json, listener).await,
        "protocol-msgpack" => {
            protocol::serve(Options::new(300, 200, 1_000_000, false)?, Parser::MsgPack, listener).await;
        }
        "ws" => protocol::serve(Options::new(25_000, 20_000, 20_000_000, false)?, Parser::Json, listener).await,
        "clients" => clients::serve(Options::new(1000, 2000, 1_000_000, true)?, listener).await,
        "eio-client" => stock::engine_client(Options::new(500, 20_000, 100, false)?, listener).await,
        "sio-client" => stock::socket_client(Options::new(2000, 20_000, 1_000_000, false)?, listener).await,
        "webtransport" => webtransport::serve(Options::new(500, 2000, 1_000_000, false)?, listener).await?,
        "admin" => admin::serve(Options::new(25_000, 20_000, 1_000_000, false)?, listener).await?,
        "abuse" => protocol::abuse(listener).await,
        other => return Err(io::Error::other(format!("MODE={other} is not offered"))),
    }
    Ok(())
}
