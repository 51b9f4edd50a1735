//! What Redis keeps for clients that come back: the entries of a stream, and sessions under keys of their own.

use std::time::Duration;

use socketio_protocol::cluster::{
    Answer, BusError, Envelope, KeptSession, Log, Offset,
    streams::{self, Channels},
};
use socketio_redis_client::resp::Reply;

use crate::{
    shared::Shared,
    stream_reader::{offset, pairs},
    streams::StreamOptions,
};

/// So many entries are read at once.
const PAGE: &str = "1000";

/// The log of one namespace.
pub(crate) struct StreamLog {
    shared: Shared,
    stream: String,
    channels: Channels,
    session_prefix: String,
    sharded_pub_sub: bool,
}

impl StreamLog {
    pub(crate) fn new(shared: &Shared, options: &StreamOptions, stream: &str, channels: Channels) -> StreamLog {
        StreamLog {
            shared: shared.clone(),
            stream: stream.to_owned(),
            channels,
            session_prefix: options.session_prefix.clone(),
            sharded_pub_sub: options.sharded_pub_sub,
        }
    }

    async fn page(&self, from: &str, to: &str) -> Result<Vec<Reply>, BusError> {
        let question =
            [&b"XRANGE"[..], self.stream.as_bytes(), from.as_bytes(), to.as_bytes(), b"COUNT", PAGE.as_bytes()];
        match self.shared.publisher.call(&question).await? {
            Reply::Array(entries) => Ok(entries),
            _ => Err(odd()),
        }
    }

    async fn is_there(&self, place: Offset) -> Result<bool, BusError> {
        let place = place.to_string();
        Ok(!self.page(&place, &place).await?.is_empty())
    }

    /// The place of an entry, and what it says to this namespace.
    fn read(&self, entry: &Reply) -> Result<(Offset, Option<Envelope>), BusError> {
        let Reply::Array(pair) = entry else { return Err(odd()) };
        let [Reply::Bulk(Some(id)), fields] = pair.as_slice() else { return Err(odd()) };
        let at = offset(id).map_err(|_| odd())?;
        let Reply::Array(fields) = fields else { return Ok((at, None)) };
        let here = |nsp: &str| (nsp == self.channels.nsp()).then_some("");
        // What cannot be read was passed over by all who read it when it came.
        Ok((at, streams::decode_entry(pairs(fields), here).unwrap_or_default()))
    }

    fn key(&self, pid: &str) -> String {
        format!("{}{pid}", self.session_prefix)
    }
}

impl Log for StreamLog {
    fn between(&self, from: Offset, to: Offset) -> Answer<'_, Option<Vec<(Offset, Envelope)>>> {
        Box::pin(async move {
            if !self.is_there(from).await? {
                return Ok(None);
            }
            let (mut next, end) = (from.next(), to.to_string());
            let mut found = Vec::new();
            while next <= to {
                let entries = self.page(&next.to_string(), &end).await?;
                if entries.is_empty() {
                    break;
                }
                for entry in &entries {
                    let (at, envelope) = self.read(entry)?;
                    next = at.next();
                    found.extend(envelope.map(|envelope| (at, envelope)));
                }
            }
            // As long as the first is there, none of the others was trimmed meanwhile.
            Ok(self.is_there(from).await?.then_some(found))
        })
    }

    fn save(&self, session: &KeptSession, keep: Duration, renew: bool) {
        let Ok(value) = session.encode() else { return };
        let (key, keep) = (self.key(&session.pid), keep.as_millis().max(1).to_string());
        let mut parts = vec![&b"SET"[..], key.as_bytes(), value.as_bytes(), b"PX", keep.as_bytes()];
        if renew {
            parts.push(b"XX");
        }
        if let Err(error) = self.shared.publisher.send(&parts).map(drop) {
            tracing::warn!(%error, "a session is not kept");
        }
    }

    fn load<'a>(&'a self, pid: &'a str) -> Answer<'a, Option<KeptSession>> {
        Box::pin(async move {
            match self.shared.publisher.call(&[b"GET", self.key(pid).as_bytes()]).await? {
                Reply::Bulk(None) => Ok(None),
                Reply::Bulk(Some(kept)) => KeptSession::decode(&kept)
                    .map(Some)
                    .map_err(|error| BusError::Refused { reason: error.to_string() }),
                _ => Err(odd()),
            }
        })
    }

    fn take<'a>(&'a self, pid: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let taken = self.shared.publisher.call(&[b"DEL", self.key(pid).as_bytes()]).await?;
            Ok(taken == Reply::Integer(1))
        })
    }

    fn forget(&self, pid: &str) {
        let _ = self.shared.publisher.send(&[b"DEL", self.key(pid).as_bytes()]).map(drop); // It ends by itself.
    }

    fn is_alive<'a>(&'a self, uid: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let channel = streams::answers_to(&self.channels, uid);
            Ok(self.shared.count(&channel, self.sharded_pub_sub).await? > 0)
        })
    }
}

fn odd() -> BusError {
    BusError::Refused { reason: "it does not answer as Redis does".into() }
}
