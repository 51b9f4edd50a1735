//! Long-polling: a task that always has a poll open, and one whose requests bring packets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use socketio_protocol::engine::{Message, Packet, PayloadEncoder, TransportKind, Version, decode_payload};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    ClientError,
    address::Address,
    http::{Requests, Response},
    stream::TlsOptions,
};

/// More packets in one body are no payload.
const MAX_PACKETS: usize = 100_000;

/// A session that polls. It ends when a request fails.
pub(crate) struct Polling {
    /// What polls bring. Ends when both tasks have.
    received: mpsc::Receiver<Result<Vec<Packet>, ClientError>>,
    /// What is to be sent; polls and posts go on as long as this is there.
    posts: Option<mpsc::UnboundedSender<Vec<Packet>>>,
    /// How many bytes of it were not answered yet.
    queued: Arc<AtomicUsize>,
    tasks: [JoinHandle<()>; 2],
}

/// The first request: what the server sends with the open packet.
pub(crate) async fn handshake(address: &Address, tls: &TlsOptions, max: usize) -> Result<Vec<Packet>, ClientError> {
    let mut requests = Requests::new(address, tls, max);
    let response = requests.send(&address.target(TransportKind::Polling, None), None).await?;
    packets(address, response)
}

impl Polling {
    pub(crate) fn start(address: &Address, tls: &TlsOptions, sid: &str, max_payload: usize, max: usize) -> Polling {
        let (sender, received) = mpsc::channel(4);
        let (posts, to_post) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let requests = || Session {
            requests: Requests::new(address, tls, max),
            target: address.target(TransportKind::Polling, Some(sid)),
            address: address.clone(),
            max_payload,
        };
        let stopped = posts.downgrade();
        let polls = tokio::spawn(poll(requests(), stopped, sender.clone()));
        let posting = tokio::spawn(post(requests(), to_post, queued.clone(), sender));
        Polling { received, posts: Some(posts), queued, tasks: [polls, posting] }
    }

    /// What the next poll brings; `None` once it was stopped, the last poll has come back and all was sent.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<Packet>, ClientError>> {
        self.received.recv().await
    }

    /// No further poll is begun, and nothing more is taken to be sent.
    pub(crate) fn stop(&mut self) {
        self.posts = None;
    }

    pub(crate) fn send(&mut self, packets: Vec<Packet>) {
        self.queued.fetch_add(cost(&packets), Ordering::Relaxed);
        if let Some(posts) = &self.posts {
            let _ = posts.send(packets);
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Requests of one session.
struct Session {
    requests: Requests,
    target: String,
    address: Address,
    max_payload: usize,
}

type Brought = mpsc::Sender<Result<Vec<Packet>, ClientError>>;

/// Always has a poll open. Stopped, the one that is open is still waited for: what it brings is not lost.
async fn poll(mut session: Session, goes_on: mpsc::WeakUnboundedSender<Vec<Packet>>, brought: Brought) {
    while goes_on.upgrade().is_some() {
        let answer = session.requests.send(&session.target, None).await;
        let packets = answer.and_then(|response| packets(&session.address, response));
        let failed = packets.is_err();
        if brought.send(packets).await.is_err() || failed {
            return;
        }
    }
}

/// Sends what is to be sent, all that waits at once as far as the server's limit allows.
async fn post(
    mut session: Session,
    mut to_post: mpsc::UnboundedReceiver<Vec<Packet>>,
    queued: Arc<AtomicUsize>,
    brought: Brought,
) {
    while let Some(mut packets) = to_post.recv().await {
        while let Ok(more) = to_post.try_recv() {
            packets.extend(more);
        }
        let sent = session.send(&packets).await;
        queued.fetch_sub(cost(&packets), Ordering::Relaxed);
        if let Err(error) = sent {
            let _ = brought.send(Err(error)).await;
            return;
        }
    }
}

fn cost(packets: &[Packet]) -> usize {
    packets.iter().map(|packet| if let Packet::Message(message) = packet { message.len() } else { 1 }).sum()
}

impl Session {
    async fn send(&mut self, packets: &[Packet]) -> Result<(), ClientError> {
        let mut body = PayloadEncoder::new(Version::V4, true);
        for packet in packets {
            let cost = match packet {
                Packet::Message(Message::Text(text)) => body.text_cost(1 + text.len()),
                Packet::Message(Message::Binary(data)) => body.binary_cost(data.len()),
                _ => 16,
            };
            if !body.is_empty() && body.len() + cost > self.max_payload {
                let full = std::mem::replace(&mut body, PayloadEncoder::new(Version::V4, true));
                self.post(&full.finish().bytes).await?;
            }
            body.packet(packet);
        }
        if body.is_empty() { Ok(()) } else { self.post(&body.finish().bytes).await }
    }

    async fn post(&mut self, body: &[u8]) -> Result<(), ClientError> {
        match self.requests.send(&self.target, Some(body)).await? {
            Response { status: 200, .. } => Ok(()),
            response => Err(refused(&self.address, &response)),
        }
    }
}

fn packets(address: &Address, response: Response) -> Result<Vec<Packet>, ClientError> {
    if response.status != 200 {
        return Err(refused(address, &response));
    }
    let packets: Result<Vec<_>, _> = decode_payload(Version::V4, false, response.body, MAX_PACKETS).collect();
    let reason = |error| format!("its answer is not Engine.IO: {error}");
    packets.map_err(|error| ClientError::Refused { address: address.authority(), reason: reason(error) })
}

/// What the server says, if it is short.
fn refused(address: &Address, response: &Response) -> ClientError {
    let Response { status, body } = response;
    let says = |body: &Bytes| {
        let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let message = json.and_then(|json| json.get("message").and_then(|text| text.as_str()).map(str::to_owned));
        message.map(|message| format!(": {message}")).unwrap_or_default()
    };
    let reason = format!("HTTP status {status}{}", says(body));
    ClientError::Refused { address: address.authority(), reason }
}
