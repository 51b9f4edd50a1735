//! What happens to a server's process: no file descriptors, a signal under load, handlers that block, a full disk; and to its
//! connections: the machine at the other end vanishes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socketio_client::{Client, News, TransportKind};
use socketio_server::{Builder, Data, Limits, Listener, Server};
use socketio_tests::{Program, free_port, until, workspace_binary};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Starts the server behind `before`, a piece of shell.
fn start(before: &str) -> (Program, u16) {
    let port = free_port();
    let mut command = Command::new("sh");
    let script = format!("{before} exec {}", env!("CARGO_BIN_EXE_faults-server"));
    let mut program = Program::start(command.args(["-c", &script]).env("PORT", port.to_string()), "Is it built?");
    program.wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (program, port)
}

async fn connect(port: u16, transport: TransportKind) -> Client {
    let client = Client::builder(&format!("http://127.0.0.1:{port}")).transports(&[transport]).reconnect(false);
    client.connect().await.expect("the server takes clients")
}

/// Asks for an echo; how long that took.
async fn echo(client: &Client) -> Duration {
    let began = Instant::now();
    let answer = client.emit_with_ack("echo", 7_u64, SOON).await.expect("an answer");
    assert_eq!(answer.to_json().0, "[7]");
    began.elapsed()
}

const SOON: Duration = Duration::from_secs(10);

/// The CPU time that a process has taken.
fn cpu(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let spent = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    Duration::from_nanos(spent.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}

#[tokio::test]
async fn without_file_descriptors_those_who_are_there_are_served_and_nothing_spins() {
    const DESCRIPTORS: usize = 48;
    const WATCHED: Duration = Duration::from_secs(1);
    let (program, port) = start(&format!("ulimit -n {DESCRIPTORS};"));
    let client = connect(port, TransportKind::WebSocket).await;
    // The kernel takes more in than the server.
    let crowd: Vec<_> = (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let refusals = || program.output().matches("a connection cannot be accepted").count();
    until(SOON, "it says that it cannot accept", || (refusals() > 0).then_some(()));

    let (before, told, began) = (cpu(program.pid()), refusals(), Instant::now());
    let mut echoes = 0;
    while began.elapsed() < WATCHED {
        assert!(echo(&client).await < WATCHED, "who is there is answered");
        echoes += 1;
        sleep(WATCHED / 20).await;
    }
    let (spent, told) = (cpu(program.pid()) - before, refusals() - told);
    assert!(echoes > 2 && told > 0, "{echoes} echoes, {told} times it could not accept");
    assert!(told <= 15, "it tries ten times in a second, and not {told} times");
    assert!(spent < WATCHED / 10, "it has spent {spent:?} of {WATCHED:?}");

    drop(crowd);
    let newcomer = timeout(SOON, connect(port, TransportKind::WebSocket)).await.expect("there is room again");
    echo(&newcomer).await;
    echo(&client).await;
}

/// How many numbers of a client are under way.
const AT_ONCE: u64 = 4;

/// What a client that sends numbers has seen when it was disconnected.
struct Seen {
    answered: BTreeSet<u64>,
    reason: String,
}

/// Sends numbers, some of them at a time, until it is disconnected.
async fn send_numbers(id: u64, port: u16, transport: TransportKind, under_way: Arc<AtomicBool>) -> Seen {
    let mut client = connect(port, transport).await;
    let (mut answered, mut number) = (BTreeSet::new(), 0);
    loop {
        let numbers = number..number + AT_ONCE;
        let questions = numbers.clone().map(|number| client.emit_with_ack("number", (id, number), SOON));
        let answers = futures_join(questions).await;
        for (number, answer) in numbers.zip(answers) {
            if let Ok(answer) = answer {
                assert_eq!(answer.to_json().0, format!("[{number}]"));
                assert!(answered.insert(number), "{number} was answered twice");
            }
        }
        number += AT_ONCE;
        if answered.len() as u64 >= 5 * AT_ONCE {
            under_way.store(true, Ordering::Relaxed);
        }
        while let Ok(news) = timeout(Duration::from_millis(1), client.next()).await {
            match news {
                Some(News::Disconnected { reason, .. }) => return Seen { answered, reason },
                Some(_) => {}
                None => panic!("{id} was not told"),
            }
        }
    }
}

async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn on_sigterm_under_load_all_are_told_and_what_was_handled_was_handled_once_and_answered() {
    const CLIENTS: u64 = 100;
    let (mut program, port) = start("");
    let mut clients = JoinSet::new();
    let mut under_way = Vec::new();
    for id in 0..CLIENTS {
        let transport = if id % 2 == 0 { TransportKind::WebSocket } else { TransportKind::Polling };
        under_way.push(Arc::new(AtomicBool::new(false)));
        let under_way = under_way[id as usize].clone();
        clients.spawn(async move { (id, send_numbers(id, port, transport, under_way).await) });
    }
    while !under_way.iter().all(|one| one.load(Ordering::Relaxed)) {
        sleep(Duration::from_millis(10)).await;
    }
    program.signal("TERM");
    let mut seen = BTreeMap::new();
    while let Some(client) = timeout(SOON * 2, clients.join_next()).await.expect("all end in time") {
        let (id, client) = client.expect("no client fails");
        seen.insert(id, client);
    }
    let status = until(SOON, "it ends", || program.ended());
    assert!(status.success(), "{status}: {}", program.output());
    // The last of what it printed may still be on its way to us.
    let line = || program.output().lines().find(|line| line.starts_with('{')).map(str::to_owned);
    let handled: BTreeMap<u64, Vec<u64>> = serde_json::from_str(&until(SOON, "it tells", line)).expect("JSON");
    for (id, Seen { answered, reason }) in &seen {
        let once: BTreeSet<_> = handled[id].iter().copied().collect();
        assert_eq!(once.len(), handled[id].len(), "{id}: handled once");
        assert_eq!(once, *answered, "{id}: what was handled was answered, and nothing else was");
        assert!(!reason.contains("reset"), "{id} was cut off: {reason}");
    }
}

#[tokio::test]
async fn a_handler_that_blocks_is_named_and_holds_nobody_up_if_it_does_so_elsewhere() {
    const BLOCKED: Duration = Duration::from_secs(1);
    let (program, port) = start("");
    let blocking = connect(port, TransportKind::WebSocket).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(connect(port, TransportKind::WebSocket).await);
    }
    let millis = BLOCKED.as_millis() as u64;
    let began = Instant::now();
    let (elsewhere, ()) = tokio::join!(blocking.emit_with_ack("block elsewhere", millis, SOON), async {
        for client in others.iter().cycle().take(100) {
            echo(client).await;
        }
        assert!(began.elapsed() < BLOCKED, "others waited for the one that blocks");
    });
    elsewhere.expect("an answer");
    assert!(!program.output().contains("a handler held its thread"), "a thread for what blocks is not held");

    // On its own thread it is named, and who waited for it is answered afterwards.
    let began = Instant::now();
    let (here, waited) = tokio::join!(blocking.emit_with_ack("block", millis, SOON), echo(&others[0]));
    here.expect("an answer");
    assert!(waited < BLOCKED * 3 && began.elapsed() >= BLOCKED);
    let named = || program.output().lines().find(|line| line.contains("a handler held its thread")).map(str::to_owned);
    let warning = until(SOON, "a warning", named);
    assert!(warning.contains("event=\"block\""), "{warning}");
}

/// What a way to a server does with what comes along.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Passing {
    All,
    /// Nothing passes any more, and nobody is told: as when the machine at the other end vanishes.
    Nothing,
    /// The same, and the buffers on the way fill up.
    Stuck,
    /// The client has ended its direction, and still reads.
    OnlyToClient,
}

/// Leads from a port of its own to `server`.
async fn way_to(server: u16) -> (u16, watch::Sender<Passing>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    let (passing, watched) = watch::channel(Passing::All);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = tokio::net::TcpStream::connect(("127.0.0.1", server)).await.expect("it listens");
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(from_near, to_far, watched.clone(), Passing::OnlyToClient));
            tokio::spawn(pass(from_far, to_near, watched.clone(), Passing::All));
        }
    });
    (port, passing)
}

/// Carries one direction, which ends at `end`. Holds its halves for as long as the other end does.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passing: watch::Receiver<Passing>, end: Passing) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let now = *passing.borrow_and_update();
        if now == end && end != Passing::All {
            let _ = to.shutdown().await;
        }
        tokio::select! {
            read = from.read(&mut buffer), if now != Passing::Stuck => match read {
                Ok(1..) if now == Passing::Nothing => {}
                Ok(len @ 1..) => drop(to.write_all(&buffer[..len]).await),
                Ok(0) | Err(_) if matches!(now, Passing::Nothing | Passing::Stuck) => std::future::pending().await,
                Ok(0) | Err(_) => return drop(to.shutdown().await),
            },
            changed = passing.changed() => if changed.is_err() { return },
        }
    }
}

/// A server in this process, and where it listens.
async fn serve(builder: Builder) -> (Server, u16) {
    let io = builder.build();
    io.on("echo", async |Data(number): Data<u64>| number);
    let listener = Listener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("a TCP port").port();
    let server = io.clone();
    tokio::spawn(async move { server.serve([listener]).await });
    (io, port)
}

/// How long until the server has closed its one session, for this reason; nothing of it may be left.
async fn closed(io: &Server, reason: &str) -> Duration {
    let began = Instant::now();
    loop {
        let stats = io.stats();
        let open = stats.connections.polling + stats.connections.web_socket;
        if open == 0 {
            let reasons: Vec<_> = stats.closed.iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!(reasons, [&(reason, 1)]);
            assert_eq!((stats.sockets, stats.rooms, stats.queued_packets, stats.queued_bytes), (0, 0, 0, 0));
            return began.elapsed();
        }
        assert!(began.elapsed() < SOON, "{stats:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_machine_that_vanishes_is_noticed_by_its_silence_and_nothing_is_left_of_it() {
    const PING: Duration = Duration::from_millis(200);
    for transport in [TransportKind::WebSocket, TransportKind::Polling] {
        let (io, port) = serve(Server::builder().ping_interval(PING).ping_timeout(PING)).await;
        let (port, passing) = way_to(port).await;
        let client = connect(port, transport).await;
        echo(&client).await;
        sleep(PING * 2).await; // Pings are answered.
        passing.send_replace(Passing::Nothing);
        let took = closed(&io, "ping timeout").await;
        assert!(took < PING * 5, "it took {took:?}");
    }
}

#[tokio::test]
async fn a_machine_that_vanishes_while_it_is_written_to_holds_its_queue_no_longer_than_the_write_timeout() {
    const WRITE: Duration = Duration::from_millis(300);
    let (io, port) = serve(Server::builder().limits(Limits { write_timeout: WRITE, ..Limits::default() })).await;
    let (port, passing) = way_to(port).await;
    let client = connect(port, TransportKind::WebSocket).await;
    echo(&client).await;
    passing.send_replace(Passing::Stuck);
    let text = "x".repeat(250_000);
    for _ in 0..60 {
        io.emit("news", &text).expect("it fits");
    }
    sleep(WRITE / 3).await;
    let queued = io.stats().queued_bytes; // Before it is asked who is there: this machine may be slow.
    assert!(queued > 0 || io.local_count() == 0, "more than the buffers on the way hold");
    let took = closed(&io, "slow consumer").await;
    assert!(took < WRITE * 5, "it took {took:?}");
}

#[tokio::test]
async fn a_client_that_ends_its_direction_is_gone_and_is_told_so() {
    let (io, port) = serve(Server::builder()).await;
    let (port, passing) = way_to(port).await;
    let mut client = connect(port, TransportKind::WebSocket).await;
    echo(&client).await;
    passing.send_replace(Passing::OnlyToClient);
    closed(&io, "transport close").await;
    let told = async {
        while let Some(news) = client.next().await {
            if let News::Disconnected { .. } = news {
                return;
            }
        }
    };
    timeout(SOON, told).await.expect("the server ends its direction, too");
}

#[test]
fn a_program_whose_logs_do_not_fit_on_the_disk_goes_on() {
    let port = free_port();
    let mut command = Command::new(workspace_binary("socketio-server", "lifecycle"));
    command.args(["--no-bus", "--listen", &format!("127.0.0.1:{port}")]).env("RUST_LOG", "debug");
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("Linux has it"));
    let mut program = Ended(command.stdin(Stdio::null()).stdout(full()).stderr(full()).spawn().expect("it is built"));
    until(SOON, "it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        for transport in [TransportKind::WebSocket, TransportKind::Polling] {
            let client = connect(port, transport).await;
            client.close().await;
        }
    });
    assert_eq!(program.0.try_wait().expect("a child can be asked"), None);
}

/// A child that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
