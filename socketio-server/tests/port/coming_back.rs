//! Clients that come back after their connection was lost.

use std::time::Duration;

use serde_json::json;
use socketio_server::testing::TestClient;
use socketio_server::{Recovery, Server, Socket};

use crate::{Log, settle, socket_of};

/// Connects, hears one event, loses the connection, and comes back with what it knows. True if it was recovered.
async fn comes_back(io: &Server) -> bool {
    let mut ana = TestClient::connect(io).await;
    socket_of(io, &ana).join("game");
    io.to("game").emit("score", 1).unwrap();
    let event = ana.expect_event("score").await;
    let offset = event.args::<(i32, Option<String>)>().1;
    let (id, pid) = (ana.id().to_owned(), ana.pid().map(str::to_owned));
    assert_eq!(pid.is_some(), offset.is_some());
    ana.close();
    settle().await;
    io.to("game").emit("score", 2).unwrap();
    let mut ana = TestClient::to(io).auth(json!({ "pid": pid, "offset": offset })).connect().await;
    let recovered = socket_of(io, &ana).recovered();
    assert_eq!((ana.id() == id, socket_of(io, &ana).rooms().len()), (recovered, if recovered { 2 } else { 1 }));
    if recovered {
        assert_eq!(ana.expect::<i32>("score").await, 2);
    } else {
        ana.expect_none("score", Duration::from_secs(1)).await;
    }
    recovered
}

#[tokio::test(start_paused = true)]
async fn middlewares_run_again_for_one_that_comes_back_if_that_is_wished() {
    for skip in [true, false] {
        let io = Server::builder().connection_state_recovery(Recovery::default().skip_middlewares(skip)).build();
        let log = Log::default();
        let seen = log.clone();
        io.middleware(async move |socket: Socket| {
            seen.note(format!("recovered: {}", socket.recovered()));
            Ok(())
        });
        assert!(comes_back(&io).await);
        let expected = if skip { &["recovered: false"][..] } else { &["recovered: false", "recovered: true"] };
        assert_eq!(log.taken(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_back_unless_the_server_is_told_to_remember() {
    assert!(!comes_back(&Server::new()).await);
}
