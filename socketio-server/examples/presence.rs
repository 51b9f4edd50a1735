//! Rooms, and who is in them: each room's members are told of every change, also when a member's connection ends. The
//! list is of all servers of a cluster.
//!
//!     PORT=3000 cargo run --example presence

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use socketio_server::{ConnectError, Data, DisconnectReason, EventError, Server, Socket};

#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Server::new();
    io.middleware(async |socket: Socket| {
        let user: User = socket.handshake().auth().map_err(|_| ConnectError::new("who are you?"))?;
        socket.set_data(user);
        Ok(())
    });

    let all = io.clone();
    io.on("join", async move |socket: Socket, Data(room): Data<String>| {
        // Its own id, and 20 more.
        if socket.rooms().len() > 20 {
            return Err(EventError::new("these are enough rooms"));
        }
        socket.try_join(&room)?;
        tell(&socket, &room, "joined");
        members(&all, &room).await
    });
    let all = io.clone();
    io.on("leave", async move |socket: Socket, Data(room): Data<String>| {
        socket.leave(&room);
        tell(&socket, &room, "left");
        members(&all, &room).await
    });
    let all = io.clone();
    io.on("members", async move |Data(room): Data<String>| members(&all, &room).await);

    // While its rooms are still known.
    io.on_disconnecting(async |socket: Socket, _: DisconnectReason| {
        for room in socket.rooms().iter().filter(|room| *room != socket.id()) {
            tell(&socket, room, "left");
        }
    });

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    io.listen(&format!("127.0.0.1:{port}")).await
}

/// Tells the others in a room what the socket's user has done.
fn tell(socket: &Socket, room: &str, what: &str) {
    if let Some(user) = socket.data::<User>() {
        let _ = socket.to(room).emit(what, (room, &user.name));
    }
}

async fn members(io: &Server, room: &str) -> Result<BTreeSet<String>, EventError> {
    let sockets = io.within(room).fetch_sockets().await?;
    Ok(sockets.received.iter().filter_map(|socket| Some(socket.data::<User>().ok()?.name)).collect())
}
