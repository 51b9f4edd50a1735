//! Connection state recovery: what a client that was away for a moment comes back to.
//!
//! [`History`] keeps the events of one namespace in order, and the sessions of clients that were lost. Each event
//! carries its place in the history, the *offset*, as an additional last argument; a client that comes back shows the
//! secret of its session, the *pid*, and the last offset that it saw, and is sent what it missed: exactly the gap.
//!
//! An event has its place, is kept and is queued for its receivers under one lock, so that every client sees offsets
//! rise. Events are kept for as long as a session that may still come back could need them, and within bounds; a
//! session whose gap has been cut by a bound is not resumed.
//!
//! In a cluster that keeps a log it is the [`SharedHistory`], and all of this is where every server has it.
//!
//! Socket.IO, "Connection state recovery".

#[cfg(test)]
mod model;
mod shared;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use socketio_protocol::NEVER;
use socketio_protocol::cluster::Log;

pub(crate) use self::shared::{Return, SharedHistory};
use super::MemoryAdapter;
use super::awaited::{Awaited, Hold};
use super::member::Member;
use super::outgoing::Outgoing;
use super::target::Target;
use crate::engine::{now, random_id};

/// How clients are taken back; see [`Builder::connection_state_recovery`](crate::Builder::connection_state_recovery).
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let io = Server::builder().connection_state_recovery(Recovery::default().max_kept(1_000, 1 << 20)).build();
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// For how long a client may be away, counted from when the server noticed. Default 2 min.
    pub max_disconnection_duration: Duration,
    /// Whether a client that comes back is let in without middlewares. Default true.
    pub skip_middlewares: bool,
    /// How many events of a namespace are kept at most. Default 100,000.
    pub max_events: usize,
    /// How many bytes of events of a namespace are kept at most. Default 64 MiB.
    pub max_bytes: usize,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            max_events: 100_000,
            max_bytes: 64 << 20,
        }
    }
}

impl Recovery {
    /// For how long a client may be away.
    ///
    /// ```
    /// use std::time::Duration;
    /// use socketio_server::Recovery;
    ///
    /// let patient = Recovery::default().max_disconnection_duration(Duration::from_secs(600));
    /// assert_eq!(patient.max_disconnection_duration.as_secs(), 600);
    /// ```
    #[must_use]
    pub fn max_disconnection_duration(mut self, duration: Duration) -> Self {
        self.max_disconnection_duration = duration;
        self
    }

    /// Whether a client that comes back is let in without middlewares.
    ///
    /// ```
    /// use socketio_server::Recovery;
    ///
    /// assert!(Recovery::default().skip_middlewares);
    /// assert!(!Recovery::default().skip_middlewares(false).skip_middlewares);
    /// ```
    #[must_use]
    pub fn skip_middlewares(mut self, skip: bool) -> Self {
        self.skip_middlewares = skip;
        self
    }

    /// How many events and bytes of a namespace are kept at most.
    ///
    /// ```
    /// use socketio_server::Recovery;
    ///
    /// let small = Recovery::default().max_kept(1_000, 1 << 20);
    /// assert_eq!((small.max_events, small.max_bytes), (1_000, 1 << 20));
    /// ```
    #[must_use]
    pub fn max_kept(mut self, events: usize, bytes: usize) -> Self {
        (self.max_events, self.max_bytes) = (events, bytes);
        self
    }
}

/// See the [module documentation](self).
#[derive(Debug)]
pub(crate) struct History {
    options: Recovery,
    /// How long a client that is gone may pass for connected. After that it has what it was sent before.
    silence: Duration,
    /// How long an event may be needed: the time a client may be away, and the time it takes to notice that it is. Longer
    /// only by one that was lost again right after it had come back.
    keep: Duration,
    /// Tells the offsets of this server's life from those of another.
    epoch: Box<str>,
    state: Mutex<State>,
    awaited: Arc<Awaited>,
    /// Set where the cluster keeps a log.
    shared: OnceLock<Arc<SharedHistory>>,
}

#[derive(Debug, Default)]
struct State {
    /// In order of their numbers, which have gaps nowhere but in front.
    events: VecDeque<Event>,
    bytes: usize,
    /// The number of the last event; the first is 1.
    last: u64,
    /// The last event that was dropped although somebody might have needed it.
    cut: u64,
    /// The last event that was dropped because of its age.
    aged: u64,
    live: HashMap<ByteString, Live>,
    away: HashMap<ByteString, Away>,
    pruned: Option<Instant>,
}

#[derive(Debug)]
struct Event {
    number: u64,
    at: Instant,
    packet: Outgoing,
    rooms: Option<Vec<ByteString>>,
    except: Vec<ByteString>,
}

/// A session whose client is connected.
#[derive(Debug)]
struct Live {
    id: ByteString,
    /// The last event before it was connected: where it begins if its client has seen no offset.
    since: u64,
    /// The same for when the session began: nothing from before is for it.
    entered: u64,
    /// When it came back last. What it was sent then may have been old already.
    back: Option<Instant>,
}

#[derive(Debug)]
struct Away {
    session: Session,
    /// Has its rooms heard of.
    hold: Hold,
    since: u64,
    entered: u64,
    /// Whether it was lost so soon after it had come back that it may not have what it was sent then.
    soon: bool,
    until: Instant,
}

/// What a client comes back to.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The socket's id.
    pub(crate) id: ByteString,
    /// Its rooms, its own among them.
    pub(crate) rooms: Vec<ByteString>,
    pub(crate) data: Option<Data>,
}

/// What an application kept with a socket.
#[derive(Clone)]
pub(crate) struct Data(pub(super) Arc<dyn super::member::Stored>);

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.type_id().fmt(f)
    }
}

/// A session that is being resumed: nobody else can.
#[derive(Debug)]
pub(crate) enum Resumed {
    Here {
        session: Session,
        /// The last event that its client has.
        since: u64,
        entered: u64,
        hold: Hold,
    },
    Shared(Box<Return>),
}

impl Resumed {
    pub(crate) fn session(&self) -> &Session {
        match self {
            Resumed::Here { session, .. } => session,
            Resumed::Shared(back) => back.session(),
        }
    }
}

impl History {
    /// `silence` is how long a client that is gone may pass for connected.
    pub(crate) fn new(mut options: Recovery, silence: Duration) -> Self {
        // Short enough to be added to a moment.
        options.max_disconnection_duration = options.max_disconnection_duration.min(NEVER);
        let silence = silence.min(NEVER);
        let keep = options.max_disconnection_duration + silence;
        let epoch = random_id()[..6].into();
        Self {
            options,
            silence,
            keep,
            epoch,
            state: Mutex::default(),
            awaited: Arc::default(),
            shared: OnceLock::new(),
        }
    }

    /// Has all of it kept in `log`, by all servers of the cluster; this one is `uid`.
    pub(super) fn share(&self, log: Arc<dyn Log>, uid: &str, local: &Arc<MemoryAdapter>) {
        let _ = self.shared.set(SharedHistory::start(log, uid, self.options.clone(), local)); // One adapter, one log.
    }

    /// What all servers share, if they do.
    pub(crate) fn shared(&self) -> Option<&Arc<SharedHistory>> {
        self.shared.get()
    }

    /// The rooms of those who may come back to this server.
    pub(super) fn awaited(&self) -> &Arc<Awaited> {
        &self.awaited
    }

    /// Whether a client that comes back is let in without middlewares.
    pub(crate) fn skips_middlewares(&self) -> bool {
        self.options.skip_middlewares
    }

    /// Gives an event its place and has it sent. A volatile one is not kept, and has the place of the one before.
    pub(super) fn record(&self, packet: &Outgoing, target: &Target, send: impl FnOnce(&Outgoing)) {
        let mut state = self.lock();
        if target.volatile {
            return send(&packet.with_offset(&self.offset(state.last)));
        }
        state.last += 1;
        let number = state.last;
        let packet = packet.with_offset(&self.offset(number));
        send(&packet);
        let at = now();
        state.bytes += packet.frame().size();
        let (rooms, except) = (target.rooms.clone(), target.except.clone());
        state.events.push_back(Event { number, at, packet, rooms, except });
        while state.events.len() > self.options.max_events || state.bytes > self.options.max_bytes {
            state.cut = state.drop_first().unwrap_or(state.cut);
        }
        self.prune(&mut state, at);
    }

    /// Sends an event that is no part of the history with the place of the last one that is.
    pub(super) fn stamp(&self, packet: &Outgoing, send: impl FnOnce(&Outgoing)) {
        if let Some(shared) = self.shared() {
            return shared.stamp(packet, send);
        }
        let state = self.lock();
        send(&packet.with_offset(&self.offset(state.last)));
    }

    /// A client enters under `pid`: it is put into its rooms by `enter`.
    pub(crate) fn enter(&self, pid: &str, id: &ByteString, enter: impl FnOnce()) {
        if let Some(shared) = self.shared() {
            return shared.enter(pid, id, enter);
        }
        self.enter_here(pid, id);
        enter();
    }

    fn enter_here(&self, pid: &str, id: &ByteString) {
        let mut state = self.lock();
        let live = Live { id: id.clone(), since: state.last, entered: state.last, back: None };
        state.live.insert(pid.into(), live);
    }

    /// A client has left. It may come back to `session`, if that is given.
    pub(crate) fn leave(&self, pid: &str, session: Option<Session>) {
        if let Some(shared) = self.shared() {
            return shared.leave(pid, session);
        }
        let mut state = self.lock();
        let (live, now) = (state.live.remove(pid), now());
        if let (Some(live), Some(session)) = (live, session) {
            let until = now + self.options.max_disconnection_duration;
            let hold = self.awaited.hold(&session.rooms);
            let soon = live.back.is_some_and(|back| now <= back + self.silence);
            let Live { since, entered, .. } = live;
            state.away.insert(pid.into(), Away { session, hold, since, entered, soon, until });
        }
        self.prune(&mut state, now);
    }

    /// The socket that is connected under `pid`.
    pub(crate) fn live(&self, pid: &str) -> Option<ByteString> {
        match self.shared() {
            Some(shared) => shared.live(pid),
            None => self.lock().live.get(pid).map(|live| live.id.clone()),
        }
    }

    /// A client comes back at `now` and says up to where it has heard everything. `None` if it cannot go on from there.
    pub(crate) fn resume(&self, pid: &str, offset: Option<&str>, now: Instant) -> Option<Resumed> {
        let mut state = self.lock();
        let away = state.away.remove(pid)?;
        let since = match offset {
            // Never from before it entered, where an event that it was sent earlier may point to.
            Some(offset) => self.number(offset).filter(|number| *number <= state.last)?.max(away.entered),
            None => away.since,
        };
        let first_kept = if away.soon { state.cut.max(state.aged) } else { state.cut };
        (now < away.until && since >= first_kept).then_some(Resumed::Here {
            session: away.session,
            since,
            entered: away.entered,
            hold: away.hold,
        })
    }

    /// Has a client that is back sent what it missed, and then, before anything else is sent to anyone, put into its
    /// rooms by `enter`. `false` if it cannot be done now: the client has to come back again.
    pub(crate) fn replay(&self, pid: &str, resumed: Resumed, send: impl Fn(&Outgoing), enter: impl FnOnce()) -> bool {
        let (session, since, entered, _hold) = match resumed {
            Resumed::Shared(mut back) => return back.replay(send, enter),
            Resumed::Here { session, since, entered, hold } => (session, since, entered, hold),
        };
        let mut state = self.lock();
        let first = state.events.partition_point(|event| event.number <= since);
        for event in state.events.range(first..) {
            if event.is_for(&session.rooms) {
                send(&event.packet);
            }
        }
        enter();
        state.live.insert(pid.into(), Live { id: session.id, since, entered, back: Some(now()) });
        true
    }

    fn offset(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }

    fn number(&self, offset: &str) -> Option<u64> {
        offset.strip_prefix(&*self.epoch)?.strip_prefix('.')?.parse().ok()
    }

    /// Drops what nobody can need any more.
    fn prune(&self, state: &mut State, now: Instant) {
        if state.pruned.is_some_and(|last| now < last + PRUNE_INTERVAL) {
            return;
        }
        state.pruned = Some(now);
        state.away.retain(|_, away| now < away.until);
        while state.events.front().is_some_and(|event| now > event.at + self.keep) {
            state.aged = state.drop_first().unwrap_or(state.aged);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often what is too old is looked for.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);

impl State {
    fn drop_first(&mut self) -> Option<u64> {
        let event = self.events.pop_front()?;
        self.bytes -= event.packet.frame().size();
        Some(event.number)
    }
}

impl Event {
    /// Whether a socket that was in `rooms` was meant.
    fn is_for(&self, rooms: &[ByteString]) -> bool {
        let any = |names: &[ByteString]| names.iter().any(|name| rooms.contains(name));
        self.rooms.as_deref().is_none_or(any) && !any(&self.except)
    }
}

impl Session {
    /// What is to be kept of a socket.
    pub(crate) fn of(member: &Member, rooms: Vec<ByteString>) -> Self {
        Self { id: member.id().clone(), rooms, data: member.stored().map(Data) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::parser::Parser;

    const WINDOW: Duration = Duration::from_secs(3);

    fn history(options: Recovery) -> History {
        History::new(options.max_disconnection_duration(WINDOW), Duration::from_secs(1))
    }

    fn event(n: u64) -> Outgoing {
        Outgoing::event(&Parser::Json, &"/".into(), None, "ev", &(n,)).unwrap()
    }

    fn room(name: &'static str) -> Target {
        Target { rooms: Some(vec![name.into()]), ..Target::default() }
    }

    /// Records event `n` and returns its offset.
    fn record(history: &History, n: u64, target: &Target) -> String {
        let mut offset = String::new();
        history.record(&event(n), target, |packet| offset = packet.args().to::<(u64, String)>().unwrap().1);
        offset
    }

    fn session(rooms: &[&'static str]) -> Session {
        Session { id: "ana".into(), rooms: rooms.iter().map(|room| (*room).into()).collect(), data: None }
    }

    /// The events that a client which comes back is sent; `None` if it cannot.
    fn resume(history: &History, offset: Option<&str>, now: Instant) -> Option<Vec<u64>> {
        let resumed = history.resume("pid", offset, now)?;
        let (heard, entered) = (RefCell::new(Vec::new()), RefCell::new(false));
        let send = |packet: &Outgoing| heard.borrow_mut().push(packet.args().to::<(u64,)>().unwrap().0);
        assert!(history.replay("pid", resumed, send, || *entered.borrow_mut() = true));
        assert!(entered.into_inner());
        Some(heard.into_inner())
    }

    #[test]
    fn a_client_that_comes_back_is_sent_exactly_what_it_missed() {
        let history = history(Recovery::default());
        record(&history, 0, &Target::default());
        history.enter_here("pid", &"ana".into());
        let offset = record(&history, 1, &Target::default());
        let not_ana = Target { except: vec!["ana".into()], ..Target::default() };
        for (n, target) in [(2, Target::default()), (3, room("red")), (4, room("blue")), (5, not_ana), (6, room("ana"))]
        {
            record(&history, n, &target);
        }
        history.leave("pid", Some(session(&["ana", "red"])));
        record(&history, 7, &Target::default());
        assert_eq!(resume(&history, Some(&offset), Instant::now()), Some(vec![2, 3, 6, 7]));
    }

    #[test]
    fn a_client_that_heard_nothing_yet_begins_where_it_connected() {
        let history = history(Recovery::default());
        record(&history, 0, &Target::default());
        history.enter_here("pid", &"ana".into());
        record(&history, 1, &Target::default());
        history.leave("pid", Some(session(&["ana"])));
        assert_eq!(resume(&history, None, Instant::now()), Some(vec![1]));
    }

    #[test]
    fn a_session_is_resumed_once_in_time_and_from_a_place_that_exists() {
        let history = history(Recovery::default());
        let away = || {
            history.enter_here("pid", &"ana".into());
            history.leave("pid", Some(session(&["ana"])));
        };
        let now = Instant::now();
        assert_eq!(resume(&history, None, now), None, "nobody was here");
        away();
        assert_eq!(resume(&history, None, now), Some(vec![]));
        assert_eq!(history.live("pid").as_deref(), Some("ana"));
        assert_eq!(resume(&history, None, now), None, "it is connected");
        away();
        assert_eq!(resume(&history, None, now + WINDOW + Duration::from_secs(1)), None, "too late");
        let future = history.offset(99);
        for offset in ["", "connected", "q.1", &future] {
            away();
            assert_eq!(resume(&history, Some(offset), now), None, "{offset:?}");
        }
        history.enter_here("pid", &"ana".into());
        history.leave("pid", None);
        assert_eq!(resume(&history, None, now), None, "it left for good");
    }

    #[test]
    fn a_volatile_event_has_the_place_of_the_one_before_and_is_not_sent_again() {
        let history = history(Recovery::default());
        history.enter_here("pid", &"ana".into());
        let offset = record(&history, 1, &Target::default());
        let volatile = Target { volatile: true, ..Target::default() };
        assert_eq!(record(&history, 2, &volatile), offset);
        record(&history, 3, &Target::default());
        history.leave("pid", Some(session(&["ana"])));
        assert_eq!(resume(&history, Some(&offset), Instant::now()), Some(vec![3]));
    }

    #[test]
    fn a_session_whose_gap_was_cut_is_not_resumed() {
        for options in [
            Recovery::default().max_kept(2, usize::MAX),
            Recovery::default().max_kept(9, 2 * event(1).frame().size() + 40),
        ] {
            for (offset, expected) in [(0, None), (1, Some(vec![3, 4])), (3, Some(vec![]))] {
                let history = history(options.clone());
                history.enter_here("pid", &"ana".into());
                let offsets: Vec<_> = (1..=4).map(|n| record(&history, n, &Target::default())).collect();
                history.leave("pid", Some(session(&["ana"])));
                assert_eq!(resume(&history, Some(&offsets[offset]), Instant::now()), expected);
            }
        }
    }

    #[test]
    fn what_nobody_can_need_is_dropped_and_an_old_offset_still_counts() {
        let history = history(Recovery::default());
        history.enter_here("pid", &"ana".into());
        let offset = record(&history, 1, &Target::default());
        let later = Instant::now() + WINDOW + Duration::from_secs(2);
        history.prune(&mut history.lock(), later);
        assert_eq!(history.lock().events.len(), 0);
        assert_eq!(history.lock().bytes, 0);
        history.leave("pid", Some(session(&["ana"])));
        assert_eq!(resume(&history, Some(&offset), Instant::now()), Some(vec![]));
    }

    #[test]
    fn one_that_is_lost_again_before_it_has_what_it_missed_does_not_go_on_without_it() {
        let history = history(Recovery::default());
        history.enter_here("pid", &"ana".into());
        record(&history, 1, &Target::default());
        for _ in 0..2 {
            history.leave("pid", Some(session(&["ana"])));
            assert_eq!(resume(&history, None, Instant::now()), Some(vec![1]), "it did not arrive");
        }
        history.leave("pid", Some(session(&["ana"])));
        {
            let mut state = history.lock();
            state.aged = state.drop_first().unwrap(); // As when it is older than `keep`.
        }
        assert_eq!(resume(&history, None, Instant::now()), None, "what it missed is gone");
    }

    #[test]
    fn a_client_may_be_away_for_the_longest_of_all_times() {
        let history = History::new(Recovery::default().max_disconnection_duration(Duration::MAX), Duration::MAX);
        history.enter_here("pid", &"ana".into());
        record(&history, 1, &Target::default());
        for _ in 0..2 {
            history.leave("pid", Some(session(&["ana"])));
            assert_eq!(resume(&history, None, Instant::now()), Some(vec![1]));
        }
    }

    #[test]
    fn rooms_are_awaited_until_their_client_is_back_or_late() {
        let history = history(Recovery::default());
        let awaited = |room: &str| history.awaited().contains(room);
        for pid in ["one", "other"] {
            history.enter_here(pid, &pid.into());
            history.leave(pid, Some(session(&[pid, "red"])));
        }
        assert!(awaited("one") && awaited("red") && !awaited("blue"));
        let back = history.resume("one", None, Instant::now()).expect("it is in time");
        assert!(awaited("one"), "a middleware may take its time");
        assert!(history.replay("one", back, |_| {}, || {}));
        assert!(!awaited("one") && awaited("red"), "the other is away still");
        history.prune(&mut history.lock(), Instant::now() + WINDOW + Duration::from_secs(2));
        assert!(!awaited("red"));
    }
}
