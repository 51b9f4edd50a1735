//! `emitter-cli`: sends events to Socket.IO clients from scripts, cron jobs and services, through Redis.
//!
//! `emitter-cli emit time "$(date -Is)"` is heard by every client of every server on that Redis. [`args`] says what can
//! be asked for, [`payload`] what the arguments of an event are, [`message`] makes what is published out of both.
//! [`once`] sends one of these, [`bulk`] many; [`request`], [`sockets`], [`rooms`] and [`servers`] ask; [`watch`] shows what
//! passes, [`doctor`] what is wrong. Whatever goes wrong is a [`failure`]: three lines, what, why and what to do, and an
//! exit code that scripts can rely on.

use std::process::ExitCode;

mod args;
mod asking;
mod bench;
mod bulk;
mod config;
mod connect;
mod decode;
mod direct;
mod doctor;
mod failure;
mod family;
mod manual;
mod message;
mod nobody;
mod once;
mod output;
mod payload;
mod request;
mod rooms;
mod server_ask;
mod servers;
mod show;
mod sockets;
mod template;
mod told;
mod watch;

use args::{Command, Invocation};
use failure::Failure;

fn main() -> ExitCode {
    let outcome = Invocation::parse().and_then(run);
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

fn run(Invocation { settings, command }: Invocation) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a thread, a timer and epoll are all that is asked of the system");
    let outcome = runtime.block_on(async {
        if let Some(server) = settings.server.as_ref().filter(|_| command.needs_somebody()) {
            return direct::run(&settings, server, &command).await;
        }
        match command {
            Command::Emit(emit) if emit.is_bulk() => bulk::run(&settings, &emit).await,
            Command::Emit(emit) => once::run(&settings, message::emit(&settings, &emit)?, emit.require_receivers).await,
            Command::Join(rooms) => once::run(&settings, message::join(&settings, &rooms)?, None).await,
            Command::Leave(rooms) => once::run(&settings, message::leave(&settings, &rooms)?, None).await,
            Command::Disconnect(whom) => {
                let message = message::disconnect(&settings, &whom)?;
                whom.confirm(&settings)?;
                once::run(&settings, message, None).await
            }
            Command::Request(request) => request::run(&settings, &request).await,
            Command::Sockets(sockets) => sockets::run(&settings, &sockets).await,
            Command::Rooms => rooms::run(&settings).await,
            Command::Servers(servers) => servers::run(&settings, &servers).await,
            Command::ServerEmit(emit) if emit.ack => server_ask::run(&settings, &emit).await,
            Command::ServerEmit(emit) => once::run(&settings, message::server_emit(&settings, &emit)?, None).await,
            Command::Watch(watch) => watch::run(&settings, &watch).await,
            Command::Decode(decode) => decode::run(&settings, &decode),
            Command::Bench(bench) => bench::run(&settings, &bench).await,
            Command::Doctor => doctor::run(&settings).await,
            Command::Config(config) => config::run(&settings, &config),
            Command::Completions(completions) => Ok(manual::completions(&completions)),
            Command::Man(man) => manual::man(&man),
        }
    });
    // Something may still be reading standard input, which nobody waits for.
    runtime.shutdown_background();
    outcome
}
