//! The server that the load generator measures. Configured by environment: HOST, PORT, ADAPTER, REDIS_URL,
//! PING_INTERVAL_MS. Nothing in it is special to being measured.

use std::time::Duration;

use bytes::Bytes;
use socketio_redis_adapter::{RedisAdapter, SubscriptionMode};
use socketio_server::{Data, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let env = |name: &str| std::env::var(name).ok();
    let mut builder = Server::builder();
    if let Some(interval) = env("PING_INTERVAL_MS") {
        builder = builder.ping_interval(Duration::from_millis(interval.parse()?));
    }
    let adapter = env("ADAPTER").unwrap_or_else(|| "memory".into());
    if adapter != "memory" {
        let redis = RedisAdapter::builder(&env("REDIS_URL").ok_or("REDIS_URL is not set")?);
        let redis = match adapter.as_str() {
            "redis" => redis,
            "redis-sharded" => redis.sharded(SubscriptionMode::Dynamic),
            "redis-streams" => redis.streams(),
            other => return Err(format!("ADAPTER={other} is not offered").into()),
        };
        builder = builder.adapter(redis.connect().await?);
    }
    let io = builder.build();

    io.on("echo", async |socket: Socket, Data(text): Data<String>| socket.emit("echo", text).map(drop));
    io.on("echo-bin", async |socket: Socket, Data(data): Data<Bytes>| socket.emit("echo-bin", data).map(drop));
    io.on("echo-ack", async |Data(text): Data<String>| text);
    for (event, binary) in [("broadcast", false), ("broadcast-bin", true)] {
        let everyone = io.clone();
        if binary {
            io.on(event, async move |Data(data): Data<Bytes>| everyone.emit(event, data).map(drop));
        } else {
            io.on(event, async move |Data(text): Data<String>| everyone.emit(event, text).map(drop));
        }
    }
    io.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(&room);
        true
    });
    let rooms = io.clone();
    io.on("room-broadcast", async move |Data((room, text)): Data<(String, String)>| {
        rooms.to(room).emit("room-broadcast", text).map(drop)
    });

    io.ready().await?;
    let addr =
        format!("{}:{}", env("HOST").as_deref().unwrap_or("127.0.0.1"), env("PORT").as_deref().unwrap_or("3000"));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = io.listen(addr) => result?,
        _ = terminate.recv() => io.close().await,
    }
    Ok(())
}
