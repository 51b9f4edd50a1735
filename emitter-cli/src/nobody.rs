//! Why nobody listens, as far as Redis knows.
//!
//! Servers with the classic adapter subscribe to `KEY-request#NSP#`, which Redis can list. So it can be told whether
//! they listen with another key or in other namespaces.

use std::{collections::BTreeSet, time::Duration};

use socketio_protocol::cluster::emitter::Channels;

use crate::{args::Settings, output};

/// Warns that nobody heard what was published on `channel`, and says what may help. Takes no longer than `left`.
pub(crate) async fn warn(settings: &Settings, channel: &str, left: Duration) {
    output::warning(&format!("no Socket.IO server is listening on {channel} (key {:?}, adapter pubsub)", settings.key));
    // The event is out; a second is enough for advice.
    let advice = tokio::time::timeout(left.min(Duration::from_secs(1)), advice(settings)).await;
    output::tip(advice.ok().flatten().as_deref().unwrap_or("start a server that has this Redis as its adapter"));
}

async fn advice(settings: &Settings) -> Option<String> {
    let url = if settings.url.contains(':') { settings.url.clone() } else { format!("redis://{}", settings.url) };
    let client = redis::Client::open(url).ok()?;
    let mut redis = client.get_multiplexed_async_connection().await.ok()?;

    let request = Channels::new(&settings.key, &settings.nsp).request().to_owned();
    let own: Result<(String, u64), _> = redis::cmd("PUBSUB").arg("NUMSUB").arg(&request).query_async(&mut redis).await;
    if let Ok((_, servers @ 1..)) = own {
        let servers = output::servers(servers);
        return Some(format!(
            "{servers} listen on {request}, but not for this: a namespace with * ? [ ] \\ is not heard by Node.js servers"
        ));
    }
    let others: Vec<String> =
        redis::cmd("PUBSUB").arg("CHANNELS").arg("*-request#/*#").query_async(&mut redis).await.ok()?;
    let found: BTreeSet<_> = others.iter().filter_map(|channel| parts(channel)).collect();
    let of_key = |(key, nsp): &(&str, &str)| (*key == settings.key).then(|| (*nsp).to_owned());
    let of_nsp = |(key, nsp): &(&str, &str)| (*nsp == settings.nsp).then(|| (*key).to_owned());
    let (namespaces, keys) = (list(found.iter().filter_map(of_key)), list(found.iter().filter_map(of_nsp)));
    if let Some(keys) = keys {
        return Some(format!("servers listen with another key: {keys}; name it with --key"));
    }
    if let Some(namespaces) = namespaces {
        return Some(format!("servers listen in other namespaces: {namespaces}; name one with --nsp"));
    }
    if let Some((key, nsp)) = found.first() {
        return Some(format!("servers listen with key {key:?} in namespace {nsp}; name them with --key and --nsp"));
    }
    let sharded: Vec<String> = redis::cmd("PUBSUB").arg("SHARDCHANNELS").query_async(&mut redis).await.ok()?;
    let sharded = sharded.iter().any(|channel| channel.starts_with(&format!("{}#/", settings.key)));
    sharded.then(|| "servers with the sharded adapter are here; they hear only each other so far".to_owned())
}

/// Key and namespace of a request channel.
fn parts(channel: &str) -> Option<(&str, &str)> {
    let (key, nsp) = channel.split_once("-request#")?;
    let nsp = nsp.strip_suffix('#')?;
    nsp.starts_with('/').then_some((key, nsp))
}

/// The first few of some names.
fn list(names: impl Iterator<Item = String>) -> Option<String> {
    let mut names: Vec<_> = names.collect();
    if names.len() > MOST_NAMES {
        names.truncate(MOST_NAMES);
        names.push("…".to_owned());
    }
    (!names.is_empty()).then(|| names.join(", "))
}

const MOST_NAMES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_channel_tells_key_and_namespace() {
        for (channel, expected) in [
            ("socket.io-request#/#", Some(("socket.io", "/"))),
            ("my-app-request#/chat#", Some(("my-app", "/chat"))),
            ("socket.io-request#/a#b#", Some(("socket.io", "/a#b"))),
            ("socket.io-response#/#", None),
            ("socket.io-request#/", None),
        ] {
            assert_eq!(parts(channel), expected, "{channel}");
        }
    }
}
