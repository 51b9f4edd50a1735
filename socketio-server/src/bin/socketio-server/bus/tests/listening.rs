//! Who hears what, and in which order.

use tokio::io::AsyncReadExt;

use super::{Running, soon};

#[tokio::test]
async fn a_listener_of_version_2_hears_and_may_only_change_what_it_listens_to() {
    let bus = Running::start().await;
    let (mut ana, mut bob) = (bus.client().await, bus.client().await);
    ana.say("SUBSCRIBE news news sport").await;
    ana.hears("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n").await;
    ana.hears("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n").await;
    ana.hears("*3\r\n$9\r\nsubscribe\r\n$5\r\nsport\r\n:2\r\n").await;
    ana.say("PSUBSCRIBE n*").await;
    ana.hears("*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:3\r\n").await;

    bob.say("PUBLISH news hello").await;
    bob.hears(":2\r\n").await;
    ana.hears("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n").await;
    ana.hears("*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n").await;

    ana.say("PING").await;
    ana.hears("*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    ana.say("PING hi").await;
    ana.hears("*2\r\n$4\r\npong\r\n$2\r\nhi\r\n").await;
    ana.say("PUBLISH news no").await;
    ana.hears("-ERR Can't execute 'publish': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT are").await;
    ana.hears(" allowed in this context\r\n").await;

    bob.say("PUBSUB NUMSUB news none").await;
    bob.hears("*4\r\n$4\r\nnews\r\n:1\r\n$4\r\nnone\r\n:0\r\n").await;
    bob.say("PUBSUB NUMPAT").await;
    bob.hears(":1\r\n").await;
    bob.say("PUBSUB CHANNELS s*").await;
    bob.hears("*1\r\n$5\r\nsport\r\n").await;

    ana.say("UNSUBSCRIBE news").await;
    ana.hears("*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:2\r\n").await;
    ana.say("UNSUBSCRIBE").await;
    ana.hears("*3\r\n$11\r\nunsubscribe\r\n$5\r\nsport\r\n:1\r\n").await;
    ana.say("PUNSUBSCRIBE").await;
    ana.hears("*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0\r\n").await;
    ana.say("PUBLISH news now").await;
    ana.hears(":0\r\n").await;
}

#[tokio::test]
async fn a_listener_of_version_3_hears_pushes_and_may_go_on_as_before() {
    let bus = Running::start().await;
    let mut ana = bus.client().await;
    ana.say("HELLO 3").await;
    ana.hears("%7\r\n").await;
    ana.say("SUBSCRIBE news").await;
    ana.say("PUBLISH news hello").await;
    ana.say("PING").await;
    let mut heard = vec![0; 1_000];
    let mut filled = 0;
    while !heard[..filled].ends_with(b"+PONG\r\n") {
        filled += soon(ana.stream.read(&mut heard[filled..])).await.expect("the bus answers");
    }
    let heard = String::from_utf8_lossy(&heard[..filled]);
    assert!(
        heard.ends_with(
            ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n\
             >3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n:1\r\n+PONG\r\n"
        ),
        "{heard:?}"
    );
}

#[tokio::test]
async fn what_a_client_listened_to_ends_with_it() {
    let bus = Running::start().await;
    let (mut ana, mut bob) = (bus.client().await, bus.client().await);
    ana.say("SUBSCRIBE news").await;
    ana.hears("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n").await;
    drop(ana);
    soon(async {
        loop {
            bob.say("PUBSUB CHANNELS").await;
            let mut first = [0; 4];
            bob.stream.read_exact(&mut first).await.expect("an answer");
            if &first == b"*0\r\n" {
                break;
            }
            bob.hears("$4\r\nnews\r\n").await;
        }
    })
    .await;
}

#[tokio::test]
async fn many_publishers_and_listeners_hear_one_order() {
    let bus = Running::start().await;
    let mut listeners = Vec::new();
    for _ in 0..4 {
        let mut listener = bus.client().await;
        listener.say("SUBSCRIBE c").await;
        listener.hears("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n").await;
        listeners.push(listener);
    }
    let publishing: Vec<_> = futures_util::future::join_all((0..4).map(|_| bus.client()))
        .await
        .into_iter()
        .enumerate()
        .map(|(publisher, mut client)| {
            tokio::spawn(async move {
                for number in 1_000..2_000 {
                    client.say(&format!("PUBLISH c {publisher}-{number}")).await;
                    client.hears(":4\r\n").await;
                }
            })
        })
        .collect();
    let mut orders = Vec::new();
    for listener in &mut listeners {
        let mut heard = vec![0; "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\n0-1000\r\n".len() * 4_000];
        soon(listener.stream.read_exact(&mut heard)).await.expect("all messages");
        orders.push(heard);
    }
    for publisher in publishing {
        publisher.await.expect("every publisher was answered");
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
}
