//! [`Rooms`] beside plain sets: whoever comes, joins, leaves and goes in whatever order, both say the same after each
//! step, and nothing is left of who has gone. A sequence that fails is told in its shortest form.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

type Name = &'static str;

const IDS: [Name; 4] = ["ana", "bob", "cid", "dan"];
/// Rooms may be named like members. The last name is too long.
const ROOMS: [Name; 8] = ["ana", "bob", "cid", "dan", "red", "blue", "gold", "a long name"];
const LIMITS: RoomLimits = RoomLimits { per_socket: 3, name_bytes: 6 };

#[derive(Debug, Clone)]
enum Step {
    /// One that is there is replaced.
    Add(Name),
    Join(Name, Name),
    JoinWithin(Name, Name),
    Leave(Name, Name),
    Remove(Name),
    /// All who are selected join, leave, go.
    AllJoin(Whom, Name),
    AllLeave(Whom, Name),
    AllRemove(Whom),
    Select(Whom),
}

#[derive(Debug, Clone)]
struct Whom {
    rooms: Option<Vec<Name>>,
    except: Vec<Name>,
}

fn step() -> impl Strategy<Value = Step> {
    let (id, room) = (|| select(&IDS[..]), || select(&ROOMS[..]));
    let whom =
        move || (option::of(vec(room(), 0..4)), vec(room(), 0..3)).prop_map(|(rooms, except)| Whom { rooms, except });
    prop_oneof![
        4 => id().prop_map(Step::Add),
        6 => (id(), room()).prop_map(|(id, room)| Step::Join(id, room)),
        3 => (id(), room()).prop_map(|(id, room)| Step::JoinWithin(id, room)),
        5 => (id(), room()).prop_map(|(id, room)| Step::Leave(id, room)),
        3 => id().prop_map(Step::Remove),
        1 => (whom(), room()).prop_map(|(whom, room)| Step::AllJoin(whom, room)),
        1 => (whom(), room()).prop_map(|(whom, room)| Step::AllLeave(whom, room)),
        1 => whom().prop_map(Step::AllRemove),
        6 => whom().prop_map(Step::Select),
    ]
}

/// What [`Rooms`] is to be: who is there, under which number, in which rooms.
#[derive(Debug, Default)]
struct Sets {
    members: BTreeMap<Name, (u32, BTreeSet<Name>)>,
}

impl Sets {
    fn rooms(&self) -> BTreeSet<Name> {
        self.members.values().flat_map(|(_, rooms)| rooms.iter().copied()).collect()
    }

    fn is_in(&self, id: Name, room: Name) -> bool {
        self.members.get(id).is_some_and(|(_, rooms)| rooms.contains(room))
    }

    fn join(&mut self, id: Name, room: Name) -> Option<bool> {
        let is_new = !self.rooms().contains(room);
        self.members.get_mut(id)?.1.insert(room).then_some(is_new)
    }

    fn join_within(&mut self, id: Name, room: Name) -> Result<Option<bool>, JoinError> {
        let joined = self.members.get(id).map_or(0, |(_, rooms)| rooms.iter().filter(|room| **room != id).count());
        match (id == room || self.is_in(id, room), room.len(), joined) {
            (false, len, _) if len > LIMITS.name_bytes => Err(JoinError::NameTooLong { len, max: LIMITS.name_bytes }),
            (false, _, joined) if joined >= LIMITS.per_socket => {
                Err(JoinError::TooManyRooms { max: LIMITS.per_socket })
            }
            _ => Ok(self.join(id, room)),
        }
    }

    fn leave(&mut self, id: Name, room: Name) -> Option<bool> {
        let left = self.members.get_mut(id)?.1.remove(room);
        left.then(|| !self.rooms().contains(room))
    }

    /// The number of who has gone, and the rooms that have gone with it.
    fn remove(&mut self, id: Name) -> Option<(u32, BTreeSet<Name>)> {
        let before = self.rooms();
        let (number, _) = self.members.remove(id)?;
        Some((number, &before - &self.rooms()))
    }

    fn selected(&self, whom: &Whom) -> Vec<(Name, u32)> {
        let any = |names: &[Name], rooms: &BTreeSet<Name>| names.iter().any(|name| rooms.contains(name));
        let meant = self.members.iter().filter(|(_, (_, rooms))| {
            whom.rooms.as_ref().is_none_or(|names| any(names, rooms)) && !any(&whom.except, rooms)
        });
        meant.map(|(id, (number, _))| (*id, *number)).collect()
    }
}

/// Both at once.
#[derive(Default)]
struct Both {
    rooms: Rooms<u32>,
    sets: Sets,
    added: u32,
    /// The most members and rooms that there were at once.
    most: (usize, usize),
}

impl Both {
    fn play(&mut self, step: &Step) {
        match step {
            Step::Add(id) => {
                self.added += 1;
                self.sets.remove(id);
                let is_new = !self.sets.rooms().contains(id);
                self.sets.members.insert(id, (self.added, BTreeSet::from([*id])));
                assert_eq!(self.rooms.add((*id).into(), self.added), is_new);
            }
            Step::Join(id, room) => assert_eq!(self.rooms.join(id, room), self.sets.join(id, room)),
            Step::JoinWithin(id, room) => {
                assert_eq!(self.rooms.join_within(LIMITS, id, room), self.sets.join_within(id, room));
            }
            Step::Leave(id, room) => assert_eq!(self.rooms.leave(id, room), self.sets.leave(id, room)),
            Step::Remove(id) => self.remove(id),
            Step::AllJoin(whom, room) => {
                self.select(whom).into_iter().for_each(|id| self.play(&Step::Join(id, room)));
            }
            Step::AllLeave(whom, room) => {
                self.select(whom).into_iter().for_each(|id| self.play(&Step::Leave(id, room)));
            }
            Step::AllRemove(whom) => self.select(whom).into_iter().for_each(|id| self.remove(id)),
            Step::Select(whom) => drop(self.select(whom)),
        }
        self.look();
    }

    fn remove(&mut self, id: Name) {
        let removed = self.rooms.remove(id).map(|(number, deleted)| {
            let names: BTreeSet<Name> = ROOMS.into_iter().filter(|name| deleted.iter().any(|it| it == name)).collect();
            assert_eq!(names.len(), deleted.len(), "each is told once: {deleted:?}");
            (number, names)
        });
        assert_eq!(removed, self.sets.remove(id));
    }

    /// Who is selected, each once.
    fn select(&self, whom: &Whom) -> Vec<Name> {
        let names = |names: &[Name]| names.iter().map(|name| ByteString::from_static(name)).collect::<Vec<_>>();
        let (to, except) = (whom.rooms.as_deref().map(names), names(&whom.except));
        let mut found = Vec::new();
        self.rooms.each(Selection { rooms: to.as_deref(), except: &except }, |id, number| {
            found.push((id.to_string(), *number));
        });
        found.sort_unstable();
        let expected = self.sets.selected(whom);
        assert_eq!(found, expected.iter().map(|(id, number)| ((*id).to_owned(), *number)).collect::<Vec<_>>());
        expected.into_iter().map(|(id, _)| id).collect()
    }

    /// Whether both say the same, and the lists inside agree with each other.
    fn look(&mut self) {
        let (rooms, sets) = (&self.rooms, &self.sets);
        assert_eq!(rooms.len(), sets.members.len());
        for id in IDS {
            let expected = sets.members.get(id);
            assert_eq!(rooms.get(id), expected.map(|(number, _)| number));
            let joined = rooms.rooms_of(id);
            assert!(!joined.iter().skip(1).any(|room| room == id), "its own is the first");
            let all: BTreeSet<&str> = joined.iter().map(|room| &**room).collect();
            assert_eq!((joined.len(), &all), (all.len(), &expected.map_or_else(BTreeSet::new, |(_, all)| all.clone())));
            assert_eq!(rooms.joined_count(id), all.iter().filter(|room| **room != id).count());
        }
        let expected = sets.rooms();
        let all = rooms.all_rooms();
        assert_eq!(all.iter().map(|room| &**room).collect::<BTreeSet<_>>(), expected);
        assert_eq!(all.len(), expected.len(), "each once: {all:?}");
        assert!(ROOMS.iter().all(|room| rooms.has_room(room) == expected.contains(room)));

        assert_eq!(rooms.slots.iter().flatten().count(), rooms.len());
        assert_eq!(rooms.free_slots.len() + rooms.len(), rooms.slots.len());
        assert_eq!(rooms.free_rooms.len() + rooms.room_count(), rooms.rooms.len());
        assert!(rooms.free_rooms.iter().all(|number| rooms.rooms[*number as usize].members.capacity() == 0));
        self.most = (self.most.0.max(rooms.len()), self.most.1.max(rooms.room_count()));
        assert!(rooms.slots.len() <= self.most.0 && rooms.rooms.len() <= self.most.1, "places are used again");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whoever_comes_joins_leaves_and_goes_it_says_what_plain_sets_say_and_nothing_is_left(
        steps in vec(step(), 1..40)
    ) {
        let mut both = Both::default();
        steps.iter().for_each(|step| both.play(step));
        both.play(&Step::AllRemove(Whom { rooms: None, except: vec![] }));
        let Rooms { slots, free_slots, by_id, by_name, rooms, free_rooms } = &both.rooms;
        let left = [slots.capacity(), free_slots.capacity(), by_id.capacity(), by_name.capacity(), rooms.capacity(), free_rooms.capacity()];
        assert_eq!(left, [0; 6]);
    }
}
