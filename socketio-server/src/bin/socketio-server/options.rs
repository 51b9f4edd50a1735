//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use socketio_server::TrustedProxies;

use crate::gateway::{ApiOptions, TokenOptions, WebhookOptions};

/// A Socket.IO server with a page that shows events as they arrive.
///
/// It needs no configuration and no Redis. Open the address it prints, and send it an event from
/// another terminal: emitter-cli emit time "$(date -Is)"
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "socketio-server", version)]
pub(crate) struct Options {
    /// What to do other than to serve
    #[arg(value_enum, value_name = "TASK")]
    pub(crate) task: Option<Task>,

    /// A file in TOML with any of these options, each under its name: listen = ["0.0.0.0:3000"]. Flags and environment
    /// variables go before it. `socketio-server defaults` prints one
    #[arg(long, value_name = "FILE", env = "SOCKETIO_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Where browsers and clients connect: HOST:PORT, or a port of this machine alone. With
    /// 0.0.0.0:3000 other machines can connect too. May be given several times. [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR", env = "SOCKETIO_LISTEN", value_delimiter = ',', value_parser = address)]
    listen: Vec<String>,

    /// A unix socket to listen on, beside --listen or in its place. May be given several times
    #[arg(long, value_name = "PATH", env = "SOCKETIO_UNIX")]
    pub(crate) unix: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) tls: Option<TlsFiles>,

    /// The proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses, networks such as
    /// 10.0.0.0/8, loopback, linklocal, uniquelocal, unix; with commas between
    #[arg(long, value_name = "LIST", env = "SOCKETIO_TRUST_PROXY", value_parser = proxies)]
    pub(crate) trust_proxy: Option<TrustedProxies>,

    /// The proxies of --trust-proxy say by the PROXY protocol whom a connection is for
    #[arg(long, env = "SOCKETIO_PROXY_PROTOCOL", requires = "trust_proxy")]
    pub(crate) proxy_protocol: bool,

    /// The Redis that joins this server with others: redis://[user:password@]host[:port]
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub(crate) redis: Option<String>,

    /// Where the built-in bus listens, which stands in for Redis without --redis. It is for
    /// development on one machine: it has no password, and nobody else should reach it
    #[arg(long, value_name = "ADDR", env = "SOCKETIO_BUS", default_value = "127.0.0.1:6379", value_parser = address)]
    pub(crate) bus: String,

    /// Open no bus: without --redis, emitters cannot reach this server
    #[arg(long, env = "SOCKETIO_NO_BUS")]
    pub(crate) no_bus: bool,

    /// What the names of the channels start with; servers and emitters that belong together use the same
    #[arg(long, value_name = "PREFIX", env = "SOCKETIO_KEY", default_value = "socket.io", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) key: String,

    /// Opens the server to the Admin UI (https://admin.socket.io) for who knows the password: NAME:HASH, the hash of
    /// bcrypt, as `htpasswd -nbB NAME PASSWORD` prints both. With --redis, all servers know who has shown it
    #[arg(long, value_name = "NAME:HASH", env = "SOCKETIO_ADMIN", hide_env_values = true, value_parser = admin)]
    pub(crate) admin: Option<Admin>,

    /// The page of the Admin UI, if it is another one: its origin
    #[arg(long, value_name = "ORIGIN", env = "SOCKETIO_ADMIN_ORIGIN", default_value = "https://admin.socket.io")]
    pub(crate) admin_origin: String,

    /// How many seconds a client may be away and come back to its session: its id, its rooms, and the events that it
    /// missed. Each event has one more argument then, its place in the history. With 0 there is no coming back
    #[arg(long, value_name = "SECONDS", env = "SOCKETIO_RECOVERY", default_value = "120", value_parser = seconds)]
    pub(crate) recovery: Duration,

    /// How many seconds clients have to go when the server is asked to end (SIGTERM, Ctrl-C): new ones
    /// are refused, and those that are here are disconnected one after another. Asked twice, it ends at once
    #[arg(long, value_name = "SECONDS", env = "SOCKETIO_DRAIN", default_value = "10", value_parser = seconds)]
    pub(crate) drain: Duration,

    /// Serve no page, and let clients say nothing to each other: as is done anyway with tokens or webhooks
    #[arg(long, env = "SOCKETIO_NO_PAGE")]
    pub(crate) no_page: bool,

    #[command(flatten)]
    pub(crate) monitor: MonitorOptions,

    #[command(flatten)]
    pub(crate) tokens: TokenOptions,

    #[command(flatten)]
    pub(crate) api: ApiOptions,

    #[command(flatten)]
    pub(crate) webhooks: WebhookOptions,
}

/// What the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// Print what would be in force, or what is wrong with it
    Check,
    /// Print a configuration file with every option and its default
    Defaults,
}

/// Who looks whether the server is well.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Metrics and health")]
pub(crate) struct MonitorOptions {
    /// A port for those who watch the server: /metrics for Prometheus, /healthz, and /readyz, which is 503 while the
    /// server drains
    #[arg(long, value_name = "ADDR", env = "SOCKETIO_METRICS", value_parser = address)]
    pub(crate) metrics: Option<String>,

    /// The server is not ready while it does not hear the others through Redis. Its own clients are served without, so
    /// that all servers are taken away at once if Redis is
    #[arg(long, env = "SOCKETIO_READY_NEEDS_REDIS", requires = "metrics")]
    pub(crate) ready_needs_redis: bool,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number of seconds, such as 10".to_owned())
}

/// Who is let into the Admin UI.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Admin {
    pub(crate) name: String,
    pub(crate) hash: String,
}

/// Without the hash.
impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("name", &self.name).finish_non_exhaustive()
    }
}

fn admin(text: &str) -> Result<Admin, String> {
    match text.split_once(':') {
        Some((name, hash)) if !name.is_empty() && hash.starts_with("$2") => {
            Ok(Admin { name: name.to_owned(), hash: hash.to_owned() })
        }
        _ => Err("expected NAME:HASH with a hash of bcrypt, as `htpasswd -nbB NAME PASSWORD` prints it".to_owned()),
    }
}

/// The files for TLS, of which there are both or none.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct TlsFiles {
    /// Encrypts what --listen serves: a PEM file with the certificate and its chain. On SIGHUP it is read again
    #[arg(long, value_name = "FILE", env = "SOCKETIO_TLS_CERT", requires = "tls_key", required = false)]
    pub(crate) tls_cert: PathBuf,

    /// The certificate's private key, a PEM file
    #[arg(long, value_name = "FILE", env = "SOCKETIO_TLS_KEY", requires = "tls_cert", required = false)]
    pub(crate) tls_key: PathBuf,
}

impl Options {
    /// The addresses to listen on.
    pub(crate) fn listen(&self) -> impl Iterator<Item = &str> {
        let default = (self.listen.is_empty() && self.unix.is_empty()).then_some("127.0.0.1:3000");
        self.listen.iter().map(String::as_str).chain(default)
    }
}

fn proxies(text: &str) -> Result<TrustedProxies, String> {
    text.parse().map_err(|error: socketio_server::UnknownProxy| error.to_string())
}

/// An address to listen on. A number alone is a port of this machine.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let (host, port) = match text.rsplit_once(':') {
        None => ("127.0.0.1", text),
        Some(parts) => parts,
    };
    match port.parse::<u16>() {
        Ok(port) if !host.is_empty() => Ok(format!("{host}:{port}")),
        _ => Err("expected HOST:PORT, such as 127.0.0.1:3000, or a port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_made() {
        Options::command().debug_assert();
    }

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_port() {
        for (text, expected) in [
            ("127.0.0.1:3000", Some("127.0.0.1:3000")),
            ("localhost:0", Some("localhost:0")),
            ("[::1]:3000", Some("[::1]:3000")),
            ("3000", Some("127.0.0.1:3000")),
            ("", None),
            (":3000", None),
            ("localhost", None),
            ("127.0.0.1:", None),
            ("127.0.0.1:65536", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn addresses_of_all_kinds() {
        let parse = |args: &[&str]| Options::try_parse_from([&["socketio-server"], args].concat());
        let options = parse(&["--listen", "80", "--listen", "[::1]:81,82"]).unwrap();
        assert_eq!(options.listen().collect::<Vec<_>>(), ["127.0.0.1:80", "[::1]:81", "127.0.0.1:82"]);
        let options = parse(&["--unix", "/run/a", "--unix", "/run/b"]).unwrap();
        assert_eq!((options.listen().count(), options.unix.len()), (0, 2));
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        let parse = |args: &[&str]| Options::try_parse_from([&["socketio-server"], args].concat());
        let refused = |args: &[&str]| parse(args).unwrap_err().to_string();
        assert!(refused(&["--tls-cert", "a.pem"]).contains("--tls-key"));
        assert!(refused(&["--tls-key", "a.pem"]).contains("--tls-cert"));
        assert!(refused(&["--proxy-protocol"]).contains("--trust-proxy"));
        assert!(refused(&["--trust-proxy", "10.0.0.0/99"]).contains("10.0.0.0/99"));
        let files = parse(&["--tls-cert", "a.pem", "--tls-key", "b.pem"]).unwrap().tls.unwrap();
        assert_eq!((files.tls_cert, files.tls_key), ("a.pem".into(), "b.pem".into()));
        assert!(parse(&["--trust-proxy", "loopback,unix", "--proxy-protocol"]).unwrap().proxy_protocol);
    }

    #[test]
    fn the_password_of_the_admin_ui_is_given_as_its_hash() {
        let parse = |text: &str| Options::try_parse_from(["socketio-server", "--admin", text]);
        let admin = parse("ana:$2b$10$abc").unwrap().admin.unwrap();
        assert_eq!((&*admin.name, &*admin.hash), ("ana", "$2b$10$abc"));
        assert!(!format!("{admin:?}").contains("$2b"), "{admin:?}");
        for text in ["ana", "ana:secret", ":$2b$10$abc"] {
            assert!(parse(text).unwrap_err().to_string().contains("NAME:HASH"), "{text}");
        }
    }

    #[test]
    fn nothing_needs_to_be_said() {
        let options = Options::try_parse_from(["socketio-server"]).expect("no argument is required");
        assert!(!options.no_bus);
        assert_eq!(options.drain, Duration::from_secs(10));
        assert_eq!(options.listen().collect::<Vec<_>>(), ["127.0.0.1:3000"]);
        assert_eq!(options.tls, None);
    }
}
