//! One packet to one socket, and how it is sent.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ack::AckFuture;
use crate::adapter::Emitted;
use crate::error::EmitError;
use crate::socket::Socket;

/// A socket, and how its next packet is sent.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// socket.volatile().compress(false).emit("position", (1, 2)).unwrap();
/// assert_eq!(client.expect::<(u32, u32)>("position").await, (1, 2));
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "it does nothing until it emits"]
pub struct Emitting<'a> {
    socket: &'a Socket,
    volatile: bool,
    compress: bool,
    timeout: Duration,
}

impl<'a> Emitting<'a> {
    pub(crate) fn of(socket: &'a Socket, timeout: Duration) -> Self {
        Self { socket, volatile: false, compress: true, timeout }
    }

    /// See [`Socket::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// See [`Socket::volatile`].
    pub fn volatile(self) -> Self {
        Self { volatile: true, ..self }
    }

    /// See [`Socket::compress`].
    pub fn compress(self, compress: bool) -> Self {
        Self { compress, ..self }
    }

    /// See [`Socket::emit`].
    ///
    /// # Errors
    ///
    /// As [`Socket::emit`]. That a volatile packet was dropped is no error.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.socket.emit_flagged(event, &args, self.volatile, self.compress)
    }

    /// See [`Socket::send`].
    ///
    /// # Errors
    ///
    /// As [`emit`](Emitting::emit).
    pub fn send(&self, args: impl Serialize) -> Result<Emitted, EmitError> {
        self.emit("message", args)
    }

    /// See [`Socket::emit_with_ack`].
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> AckFuture<R> {
        self.socket.ask(event, &args, self.timeout, self.compress)
    }
}
