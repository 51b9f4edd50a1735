//! A cluster in one process under simulated time, over a net that drops, doubles, delays and reorders messages, whose
//! servers die, come and stand still. Every question is looked at: it ends in time, says what is missing, counts nobody
//! twice, and nothing of it is left.
//!
//! A seed is one run, the same each time. CI plays a few; `MODEL_SEEDS=20000` plays more, `MODEL_SEED=7` that one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use socketio_protocol::cluster::{
    Answer, Answers, Bus, BusError, BusStatus, Channel, Envelope, Inbox, Message, Published,
};
use socketio_protocol::socket::Args;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::testing::TestClient;
use crate::{Acks, Broadcast, Fields, Namespace, Server, Socket};

const SEEDS: u64 = 60;
const NAMESPACES: [&str; 2] = ["/", "/chat"];
/// How long the net is bad.
const TROUBLE: u64 = 20_000;
/// How much later than its deadline a question may end: the granularity of the clock.
const TICK: Duration = Duration::from_millis(2);

#[test]
fn questions_to_a_cluster_end_in_time_and_never_pass_a_part_for_the_whole() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODEL_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    for seed in seeds {
        eprintln!("MODEL_SEED={seed}"); // Shown if it fails.
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        seen.add(runtime.block_on(play(seed)));
        assert_eq!(runtime.metrics().num_alive_tasks(), 0, "tasks are left");
    }
    eprintln!("{seen:?}");
    // What never happens shows nothing.
    assert!(seen.whole > 0 && seen.short > 0 && seen.late > 0 && seen.dropped > 0 && seen.doubled > 0, "{seen:?}");
}

/// What has happened in all runs.
#[derive(Debug, Default)]
struct Seen {
    whole: u64,
    short: u64,
    /// Questions that ended at their deadline.
    late: u64,
    failed: u64,
    dropped: u64,
    doubled: u64,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.whole += other.whole;
        self.short += other.short;
        self.late += other.late;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.doubled += other.doubled;
    }
}

// ---- the net --------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct Net(Arc<Mutex<NetState>>);

struct NetState {
    random: u64,
    members: Vec<Member>,
    requests: HashSet<String>,
    /// In a hundred.
    drops: u64,
    doubles: u64,
    /// In milliseconds, at most.
    delay: u64,
    /// Whether answers say whose they are.
    says_who: bool,
    dropped: u64,
    doubled: u64,
}

#[derive(Clone)]
struct Member {
    server: usize,
    uid: String,
    nsp: String,
    inbox: Arc<dyn Inbox>,
    is_there: bool,
    /// Until then it takes no message.
    frozen_until: Instant,
}

impl Net {
    fn lock(&self) -> MutexGuard<'_, NetState> {
        self.0.lock().unwrap()
    }

    /// A number below `bound`.
    fn random(&self, bound: u64) -> u64 {
        let mut state = self.lock();
        state.random ^= state.random << 13;
        state.random ^= state.random >> 7;
        state.random ^= state.random << 17;
        state.random % bound
    }

    fn carry(&self, to: &Member, envelope: &Envelope) {
        let (drops, doubles, delay) = {
            let state = self.lock();
            (state.drops, state.doubles, state.delay)
        };
        let copies = match self.random(100) {
            chance if chance < drops => 0,
            chance if chance < drops + doubles => 2,
            _ => 1,
        };
        let mut state = self.lock();
        state.dropped += u64::from(copies == 0);
        state.doubled += u64::from(copies == 2);
        drop(state);
        for _ in 0..copies {
            let (net, to, envelope) = (self.clone(), to.clone(), envelope.clone());
            let arrival = Instant::now() + Duration::from_millis(self.random(delay));
            tokio::spawn(async move {
                sleep_until(arrival.max(to.frozen_until)).await;
                let is_there = net.lock().members.iter().any(|member| member.uid == to.uid && member.is_there);
                if is_there {
                    to.inbox.receive(envelope);
                }
            });
        }
    }

    fn of(&self, server: usize, change: impl Fn(&mut Member)) {
        self.lock().members.iter_mut().filter(|member| member.server == server).for_each(change);
    }

    fn kill(&self, server: usize) {
        self.of(server, |member| member.is_there = false);
        let members = self.lock().members.clone();
        for member in members.iter().filter(|member| member.server == server) {
            member.inbox.status(BusStatus::Down { error: unreachable() });
        }
    }
}

fn unreachable() -> BusError {
    BusError::Unreachable { reason: "it is dead".into() }
}

struct SimulatedBus {
    net: Net,
    server: usize,
}

impl Bus for SimulatedBus {
    fn open(&self, nsp: &str, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let uid = format!("{}{nsp}", self.server);
        inbox.status(BusStatus::Up);
        let (server, nsp, frozen_until) = (self.server, nsp.to_owned(), Instant::now());
        let member = Member { server, uid: uid.clone(), nsp: nsp.clone(), inbox, is_there: true, frozen_until };
        self.net.lock().members.push(member);
        Arc::new(SimulatedChannel { net: self.net.clone(), uid, nsp })
    }
}

struct SimulatedChannel {
    net: Net,
    uid: String,
    nsp: String,
}

impl SimulatedChannel {
    /// The members of the namespace, if this is one of them.
    fn members(&self) -> Option<Vec<Member>> {
        let state = self.net.lock();
        let there = state.members.iter().filter(|member| member.nsp == self.nsp && member.is_there);
        let there: Vec<_> = there.cloned().collect();
        there.iter().any(|member| member.uid == self.uid).then_some(there)
    }

    fn send(&self, recipient: Option<&str>, message: &Message) -> Result<Published, BusError> {
        let uid = self.net.lock().says_who.then(|| self.uid.clone());
        let is_question = message.answers().is_none();
        let envelope = Envelope {
            uid: uid.or_else(|| is_question.then(|| self.uid.clone())),
            nsp: self.nsp.clone(),
            message: message.clone(),
        };
        if let Message::Broadcast { request: Some(request), .. }
        | Message::FetchSockets { request, .. }
        | Message::Summarize { request, .. }
        | Message::AllRooms { request }
        | Message::ServerSideEmit { request: Some(request), .. } = message
        {
            self.net.lock().requests.insert(request.clone());
        }
        for member in self.members().into_iter().flatten() {
            if member.uid != self.uid && recipient.is_none_or(|recipient| recipient == member.uid) {
                self.net.carry(&member, &envelope);
            }
        }
        Ok(Published::settled(Ok(()))) // What a dead server sends is lost.
    }

    /// What is asked of the carrier takes its time.
    fn ask<'a, T: Send + 'a>(&'a self, look: impl Fn() -> Result<T, BusError> + Send + 'a) -> Answer<'a, T> {
        Box::pin(async move {
            sleep(Duration::from_millis(self.net.random(10))).await;
            let found = look();
            sleep(Duration::from_millis(self.net.random(10))).await;
            found
        })
    }
}

impl Channel for SimulatedChannel {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn publish(&self, message: &Message) -> Result<Published, BusError> {
        self.send(None, message)
    }

    fn respond(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.send(requester, message)
    }

    fn server_count(&self) -> Answer<'_, usize> {
        self.ask(|| self.members().map(|members| members.len()).ok_or_else(unreachable))
    }

    fn is_there<'a>(&'a self, uid: &'a str) -> Answer<'a, bool> {
        self.ask(move || Ok(self.members().ok_or_else(unreachable)?.iter().any(|member| member.uid == uid)))
    }

    fn ready(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) {
        self.net.lock().members.retain(|member| member.uid != self.uid);
    }
}

// ---- who is there, as the model knows it ----------------------------------------------------------------------

#[derive(Clone, Default)]
struct World(Arc<Mutex<WorldState>>);

#[derive(Default)]
struct WorldState {
    servers: Vec<Life>,
    clients: HashMap<String, Person>,
    seen: Seen,
}

#[derive(Clone, Copy)]
struct Life {
    since: Instant,
    until: Option<Instant>,
}

struct Person {
    server: usize,
    nsp: &'static str,
    life: Life,
}

impl Life {
    fn starts() -> Self {
        Self { since: Instant::now(), until: None }
    }

    /// Whether it was there all the time since `start`.
    fn lasts(&self, start: Instant) -> bool {
        self.since < start && self.until.is_none()
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.0.lock().unwrap()
    }

    /// The clients who have been there all the time since `start`, and their servers, too.
    fn stable(&self, nsp: &str, start: Instant) -> BTreeSet<String> {
        let state = self.lock();
        let stable = state.clients.iter().filter(|(_, person)| {
            person.nsp == nsp && person.life.lasts(start) && state.servers[person.server].lasts(start)
        });
        stable.map(|(id, _)| id.clone()).collect()
    }

    fn stable_servers(&self, start: Instant) -> BTreeSet<usize> {
        let state = self.lock();
        (0..state.servers.len()).filter(|n| state.servers[*n].lasts(start)).collect()
    }

    /// Whoever has ever been there.
    fn ever(&self, nsp: &str) -> BTreeSet<String> {
        let state = self.lock();
        state.clients.iter().filter(|(_, person)| person.nsp == nsp).map(|(id, _)| id.clone()).collect()
    }
}

/// Each of them once.
fn once<T: Ord + std::fmt::Debug + Clone>(all: &[T]) -> BTreeSet<T> {
    let set: BTreeSet<T> = all.iter().cloned().collect();
    assert_eq!(set.len(), all.len(), "something was counted twice: {all:?}");
    set
}

// ---- servers and clients --------------------------------------------------------------------------------------

struct Node {
    io: Server,
    is_alive: bool,
}

struct Cluster {
    net: Net,
    world: World,
    nodes: Vec<Node>,
    /// Ends a client; by its id.
    clients: Vec<(String, oneshot::Sender<()>)>,
    tasks: JoinSet<()>,
}

impl Cluster {
    async fn add_server(&mut self) {
        let server = self.nodes.len();
        let io = Server::builder().adapter(SimulatedBus { net: self.net.clone(), server }).build();
        for nsp in NAMESPACES {
            let nsp = io.of(nsp);
            nsp.on_connection(async |socket: Socket| socket.join("red"));
            nsp.on_server_event("who", async move || server);
        }
        for _ in 0..=self.net.random(2) {
            let first = TestClient::connect(&io).await;
            let second = first.enter("/chat", ()).await.unwrap();
            for (client, nsp) in [(first, "/"), (second, "/chat")] {
                self.play_client(server, nsp, client);
            }
        }
        sleep(Duration::from_millis(1)).await; // For the handlers.
        self.world.lock().servers.push(Life::starts());
        self.nodes.push(Node { io, is_alive: true });
    }

    fn play_client(&mut self, server: usize, nsp: &'static str, mut client: TestClient) {
        let (leave, mut left) = oneshot::channel();
        let id = client.id().to_owned();
        self.world.lock().clients.insert(id.clone(), Person { server, nsp, life: Life::starts() });
        let answers_after = match self.net.random(5) {
            0 => None,
            n => Some(Duration::from_millis(n * 100 - 100)),
        };
        self.clients.push((id.clone(), leave));
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    event = client.next_event(Duration::from_secs(3600)) => {
                        let Some(event) = event else { return };
                        if let Some(delay) = answers_after {
                            sleep(delay).await;
                            event.answer(&id);
                        }
                    }
                    _ = &mut left => return client.disconnect(),
                }
            }
        });
    }

    /// Something happens to the cluster.
    async fn trouble(&mut self) {
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].is_alive).collect();
        let victim = alive[self.net.random(alive.len() as u64) as usize];
        match self.net.random(4) {
            0 if alive.len() < 6 => self.add_server().await,
            1 if alive.len() > 1 => {
                self.world.lock().servers[victim].until = Some(Instant::now());
                self.nodes[victim].is_alive = false;
                self.net.kill(victim);
            }
            2 if !self.clients.is_empty() => {
                let (id, leave) = self.clients.swap_remove(self.net.random(self.clients.len() as u64) as usize);
                self.world.lock().clients.get_mut(&id).unwrap().life.until = Some(Instant::now());
                let _ = leave.send(());
            }
            _ => {
                let until = Instant::now() + Duration::from_millis(self.net.random(4_000));
                self.net.of(victim, |member| member.frozen_until = until);
            }
        }
    }

    fn question(&mut self) {
        let server = self.net.random(self.nodes.len() as u64) as usize;
        let nsp = NAMESPACES[self.net.random(2) as usize];
        let asker = Asker {
            server,
            nsp,
            namespace: self.nodes[server].io.of(nsp),
            world: self.world.clone(),
            start: Instant::now(),
            timeout: Duration::from_millis(20 + self.net.random(5_000)),
        };
        let kind = self.net.random(6);
        self.tasks.spawn(async move {
            match kind {
                0 => asker.fetch().await,
                1 => asker.count().await,
                2 => asker.room_sizes().await,
                3 => asker.all_rooms().await,
                4 => asker.servers().await,
                _ => asker.clients().await,
            }
        });
    }
}

// ---- questions ------------------------------------------------------------------------------------------------

struct Asker {
    server: usize,
    nsp: &'static str,
    namespace: Namespace,
    world: World,
    start: Instant,
    timeout: Duration,
}

impl Asker {
    fn everyone(&self) -> Broadcast {
        self.namespace.everyone().timeout(self.timeout)
    }

    /// What was answered, and whether it is said to be all: in time, and of no server twice.
    fn ended<T>(&self, answered: Result<Answers<T>, BusError>) -> Option<(Vec<T>, bool)> {
        let took = self.start.elapsed();
        assert!(took <= self.timeout + TICK, "it took {took:?} of {:?}", self.timeout);
        let mut world = self.world.lock();
        world.seen.late += u64::from(took >= self.timeout);
        let Ok(answers) = answered else {
            world.seen.failed += 1;
            return None;
        };
        assert!(answers.missing <= answers.asked);
        // Whoever has left the cluster knows of itself only.
        let is_whole = answers.missing == 0 && world.servers[self.server].until.is_none();
        if is_whole {
            world.seen.whole += 1;
        } else {
            world.seen.short += 1;
        }
        Some((answers.received, is_whole))
    }

    fn check(&self, found: &BTreeSet<String>, is_whole: bool) {
        let ever = self.world.ever(self.nsp);
        assert!(found.is_subset(&ever), "{found:?} of {ever:?}");
        let stable = self.world.stable(self.nsp, self.start);
        assert!(!is_whole || stable.is_subset(found), "a part is passed for the whole: {found:?} of {stable:?}");
    }

    fn check_number(&self, found: u64, is_whole: bool) {
        let ever = self.world.ever(self.nsp).len() as u64;
        assert!(found <= ever, "{found} of {ever}");
        let stable = self.world.stable(self.nsp, self.start).len() as u64;
        assert!(!is_whole || stable <= found, "a part is passed for the whole: {found} of {stable}");
    }

    async fn fetch(self) {
        let answered = self.everyone().fetch_sockets_with(Fields::NONE).await;
        let Some((sockets, is_whole)) = self.ended(answered) else { return };
        let ids: Vec<String> = sockets.iter().map(|socket| socket.id().to_string()).collect();
        self.check(&once(&ids), is_whole);
    }

    async fn count(self) {
        let answered = self.everyone().count().await;
        if let Ok(answers) = &answered {
            assert_eq!(answers.received.len(), answers.asked - answers.missing, "one number for each server");
        }
        let Some((counts, is_whole)) = self.ended(answered) else { return };
        self.check_number(counts.iter().sum(), is_whole);
    }

    async fn room_sizes(self) {
        let answered = self.everyone().room_sizes().await;
        let Some((sizes, is_whole)) = self.ended(answered) else { return };
        let red: Vec<u64> = sizes.iter().filter(|(room, _)| room == "red").map(|(_, size)| *size).collect();
        assert!(red.len() <= 1, "{sizes:?}");
        self.check_number(red.iter().sum(), is_whole);
    }

    async fn all_rooms(self) {
        let answered = self.namespace.adapter().all_rooms(Some(self.timeout)).await;
        let Some((mut rooms, is_whole)) = self.ended(answered) else { return };
        rooms.retain(|room| room != "red");
        self.check(&once(&rooms), is_whole);
    }

    async fn servers(self) {
        let question = Args::new_event("who", &()).unwrap();
        let answered = self.namespace.adapter().server_side_emit_with_ack(question, Some(self.timeout)).await;
        let Some((servers, is_whole)) = self.ended(answered) else { return };
        let servers: Vec<usize> = servers.iter().map(|answer| answer.to::<(usize,)>().unwrap().0).collect();
        let servers = once(&servers);
        assert!(!servers.contains(&self.server), "it answers itself");
        let mut stable = self.world.stable_servers(self.start);
        stable.remove(&self.server);
        assert!(!is_whole || stable.is_subset(&servers), "a part is passed for the whole: {servers:?} of {stable:?}");
    }

    async fn clients(self) {
        let asked = self.everyone().emit_with_ack::<String>("ask", ()).await;
        let Acks { answers, asked, missing, missing_ids, silent_servers } = asked.unwrap();
        let as_of_servers = Answers { received: answers, asked: silent_servers, missing: silent_servers };
        let Some((answers, all_servers)) = self.ended(Ok::<_, BusError>(as_of_servers)) else { return };
        assert_eq!(answers.len() as u64 + missing, asked);
        assert_eq!(missing_ids.len() as u64, missing, "each is named");
        let (answers, missing_ids) = (once(&answers), missing_ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        let missing_ids = once(&missing_ids);
        assert!(answers.is_disjoint(&missing_ids), "{missing_ids:?} have answered");
        self.check(&answers, all_servers && missing == 0);
        self.check(&answers.union(&missing_ids).cloned().collect(), all_servers);
    }
}

// ---- a run ----------------------------------------------------------------------------------------------------

async fn play(seed: u64) -> Seen {
    let net = Net(Arc::new(Mutex::new(NetState {
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d,
        members: Vec::new(),
        requests: HashSet::new(),
        drops: [0, 2, 20][seed as usize % 3],
        doubles: 0,
        delay: [5, 50, 400, 1500][seed as usize / 3 % 4],
        says_who: !seed.is_multiple_of(5),
        dropped: 0,
        doubled: 0,
    })));
    // What comes twice without saying whose it is cannot be told from another's.
    let doubles = if net.lock().says_who { [0, 10, 40][seed as usize / 12 % 3] } else { 0 };
    net.lock().doubles = doubles;
    let mut cluster =
        Cluster { net, world: World::default(), nodes: Vec::new(), clients: Vec::new(), tasks: JoinSet::new() };
    for _ in 0..2 + cluster.net.random(3) {
        cluster.add_server().await;
    }
    let end = Instant::now() + Duration::from_millis(TROUBLE);
    while Instant::now() < end {
        match cluster.net.random(4) {
            0 => cluster.trouble().await,
            _ => cluster.question(),
        }
        sleep(Duration::from_millis(cluster.net.random(TROUBLE / 20))).await;
    }

    // The net is good again, and every question is over.
    sleep(Duration::from_secs(60)).await;
    let (dropped, doubled) = {
        let mut net = cluster.net.lock();
        (net.drops, net.doubles) = (0, 0);
        (net.dropped, net.doubled)
    };
    let live = cluster.nodes.iter().filter(|node| node.is_alive).count();
    let start = Instant::now();
    for node in &cluster.nodes {
        let stats = node.io.stats().cluster.unwrap();
        let (deaf, outages) = if node.is_alive { (0, 0) } else { (2, 2) };
        assert_eq!((stats.deaf_namespaces, stats.outages), (deaf, outages));
        for nsp in NAMESPACES {
            let io = node.io.of(nsp);
            if node.is_alive {
                assert_eq!(io.server_count().await, Ok(live), "who is there is agreed on");
                let found = io.everyone().fetch_sockets_with(Fields::NONE).await.unwrap().complete().unwrap();
                let ids: Vec<String> = found.iter().map(|socket| socket.id().to_string()).collect();
                assert_eq!(once(&ids), cluster.world.stable(nsp, start));
            }
            assert_eq!(io.adapter().local().acks().len(), 0, "answers are waited for");
        }
    }
    let (requests, members) = {
        let net = cluster.net.lock();
        (net.requests.clone(), net.members.clone())
    };
    for member in &members {
        assert!(!requests.iter().any(|request| member.inbox.wants(request)), "questions are left");
    }
    drop(members);
    cluster.clients.clear(); // They leave.
    while let Some(ended) = cluster.tasks.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    sleep(Duration::from_secs(1)).await; // Until the servers know.
    for node in cluster.nodes.drain(..) {
        for nsp in NAMESPACES {
            assert_eq!(node.io.of(nsp).adapter().local().room_count(), 0, "rooms are left");
        }
        node.io.close().await;
    }
    cluster.net.lock().members.clear();
    sleep(Duration::from_secs(60)).await;
    Seen { dropped, doubled, ..std::mem::take(&mut cluster.world.lock().seen) }
}
