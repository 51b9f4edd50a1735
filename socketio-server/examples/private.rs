//! Private messages. Who a client is, its middleware decides; each user has a room, so that a message finds all of the
//! user's devices, on every server of a cluster.
//!
//!     PORT=3000 cargo run --example private

use serde::{Deserialize, Serialize};
use socketio_server::{ConnectError, Data, EventError, Server, Socket};

/// What a client shows: `io({ auth: { name } })`. A real one shows a token: see the example `jwt`.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Letter {
    to: String,
    text: String,
}

#[derive(Serialize)]
struct Delivered<'a> {
    from: &'a str,
    text: &'a str,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Server::new();
    io.middleware(async |socket: Socket| {
        let user: User = socket.handshake().auth().map_err(|_| ConnectError::new("who are you?"))?;
        socket.join(room_of(&user.name));
        socket.set_data(user);
        Ok(())
    });

    let all = io.clone();
    io.on("letter", async move |socket: Socket, Data(letter): Data<Letter>| {
        let Some(user) = socket.data::<User>() else { return Err(EventError::new("who are you?")) };
        let Letter { to, text } = letter;
        let room = room_of(&to);
        let devices: u64 = all.within(&room).count().await?.received.iter().sum();
        if devices == 0 {
            return Err(EventError::new("nobody of that name is here"));
        }
        // The sender's other devices show it, too.
        let letter = Delivered { from: &user.name, text: &text };
        socket.to(&room).to(room_of(&user.name)).emit("letter", letter)?;
        Ok(devices)
    });

    let all = io.clone();
    io.on("who is here", async move || {
        let sockets = all.fetch_sockets().await?.received;
        let users = sockets.iter().filter_map(|socket| socket.data::<User>().ok());
        let names: std::collections::BTreeSet<String> = users.map(|user| user.name).collect();
        Ok::<_, EventError>(names)
    });

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    io.listen(&format!("127.0.0.1:{port}")).await
}

/// No client may choose such a room by itself: there is no event to join one.
fn room_of(name: &str) -> String {
    format!("user:{name}")
}
