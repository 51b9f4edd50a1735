//! One server of several: start it twice with the same Redis, and what is said on one is heard on both. Servers of Node.js
//! with `@socket.io/redis-adapter` may be among them.
//!
//!     PORT=3000 REDIS_URL=redis://127.0.0.1:6379 cargo run --example cluster

use std::error::Error;

use socketio_redis_adapter::RedisAdapter;
use socketio_server::{Data, EventError, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let io = Server::builder().adapter(RedisAdapter::connect(&url).await?).build();

    let all = io.clone();
    io.on("say", async move |socket: Socket, Data(text): Data<String>| all.emit("said", (socket.id(), text)).map(drop));
    io.on("join", async |socket: Socket, Data(room): Data<String>| socket.join(room));

    // Of all servers; who did not answer is told, and not left out in silence.
    let all = io.clone();
    io.on("how many", async move || {
        let count = all.count().await?;
        Ok::<_, EventError>((count.received.iter().sum::<u64>(), count.missing))
    });

    // Servers talk to each other, too.
    let here = port.clone();
    io.on_server_event("your port?", async move || here.clone());
    let (all, mine) = (io.clone(), port.clone());
    io.on("ports", async move || {
        let mut ports = all.server_side_emit_with_ack::<String>("your port?", ()).await?.received;
        ports.push(mine.clone()); // Only the others are asked.
        ports.sort();
        Ok::<_, EventError>(ports)
    });

    io.listen(&format!("127.0.0.1:{port}")).await?;
    Ok(())
}
