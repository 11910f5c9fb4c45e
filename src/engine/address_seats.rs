//! Connections by address, at the address's home: so many of one, and no more.
//!
//! Not here: which of an address's bits count (`auth`), who waits at the door for the answer.
//! Invariants: whoever took a seat gives it back once; an address without connections is forgotten;
//! the table is keyed, so that no choice of addresses makes it slow.

use super::hash::HashKey;
use hashbrown::HashTable;

/// Places that a table which has become empty may keep.
const KEPT_PLACES: usize = 1_024;

/// The addresses at home on one loop.
#[derive(Debug)]
pub(crate) struct AddressSeats {
    key: HashKey,
    counts: HashTable<(u128, u32)>,
}

/// The hash by which an address finds its home, and its place there.
pub(crate) fn address_hash(key: HashKey, address: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (high, low) = ((address >> 64) as u64, address as u64);
    key.number(high, low)
}

impl AddressSeats {
    /// Nobody is there.
    pub(crate) const fn new(key: HashKey) -> Self {
        Self { key, counts: HashTable::new() }
    }

    /// Takes a seat for a connection of `address`. False: it has as many as `max`.
    #[must_use = "false: nothing was taken"]
    pub(crate) fn take(&mut self, address: u128, max: u32) -> bool {
        let key = self.key;
        let hash_of = |entry: &(u128, u32)| address_hash(key, entry.0);
        let hash = address_hash(key, address);
        let entry = self.counts.entry(hash, |entry| entry.0 == address, hash_of);
        if let hashbrown::hash_table::Entry::Occupied(mut entry) = entry {
            let (_, count) = entry.get_mut();
            let is_free = *count < max;
            *count += u32::from(is_free);
            return is_free;
        }
        if max > 0 {
            entry.insert((address, 1));
        }
        max > 0
    }

    /// Gives back a seat that was taken.
    pub(crate) fn free(&mut self, address: u128) {
        let hash = address_hash(self.key, address);
        let Ok(mut entry) = self.counts.find_entry(hash, |entry| entry.0 == address) else {
            debug_assert!(false, "a seat is given back once");
            return;
        };
        let (_, count) = entry.get_mut();
        *count = count.saturating_sub(1);
        if *count == 0 {
            entry.remove();
        }
        if self.counts.is_empty() && self.counts.capacity() > KEPT_PLACES {
            self.counts = HashTable::new();
        }
    }

    /// Addresses that have connections.
    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn random_use_agrees_with_a_map() {
        for seed in 0..50 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut seats, mut model) = (AddressSeats::new(HashKey([1, seed])), HashMap::new());
            let max = dice.u32(..5);
            let mut seated = Vec::new();
            for _ in 0..2_000 {
                if dice.u8(..) < 140 || seated.is_empty() {
                    let address = dice.u128(..100) << [0, 64][dice.usize(..2)];
                    let count = model.entry(address).or_insert(0);
                    assert_eq!(seats.take(address, max), *count < max, "seed {seed}");
                    if *count < max {
                        *count += 1;
                        seated.push(address);
                    }
                } else {
                    let address = seated.swap_remove(dice.usize(..seated.len()));
                    *model.get_mut(&address).expect("seated") -= 1;
                    seats.free(address);
                }
                let held = model.values().filter(|count| **count > 0).count();
                assert_eq!(seats.len(), held, "seed {seed}");
            }
        }
    }

    #[test]
    fn when_all_have_gone_nothing_is_left() {
        let mut seats = AddressSeats::new(HashKey([1, 2]));
        for address in 0..10_000 {
            assert!(seats.take(address, 2) && seats.take(address, 2) && !seats.take(address, 2));
        }
        assert_eq!(seats.len(), 10_000);
        for address in 0..10_000 {
            seats.free(address);
            seats.free(address);
        }
        assert_eq!((seats.len(), seats.counts.capacity()), (0, 0));
    }

    /// Entries that are compared for each of the addresses to be found, in thousandths, and how
    /// many of them share the most crowded of 4,096 places.
    fn cost(addresses: impl Iterator<Item = u128>) -> (u64, u32) {
        let key = HashKey([0xDEAD, 0xBEEF]);
        let mut seats = AddressSeats::new(key);
        let (mut crowd, mut compared, mut asked) = (vec![0_u32; 4_096], 0, 0);
        for address in addresses {
            assert!(seats.take(address, 1));
            let hash = address_hash(key, address);
            crowd[usize::try_from(hash % 4_096).expect("small")] += 1;
            let same = |entry: &(u128, u32)| {
                compared += 1;
                entry.0 == address
            };
            assert!(seats.counts.find(hash, same).is_some());
            asked += 1;
        }
        (compared * 1_000 / asked, crowd.into_iter().max().expect("places"))
    }

    #[test]
    fn a_million_chosen_addresses_cost_what_random_ones_do() {
        const COUNT: u128 = 1_000_000;
        let mut dice = fastrand::Rng::with_seed(1);
        let usual = cost((0..COUNT).map(|_| dice.u128(..)));
        assert!(usual.0 < 1_500 && usual.1 < 400, "{usual:?}");
        for (what, chosen) in [
            ("one after the other", cost(0..COUNT)),
            ("the same low bits", cost((0..COUNT).map(|nth| nth << 108))),
            ("the same high bits", cost((0..COUNT).map(|nth| u128::MAX << 20 | nth))),
        ] {
            assert!(chosen.0 < usual.0 * 2, "{what}: {chosen:?} where {usual:?} is usual");
            assert!(chosen.1 < usual.1 * 2, "{what}: {chosen:?} where {usual:?} is usual");
        }
    }
}
