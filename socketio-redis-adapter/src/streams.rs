//! The streams family over Redis: XADD and XREAD for what must not be lost, PUBLISH for questions and answers.
//!
//! Which fields and bytes these have is `socketio_protocol::cluster::streams`' part; the reading of the streams is
//! [`stream_reader`](crate::stream_reader)'s.

use std::{
    borrow::Cow,
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use socketio_protocol::cluster::{
    Answer, BusError, BusStatus, Channel, Inbox, Log, Message, Published,
    streams::{self, Carried, Channels, Entry, UID_LENGTH},
};

use socketio_redis_client::{Listener, Losses, QueueLimits, Redis, Sink, Topics, random::random_hex};

use crate::{
    shared::{Shared, tell},
    stream_log::StreamLog,
    stream_reader::{Reader, Registered},
    stream_writer::StreamWriter,
};

/// How the streams are named and kept; the same on all servers of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct StreamOptions {
    pub(crate) name: String,
    pub(crate) count: u32,
    pub(crate) max_len: usize,
    pub(crate) read_count: usize,
    pub(crate) sharded_pub_sub: bool,
    pub(crate) session_prefix: String,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            name: streams::DEFAULT_STREAM.to_owned(),
            count: 1,
            max_len: streams::DEFAULT_MAX_LEN,
            read_count: 100,
            sharded_pub_sub: false,
            session_prefix: streams::DEFAULT_SESSION_PREFIX.to_owned(),
        }
    }
}

/// What writes to the streams of namespaces with a log.
pub(crate) struct Writers {
    redis: Redis,
    limits: QueueLimits,
    losses: Arc<Losses>,
    by_stream: Mutex<HashMap<String, Arc<StreamWriter>>>,
}

impl Writers {
    pub(crate) fn new(redis: Redis, limits: QueueLimits, losses: Arc<Losses>) -> Writers {
        Writers { redis, limits, losses, by_stream: Mutex::default() }
    }

    fn to(&self, stream: &str) -> Arc<StreamWriter> {
        let mut by_stream = self.by_stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (redis, losses) = (self.redis.clone(), self.losses.clone());
        let start = || Arc::new(StreamWriter::start(redis, stream.to_owned(), self.limits, losses));
        by_stream.entry(stream.to_owned()).or_insert_with(start).clone()
    }
}

/// One namespace.
pub(crate) struct Streams {
    shared: Shared,
    options: Arc<StreamOptions>,
    writers: Arc<Writers>,
    /// Set if the namespace keeps a log.
    writer: OnceLock<Arc<StreamWriter>>,
    stream: String,
    max_len: String,
    names: Arc<Names>,
    listener: Listener,
    registered: Registered,
}

struct Names {
    channels: Channels,
    uid: String,
}

impl Streams {
    pub(crate) fn open(
        shared: Shared,
        options: Arc<StreamOptions>,
        writers: Arc<Writers>,
        reader: &Arc<Reader>,
        nsp: &str,
        inbox: Arc<dyn Inbox>,
    ) -> Streams {
        let names = Arc::new(Names { channels: Channels::new(&shared.prefix, nsp), uid: random_hex(UID_LENGTH) });
        let channels = [names.channels.broadcast(None), streams::answers_to(&names.channels, &names.uid)];
        let channels = channels.map(Cow::into_owned);
        let topics = if options.sharded_pub_sub {
            Topics { shards: channels.into(), ..Topics::default() }
        } else {
            Topics { channels: channels.into(), ..Topics::default() }
        };
        let stream = streams::stream_of(&options.name, options.count, nsp);
        let registered = reader.register(nsp, stream.clone(), names.uid.clone(), inbox.clone());
        let listener = shared.subscriber.open(topics, Arc::new(Ear { names: names.clone(), inbox }));
        let max_len = options.max_len.to_string();
        let writer = OnceLock::new();
        Streams { shared, options, writers, writer, stream, max_len, names, listener, registered }
    }

    fn send(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.listener.open()?;
        let Names { channels, uid } = &*self.names;
        let carried = streams::encode(channels, uid, requester, message)
            .map_err(|error| BusError::Encode { reason: error.to_string() })?;
        match carried {
            Carried::Entry(Entry { uid, nsp, kind, data }) => {
                let mut fields: Vec<&[u8]> = vec![b"nsp", nsp.as_bytes(), b"type", kind.as_bytes()];
                if let Some(data) = &data {
                    fields.extend([&b"data"[..], data.as_bytes()]);
                }
                if let Some(writer) = self.writer.get() {
                    return writer.add(&self.max_len, &uid, &fields);
                }
                let mut parts: Vec<&[u8]> =
                    vec![b"XADD", self.stream.as_bytes(), b"MAXLEN", b"~", self.max_len.as_bytes(), b"*"];
                parts.extend([&b"uid"[..], uid.as_bytes()]);
                parts.extend(fields);
                self.shared.publisher.send(&parts)
            }
            Carried::Message { channel, payload } => {
                let verb: &[u8] = if self.options.sharded_pub_sub { b"SPUBLISH" } else { b"PUBLISH" };
                self.shared.publisher.send(&[verb, channel.as_bytes(), &payload])
            }
        }
    }
}

impl Channel for Streams {
    fn uid(&self) -> &str {
        &self.names.uid
    }

    fn publish(&self, message: &Message) -> Result<Published, BusError> {
        self.send(None, message)
    }

    fn respond(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.send(requester, message)
    }

    fn server_count(&self) -> Pin<Box<dyn Future<Output = Result<usize, BusError>> + Send + '_>> {
        let sharded = self.options.sharded_pub_sub;
        Box::pin(async move { self.shared.count(&self.names.channels.broadcast(None), sharded).await })
    }

    fn is_there<'a>(&'a self, uid: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            Ok(self.shared.count(&streams::answers_to(&self.names.channels, uid), self.options.sharded_pub_sub).await?
                > 0)
        })
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + '_>> {
        Box::pin(async {
            self.listener.ready().await?;
            self.registered.ready().await
        })
    }

    fn log(&self) -> Option<Arc<dyn Log>> {
        let writer = self.writer.get_or_init(|| {
            self.registered.log();
            self.writers.to(&self.stream)
        });
        let nsp = self.names.channels.nsp();
        // A place in the stream from which clients can go on, before there is any event.
        let mark = [&b"nsp"[..], nsp.as_bytes(), b"type", streams::MARK.as_bytes()];
        let _ = writer.add(&self.max_len, &self.names.uid, &mark); // Without it the first event is the first place.
        Some(Arc::new(StreamLog::new(&self.shared, &self.options, &self.stream, self.names.channels.clone())))
    }

    fn close(&self) {
        self.registered.close();
        self.listener.close();
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.close();
    }
}

struct Ear {
    names: Arc<Names>,
    inbox: Arc<dyn Inbox>,
}

impl Sink for Ear {
    fn message(&self, channel: &[u8], payload: &[u8]) {
        tell(&*self.inbox, channel, streams::decode_message(&self.names.channels, &self.names.uid, payload));
    }

    fn status(&self, status: BusStatus) {
        // What was sent meanwhile is in the stream: only its reader knows whether there is a gap.
        if !matches!(status, BusStatus::Gap { .. }) {
            self.inbox.status(status);
        }
    }
}
