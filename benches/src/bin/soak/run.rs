//! The run itself: starts everything, keeps as many clients as it should, restarts Redis, looks at the servers, and judges.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socketio_tests::{Program, TestRedis, free_port};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::client::{Dice, Seen, World, live, visit};
use crate::{Outcome, server};

/// Servers of the cluster.
const SERVERS: usize = 2;

/// How many clients come at most in a second.
const ARRIVALS: u64 = 100;

/// Redis is away for so long.
const OUTAGE: Duration = Duration::from_secs(3);

/// How long until nothing may be left of clients that have gone: longer than the pings of one that vanished.
const SETTLE: Duration = Duration::from_secs(120);

/// The share by which the least memory that a server holds may grow from the second third of a run to the last.
const MOST_GROWTH: f64 = 0.05;

/// A server in a process of its own.
struct Node {
    program: Program,
    addr: SocketAddr,
    control: SocketAddr,
}

impl Node {
    async fn start(number: usize, redis: &str) -> Outcome<Node> {
        let (port, control) = (free_port(), free_port());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(server::COMMAND).env("REDIS_URL", redis);
        for (name, value) in
            [("PORT", port.to_string()), ("CONTROL", control.to_string()), ("NODE", number.to_string())]
        {
            command.env(name, value);
        }
        let program = Program::start(&mut command, "it is this program");
        let [addr, control] = [port, control].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let node = Node { program, addr, control };
        for _ in 0..500 {
            if node.state().await.is_ok() && TcpStream::connect(addr).await.is_ok() {
                return Ok(node);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("the server does not listen: {}", node.program.output()).into())
    }

    async fn state(&self) -> Outcome<Value> {
        let mut line = String::new();
        TcpStream::connect(self.control).await?.read_to_string(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }
}

pub(crate) async fn run(minutes: f64, clients: u64, file: &Path) -> Outcome<()> {
    let mut redis = TestRedis::spawn();
    let mut nodes = Vec::new();
    for number in 0..SERVERS {
        nodes.push(Node::start(number, &redis.url()).await?);
    }
    let length = Duration::from_secs_f64(minutes * 60.0);
    let (end, over) = watch::channel(false);
    let world = Arc::new(World {
        servers: nodes.iter().map(|node| node.addr).collect(),
        seen: Seen::default(),
        checker: Default::default(),
        stay: length.div_f64(4.0).min(Duration::from_secs(250)),
        over,
    });
    let mut log = Log { file: std::fs::File::create(file)?, began: Instant::now(), memory: Vec::new() };
    let mut dice = Dice::new(8);
    for node in &nodes {
        visit(&world, node.addr, &mut dice).await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    log.write("before", &nodes, &world).await?;
    let base = states(&nodes).await?;

    let every = length.div_f64(6.0).min(Duration::from_secs(600));
    let pause = length.div_f64(100.0).min(Duration::from_secs(5));
    let mut outage = log.began + every.div_f64(2.0);
    let mut sample = log.began + pause;
    let mut away = false;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while log.began.elapsed() < length {
        ticks.tick().await;
        let missing = clients.saturating_sub(world.seen.alive.load(Ordering::Relaxed));
        for _ in 0..missing.min(ARRIVALS / 20) {
            tokio::spawn(live(world.clone(), Dice::new(dice.below(1 << 52))));
        }
        let now = Instant::now();
        if now > outage {
            if away {
                redis.restart()
            } else {
                redis.kill()
            }
            outage += if away { every - OUTAGE } else { OUTAGE };
            away = !away;
        }
        if now > sample {
            log.write("held", &nodes, &world).await?;
            sample += pause;
        }
    }
    if away {
        redis.restart();
    }

    let _ = end.send(true);
    let left = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        log.write("leaving", &nodes, &world).await?;
        let states = states(&nodes).await?;
        let empty = world.seen.alive.load(Ordering::Relaxed) == 0 && left_over(&states, &base).is_empty();
        if empty || left.elapsed() > SETTLE {
            log.write("after", &nodes, &world).await?;
            redis.kill();
            return verdict(&world, &states, &base, &log.memory);
        }
    }
}

async fn states(nodes: &[Node]) -> Outcome<Vec<Value>> {
    let mut states = Vec::new();
    for node in nodes {
        states.push(node.state().await?);
    }
    Ok(states)
}

/// What is there that was not there before anybody came, in words.
fn left_over(states: &[Value], base: &[Value]) -> Vec<String> {
    let mut left = Vec::new();
    for (number, (state, base)) in states.iter().zip(base).enumerate() {
        let gauges = state["gauges"].as_object().into_iter().flatten().map(|(name, value)| (name, value, 0));
        let process = ["fds", "tasks", "threads"]
            .map(|name| (name, state["process"][name].clone(), base["process"][name].as_u64().unwrap_or(0)));
        for (name, value, base) in gauges {
            if value.as_u64() != Some(base) {
                left.push(format!("server {number}: {name}: {value}"));
            }
        }
        for (name, value, base) in process {
            // Threads for blocking work come and go.
            if value.as_u64().is_none_or(|value| value > base) {
                left.push(format!("server {number}: {name}: {value} instead of {base}"));
            }
        }
    }
    left
}

/// The memory of each server, sample by sample.
type Memory = Vec<Vec<f64>>;

fn verdict(world: &World, states: &[Value], base: &[Value], memory: &Memory) -> Outcome<()> {
    let mut wrong = left_over(states, base);
    for server in 0..states.len() {
        let [_, second, last] = least(memory, server);
        eprintln!("server {server}: {second:.0} KiB at least in the second third, {last:.0} KiB in the last");
        if last > second * (1.0 + MOST_GROWTH) {
            wrong.push(format!("server {server}: memory grows from {second:.0} to {last:.0} KiB"));
        }
    }
    let (seen, checker) = (&world.seen, &world.checker);
    let gaps = gaps_of(states);
    for (what, count) in [
        ("clients are still there", seen.alive.load(Ordering::Relaxed)),
        ("were not let in", seen.not_let_in.load(Ordering::Relaxed)),
        ("connections broke", seen.broken.load(Ordering::Relaxed)),
        ("answers were missing", seen.late.load(Ordering::Relaxed)),
        ("abusers were not stopped", seen.not_stopped.load(Ordering::Relaxed)),
        ("messages came twice or out of order", checker.out_of_order.load(Ordering::Relaxed)),
        ("messages were lost on one server", checker.lost_at_home.load(Ordering::Relaxed)),
        ("messages were lost between servers, and nobody was told", checker.untold(&gaps)),
    ] {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The least memory of a server in each third of the run. What slow clients leave to be read, up to 18 MiB at once here,
/// goes up and down, and the allocator keeps some of it for a while; what leaks stays.
fn least(memory: &Memory, server: usize) -> [f64; 3] {
    let count = memory.len();
    [0, 1, 2].map(|third| {
        let part = &memory[third * count / 3..(third + 1) * count / 3];
        part.iter().map(|servers| servers[server]).fold(f64::INFINITY, f64::min)
    })
}

fn gaps_of(states: &[Value]) -> Vec<Vec<(u64, u64)>> {
    states.iter().map(|state| serde_json::from_value(state["gaps"].clone()).unwrap_or_default()).collect()
}

/// The file of samples.
struct Log {
    file: std::fs::File,
    began: Instant,
    memory: Memory,
}

impl Log {
    async fn write(&mut self, phase: &str, nodes: &[Node], world: &World) -> Outcome<()> {
        let states = states(nodes).await?;
        if phase == "held" {
            let rss = states.iter().map(|state| state["process"]["rss"].as_f64().unwrap_or(0.0)).collect();
            self.memory.push(rss);
        }
        let (seen, checker) = (&world.seen, &world.checker);
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let line = json!({
            "seconds": self.began.elapsed().as_secs_f64(),
            "phase": phase,
            "clients": {
                "alive": read(&seen.alive), "came": read(&seen.came), "not let in": read(&seen.not_let_in),
                "broken": read(&seen.broken), "echoes": read(&seen.echoes), "late": read(&seen.late),
                "slow, closed": read(&seen.slow_closed), "slow, left": read(&seen.slow_left),
                "abuses": read(&seen.abuses), "not stopped": read(&seen.not_stopped),
                "longest ms": seen.longest.swap(0, Ordering::Relaxed),
            },
            "numbered": {
                "heard": read(&checker.heard), "out of order": read(&checker.out_of_order),
                "lost at home": read(&checker.lost_at_home), "lost abroad": read(&checker.lost_abroad),
                "untold": checker.untold(&gaps_of(&states)),
            },
            "servers": states,
        });
        Ok(writeln!(self.file, "{line}")?)
    }
}
