//! What can be asked for on the command line, and its help.

use std::{ffi::OsString, io::IsTerminal, path::PathBuf, time::Duration};

use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use socketio_protocol::NEVER;

use crate::{
    bench::Bench,
    config::{self, Config, Sources},
    decode::Decode,
    failure::Failure,
    family,
    manual::{Completions, Man},
    output,
    request::Request,
    servers::Servers,
    sockets::Sockets,
    watch::Watch,
};

/// The command line, read.
pub(crate) struct Invocation {
    pub(crate) settings: Settings,
    pub(crate) command: Command,
}

/// Send events to Socket.IO clients from scripts, cron jobs and services, through Redis
#[derive(Parser)]
#[command(name = "emitter-cli", version, max_term_width = 100, after_help = EXAMPLES, infer_subcommands = false)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = r#"Examples:
  emitter-cli emit time "$(date -Is)"
  emitter-cli emit news '{"title":"Hi"}' --to subscribers --except muted
  emitter-cli --nsp /admin disconnect --to user:42
  tail -f app.log | emitter-cli emit log --lines --to ops

Exit status: 0 done, 1 failed, 2 wrong usage, 3 Redis not reached in time,
4 fewer receivers or answers than required, 5 part of a bulk run failed,
or some did not answer."#;

/// What all commands need.
#[derive(Args)]
pub(crate) struct Settings {
    // As an attribute, because rustdoc would take the brackets for links.
    #[arg(help = "Redis to publish to: redis://[user:password@]host[:port][/db], rediss:// (TLS), unix:///path, \
        redis+cluster://h1,h2, redis+sentinel://h1,h2/SERVICE")]
    #[arg(short, long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    #[arg(default_value = "redis://127.0.0.1:6379", global = true, help_heading = "Connection")]
    pub(crate) url: String,

    /// One server, reached as a client reaches it, in place of Redis: http://host:3000[/namespace]
    #[arg(long, value_name = "URL", env = "EMITTER_SERVER", hide_env_values = true)]
    #[arg(global = true, help_heading = "Connection")]
    pub(crate) server: Option<String>,

    /// What the server is shown of us (socket.handshake.auth), with --server: a JSON object
    #[arg(long, value_name = "JSON", env = "EMITTER_AUTH", hide_env_values = true)]
    #[arg(global = true, help_heading = "Connection")]
    pub(crate) auth: Option<String>,

    /// Settings from a profile in the configuration file
    #[arg(short = 'P', long, value_name = "NAME", env = "EMITTER_PROFILE", hide_env_values = true)]
    #[arg(global = true, help_heading = "Connection")]
    pub(crate) profile: Option<String>,

    /// Which Redis adapter the servers run
    #[arg(long, value_enum, env = "EMITTER_ADAPTER", hide_env_values = true, default_value = "pubsub")]
    #[arg(global = true, help_heading = "Connection")]
    pub(crate) adapter: Adapter,

    #[command(flatten)]
    pub(crate) family: family::Options,

    /// Channel prefix, the adapter's `key`
    #[arg(short, long, value_name = "PREFIX", env = "EMITTER_KEY", hide_env_values = true)]
    #[arg(default_value = "socket.io", global = true, help_heading = "Connection")]
    pub(crate) key: String,

    /// Namespace
    #[arg(short, long, value_name = "NSP", env = "EMITTER_NSP", hide_env_values = true)]
    #[arg(default_value = "/", global = true, help_heading = "Connection")]
    pub(crate) nsp: String,

    /// Trust this authority (PEM) where the way to Redis or to the server is TLS
    #[arg(long, value_name = "FILE", global = true, help_heading = "Connection")]
    pub(crate) cacert: Option<PathBuf>,

    /// Our certificate and its key (PEM), for a Redis that wants one
    #[arg(long, value_names = ["CERT", "KEY"], num_args = 2, global = true, help_heading = "Connection")]
    pub(crate) cert: Vec<PathBuf>,

    /// Give up after this long, retries included; in a bulk run, on each emit
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    #[arg(global = true, help_heading = "Connection")]
    pub(crate) timeout: Duration,

    /// Retries after a failed connection, or while Redis is not ready
    #[arg(long, value_name = "N", default_value_t = 3, global = true, help_heading = "Connection")]
    pub(crate) retries: u32,

    /// Send again what may have arrived before the connection broke: it may arrive twice
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) retry_sent: bool,

    /// Print what would be published (channel and decoded packet), publish nothing
    #[arg(short = 'N', long, global = true, help_heading = "Output")]
    pub(crate) dry_run: bool,

    /// One JSON object a line on stdout
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,

    /// Nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,

    /// More detail (-v, -vv)
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// When to use colour
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true, help_heading = "Output")]
    color: clap::ColorChoice,

    /// Where the settings come from.
    #[arg(skip)]
    pub(crate) sources: Sources,
}

/// How the servers tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Adapter {
    // Plain comments: with help for each value, all of the help would be long.
    // `createAdapter`: PUBLISH
    #[value(alias = "classic")]
    Pubsub,
    // `createShardedAdapter`: SPUBLISH
    Sharded,
    // The streams adapter: XADD
    Streams,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Emit an event to clients
    Emit(Emit),
    /// Make matching clients join rooms
    Join(Membership),
    /// Make matching clients leave rooms
    Leave(Membership),
    /// Disconnect matching clients
    Disconnect(Disconnect),
    /// Emit an event to the servers (serverSideEmit)
    ServerEmit(ServerEmit),
    /// Emit an event that clients answer, print their answers (NDJSON)
    Request(Request),
    /// List matching clients in the cluster
    Sockets(Sockets),
    /// List the rooms of the cluster and how many clients each has
    Rooms,
    /// Show how many servers are listening, and their clients
    Servers(Servers),
    /// Print what passes between the servers, as it passes
    #[command(visible_alias = "tail")]
    Watch(Watch),
    /// Decode a packet or a message (hex, base64, text or a file) and explain it
    Decode(Decode),
    /// Measure how fast events can be published
    Bench(Bench),
    /// Check the connection, the servers and the settings in use
    Doctor,
    /// Show or edit profiles
    Config(Config),
    /// Print a completion script
    Completions(Completions),
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man(Man),
}

impl Command {
    /// Whether there has to be a Redis or a server.
    pub(crate) fn needs_somebody(&self) -> bool {
        !matches!(self, Command::Decode(_) | Command::Config(_) | Command::Completions(_) | Command::Man(_))
    }
}

/// Whom it is for.
#[derive(Args, Clone, Default)]
pub(crate) struct Target {
    /// Only clients in this room (repeat for any of several)
    // The ids of one socket in 64 begin with a hyphen.
    #[arg(short, long, value_name = "ROOM", allow_hyphen_values = true, help_heading = "Target")]
    pub(crate) to: Vec<String>,

    /// Not clients in this room (repeatable)
    #[arg(short = 'x', long, value_name = "ROOM", allow_hyphen_values = true, help_heading = "Target")]
    pub(crate) except: Vec<String>,
}

/// The arguments of an event.
#[derive(Args, Clone, Default)]
pub(crate) struct Arguments {
    /// Arguments: JSON, or a string if not valid JSON; `-` reads one from stdin
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,

    /// A string argument, never parsed as JSON
    #[arg(short = 's', long = "str", value_name = "TEXT", allow_hyphen_values = true, help_heading = "Arguments")]
    texts: Vec<String>,

    /// An argument read from a file, JSON or text
    #[arg(short = 'f', long = "file", value_name = "FILE", help_heading = "Arguments")]
    files: Vec<PathBuf>,

    /// A binary argument read from a file
    #[arg(short = 'b', long = "binary", value_name = "FILE", help_heading = "Arguments")]
    binaries: Vec<PathBuf>,

    /// Refuse an ARG that is not valid JSON
    #[arg(long, help_heading = "Arguments")]
    pub(crate) strict: bool,

    /// All of them, in the order given.
    #[arg(skip)]
    pub(crate) in_order: Vec<Source>,
}

/// Where an argument comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Arg(String),
    Text(String),
    File(PathBuf),
    Binary(PathBuf),
}

/// `emit`
#[derive(Args)]
#[command(after_help = ARGUMENTS)]
pub(crate) struct Emit {
    /// Event name
    #[arg(required_unless_present = "ndjson")]
    pub(crate) event: Option<String>,

    #[command(flatten)]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) arguments: Arguments,

    /// Emit once for each line of stdin; the line is the last argument
    #[arg(short, long, conflicts_with_all = ["ndjson", "count"], help_heading = "Bulk")]
    pub(crate) lines: bool,

    /// Read {"event","args","to","except","nsp"} objects from stdin, one a line
    #[arg(long, conflicts_with_all = ["count", "args", "texts", "files", "binaries"], help_heading = "Bulk")]
    pub(crate) ndjson: bool,

    /// Emit N times
    #[arg(short, long, value_name = "N", help_heading = "Bulk")]
    pub(crate) count: Option<u64>,

    /// Wait between two emits (250ms, 2s, 1m)
    #[arg(short, long, value_name = "TIME", value_parser = duration, help_heading = "Bulk")]
    pub(crate) interval: Option<Duration>,

    /// Replace {{count}}, {{time}}, {{unix_ms}}, {{uuid}} in the arguments
    #[arg(short = 'T', long, conflicts_with = "ndjson", help_heading = "Bulk")]
    pub(crate) template: bool,

    /// Clients that are not ready may miss it
    #[arg(long, help_heading = "Delivery")]
    pub(crate) volatile: bool,

    /// Do not compress
    #[arg(long, help_heading = "Delivery")]
    pub(crate) no_compress: bool,

    /// Fail (exit 4) unless at least N servers receive it
    #[arg(short = 'R', long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(help_heading = "Delivery")]
    pub(crate) require_receivers: Option<u64>,
}

pub(crate) const ARGUMENTS: &str = r#"An ARG that is valid JSON is sent as that value; anything else is sent as a string:
  42 -> number    0042 -> "0042"    '{"a":1}' -> object    '"42"' -> "42"    hello -> "hello"
ARG, --str, --file and --binary may be mixed; they are sent in the order given.
A newline at the end of a file or of stdin is left out, unless it is binary.
Give text that you did not write yourself with --str: it is never parsed."#;

impl Emit {
    /// Whether it emits more than one event, or one later.
    pub(crate) fn is_bulk(&self) -> bool {
        self.lines || self.ndjson || self.count.is_some()
    }
}

/// `join` and `leave`
#[derive(Args)]
pub(crate) struct Membership {
    /// The rooms to join or to leave
    #[arg(value_name = "ROOM", required = true)]
    pub(crate) rooms: Vec<String>,

    #[command(flatten)]
    pub(crate) target: Target,
}

/// `disconnect`
#[derive(Args)]
pub(crate) struct Disconnect {
    #[command(flatten)]
    pub(crate) target: Target,

    /// All clients of the namespace; needed when there is no --to
    #[arg(long, conflicts_with = "to", help_heading = "Target")]
    pub(crate) all: bool,

    /// Close their connections, not only this namespace
    #[arg(long)]
    pub(crate) close: bool,
}

impl Disconnect {
    /// Asks before all are disconnected: the person, if there is one, else for `--all`.
    pub(crate) fn confirm(&self, settings: &Settings) -> Result<(), Failure> {
        if self.all || !self.target.to.is_empty() || settings.dry_run {
            return Ok(());
        }
        let whom = format!("all clients of {}", settings.nsp);
        if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            return if output::ask(&format!("Disconnect {whom}?")) {
                Ok(())
            } else {
                Err(Failure::usage("not confirmed"))
            };
        }
        Err(Failure::usage(format!("this would disconnect {whom}")).tip("name rooms with --to, or say --all"))
    }
}

/// `server-emit`
#[derive(Args)]
#[command(after_help = ARGUMENTS)]
pub(crate) struct ServerEmit {
    /// Event name
    pub(crate) event: String,

    /// Wait for the servers' answers and print them, a line of JSON each
    #[arg(short, long)]
    pub(crate) ack: bool,

    #[command(flatten)]
    pub(crate) arguments: Arguments,
}

impl Settings {
    fn add_slash(&mut self) {
        if !self.nsp.starts_with('/') {
            self.nsp.insert(0, '/');
        }
    }
}

/// The whole definition, for completions and man pages.
pub(crate) fn command() -> clap::Command {
    CommandLine::command()
}

impl Invocation {
    /// Reads the command line; ends the process when it asks for help or is wrong.
    ///
    /// # Errors
    ///
    /// When the configuration file is not understood, or has no such profile.
    pub(crate) fn parse() -> Result<Invocation, Failure> {
        let mut invocation = Invocation::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
        // Who wants to mend the file has to be able to.
        let mends = matches!(&invocation.command, Command::Config(config) if config.mends());
        if !mends {
            config::apply(&mut invocation.settings)?;
        }
        invocation.settings.add_slash();
        Ok(invocation)
    }

    fn read(line: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
        let matches = CommandLine::command().try_get_matches_from(line)?;
        let CommandLine { mut settings, mut command } = CommandLine::from_arg_matches(&matches)?;
        settings.add_slash();
        let (_, own) = matches.subcommand().expect("there is none without");
        match &mut command {
            Command::Emit(Emit { arguments, .. })
            | Command::ServerEmit(ServerEmit { arguments, .. })
            | Command::Request(Request { arguments, .. }) => arguments.order(own),
            _ => {}
        }
        for name in config::NAMES {
            match own.value_source(name) {
                Some(ValueSource::CommandLine) => settings.sources.insert(name, "flag".to_owned()),
                Some(ValueSource::EnvVariable) => settings.sources.insert(name, "environment".to_owned()),
                _ => None,
            };
        }
        output::set_color(settings.color);
        if own.value_source("url") == Some(ValueSource::CommandLine) && !settings.quiet {
            output::warn_of_password(&settings.url);
        }
        Ok(Invocation { settings, command })
    }
}

impl Arguments {
    /// Brings the arguments into the order in which they were given.
    fn order(&mut self, matches: &ArgMatches) {
        let at = |name| matches.indices_of(name).into_iter().flatten();
        let mut found: Vec<(usize, Source)> = Vec::new();
        found.extend(at("args").zip(self.args.drain(..).map(Source::Arg)));
        found.extend(at("texts").zip(self.texts.drain(..).map(Source::Text)));
        found.extend(at("files").zip(self.files.drain(..).map(Source::File)));
        found.extend(at("binaries").zip(self.binaries.drain(..).map(Source::Binary)));
        found.sort_by_key(|(at, _)| *at);
        self.in_order = found.into_iter().map(|(_, source)| source).collect();
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 250ms, 2s or 1m"))?;
    Ok(time.min(NEVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, clap::Error> {
        Invocation::read(["emitter-cli"].into_iter().chain(line.split(' ')).map(OsString::from))
    }

    fn sources(line: &str) -> Vec<Source> {
        match read(line).map(|invocation| invocation.command) {
            Ok(Command::Emit(emit)) => emit.arguments.in_order,
            Ok(_) => panic!("{line} is not emit"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn times_can_be_added_to_a_time() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        let longest = duration("18446744073709551615s").expect("a time");
        assert!(std::time::Instant::now().checked_add(longest).is_some(), "{longest:?}");
        assert!(duration("5").is_err());
    }

    #[test]
    fn arguments_keep_the_order_they_are_given_in() {
        let text = |text: &str| Source::Text(text.to_owned());
        let arg = |text: &str| Source::Arg(text.to_owned());
        for (line, expected) in [
            ("emit ev a --str b c", vec![arg("a"), text("b"), arg("c")]),
            ("emit --str b ev a --to r -s c", vec![text("b"), arg("a"), text("c")]),
            ("emit ev --str --to -s -x -5 -0.5", vec![text("--to"), text("-x"), arg("-5"), arg("-0.5")]),
            ("emit ev --binary p -f q r", vec![Source::Binary("p".into()), Source::File("q".into()), arg("r")]),
            ("emit ev -", vec![arg("-")]),
            ("emit ev -R a -R=2 b", vec![]),
        ] {
            if line.contains("-R=2") {
                assert!(read(line).is_err(), "{line}");
                continue;
            }
            assert_eq!(sources(line), expected, "{line}");
        }
        assert_eq!(sources("emit ev -R a"), [arg("a")], "-R takes a number only behind =");
    }

    #[test]
    fn a_room_may_begin_with_a_hyphen() {
        let Ok(Command::Emit(emit)) = read("emit ev --to -1pp -t --x -x -s a").map(|read| read.command) else {
            panic!("it is not emit")
        };
        assert_eq!(
            (emit.target.to, emit.target.except),
            (vec!["-1pp".to_owned(), "--x".to_owned()], vec!["-s".to_owned()])
        );
        assert_eq!(emit.arguments.in_order, [Source::Arg("a".to_owned())]);
    }

    #[test]
    fn settings_stand_before_or_behind_the_command() {
        for line in ["-n admin -k app emit ev", "emit ev -n admin --key app", "-n admin emit -k app ev"] {
            let settings = read(line).map(|invocation| invocation.settings).expect(line);
            assert_eq!((settings.nsp.as_str(), settings.key.as_str()), ("/admin", "app"), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "emit",
            "emit ev --lines --count 2",
            "emit --ndjson ev a --str b",
            "emit ev --ndjson --template",
            "emit ev --timeout 5",
            "-q -v emit ev",
            "join",
            "disconnect --all --to r",
            "request",
            "rooms a",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
