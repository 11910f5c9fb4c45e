//! The state of one room, at its home loop: who counts as a member where, and the next `seq`.
//!
//! Not here: the members themselves (each loop knows its own), the messages (`engine` lays them
//! out). Invariants: the total equals the sum over loops and encodings; a loop without members has
//! no entry.

use super::{Deflate, Encoding, Form, LoopId};

/// A room's members on one loop, by encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoopMembers {
    /// The loop.
    pub loop_id: LoopId,
    /// Members on it, by [`Encoding::index`].
    pub counts: [u32; Encoding::COUNT],
}

impl LoopMembers {
    /// Members that get the room in that encoding.
    pub fn count(&self, encoding: Encoding) -> u32 {
        self.counts.get(encoding.index()).copied().unwrap_or_default()
    }

    /// The encodings of that form in which somebody there gets the room.
    pub fn encodings(&self, form: Form) -> impl Iterator<Item = Encoding> {
        let encodings = Deflate::ALL.into_iter().map(move |deflate| Encoding { form, deflate });
        encodings.filter(|encoding| self.count(*encoding) > 0)
    }
}

/// What a publication got from its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// The room's epoch.
    pub epoch: u64,
    /// Its number, contiguous from 1 within the epoch.
    pub seq: u64,
    /// Members addressed: the count at that `seq`, a sender left out not counted.
    pub receivers: u32,
}

/// One room, as its home knows it.
#[derive(Debug)]
pub struct Room {
    epoch: u64,
    seq: u64,
    members: [u32; Form::COUNT],
    loops: Vec<LoopMembers>,
}

impl Room {
    /// An empty room. `epoch` is 64 random bits, never used before for this name.
    pub const fn new(epoch: u64) -> Self {
        Self { epoch, seq: 0, members: [0; Form::COUNT], loops: Vec::new() }
    }

    /// The life in which this room's `seq` counts.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the last publication; 0 before the first.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Members on all loops.
    pub fn members(&self) -> u32 {
        self.members.iter().sum()
    }

    /// Members on all loops that get it in that form.
    pub fn members_in(&self, form: Form) -> u32 {
        self.members.get(form.index()).copied().unwrap_or_default()
    }

    /// The loops that have members; none is listed twice, none with zero members.
    pub fn loops(&self) -> &[LoopMembers] {
        &self.loops
    }

    /// Counts a member that joined from `loop_id`; it gets what is published after [`Self::seq`].
    pub fn join(&mut self, loop_id: LoopId, encoding: Encoding) {
        if let Some(members) = self.members.get_mut(encoding.form.index()) {
            *members += 1;
        }
        let at = match self.loops.iter().position(|entry| entry.loop_id == loop_id) {
            Some(at) => at,
            None => {
                self.loops.push(LoopMembers { loop_id, counts: [0; Encoding::COUNT] });
                self.loops.len() - 1
            }
        };
        if let Some(count) =
            self.loops.get_mut(at).and_then(|entry| entry.counts.get_mut(encoding.index()))
        {
            *count += 1;
        }
    }

    /// Takes `count` members of `loop_id` off the room.
    ///
    /// # Panics
    /// When more leave than joined: that is a bug of ours, and the counts could no longer be
    /// trusted.
    pub fn leave(&mut self, loop_id: LoopId, encoding: Encoding, count: u32) {
        let at = self.loops.iter().position(|entry| entry.loop_id == loop_id);
        let entry = at.and_then(|at| self.loops.get_mut(at));
        let slot = entry.and_then(|entry| entry.counts.get_mut(encoding.index()));
        let left = slot.and_then(|slot| {
            *slot = slot.checked_sub(count)?;
            Some(())
        });
        assert!(left.is_some(), "{count} members left loop {loop_id}, which has fewer");
        if let Some(members) = self.members.get_mut(encoding.form.index()) {
            *members -= count;
        }
        self.loops.retain(|entry| entry.counts.iter().any(|count| *count > 0));
    }

    /// Numbers the next publication. `left_out` is 1 when the sender is a member that asked not to
    /// get its own messages, else 0.
    pub fn publish(&mut self, left_out: u32) -> Published {
        self.seq += 1;
        Published {
            epoch: self.epoch,
            seq: self.seq,
            receivers: self.members().saturating_sub(left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LoopId = LoopId(0);
    const B: LoopId = LoopId(1);

    #[test]
    fn seq_is_contiguous_from_one() {
        let mut room = Room::new(7);
        let seqs: Vec<u64> = (0..4).map(|_| room.publish(0).seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
        assert_eq!((room.seq(), room.epoch()), (4, 7));
    }

    #[test]
    fn receivers_are_the_members_of_that_moment_without_the_sender_left_out() {
        let mut room = Room::new(0);
        assert_eq!(room.publish(0).receivers, 0);
        room.join(A, Encoding::RAW);
        room.join(B, Encoding::RAW);
        room.join(B, Encoding::RAW);
        assert_eq!(room.publish(0).receivers, 3);
        assert_eq!(room.publish(1).receivers, 2);
    }

    #[test]
    fn a_loop_is_listed_once_and_only_while_it_has_members() {
        let mut room = Room::new(0);
        room.join(B, Encoding::RAW);
        room.join(A, Encoding::RAW);
        room.join(B, Encoding::RAW);
        assert_eq!(room.loops().len(), 2);
        room.leave(B, Encoding::RAW, 2);
        let mut counts = [0; Encoding::COUNT];
        counts[0] = 1;
        assert_eq!(room.loops(), [LoopMembers { loop_id: A, counts }]);
        room.leave(A, Encoding::RAW, 1);
        assert_eq!((room.loops(), room.members()), (&[][..], 0));
    }

    #[test]
    #[should_panic(expected = "which has fewer")]
    fn more_leaving_than_joined_is_a_bug() {
        let mut room = Room::new(0);
        room.join(A, Encoding::RAW);
        room.leave(A, Encoding::RAW, 2);
    }
}
