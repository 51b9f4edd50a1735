//! A Socket.IO server in a process of its own.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::paths::node_folder;
use crate::program::{Program, free_port};

/// A server of this workspace, or one in Node.js, that answers handshakes and ends with the test.
#[derive(Debug)]
pub struct Server {
    port: u16,
    program: Program,
}

impl Server {
    /// Starts `binary` with `PORT` and the variables of `env`; returns when a polling handshake on `/socket.io/` is answered.
    pub fn spawn<'a>(binary: impl AsRef<OsStr>, env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::start(&mut Command::new(binary), env, "Is it built?")
    }

    /// Starts a server of `tests/node/servers`, such as `cluster-node.mjs`, in the same way.
    pub fn node<'a>(file: &str, env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut command = Command::new("node");
        command.arg(node_folder().join("servers").join(file));
        Self::start(&mut command, env, "scripts/test.sh --setup-only installs Node.js.")
    }

    fn start<'a>(command: &mut Command, env: impl IntoIterator<Item = (&'a str, &'a str)>, hint: &str) -> Self {
        let port = free_port();
        command.env("PORT", port.to_string()).envs(env);
        let mut program = Program::start(command, hint);
        program.wait_until("a handshake is answered", || shakes_hands(port));
        Self { port, program }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, for signals, memory and output.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Ends it by SIGTERM and returns how it ended.
    pub fn stop(self) -> ExitStatus {
        self.program.stop()
    }
}

fn shakes_hands(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(
            b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("\"sid\""))
}
