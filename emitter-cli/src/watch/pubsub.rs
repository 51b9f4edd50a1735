//! What passes on channels, classic and sharded.
//!
//! Sharded channels have no patterns. The rooms that have one of their own are looked up several times a second: the first
//! messages of a new room may be missing here, and so is what is for a room that nobody is in, unless it is named.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use socketio_protocol::cluster::{BusStatus, classic::Channels};
use socketio_redis_client::{Listener, Redis, Sink, Subscriber, Topics, resp::Reply};

use super::{Desk, News, Passed, Watch};
use crate::{
    args::{Adapter, Settings},
    connect::{self, Questions, text},
    failure::Failure,
    family, told,
};

/// So many bytes of messages may wait in the subscriber.
const BUFFER: usize = 64 << 20;

/// How often new sharded channels are looked for.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn start(settings: &Settings, watch: &Watch, desk: Arc<Desk>) -> Result<String, Failure> {
    // It tells in good words why there is no way.
    Questions::open(settings, settings.timeout).await?;
    let redis = Redis::at(connect::address(settings)?);
    let subscriber = Subscriber::start(&redis, BUFFER);
    let channels = Channels::new(&settings.key, &settings.nsp);
    let sink = Arc::new(Channel { key: settings.key.clone(), desk });
    let sharded = settings.adapter == Adapter::Sharded;
    let pattern = if watch.all_namespaces { format!("{}#/*", escaped(&settings.key)) } else { channels.pattern() };
    let mut looks = Looks { redis, pattern, links: Vec::new() };
    let mut topics = Topics::default();
    let place = match (sharded, watch.all_namespaces) {
        (true, _) => {
            topics.shards = looks.channels().await.unwrap_or_default().into_iter().collect();
            if !watch.all_namespaces {
                topics.shards.insert(channels.broadcast(None).into_owned());
                topics.shards.extend(watch.rooms.iter().map(|room| channels.broadcast(Some(room)).into_owned()));
            }
            match family::rooms_have_channels(settings) {
                true => format!("{} (sharded): rooms that somebody is in; name others with --to", looks.pattern),
                false => format!("{} (sharded)", looks.pattern),
            }
        }
        (false, true) => {
            let key = escaped(&settings.key);
            topics.patterns = vec![format!("{key}#/*")];
            if watch.requests {
                topics.patterns.extend([format!("{key}-request#/*"), format!("{key}-response#/*")]);
            }
            topics.patterns.join(", ")
        }
        (false, false) => {
            topics.patterns = vec![channels.pattern()];
            if watch.requests {
                // Patterns, though one of them names a single channel: servers count each other by who is subscribed to
                // it, and would wait for an answer of ours.
                topics.patterns.extend([escaped(channels.request()), format!("{}*", escaped(channels.response()))]);
            }
            topics.patterns.join(", ")
        }
    };
    let held: BTreeSet<String> = topics.shards.iter().cloned().collect();
    let listener = subscriber.open(topics, sink);
    let ready = tokio::time::timeout(settings.timeout, listener.ready()).await;
    match ready {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(refused(&error.to_string(), &settings.key)),
        Err(_) => return Err(Failure::from(socketio_emitter::EmitError::Timeout { after: settings.timeout })),
    }
    // They end with the program.
    let task = Following { _subscriber: subscriber, listener, sharded, held, looks };
    tokio::spawn(task.run());
    Ok(place)
}

fn refused(error: &str, key: &str) -> Failure {
    let tip = format!("the user has to be allowed to listen: ACL SETUSER <user> +@pubsub &{key}*");
    Failure::new(crate::failure::code::FAILED, "Redis refuses to let us listen").cause(error).tip(tip)
}

/// Where sharded channels are found: each node of a cluster knows its own.
struct Looks {
    redis: Redis,
    pattern: String,
    /// Made again when one of them has broken.
    links: Vec<Questions>,
}

impl Looks {
    /// The channels that somebody listens on, we or others. `None` if that is not known now.
    async fn channels(&mut self) -> Option<BTreeSet<String>> {
        let pattern = self.pattern.clone();
        let lists = self.ask(&["PUBSUB", "SHARDCHANNELS", &pattern]).await?;
        Some(lists.iter().flatten().filter_map(text).collect())
    }

    /// Those of `channels` on which nobody but us listens.
    async fn lonely(&mut self, channels: &BTreeSet<String>) -> Option<Vec<String>> {
        if channels.is_empty() {
            return Some(Vec::new());
        }
        let mut words = vec!["PUBSUB", "SHARDNUMSUB"];
        words.extend(channels.iter().map(String::as_str));
        let mut listeners: BTreeMap<String, i64> = BTreeMap::new();
        for list in self.ask(&words).await? {
            for pair in list.chunks_exact(2) {
                if let [channel, Reply::Integer(count)] = pair {
                    *listeners.entry(text(channel)?).or_default() += count;
                }
            }
        }
        Some(listeners.into_iter().filter(|(_, count)| *count <= 1).map(|(channel, _)| channel).collect())
    }

    /// The list that each node answers with.
    async fn ask(&mut self, words: &[&str]) -> Option<Vec<Vec<Reply>>> {
        if self.links.is_empty() {
            self.links = Questions::of_each(&self.redis).await.ok()?;
        }
        let mut lists = Vec::new();
        for link in &mut self.links {
            match link.ask(words).await {
                Ok(Reply::Array(list)) => lists.push(list),
                _ => {
                    self.links.clear();
                    return None;
                }
            }
        }
        Some(lists)
    }
}

struct Following {
    _subscriber: Subscriber,
    listener: Listener,
    sharded: bool,
    held: BTreeSet<String>,
    looks: Looks,
}

impl Following {
    async fn run(mut self) {
        if !self.sharded {
            return std::future::pending().await;
        }
        let base = self.held.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            // Where only we listen, the room has gone. Those that are new are counted next time, when we listen, too.
            let rooms: BTreeSet<String> = self.held.difference(&base).cloned().collect();
            let left = self.looks.lonely(&rooms).await.unwrap_or_default();
            let found = self.looks.channels().await.unwrap_or_default();
            for channel in found.difference(&self.held) {
                self.listener.add(channel.clone());
            }
            self.held.extend(found);
            for room in left {
                self.held.remove(&room);
                self.listener.remove(room);
            }
        }
    }
}

struct Channel {
    key: String,
    desk: Arc<Desk>,
}

impl Sink for Channel {
    fn message(&self, channel: &[u8], payload: &[u8]) {
        let place = String::from_utf8_lossy(channel).into_owned();
        let told = told::on_channel(&self.key, &place, payload).map_err(|error| (error, payload.to_vec()));
        self.desk.tell(News::Passed(Box::new(Passed { at: SystemTime::now(), place, id: None, told })));
    }

    fn status(&self, status: BusStatus) {
        self.desk.tell(News::Status(status));
    }
}

/// A text that a pattern of Redis matches as it is.
fn escaped(text: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | ']' | '\\');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
