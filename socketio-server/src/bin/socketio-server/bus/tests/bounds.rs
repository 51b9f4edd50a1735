//! What one client can do to the bus and to the others: nothing past the bounds.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{Bus, Limits};
use super::{Running, soon};

#[tokio::test]
async fn nonsense_ends_only_the_connection_it_came_from() {
    let bus = Running::start().await;
    let mut witness = bus.client().await;
    for nonsense in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "*1\r\n:1\r\n", "\0\0\0\0"] {
        let mut client = bus.client().await;
        client.write(nonsense.as_bytes()).await;
        let answer = client.hears_the_end().await;
        assert!(answer.starts_with("-ERR Protocol error"), "{nonsense:?} was answered with {answer:?}");
    }
    witness.say("PING").await;
    witness.hears("+PONG\r\n").await;
    witness.say("INFO").await;
    witness.say("QUIT").await;
    let info = witness.hears_the_end().await;
    assert!(info.contains("\r\nprotocol_errors:3\r\n"), "{info}");
    assert!(info.contains("\r\ntotal_connections_received:4\r\n"), "{info}");
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_closed_and_counted_and_the_others_hear_all() {
    let bus = Running::with(Limits { queue: 100_000, ..Limits::default() }).await;
    let (mut slow, mut quick, mut sender) = (bus.client().await, bus.client().await, bus.client().await);
    for listener in [&mut slow, &mut quick] {
        listener.say("SUBSCRIBE c").await;
        listener.hears("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n").await;
    }
    let text = "x".repeat(20_000);
    let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$20000\r\n{text}\r\n");
    // Enough to fill the sockets' own buffers, and the queue behind them.
    for receivers in std::iter::repeat_n([":2\r\n", ":1\r\n"], 2_000) {
        sender.say(&format!("PUBLISH c {text}")).await;
        let mut answer = [0; 4];
        soon(sender.stream.read_exact(&mut answer)).await.expect("the sender is answered");
        assert!(receivers.iter().any(|expected| expected.as_bytes() == answer));
        quick.hears(&message).await;
    }
    sender.say("INFO").await;
    sender.say("QUIT").await;
    let info = sender.hears_the_end().await;
    assert!(info.contains("\r\nclient_output_buffer_limit_disconnections:1\r\n"), "{info}");
    let heard = slow.hears_the_end().await;
    assert!(heard.len() < 2_000 * message.len(), "the slow one was closed before the end");
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_not_read_either() {
    let bus = Running::with(Limits { queue: 100_000, ..Limits::default() }).await;
    let mut client = bus.client().await;
    let question = format!("*2\r\n$4\r\nECHO\r\n$20000\r\n{}\r\n", "x".repeat(20_000));
    let answer = format!("$20000\r\n{}\r\n", "x".repeat(20_000));
    let (mut from, mut to) = client.stream.split();
    let asking = async {
        for _ in 0..1_000 {
            to.write_all(question.as_bytes()).await.expect("the bus reads in the end");
        }
    };
    let reading = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut heard = vec![0; answer.len()];
        for _ in 0..1_000 {
            from.read_exact(&mut heard).await.expect("every question is answered");
            assert!(heard == answer.as_bytes());
        }
    };
    soon(async { tokio::join!(asking, reading) }).await;
}

#[tokio::test]
async fn every_bound_is_kept() {
    let limits = Limits { connections: 2, command: 1_000, queue: 10_000, names: 1_000 };
    let bus = Running::with(limits).await;

    let (mut first, mut second) = (bus.client().await, bus.client().await);
    for client in [&mut first, &mut second] {
        client.say("PING").await;
        client.hears("+PONG\r\n").await;
    }
    let mut third = bus.client().await;
    assert_eq!(third.hears_the_end().await, "-ERR max number of clients reached\r\n");

    first.write(b"*1\r\n$1001\r\n").await;
    let answer = first.hears_the_end().await;
    assert!(answer.contains("longer than the 1000 bytes"), "{answer}");

    second.say(&format!("SUBSCRIBE a {}", "b".repeat(900))).await;
    second.hears("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    let answer = second.hears_the_end().await;
    assert!(answer.contains("listens to more names"), "{answer}");
}

#[tokio::test]
async fn dropping_the_bus_closes_every_connection_and_frees_the_address() {
    let bus = Running::start().await;
    let addr = bus.addr;
    let mut client = bus.client().await;
    client.say("PING").await;
    client.hears("+PONG\r\n").await;
    drop(bus);
    assert_eq!(client.hears_the_end().await, "");
    soon(async {
        while let Err(error) = Bus::bind(addr).await {
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_in_use_is_told_apart() {
    let bus = Running::start().await;
    let error = Bus::bind(bus.addr).await.expect_err("one bus at a time");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
