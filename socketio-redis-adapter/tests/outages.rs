//! Redis dies, freezes, cuts us off, says no: what the server is told, what is lost and what is not.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use socketio_protocol::{
    cluster::{Bus, BusError, BusStatus, Channel, Envelope, Inbox, Message, Options},
    socket::Args,
};
use socketio_redis_adapter::{ConnectError, QueueLimits, RedisAdapter};
use support::{Memory, Redis, broadcast, false_redis, until};

const SOON: Duration = Duration::from_secs(3);

async fn join(url: &str) -> (RedisAdapter, Arc<dyn Channel>, Arc<Memory>) {
    let adapter = RedisAdapter::connect(url).await.unwrap();
    let inbox = Memory::new(&[]);
    let channel = adapter.open("/", inbox.clone());
    channel.ready().await.unwrap();
    (adapter, channel, inbox)
}

#[tokio::test]
async fn after_a_restart_of_redis_everything_works_within_three_seconds_and_the_gap_is_told() {
    let mut redis = Redis::start();
    let (_a, a, a_inbox) = join(&redis.url()).await;
    let (_b, b, b_inbox) = join(&redis.url()).await;
    a.publish(&broadcast("before", &[])).unwrap().await.unwrap();
    until(SOON, "the broadcast", || b_inbox.events() == ["before"]).await;

    let killed = Instant::now();
    redis.kill();
    until(SOON, "both know", || a_inbox.downs() == 1 && b_inbox.downs() == 1).await;
    let queued = a.publish(&broadcast("meanwhile", &[])).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.restart();
    let restarted = Instant::now();
    queued.await.unwrap();
    a.ready().await.unwrap();
    b.ready().await.unwrap();
    a.publish(&broadcast("after a", &[])).unwrap().await.unwrap();
    b.publish(&broadcast("after b", &[])).unwrap().await.unwrap();
    until(SOON, "broadcasts both ways", || {
        b_inbox.events().contains(&"after a".into()) && a_inbox.events().contains(&"after b".into())
    })
    .await;
    assert!(restarted.elapsed() < SOON, "{:?}", restarted.elapsed());
    for inbox in [a_inbox, b_inbox] {
        let statuses = inbox.statuses();
        let [BusStatus::Up, BusStatus::Down { .. }, BusStatus::Up, BusStatus::Gap { since, until, lost: None }] =
            &statuses[..]
        else {
            panic!("{statuses:?}")
        };
        assert!(*since <= killed + Duration::from_millis(500) && *until >= restarted, "{since:?} {until:?} {killed:?}");
    }
}

#[tokio::test]
async fn when_redis_cuts_the_subscribers_off_they_are_back_at_once() {
    let redis = Redis::start();
    let (_a, a, _) = join(&redis.url()).await;
    let (_b, b, inbox) = join(&redis.url()).await;
    for round in 1..=3 {
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        until(SOON, "the gap", || inbox.gaps() == round).await;
        b.ready().await.unwrap();
        a.publish(&broadcast(&round.to_string(), &[])).unwrap().await.unwrap();
        until(SOON, "the broadcast", || inbox.events().len() == round).await;
    }
}

#[tokio::test]
async fn when_redis_cuts_everybody_off_what_was_not_sent_yet_is_sent_later() {
    let redis = Redis::start();
    let (_a, a, _) = join(&redis.url()).await;
    let (_b, _channel, inbox) = join(&redis.url()).await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    let mut confirmed = Vec::new();
    for number in (0..100).map(|number| number.to_string()) {
        // The first may be handed to a connection that is already closed: it is not repeated, but it is told.
        if a.publish(&broadcast(&number, &[])).unwrap().await.is_ok() {
            confirmed.push(number);
        }
    }
    assert!(confirmed.len() >= 99, "{} confirmed", confirmed.len());
    until(SOON, "the last", || inbox.events().last() == confirmed.last()).await;
    assert_eq!(inbox.events(), confirmed);
}

#[tokio::test]
async fn a_frozen_redis_blocks_nobody_and_loses_nothing() {
    let redis = Redis::start();
    let (_a, a, _) = join(&redis.url()).await;
    let (_b, _channel, inbox) = join(&redis.url()).await;
    redis.signal("STOP");
    let started = Instant::now();
    let published: Vec<_> = (0..5_000).map(|number| a.publish(&broadcast(&number.to_string(), &[])).unwrap()).collect();
    assert!(started.elapsed() < Duration::from_millis(500), "publishing took {:?}", started.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    redis.signal("CONT");
    for published in published {
        published.await.unwrap();
    }
    until(SOON, "all", || inbox.messages().len() == 5_000).await;
    assert_eq!((inbox.gaps(), inbox.downs()), (0, 0));
}

#[tokio::test]
async fn a_link_that_died_without_a_word_is_noticed() {
    let redis = Redis::start();
    let (_a, a, inbox) = join(&redis.url()).await;
    redis.signal("STOP");
    until(Duration::from_secs(11), "down", || inbox.downs() == 1).await;
    let started = Instant::now();
    let count = a.server_count().await;
    assert!(count.is_err() && started.elapsed() < Duration::from_secs(6), "{count:?} after {:?}", started.elapsed());
    redis.signal("CONT");
    until(Duration::from_secs(9), "up again", || inbox.gaps() == 1).await;
}

#[tokio::test]
async fn the_queue_is_bounded_in_messages_bytes_and_age() {
    let mut redis = Redis::start();
    let limits = QueueLimits { messages: 10, bytes: 1_000, age: Duration::from_secs(1) };
    let adapter = RedisAdapter::builder(&redis.url()).queue(limits).connect().await.unwrap();
    let inbox = Memory::new(&[]);
    let channel = adapter.open("/", inbox.clone());
    channel.ready().await.unwrap();
    redis.kill();
    until(SOON, "both links are down", || inbox.downs() == 1 && adapter.stats().links_down == 1).await;

    let published: Vec<_> = (0..11).map(|_| channel.publish(&broadcast("x", &[]))).collect();
    let full = published.iter().filter(|result| result.is_err()).count();
    assert!(full >= 1 && matches!(published.last(), Some(Err(BusError::Full { .. }))), "{published:?}");
    let started = Instant::now();
    for published in published.into_iter().flatten() {
        assert!(matches!(published.await, Err(BusError::Unreachable { .. })));
    }
    assert!(started.elapsed() < SOON, "they failed after {:?}", started.elapsed());

    let large = Message::Broadcast {
        args: Args::new_event("large", &"x".repeat(600)).unwrap(),
        options: Options::default(),
        request: None,
    };
    let first = channel.publish(&large).unwrap();
    assert!(matches!(channel.publish(&large), Err(BusError::Full { queued: 1 })));
    redis.restart();
    // Sent if Redis came back in time, failed with a reason if not: either way it ends.
    let _ = tokio::time::timeout(SOON, first).await.expect("it ends");
    until(SOON, "room again", || channel.publish(&large).is_ok()).await;
}

#[tokio::test]
async fn one_who_asks_for_a_count_while_redis_is_away_hears_so_at_once() {
    let mut redis = Redis::start();
    let (adapter, a, inbox) = join(&redis.url()).await;
    redis.kill();
    until(SOON, "both links are down", || inbox.downs() == 1 && adapter.stats().links_down == 1).await;
    let started = Instant::now();
    assert!(matches!(a.server_count().await, Err(BusError::Unreachable { .. })));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_server_may_start_before_its_redis() {
    let mut redis = Redis::start();
    redis.kill();
    assert!(matches!(RedisAdapter::connect(&redis.url()).await, Err(ConnectError::Unreachable { .. })));
    let adapter = RedisAdapter::builder(&redis.url()).lazy().unwrap();
    let inbox = Memory::new(&[]);
    let channel = adapter.open("/", inbox.clone());
    let early = channel.publish(&broadcast("early", &[])).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    redis.restart();
    channel.ready().await.unwrap();
    early.await.unwrap();
    assert_eq!(inbox.gaps(), 0, "who was never up has missed nothing");
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    let redis = Redis::with(&["--requirepass", "s3cret"]);
    let connect = |url: String| async move { RedisAdapter::connect(&url).await.err() };
    assert!(
        matches!(connect(redis.url()).await, Some(ConnectError::Auth { reason, .. }) if reason.starts_with("NOAUTH"))
    );
    let wrong = connect(format!("redis://:wr0ng@127.0.0.1:{}", redis.port)).await;
    assert!(matches!(&wrong, Some(ConnectError::Auth { reason, .. }) if reason.starts_with("WRONGPASS")), "{wrong:?}");
    assert!(!wrong.unwrap().to_string().contains("wr0ng"));
    assert_eq!(connect(format!("redis://:s3cret@127.0.0.1:{}", redis.port)).await, None);
    let database = connect(format!("redis://:s3cret@127.0.0.1:{}/999", redis.port)).await;
    assert!(matches!(database, Some(ConnectError::Refused { .. })), "{database:?}");

    let loading = connect(false_redis("-LOADING Redis is loading the dataset in memory\r\n-LOADING\r\n").await).await;
    assert!(matches!(loading, Some(ConnectError::Loading { .. })), "{loading:?}");
    let http = connect(false_redis("HTTP/1.1 400 Bad Request\r\n\r\n").await).await;
    assert!(matches!(http, Some(ConnectError::Unreachable { .. })), "{http:?}");
    let silent = connect(false_redis("").await).await;
    assert!(matches!(silent, Some(ConnectError::Timeout { .. })), "{silent:?}");
    assert!(matches!(
        connect("rediss://127.0.0.1:1".into()).await,
        Some(ConnectError::NoTls { .. } | ConnectError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn a_user_who_may_not_subscribe_is_told_and_heard_once_he_may() {
    let redis = Redis::start();
    redis.cli(&[
        "ACL",
        "SETUSER",
        "ana",
        "on",
        ">pw",
        "+@all",
        "resetchannels",
        "&socket.io*#/open#*",
        "&socket.io-re*",
    ]);
    let adapter = RedisAdapter::connect(&format!("redis://ana:pw@127.0.0.1:{}", redis.port)).await.unwrap();
    let inbox = Memory::new(&[]);
    let channel = adapter.open("/", inbox.clone());
    assert!(matches!(channel.ready().await, Err(BusError::Refused { reason }) if reason.starts_with("NOPERM")));
    let refused = channel.publish(&broadcast("x", &[])).unwrap().await;
    assert!(matches!(refused, Err(BusError::Refused { reason }) if reason.starts_with("NOPERM")));
    assert_eq!(inbox.downs(), 1);

    redis.cli(&["ACL", "SETUSER", "ana", "allchannels"]);
    until(Duration::from_secs(8), "up", || inbox.statuses().iter().any(|status| matches!(status, BusStatus::Up))).await;
    channel.publish(&broadcast("x", &[])).unwrap().await.unwrap();
}

#[tokio::test]
async fn what_is_queued_when_the_adapter_is_dropped_is_still_sent() {
    let redis = Redis::start();
    let (_b, _channel, inbox) = join(&redis.url()).await;
    let (adapter, a, _) = join(&redis.url()).await;
    let published: Vec<_> = (0..1_000).map(|number| a.publish(&broadcast(&number.to_string(), &[])).unwrap()).collect();
    drop((adapter, a));
    for published in published {
        published.await.unwrap();
    }
    until(SOON, "all", || inbox.messages().len() == 1_000).await;
    until(SOON, "its connections are gone", || redis.cli(&["CLIENT", "LIST"]).matches("name=socketio-").count() == 2)
        .await;
}

/// Hears as [`Memory`] does, and takes its time for the first message.
struct Slow {
    memory: Arc<Memory>,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
    waited: AtomicBool,
}

impl Inbox for Slow {
    fn receive(&self, envelope: Envelope) {
        if !self.waited.swap(true, Ordering::SeqCst) {
            self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(20)).expect("it is told to go on");
        }
        self.memory.receive(envelope);
    }

    fn has_room(&self, _: &str) -> bool {
        true
    }

    fn status(&self, status: BusStatus) {
        self.memory.status(status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_are_trimmed_before_they_were_read_are_counted() {
    let redis = Redis::start();
    for protocol in ["", "?protocol=resp3"] {
        let url = format!("{}{protocol}", redis.url());
        let stream = format!("stream{protocol}");
        let build = || RedisAdapter::builder(&url).stream_name(stream.as_str()).max_len(100).read_count(50);
        // The slow one holds up its thread, and with it the task that is next there: it has a runtime of its own.
        let of_its_own = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (a, slow) = (build().connect().await.unwrap(), build());
        let b = of_its_own.spawn(async move { slow.connect().await }).await.unwrap().unwrap();
        let (sender, memory) = (a.open("/", Memory::new(&[])), Memory::new(&[]));
        let (go_on, told) = std::sync::mpsc::channel();
        let slow = Slow { memory: memory.clone(), go_on: Mutex::new(told), waited: AtomicBool::new(false) };
        let receiver = b.open("/", Arc::new(slow));
        sender.ready().await.unwrap();
        receiver.ready().await.unwrap();
        for number in 0..2_000 {
            let published = sender.publish(&broadcast(&number.to_string(), &[])).unwrap();
            if number % 500 == 499 {
                published.await.unwrap();
            }
        }
        go_on.send(()).unwrap();
        until(SOON, "the last", || memory.events().last().is_some_and(|event| event == "1999")).await;
        sender.publish(&broadcast("after", &[])).unwrap().await.unwrap();
        until(SOON, "one more", || memory.events().last().is_some_and(|event| event == "after")).await;
        let missing = 2_001 - memory.events().len() as u64;
        assert!(missing > 1_000, "{missing}");
        assert_eq!(b.stats().trimmed, missing);
        let in_gap = |status: &BusStatus| match status {
            BusStatus::Gap { lost, .. } => lost.expect("Redis 7 counts"),
            _ => 0,
        };
        assert_eq!(memory.statuses().iter().map(in_gap).sum::<u64>(), missing);
        of_its_own.shutdown_background(); // Not waited for, in a task.
    }
}

#[tokio::test]
async fn what_is_not_sent_is_counted() {
    let mut redis = Redis::start();
    let queue = QueueLimits { messages: 10, age: Duration::from_millis(200), ..QueueLimits::default() };
    let adapter = RedisAdapter::builder(&redis.url()).queue(queue).connect().await.unwrap();
    let channel = adapter.open("/", Memory::new(&[]));
    channel.ready().await.unwrap();
    redis.signal("STOP");
    let sent = channel.publish(&broadcast("on its way", &[])).unwrap();
    until(SOON, "it is on its way", || adapter.stats().queued == 0).await;
    redis.kill();
    assert!(sent.await.is_err());
    let losses = || {
        let stats = adapter.stats();
        (stats.dropped, stats.failed, stats.unknown)
    };
    assert_eq!(losses(), (0, 0, 1));
    let queued: Vec<_> = (0..12).map(|n| channel.publish(&broadcast(&n.to_string(), &[]))).collect();
    assert_eq!(queued.iter().filter(|queued| queued.is_err()).count(), 2);
    for queued in queued.into_iter().flatten() {
        assert!(queued.await.is_err());
    }
    assert_eq!(losses(), (2, 10, 1));
}
