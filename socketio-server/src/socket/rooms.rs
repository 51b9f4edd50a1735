//! The rooms that a socket is in.

use bytestring::ByteString;

use super::{CONNECTED, CONNECTING, LEAVING, Socket};
use crate::adapter::JoinError;
use crate::broadcast::IntoRooms;
use crate::error::{HandlerError, HandlerErrorKind};

impl Socket {
    /// Puts the socket into a room, or several. At once on this server; a socket that is gone joins nothing.
    ///
    /// A room that it may not join is told to the [error hook](crate::Server::on_error), which hears of an event `join`
    /// then; use [`try_join`](Socket::try_join) to hear of it here.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("room 7");
    /// socket.join(["red", "blue"]);
    /// assert_eq!(socket.rooms().len(), 4, "and the one of its own");
    /// # }
    /// ```
    pub fn join(&self, rooms: impl IntoRooms) {
        if let Err(error) = self.try_join(rooms) {
            self.namespace().shared().report(HandlerError {
                nsp: self.namespace().name().clone(),
                socket: self.id().clone(),
                event: "join".into(),
                kind: HandlerErrorKind::Join(error),
            });
        }
    }

    /// As [`join`](Socket::join), and says when the socket may not: rooms are often named by clients.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::builder().max_rooms_per_socket(2).build();
    /// io.on("join", async |socket: Socket, Data(room): Data<String>| socket.try_join(room.as_str()));
    /// let client = TestClient::connect(&io).await;
    /// for room in ["a", "b"] {
    ///     client.emit("join", room);
    /// }
    /// let refused: serde_json::Value = client.emit_with_ack("join", "c").await;
    /// assert!(refused["error"].is_string());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`JoinError`] when it is in too many rooms or a name is too long, see [`Limits`](crate::Limits). It has joined the
    /// rooms before that one.
    pub fn try_join(&self, rooms: impl IntoRooms) -> Result<(), JoinError> {
        for room in rooms.into_rooms() {
            let allow = |joined| self.namespace().shared().config.limits.rooms().allow(&room, joined);
            if !self.0.phase.join_early(&room, allow)? && matches!(self.phase(), CONNECTED | LEAVING) {
                self.namespace().adapter().local().join(self.id(), &room)?;
            }
        }
        Ok(())
    }

    /// Takes the socket out of a room, or several.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join(["red", "blue"]);
    /// socket.leave("red");
    /// assert_eq!(io.to("red").count().await.unwrap().total(), 0);
    /// # }
    /// ```
    pub fn leave(&self, rooms: impl IntoRooms) {
        for room in rooms.into_rooms() {
            self.0.phase.leave_early(&room);
            self.namespace().adapter().local().leave(self.id(), &room);
        }
    }

    /// Takes the socket out of every room but its own.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join(["red", "blue"]);
    /// socket.leave_all();
    /// assert_eq!(socket.rooms(), [socket.id().clone()]);
    /// # }
    /// ```
    pub fn leave_all(&self) {
        let rooms = self.rooms();
        self.leave(rooms.into_iter().filter(|room| room != self.id()).collect::<Vec<_>>());
    }

    /// The rooms it is in, its own first.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// # let socket = io.local_socket(client.id()).unwrap();
    /// socket.join("red");
    /// assert_eq!(socket.rooms(), [&**socket.id(), "red"]);
    /// # }
    /// ```
    pub fn rooms(&self) -> Vec<ByteString> {
        let mut rooms = self.namespace().adapter().local().rooms_of(self.id());
        if self.phase() == CONNECTING {
            let early = self.0.phase.early_rooms();
            let others: Vec<_> = early.iter().filter(|room| !rooms.contains(room)).cloned().collect();
            rooms.extend(others);
        }
        rooms
    }
}
