//! The life of one client: it comes, talks a little, checks what it hears, and goes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socketio_protocol::engine::{Packet, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Outcome;
use crate::checker::{Checker, Heard};
use crate::link::{Link, text};
use crate::server::ROOMS;

/// What all clients together have seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) alive: AtomicU64,
    pub(crate) came: AtomicU64,
    pub(crate) not_let_in: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) echoes: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) slow_closed: AtomicU64,
    pub(crate) slow_left: AtomicU64,
    pub(crate) abuses: AtomicU64,
    pub(crate) not_stopped: AtomicU64,
    /// The longest wait for an echo since this was last read, in milliseconds.
    pub(crate) longest: AtomicU64,
}

/// What a client is given.
pub(crate) struct World {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) seen: Seen,
    pub(crate) checker: Checker,
    /// How long clients stay, on average.
    pub(crate) stay: Duration,
    /// Becomes true when all are to leave.
    pub(crate) over: watch::Receiver<bool>,
}

impl World {
    async fn is_over(&self) {
        // If the run is gone, it is over, too.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }
}

/// Rooms that clients hop between, beside the numbered ones.
const OTHER_ROOMS: u64 = 5_000;

/// How often a client says something.
const TALK: Duration = Duration::from_secs(30);

/// An answer that takes longer is missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client that vanished without a word keeps its socket: longer than two pings.
const SILENCE: Duration = Duration::from_secs(60);

/// Comes in every way and goes at once, so that what a server makes only once is made.
pub(crate) async fn visit(world: &World, addr: SocketAddr, dice: &mut Dice) -> Outcome<()> {
    for way in 0..3 {
        let mut client = Client::enter(world, addr, dice, Some(way)).await?;
        client.link.send("41").await?;
        client.link.send("1").await?;
    }
    Ok(())
}

/// Lives one life. Which, `dice` say.
pub(crate) async fn live(world: Arc<World>, mut dice: Dice) {
    world.seen.alive.fetch_add(1, Ordering::Relaxed);
    world.seen.came.fetch_add(1, Ordering::Relaxed);
    let addr = world.servers[dice.below(world.servers.len() as u64) as usize];
    match dice.below(100) {
        0 => be_slow(&world, addr, &mut dice).await,
        1 => abuse(&world, addr, &mut dice).await,
        _ => {
            let Ok(client) =
                Client::enter(&world, addr, &mut dice, None).await.inspect_err(|error| trouble("entering", error))
            else {
                world.seen.not_let_in.fetch_add(1, Ordering::Relaxed);
                world.seen.alive.fetch_sub(1, Ordering::Relaxed);
                return;
            };
            if let Err(error) = client.stay(&mut dice).await {
                trouble("staying", &error);
                world.seen.broken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    world.seen.alive.fetch_sub(1, Ordering::Relaxed);
}

fn trouble(when: &str, error: &dyn std::fmt::Display) {
    eprintln!("{when}: {error}");
}

/// A client that behaves, but for how it leaves.
struct Client<'a> {
    world: &'a World,
    link: Link,
    version: Version,
    heard: Heard,
    node: u64,
    room: u64,
    next_id: u64,
    /// When what was asked with this id was asked.
    asked: HashMap<u64, Instant>,
}

impl<'a> Client<'a> {
    async fn enter(world: &'a World, addr: SocketAddr, dice: &mut Dice, way: Option<u64>) -> Outcome<Client<'a>> {
        let version = if dice.below(4) == 0 { Version::V3 } else { Version::V4 };
        let way = way.unwrap_or(dice.below(3));
        let mut link = timeout(PATIENCE, Link::open(addr, version, way > 0)).await??;
        if version == Version::V4 {
            link.send("40").await?;
        }
        // A client of version 3 is let in without asking.
        let entered = async {
            while !text(&link.next().await?).is_some_and(|text| text.starts_with('0')) {}
            Ok::<_, crate::Trouble>(())
        };
        timeout(PATIENCE, entered).await??;
        let (room, other) = (dice.below(ROOMS), dice.below(OTHER_ROOMS));
        let asked = HashMap::new();
        let heard = Heard::default();
        let mut client = Client { world, link, version, heard, node: 0, room: other, next_id: 1, asked };
        client.link.send(&format!(r#"420["join",["numbered {room}","other {other}"]]"#)).await?;
        client.node = timeout(PATIENCE, client.joined()).await??;
        if way == 2 {
            client.link = timeout(PATIENCE, client.link.upgrade()).await??;
        }
        Ok(client)
    }

    /// Waits for the answer to joining: the number of the server.
    async fn joined(&mut self) -> Outcome<u64> {
        loop {
            let packet = self.link.next().await?;
            if let Some(answer) = text(&packet).and_then(|text| text.strip_prefix("30")) {
                return Ok(serde_json::from_str::<[u64; 1]>(answer)?[0]);
            }
            self.take(packet).await?;
        }
    }

    async fn stay(mut self, dice: &mut Dice) -> Outcome<()> {
        let end = Instant::now() + self.world.stay.mul_f64(dice.exponential());
        let mut talk = Instant::now() + TALK.mul_f64(dice.share());
        let mut ping = Instant::now() + Duration::from_secs(25);
        loop {
            tokio::select! {
                packet = self.link.next() => self.take(packet?).await?,
                () = sleep_until(ping), if self.version == Version::V3 => {
                    self.link.send("2").await?;
                    ping = Instant::now() + Duration::from_secs(25);
                }
                () = sleep_until(talk) => {
                    self.talk(dice).await?;
                    talk = Instant::now() + TALK.mul_f64(0.5 + dice.share());
                }
                () = sleep_until(end) => return self.leave(dice).await,
                () = self.world.is_over() => {
                    sleep(Duration::from_secs(10).mul_f64(dice.share())).await;
                    return self.leave(dice).await;
                }
            }
        }
    }

    async fn talk(&mut self, dice: &mut Dice) -> Outcome<()> {
        let now = Instant::now();
        let before = self.asked.len();
        self.asked.retain(|_, asked| now - *asked < PATIENCE);
        self.world.seen.late.fetch_add((before - self.asked.len()) as u64, Ordering::Relaxed);
        let id = self.next_id;
        self.next_id += 1;
        match dice.below(4) {
            0 => {
                let to = dice.below(OTHER_ROOMS);
                let hop = format!(r#"42{id}["hop",["other {}","other {to}"]]"#, self.room);
                self.room = to;
                self.asked.insert(id, now);
                self.link.send(&hop).await
            }
            1 => self.link.send(r#"42["ask"]"#).await,
            _ => {
                self.asked.insert(id, now);
                self.link.send(&format!(r#"42{id}["echo","how do you do"]"#)).await
            }
        }
    }

    async fn take(&mut self, packet: Packet) -> Outcome<()> {
        let seen = &self.world.seen;
        match &packet {
            Packet::Ping(_) => return self.link.send("3").await,
            Packet::Close => return Err("closed by the server".into()),
            _ => {}
        }
        let Some(text) = text(&packet) else { return Ok(()) };
        if text.starts_with("2[\"n\"") {
            let (_, node, room, number, at): (String, u64, u64, u64, u64) = serde_json::from_str(&text[1..])?;
            self.heard.take(&self.world.checker, self.node, [node, room, number, at]);
        } else if let Some(answer) = text.strip_prefix('3') {
            let id = answer.split('[').next().unwrap_or_default().parse()?;
            let asked = self.asked.remove(&id).ok_or("an answer to nothing, or a second one")?;
            seen.echoes.fetch_add(1, Ordering::Relaxed);
            let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            seen.longest.fetch_max(waited, Ordering::Relaxed);
        } else if let Some(question) = text.strip_prefix('2') {
            let id = question.split('[').next().unwrap_or_default();
            // One in eight is left without an answer.
            if !id.is_empty() && !self.next_id.is_multiple_of(8) {
                self.link.send(&format!("43{id}[7]")).await?;
            }
        } else if text.starts_with('1') {
            return Err("disconnected by the server".into());
        }
        Ok(())
    }

    async fn leave(mut self, dice: &mut Dice) -> Outcome<()> {
        match dice.below(5) {
            // Politely, from the namespace and then from the server.
            0 => {
                self.link.send("41").await?;
                let _ = self.link.send("1").await;
            }
            // From the server.
            1 => self.link.send("1").await?,
            // The program ends.
            2 => {}
            // The program dies.
            3 => self.link.stream().set_zero_linger()?,
            // The network dies: nothing is read or written from now on.
            _ => {
                tokio::select! {
                    () = sleep(SILENCE) => {}
                    () = self.world.is_over() => {}
                }
            }
        }
        Ok(())
    }
}

/// Asks for more than it reads, until it is closed.
async fn be_slow(world: &World, addr: SocketAddr, dice: &mut Dice) {
    let outcome = async {
        let mut client = Client::enter(world, addr, dice, Some(0)).await?;
        client.link.send(r#"42["blast"]"#).await?;
        tokio::select! {
            // Longer than the server waits for a client that takes nothing.
            () = sleep(Duration::from_secs(55)) => {}
            () = world.is_over() => return Ok(false),
        }
        let drained = async { while client.link.next().await.is_ok_and(|packet| packet != Packet::Close) {} };
        Ok::<_, crate::Trouble>(timeout(PATIENCE, drained).await.is_ok())
    };
    match outcome.await {
        Ok(true) => world.seen.slow_closed.fetch_add(1, Ordering::Relaxed),
        _ => world.seen.slow_left.fetch_add(1, Ordering::Relaxed),
    };
}

/// Does what no client should, and waits to be stopped.
async fn abuse(world: &World, addr: SocketAddr, dice: &mut Dice) {
    world.seen.abuses.fetch_add(1, Ordering::Relaxed);
    let outcome = match dice.below(6) {
        0 => say(addr, b"\x16\x03\x01 this is no HTTP\r\n\r\n").await,
        // A head that never ends.
        1 => say(addr, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-").await,
        2 => say(addr, b"GET /socket.io/?EIO=4&transport=polling&sid=guessed HTTP/1.1\r\nHost: x\r\n\r\n").await,
        3 => after_entering(addr, "4no packet at all").await,
        4 => after_entering(addr, &format!("42[\"echo\",\"{}\"]", "x".repeat(1_100_000))).await,
        _ => after_entering(addr, &"42/nowhere,[\"x\"]".repeat(1_000)).await,
    };
    if outcome.is_err() {
        world.seen.not_stopped.fetch_add(1, Ordering::Relaxed);
    }
}

/// What nobody waits for longer: a head has 10 s, an idle connection little more.
const STOPPED_WITHIN: Duration = Duration::from_secs(100);

async fn say(addr: SocketAddr, bytes: &[u8]) -> Outcome<()> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(bytes).await?;
    let mut answer = [0; 4096];
    let until_closed = async { while stream.read(&mut answer).await.is_ok_and(|n| n > 0) {} };
    Ok(timeout(STOPPED_WITHIN, until_closed).await?)
}

async fn after_entering(addr: SocketAddr, packet: &str) -> Outcome<()> {
    let mut link = Link::open(addr, Version::V4, false).await?;
    link.send("40").await?;
    let _ = link.send(packet).await;
    let until_closed = async { while link.next().await.is_ok_and(|packet| packet != Packet::Close) {} };
    Ok(timeout(STOPPED_WITHIN, until_closed).await?)
}

/// Random numbers that a seed gives again.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 53) as f64
    }

    /// 1 on average, as lifetimes are when everybody may leave at any time.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.share()).ln()
    }
}
