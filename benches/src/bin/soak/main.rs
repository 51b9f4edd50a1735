//! A long run: a cluster of two servers with thousands of clients of all kinds that come and go, and a Redis that is killed now
//! and then. At the end everybody leaves, and nothing may be left: no memory, file descriptor, task, room, session.
//!
//! `soak MINUTES CLIENTS FILE` writes a line of JSON every few seconds into the file, and `soak draw FILE` makes a picture of
//! that. `scripts/soak.sh` builds and runs it.

mod chart;
mod checker;
mod client;
mod link;
mod run;
mod server;

use std::error::Error;
use std::io::Write;

type Trouble = Box<dyn Error + Send + Sync>;
type Outcome<T> = Result<T, Trouble>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let usage = "usage: soak MINUTES CLIENTS FILE | soak draw FILE";
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [server::COMMAND] => server::serve().await,
        ["draw", file] => {
            let samples: Result<Vec<serde_json::Value>, _> =
                std::fs::read_to_string(file)?.lines().map(serde_json::from_str).collect();
            Ok(std::io::stdout().write_all(chart::draw(&samples?).as_bytes())?)
        }
        [minutes, clients, file] => run::run(minutes.parse()?, clients.parse()?, file.as_ref()).await,
        _ => Err(usage.into()),
    }
}
