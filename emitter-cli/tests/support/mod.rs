//! The program, a Redis of our own, somebody who listens, and something that pretends to be Redis.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const MISSING: &str = "redis-server and redis-cli are needed on PATH (Debian: apt-get install redis-server)";

/// How a run of the program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn new(code: i32, out: &str, err: &str) -> Ended {
        Ended { code, out: out.to_owned(), err: err.to_owned() }
    }
}

/// The program, with `url` as its Redis and nothing else of our environment that it could read.
pub(crate) fn cli(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emitter-cli"));
    command.env_clear().env("REDIS_URL", url);
    command
}

/// Runs the program with some words, and `input` on stdin.
pub(crate) fn run(url: &str, words: &[&str], input: &str) -> Ended {
    let mut command = cli(url);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program was built");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // The program may end before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    let _ = writer.join();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    Ended { code: output.status.code().expect("it ends by itself"), out: text(output.stdout), err: text(output.stderr) }
}

/// A redis-server process on a port of its own, ended with the value.
pub(crate) struct Redis {
    process: Child,
    pub(crate) port: u16,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::with(&[])
    }

    pub(crate) fn with(args: &[&str]) -> Redis {
        let port = free_port();
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                "/tmp",
            ])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .expect(MISSING);
        let mut redis = Redis { process, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !["PONG", "NOAUTH"].iter().any(|answer| redis.cli(&["PING"]).contains(answer)) {
            assert!(Instant::now() < deadline, "redis-server did not start on port {port}");
            assert_eq!(redis.process.try_wait().unwrap(), None, "redis-server has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs `redis-cli`.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().expect(MISSING);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody listens on, and never the usual one of Redis.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("loopback has ports").port();
        if port != 6379 {
            return port;
        }
    }
}

/// Listens as a server with the classic adapter does, in one namespace.
pub(crate) struct Server {
    messages: mpsc::Receiver<(String, Vec<u8>)>,
}

impl Server {
    pub(crate) fn start(redis: &Redis, key: &str, nsp: &str) -> Server {
        let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        let (sender, messages) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let (pattern, request) = (format!("{key}#{nsp}#*"), format!("{key}-request#{nsp}#"));
        std::thread::spawn(move || {
            let mut pubsub = connection.as_pubsub();
            pubsub.psubscribe(pattern).unwrap();
            pubsub.subscribe(request).unwrap();
            ready.send(()).unwrap();
            while let Ok(message) = pubsub.get_message() {
                let heard = (message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec());
                if sender.send(heard).is_err() {
                    return;
                }
            }
        });
        is_ready.recv_timeout(Duration::from_secs(10)).expect("it subscribes");
        Server { messages }
    }

    /// The next message: channel and payload.
    pub(crate) fn hears(&self) -> (String, Vec<u8>) {
        self.messages.recv_timeout(Duration::from_secs(10)).expect("a message within 10 s")
    }

    /// The event and the arguments of the next message.
    pub(crate) fn hears_event(&self) -> (String, String) {
        let (channel, payload) = self.hears();
        let (key, rest) = channel.split_once('#').unwrap();
        let nsp = rest.split('#').next().unwrap();
        let channels = socketio_protocol::cluster::classic::Channels::new(key, nsp);
        let read = socketio_protocol::cluster::classic::decode_broadcast(&channels, "own", &payload).unwrap().unwrap();
        match read.message {
            socketio_protocol::cluster::Message::Broadcast { args, .. } => (channel, args.to_json().0.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

/// Pretends to be a Redis. `answer` is asked with the first word of each command and how often it came before;
/// `None` hangs up.
pub(crate) fn pretend(
    answer: impl Fn(&str, usize) -> Option<&'static str> + Send + Sync + Clone + 'static,
) -> Pretended {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, published) = mpsc::channel();
    let counts = std::sync::Arc::new(std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, sender, counts) = (answer.clone(), sender.clone(), counts.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut writer: TcpStream = stream;
                while let Some(words) = command(&mut reader) {
                    let before = {
                        let mut counts = counts.lock().unwrap();
                        let count = counts.entry(words[0].clone()).or_default();
                        *count += 1;
                        *count - 1
                    };
                    if words[0] == "PUBLISH" {
                        let _ = sender.send(words.clone());
                    }
                    let Some(answer) = answer(&words[0], before) else { return };
                    if !answer.is_empty() && write!(writer, "{answer}\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    Pretended { address, published }
}

pub(crate) struct Pretended {
    address: SocketAddr,
    published: mpsc::Receiver<Vec<String>>,
}

impl Pretended {
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How often it was asked to publish.
    pub(crate) fn published(&self) -> usize {
        self.published.try_iter().count()
    }
}

fn command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    fn number(reader: &mut impl BufRead, mark: char) -> Option<usize> {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim_end().strip_prefix(mark)?.parse().ok()
    }
    let mut words = Vec::new();
    for _ in 0..number(reader, '*')? {
        let length = number(reader, '$')?;
        let mut bytes = vec![0; length + 2];
        reader.read_exact(&mut bytes).ok()?;
        bytes.truncate(length);
        words.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Some(words)
}
