//! The emitter in a Redis Cluster: what it sends and asks finds the node, also when that has changed.

#[path = "../../socketio-redis-adapter/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socketio_emitter::{Emitter, SubscriptionMode, Value};
use socketio_redis_adapter::RedisAdapter;
use socketio_server::testing::TestClient;
use socketio_server::{Data, Server, Socket};
use support::{RedisCluster, until};

/// How servers and emitter are told the family, and the key or channel that decides on the node.
type Family = (
    &'static str,
    fn(socketio_redis_adapter::Builder) -> socketio_redis_adapter::Builder,
    fn(socketio_emitter::Builder) -> socketio_emitter::Builder,
    &'static str,
);

const FAMILIES: [Family; 4] = [
    ("classic", |servers| servers, |emitter| emitter, "socket.io#/#"),
    (
        "sharded",
        |servers| servers.sharded(SubscriptionMode::Dynamic),
        |emitter| emitter.sharded(SubscriptionMode::Dynamic),
        "socket.io#/#",
    ),
    ("streams", |servers| servers.stream_count(3), |emitter| emitter.stream_count(3), "socket.io-2"),
    (
        "streams, sharded pub/sub",
        |servers| servers.use_sharded_pub_sub(true),
        |emitter| emitter.use_sharded_pub_sub(true),
        "socket.io",
    ),
];

/// A server, and the highest number that it has heard of.
async fn server(url: &str, family: &Family) -> (Server, Arc<AtomicU64>) {
    let adapter = (family.1)(RedisAdapter::builder(url)).connect().await.expect("the cluster lets it in");
    let io = Server::builder().adapter(adapter).build();
    let heard = Arc::new(AtomicU64::new(0));
    let highest = heard.clone();
    io.on_server_event("told", async move |Data(number): Data<u64>| {
        highest.fetch_max(number, Ordering::SeqCst);
    });
    io.on_server_event("ask", async |Data(text): Data<String>| text + "!");
    io.ready().await.expect("it is subscribed");
    (io, heard)
}

#[tokio::test]
async fn what_is_sent_and_asked_finds_its_node_before_and_after_it_moves() {
    let cluster = RedisCluster::start(3, 0);
    for family in &FAMILIES {
        let url = cluster.url();
        let (one, other) = (server(&url, family).await, server(&url, family).await);
        let emitter = (family.2)(Emitter::builder(&url)).connect().await.expect("the cluster lets it in");
        for number in 1..=20 {
            emitter.server_side_emit("told", number).await.expect(family.0);
        }
        for heard in [&one.1, &other.1] {
            until(Duration::from_secs(5), family.0, || heard.load(Ordering::SeqCst) == 20).await;
        }
        ask(&emitter, family.0).await;

        cluster.move_slot(family.3);
        // What is sent to a sharded channel before its subscriptions have moved, too, is heard by nobody.
        let deadline = Instant::now() + Duration::from_secs(5);
        while [&one.1, &other.1].iter().any(|heard| heard.load(Ordering::SeqCst) < 21) {
            assert!(Instant::now() < deadline, "{}: not heard after the move", family.0);
            emitter.server_side_emit("told", 21).await.expect(family.0);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ask(&emitter, family.0).await;

        // What nobody waits for is sent before the emitter is closed.
        (22..=40).for_each(|number| drop(emitter.server_side_emit("told", number)));
        emitter.close().await;
        assert!(emitter.emit("late", ()).queued().is_err(), "{}", family.0);
        for heard in [&one.1, &other.1] {
            until(Duration::from_secs(5), family.0, || heard.load(Ordering::SeqCst) == 40).await;
        }
    }
}

/// Asks two servers without clients all that can be asked.
async fn ask(emitter: &Emitter, family: &str) {
    assert_eq!(emitter.server_count().await, Ok(2), "{family}");
    let answers = emitter.server_side_emit_with_ack::<String>("ask", "here").await.expect(family);
    let said: Vec<_> = answers.received.iter().map(|answer| answer.as_deref().expect(family)).collect();
    assert_eq!((said, answers.asked, answers.missing), (vec!["here!", "here!"], 2, 0), "{family}");
    let sockets = emitter.to("room").fetch_sockets().await.expect(family);
    assert_eq!((sockets.received.len(), sockets.asked, sockets.missing), (0, 2, 0), "{family}");
    assert_eq!(emitter.rooms().await.expect(family).received, Vec::<String>::new(), "{family}");
    let acks = emitter.request::<Value>("question", ()).await.expect(family);
    assert!(acks.answers.is_empty() && acks.summary.is_complete() && acks.summary.servers == 2, "{family}: {acks:?}");
}

/// Rooms enough that each of three nodes serves some.
const ROOMS: u32 = 12;

#[tokio::test]
async fn the_first_message_of_an_emitter_reaches_rooms_of_every_node() {
    let cluster = RedisCluster::start(3, 0);
    let url = cluster.url();
    for family in &FAMILIES {
        let (io, _) = server(&url, family).await;
        io.on("join", async |socket: Socket, Data(rooms): Data<Vec<String>>| {
            rooms.iter().for_each(|room| socket.join(room));
            rooms.len()
        });
        let mut client = TestClient::connect(&io).await;
        let rooms: Vec<String> = (0..ROOMS).map(|number| format!("room {number}")).collect();
        assert_eq!(client.emit_with_ack::<usize>("join", (&rooms,)).await, rooms.len());
        io.ready().await.expect("the rooms are subscribed to");
        for (number, room) in rooms.iter().enumerate() {
            let (emitter, (url, text)) = (family.2, (url.clone(), room.clone()));
            // A program that ends with its first message; every other one has not connected before.
            let program = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let sent: Result<_, Box<dyn std::error::Error + Send + Sync>> = runtime.block_on(async {
                    let builder = emitter(Emitter::builder(&url));
                    let emitter = if number % 2 == 0 { builder.lazy()? } else { builder.connect().await? };
                    Ok(emitter.to(text.as_str()).emit("hello", &text).await?)
                });
                sent
            };
            tokio::task::spawn_blocking(program).await.expect("it does not panic").expect(family.0);
            assert_eq!(client.expect::<String>("hello").await, *room, "{}", family.0);
        }
    }
}
