//! A Redis of our own for a test, one that only pretends, and somebody who listens.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use redis::aio::PubSubStream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

/// A redis-server process on a port of its own, ended with the value.
pub(crate) struct Redis {
    process: Child,
    pub(crate) port: u16,
    args: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::with(&[])
    }

    pub(crate) fn with(args: &[&str]) -> Redis {
        let port = free_port();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let mut redis = Redis { process: spawn(port, &args), port, args };
        redis.wait();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the process.
    pub(crate) fn stop(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
    }

    /// Starts it on the same port.
    pub(crate) fn again(&mut self) {
        self.process = spawn(self.port, &self.args);
        self.wait();
    }

    /// Runs a command and gives the answer as text.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().expect(MISSING);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.run(&["PING"]).contains("PONG") && !self.run(&["PING"]).contains("NOAUTH") {
            assert!(Instant::now() < deadline, "redis-server did not start on port {}", self.port);
            assert_eq!(self.process.try_wait().unwrap(), None, "redis-server has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const MISSING: &str = "redis-server and redis-cli are needed on PATH (Debian: apt-get install redis-server)";

fn spawn(port: u16, args: &[String]) -> Child {
    let port = port.to_string();
    Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"])
        .args(args)
        .stdout(Stdio::null())
        .spawn()
        .expect(MISSING)
}

/// A port of 127.0.0.1 that nobody listens on, outside the range from which the system gives ports to clients.
pub(crate) fn free_port() -> u16 {
    // The process id and a counter keep tests that run at once from trying the same ports.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() * 131;
    for _ in 0..1000 {
        let step = NEXT.fetch_add(7, Ordering::Relaxed);
        let port = 15_000 + u16::try_from(start.wrapping_add(step) % 15_000).expect("less than 15,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 15000 and 30000 on 127.0.0.1");
}

/// Hears all that is published on channels of a pattern.
pub(crate) struct Listener(PubSubStream);

impl Listener {
    pub(crate) async fn on(redis: &Redis, pattern: &str) -> Listener {
        let client = redis::Client::open(redis.url()).unwrap();
        let (mut sink, stream) = client.get_async_pubsub().await.unwrap().split();
        sink.psubscribe(pattern).await.unwrap();
        // The sink has to live as long as the stream.
        std::mem::forget(sink);
        Listener(stream)
    }

    /// The next message: its channel and its bytes.
    pub(crate) async fn next(&mut self) -> (String, Vec<u8>) {
        let message = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
        let message = message.expect("a message within 10 s").expect("the subscription lives");
        (message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec())
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.0.next()).await.is_err()
    }
}

/// What a [`Fake`] does with a command.
pub(crate) enum Reply {
    Say(&'static str),
    /// Says so and hangs up.
    Last(&'static str),
    /// Never answers.
    Silence,
    HangUp,
}

/// Pretends to be a Redis: answers each command as it is told.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    commands: mpsc::UnboundedReceiver<Vec<String>>,
}

impl Fake {
    /// `reply` is asked with the words of each command.
    pub(crate) async fn start(reply: impl Fn(&[String]) -> Reply + Send + Sync + Clone + 'static) -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, commands) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (sender, reply) = (sender.clone(), reply.clone());
                tokio::spawn(async move {
                    let mut buffer = Vec::new();
                    loop {
                        while let Some((command, length)) = command(&buffer) {
                            buffer.drain(..length);
                            let answer = reply(&command);
                            let _ = sender.send(command);
                            match answer {
                                Reply::Say(text) => stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap(),
                                Reply::Last(text) => {
                                    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
                                    return;
                                }
                                Reply::Silence => {}
                                Reply::HangUp => return,
                            }
                        }
                        if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                });
            }
        });
        Fake { address, commands }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The commands that came so far, by their first word.
    pub(crate) fn came(&mut self, word: &str) -> usize {
        let mut count = 0;
        while let Ok(command) = self.commands.try_recv() {
            count += usize::from(command[0] == word);
        }
        count
    }
}

/// The words of the command at the front of `bytes`, and how many bytes it has.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let line = |at: &mut usize| {
        let rest = &bytes[*at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        *at += end + 2;
        Some(String::from_utf8_lossy(&rest[1..end]).parse::<usize>().expect("a number"))
    };
    let words = line(&mut at)?;
    let mut command = Vec::new();
    for _ in 0..words {
        let length = line(&mut at)?;
        command.push(String::from_utf8_lossy(bytes.get(at..at + length)?).into_owned());
        at += length + 2;
        bytes.get(..at)?;
    }
    Some((command, at))
}
