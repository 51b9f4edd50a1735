//! The way to a Redis over TLS.
//!
//! Without the feature `tls` the options can be said, and a `rediss://` URL is refused with words.

use std::path::PathBuf;

/// Whom to trust, and who we are, where the way to Redis is TLS. The default trusts what the system trusts.
///
/// ```
/// use socketio_redis_client::{Address, TlsOptions};
///
/// let mut tls = TlsOptions::default();
/// tls.ca = Some("/etc/redis/ca.pem".into());
/// let redis = "rediss://redis.example.com".parse::<Address>()?.with_tls(tls);
/// # Ok::<_, socketio_redis_client::ConnectError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// A PEM file with the certificates of the authorities to trust, in place of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with our certificate and its key, for a Redis that wants one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Trust any certificate. For trying things out.
    pub insecure: bool,
}

#[cfg(feature = "tls")]
pub(crate) use with_tls::connect;

#[cfg(feature = "tls")]
mod with_tls {
    use std::{io, path::Path, sync::Arc};

    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        client::TlsStream,
        rustls::{
            self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
            client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        },
    };

    use super::TlsOptions;

    /// Speaks TLS over `stream`; the other end has to be `host`.
    pub(crate) async fn connect(
        options: &TlsOptions,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        // Files are read again for each link: a certificate that was renewed is taken.
        let config = config(options)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn config(options: &TlsOptions) -> io::Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if options.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        } else {
            builder.with_root_certificates(roots(options.ca.as_deref())?)
        };
        match &options.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let named = |path: &Path, error| io::Error::other(format!("{}: {error}", path.display()));
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, error))?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)
            }
        }
    }

    fn roots(ca: Option<&Path>) -> io::Result<RootCertStore> {
        let certificates = match ca {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(certificates);
        match taken {
            0 => Err(io::Error::other("no authority to trust: name one, or install ca-certificates")),
            _ => Ok(roots),
        }
    }

    fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Trusts any certificate; that its owner has the key is still checked.
    #[derive(Debug)]
    struct Anyone(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
