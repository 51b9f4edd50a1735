//! TLS in front of HTTP: whose certificate, and the handshake.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// The certificate of a server, and how TLS is spoken. Clones are the same: the certificate can be
/// [replaced](TlsConfig::reload) while listeners use it.
///
/// ```no_run
/// # use socketio_server::{Server, TlsConfig};
/// # async fn example(io: Server) -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsConfig::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let renewed = tls.clone();
/// tokio::spawn(async move {
///     loop {
///         tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
///         if let Err(error) = renewed.reload() {
///             eprintln!("the old certificate stays: {error}");
///         }
///     }
/// });
/// io.listen_tls("0.0.0.0:443", tls).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    shared: Arc<Shared>,
    handshake_timeout: Duration,
}

struct Shared {
    current: RwLock<Arc<ServerConfig>>,
    files: Option<Files>,
    failed: AtomicU64,
}

struct Files {
    certificates: PathBuf,
    key: PathBuf,
}

/// Why there is no TLS with what was given. Whatever was used before stays in use.
///
/// ```
/// use socketio_server::{TlsConfig, TlsError};
///
/// let missing = TlsConfig::from_pem_files("no such file", "nor this").unwrap_err();
/// assert!(matches!(missing, TlsError::Read { .. }));
/// let empty = TlsConfig::from_pem(b"", b"").unwrap_err();
/// assert!(matches!(empty, TlsError::Pem { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{file}: {error}", file = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What should be a certificate or a key is no PEM, or there is none in it.
    #[error("{what}: {error}")]
    Pem {
        /// The file, or what was looked for.
        what: String,
        /// What is wrong with it.
        #[source]
        error: pem::Error,
    },
    /// The certificate and the key do not fit each other, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// [`TlsConfig::reload`] of one that was not made of files.
    #[error("it was not read from files")]
    NoFiles,
}

impl TlsConfig {
    /// Reads the certificate with its chain, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC1), both
    /// as PEM. They may be in one file.
    ///
    /// TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or does not hold what it should, or the key is another certificate's.
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let files = Files { certificates: certificates.as_ref().to_owned(), key: key.as_ref().to_owned() };
        Ok(Self::new(files.read()?, Some(files)))
    }

    /// The same from texts that are in memory.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::new(make(certificates, "the certificate", key, "the key")?, None))
    }

    /// As rustls is set up by the application: client certificates, several names. Its `alpn_protocols` say which of
    /// `h2` and `http/1.1` are spoken; `http/1.1` if there are none.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        Self::new(config, None)
    }

    fn new(config: Arc<ServerConfig>, files: Option<Files>) -> Self {
        let shared = Shared { current: RwLock::new(config), files, failed: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), handshake_timeout: Duration::from_secs(10) }
    }

    /// How long a handshake may take. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Reads the files again. Connections that come from now on see the new certificate, others go on as they are.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](TlsConfig::from_pem_files); the certificate from before stays then.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.replace(self.shared.files.as_ref().ok_or(TlsError::NoFiles)?.read()?);
        Ok(())
    }

    /// Has connections that come from now on use `config`.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// How many handshakes have failed or taken too long.
    pub fn failed_handshakes(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Shakes hands on a connection that has just come.
    pub(super) async fn accept<I>(&self, stream: I) -> Option<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let error = match tokio::time::timeout(self.handshake_timeout, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "a TLS handshake failed");
        None
    }
}

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let read = |path: &Path| fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error });
        let name = |path: &Path| path.display().to_string();
        let (certificates, key) = (read(&self.certificates)?, read(&self.key)?);
        make(&certificates, &name(&self.certificates), &key, &name(&self.key))
    }
}

fn make(certificates: &[u8], their_name: &str, key: &[u8], its_name: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let broken = |what: &str| {
        let what = what.to_owned();
        move |error| TlsError::Pem { what, error }
    };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>().map_err(broken(their_name))?;
    if chain.is_empty() {
        return Err(broken(their_name)(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(broken(its_name))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("files", &self.shared.files.as_ref().map(|files| (&files.certificates, &files.key)))
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}
