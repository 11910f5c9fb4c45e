//! The names by which loops, connections and rooms are known across the house.
//!
//! Invariant: an index is always paired with the generation of what it named, so that a stale key
//! misses and never hits a stranger.

use crate::limits::{LOOPS_MAX, ROOMS_MAX};
use std::fmt;

const HOME_BITS: u32 = 6;
const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 23;
const _: () = assert!(LOOPS_MAX <= 1 << HOME_BITS && ROOMS_MAX <= 1 << SLOT_BITS);

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

impl RoomHandle {
    /// Slots that a handle on the wire can tell apart.
    pub const SLOTS: u32 = 1 << SLOT_BITS;
    /// Generations that a handle on the wire can tell apart: a table counts them modulo this, so
    /// that what comes back from the wire equals what it gave out.
    pub const GENERATIONS: u32 = 1 << GENERATION_BITS;

    /// The handle as an integer below 2^53, which every JSON parser reads exactly: from the lowest
    /// bit, home (6 bits), slot (24), generation (23).
    pub const fn to_wire(self) -> u64 {
        debug_assert!(self.home.0 < 1 << HOME_BITS && self.slot < Self::SLOTS);
        let home = self.home.0 as u64 % (1 << HOME_BITS);
        let slot = self.slot as u64 % (1 << SLOT_BITS);
        let generation = self.generation as u64 % (1 << GENERATION_BITS);
        home | slot << HOME_BITS | generation << (HOME_BITS + SLOT_BITS)
    }

    /// Reads what [`Self::to_wire`] wrote; `None` for what it never writes. Whether there is such a
    /// room is for its home to say.
    #[expect(clippy::cast_possible_truncation, reason = "each field has as few bits as it takes")]
    pub const fn from_wire(wire: u64) -> Option<Self> {
        if wire >> (HOME_BITS + SLOT_BITS + GENERATION_BITS) != 0 {
            return None;
        }
        Some(Self {
            home: LoopId(low_bits(wire, HOME_BITS) as u8),
            slot: low_bits(wire >> HOME_BITS, SLOT_BITS) as u32,
            generation: low_bits(wire >> (HOME_BITS + SLOT_BITS), GENERATION_BITS) as u32,
        })
    }
}

const fn low_bits(wire: u64, bits: u32) -> u64 {
    wire & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_read_back_as_written_and_are_exact_in_json() {
        for (home, slot, generation, wire) in [
            (0, 0, 0, 0),
            (1, 0, 0, 1),
            (0, 1, 0, 1 << 6),
            (0, 0, 1, 1 << 30),
            (63, RoomHandle::SLOTS - 1, RoomHandle::GENERATIONS - 1, (1 << 53) - 1),
        ] {
            let handle = RoomHandle { home: LoopId(home), slot, generation };
            assert_eq!(handle.to_wire(), wire);
            assert_eq!(RoomHandle::from_wire(wire), Some(handle));
        }
        for never in [1 << 53, u64::MAX] {
            assert_eq!(RoomHandle::from_wire(never), None, "{never}");
        }
    }
}
