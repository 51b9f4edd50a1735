//! The bus over TCP, spoken to in raw bytes and by the `redis` crate.

mod bounds;
mod commands;
mod listening;
mod redis_crate;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Bus, Limits};

/// A bus on a free port, closed when dropped.
struct Running {
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let bus = Bus::bind_with("127.0.0.1:0", limits).await.expect("a free port");
        let addr = bus.addr();
        let serving = tokio::spawn(bus.serve());
        Self { addr, serving }
    }

    async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.addr).await.expect("the bus listens");
        Client { stream }
    }

    async fn redis(&self, query: &str) -> redis::Client {
        redis::Client::open(format!("redis://{}/{query}", self.addr)).expect("a good URL")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A client that says exactly these bytes and wants exactly those.
struct Client {
    stream: TcpStream,
}

impl Client {
    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the bus reads");
    }

    /// Sends one command, its words parted by spaces.
    async fn say(&mut self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.write(bytes.as_bytes()).await;
    }

    async fn hears(&mut self, expected: &str) {
        let mut heard = vec![0; expected.len()];
        let read = soon(self.stream.read_exact(&mut heard)).await;
        let heard = String::from_utf8_lossy(&heard);
        assert!(read.is_ok(), "the bus closed; heard {heard:?} instead of {expected:?}");
        assert_eq!(heard, expected);
    }

    /// Everything until the bus closes.
    async fn hears_the_end(&mut self) -> String {
        let mut heard = Vec::new();
        // A reset says "closed" as well as an end does.
        let _ = soon(self.stream.read_to_end(&mut heard)).await;
        String::from_utf8_lossy(&heard).into_owned()
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("within ten seconds")
}
