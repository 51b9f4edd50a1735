//! What each command does, for one client.
//!
//! [`Session`] is the client as the bus sees it: its number and name, what it listens to. It takes
//! commands, changes [`Topics`](super::topics::Topics) and queues replies; errors are worded as in
//! Redis, because clients look at the words. A client of protocol version 2 that listens to something
//! may only change what it listens to, as in Redis.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::outbox::Outbox;
use super::resp::{Command, Reply, Version};
use super::topics::{ClientId, Kind};
use super::{Counters, Shared};

/// One client and what it listens to. Dropping it ends its subscriptions.
pub(super) struct Session {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    id: ClientId,
    name: Bytes,
    channels: HashSet<Bytes>,
    patterns: HashSet<Bytes>,
    /// Bytes of all names in the two sets.
    names: usize,
}

/// Whether the connection goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Close,
}

impl Session {
    /// A client that has said nothing yet and reads its replies from `outbox`.
    pub(super) fn new(shared: Arc<Shared>, outbox: Arc<Outbox>) -> Self {
        let id = shared.topics().next_client();
        Self { shared, outbox, id, name: Bytes::new(), channels: HashSet::new(), patterns: HashSet::new(), names: 0 }
    }

    /// Does what `command` says and queues the reply.
    pub(super) fn handle(&mut self, command: &Command) -> Next {
        let Some((name, args)) = command.split_first() else {
            return Next::Continue;
        };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if self.listens() && self.outbox.version() == Version::Resp2 && !while_listening(&name) {
            self.reply(&Reply::Error(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT \
                 are allowed in this context"
            )));
            return Next::Continue;
        }
        let reply = match (name.as_str(), args) {
            ("publish", [channel, payload]) => self.publish(channel, payload),
            ("subscribe", [_, ..]) => return self.subscribe(Kind::Channel, args),
            ("psubscribe", [_, ..]) => return self.subscribe(Kind::Pattern, args),
            ("unsubscribe", names) => return self.unsubscribe(Kind::Channel, names),
            ("punsubscribe", names) => return self.unsubscribe(Kind::Pattern, names),
            ("pubsub", [subcommand, args @ ..]) => self.pubsub(subcommand, args),
            ("ping", [] | [_]) => self.ping(args.first()),
            ("echo", [text]) => Reply::Bulk(text.clone()),
            ("hello", args) => self.hello(args),
            ("client", [subcommand, args @ ..]) => self.client(subcommand, args),
            ("auth", [_]) => no_password(),
            ("auth", [user, _]) => refused(user).unwrap_or(Reply::Status("OK")),
            ("select", [index]) => select(index),
            ("info", _) => self.info(),
            ("command", args) => command_docs(args),
            ("quit", _) => {
                self.reply(&Reply::Status("OK"));
                return Next::Close;
            }
            ("publish" | "subscribe" | "psubscribe" | "pubsub" | "ping" | "echo" | "client" | "auth" | "select", _) => {
                wrong_arguments(&name)
            }
            _ => unknown_command(command, args),
        };
        self.reply(&reply);
        Next::Continue
    }

    /// Queues `reply`. One that does not fit closes the connection.
    pub(super) fn reply(&self, reply: &Reply) {
        if !self.outbox.push(reply.encode(self.outbox.version())) {
            self.shared.counters.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish(&self, channel: &Bytes, payload: &Bytes) -> Reply {
        let published = self.shared.topics().publish(channel, payload);
        let Counters { published: all, slow, .. } = &self.shared.counters;
        all.fetch_add(1, Ordering::Relaxed);
        if published.slow > 0 {
            slow.fetch_add(published.slow, Ordering::Relaxed);
            tracing::warn!(
                listeners = published.slow,
                channel = %String::from_utf8_lossy(channel),
                "the bus closed listeners that read too slowly"
            );
        }
        Reply::Integer(published.receivers)
    }

    /// Each name is answered by itself. The answer is queued under the lock of the topics: whoever has
    /// read it gets everything published from then on, and nothing before it.
    fn subscribe(&mut self, kind: Kind, names: &[Bytes]) -> Next {
        for name in names {
            let known = self.subscribed(kind).contains(name);
            if !known && self.names + name.len() + PER_NAME > self.shared.limits.names {
                self.reply(&Reply::Error(
                    "ERR this connection listens to more names than this bus keeps; use Redis".into(),
                ));
                return Next::Close;
            }
            let shared = self.shared.clone();
            let mut topics = shared.topics();
            if !known {
                self.names += name.len() + PER_NAME;
                self.subscribed(kind).insert(name.clone());
                topics.subscribe(kind, name, self.id, &self.outbox);
            }
            let word = match kind {
                Kind::Channel => "subscribe",
                Kind::Pattern => "psubscribe",
            };
            self.confirm(word, Reply::Bulk(name.clone()));
        }
        Next::Continue
    }

    /// Without names: everything of this kind.
    fn unsubscribe(&mut self, kind: Kind, names: &[Bytes]) -> Next {
        let word = match kind {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
        };
        let names = match names {
            [] => self.subscribed(kind).iter().cloned().collect(),
            names => names.to_vec(),
        };
        if names.is_empty() {
            self.confirm(word, Reply::Null);
        }
        for name in names {
            let shared = self.shared.clone();
            let mut topics = shared.topics();
            if self.subscribed(kind).remove(&name) {
                self.names -= name.len() + PER_NAME;
                topics.unsubscribe(kind, &name, self.id);
            }
            self.confirm(word, Reply::Bulk(name));
        }
        Next::Continue
    }

    fn confirm(&self, word: &'static str, name: Reply) {
        let left = self.channels.len() + self.patterns.len();
        self.reply(&Reply::Push(vec![Reply::text(word), name, count(left)]));
    }

    fn pubsub(&self, subcommand: &Bytes, args: &[Bytes]) -> Reply {
        let name = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        let topics = self.shared.topics();
        match (name.as_str(), args) {
            ("channels", [] | [_]) => {
                let pattern = args.first().map(|pattern| &pattern[..]);
                Reply::Array(topics.channels(pattern).cloned().map(Reply::Bulk).collect())
            }
            ("numsub", channels) => Reply::Array(
                channels
                    .iter()
                    .flat_map(|channel| [Reply::Bulk(channel.clone()), count(topics.listeners(channel))])
                    .collect(),
            ),
            ("numpat", []) => count(topics.patterns()),
            ("channels" | "numpat", _) => wrong_arguments(&format!("pubsub|{name}")),
            _ => unknown_subcommand("PUBSUB", subcommand),
        }
    }

    fn ping(&self, text: Option<&Bytes>) -> Reply {
        let text = text.cloned();
        if self.listens() && self.outbox.version() == Version::Resp2 {
            return Reply::Array(vec![Reply::text("pong"), Reply::Bulk(text.unwrap_or_default())]);
        }
        text.map_or(Reply::Status("PONG"), Reply::Bulk)
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`. Nothing is changed when a part is refused.
    fn hello(&mut self, args: &[Bytes]) -> Reply {
        let mut version = self.outbox.version();
        let mut name = None;
        if let [wanted, options @ ..] = args {
            version = match &wanted[..] {
                b"2" => Version::Resp2,
                b"3" => Version::Resp3,
                _ => return Reply::Error("NOPROTO unsupported protocol version".into()),
            };
            let mut options = options;
            while let [option, rest @ ..] = options {
                options = match (option.to_ascii_lowercase().as_slice(), rest) {
                    (b"auth", [user, _, rest @ ..]) => match refused(user) {
                        Some(refusal) => return refusal,
                        None => rest,
                    },
                    (b"setname", [wanted, rest @ ..]) if is_client_name(wanted) => {
                        name = Some(wanted.clone());
                        rest
                    }
                    (b"setname", [_, ..]) => return bad_client_name(),
                    _ => {
                        let option = String::from_utf8_lossy(option);
                        return Reply::Error(format!("ERR Syntax error in HELLO option '{option}'"));
                    }
                };
            }
        }
        self.outbox.set_version(version);
        self.name = name.unwrap_or_else(|| self.name.clone());
        Reply::Map(vec![
            (Reply::text("server"), Reply::text("redis")),
            (Reply::text("version"), Reply::text(REDIS_VERSION)),
            (Reply::text("proto"), Reply::Integer(if version == Version::Resp3 { 3 } else { 2 })),
            (Reply::text("id"), self.id()),
            (Reply::text("mode"), Reply::text("standalone")),
            (Reply::text("role"), Reply::text("master")),
            (Reply::text("modules"), Reply::Array(Vec::new())),
        ])
    }

    fn client(&mut self, subcommand: &Bytes, args: &[Bytes]) -> Reply {
        let command = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        match (command.as_str(), args) {
            ("id", []) => self.id(),
            ("getname", []) if self.name.is_empty() => Reply::Null,
            ("getname", []) => Reply::Bulk(self.name.clone()),
            ("setname", [name]) if is_client_name(name) => {
                self.name = name.clone();
                Reply::Status("OK")
            }
            ("setname", [_]) => bad_client_name(),
            ("setinfo", [option, _]) => match option.to_ascii_lowercase().as_slice() {
                b"lib-name" | b"lib-ver" => Reply::Status("OK"),
                _ => {
                    let option = String::from_utf8_lossy(option);
                    Reply::Error(format!("ERR Unrecognized option '{option}'"))
                }
            },
            ("id" | "getname" | "setname" | "setinfo", _) => wrong_arguments(&format!("client|{command}")),
            _ => unknown_subcommand("CLIENT", subcommand),
        }
    }

    /// What clients look for before they start, and what the bus has counted.
    fn info(&self) -> Reply {
        let (channels, patterns) = {
            let topics = self.shared.topics();
            (topics.channels(None).count(), topics.patterns())
        };
        let counters = &self.shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let text = [
            "# Server".to_owned(),
            format!("redis_version:{REDIS_VERSION}"),
            "redis_mode:standalone".to_owned(),
            format!("socketio_bus_version:{}", env!("CARGO_PKG_VERSION")),
            "# Persistence".to_owned(),
            "loading:0".to_owned(),
            "# Stats".to_owned(),
            format!("total_connections_received:{}", count(&counters.accepted)),
            format!("rejected_connections:{}", count(&counters.refused)),
            format!("client_output_buffer_limit_disconnections:{}", count(&counters.slow)),
            format!("protocol_errors:{}", count(&counters.malformed)),
            format!("messages_published:{}", count(&counters.published)),
            format!("pubsub_channels:{channels}"),
            format!("pubsub_patterns:{patterns}"),
            "# Replication".to_owned(),
            "role:master".to_owned(),
            String::new(),
        ];
        Reply::Bulk(text.join("\r\n").into())
    }

    fn id(&self) -> Reply {
        Reply::Integer(i64::try_from(self.id).unwrap_or(i64::MAX))
    }

    fn listens(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    fn subscribed(&mut self, kind: Kind) -> &mut HashSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut topics = self.shared.topics();
        for name in &self.channels {
            topics.unsubscribe(Kind::Channel, name, self.id);
        }
        for name in &self.patterns {
            topics.unsubscribe(Kind::Pattern, name, self.id);
        }
    }
}

fn while_listening(command: &str) -> bool {
    matches!(command, "subscribe" | "psubscribe" | "unsubscribe" | "punsubscribe" | "ping" | "quit")
}

fn select(index: &Bytes) -> Reply {
    match std::str::from_utf8(index).ok().and_then(|index| index.parse::<i64>().ok()) {
        Some(0) => Reply::Status("OK"),
        Some(_) => Reply::Error("ERR DB index is out of range".into()),
        None => Reply::Error("ERR value is not an integer or out of range".into()),
    }
}

/// The list of commands is empty: clients that ask take it as "unknown" and go on.
fn command_docs(args: &[Bytes]) -> Reply {
    match args.first().map(|word| word.to_ascii_lowercase()).as_deref() {
        Some(b"docs") => Reply::Map(Vec::new()),
        Some(b"count") => Reply::Integer(0),
        _ => Reply::Array(Vec::new()),
    }
}

/// Redis's own words for a password that nothing asked for: some clients know them and go on without.
fn no_password() -> Reply {
    Reply::Error(format!("ERR AUTH <password> called without any password configured for the default user. {NO_USERS}"))
}

/// Why this user is not let in. The user `default` is, with any password, as in a Redis without one:
/// clients that log in while they say hello would not understand a refusal.
fn refused(user: &Bytes) -> Option<Reply> {
    (user != "default")
        .then(|| Reply::Error(format!("WRONGPASS invalid username-password pair or user is disabled. {NO_USERS}")))
}

fn wrong_arguments(command: &str) -> Reply {
    Reply::Error(format!("ERR wrong number of arguments for '{command}' command"))
}

fn unknown_subcommand(command: &str, subcommand: &Bytes) -> Reply {
    Reply::Error(format!("ERR unknown subcommand '{}'. Try {command} HELP.", shown(subcommand)))
}

fn unknown_command(command: &Command, args: &[Bytes]) -> Reply {
    let name = command.first().map(shown).unwrap_or_default();
    let args: String = args.iter().take(8).map(|arg| format!("'{}' ", shown(arg))).collect();
    Reply::Error(format!("ERR unknown command '{name}', with args beginning with: {args}"))
}

/// The beginning of a word that a client sent, for an error.
fn shown(word: &Bytes) -> String {
    String::from_utf8_lossy(word).chars().take(128).collect()
}

fn is_client_name(name: &Bytes) -> bool {
    name.len() <= 256 && name.iter().all(u8::is_ascii_graphic)
}

fn bad_client_name() -> Reply {
    Reply::Error("ERR Client names cannot contain spaces, newlines or special characters.".into())
}

fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The way out, for whoever tries to log in.
const NO_USERS: &str = "This is the development bus of socketio-server, which has no users and no passwords: \
                        leave both out of the URL, or use Redis.";

/// The Redis whose answers are given here; clients decide by it what they may ask.
const REDIS_VERSION: &str = "7.0.0";

/// What keeping a name costs beside its bytes, about.
const PER_NAME: usize = 64;
