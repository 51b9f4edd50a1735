//! How cost grows: with connections, rooms, namespaces, the size of messages, and servers in a cluster.
//!
//! `growth FOLDER` measures, prints each figure, and draws the curves as SVG into the folder. Costs are the CPU time of the
//! server's process, read from Linux; the clients are in this process and cost nothing that is counted. `scripts/growth.sh`
//! builds and runs it.

mod chart;
mod crowd;
mod measured;
mod server;
mod studies;

use std::error::Error;
use std::path::PathBuf;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let usage = "usage: growth FOLDER [connections|rooms|namespaces|payloads|nodes|full|departure]...";
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or(usage)?;
    if folder == server::COMMAND {
        return server::serve().await;
    }
    if folder == crowd::COMMAND {
        let (addr, count) = (words.next().ok_or(usage)?, words.next().ok_or(usage)?);
        return crowd::be(addr.parse()?, count.parse()?).await;
    }
    let folder = PathBuf::from(folder);
    let mut wanted: Vec<String> = words.collect();
    if wanted.is_empty() {
        wanted = studies::NAMES.map(str::to_owned).to_vec();
    }
    for name in wanted {
        let study = studies::run(&name).await?.ok_or(usage)?;
        std::fs::write(folder.join(format!("growth-{name}.svg")), chart::draw(&study))?;
    }
    Ok(())
}
