//! `servers`: how many servers listen, and how many clients each has.

use clap::Args;
use serde_json::json;

use crate::{
    args::Settings,
    asking,
    failure::{Failure, code},
    family, output,
};

/// `servers`
#[derive(Args)]
pub(crate) struct Servers {
    /// Fail (exit 4) unless at least N servers listen
    #[arg(short = 'R', long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub(crate) require_servers: Option<u64>,
}

/// Asks Redis who listens, and those who do for how many clients they have.
pub(crate) async fn run(settings: &Settings, servers: &Servers) -> Result<u8, Failure> {
    let emitter = asking::open(settings).await?;
    let mut counts = emitter.count().await?;
    counts.received.sort_by(|a, b| b.cmp(a));
    let total = counts.total();
    if settings.json {
        output::line(json!({
            "servers": counts.asked, "answered": counts.asked - counts.missing,
            "sockets": total, "each": counts.received,
        }));
    } else {
        let each: Vec<String> = counts.received.iter().map(u64::to_string).collect();
        let each = if each.len() > 1 { format!(" ({})", each.join(" + ")) } else { String::new() };
        let (asked, clients) = (output::servers(counts.asked as u64), output::clients(total));
        let (nsp, key, adapter) = (emitter.nsp(), &settings.key, family::name(settings));
        output::line(format!("{asked} on {nsp} (key {key:?}, adapter {adapter}): {clients}{each}"));
    }
    let required = servers.require_servers.unwrap_or_default();
    let listening = counts.asked as u64;
    let missing = asking::servers_missing(settings, counts.asked, counts.missing).await;
    if listening < required {
        Failure::new(code::TOO_FEW, format!("{} listen, {required} required", output::servers(listening))).print();
        return Ok(code::TOO_FEW);
    }
    Ok(missing)
}
