//! The client and our server: every transport, both directions.

use std::time::Duration;

use socketio_client::{Builder, Client, ClientError, News, TransportKind};
use socketio_protocol::{Bytes, socket::Value};
use socketio_server::{ConnectError, Data, Server, Socket};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(10);

const WAYS: [&[TransportKind]; 3] =
    [&[TransportKind::Polling], &[TransportKind::WebSocket], &[TransportKind::Polling, TransportKind::WebSocket]];

#[derive(serde::Deserialize)]
struct Token {
    token: bool,
}

/// A server, and its URL.
async fn server() -> (Server, String) {
    let io = Server::new();
    io.on("echo", async |socket: Socket, Data(value): Data<Value>| {
        let _ = socket.emit("echoed", value);
    });
    io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
    io.on("bytes", async |Data(bytes): Data<Bytes>| bytes);
    io.on("leave", async |socket: Socket| socket.disconnect(false));
    io.on("hang up", async |socket: Socket| socket.conn().close());
    io.on("ask me", async |socket: Socket| {
        let name: Result<String, _> = socket.emit_with_ack("name?", ()).await;
        let _ = socket.emit("name", name.unwrap_or_default());
    });
    io.of("/chat").on_connection(async |socket: Socket| {
        let _ = socket.emit("welcome", ("to", "chat"));
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = io.clone();
    tokio::spawn(async move { serving.serve(socketio_server::Listener::from(listener)).await });
    (io, url)
}

async fn event(client: &mut Client) -> (String, String) {
    match tokio::time::timeout(SOON, client.next()).await.expect("news in time") {
        Some(News::Event(event)) => (event.name(), event.args.without_name().to_json().0.to_string()),
        other => panic!("{other:?}"),
    }
}

fn builder(url: &str, transports: &[TransportKind]) -> Builder {
    Client::builder(url).transports(transports).timeout(SOON)
}

#[tokio::test]
async fn events_acknowledgements_and_binary_pass_on_every_transport() {
    let (_io, url) = server().await;
    for transports in WAYS {
        let mut client = builder(&url, transports).connect().await.expect("connected");
        for n in 0..200 {
            client.emit("echo", n).await.unwrap();
        }
        for n in 0..200 {
            assert_eq!(event(&mut client).await, ("echoed".to_owned(), format!("[{n}]")), "{transports:?}");
        }
        let sum = client.emit_with_ack("sum", (1, 2), SOON).await.unwrap();
        assert_eq!(sum.to_json().0, "[3]", "{transports:?}");
        let bytes = Bytes::from(vec![7; 100_000]);
        let back = client.emit_with_ack("bytes", bytes.clone(), SOON).await.unwrap();
        assert_eq!(back.to::<Bytes>().unwrap(), bytes);
        let late = client.emit_with_ack("no such event", (), Duration::from_millis(50)).await;
        assert_eq!(late.map(drop), Err(ClientError::Timeout { after: Duration::from_millis(50) }));
        // The server asks, the client answers.
        client.emit("ask me", ()).await.unwrap();
        match client.next().await {
            Some(News::Event(event)) if event.wants_answer() => client.answer(&event, "ana").await.unwrap(),
            other => panic!("{other:?}"),
        }
        assert_eq!(event(&mut client).await, ("name".to_owned(), r#"["ana"]"#.to_owned()));
        client.close().await;
    }
}

#[tokio::test]
async fn polling_is_changed_for_websocket_and_nothing_is_lost() {
    let (_io, url) = server().await;
    let mut client = builder(&url, WAYS[2]).connect().await.expect("connected");
    let mut over = Vec::new();
    for n in 0.. {
        client.emit("echo", n).await.unwrap();
        match client.next().await {
            Some(News::Event(event)) => {
                assert_eq!(event.args.without_name().to_json().0, format!("[{n}]"));
                over.push(event.transport);
            }
            other => panic!("{other:?}"),
        }
        if over.last() == Some(&TransportKind::WebSocket) {
            break;
        }
    }
}

#[tokio::test]
async fn a_namespace_is_named_by_the_path_and_refused_with_words() {
    let (io, url) = server().await;
    io.of("/closed").middleware(async |socket: Socket| match socket.handshake().auth::<Token>() {
        Ok(Token { token: true }) => Ok(()),
        _ => Err(ConnectError::new("no token")),
    });
    let mut chat = Client::connect(&format!("{url}/chat")).await.expect("connected");
    assert_eq!(event(&mut chat).await, ("welcome".to_owned(), r#"["to","chat"]"#.to_owned()));
    for (nsp, reason) in [("/none", "Invalid namespace"), ("/closed", "no token")] {
        let error = Client::builder(&url).namespace(nsp).connect().await.expect_err("refused");
        assert_eq!(error, ClientError::Denied { nsp: nsp.to_owned(), reason: reason.to_owned() });
    }
    let auth = Value::Object(vec![("token".to_owned(), Value::Bool(true))]);
    Client::builder(&url).namespace("closed").auth(auth).connect().await.expect("let in");
    let reserved = chat.emit("disconnect", ()).await;
    assert!(matches!(reserved, Err(ClientError::Encode { .. })), "{reserved:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_unless_the_server_put_us_out() {
    let (_io, url) = server().await;
    for transports in WAYS {
        let mut client = builder(&url, transports).connect().await.expect("connected");
        let first = client.sid().to_owned();
        client.emit("hang up", ()).await.unwrap();
        let due = client.emit_with_ack("no such event", (), SOON).await;
        assert!(matches!(due, Err(ClientError::Disconnected { .. })), "{due:?}");
        assert!(matches!(client.next().await, Some(News::Disconnected { .. })));
        match tokio::time::timeout(SOON, client.next()).await.expect("connected again in time") {
            Some(News::Connected { sid }) => assert_ne!(sid, first),
            other => panic!("{other:?}"),
        }
        client.emit("leave", ()).await.unwrap();
        assert!(matches!(client.next().await, Some(News::Disconnected { .. })));
        assert!(client.next().await.is_none());
    }
}

#[tokio::test]
async fn a_question_whose_time_is_over_is_not_asked_on_the_next_connection() {
    let (_io, url) = server().await;
    let mut client = builder(&url, WAYS[1]).connect().await.expect("connected");
    client.emit("hang up", ()).await.unwrap();
    assert!(matches!(client.next().await, Some(News::Disconnected { .. })));
    let late = client.emit_with_ack("echo", "late", Duration::ZERO).await;
    assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
    client.emit("echo", "in time").await.unwrap();
    assert!(matches!(client.next().await, Some(News::Connected { .. })));
    assert_eq!(event(&mut client).await, ("echoed".to_owned(), r#"["in time"]"#.to_owned()));
}

#[tokio::test]
async fn a_transport_that_the_client_does_not_speak_is_refused() {
    let (_io, url) = server().await;
    let refused = builder(&url, &[TransportKind::WebTransport]).connect().await.map(drop);
    assert!(
        matches!(&refused, Err(ClientError::Refused { reason, .. }) if reason.contains("WebTransport")),
        "{refused:?}"
    );
    builder(&url, &[TransportKind::WebTransport, TransportKind::Polling]).connect().await.expect("by polling");
}

#[tokio::test]
async fn who_is_no_server_is_told_apart() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_io, url) = server().await;
    let error = async |builder: Builder| builder.connect().await.expect_err("no server");
    for transports in WAYS {
        assert!(matches!(
            error(builder(&format!("http://{nobody}"), transports)).await,
            ClientError::Unreachable { .. }
        ));
        let refused = error(builder(&url, transports).path("/other")).await;
        assert!(matches!(&refused, ClientError::Refused { reason, .. } if reason.contains("404")), "{refused:?}");
        let short = Duration::from_millis(50);
        let url = format!("http://{}", silent.local_addr().unwrap());
        assert_eq!(error(builder(&url, transports).timeout(short)).await, ClientError::Timeout { after: short });
    }
}
