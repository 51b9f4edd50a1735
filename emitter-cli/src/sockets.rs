//! `sockets`: the clients of the cluster, one a line.

use clap::Args;
use serde_json::json;
use socketio_emitter::RemoteSocket;

use crate::{
    args::{Settings, Target},
    asking,
    failure::Failure,
    message::select,
    output, show,
};

/// `sockets`
#[derive(Args)]
pub(crate) struct Sockets {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Print only how many there are
    #[arg(short, long)]
    pub(crate) count: bool,
}

/// Asks all servers.
pub(crate) async fn run(settings: &Settings, sockets: &Sockets) -> Result<u8, Failure> {
    let emitter = asking::open(settings).await?;
    let target = select(&emitter, &sockets.target);
    let (asked, missing) = if sockets.count {
        let counts = target.count().await?;
        let total = counts.total();
        output::line(if settings.json { json!({ "sockets": total }).to_string() } else { total.to_string() });
        (counts.asked, counts.missing)
    } else {
        let mut found = target.fetch_sockets().await?;
        found.received.sort_by(|a, b| a.id.cmp(&b.id));
        for socket in &found.received {
            output::line(if settings.json { for_programs(socket) } else { for_people(socket) });
        }
        if !settings.json && !settings.quiet {
            let count = output::clients(found.received.len() as u64);
            output::detail(format!("{count} on {} ({})", emitter.nsp(), output::servers(found.asked as u64)));
        }
        (found.asked, found.missing)
    };
    Ok(asking::servers_missing(settings, asked, missing).await)
}

/// `0nFhvY5hvpLDJSHhAAAB  127.0.0.1  room-7, room-8`
fn for_people(socket: &RemoteSocket) -> String {
    let rooms: Vec<&str> = socket.rooms.iter().map(String::as_str).filter(|room| *room != socket.id).collect();
    let address = socket.handshake["address"].as_str().unwrap_or("-");
    format!("{}  {address}  {}", socket.id, rooms.join(", ")).trim_end().to_owned()
}

fn for_programs(socket: &RemoteSocket) -> String {
    let (id, rooms) = (json!(socket.id), json!(socket.rooms));
    let data = show::value_json(&socket.data);
    format!(r#"{{"id":{id},"rooms":{rooms},"data":{data},"handshake":{}}}"#, socket.handshake)
}
