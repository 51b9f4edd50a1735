//! `emitter-cli`: sends events to Socket.IO clients from scripts, cron jobs and services, through Redis.
//!
//! `emitter-cli emit time "$(date -Is)"` is heard by every client of every server on that Redis. [`args`] says what can
//! be asked for, [`payload`] what the arguments of an event are, [`message`] makes what is published out of both.
//! [`once`] sends one of these, [`bulk`] many. Whatever goes wrong is a [`failure`]: three lines, what, why and what to
//! do, and an exit code that scripts can rely on.

use std::process::ExitCode;

mod args;
mod bulk;
mod connect;
mod failure;
mod message;
mod nobody;
mod once;
mod output;
mod payload;
mod show;
mod template;

use args::{Command, Invocation};

fn main() -> ExitCode {
    let Invocation { settings, command } = Invocation::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a thread, a timer and epoll are all that is asked of the system");
    let outcome = runtime.block_on(async {
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
            Command::ServerEmit(emit) => once::run(&settings, message::server_emit(&settings, &emit)?, None).await,
        }
    });
    // Something may still be reading standard input, which nobody waits for.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}
