//! The members that one loop has of each room and encoding: joined and left in O(1), walked once
//! per run.
//!
//! Not here: how many members other loops have (the home counts). Invariants: a member stands in
//! its room at the position that its session knows; a room without members in an encoding has no
//! entry for it.

use super::batch::JoinReply;
use super::buffers::BufferId;
use super::table::Table;
use crate::broker::{Encoding, RoomHandle, RoomName, RoomOptions};
use hashbrown::HashTable;

/// A room's entry in [`Members`], for the sessions of this loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LocalRoom {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) room: LocalRoom,
    pub(crate) position: u32,
}

/// One room's members on this loop that get it in one encoding.
#[derive(Debug)]
pub(crate) struct RoomMembers {
    pub(crate) handle: RoomHandle,
    pub(crate) name: RoomName,
    /// The keyed hash of its name.
    pub(crate) hash: u64,
    pub(crate) encoding: Encoding,
    pub(crate) epoch: u64,
    pub(crate) options: RoomOptions,
    /// The last message that was handed out here, or was there when the first of them joined.
    pub(crate) last_seq: u64,
    /// When a message was last handed out here, or somebody joined, in ticks of the wheel.
    pub(crate) used: u32,
    /// Where what its stalled members wait for is collected; may be gone (`backlog`).
    pub(crate) backlog: BufferId,
    /// Slots in the table of sessions. A leave is told at once, so no generation is needed.
    pub(crate) conns: Vec<u32>,
    /// The `seq` at which each of the last members joined, while their first batch is handled.
    pub(crate) fresh: Vec<u64>,
}

/// What a member that left leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Left {
    pub(crate) room: RoomHandle,
    pub(crate) encoding: Encoding,
    /// The slot of the session that now stands at its position, if another one moved there.
    pub(crate) moved: Option<u32>,
}

/// Every room and encoding that has members on this loop.
#[derive(Debug)]
pub(crate) struct Members {
    rooms: Table<RoomMembers>,
    by_handle: HashTable<u32>,
    total: usize,
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self { rooms: Table::new(), by_handle: HashTable::new(), total: 0 }
    }

    /// Rooms, once for each encoding, that have members on this loop.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len().max(self.by_handle.len())
    }

    /// Memberships on this loop.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// Adds a member whose join its home has counted: until [`Self::settle`] it counts as fresh.
    pub(crate) fn join(&mut self, reply: &JoinReply) -> Place {
        let (conn, seq) = (reply.key.index, reply.seq);
        let room = self.open(reply);
        self.total += 1;
        let members = self.rooms.get_mut(room.index, room.generation).expect("it was just opened");
        let position = super::buffers::offset(members.conns.len());
        members.conns.push(conn);
        members.fresh.push(seq);
        Place { room, position }
    }

    /// Ends the freshness of a room's newcomers.
    pub(crate) fn settle(&mut self, room: LocalRoom) {
        if let Some(members) = self.rooms.get_mut(room.index, room.generation) {
            members.fresh.clear();
        }
    }

    /// Takes the member at `place` out.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Left> {
        let Place { room, position } = place;
        let members = self.rooms.get_mut(room.index, room.generation)?;
        debug_assert!(members.fresh.is_empty(), "nobody leaves while a batch is handled");
        if position as usize >= members.conns.len() {
            debug_assert!(false, "a member stands where its session says");
            return None;
        }
        members.conns.swap_remove(position as usize);
        self.total -= 1;
        let (handle, encoding) = (members.handle, members.encoding);
        let moved = members.conns.get(position as usize).copied();
        if members.conns.is_empty() {
            self.rooms.remove(room.index, room.generation);
            let same = |index: &u32| *index == room.index;
            if let Ok(entry) = self.by_handle.find_entry(hash(handle, encoding), same) {
                entry.remove();
            }
        } else if members.conns.capacity() > 64
            && members.conns.len() < members.conns.capacity() / 4
        {
            members.conns.shrink_to(members.conns.len() * 2);
        }
        Some(Left { room: handle, encoding, moved })
    }

    /// The members of a room in that encoding, if this loop has any.
    pub(crate) fn find(
        &mut self,
        handle: RoomHandle,
        encoding: Encoding,
    ) -> Option<(LocalRoom, &mut RoomMembers)> {
        let rooms = &self.rooms;
        let same = |index: &u32| {
            let room = rooms.at(*index);
            room.is_some_and(|room| room.handle == handle && room.encoding == encoding)
        };
        let index = *self.by_handle.find(hash(handle, encoding), same)?;
        let generation = self.rooms.generation_at(index)?;
        let members = self.rooms.get_mut(index, generation)?;
        Some((LocalRoom { index, generation }, members))
    }

    /// As [`Self::find`], by a handle that came over a wire.
    pub(crate) fn find_wire(
        &self,
        wire: RoomHandle,
        encoding: Encoding,
    ) -> Option<(LocalRoom, &RoomMembers)> {
        let rooms = &self.rooms;
        let same = |index: &u32| {
            let room = rooms.at(*index);
            room.is_some_and(|room| {
                room.handle.to_wire() == wire.to_wire() && room.encoding == encoding
            })
        };
        let index = *self.by_handle.find(hash(wire, encoding), same)?;
        let room = LocalRoom { index, generation: self.rooms.generation_at(index)? };
        Some((room, self.get(room)?))
    }

    /// The members of the room that a session of this loop is in.
    pub(crate) fn get(&self, room: LocalRoom) -> Option<&RoomMembers> {
        self.rooms.get(room.index, room.generation)
    }

    /// As [`Self::get`], to be changed.
    pub(crate) fn get_mut(&mut self, room: LocalRoom) -> Option<&mut RoomMembers> {
        self.rooms.get_mut(room.index, room.generation)
    }

    fn open(&mut self, reply: &JoinReply) -> LocalRoom {
        let JoinReply { room: handle, encoding, hash: name_hash, epoch, options, seq, .. } = *reply;
        if let Some((room, _)) = self.find(handle, encoding) {
            return room;
        }
        let members = RoomMembers {
            handle,
            name: reply.name.clone(),
            hash: name_hash,
            encoding,
            epoch,
            options,
            last_seq: seq,
            used: 0,
            backlog: BufferId::NONE,
            conns: Vec::new(),
            fresh: Vec::new(),
        };
        let (index, generation) = self.rooms.insert(members);
        let rooms = &self.rooms;
        let hash_of =
            |index: &u32| rooms.at(*index).map_or(0, |room| hash(room.handle, room.encoding));
        self.by_handle.insert_unique(hash(handle, encoding), index, hash_of);
        LocalRoom { index, generation }
    }
}

/// Handles are ours, so mixing is enough; the multiplier is 2^64 over the golden ratio (Knuth,
/// TAOCP 6.4).
fn hash(handle: RoomHandle, encoding: Encoding) -> u64 {
    let place = u64::from(handle.home.0) << 56 | u64::from(handle.slot);
    let bits = place | (encoding.index() as u64) << 32;
    let mixed = bits.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{ConnKey, Deflate, LoopId};

    const RAW: Encoding = Encoding::RAW;
    const PACKED: Encoding = Encoding { deflate: Deflate::Full, ..RAW };
    const SMALL: Encoding = Encoding { deflate: Deflate::Small, ..RAW };

    fn handle(slot: u32) -> RoomHandle {
        RoomHandle { home: LoopId(0), slot, generation: 0 }
    }

    fn joined(room: RoomHandle, encoding: Encoding, conn: u32) -> JoinReply {
        JoinReply {
            key: ConnKey { index: conn, generation: 0 },
            room,
            name: RoomName::parse("room").expect("a name"),
            hash: 0,
            encoding,
            epoch: 0,
            seq: 0,
            options: RoomOptions::default(),
            native: None,
        }
    }

    #[test]
    fn leaving_moves_the_last_member_into_the_hole() {
        let mut members = Members::new();
        let places: Vec<Place> =
            (0..3).map(|conn| members.join(&joined(handle(1), RAW, conn))).collect();
        members.settle(places[0].room);
        let left = |moved| Some(Left { room: handle(1), encoding: RAW, moved });
        assert_eq!(members.leave(places[0]), left(Some(2)));
        assert_eq!(members.leave(Place { position: 1, ..places[0] }), left(None));
        assert_eq!(members.leave(Place { position: 0, ..places[0] }), left(None));
        assert!(members.find(handle(1), RAW).is_none(), "an empty room has no entry");
        assert_eq!(members.total(), 0);
        assert_eq!(members.leave(places[0]), None, "a stale place misses");
    }

    #[test]
    fn rooms_are_found_by_handle_with_its_generation() {
        let mut members = Members::new();
        for slot in 0..500 {
            for encoding in [RAW, PACKED] {
                let conn = 2 * slot + u32::from(encoding == RAW);
                members.join(&joined(handle(slot), encoding, conn));
            }
        }
        for slot in 0..500 {
            let (_, room) = members.find(handle(slot), RAW).expect("it has a member");
            assert_eq!(room.conns, [2 * slot + 1]);
            let (_, room) = members.find(handle(slot), PACKED).expect("another");
            assert_eq!(room.conns, [2 * slot]);
            assert!(members.find(handle(slot), SMALL).is_none());
            assert!(members.find(RoomHandle { generation: 1, ..handle(slot) }, RAW).is_none());
        }
    }
}
