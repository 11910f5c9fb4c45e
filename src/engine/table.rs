//! A slab in chunks: keys with generations, O(1) insert and remove, no copy when it grows.
//!
//! Not the `slab` crate: a slab that doubles leaves its old copies behind, and at 15,000
//! connections that is the largest piece of waste (`docs/decisions/0004-chunked-tables.md`).
//! Invariants: a key of a removed entry misses for ever after; a vacant slot is on the free list
//! exactly once.

/// Entries per chunk: 256 sessions are one allocation of a few tens of KiB.
const CHUNK: usize = 256;
/// End of the free list.
const NONE: u32 = u32::MAX;

/// Entries by index and generation.
#[derive(Debug)]
pub(crate) struct Table<T> {
    chunks: Vec<Box<[Slot<T>]>>,
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

#[derive(Debug)]
enum Entry<T> {
    Vacant { next: u32 },
    Taken(T),
}

impl<T> Table<T> {
    /// An empty table, without an allocation.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0 }
    }

    /// Entries in the table.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Slots that exist, vacant ones included: every index is below it.
    pub(crate) const fn slots(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Puts `value` into a vacant slot and returns its index and generation.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let slot = self.slot_mut(index).expect("the free list holds slots that exist");
        let Entry::Vacant { next } = slot.entry else {
            unreachable!("the free list holds vacant slots");
        };
        slot.entry = Entry::Taken(value);
        let generation = slot.generation;
        self.free = next;
        self.len += 1;
        (index, generation)
    }

    /// Takes out the entry of that key; `None` for a stale one.
    pub(crate) fn remove(&mut self, index: u32, generation: u32) -> Option<T> {
        let next = self.free;
        let slot = self.slot_mut(index)?;
        if slot.generation != generation || matches!(slot.entry, Entry::Vacant { .. }) {
            return None;
        }
        let Entry::Taken(value) = std::mem::replace(&mut slot.entry, Entry::Vacant { next }) else {
            return None;
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free = index;
        self.len -= 1;
        Some(value)
    }

    /// The entry of that key; a stale key misses, it never hits a stranger.
    pub(crate) fn get(&self, index: u32, generation: u32) -> Option<&T> {
        match self.slot(index)? {
            Slot { generation: current, entry: Entry::Taken(value) } if *current == generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// As [`Self::get`], to change it.
    pub(crate) fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        match self.slot_mut(index)? {
            Slot { generation: current, entry: Entry::Taken(value) } if *current == generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The present tenant of a slot, for callers that are told of every removal.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slot_mut(index)? {
            Slot { entry: Entry::Taken(value), .. } => Some(value),
            Slot { entry: Entry::Vacant { .. }, .. } => None,
        }
    }

    /// As [`Self::at_mut`], to look only.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        match self.slot(index)? {
            Slot { entry: Entry::Taken(value), .. } => Some(value),
            Slot { entry: Entry::Vacant { .. }, .. } => None,
        }
    }

    /// The generation of the present tenant of a slot; `None` while it is vacant.
    pub(crate) fn generation_at(&self, index: u32) -> Option<u32> {
        match self.slot(index)? {
            Slot { generation, entry: Entry::Taken(_) } => Some(*generation),
            Slot { entry: Entry::Vacant { .. }, .. } => None,
        }
    }

    /// The key of every entry, in the order of the slots. O(slots).
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, u32)> {
        let indices = 0..u32::try_from(self.slots()).unwrap_or(NONE);
        indices.filter_map(|index| self.generation_at(index).map(|generation| (index, generation)))
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    #[cold]
    fn grow(&mut self) {
        let first = u32::try_from(self.slots()).expect("fewer than 2^32 slots");
        let last = first + u32::try_from(CHUNK).expect("a chunk is small") - 1;
        let vacant = |index: u32| Slot {
            generation: 0,
            entry: Entry::Vacant { next: if index == last { NONE } else { index + 1 } },
        };
        self.chunks.push((first..=last).map(vacant).collect());
        self.free = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn stale_key_misses() {
        let mut table = Table::new();
        let (index, generation) = table.insert("a");
        assert_eq!(table.remove(index, generation), Some("a"));
        let (again, next) = table.insert("b");
        assert_eq!(again, index, "the slot is reused");
        assert_eq!(table.get(index, generation), None);
        assert_eq!(table.remove(index, generation), None);
        assert_eq!(table.get(index, next), Some(&"b"));
    }

    #[test]
    fn random_use_agrees_with_a_map() {
        for seed in 0..50 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut table, mut model) = (Table::new(), HashMap::new());
            for value in 0..2_000_u32 {
                if dice.u8(..) < 140 || model.is_empty() {
                    model.insert(table.insert(value), value);
                } else {
                    let keys: Vec<(u32, u32)> = model.keys().copied().collect();
                    let key = keys[dice.usize(..keys.len())];
                    assert_eq!(table.remove(key.0, key.1), model.remove(&key), "seed {seed}");
                }
            }
            assert_eq!(table.len(), model.len(), "seed {seed}");
            assert_eq!(table.keys().count(), model.len(), "seed {seed}");
            for (key, value) in model {
                assert_eq!(table.get(key.0, key.1), Some(&value), "seed {seed}");
            }
        }
    }

    #[test]
    fn growth_adds_a_chunk_and_moves_nothing() {
        let mut table = Table::new();
        let first = table.insert([0_u8; 64]);
        let before: *const [u8; 64] = table.get(first.0, first.1).expect("it is there");
        for _ in 0..3 * CHUNK {
            table.insert([1; 64]);
        }
        let after: *const [u8; 64] = table.get(first.0, first.1).expect("it is there");
        assert_eq!(before, after);
    }
}
