//! As much of HTTP/1.1 as a client of Engine.IO needs: one request after the other on a connection that is kept.

use std::{future::poll_fn, io, pin::pin, task::Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    ClientError,
    address::Address,
    stream::{self, BoxedStream, TlsOptions},
};

/// A head is shorter.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// What a server answered.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Sends requests to one server, each when the one before is answered.
pub(crate) struct Requests {
    address: Address,
    tls: TlsOptions,
    /// The connection, when there is one to use again.
    kept: Option<(BoxedStream, BytesMut)>,
    max_body: usize,
}

impl Requests {
    pub(crate) fn new(address: &Address, tls: &TlsOptions, max_body: usize) -> Requests {
        Requests { address: address.clone(), tls: tls.clone(), kept: None, max_body }
    }

    /// `POST` with a body, `GET` without.
    pub(crate) async fn send(&mut self, target: &str, body: Option<&[u8]>) -> Result<Response, ClientError> {
        let mut request = format!(
            "{} {target} HTTP/1.1\r\nhost: {}\r\naccept: */*\r\n",
            if body.is_some() { "POST" } else { "GET" },
            self.address.authority()
        );
        if let Some(body) = body {
            request.push_str(&format!("content-type: text/plain;charset=UTF-8\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let request = [request.as_bytes(), body.unwrap_or_default()].concat();
        let broken = |error: io::Error| ClientError::Disconnected { reason: error.to_string() };
        if let Some((mut stream, mut buf)) = self.kept.take()
            && is_open(&mut stream, &mut buf).await
        {
            // It may be closed in this very moment: then, and only when nothing has been answered, it is asked anew.
            match write(&mut stream, &request).await {
                Ok(()) => match self.read(stream, buf).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset && body.is_none() => {}
                    read => return read.map_err(broken),
                },
                Err(_) if body.is_none() => {}
                Err(error) => return Err(broken(error)),
            }
        }
        let mut stream = stream::connect(&self.address, &self.tls).await?;
        write(&mut stream, &request).await.map_err(broken)?;
        self.read(stream, BytesMut::new()).await.map_err(broken)
    }

    async fn read(&mut self, mut stream: BoxedStream, mut buf: BytesMut) -> io::Result<Response> {
        let head = head(&mut stream, &mut buf).await?;
        let body = body(&mut stream, &mut buf, head.length, self.max_body).await.map_err(cut_off)?;
        if head.keeps && head.length != Length::UntilTheEnd {
            self.kept = Some((stream, buf));
        }
        Ok(Response { status: head.status, body })
    }
}

/// Whether a connection that was kept is still open. Nobody sends unasked: what can be read at once is its end.
async fn is_open(stream: &mut BoxedStream, buf: &mut BytesMut) -> bool {
    if !buf.is_empty() {
        return false;
    }
    let mut read = pin!(stream.read_buf(buf));
    poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending())).await
}

async fn write(stream: &mut BoxedStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilTheEnd,
}

/// What the head of an answer says.
pub(crate) struct Head {
    pub(crate) status: u16,
    length: Length,
    keeps: bool,
    /// `Sec-WebSocket-Accept`
    pub(crate) accept: Option<String>,
}

/// Reads a head; what follows it stays in `buf`. Interim answers in front of it are left out.
///
/// Fails with [`ConnectionReset`](io::ErrorKind::ConnectionReset) only if nothing at all was answered.
pub(crate) async fn head(stream: &mut BoxedStream, buf: &mut BytesMut) -> io::Result<Head> {
    let mut begun = !buf.is_empty();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(length) = response.parse(buf).map_err(io::Error::other)? {
            let status = response.code.unwrap_or_default();
            let mut read =
                Head { status, length: Length::UntilTheEnd, keeps: response.version == Some(1), accept: None };
            for header in &*response.headers {
                let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
                match header.name.to_ascii_lowercase().as_str() {
                    // Chunks tell the length themselves, in whatever order the two are named.
                    "content-length" if read.length != Length::Chunked => {
                        read.length =
                            Length::Known(value.parse().map_err(|_| io::Error::other("a length that is none"))?);
                    }
                    "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => read.length = Length::Chunked,
                    "connection" if value.eq_ignore_ascii_case("close") => read.keeps = false,
                    "sec-websocket-accept" => read.accept = Some(value.to_owned()),
                    _ => {}
                }
            }
            buf.advance(length);
            match status {
                100 | 102..=199 => continue,
                101 | 204 | 304 => read.length = Length::Known(0),
                _ => {}
            }
            return Ok(read);
        }
        if buf.len() > MAX_HEAD {
            return Err(io::Error::other("its head is too long"));
        }
        more(stream, buf).await.map_err(|error| if begun { cut_off(error) } else { error })?;
        begun = true;
    }
}

/// The error for an answer that has begun: the server has done what it was asked, and is not to be asked again.
fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset => io::Error::new(io::ErrorKind::UnexpectedEof, error),
        _ => error,
    }
}

async fn body(stream: &mut BoxedStream, buf: &mut BytesMut, length: Length, max: usize) -> io::Result<Bytes> {
    match length {
        Length::Known(length) if length > max => Err(io::Error::other("its answer is too long")),
        Length::Known(length) => {
            fill(stream, buf, length).await?;
            Ok(buf.split_to(length).freeze())
        }
        Length::Chunked => chunks(stream, buf, max).await,
        Length::UntilTheEnd => {
            while stream.read_buf(buf).await? > 0 {
                if buf.len() > max {
                    return Err(io::Error::other("its answer is too long"));
                }
            }
            Ok(buf.split().freeze())
        }
    }
}

async fn more(stream: &mut BoxedStream, buf: &mut BytesMut) -> io::Result<()> {
    match stream.read_buf(buf).await? {
        0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the server closed the connection")),
        _ => Ok(()),
    }
}

async fn fill(stream: &mut BoxedStream, buf: &mut BytesMut, length: usize) -> io::Result<()> {
    while buf.len() < length {
        more(stream, buf).await?;
    }
    Ok(())
}

async fn chunks(stream: &mut BoxedStream, buf: &mut BytesMut, max: usize) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line = next_line(stream, buf).await?;
        let digits = std::str::from_utf8(&line).unwrap_or_default();
        let digits = digits.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| io::Error::other("a chunk without a length"))?;
        if length == 0 {
            trailers(stream, buf).await?;
            return Ok(body.freeze());
        }
        if length > max.saturating_sub(body.len()) {
            return Err(io::Error::other("its answer is too long"));
        }
        fill(stream, buf, length + 2).await?;
        body.extend_from_slice(&buf.split_to(length));
        buf.advance(2);
    }
}

/// Reads what may follow the last chunk, to the empty line: the next answer begins behind it.
async fn trailers(stream: &mut BoxedStream, buf: &mut BytesMut) -> io::Result<()> {
    for _ in 0..=MAX_HEADERS {
        if next_line(stream, buf).await?.is_empty() {
            return Ok(());
        }
    }
    Err(io::Error::other("too many trailers"))
}

async fn next_line(stream: &mut BoxedStream, buf: &mut BytesMut) -> io::Result<BytesMut> {
    loop {
        match buf.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => {
                let line = buf.split_to(end);
                buf.advance(2);
                return Ok(line);
            }
            None if buf.len() > MAX_HEAD => return Err(io::Error::other("a line that does not end")),
            None => more(stream, buf).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(url: &str) -> Requests {
        Requests::new(&Address::parse(url).expect("a URL"), &TlsOptions::default(), 100)
    }

    async fn answer(text: &'static [u8]) -> io::Result<(u16, Bytes)> {
        let (near, mut far) = tokio::io::duplex(64);
        tokio::spawn(async move { far.write_all(text).await });
        let mut requests = requests("http://h");
        let response = requests.read(Box::new(near), BytesMut::new()).await?;
        Ok((response.status, response.body))
    }

    #[tokio::test]
    async fn answers_are_read_however_their_length_is_told() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hi\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            let (status, body) = answer(text).await.expect("an answer");
            assert_eq!((status, &body[..]), (200, &b"hello"[..]));
        }
    }

    #[tokio::test]
    async fn trailers_are_no_part_of_the_next_answer() {
        let (near, mut far) = tokio::io::duplex(1_024);
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\nZ: z\r\n\r\n\
             HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi";
        far.write_all(text.as_bytes()).await.expect("there is room");
        let mut requests = requests("http://h");
        let first = requests.read(Box::new(near), BytesMut::new()).await.expect("an answer");
        let (stream, buf) = requests.kept.take().expect("it is kept");
        let second = requests.read(stream, buf).await.expect("another one");
        assert_eq!((first.status, &first.body[..]), (200, &b"hello"[..]));
        assert_eq!((second.status, &second.body[..]), (404, &b"hi"[..]));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_meanwhile_is_not_used_again() {
        for body in [None, Some(&b"1"[..])] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
            let mut requests = requests(&format!("http://{}", listener.local_addr().expect("it is bound")));
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a new connection");
                assert_ne!(stream.read(&mut [0; 1_024]).await.expect("a request"), 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
            });
            let (near, far) = tokio::io::duplex(1_024);
            drop(far);
            requests.kept = Some((Box::new(near), BytesMut::new()));
            let response = requests.send("/", body).await;
            assert_eq!(response.map(|response| response.status), Ok(200), "{body:?}");
        }
    }

    #[tokio::test]
    async fn what_was_answered_in_part_is_not_asked_again() {
        for (text, asked_again) in [
            (&b""[..], true),
            (b"HTTP/1.1 200", false),
            (b"HTTP/1.1 100 Continue\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", false),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ] {
            // Nobody answers there: who asks again comes to know.
            let mut requests = requests("http://127.0.0.1:1");
            let (near, mut far) = tokio::io::duplex(1_024);
            tokio::spawn(async move {
                assert_ne!(far.read(&mut [0; 1_024]).await.expect("a request"), 0);
                far.write_all(text).await
            });
            requests.kept = Some((Box::new(near), BytesMut::new()));
            let error = requests.send("/", None).await.err();
            assert_eq!(matches!(error, Some(ClientError::Unreachable { .. })), asked_again, "{text:?}: {error:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for text in [
            &b"hello"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
            b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"",
        ] {
            assert!(answer(text).await.is_err(), "{text:?}");
        }
    }
}
