//! Why nobody listens, as far as Redis knows.
//!
//! Servers with the classic adapter subscribe to `KEY-request#NSP#`, which Redis can list. So it can be told whether
//! they listen with another key or in other namespaces.

use std::{collections::BTreeSet, time::Duration};

use socketio_protocol::cluster::emitter::Channels;

use crate::{
    args::{Adapter, Settings},
    connect::Questions,
    family, output,
};

/// Warns that nobody heard what was published on `channel`, and says what may help. Takes no longer than `left`.
pub(crate) async fn warn(settings: &Settings, channel: &str, left: Duration) {
    find(settings, channel, left).await.print();
}

/// That nobody heard it, and what may help.
pub(crate) struct Nobody {
    warning: String,
    tip: String,
}

impl Nobody {
    pub(crate) fn print(&self) {
        output::warning(&self.warning);
        output::tip(&self.tip);
    }
}

/// Looks for what may help, no longer than `left`.
pub(crate) async fn find(settings: &Settings, channel: &str, left: Duration) -> Nobody {
    let (key, adapter) = (&settings.key, family::name(settings));
    let warning = format!("no Socket.IO server is listening on {channel} (key {key:?}, adapter {adapter})");
    // The event is out; a second is enough for advice.
    let advice = tokio::time::timeout(left.min(Duration::from_secs(1)), advice(settings, channel)).await;
    let tip = advice.ok().flatten();
    Nobody { warning, tip: tip.unwrap_or_else(|| "start a server that has this Redis as its adapter".to_owned()) }
}

async fn advice(settings: &Settings, channel: &str) -> Option<String> {
    let mut redis = Questions::open(settings, Duration::from_secs(1)).await.ok()?;
    if settings.adapter != Adapter::Pubsub {
        return of_other_families(settings, channel, &mut redis).await;
    }
    let request = Channels::new(&settings.key, &settings.nsp).request().to_owned();
    if let servers @ 1.. = redis.subscribers("NUMSUB", &request).await {
        let servers = output::servers(servers);
        return Some(format!(
            "{servers} listen on {request}, but not for this: a namespace with * ? [ ] \\ is not heard by Node.js servers"
        ));
    }
    let found = listeners(&mut redis).await;
    let of_key = |(key, nsp): &(String, String)| (*key == settings.key).then(|| nsp.clone());
    let of_nsp = |(key, nsp): &(String, String)| (*nsp == settings.nsp).then(|| key.clone());
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
    let sharded = redis.list(&["PUBSUB", "SHARDCHANNELS", &format!("{}#/*", settings.key)]).await;
    (!sharded.is_empty()).then(|| "servers with the sharded adapter are here: --adapter sharded".to_owned())
}

/// Servers with another adapter than the classic one are not many that could be told apart by key and namespace.
async fn of_other_families(settings: &Settings, channel: &str, redis: &mut Questions) -> Option<String> {
    let all = family::servers_channel(settings);
    let how = if settings.adapter == Adapter::Sharded { "SHARDNUMSUB" } else { "NUMSUB" };
    if let servers @ 1.. = redis.subscribers(how, &all).await
        && channel != all
    {
        return Some(format!("{} listen on {all}, but none has a client in this room", output::servers(servers)));
    }
    let classic = listeners(redis).await;
    (!classic.is_empty()).then(|| "servers with the classic adapter are here: --adapter pubsub".to_owned())
}

/// The keys and namespaces of all servers with the classic adapter.
pub(crate) async fn listeners(redis: &mut Questions) -> BTreeSet<(String, String)> {
    let channels = redis.list(&["PUBSUB", "CHANNELS", "*-request#/*#"]).await;
    channels.iter().filter_map(|channel| parts(channel)).map(|(key, nsp)| (key.to_owned(), nsp.to_owned())).collect()
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
