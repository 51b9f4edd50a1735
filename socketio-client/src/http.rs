//! As much of HTTP/1.1 as a client of Engine.IO needs: one request after the other on a connection that is kept.

use std::io;

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
        if let Some((mut stream, buf)) = self.kept.take() {
            // A server may have closed it meanwhile: then, and only when nothing has been answered, it is asked anew.
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
        let body = match head.length {
            Length::Known(length) if length > self.max_body => return Err(io::Error::other("its answer is too long")),
            Length::Known(length) => {
                fill(&mut stream, &mut buf, length).await?;
                buf.split_to(length).freeze()
            }
            Length::Chunked => chunks(&mut stream, &mut buf, self.max_body).await?,
            Length::UntilTheEnd => {
                while stream.read_buf(&mut buf).await? > 0 {
                    if buf.len() > self.max_body {
                        return Err(io::Error::other("its answer is too long"));
                    }
                }
                buf.split().freeze()
            }
        };
        if head.keeps && head.length != Length::UntilTheEnd {
            self.kept = Some((stream, buf));
        }
        Ok(Response { status: head.status, body })
    }
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

/// Reads a head; what follows it stays in `buf`.
pub(crate) async fn head(stream: &mut BoxedStream, buf: &mut BytesMut) -> io::Result<Head> {
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
                    "content-length" => {
                        read.length =
                            Length::Known(value.parse().map_err(|_| io::Error::other("a length that is none"))?);
                    }
                    "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => read.length = Length::Chunked,
                    "connection" if value.eq_ignore_ascii_case("close") => read.keeps = false,
                    "sec-websocket-accept" => read.accept = Some(value.to_owned()),
                    _ => {}
                }
            }
            if matches!(status, 100..=199 | 204 | 304) {
                read.length = Length::Known(0);
            }
            buf.advance(length);
            return Ok(read);
        }
        if buf.len() > MAX_HEAD {
            return Err(io::Error::other("its head is too long"));
        }
        more(stream, buf).await?;
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
        let end = loop {
            match buf.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => break end,
                None if buf.len() > MAX_HEAD => return Err(io::Error::other("a chunk without a length")),
                None => more(stream, buf).await?,
            }
        };
        let line = buf.split_to(end);
        buf.advance(2);
        let digits = std::str::from_utf8(&line).unwrap_or_default();
        let digits = digits.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| io::Error::other("a chunk without a length"))?;
        if length > max.saturating_sub(body.len()) {
            return Err(io::Error::other("its answer is too long"));
        }
        fill(stream, buf, length + 2).await?;
        body.extend_from_slice(&buf.split_to(length));
        buf.advance(2);
        if length == 0 {
            return Ok(body.freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(text: &'static [u8]) -> io::Result<(u16, Bytes)> {
        let (near, mut far) = tokio::io::duplex(64);
        tokio::spawn(async move { far.write_all(text).await });
        let address = Address::parse("http://h").expect("a URL");
        let mut requests = Requests::new(&address, &TlsOptions::default(), 100);
        let response = requests.read(Box::new(near), BytesMut::new()).await?;
        Ok((response.status, response.body))
    }

    #[tokio::test]
    async fn answers_are_read_however_their_length_is_told() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            let (status, body) = answer(text).await.expect("an answer");
            assert_eq!((status, &body[..]), (200, &b"hello"[..]));
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
            b"",
        ] {
            assert!(answer(text).await.is_err(), "{text:?}");
        }
    }
}
