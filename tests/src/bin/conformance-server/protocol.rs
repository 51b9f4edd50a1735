//! Modes `protocol`, `legacy`, `protocol-msgpack`, `ws`: everything is sent back; and `abuse`, with default options.

use std::time::Duration;

use socketio_server::engine::{Engine, EngineConfig, Incoming};
use socketio_server::{Ack, AckError, Args, Event, Namespace, Parser, Server, Socket, Value};
use tokio::net::TcpListener;

use crate::Options;

/// Engine.IO at `/engine.io/` and Socket.IO at `/socket.io/`.
pub(crate) async fn serve(options: Options, parser: Parser, listener: TcpListener) {
    let io = options.server("/socket.io").connect_timeout(Duration::from_secs(1)).parser(parser).build();
    for namespace in [io.of("/"), io.of("/custom")] {
        echo(&namespace);
    }
    io.serve_with(listener, engine(options.engine()).service()).await;
}

fn engine(config: EngineConfig) -> Engine {
    Engine::new(config, async |mut incoming: Incoming| {
        while let Some(message) = incoming.recv().await {
            if incoming.connection().send(message).is_err() {
                return;
            }
        }
    })
}

/// The greeting, and the three events that send back what comes.
pub(crate) fn echo(namespace: &Namespace) {
    namespace.on_connection(async |socket: Socket| {
        let auth = socket.handshake().auth::<Value>().unwrap_or_default();
        let _ = socket.emit("auth", auth);
    });
    namespace.on("message", async |socket: Socket, event: Event| socket.emit("message-back", event.args()).map(drop));
    namespace.on("message-uncompressed", async |socket: Socket, event: Event| {
        socket.compress(false).emit("message-back", event.args()).map(drop)
    });
    namespace.on("message-with-ack", async |event: Event, ack: Ack| ack.send(event.args()));
    namespace.on("emit-with-ack", async |socket: Socket, event: Event| -> Result<(), AckError> {
        let answer: Args = socket.emit_with_ack("emit-with-ack", event.args()).await?;
        drop(socket.emit("emit-with-ack", answer)?);
        Ok(())
    });
}

/// One event, and the defaults of the library for everything.
pub(crate) async fn abuse(listener: TcpListener) {
    let io = Server::new();
    io.on("echo", async |socket: Socket, event: Event, ack: Ack| {
        drop(socket.emit("echo", event.args())?);
        ack.send(event.args())
    });
    io.serve(listener).await;
}
