//! Carries one client until it leaves, breaks the protocol or reads too slowly.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Shared;
use super::outbox::Outbox;
use super::resp::{Decoder, Reply};
use super::session::{Next, Session};

/// Reads commands and writes what is queued, both at once. What is queued when the client says
/// goodbye is still written, for [`LAST_WORDS`] at most.
pub(super) async fn run(stream: TcpStream, shared: Arc<Shared>) {
    // A small answer leaves at once. If the option cannot be set it leaves a little later.
    let _ = stream.set_nodelay(true);
    let (from, to) = stream.into_split();
    let outbox = Arc::new(Outbox::new(shared.limits.queue));
    let writing = write(to, outbox.clone());
    tokio::pin!(writing);
    tokio::select! {
        () = read(from, shared, outbox.clone()) => {}
        () = &mut writing => return,
        () = outbox.closed() => return,
    }
    outbox.finish();
    let _ = tokio::time::timeout(LAST_WORDS, writing).await;
}

/// Returns when the client has left or must go. Its subscriptions end with that.
async fn read(mut from: OwnedReadHalf, shared: Arc<Shared>, outbox: Arc<Outbox>) {
    let mut decoder = Decoder::new(shared.limits.command);
    let mut session = Session::new(shared.clone(), outbox.clone());
    let mut input = BytesMut::with_capacity(READ_SIZE);
    loop {
        input.reserve(READ_SIZE);
        if !matches!(from.read_buf(&mut input).await, Ok(1..)) {
            return;
        }
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(command)) => {
                    outbox.half_free().await;
                    if session.handle(&command) == Next::Close {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%error, "the bus closed a connection");
                    session.reply(&Reply::Error(format!("ERR {error}")));
                    return;
                }
            }
        }
    }
}

/// Writes what is queued until the outbox is finished or the client is gone.
async fn write(mut to: OwnedWriteHalf, outbox: Arc<Outbox>) {
    while let Some(frames) = outbox.take().await {
        for mut batch in batches(frames) {
            let bytes = batch.remaining();
            if to.write_all_buf(&mut batch).await.is_err() {
                return;
            }
            outbox.written(bytes);
        }
    }
    let _ = to.shutdown().await;
}

/// Frames that leave in one write: small ones are joined, a large one goes alone and uncopied.
fn batches(frames: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let mut batches: Vec<Bytes> = Vec::new();
    let mut small = Vec::new();
    for frame in frames {
        if small.len() + frame.len() <= READ_SIZE {
            small.extend_from_slice(&frame);
            continue;
        }
        if !small.is_empty() {
            batches.push(std::mem::take(&mut small).into());
        }
        batches.push(frame);
    }
    if !small.is_empty() {
        batches.push(small.into());
    }
    batches
}

/// How much is read, and about how much is written, at one time.
const READ_SIZE: usize = 16 * 1024;

/// How long a client that was told goodbye may take to read it.
const LAST_WORDS: Duration = Duration::from_secs(1);
