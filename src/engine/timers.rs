//! A timing wheel over slab indices: one deadline per connection, O(1) to set and to clear.
//!
//! Deadlines are coarse on purpose: activity only notes a time on the session, and the deadline
//! that fires too early is set again. Invariant: an index stands in at most one slot's list.

/// Milliseconds per tick of the wheel.
pub(crate) const TICK_MS: u64 = 100;
/// Slots of the wheel: what lies further ahead than about 50 s fires early and is set again.
const SLOTS: u32 = 512;
/// Words of the map of occupied slots.
const WORDS: u32 = SLOTS / 64;
/// Entries that are kept for the next ones.
const KEPT_ENTRIES: usize = 1_024;
const NONE: u32 = u32::MAX;

/// The tick of the wheel that `mono_ms` falls into. Wraps after 13 years.
#[expect(clippy::cast_possible_truncation, reason = "wraps after 13 years of uptime")]
pub(crate) const fn tick_of(mono_ms: u64) -> u32 {
    (mono_ms / TICK_MS) as u32
}

/// One deadline per index.
#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Vec<u32>,
    occupied: [u64; WORDS as usize],
    entries: Vec<Entry>,
    /// The next tick to look at: everything before it has fired.
    cursor: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    next: u32,
    prev: u32,
    due: u32,
    slot: u32,
}

const UNSET: Entry = Entry { next: NONE, prev: NONE, due: 0, slot: NONE };

impl Wheel {
    /// A wheel without deadlines, at tick `now`.
    pub(crate) fn new(now: u32) -> Self {
        Self {
            heads: vec![NONE; SLOTS as usize],
            occupied: [0; WORDS as usize],
            entries: Vec::new(),
            cursor: now,
        }
    }

    /// Deadlines that are set. O(indices).
    pub(crate) fn len(&self) -> usize {
        self.entries.iter().filter(|entry| entry.slot != NONE).count()
    }

    /// Sets the deadline of `index` to tick `due`, in place of any earlier one. One that lies in
    /// ticks that have been looked at fires with the next.
    pub(crate) fn set(&mut self, index: u32, due: u32) {
        self.clear(index);
        if self.entries.len() <= index as usize {
            self.entries.resize(index as usize + 1, UNSET);
        }
        let placed = due.clamp(self.cursor, self.cursor.saturating_add(SLOTS - 1));
        let slot = placed % SLOTS;
        let head = self.head(slot);
        self.put(index, Entry { next: head, prev: NONE, due, slot });
        if let Some(next) = self.entries.get_mut(head as usize) {
            next.prev = index;
        }
        self.set_head(slot, index);
    }

    /// Forgets the deadline of `index`, if it has one.
    pub(crate) fn clear(&mut self, index: u32) {
        let Some(&Entry { next, prev, slot, .. }) = self.entries.get(index as usize) else {
            return;
        };
        if slot == NONE {
            return;
        }
        match self.entries.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.set_head(slot, next),
        }
        if let Some(after) = self.entries.get_mut(next as usize) {
            after.prev = prev;
        }
        self.put(index, UNSET);
        self.give_back();
    }

    /// Gives back the entries above the highest index that has a deadline.
    fn give_back(&mut self) {
        while self.entries.last().is_some_and(|entry| entry.slot == NONE) {
            self.entries.pop();
        }
        if self.entries.capacity() > KEPT_ENTRIES
            && self.entries.len() < self.entries.capacity() / 4
        {
            self.entries.shrink_to(KEPT_ENTRIES.max(self.entries.len() * 2));
        }
    }

    /// Takes one index whose deadline is at or before tick `now`; call it until `None`.
    pub(crate) fn poll_due(&mut self, now: u32) -> Option<u32> {
        while self.cursor <= now {
            let slot = self.cursor % SLOTS;
            let index = self.head(slot);
            let Some(&Entry { due, .. }) = self.entries.get(index as usize) else {
                self.cursor = self.next_occupied().map_or(now + 1, |tick| tick.min(now + 1));
                continue;
            };
            self.clear(index);
            if due <= now {
                return Some(index);
            }
            self.set(index, due); // It lay beyond the wheel's horizon when it was set.
        }
        None
    }

    /// The first tick at which something may fire.
    pub(crate) fn next_due(&self) -> Option<u32> {
        if self.head(self.cursor % SLOTS) != NONE {
            return Some(self.cursor);
        }
        self.next_occupied()
    }

    /// The first tick after the cursor whose slot is not empty.
    fn next_occupied(&self) -> Option<u32> {
        let start = (self.cursor + 1) % SLOTS;
        let before_start = (1_u64 << (start % 64)) - 1;
        for step in 0..=WORDS {
            let at = (start / 64 + step) % WORDS;
            let word = self.occupied.get(at as usize).copied().unwrap_or(0);
            let bits = match step {
                0 => word & !before_start,
                WORDS => word & before_start,
                _ => word,
            };
            if bits != 0 {
                let ahead = (at * 64 + bits.trailing_zeros() + SLOTS - self.cursor % SLOTS) % SLOTS;
                return (ahead > 0).then(|| self.cursor.saturating_add(ahead));
            }
        }
        None
    }

    fn head(&self, slot: u32) -> u32 {
        self.heads.get(slot as usize).copied().unwrap_or(NONE)
    }

    fn set_head(&mut self, slot: u32, index: u32) {
        if let Some(head) = self.heads.get_mut(slot as usize) {
            *head = index;
        }
        if let Some(word) = self.occupied.get_mut((slot / 64) as usize) {
            let bit = 1_u64 << (slot % 64);
            if index == NONE { *word &= !bit } else { *word |= bit }
        }
    }

    fn put(&mut self, index: u32, entry: Entry) {
        if let Some(place) = self.entries.get_mut(index as usize) {
            *place = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_a_crowd_needed_is_given_back() {
        let mut wheel = Wheel::new(0);
        for index in 0..20_000 {
            wheel.set(index, index % 300);
        }
        for index in 1..20_000 {
            wheel.clear(index);
        }
        assert!(wheel.entries.capacity() <= KEPT_ENTRIES, "{}", wheel.entries.capacity());
        assert_eq!(wheel.poll_due(0), Some(0));
    }

    #[test]
    fn fires_as_a_sorted_map_would() {
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut now = dice.u32(..1_000);
            let (mut wheel, mut model) = (Wheel::new(now), BTreeMap::new());
            for _ in 0..400 {
                let index = dice.u32(..40);
                match dice.u8(..10) {
                    0..5 => {
                        let due = (now + dice.u32(..1_500)).saturating_sub(3);
                        wheel.set(index, due);
                        // The present tick may have been looked at already.
                        model.insert(index, due.max(now + 1));
                    }
                    5..7 => {
                        wheel.clear(index);
                        model.remove(&index);
                    }
                    _ => {
                        now += dice.u32(..200);
                        let mut fired: Vec<u32> =
                            std::iter::from_fn(|| wheel.poll_due(now)).collect();
                        fired.sort_unstable();
                        let due: Vec<u32> = model
                            .iter()
                            .filter_map(|(index, due)| (*due <= now).then_some(*index))
                            .collect();
                        model.retain(|_, due| *due > now);
                        assert_eq!(fired, due, "seed {seed}");
                    }
                }
                let earliest = model.values().copied().min();
                assert!(
                    wheel.next_due() <= earliest.or(Some(u32::MAX)),
                    "seed {seed}: sleeps past a deadline"
                );
                assert_eq!(wheel.next_due().is_none(), model.is_empty(), "seed {seed}");
            }
        }
    }
}
