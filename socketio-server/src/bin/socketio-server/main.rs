//! A Socket.IO server to run at once, with a page that shows what it does.
//!
//! `socketio-server` needs no configuration and no Redis: it serves the page on port 3000 and opens a
//! small bus of its own, so that emitters reach it. With `--redis` it is one of a cluster, like any
//! server that uses the library. [`chat`] says what it does, [`page`] what it shows, [`reach`] how
//! others reach it; here is how it starts and ends.

mod bus;
mod chat;
mod config;
mod gateway;
mod listening;
mod monitor;
mod options;
mod page;
mod reach;

use std::future::IntoFuture;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use socketio_redis_adapter::{ConnectError, RedisAdapter};
use socketio_redis_client::Address;
use socketio_server::admin::{AdminError, AdminOptions, RedisSessions};
use socketio_server::engine::Cors;
use socketio_server::{Listener, Recovery, Server};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use config::{Settings, Wrong};
use gateway::{Api, Gateway, KeyError};
use listening::{ListenError, Listening};
use monitor::Monitor;
use options::{Admin, Options, Task};
use page::Page;
use reach::Reach;

fn main() -> ExitCode {
    let ended = config::read(std::env::args_os().collect()).map_err(Problem::from).and_then(|settings| match settings
        .options
        .task
    {
        None => serve(settings.options),
        Some(Task::Check) => check(&settings),
        Some(Task::Defaults) => {
            say(&config::defaults());
            Ok(())
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Wrong(Wrong::CommandLine(error))) => error.exit(),
        Err(problem) => {
            let _ = writeln!(io::stderr(), "error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<(), Problem> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // What cannot be logged, on a full disk, is not to be complained of on the same disk: that would panic.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false).init();
    tokio::runtime::Runtime::new().map_err(Problem::Start)?.block_on(run(options))
}

/// Says what would be in force, having made of it what can be made without serving.
fn check(settings: &Settings) -> Result<(), Problem> {
    let options = &settings.options;
    Listening::tls(options)?;
    if let Some(url) = &options.redis {
        url.parse::<Address>()?;
    }
    Gateway::open(&options.tokens, &options.webhooks)?;
    options.api.key()?;
    say(&settings.describe());
    Ok(())
}

/// Whoever closed our output does not want to read it.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Serves until the process is asked to end.
async fn run(options: Options) -> Result<(), Problem> {
    let asked_to_end = asked_to_end().map_err(Problem::Start)?;
    let listening = Listening::open(&options).await?;
    let beside_it = async |option, addr: &str| {
        Listener::bind(addr).await.map_err(|error| Problem::Port(option, addr.to_owned(), error))
    };
    let monitoring = match &options.monitor.metrics {
        Some(addr) => Some(beside_it("--metrics", addr).await?),
        None => None,
    };
    let api = match options.api.key()? {
        Some((addr, key)) => Some((beside_it("--api", addr).await?, key)),
        None => None,
    };
    let gateway = Arc::new(Gateway::open(&options.tokens, &options.webhooks)?);
    let with_page = !options.no_page && !gateway.is_private();

    let reach = Reach::open(&options).await;
    let mut server = Server::builder();
    if let Some(url) = reach.url() {
        server = server.adapter(RedisAdapter::builder(&url).key(&options.key).lazy()?);
    }
    if !options.recovery.is_zero() {
        server = server.connection_state_recovery(
            Recovery::default().max_disconnection_duration(options.recovery).skip_middlewares(!gateway.is_private()),
        );
    }
    if let Some(proxies) = &options.trust_proxy {
        server = server.trust_proxy(proxies.clone());
    }
    if options.admin.is_some() {
        server = server.cors(Cors::origins([options.admin_origin.as_str()]).credentials(true));
    }
    let io = server.build();
    if let Some(admin) = &options.admin {
        instrument(&io, admin, options.redis.as_deref())?;
    }
    let mut told = listening.describe(if with_page { "page" } else { "clients" });
    if let Some(addr) = monitoring.as_ref().and_then(Listener::local_addr) {
        told += &format!("\nmetrics  http://{addr}/metrics\n         and /healthz, /readyz");
    }
    if let Some(addr) = api.as_ref().and_then(|(listener, _)| listener.local_addr()) {
        told += &format!("\napi      http://{addr}/\n         described in /openapi.json");
    }
    announce(&told, &reach);

    // Ended when this function is: the bus after the server has left it.
    let mut beside = JoinSet::new();
    if let Some(listener) = monitoring {
        let monitor = Monitor::new(&io, gateway.clone(), options.monitor.ready_needs_redis);
        beside.spawn(socketio_server::serve(listener, monitor));
    }
    if let Some((listener, key)) = api {
        let api = Api::new(&io, &key, options.tokens.namespaces());
        beside.spawn(socketio_server::serve(listener, api));
    }
    if with_page {
        beside.spawn(chat::serve(&io, reach.about(&options.key)));
    }
    if let Reach::Bus(bus) = reach {
        beside.spawn(bus.serve());
    }
    gateway.serve(&io, &mut beside);
    #[cfg(unix)]
    beside.spawn(reload_when_asked(
        gateway,
        #[cfg(feature = "tls")]
        listening.tls,
    ));
    tokio::select! {
        () = io.serve_with(listening.listeners, Page { shown: with_page }) => {}
        () = end(&io, asked_to_end, options.drain) => {}
    }
    Ok(())
}

/// Opens the server to the Admin UI. Who has shown the password is kept where all servers look, if there is a Redis.
fn instrument(io: &Server, admin: &Admin, redis: Option<&str>) -> Result<(), Problem> {
    let mut options = AdminOptions::basic(&admin.name, &admin.hash);
    if let Some(url) = redis {
        options = options.sessions(RedisSessions::lazy(url)?);
    }
    Ok(io.instrument(options)?)
}

/// Waits until somebody wants the process to end, and lets clients go without haste; at once if asked again.
async fn end(io: &Server, mut asked: mpsc::UnboundedReceiver<()>, drain: Duration) {
    asked.recv().await;
    tokio::select! {
        () = io.drain(drain).into_future() => {}
        _ = asked.recv() => {
            let _ = tokio::time::timeout(GOODBYE, io.close()).await;
        }
    }
}

/// Says where everything is.
fn announce(listening: &str, reach: &Reach) {
    let version = env!("CARGO_PKG_VERSION");
    say(&format!(
        "socketio-server {version}\n\n  {listening}\n  {reach}\n\nCtrl-C ends it.\n",
        listening = listening.replace('\n', "\n  "),
        reach = reach.describe().replace('\n', "\n  "),
    ));
}

/// Hears each time that somebody wants the process to end: Ctrl-C, or SIGTERM.
fn asked_to_end() -> io::Result<mpsc::UnboundedReceiver<()>> {
    let (asked, hearing) = mpsc::unbounded_channel();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    Ok(hearing)
}

/// Reads the certificate and the keys for tokens again on each SIGHUP.
#[cfg(unix)]
async fn reload_when_asked(gateway: Arc<Gateway>, #[cfg(feature = "tls")] tls: Option<socketio_server::TlsConfig>) {
    let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
    let Ok(mut hangup) = hangup else { return tracing::warn!("SIGHUP cannot be received") };
    while hangup.recv().await.is_some() {
        gateway.reload();
        #[cfg(feature = "tls")]
        match tls.as_ref().map(socketio_server::TlsConfig::reload) {
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => tracing::error!(%error, "the old certificate stays"),
            None => {}
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Wrong(#[from] Wrong),
    #[error("the program cannot run here: {0}")]
    Start(io::Error),
    #[error("{0}")]
    Redis(#[from] ConnectError),
    #[error("--admin: {0}")]
    Admin(#[from] AdminError),
    #[error("{0}")]
    Listen(#[from] ListenError),
    #[error("{0}")]
    Keys(#[from] KeyError),
    #[error("cannot listen on {1}: {2}\ntip:   choose another address or port with {0}")]
    Port(&'static str, String, io::Error),
}

/// How long clients may take to hear that the server ends when it is asked a second time.
const GOODBYE: Duration = Duration::from_secs(5);
