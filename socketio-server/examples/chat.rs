//! A chat: names, messages, who is writing, who comes and goes. What the clients in `examples/react` and `examples/vue`
//! talk to.
//!
//!     PORT=3000 cargo run --example chat

use serde::{Deserialize, Serialize};
use socketio_server::engine::Cors;
use socketio_server::{Data, DisconnectReason, EventError, Server, Socket};

/// Kept with a socket once it has said its name.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Serialize)]
struct Said<'a> {
    name: &'a str,
    text: &'a str,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // The pages of Vite's development server come from another port, which is another origin.
    let pages = std::env::var("ORIGIN").unwrap_or_else(|_| "http://localhost:5173".into());
    let io = Server::builder().cors(Cors::origins([pages])).build();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    serve(&io);
    io.listen(&format!("127.0.0.1:{port}")).await
}

fn serve(io: &Server) {
    // What a handler returns answers the client; an error answers `{ error: "..." }`.
    let all = io.clone();
    io.on("enter", async move |socket: Socket, Data(name): Data<String>| {
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().count() > 32 {
            return Err(EventError::new("a name has 1 to 32 letters"));
        }
        socket.set_data(User { name: name.clone() });
        socket.join("chat");
        let _ = socket.to("chat").emit("entered", &name);
        let on_each_server = all.within("chat").count().await?.received;
        Ok::<u64, EventError>(on_each_server.iter().sum())
    });

    io.on("say", async |socket: Socket, Data(text): Data<String>| {
        let Some(user) = socket.data::<User>() else { return Err(EventError::new("enter first")) };
        let _ = socket.to("chat").emit("said", Said { name: &user.name, text: &text });
        Ok(true)
    });

    // Nobody misses it if it is lost.
    io.on("writing", async |socket: Socket| {
        if let Some(user) = socket.data::<User>() {
            let _ = socket.to("chat").volatile().emit("writing", &user.name);
        }
    });

    io.on_disconnecting(async |socket: Socket, _: DisconnectReason| {
        if let Some(user) = socket.data::<User>() {
            let _ = socket.to("chat").emit("left", &user.name);
        }
    });
}
