//! Reaching Redis in time.
//!
//! [`connect`] is for who publishes, [`Questions`] for who wants to know something of Redis. Both take any URL that
//! `socketio-redis-client` reads.

use std::{
    fs::File,
    io,
    path::Path,
    time::{Duration, Instant},
};

use socketio_emitter::{Builder, EmitError, Emitter};
use socketio_redis_client::{Address, ConnectError, Link, Redis, TlsOptions, resp::Reply};

use crate::{args::Settings, failure::Failure, family, output};

/// How much time and how many attempts are left to a command.
pub(crate) struct Patience {
    deadline: Instant,
    retries: u32,
    pause: Duration,
    /// Whether what may have been sent is sent again.
    twice: bool,
}

impl Patience {
    pub(crate) fn new(settings: &Settings) -> Patience {
        let deadline = Instant::now() + settings.timeout;
        Patience { deadline, retries: settings.retries, pause: Duration::from_millis(100), twice: settings.retry_sent }
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before another attempt, longer each time. `false` when there is none.
    pub(crate) async fn again(&mut self, after: &EmitError) -> bool {
        let may_be = after.is_transient() || self.twice && after.may_have_been_sent();
        if !may_be || self.retries == 0 || self.pause >= self.left() {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.retries -= 1;
        self.pause = (self.pause * 2).min(Duration::from_secs(1));
        true
    }
}

/// Connects; tries again as often and as long as may be.
pub(crate) async fn connect(settings: &Settings, patience: &mut Patience) -> Result<Emitter, Failure> {
    let started = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match builder(settings)?.timeout(patience.left()).connect().await {
            Ok(emitter) => {
                if settings.verbose > 0 {
                    let took = started.elapsed().as_secs_f64() * 1_000.0;
                    output::detail(format!("connected to {} in {took:.1} ms", emitter.address()));
                }
                return Ok(emitter);
            }
            Err(error) => error,
        };
        if settings.verbose > 0 {
            output::detail(format!("attempt {attempts}: {error}"));
        }
        if !patience.again(&error).await {
            let took = output::duration(started.elapsed());
            let mut failure = Failure::from(error);
            if attempts > 1 {
                failure.cause = failure.cause.map(|cause| format!("{cause} (tried {attempts} times in {took})"));
            }
            return Err(failure);
        }
    }
}

/// An emitter as the settings say.
pub(crate) fn builder(settings: &Settings) -> Result<Builder, Failure> {
    let builder = Emitter::builder(&settings.url).key(&settings.key).tls(tls(settings)?);
    Ok(family::choose(builder.requests_timeout(settings.timeout), settings))
}

/// How to trust, and who we are. What cannot be read is told before anybody is called.
pub(crate) fn tls(settings: &Settings) -> Result<TlsOptions, Failure> {
    let mut options = TlsOptions::default();
    if let Some(ca) = &settings.cacert {
        readable(ca)?;
        options.ca = Some(ca.clone());
    }
    if let [cert, key] = &settings.cert[..] {
        readable(cert)?;
        readable(key)?;
        options.identity = Some((cert.clone(), key.clone()));
    }
    Ok(options)
}

fn readable(file: &Path) -> Result<(), Failure> {
    let opened = File::open(file)
        .and_then(|file| if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) });
    opened.map_err(|error| Failure::usage(format!("cannot read {}", file.display())).cause(error))
}

/// Where Redis is.
pub(crate) fn address(settings: &Settings) -> Result<Address, Failure> {
    let address = whole(&settings.url).parse::<Address>().map_err(|error| Failure::from(in_our_words(error)))?;
    Ok(address.with_tls(tls(settings)?))
}

/// The URL with its scheme, which may be left out.
pub(crate) fn whole(url: &str) -> String {
    if url.contains("://") || url.starts_with("unix:") { url.to_owned() } else { format!("redis://{url}") }
}

/// A link on which Redis is asked about itself.
pub(crate) struct Questions(Link);

impl Questions {
    pub(crate) async fn open(settings: &Settings, within: Duration) -> Result<Questions, Failure> {
        Questions::at(&address(settings)?, within).await
    }

    pub(crate) async fn at(address: &Address, within: Duration) -> Result<Questions, Failure> {
        let link = Link::open(address, env!("CARGO_PKG_NAME"), within).await;
        link.map(Questions).map_err(|error| in_our_words(error).into())
    }

    /// At the server that has `key`, in a cluster.
    pub(crate) async fn of_key(redis: &Redis, key: &str) -> Result<Questions, Failure> {
        let link = redis.open(key, env!("CARGO_PKG_NAME")).await;
        link.map(Questions).map_err(|error| in_our_words(error).into())
    }

    /// At the server, or at each node of a cluster that answers.
    pub(crate) async fn of_each(redis: &Redis) -> Result<Vec<Questions>, Failure> {
        let links = redis.open_each(env!("CARGO_PKG_NAME")).await.map_err(in_our_words)?;
        Ok(links.into_iter().map(Questions).collect())
    }

    /// What Redis answers to a command.
    pub(crate) async fn ask(&mut self, words: &[&str]) -> Result<Reply, Failure> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let answer = self.0.ask(&words).await;
        answer.map_err(|error| EmitError::Unanswered { reason: error.to_string() }.into())
    }

    pub(crate) async fn publish(&mut self, channel: &str, payload: &[u8]) -> Result<Reply, Failure> {
        let answer = self.0.ask(&[b"PUBLISH", channel.as_bytes(), payload]).await;
        answer.map_err(|error| EmitError::Unanswered { reason: error.to_string() }.into())
    }

    /// The texts of a list; none if Redis says anything else.
    pub(crate) async fn list(&mut self, words: &[&str]) -> Vec<String> {
        match self.ask(words).await {
            Ok(Reply::Array(parts)) => parts.iter().filter_map(text).collect(),
            _ => Vec::new(),
        }
    }

    /// How many subscribe to a channel, as `PUBSUB NUMSUB` or `SHARDNUMSUB` says.
    pub(crate) async fn subscribers(&mut self, how: &str, channel: &str) -> u64 {
        match self.ask(&["PUBSUB", how, channel]).await {
            Ok(Reply::Array(parts)) => match parts.get(1) {
                Some(Reply::Integer(count)) => u64::try_from(*count).unwrap_or_default(),
                _ => 0,
            },
            _ => 0,
        }
    }
}

/// The text of a reply that is one.
pub(crate) fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Bulk(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Reply::Status(text) => Some(text.clone()),
        Reply::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn in_our_words(error: ConnectError) -> EmitError {
    let unreachable = |address, reason| EmitError::Unreachable { address, reason, attempts: 1 };
    match error {
        ConnectError::Unreachable { address, reason } => unreachable(address, reason),
        ConnectError::Timeout { address, after } => {
            unreachable(address, format!("no answer within {}", output::duration(after)))
        }
        ConnectError::Auth { address, reason } => EmitError::Auth { address, reason },
        ConnectError::Loading { reason, .. } => EmitError::Loading { reason },
        ConnectError::Url { reason } => EmitError::Url { url: "--url".to_owned(), reason },
        ConnectError::Refused { reason, .. } => EmitError::Refused { reason },
        other => EmitError::Refused { reason: other.to_string() },
    }
}
