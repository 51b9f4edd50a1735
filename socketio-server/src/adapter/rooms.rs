//! Who is in which room.
//!
//! [`Rooms`] keeps both directions, room to members and member to rooms, and keeps them equal. It sends nothing and
//! waits for nothing; delivering is [`MemoryAdapter`](super::MemoryAdapter)'s part. Members stand in numbered slots, and
//! a room is a list of numbers: walking it costs about a nanosecond a member, where looking each up by its id would
//! cost fifty. A member is always in the room named after its id, which is how a single socket is addressed; that room
//! is kept as a look-up, not as a list.

#[cfg(test)]
mod model;

use std::collections::HashMap;

use bytestring::ByteString;
use smallvec::SmallVec;

/// See the [module documentation](self).
#[derive(Debug)]
pub(crate) struct Rooms<M> {
    slots: Vec<Option<Slot<M>>>,
    free_slots: Vec<u32>,
    /// The ids are this server's own random ones, so a fast hash does.
    by_id: HashMap<ByteString, u32, foldhash::fast::RandomState>,
    /// Room names often come from clients, so the hash withstands chosen ones.
    by_name: HashMap<ByteString, u32>,
    rooms: Vec<Room>,
    free_rooms: Vec<u32>,
}

#[derive(Debug)]
struct Slot<M> {
    id: ByteString,
    member: M,
    /// Whether it is in the room of its own id: yes, unless it left.
    in_own_room: bool,
    places: SmallVec<[Place; 2]>,
}

/// Where a member stands in the list of one of its rooms.
#[derive(Debug, Clone, Copy)]
struct Place {
    room: u32,
    at: u32,
}

#[derive(Debug, Default)]
struct Room {
    name: ByteString,
    members: Vec<u32>,
}

/// Whom a packet is for, by the names of rooms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    /// `None` is everybody; no rooms is nobody.
    pub(crate) rooms: Option<&'a [ByteString]>,
    /// But none of the members of these.
    pub(crate) except: &'a [ByteString],
}

/// What a member may join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomLimits {
    /// The number of rooms, the member's own aside.
    pub(crate) per_socket: usize,
    /// The length of a name.
    pub(crate) name_bytes: usize,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self { per_socket: 1024, name_bytes: 255 }
    }
}

/// Why a socket does not join a room.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// let io = Server::builder().max_rooms_per_socket(1).build();
/// # let client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// socket.try_join("red").unwrap();
/// assert!(matches!(socket.try_join("blue"), Err(JoinError::TooManyRooms { max: 1 })));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It is in as many as it may; see [`Limits::max_rooms_per_socket`](crate::Limits::max_rooms_per_socket).
    #[error("the socket is in {max} rooms already, the most that are allowed")]
    TooManyRooms {
        /// How many rooms are allowed.
        max: usize,
    },
    /// The name is too long; see [`Limits::max_room_name`](crate::Limits::max_room_name).
    #[error("the name of the room has {len} bytes, more than the {max} allowed")]
    NameTooLong {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be.
        max: usize,
    },
}

impl RoomLimits {
    /// Whether somebody who is in `joined` rooms may join another.
    pub(crate) fn allow(self, room: &str, joined: usize) -> Result<(), JoinError> {
        if room.len() > self.name_bytes {
            return Err(JoinError::NameTooLong { len: room.len(), max: self.name_bytes });
        }
        if joined >= self.per_socket {
            return Err(JoinError::TooManyRooms { max: self.per_socket });
        }
        Ok(())
    }
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free_slots: Vec::new(),
            by_id: HashMap::default(),
            by_name: HashMap::new(),
            rooms: Vec::new(),
            free_rooms: Vec::new(),
        }
    }
}

impl<M> Rooms<M> {
    /// Adds a member, in the room of its own id. One that had this id before is replaced. Whether its room is new.
    pub(crate) fn add(&mut self, id: ByteString, member: M) -> bool {
        self.remove(&id);
        let created = !self.by_name.contains_key(&id);
        let slot = Slot { id: id.clone(), member, in_own_room: true, places: SmallVec::new() };
        let index = match self.free_slots.pop() {
            Some(index) => index,
            None => {
                self.slots.push(None);
                index(self.slots.len() - 1)
            }
        };
        self.slots[index as usize] = Some(slot);
        self.by_id.insert(id, index);
        created
    }

    /// Removes a member from all its rooms. Returns it with the rooms that are empty now.
    pub(crate) fn remove(&mut self, id: &str) -> Option<(M, Vec<ByteString>)> {
        let index = self.by_id.remove(id)?;
        let mut deleted = Vec::new();
        while let Some(place) = self.slot_mut(index).and_then(|slot| slot.places.pop()) {
            deleted.extend(self.take_from_room(place).filter(|room| self.own_room(room).is_none()));
        }
        let slot = self.slots[index as usize].take()?;
        self.free_slots.push(index);
        if slot.in_own_room && !self.by_name.contains_key(&slot.id) {
            deleted.push(slot.id);
        }
        if self.by_id.is_empty() {
            *self = Self::default(); // Gives back what it took when there were more.
        }
        Some((slot.member, deleted))
    }

    /// Puts a member into a room. `None` if it is there already or there is no such member; else whether the room is
    /// new.
    pub(crate) fn join(&mut self, id: &str, room: &str) -> Option<bool> {
        let index = *self.by_id.get(id)?;
        if id == room {
            let created = !self.by_name.contains_key(room);
            let slot = self.slot_mut(index)?;
            return (!std::mem::replace(&mut slot.in_own_room, true)).then_some(created);
        }
        let (number, created) = match self.by_name.get(room) {
            Some(number) => (*number, false),
            None => (self.create_room(room), self.own_room(room).is_none()),
        };
        if self.slot(index)?.places.iter().any(|place| place.room == number) {
            return None;
        }
        let members = &mut self.rooms[number as usize].members;
        let at = u32::try_from(members.len()).expect("fewer than four thousand million members");
        members.push(index);
        self.slot_mut(index)?.places.push(Place { room: number, at });
        Some(created)
    }

    /// As [`join`](Rooms::join), within limits.
    pub(crate) fn join_within(&mut self, limits: RoomLimits, id: &str, room: &str) -> Result<Option<bool>, JoinError> {
        if id != room
            && let Err(refusal) = limits.allow(room, self.joined_count(id))
            && !self.is_in(id, room)
        {
            return Err(refusal);
        }
        Ok(self.join(id, room))
    }

    /// Whether a member is in a room that is not its own.
    fn is_in(&self, id: &str, room: &str) -> bool {
        let slot = self.by_id.get(id).and_then(|index| self.slot(*index));
        let (Some(slot), Some(number)) = (slot, self.by_name.get(room)) else { return false };
        slot.places.iter().any(|place| place.room == *number)
    }

    /// Takes a member out of a room. `None` if it is not there; else whether the room is empty and gone now.
    pub(crate) fn leave(&mut self, id: &str, room: &str) -> Option<bool> {
        let index = *self.by_id.get(id)?;
        if id == room {
            let deleted = !self.by_name.contains_key(room);
            let slot = self.slot_mut(index)?;
            return std::mem::replace(&mut slot.in_own_room, false).then_some(deleted);
        }
        let number = *self.by_name.get(room)?;
        let places = &mut self.slot_mut(index)?.places;
        let place = places.swap_remove(places.iter().position(|place| place.room == number)?);
        Some(self.take_from_room(place).is_some() && self.own_room(room).is_none())
    }

    /// The rooms a member is in, its own first.
    pub(crate) fn rooms_of(&self, id: &str) -> Vec<ByteString> {
        let Some(slot) = self.by_id.get(id).and_then(|index| self.slot(*index)) else { return Vec::new() };
        let own = slot.in_own_room.then(|| slot.id.clone());
        let joined = slot.places.iter().map(|place| self.rooms[place.room as usize].name.clone());
        own.into_iter().chain(joined).collect()
    }

    /// How many rooms a member is in, without its own.
    pub(crate) fn joined_count(&self, id: &str) -> usize {
        self.by_id.get(id).and_then(|index| self.slot(*index)).map_or(0, |slot| slot.places.len())
    }

    /// All rooms that have a member, those of single members among them.
    pub(crate) fn all_rooms(&self) -> Vec<ByteString> {
        let alone = |slot: &&Slot<M>| slot.in_own_room && !self.by_name.contains_key(&slot.id);
        let own = self.slots.iter().flatten().filter(alone).map(|slot| slot.id.clone());
        own.chain(self.by_name.keys().cloned()).collect()
    }

    /// How many rooms there are, without those of single members.
    pub(crate) fn room_count(&self) -> usize {
        self.by_name.len()
    }

    /// Whether anyone is in a room.
    pub(crate) fn has_room(&self, room: &str) -> bool {
        self.by_name.contains_key(room) || self.own_room(room).is_some()
    }

    /// The member of this id.
    pub(crate) fn get(&self, id: &str) -> Option<&M> {
        self.by_id.get(id).and_then(|index| self.slot(*index)).map(|slot| &slot.member)
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Calls `f` once for each member that is selected.
    pub(crate) fn each<'a>(&'a self, selection: Selection<'_>, mut f: impl FnMut(&'a ByteString, &'a M)) {
        let mut visit = |slot: &'a Slot<M>| f(&slot.id, &slot.member);
        match (selection.rooms, selection.except) {
            (None, []) => self.slots.iter().flatten().for_each(visit),
            (Some([room]), []) => self.each_in(room, |index| {
                if let Some(slot) = self.slot(index) {
                    visit(slot);
                }
            }),
            (rooms, except) => {
                // One mark for each slot: excluded from the start, or visited already.
                let mut done = vec![false; self.slots.len()];
                for room in except {
                    self.each_in(room, |index| done[index as usize] = true);
                }
                let mut visit_once = |index: u32| {
                    if !std::mem::replace(&mut done[index as usize], true)
                        && let Some(slot) = self.slot(index)
                    {
                        visit(slot);
                    }
                };
                match rooms {
                    None => (0..index(self.slots.len())).for_each(visit_once),
                    Some(rooms) => rooms.iter().for_each(|room| self.each_in(room, &mut visit_once)),
                }
            }
        }
    }

    /// A room may be made by joining and be the own room of a member of that name, too.
    fn each_in(&self, room: &str, mut f: impl FnMut(u32)) {
        let own = self.own_room(room);
        own.into_iter().for_each(&mut f);
        if let Some(number) = self.by_name.get(room) {
            self.rooms[*number as usize].members.iter().copied().filter(|index| Some(*index) != own).for_each(f);
        }
    }

    fn own_room(&self, id: &str) -> Option<u32> {
        let index = *self.by_id.get(id)?;
        self.slot(index)?.in_own_room.then_some(index)
    }

    fn slot(&self, index: u32) -> Option<&Slot<M>> {
        self.slots.get(index as usize)?.as_ref()
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<M>> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    fn create_room(&mut self, name: &str) -> u32 {
        let room = Room { name: name.into(), members: Vec::new() };
        self.by_name.insert(room.name.clone(), self.free_rooms.last().copied().unwrap_or(index(self.rooms.len())));
        match self.free_rooms.pop() {
            Some(number) => {
                self.rooms[number as usize] = room;
                number
            }
            None => {
                self.rooms.push(room);
                index(self.rooms.len() - 1)
            }
        }
    }

    /// Closes the gap that a member leaves in a room's list. Returns the room's name if the list is empty and gone now.
    fn take_from_room(&mut self, place: Place) -> Option<ByteString> {
        let room = &mut self.rooms[place.room as usize];
        room.members.swap_remove(place.at as usize);
        if let Some(moved) = room.members.get(place.at as usize).copied()
            && let Some(slot) = self.slot_mut(moved)
            && let Some(its) = slot.places.iter_mut().find(|its| its.room == place.room)
        {
            its.at = place.at;
            return None;
        }
        let room = &mut self.rooms[place.room as usize];
        if !room.members.is_empty() {
            return None;
        }
        let Room { name, .. } = std::mem::take(room);
        self.by_name.remove(&name);
        self.free_rooms.push(place.room);
        Some(name)
    }
}

fn index(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than four thousand million members and rooms")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(rooms: &Rooms<u32>, to: Option<&[&str]>, except: &[&str]) -> Vec<u32> {
        let to: Option<Vec<ByteString>> = to.map(|to| to.iter().map(|room| (*room).into()).collect());
        let except: Vec<ByteString> = except.iter().map(|room| (*room).into()).collect();
        let mut found = Vec::new();
        rooms.each(Selection { rooms: to.as_deref(), except: &except }, |_, member| found.push(*member));
        found.sort_unstable();
        found
    }

    fn three() -> Rooms<u32> {
        let mut rooms = Rooms::default();
        for (id, member) in [("ana", 1), ("bob", 2), ("cid", 3)] {
            rooms.add(id.into(), member);
        }
        for (id, room) in [("ana", "red"), ("bob", "red"), ("bob", "blue"), ("cid", "blue")] {
            rooms.join(id, room);
        }
        rooms
    }

    #[test]
    fn a_member_of_two_rooms_is_selected_once_and_exceptions_win() {
        let rooms = three();
        for (to, except, expected) in [
            (None, &[][..], &[1, 2, 3][..]),
            (Some(&["red"][..]), &[], &[1, 2]),
            (Some(&["red", "blue"]), &[], &[1, 2, 3]),
            (Some(&["red", "blue"]), &["red"], &[3]),
            (Some(&["red", "ana"]), &["bob"], &[1]),
            (Some(&["ana"]), &[], &[1]),
            (Some(&["ana"]), &["ana"], &[]),
            (Some(&[]), &[], &[]),
            (Some(&["none"]), &[], &[]),
            (None, &["blue"], &[1]),
        ] {
            assert_eq!(selected(&rooms, to, except), expected, "to {to:?} except {except:?}");
        }
    }

    #[test]
    fn rooms_appear_with_their_first_member_and_go_with_their_last() {
        let mut rooms = three();
        assert_eq!(rooms.join("ana", "new"), Some(true));
        assert_eq!(rooms.join("bob", "new"), Some(false));
        assert_eq!(rooms.join("bob", "new"), None, "twice");
        assert_eq!(rooms.leave("ana", "new"), Some(false));
        assert_eq!(rooms.leave("bob", "new"), Some(true));
        assert_eq!(rooms.leave("bob", "new"), None);
        assert!(!rooms.has_room("new"));
        let (member, deleted) = rooms.remove("ana").unwrap();
        assert_eq!((member, deleted), (1, vec!["ana".into()]), "bob is still in red");
        assert_eq!(rooms.remove("bob").unwrap().1, ["red", "bob"]);
        assert_eq!(rooms.rooms_of("bob"), [""; 0]);
    }

    #[test]
    fn a_member_joins_as_many_rooms_as_are_allowed_and_those_it_is_in_again() {
        let mut rooms = three();
        let limits = RoomLimits { per_socket: 2, name_bytes: 4 };
        let long = JoinError::NameTooLong { len: 5, max: 4 };
        assert_eq!(
            rooms.join_within(limits, "ana", "éblue"),
            Err(JoinError::NameTooLong { len: 6, max: 4 }),
            "bytes count"
        );
        assert_eq!(rooms.join_within(limits, "ana", "green"), Err(long));
        assert_eq!(rooms.join_within(limits, "ana", "blue"), Ok(Some(false)));
        assert_eq!(rooms.join_within(limits, "ana", "gold"), Err(JoinError::TooManyRooms { max: 2 }));
        assert!(!rooms.has_room("gold") && !rooms.has_room("green"));
        assert_eq!(rooms.join_within(limits, "ana", "blue"), Ok(None), "it is there");
        rooms.leave("ana", "ana");
        assert_eq!(rooms.join_within(limits, "ana", "ana"), Ok(Some(true)), "its own does not count");
        rooms.leave("ana", "red");
        assert_eq!(rooms.join_within(limits, "ana", "gold"), Ok(Some(true)));
    }

    #[test]
    fn a_room_named_like_a_member_reaches_that_member_and_who_joined_it() {
        let mut rooms = three();
        rooms.join("bob", "ana");
        assert_eq!(selected(&rooms, Some(&["ana"]), &[]), [1, 2]);
        rooms.leave("ana", "ana");
        assert_eq!(selected(&rooms, Some(&["ana"]), &[]), [2]);
        assert_eq!(rooms.rooms_of("ana"), ["red"]);
        rooms.join("ana", "ana");
        assert_eq!(selected(&rooms, Some(&["ana"]), &[]), [1, 2]);
    }
}
