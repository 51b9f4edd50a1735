//! WebTransport with a client that may do what no browser would: bad frames, silence, sessions that are not its own.
//!
//! What a browser does is in `tests/node/webtransport.test.mjs`.
#![cfg(feature = "webtransport")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use socketio_protocol::engine::Frame;
use socketio_protocol::engine::webtransport::{Decoder, encode};
use socketio_server::engine::{
    AllowRequest, CloseReason, Cors, Engine, EngineConfig, Incoming, Message, Request, Timing, TransportKind,
};
use socketio_server::webtransport::{Certificate, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wtransport::config::IpBindConfig;
use wtransport::endpoint::{ConnectOptions, IntoConnectOptions};
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Endpoint, RecvStream, SendStream};

const PATIENCE: Duration = Duration::from_secs(10);
const QUERY: &str = "EIO=4&transport=webtransport";

/// An engine that sends everything back, on a TCP and a UDP port, and tells what happens to its sessions.
struct Echo {
    engine: Engine,
    udp: SocketAddr,
    tcp: SocketAddr,
    certificate: Certificate,
    opened: UnboundedReceiver<Request>,
    closed: UnboundedReceiver<CloseReason>,
    serving: JoinHandle<io::Result<()>>,
}

fn config() -> EngineConfig {
    EngineConfig {
        transports: vec![TransportKind::Polling, TransportKind::WebSocket, TransportKind::WebTransport],
        ..EngineConfig::default()
    }
}

fn timing(ping_interval: u64, ping_timeout: u64, upgrade_timeout: u64) -> Timing {
    Timing {
        ping_interval: Duration::from_millis(ping_interval),
        ping_timeout: Duration::from_millis(ping_timeout),
        upgrade_timeout: Duration::from_millis(upgrade_timeout),
    }
}

impl Echo {
    async fn start(config: EngineConfig) -> Self {
        let (tell_opened, opened) = unbounded_channel();
        let (tell_closed, closed) = unbounded_channel();
        let engine = Engine::new(config, move |mut incoming: Incoming| {
            let _ = tell_opened.send(incoming.connection().request().clone());
            let tell_closed = tell_closed.clone();
            async move {
                while let Some(message) = incoming.recv().await {
                    let connection = incoming.connection().clone();
                    match message {
                        Message::Text(text) if text == "transport" => {
                            let _ = connection.send(Message::Text(connection.transport().as_str().into()));
                        }
                        Message::Text(text) if text == "close" => {
                            let _ = connection.send(Message::Text("bye".into()));
                            connection.close();
                        }
                        Message::Text(text) if text == "flood" => {
                            let much = Message::Binary(vec![7; 100_000].into());
                            while connection.send(much.clone()).is_ok() {
                                tokio::task::yield_now().await;
                            }
                        }
                        message => drop(connection.send(message)),
                    }
                }
                let _ = tell_closed.send(incoming.closed().await);
            }
        });
        let certificate = Certificate::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let listener = Listener::bind("127.0.0.1:0", certificate.clone()).await.unwrap();
        let udp = listener.local_addr().unwrap();
        let http = socketio_server::bind("127.0.0.1:0").await.unwrap();
        let tcp = http.local_addr().unwrap();
        let serving = tokio::spawn({
            let engine = engine.clone();
            async move { engine.serve_webtransport(listener).await }
        });
        tokio::spawn({
            let engine = engine.clone();
            async move { engine.serve(http).await }
        });
        Self { engine, udp, tcp, certificate, opened, closed, serving }
    }

    fn url(&self, path_and_query: &str) -> String {
        format!("https://127.0.0.1:{}{path_and_query}", self.udp.port())
    }

    fn at(&self, query: &str) -> String {
        self.url(&format!("/engine.io/?{query}"))
    }

    /// An HTTP/3 session, without a stream.
    async fn session(&self, options: impl IntoConnectOptions) -> Option<wtransport::Connection> {
        let hash = Sha256Digest::new(self.certificate.sha256().unwrap());
        connect(hash, options).await
    }

    /// A stream on which `first` has been said.
    async fn stream(&self, query: &str, first: &str) -> Stream {
        let session = self.session(self.at(query)).await.expect("a session");
        let mut stream = Stream::open(session).await;
        stream.say(first).await;
        stream
    }

    /// A new session, open.
    async fn client(&self) -> Stream {
        let mut stream = self.stream(QUERY, "0").await;
        let open = stream.hear_text().await;
        assert!(open.starts_with(r#"0{"sid":""#) && open.contains(r#""upgrades":[]"#), "{open}");
        stream
    }

    async fn end(&mut self) -> CloseReason {
        timeout(PATIENCE, self.closed.recv()).await.expect("the session ends").unwrap()
    }

    async fn http(&self, method: &str, query: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.tcp).await.unwrap();
        let len = body.len();
        let request = format!(
            "{method} /engine.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The sid of a new polling session.
    async fn polling(&self) -> String {
        let open = self.http("GET", "", "").await;
        assert!(open.contains(r#""upgrades":["websocket","webtransport"]"#), "{open}");
        open.split('"').nth(3).unwrap().to_owned()
    }
}

async fn connect(hash: Sha256Digest, options: impl IntoConnectOptions) -> Option<wtransport::Connection> {
    let config = ClientConfig::builder().with_bind_config(IpBindConfig::LocalV4).with_server_certificate_hashes([hash]);
    let endpoint = Endpoint::client(config.build()).unwrap();
    timeout(PATIENCE, endpoint.connect(options)).await.expect("an answer").ok()
}

/// A client's end of the stream.
struct Stream {
    session: wtransport::Connection,
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Stream {
    async fn open(session: wtransport::Connection) -> Self {
        let (send, recv) = session.open_bi().await.unwrap().await.unwrap();
        Self { session, send, recv, decoder: Decoder::new(usize::MAX), buffer: BytesMut::new() }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, packet: &str) {
        self.write(&encode(&Frame::Text(packet.into()))).await;
    }

    /// The next frame; `None` at the end of the stream.
    async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            let read = timeout(PATIENCE, self.recv.read_buf(&mut self.buffer)).await.expect("something comes");
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
    }

    async fn hear_text(&mut self) -> String {
        match self.hear().await {
            Some(Frame::Text(text)) => text.to_string(),
            other => panic!("{other:?} instead of text"),
        }
    }

    async fn expect(&mut self, packet: &str) {
        assert_eq!(self.hear_text().await, packet);
    }

    async fn hear_end(&mut self) {
        assert_eq!(self.hear().await, None);
        timeout(PATIENCE, self.session.closed()).await.expect("the session ends, too");
    }
}

#[tokio::test]
async fn text_and_binary_of_every_length_come_back() {
    let mut echo = Echo::start(config()).await;
    let mut client = echo.client().await;
    for len in [0, 1, 123, 124, 125, 126, 65_534, 65_535, 65_536, 900_000] {
        let text = format!("4{}", "x".repeat(len));
        client.say(&text).await;
        assert!(client.hear().await == Some(Frame::Text(text.into())), "a text of {len}");
        let binary = Frame::Binary(vec![len as u8; len].into());
        client.write(&encode(&binary)).await;
        assert!(client.hear().await == Some(binary), "{len} bytes");
    }
    client.say("4transport").await;
    client.expect("4webtransport").await;
    client.say("1").await;
    assert_eq!(echo.end().await, CloseReason::TransportClose);
    client.hear_end().await;
}

#[tokio::test]
async fn what_comes_in_one_piece_or_byte_by_byte_reads_alike() {
    let echo = Echo::start(config()).await;
    let mut client = echo.client().await;
    let said = [encode(&Frame::Text("4a".into())), encode(&Frame::Binary(vec![1; 300].into()))].concat();
    client.write(&said).await;
    for byte in &said {
        client.write(&[*byte]).await;
    }
    for _ in 0..2 {
        client.expect("4a").await;
        assert_eq!(client.hear().await, Some(Frame::Binary(vec![1; 300].into())));
    }
}

#[tokio::test]
async fn the_application_sees_the_request() {
    let mut echo = Echo::start(config()).await;
    let url = echo.at(&format!("{QUERY}&token=a%20b"));
    let session = echo.session(ConnectOptions::builder(url).add_header("x-who", "ana").build()).await.unwrap();
    let mut stream = Stream::open(session).await;
    stream.say("0").await;
    stream.hear_text().await;
    let request = echo.opened.recv().await.unwrap();
    assert_eq!((request.path(), request.query("token").as_deref()), ("/engine.io/", Some("a b")));
    assert_eq!(request.header("x-who"), Some("ana"));
    assert_eq!(request.header("host"), Some(&*format!("127.0.0.1:{}", echo.udp.port())));
    assert!(request.secure());
    assert_eq!(request.remote().unwrap().ip(), echo.udp.ip());
}

#[tokio::test]
async fn who_is_not_let_in_gets_no_session() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let allow_request = AllowRequest::new(move |request: Request| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(if request.query("no").is_some() { Err("no".to_owned()) } else { Ok(()) })
    });
    let cors = Cors::origins(["https://example.com"]);
    let mut echo = Echo::start(EngineConfig { allow_request: Some(allow_request), cors: Some(cors), ..config() }).await;
    for (url, origin) in [
        (echo.url(&format!("/?{QUERY}")), None),
        (echo.url(&format!("/engine.io?{QUERY}")), None),
        (echo.url(&format!("/socket.io/?{QUERY}")), None),
        (echo.at("EIO=4&transport=websocket"), None),
        (echo.at("EIO=3&transport=webtransport"), None),
        (echo.at(&format!("{QUERY}&sid=guessed")), None),
        (echo.at(QUERY), Some("https://evil.example")),
    ] {
        let mut options = ConnectOptions::builder(&url);
        if let Some(origin) = origin {
            options = options.add_header("origin", origin);
        }
        assert!(echo.session(options.build()).await.is_none(), "{url}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "who is refused before is not asked about");
    echo.stream(&format!("{QUERY}&no"), "0").await.hear_end().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let options = ConnectOptions::builder(echo.at(QUERY)).add_header("origin", "https://example.com").build();
    let session = echo.session(options).await.expect("that page may");
    let mut stream = Stream::open(session).await;
    stream.say("0").await;
    timeout(PATIENCE, echo.opened.recv()).await.unwrap().unwrap();
    assert!(echo.opened.is_empty(), "none of the others came through");
}

#[tokio::test]
async fn a_first_packet_that_opens_nothing_ends_the_session() {
    let mut echo = Echo::start(config()).await;
    let polling = echo.polling().await;
    echo.opened.recv().await.unwrap();
    for (query, first) in [
        (QUERY, "4hello".to_owned()),
        (QUERY, "0{}".to_owned()),
        (QUERY, r#"0{"sid":"guessed"}"#.to_owned()),
        (QUERY, "0".repeat(5000)),
        // The request names a session, the packet another or none.
        (&*format!("{QUERY}&sid={polling}"), r#"0{"sid":"guessed"}"#.to_owned()),
        (&*format!("{QUERY}&sid={polling}"), "0".to_owned()),
    ] {
        echo.stream(query, &first).await.hear_end().await;
    }
    let session = echo.session(echo.at(QUERY)).await.unwrap();
    let mut stream = Stream::open(session).await;
    stream.write(&encode(&Frame::Binary(vec![b'0'].into()))).await;
    stream.hear_end().await;
    assert!(echo.opened.is_empty());
    assert_eq!(echo.engine.clients_count(), 1, "the polling session is as it was");
}

#[tokio::test]
async fn the_first_stream_and_packet_have_a_deadline() {
    let mut echo = Echo::start(EngineConfig { timing: timing(25_000, 20_000, 1500), ..config() }).await;
    let start = Instant::now();
    let silent = echo.session(echo.at(QUERY)).await.unwrap();
    let session = echo.session(echo.at(QUERY)).await.unwrap();
    let mut half = Stream::open(session).await;
    half.write(&[1]).await;
    timeout(PATIENCE, silent.closed()).await.expect("no stream");
    half.hear_end().await;
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    assert!(echo.opened.try_recv().is_err());
}

#[tokio::test]
async fn bad_frames_are_parse_errors() {
    let mut echo = Echo::start(EngineConfig { max_http_buffer_size: 1000, ..config() }).await;
    for bad in [
        &[0][..],
        b"\x03xyz",
        b"\x034\xff\xff",
        // A length alone is enough.
        &[126, 0x03, 0xe9],
        &[0x80 | 126, 0xff, 0xff],
        &[127, 0, 0x20, 0, 0, 0, 0, 0, 0],
    ] {
        let mut client = echo.client().await;
        client.say("4before").await;
        client.expect("4before").await;
        client.write(bad).await;
        assert_eq!(echo.end().await, CloseReason::ParseError, "{bad:?}");
        client.hear_end().await;
    }
    let mut client = echo.client().await;
    client.say(&format!("4{}", "x".repeat(999))).await;
    assert_eq!(client.hear_text().await.len(), 1000, "that many are accepted");
}

#[tokio::test]
async fn a_polling_session_changes_over_and_its_waiting_poll_is_released() {
    let mut echo = Echo::start(config()).await;
    let sid = echo.polling().await;
    assert_eq!(echo.http("POST", &format!("&sid={sid}"), "4over polling").await, "ok");
    assert_eq!(echo.http("GET", &format!("&sid={sid}"), "").await, "4over polling");
    let query = format!("{QUERY}&sid={sid}");
    let mut stream = echo.stream(&query, &format!(r#"0{{"sid":"{sid}"}}"#)).await;
    {
        let poll_query = format!("&sid={sid}");
        let waiting = echo.http("GET", &poll_query, "");
        let probe = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.say("2probe").await;
            stream.expect("3probe").await;
        };
        assert_eq!(tokio::join!(waiting, probe).0, "6");
    }
    // What follows the upgrade packet at once is the session's.
    let packets = ["5", "4transport"].map(|packet| encode(&Frame::Text(packet.into())));
    stream.write(&packets.concat()).await;
    stream.expect("4webtransport").await;
    stream.write(&encode(&Frame::Binary(vec![1, 2, 3].into()))).await;
    assert_eq!(stream.hear().await, Some(Frame::Binary(vec![1, 2, 3].into())));
    assert!(echo.http("GET", &format!("&sid={sid}"), "").await.contains(r#""code":3"#), "no more polling");
    let request = echo.opened.recv().await.unwrap();
    assert_eq!(request.query("transport").as_deref(), Some("polling"), "the request is the first");
    drop(stream);
    assert_eq!(echo.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn the_packet_alone_may_name_the_session() {
    // As the stock client does it. The application is asked about a session once.
    let allow_request = AllowRequest::new(|request: Request| {
        std::future::ready(if request.query("transport").is_some() { Ok(()) } else { Err("no".to_owned()) })
    });
    let echo = Echo::start(EngineConfig { allow_request: Some(allow_request), ..config() }).await;
    let sid = echo.polling().await;
    echo.stream("", "0").await.hear_end().await;
    let mut stream = echo.stream("", &format!(r#"0{{"sid":"{sid}"}}"#)).await;
    stream.say("2probe").await;
    stream.expect("3probe").await;
    stream.say("5").await;
    stream.say("4hello").await;
    stream.expect("4hello").await;
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_polling_session_alone() {
    let echo = Echo::start(EngineConfig { timing: timing(25_000, 20_000, 500), ..config() }).await;
    let sid = echo.polling().await;
    let query = format!("{QUERY}&sid={sid}");
    let open = format!(r#"0{{"sid":"{sid}"}}"#);
    for wrong in [Some("4not yet"), Some("2"), None] {
        let mut stream = echo.stream(&query, &open).await;
        match wrong {
            Some(wrong) => stream.say(wrong).await,
            None => {
                let mut second = echo.stream(&query, &open).await;
                second.hear_end().await; // One probe at a time, and this one takes too long.
            }
        }
        stream.hear_end().await;
        assert_eq!(echo.http("POST", &format!("&sid={sid}"), "4still here").await, "ok");
        assert_eq!(echo.http("GET", &format!("&sid={sid}"), "").await, "4still here");
    }
    let mut stream = echo.stream(&query, &open).await;
    stream.say("2probe").await;
    stream.expect("3probe").await;
    stream.say("5").await;
    stream.say("4moved").await;
    stream.expect("4moved").await;
}

#[tokio::test]
async fn upgrades_can_be_forbidden() {
    let echo = Echo::start(EngineConfig { allow_upgrades: false, ..config() }).await;
    let open = echo.http("GET", "", "").await;
    assert!(open.contains(r#""upgrades":[]"#), "{open}");
    let sid = open.split('"').nth(3).unwrap();
    assert!(echo.session(echo.at(&format!("{QUERY}&sid={sid}"))).await.is_none());
    echo.stream(QUERY, &format!(r#"0{{"sid":"{sid}"}}"#)).await.hear_end().await;
    echo.client().await;
}

#[tokio::test]
async fn the_server_pings_and_silence_is_the_end() {
    let mut echo = Echo::start(EngineConfig { timing: timing(150, 300, 10_000), ..config() }).await;
    let mut client = echo.client().await;
    for _ in 0..2 {
        client.expect("2").await;
        client.say("3").await;
    }
    client.expect("2").await;
    assert_eq!(echo.end().await, CloseReason::PingTimeout);
    client.hear_end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_a_slow_consumer() {
    let mut echo = Echo::start(EngineConfig { max_queued_bytes: 400_000, ..config() }).await;
    let mut client = echo.client().await;
    client.say("4flood").await;
    assert_eq!(echo.end().await, CloseReason::SlowConsumer);
    let mut other = echo.client().await;
    other.say("4hello").await;
    other.expect("4hello").await;
}

#[tokio::test]
async fn what_was_sent_before_the_end_arrives() {
    let mut echo = Echo::start(config()).await;
    let mut client = echo.client().await;
    let start = Instant::now();
    client.say("4close").await;
    client.expect("4bye").await;
    client.hear_end().await;
    assert!(start.elapsed() < Duration::from_secs(1), "the session is closed at once: {:?}", start.elapsed());
    assert_eq!(echo.end().await, CloseReason::ForcedClose);
}

#[tokio::test]
async fn closing_the_engine_ends_sessions_and_the_listener() {
    let mut echo = Echo::start(config()).await;
    let mut client = echo.client().await;
    let on_its_way = echo.session(echo.at(QUERY)).await.unwrap();
    echo.engine.close().await;
    assert_eq!(echo.end().await, CloseReason::ServerShutdown);
    client.hear_end().await;
    timeout(PATIENCE, on_its_way.closed()).await.expect("it has no session to wait for");
    timeout(PATIENCE, &mut echo.serving).await.expect("the listener ends").unwrap().unwrap();
}

#[tokio::test]
async fn other_streams_and_datagrams_are_left_unread() {
    let echo = Echo::start(config()).await;
    let mut client = echo.client().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let (mut send, _recv) = client.session.open_bi().await.unwrap().await.unwrap();
        send.write_all(b"\x014").await.unwrap();
        others.push((send, _recv));
    }
    for _ in 0..100 {
        client.session.send_datagram(b"\x014").unwrap();
    }
    client.say("4hello").await;
    client.expect("4hello").await;
    assert_eq!(echo.engine.clients_count(), 1);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_from_the_next_handshake_on() {
    let dir = std::env::temp_dir().join(format!("socketio-webtransport-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let renew = || {
        let identity = wtransport::Identity::self_signed(["127.0.0.1"]).unwrap();
        std::fs::write(&cert, identity.certificate_chain().as_slice()[0].to_pem()).unwrap();
        std::fs::write(&key, identity.private_key().to_secret_pem()).unwrap();
    };
    renew();
    let certificate = Certificate::from_pem_files(&cert, &key).unwrap();
    let engine = Engine::new(config(), async |mut incoming: Incoming| {
        incoming.closed().await;
    });
    let listener = Listener::bind("127.0.0.1:0", certificate.clone()).await.unwrap();
    let url = format!("https://127.0.0.1:{}/engine.io/?{QUERY}", listener.local_addr().unwrap().port());
    tokio::spawn(async move { engine.serve_webtransport(listener).await });

    let old = Sha256Digest::new(certificate.sha256().unwrap());
    assert!(connect(old.clone(), &url).await.is_some());
    std::fs::write(&key, "no key").unwrap();
    assert!(certificate.reload_pem_files(&cert, &key).is_err());
    assert!(connect(old.clone(), &url).await.is_some(), "the one in use stays in use");
    renew();
    certificate.reload_pem_files(&cert, &key).unwrap();
    let new = Sha256Digest::new(certificate.sha256().unwrap());
    assert!(new != old);
    assert!(connect(new, &url).await.is_some());
    assert!(connect(old, &url).await.is_none());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn it_is_served_only_where_it_is_among_the_transports() {
    let engine = Engine::new(EngineConfig::default(), async |_: Incoming| {});
    let certificate = Certificate::self_signed(["localhost"]).unwrap();
    let error = engine.listen_webtransport("127.0.0.1:0", certificate).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
