//! Ports and unix sockets: several at once, inherited, stale.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use socketio_server::{Listener, Server};
use tokio::net::{TcpStream, UnixStream};

use crate::kit::{Client, local, serve, server, within};

/// A path in a folder of the test's own, which goes with the test.
struct Path(PathBuf);

impl Path {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("socketio-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder.join("io.sock"))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[tokio::test]
async fn many_listeners_of_all_kinds_are_one_server() {
    let io = server(Server::builder());
    let path = Path::new("many");
    let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited_addr = inherited.local_addr().unwrap();
    let (first, second) = (local().await, Listener::bind("[::1]:0").await.unwrap());
    let addrs = [first.local_addr().unwrap(), second.local_addr().unwrap(), inherited_addr];
    let unix = Listener::bind_unix(&path.0).unwrap();
    let serving = serve(&io, [first, second, unix, inherited.try_into().unwrap()]);

    for addr in addrs {
        let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
        assert_eq!(client.who("").await, json!([addr.ip().to_string(), false]));
    }
    let mut client = Client::new(UnixStream::connect(&path.0).await.unwrap());
    assert_eq!(client.who("").await, json!([null, false]));
    assert_eq!(io.local_count(), 4);

    io.close().await;
    within("serving ends when the server is closed", serving).await.unwrap();
    assert!(!path.0.exists(), "the socket is removed");
    for addr in addrs {
        assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_web_socket_over_tcp_and_over_a_unix_socket() {
    let io = server(Server::builder());
    let path = Path::new("websocket");
    let tcp = local().await;
    let addr = tcp.local_addr().unwrap();
    serve(&io, [tcp, Listener::bind_unix(&path.0).unwrap()]);
    let (mut socket, who) = Client::new(TcpStream::connect(addr).await.unwrap()).web_socket("").await;
    assert_eq!(who, json!(["127.0.0.1", false]));
    socket.echoes().await;
    let (mut socket, who) = Client::new(UnixStream::connect(&path.0).await.unwrap()).web_socket("").await;
    assert_eq!(who, json!([null, false]));
    socket.echoes().await;
    io.close().await;
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    let path = Path::new("mode");
    for mode in [0o600, 0o660, 0o666] {
        let listener = Listener::bind_unix_with_mode(&path.0, mode).unwrap();
        assert_eq!(path.0.metadata().unwrap().permissions().mode() & 0o7777, mode);
        assert_eq!(std::fs::read_dir(path.0.parent().unwrap()).unwrap().count(), 1, "and nothing beside it");
        drop(listener);
        assert!(!path.0.exists());
    }
}

#[tokio::test]
async fn a_stale_unix_socket_is_replaced_a_living_one_and_another_file_are_not() {
    let path = Path::new("stale");
    drop(std::os::unix::net::UnixListener::bind(&path.0).unwrap());
    assert!(path.0.exists(), "std leaves it behind");
    let first = Listener::bind_unix(&path.0).expect("nobody listens there");
    assert_eq!(Listener::bind_unix(&path.0).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(path.0.exists());

    // Whoever takes the place by force keeps it.
    std::fs::remove_file(&path.0).unwrap();
    let second = Listener::bind_unix(&path.0).unwrap();
    drop(first);
    assert!(path.0.exists());
    drop(second);

    std::fs::write(&path.0, "precious").unwrap();
    assert_eq!(Listener::bind_unix(&path.0).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path.0).unwrap(), "precious");
    assert!(Listener::bind_unix(path.0.with_file_name("no/such/folder/io.sock")).is_err());
}

#[tokio::test]
async fn an_inherited_unix_socket_keeps_its_file() {
    let io = server(Server::builder());
    let path = Path::new("inherited");
    let listener = Listener::try_from(std::os::unix::net::UnixListener::bind(&path.0).unwrap()).unwrap();
    let serving = serve(&io, listener);
    let mut client = Client::new(UnixStream::connect(&path.0).await.unwrap());
    assert_eq!(client.who("").await, json!([null, false]));
    io.close().await;
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    assert!(path.0.exists());
}
