//! A Redis Cluster carries every family: over all its nodes, while a slot moves, and when a node is lost.

mod support;

use std::{sync::Arc, time::Duration};

use socketio_protocol::cluster::{Bus, Channel};
use socketio_redis_adapter::{Builder, RedisAdapter, SubscriptionMode};
use support::{Memory, RedisCluster, broadcast, until};

type Build = fn(Builder) -> Builder;

const FAMILIES: [(&str, Build, &str); 4] = [
    ("classic", |builder| builder, "socket.io#/#"),
    ("sharded", |builder| builder.sharded(SubscriptionMode::Static), "socket.io#/#"),
    ("sharded dynamic", |builder| builder.sharded(SubscriptionMode::Dynamic), "socket.io#/#"),
    ("streams", |builder| builder.streams().stream_count(2), "socket.io"),
];

/// Two servers in `/`; the second has sockets in `rooms`, and speaks RESP 3.
struct Two {
    one: Arc<dyn Channel>,
    other: Arc<dyn Channel>,
    heard: Arc<Memory>,
    _adapters: [RedisAdapter; 2],
}

impl Two {
    async fn meet(cluster: &RedisCluster, build: Build, rooms: &[&str]) -> Two {
        let adapter =
            async |query| build(RedisAdapter::builder(&format!("{}{query}", cluster.url()))).connect().await.unwrap();
        let (first, second) = (adapter("").await, adapter("?protocol=resp3").await);
        let heard = Memory::new(rooms);
        let (one, other) = (first.open("/", Memory::new(&[])), second.open("/", heard.clone()));
        for room in rooms {
            other.room_created(room);
        }
        one.ready().await.unwrap();
        other.ready().await.unwrap();
        Two { one, other, heard, _adapters: [first, second] }
    }

    /// Sends numbered events, some to rooms, and waits until the last is heard.
    async fn pass(&self, names: std::ops::Range<usize>, rooms: &[&[&str]], within: Duration) {
        let last = format!("event {}", names.end - 1);
        for n in names {
            drop(self.one.publish(&broadcast(&format!("event {n}"), rooms[n % rooms.len()])).unwrap());
        }
        until(within, &format!("{last} is heard"), || self.heard.events().contains(&last)).await;
    }

    /// Sends until one is heard.
    async fn pass_some(&self, name: &str, rooms: &[&str], within: Duration) {
        let deadline = std::time::Instant::now() + within;
        while !self.heard.events().iter().any(|event| event == name) {
            assert!(std::time::Instant::now() < deadline, "{name}: not heard within {within:?}");
            let _ = self.one.publish(&broadcast(name, rooms));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const ROOMS: [&str; 4] = ["a", "b", "c", "d"];

#[tokio::test]
async fn all_families_pass_messages_over_the_nodes_of_a_cluster() {
    let cluster = RedisCluster::start(3, 0);
    for (family, build, _) in FAMILIES {
        let two = Two::meet(&cluster, build, &ROOMS).await;
        // The subscription to a room is confirmed to nobody.
        for room in ROOMS {
            two.pass_some(&format!("{room} is subscribed to"), &[room], Duration::from_secs(5)).await;
        }
        two.pass(0..400, &[&[], &["a"], &["b"], &["c", "d"]], Duration::from_secs(10)).await;
        until(Duration::from_secs(5), "all of them", || {
            two.heard.events().iter().filter(|event| event.starts_with("event ")).count() == 400
        })
        .await;
        for channel in [&two.one, &two.other] {
            assert_eq!(channel.server_count().await, Ok(2), "{family}");
        }
        assert_eq!((two.heard.gaps(), two.heard.downs()), (0, 0), "{family}");
    }
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_messages_along() {
    let cluster = RedisCluster::start(3, 0);
    for (family, build, key) in FAMILIES {
        let two = Two::meet(&cluster, build, &[]).await;
        two.pass(0..10, &[&[]], Duration::from_secs(5)).await;
        cluster.move_slot(key);
        two.pass_some("after the move", &[], Duration::from_secs(3)).await;
        two.pass(10..20, &[&[]], Duration::from_secs(5)).await;
        let events = two.heard.events();
        assert!(events.iter().filter(|event| event.starts_with("event ")).count() == 20, "{family}: {events:?}");
        assert_eq!(two.one.server_count().await, Ok(2), "{family}");
        if family.starts_with("sharded") {
            assert!(two.heard.gaps() >= 1, "{family}: what may have been missed meanwhile is told");
        }
    }
}

#[tokio::test]
async fn when_a_master_is_lost_its_replica_carries_on() {
    for (family, build, key) in [FAMILIES[0], FAMILIES[1], FAMILIES[3]] {
        let mut cluster = RedisCluster::start(3, 1);
        let two = Two::meet(&cluster, build, &[]).await;
        two.pass(0..10, &[&[]], Duration::from_secs(5)).await;
        let lost = cluster.owner(key);
        cluster.nodes[lost].kill();
        // A second until the others notice, and about one for the election.
        two.pass_some("after the loss", &[], Duration::from_secs(15)).await;
        two.pass(10..20, &[&[]], Duration::from_secs(5)).await;
        assert_eq!(two.one.server_count().await, Ok(2), "{family}");
    }
}
