//! Keyed SipHash-1-3: which loop is a room's home, and numbers nobody outside can guess.

use crate::broker::LoopId;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// 128 random bits of this process, or the simulator's.
#[derive(Clone, Copy, Debug)]
pub struct HashKey(pub [u64; 2]);

impl HashKey {
    /// The hash of a name that a client chose.
    pub(crate) fn name(self, name: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    /// The hash of two texts that clients chose, each for itself.
    pub(crate) fn pair(self, first: &str, second: &str) -> u64 {
        self.number(self.name(first), self.name(second))
    }

    /// The `nth` number of a sequence that looks random to who does not have the key.
    pub(crate) fn number(self, sequence: u64, nth: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        hasher.write_u64(sequence);
        hasher.write_u64(nth);
        hasher.finish()
    }
}

/// The home of the room whose name has that hash: bits that the home's own table looks at least.
pub(crate) fn home_of(hash: u64, loops: u8) -> LoopId {
    let bits = (hash >> 20) & 0xFFFF_FFFF;
    let home = (bits * u64::from(loops)) >> 32;
    LoopId(u8::try_from(home).expect("below the number of loops"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_spread_evenly_over_loops() {
        let key = HashKey([1, 2]);
        for loops in [1_u8, 2, 3, 8, 64] {
            let mut counts = vec![0_u32; usize::from(loops)];
            for room in 0..64_000 {
                counts[home_of(key.name(&format!("room-{room}")), loops).index()] += 1;
            }
            let even = 64_000 / u32::from(loops);
            assert!(counts.iter().all(|count| count.abs_diff(even) < even / 5), "{counts:?}");
        }
    }

    /// How many of the names are in the fullest of 256 places, and how many an even share would be.
    fn fullest(key: HashKey, names: &[String], place: impl Fn(u64) -> u64) -> (u32, u32) {
        let mut counts = [0_u32; 256];
        for name in names {
            counts[usize::try_from(place(key.name(name)) % 256).expect("small")] += 1;
        }
        (counts.into_iter().max().expect("places"), u32::try_from(names.len() / 256).expect("few"))
    }

    #[test]
    fn names_chosen_to_collide_under_one_key_spread_under_any_other() {
        let known = HashKey([0, 0]);
        // Where the table of a home looks first, and which loop is the home.
        let places: [fn(u64) -> u64; 2] = [|hash| hash, |hash| (hash >> 44) & 0xFF];
        for place in places {
            let all = (0..1_000_000).map(|nth| format!("{nth:x}"));
            let chosen: Vec<String> =
                all.filter(|name| place(known.name(name)) % 256 == 7).collect();
            let (most, even) = fullest(known, &chosen, place);
            assert_eq!(most as usize, chosen.len(), "the attack works on who knows the key");
            for other in [HashKey([0, 1]), HashKey([1, 0]), HashKey([0xDEAD, 0xBEEF])] {
                let (most, _) = fullest(other, &chosen, place);
                assert!(most < even * 4, "{most} of {} in one place, even is {even}", chosen.len());
            }
        }
    }

    #[test]
    fn another_key_gives_other_homes_and_numbers() {
        let (one, two) = (HashKey([1, 2]), HashKey([3, 4]));
        assert_ne!(one.name("lobby"), two.name("lobby"));
        assert_ne!(one.number(0, 1), two.number(0, 1));
        assert_ne!(one.number(0, 1), one.number(0, 2));
        assert_ne!(one.number(0, 1), one.number(1, 1));
    }
}
