//! With something that only pretends to be Redis: each refusal is told apart, and nothing is sent twice.

mod support;

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use socketio_emitter::{EmitError, Emitter};
use support::{Fake, Reply};

/// Answers `PUBLISH` so, and everything else with OK.
async fn publish(reply: impl Fn() -> Reply + Send + Sync + Clone + 'static) -> Fake {
    Fake::start(move |command| if command[0] == "PUBLISH" { reply() } else { Reply::Say("+OK") }).await
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    type Is = fn(&EmitError) -> bool;
    let cases: [(&str, Is, bool); 8] = [
        ("-NOAUTH Authentication required.", |e| matches!(e, EmitError::Auth { .. }), false),
        ("-NOPERM this user has no permissions", |e| matches!(e, EmitError::Denied { .. }), false),
        ("-READONLY You can't write", |e| matches!(e, EmitError::ReadOnly { .. }), true),
        ("-LOADING Redis is loading the dataset in memory", |e| matches!(e, EmitError::Loading { .. }), true),
        ("-CLUSTERDOWN The cluster is down", |e| matches!(e, EmitError::ClusterDown { .. }), true),
        ("-MASTERDOWN Link with MASTER is down", |e| matches!(e, EmitError::ClusterDown { .. }), true),
        ("-ERR unknown command", |e| matches!(e, EmitError::Refused { .. }), false),
        ("+OK", |e| matches!(e, EmitError::Refused { .. }), false),
    ];
    for (says, is, transient) in cases {
        let fake = publish(move || Reply::Say(says)).await;
        let io = Emitter::connect(&fake.url()).await.unwrap();
        let error = io.emit("ev", 1).await.unwrap_err();
        assert!(is(&error), "{says}: {error:?}");
        assert_eq!(error.is_transient(), transient, "{says}");
        assert!(!error.may_have_been_sent(), "{says}");
        if let Some(words) = says.strip_prefix('-') {
            assert!(error.to_string().contains(words), "{says}: {error}");
        }
    }
}

#[tokio::test]
async fn one_refusal_in_a_batch_is_told_to_its_sender_alone() {
    let fake = Fake::start(|command| match command {
        [publish, channel, ..] if publish == "PUBLISH" => match channel.as_str() {
            "socket.io#/#secret#" => Reply::Say("-NOPERM No permissions to access a channel"),
            _ => Reply::Say(":3"),
        },
        _ => Reply::Say("+OK"),
    })
    .await;
    let io = Emitter::lazy(&fake.url()).unwrap();
    let (first, second, third) = (io.emit("ev", 1), io.to("secret").emit("ev", 2), io.emit("ev", 3));
    assert!(matches!(second.await, Err(EmitError::Denied { .. })));
    assert_eq!(first.await.unwrap().receivers(), 3);
    assert_eq!(third.await.unwrap().receivers(), 3);
}

#[tokio::test]
async fn a_redis_that_is_loading_or_refuses_the_login_is_not_connected_to() {
    let loading = Fake::start(|_| Reply::Say("-LOADING Redis is loading the dataset in memory")).await;
    assert!(matches!(Emitter::connect(&loading.url()).await, Err(EmitError::Loading { .. })));
    let full = Fake::start(|_| Reply::Say("-ERR max number of clients reached")).await;
    for who in ["", ":s3cret@"] {
        let error = Emitter::connect(&format!("redis://{who}{}", full.address)).await.unwrap_err();
        assert!(matches!(&error, EmitError::Refused { reason } if reason.contains("max number")), "{error:?}");
    }
    let old = "-ERR AUTH <password> called without any password configured for the default user";
    let open = Fake::start(move |command| Reply::Say(if command[0] == "AUTH" { old } else { "+OK" })).await;
    let error = Emitter::connect(&format!("redis://:s3cret@{}", open.address)).await.unwrap_err();
    assert!(matches!(&error, EmitError::Auth { reason, .. } if reason.starts_with("ERR AUTH")), "{error:?}");
}

#[tokio::test]
async fn a_user_who_may_publish_but_not_ping_is_connected() {
    let fake = Fake::start(|command| {
        Reply::Say(if command[0] == "PUBLISH" { ":1" } else { "-NOPERM this user has no permissions" })
    })
    .await;
    assert_eq!(Emitter::connect(&fake.url()).await.unwrap().emit("ev", 1).await.unwrap().receivers(), 1);
}

#[tokio::test]
async fn what_may_have_been_sent_is_not_sent_again() {
    let mut fake = publish(|| Reply::HangUp).await;
    let io = Emitter::connect(&fake.url()).await.unwrap();
    let error = io.emit("ev", 1).await.unwrap_err();
    assert!(matches!(error, EmitError::Unanswered { .. }), "{error:?}");
    assert!(error.may_have_been_sent() && !error.is_transient());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fake.came("PUBLISH"), 1);
}

#[tokio::test]
async fn one_that_lets_us_in_and_throws_us_out_is_not_run_against() {
    let mut fake = Fake::start(|command| match command {
        [_, _, name, _] if name == "LIB-VER" => Reply::Last("+OK"),
        _ => Reply::Say("+OK"),
    })
    .await;
    let _io = Emitter::connect(&fake.url()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let links = fake.came("PING");
    assert!((2..=8).contains(&links), "{links} links");
}

#[test]
fn what_ends_with_its_runtime_makes_room() {
    let outer = runtime();
    let mut fake = outer.block_on(publish(|| Reply::Silence));
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || outer.block_on(is_over));
    let io = Emitter::builder(&fake.url()).queue(1, 1_000).lazy().unwrap();
    for n in 0..3 {
        let runtime = runtime();
        let emitted = {
            let _inside = runtime.enter();
            io.emit("ev", n)
        };
        assert_eq!(emitted.queued(), Ok(()), "{n}");
        runtime.block_on(async {
            let came = async {
                while fake.came("PUBLISH") == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), came).await.expect("it is sent");
        });
        drop(runtime);
        let outcome = self::runtime().block_on(emitted);
        assert!(matches!(outcome, Err(EmitError::Unanswered { .. })), "{n}: {outcome:?}");
    }
    drop(over);
    assert!(server.join().unwrap().is_err(), "nothing is said, only let go");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_in_time() {
    let mut fake = publish(|| Reply::Silence).await;
    let timeout = Duration::from_millis(200);
    let io = Emitter::builder(&fake.url()).timeout(timeout).connect().await.unwrap();
    let started = Instant::now();
    assert_eq!(io.emit("ev", 1).await, Err(EmitError::Timeout { after: timeout }));
    assert!(started.elapsed() < Duration::from_secs(2));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fake.came("PUBLISH"), 1);
}

#[tokio::test]
async fn a_redis_that_does_not_greet_is_given_up_in_time() {
    let fake = Fake::start(|_| Reply::Silence).await;
    let started = Instant::now();
    let builder = Emitter::builder(&fake.url()).timeout(Duration::from_millis(200));
    let error = builder.clone().connect().await.unwrap_err();
    assert!(matches!(error, EmitError::Unreachable { .. }), "{error:?}");
    let error = builder.lazy().unwrap().emit("ev", 1).await.unwrap_err();
    assert!(matches!(error, EmitError::Unreachable { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_answers_come() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let fake = Fake::start(move |command| match command[0].as_str() {
        "PUBLISH" if !*gate.borrow() => Reply::Silence,
        "PUBLISH" => Reply::Say(":0"),
        _ => Reply::Say("+OK"),
    })
    .await;
    let timeout = Duration::from_millis(300);
    let io = Emitter::builder(&fake.url()).timeout(timeout).queue(3, 1 << 20).connect().await.unwrap();
    let waiting = [io.emit("ev", 1), io.emit("ev", 2), io.emit("ev", 3)];
    let error = io.emit("ev", 4).queued().unwrap_err();
    assert!(matches!(error, EmitError::Full { messages: 3, .. }), "{error:?}");
    for emitted in waiting {
        assert!(emitted.await.is_err());
    }
    open.send(true).unwrap();
    assert_eq!(io.emit("ev", 5).await.unwrap().receivers(), 0);

    let io = Emitter::builder(&fake.url()).queue(1_000, 10_000).lazy().unwrap();
    let waiting = [io.emit("ev", "x".repeat(9_000)), io.emit("ev", "x".repeat(100))];
    assert!(matches!(io.emit("ev", "x".repeat(1_000)).queued(), Err(EmitError::Full { messages: 2, bytes: 9_000.. })));
    for emitted in waiting {
        emitted.await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no form"))
        }
    }
    let io = Emitter::builder("redis://127.0.0.1:1").max_message(1_000).lazy().unwrap();
    for event in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert_eq!(io.emit(event, ()).queued(), Err(EmitError::Reserved { event: event.to_owned() }));
        assert_eq!(io.to("a").plan_emit(event, ()), Err(EmitError::Reserved { event: event.to_owned() }));
    }
    assert!(matches!(io.server_side_emit("connection", ()).await, Err(EmitError::Reserved { .. })));
    assert!(matches!(io.emit("ev", Broken).queued(), Err(EmitError::Encode { reason }) if reason.contains("no form")));
    let large = io.emit("ev", "x".repeat(1_000)).queued();
    assert!(matches!(large, Err(EmitError::TooLarge { bytes: 1_001..1_100, max: 1_000 })), "{large:?}");
}
