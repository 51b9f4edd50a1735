//! The byte stream under a WebSocket, or of a WebTransport session.
//!
//! A plain TCP stream or unix socket is split without a lock, so that any thread can write to it at once; every other
//! stream (TLS, a test's pipe) is written by the connection's own task.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
#[cfg(unix)]
use tokio::net::{UnixStream, unix};
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::activity::{Answering, Observed};
#[cfg(feature = "webtransport")]
use super::webtransport::{ReadHalf as WebTransportReader, WriteHalf as WebTransportWriter};

/// The end of a stream that bytes come from.
#[derive(Debug)]
pub(crate) enum Reader {
    Tcp(OwnedReadHalf),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    /// Apart from others, so that it is not asked anew for each byte what it is.
    #[cfg(feature = "tls")]
    Tls(ReadHalf<TlsStream<TcpStream>>),
    Other(ReadHalf<Held>),
    /// Leads to a client through another server.
    Pipe(ReadHalf<DuplexStream>),
    #[cfg(feature = "webtransport")]
    WebTransport(Box<WebTransportReader>),
}

/// The end of a stream that bytes go to.
#[derive(Debug)]
pub(crate) enum Writer {
    Tcp(OwnedWriteHalf),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    #[cfg(feature = "tls")]
    Tls(WriteHalf<TlsStream<TcpStream>>),
    Other(WriteHalf<Held>),
    Pipe(WriteHalf<DuplexStream>),
    #[cfg(feature = "webtransport")]
    WebTransport(Box<WebTransportWriter>),
}

/// A stream that will be a WebSocket once its request is answered.
#[derive(Debug)]
pub(crate) struct Upgrade {
    stream: OnUpgrade,
    hold: Option<Hold>,
}

/// Keeps the connection that a stream is a part of (HTTP/2) from counting as idle; in the extensions of a request.
#[derive(Debug, Clone)]
pub(crate) struct Hold(#[expect(dead_code, reason = "holds until it is dropped")] Arc<Answering>);

impl Hold {
    pub(crate) fn new(answering: Answering) -> Self {
        Self(Arc::new(answering))
    }
}

impl Upgrade {
    pub(crate) fn of<B>(request: &mut http::Request<B>) -> Self {
        Self { stream: hyper::upgrade::on(&mut *request), hold: request.extensions_mut().remove() }
    }

    /// Waits for the stream.
    ///
    /// # Errors
    ///
    /// When the connection ends before.
    pub(crate) async fn split(self) -> Result<(Reader, Writer, Bytes), hyper::Error> {
        Ok(split(self.stream.await?, self.hold))
    }
}

/// A stream that can be split into the halves of a WebSocket.
pub(crate) trait Halves {
    fn halves(self) -> (Reader, Writer);
}

impl Halves for TcpStream {
    fn halves(self) -> (Reader, Writer) {
        let (reader, writer) = self.into_split();
        (Reader::Tcp(reader), Writer::Tcp(writer))
    }
}

#[cfg(unix)]
impl Halves for UnixStream {
    fn halves(self) -> (Reader, Writer) {
        let (reader, writer) = self.into_split();
        (Reader::Unix(reader), Writer::Unix(writer))
    }
}

/// A stream of the system, which may have TLS on it.
#[cfg(feature = "tls")]
pub(crate) trait UnderTls: Halves + Sized {
    fn encrypted_halves(stream: TlsStream<Self>) -> (Reader, Writer);
}

#[cfg(feature = "tls")]
impl<S: UnderTls> Halves for TlsStream<S> {
    fn halves(self) -> (Reader, Writer) {
        S::encrypted_halves(self)
    }
}

#[cfg(feature = "tls")]
impl UnderTls for TcpStream {
    fn encrypted_halves(stream: TlsStream<Self>) -> (Reader, Writer) {
        let (reader, writer) = tokio::io::split(stream);
        (Reader::Tls(reader), Writer::Tls(writer))
    }
}

#[cfg(all(feature = "tls", unix))]
impl UnderTls for UnixStream {
    fn encrypted_halves(stream: TlsStream<Self>) -> (Reader, Writer) {
        Held { stream: Box::new(stream), _hold: None }.halves()
    }
}

impl Halves for Held {
    fn halves(self) -> (Reader, Writer) {
        let (reader, writer) = tokio::io::split(self);
        (Reader::Other(reader), Writer::Other(writer))
    }
}

/// Takes the stream out of hyper's hands, with what hyper had read ahead. The read-ahead buffer is dropped when it is
/// empty, since even an empty one holds 16 KiB.
fn split(upgraded: Upgraded, hold: Option<Hold>) -> (Reader, Writer, Bytes) {
    fn whole(stream: impl Halves, ahead: &Bytes) -> (Reader, Writer, Bytes) {
        let (reader, writer) = stream.halves();
        (reader, writer, own(ahead))
    }
    let upgraded = match bare_tcp(upgraded) {
        Ok((stream, read_ahead)) => {
            // Fails only on a stream that is broken already, which the first read will say.
            let _ = stream.set_nodelay(true);
            return whole(stream, &read_ahead);
        }
        Err(upgraded) => upgraded,
    };
    #[cfg(unix)]
    let upgraded = match bare::<UnixStream>(upgraded) {
        Ok((stream, read_ahead)) => return whole(stream, &read_ahead),
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "tls")]
    let upgraded = match bare::<TlsStream<TcpStream>>(upgraded) {
        Ok((stream, read_ahead)) => return whole(stream, &read_ahead),
        Err(upgraded) => upgraded,
    };
    whole(Held { stream: Box::new(TokioIo::new(upgraded)), _hold: hold }, &Bytes::new())
}

/// The TCP stream itself: as our own listener or plain hyper has it, or as hyper-util's builder that tells HTTP/1 from
/// HTTP/2 does (`axum::serve`), which wraps it in a type of its own.
fn bare_tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    bare(upgraded).or_else(|upgraded| {
        let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
        Ok((parts.io.into_inner(), parts.read_buf))
    })
}

fn bare<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match upgraded.downcast::<TokioIo<Observed<S>>>() {
        Ok(Parts { io, read_buf, .. }) => match io.into_inner().into_parts() {
            (stream, rest) if rest.is_empty() => Ok((stream, read_buf)),
            (stream, rest) => Ok((stream, [read_buf, rest].concat().into())),
        },
        Err(upgraded) => {
            let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<S>>()?;
            Ok((io.into_inner(), read_buf))
        }
    }
}

fn own(read_ahead: &Bytes) -> Bytes {
    if read_ahead.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(read_ahead) }
}

impl Reader {
    /// Reads behind what `buf` holds; 0 is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Reader::Tcp(reader) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, buf),
            #[cfg(unix)]
            Reader::Unix(reader) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, buf),
            #[cfg(feature = "tls")]
            Reader::Tls(reader) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, buf),
            Reader::Other(reader) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, buf),
            Reader::Pipe(reader) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, buf),
            #[cfg(feature = "webtransport")]
            Reader::WebTransport(reader) => tokio_util::io::poll_read_buf(Pin::new(&mut **reader), cx, buf),
        }
    }
}

impl Writer {
    /// Writes at once, if that can be done from here. [`io::ErrorKind::WouldBlock`] when the stream is full, or is
    /// one that only its own task may write to.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Writer::Tcp(writer) if slices.len() == 1 => writer.try_write(&slices[0]),
            Writer::Tcp(writer) => writer.try_write_vectored(slices),
            #[cfg(unix)]
            Writer::Unix(writer) => writer.try_write_vectored(slices),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes, or has `cx` woken once that can be done.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            // One piece goes by `send`, which costs the kernel less than `writev`.
            Writer::Tcp(writer) if slices.len() == 1 => Pin::new(writer).poll_write(cx, &slices[0]),
            Writer::Tcp(writer) => Pin::new(writer).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Writer::Unix(writer) => Pin::new(writer).poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Writer::Tls(writer) => Pin::new(writer).poll_write_vectored(cx, slices),
            Writer::Other(writer) => Pin::new(writer).poll_write_vectored(cx, slices),
            Writer::Pipe(writer) => Pin::new(writer).poll_write_vectored(cx, slices),
            #[cfg(feature = "webtransport")]
            Writer::WebTransport(writer) => writer.poll_write(cx, slices),
        }
    }

    /// Whether [`probe`](Writer::probe) can tell.
    fn shows_progress(&self) -> bool {
        cfg!(unix) && matches!(self, Writer::Tcp(_))
    }

    /// How long the client may take nothing: longer on a stream that shows only large steps.
    pub(crate) fn patience(&self, write_timeout: Duration) -> Duration {
        if self.shows_progress() { write_timeout } else { write_timeout * OPAQUE_PATIENCE }
    }

    /// Writes what a full stream has room for. Tokio asks a stream again only when the kernel says that a good part of
    /// its buffer is free, which on a slow line can take minutes; this asks the kernel itself.
    pub(crate) fn probe(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Writer::Tcp(writer) => {
                use std::os::fd::AsFd;
                let stream: &TcpStream = writer.as_ref();
                // Too many files are open: that says nothing about the client.
                let stream = stream.as_fd().try_clone_to_owned().map_err(|_| io::ErrorKind::WouldBlock)?;
                io::Write::write(&mut std::net::TcpStream::from(stream), bytes)
            }
            _ => Ok(0),
        }
    }

    /// Has what an encrypting stream holds back written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Writer::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(unix)]
            Writer::Unix(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Writer::Tls(writer) => Pin::new(writer).poll_flush(cx),
            Writer::Other(writer) => Pin::new(writer).poll_flush(cx),
            Writer::Pipe(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "webtransport")]
            Writer::WebTransport(_) => Poll::Ready(Ok(())),
        }
    }

    /// Waits until the last bytes have left; after that the writer can be dropped.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            #[cfg(feature = "webtransport")]
            Writer::WebTransport(writer) => writer.poll_end(cx),
            _ => self.poll_flush(cx).map(|_| ()),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Reader::Tcp(reader) => Pin::new(reader).poll_read(cx, buf),
            #[cfg(unix)]
            Reader::Unix(reader) => Pin::new(reader).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Reader::Tls(reader) => Pin::new(reader).poll_read(cx, buf),
            Reader::Other(reader) => Pin::new(reader).poll_read(cx, buf),
            Reader::Pipe(reader) => Pin::new(reader).poll_read(cx, buf),
            #[cfg(feature = "webtransport")]
            Reader::WebTransport(reader) => Pin::new(&mut **reader).poll_read(cx, buf),
        }
    }
}

/// How many times longer a stream may take nothing if it shows only large steps.
const OPAQUE_PATIENCE: u32 = 3;

/// A stream with what holds its connection.
#[derive(Debug)]
pub(crate) struct Held {
    stream: Box<dyn Duplex>,
    _hold: Option<Hold>,
}

trait Duplex: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Duplex for S {}

impl AsyncRead for Held {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
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
