//! The way to the server: TCP, with TLS over it where the URL says so.

use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{ClientError, address::Address};

/// Whom to trust where the way is TLS. The default trusts what the system trusts.
///
/// ```no_run
/// use socketio_client::{Client, TlsOptions};
///
/// # async fn example() -> Result<(), socketio_client::ClientError> {
/// let mut tls = TlsOptions::default();
/// tls.ca = Some("ca.pem".into());
/// let client = Client::builder("https://chat.example.com").tls(tls).connect().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// A PEM file with the certificates of the authorities to trust, in place of the system's.
    pub ca: Option<PathBuf>,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type BoxedStream = Box<dyn Stream>;

pub(crate) async fn connect(address: &Address, tls: &TlsOptions) -> Result<BoxedStream, ClientError> {
    let unreachable = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        ClientError::Unreachable { address: address.authority(), reason }
    };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if !address.tls {
        return Ok(Box::new(stream));
    }
    #[cfg(feature = "tls")]
    return with_tls::connect(tls, &address.host, stream).await.map_err(unreachable);
    #[cfg(not(feature = "tls"))]
    {
        let _ = tls;
        Err(unreachable(io::Error::other("TLS is not built in: turn on the feature `tls`")))
    }
}

#[cfg(feature = "tls")]
mod with_tls {
    use std::{io, sync::Arc};

    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            crypto::ring,
            pki_types::{CertificateDer, ServerName, pem::PemObject},
        },
    };

    use super::{BoxedStream, TlsOptions};

    pub(super) async fn connect(options: &TlsOptions, host: &str, stream: TcpStream) -> io::Result<BoxedStream> {
        let mut roots = RootCertStore::empty();
        match &options.ca {
            Some(file) => {
                for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }
}
