//! A Redis of the test's own, a false one, and an inbox that remembers.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod cluster;

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) use cluster::RedisCluster;
use socketio_protocol::{
    cluster::{BusStatus, Envelope, Inbox, Message, Options},
    socket::Args,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A redis-server on a free port that ends with the test.
pub(crate) struct Redis {
    pub(crate) port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::with(&[])
    }

    pub(crate) fn with(options: &[&str]) -> Redis {
        let port = free_port();
        let mut redis =
            Redis { port, options: options.iter().map(|option| (*option).to_owned()).collect(), process: None };
        redis.restart();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (apt-get install redis-server)");
        self.process = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `STOP` freezes it, `CONT` lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.expect("kill is installed").success());
    }

    /// What redis-cli says to a command.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output();
        String::from_utf8_lossy(&output.expect("redis-cli is installed").stdout).trim().to_owned()
    }

    /// Publishes bytes of any kind.
    pub(crate) async fn publish(&self, channel: &str, payload: &[u8]) {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let command = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), payload.len());
        stream.write_all(command.as_bytes()).await.unwrap();
        stream.write_all(payload).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
        let mut reply = [0; 64];
        let len = stream.read(&mut reply).await.unwrap();
        assert_eq!(reply[0], b':', "{}", String::from_utf8_lossy(&reply[..len]));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
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

/// Takes connections and says the same to whatever is said to it; nothing when `answer` is empty.
pub(crate) async fn false_redis(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    if !answer.is_empty() && stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// What an inbox was told, in order.
#[derive(Debug, Clone)]
pub(crate) enum News {
    Message(Envelope),
    Status(BusStatus),
}

/// Remembers what it is told. Has sockets in the rooms it is made with.
pub(crate) struct Memory {
    rooms: Vec<String>,
    news: Mutex<Vec<News>>,
}

impl Memory {
    pub(crate) fn new(rooms: &[&str]) -> Arc<Memory> {
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        Arc::new(Memory { rooms, news: Mutex::default() })
    }

    pub(crate) fn news(&self) -> Vec<News> {
        self.news.lock().unwrap().clone()
    }

    pub(crate) fn messages(&self) -> Vec<Envelope> {
        self.news()
            .into_iter()
            .filter_map(|news| match news {
                News::Message(envelope) => Some(envelope),
                News::Status(_) => None,
            })
            .collect()
    }

    pub(crate) fn statuses(&self) -> Vec<BusStatus> {
        self.news()
            .into_iter()
            .filter_map(|news| match news {
                News::Status(status) => Some(status),
                News::Message(_) => None,
            })
            .collect()
    }

    /// The event names of the broadcasts heard.
    pub(crate) fn events(&self) -> Vec<String> {
        self.messages()
            .iter()
            .filter_map(|envelope| match &envelope.message {
                Message::Broadcast { args, .. } => args.event().map(|name| name.into_owned()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn gaps(&self) -> usize {
        self.statuses().iter().filter(|status| matches!(status, BusStatus::Gap { .. })).count()
    }

    pub(crate) fn downs(&self) -> usize {
        self.statuses().iter().filter(|status| matches!(status, BusStatus::Down { .. })).count()
    }
}

impl Inbox for Memory {
    fn receive(&self, envelope: Envelope) {
        self.news.lock().unwrap().push(News::Message(envelope));
    }

    fn has_room(&self, room: &str) -> bool {
        self.rooms.iter().any(|name| name == room)
    }

    fn status(&self, status: BusStatus) {
        self.news.lock().unwrap().push(News::Status(status));
    }
}

/// Waits until `done`, for at most `within`.
pub(crate) async fn until(within: Duration, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + within;
    while !done() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A broadcast of event `name` to `rooms`.
pub(crate) fn broadcast(name: &str, rooms: &[&str]) -> Message {
    let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
    let args = Args::new_event(name, "x").unwrap();
    Message::Broadcast { args, options: Options { rooms, ..Options::default() }, request: None }
}
