//! One phase's messages: what was sent of them, and what each member got.
//!
//! Invariant: each phase has a mark of its own, so that what comes late is counted in the phase in
//! which it was sent, and in no other.

use super::client::{Faults, Mark, Receipt, Stamp, Tally};
use super::shape::Shape;

/// The books of one phase.
#[derive(Debug)]
pub(super) struct Round {
    /// What tells its stamps from those of other phases.
    pub(super) mark: Mark,
    pub(super) start_us: u64,
    /// Messages sent.
    pub(super) published: u64,
    /// Those of each publisher.
    sent: Vec<u32>,
    tally: Tally,
    rooms: usize,
    members: usize,
    /// Payload bytes that a message must have, where that is known.
    bytes: Option<u64>,
}

impl Round {
    /// Nothing sent yet.
    pub(super) fn new(shape: &Shape, start_us: u64, dice: &mut fastrand::Rng) -> Self {
        Self {
            mark: Mark::new(dice),
            start_us,
            published: 0,
            sent: vec![0; shape.rooms * shape.publishers],
            tally: Tally::new(shape.connections(), shape.publishers),
            rooms: shape.rooms,
            members: shape.members,
            bytes: shape.delivered_bytes(),
        }
    }

    /// The stamp of the next message of the publisher at `place`, which counts as sent.
    pub(super) fn stamp(
        &mut self,
        place: usize,
        room: u32,
        publisher: u32,
        due_us: u64,
    ) -> Option<Stamp> {
        let sent = self.sent.get_mut(place)?;
        let since_us = due_us.saturating_sub(self.start_us);
        let due_us = u32::try_from(since_us).expect("a phase is bounded to an hour");
        let stamp = Stamp { room, publisher, sequence: *sent, due_us };
        *sent += 1;
        self.published += 1;
        Some(stamp)
    }

    /// Counts a message of `bytes` bytes that a member of `room` got.
    pub(super) fn receive(
        &mut self,
        member: usize,
        room: u32,
        stamp: &Stamp,
        bytes: u64,
    ) -> Receipt {
        if stamp.room != room {
            self.tally.count_unknown();
            return Receipt::Fault;
        }
        if self.bytes.is_some_and(|expected| expected != bytes) {
            self.tally.count_damaged();
            return Receipt::Fault;
        }
        let (sent, rooms) = (&self.sent, self.rooms);
        self.tally.count(member, stamp.publisher, stamp.sequence, || {
            // Publishers stand in the order of their seats: rooms in turn.
            let place = stamp.publisher as usize * rooms + room as usize;
            sent.get(place).copied().unwrap_or_default()
        })
    }

    /// Counts a message without a stamp of any phase.
    pub(super) const fn receive_unknown(&mut self) {
        self.tally.count_unknown();
    }

    /// Messages that members got, each counted once.
    pub(super) const fn received(&self) -> u64 {
        self.tally.received()
    }

    /// Deliveries that should have come of what was published.
    pub(super) const fn expected(&self) -> u64 {
        self.published * self.members as u64
    }

    /// What went wrong, as it stands now.
    pub(super) const fn faults(&self) -> Faults {
        self.tally.faults(self.expected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(shape: &Shape) -> Round {
        Round::new(shape, 5_000, &mut fastrand::Rng::with_seed(1))
    }

    #[test]
    fn what_is_sent_and_received_is_no_fault() {
        let mut round = round(&Shape::of(2, 2, 2));
        for (place, room, publisher) in [(0, 0, 0), (1, 1, 0), (2, 0, 1), (3, 1, 1), (3, 1, 1)] {
            let stamp = round.stamp(place, room, publisher, 5_007).expect("a publisher");
            assert_eq!(stamp.due_us, 7, "since the phase began");
            for member in [room as usize, room as usize + 2] {
                assert_eq!(round.receive(member, room, &stamp, 128), Receipt::First);
            }
        }
        assert_eq!((round.expected(), round.received()), (10, 10));
        assert_eq!(round.faults(), Faults::default());
        assert_eq!(round.stamp(4, 0, 2, 5_000), None);
    }

    #[test]
    fn another_length_is_damage_and_so_a_loss() {
        let mut round = round(&Shape::of(1, 1, 1));
        let stamp = round.stamp(0, 0, 0, 5_000).expect("a publisher");
        for bytes in [0, 40, 127, 129] {
            assert_eq!(round.receive(0, 0, &stamp, bytes), Receipt::Fault);
        }
        assert_eq!(round.faults(), Faults { damaged: 4, lost: 1, ..Faults::default() });
        assert_eq!(round.receive(0, 0, &stamp, 128), Receipt::First, "the message itself");
    }

    #[test]
    fn in_an_envelope_any_length_will_do() {
        let message = Some("{payload}".to_owned());
        let mut round = round(&Shape { message, ..Shape::of(1, 1, 1) });
        let stamp = round.stamp(0, 0, 0, 5_000).expect("a publisher");
        assert_eq!(round.receive(0, 0, &stamp, 999), Receipt::First);
    }

    #[test]
    fn what_is_of_another_room_or_was_not_sent_is_unknown() {
        let mut round = round(&Shape::of(2, 1, 1));
        let stamp = round.stamp(0, 0, 0, 5_000).expect("a publisher");
        assert_eq!(round.receive(1, 1, &stamp, 128), Receipt::Fault);
        let invented = Stamp { sequence: 7, ..stamp };
        assert_eq!(round.receive(0, 0, &invented, 128), Receipt::Fault);
        assert_eq!(round.faults(), Faults { unknown: 2, lost: 1, ..Faults::default() });
    }
}
