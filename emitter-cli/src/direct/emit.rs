//! `emit --server`: one event or many, over one connection.

use std::time::SystemTime;

use socketio_client::{Client, without_secrets};
use socketio_protocol::socket::Args;

use super::{args, connect, no_rooms};
use crate::{
    args::{Emit, Settings},
    bulk::{
        bar,
        input::{Input, Item},
        line::{Line, Whom},
    },
    failure::{Failure, code},
    output,
    payload::Payload,
    show,
    template::Template,
};

pub(super) async fn run(settings: &Settings, url: &str, emit: &Emit) -> Result<u8, Failure> {
    no_rooms(&emit.target)?;
    if emit.require_receivers.is_some() {
        return Err(Failure::usage("--require-receivers is for Redis")
            .tip("there is one receiver here, the server that is named; use request to have it answer"));
    }
    let maker = Maker { settings, emit, payload: Payload::read(&emit.arguments, emit.lines || emit.ndjson)? };
    if emit.is_bulk() {
        return many(&maker, url).await;
    }
    let event_args = maker.usual(1, None)?;
    if settings.dry_run {
        dry(url, &event_args);
        return Ok(code::DONE);
    }
    let client = connect(settings, url).await?;
    client.emit_args(event_args).await?;
    client.close().await;
    let event = emit.event.as_deref().unwrap_or_default();
    report(settings, url, Some(event), None);
    Ok(code::DONE)
}

/// Makes the payloads of events.
struct Maker<'a> {
    settings: &'a Settings,
    emit: &'a Emit,
    payload: Payload,
}

impl Maker<'_> {
    /// The event of this number; `None` for an empty line where that means nothing.
    fn make(&self, number: u64, line: Option<&str>) -> Result<Option<Args>, Failure> {
        match line {
            Some(line) if self.emit.ndjson && line.trim_ascii().is_empty() => Ok(None),
            Some(line) if self.emit.ndjson => self.of_json(line).map(Some),
            line => self.usual(number, line).map(Some),
        }
    }

    /// The event that the command line names.
    fn usual(&self, number: u64, line: Option<&str>) -> Result<Args, Failure> {
        let template = self.emit.template.then(|| Template { count: number, now: SystemTime::now() });
        args(self.emit.event.as_deref().unwrap_or_default(), self.payload.values(template.as_ref(), line)?)
    }

    fn of_json(&self, line: &str) -> Result<Args, Failure> {
        let mut line = Line::read(line)?;
        let whom = line.whom();
        let elsewhere = whom.nsp()?.is_some_and(|nsp| nsp != self.settings.nsp);
        if elsewhere || (whom != Whom::default() && (whom.to()?, whom.except()?) != (None, None)) {
            return Err(Failure::usage("a client sends to its server only, in one namespace")
                .cause(r#""to", "except" and another "nsp" are for Redis"#));
        }
        let event = line.event(self.emit.event.as_deref())?;
        args(&event, line.args()?.to_values().unwrap_or_default())
    }
}

/// One event for each line, or as many as are asked for.
async fn many(maker: &Maker<'_>, url: &str) -> Result<u8, Failure> {
    let Maker { settings, emit, .. } = maker;
    let client = match settings.dry_run {
        true => None,
        false => Some(connect(settings, url).await?),
    };
    let bar = bar(settings, emit);
    let mut input = Input::new(emit);
    let (mut sent, mut failed) = (0u64, 0u64);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let interrupted = 'reading: loop {
        tokio::select! {
            biased;
            _ = &mut interrupt => break true,
            more = input.wait() => if !more {
                break false;
            },
        }
        while let Some(Item { number, line }) = input.take() {
            match line.and_then(|line| maker.make(number, line)) {
                Ok(None) => {}
                Ok(Some(event_args)) => {
                    tokio::select! {
                        biased;
                        _ = &mut interrupt => break 'reading true,
                        sent = send(client.as_ref(), url, event_args) => sent?,
                    }
                    sent += 1;
                    bar.inc(1);
                }
                Err(failure) => {
                    failed += 1;
                    let unit = if emit.count.is_some() { "emit" } else { "line" };
                    bar.suspend(|| output::error(&format!("{unit} {number}: {}", failure.in_a_line())));
                }
            }
        }
    };
    bar.finish_and_clear();
    if let Some(client) = client {
        client.close().await;
        report(settings, url, emit.event.as_deref().filter(|_| !emit.ndjson), Some(sent));
    }
    if failed > 0 {
        output::error(&format!("{failed} of {} failed", failed + sent));
    }
    Ok(match (interrupted, failed, sent) {
        (true, _, _) => code::INTERRUPTED,
        (_, 0, _) => code::DONE,
        (_, _, 0) => code::USAGE,
        _ => code::PARTLY,
    })
}

async fn send(client: Option<&Client>, url: &str, event_args: Args) -> Result<(), Failure> {
    match client {
        Some(client) => Ok(client.emit_args(event_args).await?),
        None => {
            dry(url, &event_args);
            Ok(())
        }
    }
}

fn dry(url: &str, event_args: &Args) {
    let values = event_args.to_values().unwrap_or_default();
    let event = event_args.event().unwrap_or_default();
    output::line(format!("would emit {event:?} {} to {}", show::values(&values), without_secrets(url)));
}

/// Tells how often `event`, or events of several names, were emitted.
fn report(settings: &Settings, url: &str, event: Option<&str>, times: Option<u64>) {
    let (count, url) = (times.unwrap_or(1), without_secrets(url));
    if settings.json {
        let [event, url] = [event, Some(url.as_str())].map(serde_json::Value::from);
        output::line(format!(r#"{{"event":{event},"server":{url},"count":{count}}}"#));
    } else if !settings.quiet {
        let plural = if count == 1 { "" } else { "s" };
        let what = match (event, times) {
            (Some(event), None) => format!("{event:?}"),
            (Some(event), Some(_)) => format!("{event:?} {count} time{plural}"),
            (None, _) => format!("{count} event{plural}"),
        };
        output::line(format!("emitted {what} to the server {url}"));
    }
}
