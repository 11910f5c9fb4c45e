//! Who waits to be written, and how much the rooms have been given since the first of them waits.
//!
//! Members of small rooms come before members of large ones, but not always: three to one, so that
//! a large room is slow at worst and never forgotten. Not here: whether a connection still has
//! output (the session's flag says so). Invariant: both queues are in order of age.

use super::session::Dirty;
use std::collections::VecDeque;

/// Connections of the small queue that are written before one of the large queue is.
const SMALLS_PER_LARGE: u8 = 3;

/// A connection, and how much the rooms had been given when it began to wait.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    index: u32,
    since_bytes: u64,
}

/// Both queues of one loop.
#[derive(Debug, Default)]
pub(crate) struct DirtyQueues {
    small: VecDeque<Waiting>,
    large: VecDeque<Waiting>,
    smalls_in_a_row: u8,
    /// Bytes of all runs handed out so far, however many members got them.
    given_bytes: u64,
    /// Since when the connection waited that was popped last.
    popped_since: u64,
}

impl DirtyQueues {
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Queues a connection behind all of its kind.
    pub(crate) fn push(&mut self, index: u32, kind: Dirty) {
        let waiting = Waiting { index, since_bytes: self.given_bytes };
        match kind {
            Dirty::Small => self.small.push_back(waiting),
            Dirty::Large => self.large.push_back(waiting),
            Dirty::No => {}
        }
    }

    /// Queues the connection that was popped last before all others: one write did not do.
    pub(crate) fn push_again(&mut self, index: u32) {
        self.small.push_front(Waiting { index, since_bytes: self.popped_since });
    }

    /// The next connection, and the queue it stood in.
    pub(crate) fn pop(&mut self) -> Option<(u32, Dirty)> {
        let large_first = self.smalls_in_a_row >= SMALLS_PER_LARGE;
        let (Waiting { index, since_bytes }, kind) =
            match large_first.then(|| self.pop_large()).flatten() {
                Some(large) => large,
                None => self.pop_small().or_else(|| self.pop_large())?,
            };
        self.smalls_in_a_row = match kind {
            Dirty::Small => self.smalls_in_a_row.saturating_add(1),
            Dirty::Large | Dirty::No => 0,
        };
        self.popped_since = since_bytes;
        Some((index, kind))
    }

    /// Whether the connection that was popped last stood in the small queue.
    pub(crate) const fn was_small(&self) -> bool {
        self.smalls_in_a_row > 0
    }

    /// Notes that a room's run was handed out to those who were queued for it.
    pub(crate) fn give(&mut self, bytes: u32) {
        self.given_bytes += u64::from(bytes);
    }

    /// Bytes handed out since the connection that waits longest began to.
    pub(crate) fn behind_bytes(&self) -> u64 {
        let oldest = [self.small.front(), self.large.front()];
        let since = oldest.into_iter().flatten().map(|waiting| waiting.since_bytes).min();
        since.map_or(0, |since| self.given_bytes - since)
    }

    fn pop_small(&mut self) -> Option<(Waiting, Dirty)> {
        self.small.pop_front().map(|waiting| (waiting, Dirty::Small))
    }

    fn pop_large(&mut self) -> Option<(Waiting, Dirty)> {
        self.large.pop_front().map(|waiting| (waiting, Dirty::Large))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rooms_come_first_and_large_ones_in_every_fourth_place() {
        let mut queues = DirtyQueues::default();
        for index in 0..2 {
            queues.push(index, Dirty::Large);
        }
        for index in 10..15 {
            queues.push(index, Dirty::Small);
        }
        let order: Vec<u32> = std::iter::from_fn(|| Some(queues.pop()?.0)).collect();
        assert_eq!(order, [10, 11, 12, 0, 13, 14, 1]);
        assert!(queues.is_empty());
    }

    #[test]
    fn a_loop_is_behind_by_what_was_given_since_the_oldest_began_to_wait() {
        let mut queues = DirtyQueues::default();
        queues.give(100);
        assert_eq!(queues.behind_bytes(), 0, "nobody waits");
        queues.push(1, Dirty::Large);
        queues.give(10);
        queues.push(2, Dirty::Small);
        queues.give(1);
        assert_eq!(queues.behind_bytes(), 11);
        assert_eq!(queues.pop(), Some((2, Dirty::Small)));
        assert_eq!(queues.pop(), Some((1, Dirty::Large)));
        queues.push_again(1);
        assert_eq!(queues.behind_bytes(), 11, "it has waited all the while");
        assert_eq!(queues.pop(), Some((1, Dirty::Small)));
        assert_eq!(queues.behind_bytes(), 0);
    }
}
