//! [`History`] beside a plain list of all events: clients enter, are cut off with a part of what was sent to them
//! unheard, come back soon, late or never, while events are sent and time goes by. Who comes back goes on exactly where
//! it was, or starts anew, and that only for a reason; nothing is left when all have gone.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::time::advance;

use super::*;
use crate::parser::Parser;

type Name = &'static str;

const WINDOW: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(1);
const PLACES: usize = 3;
/// The rooms of the sockets in the places, and two more.
const ROOMS: [Name; 5] = ["one", "two", "three", "red", "blue"];

#[derive(Debug, Clone)]
enum Step {
    Emit {
        rooms: Option<Vec<Name>>,
        except: Vec<Name>,
        volatile: bool,
    },
    /// Somebody new, in these rooms besides its own.
    Enter(usize, BTreeSet<Name>),
    Join(usize, Name),
    Leave(usize, Name),
    /// The connection ends, and the last so many events did not arrive.
    Cut(usize, usize),
    /// It goes for good.
    Go(usize),
    Return(usize),
    /// It comes back, and a middleware refuses it.
    Refuse(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (place, room) = (|| 0..PLACES, || select(&ROOMS[..]));
    let emit = (option::of(vec(room(), 0..3)), vec(room(), 0..2), prop::bool::weighted(0.2))
        .prop_map(|(rooms, except, volatile)| Step::Emit { rooms, except, volatile });
    prop_oneof![
        8 => emit,
        3 => (place(), btree_set(select(&ROOMS[PLACES..]), 0..2)).prop_map(|(place, rooms)| Step::Enter(place, rooms)),
        1 => (place(), room()).prop_map(|(place, room)| Step::Join(place, room)),
        1 => (place(), room()).prop_map(|(place, room)| Step::Leave(place, room)),
        4 => (place(), 0_usize..4).prop_map(|(place, lost)| Step::Cut(place, lost)),
        1 => place().prop_map(Step::Go),
        5 => place().prop_map(Step::Return),
        1 => place().prop_map(Step::Refuse),
        3 => (0_u64..1_500).prop_map(Step::Wait),
    ]
}

/// An event that is no volatile one, as it was sent.
struct Sent {
    /// 1 is the first.
    number: u64,
    text: u64,
    size: usize,
    at: Instant,
    rooms: Option<Vec<Name>>,
    except: Vec<Name>,
}

#[derive(Clone)]
struct Heard {
    text: u64,
    offset: String,
    /// The place of the event, or of the one before a volatile one.
    number: u64,
    at: Instant,
}

struct Client {
    pid: String,
    rooms: BTreeSet<Name>,
    /// The number of the last event before it entered.
    entered: u64,
    heard: Vec<Heard>,
    /// How many of them had arrived when the connection began.
    arrived: usize,
    away_since: Option<Instant>,
    /// When it has come back last.
    came_back: Option<Instant>,
}

struct World {
    history: History,
    events: Vec<Sent>,
    said: u64,
    came: usize,
    places: [Option<Client>; PLACES],
    resumed: u64,
    anew: u64,
}

fn is_for(rooms: &BTreeSet<Name>, to: Option<&[Name]>, except: &[Name]) -> bool {
    to.is_none_or(|to| to.iter().any(|room| rooms.contains(room))) && !except.iter().any(|room| rooms.contains(room))
}

fn names(names: &[Name]) -> Vec<ByteString> {
    names.iter().map(|name| ByteString::from_static(name)).collect()
}

impl World {
    fn new(options: Recovery) -> Self {
        let history = History::new(options.max_disconnection_duration(WINDOW), SILENCE);
        let places = Default::default();
        Self { history, events: Vec::new(), said: 0, came: 0, places, resumed: 0, anew: 0 }
    }

    async fn play(&mut self, step: &Step) {
        match step {
            Step::Emit { rooms, except, volatile } => self.emit(rooms.as_deref(), except, *volatile),
            Step::Enter(place, rooms) if self.places[*place].is_none() => self.enter(*place, rooms.clone()),
            Step::Join(place, room) => {
                if let Some(client) = self.here(*place) {
                    client.rooms.insert(room);
                }
            }
            Step::Leave(place, room) => {
                if let Some(client) = self.here(*place) {
                    client.rooms.remove(room);
                }
            }
            Step::Cut(place, lost) => self.cut(*place, *lost),
            Step::Go(place) => {
                if self.here(*place).is_some()
                    && let Some(client) = self.places[*place].take()
                {
                    self.history.leave(&client.pid, None);
                    assert!(self.history.resume(&client.pid, None, now()).is_none(), "it has gone for good");
                }
            }
            Step::Return(place) => self.come_back(*place, false),
            Step::Refuse(place) => self.come_back(*place, true),
            Step::Wait(millis) => advance(Duration::from_millis(*millis)).await,
            Step::Enter(..) => {}
        }
        self.look();
    }

    fn here(&mut self, place: usize) -> Option<&mut Client> {
        self.places[place].as_mut().filter(|client| client.away_since.is_none())
    }

    fn emit(&mut self, rooms: Option<&[Name]>, except: &[Name], volatile: bool) {
        self.said += 1;
        let target = Target { rooms: rooms.map(names), except: names(except), volatile, ..Target::default() };
        let packet = Outgoing::event(&Parser::Json, &"/".into(), None, "ev", &(self.said,)).expect("a number");
        let number = self.events.len() as u64 + u64::from(!volatile);
        let mut size = 0;
        let places = RefCell::new(&mut self.places);
        self.history.record(&packet, &target, |packet| {
            let (text, offset) = packet.args().to::<(u64, String)>().expect("a number and an offset");
            size = packet.frame().size();
            for client in places.borrow_mut().iter_mut().flatten().filter(|client| client.away_since.is_none()) {
                if is_for(&client.rooms, rooms, except) {
                    client.heard.push(Heard { text, offset: offset.clone(), number, at: now() });
                }
            }
        });
        if !volatile {
            let (rooms, except) = (rooms.map(<[_]>::to_vec), except.to_vec());
            self.events.push(Sent { number, text: self.said, size, at: now(), rooms, except });
        }
    }

    fn enter(&mut self, place: usize, mut rooms: BTreeSet<Name>) {
        self.came += 1;
        let pid = format!("secret {}", self.came);
        rooms.insert(ROOMS[place]);
        let mut entered = false;
        self.history.enter(&pid, &ROOMS[place].into(), || entered = true);
        assert!(entered);
        let (entered, heard) = (self.events.len() as u64, Vec::new());
        self.places[place] = Some(Client { pid, rooms, entered, heard, arrived: 0, away_since: None, came_back: None });
    }

    fn cut(&mut self, place: usize, lost: usize) {
        let Some(client) = self.here(place) else { return };
        // What is older has arrived: else a ping behind it would have been without an answer for too long.
        let may_be_lost = client.heard[client.arrived..].iter().rev();
        let may_be_lost = may_be_lost.take_while(|heard| now() <= heard.at + SILENCE).count();
        client.heard.truncate(client.heard.len() - lost.min(may_be_lost));
        client.away_since = Some(now());
        let rooms = client.rooms.iter().map(|room| ByteString::from_static(room)).collect();
        let (pid, session) = (client.pid.clone(), Session { id: ROOMS[place].into(), rooms, data: None });
        self.history.leave(&pid, Some(session));
        assert_eq!(self.history.live(&pid), None);
    }

    fn come_back(&mut self, place: usize, is_refused: bool) {
        let Some(client) = &mut self.places[place] else { return };
        let Some(since) = client.away_since else {
            assert!(self.history.resume(&client.pid, None, now()).is_none(), "it is there");
            return;
        };
        let last = client.heard.last().cloned();
        let from = last.as_ref().map_or(client.entered, |heard| heard.number);
        let later = || self.events.iter().filter(|event| event.number > from);
        let Recovery { max_events, max_bytes, .. } = self.history.options;
        let mut is_kept = later().count() <= max_events && later().map(|event| event.size).sum::<usize>() <= max_bytes;
        if client.came_back.is_some_and(|at| since <= at + SILENCE) {
            // It may have been lost again before it had what it was sent then, which was old already.
            is_kept &= later().all(|event| now() <= event.at + WINDOW + SILENCE);
        }
        let in_time = now() < since + WINDOW;

        assert!(self.history.resume("a guess", None, now()).is_none());
        let resumed = self.history.resume(&client.pid, last.as_ref().map(|heard| &*heard.offset), now());
        assert!(self.history.resume(&client.pid, None, now()).is_none(), "a session is resumed once");
        assert!(resumed.is_none() || in_time, "too late");
        assert!(resumed.is_some() || !in_time || !is_kept, "there was no reason not to");
        let Some(resumed) = resumed.filter(|_| !is_refused) else {
            self.anew += 1;
            let rooms = self.places[place].take().map(|client| client.rooms).unwrap_or_default();
            return self.enter(place, rooms);
        };
        self.resumed += 1;
        assert_eq!(resumed.session().id, ROOMS[place]);
        let rooms: BTreeSet<&str> = resumed.session().rooms.iter().map(|room| &**room).collect();
        assert_eq!(rooms, client.rooms);
        let (heard, mut entered) = (RefCell::new(Vec::new()), false);
        let send = |packet: &Outgoing| heard.borrow_mut().push(packet.args().to::<(u64, String)>().expect("an event"));
        assert!(self.history.replay(&client.pid, resumed, send, || entered = true));
        assert!(entered);

        let heard = heard.into_inner();
        let missed = later().filter(|event| is_for(&client.rooms, event.rooms.as_deref(), &event.except));
        let missed: Vec<_> = missed.map(|event| (event.text, event.number)).collect();
        assert_eq!(
            heard.iter().map(|(text, _)| *text).collect::<Vec<_>>(),
            missed.iter().map(|(text, _)| *text).collect::<Vec<_>>()
        );
        client.arrived = client.heard.len();
        (client.away_since, client.came_back) = (None, Some(now()));
        for ((text, offset), (_, number)) in heard.into_iter().zip(missed) {
            client.heard.push(Heard { text, offset, number, at: now() });
        }
        let texts: Vec<u64> = client.heard.iter().map(|heard| heard.text).collect();
        assert!(texts.is_sorted_by(|one, next| one < next), "in order and once: {texts:?}");
    }

    /// Rooms of those who are away are heard, and no others; what is kept is within bounds.
    fn look(&self) {
        let away = || self.places.iter().flatten().filter(|client| client.away_since.is_some());
        for room in ROOMS {
            let is_awaited = self.history.awaited().contains(room);
            let in_time = |client: &&Client| client.away_since.is_some_and(|since| now() < since + WINDOW);
            assert!(is_awaited || !away().filter(in_time).any(|client| client.rooms.contains(room)), "{room}");
            assert!(!is_awaited || away().any(|client| client.rooms.contains(room)), "{room} is awaited for nobody");
        }
        let state = self.history.lock();
        assert_eq!(state.bytes, state.events.iter().map(|event| event.packet.frame().size()).sum::<usize>());
        assert!(state.events.len() <= self.history.options.max_events && state.bytes <= self.history.options.max_bytes);
        assert_eq!(state.live.len(), self.places.iter().flatten().count() - away().count());
    }

    async fn end(&mut self) {
        for place in 0..PLACES {
            self.play(&Step::Go(place)).await;
        }
        advance(WINDOW + SILENCE * 2).await;
        self.history.leave("nobody", None);
        let state = self.history.lock();
        assert_eq!((state.events.len(), state.bytes, state.live.len(), state.away.len()), (0, 0, 0, 0));
        drop(state);
        assert!(!ROOMS.iter().any(|room| self.history.awaited().contains(room)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whoever_comes_back_goes_on_exactly_where_it_was_or_starts_anew_for_a_reason(
        steps in vec(step(), 1..60),
        max_events in select(&[2, 5, 100][..]),
        max_bytes in select(&[100, 300, 1 << 20][..]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut world = World::new(Recovery::default().max_kept(max_events, max_bytes));
            for step in &steps {
                world.play(step).await;
            }
            world.end().await;
        });
    }
}
