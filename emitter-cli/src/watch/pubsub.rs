//! What passes on channels, classic and sharded.
//!
//! Sharded channels have no patterns. The rooms that have one of their own are looked up every second: the first
//! messages of a new room may be missing here, and so is what is for a room that nobody is in, unless it is named.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use socketio_protocol::{
    Bytes,
    cluster::{BusStatus, classic::Channels},
};
use socketio_redis_client::{Listener, Redis, Sink, Subscriber, Topics};

use super::{Desk, News, Passed, Watch};
use crate::{
    args::{Adapter, Settings},
    connect::{self, Questions},
    failure::Failure,
    told,
};

/// So many bytes of messages may wait in the subscriber.
const BUFFER: usize = 64 << 20;

/// How often new sharded channels are looked for.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn start(settings: &Settings, watch: &Watch, desk: Arc<Desk>) -> Result<String, Failure> {
    // It tells in good words why there is no way.
    let mut redis = Questions::open(settings, settings.timeout).await?;
    let subscriber = Subscriber::start(&Redis::at(connect::address(settings)?), BUFFER);
    let channels = Channels::new(&settings.key, &settings.nsp);
    let sink = Arc::new(Channel { key: settings.key.clone(), desk });
    let sharded = settings.adapter == Adapter::Sharded;
    let looks = Looks {
        pattern: if watch.all_namespaces { format!("{}#/*", escaped(&settings.key)) } else { channels.pattern() },
    };
    let mut topics = Topics::default();
    let place = match (sharded, watch.all_namespaces) {
        (true, _) => {
            topics.shards = looks.channels(&mut redis).await.into_iter().collect();
            if !watch.all_namespaces {
                topics.shards.insert(channels.broadcast(None).into_owned());
                topics.shards.extend(watch.rooms.iter().map(|room| channels.broadcast(Some(room)).into_owned()));
            }
            format!("{} (sharded)", looks.pattern)
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
                topics.channels = vec![channels.request().to_owned()];
                topics.patterns.push(format!("{}*", escaped(channels.response())));
            }
            topics.patterns.iter().chain(&topics.channels).cloned().collect::<Vec<_>>().join(", ")
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
    tokio::spawn(task.run(redis));
    Ok(place)
}

fn refused(error: &str, key: &str) -> Failure {
    let tip = format!("the user has to be allowed to listen: ACL SETUSER <user> +@pubsub &{key}*");
    Failure::new(crate::failure::code::FAILED, "Redis refuses to let us listen").cause(error).tip(tip)
}

/// Where sharded channels are found.
struct Looks {
    pattern: String,
}

impl Looks {
    async fn channels(&self, redis: &mut Questions) -> Vec<String> {
        redis.list(&["PUBSUB", "SHARDCHANNELS", &self.pattern]).await
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
    async fn run(mut self, mut redis: Questions) {
        if !self.sharded {
            return std::future::pending().await;
        }
        let base = self.held.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let found: BTreeSet<String> = self.looks.channels(&mut redis).await.into_iter().collect();
            for channel in found.difference(&self.held) {
                self.listener.add(channel.clone());
            }
            self.held.extend(found);
            // Where only we listen, the room has gone.
            let rooms: Vec<String> = self.held.difference(&base).cloned().collect();
            for room in rooms {
                if redis.subscribers("SHARDNUMSUB", &room).await <= 1 {
                    self.listener.remove(room.clone());
                    self.held.remove(&room);
                }
            }
        }
    }
}

struct Channel {
    key: String,
    desk: Arc<Desk>,
}

impl Sink for Channel {
    fn message(&self, channel: &[u8], payload: Bytes) {
        let place = String::from_utf8_lossy(channel).into_owned();
        let told = told::on_channel(&self.key, &place, &payload).map_err(|error| (error, payload.to_vec()));
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
