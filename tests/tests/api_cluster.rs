//! What an application writes that needs a Redis: an adapter makes two servers one, and an emitter reaches both.
//!
//! The client's side is `tests/node/api-cluster.test.mjs`.

use socketio_emitter::Emitter;
use socketio_redis_adapter::RedisAdapter;
use socketio_server::{Data, EmitError, Server, Socket};
use socketio_tests::{NodeSuite, TestRedis};

/// The same application as with one server: only the adapter's line is new.
async fn server(redis: &str) -> (Server, String) {
    let adapter = RedisAdapter::connect(redis).await.expect("the test's own Redis is there");
    let io = Server::builder().adapter(adapter).build();
    let everyone = io.clone();
    io.on("shout", async move |Data(text): Data<String>| -> Result<(), EmitError> {
        Ok(everyone.emit("heard", text)?.await?)
    });
    io.on("join", async |socket: Socket, Data(room): Data<String>| socket.join(room));
    let emitter = Emitter::connect(redis).await.expect("the test's own Redis is there");
    io.on("from outside", async move |Data((room, text)): Data<(Option<String>, String)>| match room {
        Some(room) => emitter.to(room).emit("time", text).await.map(|receipt| receipt.receivers()),
        None => emitter.emit("time", text).await.map(|receipt| receipt.receivers()),
    });
    io.ready().await.expect("the namespace is open");

    let listener = socketio_server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = io.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (io, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_are_one_and_an_emitter_reaches_both() {
    let redis = TestRedis::spawn();
    let ((a, url_a), (b, url_b)) = (server(&redis.url()).await, server(&redis.url()).await);
    assert_eq!(a.server_count().await.unwrap(), 2);
    tokio::task::spawn_blocking(move || {
        NodeSuite::new("api-cluster.test.mjs").env("URL_A", url_a).env("URL_B", url_b).run();
    })
    .await
    .unwrap();
    a.close().await;
    b.close().await;
}
