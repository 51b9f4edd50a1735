//! How emitters and other servers reach this one: through Redis, through the built-in bus, or not.

use std::io;

use crate::bus::Bus;
use crate::chat::{About, Joined};
use crate::options::Options;

/// What carries events of emitters to this server.
#[derive(Debug)]
pub(crate) enum Reach {
    /// A Redis, at this URL.
    Redis(String),
    /// The built-in bus, which has its address.
    Bus(Bus),
    /// Nothing, because the bus cannot have this address.
    Refused { addr: String, error: io::Error },
    /// Nothing, as the options say.
    Nothing,
}

impl Reach {
    /// Does what the options say. A bus that cannot have its address is no error: the server is of use
    /// without one.
    pub(crate) async fn open(options: &Options) -> Self {
        match &options.redis {
            Some(url) => Reach::Redis(url.clone()),
            None if options.no_bus => Reach::Nothing,
            None => match Bus::bind(&options.bus).await {
                Ok(bus) => Reach::Bus(bus),
                Err(error) => Reach::Refused { addr: options.bus.clone(), error },
            },
        }
    }

    /// Where this server finds it, if there is anything.
    pub(crate) fn url(&self) -> Option<String> {
        match self {
            Reach::Redis(url) => Some(url.clone()),
            Reach::Bus(bus) => Some(format!("redis://{}", bus.addr())),
            Reach::Refused { .. } | Reach::Nothing => None,
        }
    }

    /// What the page is told. The address of a Redis is not for everyone who opens the page.
    pub(crate) fn about(&self, key: &str) -> About {
        let (joined, url) = match self {
            Reach::Redis(_) => (Joined::Redis, None),
            Reach::Bus(_) => (Joined::Bus, self.url()),
            Reach::Refused { .. } | Reach::Nothing => (Joined::Nothing, None),
        };
        About { version: env!("CARGO_PKG_VERSION"), joined, url, key: key.to_owned() }
    }

    /// What whoever started the program is told.
    pub(crate) fn describe(&self) -> String {
        match self {
            Reach::Redis(url) => format!("redis    {}", without_password(url)),
            Reach::Bus(bus) => {
                let warning = match bus.addr().ip().is_loopback() {
                    true => "",
                    false => "\n         others can reach it, and it has no password",
                };
                format!(
                    "bus      redis://{}\n         built in, for development on this machine; many servers share a \
                     Redis: --redis URL{warning}",
                    bus.addr()
                )
            }
            Reach::Refused { addr, error } if error.kind() == io::ErrorKind::AddrInUse => format!(
                "bus      none: {addr} is in use, by a Redis most likely\n         to join that Redis: --redis \
                 redis://{addr}   for a bus elsewhere: --bus 127.0.0.1:6380"
            ),
            Reach::Refused { addr, error } => {
                format!("bus      none: {addr}: {error}\n         for a bus elsewhere: --bus 127.0.0.1:6380")
            }
            Reach::Nothing => "bus      none: emitters and other servers cannot reach this one".to_owned(),
        }
    }
}

/// A URL as it may be shown.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}:***@{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost"),
            ("redis://localhost:6379/0", "redis://localhost:6379/0"),
            ("redis://:secret@localhost", "redis://:***@localhost"),
            ("rediss://ana:se:cr@et@localhost:1/2?x=@y", "rediss://ana:***@localhost:1/2?x=@y"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[tokio::test]
    async fn a_bus_whose_address_is_taken_is_no_error_and_says_what_to_do() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = taken.local_addr().expect("it listens").to_string();
        let reach = Reach::open(&options(&addr)).await;
        assert!(matches!(&reach, Reach::Refused { .. }), "{reach:?}");
        assert_eq!(reach.url(), None);
        assert!(reach.describe().contains(&format!("--redis redis://{addr}")), "{}", reach.describe());
    }

    #[tokio::test]
    async fn the_bus_is_told_to_be_for_development_and_a_redis_replaces_it() {
        let reach = Reach::open(&options("127.0.0.1:0")).await;
        assert!(reach.url().is_some_and(|url| url.starts_with("redis://127.0.0.1:")), "{reach:?}");
        assert!(reach.describe().contains("for development on this machine"));

        let mut redis = options("127.0.0.1:0");
        redis.redis = Some("redis://:secret@db".into());
        let reach = Reach::open(&redis).await;
        assert_eq!(reach.url().as_deref(), Some("redis://:secret@db"));
        assert!(!format!("{}{:?}", reach.describe(), reach.about("k")).contains("secret"));
    }

    fn options(bus: &str) -> Options {
        Options::parse_from(["socketio-server", "--bus", bus])
    }
}
