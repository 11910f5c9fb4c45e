//! The rooms at home on one loop: names, numbering, and what they published in this tick.
//!
//! The home is the only writer of its rooms. Frames are laid out once, in the order in which they
//! were numbered; at the end of the tick each room's frames are copied, contiguous, into the batch
//! of every loop that has members, once for each form in which it has some. Invariants: a room is
//! found by name until it is deleted; a handle of a deleted room misses; the staging area is empty
//! between ticks.

use super::batch::{Batch, Frame, Run};
use super::buffers::offset;
use super::hash::HashKey;
use super::packing::Packing;
use super::table::Table;
use crate::broker::{
    CommandError, ConnKey, Encoding, LoopId, LoopMembers, Now, Published, Room, RoomHandle,
    RoomName, RoomOptions, RoomPolicies,
};
use crate::limits::OUTGOING_BYTES_MAX;
use crate::observe::Counters;
use hashbrown::HashTable;
use std::collections::VecDeque;

const NONE: u32 = u32::MAX;

/// A room and what its home keeps beside it.
#[derive(Debug)]
struct HomeRoom {
    name: RoomName,
    hash: u64,
    room: Room,
    options: RoomOptions,
    /// First and last of this tick's frames in the staging area.
    staged: Option<(u32, u32)>,
    /// When it last lost its members or was published to.
    used_ms: u64,
    /// Stands in the queue of rooms that may be deleted.
    expiring: bool,
}

/// A frame in the staging area.
#[derive(Clone, Copy, Debug)]
struct Staged {
    start: u32,
    end: u32,
    next: u32,
    left_out: Option<(LoopId, ConnKey)>,
}

/// The bounds of this loop's rooms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HomeLimits {
    pub(crate) rooms_max: usize,
    pub(crate) grace_ms: u64,
    /// Frames up to that size have no compressed form.
    pub(crate) plain_bytes_max: usize,
}

/// What a member is told when it joins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Welcome {
    pub(crate) room: RoomHandle,
    pub(crate) seq: u64,
    pub(crate) options: RoomOptions,
}

/// All rooms at home on one loop.
#[derive(Debug)]
pub(crate) struct Homes {
    id: LoopId,
    limits: HomeLimits,
    policies: RoomPolicies,
    epochs: HashKey,
    epochs_drawn: u64,
    rooms: Table<HomeRoom>,
    names: HashTable<u32>,
    bytes: Vec<u8>,
    staged: Vec<Staged>,
    /// Bytes that the batch for each loop has yet to take of them as they are.
    needed: Vec<usize>,
    dirty: Vec<RoomHandle>,
    expiring: VecDeque<(RoomHandle, u64)>,
}

impl Homes {
    pub(crate) fn new(
        id: LoopId,
        limits: HomeLimits,
        policies: RoomPolicies,
        epochs: HashKey,
    ) -> Self {
        Self {
            id,
            limits,
            policies,
            epochs,
            epochs_drawn: 0,
            rooms: Table::new(),
            names: HashTable::new(),
            bytes: Vec::new(),
            staged: Vec::new(),
            needed: Vec::new(),
            dirty: Vec::new(),
            expiring: VecDeque::new(),
        }
    }

    /// Rooms that exist.
    pub(crate) const fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Bytes laid out in this tick and not yet in a batch.
    pub(crate) const fn staged_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The room of that name, created if need be.
    pub(crate) fn open(
        &mut self,
        name: &str,
        hash: u64,
        now: Now,
    ) -> Result<RoomHandle, CommandError> {
        if let Some(handle) = self.find(name, hash) {
            return Ok(handle);
        }
        let Ok(name) = RoomName::parse(name) else {
            debug_assert!(false, "names are parsed at the door");
            return Err(CommandError::RoomLimit);
        };
        if self.rooms.len() >= self.limits.rooms_max {
            return Err(CommandError::RoomLimit);
        }
        self.epochs_drawn += 1;
        let epoch = self.epochs.number(u64::from(self.id.0), self.epochs_drawn);
        let options = self.policies.options(name.as_str());
        let (slot, generation) = self.rooms.insert(HomeRoom {
            name,
            hash,
            room: Room::new(epoch),
            options,
            staged: None,
            used_ms: now.mono_ms,
            expiring: false,
        });
        let rooms = &self.rooms;
        let hash_of = |slot: &u32| rooms.at(*slot).map_or(0, |room| room.hash);
        self.names.insert_unique(hash, slot, hash_of);
        let handle = RoomHandle { home: self.id, slot, generation };
        self.expire_later(handle, now);
        Ok(handle)
    }

    fn find(&self, name: &str, hash: u64) -> Option<RoomHandle> {
        let rooms = &self.rooms;
        let same = |slot: &u32| rooms.at(*slot).is_some_and(|room| room.name.as_str() == name);
        let slot = *self.names.find(hash, same)?;
        let generation = self.rooms.generation_at(slot)?;
        Some(RoomHandle { home: self.id, slot, generation })
    }

    fn room_mut(&mut self, handle: RoomHandle) -> Option<&mut HomeRoom> {
        self.rooms.get_mut(handle.slot, handle.generation)
    }

    /// Counts a member of `from` in; it gets what is published after the returned `seq`.
    pub(crate) fn join(
        &mut self,
        handle: RoomHandle,
        from: LoopId,
        encoding: Encoding,
    ) -> Option<Welcome> {
        let home = self.room_mut(handle)?;
        home.room.join(from, encoding);
        Some(Welcome { room: handle, seq: home.room.seq(), options: home.options })
    }

    /// Takes `count` members of `from` off the room.
    pub(crate) fn leave(
        &mut self,
        handle: RoomHandle,
        from: LoopId,
        encoding: Encoding,
        count: u32,
        now: Now,
    ) {
        let Some(home) = self.room_mut(handle) else {
            debug_assert!(false, "a room with members exists");
            return;
        };
        home.room.leave(from, encoding, count);
        if home.room.members() == 0 {
            home.used_ms = now.mono_ms;
            self.expire_later(handle, now);
        }
    }

    /// Numbers a publication and lays its frame out. `encode` appends the frame's bytes.
    pub(crate) fn publish(
        &mut self,
        handle: RoomHandle,
        left_out: Option<(LoopId, ConnKey)>,
        now: Now,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Published, CommandError> {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else {
            debug_assert!(false, "a member's room exists");
            return Err(CommandError::RoomLimit);
        };
        home.used_ms = now.mono_ms;
        let published = home.room.publish(u32::from(left_out.is_some()));
        if home.room.loops().is_empty() {
            return Ok(published); // Nobody to lay it out for.
        }
        let start = offset(self.bytes.len());
        encode(&mut self.bytes);
        let end = offset(self.bytes.len());
        let is_plain_for_all = (end - start) as usize <= self.limits.plain_bytes_max;
        let takes_it = |m: &&LoopMembers| is_plain_for_all || m.count(Encoding::Raw) > 0;
        for members in home.room.loops().iter().filter(takes_it) {
            let place = members.loop_id.index();
            if self.needed.len() <= place {
                self.needed.resize(place + 1, 0);
            }
            if let Some(needed) = self.needed.get_mut(place) {
                *needed += (end - start) as usize;
            }
        }
        let index = offset(self.staged.len());
        self.staged.push(Staged { start, end, next: NONE, left_out });
        match &mut home.staged {
            Some((_, last)) => {
                if let Some(before) = self.staged.get_mut(*last as usize) {
                    before.next = index;
                }
                *last = index;
            }
            None => {
                home.staged = Some((index, index));
                self.dirty.push(handle);
            }
        }
        Ok(published)
    }

    /// Copies what was published in this tick into the batches of the loops that have members:
    /// one contiguous run per room, encoding and loop.
    pub(crate) fn lay_out(
        &mut self,
        outgoing: &mut [Batch],
        packing: &mut Packing,
        counters: &mut Counters,
    ) {
        // Little more than that: a batch may be kept for long by members that stall, and what it
        // has to spare would be kept with it.
        self.needed.resize(outgoing.len(), 0);
        for (batch, needed) in outgoing.iter_mut().zip(&self.needed) {
            batch.bytes.reserve_exact(*needed);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for handle in dirty.drain(..) {
            let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { continue };
            let Some((first, _)) = home.staged.take() else { continue };
            let frames = Frames { staged: &self.staged, bytes: &self.bytes, at: first };
            let (count, plain_bytes) = frames
                .clone()
                .fold((0, 0), |(count, bytes), (frame, _)| (count + 1, bytes + frame.len()));
            let first_seq = home.room.seq() + 1 - count;
            let loops = home.room.loops();
            packing.pack(loops, frames.clone().map(|(frame, _)| frame), counters);
            for members in loops {
                let to = members.loop_id;
                let Some(batch) = outgoing.get_mut(to.index()) else { continue };
                let Some(needed) = self.needed.get_mut(to.index()) else { continue };
                *needed = needed.saturating_sub(plain_bytes); // By the rooms that come after it.
                let mut plain: Option<Run> = None;
                for encoding in members.encodings() {
                    let run = Run::named(handle, encoding, first_seq);
                    let run = match (packing.packed(encoding), plain) {
                        (Some(packed), _) => {
                            let left_out = frames.clone().map(|(_, left_out)| left_out);
                            let run = Run { saved: packed.saved(), ..run };
                            make_room(&mut batch.bytes, packed.len() + *needed);
                            append_run(run, batch, to, packed.frames().zip(left_out))
                        }
                        (None, Some(plain)) => Run { encoding, ..plain },
                        (None, None) => {
                            make_room(&mut batch.bytes, plain_bytes + *needed);
                            *plain.insert(append_run(run, batch, to, frames.clone()))
                        }
                    };
                    batch.runs.push(run);
                }
            }
        }
        self.dirty = dirty; // Keeps what it allocated.
        self.needed.fill(0);
        self.staged.clear();
        self.bytes.clear();
        if self.bytes.capacity() > OUTGOING_BYTES_MAX {
            self.bytes = Vec::new();
        }
        packing.end_tick();
    }

    /// Deletes rooms that have been empty for the grace; returns how many.
    pub(crate) fn expire(&mut self, now: Now) -> usize {
        let mut deleted = 0;
        while let Some(&(handle, due)) = self.expiring.front() {
            if due > now.mono_ms {
                break;
            }
            self.expiring.pop_front();
            let grace = self.limits.grace_ms;
            let Some(home) = self.room_mut(handle) else { continue };
            home.expiring = false;
            if home.room.members() > 0 {
                continue;
            }
            if home.used_ms + grace > now.mono_ms {
                self.expire_later(handle, now);
                continue;
            }
            let Some(home) = self.rooms.remove(handle.slot, handle.generation) else { continue };
            if let Ok(entry) = self.names.find_entry(home.hash, |slot| *slot == handle.slot) {
                entry.remove();
            }
            deleted += 1;
        }
        deleted
    }

    /// When [`Self::expire`] next has something to look at.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.expiring.front().map(|(_, due)| *due)
    }

    fn expire_later(&mut self, handle: RoomHandle, now: Now) {
        let due = now.mono_ms + self.limits.grace_ms;
        if let Some(home) = self.room_mut(handle).filter(|home| !home.expiring) {
            home.expiring = true;
            self.expiring.push_back((handle, due));
        }
    }
}

/// Whom a frame leaves out.
type LeftOut = Option<(LoopId, ConnKey)>;

/// A room's frames of this tick, in order.
#[derive(Clone)]
struct Frames<'a> {
    staged: &'a [Staged],
    bytes: &'a [u8],
    at: u32,
}

impl<'a> Iterator for Frames<'a> {
    type Item = (&'a [u8], LeftOut);

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.staged.get(self.at as usize)?;
        self.at = frame.next;
        let bytes = self.bytes.get(frame.start as usize..frame.end as usize).unwrap_or_default();
        Some((bytes, frame.left_out))
    }
}

/// Makes room for `more` bytes and little else, and yet not anew for each of many rooms: how small
/// their compressed forms are is not known beforehand.
fn make_room(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len() / 8));
    }
}

/// Copies frames behind those of the batch, and says where they are.
fn append_run<'a>(
    run: Run,
    batch: &mut Batch,
    to: LoopId,
    frames: impl Iterator<Item = (&'a [u8], LeftOut)>,
) -> Run {
    let (start, frames_from) = (offset(batch.bytes.len()), offset(batch.frames.len()));
    let mut leaves_out = false;
    for (frame, left_out) in frames {
        batch.bytes.extend_from_slice(frame);
        let left_out = left_out.filter(|(at, _)| *at == to).map(|(_, key)| key);
        leaves_out |= left_out.is_some();
        batch.frames.push(Frame { end: offset(batch.bytes.len()), left_out });
    }
    let (end, frames_to) = (offset(batch.bytes.len()), offset(batch.frames.len()));
    Run { start, end, frames_from, frames_to, leaves_out, ..run }
}

#[cfg(test)]
mod tests {
    use super::make_room;

    #[test]
    fn many_rooms_grow_a_batch_seldom_and_leave_little_to_spare() {
        let mut bytes: Vec<u8> = Vec::new();
        let mut grown = 0;
        for _ in 0..4_000 {
            let before = bytes.capacity();
            make_room(&mut bytes, 450);
            grown += usize::from(bytes.capacity() != before);
            bytes.resize(bytes.len() + 450, 0);
        }
        assert!(grown < 100, "it grew {grown} times");
        assert!(bytes.capacity() - bytes.len() <= bytes.len() / 8, "{}", bytes.capacity());
    }
}
