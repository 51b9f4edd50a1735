//! The two directions of the stream that carries a session.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wtransport::{RecvStream, SendStream, VarInt};

/// Where packets come from. The HTTP/3 session ends with it.
#[derive(Debug)]
pub(crate) struct ReadHalf {
    stream: RecvStream,
    session: wtransport::Connection,
}

impl ReadHalf {
    pub(super) fn new(stream: RecvStream, session: wtransport::Connection) -> Self {
        Self { stream, session }
    }

    /// Ends the HTTP/3 session, and with it the QUIC connection. What has not arrived is lost.
    pub(crate) fn close(&self) {
        self.session.close(H3_NO_ERROR, b"");
    }

    /// The same for a client that gets no session of ours.
    pub(super) fn refuse(&self) {
        self.session.close(H3_REQUEST_REJECTED, b"");
    }
}

impl AsyncRead for ReadHalf {
    /// However the session ends, for us the client has left.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf).map(|result| {
            if let Err(error) = result {
                tracing::debug!(%error, "a WebTransport session ended");
            }
            Ok(())
        })
    }
}

/// Where packets go to.
pub(crate) struct WriteHalf {
    stream: SendStream,
    /// Set once all is written: when it has arrived.
    arrived: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl WriteHalf {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, arrived: None }
    }

    /// Writes one slice after the other: QUIC copies them anyway.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices {
            match Pin::new(&mut self.stream).poll_write(cx, slice) {
                Poll::Ready(Ok(n)) if n == slice.len() => written += n,
                Poll::Ready(Ok(n)) => return Poll::Ready(Ok(written + n)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if written > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Ends the stream, and waits until the client has confirmed all of it: closing the session would overtake it.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = &mut self.stream;
        let arrived = self.arrived.get_or_insert_with(|| {
            let stream = stream.quic_stream_mut();
            let _ = stream.finish(); // Fails on a stream that has ended, of which `stopped` knows too.
            let stopped = stream.stopped();
            Box::pin(async move {
                let _ = stopped.await;
            })
        });
        arrived.as_mut().poll(cx)
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(&self.stream).finish()
    }
}

/// RFC 9114, section 8.1: "there is no error".
const H3_NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// In the same place: "a server rejected a request without performing any application processing".
const H3_REQUEST_REJECTED: VarInt = VarInt::from_u32(0x10b);
