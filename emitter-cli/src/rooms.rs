//! `rooms`: the rooms of the cluster and how many clients each has.

use serde_json::json;

use crate::{args::Settings, asking, failure::Failure, output};

/// Asks all servers. The rooms that clients have by themselves are left out.
pub(crate) async fn run(settings: &Settings) -> Result<u8, Failure> {
    let emitter = asking::open(settings).await?;
    let mut sizes = emitter.room_sizes().await?;
    sizes.received.sort();
    let widest = sizes.received.iter().map(|(room, _)| room.chars().count()).max().unwrap_or_default();
    for (room, size) in &sizes.received {
        output::line(match settings.json {
            true => json!({ "room": room, "sockets": size }).to_string(),
            false => format!("{room:widest$}  {size}"),
        });
    }
    if !settings.json && !settings.quiet {
        let (count, servers) = (sizes.received.len(), output::servers(sizes.asked as u64));
        let rooms = if count == 1 { "room" } else { "rooms" };
        output::detail(format!("{count} {rooms} on {} ({servers})", emitter.nsp()));
    }
    Ok(asking::servers_missing(settings, sizes.asked, sizes.missing).await)
}
