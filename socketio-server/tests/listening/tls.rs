//! Certificates, and handshakes that fail.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use socketio_server::{Listener, Server, TlsConfig, TlsError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::kit::{Client, PATH, local, serve, server, within};

struct Pem {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn pem(name: &str) -> Pem {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    Pem { certificate: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().clone() }
}

/// Connects as one that trusts `certificate` alone.
async fn connect(
    listener: std::net::SocketAddr,
    name: &'static str,
    certificate: &Pem,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(listener).await?;
    let name = ServerName::try_from(name).unwrap();
    within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

#[tokio::test]
async fn sessions_over_tls_know_it() {
    let io = server(Server::builder());
    let pem = pem("one.test");
    let tls = TlsConfig::from_pem(pem.certificate.as_bytes(), pem.key.as_bytes()).unwrap();
    let (listener, plain) = (local().await.tls(tls.clone()), local().await);
    let (addr, plain_addr) = (listener.local_addr().unwrap(), plain.local_addr().unwrap());
    serve(&io, [listener, plain]);
    let mut client = Client::new(connect(addr, "one.test", &pem).await.unwrap());
    assert_eq!(client.who("").await, json!(["127.0.0.1", true]));
    let (mut socket, who) = Client::new(connect(addr, "one.test", &pem).await.unwrap()).web_socket("").await;
    assert_eq!(who, json!(["127.0.0.1", true]));
    socket.echoes().await;
    let mut client = Client::new(TcpStream::connect(plain_addr).await.unwrap());
    assert_eq!(client.who("").await, json!(["127.0.0.1", false]));
    assert_eq!(tls.failed_handshakes(), 0);
    io.close().await;
}

#[tokio::test]
async fn tls_behind_the_proxy_protocol_and_over_a_unix_socket() {
    let io = server(Server::builder());
    let pem = pem("one.test");
    let tls = TlsConfig::from_pem(pem.certificate.as_bytes(), pem.key.as_bytes()).unwrap();
    let path = std::env::temp_dir().join(format!("socketio-tls-{}.sock", std::process::id()));
    let listener = Listener::bind_unix(&path).unwrap().tls(tls).proxy_protocol("unix".parse().unwrap());
    serve(&io, listener);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n").await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pem.der.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = within("a handshake", connector.connect("one.test".try_into().unwrap(), stream)).await.unwrap();
    let (mut socket, who) = Client::new(stream).web_socket("").await;
    assert_eq!(who, json!(["192.0.2.1", true]));
    socket.echoes().await;
    io.close().await;
}

#[tokio::test]
async fn bad_and_slow_handshakes_are_counted_and_hold_nobody_up() {
    let io = server(Server::builder());
    let pem = pem("one.test");
    let timeout = Duration::from_millis(500);
    let tls = TlsConfig::from_pem(pem.certificate.as_bytes(), pem.key.as_bytes()).unwrap().handshake_timeout(timeout);
    let listener = local().await.tls(tls.clone());
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let start = Instant::now();
    let mut silent = Client::new(TcpStream::connect(addr).await.unwrap());
    let mut plain = Client::new(TcpStream::connect(addr).await.unwrap());
    plain.stream.write_all(format!("GET {PATH} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
    plain.ended().await;
    let mut client = Client::new(connect(addr, "one.test", &pem).await.unwrap());
    client.who("").await;
    silent.ended().await;
    assert!(start.elapsed() >= timeout);
    assert_eq!(tls.failed_handshakes(), 2);
    assert!(connect(addr, "other.test", &pem).await.is_err());
    io.close().await;
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_live() {
    let folder = std::env::temp_dir().join(format!("socketio-certificates-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let write = |pem: &Pem| {
        std::fs::write(&certificate, &pem.certificate).unwrap();
        std::fs::write(&key, &pem.key).unwrap();
    };
    let (old, new) = (pem("one.test"), pem("one.test"));
    write(&old);
    let io = server(Server::builder());
    let tls = TlsConfig::from_pem_files(&certificate, &key).unwrap();
    let listener = local().await.tls(tls.clone());
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let (mut before, _) = Client::new(connect(addr, "one.test", &old).await.unwrap()).web_socket("").await;

    // A key without its certificate is no use: the old pair stays.
    std::fs::write(&key, &new.key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unusable(_))));
    connect(addr, "one.test", &old).await.unwrap();

    write(&new);
    tls.reload().unwrap();
    let mut after = Client::new(connect(addr, "one.test", &new).await.unwrap());
    after.who("").await;
    assert!(connect(addr, "one.test", &old).await.is_err());
    before.echoes().await;
    io.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_wrong_with_files_is_said_with_their_name() {
    let folder = std::env::temp_dir().join(format!("socketio-pem-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = pem("one.test");
    let (certificate, key) = (path("c.pem", &good.certificate), path("k.pem", &good.key));
    let (empty, both) = (path("empty.pem", ""), path("both.pem", &(good.key.clone() + &good.certificate)));
    assert!(TlsConfig::from_pem_files(&both, &both).is_ok());
    let said = |certificate: &Path, key: &Path| TlsConfig::from_pem_files(certificate, key).unwrap_err().to_string();
    assert!(said(&folder.join("none.pem"), &key).contains("none.pem"));
    assert!(said(&empty, &key).contains("empty.pem"));
    assert!(said(&certificate, &empty).contains("empty.pem"));
    assert!(said(&key, &key).contains("k.pem"), "a key is no certificate");
    let other = path("other.pem", &pem("one.test").key);
    assert!(said(&certificate, &other).contains("cannot be used"));
    let in_memory = TlsConfig::from_pem(good.certificate.as_bytes(), good.key.as_bytes()).unwrap();
    assert!(matches!(in_memory.reload(), Err(TlsError::NoFiles)));
    std::fs::remove_dir_all(folder).unwrap();
}
