//! Two classic adapters on one Redis: who hears what, by room, namespace and key. What holds for every family is in
//! `families.rs`.

mod support;

use std::{sync::Arc, time::Duration};

use socketio_protocol::cluster::{Bus, BusStatus, Channel, Message};
use socketio_redis_adapter::RedisAdapter;
use support::{Memory, Redis, broadcast, until};

const SOON: Duration = Duration::from_secs(3);

async fn join(redis: &Redis, nsp: &str, rooms: &[&str]) -> (RedisAdapter, Arc<dyn Channel>, Arc<Memory>) {
    let adapter = RedisAdapter::connect(&redis.url()).await.unwrap();
    let inbox = Memory::new(rooms);
    let channel = adapter.open(nsp, inbox.clone());
    channel.ready().await.unwrap();
    (adapter, channel, inbox)
}

#[tokio::test]
async fn only_namespaces_and_rooms_that_are_here_are_heard() {
    let redis = Redis::start();
    let (a_adapter, a, _) = join(&redis, "/", &[]).await;
    let (_b, b, inbox) = join(&redis, "/", &["red", "r#m", "42"]).await;
    let other = a_adapter.open("/other", Memory::new(&[]));
    for message in [
        broadcast("nobody here", &["blue"]),
        broadcast("red", &["red"]),
        broadcast("hash", &["r#m"]),
        broadcast("number", &["42"]),
        broadcast("two", &["blue", "green"]),
    ] {
        a.publish(&message).unwrap().await.unwrap();
    }
    other.publish(&broadcast("elsewhere", &[])).unwrap().await.unwrap();
    a.publish(&broadcast("last", &[])).unwrap().await.unwrap();
    until(SOON, "the last", || inbox.events().contains(&"last".to_owned())).await;
    assert_eq!(inbox.events(), ["red", "hash", "number", "two", "last"]);

    b.close();
    until(SOON, "b is gone", || redis.cli(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]).ends_with('1')).await;
    assert_eq!(a.publish(&broadcast("late", &[])).unwrap().receivers().await, Ok(1));
    assert_eq!(inbox.events().len(), 5);
}

#[tokio::test]
async fn a_namespace_named_like_a_pattern_hears_its_own_broadcasts_only() {
    let redis = Redis::start();
    let (_a, a, _) = join(&redis, r"/[ab]*\x", &[]).await;
    let (_b, _b_channel, inbox) = join(&redis, r"/[ab]*\x", &[]).await;
    let (_c, c, _) = join(&redis, "/a", &[]).await;
    c.publish(&broadcast("from /a", &[])).unwrap().await.unwrap();
    a.publish(&broadcast("own", &[])).unwrap().await.unwrap();
    until(SOON, "the broadcast", || !inbox.events().is_empty()).await;
    assert_eq!(inbox.events(), ["own"]);
}

#[tokio::test]
async fn servers_are_counted_by_namespace() {
    let redis = Redis::start();
    let (_a, a, _) = join(&redis, "/", &[]).await;
    assert_eq!(a.server_count().await, Ok(1));
    let (b_adapter, _b, _) = join(&redis, "/", &[]).await;
    assert_eq!(a.server_count().await, Ok(2));
    let other = b_adapter.open("/other", Memory::new(&[]));
    other.ready().await.unwrap();
    assert_eq!(other.server_count().await, Ok(1));
}

#[tokio::test]
async fn an_answer_can_be_sent_to_the_asker_alone() {
    let redis = Redis::start();
    let (_a, a, a_inbox) = join(&redis, "/", &[]).await;
    let (_c, _channel, c_inbox) = join(&redis, "/", &[]).await;
    let adapter =
        RedisAdapter::builder(&redis.url()).publish_on_specific_response_channel(true).connect().await.unwrap();
    let b = adapter.open("/", Memory::new(&[]));
    let answer = Message::AllRoomsResponse { request: "REQ001".into(), rooms: vec![] };
    assert_eq!(b.respond(Some(a.uid()), &answer).unwrap().receivers().await, Ok(1));
    until(SOON, "the answer", || !a_inbox.messages().is_empty()).await;
    assert!(c_inbox.messages().is_empty());
}

#[tokio::test]
async fn another_key_is_another_cluster() {
    let redis = Redis::start();
    let (_a, _channel, inbox) = join(&redis, "/", &[]).await;
    let adapter = RedisAdapter::builder(&redis.url()).key("mine").connect().await.unwrap();
    let b = adapter.open("/", Memory::new(&[]));
    b.ready().await.unwrap();
    b.publish(&broadcast("hello", &[])).unwrap().await.unwrap();
    assert_eq!(b.server_count().await, Ok(1));
    assert!(inbox.messages().is_empty());
}

#[tokio::test]
async fn what_is_malformed_is_told_and_the_rest_is_heard() {
    let redis = Redis::start();
    let (_a, a, _) = join(&redis, "/", &[]).await;
    let (_b, _channel, inbox) = join(&redis, "/", &["room"]).await;
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../socketio-protocol/tests/vectors/malformed.json");
    let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(vectors).unwrap()).unwrap();
    let mut sent = 0;
    for row in vectors["vectors"].as_array().unwrap().iter().filter(|row| row["adapter"] == "classic") {
        let hex = row["payload_hex"].as_str().unwrap();
        let payload: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        redis.publish(row["channel"].as_str().unwrap(), &payload).await;
        sent += 1;
    }
    a.publish(&broadcast("still here", &[])).unwrap().await.unwrap();
    until(SOON, "the broadcast", || !inbox.events().is_empty()).await;
    // Two 5.x requests and one broadcast for a room that is not here are no errors; the answer to an unknown
    // request is one that the server's own logic leaves out.
    let told = inbox.statuses().iter().filter(|status| matches!(status, BusStatus::Malformed { .. })).count();
    assert_eq!((told, inbox.messages().len()), (sent - 4, 2), "{:?}", inbox.news());
}
