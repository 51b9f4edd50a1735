//! `doctor`: what is wrong between here and the servers.
//!
//! Each check has a verdict in a line, and a tip where something can be done. They go from near to far, and end where the
//! way ends.

use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use socketio_protocol::cluster::classic::Channels;
use socketio_redis_client::resp::Reply;

use crate::{
    args::{Adapter, Settings},
    config,
    connect::{Questions, text},
    failure::{Failure, code},
    family, nobody, output,
};

mod answers;

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        }
    }

    fn style(self) -> Style {
        match self {
            Verdict::Ok => AnsiColor::Green.on_default(),
            Verdict::Warn => AnsiColor::Yellow.on_default().bold(),
            Verdict::Fail => AnsiColor::Red.on_default().bold(),
        }
    }
}

struct Report<'a> {
    settings: &'a Settings,
    worst: Verdict,
}

impl Report<'_> {
    fn say(&mut self, verdict: Verdict, check: &str, says: impl AsRef<str>, tip: Option<&str>) {
        self.worst = self.worst.max(verdict);
        let says = says.as_ref();
        if self.settings.json {
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let tip = tip.map(|tip| format!(r#","tip":{}"#, quoted(tip))).unwrap_or_default();
            let word = verdict.word().to_lowercase();
            output::line(format!(r#"{{"check":{check:?},"verdict":"{word}","says":{}{tip}}}"#, quoted(says)));
            return;
        }
        if self.settings.quiet && verdict == Verdict::Ok {
            return;
        }
        let style = verdict.style();
        output::line(format!("{style}{:<4}{style:#}  {check:<11}  {says}", verdict.word()));
        tip.iter().for_each(|tip| output::line(format!("{:<19}{}tip:{:#} {tip}", "", TIP, TIP)));
    }

    fn ok(&mut self, check: &str, says: impl AsRef<str>) {
        self.say(Verdict::Ok, check, says, None);
    }
}

const TIP: Style = AnsiColor::Cyan.on_default().bold();

/// One verdict, for who has checks of its own.
pub(crate) fn say(settings: &Settings, well: bool, check: &str, says: &str, tip: Option<&str>) {
    let mut report = Report { settings, worst: Verdict::Ok };
    report.say(if well { Verdict::Ok } else { Verdict::Fail }, check, says, tip);
}

pub(crate) async fn run(settings: &Settings) -> Result<u8, Failure> {
    let mut report = Report { settings, worst: Verdict::Ok };
    let Settings { key, nsp, .. } = settings;
    let adapter = family::name(settings);
    let from = |name| settings.sources.get(name).map_or("built in", String::as_str);
    report.ok("settings", format!("{} ({})", config::url(settings), from("url")));
    report.ok("", format!("adapter {adapter}, key {key:?}, namespace {nsp}"));
    let started = Instant::now();
    let mut redis = match Questions::open(settings, settings.timeout).await {
        Ok(redis) => redis,
        Err(failure) => {
            report.say(Verdict::Fail, "connection", failure.in_a_line(), failure.tip.as_deref());
            return Ok(failure.code);
        }
    };
    report.ok("connection", format!("let in after {:.1} ms", started.elapsed().as_secs_f64() * 1_000.0));
    server(&mut report, &mut redis).await;
    round_trip(&mut report, &mut redis).await?;
    publish(&mut report, &mut redis).await?;
    match settings.adapter {
        Adapter::Pubsub => pubsub(&mut report, &mut redis).await,
        Adapter::Sharded => sharded(&mut report, &mut redis).await,
        Adapter::Streams => stream(&mut report, &mut redis).await,
    }
    Ok(if report.worst == Verdict::Fail { code::FAILED } else { code::DONE })
}

/// What this Redis is.
async fn server(report: &mut Report<'_>, redis: &mut Questions) {
    let info = match redis.ask(&["INFO"]).await {
        Ok(Reply::Bulk(Some(info))) => String::from_utf8_lossy(&info).into_owned(),
        Ok(Reply::Error(reason)) => {
            return report.say(
                Verdict::Warn,
                "redis",
                format!("does not tell about itself: {reason}"),
                Some("not needed to emit; ACL SETUSER <user> +info lets it"),
            );
        }
        _ => return report.say(Verdict::Warn, "redis", "does not tell about itself", None),
    };
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let name = match (of("valkey_version"), of("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "Redis".to_owned(),
    };
    let clustered = of("cluster_enabled") == Some("1");
    let role = of("role").unwrap_or("master");
    let place = if clustered { "of a cluster" } else { "alone" };
    let clients = of("connected_clients")
        .and_then(|count| count.parse().ok())
        .map_or_else(|| "? clients".to_owned(), output::clients);
    let memory = of("used_memory_human").unwrap_or("?");
    report.ok("redis", format!("{name}, {role} {place}, {clients}, {memory} used"));
    if role != "master" {
        report.say(
            Verdict::Warn,
            "role",
            "this is a replica: what is published here reaches only who listens here",
            Some("give the address of its master, or redis+sentinel://"),
        );
    }
    if clustered && !report.settings.url.contains("cluster") {
        let tip = "write redis+cluster:// in the URL: sharded channels and streams live on one node each";
        report.say(Verdict::Warn, "cluster", "this is one node of a Redis Cluster", Some(tip));
    }
    if of("loading") == Some("1") {
        report.say(Verdict::Warn, "loading", "it is still reading its data", Some("try again in a moment"));
    }
    if report.settings.adapter == Adapter::Sharded && of("redis_version").and_then(major).is_some_and(|major| major < 7)
    {
        report.say(
            Verdict::Fail,
            "version",
            "sharded channels need Redis 7",
            Some("use the classic adapter: --adapter pubsub"),
        );
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// How long an answer takes.
async fn round_trip(report: &mut Report<'_>, redis: &mut Questions) -> Result<(), Failure> {
    let mut trips = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        redis.ask(&["PING"]).await?;
        trips.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    trips.sort_by(f64::total_cmp);
    let (median, longest) = (trips.get(10).copied().unwrap_or_default(), trips.last().copied().unwrap_or_default());
    let says = format!("20 pings: median {median:.2} ms, longest {longest:.2} ms");
    match median {
        slow if slow > SLOW_MS => report.say(
            Verdict::Warn,
            "latency",
            says,
            Some("Redis is far away or busy: look at SLOWLOG GET and INFO commandstats"),
        ),
        _ => report.ok("latency", says),
    }
    Ok(())
}

const SLOW_MS: f64 = 20.0;

/// Whether we may publish: a message is, where nobody listens.
async fn publish(report: &mut Report<'_>, redis: &mut Questions) -> Result<(), Failure> {
    let key = &report.settings.key;
    let channel = format!("{key}-doctor#");
    let (says, answer) = match report.settings.adapter {
        Adapter::Pubsub => ("PUBLISH is permitted", redis.ask(&["PUBLISH", &channel, ""]).await?),
        // Which node has it does not matter: MOVED is an answer of one who would permit it.
        Adapter::Sharded => ("SPUBLISH is permitted", redis.ask(&["SPUBLISH", &channel, ""]).await?),
        // Adds nothing: a stream that is not there is not made.
        Adapter::Streams => (
            "XADD is permitted",
            redis
                .ask(&[
                    "XADD",
                    &family::streams(report.settings, false).remove(0),
                    "NOMKSTREAM",
                    "MAXLEN",
                    "~",
                    "10000",
                    "0-0",
                    "doctor",
                    "1",
                ])
                .await?,
        ),
    };
    match answer {
        Reply::Error(reason) if reason.starts_with("NOPERM") => {
            let tip =
                format!("an administrator grants it: ACL SETUSER <user> +publish +spublish +xadd &{key}* ~{key}*");
            report.say(Verdict::Fail, "permission", reason, Some(&tip));
        }
        Reply::Error(reason) if reason.starts_with("READONLY") => {
            report.say(Verdict::Fail, "permission", reason, Some("give the address of its master"));
        }
        _ => report.ok("permission", says),
    }
    Ok(())
}

async fn pubsub(report: &mut Report<'_>, redis: &mut Questions) {
    let Settings { key, nsp, .. } = report.settings;
    let request = Channels::new(key, nsp).request().to_owned();
    let listening = redis.subscribers("NUMSUB", &request).await;
    if listening == 0 {
        let others = nobody::listeners(redis).await;
        let tip = match others.iter().next() {
            Some((other, found)) if other == key => format!("servers listen in namespace {found}: --nsp {found}"),
            Some((other, found)) if found == nsp => format!("servers listen with key {other:?}: --key {other}"),
            Some((other, found)) => {
                format!("servers listen with key {other:?} in namespace {found}: --key {other} --nsp {found}")
            }
            None => other_adapter(redis, key)
                .await
                .unwrap_or_else(|| "start a server that has this Redis as its adapter".to_owned()),
        };
        return report.say(Verdict::Fail, "servers", format!("nobody listens on {request}"), Some(&tip));
    }
    report.ok("servers", format!("{} on {request}", output::listen(listening)));
    let asked = answers::ask(report.settings, listening).await;
    match asked {
        Ok(answers::Answers { servers, took }) if servers >= listening => {
            report.ok("answers", format!("all answered within {:.1} ms", took.as_secs_f64() * 1_000.0));
        }
        Ok(answers::Answers { servers, .. }) => {
            let says = format!("{servers} of {listening} answered within {}", output::duration(answers::PATIENCE));
            let tip = "who does not is frozen, or older than version 8 of the adapter";
            report.say(Verdict::Warn, "answers", says, Some(tip));
        }
        Err(failure) => report.say(Verdict::Warn, "answers", failure.in_a_line(), failure.tip.as_deref()),
    }
    buffers(report, redis).await;
}

/// Whether servers with another kind of adapter are here.
async fn other_adapter(redis: &mut Questions, key: &str) -> Option<String> {
    if !redis.list(&["PUBSUB", "SHARDCHANNELS", &format!("{key}#/*")]).await.is_empty() {
        return Some("servers with the sharded adapter are here: --adapter sharded".to_owned());
    }
    match redis.ask(&["TYPE", key]).await {
        Ok(Reply::Status(kind)) if kind == "stream" => Some(format!("there is a stream {key}: --adapter streams")),
        _ => None,
    }
}

/// Redis cuts off who does not read fast enough.
async fn buffers(report: &mut Report<'_>, redis: &mut Questions) {
    let limits = redis.list(&["CONFIG", "GET", "client-output-buffer-limit"]).await;
    let Some(limit) = limits.get(1).and_then(|all| all.split("pubsub ").nth(1)) else { return };
    let words: Vec<u64> = limit.split(' ').take(3).filter_map(|word| word.parse().ok()).collect();
    if let [hard, _, _] = words[..]
        && hard != 0
        && hard < SMALL_BUFFER
    {
        let says = format!("a server that lags by {} is cut off", output::size(hard as usize));
        report.say(
            Verdict::Warn,
            "buffers",
            says,
            Some("CONFIG SET client-output-buffer-limit \"pubsub 33554432 8388608 60\""),
        );
    }
}

/// Less than what Redis has by default is asking for trouble.
const SMALL_BUFFER: u64 = 32 << 20;

async fn sharded(report: &mut Report<'_>, redis: &mut Questions) {
    let Settings { key, nsp, .. } = report.settings;
    let channel = Channels::new(key, nsp).broadcast(None).into_owned();
    let listening = redis.subscribers("SHARDNUMSUB", &channel).await;
    if listening > 0 {
        return report.ok("servers", format!("{} on {channel}", output::listen(listening)));
    }
    let found = redis.list(&["PUBSUB", "SHARDCHANNELS", "*#/*#"]).await;
    let tip = match found.first() {
        Some(other) => format!("there are listeners on {other}: look at --key and --nsp"),
        None => match redis.subscribers("NUMSUB", Channels::new(key, nsp).request()).await {
            1.. => "servers with the classic adapter are here: --adapter pubsub".to_owned(),
            0 => "start a server with the sharded adapter; in a cluster, its node may be another".to_owned(),
        },
    };
    report.say(Verdict::Fail, "servers", format!("nobody listens on {channel} (SSUBSCRIBE)"), Some(&tip));
}

async fn stream(report: &mut Report<'_>, redis: &mut Questions) {
    let key = family::streams(report.settings, false).remove(0);
    let length = match redis.ask(&["XLEN", &key]).await {
        Ok(Reply::Integer(length)) => length,
        Ok(Reply::Error(reason)) => {
            return report.say(Verdict::Fail, "stream", reason, Some("is --key or --stream its name?"));
        }
        _ => 0,
    };
    if length == 0 {
        let tip = match redis.subscribers("NUMSUB", Channels::new(&key, &report.settings.nsp).request()).await {
            1.. => "servers with the classic adapter are here: --adapter pubsub",
            0 => "it is made with the first message of a server; --key or --stream is its name",
        };
        return report.say(Verdict::Warn, "stream", format!("there is no stream {key}"), Some(tip));
    }
    let newest = match redis.ask(&["XREVRANGE", &key, "+", "-", "COUNT", "1"]).await {
        Ok(Reply::Array(entries)) => entries.first().and_then(|entry| match entry {
            Reply::Array(parts) => parts.first().and_then(text),
            _ => None,
        }),
        _ => None,
    };
    let milliseconds: Option<u64> = newest.and_then(|id| id.split('-').next()?.parse().ok());
    let age = milliseconds.and_then(|then| (std::time::UNIX_EPOCH + Duration::from_millis(then)).elapsed().ok());
    let age = age.map(|age| format!(", the newest {} old", output::duration(age))).unwrap_or_default();
    report.ok("stream", format!("{key} has {length} entries{age}"));
}
