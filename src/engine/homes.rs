//! The rooms at home on one loop: names, numbering, and their life.
//!
//! The home is the only writer of its rooms. Not here: the frames of this tick (`staging`), what
//! rooms tell of their members and by when (`told`). Invariants: a room is found by name until it
//! is deleted; a handle of a deleted room misses; what all histories keep is within its bound.

use super::batch::Batch;
use super::hash::HashKey;
use super::packing::Packing;
use super::past::Past;
use super::staging::{LineId, Staging};
use super::table::Table;
use super::told::Agenda;
use crate::broker::{
    CommandError, Encoding, Form, LoopId, MayCreate, Now, PresenceMode, Role, Room, RoomHandle,
    RoomName, RoomOptions, RoomPolicies,
};
use crate::observe::Counters;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;
use std::sync::Arc;

/// A room and what its home keeps beside it.
#[derive(Debug)]
pub(super) struct HomeRoom {
    pub(super) name: RoomName,
    hash: u64,
    pub(super) room: Room,
    pub(super) options: Arc<RoomOptions>,
    /// Made when first needed.
    pub(super) past: Option<Box<Past>>,
    /// This tick's frames in the staging area.
    pub(super) line: LineId,
    /// One of them tells that a user left.
    pub(super) departed: bool,
    /// Stands among the rooms that may be deleted.
    expiring: bool,
    /// A native member was in it, whose session may come back.
    had_natives: bool,
    /// When it last lost its members or was published to.
    pub(super) used_ms: u64,
}

/// The bounds of this loop's rooms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HomeLimits {
    pub(crate) rooms_max: usize,
    pub(crate) grace_ms: u64,
    /// How long who left may come back.
    pub(crate) sessions_ms: u64,
    /// Frames up to that size have no compressed form.
    pub(crate) plain_bytes_max: usize,
    /// Bytes of all histories.
    pub(crate) history_bytes_max: usize,
    /// Time before a user whose last connection went is told to have left.
    pub(crate) presence_grace_ms: u64,
}

/// Who asks for a room that may have to be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Creator {
    /// The HTTP API, or a route that names the room.
    Route,
    /// A native connection's user.
    User(Role),
    /// Somebody who may not, whatever the room's options say.
    Ungranted,
}

/// All rooms at home on one loop.
#[derive(Debug)]
pub(crate) struct Homes {
    pub(super) id: LoopId,
    pub(super) limits: HomeLimits,
    policies: RoomPolicies,
    epochs: HashKey,
    epochs_drawn: u64,
    pub(super) rooms: Table<HomeRoom>,
    names: HashTable<u32>,
    /// The same in order, to be listed by pages; without the broker's own.
    by_name: BTreeMap<RoomName, u32>,
    pub(super) staging: Staging,
    /// Rooms that have a line in the staging area.
    pub(super) lined: Vec<RoomHandle>,
    /// Rooms with messages that wait for a batch at the end of this tick.
    pub(super) drafted: Vec<RoomHandle>,
    pub(super) agenda: Agenda,
    pub(super) presence_grace_ms: u64,
    /// Nothing waits any more.
    pub(super) draining: bool,
    /// No room is created.
    pub(super) short_of_memory: bool,
    /// Rooms refused because of that.
    pub(super) refused_for_memory: u64,
    /// Rooms that may be deleted, by when.
    expiring: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Bytes that all histories keep.
    pub(super) history_bytes: usize,
    /// Rooms with a history, by a time no later than that of the oldest message in it.
    pub(super) oldest: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Pieces of history that had to go because all histories were too large.
    pub(super) evicted: u64,
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
            by_name: BTreeMap::new(),
            staging: Staging::new(limits.plain_bytes_max),
            lined: Vec::new(),
            drafted: Vec::new(),
            agenda: Agenda::default(),
            presence_grace_ms: limits.presence_grace_ms,
            draining: false,
            short_of_memory: false,
            refused_for_memory: 0,
            expiring: BinaryHeap::new(),
            history_bytes: 0,
            oldest: BinaryHeap::new(),
            evicted: 0,
        }
    }

    /// Rooms that exist, but for the broker's own.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Bytes laid out in this tick and not yet in a batch.
    pub(crate) const fn staged_bytes(&self) -> usize {
        self.staging.bytes()
    }

    /// Bytes that all histories keep.
    pub(crate) const fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// The room of that name, created if need be and `creator` may.
    pub(crate) fn open(
        &mut self,
        (name, hash): (&str, u64),
        creator: Creator,
        now: Now,
    ) -> Result<RoomHandle, CommandError> {
        match self.find(name, hash) {
            Some(handle) => Ok(handle),
            None => self.create((name, hash), creator, |options| options, now),
        }
    }

    /// Creates the room of that name, which does not exist. `change` changes its options.
    pub(crate) fn create(
        &mut self,
        (name, hash): (&str, u64),
        creator: Creator,
        change: impl FnOnce(RoomOptions) -> RoomOptions,
        now: Now,
    ) -> Result<RoomHandle, CommandError> {
        let Ok(name) = RoomName::parse(name) else {
            debug_assert!(false, "names are parsed at the door");
            return Err(CommandError::RoomLimit);
        };
        let mut options = Arc::clone(self.policies.options(name.as_str()));
        match (creator, options.create) {
            (Creator::Route, _)
            | (Creator::User(_), MayCreate::Anyone)
            | (Creator::User(Role::Member | Role::Admin), MayCreate::Users) => {}
            (Creator::Ungranted, _)
            | (Creator::User(Role::Guest), MayCreate::Users)
            | (Creator::User(_), MayCreate::Nobody) => return Err(CommandError::MayNotCreate),
        }
        if self.len() >= self.limits.rooms_max {
            return Err(CommandError::RoomLimit);
        }
        if self.short_of_memory {
            self.refused_for_memory += 1;
            return Err(CommandError::ShortOfMemory);
        }
        let mut changed = change(*options);
        if changed.last_value {
            changed.history.messages_max = changed.history.messages_max.max(1);
        }
        if changed != *options {
            options = Arc::new(changed);
        }
        Ok(self.insert(name, hash, options, now))
    }

    /// The room of the broker's own of that name, created if need be: without history or presence.
    pub(crate) fn open_internal(&mut self, name: &RoomName, hash: u64, now: Now) -> RoomHandle {
        if let Some(handle) = self.find(name.as_str(), hash) {
            return handle;
        }
        let mut options = RoomOptions::default();
        options.history.messages_max = 0;
        options.presence.mode = PresenceMode::Off;
        self.insert(name.clone(), hash, Arc::new(options), now)
    }

    fn insert(
        &mut self,
        name: RoomName,
        hash: u64,
        options: Arc<RoomOptions>,
        now: Now,
    ) -> RoomHandle {
        self.epochs_drawn += 1;
        let epoch = self.epochs.number(u64::from(self.id.0), self.epochs_drawn);
        let (slot, generation) = self.rooms.insert(HomeRoom {
            name: name.clone(),
            hash,
            room: Room::new(epoch),
            options,
            past: None,
            line: LineId::NONE,
            departed: false,
            expiring: false,
            had_natives: false,
            used_ms: now.mono_ms,
        });
        let rooms = &self.rooms;
        let hash_of = |slot: &u32| rooms.at(*slot).map_or(0, |room| room.hash);
        self.names.insert_unique(hash, slot, hash_of);
        if !name.is_internal() {
            self.by_name.insert(name, slot);
        }
        let handle = RoomHandle { home: self.id, slot, generation };
        self.expire_later(handle, now);
        handle
    }

    /// The room of that name, if it exists.
    pub(crate) fn find(&self, name: &str, hash: u64) -> Option<RoomHandle> {
        let rooms = &self.rooms;
        let same = |slot: &u32| rooms.at(*slot).is_some_and(|room| room.name.as_str() == name);
        let slot = *self.names.find(hash, same)?;
        let generation = self.rooms.generation_at(slot)?;
        Some(RoomHandle { home: self.id, slot, generation })
    }

    /// Rooms in order of name, from the one behind `after` on, whose names begin with `prefix`.
    pub(crate) fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&RoomName, u32)> {
        let start = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let names = self.by_name.range::<str, _>((start, Bound::Unbounded));
        let fitting = names.take_while(move |(name, _)| name.as_str().starts_with(prefix));
        fitting.filter_map(|(name, slot)| {
            let home = self.rooms.at(*slot)?;
            Some((name, home.room.members()))
        })
    }

    pub(super) fn room(&self, handle: RoomHandle) -> Option<&HomeRoom> {
        self.rooms.get(handle.slot, handle.generation)
    }

    pub(super) fn room_mut(&mut self, handle: RoomHandle) -> Option<&mut HomeRoom> {
        self.rooms.get_mut(handle.slot, handle.generation)
    }

    /// Counts a member of `from` in; it gets what is published after the room's `seq`.
    pub(crate) fn join(
        &mut self,
        handle: RoomHandle,
        from: LoopId,
        encoding: Encoding,
    ) -> Option<&HomeRoom> {
        if encoding.form == Form::Batch {
            self.flush(handle); // What waits is not for the newcomer.
        }
        let home = self.room_mut(handle)?;
        home.room.join(from, encoding);
        home.had_natives |= encoding.form.has_notices();
        Some(home)
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
            if home.past.as_ref().is_some_and(|past| past.is_bare()) {
                home.past = None;
            }
            self.expire_later(handle, now);
        }
    }

    /// Copies what was published in this tick into the batches of the loops that have members.
    pub(crate) fn lay_out(
        &mut self,
        outgoing: &mut [Batch],
        packing: &mut Packing,
        counters: &mut Counters,
        now: Now,
    ) {
        self.end_drafts(now);
        let rooms = &mut self.rooms;
        for handle in self.lined.drain(..) {
            if let Some(home) = rooms.get_mut(handle.slot, handle.generation) {
                (home.line, home.departed) = (LineId::NONE, false);
            }
        }
        let rooms = &self.rooms;
        self.staging.lay_out(outgoing, packing, counters, |handle| {
            let home = rooms.get(handle.slot, handle.generation)?;
            Some((&home.room, home.past.as_ref().map_or(0, |past| past.draft.messages)))
        });
    }

    /// Forgets what of a room's history is too old to be read.
    pub(super) fn forget_old(&mut self, handle: RoomHandle, now: Now) {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { return };
        let Some(past) = &mut home.past else { return };
        let before = past.history.bytes();
        past.history.expire(now.mono_ms, &home.options.history);
        self.history_bytes = self.history_bytes + past.history.bytes() - before;
    }

    /// As [`Self::forget_old`], counting what a read did to the history's buffers.
    pub(super) fn recount(&mut self, before: usize, after: usize) {
        self.history_bytes = self.history_bytes + after - before;
    }

    /// What is noted of rooms beside them: their names, and when to look whether they are empty.
    pub(super) fn notes(&self) -> usize {
        self.names.len() + self.by_name.len() + self.expiring.len()
    }

    /// Deletes rooms that have been empty for the grace and whose history is; returns how many.
    pub(crate) fn expire(&mut self, now: Now) -> usize {
        let mut deleted = 0;
        while let Some(&Reverse((due, slot, generation))) = self.expiring.peek() {
            if due > now.mono_ms {
                break;
            }
            self.expiring.pop();
            let handle = RoomHandle { home: self.id, slot, generation };
            self.forget_old(handle, now);
            let sessions_ms = self.limits.sessions_ms;
            let grace_ms = self.limits.grace_ms;
            let Some(home) = self.room_mut(handle) else { continue };
            home.expiring = false;
            if home.room.members() > 0 {
                continue;
            }
            if home.kept_until(grace_ms, sessions_ms) > now.mono_ms {
                self.expire_later(handle, now);
                continue;
            }
            let Some(home) = self.rooms.remove(handle.slot, handle.generation) else { continue };
            if let Ok(entry) = self.names.find_entry(home.hash, |slot| *slot == handle.slot) {
                entry.remove();
            }
            deleted += usize::from(self.by_name.remove(&home.name).is_some());
        }
        deleted
    }

    /// When [`Self::expire`] next has something to look at.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.expiring.peek().map(|Reverse((due, ..))| *due)
    }

    fn expire_later(&mut self, handle: RoomHandle, now: Now) {
        let (grace_ms, sessions_ms) = (self.limits.grace_ms, self.limits.sessions_ms);
        let Some(home) = self.room_mut(handle).filter(|home| !home.expiring) else { return };
        home.expiring = true;
        let due = home.kept_until(grace_ms, sessions_ms).max(now.mono_ms + 1);
        self.expiring.push(Reverse((due, handle.slot, handle.generation)));
    }
}

impl HomeRoom {
    /// Until when it is kept without members: for the grace, for those who may come back to it, and
    /// for what it remembers.
    fn kept_until(&self, grace_ms: u64, sessions_ms: u64) -> u64 {
        let sessions_ms = if self.had_natives { sessions_ms } else { 0 };
        let remembers = self.past.as_ref().is_some_and(|past| !past.history.is_empty());
        let history_ms = if remembers { self.options.history.age_ms } else { 0 };
        self.used_ms + grace_ms.max(sessions_ms).max(history_ms)
    }
}
