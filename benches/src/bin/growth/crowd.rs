//! Clients, thousands of them: WebSockets of their own that answer to nothing and count what they hear.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use socketio_benches::web_socket::upgrade;
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use socketio_tests::Program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;

use crate::{Outcome, server};

/// What makes this program a crowd: `growth crowd ADDRESS COUNT`.
pub(crate) const COMMAND: &str = "crowd";

const READY: &str = "everybody is in";
const HEARD: &str = "everybody has heard";

/// Starts a process with so many clients, and waits until they are in. They leave when it ends.
pub(crate) async fn hold(addr: SocketAddr, count: usize) -> Outcome<Program> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([COMMAND, &addr.to_string(), &count.to_string()]);
    let program = Program::start(&mut command, "it is this program");
    says(&program, READY, 1).await?;
    Ok(program)
}

/// Waits until all clients of that process have heard so many events.
pub(crate) async fn have_heard(program: &Program, events: usize) -> Outcome<()> {
    says(program, HEARD, events).await
}

async fn says(program: &Program, what: &str, times: usize) -> Outcome<()> {
    let began = Instant::now();
    while program.output().matches(what).count() < times {
        if began.elapsed() > PATIENCE {
            return Err(format!("not {times} times {what:?}: {}", program.output()).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Is a crowd until the process ends, and says when all of it have heard an event.
pub(crate) async fn be(addr: SocketAddr, count: usize) -> Outcome<()> {
    let mut crowd = Crowd::default();
    crowd.grow_to(count, addr, 1).await?;
    eprintln!("{READY}");
    for round in 1.. {
        while crowd.heard() < (round * count) as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        eprintln!("{HEARD}");
    }
    Ok(())
}

/// Clients of one server or of several.
#[derive(Default)]
pub(crate) struct Crowd {
    clients: Vec<OwnedWriteHalf>,
    readers: JoinSet<()>,
    heard: Arc<Heard>,
}

/// What all of them together have heard.
#[derive(Default)]
struct Heard {
    /// Namespaces that let somebody in.
    entered: AtomicU64,
    /// Events.
    events: AtomicU64,
}

/// How many connect at a time.
const AT_ONCE: usize = 64;

/// Nothing that is measured takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Larger than any message here.
const MOST_BYTES: usize = 4 << 20;

impl Crowd {
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Adds clients until there are `count`; each enters the first `namespaces`.
    pub(crate) async fn grow_to(&mut self, count: usize, addr: SocketAddr, namespaces: usize) -> Outcome<()> {
        while self.clients.len() < count {
            let newcomers = AT_ONCE.min(count - self.clients.len());
            let expected = self.heard.entered.load(Ordering::Relaxed) + (newcomers * namespaces) as u64;
            let mut opening: JoinSet<_> = (0..newcomers).map(|_| open(addr, namespaces)).collect();
            while let Some(opened) = opening.join_next().await {
                let (reader, writer) = opened??;
                self.clients.push(writer);
                self.readers.spawn(hear(reader, self.heard.clone()));
            }
            wait_for(&self.heard.entered, expected).await?;
        }
        Ok(())
    }

    /// Has a client send a message.
    pub(crate) async fn send(&mut self, client: usize, message: &str) -> Outcome<()> {
        let frame = masked_frame(Opcode::Text, format!("4{message}").as_bytes(), [0x37, 0xfa, 0x21, 0x3d]);
        Ok(self.clients[client].write_all(&frame).await?)
    }

    /// Does something, and waits until so many events more have been heard. Says how long that took.
    pub(crate) async fn hear(&mut self, client: usize, message: &str, events: usize) -> Outcome<Duration> {
        let expected = self.heard() + events as u64;
        let began = Instant::now();
        self.send(client, message).await?;
        wait_for(&self.heard.events, expected).await?;
        Ok(began.elapsed())
    }

    /// How many events have been heard by now.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.events.load(Ordering::Relaxed)
    }

    /// Waits until so many events have been heard in all.
    pub(crate) async fn heard_all(&self, events: u64) -> Outcome<()> {
        wait_for(&self.heard.events, events).await
    }
}

/// Looks often: what this process spends is not counted.
async fn wait_for(counter: &AtomicU64, expected: u64) -> Outcome<()> {
    let began = Instant::now();
    while counter.load(Ordering::Relaxed) < expected {
        if began.elapsed() > PATIENCE {
            return Err(format!("{} heard of {expected}", counter.load(Ordering::Relaxed)).into());
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Ok(())
}

async fn open(addr: SocketAddr, namespaces: usize) -> Outcome<(OwnedReadHalf, OwnedWriteHalf)> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut frames = Vec::new();
    for number in 0..namespaces {
        let entry = match server::name(number).as_str() {
            "/" => "40".to_owned(),
            name => format!("40{name},"),
        };
        frames.extend_from_slice(&masked_frame(Opcode::Text, entry.as_bytes(), [1, 2, 3, 4]));
    }
    upgrade(&mut stream, "EIO=4", &frames).await?;
    Ok(stream.into_split())
}

/// Reads until the server goes.
async fn hear(mut reader: OwnedReadHalf, heard: Arc<Heard>) {
    let mut decoder = Decoder::new(Role::Client, MOST_BYTES);
    let mut buffer = BytesMut::new();
    while matches!(reader.read_buf(&mut buffer).await, Ok(1..)) {
        while let Ok(Some(event)) = decoder.decode(&mut buffer) {
            let Event::Text(text) = event else { continue };
            let counter = match text.as_bytes().get(..2) {
                Some(b"40") => &heard.entered,
                Some(b"42") => &heard.events,
                _ => continue,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}
