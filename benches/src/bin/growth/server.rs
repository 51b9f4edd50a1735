//! The server that is measured, as a process of its own: `growth serve`, with PORT and perhaps REDIS_URL in the environment.

use std::time::Duration;

use socketio_redis_adapter::RedisAdapter;
use socketio_server::{Data, Event, Limits, Namespace, Server, Socket};

use crate::Outcome;
use crate::studies::MOST_NAMESPACES;

/// What makes this program the server.
pub(crate) const COMMAND: &str = "serve";

/// Nobody is pinged while something is measured.
const PING_INTERVAL: Duration = Duration::from_secs(3600);

/// One message, at most, and what may wait for a client.
const MOST_BYTES: usize = 4 << 20;

pub(crate) async fn serve() -> Outcome<()> {
    let limits = Limits {
        max_http_buffer_size: MOST_BYTES,
        max_namespaces_per_connection: MOST_NAMESPACES,
        ..Limits::default()
    };
    let mut builder = Server::builder().ping_interval(PING_INTERVAL).limits(limits).max_queue(100_000, 16 * MOST_BYTES);
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.adapter(RedisAdapter::builder(&url).connect().await?);
    }
    let io = builder.build();
    for number in 0..MOST_NAMESPACES {
        listen_in(&io.of(&name(number)));
    }
    io.ready().await?;
    io.listen(format!("127.0.0.1:{}", std::env::var("PORT")?)).await?;
    Ok(())
}

/// The name of the namespace of this number.
pub(crate) fn name(number: usize) -> String {
    if number == 0 { "/".to_owned() } else { format!("/n{number}") }
}

fn listen_in(nsp: &Namespace) {
    nsp.on("echo", async |socket: Socket, event: Event| socket.emit("echo", event.args()).map(drop));
    nsp.on("join", async |socket: Socket, Data(rooms): Data<Vec<String>>| {
        rooms.iter().for_each(|room| socket.join(room));
        socket.emit("joined", ()).map(drop)
    });
    nsp.on("say", async |socket: Socket, Data((room, text)): Data<(Option<String>, String)>| {
        let nsp = socket.namespace();
        match room {
            Some(room) => nsp.to(room).emit("said", text).map(drop),
            None => nsp.emit("said", text).map(drop),
        }
    });
}
