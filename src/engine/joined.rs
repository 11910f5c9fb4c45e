//! The rooms that one native connection is in: found in O(1), however many they are.
//!
//! Not here: the rooms' lists of members (`members`). Invariants: no room is listed twice; a
//! membership that is pending is not in any list of members yet; the index, where there is one,
//! has exactly the list's entries.

use super::members::{LocalRoom, Place};
use crate::broker::RoomName;
use hashbrown::HashTable;

/// Rooms up to which the list is simply searched.
const UNINDEXED_MAX: usize = 16;

/// One connection's membership of one room.
#[derive(Debug)]
pub(crate) struct Membership {
    /// The keyed hash of the room's name.
    pub(crate) hash: u64,
    pub(crate) standing: Standing,
    /// Whether it gets its own messages.
    pub(crate) echo: bool,
    /// Whether it asked for who is there.
    pub(crate) presence: bool,
    /// Whether it may publish there.
    pub(crate) may_publish: bool,
    /// The last message that a pong proved to be read.
    pub(crate) proven: u64,
    /// The last message that went out before the last ping.
    pub(crate) marked: u64,
}

/// How far a membership has come.
#[derive(Debug)]
pub(crate) enum Standing {
    /// The home has not answered yet.
    Pending(Box<PendingJoin>),
    /// It stands in the room's list of members.
    Joined(Place),
}

/// A join whose answer is on the way.
#[derive(Debug)]
pub(crate) struct PendingJoin {
    pub(crate) name: RoomName,
    /// Tells its answer from that of an earlier join of the same room.
    pub(crate) ticket: u32,
}

/// All memberships of one connection.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    list: Vec<Membership>,
    /// Places in the list, by hash; once there are many.
    index: Option<Box<HashTable<u32>>>,
}

impl Joined {
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Membership> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Membership> {
        self.list.iter_mut()
    }

    /// Whether a join is not answered yet.
    pub(crate) fn has_pending(&self) -> bool {
        self.list.iter().any(|membership| matches!(membership.standing, Standing::Pending(_)))
    }

    /// The membership with that hash that `is_it` knows.
    pub(crate) fn find(
        &self,
        hash: u64,
        is_it: impl Fn(&Membership) -> bool,
    ) -> Option<&Membership> {
        self.list.get(self.position(hash, is_it)?)
    }

    /// As [`Self::find`], to be changed.
    pub(crate) fn find_mut(
        &mut self,
        hash: u64,
        is_it: impl Fn(&Membership) -> bool,
    ) -> Option<&mut Membership> {
        let position = self.position(hash, is_it)?;
        self.list.get_mut(position)
    }

    /// The membership of a room that it is in, by the hash of the room's name.
    pub(crate) fn in_room_mut(&mut self, hash: u64, room: LocalRoom) -> Option<&mut Membership> {
        self.find_mut(hash, |membership| {
            matches!(&membership.standing, Standing::Joined(place) if place.room == room)
        })
    }

    /// Adds a membership of a room that is not in the list.
    pub(crate) fn push(&mut self, membership: Membership) {
        if self.list.len() == self.list.capacity() {
            self.list.reserve_exact(self.list.len().max(1)); // Most have one room and no more.
        }
        let hash = membership.hash;
        self.list.push(membership);
        if self.index.is_some() {
            let place = super::buffers::offset(self.list.len() - 1);
            self.insert_index(hash, place);
        } else if self.list.len() > UNINDEXED_MAX {
            self.index = Some(Box::default());
            let hashes: Vec<u64> = self.list.iter().map(|membership| membership.hash).collect();
            for (place, hash) in (0..).zip(hashes) {
                self.insert_index(hash, place);
            }
        }
    }

    /// Takes the membership with that hash out that `is_it` knows.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        is_it: impl Fn(&Membership) -> bool,
    ) -> Option<Membership> {
        let position = self.position(hash, is_it)?;
        let last = self.list.len() - 1;
        if let Some(index) = &mut self.index {
            let place = super::buffers::offset(position);
            if let Ok(entry) = index.find_entry(hash, |at| *at == place) {
                entry.remove();
            }
            let moved = self.list.last().filter(|_| position != last);
            let moved_to =
                moved.and_then(|moved| index.find_mut(moved.hash, |at| *at as usize == last));
            if let Some(at) = moved_to {
                *at = place;
            }
        }
        Some(self.list.swap_remove(position))
    }

    fn position(&self, hash: u64, is_it: impl Fn(&Membership) -> bool) -> Option<usize> {
        let is_it = |membership: &Membership| membership.hash == hash && is_it(membership);
        match &self.index {
            None => self.list.iter().position(is_it),
            Some(index) => {
                let at = |place: &u32| self.list.get(*place as usize);
                index.find(hash, |place| at(place).is_some_and(is_it)).map(|at| *at as usize)
            }
        }
    }

    fn insert_index(&mut self, hash: u64, place: u32) {
        let list = &self.list;
        let hash_of = |at: &u32| list.get(*at as usize).map_or(0, |membership| membership.hash);
        if let Some(index) = &mut self.index {
            index.insert_unique(hash, place, hash_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn membership(hash: u64, index: u32) -> Membership {
        let room = LocalRoom { index, generation: 0 };
        let standing = Standing::Joined(Place { room, position: 0 });
        Membership {
            hash,
            standing,
            echo: true,
            presence: false,
            may_publish: true,
            proven: 0,
            marked: 0,
        }
    }

    #[test]
    fn random_use_agrees_with_a_map() {
        for seed in 0..50 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut joined = Joined::default();
            let mut model: HashMap<u32, u64> = HashMap::new();
            for _ in 0..400 {
                let index = dice.u32(..60);
                let hash = u64::from(index) % 50; // Some rooms' names have the same hash.
                let room = LocalRoom { index, generation: 0 };
                let is_it = |membership: &Membership| match &membership.standing {
                    Standing::Joined(place) => place.room == room,
                    Standing::Pending(_) => false,
                };
                match model.contains_key(&index) {
                    false => {
                        assert!(joined.find(hash, is_it).is_none(), "seed {seed}");
                        joined.push(membership(hash, index));
                        model.insert(index, hash);
                    }
                    true if dice.bool() => {
                        assert!(joined.in_room_mut(hash, room).is_some(), "seed {seed}");
                    }
                    true => {
                        assert!(joined.remove(hash, is_it).is_some(), "seed {seed}");
                        model.remove(&index);
                    }
                }
                assert_eq!(joined.len(), model.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_member_of_one_room_costs_no_more_than_that() {
        let mut joined = Joined::default();
        joined.push(membership(1, 1));
        assert_eq!(joined.list.capacity(), 1);
        assert!(size_of::<Membership>() <= 48, "{}", size_of::<Membership>());
    }
}
