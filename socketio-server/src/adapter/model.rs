//! Clients who come and go, join and leave and are sent to in any order, through the whole server, beside plain sets:
//! who hears what, once and nobody else, and nothing is left when all have gone. The bookkeeping alone is in
//! `rooms/model.rs`, where many more sequences are played.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::time::sleep;

use crate::testing::TestClient;
use crate::{Broadcast, Server, Socket};

/// How many clients may be there at once.
const PLACES: usize = 4;
/// Longer than anything takes that is not waited for; the clock is paused.
const SOON: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
enum Room {
    Named(&'static str),
    /// The one of the client in this place.
    Of(usize),
}

#[derive(Debug, Clone)]
struct Whom {
    /// The client that sends, which does not hear it itself; else it is the server.
    by: Option<usize>,
    rooms: Option<Vec<Room>>,
    except: Vec<Room>,
}

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    /// Politely, or by the end of its connection.
    Leave(usize, bool),
    Join(usize, Vec<Room>),
    LeaveRoom(usize, Room),
    LeaveAll(usize),
    Send(Whom),
    /// To one client alone.
    Tell(usize),
    SocketsJoin(Whom, Vec<Room>),
    SocketsLeave(Whom, Vec<Room>),
    DisconnectSockets(Whom, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    let room =
        move || prop_oneof![2 => select(&["red", "blue"][..]).prop_map(Room::Named), 1 => place().prop_map(Room::Of)];
    let rooms = move || vec(room(), 0..3);
    let whom = move || {
        (option::of(place()), option::of(rooms()), vec(room(), 0..2)).prop_map(|(by, rooms, except)| Whom {
            by,
            rooms,
            except,
        })
    };
    prop_oneof![
        4 => place().prop_map(Step::Enter),
        1 => (place(), any::<bool>()).prop_map(|(place, politely)| Step::Leave(place, politely)),
        4 => (place(), rooms()).prop_map(|(place, rooms)| Step::Join(place, rooms)),
        2 => (place(), room()).prop_map(|(place, room)| Step::LeaveRoom(place, room)),
        1 => place().prop_map(Step::LeaveAll),
        6 => whom().prop_map(Step::Send),
        1 => place().prop_map(Step::Tell),
        1 => (whom(), rooms()).prop_map(|(whom, rooms)| Step::SocketsJoin(whom, rooms)),
        1 => (whom(), rooms()).prop_map(|(whom, rooms)| Step::SocketsLeave(whom, rooms)),
        1 => (whom(), any::<bool>()).prop_map(|(whom, close)| Step::DisconnectSockets(whom, close)),
    ]
}

struct Person {
    client: TestClient,
    socket: Socket,
    /// Where it is to be.
    rooms: BTreeSet<String>,
}

struct World {
    io: Server,
    places: [Option<Person>; PLACES],
    sent: u32,
}

impl World {
    async fn play(&mut self, step: &Step) {
        let mut heard = BTreeSet::new();
        match step {
            Step::Enter(place) if self.places[*place].is_none() => {
                let client = TestClient::connect(&self.io).await;
                let socket = self.io.local_socket(client.id()).expect("it is in");
                let rooms = BTreeSet::from([client.id().to_owned()]);
                self.places[*place] = Some(Person { client, socket, rooms });
            }
            Step::Leave(place, politely) => self.leave(*place, *politely).await,
            Step::Join(place, rooms) => {
                let names = self.names(rooms);
                if let Some(person) = &mut self.places[*place] {
                    person.socket.join(&names);
                    person.rooms.extend(names);
                }
            }
            Step::LeaveRoom(place, room) => {
                let names = self.names(&[*room]);
                if let Some(person) = &mut self.places[*place] {
                    person.socket.leave(&names);
                    person.rooms.remove(&names[0]);
                }
            }
            Step::LeaveAll(place) => {
                if let Some(person) = &mut self.places[*place] {
                    person.socket.leave_all();
                    person.rooms.retain(|room| room == person.client.id());
                }
            }
            Step::Send(whom) => {
                heard = self.selected(whom);
                self.broadcast(whom).emit("said", self.sent).expect("it can be written");
            }
            Step::Tell(place) => {
                if let Some(person) = &self.places[*place] {
                    heard.insert(*place);
                    person.socket.emit("said", self.sent).expect("it is there");
                }
            }
            Step::SocketsJoin(whom, rooms) => {
                let (meant, names) = (self.selected(whom), self.names(rooms));
                self.broadcast(whom).sockets_join(&names).expect("there is no other server");
                for person in self.people(&meant) {
                    person.rooms.extend(names.iter().cloned());
                }
            }
            Step::SocketsLeave(whom, rooms) => {
                let (meant, names) = (self.selected(whom), self.names(rooms));
                self.broadcast(whom).sockets_leave(&names).expect("there is no other server");
                for person in self.people(&meant) {
                    person.rooms.retain(|room| !names.contains(room));
                }
            }
            Step::DisconnectSockets(whom, close) => {
                let meant = self.selected(whom);
                self.broadcast(whom).disconnect_sockets(*close).expect("there is no other server");
                for place in meant {
                    let mut person = self.places[place].take().expect("it is selected");
                    assert_eq!(person.client.disconnected().await, "io server disconnect");
                    person.client.close();
                }
            }
            Step::Enter(_) => {}
        }
        self.look(&heard).await;
    }

    async fn leave(&mut self, place: usize, politely: bool) {
        if let Some(mut person) = self.places[place].take() {
            if politely {
                person.client.disconnect();
                sleep(SOON).await;
            }
            person.client.close();
            sleep(SOON).await;
            assert_eq!(person.socket.rooms(), [""; 0]);
        }
    }

    fn people(&mut self, meant: &BTreeSet<usize>) -> impl Iterator<Item = &mut Person> {
        let places = self.places.iter_mut().enumerate();
        places.filter(|(place, _)| meant.contains(place)).filter_map(|(_, person)| person.as_mut())
    }

    fn names(&self, rooms: &[Room]) -> Vec<String> {
        let name = |room: &Room| match room {
            Room::Named(name) => *name,
            Room::Of(place) => self.places[*place].as_ref().map_or("nobody's", |person| person.client.id()),
        };
        rooms.iter().map(|room| name(room).to_owned()).collect()
    }

    fn broadcast(&self, whom: &Whom) -> Broadcast {
        let sender = whom.by.and_then(|place| self.places[place].as_ref());
        let all = sender.map_or_else(|| self.io.everyone(), |person| person.socket.broadcast());
        // An empty list is nobody.
        let some = whom.rooms.as_ref().map_or_else(|| all.clone(), |rooms| all.to(self.names(rooms)));
        some.except(self.names(&whom.except))
    }

    fn selected(&self, whom: &Whom) -> BTreeSet<usize> {
        let sender = whom.by.filter(|place| self.places[*place].is_some()).map(Room::Of);
        let rooms = whom.rooms.as_ref().map(|rooms| self.names(rooms));
        let except = self.names(&whom.except.iter().copied().chain(sender).collect::<Vec<_>>());
        let any = |names: &[String], person: &Person| names.iter().any(|name| person.rooms.contains(name));
        let is_meant = |person: &Person| rooms.as_ref().is_none_or(|rooms| any(rooms, person)) && !any(&except, person);
        let there = self.places.iter().enumerate().filter_map(|(place, person)| Some((place, person.as_ref()?)));
        there.filter(|(_, person)| is_meant(person)).map(|(place, _)| place).collect()
    }

    /// Whether those have heard what was said, once, and the others nothing, and all are where they are to be.
    async fn look(&mut self, expected: &BTreeSet<usize>) {
        sleep(SOON).await;
        for place in 0..PLACES {
            let Some(person) = &mut self.places[place] else { continue };
            let mut heard = Vec::new();
            while let Some(event) = person.client.next_event(Duration::ZERO).await {
                heard.push(event.args::<u32>());
            }
            let expected = if expected.contains(&place) { vec![self.sent] } else { vec![] };
            assert_eq!(heard, expected, "what the one in place {place} has heard");
        }
        for person in self.places.iter().flatten() {
            let found: BTreeSet<String> = person.socket.rooms().iter().map(ToString::to_string).collect();
            assert_eq!(found, person.rooms);
        }
        assert_eq!(self.io.stats().sockets, self.places.iter().flatten().count() as u64);
        self.sent += 1;
    }
}

async fn play(steps: &[Step]) {
    let io = Server::new();
    let mut world = World { io: io.clone(), places: Default::default(), sent: 0 };
    for step in steps {
        world.play(step).await;
    }
    for place in 0..PLACES {
        world.leave(place, place % 2 == 0).await;
    }
    sleep(SOON).await;
    let stats = io.stats();
    assert_eq!((stats.sockets, stats.rooms, stats.connections.web_socket), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_clients_do_each_hears_once_what_is_for_it_and_nothing_is_left(steps in vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(play(&steps));
    }
}
