//! `docs/cli.md` says what happens: its commands are run, and a client hears what they send.

mod support;

use std::{fs, sync::mpsc, time::Duration};

use socketio_client::{Client, News};
use socketio_redis_adapter::RedisAdapter;
use socketio_server::{Data, Listener, Server, Socket};
use support::Redis;

/// What the client in the rooms `ops` and `news` hears, in this order.
const RECEIVED: &[(&str, &str)] = &[
    ("time", r#"["12:00"]"#),
    ("news", r#"[{"title":"Hi"}]"#),
    ("disk-full", r#"["/var",97]"#),
    ("tick", "[1]"),
    ("tick", "[2]"),
    ("tick", "[3]"),
    ("shift", r#"["begins"]"#),
    ("status", "[]"),
];

async fn serve(redis: String) -> String {
    let adapter = RedisAdapter::connect(&redis).await.unwrap();
    let io = Server::builder().adapter(adapter).build();
    io.on_connection(async |socket: Socket| {
        socket.join("ops");
        socket.join("news");
    });
    io.on("log", async |_: Socket, Data(_): Data<String>| {});
    io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
    io.of("/").server_count().await.unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { io.serve([listener]).await });
    url
}

async fn listen(url: String, heard: mpsc::Sender<(String, String)>) {
    let mut client = Client::connect(&url).await.unwrap();
    // Whoever is connected is in its rooms once it is answered.
    client.emit_with_ack("sum", (1, 1), Duration::from_secs(10)).await.unwrap();
    tokio::spawn(async move {
        while let Some(news) = client.next().await {
            let News::Event(event) = news else { continue };
            if event.wants_answer() {
                client.answer(&event, "all well").await.unwrap();
            }
            let _ = heard.send((event.name(), event.args.without_name().to_json().0.to_string()));
        }
    });
}

#[test]
fn the_documentation_is_true() {
    let redis = Redis::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, heard) = mpsc::channel();
    let server = runtime.block_on(async {
        let server = serve(redis.url()).await;
        listen(server.clone(), sender).await;
        server
    });
    let home = std::env::temp_dir().join(format!("emitter-cli-{}-docs", std::process::id()));
    fs::create_dir_all(home.join("emitter-cli")).unwrap();
    let settings = format!("[default]\ntimeout = \"3s\"\n[profile.web]\nserver = {server:?}\n");
    fs::write(home.join("emitter-cli/config.toml"), settings).unwrap();

    trycmd::TestCases::new()
        .env("REDIS_URL", redis.url())
        .env("XDG_CONFIG_HOME", home.display().to_string())
        .case("../docs/cli.md")
        .run();

    fs::remove_dir_all(home).unwrap();
    for (event, args) in RECEIVED {
        let received = heard.recv_timeout(Duration::from_secs(10)).expect("the client hears it");
        assert_eq!((received.0.as_str(), received.1.as_str()), (*event, *args));
    }
}
