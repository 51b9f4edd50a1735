//! `watch`: what passes between the servers, as it passes.
//!
//! [`pubsub`] hears channels (classic and sharded adapters), [`stream`] reads streams; both tell [`News`] through a
//! bounded queue, and go on by themselves when Redis was away. Here is chosen what is shown.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Args;
use socketio_protocol::cluster::BusStatus;
use tokio::sync::mpsc;

use crate::{
    args::{Adapter, Settings, duration},
    failure::{Failure, code},
    output,
    told::Told,
};

mod pubsub;
mod stream;

/// `watch`
#[derive(Args)]
#[command(after_help = NOTES)]
pub(crate) struct Watch {
    /// Only what is for this room (repeat for any of several)
    #[arg(short = 't', long = "to", visible_alias = "room", value_name = "ROOM", help_heading = "Filter")]
    pub(crate) rooms: Vec<String>,

    /// Only events of this name (repeatable)
    #[arg(short, long = "event", value_name = "NAME", help_heading = "Filter")]
    pub(crate) events: Vec<String>,

    /// All namespaces, not only that of --nsp
    #[arg(short = 'A', long, help_heading = "Filter")]
    pub(crate) all_namespaces: bool,

    /// Requests and answers of the servers, too: joins, disconnects, questions
    #[arg(short, long, help_heading = "Filter")]
    pub(crate) requests: bool,

    /// End after N of them
    #[arg(short, long, value_name = "N", help_heading = "End")]
    pub(crate) count: Option<u64>,

    /// End after this time; with --count, fail (exit 1) if there were fewer
    #[arg(long = "for", value_name = "TIME", value_parser = duration, help_heading = "End")]
    pub(crate) within: Option<Duration>,

    /// Begin so long ago; only with --adapter streams, as far as the stream goes back
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Filter")]
    pub(crate) since: Option<Duration>,
}

const NOTES: &str = "Times are UTC. Who watches counts as one more server in what `emit` reports.
What cannot be read is shown in hex, and watching goes on.";

/// What a source tells.
pub(crate) enum News {
    Passed(Box<Passed>),
    Status(BusStatus),
}

/// A message that passed.
pub(crate) struct Passed {
    pub(crate) at: SystemTime,
    /// The channel or the stream it came on.
    pub(crate) place: String,
    /// Its id, where it has one.
    pub(crate) id: Option<String>,
    pub(crate) told: Result<Told, (String, Vec<u8>)>,
}

/// So many may wait to be printed; more are dropped and counted.
const QUEUE: usize = 65_536;

/// Prints what passes until it is told to end.
pub(crate) async fn run(settings: &Settings, watch: &Watch) -> Result<u8, Failure> {
    if watch.since.is_some() && settings.adapter != Adapter::Streams {
        return Err(
            Failure::usage("what has passed is gone").tip("only streams keep it: --since needs --adapter streams")
        );
    }
    let (sender, mut news) = mpsc::channel(QUEUE);
    let news_of = Arc::new(Desk { sender, dropped: Default::default() });
    let place = match settings.adapter {
        Adapter::Streams => stream::start(settings, watch, news_of.clone()).await?,
        Adapter::Pubsub | Adapter::Sharded => pubsub::start(settings, watch, news_of.clone()).await?,
    };
    if !settings.quiet && !settings.json {
        output::detail(format!("watching {place}"));
    }
    let mut shown = 0;
    let deadline = watch.within.map(|within| tokio::time::Instant::now() + within);
    let ended = async { tokio::time::sleep_until(deadline.unwrap_or_else(far_away)).await };
    tokio::pin!(ended);
    while watch.count.is_none_or(|count| shown < count) {
        tokio::select! {
            biased;
            next = news.recv() => match next {
                Some(News::Passed(passed)) if wanted(watch, &passed) => {
                    shown += 1;
                    print(settings, &passed);
                }
                Some(News::Passed(_)) => {}
                Some(News::Status(status)) => warn(&status),
                None => break,
            },
            () = &mut ended, if deadline.is_some() => break,
        }
        let dropped = news_of.dropped.swap(0, std::sync::atomic::Ordering::Relaxed);
        if dropped > 0 {
            output::warning(&format!("{dropped} came faster than they could be printed, and were left out"));
        }
    }
    ended_with(watch, shown)
}

/// How it ends: well, unless more was waited for.
pub(crate) fn ended_with(watch: &Watch, shown: u64) -> Result<u8, Failure> {
    match watch.count {
        Some(count) if shown < count => {
            let within = output::duration(watch.within.unwrap_or_default());
            Err(Failure::new(code::FAILED, format!("{shown} of {count} within {within}")))
        }
        _ => Ok(code::DONE),
    }
}

/// Where sources tell their news.
pub(crate) struct Desk {
    sender: mpsc::Sender<News>,
    dropped: std::sync::atomic::AtomicU64,
}

impl Desk {
    pub(crate) fn tell(&self, news: News) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(news) {
            self.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(86_400 * 365)
}

fn wanted(watch: &Watch, passed: &Passed) -> bool {
    let Ok(told) = &passed.told else { return watch.events.is_empty() && watch.rooms.is_empty() };
    if told.kind == "heartbeat" {
        return false;
    }
    let event = watch.events.is_empty() || told.event.as_ref().is_some_and(|event| watch.events.contains(event));
    let room = watch.rooms.is_empty() || told.rooms.iter().any(|room| watch.rooms.contains(room));
    event && room && (watch.requests || told.kind == "event")
}

pub(crate) fn print(settings: &Settings, passed: &Passed) {
    let time = humantime::format_rfc3339_millis(passed.at).to_string();
    let clock = time.get(11..).unwrap_or_default();
    let place = serde_json::Value::from(passed.place.as_str()).to_string();
    match &passed.told {
        Ok(told) if settings.json => {
            let mut before = vec![("time", format!("{time:?}")), ("channel", place)];
            before.extend(passed.id.as_ref().map(|id| ("id", format!("{id:?}"))));
            output::line(told.json(&before));
        }
        Err((error, bytes)) if settings.json => {
            let error = serde_json::Value::from(error.as_str());
            output::line(format!(r#"{{"time":{time:?},"channel":{place},"error":{error},"hex":"{}"}}"#, hex(bytes)));
        }
        Ok(told) => output::line(format!("{clock} {}", told.line())),
        Err((error, bytes)) => {
            let beginning = bytes.get(..bytes.len().min(MOST_HEX)).unwrap_or_default();
            let more = if bytes.len() > MOST_HEX { "…" } else { "" };
            output::line(format!("{clock} {} not readable: {error}: {}{more}", passed.place, hex(beginning)));
        }
    }
}

/// So much of what cannot be read is shown to people.
const MOST_HEX: usize = 64;

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn warn(status: &BusStatus) {
    match status {
        BusStatus::Up => {}
        BusStatus::Down { error } => output::warning(&format!("Redis is away: {error}")),
        BusStatus::Gap { since, until, .. } => {
            let away = output::duration(until.saturating_duration_since(*since));
            output::warning(&format!("Redis is back; what passed in the last {away} may be missing here"));
        }
        BusStatus::Lost { count } => output::warning(&format!("{count} came too fast, and were left out")),
        BusStatus::Malformed { channel, error } => output::warning(&format!("{channel}: {error}")),
        other => output::warning(&format!("{other:?}")),
    }
}
