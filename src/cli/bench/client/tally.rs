//! What each member got: every message once and in order, or what was lost, doubled, late.
//!
//! Invariants: what a member received counts once, however often it came; what comes after a later
//! message of its publisher is reordered if it was missing until then, else duplicated.

use std::collections::{BTreeMap, BTreeSet};

/// Lost messages that are remembered one by one, to tell a late one from a double one.
const REMEMBERED_MAX: usize = 1 << 20;

/// The accounts of all members.
#[derive(Debug)]
pub(crate) struct Tally {
    publishers: usize,
    /// The sequence that comes next, by member and publisher.
    next: Vec<u32>,
    received: u64,
    duplicated: u64,
    reordered: u64,
    unknown: u64,
    missing: BTreeMap<usize, BTreeSet<u32>>,
    remembered: usize,
}

/// The faults found so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Faults {
    /// Messages that a member should have got and did not.
    pub(crate) lost: u64,
    /// Messages that a member got again.
    pub(crate) duplicated: u64,
    /// Messages that a member got after a later one of the same publisher.
    pub(crate) reordered: u64,
    /// Messages without a stamp of this run, or of another room.
    pub(crate) unknown: u64,
}

impl Tally {
    /// Accounts for `members` members, each of a room with so many publishers.
    pub(crate) fn new(members: usize, publishers: usize) -> Self {
        Self {
            publishers,
            next: vec![0; members * publishers],
            received: 0,
            duplicated: 0,
            reordered: 0,
            unknown: 0,
            missing: BTreeMap::new(),
            remembered: 0,
        }
    }

    /// Counts a message that a member got.
    pub(crate) fn count(&mut self, member: usize, publisher: u32, sequence: u32) {
        let account = member * self.publishers + publisher as usize;
        let is_known = (publisher as usize) < self.publishers;
        let Some(next) = self.next.get_mut(account).filter(|_| is_known) else {
            self.unknown += 1;
            return;
        };
        if *next == sequence {
            *next += 1;
            self.received += 1;
        } else {
            self.count_odd(account, sequence);
        }
    }

    /// Counts a message that can't be accounted for.
    pub(crate) const fn count_unknown(&mut self) {
        self.unknown += 1;
    }

    #[cold]
    fn count_odd(&mut self, account: usize, sequence: u32) {
        let Some(next) = self.next.get_mut(account) else { return };
        if sequence > *next {
            self.received += 1;
            let missing = self.missing.entry(account).or_default();
            for lost in (*next..sequence).take(REMEMBERED_MAX - self.remembered) {
                self.remembered += usize::from(missing.insert(lost));
            }
            *next = sequence + 1;
        } else if self.missing.get_mut(&account).is_some_and(|missing| missing.remove(&sequence)) {
            self.remembered -= 1;
            self.received += 1;
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// Messages that members got, each counted once.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// The faults, once members should have got `expected` messages in all.
    pub(crate) const fn faults(&self, expected: u64) -> Faults {
        Faults {
            lost: expected.saturating_sub(self.received),
            duplicated: self.duplicated,
            reordered: self.reordered,
            unknown: self.unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: &[u32]) -> Tally {
        let mut tally = Tally::new(2, 2);
        for sequence in sequences {
            tally.count(1, 1, *sequence);
        }
        tally
    }

    #[test]
    fn all_in_order_is_no_fault() {
        let tally = tally(&[0, 1, 2]);
        assert_eq!(tally.received(), 3);
        assert_eq!(tally.faults(3), Faults::default());
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        for (sequences, lost, duplicated, reordered) in [
            (&[0, 2, 3][..], 1, 0, 0),
            (&[0, 1, 2], 1, 0, 0),
            (&[0, 1, 1, 2, 3], 0, 1, 0),
            (&[0, 2, 1, 3], 0, 0, 1),
            (&[0, 2, 1, 1, 3], 0, 1, 1),
            (&[3, 0, 1, 2], 0, 0, 3),
        ] {
            let faults = tally(sequences).faults(4);
            let expected = Faults { lost, duplicated, reordered, unknown: 0 };
            assert_eq!(faults, expected, "{sequences:?}");
        }
    }

    #[test]
    fn members_and_publishers_have_accounts_of_their_own() {
        let mut tally = Tally::new(2, 2);
        for (member, publisher) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            tally.count(member, publisher, 0);
        }
        tally.count(0, 2, 0);
        tally.count(2, 0, 0);
        assert_eq!(tally.received(), 4);
        assert_eq!(tally.faults(4), Faults { unknown: 2, ..Faults::default() });
    }
}
