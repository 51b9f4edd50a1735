//! Whose word is taken on where a client is.

use std::time::{Duration, Instant};

use serde_json::json;
use socketio_server::{Listener, Server, TrustedProxies};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::kit::{Client, PATH, local, serve, server};

const HEADERS: &str = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nX-Forwarded-Proto: https\r\n";

fn loopback() -> TrustedProxies {
    "loopback".parse().unwrap()
}

#[tokio::test]
async fn the_headers_of_a_trusted_proxy_say_who_the_client_is() {
    let io = server(Server::builder().trust_proxy(loopback()));
    let listener = local().await;
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
    assert_eq!(client.who(HEADERS).await, json!(["192.0.2.1", true]));
    assert_eq!(client.who("X-Forwarded-For: ::ffff:192.0.2.7\r\n").await, json!(["192.0.2.7", false]));
    assert_eq!(client.who("Forwarded: for=192.0.2.1;proto=https\r\n").await, json!(["127.0.0.1", false]));
    assert_eq!(client.who("").await, json!(["127.0.0.1", false]));
    let (_socket, who) = Client::new(TcpStream::connect(addr).await.unwrap()).web_socket(HEADERS).await;
    assert_eq!(who, json!(["192.0.2.1", true]));
    io.close().await;
}

#[tokio::test]
async fn the_headers_of_others_mean_nothing() {
    for io in [server(Server::builder()), server(Server::builder().trust_proxy("10.0.0.0/8, unix".parse().unwrap()))] {
        let listener = local().await;
        let addr = listener.local_addr().unwrap();
        serve(&io, listener);
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        for lines in [HEADERS, "Forwarded: for=192.0.2.1;proto=https\r\n"] {
            assert_eq!(client.who(lines).await, json!(["127.0.0.1", false]));
        }
        io.close().await;
    }
}

#[tokio::test]
async fn the_forwarded_header_where_that_is_what_proxies_use() {
    let io = server(Server::builder().trust_proxy(loopback().with_forwarded_header()));
    let listener = local().await;
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
    let lines = "Forwarded: for=6.6.6.6, for=\"[2001:db8::7]:9\";proto=https\r\n";
    assert_eq!(client.who(lines).await, json!(["2001:db8::7", true]));
    assert_eq!(client.who(HEADERS).await, json!(["127.0.0.1", false]));
    io.close().await;
}

#[tokio::test]
async fn a_proxy_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("socketio-proxy-{}.sock", std::process::id()));
    for (proxies, who) in [("unix", json!(["192.0.2.1", true])), ("loopback", json!([null, false]))] {
        let io = server(Server::builder().trust_proxy(proxies.parse().unwrap()));
        let serving = serve(&io, Listener::bind_unix(&path).unwrap());
        let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
        assert_eq!(client.who(HEADERS).await, who);
        io.close().await;
        serving.await.unwrap();
    }
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n";

fn v2(command: u8, more: &[u8]) -> Vec<u8> {
    let addresses = [0xcb, 0, 0x71, 7, 192, 0, 2, 9, 0xdc, 0x04, 1, 187];
    let len = u16::try_from(addresses.len() + more.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11][..], &len, &addresses, more].concat()
}

#[tokio::test]
async fn the_proxy_protocol_from_a_trusted_address() {
    // Behind the proxy that says it there may be one that only writes headers.
    let io = server(Server::builder().trust_proxy("203.0.113.7".parse().unwrap()));
    let listener = local().await.proxy_protocol(loopback());
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let ssl = [0x20, 0, 5, 1, 0, 0, 0, 0];
    for (header, lines, who) in [
        (V1.to_vec(), "", json!(["192.0.2.1", false])),
        (V1.to_vec(), HEADERS, json!(["192.0.2.1", false])),
        (b"PROXY TCP6 2001:db8::5 ::1 1 2\r\n".to_vec(), "", json!(["2001:db8::5", false])),
        (b"PROXY UNKNOWN\r\n".to_vec(), "", json!(["127.0.0.1", false])),
        (v2(0x21, &[]), "", json!(["203.0.113.7", false])),
        (v2(0x21, &ssl), "", json!(["203.0.113.7", true])),
        (v2(0x21, &[]), HEADERS, json!(["192.0.2.1", true])),
        (v2(0x20, &[]), "", json!(["127.0.0.1", false])),
    ] {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        client.stream.write_all(&header).await.unwrap();
        assert_eq!(client.who(lines).await, who, "{header:?}");
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        for byte in header {
            client.stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (mut socket, same) = client.web_socket(lines).await;
        assert_eq!(same, who);
        socket.echoes().await;
    }
    io.close().await;
}

#[tokio::test]
async fn a_trusted_address_without_a_good_header_is_not_served() {
    let io = server(Server::builder());
    let timeout = Duration::from_millis(500);
    let listener = local().await.proxy_protocol(loopback()).header_read_timeout(timeout);
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: test\r\n\r\n");
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 500]].concat();
    for header in [b"".to_vec(), b"PROXY TCP4 1.2.3.4\r\n".to_vec(), v2(0x29, &[]), endless] {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        let _ = client.stream.write_all(&[&header, request.as_bytes()].concat()).await;
        client.ended().await;
    }
    let start = Instant::now();
    let mut slow = Client::new(TcpStream::connect(addr).await.unwrap());
    slow.stream.write_all(&V1[..20]).await.unwrap();
    slow.ended().await;
    assert!(start.elapsed() >= timeout);
    assert_eq!(io.engine().clients_count(), 0);
    io.close().await;
}

#[tokio::test]
async fn a_proxy_header_of_others_is_a_malformed_request() {
    let io = server(Server::builder());
    let listener = local().await.proxy_protocol("10.0.0.0/8".parse().unwrap());
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
    assert_eq!(client.who("").await, json!(["127.0.0.1", false]), "who does not try is served");
    for header in [V1.to_vec(), v2(0x21, &[])] {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        client.stream.write_all(&header).await.unwrap();
        client.ended().await;
    }
    assert_eq!(io.local_count(), 1);
    io.close().await;
}
