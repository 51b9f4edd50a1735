//! What clients that do not read do to those that do: 10,000 clients are sent everything, and a tenth of them stops reading.
//!
//! `slow [MESSAGES [CLIENTS]]` has phases of three kinds take turns: nobody is slow; a tenth is, and is closed; a tenth is, and
//! is not sent what is volatile. It fails if who reads misses a message or waits longer for it, if memory passes its bound, or
//! if the slow ones end in another way. `scripts/slow.sh` builds and runs it.

mod crowd;
mod latencies;
mod run;
mod server;

use std::error::Error;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| words.get(place).map_or(Ok(default), |word| word.parse());
    match words.first().map(String::as_str) {
        Some(server::COMMAND) => server::serve().await,
        _ => run::run(number(0, 27_000)?, number(1, 10_000)?).await,
    }
}
