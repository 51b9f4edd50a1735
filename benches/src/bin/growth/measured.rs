//! A server under measure: its process, and what Linux says of it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use socketio_benches::process::{cpu_of, memory_of};
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
        Ok(cpu_of(self.program.pid())?)
    }

    /// Its resident memory, in KiB.
    pub(crate) fn memory(&self) -> Outcome<f64> {
        Ok(memory_of(self.program.pid())?)
    }
}
