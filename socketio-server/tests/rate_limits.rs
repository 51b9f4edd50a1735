//! Clients that do too much, by paused time.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socketio_server::engine::{Excess, Rate, RateLimits, TransportKind};
use socketio_server::testing::{Refused, TestClient};
use socketio_server::{Data, Server};
use tokio::time::sleep;

const TRANSPORTS: [TransportKind; 2] = [TransportKind::WebSocket, TransportKind::Polling];

/// A server that answers to `echo` and `other`.
fn server(limits: RateLimits) -> Server {
    let io = Server::builder().rate_limits(limits).build();
    for event in ["echo", "other"] {
        io.on(event, async |Data(value): Data<Value>| value);
        io.of("/second").on(event, async |Data(value): Data<Value>| value);
    }
    io
}

/// How many of `n` events are answered; the others are to be answered with the error.
async fn answered(client: &TestClient, event: &str, n: usize) -> usize {
    let mut count = 0;
    for i in 0..n {
        match client.emit_with_ack::<Value>(event, i).await {
            value if value == json!(i) => count += 1,
            value => assert_eq!(value, json!({ "error": "rate limit exceeded" })),
        }
    }
    count
}

fn from(io: &Server, host: u8) -> socketio_server::testing::Connecting {
    TestClient::to(io).address(SocketAddr::from(([10, 0, 0, host], 1234)))
}

fn too_many(refused: &Refused) -> &str {
    assert_eq!(refused.status, Some(429), "{refused}");
    &refused.message
}

#[tokio::test(start_paused = true)]
async fn events_over_the_rate_of_a_socket_are_dropped_with_an_error() {
    let io = server(RateLimits::default().events(Rate::per_second(10).burst(20), Excess::Drop));
    for transport in TRANSPORTS {
        let ana = TestClient::to(&io).transport(transport).connect().await;
        let bob = TestClient::to(&io).transport(transport).connect().await;
        assert_eq!(answered(&ana, "echo", 50).await, 20, "{transport:?}");
        assert_eq!(answered(&bob, "echo", 10).await, 10, "another's excess is not his");
        let second = ana.enter("/second", ()).await.unwrap();
        assert_eq!(answered(&second, "echo", 50).await, 20, "another socket has its own");
        sleep(Duration::from_millis(500)).await;
        assert_eq!(answered(&ana, "other", 50).await, 5);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(answered(&ana, "echo", 50).await, 20);
    }
    assert_eq!(io.stats().rate_limited, 2 * (30 + 30 + 45 + 30));
}

#[tokio::test(start_paused = true)]
async fn one_event_can_have_a_rate_of_its_own() {
    let io = server(RateLimits::default().event("other", Rate::per_second(1), Excess::Drop));
    let ana = TestClient::connect(&io).await;
    assert_eq!(answered(&ana, "other", 10).await, 1);
    assert_eq!(answered(&ana, "echo", 100).await, 100);
}

#[tokio::test(start_paused = true)]
async fn who_floods_can_be_disconnected() {
    let io = server(RateLimits::default().events(Rate::per_second(5), Excess::Disconnect));
    for transport in TRANSPORTS {
        let mut ana = TestClient::to(&io).transport(transport).connect().await;
        let mut second = ana.enter("/second", ()).await.unwrap();
        for i in 0..6 {
            ana.emit("echo", i);
        }
        assert_eq!(ana.disconnected().await, "io server disconnect", "{transport:?}");
        assert_eq!(second.disconnected().await, "io server disconnect");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(io.stats().sockets, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_count_with_their_attachments() {
    let io = server(RateLimits::default().bytes(Rate::per_second(1000), Excess::Drop));
    let ana = TestClient::connect(&io).await;
    let refused = json!({ "error": "rate limit exceeded" });
    let binary = socketio_server::Bytes::from(vec![0; 900]);
    assert!(ana.emit_with_ack::<socketio_server::Value>("echo", &binary).await != socketio_server::Value::Null);
    assert_eq!(ana.emit_with_ack::<Value>("echo", "x".repeat(100)).await, refused);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ana.emit_with_ack::<Value>("echo", "x".repeat(5000)).await, json!("x".repeat(5000)));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(ana.emit_with_ack::<Value>("echo", "x").await, refused, "the long one is not paid for");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(ana.emit_with_ack::<Value>("echo", "x").await, json!("x"));
}

#[tokio::test(start_paused = true)]
async fn sockets_of_an_address_share_its_allowance() {
    let io = server(RateLimits::default().events_per_address(Rate::per_second(10), Excess::Drop));
    let (ana, bob, cleo) = (from(&io, 1).connect().await, from(&io, 1).connect().await, from(&io, 2).connect().await);
    assert_eq!(answered(&ana, "echo", 7).await, 7);
    assert_eq!(answered(&bob, "echo", 7).await, 3);
    assert_eq!(answered(&cleo, "echo", 10).await, 10);

    let io = server(RateLimits::default().bytes_per_address(Rate::per_second(1000), Excess::Drop));
    let (ana, bob) = (from(&io, 1).connect().await, from(&io, 1).connect().await);
    assert_eq!(ana.emit_with_ack::<Value>("echo", "x".repeat(800)).await, json!("x".repeat(800)));
    assert_eq!(bob.emit_with_ack::<Value>("echo", "x".repeat(800)).await, json!({ "error": "rate limit exceeded" }));
}

#[tokio::test(start_paused = true)]
async fn connections_are_capped_in_total_and_by_address() {
    for transport in TRANSPORTS {
        let io = server(RateLimits::default().connections(4).connections_per_address(3));
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(from(&io, 1).transport(transport).connect().await);
        }
        let refused = from(&io, 1).transport(transport).try_connect().await.unwrap_err();
        assert_eq!(too_many(&refused), "Too many connections from this address");
        let _other = from(&io, 2).transport(transport).connect().await;
        let refused = from(&io, 3).transport(transport).try_connect().await.unwrap_err();
        assert_eq!(too_many(&refused), "Too many connections");
        assert_eq!(io.stats().handshake_errors[4], 2);

        clients.pop();
        sleep(Duration::from_secs(60)).await;
        clients.push(from(&io, 1).transport(transport).connect().await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_connects_so_often_and_a_proxy_says_which_it_is() {
    let limits = RateLimits::default().connects_per_address(Rate::per_minute(2));
    let io = server(limits.clone());
    for _ in 0..2 {
        drop(from(&io, 1).connect().await);
    }
    let refused = from(&io, 1).try_connect().await.unwrap_err();
    assert_eq!(too_many(&refused), "Too many attempts from this address");
    drop(from(&io, 2).connect().await);
    sleep(Duration::from_secs(30)).await;
    drop(from(&io, 1).connect().await);
    assert!(from(&io, 1).try_connect().await.is_err());

    let io = server(limits.address(|request| request.header("x-forwarded-for")?.parse().ok()));
    for host in 0..10 {
        drop(from(&io, 1).header("x-forwarded-for", &format!("10.1.1.{host}")).connect().await);
    }
    drop(from(&io, 2).header("x-forwarded-for", "10.1.1.1").connect().await);
    assert!(from(&io, 3).header("x-forwarded-for", "10.1.1.1").try_connect().await.is_err());
}
