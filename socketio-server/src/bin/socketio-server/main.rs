//! A Socket.IO server to run at once, with a page that shows what it does.
//!
//! `socketio-server` needs no configuration and no Redis: it serves the page on port 3000 and opens a
//! small bus of its own, so that emitters reach it. With `--redis` it is one of a cluster, like any
//! server that uses the library. [`chat`] says what it does, [`page`] what it shows, [`reach`] how
//! others reach it; here is how it starts and ends.

mod bus;
mod chat;
mod options;
mod page;
mod reach;

use std::future::IntoFuture;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use socketio_redis_adapter::{ConnectError, RedisAdapter};
use socketio_server::Server;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use options::Options;
use page::Page;
use reach::Reach;

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let ended =
        tokio::runtime::Runtime::new().map_err(Problem::Start).and_then(|runtime| runtime.block_on(run(options)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the process is asked to end.
async fn run(options: Options) -> Result<(), Problem> {
    let asked_to_end = asked_to_end().map_err(Problem::Start)?;
    let taken = |error| Problem::Listen(options.listen.clone(), error);
    let listener = socketio_server::bind(&options.listen).await.map_err(taken)?;
    let addr = listener.local_addr().map_err(taken)?;

    let reach = Reach::open(&options).await;
    let mut server = Server::builder();
    if let Some(url) = reach.url() {
        server = server.adapter(RedisAdapter::builder(&url).key(&options.key).lazy()?);
    }
    let io = server.build();
    announce(addr, &reach);

    // Ended when this function is: the bus after the server has left it.
    let mut beside = JoinSet::new();
    beside.spawn(chat::serve(&io, reach.about(&options.key)));
    if let Reach::Bus(bus) = reach {
        beside.spawn(bus.serve());
    }
    tokio::select! {
        () = io.serve_with(listener, Page) => {}
        () = end(&io, asked_to_end, options.drain) => {}
    }
    Ok(())
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
fn announce(addr: SocketAddr, reach: &Reach) {
    let mut local = addr;
    let open = match addr.ip() {
        ip if ip.is_unspecified() => {
            local.set_ip(match ip.is_ipv4() {
                true => [127, 0, 0, 1].into(),
                false => std::net::Ipv6Addr::LOCALHOST.into(),
            });
            "and under this machine's name, for all who reach it"
        }
        ip if ip.is_loopback() => "for this machine alone; with --listen 0.0.0.0:3000 for others too",
        _ => "for all who reach it",
    };
    let version = env!("CARGO_PKG_VERSION");
    let reach = reach.describe();
    // Whoever closed our output does not want to read it.
    let _ = writeln!(
        io::stdout(),
        "socketio-server {version}\n\n  page     http://{local}/\n           {open}\n  {reach}\n\nCtrl-C ends it.",
        reach = reach.replace('\n', "\n  "),
    );
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

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the program cannot run here: {0}")]
    Start(io::Error),
    #[error("{0}")]
    Redis(#[from] ConnectError),
    #[error("cannot listen on {0}: {1}\ntip:   choose another address or port with --listen")]
    Listen(String, io::Error),
}

/// How long clients may take to hear that the server ends when it is asked a second time.
const GOODBYE: Duration = Duration::from_secs(5);
