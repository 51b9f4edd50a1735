//! A server under measure: its process, and what Linux says of it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use socketio_tests::{Program, free_port};
use tokio::net::TcpStream;

use crate::{Outcome, server};

/// A server in a process of its own, which ends with it.
pub(crate) struct Measured {
    program: Program,
    addr: SocketAddr,
}

impl Measured {
    /// Starts a server, in a cluster if there is a Redis, and waits until it listens.
    pub(crate) async fn start(redis: Option<&str>) -> Outcome<Self> {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(server::COMMAND).env("PORT", port.to_string()).env_remove("REDIS_URL");
        if let Some(url) = redis {
            command.env("REDIS_URL", url);
        }
        let program = Program::start(&mut command, "it is this program");
        let measured = Self { program, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
        for _ in 0..500 {
            if TcpStream::connect(measured.addr).await.is_ok() {
                return Ok(measured);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("the server does not listen: {}", measured.program.output()).into())
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The CPU time that its threads have taken, in microseconds.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        cpu_of(self.program.pid())
    }

    /// Its resident memory, in KiB.
    pub(crate) fn memory(&self) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }
}

/// The CPU time that the threads of a process have taken, in microseconds.
pub(crate) fn cpu_of(pid: u32) -> Outcome<f64> {
    let mut nanoseconds = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += stat.split(' ').next().ok_or("no schedstat")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1000.0)
}
