//! Whether servers do not only listen, but answer.
//!
//! They are asked how many clients get an event for a room that nobody is in: the lightest question that servers of
//! `@socket.io/redis-adapter` 8 and ours answer, and nobody hears it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use socketio_protocol::{
    cluster::{BusStatus, Message, Options, classic},
    socket::Args,
};
use socketio_redis_client::{Redis, Sink, Subscriber, Topics};
use tokio::sync::mpsc;

use crate::{args::Settings, connect, failure::Failure};

/// How long answers are waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Answers {
    pub(super) servers: u64,
    /// Until the last of them.
    pub(super) took: Duration,
}

/// Asks, and waits for `expected` answers.
pub(super) async fn ask(settings: &Settings, expected: u64) -> Result<Answers, Failure> {
    let channels = classic::Channels::new(&settings.key, &settings.nsp);
    let request = uuid::Uuid::new_v4().to_string();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let sink = Arc::new(Ear { channels: channels.clone(), request: request.clone(), sender });
    let subscriber = Subscriber::start(&Redis::at(connect::address(settings)?), BUFFER);
    let topics = Topics { patterns: vec![format!("{}*", channels.response())], ..Topics::default() };
    let listener = subscriber.open(topics, sink);
    let ready = tokio::time::timeout(PATIENCE, listener.ready()).await;
    if !matches!(ready, Ok(Ok(()))) {
        let tip = "the user has to be allowed to subscribe for answers to be heard";
        return Err(Failure::new(crate::failure::code::FAILED, "answers cannot be listened for").tip(tip));
    }
    let options = Options { rooms: vec![format!("emitter-cli-doctor-{request}")], ..Options::default() };
    let args = Args::new_event("doctor", &()).map_err(socketio_emitter::EmitError::from)?;
    let mut payload = Vec::new();
    let question = Message::Broadcast { args, options, request: Some(request) };
    let channel = classic::encode(&channels, "emitter", &question, &mut payload).into_owned();
    let asked = Instant::now();
    let mut redis = connect::Questions::open(settings, settings.timeout).await?;
    redis.publish(&channel, &payload).await?;
    let mut answers = Answers { servers: 0, took: Duration::ZERO };
    let all = async {
        while answers.servers < expected && heard.recv().await.is_some() {
            answers.servers += 1;
            answers.took = asked.elapsed();
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
    listener.close();
    Ok(answers)
}

/// Answers are small.
const BUFFER: usize = 1 << 20;

struct Ear {
    channels: classic::Channels,
    request: String,
    sender: mpsc::UnboundedSender<()>,
}

impl Sink for Ear {
    fn message(&self, _: &[u8], payload: &[u8]) {
        let read = classic::decode_response(&self.channels, payload, |id| id == self.request);
        if let Ok(Some(envelope)) = read
            && let Message::BroadcastClientCount { .. } | Message::ClientsAsked { .. } = envelope.message
        {
            let _ = self.sender.send(());
        }
    }

    fn status(&self, _: BusStatus) {}
}
