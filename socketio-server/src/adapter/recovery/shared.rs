//! Recovery in a cluster whose carrier keeps a log: a client comes back on any server, also when its own has died.
//!
//! The log is the order of all events, and their places in it are the offsets. An event is sent to this server's clients
//! when it comes back from the log, so that each client sees offsets rise, whoever has sent; it waits for the carrier for
//! that. Sessions are kept by the carrier while their clients are connected, and kept anew when rooms or data change.
//!
//! A client that comes back is sent what the log holds between its offset and a place that this server has reached, then
//! what came here since, and from there on all else: exactly the gap, without stopping anybody.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytestring::ByteString;
use socketio_protocol::cluster::{Answer, Envelope, KeptSession, Log, Message, Offset};
use socketio_protocol::socket::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Data, Recovery, Session};
use crate::adapter::{Command, MemoryAdapter, Outgoing, Target};

/// See the [module documentation](self).
pub(crate) struct SharedHistory {
    log: Arc<dyn Log>,
    /// This server in the namespace.
    uid: String,
    options: Recovery,
    local: Weak<MemoryAdapter>,
    state: Mutex<State>,
    /// The sockets whose rooms or data have changed. Under a lock of its own: rooms change under that of `state`, too.
    dirty: Mutex<HashSet<ByteString>>,
    /// Up to where the log has come back here.
    reached: watch::Sender<Offset>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The last entry that came back.
    last: Offset,
    /// What came back since the first of those who are on their way back was told where to go on.
    events: VecDeque<Event>,
    bytes: usize,
    returning: usize,
    /// Something of `events` had to be dropped.
    cut: bool,
    live: HashMap<ByteString, Live>,
    pids: HashMap<ByteString, ByteString>,
}

struct Event {
    at: Offset,
    packet: Outgoing,
    target: Target,
}

/// A session whose client is connected here.
struct Live {
    id: ByteString,
    since: Offset,
    entered: Offset,
}

/// A session that is being resumed: nobody else can.
pub(crate) struct Return {
    history: Arc<SharedHistory>,
    pid: ByteString,
    session: Session,
    /// What was missed up to `to`.
    missed: Vec<Outgoing>,
    to: Offset,
    since: Offset,
    entered: Offset,
    /// It has not begun again yet.
    open: bool,
}

/// How long the log may take to come to where a client has been.
const REACHING: Duration = Duration::from_secs(2);
/// How long a server may take to let go of a client that is here now, or to say that one is gone.
const LETTING_GO: Duration = Duration::from_secs(1);
/// How long a carrier that is gone is waited for.
const CARRIER: Duration = Duration::from_secs(5);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(25);
/// So many times a session is looked for: a client may be faster than the news that it was lost.
const LOOKS: usize = 4;
/// Secrets are 20 characters long.
const MAX_PID: usize = 64;

impl SharedHistory {
    pub(super) fn start(log: Arc<dyn Log>, uid: &str, options: Recovery, local: &Arc<MemoryAdapter>) -> Arc<Self> {
        let history = Arc::new(Self {
            log,
            uid: uid.to_owned(),
            options,
            local: Arc::downgrade(local),
            state: Mutex::default(),
            dirty: Mutex::default(),
            reached: watch::Sender::default(),
            changed: Notify::new(),
        });
        tokio::spawn(keep(Arc::downgrade(&history)));
        history
    }

    // ---- events -----------------------------------------------------------------------------------------------

    /// An event has come back: it is sent with its place.
    pub(crate) fn deliver(&self, at: Offset, packet: &Outgoing, target: &Target, send: impl FnOnce(&Outgoing)) {
        let mut state = self.lock();
        let packet = packet.with_offset(&at.to_string());
        send(&packet);
        if state.returning > 0 && !target.volatile {
            state.bytes += packet.frame().size();
            state.events.push_back(Event { at, packet, target: target.clone() });
            if state.events.len() > self.options.max_events || state.bytes > self.options.max_bytes {
                state.events.clear();
                (state.bytes, state.cut) = (0, true);
            }
        }
        self.reach(&mut state, at);
    }

    /// The log has come so far.
    pub(crate) fn advance(&self, at: Offset) {
        self.reach(&mut self.lock(), at);
    }

    fn reach(&self, state: &mut State, at: Offset) {
        state.last = at;
        self.reached.send_replace(at);
    }

    /// Sends an event that is no part of the log with the place of the last one that is.
    pub(crate) fn stamp(&self, packet: &Outgoing, send: impl FnOnce(&Outgoing)) {
        let state = self.lock();
        send(&packet.with_offset(&state.last.to_string()));
    }

    /// Waits until the log comes back here.
    pub(crate) async fn ready(&self) {
        let mut reached = self.reached.subscribe();
        let _ = reached.wait_for(|at| *at != Offset::default()).await; // The sender is here.
    }

    // ---- sessions ---------------------------------------------------------------------------------------------

    /// A client enters under `pid`: it is put into its rooms by `enter`.
    pub(super) fn enter(&self, pid: &str, id: &ByteString, enter: impl FnOnce()) {
        let mut state = self.lock();
        enter();
        let last = state.last;
        self.begin(&mut state, pid.into(), Live { id: id.clone(), since: last, entered: last });
    }

    fn begin(&self, state: &mut State, pid: ByteString, live: Live) {
        state.pids.insert(live.id.clone(), pid.clone());
        state.live.insert(pid.clone(), live);
        self.save(state, &pid, false);
    }

    /// A client has left. It may come back to `session`, if that is given.
    pub(super) fn leave(&self, pid: &str, session: Option<Session>) {
        let mut state = self.lock();
        let Some(live) = state.live.remove(pid) else { return };
        state.pids.remove(&live.id);
        match session {
            Some(session) => {
                let kept = kept(pid, &session, Some(live.since), Some(live.entered), None);
                self.log.save(&kept, self.options.max_disconnection_duration, true);
            }
            None => self.log.forget(pid),
        }
    }

    /// The rooms or the data of a socket have changed.
    pub(crate) fn changed(&self, id: &str) {
        self.dirty().insert(id.into());
        self.changed.notify_one();
    }

    pub(super) fn live(&self, pid: &str) -> Option<ByteString> {
        self.lock().live.get(pid).map(|live| live.id.clone())
    }

    /// Another server has the client under `pid` now, or soon.
    pub(crate) fn let_go(&self, pid: &str) {
        let member = self.live(pid).and_then(|id| self.local.upgrade()?.member(&id));
        if let Some(member) = member {
            member.order(Command::GiveWay);
        }
    }

    /// Keeps the session of a client that is connected, for as long as the client may be away after this server's death.
    fn save(&self, state: &State, pid: &ByteString, renew: bool) {
        let Some(live) = state.live.get(pid) else { return };
        let Some(local) = self.local.upgrade() else { return };
        let Some(member) = local.member(&live.id) else { return };
        let session = Session::of(&member, local.rooms_of(&live.id));
        let kept = kept(pid, &session, Some(live.since), Some(live.entered), Some(self.uid.clone()));
        self.log.save(&kept, self.options.max_disconnection_duration + self.renewal(), renew);
    }

    /// How often sessions are kept anew.
    fn renewal(&self) -> Duration {
        (self.options.max_disconnection_duration / 2).clamp(Duration::from_secs(1), Duration::from_secs(60))
    }

    // ---- coming back ------------------------------------------------------------------------------------------

    /// A client comes back and says up to where it has heard everything. `None` if it cannot go on from there. `ask`
    /// has other servers let go of the client.
    pub(crate) async fn resume(self: Arc<Self>, pid: &str, offset: Option<&str>, ask: impl Fn()) -> Option<Return> {
        if pid.len() > MAX_PID {
            return None;
        }
        let kept = self.find(pid, ask).await?;
        let since = match offset {
            // Never from before it entered, where an event that it was sent earlier may point to.
            Some(offset) => offset.parse::<Offset>().ok()?.max(kept.entered.unwrap_or_default()),
            None => kept.since?,
        };
        let mut reached = self.reached.subscribe();
        let _ = timeout(REACHING, reached.wait_for(|at| *at >= since)).await.ok()?.ok()?;
        let to = {
            let mut state = self.lock();
            state.returning += 1;
            state.last
        };
        let data = Some(kept.data).filter(|data| !matches!(data, Value::Null) && *data != Value::Object(Vec::new()));
        let session = Session {
            id: kept.sid.into(),
            rooms: kept.rooms.into_iter().map(ByteString::from).collect(),
            data: data.map(|data| Data(Arc::new(data))),
        };
        let entered = kept.entered.unwrap_or(since);
        let mut back = Return {
            history: self.clone(),
            pid: pid.into(),
            session,
            missed: Vec::new(),
            to,
            since,
            entered,
            open: false,
        };
        let entries = insist(|| self.log.between(since, to)).await??;
        back.missed = self.missed(&back.session, entries)?;
        back.open = self.log.take(pid).await.ok()?;
        back.open.then_some(back)
    }

    /// The session under `pid`, once no other server has its client.
    async fn find(&self, pid: &str, ask: impl Fn()) -> Option<KeptSession> {
        let deadline = Instant::now() + LETTING_GO;
        let (mut looks, mut asked) = (0, false);
        loop {
            match insist(|| self.log.load(pid)).await? {
                Some(kept) if kept.pid != pid => return None,
                Some(kept) => {
                    let Some(node) = kept.node.as_deref().filter(|node| *node != self.uid) else { return Some(kept) };
                    if Instant::now() >= deadline || !self.log.is_alive(node).await.ok()? {
                        return Some(kept);
                    }
                    if !std::mem::replace(&mut asked, true) {
                        ask();
                    }
                }
                None if looks >= LOOKS => return None,
                None => looks += 1,
            }
            sleep(LOOK).await;
        }
    }

    /// The events for the rooms of a session, with their places.
    fn missed(&self, session: &Session, entries: Vec<(Offset, Envelope)>) -> Option<Vec<Outgoing>> {
        let local = self.local.upgrade()?;
        let events = entries.into_iter().filter_map(|(at, envelope)| {
            let Message::Broadcast { args, options, request: None } = envelope.message else { return None };
            let target = Target::from_options(options);
            if target.volatile || !is_for(&target, &session.rooms) {
                return None;
            }
            let packet = Outgoing::from_args(local.parser(), local.nsp(), None, &args).ok()?;
            Some(packet.flagged(target.compress).with_offset(&at.to_string()))
        });
        Some(events.collect())
    }

    fn dirty(&self) -> MutexGuard<'_, HashSet<ByteString>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Return {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Has the client sent what it missed, and then, before anything else is sent to anyone, put into its rooms by
    /// `enter`. `false` if that was too much to be kept meanwhile: the client has to come back again.
    pub(super) fn replay(&mut self, send: impl Fn(&Outgoing), enter: impl FnOnce()) -> bool {
        let history = self.history.clone();
        let mut state = history.lock();
        if state.cut {
            return false;
        }
        self.missed.iter().for_each(&send);
        let since = state.events.iter().filter(|event| event.at > self.to);
        since.filter(|event| is_for(&event.target, &self.session.rooms)).for_each(|event| send(&event.packet));
        enter();
        self.open = false;
        let live = Live { id: self.session.id.clone(), since: self.since, entered: self.entered };
        history.begin(&mut state, self.pid.clone(), live);
        true
    }
}

/// Also of a client that is gone before it was back.
impl Drop for Return {
    fn drop(&mut self) {
        let mut state = self.history.lock();
        state.returning -= 1;
        if state.returning == 0 {
            state.events = VecDeque::new();
            (state.bytes, state.cut) = (0, false);
        }
        if self.open {
            let kept = kept(&self.pid, &self.session, Some(self.since), Some(self.entered), None);
            self.history.log.save(&kept, self.history.options.max_disconnection_duration, false);
        }
    }
}

impl std::fmt::Debug for Return {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Return").field("missed", &self.missed.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SharedHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedHistory").field("uid", &self.uid).finish_non_exhaustive()
    }
}

/// Asks until there is an answer: a carrier that comes back is there for one before it is for all.
async fn insist<'a, T>(mut ask: impl FnMut() -> Answer<'a, T>) -> Option<T> {
    let deadline = Instant::now() + CARRIER;
    loop {
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(error) if Instant::now() >= deadline => {
                tracing::warn!(%error, "a client's session could not be looked for");
                return None;
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Keeps what has changed, at once, and all of it from time to time.
async fn keep(history: Weak<SharedHistory>) {
    let Some(interval) = history.upgrade().map(|history| history.renewal()) else { return };
    let mut renewal = Instant::now() + interval;
    loop {
        let Some(this) = history.upgrade() else { return };
        let changed = timeout(interval / 4, this.changed.notified()).await.is_ok();
        if !changed && Arc::strong_count(&this) == 1 {
            return; // Nobody else has it.
        }
        let dirty = std::mem::take(&mut *this.dirty());
        for id in dirty {
            let state = this.lock();
            if let Some(pid) = state.pids.get(&id).cloned() {
                this.save(&state, &pid, true);
            }
        }
        if Instant::now() >= renewal {
            renewal += interval;
            let pids: Vec<ByteString> = this.lock().live.keys().cloned().collect();
            for pid in pids {
                let state = this.lock();
                this.save(&state, &pid, false);
            }
        }
    }
}

fn kept(
    pid: &str,
    session: &Session,
    since: Option<Offset>,
    entered: Option<Offset>,
    node: Option<String>,
) -> KeptSession {
    KeptSession {
        sid: session.id.to_string(),
        pid: pid.to_owned(),
        rooms: session.rooms.iter().map(ToString::to_string).collect(),
        data: session.data.as_ref().map_or_else(|| Value::Object(Vec::new()), |data| data.0.value()),
        since,
        entered,
        node,
    }
}

/// Whether a socket that was in `rooms` was meant.
fn is_for(target: &Target, rooms: &[ByteString]) -> bool {
    let any = |names: &[ByteString]| names.iter().any(|name| rooms.contains(name));
    target.rooms.as_deref().is_none_or(any) && !any(&target.except)
}
