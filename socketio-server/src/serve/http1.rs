//! HTTP/1.1 of our own, for the plain requests of Engine.IO clients.
//!
//! A connection begins here. Each request that is plain ([`Head::read`](http1::Head::read)), for the engine's path and
//! wholly there is answered from where its bytes lie; with the first that is not, the connection is hyper's for good, which
//! is given the bytes as they came. So a poll costs a third of what it costs there, and all that is rare is hyper's.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use socketio_protocol::http1::{self, Verdict};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::CancellationToken;

use super::answer;
use crate::engine::{Activity, Answer, Engine, Head, Opening, Peer};

/// How it ended.
pub(super) enum End<I> {
    Closed,
    /// It is no HTTP any more; with what was read ahead.
    Opened(Box<Opening>, I, Bytes),
    /// For hyper, with what was read.
    Other(I, Bytes),
}

/// Answers requests until there is one that is not plain.
pub(super) async fn serve<I: AsyncRead + AsyncWrite + Unpin>(
    mut stream: I,
    peer: Peer,
    engine: &Engine,
    activity: &Activity,
    closing: &CancellationToken,
) -> End<I> {
    let (mut read, mut out) = (Vec::new(), Vec::new());
    loop {
        let head = match next_head(&mut stream, &mut read, engine, activity).await {
            Ok(Some(head)) => head,
            Ok(None) => return End::Other(stream, read.into()),
            Err(_) => return End::Closed,
        };
        let whole = head.len + head.body;
        activity.begin();
        let mut ahead = Vec::new();
        let answer = {
            let body = Bytes::copy_from_slice(read.get(head.len..whole).unwrap_or_default());
            let next = read.len() > whole;
            let request = Head::plain(&head, &read, peer);
            let answer = pin!(engine.answer(&request, body));
            while_connected(answer, &mut stream, next, &mut ahead).await
        };
        activity.end();
        let Some(mut answer) = answer else { return End::Closed };
        read.drain(..whole);
        read.append(&mut ahead);
        let mut close = head.close || closing.is_cancelled();
        out.clear();
        answer::write(&answer, &mut close, &mut out);
        let written = write(&mut stream, &mut out, &answer.body, activity).await;
        match answer.opening.take() {
            Some(opening) if written.is_ok() => return End::Opened(opening, stream, read.into()),
            Some(opening) => opening.begin(None).await,
            None => {}
        }
        if written.is_err() || close {
            let _ = stream.shutdown().await; // It may be broken already.
            return End::Closed;
        }
        if read.is_empty() && read.capacity() > KEPT {
            read = Vec::new();
        }
    }
}

/// The next request, with its whole body behind it in `read`. `None` if it is not one for us.
async fn next_head<I: AsyncRead + Unpin>(
    stream: &mut I,
    read: &mut Vec<u8>,
    engine: &Engine,
    activity: &Activity,
) -> io::Result<Option<http1::Head>> {
    let mut looked = 0;
    let head = loop {
        // A head that comes in many pieces is not read anew for each, but only if it may have ended.
        if read.get(looked..).is_some_and(|new| new.contains(&b'\n')) || looked == 0 && !read.is_empty() {
            match http1::Head::read(read) {
                Verdict::Plain(head) => break head,
                Verdict::Other => return Ok(None),
                Verdict::Partial => activity.read(),
            }
        }
        if read.len() >= http1::MAX_HEAD {
            return Ok(None);
        }
        looked = read.len();
        read.reserve(READ_MIN);
        if poll_fn(|cx| poll_read_buf(Pin::new(&mut *stream), cx, read)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let path = read.get(head.target.clone()).and_then(|target| target.split(|&byte| byte == b'?').next());
    if !path.is_some_and(|path| engine.is_path(path)) {
        return Ok(None);
    }
    let whole = head.len + head.body;
    if whole > READ_MAX {
        return Ok(None);
    }
    // The rest of a body has mostly come, too. Waiting for it, for as long as it may take, is hyper's.
    while read.len() < whole {
        read.reserve(whole - read.len());
        let more = poll_fn(|cx| Poll::Ready(poll_read_buf(Pin::new(&mut *stream), cx, read))).await;
        match more {
            Poll::Ready(Ok(n)) if n > 0 => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(head))
}

/// Waits for an answer for as long as the client does; `None` if it has gone. One that has sent more (`next`, or what is
/// put into `ahead`) is believed to be there.
async fn while_connected<I: AsyncRead + Unpin>(
    mut answer: Pin<&mut impl Future<Output = Answer>>,
    stream: &mut I,
    next: bool,
    ahead: &mut Vec<u8>,
) -> Option<Answer> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        if next || !ahead.is_empty() {
            return Poll::Pending;
        }
        let mut bytes = [0; 256];
        let mut bytes = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *stream).poll_read(cx, &mut bytes) {
            Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {
                ahead.extend_from_slice(bytes.filled());
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Writes the head of an answer and its body: together, if that costs little, else with one call.
async fn write<I: AsyncWrite + Unpin>(
    stream: &mut I,
    head: &mut Vec<u8>,
    body: &[u8],
    activity: &Activity,
) -> io::Result<()> {
    let mut rest = body;
    if body.len() <= COPIED {
        head.extend_from_slice(body);
        rest = &[];
    }
    let mut head = head.as_slice();
    while !head.is_empty() || !rest.is_empty() {
        let written = poll_fn(|cx| {
            let stream = Pin::new(&mut *stream);
            let written = match rest.is_empty() {
                true => stream.poll_write(cx, head),
                false => stream.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(rest)]),
            };
            // Each time, not at the end alone: who takes a long answer in steadily is not idle.
            activity.wrote(written.is_pending());
            written
        });
        let n = written.await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = n.min(head.len());
        head = head.get(of_head..).unwrap_or_default();
        rest = rest.get(n - of_head..).unwrap_or_default();
    }
    stream.flush().await
}

/// The room for a head, and how much at least is read at a time.
const READ_MIN: usize = 1 << 10;

/// The longest request, with its body, that is not left to hyper.
const READ_MAX: usize = 128 << 10;

/// A connection that waits for a request keeps a buffer up to this size.
const KEPT: usize = 4 << 10;

/// Up to this length a copy costs less than what the kernel takes for a second piece.
const COPIED: usize = 4 << 10;
