//! A running program that ends with its owner.

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A program started by a test. Dropping it kills it, by its process id, and waits for it.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Program {
    /// Starts `command` with nothing on its standard input; what it prints is kept for [`output`](Self::output).
    ///
    /// # Panics
    ///
    /// When the program cannot be started. `hint` says what to do about it.
    pub fn start(command: &mut Command, hint: &str) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {name}: {error}. {hint}"));
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take(), &output);
        collect(child.stderr.take(), &output);
        Self { name, child, output }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, on both of its outputs.
    pub fn output(&self) -> String {
        let output = self.output.lock().expect("no thread panics while it holds the output");
        String::from_utf8_lossy(&output).into_owned()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for its end")
    }

    /// Sends it a signal by name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", self.pid())])
            .status()
            .expect("there is a shell");
        assert!(status.success(), "no {signal} for {}", self.name);
    }

    /// Ends it by SIGTERM, as an operator would, and by SIGKILL if that has no effect within 10 s.
    pub fn stop(mut self) -> ExitStatus {
        if let Some(status) = self.ended() {
            return status;
        }
        self.signal("TERM");
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Some(status) = self.ended() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill()
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) -> ExitStatus {
        // An error means that it ended on its own, which is all we want.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for")
    }

    /// Waits up to 10 s until `ready`.
    ///
    /// # Panics
    ///
    /// When that takes longer or the program ends; with what it printed.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !ready() {
            if let Some(status) = self.ended() {
                // The last of what it printed may still be on its way to us.
                thread::sleep(Duration::from_millis(50));
                panic!("{} ended with {status} before {what}; it printed:\n{}", self.name, self.output());
            }
            assert!(Instant::now() < end, "{}: not within 10 s: {what}; it printed:\n{}", self.name, self.output());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process has memory");
        let kilobytes: u64 = line.trim_end_matches("kB").trim().parse().expect("the kernel writes a number");
        kilobytes * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("pid", &self.pid()).finish()
    }
}

/// A port of 127.0.0.1 that nobody listens on, outside the range from which the system gives ports to clients.
pub fn free_port() -> u16 {
    // The process id and a counter keep tests that run at once from trying the same ports.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let start = std::process::id() * 131;
    for _ in 0..1000 {
        let step = NEXT.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
        let port = 15_000 + u16::try_from(start.wrapping_add(step) % 15_000).expect("less than 15,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 15000 and 30000 on 127.0.0.1");
}

/// Asks `question` every 10 ms until it gives something, for at most `limit`.
///
/// # Panics
///
/// When the time is over; `what` says what did not happen.
pub fn until<T>(limit: Duration, what: impl AsRef<OsStr>, mut question: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {}", what.as_ref().to_string_lossy());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Keeps what comes from `stream`, so that the program never waits for a reader.
fn collect(stream: Option<impl Read + Send + 'static>, output: &Arc<Mutex<Vec<u8>>>) {
    let Some(mut stream) = stream else { return };
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                break;
            }
            if let Ok(mut output) = output.lock() {
                output.extend_from_slice(&buffer[..count]);
            }
        }
    });
}
