//! A poll or a post of a client whose session another server has, answered here: see [`strangers`](super::strangers).

use bytes::Bytes;
use http::{Method, StatusCode};
use socketio_protocol::engine::{HandshakeError, Packet, PayloadEncoder, Query, Version, decode_payload, jsonp};

use super::answer::Answer;
use super::body::ReadBody;
use super::connection::PollBody;
use super::engine::Shared;
use super::frame::Frame;
use super::head::Head;
use super::http::{HTML, poll_answer};

impl Shared {
    /// Carries a request of a client whose session another server has.
    pub(super) async fn carry(
        &self,
        head: &Head<'_>,
        body: impl ReadBody,
        sid: String,
        query: &Query<'_>,
    ) -> Result<Answer, HandshakeError> {
        let Some(strangers) = self.strangers.get() else { return Err(HandshakeError::UnknownSid { sid }) };
        if head.method == Method::GET {
            let Some(packets) = strangers.poll(&sid).await else { return Err(HandshakeError::UnknownSid { sid }) };
            let mut payload = PayloadEncoder::new(Version::V4, query.b64());
            for packet in packets {
                match packet {
                    Packet::Message(message) => Frame::message(message).write_payload(&mut payload),
                    packet => Frame::control(&packet).write_payload(&mut payload),
                }
            }
            let body = PollBody { body: payload.finish(), compress: true };
            return Ok(poll_answer(&self.config, body, query.j(), head).await);
        }
        let Some(post) = strangers.post(&sid).await else { return Err(HandshakeError::UnknownSid { sid }) };
        if head.method != Method::POST {
            return Ok(Answer::empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        let body = match body.read(&self.config).await {
            Ok(body) => body,
            Err(status) => return Ok(Answer::unread(status)),
        };
        let body = if query.j().is_some() { jsonp::unwrap(&body).map(Bytes::from) } else { Some(body) };
        let packets: Result<Vec<_>, _> = body
            .into_iter()
            .flat_map(|body| decode_payload(Version::V4, false, body, self.config.max_packets_per_payload))
            .collect();
        let Ok(packets) = packets else { return Ok(Answer::empty(StatusCode::BAD_REQUEST)) };
        let mut sent = Vec::new();
        for packet in packets {
            // Nothing is sent on behind what is lost.
            let Some(published) = post.send(packet) else { return Ok(Answer::empty(StatusCode::SERVICE_UNAVAILABLE)) };
            sent.push(published);
        }
        // What the client sends next may come by another server, and must not overtake this.
        for published in sent {
            if published.await.is_err() {
                return Ok(Answer::empty(StatusCode::SERVICE_UNAVAILABLE));
            }
        }
        Ok(Answer::content(&HTML, Bytes::from_static(b"ok")))
    }
}
