//! The names by which loops, connections and rooms are known across the house.
//!
//! Invariant: an index is always paired with the generation of what it named, so that a stale key
//! misses and never hits a stranger.

use std::fmt;

/// A loop of this process: its place in the list of loops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LoopId(pub u8);

impl LoopId {
    /// The loop's place in any list that has one entry per loop.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for LoopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One connection of one loop: shared by the socket in `net` and the session in `engine`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnKey {
    /// Slot in the loop's table.
    pub index: u32,
    /// Which of the slot's successive tenants.
    pub generation: u32,
}

/// A room by its place: the same for every connection of the process, never reused with the same
/// generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RoomHandle {
    /// The loop that owns the room.
    pub home: LoopId,
    /// Slot in the home's table.
    pub slot: u32,
    /// Which of the slot's successive tenants.
    pub generation: u32,
}
