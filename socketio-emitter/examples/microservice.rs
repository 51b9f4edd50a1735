//! A microservice that is no Socket.IO server. Orders come in, here as lines of JSON, elsewhere from a queue; who ordered
//! sees each step, whatever server the client is on, and is asked when it matters.
//!
//!     REDIS_URL=redis://127.0.0.1:6379 cargo run -p socketio-emitter --example microservice < orders.jsonl
//!
//! with lines such as `{"user":"ana","item":"tea"}`. The servers put each client into the room `user:NAME`: see the example
//! `private` of `socketio-server`.

use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socketio_emitter::Emitter;
use tokio::io::{AsyncBufReadExt, BufReader};

#[derive(Deserialize)]
struct Order {
    user: String,
    item: String,
}

#[derive(Serialize)]
struct Step<'a> {
    item: &'a str,
    state: &'static str,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let io = Emitter::connect(&url).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line) {
            Ok(order) => work_on(&io, &order).await?,
            Err(error) => eprintln!("not an order: {error}"),
        }
    }
    Ok(())
}

async fn work_on(io: &Emitter, Order { user, item }: &Order) -> Result<(), Box<dyn Error>> {
    let room = format!("user:{user}");
    io.to(&room).emit("order", Step { item, state: "accepted" }).await?;
    // Each of the user's devices may answer. Nobody there, or nobody in time, means no.
    let answers = io.to(&room).timeout(Duration::from_secs(2)).request::<bool>("milk?", item).await?;
    let state = match answers.answers.contains(&true) {
        true => "ready, with milk",
        false => "ready",
    };
    io.to(&room).emit("order", Step { item, state }).await?;
    Ok(())
}
