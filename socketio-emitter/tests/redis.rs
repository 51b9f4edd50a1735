//! With a redis-server: what is emitted arrives, in order, and outages end as promised.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use socketio_emitter::{EmitError, Emitter};
use socketio_protocol::cluster::{
    Message,
    classic::{self, Channels},
};
use support::{Listener, Redis, free_port};

#[tokio::test]
async fn what_is_emitted_arrives_on_its_channel() {
    let redis = Redis::start();
    let mut listener = Listener::on(&redis, "*").await;
    let io = Emitter::connect(&redis.url()).await.unwrap();

    let receipt = io.of("chat").to("room-7").except("muted").emit("said", ("ana", json!({"n": 1}))).await.unwrap();
    assert_eq!(receipt.receivers(), 1);
    let (channel, payload) = listener.next().await;
    assert_eq!(channel, "socket.io#/chat#room-7#");
    let read = classic::decode_broadcast(&Channels::new("socket.io", "/chat"), "own", &payload).unwrap().unwrap();
    let Message::Broadcast { args, options, .. } = read.message else { panic!("{read:?}") };
    assert_eq!(args.event().as_deref(), Some("said"));
    assert_eq!(args.to::<(String, serde_json::Value)>().unwrap(), ("ana".into(), json!({"n": 1})));
    assert_eq!((options.rooms, options.except), (vec!["room-7".to_owned()], vec!["muted".to_owned()]));

    io.to("a").sockets_join("b").await.unwrap();
    io.to("a").sockets_leave(["b", "c"]).await.unwrap();
    io.to("a").disconnect_sockets(true).await.unwrap();
    io.server_side_emit("hello", 1).await.unwrap();
    for expected in [
        r#"{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#,
        r#"{"type":3,"opts":{"rooms":["a"],"except":[]},"rooms":["b","c"]}"#,
        r#"{"type":4,"opts":{"rooms":["a"],"except":[]},"close":true}"#,
        r#"{"uid":"emitter","type":6,"data":["hello",1]}"#,
    ] {
        let (channel, payload) = listener.next().await;
        assert_eq!((channel.as_str(), String::from_utf8_lossy(&payload).as_ref()), ("socket.io-request#/#", expected));
    }
}

#[tokio::test]
async fn nobody_is_not_everybody() {
    let redis = Redis::start();
    let mut listener = Listener::on(&redis, "*").await;
    let io = Emitter::connect(&redis.url()).await.unwrap();
    let nobody: [&str; 0] = [];
    assert_eq!(io.to(nobody).emit("ev", 1).await.unwrap().receivers(), 0);
    assert_eq!(io.to(nobody).disconnect_sockets(true).await.unwrap().receivers(), 0);
    assert_eq!(io.to("a").sockets_join(nobody).await.unwrap().receivers(), 0);
    assert_eq!(io.to(nobody).plan_emit("ev", 1).unwrap(), None);
    assert!(listener.hears_nothing().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_nobody_waits_for_arrive_in_order() {
    let redis = Redis::start();
    let mut listener = Listener::on(&redis, "socket.io#/#").await;
    let io = Emitter::lazy(&redis.url()).unwrap();
    for n in 0..20_000 {
        io.emit("n", n).queued().unwrap();
    }
    io.flush().await;
    let channels = Channels::new("socket.io", "/");
    for n in 0..20_000 {
        let (_, payload) = listener.next().await;
        let read = classic::decode_broadcast(&channels, "own", &payload).unwrap().unwrap();
        let Message::Broadcast { args, .. } = read.message else { panic!("{read:?}") };
        assert_eq!(args.to::<u32>().unwrap(), n);
    }
    let clients = redis.run(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().filter(|line| line.contains("cmd=publish")).count(), 1, "one connection\n{clients}");
}

#[tokio::test]
async fn what_is_dropped_unawaited_is_sent_before_the_connection_ends() {
    let redis = Redis::start();
    let mut listener = Listener::on(&redis, "*").await;
    let io = Emitter::lazy(&redis.url()).unwrap();
    drop(io.emit("last", 1));
    drop(io);
    assert_eq!(listener.next().await.0, "socket.io#/#");
    let deadline = Instant::now() + Duration::from_secs(5);
    while redis.run(&["CLIENT", "LIST"]).contains("cmd=publish") {
        assert!(Instant::now() < deadline, "the connection stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn after_close_nothing_is_taken() {
    let redis = Redis::start();
    let io = Emitter::connect(&redis.url()).await.unwrap();
    let before = io.emit("before", 1);
    io.close().await;
    assert_eq!(before.await.map(|receipt| receipt.receivers()), Ok(0));
    assert_eq!(io.emit("after", 1).await, Err(EmitError::Closed));
}

#[tokio::test]
async fn messages_wait_out_a_restart_of_redis() {
    let mut redis = Redis::start();
    let io = Emitter::connect(&redis.url()).await.unwrap();
    io.emit("n", 0).await.unwrap();
    redis.stop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let waiting: Vec<_> = (1..=100).map(|n| io.emit("n", n)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.again();
    for emitted in waiting {
        emitted.await.unwrap();
    }
    let stats = redis.run(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_publish:calls=100,"), "each was sent once\n{stats}");
}

#[tokio::test]
async fn what_waits_too_long_is_given_up_and_a_later_message_goes() {
    let mut redis = Redis::start();
    let io = Emitter::builder(&redis.url()).timeout(Duration::from_millis(400)).connect().await.unwrap();
    redis.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    let error = io.emit("lost", 1).await.unwrap_err();
    let took = started.elapsed();
    assert!(matches!(&error, EmitError::Unreachable { attempts: 2.., .. }), "{error:?}");
    assert!(!error.may_have_been_sent() && error.is_transient());
    assert!((350..1_500).contains(&took.as_millis()), "{took:?}");
    redis.again();
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = io.emit("later", 1).await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

#[tokio::test]
async fn no_redis_is_told_with_address_and_cause() {
    let url = format!("redis://ana:s3cret@127.0.0.1:{}", free_port());
    let started = Instant::now();
    let eager = Emitter::connect(&url).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "eager fails at once");
    let lazy = Emitter::builder(&url).retries(2).lazy().unwrap();
    let late = lazy.emit("ev", 1).await.unwrap_err();
    for (error, tried) in [(eager, "tried once"), (late, "tried 3 times")] {
        let text = error.to_string();
        assert!(text.contains("redis://ana:***@127.0.0.1:") && !text.contains("s3cret"), "{text}");
        assert!(text.contains("connection refused") && text.contains(tried), "{text}");
    }
}

#[tokio::test]
async fn logins_are_made_and_refused_in_the_words_of_redis() {
    let redis = Redis::with(&["--requirepass", "open", "--user", "low", "on", ">pw", "&*", "+ping"]);
    let url = |who: &str| format!("redis://{who}127.0.0.1:{}/3", redis.port);
    Emitter::connect(&url(":open@")).await.unwrap().emit("ev", 1).await.unwrap();
    Emitter::connect(&url("default:open@")).await.unwrap().emit("ev", 1).await.unwrap();
    for (who, says) in [("", "NOAUTH"), (":wrong@", "WRONGPASS"), ("low:wrong@", "WRONGPASS")] {
        let error = Emitter::connect(&url(who)).await.unwrap_err();
        assert!(matches!(&error, EmitError::Auth { reason, .. } if reason.starts_with(says)), "{who} {error:?}");
        assert!(!error.to_string().contains("wrong@"), "{error}");
    }
    // Without a database to choose, the login works and publishing does not.
    let url = format!("redis://low:pw@127.0.0.1:{}", redis.port);
    let error = Emitter::connect(&url).await.unwrap().emit("ev", 1).await.unwrap_err();
    assert!(matches!(&error, EmitError::Denied { reason } if reason.starts_with("NOPERM")), "{error:?}");
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let path = format!("/tmp/emitter-{}.sock", std::process::id());
    let _redis = Redis::with(&["--unixsocket", &path]);
    let io = Emitter::connect(&format!("unix:{path}")).await.unwrap();
    assert_eq!(io.address(), format!("unix:{path}"));
    io.emit("ev", 1).await.unwrap();
}

#[test]
fn a_runtime_that_ends_is_replaced_by_the_next() {
    let redis = Redis::start();
    let io = Emitter::lazy(&redis.url()).unwrap();
    assert_eq!(io.emit("ev", 0).queued(), Err(EmitError::NoRuntime));
    for n in 1..=2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(async { io.emit("ev", n).await.unwrap().receivers() }), 0);
    }
}
