//! Whether anything is left of connections that are gone, and later of their rooms.
//!
//! For the simulator: a loop never asks. Not here: whether a number that a counter gives is right.
//! Invariant: what belongs to a connection is gone with it, as soon as its last words have reached
//! the loops that they were for; what outlives it (rooms, sessions, buckets) ends by time.

use super::shard::Shard;
use crate::broker::LoopId;
use std::fmt;

/// What is left that should not be: what of, and how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leftovers(Vec<(&'static str, usize)>);

impl Leftovers {
    /// Of all these, what there is any of.
    fn among(counts: impl IntoIterator<Item = (&'static str, usize)>) -> Result<(), Self> {
        let left: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        if left.is_empty() { Ok(()) } else { Err(Self(left)) }
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, count) in &self.0 {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl Shard {
    /// What is left of connections. To be asked when no loop has any, nothing is on its way from
    /// loop to loop, and all actions have been taken.
    pub fn sweep(&self) -> Result<(), Leftovers> {
        Leftovers::among(self.of_connections().into_iter().chain(self.of_the_tick()))
    }

    /// The same and what is left of rooms, sessions and buckets: when besides the times for which
    /// they are kept have passed.
    pub fn sweep_late(&self) -> Result<(), Leftovers> {
        let early = self.of_connections().into_iter().chain(self.of_the_tick());
        Leftovers::among(early.chain(self.of_rooms()))
    }

    /// What there is for each connection, here or at a home.
    fn of_connections(&self) -> [(&'static str, usize); 17] {
        let rooms = || self.homes.rooms.keys().filter_map(|(slot, _)| self.homes.rooms.at(slot));
        let waiting = (0..self.loops).map(|home| self.credits.waiting(LoopId(home)));
        [
            ("connections", self.sessions.len()),
            ("deadlines", self.timers.len()),
            ("chunks in outboxes", self.nodes.taken()),
            ("gaps in outboxes", self.nodes.gaps.len()),
            ("buffers that are held", self.buffers.held()),
            ("compression contexts", self.contexts.len()),
            ("memberships", self.members.total()),
            ("rooms with members here", self.members.rooms()),
            ("members at home", rooms().map(|home| home.room.members() as usize).sum()),
            ("users online", self.directory.len()),
            ("sessions with a connection", self.resumable.live()),
            ("waiting for a session", self.resumable.claims()),
            ("waiting for credit", waiting.sum()),
            ("questions", self.gathers.len()),
            ("addresses", self.address_seats.len()),
            ("holders of loans", self.borrower.len()),
            ("connections to be read on", self.resumed.len()),
        ]
    }

    /// What a tick takes in hand and puts down again.
    fn of_the_tick(&self) -> [(&'static str, usize); 9] {
        [
            ("bytes for other loops", self.outgoing.iter().map(|batch| batch.bytes()).sum()),
            ("batches not taken", self.refused.iter().flatten().count()),
            ("commands parked", self.parked.len()),
            ("steps of resumes", self.steps.len()),
            ("connections to be ended", self.doomed.len()),
            ("parts of runs", self.special.len()),
            ("connections to be written", usize::from(!self.dirty.is_empty())),
            ("actions", self.actions.len()),
            ("bytes laid out", self.homes.staged_bytes()),
        ]
    }

    /// What is kept for a time.
    fn of_rooms(&self) -> [(&'static str, usize); 7] {
        [
            ("rooms", self.homes.rooms.len()),
            ("notes of rooms", self.homes.notes()),
            ("bytes of history", self.homes.history_bytes()),
            ("things to do in rooms", self.homes.agenda.len()),
            ("absent users", self.directory.absences()),
            ("sessions", self.resumable.parked()),
            ("buckets", self.lender.len()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::RoomOptions;
    use crate::engine::rig::Rig;

    #[test]
    fn what_is_left_is_named_and_counted() {
        let mut rig = Rig::new(RoomOptions::default());
        assert_eq!(rig.shard.sweep_late(), Ok(()));
        rig.join(true);
        rig.shard.end_tick(rig.now);
        let left = rig.shard.sweep().expect_err("a connection").to_string();
        assert!(left.starts_with("1 connections, 1 deadlines, "), "{left}");
        assert!(left.contains("1 memberships, 1 rooms with members here, 1 members at home"));
        assert!(!left.contains(" sessions") && !left.contains("1 rooms,"), "{left}");
        let late = rig.shard.sweep_late().expect_err("a room").to_string();
        assert!(late.contains("1 rooms, "), "{late}");
    }
}
