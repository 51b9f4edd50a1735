//! Where the program listens, and how: ports and unix sockets, TLS, proxies in front.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socketio_server::Listener;
#[cfg(feature = "tls")]
use socketio_server::{TlsConfig, TlsError};

use crate::options::Options;

/// Listeners that have their addresses.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listeners: Vec<Listener>,
    /// Where pages are, for people.
    places: Vec<Place>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
}

#[derive(Debug)]
enum Place {
    Tcp { addr: SocketAddr, secure: bool },
    Unix(PathBuf),
}

/// Why the program does not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {0}: {1}\ntip:   choose another address or port with --listen")]
    Tcp(String, io::Error),
    #[error("cannot listen on {path}: {1}\ntip:   choose another path with --unix", path = .0.display())]
    Unix(PathBuf, io::Error),
    #[cfg(feature = "tls")]
    #[error(
        "no TLS: {0}\ntip:   --tls-cert is a PEM file with the certificate and its chain, --tls-key one with its private key"
    )]
    Tls(#[from] TlsError),
    #[cfg(not(feature = "tls"))]
    #[error("this program was built without TLS\ntip:   cargo build --release -p socketio-server --features tls")]
    NoTls,
}

impl Listening {
    /// The certificate that the options name, if they do.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(options: &Options) -> Result<Option<TlsConfig>, ListenError> {
        Ok(match &options.tls {
            Some(files) => Some(TlsConfig::from_pem_files(&files.tls_cert, &files.tls_key)?),
            None => None,
        })
    }

    /// Whether the options can be followed.
    #[cfg(not(feature = "tls"))]
    pub(crate) fn tls(options: &Options) -> Result<(), ListenError> {
        if options.tls.is_some() { Err(ListenError::NoTls) } else { Ok(()) }
    }

    /// Takes all addresses that the options name; the default one if they name none.
    pub(crate) async fn open(options: &Options) -> Result<Self, ListenError> {
        #[cfg(feature = "tls")]
        let tls = Self::tls(options)?;
        #[cfg(not(feature = "tls"))]
        Self::tls(options)?;
        let proxies = options.trust_proxy.as_ref().filter(|_| options.proxy_protocol);
        let prepared = |listener: Listener| match proxies {
            Some(proxies) => listener.proxy_protocol(proxies.clone()),
            None => listener,
        };
        let mut listeners = Vec::new();
        let mut places = Vec::new();
        for listen in options.listen() {
            let taken = |error| ListenError::Tcp(listen.to_owned(), error);
            let listener = Listener::bind(listen).await.map_err(taken)?;
            let addr = listener.local_addr().ok_or_else(|| taken(io::ErrorKind::AddrNotAvailable.into()))?;
            let listener = prepared(listener);
            #[cfg(feature = "tls")]
            let listener = match &tls {
                Some(tls) => listener.tls(tls.clone()),
                None => listener,
            };
            listeners.push(listener);
            places.push(Place::Tcp { addr, secure: options.tls.is_some() });
        }
        for path in &options.unix {
            #[cfg(unix)]
            let listener = Listener::bind_unix(path);
            #[cfg(not(unix))]
            let listener: io::Result<Listener> = Err(io::ErrorKind::Unsupported.into());
            listeners.push(prepared(listener.map_err(|error| ListenError::Unix(path.clone(), error))?));
            places.push(Place::Unix(path.clone()));
        }
        Ok(Self {
            listeners,
            places,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// What whoever started the program is told; `what` is there.
    pub(crate) fn describe(&self, what: &str) -> String {
        let lines: Vec<_> = self.places.iter().map(|place| place.describe(what)).collect();
        lines.join("\n")
    }
}

impl Place {
    fn describe(&self, what: &str) -> String {
        let (addr, secure) = match self {
            Place::Tcp { addr, secure } => (*addr, *secure),
            Place::Unix(path) => return format!("socket   {}", path.display()),
        };
        let mut local = addr;
        let open = match addr.ip() {
            ip if ip.is_unspecified() => {
                local.set_ip(match ip.is_ipv4() {
                    true => [127, 0, 0, 1].into(),
                    false => std::net::Ipv6Addr::LOCALHOST.into(),
                });
                "and under this machine's name, for all who reach it"
            }
            ip if ip.is_loopback() => "for this machine alone; with --listen 0.0.0.0:3000 for others too",
            _ => "for all who reach it",
        };
        let scheme = if secure { "https" } else { "http" };
        format!("{what:<9}{scheme}://{local}/\n         {open}")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    async fn open(args: &[&str]) -> Result<Listening, ListenError> {
        Listening::open(&Options::parse_from([&["socketio-server"], args].concat())).await
    }

    #[tokio::test]
    async fn every_address_is_listened_on_and_told() {
        let path = std::env::temp_dir().join(format!("socketio-program-{}.sock", std::process::id()));
        let unix = path.to_str().unwrap();
        let listening = open(&["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0", "--unix", unix]).await.unwrap();
        assert_eq!(listening.listeners.len(), 3);
        let told = listening.describe("page");
        assert_eq!(told.matches("page     http://127.0.0.1:").count(), 2, "{told}");
        assert!(told.contains("this machine alone") && told.contains("all who reach it"), "{told}");
        assert!(told.ends_with(&format!("socket   {unix}")), "{told}");
        let error = open(&["--unix", unix]).await.unwrap_err().to_string();
        assert!(error.contains("another server listens there") && error.contains("--unix"), "{error}");
        drop(listening);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let error = open(&["--listen", &addr]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {addr}: ")) && error.contains("--listen"), "{error}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_tls_is_said() {
        let args = ["--listen", "127.0.0.1:0", "--tls-cert", "/no/such/cert.pem", "--tls-key", "/no/such/key.pem"];
        let error = open(&args).await.unwrap_err().to_string();
        let expected = if cfg!(feature = "tls") { "/no/such/cert.pem: " } else { "built without TLS" };
        assert!(error.contains(expected) && error.contains("\ntip:   "), "{error}");
    }
}
