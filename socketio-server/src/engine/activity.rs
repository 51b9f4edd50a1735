//! What an HTTP connection is doing, so that one that does nothing can be ended.
//!
//! A listener of ours wraps each stream in [`Observed`], which notes when bytes come and go, and tells [`Activity`] of
//! each request. Once a connection is a WebSocket the wrapping is taken off again, and the session's own times apply.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::coarse;

/// Since when a connection has been waiting, and for what. Times are milliseconds since it was accepted.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    /// The same moment by the clock that every read and write looks at.
    coarse_start: Duration,
    /// Requests that are not answered to the end.
    requests: AtomicU32,
    /// When the first byte of a request came whose head is not whole, plus one; 0 for none.
    head: AtomicU64,
    /// When it last had something to do.
    last: AtomicU64,
    /// Whether the client has yet to take in what is written.
    full: AtomicBool,
}

impl Activity {
    /// The connection was accepted now: the head of a request is awaited.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            coarse_start: coarse(),
            requests: AtomicU32::new(0),
            head: AtomicU64::new(1),
            last: AtomicU64::new(0),
            full: AtomicBool::new(false),
        })
    }

    /// A request has come. It is answered when what this returns is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// A request has come, of a connection that has one at a time; [`end`](Activity::end) says that it is answered.
    pub(crate) fn begin(&self) {
        self.requests.store(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
    }

    /// The client has from now on to take the answer in.
    pub(crate) fn end(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
    }

    /// Whether nothing would be cut off by its end.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && !self.full.load(Ordering::Relaxed)
    }

    /// Until when the connection may go on as it is: `head` is how long the head of a request may take, `idle` how long
    /// nothing may happen between requests. `None` while a request is answered.
    pub(crate) fn deadline(&self, head: Duration, idle: Duration) -> Option<Instant> {
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let full = self.full.load(Ordering::Relaxed);
        let millis = match self.head.load(Ordering::Relaxed) {
            _ if full => self.last.load(Ordering::Relaxed) + idle.max(STALLED).as_millis() as u64,
            0 => self.last.load(Ordering::Relaxed) + idle.as_millis() as u64,
            since => since - 1 + head.as_millis() as u64,
        };
        Some(self.start + Duration::from_millis(millis))
    }

    fn now(&self) -> u64 {
        coarse().saturating_sub(self.coarse_start).as_millis() as u64
    }

    /// Bytes have come that are no whole head yet.
    pub(crate) fn read(&self) {
        if self.requests.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// An answer that a slow client takes in is no idleness, although it was given long ago.
    pub(crate) fn wrote(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
        if !full {
            self.last.store(self.now(), Ordering::Relaxed);
        }
    }
}

/// How long a client may take in nothing of an answer. The system tells of progress in large steps.
const STALLED: Duration = Duration::from_secs(30);

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.last.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose comings and goings are noted.
#[derive(Debug)]
pub(crate) struct Observed<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Whether bytes that come begin the head of a request: in HTTP/2 they may be anything.
    heads: bool,
    /// What comes before all that the stream still brings.
    ahead: Bytes,
}

impl<S> Observed<S> {
    /// `ahead` was read from it already.
    pub(crate) fn new(stream: S, ahead: Bytes, activity: Arc<Activity>, heads: bool) -> Self {
        Self { stream, activity, heads, ahead }
    }

    /// The stream, and what of `ahead` is left.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.ahead)
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.wrote(written.is_pending());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = if this.ahead.is_empty() {
            Pin::new(&mut this.stream).poll_read(cx, buf)
        } else {
            let n = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead.split_to(n));
            Poll::Ready(Ok(()))
        };
        if this.heads && buf.filled().len() > before {
            this.activity.read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.note(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    fn left(activity: &Activity) -> Option<u64> {
        let at = activity.deadline(HEAD, IDLE)?;
        Some((at - activity.start).as_secs())
    }

    #[test]
    fn a_new_connection_has_the_time_of_a_head() {
        assert_eq!(left(&Activity::new()), Some(10));
    }

    #[test]
    fn a_request_has_the_time_it_takes_and_then_the_connection_may_be_idle() {
        let activity = Activity::new();
        let first = activity.request();
        let second = activity.request();
        assert_eq!(left(&activity), None);
        drop(first);
        assert_eq!(left(&activity), None);
        drop(second);
        assert_eq!(left(&activity), Some(60));
    }

    #[test]
    fn the_first_byte_of_a_head_starts_its_time_and_later_ones_do_not() {
        let activity = Activity::new();
        drop(activity.request());
        activity.read();
        let since = activity.head.load(Ordering::Relaxed);
        assert_eq!(left(&activity), Some(10));
        std::thread::sleep(Duration::from_millis(5));
        activity.read();
        assert_eq!(activity.head.load(Ordering::Relaxed), since);
    }

    #[test]
    fn a_client_that_takes_in_an_answer_has_longer() {
        let activity = Activity::new();
        drop(activity.request());
        activity.wrote(true);
        assert_eq!(activity.deadline(HEAD, HEAD), Some(activity.start + STALLED));
        activity.wrote(false);
        assert_eq!(left(&activity), Some(60));
    }

    #[test]
    fn a_client_has_its_time_for_an_answer_from_when_that_is_given() {
        let activity = Activity::new();
        activity.begin();
        activity.last.store(u64::MAX, Ordering::Relaxed); // No time that has been.
        activity.end();
        activity.wrote(true);
        assert_eq!(left(&activity), Some(60));
    }

    #[test]
    fn bytes_of_a_body_begin_no_head() {
        let activity = Activity::new();
        let request = activity.request();
        activity.read();
        drop(request);
        assert_eq!(left(&activity), Some(60));
    }
}
