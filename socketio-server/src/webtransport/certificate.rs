//! What a WebTransport listener proves itself with.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use wtransport::quinn::crypto::rustls::QuicServerConfig;
use wtransport::tls::rustls::crypto::ring;
use wtransport::tls::rustls::pki_types::pem::PemObject;
use wtransport::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use wtransport::tls::rustls::server::{ClientHello, ResolvesServerCert};
use wtransport::tls::rustls::sign::CertifiedKey;
use wtransport::tls::rustls::{self, version};
use wtransport::tls::{Identity, WEBTRANSPORT_ALPN};

/// A certificate and its key. Clones are the same one: what one is given anew, all use.
///
/// ```
/// use socketio_server::webtransport::Certificate;
///
/// # fn main() -> std::io::Result<()> {
/// let certificate = Certificate::self_signed(["localhost"])?;
/// let hash = certificate.sha256().expect("it was not made from rustls");
/// println!("serverCertificateHashes: [{{ algorithm: 'sha-256', value: new Uint8Array({hash:?}) }}]");
/// assert!(Certificate::from_pem_files("no such file", "nor this").is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Certificate {
    tls: Arc<rustls::ServerConfig>,
    current: Option<Arc<Current>>,
}

/// The certificate in use.
struct Current(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    /// A certificate, with the chain of those who vouch for it, and its key, in files as web servers have them.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, has no certificate or no key in it, or the two do not belong together.
    ///
    /// ```
    /// use socketio_server::webtransport::Certificate;
    ///
    /// let error = Certificate::from_pem_files("no such file.pem", "key.pem").unwrap_err();
    /// assert!(error.to_string().contains("no such file.pem"));
    /// ```
    pub fn from_pem_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::of(read_pem_files(certificate.as_ref(), key.as_ref())?))
    }

    /// A new certificate for these names and addresses, signed by nobody else, for development. Browsers accept it by
    /// its [hash](Certificate::sha256) for the 14 days that it is valid.
    ///
    /// # Errors
    ///
    /// When a name cannot be in a certificate.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let certificate = socketio_server::webtransport::Certificate::self_signed(["localhost", "127.0.0.1"])?;
    /// println!("serverCertificateHashes: {:?}", certificate.sha256());
    /// # Ok(()) }
    /// ```
    pub fn self_signed(names: impl IntoIterator<Item = impl AsRef<str>>) -> io::Result<Self> {
        let identity = Identity::self_signed(names).map_err(|_| invalid("a name cannot be in a certificate"))?;
        let chain = identity.certificate_chain().as_slice().iter();
        let chain = chain.map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from(identity.private_key().secret_der().to_vec());
        Ok(Self::of(certified(chain, key.into())?))
    }

    /// All that rustls can be set to, for example several certificates chosen by name. The protocol (`h3`) is set here.
    ///
    /// # Errors
    ///
    /// When it does not allow TLS 1.3 with the cipher that QUIC begins with.
    ///
    /// ```no_run
    /// use socketio_server::webtransport::Certificate;
    ///
    /// # fn example(by_name: wtransport::tls::rustls::ServerConfig) -> std::io::Result<()> {
    /// let certificate = Certificate::from_rustls(by_name)?; // one for each name, by its `cert_resolver`
    /// # Ok(()) }
    /// ```
    pub fn from_rustls(mut tls: rustls::ServerConfig) -> io::Result<Self> {
        tls.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
        let certificate = Self { tls: Arc::new(tls), current: None };
        certificate.quic()?;
        Ok(certificate)
    }

    /// Reads the files again, or others; handshakes use what is in them from now on.
    ///
    /// # Errors
    ///
    /// As for [`from_pem_files`](Certificate::from_pem_files), and for a certificate made
    /// [from rustls](Certificate::from_rustls), which has its own ways. The one in use stays in use then.
    ///
    /// ```
    /// use socketio_server::webtransport::Certificate;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let certificate = Certificate::self_signed(["localhost"])?;
    /// let hash = certificate.sha256();
    /// assert!(certificate.reload_pem_files("no such file.pem", "key.pem").is_err());
    /// assert_eq!(certificate.sha256(), hash, "it stays in use");
    /// # Ok(()) }
    /// ```
    pub fn reload_pem_files(&self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<()> {
        let current = self.current.as_ref().ok_or_else(|| invalid("what is set in rustls is changed there"))?;
        let certified = read_pem_files(certificate.as_ref(), key.as_ref())?;
        *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(())
    }

    /// The SHA-256 hash of the certificate in use, for `serverCertificateHashes`; `None` for one made
    /// [from rustls](Certificate::from_rustls).
    ///
    /// ```
    /// use socketio_server::webtransport::Certificate;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let certificate = Certificate::self_signed(["localhost"])?;
    /// assert_eq!(certificate.clone().sha256(), certificate.sha256());
    /// assert_ne!(Certificate::self_signed(["localhost"])?.sha256(), certificate.sha256());
    /// # Ok(()) }
    /// ```
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let certified = self.current.as_ref()?.get();
        let der = certified.cert.first()?.to_vec();
        Some(*wtransport::tls::Certificate::from_der(der).ok()?.hash().as_ref())
    }

    fn of(certified: CertifiedKey) -> Self {
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .expect("ring has what TLS 1.3 needs")
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        tls.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
        Self { tls: Arc::new(tls), current: Some(current) }
    }

    pub(super) fn quic(&self) -> io::Result<Arc<QuicServerConfig>> {
        QuicServerConfig::try_from(self.tls.clone()).map(Arc::new).map_err(invalid)
    }
}

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current") // Not the key.
    }
}

fn read_pem_files(certificate: &Path, key: &Path) -> io::Result<CertifiedKey> {
    let named = |path: &Path, error: &dyn fmt::Display| invalid(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| named(certificate, &error))?;
    if chain.is_empty() {
        return Err(named(certificate, &"no certificate in it"));
    }
    certified(chain, PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> io::Result<CertifiedKey> {
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(invalid)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
