//! A slab in chunks: keys with generations, O(1) insert and remove, no copy when it grows.
//!
//! Not the `slab` crate: a slab that doubles leaves its old copies behind, and at 15,000
//! connections that is the largest piece of waste (`docs/decisions/0004-chunked-tables.md`).
//! Invariants: a key of a removed entry misses for ever after, also when its chunk was given back
//! in between; newcomers go to the lowest chunk that has a place, so that high ones empty.

/// Entries per chunk: 256 sessions are one allocation of a few tens of KiB.
const CHUNK: usize = 256;
/// End of a chunk's free list.
const NONE: u16 = u16::MAX;

/// Entries by index and generation.
#[derive(Debug)]
pub(crate) struct Table<T> {
    chunks: Vec<Chunk<T>>,
    /// No chunk below this one has a place.
    lowest: usize,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// Empty while nobody is in it.
    slots: Box<[Slot<T>]>,
    taken: u16,
    free: u16,
    /// Above every generation that was given out before the slots were made.
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

#[derive(Debug)]
enum Entry<T> {
    Vacant { next: u16 },
    Taken(T),
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Self { slots: Box::new([]), taken: 0, free: NONE, generation: 0 }
    }

    fn is_full(&self) -> bool {
        usize::from(self.taken) == CHUNK
    }

    #[cold]
    fn make(&mut self) {
        let places = 0..u16::try_from(CHUNK).expect("a chunk is small");
        let last = places.end - 1;
        let vacant = |place: u16| Slot {
            generation: self.generation,
            entry: Entry::Vacant { next: if place == last { NONE } else { place + 1 } },
        };
        self.slots = places.map(vacant).collect();
        self.free = 0;
    }

    /// Gives the memory back. The next slots begin above every generation of these.
    #[cold]
    fn give_back(&mut self) {
        let newest = self.slots.iter().map(|slot| slot.generation).max();
        self.generation = newest.unwrap_or(self.generation);
        self.slots = Box::new([]);
        self.free = NONE;
    }
}

impl<T> Table<T> {
    /// An empty table, without an allocation.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), lowest: 0, len: 0 }
    }

    /// Entries in the table.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Slots that exist or existed, vacant ones included: every index is below it.
    pub(crate) const fn slots(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Puts `value` into a vacant slot and returns its index and generation.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        while self.chunks.get(self.lowest).is_some_and(Chunk::is_full) {
            self.lowest += 1;
        }
        if self.lowest == self.chunks.len() {
            self.chunks.push(Chunk::new());
        }
        let chunk = self.chunks.get_mut(self.lowest).expect("it was just made");
        if chunk.slots.is_empty() {
            chunk.make();
        }
        let place = chunk.free;
        let slot = chunk.slots.get_mut(usize::from(place)).expect("a chunk with a place has slots");
        let Entry::Vacant { next } = slot.entry else {
            unreachable!("the free list holds vacant slots");
        };
        slot.entry = Entry::Taken(value);
        chunk.free = next;
        chunk.taken += 1;
        self.len += 1;
        let index = self.lowest * CHUNK + usize::from(place);
        (u32::try_from(index).expect("fewer than 2^32 slots"), slot.generation)
    }

    /// Takes out the entry of that key; `None` for a stale one.
    pub(crate) fn remove(&mut self, index: u32, generation: u32) -> Option<T> {
        let (at, place) = split(index);
        let chunk = self.chunks.get_mut(at)?;
        let slot = chunk.slots.get_mut(place)?;
        if slot.generation != generation || matches!(slot.entry, Entry::Vacant { .. }) {
            return None;
        }
        let vacant = Entry::Vacant { next: chunk.free };
        let Entry::Taken(value) = std::mem::replace(&mut slot.entry, vacant) else { return None };
        slot.generation = slot.generation.wrapping_add(1);
        chunk.free = u16::try_from(place).expect("a chunk is small");
        chunk.taken -= 1;
        // The first chunk stays: a broker that is almost idle would make it again and again.
        if chunk.taken == 0 && at > 0 {
            chunk.give_back();
        }
        self.lowest = self.lowest.min(at);
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
        let indices = 0..u32::try_from(self.slots()).unwrap_or(u32::MAX);
        indices.filter_map(|index| self.generation_at(index).map(|generation| (index, generation)))
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (chunk, place) = split(index);
        self.chunks.get(chunk)?.slots.get(place)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let (chunk, place) = split(index);
        self.chunks.get_mut(chunk)?.slots.get_mut(place)
    }
}

const fn split(index: u32) -> (usize, usize) {
    (index as usize / CHUNK, index as usize % CHUNK)
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
    fn an_empty_chunk_is_given_back_and_its_keys_stay_stale() {
        let mut table = Table::new();
        let keys: Vec<(u32, u32)> = (0..3 * CHUNK).map(|value| table.insert(value)).collect();
        for &(index, generation) in &keys {
            assert!(table.remove(index, generation).is_some());
        }
        assert!(table.chunks.iter().skip(1).all(|chunk| chunk.slots.is_empty()));
        let again: Vec<(u32, u32)> = (0..3 * CHUNK).map(|value| table.insert(value)).collect();
        assert_eq!(table.len(), 3 * CHUNK);
        for &(index, generation) in &keys {
            assert_eq!(table.get(index, generation), None);
        }
        assert!(again.iter().all(|key| table.get(key.0, key.1).is_some()));
    }

    #[test]
    fn newcomers_fill_the_lowest_chunk_first() {
        let mut table = Table::new();
        let keys: Vec<(u32, u32)> = (0..3 * CHUNK).map(|value| table.insert(value)).collect();
        table.remove(keys[CHUNK + 7].0, keys[CHUNK + 7].1);
        table.remove(keys[9].0, keys[9].1);
        assert_eq!(table.insert(0).0, 9);
        assert_eq!(table.insert(0).0 as usize, CHUNK + 7);
        assert_eq!(table.insert(0).0 as usize, 3 * CHUNK);
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
