//! Many messages over one connection: a line of stdin each, or the same event again and again.
//!
//! They leave in order; up to [`IN_FLIGHT`] of them have no answer yet. What is wrong with one is told with the number
//! of its line, and the others go on. Ctrl-C ends the reading; what was sent is still answered and counted.

use std::{
    collections::VecDeque,
    fmt::{Display, Write},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use socketio_emitter::{Broadcast, EmitError, Emitted, Emitter, Receipt};

use crate::{
    args::{Adapter, Emit, Settings, Target},
    connect::{Patience, connect},
    failure::{Failure, code},
    message::{self, List, Message},
    nobody, once, output,
    payload::Payload,
    template::Template,
};

pub(crate) mod input;
pub(crate) mod line;

use input::{Input, Item};
use line::{Line, Whom};

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
        maker.turn_to(emitter.of(&settings.nsp));
    }
    let mut input = Input::new(emit);
    let mut run = Run::new(settings, emit, emitter.as_ref());
    if let Some(emitter) = emitter.as_ref().filter(|_| settings.adapter == Adapter::Streams) {
        run.readers = readers(settings, emit, emitter).await?;
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
            landed = landed(&mut run.flying), if !run.flying.is_empty() => run.land(landed).await,
            more = input.wait(), if !ended && run.flying.len() < IN_FLIGHT => {
                ended = !more;
                // All that is there leaves without looking around: a look costs as much as a message.
                while run.flying.len() < IN_FLIGHT && let Some(Item { number, line }) = input.take() {
                    if let Err(failure) = line.and_then(|line| maker.make(number, line, &mut run)) {
                        run.fail(number, &failure);
                    }
                }
            },
        }
    }
    Ok(run.finish(interrupted))
}

/// How many servers read the stream; `None` if they cannot be counted and that does not matter.
async fn readers(settings: &Settings, emit: &Emit, emitter: &Emitter) -> Result<Option<u64>, Failure> {
    let reason = match emitter.of(&settings.nsp).server_count().await {
        Ok(count) => return Ok(Some(count as u64)),
        Err(error) => Failure::from(error).in_a_line(),
    };
    match emit.require_receivers {
        Some(required @ 1..) => return Err(once::not_known(required, reason)),
        _ if settings.quiet => {}
        _ => output::warning(&format!("who reads the stream is not known: {reason}")),
    }
    Ok(None)
}

/// Makes a message of a line.
struct Maker<'a> {
    emit: &'a Emit,
    io: Emitter,
    payload: Payload,
    /// Whom the command line names.
    usual: Rc<Broadcast>,
    /// Whom the last line named that named somebody else, and in which words.
    last: Option<([Option<String>; 3], Rc<Broadcast>)>,
}

impl<'a> Maker<'a> {
    fn new(settings: &Settings, emit: &'a Emit) -> Result<Self, Failure> {
        let io = message::planner(settings, &settings.nsp)?;
        let payload = Payload::read(&emit.arguments, emit.lines || emit.ndjson)?;
        let usual = Rc::new(message::broadcast(&io, &emit.target, emit.into()));
        Ok(Maker { emit, io, payload, usual, last: None })
    }

    /// Makes messages for this one from now on.
    fn turn_to(&mut self, io: Emitter) {
        self.usual = Rc::new(message::broadcast(&io, &self.emit.target, self.emit.into()));
        self.io = io;
    }

    /// Gives `run` the event of this number. An empty line is none where that means nothing.
    fn make(&mut self, number: u64, line: Option<&str>, run: &mut Run<'_>) -> Result<(), Failure> {
        let emit = self.emit;
        if emit.ndjson {
            let line = line.unwrap_or_default();
            return if line.trim_ascii().is_empty() { Ok(()) } else { self.make_of_json(number, line, run) };
        }
        let template = emit.template.then(|| Template { count: number, now: SystemTime::now() });
        let values = self.payload.values(template.as_ref(), line)?;
        run.send(number, emit.event.as_deref().unwrap_or_default(), &self.usual, &List(&values))
    }

    fn make_of_json(&mut self, number: u64, line: &str, run: &mut Run<'_>) -> Result<(), Failure> {
        let mut line = Line::read(line)?;
        let event = line.event(self.emit.event.as_deref())?;
        let args = line.args()?;
        run.send(number, &event, self.whom(line.whom())?, &args)
    }

    fn whom(&mut self, whom: Whom<'_>) -> Result<&Rc<Broadcast>, Failure> {
        if whom == Whom::default() {
            return Ok(&self.usual);
        }
        if self.last.as_ref().is_none_or(|(last, _)| Whom::of(last) != whom) {
            let target = Target {
                to: whom.to()?.unwrap_or_else(|| self.emit.target.to.clone()),
                except: whom.except()?.unwrap_or_else(|| self.emit.target.except.clone()),
            };
            let other = whom.nsp()?.map(|nsp| self.io.of(&nsp));
            let io = other.as_ref().unwrap_or(&self.io);
            let broadcast = message::broadcast(io, &target, self.emit.into());
            self.last = Some((whom.into_owned(), Rc::new(broadcast)));
        }
        Ok(self.last.as_ref().map_or(&self.usual, |(_, broadcast)| broadcast))
    }
}

/// What is on its way, and what became of the rest.
struct Run<'a> {
    settings: &'a Settings,
    emit: &'a Emit,
    /// `None` if messages are only to be shown.
    emitter: Option<&'a Emitter>,
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
    /// How many servers read the stream, where there is one and they can be counted.
    readers: Option<u64>,
    /// The exit code of the last failure.
    last_code: u8,
    warned: bool,
}

struct Flight {
    number: u64,
    whom: Rc<Broadcast>,
    /// What was sent, if it will be reported.
    message: Option<Box<Message>>,
    emitted: Emitted,
}

/// A message with its answer.
type Landed = (Flight, Result<Receipt, EmitError>);

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, emit: &'a Emit, emitter: Option<&'a Emitter>) -> Self {
        let flying = VecDeque::with_capacity(IN_FLIGHT);
        let (deadline, heard, readers, warned) = (None, None, None, false);
        let (sent, failed, unheard, last_code) = (0, 0, 0, 0);
        let bar = bar(settings, emit);
        Run { settings, emit, emitter, flying, bar, deadline, sent, failed, unheard, heard, readers, last_code, warned }
    }

    fn send(&mut self, number: u64, event: &str, whom: &Rc<Broadcast>, args: &impl Serialize) -> Result<(), Failure> {
        let (message, emitted) = match self.emitter {
            None => {
                let message = message::plan(whom, event, args)?;
                self.sent += 1;
                once::dry(self.settings, &message);
                return Ok(());
            }
            Some(emitter) if self.settings.json => {
                let message = message::plan(whom, event, args)?;
                let emitted = emitter.publish(&message.plan);
                (Some(Box::new(message)), emitted)
            }
            Some(_) => (None, whom.emit(event, args)),
        };
        // What is wrong with it is known now.
        emitted.queued()?;
        self.flying.push_back(Flight { number, whom: whom.clone(), message, emitted });
        Ok(())
    }

    /// These have their answers.
    async fn land(&mut self, landed: Vec<Landed>) {
        self.bar.inc(landed.len() as u64);
        for (flight, outcome) in landed {
            match outcome {
                Ok(receipt) => self.count(&flight, receipt).await,
                Err(error) => self.fail(flight.number, &error.into()),
            }
        }
    }

    async fn count(&mut self, flight: &Flight, receipt: Receipt) {
        let receivers = match self.settings.adapter {
            Adapter::Streams => self.readers,
            _ => Some(receipt.receivers()),
        };
        self.sent += 1;
        if let Some(message) = &flight.message {
            message.report(self.settings, receivers, receipt.entry());
        }
        let Some(receivers) = receivers else { return };
        let (fewest, most) = self.heard.unwrap_or((receivers, receivers));
        self.heard = Some((fewest.min(receivers), most.max(receivers)));
        if receivers == 0 && !self.settings.quiet && !std::mem::replace(&mut self.warned, true) {
            let channel = flight.whom.plan_emit("event", ()).ok().flatten().map(|plan| plan.channel);
            let nobody = nobody::find(self.settings, &channel.unwrap_or_default(), self.settings.timeout).await;
            self.bar.suspend(|| nobody.print());
        }
        let required = self.emit.require_receivers.unwrap_or_default();
        if receivers < required {
            self.unheard += 1;
            self.complain(flight.number, &once::too_few(receivers, required));
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

/// Waits for the answer to the oldest message, and takes all that have theirs.
async fn landed(flying: &mut VecDeque<Flight>) -> Vec<Landed> {
    poll_fn(|context| {
        let mut landed = Vec::new();
        while let Some(flight) = flying.front_mut()
            && let Poll::Ready(outcome) = Pin::new(&mut flight.emitted).poll(context)
        {
            landed.extend(flying.pop_front().map(|flight| (flight, outcome)));
        }
        if landed.is_empty() { Poll::Pending } else { Poll::Ready(landed) }
    })
    .await
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A bar on stderr for those who watch: with a count how far it is, else how many there were.
pub(crate) fn bar(settings: &Settings, emit: &Emit) -> ProgressBar {
    let quiet = settings.quiet || settings.json || settings.dry_run || emit.count.is_some_and(|count| count <= 20);
    match emit.count {
        _ if quiet => ProgressBar::hidden(),
        Some(count) => ProgressBar::new(count).with_style(style("{bar:40} {pos}/{len}  {rate}  {eta} left")),
        None => ProgressBar::new_spinner().with_style(style("{spinner} {pos}  {rate}")),
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates are ours");
    style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    })
}
