//! Many messages over one connection: a line of stdin each, or the same event again and again.
//!
//! They leave in order; up to [`IN_FLIGHT`] of them have no answer yet. What is wrong with one is told with the number
//! of its line, and the others go on. Ctrl-C ends the reading; what was sent is still answered and counted.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt::{Display, Write},
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Deserialize;
use socketio_emitter::{EmitError, Emitted, Emitter, Receipt};
use socketio_protocol::socket::Value;

use crate::{
    args::{Adapter, Emit, Settings, Target},
    connect::{Patience, connect},
    failure::{Failure, code},
    message::{self, Delivery, Event, Message},
    nobody, once, output,
    payload::Payload,
    template::Template,
};

pub(crate) mod input;

use input::{Input, Item};

/// So many messages may be without an answer. They leave in batches, and large ones cost less.
const IN_FLIGHT: usize = 4_096;

/// How long answers are waited for after Ctrl-C.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Emits until the input ends.
pub(crate) async fn run(settings: &Settings, emit: &Emit) -> Result<u8, Failure> {
    let mut maker = Maker::new(settings, emit)?;
    let emitter = match settings.dry_run {
        true => None,
        false => Some(connect(settings, &mut Patience::new(settings)).await?),
    };
    if let Some(emitter) = &emitter {
        maker.io = emitter.of(&settings.nsp);
    }
    let mut input = Input::new(emit);
    let mut run = Run::new(settings, emit);
    if let Some(emitter) = emitter.as_ref().filter(|_| settings.adapter == Adapter::Streams) {
        run.readers = Some(emitter.of(&settings.nsp).server_count().await? as u64);
    }
    let mut interrupted = false;
    let mut ended = false;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    while !(ended && run.flying.is_empty()) {
        tokio::select! {
            biased;
            _ = &mut interrupt, if !interrupted => {
                interrupted = true;
                ended = true;
                run.deadline = Some(tokio::time::Instant::now() + LAST_WORDS);
            }
            () = until(run.deadline) => break,
            (number, outcome) = first(&mut run.flying) => run.land(number, outcome).await,
            item = input.next(), if !ended && run.flying.len() < IN_FLIGHT => match item {
                None => ended = true,
                Some(Item { number, line }) => match line.and_then(|line| maker.message(number, line)) {
                    Ok(None) => {}
                    Ok(Some((name, event))) => run.send(number, name, event, emitter.as_ref()),
                    Err(failure) => run.fail(number, &failure),
                },
            },
        }
    }
    Ok(run.finish(interrupted))
}

/// Makes a message of a line.
struct Maker<'a> {
    emit: &'a Emit,
    io: Emitter,
    payload: Payload,
}

/// What a line of `--ndjson` may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    event: Option<String>,
    #[serde(default)]
    args: Value,
    to: Option<Names>,
    except: Option<Names>,
    nsp: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "neither a room nor a list of rooms")]
enum Names {
    One(String),
    Some(Vec<String>),
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        match names {
            Names::One(name) => vec![name],
            Names::Some(names) => names,
        }
    }
}

impl<'a> Maker<'a> {
    fn new(settings: &Settings, emit: &'a Emit) -> Result<Self, Failure> {
        let io = message::planner(settings, &settings.nsp)?;
        Ok(Maker { emit, io, payload: Payload::read(&emit.arguments, emit.lines || emit.ndjson)? })
    }

    /// The event of this number and its name; `None` for an empty line where that means nothing.
    fn message(&self, number: u64, line: Option<String>) -> Result<Option<(Cow<'a, str>, Event)>, Failure> {
        let emit = self.emit;
        if emit.ndjson {
            let line = line.unwrap_or_default();
            return if line.trim().is_empty() { Ok(None) } else { self.of_json(&line).map(Some) };
        }
        let template = emit.template.then(|| Template { count: number, now: SystemTime::now() });
        let values = self.payload.values(template.as_ref(), line.as_deref())?;
        let event = emit.event.as_deref().unwrap_or_default();
        let made = Event::new(&self.io, &emit.target, Delivery::from(emit), event, &values)?;
        Ok(Some((event.into(), made)))
    }

    fn of_json(&self, line: &str) -> Result<(Cow<'a, str>, Event), Failure> {
        let Line { event, args, to, except, nsp } =
            serde_json::from_str(line).map_err(|error| Failure::usage("not an event").cause(in_line(&error)))?;
        let Some(event) = event.or_else(|| self.emit.event.clone()) else {
            return Err(Failure::usage(r#"not an event: "event" is missing"#));
        };
        let values = match args {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            value => vec![value],
        };
        let to = to.map(Vec::from);
        if to.as_ref().is_some_and(Vec::is_empty) {
            return Err(Failure::usage(r#""to" names no room; leave it out for everybody"#));
        }
        let target = Target {
            to: to.unwrap_or_else(|| self.emit.target.to.clone()),
            except: except.map_or_else(|| self.emit.target.except.clone(), Vec::from),
        };
        let other = nsp.map(|nsp| self.io.of(&nsp));
        let io = other.as_ref().unwrap_or(&self.io);
        let made = Event::new(io, &target, Delivery::from(self.emit), &event, &values)?;
        Ok((event.into(), made))
    }
}

/// What is wrong with a line of JSON. That it is line 1 of itself would confuse.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

/// What is on its way, and what became of the rest.
struct Run<'a> {
    settings: &'a Settings,
    emit: &'a Emit,
    flying: VecDeque<Flight>,
    bar: ProgressBar,
    /// When to stop waiting for answers.
    deadline: Option<tokio::time::Instant>,
    sent: u64,
    failed: u64,
    /// Heard by fewer servers than required.
    unheard: u64,
    /// The fewest and the most servers that heard one of them.
    heard: Option<(u64, u64)>,
    /// How many servers read the stream, where there is one.
    readers: Option<u64>,
    /// The exit code of the last failure.
    last_code: u8,
    warned: bool,
}

struct Flight {
    number: u64,
    name: String,
    sent: Sent,
    emitted: Emitted,
}

/// What is kept of what was sent.
enum Sent {
    /// It will be reported.
    Message(Message),
    Event(Event),
}

impl Flight {
    fn channel(&self) -> String {
        match &self.sent {
            Sent::Message(message) => message.plan.channel.clone(),
            Sent::Event(event) => event.channel(&self.name),
        }
    }
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, emit: &'a Emit) -> Self {
        let quiet = settings.quiet || settings.json || settings.dry_run || emit.count.is_some_and(|count| count <= 20);
        let bar = match emit.count {
            _ if quiet => ProgressBar::hidden(),
            Some(count) => ProgressBar::new(count).with_style(style("{bar:40} {pos}/{len}  {rate}  {eta} left")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {pos}  {rate}")),
        };
        let flying = VecDeque::with_capacity(IN_FLIGHT);
        let (deadline, heard, warned) = (None, None, false);
        Run {
            settings,
            emit,
            flying,
            bar,
            deadline,
            sent: 0,
            failed: 0,
            unheard: 0,
            heard,
            readers: None,
            last_code: 0,
            warned,
        }
    }

    fn send(&mut self, number: u64, name: Cow<'_, str>, event: Event, emitter: Option<&Emitter>) {
        let planned = match emitter {
            Some(_) if !self.settings.json => None,
            _ => Some(event.plan(&name)),
        };
        let (sent, emitted) = match (planned, emitter) {
            (Some(Err(failure)), _) => return self.fail(number, &failure),
            (Some(Ok(message)), Some(emitter)) => {
                let emitted = emitter.publish(&message.plan);
                (Sent::Message(message), emitted)
            }
            (Some(Ok(message)), None) => {
                self.sent += 1;
                return once::dry(self.settings, &message);
            }
            (None, _) => {
                let emitted = event.emit(&name);
                (Sent::Event(event), emitted)
            }
        };
        self.flying.push_back(Flight { number, name: name.into_owned(), sent, emitted });
    }

    /// The oldest message has its answer.
    async fn land(&mut self, number: u64, outcome: Result<Receipt, EmitError>) {
        let Some(flight) = self.flying.pop_front() else { return };
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(error) => return self.fail(number, &error.into()),
        };
        let receivers = self.readers.unwrap_or(receipt.receivers());
        self.sent += 1;
        self.bar.inc(1);
        let (fewest, most) = self.heard.unwrap_or((receivers, receivers));
        self.heard = Some((fewest.min(receivers), most.max(receivers)));
        if let Sent::Message(message) = &flight.sent {
            message.report(self.settings, receivers, receipt.entry());
        }
        if receivers == 0 && !self.settings.quiet && !std::mem::replace(&mut self.warned, true) {
            let nobody = nobody::find(self.settings, &flight.channel(), self.settings.timeout).await;
            self.bar.suspend(|| nobody.print());
        }
        let required = self.emit.require_receivers.unwrap_or_default();
        if receivers < required {
            self.unheard += 1;
            self.complain(number, &once::too_few(receivers, required));
        }
    }

    fn fail(&mut self, number: u64, failure: &Failure) {
        self.failed += 1;
        self.last_code = failure.code;
        self.complain(number, failure);
    }

    fn complain(&self, number: u64, failure: &Failure) {
        let unit = if self.emit.count.is_some() { "emit" } else { "line" };
        self.bar.suspend(|| output::error(&format!("{unit} {number}: {}", failure.in_a_line())));
    }

    /// Tells how it went, and gives the exit code.
    fn finish(mut self, interrupted: bool) -> u8 {
        self.bar.finish_and_clear();
        let unanswered = self.flying.len() as u64;
        if unanswered > 0 {
            self.failed += unanswered;
            self.last_code = code::FAILED;
            output::error(&format!("{unanswered} had no answer yet and may have been delivered"));
        }
        if !self.settings.quiet && !self.settings.json && !self.settings.dry_run {
            output::line(self.summary());
        }
        if self.failed > 0 {
            output::error(&format!("{} of {} failed", self.failed, self.failed + self.sent));
        }
        match self {
            _ if interrupted => code::INTERRUPTED,
            Run { failed: 1.., sent: 0, last_code, .. } => last_code,
            Run { failed: 1.., .. } => code::PARTLY,
            Run { unheard: 1.., .. } => code::TOO_FEW,
            _ => code::DONE,
        }
    }

    fn summary(&self) -> String {
        let heard = match self.heard {
            None => String::new(),
            Some((fewest, most)) if fewest == most => format!(" → {}", output::servers(most)),
            Some((fewest, most)) => format!(" → {fewest} to {}", output::servers(most)),
        };
        let times = |count: u64, word: &dyn Display| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        match &self.emit.event {
            Some(event) if !self.emit.ndjson => format!("emitted {event:?} {}{heard}", times(self.sent, &"time")),
            _ => format!("emitted {}{heard}", times(self.sent, &"event")),
        }
    }
}

/// The number and the outcome of the oldest message.
async fn first(flying: &mut VecDeque<Flight>) -> (u64, Result<Receipt, EmitError>) {
    match flying.front_mut() {
        Some(flight) => (flight.number, (&mut flight.emitted).await),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates are ours");
    style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    })
}
