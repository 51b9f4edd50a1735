//! The server, as a process of its own: `slow serve`, with PORT, CONTROL and BOUND in the environment.
//!
//! Who connects to the port CONTROL gives orders, a line each, and has a line of JSON for each that is done:
//! `say PHASE COUNT` and `perhaps PHASE COUNT`, which is volatile, send to everybody; `state` asks how it is.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use socketio_server::{Limits, Listener, Server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};

use crate::Outcome;

/// What makes this program the server.
pub(crate) const COMMAND: &str = "serve";

/// How long the text of a message is, so that the whole of it has 1 KiB.
const TEXT: usize = 1024 - r#"42["n",1,1000000000,1700000000000000,""]"#.len();

/// Nobody is pinged, and nobody is closed for the time that passes: it is by what waits that a client is slow.
const LONG: Duration = Duration::from_secs(3600);

/// What the system keeps for a client that does not read, twice that much: by itself it takes up to 4 MiB over loopback, and
/// what it has waits with nobody.
const SEND_BUFFER: u32 = 64 << 10;

const BACKLOG: u32 = 4_096;

pub(crate) async fn serve() -> Outcome<()> {
    let bound: usize = std::env::var("BOUND")?.parse()?;
    let limits =
        Limits { max_queued_bytes: bound, max_volatile_bytes: bound / 2, write_timeout: LONG, ..Limits::default() };
    let io = Server::builder().ping_interval(LONG).limits(limits).build();
    let control = TcpListener::bind(format!("127.0.0.1:{}", std::env::var("CONTROL")?)).await?;
    tokio::spawn(obey(io.clone(), control));
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_reuseaddr(true)?;
    socket.bind(format!("127.0.0.1:{}", std::env::var("PORT")?).parse()?)?;
    io.serve(Listener::from(socket.listen(BACKLOG)?)).await;
    Ok(())
}

async fn obey(io: Server, control: TcpListener) -> Outcome<()> {
    let (stream, _) = control.accept().await?;
    let mut stream = BufReader::new(stream);
    let (text, mut number, mut line) = ("x".repeat(TEXT), 1_000_000_000, String::new());
    while stream.read_line(&mut line).await? > 0 {
        let words: Vec<_> = line.split_whitespace().collect();
        let answer = match words[..] {
            [how, phase, count] => {
                let phase: u64 = phase.parse()?;
                for _ in 0..count.parse()? {
                    let message = (phase, number, now(), &text);
                    match how {
                        "say" => io.emit("n", message),
                        _ => io.volatile().emit("n", message),
                    }
                    .map(drop)?;
                    number += 1;
                }
                json!(number)
            }
            _ => state(&io),
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
        line.clear();
    }
    // Whoever gives the orders is gone.
    io.close().await;
    Ok(())
}

fn state(io: &Server) -> Value {
    let stats = io.stats();
    let closed: serde_json::Map<_, _> =
        stats.closed.iter().map(|(reason, count)| ((*reason).to_owned(), json!(count))).collect();
    json!({
        "sockets": stats.sockets,
        "queued": stats.queued_bytes,
        "longest queue": stats.longest_queue,
        "volatile dropped": stats.volatile_dropped,
        "closed": closed,
    })
}

/// Microseconds since 1970, which the clients' process counts by the same clock.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
