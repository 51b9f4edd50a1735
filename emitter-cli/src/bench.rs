//! `bench`: how fast events can be published.
//!
//! First one after the other, which is the round trip of a `PUBLISH`; then as many at a time as `--in-flight` says, which
//! is how much goes through. They are for a room that nobody is in, unless one is named: servers read them, clients hear
//! nothing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use clap::Args;
use socketio_emitter::{Emitted, Emitter};

use crate::{
    args::{Settings, duration},
    connect::{Patience, connect},
    failure::{Failure, code},
    output,
};

/// `bench`
#[derive(Args)]
pub(crate) struct Bench {
    /// To clients in this room, who hear it; if not said, nobody does
    #[arg(short = 't', long = "to", value_name = "ROOM")]
    pub(crate) room: Option<String>,

    /// The event's name
    #[arg(short, long = "event", value_name = "NAME", default_value = "bench")]
    pub(crate) event: String,

    /// Bytes of text in each event
    #[arg(short, long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) size: usize,

    /// How many may be without an answer
    #[arg(short, long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) in_flight: u32,

    /// How long to measure
    #[arg(long = "for", value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) within: Duration,
}

pub(crate) async fn run(settings: &Settings, bench: &Bench) -> Result<u8, Failure> {
    let room = bench.room.clone().unwrap_or_else(|| format!("emitter-cli-bench-{}", uuid::Uuid::new_v4()));
    let text = "x".repeat(bench.size);
    let io = connect(settings, &mut Patience::new(settings)).await?.of(&settings.nsp);
    let bytes = io.to(&room).plan_emit(&bench.event, &text)?.map_or(0, |plan| plan.payload.len());
    let (trips, receivers) = one_by_one(&io, bench, &room, &text).await?;
    let (sent, took) = many(&io, bench, &room, &text).await?;
    Measured::new(bytes, trips, sent, took, Some(receivers)).report(settings, bench);
    Ok(code::DONE)
}

/// Each answer is waited for. The times, and how many servers heard the last.
async fn one_by_one(io: &Emitter, bench: &Bench, room: &str, text: &str) -> Result<(Vec<Duration>, u64), Failure> {
    let started = Instant::now();
    let mut trips = Vec::new();
    let mut receivers = 0;
    while trips.len() < MOST_TRIPS && started.elapsed() < bench.within / 3 || trips.is_empty() {
        let sent = Instant::now();
        receivers = io.to(room).emit(&bench.event, text).await?.receivers();
        trips.push(sent.elapsed());
    }
    Ok((trips, receivers))
}

/// More tell nothing new.
const MOST_TRIPS: usize = 10_000;

/// What was measured.
pub(crate) struct Measured {
    /// Of one event.
    bytes: usize,
    /// Shortest first.
    trips: Vec<Duration>,
    sent: u64,
    took: Duration,
    /// How many servers heard them, where Redis knows.
    receivers: Option<u64>,
}

impl Measured {
    pub(crate) fn new(
        bytes: usize,
        mut trips: Vec<Duration>,
        sent: u64,
        took: Duration,
        receivers: Option<u64>,
    ) -> Measured {
        trips.sort_unstable();
        Measured { bytes, trips, sent, took, receivers }
    }

    /// The time within which this part of them was answered, in milliseconds.
    fn percentile(&self, part: f64) -> f64 {
        let place = (self.trips.len() as f64 * part) as usize;
        self.trips.get(place.min(self.trips.len() - 1)).map_or(0.0, |trip| trip.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn report(&self, settings: &Settings, bench: &Bench) {
        let Measured { bytes, sent, took, receivers, .. } = self;
        let per_second = *sent as f64 / took.as_secs_f64();
        let megabytes = per_second * *bytes as f64 / 1e6;
        let (median, tail, longest) = (self.percentile(0.5), self.percentile(0.99), self.percentile(1.0));
        let trips = self.trips.len();
        if settings.json {
            let heard = receivers.map(|servers| format!(r#","receivers":{servers}"#)).unwrap_or_default();
            output::line(format!(
                r#"{{"round_trips":{trips},"p50_ms":{median:.3},"p99_ms":{tail:.3},"max_ms":{longest:.3},"events":{sent},"seconds":{:.3},"events_per_second":{per_second:.0},"bytes":{bytes},"megabytes_per_second":{megabytes:.2},"in_flight":{}{heard}}}"#,
                took.as_secs_f64(),
                bench.in_flight,
            ));
            return;
        }
        output::line(format!(
            "round trip  p50 {median:.2} ms, p99 {tail:.2} ms, longest {longest:.2} ms ({trips} one by one)"
        ));
        output::line(format!(
            "throughput  {per_second:.0} events/s, {megabytes:.1} MB/s ({} each, {} in flight, {})",
            output::size(*bytes),
            bench.in_flight,
            output::duration(*took),
        ));
        if let Some(servers) = receivers {
            output::line(format!("heard by    {}", output::servers(*servers)));
        }
    }
}

async fn many(io: &Emitter, bench: &Bench, room: &str, text: &str) -> Result<(u64, Duration), Failure> {
    let to = io.to(room);
    let started = Instant::now();
    let mut flying: VecDeque<Emitted> = VecDeque::with_capacity(bench.in_flight as usize);
    let mut sent = 0;
    loop {
        while flying.len() < bench.in_flight as usize {
            flying.push_back(to.emit(&bench.event, text));
        }
        // Half of them: so that those of a batch are looked at together.
        for emitted in flying.drain(..flying.len().div_ceil(2)) {
            emitted.await?;
            sent += 1;
        }
        if started.elapsed() >= bench.within {
            break;
        }
    }
    for emitted in flying {
        emitted.await?;
        sent += 1;
    }
    Ok((sent, started.elapsed()))
}
