//! What passes in the stream of servers with the streams adapter.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use socketio_protocol::{
    Bytes,
    cluster::{BusError, BusStatus},
};
use socketio_redis_client::{Redis, resp::Reply};

use super::{Desk, News, Passed, Watch};
use crate::{
    args::Settings,
    connect::{self, Questions, text},
    failure::Failure,
    family, told,
};

/// How long Redis holds a read back when there is nothing.
const BLOCK_MS: &str = "1000";

/// How long is waited before Redis is looked for again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn start(settings: &Settings, watch: &Watch, desk: Arc<Desk>) -> Result<String, Failure> {
    // It tells in good words, and in time, why there is no way.
    Questions::open(settings, settings.timeout).await?;
    let place = Redis::at(connect::address(settings)?);
    let streams = family::streams(settings, watch.all_namespaces);
    for stream in &streams {
        // In a cluster each has a server of its own.
        let mut redis = Questions::of_key(&place, stream).await?;
        let newest = last(&mut redis, stream).await?;
        let position = match watch.since {
            Some(since) => {
                let then = SystemTime::now().checked_sub(since).unwrap_or(UNIX_EPOCH);
                let milliseconds = then.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                // Behind everything that was added before.
                format!("{}-18446744073709551615", milliseconds.saturating_sub(1))
            }
            None => newest,
        };
        let nsp = (!watch.all_namespaces).then(|| settings.nsp.clone());
        let reader = Reader { nsp, stream: stream.clone(), position, desk: desk.clone() };
        tokio::spawn(reader.run(redis, place.clone()));
    }
    Ok(format!("the stream {}", streams.join(", ")))
}

/// The newest entry.
async fn last(redis: &mut Questions, stream: &str) -> Result<String, Failure> {
    match redis.ask(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]).await? {
        Reply::Array(entries) => Ok(entries.first().and_then(id_of).unwrap_or_else(|| "0-0".to_owned())),
        Reply::Error(reason) => {
            let tip = format!("the user has to be allowed to read it: ACL SETUSER <user> +@read ~{stream}");
            Err(Failure::new(crate::failure::code::FAILED, "Redis refuses to let us read").cause(reason).tip(tip))
        }
        _ => Ok("0-0".to_owned()),
    }
}

fn id_of(entry: &Reply) -> Option<String> {
    match entry {
        Reply::Array(parts) => parts.first().and_then(text),
        _ => None,
    }
}

struct Reader {
    /// The namespace, if it is not all.
    nsp: Option<String>,
    stream: String,
    /// The last entry that was read.
    position: String,
    desk: Arc<Desk>,
}

impl Reader {
    async fn run(mut self, mut redis: Questions, place: Redis) {
        loop {
            let away = match self.read(&mut redis).await {
                Ok(()) => continue,
                Err(reason) => reason,
            };
            self.desk.tell(News::Status(BusStatus::Down { error: BusError::Unreachable { reason: away } }));
            redis = loop {
                tokio::time::sleep(PAUSE).await;
                if let Ok(redis) = Questions::of_key(&place, &self.stream).await {
                    break redis;
                }
            };
            // A stream keeps what was added meanwhile: nothing is missing.
            self.desk.tell(News::Status(BusStatus::Up));
        }
    }

    async fn read(&mut self, redis: &mut Questions) -> Result<(), String> {
        let words = ["XREAD", "COUNT", "100", "BLOCK", BLOCK_MS, "STREAMS", &self.stream, &self.position];
        let answer = redis.ask(&words).await.map_err(|failure| failure.in_a_line())?;
        let streams = match answer {
            Reply::Array(streams) => streams,
            Reply::Bulk(None) => return Ok(()),
            other => return Err(format!("{other:?}")),
        };
        for stream in streams {
            let Reply::Array(parts) = stream else { continue };
            let Some(Reply::Array(entries)) = parts.into_iter().nth(1) else { continue };
            entries.into_iter().for_each(|entry| self.entry(&entry));
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Reply) {
        let Reply::Array(parts) = entry else { return };
        let (Some(id), Some(Reply::Array(fields))) = (parts.first().and_then(text), parts.get(1)) else { return };
        self.position.clone_from(&id);
        let bytes: Vec<&Bytes> = fields
            .iter()
            .filter_map(|field| if let Reply::Bulk(Some(bytes)) = field { Some(bytes) } else { None })
            .collect();
        let pairs: Vec<(&[u8], &[u8])> =
            bytes.chunks_exact(2).filter_map(|pair| Some((&pair.first()?[..], &pair.get(1)?[..]))).collect();
        let told = match told::of_entry(&pairs) {
            Ok(Some(told)) => Ok(told),
            Ok(None) => return,
            Err(error) => Err((error.to_string(), bytes.iter().flat_map(|bytes| bytes.iter().copied()).collect())),
        };
        if let (Ok(told), Some(nsp)) = (&told, &self.nsp)
            && told.nsp != *nsp
        {
            return;
        }
        let milliseconds = id.split('-').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        let at = UNIX_EPOCH + Duration::from_millis(milliseconds);
        self.desk.tell(News::Passed(Box::new(Passed { at, place: self.stream.clone(), id: Some(id), told })));
    }
}
