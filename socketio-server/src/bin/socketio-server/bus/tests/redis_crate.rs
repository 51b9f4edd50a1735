//! The bus as the `redis` crate sees it, which is how our own adapter and emitter see it.

use futures_util::StreamExt;

use super::{Running, soon};

#[tokio::test]
async fn the_redis_crate_publishes_and_listens_in_version_2() {
    let bus = Running::start().await;
    let client = bus.redis("").await;
    let mut publisher = soon(client.get_multiplexed_async_connection()).await.expect("connects");
    let mut listener = soon(client.get_async_pubsub()).await.expect("connects");
    soon(listener.subscribe(&["news", "sport"])).await.expect("subscribes");
    soon(listener.psubscribe("weather.*")).await.expect("subscribes");

    let counts: Vec<(String, usize)> =
        soon(redis::cmd("PUBSUB").arg("NUMSUB").arg("news").arg("none").query_async(&mut publisher))
            .await
            .expect("counts");
    assert_eq!(counts, [("news".into(), 1), ("none".into(), 0)]);

    let payload = vec![0, b'\r', b'\n', 255];
    for channel in ["news", "none", "weather.north", "sport"] {
        let _: usize = soon(redis::cmd("PUBLISH").arg(channel).arg(&payload).query_async(&mut publisher))
            .await
            .expect("publishes");
    }
    let mut heard = listener.on_message();
    for (channel, pattern) in [("news", None), ("weather.north", Some("weather.*")), ("sport", None)] {
        let message = soon(heard.next()).await.expect("a message");
        assert_eq!(message.get_channel_name(), channel);
        assert_eq!(message.get_pattern::<Option<String>>().expect("text").as_deref(), pattern);
        assert_eq!(message.get_payload_bytes(), payload);
    }
    drop(heard);

    soon(listener.unsubscribe("news")).await.expect("unsubscribes");
    let left: usize =
        soon(redis::cmd("PUBLISH").arg("news").arg("x").query_async(&mut publisher)).await.expect("publishes");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_redis_crate_publishes_and_listens_in_version_3() {
    let bus = Running::start().await;
    let client = bus.redis("?protocol=resp3").await;
    let (news, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(news);
    let mut connection = soon(client.get_multiplexed_async_connection_with_config(&config)).await.expect("connects");
    soon(connection.subscribe("news")).await.expect("subscribes");
    soon(connection.psubscribe("n*")).await.expect("subscribes");
    let receivers: usize = soon(redis::cmd("PUBLISH").arg("news").arg("hello").query_async(&mut connection))
        .await
        .expect("a listener of version 3 may publish");
    assert_eq!(receivers, 2);
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        kinds.push(soon(heard.recv()).await.expect("a push").kind);
    }
    use redis::PushKind::{Message, PMessage, PSubscribe, Subscribe};
    assert_eq!(kinds, [Subscribe, PSubscribe, Message, PMessage]);
}

#[tokio::test]
async fn the_redis_crate_shows_a_user_why_a_password_is_refused() {
    let bus = Running::start().await;
    let url = format!("redis://ana:secret@{}/", bus.addr);
    let client = redis::Client::open(url).expect("a good URL");
    let error = soon(client.get_multiplexed_async_connection()).await.expect_err("refused");
    assert_eq!(error.kind(), redis::ErrorKind::AuthenticationFailed, "{error}");
}
