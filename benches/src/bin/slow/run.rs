//! The run itself: finds a pace that the machine can keep, has the phases take turns, and judges.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use socketio_benches::process::memory_of;
use socketio_tests::{Program, free_port};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::crowd::{Heard, enter};
use crate::{Outcome, server};

/// Of so many clients one is slow.
const SLOW: u64 = 10;

/// How often each kind of phase has its turn.
const ROUNDS: usize = 3;

/// Messages that leave together: written one by one, each would cost a call.
const BURST: u64 = 32;

/// How much of what the machine can do is asked of it.
const LOAD: f64 = 0.55;

/// What may wait for one client at most; less in short runs, so that the slow ones get there.
const MOST_QUEUED: u64 = 1 << 20;

/// By how much the 99th percentile may differ when nothing has changed: what it did from round to round.
const NOISE: f64 = 1.2;

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Everybody reads.
    Base,
    /// Some do not, and are closed.
    Closed,
    /// Some do not, and what is volatile is not kept for them.
    Skipped,
}

const KINDS: [Kind; 3] = [Kind::Base, Kind::Closed, Kind::Skipped];

/// The server, and what it is told.
struct Served {
    program: Program,
    addr: SocketAddr,
    control: BufReader<TcpStream>,
}

impl Served {
    async fn start(bound: u64) -> Outcome<Self> {
        let (port, control) = (free_port(), free_port());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(server::COMMAND).env("BOUND", bound.to_string());
        command.env("PORT", port.to_string()).env("CONTROL", control.to_string());
        let program = Program::start(&mut command, "it is this program");
        let [addr, control] = [port, control].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if TcpStream::connect(addr).await.is_ok() {
                let control = BufReader::new(TcpStream::connect(control).await?);
                return Ok(Self { program, addr, control });
            }
        }
        Err(format!("the server does not listen: {}", program.output()).into())
    }

    async fn order(&mut self, order: &str) -> Outcome<Value> {
        self.control.write_all(format!("{order}\n").as_bytes()).await?;
        let mut line = String::new();
        self.control.read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// What a phase has shown.
struct Found {
    kind: Kind,
    took: Duration,
    p50: Duration,
    p99: Duration,
    longest: Duration,
    /// Peaks: of memory in KiB; of the bytes that wait, when it is the next burst's turn; of those that wait for one.
    memory: f64,
    queued: u64,
    longest_queue: u64,
    closed: u64,
    dropped: u64,
}

pub(crate) async fn run(messages: u64, clients: u64) -> Outcome<()> {
    let each = messages / (ROUNDS * KINDS.len()) as u64 / BURST * BURST;
    let slow = clients / SLOW;
    if each < 1_000 || slow == 0 {
        return Err("10,000 messages and 10 clients at least: fewer show nothing".into());
    }
    let bound = MOST_QUEUED.min(each * 512);
    let mut study = Study {
        served: Served::start(bound).await?,
        healthy: Heard::new(1 + ROUNDS * KINDS.len()),
        readers: JoinSet::new(),
        count: clients - slow,
        slow,
        said: 0,
        pause: Duration::ZERO,
    };
    for client in enter(study.served.addr, study.count, false).await? {
        study.readers.spawn(client.hear(study.healthy.clone()));
    }
    let rate = study.find_pace().await?;
    eprintln!(
        "{clients} clients; {rate:.0} deliveries of 1 KiB a second can be done; {BURST} messages every {:.0} ms, {each} in a phase; \
         {bound} bytes may wait for a client",
        study.pause.as_secs_f64() * 1e3
    );
    let mut found = Vec::new();
    for round in 0..ROUNDS {
        for (place, kind) in KINDS.into_iter().enumerate() {
            let phase = study.phase(kind, 1 + round * KINDS.len() + place, each).await?;
            phase.tell();
            found.push(phase);
        }
    }
    judge(&study, &found, bound)
}

struct Study {
    served: Served,
    healthy: Arc<Heard>,
    readers: JoinSet<()>,
    /// How many are healthy.
    count: u64,
    slow: u64,
    /// Messages so far.
    said: u64,
    /// From one burst to the next.
    pause: Duration,
}

impl Study {
    /// Sends, and waits until all who are healthy have it.
    async fn say(&mut self, count: u64) -> Outcome<()> {
        self.served.order(&format!("say 0 {count}")).await?;
        self.said += count;
        self.all_heard().await
    }

    async fn all_heard(&self) -> Outcome<()> {
        let expected = self.said * self.count;
        until("all who read have heard everything", || self.healthy.messages.load(Ordering::Relaxed) >= expected).await
    }

    /// Measures how long a burst takes when all read and one follows the other.
    async fn find_pace(&mut self) -> Outcome<f64> {
        const TRIES: u32 = 20;
        let heard = Heard::new(0);
        let others = enter(self.served.addr, self.slow, false).await?;
        let mut readers: JoinSet<_> = others.into_iter().map(|client| client.hear(heard.clone())).collect();
        self.say(3 * BURST).await?;
        let began = Instant::now();
        for _ in 0..TRIES {
            self.say(BURST).await?;
        }
        let burst = began.elapsed() / TRIES;
        self.pause = burst.div_f64(LOAD);
        readers.abort_all();
        while readers.join_next().await.is_some() {}
        self.all_gone().await?;
        Ok(((self.count + self.slow) * BURST) as f64 / burst.as_secs_f64())
    }

    /// Waits until only those who are healthy are there.
    async fn all_gone(&mut self) -> Outcome<()> {
        let began = Instant::now();
        while self.served.order("state").await?["sockets"].as_u64() != Some(self.count) {
            if began.elapsed() > PATIENCE {
                return Err("not only those who read are there".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn phase(&mut self, kind: Kind, number: usize, messages: u64) -> Outcome<Found> {
        let heard = Heard::new(1);
        let others = enter(self.served.addr, self.slow, kind != Kind::Base).await?;
        let (mut readers, mut idle) = (JoinSet::new(), Vec::new());
        match kind {
            Kind::Base => readers = others.into_iter().map(|client| client.hear(heard.clone())).collect(),
            _ => idle = others,
        }
        let before = self.served.order("state").await?;
        let watch = Watch::start(self.served.program.pid());
        let how = if kind == Kind::Skipped { "perhaps" } else { "say" };
        let (mut queued, mut longest_queue) = (0, 0);
        let began = Instant::now();
        let mut ticks = tokio::time::interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..messages / BURST {
            ticks.tick().await;
            let state = self.served.order("state").await?;
            queued = number_of(&state, "/queued").max(queued);
            longest_queue = number_of(&state, "/longest queue").max(longest_queue);
            self.served.order(&format!("{how} {number} {BURST}")).await?;
            self.said += BURST;
        }
        self.all_heard().await?;
        let took = began.elapsed();
        let after = self.served.order("state").await?;
        let memory = watch.end();

        // Whoever is still there reads on, and hears what comes next.
        for client in idle {
            readers.spawn(client.hear(heard.clone()));
        }
        self.say(1).await?;
        let slow = self.slow;
        until("the others have ended, or heard the last message", || {
            heard.ended.load(Ordering::Relaxed) + heard.latencies[0].count() >= slow
        })
        .await?;
        let ended = heard.ended.load(Ordering::Relaxed);
        if ended != if kind == Kind::Closed { slow } else { 0 } {
            return Err(format!("{kind:?}: {ended} of {slow} others were closed").into());
        }
        if heard.out_of_order.load(Ordering::Relaxed) > 0 {
            return Err(format!("{kind:?}: others heard a message twice, or after a later one").into());
        }
        readers.abort_all();
        while readers.join_next().await.is_some() {}
        self.all_gone().await?;

        let latencies = &self.healthy.latencies[number];
        let grown = |pointer| number_of(&after, pointer) - number_of(&before, pointer);
        Ok(Found {
            kind,
            took,
            p50: latencies.of_share(0.5),
            p99: latencies.of_share(0.99),
            longest: latencies.longest(),
            memory,
            queued,
            longest_queue,
            closed: grown("/closed/slow consumer"),
            dropped: grown("/volatile dropped"),
        })
    }
}

impl Found {
    fn tell(&self) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        eprintln!(
            "{:<8} {:.0} s: p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms; memory {:.0} MiB; waiting: {:.0} MiB in all, {} KiB for one; \
             closed as slow: {}; skipped: {}",
            format!("{:?}", self.kind),
            self.took.as_secs_f64(),
            ms(self.p50),
            ms(self.p99),
            ms(self.longest),
            self.memory / 1024.0,
            self.queued as f64 / 1_048_576.0,
            self.longest_queue >> 10,
            self.closed,
            self.dropped
        );
    }
}

fn judge(study: &Study, found: &[Found], bound: u64) -> Outcome<()> {
    let mut wrong = Vec::new();
    let healthy = &study.healthy;
    for (what, count) in [
        ("messages came twice or out of order to who reads", healthy.out_of_order.load(Ordering::Relaxed)),
        ("messages were missing for who reads", healthy.missing.load(Ordering::Relaxed)),
        ("of those who read were closed", healthy.ended.load(Ordering::Relaxed)),
    ] {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    }
    let of = |kind| found.iter().filter(move |phase| phase.kind == kind);
    let median = |kind, value: fn(&Found) -> f64| {
        let mut values: Vec<f64> = of(kind).map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for phase in found {
        let closed = if phase.kind == Kind::Closed { study.slow } else { 0 };
        if phase.closed != closed || (phase.dropped > 0) != (phase.kind == Kind::Skipped) {
            wrong.push(format!("{:?}: {} closed, {} skipped", phase.kind, phase.closed, phase.dropped));
        }
        if phase.longest_queue > bound {
            wrong.push(format!("{:?}: {} bytes waited for one client", phase.kind, phase.longest_queue));
        }
    }
    let base_memory = median(Kind::Base, |phase| phase.memory);
    let base = median(Kind::Base, |phase| phase.p99.as_secs_f64() * 1e3);
    for kind in [Kind::Closed, Kind::Skipped] {
        let more = of(kind).map(|phase| phase.memory).fold(0.0, f64::max) - base_memory;
        let p99 = median(kind, |phase| phase.p99.as_secs_f64() * 1e3);
        eprintln!(
            "{kind:?}: p99 {p99:.0} ms beside {base:.0} ms; {:.0} MiB more memory at most, of {:.0} that may be",
            more / 1024.0,
            (study.slow * bound) as f64 / 1_048_576.0
        );
        if p99 > base * NOISE {
            wrong.push(format!("{kind:?}: the 99th percentile is {p99:.0} ms, of {base:.0} ms"));
        }
        if more * 1024.0 > (study.slow * bound) as f64 {
            wrong.push(format!("{kind:?}: {more:.0} KiB more memory"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn number_of(state: &Value, pointer: &str) -> u64 {
    state.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Outcome<()> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > PATIENCE {
            return Err(format!("not within a minute: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Looks at the memory of a process all the time.
struct Watch {
    most: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let seen = most.clone();
        let task = tokio::spawn(async move {
            while let Ok(memory) = memory_of(pid) {
                seen.fetch_max(memory as u64, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { most, task }
    }

    /// The most there was, in KiB.
    fn end(self) -> f64 {
        self.task.abort();
        self.most.load(Ordering::Relaxed) as f64
    }
}
