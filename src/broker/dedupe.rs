//! The keys under which a room was published to of late, so that a repeat is known as one.
//!
//! Not here: who hashes, and with which key (`engine`). Invariants: what is found was given with
//! the very same user and key; at most [`DEDUPE_KEYS_MAX`] keys, none for longer than
//! [`DEDUPE_AGE_MS`] once the room is used; a room without keys costs a pointer.

use super::Published;
use crate::limits::{DEDUPE_AGE_MS, DEDUPE_KEYS_MAX};
use hashbrown::HashTable;
use std::collections::VecDeque;

/// One room's keys.
#[derive(Debug, Default)]
pub struct Dedupe(Option<Box<Keys>>);

/// Whether a key that had not reached its age made way: a repeat of it would be taken for news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evicted(pub bool);

/// Keys in the order of their time, numbered without holes from `first`; never empty.
#[derive(Debug, Default)]
struct Keys {
    entries: VecDeque<Entry>,
    first: u64,
    numbers: HashTable<u64>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    mono_ms: u64,
    /// The user, then the key.
    text: Box<str>,
    user_bytes: usize,
    published: Published,
}

impl Dedupe {
    /// No keys.
    pub const fn new() -> Self {
        Self(None)
    }

    /// What was published under that key by that user. `hash` is that of both.
    pub fn find(&mut self, hash: u64, user: &str, key: &str, mono_ms: u64) -> Option<Published> {
        self.expire(mono_ms);
        let keys = self.0.as_deref()?;
        keys.find(hash, user, key).map(|entry| entry.published)
    }

    /// Remembers what was published under a key that was not found. `mono_ms` never goes back.
    pub fn insert(
        &mut self,
        hash: u64,
        user: &str,
        key: &str,
        published: Published,
        mono_ms: u64,
    ) -> Evicted {
        self.expire(mono_ms);
        let keys = self.0.get_or_insert_default();
        if keys.find(hash, user, key).is_some() {
            debug_assert!(false, "a repeat is found, not inserted");
            return Evicted(false);
        }
        let is_full = keys.entries.len() == DEDUPE_KEYS_MAX;
        if is_full {
            keys.drop_oldest();
        }
        let text = [user, key].concat().into_boxed_str();
        keys.push(Entry { hash, mono_ms, text, user_bytes: user.len(), published });
        Evicted(is_full)
    }

    /// Forgets what has reached its age.
    pub fn expire(&mut self, mono_ms: u64) {
        let Some(keys) = self.0.as_deref_mut() else { return };
        while keys.oldest_ms().is_some_and(|then| mono_ms.saturating_sub(then) >= DEDUPE_AGE_MS) {
            keys.drop_oldest();
        }
        if keys.entries.is_empty() {
            self.0 = None;
        }
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.0.as_deref().map_or(0, |keys| keys.entries.len())
    }

    /// Whether none is remembered; then nothing is allocated.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Keys {
    fn find(&self, hash: u64, user: &str, key: &str) -> Option<&Entry> {
        let number = self.numbers.find(hash, |number| {
            self.entry(*number).is_some_and(|entry| entry.is(hash, user, key))
        });
        self.entry(*number?)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn oldest_ms(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.mono_ms)
    }

    fn push(&mut self, entry: Entry) {
        let (hash, number) = (entry.hash, self.first + self.entries.len() as u64);
        self.entries.push_back(entry);
        let (entries, first) = (&self.entries, self.first);
        let rehash = |number: &u64| {
            let at = usize::try_from(number - first).ok();
            at.and_then(|at| entries.get(at)).map_or(0, |entry| entry.hash)
        };
        self.numbers.insert_unique(hash, number, rehash);
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        let first = self.first;
        if let Ok(found) = self.numbers.find_entry(oldest.hash, |number| *number == first) {
            found.remove();
        }
        self.first += 1;
    }
}

impl Entry {
    /// Users and keys are compared whole and apart: others may share the hash, or the text of both.
    fn is(&self, hash: u64, user: &str, key: &str) -> bool {
        self.hash == hash
            && self.user_bytes == user.len()
            && self.text.split_at_checked(user.len()) == Some((user, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const fn published(seq: u64) -> Published {
        Published { epoch: 7, seq, receivers: 1 }
    }

    /// All that was ever inserted, searched from the front.
    #[derive(Default)]
    struct Reference(Vec<(String, String, u64, u64)>);

    impl Reference {
        fn expire(&mut self, mono_ms: u64) {
            self.0.retain(|(.., then, _)| mono_ms - then < DEDUPE_AGE_MS);
        }

        fn find(&mut self, user: &str, key: &str, mono_ms: u64) -> Option<Published> {
            self.expire(mono_ms);
            let found = self.0.iter().find(|(u, k, ..)| u == user && k == key);
            found.map(|(.., seq)| published(*seq))
        }

        fn insert(&mut self, user: &str, key: &str, seq: u64, mono_ms: u64) -> Evicted {
            let is_full = self.0.len() == DEDUPE_KEYS_MAX;
            if is_full {
                self.0.remove(0);
            }
            self.0.push((user.to_owned(), key.to_owned(), mono_ms, seq));
            Evicted(is_full)
        }
    }

    #[test]
    fn repeats_are_found_as_in_a_list() {
        for seed in 0..6 {
            let mut dice = Rng::with_seed(seed);
            let (mut dedupe, mut reference) = (Dedupe::new(), Reference::default());
            // Few hashes make many of them collide; long steps make keys expire.
            let (hashes, step_ms) = ([2, 1 << 40][dice.usize(0..2)], [10, 500][dice.usize(0..2)]);
            let mut mono_ms = 0;
            for seq in 0..4_000 {
                mono_ms += dice.u64(0..step_ms);
                let (user, number) = (["a", "ab", ""][dice.usize(0..3)], dice.u32(0..2_000));
                let key = format!("{}{number}", ["b", ""][dice.usize(0..2)]);
                let hash = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) % hashes;
                let expected = reference.find(user, &key, mono_ms);
                let found = dedupe.find(hash, user, &key, mono_ms);
                assert_eq!(found, expected, "seed {seed}, seq {seq}");
                if found.is_none() {
                    let evicted = dedupe.insert(hash, user, &key, published(seq), mono_ms);
                    let expected = reference.insert(user, &key, seq, mono_ms);
                    assert_eq!(evicted, expected, "seed {seed}, seq {seq}");
                }
                assert_eq!(dedupe.len(), reference.0.len(), "seed {seed}, seq {seq}");
            }
        }
    }

    #[test]
    fn where_the_user_ends_and_the_key_begins_matters() {
        let mut dedupe = Dedupe::new();
        dedupe.insert(1, "ab", "c", published(1), 0);
        assert_eq!(dedupe.find(1, "a", "bc", 0), None);
        assert_eq!(dedupe.find(1, "ab", "c", 0), Some(published(1)));
    }

    #[test]
    fn the_oldest_key_makes_way_and_that_is_told() {
        let mut dedupe = Dedupe::new();
        for number in 0..DEDUPE_KEYS_MAX as u64 {
            let key = number.to_string();
            assert_eq!(dedupe.insert(number, "u", &key, published(number), 0), Evicted(false));
        }
        assert_eq!(dedupe.insert(u64::MAX, "u", "new", published(0), 0), Evicted(true));
        assert_eq!(dedupe.len(), DEDUPE_KEYS_MAX);
        assert_eq!(dedupe.find(0, "u", "0", 0), None);
        assert_eq!(dedupe.find(1, "u", "1", 0), Some(published(1)));
    }

    #[test]
    fn a_key_is_forgotten_at_its_age_and_then_costs_nothing() {
        assert_eq!(size_of::<Dedupe>(), size_of::<usize>());
        let mut dedupe = Dedupe::new();
        dedupe.insert(1, "u", "k", published(1), 5);
        assert_eq!(dedupe.find(1, "u", "k", DEDUPE_AGE_MS + 4), Some(published(1)));
        assert!(!dedupe.is_empty());
        assert_eq!(dedupe.find(1, "u", "k", DEDUPE_AGE_MS + 5), None);
        assert!(dedupe.is_empty());
    }
}
