//! One server of the cluster, as a process of its own: `soak serve`, with PORT, CONTROL, NODE and REDIS_URL in the environment.
//!
//! It numbers what it says in rooms, so that who hears it can tell what is missing. Who connects to the port CONTROL is told how
//! the process is, as one line of JSON.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use socketio_redis_adapter::RedisAdapter;
use socketio_server::{BusStatus, Data, Server, Socket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::Outcome;

/// What makes this program a server.
pub(crate) const COMMAND: &str = "serve";

/// Rooms in which messages are numbered.
pub(crate) const ROOMS: u64 = 20;

/// How often a server says something, in one of these after the other.
const PACE: Duration = Duration::from_millis(250);

/// What is sent at once to a client that does not read: more than the system keeps for it.
const BLAST: (usize, usize) = (100, 64 << 10);

/// The cluster's news of what may be missing: from when until when, in milliseconds.
type Gaps = Arc<Mutex<Vec<(u64, u64)>>>;

pub(crate) async fn serve() -> Outcome<()> {
    let url = std::env::var("REDIS_URL")?;
    let node: u64 = std::env::var("NODE")?.parse()?;
    let adapter = RedisAdapter::builder(&url).connect().await?;
    let io = Server::builder().allow_eio3(true).adapter(adapter).build();
    let gaps = Gaps::default();
    let told = gaps.clone();
    io.on_cluster(move |_, status| {
        if let BusStatus::Gap { since, until, .. } = status {
            told.lock().expect("not poisoned").push((unix(*since), unix(*until)));
        }
    });
    listen_to_clients(&io, node);
    io.ready().await?;
    let refused = Arc::new(AtomicU64::new(0));
    tokio::spawn(say(io.clone(), node, refused.clone()));
    tokio::spawn(tell(io.clone(), gaps, refused));
    io.listen(format!("127.0.0.1:{}", std::env::var("PORT")?)).await?;
    Ok(())
}

fn listen_to_clients(io: &Server, node: u64) {
    io.on("echo", async |Data(text): Data<String>| text);
    io.on("join", async move |socket: Socket, Data(rooms): Data<Vec<String>>| {
        rooms.iter().for_each(|room| socket.join(room));
        node
    });
    io.on("hop", async |socket: Socket, Data((from, to)): Data<(String, String)>| {
        socket.leave(&from);
        socket.join(&to);
        true
    });
    // A question back, which waits for its answer or the time limit.
    io.on("ask", async |socket: Socket| {
        let _ = socket.emit_with_ack::<u64>("question", 7).await;
    });
    io.on("blast", async |socket: Socket| {
        let text = "x".repeat(BLAST.1);
        (0..BLAST.0).take_while(|_| socket.emit("blast", &text).is_ok()).for_each(drop);
    });
}

/// Says numbered messages, in one room after the other.
async fn say(io: Server, node: u64, refused: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(PACE);
    for turn in 0_u64.. {
        ticks.tick().await;
        let (room, number) = (turn % ROOMS, turn / ROOMS);
        if io.to(format!("numbered {room}")).emit("n", (node, room, number, unix(Instant::now()))).is_err() {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Tells who asks how this process is.
async fn tell(io: Server, gaps: Gaps, refused: Arc<AtomicU64>) -> Outcome<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{}", std::env::var("CONTROL")?)).await?;
    loop {
        let (mut asker, _) = listener.accept().await?;
        let line = state(&io, &gaps, refused.load(Ordering::Relaxed)).to_string();
        let _ = asker.write_all(line.as_bytes()).await;
    }
}

fn state(io: &Server, gaps: &Gaps, refused: u64) -> Value {
    let stats = io.stats();
    let Some(cluster) = &stats.cluster else { return Value::Null };
    let closed: serde_json::Map<_, _> =
        stats.closed.iter().map(|(reason, count)| ((*reason).to_owned(), json!(count))).collect();
    json!({
        "process": {
            "rss": kibibytes("VmRSS:"),
            "threads": kibibytes("Threads:"),
            "fds": std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            "tasks": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            "cpu": cpu(),
        },
        "gauges": {
            "polling": stats.connections.polling,
            "websocket": stats.connections.web_socket,
            "sockets": stats.sockets,
            "rooms": stats.rooms,
            "handlers waiting": stats.handlers_waiting,
            "queued packets": stats.queued_packets,
            "queued bytes": stats.queued_bytes,
            "cluster queue": cluster.bus.queued,
        },
        "counts": {
            "opened": stats.opened.polling + stats.opened.web_socket,
            "upgrades": stats.upgrades,
            "closed": closed,
            "refused handshakes": stats.handshake_errors,
            "events": stats.events_received,
            "packets sent": stats.sent.polling.packets + stats.sent.web_socket.packets,
            "ack timeouts": stats.ack_timeouts,
            "not taken": refused,
            "dropped": cluster.bus.dropped,
            "failed": cluster.bus.failed,
            "unknown": cluster.bus.unknown,
            "lost": cluster.lost,
            "malformed": cluster.malformed,
            "outages": cluster.outages,
        },
        "deaf": cluster.deaf_namespaces,
        "gaps": *gaps.lock().expect("not poisoned"),
    })
}

/// A number of `/proc/self/status`; memory is in KiB there.
fn kibibytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// The CPU time of the threads that there are, in milliseconds.
fn cpu() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    let spent = spent.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
    spent.sum::<u64>() / 1_000_000
}

/// A moment of this process for others to compare with theirs, in milliseconds.
pub(crate) fn unix(moment: Instant) -> u64 {
    let ago = Instant::now().saturating_duration_since(moment);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from((now - ago).as_millis()).unwrap_or(u64::MAX)
}
