//! Where a Redis is and how to enter it: the URL.
//!
//! | URL | what it names |
//! |---|---|
//! | `redis://[user][:password@]host[:port][/database]` | one server |
//! | `rediss://…` | the same over TLS; `#insecure` at the end trusts any certificate |
//! | `unix:///path`, `redis+unix://…` | one server on a Unix socket |
//! | `redis+sentinel://[user][:password@]host[:port],…/service[/database]` | the master that Sentinels know under a name |
//! | `redis+cluster://[user][:password@]host[:port],…` | a Redis Cluster, known by some of its nodes |
//!
//! `valkey` and `valkeys` stand for `redis` and `rediss`, `rediss+…` is TLS for the last two, `-` may stand for `+`. The
//! first three are read by the `redis` crate. `?protocol=resp3` at the end (before `#insecure`) has links speak RESP 3, which
//! Redis knows since version 6; without it they speak RESP 2. The password is kept out of everything that prints an [`Address`].

use std::{fmt, path::PathBuf, str::FromStr};

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};

use crate::{ConnectError, TlsOptions};

/// The port of a Redis, if none is named.
const REDIS_PORT: u16 = 6379;
/// The port of a Sentinel, if none is named.
const SENTINEL_PORT: u16 = 26379;

/// A Redis and what it wants to hear from us first.
///
/// ```
/// use socketio_redis_client::Address;
///
/// let redis: Address = "rediss://user:secret@redis.example.com:6380/2".parse()?;
/// assert!(!redis.to_string().contains("secret"), "it can be logged");
///
/// let sentinels: Address = "redis+sentinel://one:26379,two:26379/main".parse()?;
/// let cluster: Address = "redis+cluster://one:6379,two:6379".parse()?;
/// assert!(cluster.is_cluster() && !sentinels.is_cluster());
/// # Ok::<_, socketio_redis_client::ConnectError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) place: Place,
    pub(crate) login: Login,
    /// `Some` if the way there is TLS.
    pub(crate) tls: Option<TlsOptions>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Host(Host),
    Unix(PathBuf),
    Sentinel { sentinels: Vec<Host>, service: String },
    Cluster(Vec<Host>),
}

/// The name and the port of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[doc(hidden)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// Who we say that we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    /// In which way Redis and we speak.
    pub(crate) protocol: Protocol,
}

/// A version of the protocol that Redis speaks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Address {
    /// How to trust the other end, where the way there is TLS; no effect elsewhere.
    #[must_use]
    pub fn with_tls(mut self, options: TlsOptions) -> Address {
        if let Some(tls) = &mut self.tls {
            *tls = TlsOptions { insecure: tls.insecure || options.insecure, ..options };
        }
        self
    }

    /// Whether it is a Redis Cluster, where channels and streams live on different nodes.
    pub fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// The host of one server.
    pub(crate) fn host(&self) -> Option<&Host> {
        match &self.place {
            Place::Host(host) => Some(host),
            _ => None,
        }
    }

    /// One server of those that this names, entered in the same way.
    pub(crate) fn server(&self, host: Host) -> Address {
        Address { place: Place::Host(host), login: self.login.clone(), tls: self.tls.clone() }
    }

    /// A Sentinel of those that this names: what is said to the server is not its concern.
    pub(crate) fn sentinel(&self, host: Host) -> Address {
        Address { place: Place::Host(host), login: Login::default(), tls: self.tls.clone() }
    }
}

impl FromStr for Address {
    type Err = ConnectError;

    fn from_str(url: &str) -> Result<Address, ConnectError> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| bad_url("it has no scheme"))?;
        let (base, kind) = scheme.split_once(['+', '-']).unwrap_or((scheme, ""));
        let (base, tls) = match base {
            "rediss" => ("redis", true),
            "valkeys" => ("valkey", true),
            other => (other, false),
        };
        match (base, kind) {
            ("redis" | "valkey", "sentinel" | "cluster") => several(rest, kind, tls),
            (_, "") => one(&format!("{base}:{rest}"), tls),
            _ => one(url, false),
        }
    }
}

/// A URL of one server, as the `redis` crate reads it; whether TLS is built in is ours to say, not its.
fn one(url: &str, tls: bool) -> Result<Address, ConnectError> {
    let (url, insecure) = without_insecure(url);
    let info = url.into_connection_info().map_err(|error| match error.detail() {
        Some(detail) => bad_url(detail),
        // Without the library's name for the kind of error.
        None => bad_url(error.to_string().trim_end_matches(" - InvalidClientConfig")),
    })?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Host(Host { name: host.clone(), port: *port }),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(bad_url("this kind of address is not supported")),
    };
    let settings = info.redis_settings();
    let login = Login {
        username: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        database: settings.db(),
        protocol: match settings.protocol() {
            ProtocolVersion::RESP3 => Protocol::Resp3,
            _ => Protocol::Resp2,
        },
    };
    Ok(Address { place, login, tls: tls.then(|| TlsOptions { insecure, ..TlsOptions::default() }) })
}

/// A URL with several hosts. User, password, database and protocol are read as they are for one.
fn several(rest: &str, kind: &str, tls: bool) -> Result<Address, ConnectError> {
    let (rest, insecure) = without_insecure(rest);
    let rest = rest.strip_prefix("//").ok_or_else(|| bad_url("`//` is missing after its scheme"))?;
    let (who, rest) = match rest.rsplit_once('@') {
        Some((who, rest)) => (format!("{who}@"), rest),
        None => (String::new(), rest),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let default_port = if kind == "sentinel" { SENTINEL_PORT } else { REDIS_PORT };
    let hosts: Vec<Host> = hosts.split(',').map(|host| read_host(host, default_port)).collect::<Result<_, _>>()?;
    let (place, database) = if kind == "sentinel" {
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err(bad_url("the name of the service is missing: redis+sentinel://host:26379/SERVICE"));
        }
        (Place::Sentinel { sentinels: hosts, service: service.to_owned() }, database)
    } else if path.is_empty() || path == "0" {
        (Place::Cluster(hosts), "")
    } else {
        return Err(bad_url("a Redis Cluster has only database 0"));
    };
    let login = one(&format!("redis://{who}host/{database}?{query}"), false)?.login;
    Ok(Address { place, login, tls: tls.then(|| TlsOptions { insecure, ..TlsOptions::default() }) })
}

fn without_insecure(url: &str) -> (&str, bool) {
    match url.strip_suffix("#insecure") {
        Some(url) => (url, true),
        None => (url, false),
    }
}

fn read_host(text: &str, default_port: u16) -> Result<Host, ConnectError> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let port =
        port.map_or(Ok(default_port), |port| port.parse().map_err(|_| bad_url("one of its ports is not a port")))?;
    match name {
        "" => Err(bad_url("one of its hosts has no name")),
        name => Ok(Host { name: name.to_owned(), port }),
    }
}

fn bad_url(reason: &str) -> ConnectError {
    ConnectError::Url { reason: reason.to_owned() }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// Without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let user = self.login.username.as_deref().unwrap_or_default();
        let who = match (&self.login.username, &self.login.password) {
            (None, None) => String::new(),
            (_, None) => format!("{user}@"),
            (_, Some(_)) => format!("{user}:***@"),
        };
        let hosts = |hosts: &[Host]| hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",");
        match &self.place {
            Place::Host(host) => write!(f, "{scheme}://{who}{host}")?,
            Place::Unix(path) => write!(f, "unix:{}", path.display())?,
            Place::Sentinel { sentinels, service } => {
                write!(f, "{scheme}+sentinel://{who}{}/{service}", hosts(sentinels))?;
            }
            Place::Cluster(nodes) => write!(f, "{scheme}+cluster://{who}{}", hosts(nodes))?,
        }
        if self.login.database != 0 {
            write!(f, "/{}", self.login.database)?;
        }
        match self.login.protocol {
            Protocol::Resp2 => Ok(()),
            Protocol::Resp3 => f.write_str("?protocol=resp3"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_printed_without_secrets() {
        for (url, printed) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://127.0.0.1:7000/2", "redis://127.0.0.1:7000/2"),
            ("redis://:s3cret@host:1", "redis://:***@host:1"),
            ("redis://ana:s3cret@host:1/0", "redis://ana:***@host:1"),
            ("redis://ana:s3%40cret@host", "redis://ana:***@host:6379"),
            ("rediss://ana:s3cret@host:1", "rediss://ana:***@host:1"),
            ("rediss://host:1#insecure", "rediss://host:1"),
            ("valkey://[::1]:7", "redis://[::1]:7"),
            ("valkeys://host", "rediss://host:6379"),
            ("unix:///tmp/redis.sock", "unix:/tmp/redis.sock"),
            ("redis+unix:///tmp/redis.sock", "unix:/tmp/redis.sock"),
            ("redis+sentinel://a,b:1/main", "redis+sentinel://a:26379,b:1/main"),
            ("valkeys-sentinel://u:s3cret@a/main/2", "rediss+sentinel://u:***@a:26379/main/2"),
            ("redis+cluster://:s3cret@a:7000,[::1]:7001", "redis+cluster://:***@a:7000,[::1]:7001"),
            ("rediss-cluster://a/0", "rediss+cluster://a:6379"),
            ("redis://h?protocol=resp2", "redis://h:6379"),
            ("redis://h/2?protocol=resp3", "redis://h:6379/2?protocol=resp3"),
            ("rediss://h/?protocol=3#insecure", "rediss://h:6379?protocol=resp3"),
            ("unix:///tmp/redis.sock?protocol=resp3", "unix:/tmp/redis.sock?protocol=resp3"),
            ("redis+cluster://:s3cret@a,b?protocol=resp3", "redis+cluster://:***@a:6379,b:6379?protocol=resp3"),
            ("redis+sentinel://a/main/1?protocol=resp3", "redis+sentinel://a:26379/main/1?protocol=resp3"),
        ] {
            let address: Address = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(address.to_string(), printed);
            assert!(!format!("{address:?}").contains("s3"));
        }
        let address: Address = "redis+sentinel://ana:p%40ss@host/main/3".parse().expect("it is a URL");
        assert_eq!((address.login.username.as_deref(), address.login.password.as_deref()), (Some("ana"), Some("p@ss")));
        assert_eq!(address.login.database, 3);
        let insecure: Address = "rediss://host#insecure".parse().expect("it is a URL");
        assert!(insecure.tls.is_some_and(|tls| tls.insecure));
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for url in [
            "",
            "localhost:6379",
            "http://host",
            "redis://host:99999",
            "redis://:s3cret@host/x",
            "redis+sentinel://:s3cret@host",
            "redis+sentinel://:s3cret@/main",
            "redis+cluster://:s3cret@a,/0",
            "redis+cluster://:s3cret@a:s3,b",
            "redis+cluster://a/1",
            "redis+cluster:a",
            "redis+other://a",
            "redis://:s3cret@a?protocol=resp4",
            "redis+cluster://:s3cret@a?protocol=resp4",
        ] {
            let error = url.parse::<Address>().expect_err(url);
            assert!(!error.to_string().contains("s3"), "{error}");
        }
    }
}
