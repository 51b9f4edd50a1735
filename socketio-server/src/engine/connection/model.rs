//! What happens to one connection, in every order in which it can.
//!
//! A [`World`] is a real connection with real requests, a real WebSocket that probes, the flusher, and the task that
//! owns it, over a pipe and with time paused. It has no threads and no runtime that runs its tasks: each is polled by
//! hand, and only if it was woken. Between two polls anything may happen that the server, the client or the clock can
//! do. [`explore`] goes through all orders, breadth first; states in which it has been before are not looked at twice.
//! What is said under one lock is one step, so that threads could do nothing else. (`opening` and `http` let others
//! come between two such steps of theirs, in tests.)
//!
//! In each state the world is then let run until nothing moves by itself, and to its end: what has to be true all
//! along is in [`World::check`], what when nothing moves in [`World::settle`], and what at the end in [`World::end`].

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use socketio_protocol::engine::{CloseReason, Message, Packet, Timing, TransportKind, Version, decode_payload};
use socketio_protocol::websocket::{Decoder, Event, Role};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::runtime::Runtime;

use super::Connection;
use super::state::Link;
use crate::engine::clock::now;
use crate::engine::drain::{LOOK, leave};
use crate::engine::frame::Terms;
use crate::engine::head::Head;
use crate::engine::incoming::{Incoming, Received};
use crate::engine::io::{Reader, Writer};
use crate::engine::lent::client_frame;
use crate::engine::opening::probe;
use crate::engine::{Engine, EngineConfig};

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A task that was woken gets its turn.
    Run(Task),
    /// The server sends a message.
    Send,
    /// The server closes the session.
    Close,
    /// The server closes it, and says that it goes.
    CloseFor,
    /// The server closes it, and throws away what is queued.
    Discard,
    /// The server drains, and it is this session's turn.
    Leave,
    /// A GET comes.
    Get,
    /// The client of this GET goes away.
    Abort(Task),
    /// A POST comes, with this packet.
    Post(Word),
    /// A WebSocket comes for the session.
    Open,
    /// The client says this on a WebSocket.
    Say(usize, Word),
    /// The client closes a WebSocket.
    HangUp(usize),
    /// The client reads what has come on its WebSocket.
    Read(usize),
    /// Time passes until there is something to look at.
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// The one that owns the connection.
    App,
    Flusher,
    Get(usize),
    Post(usize),
    /// Of a WebSocket that is no session's yet.
    Probe(usize),
    /// Ends the session once its client has what is queued.
    Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Probe,
    Upgrade,
    Message,
    Pong,
    Close,
    Garbage,
}

/// How often each may happen, and to how many steps all orders are looked at.
#[derive(Debug, Clone)]
struct Scope {
    web_socket: bool,
    /// So many bytes are on their way on a WebSocket.
    pipe: usize,
    /// A client that reads its WebSocket only when that is its turn.
    lazy: bool,
    steps: &'static [(Step, usize)],
    words: &'static [Word],
    aborts: bool,
    hang_ups: bool,
    depth: usize,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Running {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
}

/// What has been seen from outside.
#[derive(Debug, Default)]
struct Log {
    sent: Vec<String>,
    received: Vec<String>,
    heard: Vec<String>,
    closes: Vec<CloseReason>,
    /// A GET was answered with a close packet.
    told: bool,
    /// What GETs were answered.
    statuses: Vec<StatusCode>,
}

/// The client's end of a WebSocket.
struct Socket {
    stream: Option<DuplexStream>,
    buffer: BytesMut,
    decoder: Decoder,
    said: Vec<Word>,
    /// It was read to its end, or a close frame came.
    ended: bool,
}

struct World<'a> {
    runtime: &'a Runtime,
    scope: &'a Scope,
    engine: Engine,
    connection: Arc<Connection>,
    tasks: BTreeMap<Task, Running>,
    log: Rc<RefCell<Log>>,
    sockets: Vec<Socket>,
    /// What has happened.
    steps: Vec<Step>,
}

const TIMING: Timing = Timing {
    ping_interval: Duration::from_millis(300),
    ping_timeout: Duration::from_millis(200),
    upgrade_timeout: Duration::from_millis(250),
};

impl<'a> World<'a> {
    fn new(runtime: &'a Runtime, scope: &'a Scope) -> Self {
        let config = EngineConfig { timing: TIMING, write_timeout: Duration::from_millis(400), ..Default::default() };
        let engine = Engine::new(config, async |_| {});
        let shared = engine.shared.clone();
        let request = http::Request::get("/").body(()).unwrap();
        let request = Head::of(&request).copy(&shared).clone();
        let transport = if scope.web_socket { TransportKind::WebSocket } else { TransportKind::Polling };
        let connection = Connection::new("sid".into(), Version::V4, transport, false, request, shared, now());
        connection.shared.remember(&connection);
        let (tasks, log, sockets, steps) = Default::default();
        let mut world = Self { runtime, scope, engine, connection, tasks, log, sockets, steps };
        let mut incoming = Incoming::new(world.connection.clone());
        if scope.web_socket {
            let (reader, writer) = world.socket();
            world.connection.opened(writer, Terms::default());
            incoming.read_from(reader, BytesMut::new());
        }
        let log = world.log.clone();
        world.spawn(Task::App, async move {
            incoming.cork();
            loop {
                match incoming.next().await {
                    Received::Message(Message::Text(text)) => {
                        // Sent in a turn of the task's own: it leaves at its end.
                        log.borrow_mut().heard.push(text.to_string());
                        send(incoming.connection(), &log, "echo");
                    }
                    Received::Message(_) | Received::Nudged => {}
                    Received::Closed(reason) => return log.borrow_mut().closes.push(reason),
                }
            }
        });
        world.spawn(Task::Flusher, world.connection.shared.flusher.clone().run());
        world
    }

    fn spawn(&mut self, task: Task, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.insert(task, Running { future: Box::pin(future), woken });
    }

    /// A new WebSocket; these are the server's ends of it.
    fn socket(&mut self) -> (Reader, Writer) {
        let (near, far) = tokio::io::duplex(self.scope.pipe);
        let (reader, writer) = tokio::io::split(near);
        let decoder = Decoder::new(Role::Client, 1000);
        let (buffer, said) = Default::default();
        self.sockets.push(Socket { stream: Some(far), buffer, decoder, said, ended: false });
        (Reader::Pipe(reader), Writer::Pipe(writer))
    }

    /// How often a step of this kind has been taken.
    fn count(&self, like: Step) -> usize {
        self.steps.iter().filter(|step| **step == like).count()
    }

    fn opened(&self) -> (usize, usize) {
        let posts = self.steps.iter().filter(|step| matches!(step, Step::Post(_))).count();
        (self.count(Step::Get), posts)
    }

    /// What can happen now.
    fn possible(&self) -> Vec<Step> {
        let woken = self.tasks.iter().filter(|(_, running)| running.woken.0.load(Ordering::Relaxed));
        let mut possible: Vec<_> = woken.map(|(task, _)| Step::Run(*task)).collect();
        let allowed = self.scope.steps.iter().filter(|(step, times)| self.count(*step) < *times);
        possible.extend(allowed.map(|(step, _)| *step));
        if self.scope.aborts {
            let gets = self.tasks.keys().filter(|task| matches!(task, Task::Get(_) | Task::Post(_)));
            possible.extend(gets.map(|task| Step::Abort(*task)));
        }
        for (i, socket) in self.sockets.iter().enumerate().filter(|(_, socket)| socket.stream.is_some()) {
            let words = self.scope.words.iter().filter(|word| !socket.said.contains(word));
            possible.extend(words.map(|word| Step::Say(i, *word)));
            if self.scope.hang_ups {
                possible.push(Step::HangUp(i));
            }
            if self.scope.lazy {
                possible.push(Step::Read(i));
            }
        }
        possible
    }

    fn step(&mut self, step: Step) {
        let (gets, posts) = self.opened();
        self.steps.push(step);
        match step {
            Step::Run(task) => self.run(task),
            Step::Send => send(&self.connection, &self.log, "message"),
            Step::Close => self.connection.close(),
            Step::CloseFor => self.connection.close_for(CloseReason::ServerShutdown),
            Step::Discard => self.connection.discard(CloseReason::ServerShutdown),
            Step::Leave => self.leave(),
            Step::Get => self.get(gets),
            Step::Abort(task) => drop(self.tasks.remove(&task)),
            Step::Post(word) => self.post(posts, word),
            Step::Open => self.open(),
            Step::Say(socket, word) => self.say(socket, word),
            Step::HangUp(socket) => self.sockets[socket].stream = None,
            Step::Read(socket) => drop(self.read(socket)),
            Step::Tick => self.tick(),
        }
        self.run_farewells();
        if !self.scope.lazy {
            self.read_all();
        }
        self.check();
    }

    fn run(&mut self, task: Task) {
        let Some(running) = self.tasks.get_mut(&task) else { return };
        running.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(running.woken.clone());
        if running.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.tasks.remove(&task);
        }
    }

    /// The last words of a WebSocket have tasks of their own.
    fn run_farewells(&self) {
        self.runtime.block_on(async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn leave(&mut self) {
        let (quiet, end) = (std::future::ready(true), tokio::time::Instant::now() + Duration::from_secs(2));
        self.spawn(Task::Leave, leave(Box::pin(quiet), self.connection.clone(), end));
    }

    fn get(&mut self, number: usize) {
        let (connection, log) = (self.connection.clone(), self.log.clone());
        self.spawn(Task::Get(number), async move {
            let request = http::Request::get("/").body(()).unwrap();
            let (shared, head) = (connection.shared.clone(), Head::of(&request));
            let Ok(answer) = shared.poll_or_post(&head, Bytes::new(), connection, None).await else { return };
            let mut log = log.borrow_mut();
            log.statuses.push(answer.status);
            if answer.status == StatusCode::OK {
                for packet in decode_payload(Version::V4, false, answer.body, 100) {
                    match packet.expect("the server sends packets") {
                        Packet::Message(Message::Text(text)) => log.received.push(text.to_string()),
                        Packet::Close => log.told = true,
                        _ => {}
                    }
                }
            }
        });
    }

    fn post(&mut self, number: usize, word: Word) {
        let connection = self.connection.clone();
        let body = Bytes::from(word.text(&format!("post {number}")));
        self.spawn(Task::Post(number), async move {
            let request = http::Request::post("/").body(()).unwrap();
            let (shared, head) = (connection.shared.clone(), Head::of(&request));
            let _ = shared.poll_or_post(&head, body, connection, None).await; // What becomes of it is seen elsewhere.
        });
    }

    fn open(&mut self) {
        let Ok(number) = self.connection.open_probe() else { return };
        let (task, connection) = (Task::Probe(self.sockets.len()), self.connection.clone());
        let (reader, writer) = self.socket();
        self.spawn(task, async move {
            probe(&connection, number, reader, writer, BytesMut::new(), Terms::default()).await;
        });
    }

    fn say(&mut self, socket: usize, word: Word) {
        let text = word.text(&format!("socket {socket}"));
        let Socket { stream: Some(stream), said, .. } = &mut self.sockets[socket] else { return };
        said.push(word);
        let frame = match Packet::decode_text(text.into(), Version::V4) {
            Ok(packet) => client_frame(&packet),
            Err(_) => vec![0xff; 8],
        };
        let mut cx = Context::from_waker(Waker::noop());
        // The pipe may be full, or the other end gone: then it is lost, as on any line.
        let _ = pin!(stream.write_all(&frame)).poll(&mut cx);
    }

    /// The client reads all that has come. Says whether that was anything.
    fn read(&mut self, socket: usize) -> bool {
        let Socket { stream: Some(stream), buffer, decoder, ended, .. } = &mut self.sockets[socket] else {
            return false;
        };
        let (mut bytes, mut any) = ([0; 256], false);
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    any = true;
                    buffer.extend_from_slice(buf.filled());
                }
                Poll::Ready(_) => break *ended = true,
                Poll::Pending => break,
            }
        }
        let mut log = self.log.borrow_mut();
        while let Some(event) = decoder.decode(buffer).expect("the server sends frames") {
            match event {
                Event::Text(text) => match Packet::decode_text(text, Version::V4).expect("with packets in them") {
                    Packet::Message(Message::Text(text)) => log.received.push(text.to_string()),
                    _ => continue,
                },
                Event::Close(_) => *ended = true,
                _ => {}
            }
        }
        any
    }

    fn read_all(&mut self) -> bool {
        (0..self.sockets.len()).filter(|socket| self.read(*socket)).count() > 0
    }

    fn tick(&mut self) {
        let Some(at) = self.connection.lock().armed else { return };
        self.runtime.block_on(tokio::time::advance(at.saturating_duration_since(now())));
        self.connection.tick(at);
    }

    // ---- what has to be true ----------------------------------------------------------------------------------

    /// All along: what arrives is what was sent, in order, and nothing twice; the end is told once.
    fn check(&self) {
        let log = self.log.borrow();
        assert!(log.sent.starts_with(&log.received), "lost, overtaken or doubled: {log:?}");
        let each: HashSet<_> = log.heard.iter().collect();
        assert_eq!(each.len(), log.heard.len(), "heard twice: {log:?}");
        assert!(log.closes.len() <= 1, "told of the end twice: {log:?}");
        let state = self.connection.lock();
        assert!(state.armed <= state.deadline().or(state.armed), "the timers come too late");
        let sizes: usize = state.queue.iter().map(|frame| frame.size()).sum();
        let batch = state.batch.as_ref().map_or(0, |batch| batch.size());
        assert_eq!(sizes + batch, state.queued_bytes, "what is queued is counted");
    }

    /// Runs whatever was woken, until nothing is.
    fn run_all(&mut self) {
        for _ in 0..200 {
            self.run_farewells();
            let read = self.read_all();
            let woken = self.tasks.iter().find(|(_, running)| running.woken.0.load(Ordering::Relaxed));
            match woken {
                Some((&task, _)) => self.run(task),
                None if read => {}
                None => return,
            }
        }
        panic!("it never comes to rest");
    }

    fn waiting(&self, like: impl Fn(&Task) -> bool) -> usize {
        self.tasks.keys().filter(|task| like(task)).count()
    }

    /// When nothing moves by itself: nobody has been forgotten, and what was sent has arrived if somebody listens.
    fn settle(&mut self) {
        self.run_all();
        self.check();
        let gets = |task: &Task| matches!(task, Task::Get(_));
        let (closed, polling, poll_waits, probed) = {
            let state = self.connection.lock();
            let session = &state.session;
            (state.closed, session.is_polling(), session.poll_waits(), session.is_probed())
        };
        assert!(self.waiting(gets) <= usize::from(poll_waits), "a GET waits that the session does not know of");
        assert_eq!(self.waiting(|task| matches!(task, Task::Post(_))), 0, "a POST has not been answered");
        let probes = self.waiting(|task| matches!(task, Task::Probe(_)));
        if closed.is_none() {
            assert_eq!(probes, usize::from(probed), "each WebSocket that waits is the one that the session knows");
            assert!(self.tasks.contains_key(&Task::App), "the connection's task lives as long as the session");
            if polling && !poll_waits {
                self.get(self.opened().0);
                self.run_all();
            }
            let log = self.log.borrow();
            if polling || self.listening() {
                assert_eq!(log.sent, log.received, "all that was sent has arrived");
            }
            return;
        }
        assert!(!self.tasks.contains_key(&Task::App), "the connection's task was told of the end");
        let known = self.connection.shared.session("sid").is_some();
        if known && polling {
            // What was queued is fetched, and then the client is told.
            for number in 0..4 {
                self.get(self.opened().0 + number);
                self.run_all();
                if self.connection.shared.session("sid").is_none() {
                    break;
                }
            }
            assert!(self.log.borrow().told, "whoever comes back is told: {:?}", self.log);
        }
        let log = self.log.borrow();
        let by_us = |reason: &CloseReason| matches!(reason, CloseReason::ForcedClose | CloseReason::ServerShutdown);
        let thrown_away = self.steps.contains(&Step::Discard) || !log.closes.iter().any(by_us);
        let left = |step: &Step| matches!(step, Step::HangUp(_) | Step::Abort(_) | Step::Post(Word::Close));
        let gone = self.steps.iter().any(left);
        if !thrown_away && !gone && (known || self.listening()) {
            assert_eq!(log.sent, log.received, "what was queued when it was closed has arrived");
        }
    }

    /// Whether the client has a WebSocket open.
    fn listening(&self) -> bool {
        self.sockets.iter().any(|socket| socket.stream.is_some())
    }

    /// The client does nothing any more: nothing is left of it.
    fn end(&mut self) {
        for _ in 0..30 {
            self.run_all();
            if self.connection.lock().deadline().is_none() {
                break;
            }
            self.tick();
        }
        self.sockets.iter_mut().for_each(|socket| {
            assert!(socket.stream.is_none() || socket.ended, "a WebSocket is open after the end of its session");
            socket.stream = None;
        });
        self.runtime.block_on(tokio::time::advance(LOOK)); // So that a draining sees it, too.
        self.run_all();
        assert_eq!(self.log.borrow().closes.len(), 1, "told of the end once");
        assert!(self.connection.shared.session("sid").is_none(), "no session is left");
        let left: Vec<_> = self.tasks.keys().filter(|task| **task != Task::Flusher).collect();
        assert!(left.is_empty(), "{left:?} wait for ever");
        assert_eq!(Arc::strong_count(&self.connection), 1, "something holds the connection");
        assert_eq!(self.engine.clients_count(), 0);
    }

    /// What decides what can happen from here on.
    fn key(&self) -> u64 {
        let state = self.connection.lock();
        let at = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now()));
        let mut key = relative(&format!("{:?}", state.session));
        let link = match &state.link {
            Link::Polling { poll, end, probe } => {
                let probe = probe.as_ref().map(|probe| (&probe.outputs, probe.waker.is_some()));
                format!("{:?} {:?} {probe:?}", poll.is_some(), end.map(|end| end as u8))
            }
            Link::WebSocket { upgraded, close_frame, .. } => format!("{:?} {close_frame:?}", upgraded.is_some()),
            Link::Gone => String::new(),
        };
        let _ = write!(key, "{link} {:?} {} {}", state.closed, state.packets(), state.written);
        let flags = [state.corked, state.dirty, state.blocked, state.nudged, state.unhandled, state.handled.is_some()];
        let own = state.deadlines.as_ref().map(|own| at(own.progress));
        let _ = write!(key, "{flags:?} {:?} {own:?} {:?}", at(state.armed), state.inbox.len());
        for (task, running) in &self.tasks {
            let _ = write!(key, "{task:?} {:?}", running.woken.0);
        }
        for socket in &self.sockets {
            let _ = write!(key, "{:?} {} {:?}", socket.said, socket.stream.is_some(), socket.ended);
        }
        // Of a task that is polled in pieces, how often it was tells where it is.
        let turns = |task: Task| self.count(Step::Run(task));
        let turns: Vec<_> = self.tasks.keys().filter(|task| **task >= Task::Get(0)).map(|task| turns(*task)).collect();
        let counts: Vec<_> = self.scope.steps.iter().map(|(step, _)| self.count(*step)).collect();
        let _ = write!(key, "{:?} {turns:?} {counts:?}", self.log.borrow());
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    }
}

fn send(connection: &Arc<Connection>, log: &RefCell<Log>, kind: &str) {
    let text = format!("{kind} {}", log.borrow().sent.len());
    if connection.send(Message::Text(text.as_str().into())).is_ok() {
        log.borrow_mut().sent.push(text);
    }
}

impl Word {
    fn text(self, from: &str) -> String {
        match self {
            Word::Probe => "2probe".into(),
            Word::Upgrade => "5".into(),
            Word::Message => format!("4{from}"),
            Word::Pong => "3".into(),
            Word::Close => "1".into(),
            Word::Garbage => "?".into(),
        }
    }
}

/// Times of an `Instant`'s debugging output as distances from now.
fn relative(text: &str) -> String {
    let reference = format!("{:?}", now());
    let nanos = |text: &str| {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<i128>().ok());
        numbers.next().unwrap_or(0) * 1_000_000_000 + numbers.next().unwrap_or(0)
    };
    let (now, mut out, mut rest) = (nanos(&reference), String::new(), text);
    while let Some((before, after)) = rest.split_once("Instant {") {
        let (time, after) = after.split_once('}').expect("an Instant ends with a brace");
        let _ = write!(out, "{before}{}", nanos(time) - now);
        rest = after;
    }
    out + rest
}

/// Goes through all orders. Says in how many states it has been.
fn explore(scope: &Scope) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let (mut visited, mut next) = (HashSet::new(), VecDeque::from([Vec::new()]));
    while let Some(path) = next.pop_front() {
        let mut telling = Telling(&path);
        let mut world = World::new(&runtime, scope);
        path.iter().for_each(|step| world.step(*step));
        if visited.insert(world.key()) {
            if path.len() < scope.depth {
                next.extend(world.possible().into_iter().map(|step| [&path[..], &[step]].concat()));
            }
            world.settle();
            world.end();
        }
        telling.0 = &[];
    }
    visited.len()
}

/// Says how it came to an assertion that failed.
struct Telling<'a>(&'a [Step]);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {:?}", self.0);
        }
    }
}

const POLLING: Scope = Scope {
    web_socket: false,
    pipe: 1000,
    lazy: false,
    steps: &[],
    words: &[],
    aborts: false,
    hang_ups: false,
    depth: 0,
};

#[test]
fn polling_in_every_order_loses_nothing_and_forgets_nobody() {
    let steps = &[
        (Step::Send, 2),
        (Step::Get, 2),
        (Step::Post(Word::Message), 1),
        (Step::Post(Word::Close), 1),
        (Step::Close, 1),
        (Step::Tick, 2),
    ];
    let states = explore(&Scope { steps, aborts: true, depth: depth(5), ..POLLING });
    assert!(states > 300, "{states} states");
}

#[test]
fn an_upgrade_in_every_order_loses_nothing_and_forgets_nobody() {
    let steps = &[(Step::Send, 2), (Step::Get, 1), (Step::Open, 1), (Step::Close, 1)];
    let words = &[Word::Probe, Word::Upgrade, Word::Message];
    let states = explore(&Scope { steps, words, hang_ups: true, depth: depth(7), ..POLLING });
    assert!(states > 300, "{states} states");
}

#[test]
fn two_web_sockets_that_probe_are_never_taken_for_each_other() {
    let steps = &[(Step::Send, 1), (Step::Open, 2), (Step::Get, 1), (Step::Tick, 1)];
    let words = &[Word::Probe, Word::Upgrade, Word::Garbage];
    let states = explore(&Scope { steps, words, depth: depth(6), ..POLLING });
    assert!(states > 300, "{states} states");
}

#[test]
fn a_session_is_closed_once_whoever_closes_it() {
    let steps = &[
        (Step::Send, 1),
        (Step::Get, 2),
        (Step::Close, 1),
        (Step::CloseFor, 1),
        (Step::Discard, 1),
        (Step::Leave, 1),
        (Step::Post(Word::Close), 1),
        (Step::Open, 1),
        (Step::Tick, 1),
    ];
    let words = &[Word::Probe, Word::Upgrade];
    let states = explore(&Scope { steps, words, depth: depth(4), ..POLLING });
    assert!(states > 300, "{states} states");
}

#[test]
fn a_queue_leaves_whole_and_in_order_through_a_stream_that_fills_up() {
    let steps = &[(Step::Send, 4), (Step::Close, 1), (Step::Leave, 1), (Step::Tick, 3)];
    let words = &[Word::Message, Word::Pong, Word::Close];
    let scope = Scope { web_socket: true, pipe: 16, lazy: true, steps, words, hang_ups: true, ..POLLING };
    let states = explore(&Scope { depth: depth(6), ..scope });
    assert!(states > 300, "{states} states");
}

/// So many steps, or more where somebody has the time: `MODEL_DEPTH=2` is two more.
fn depth(steps: usize) -> usize {
    let more = std::env::var("MODEL_DEPTH").ok().and_then(|more| more.parse().ok());
    steps + more.unwrap_or(0)
}
