//! Reading the body of a POST, neither too long nor too slow.
//!
//! The limits of time hold here, and not in the server that accepts connections, so that they hold inside any.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as HttpBody;
use socketio_protocol::engine::TransportKind;
use tokio::time::{Instant, Sleep, sleep_until};

use super::config::EngineConfig;
use super::http::BoxError;

/// The body of a POST, before it is known whole.
pub(crate) trait ReadBody: Send {
    /// The whole body, if it is neither too long nor too slow; else with which status to refuse it.
    fn read(self, config: &EngineConfig) -> impl Future<Output = Result<Bytes, StatusCode>> + Send;
}

/// A body as hyper hands it over.
pub(super) struct Streamed<B>(pub(super) B);

impl<B> ReadBody for Streamed<B>
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn read(self, config: &EngineConfig) -> Result<Bytes, StatusCode> {
        let max = config.max_payload(TransportKind::Polling);
        if self.0.size_hint().lower() > max as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        BodyReader::new(config, max).read(self.0).await
    }
}

/// A body that has come with its head.
impl ReadBody for Bytes {
    async fn read(self, config: &EngineConfig) -> Result<Bytes, StatusCode> {
        let fits = self.len() <= config.max_payload(TransportKind::Polling);
        if fits { Ok(self) } else { Err(StatusCode::PAYLOAD_TOO_LARGE) }
    }
}

/// Reads one body within its limits.
pub(super) struct BodyReader {
    max: usize,
    timeout: Duration,
    grace: Duration,
    /// Bytes per second.
    rate: usize,
}

impl BodyReader {
    pub(super) fn new(config: &EngineConfig, max: usize) -> Self {
        Self { max, timeout: config.body_timeout, grace: config.body_grace, rate: config.min_body_rate }
    }

    /// The whole body, or with which status to refuse it. What is over the limit is not read.
    pub(super) async fn read<B: HttpBody>(&self, body: B) -> Result<Bytes, StatusCode> {
        let start = Instant::now();
        let mut body = pin!(body);
        let mut read = BytesMut::new();
        let mut timer = None;
        loop {
            let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                // Most bodies come whole: they need no timer.
                Poll::Pending => {
                    let timer: &mut Pin<Box<Sleep>> =
                        timer.get_or_insert_with(|| Box::pin(sleep_until(self.deadline(start, read.len()))));
                    timer.as_mut().poll(cx).map(|()| Err(StatusCode::REQUEST_TIMEOUT))
                }
            });
            let data = match frame.await? {
                None => return Ok(read.freeze()),
                Some(Err(_)) => return Err(StatusCode::BAD_REQUEST),
                Some(Ok(frame)) => frame.into_data(),
            };
            let Ok(mut data) = data else { continue }; // Trailers say nothing here.
            if data.remaining() > self.max - read.len() {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            if read.is_empty() && body.is_end_stream() {
                return Ok(data.copy_to_bytes(data.remaining())); // In one piece: nothing is copied.
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                read.extend_from_slice(chunk);
                let taken = chunk.len();
                data.advance(taken);
            }
            if let Some(timer) = &mut timer {
                timer.as_mut().reset(self.deadline(start, read.len()));
            }
        }
    }

    /// Until when the next bytes have to come.
    fn deadline(&self, start: Instant, read: usize) -> Instant {
        let whole = start + self.timeout;
        match (read as u64).saturating_mul(1000).checked_div(self.rate as u64) {
            Some(millis) => whole.min(start + self.grace + Duration::from_millis(millis)),
            None => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};

    fn reader() -> BodyReader {
        BodyReader::new(&EngineConfig::default(), 20_000)
    }

    /// A body of pieces, each after a pause.
    fn slow(pieces: usize, len: usize, pause: Duration) -> impl HttpBody<Data = Bytes, Error = std::io::Error> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..pieces {
                tokio::time::sleep(pause).await;
                if sender.send(Bytes::from(vec![b'x'; len])).await.is_err() {
                    return;
                }
            }
        });
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (Ok(http_body::Frame::data(piece)), receiver))
        });
        StreamBody::new(pieces).boxed_unsync()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_come_at_a_thousand_bytes_a_second_after_five_seconds_and_within_thirty() {
        let second = Duration::from_secs(1);
        for (pieces, len, pause, expected) in [
            (4, 1, second, Ok(4)),                                   // slow, but done before anybody looks
            (10, 1, second, Err(StatusCode::REQUEST_TIMEOUT)),       // a trickle
            (12, 999, second, Ok(11_988)),                           // just under the rate: the grace carries it
            (20, 990, second * 2, Err(StatusCode::REQUEST_TIMEOUT)), // at half the rate
            (40, 300, second / 2, Err(StatusCode::REQUEST_TIMEOUT)), // pieces that come often, too small
        ] {
            let read = reader().read(slow(pieces, len, pause)).await.map(|body| body.len());
            assert_eq!(read, expected, "{pieces} pieces of {len} bytes, one each {pause:?}");
        }
        let patient = BodyReader { rate: 0, ..reader() };
        let read = patient.read(slow(29, 1, second)).await.map(|body| body.len());
        assert_eq!(read, Ok(29), "without a rate only the whole counts");
        let read = patient.read(slow(31, 1, second)).await.map(|body| body.len());
        assert_eq!(read, Err(StatusCode::REQUEST_TIMEOUT));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_in_one_piece_and_in_many() {
        let whole = reader().read(Full::new(Bytes::from(vec![0; 20_000]))).await.map(|body| body.len());
        assert_eq!(whole, Ok(20_000));
        let whole = reader().read(Full::new(Bytes::from(vec![0; 20_001]))).await;
        assert_eq!(whole, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let pieces = reader().read(slow(21, 1_000, Duration::ZERO)).await;
        assert_eq!(pieces, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
