//! A Redis for one test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::program::{Program, free_port};

/// A `redis-server` on a port of its own, without files unless options ask for them, that ends with the test.
///
/// [`kill`](Self::kill), [`restart`](Self::restart), [`pause`](Self::pause) and [`resume`](Self::resume) play the outages
/// that a cluster has to survive.
#[derive(Debug)]
pub struct TestRedis {
    port: u16,
    options: Vec<String>,
    program: Option<Program>,
}

impl TestRedis {
    /// Starts a Redis; it answers when this returns.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`.
    pub fn spawn() -> Self {
        Self::with(&[])
    }

    /// Starts a Redis with more options on its command line, such as `--unixsocket` and a path.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`, or it does not take the options.
    pub fn with(options: &[&str]) -> Self {
        let (port, options) = (free_port(), options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>());
        let program = Some(start(port, &options));
        Self { port, options, program }
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port, which stays the same over [`restart`](Self::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    /// Ends it at once: connections break, and new ones are refused.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Starts it again, empty, on the same port; one that still runs is killed first.
    pub fn restart(&mut self) {
        self.program = None;
        self.program = Some(start(self.port, &self.options));
    }

    /// Lets it stand still: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.running().signal("STOP");
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.running().signal("CONT");
    }

    fn running(&self) -> &Program {
        self.program.as_ref().expect("this Redis was killed; restart it first")
    }
}

fn start(port: u16, options: &[String]) -> Program {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(std::env::temp_dir()).args(options);
    let mut program = Program::start(&mut command, "scripts/test.sh --setup-only installs redis-server.");
    program.wait_until("it answers PING", || answers(port));
    program
}

fn answers(port: u16) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        // One that wants a password is up as well.
        Ok(matches!(&answer, b"+PONG" | b"-NOAU"))
    };
    ping().unwrap_or(false)
}
