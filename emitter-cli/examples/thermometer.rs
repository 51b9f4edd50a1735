//! A service that sends a reading every second, through one `emitter-cli` that it keeps open.
//!
//! `cargo run -p emitter-cli --example thermometer`, with `emitter-cli` on the PATH: clients in the room `kitchen` hear
//! `temperature`. `--ndjson` takes an event a line, so that an event costs no process of its own; the program tells what is
//! wrong with a line on stderr and goes on, and says how it ended by its exit code.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

fn main() -> io::Result<()> {
    let readings = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(u32::MAX);
    let mut emitter = Command::new("emitter-cli").args(["emit", "--ndjson", "-q"]).stdin(Stdio::piped()).spawn()?;
    let mut events = emitter.stdin.take().expect("it is piped");
    for reading in 0..readings {
        let celsius = 20.0 + f64::from(reading % 10) / 2.0;
        // A broken pipe here means that the program has ended; it has said why.
        writeln!(events, r#"{{"event":"temperature","to":"kitchen","args":[{celsius}]}}"#)?;
        sleep(Duration::from_secs(1));
    }
    drop(events);
    let status = emitter.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("emitter-cli: {status}"))) }
}
