//! What every family promises, asked of each in the same words: two adapters on one Redis, what one says the other
//! hears, whole, in order, once, and outages are survived.

mod support;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use socketio_protocol::{
    cluster::{Bus, BusError, Channel, Flags, Message, Options, RemoteSocket, Want},
    socket::{Args, Value},
};
use socketio_redis_adapter::{Builder, RedisAdapter, SubscriptionMode};
use support::{Memory, Redis, broadcast, until};

const SOON: Duration = Duration::from_secs(5);

macro_rules! family_contract {
    ($family:ident, $build:expr) => {
        family_contract!($family, $build, "");
    };
    ($family:ident, $build:expr, $query:expr) => {
        mod $family {
            use super::*;

            const BUILD: Build = ($build, $query);

            #[tokio::test]
            async fn every_message_reaches_the_other_server_and_not_its_sender() {
                super::every_message_reaches_the_other_server_and_not_its_sender(BUILD).await;
            }

            #[tokio::test]
            async fn broadcasts_to_rooms_arrive_where_the_room_is() {
                super::broadcasts_to_rooms_arrive_where_the_room_is(BUILD).await;
            }

            #[tokio::test]
            async fn ten_thousand_broadcasts_arrive_in_order() {
                super::ten_thousand_broadcasts_arrive_in_order(BUILD).await;
            }

            #[tokio::test]
            async fn servers_are_counted_by_namespace() {
                super::servers_are_counted_by_namespace(BUILD).await;
            }

            #[tokio::test]
            async fn all_works_again_after_redis_was_restarted() {
                super::all_works_again_after_redis_was_restarted(BUILD).await;
            }

            #[tokio::test]
            async fn a_namespace_that_was_left_hears_no_more() {
                super::a_namespace_that_was_left_hears_no_more(BUILD).await;
            }
        }
    };
}

family_contract!(classic, |builder| builder);
family_contract!(classic_other_key, |builder| builder.key("mine"));
family_contract!(sharded, |builder| builder.sharded(SubscriptionMode::Dynamic));
family_contract!(sharded_static, |builder| builder.sharded(SubscriptionMode::Static));
family_contract!(sharded_private, |builder| builder.sharded(SubscriptionMode::DynamicPrivate));
family_contract!(streams, |builder| builder.streams());
family_contract!(several_streams, |builder| builder.streams().stream_count(3).read_count(7));
family_contract!(streams_sharded_pub_sub, |builder| builder.streams().use_sharded_pub_sub(true));
family_contract!(classic_over_resp3, |builder| builder, "?protocol=resp3");
family_contract!(sharded_over_resp3, |builder| builder.sharded(SubscriptionMode::Dynamic), "?protocol=resp3");
family_contract!(streams_over_resp3, |builder| builder.streams().stream_count(3).read_count(7), "?protocol=resp3");

/// How an adapter is built, and what stands behind the URL of its Redis.
type Build = (fn(Builder) -> Builder, &'static str);

/// One server in one namespace.
struct Node {
    _adapter: RedisAdapter,
    channel: Arc<dyn Channel>,
    inbox: Arc<Memory>,
}

async fn join(redis: &Redis, (build, query): Build, nsp: &str, rooms: &[&str]) -> Node {
    let adapter = build(RedisAdapter::builder(&format!("{}{query}", redis.url()))).connect().await.unwrap();
    let inbox = Memory::new(rooms);
    let channel = adapter.open(nsp, inbox.clone());
    for room in rooms {
        channel.room_created(room);
    }
    channel.ready().await.unwrap();
    Node { _adapter: adapter, channel, inbox }
}

async fn every_message_reaches_the_other_server_and_not_its_sender(build: Build) {
    let redis = Redis::start();
    let a = join(&redis, build, "/chat", &[]).await;
    let b = join(&redis, build, "/chat", &["red"]).await;
    let (questions, answers) = all_messages();
    let (mut asked, mut refused) = (Vec::new(), 0);
    for question in questions {
        match a.channel.publish(&question) {
            Ok(published) => {
                published.await.unwrap();
                asked.push(question);
            }
            Err(BusError::Encode { .. }) => refused += 1,
            Err(error) => panic!("{question:?}: {error}"),
        }
    }
    assert!(matches!(refused, 0 | 5), "all but the classic ones can be said");
    until(SOON, "all questions at b", || b.inbox.messages().len() >= asked.len()).await;
    // Streams carry some on one way and some on another: order is kept on each.
    let said: Vec<String> = asked.iter().map(|message| format!("{message:?}")).collect();
    let heard: Vec<String> = b.inbox.messages().iter().map(|heard| format!("{:?}", heard.message)).collect();
    assert_eq!(sorted(heard), sorted(said));
    for heard in b.inbox.messages() {
        assert_eq!((heard.nsp.as_str(), heard.uid.as_deref()), ("/chat", Some(a.channel.uid())));
    }

    let mut given = Vec::new();
    for answer in answers {
        match b.channel.respond(Some(a.channel.uid()), &answer) {
            Ok(published) => {
                published.await.unwrap();
                given.push(format!("{answer:?}"));
            }
            Err(BusError::Encode { .. }) => {}
            Err(error) => panic!("{answer:?}: {error}"),
        }
    }
    until(SOON, "all answers at a", || a.inbox.messages().len() >= given.len()).await;
    let heard: Vec<String> = a.inbox.messages().iter().map(|heard| format!("{:?}", heard.message)).collect();
    assert_eq!(heard, given, "the asker hears the answers, and nothing of its own questions");
}

async fn broadcasts_to_rooms_arrive_where_the_room_is(build: Build) {
    let redis = Redis::start();
    let a = join(&redis, build, "/", &[]).await;
    let private = "0nFhvY5hvpLDJSHhAAAB";
    let b = join(&redis, build, "/", &["red", "r#m", "salón", private]).await;
    // In the dynamic modes the channel of a room is asked for when the room is made.
    let probe = broadcast("probe", &["salón"]);
    let last = broadcast("probe", &[private]);
    for probe in [probe, last] {
        let before = b.inbox.events().len();
        loop {
            a.channel.publish(&probe).unwrap().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            if b.inbox.events().len() > before {
                break;
            }
        }
    }
    for (name, rooms) in
        [("red", &["red"][..]), ("hash", &["r#m"]), ("own", &[private]), ("two", &["blue", "red"]), ("all", &[])]
    {
        a.channel.publish(&broadcast(name, rooms)).unwrap().await.unwrap();
    }
    // Probes may come late.
    let others = || b.inbox.events().into_iter().filter(|name| name != "probe").collect::<Vec<_>>();
    until(SOON, "all", || others().len() >= 5).await;
    // Those with a channel of their own may overtake others, never each other.
    assert_eq!(sorted(others()), sorted(["red", "hash", "own", "two", "all"].map(String::from).to_vec()));
}

async fn ten_thousand_broadcasts_arrive_in_order(build: Build) {
    let redis = Redis::start();
    let a = join(&redis, build, "/", &[]).await;
    let b = join(&redis, build, "/", &[]).await;
    for number in 0..10_000 {
        let published = a.channel.publish(&broadcast(&number.to_string(), &[])).unwrap();
        if number % 1_000 == 999 {
            // Streams keep the last 10,000 entries: who reads has to be given the time.
            published.await.unwrap();
        }
    }
    until(Duration::from_secs(20), "all", || b.inbox.messages().len() == 10_000).await;
    assert_eq!(b.inbox.events(), (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(b.inbox.gaps(), 0);
}

async fn servers_are_counted_by_namespace(build: Build) {
    let redis = Redis::start();
    let a = join(&redis, build, "/", &[]).await;
    assert_eq!(a.channel.server_count().await, Ok(1));
    let _b = join(&redis, build, "/", &[]).await;
    assert_eq!(a.channel.server_count().await, Ok(2));
    let other = join(&redis, build, "/other", &[]).await;
    assert_eq!(other.channel.server_count().await, Ok(1));
}

async fn all_works_again_after_redis_was_restarted(build: Build) {
    let mut redis = Redis::start();
    let a = join(&redis, build, "/", &[]).await;
    let b = join(&redis, build, "/", &["red"]).await;
    redis.kill();
    until(SOON, "both know", || a.inbox.downs() == 1 && b.inbox.downs() == 1).await;
    redis.restart();
    a.channel.ready().await.unwrap();
    b.channel.ready().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    a.channel.publish(&broadcast("to all", &[])).unwrap().await.unwrap();
    a.channel.publish(&broadcast("to red", &["red"])).unwrap().await.unwrap();
    until(Duration::from_secs(3), "broadcasts", || b.inbox.events() == ["to all", "to red"]).await;
    assert_eq!(a.channel.server_count().await, Ok(2));
}

async fn a_namespace_that_was_left_hears_no_more(build: Build) {
    let redis = Redis::start();
    let a = join(&redis, build, "/", &[]).await;
    let b = join(&redis, build, "/", &["red"]).await;
    b.channel.close();
    assert_eq!(b.channel.ready().await, Err(BusError::Closed));
    assert!(matches!(b.channel.publish(&broadcast("x", &[])), Err(BusError::Closed)));
    let alone = Duration::from_secs(3);
    let deadline = std::time::Instant::now() + alone;
    while a.channel.server_count().await != Ok(1) {
        assert!(std::time::Instant::now() < deadline, "still counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    a.channel.publish(&broadcast("late", &["red"])).unwrap().await.unwrap();
    a.channel.publish(&broadcast("late", &[])).unwrap().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(b.inbox.events().is_empty());
}

#[tokio::test]
async fn a_room_that_is_ready_hears_whatever_is_sent_from_then_on() {
    let redis = Redis::start();
    let build: Build = (|builder| builder.sharded(SubscriptionMode::Dynamic), "");
    let rooms: Vec<String> = (0..500).map(|n| format!("room {n}")).collect();
    let a = join(&redis, build, "/", &[]).await;
    let b = join(&redis, build, "/", &[]).await;
    for (n, room) in rooms.iter().enumerate() {
        b.channel.room_created(room);
        if n % 3 == 0 {
            b.channel.room_created(room); // Once more changes nothing.
        }
        b.channel.ready().await.unwrap();
        a.channel.publish(&broadcast(room, &[room])).unwrap().await.unwrap();
    }
    until(SOON, "one of each room", || b.inbox.events().len() == rooms.len()).await;
    assert_eq!(b.inbox.events(), rooms);
}

#[tokio::test]
async fn a_room_whose_channel_redis_refuses_is_told() {
    let user =
        ["--user", "default", "on", "nopass", "+@all", "~*", "resetchannels", "&socket.io#/#", "&socket.io#/#*#"];
    let redis = Redis::with(&user);
    let build: Build = (|builder| builder.sharded(SubscriptionMode::Dynamic), "");
    let b = join(&redis, build, "/", &[]).await;
    assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "resetchannels", "&socket.io#/#"]), "OK");
    b.channel.room_created("red");
    assert!(matches!(b.channel.ready().await, Err(BusError::Refused { .. })));
    assert_eq!(b.inbox.downs(), 1);
}

#[tokio::test]
async fn streams_lose_nothing_while_the_link_is_cut() {
    let redis = Redis::start();
    let build: Build = (|builder| builder.streams(), "");
    let a = join(&redis, build, "/", &[]).await;
    let b = join(&redis, build, "/", &[]).await;
    for number in 0..500 {
        a.channel.publish(&broadcast(&number.to_string(), &[])).unwrap().await.unwrap();
        if number % 100 == 50 {
            for id in redis.cli(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("name=socketio-streams")) {
                let id = id.split_whitespace().find_map(|field| field.strip_prefix("id=")).unwrap();
                redis.cli(&["CLIENT", "KILL", "ID", id]);
            }
        }
    }
    until(SOON, "all", || b.inbox.messages().len() >= 500).await;
    assert_eq!(b.inbox.events(), (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(b.inbox.gaps(), 0);
}

#[tokio::test]
async fn entries_that_were_trimmed_before_they_were_read_are_told_as_a_gap() {
    let redis = Redis::start();
    let build: Build = (|builder| builder.streams(), "");
    let a = join(&redis, build, "/", &[]).await;
    let b = join(&redis, build, "/", &[]).await;
    a.channel.publish(&broadcast("first", &[])).unwrap().await.unwrap();
    until(SOON, "the first", || b.inbox.events() == ["first"]).await;
    // In one go, so that the readers come too late: two entries, one kept, and the readers cut off.
    let script = "redis.call('XADD','socket.io','*','uid','u','nsp','/','type','3','data','{}') \
                  redis.call('XTRIM','socket.io','MAXLEN','0') \
                  redis.call('XADD','socket.io','*','uid','u','nsp','/','type','3','data', ARGV[1]) return 1";
    for line in redis.cli(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("name=socketio-streams")) {
        let id = line.split_whitespace().find_map(|field| field.strip_prefix("id=")).unwrap().to_owned();
        redis.cli(&["CLIENT", "KILL", "ID", &id]);
    }
    let data = r#"{"packet":{"type":2,"data":["second"]},"opts":{"rooms":[],"except":[]}}"#;
    assert_eq!(redis.cli(&["EVAL", script, "0", data]), "1");
    until(SOON, "the second", || b.inbox.events().len() == 2).await;
    assert_eq!((b.inbox.events()[1].as_str(), b.inbox.gaps()), ("second", 1));
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// Questions and answers, one of each kind and some twice.
fn all_messages() -> (Vec<Message>, Vec<Message>) {
    let options = Options {
        rooms: vec!["red".into(), "blue".into()],
        except: vec!["sid".into()],
        flags: Flags { volatile: true, compress: Some(false), timeout: Some(1500), expect_single_response: false },
    };
    let target = Options { flags: Flags::default(), ..options.clone() };
    let id = || "REQ001".to_owned();
    let socket = RemoteSocket {
        id: "0nFhvY5hvpLDJSHhAAAB".into(),
        handshake: json!({"headers": {}, "auth": {"token": 1}}),
        rooms: vec!["0nFhvY5hvpLDJSHhAAAB".into(), "red".into()],
        data: Value::Object(vec![("bin".into(), Value::Binary(vec![1, 2].into())), ("n".into(), Value::from(1u64))]),
    };
    let event = |name: &str| Args::new_event(name, &("text", 1, [1.5], ())).unwrap();
    let answer = |value: &str| Args::new_list(&value).unwrap();
    let binary = Args::new_event("bin", &(Value::Binary(vec![1, 2, 3].into()), "after")).unwrap();
    let questions = vec![
        Message::Broadcast { args: event("all"), options: options.clone(), request: None },
        Message::Broadcast { args: binary.clone(), options: Options::default(), request: None },
        Message::Broadcast { args: event("ack"), options, request: Some(id()) },
        Message::Join { options: target.clone(), rooms: vec!["r1".into(), "r2".into()] },
        Message::Leave { options: target.clone(), rooms: vec!["r1".into()] },
        Message::Disconnect { options: target.clone(), close: true },
        Message::Summarize { options: target.clone(), request: id(), want: Want::Count },
        Message::Summarize { options: target.clone(), request: id(), want: Want::RoomSizes },
        Message::Summarize {
            options: target.clone(),
            request: id(),
            want: Want::Sockets { handshake: false, rooms: true, data: true },
        },
        Message::FetchSockets { options: target, request: id() },
        Message::ServerSideEmit { args: event("sse"), request: None },
        Message::ServerSideEmit { args: binary, request: Some(id()) },
        Message::AllRooms { request: id() },
        Message::Sockets { rooms: vec!["red".into()], request: id() },
        Message::JoinOne { sid: "s".into(), room: "r".into(), request: id() },
        Message::LeaveOne { sid: "s".into(), room: "r".into(), request: id() },
        Message::DisconnectOne { sid: "s".into(), close: false, request: id() },
    ];
    let bytes = (Value::Binary(vec![1, 2].into()),);
    let answers = vec![
        Message::FetchSocketsResponse { request: id(), sockets: vec![socket] },
        Message::FetchSocketsResponse { request: id(), sockets: vec![] },
        Message::ServerSideEmitResponse { request: id(), answer: answer("yes") },
        Message::ServerSideEmitResponse { request: id(), answer: Args::new_list(&()).unwrap() },
        Message::BroadcastClientCount { request: id(), count: 2 },
        Message::BroadcastAck { request: id(), answer: answer("ok") },
        Message::BroadcastAck { request: id(), answer: Args::new_list(&()).unwrap() },
        Message::Summary { request: id(), count: 2, rooms: vec![("blue".into(), 1), ("red".into(), 2)] },
        Message::Summary { request: id(), count: 0, rooms: vec![] },
        Message::ClientsAsked { request: id(), ids: vec!["a".into(), "b".into()] },
        Message::ClientsAsked { request: id(), ids: vec![] },
        Message::AckOf { request: id(), sid: "a".into(), answer: Some(Args::new_list(&("ok", 2)).unwrap()) },
        Message::AckOf { request: id(), sid: "a".into(), answer: Some(Args::new_list(&bytes).unwrap()) },
        Message::AckOf { request: id(), sid: "a".into(), answer: None },
        Message::AllRoomsResponse { request: id(), rooms: vec!["red".into()] },
        Message::SocketsResponse { request: id(), ids: vec!["s".into()] },
        Message::OneDone { request: id() },
    ];
    (questions, answers)
}
