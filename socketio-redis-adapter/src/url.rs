//! Where a Redis is and how to enter it: the URL.
//!
//! `redis://[user][:password@]host[:port][/database]`, also `rediss://` (TLS), `unix:///path` and the `valkey` spellings,
//! as the `redis` crate reads them. The password is kept out of everything that prints an [`Address`].

use std::{fmt, path::PathBuf, str::FromStr};

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::ConnectError;

/// A Redis server and what it wants to hear from us first.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) place: Place,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = ConnectError;

    fn from_str(url: &str) -> Result<Address, ConnectError> {
        // Whether TLS is built in is ours to say, not the redis crate's.
        let (scheme, rest) = url.split_once(':').ok_or_else(|| bad_url("it has no scheme"))?;
        let (scheme, tls) = match scheme {
            "rediss" => ("redis", true),
            "valkeys" => ("valkey", true),
            other => (other, false),
        };
        let info = format!("{scheme}:{rest}")
            .into_connection_info()
            .map_err(|error| bad_url(error.detail().unwrap_or("it cannot be read")))?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp { host: host.clone(), port: *port, tls },
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err(bad_url("this kind of address is not supported")),
        };
        let settings = info.redis_settings();
        Ok(Address {
            place,
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: settings.db(),
        })
    }
}

fn bad_url(reason: &str) -> ConnectError {
    ConnectError::Url { reason: reason.to_owned() }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port, tls } => write!(f, "{}://{host}:{port}", if *tls { "rediss" } else { "redis" })?,
            Place::Unix(path) => write!(f, "unix://{}", path.display())?,
        }
        if self.database != 0 { write!(f, "/{}", self.database) } else { Ok(()) }
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
            ("redis://:s3cret@host:1", "redis://host:1"),
            ("redis://ana:s3cret@host:1/0", "redis://host:1"),
            ("rediss://ana:s3cret@host:1", "rediss://host:1"),
            ("valkey://host", "redis://host:6379"),
            ("unix:///tmp/redis.sock", "unix:///tmp/redis.sock"),
        ] {
            let address: Address = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(address.to_string(), printed);
            assert!(!format!("{address:?}").contains("s3cret"));
        }
        let address: Address = "redis://ana:p%40ss@host/3".parse().expect("it is a URL");
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (Some("ana"), Some("p@ss")));
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for url in ["", "localhost:6379", "http://host", "redis://host:99999", "redis://:s3cret@host/x"] {
            let error = url.parse::<Address>().expect_err(url);
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
