//! What each member got of one phase: every message once and in order, or what was lost, doubled,
//! late, damaged.
//!
//! Invariants: what a member received counts once, however often it came; what comes after a later
//! message of its publisher is reordered if it was missing until then, else duplicated; what was
//! never sent is unknown.

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
    damaged: u64,
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
    /// Messages without a stamp of this run, of another room, or that nobody sent.
    pub(crate) unknown: u64,
    /// Messages of another length than was sent. They count as lost too.
    pub(crate) damaged: u64,
}

/// What a message is to the member that got it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receipt {
    /// The first of its kind: a delivery.
    First,
    /// A fault, which counts for nothing else.
    Fault,
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
            damaged: 0,
            missing: BTreeMap::new(),
            remembered: 0,
        }
    }

    /// Counts a message that a member got, where `sent` tells how many its publisher has sent.
    pub(crate) fn count(
        &mut self,
        member: usize,
        publisher: u32,
        sequence: u32,
        sent: impl FnOnce() -> u32,
    ) -> Receipt {
        let account = member * self.publishers + publisher as usize;
        let is_known = (publisher as usize) < self.publishers;
        let Some(next) = self.next.get_mut(account).filter(|_| is_known) else {
            self.unknown += 1;
            return Receipt::Fault;
        };
        let sent = sent();
        if *next == sequence && sequence < sent {
            *next += 1;
            self.received += 1;
            return Receipt::First;
        }
        self.count_odd(account, sequence, sent)
    }

    /// Counts a message whose length is not what was sent.
    pub(crate) const fn count_damaged(&mut self) {
        self.damaged += 1;
    }

    /// Counts a message that can't be accounted for.
    pub(crate) const fn count_unknown(&mut self) {
        self.unknown += 1;
    }

    #[cold]
    fn count_odd(&mut self, account: usize, sequence: u32, sent: u32) -> Receipt {
        let Some(next) = self.next.get_mut(account) else { return Receipt::Fault };
        if sequence >= sent {
            self.unknown += 1;
            return Receipt::Fault;
        }
        if sequence > *next {
            let missing = self.missing.entry(account).or_default();
            for lost in (*next..sequence).take(REMEMBERED_MAX - self.remembered) {
                self.remembered += usize::from(missing.insert(lost));
            }
            *next = sequence + 1;
        } else if self.missing.get_mut(&account).is_some_and(|missing| missing.remove(&sequence)) {
            self.remembered -= 1;
            self.reordered += 1;
        } else {
            self.duplicated += 1;
            return Receipt::Fault;
        }
        self.received += 1;
        Receipt::First
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
            damaged: self.damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: &[u32]) -> Tally {
        let mut tally = Tally::new(2, 2);
        for sequence in sequences {
            tally.count(1, 1, *sequence, || SENT);
        }
        tally
    }

    const SENT: u32 = 4;

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
            let expected = Faults { lost, duplicated, reordered, ..Faults::default() };
            assert_eq!(faults, expected, "{sequences:?}");
        }
    }

    #[test]
    fn members_and_publishers_have_accounts_of_their_own() {
        let mut tally = Tally::new(2, 2);
        for (member, publisher) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            tally.count(member, publisher, 0, || SENT);
        }
        tally.count(0, 2, 0, || SENT);
        tally.count(2, 0, 0, || SENT);
        assert_eq!(tally.received(), 4);
        assert_eq!(tally.faults(4), Faults { unknown: 2, ..Faults::default() });
    }

    #[test]
    fn only_the_first_receipt_is_a_delivery_late_or_not() {
        let mut tally = Tally::new(1, 1);
        let mut count = |sequence| tally.count(0, 0, sequence, || SENT);
        let receipts = [0, 0, 2, 1, 1, 2, 3].map(&mut count);
        let (first, fault) = (Receipt::First, Receipt::Fault);
        assert_eq!(receipts, [first, fault, first, first, fault, fault, first]);
    }

    #[test]
    fn what_nobody_sent_is_unknown_and_costs_no_memory() {
        let mut tally = Tally::new(1, 1);
        for sequence in [SENT, u32::MAX] {
            assert_eq!(tally.count(0, 0, sequence, || SENT), Receipt::Fault);
        }
        assert_eq!(tally.faults(0), Faults { unknown: 2, ..Faults::default() });
        assert_eq!((tally.remembered, tally.next[0]), (0, 0));
    }

    #[test]
    fn what_comes_before_it_is_sent_is_unknown() {
        let mut tally = Tally::new(1, 1);
        let receipts = [0, 1, 1].map(|sequence| tally.count(0, 0, sequence, || 1));
        assert_eq!(receipts, [Receipt::First, Receipt::Fault, Receipt::Fault]);
        assert_eq!(tally.faults(1), Faults { unknown: 2, ..Faults::default() });
    }
}
