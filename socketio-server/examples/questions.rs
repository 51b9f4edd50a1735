//! Questions and answers in both directions: a client asks the server, the server asks one client, or all in a room, and
//! says who did not answer in time.
//!
//!     PORT=3000 cargo run --example questions

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use socketio_server::{Ack, AckError, Data, EventError, Server, Socket};

#[derive(Serialize)]
struct Poll {
    /// How often each answer was given.
    votes: BTreeMap<String, usize>,
    /// How many did not answer.
    silent: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Server::new();
    // What is returned is the answer.
    io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a.checked_add(b).ok_or(EventError::new("too much")));

    // Or the answer is given later, from anywhere.
    io.on("remind me", async |ack: Ack, Data(ms): Data<u64>| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms.min(60_000))).await;
            let _ = ack.send("now"); // The client may be gone.
        });
    });

    // The server asks the client.
    io.on("guess my number", async |socket: Socket| {
        let second = Duration::from_secs(1);
        match socket.timeout(second).emit_with_ack::<u8>("your number?", ()).await {
            Ok(number) => format!("It is {number}."),
            Err(AckError::Timeout) => "You are slow.".to_owned(),
            Err(error) => format!("I do not know: {error}"),
        }
    });

    // The server asks all in a room, on all servers.
    io.on("join", async |socket: Socket, Data(room): Data<String>| socket.join(room));
    let all = io.clone();
    io.on("poll", async move |Data((room, question)): Data<(String, String)>| {
        let to_all = all.timeout(Duration::from_secs(1)).to(&room);
        let answers = to_all.emit_with_ack::<String>("question", question).await?;
        let mut votes = BTreeMap::new();
        for answer in answers.answers {
            *votes.entry(answer).or_default() += 1;
        }
        Ok::<_, EventError>(Poll { votes, silent: answers.missing })
    });

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    io.listen(&format!("127.0.0.1:{port}")).await
}
