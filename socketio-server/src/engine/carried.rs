//! A poll or a post of a client whose session another server has, answered here: see [`strangers`](super::strangers).

use bytes::Bytes;
use futures_util::future::OptionFuture;
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use socketio_protocol::engine::{HandshakeError, Packet, PayloadEncoder, Query, Version, decode_payload, jsonp};

use super::connection::PollBody;
use super::engine::Shared;
use super::frame::Frame;
use super::http::{Body, BoxError, HTML, empty, poll_response, response};

impl Shared {
    /// Carries a request of a client whose session another server has.
    pub(super) async fn carry<B>(
        &self,
        request: &http::Request<()>,
        body: B,
        sid: String,
        query: &Query<'_>,
    ) -> Result<Response<Body>, HandshakeError>
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let Some(strangers) = self.strangers.get() else { return Err(HandshakeError::UnknownSid { sid }) };
        if *request.method() == Method::GET {
            let Some(packets) = strangers.poll(&sid).await else { return Err(HandshakeError::UnknownSid { sid }) };
            let mut payload = PayloadEncoder::new(Version::V4, query.b64());
            for packet in packets {
                match packet {
                    Packet::Message(message) => Frame::message(message).write_payload(&mut payload),
                    packet => Frame::control(&packet).write_payload(&mut payload),
                }
            }
            let body = PollBody { body: payload.finish(), compress: true };
            return Ok(poll_response(&self.config, body, query.j(), request).await);
        }
        let Some(post) = strangers.post(&sid).await else { return Err(HandshakeError::UnknownSid { sid }) };
        let body = match self.read_body(body).await {
            Ok(body) => body,
            Err(status) => return Ok(empty(status)),
        };
        let body = if query.j().is_some() { jsonp::unwrap(&body).map(Bytes::from) } else { Some(body) };
        let mut sent = Vec::new();
        for packet in body
            .into_iter()
            .flat_map(|body| decode_payload(Version::V4, false, body, self.config.max_packets_per_payload))
        {
            match packet {
                Ok(packet) => sent.push(post.send(packet)),
                Err(_) => return Ok(empty(StatusCode::BAD_REQUEST)),
            }
        }
        // What the client sends next may come by another server, and must not overtake this.
        for sent in sent {
            let Some(Ok(())) = OptionFuture::from(sent).await else {
                return Ok(empty(StatusCode::SERVICE_UNAVAILABLE));
            };
        }
        Ok(response(&HTML, Bytes::from_static(b"ok")))
    }
}
