//! An emitter for measuring: publishes a number of events and says when Redis has taken them all.
//!
//! Settings come from the environment: `REDIS_URL`, `EMIT_COUNT`, `EMIT_PAD_BYTES`, and `EMIT_ROOM` if only one room is
//! meant. It prints `READY` when it is connected, waits for a line on standard input, emits, prints `DONE` and the
//! count, and waits for another line, so that its CPU time can be read.
//!
//!     REDIS_URL=redis://127.0.0.1:6379 EMIT_COUNT=100000 cargo run --release --example bench-emitter
#![allow(clippy::print_stdout)]

use std::{env, error::Error, fmt::Write, io::stdin};

use socketio_emitter::Emitter;

/// So many events are emitted before the answers to the earlier ones are waited for.
const AHEAD: usize = 8_192;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, default| env::var(name).map_or(Ok(default), |text| text.parse::<usize>());
    let (count, pad) = (number("EMIT_COUNT", 1_000)?, "x".repeat(number("EMIT_PAD_BYTES", 64)?));
    let io = Emitter::connect(&env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned())).await?;
    let room = env::var("EMIT_ROOM").map(|room| io.to(room)).ok();

    println!("READY");
    stdin().read_line(&mut String::new())?;
    let mut text = String::new();
    for n in 0..count {
        text.clear();
        write!(text, "{n:010}|{pad}")?;
        let emitted = match &room {
            None => io.emit("emitted", &text),
            Some(room) => room.emit("emitted", &text),
        };
        if n % AHEAD == AHEAD - 1 || n == count - 1 {
            emitted.await?;
        } else {
            emitted.queued()?;
        }
    }
    println!("DONE {count}");
    stdin().read_line(&mut String::new())?;
    Ok(())
}
