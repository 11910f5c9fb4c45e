//! How many connections are served, in all and on each loop.
//!
//! Invariants: the total never exceeds the limit, whichever loops accept at once; whoever took a
//! seat gives it back once.

use super::wake::Gauge;
use crate::broker::LoopId;

/// A loop's count on a cache line of its own (two, for the prefetcher): loops open and close at
/// will.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LoopSeats(Gauge);

/// The seats of the process.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Gauge,
    loops: Vec<LoopSeats>,
    max: usize,
}

impl Seats {
    /// `max` seats, at least one, on any of `loops` loops.
    pub(super) fn new(max: usize, loops: usize) -> Self {
        let loops = (0..loops).map(|_| LoopSeats::default()).collect();
        Self { taken: Gauge::new(), loops, max: max.max(1) }
    }

    /// Takes a seat, not on a loop yet. False: all are taken.
    #[must_use = "false: nothing was taken"]
    pub(super) fn take(&self) -> bool {
        self.taken.try_add(1, self.max)
    }

    /// Puts a taken seat on `id`; before the loop learns of the connection, so that it can't give
    /// back what is not there yet.
    pub(super) fn place(&self, id: LoopId) {
        self.on(id, |seats| seats.add(1));
    }

    /// Takes a seat off `id` again, to be placed elsewhere.
    pub(super) fn unplace(&self, id: LoopId) {
        self.on(id, |seats| seats.sub(1));
    }

    /// Gives back a seat on `id`.
    pub(super) fn free(&self, id: LoopId) {
        self.unplace(id);
        self.taken.sub(1);
    }

    /// Connections of `id`.
    pub(super) fn load(&self, id: LoopId) -> usize {
        self.loops.get(id.index()).map_or(0, |seats| seats.0.value())
    }

    fn on(&self, id: LoopId, change: impl Fn(&Gauge)) {
        if let Some(seats) = self.loops.get(id.index()) {
            change(&seats.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_run_out_and_come_back() {
        let seats = Seats::new(2, 2);
        let (a, b) = (LoopId(0), LoopId(1));
        assert!(seats.take() && seats.take());
        assert!(!seats.take());
        seats.place(a);
        seats.place(a);
        seats.unplace(a);
        seats.place(b);
        assert_eq!((seats.load(a), seats.load(b)), (1, 1));
        seats.free(b);
        assert_eq!((seats.load(a), seats.load(b)), (1, 0));
        assert!(seats.take());
        assert!(!seats.take());
    }
}
