//! How many connections come in each second, and when those beyond may come again.
//!
//! Who is refused gets a turn: the time at which its place in the queue of the refused would be
//! reached, so that they come back as fast as they can be taken in, and not all at once. Nobody
//! holds a place for them. Not here: the answer (`api`), how fast the accept queue is emptied
//! (`accept`). Invariants: in any stretch of time no more come in than one second's worth and the
//! rate over that stretch; a turn is 1 to 60 s away.

/// A thousandth of a connection.
const MILLI: u64 = 1_000;
/// The latest turn. Later ones are spread over the second half of it.
const TURN_S_MAX: u64 = 60;
/// Steps through all fractions of 2^32 as evenly as can be (the golden ratio).
const GOLDEN: u32 = 0x9E37_79B9;

/// One loop's share of the rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptRate {
    /// Thousandths of connections in a second; 0 is without a limit.
    per_s: u64,
    /// Millionths of connections that may come in now.
    left: u64,
    last_ms: u64,
    /// Microseconds, at which the turn of who was refused last comes.
    turn_us: u64,
    refused: u32,
}

impl AcceptRate {
    /// The share of each of `loops` loops that accept, of so many connections a second in all.
    pub(super) fn new(accepts_per_second: u32, loops: usize) -> Self {
        let all = u64::from(accepts_per_second) * MILLI;
        let per_s = match accepts_per_second {
            0 => 0,
            _ => (all / (loops.max(1) as u64)).max(1),
        };
        let mut rate = Self { per_s, left: 0, last_ms: 0, turn_us: 0, refused: 0 };
        rate.left = rate.burst();
        rate
    }

    /// Takes a connection in, or says in how many seconds its turn comes.
    pub(super) fn admit(&mut self, now_ms: u64) -> Result<(), u8> {
        if self.per_s == 0 {
            return Ok(());
        }
        let elapsed_ms = now_ms.saturating_sub(self.last_ms);
        self.last_ms = self.last_ms.max(now_ms);
        let gained = elapsed_ms.saturating_mul(self.per_s);
        self.left = self.left.saturating_add(gained).min(self.burst());
        match self.left.checked_sub(MILLI * MILLI) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.next_turn_s(now_ms)),
        }
    }

    /// One second's worth, and one connection at least.
    fn burst(&self) -> u64 {
        (self.per_s * MILLI).max(MILLI * MILLI)
    }

    #[cold]
    fn next_turn_s(&mut self, now_ms: u64) -> u8 {
        const SECOND_US: u64 = 1_000_000;
        let now_us = now_ms.saturating_mul(1_000);
        let step_us = SECOND_US * MILLI / self.per_s;
        let last_us = now_us + TURN_S_MAX * SECOND_US;
        self.turn_us = self.turn_us.max(now_us).saturating_add(step_us).min(last_us);
        self.refused = self.refused.wrapping_add(1);
        let wait_s = (self.turn_us - now_us).div_ceil(SECOND_US).max(1);
        let fraction = u64::from(self.refused.wrapping_mul(GOLDEN));
        let share = |of: u64| (fraction * of) >> 32;
        let turn_s = match self.turn_us == last_us {
            // The queue is longer than anyone is asked to wait.
            true => TURN_S_MAX - share(TURN_S_MAX / 2),
            // A tenth later at most, so that not all of a second's come at its begin.
            false => (wait_s + share(wait_s / 10 + 1)).min(TURN_S_MAX),
        };
        u8::try_from(turn_s).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stretch_of_time_lets_in_more_than_a_second_of_it_and_the_rate() {
        for seed in 0..100 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (in_all, loops) = (dice.u32(1..300), dice.usize(1..5));
            let mut rate = AcceptRate::new(in_all, loops);
            let (mut now_ms, mut came) = (0, Vec::new());
            for _ in 0..1_000 {
                now_ms += dice.u64(..20);
                if rate.admit(now_ms).is_ok() {
                    came.push(now_ms);
                }
            }
            for (nth, from_ms) in came.iter().enumerate() {
                for (count, at_ms) in (1_u64..).zip(&came[nth..]) {
                    // Of a share of less than one a second, one is a burst.
                    let burst_ms = (1_000 * loops as u64 / u64::from(in_all)).max(1_000);
                    let most = u64::from(in_all) * (at_ms - from_ms + burst_ms) / loops as u64;
                    assert!(count <= most.div_ceil(1_000).max(1), "seed {seed}: {in_all}, {loops}");
                }
            }
            let due = u64::from(in_all) * now_ms / 1_000 / loops as u64;
            assert!(came.len() as u64 >= due.min(500) / 2, "seed {seed}: it is used");
        }
    }

    #[test]
    fn without_a_limit_everyone_comes_in() {
        let mut rate = AcceptRate::new(0, 4);
        assert!((0..100_000).all(|_| rate.admit(0).is_ok()));
    }

    /// The turns of a crowd that comes at once.
    fn turns(per_second: u32, crowd: usize) -> Vec<u64> {
        let mut rate = AcceptRate::new(per_second, 1);
        (0..crowd).filter_map(|_| rate.admit(5).err()).map(u64::from).collect()
    }

    #[test]
    fn who_is_refused_comes_back_as_fast_as_can_be_taken_in() {
        let turns = turns(100, 4_000);
        assert_eq!(turns.len(), 3_900);
        assert!(turns.iter().all(|turn| (1..=TURN_S_MAX).contains(turn)));
        for (nth, turn) in turns.iter().enumerate() {
            let due = nth as u64 / 100 + 1;
            assert!((due..=due + due / 10 + 1).contains(turn), "number {nth} comes after {turn} s");
        }
        let busiest = (1..=60).map(|at| turns.iter().filter(|turn| **turn == at).count()).max();
        assert!(busiest.is_some_and(|busiest| busiest < 250), "{busiest:?} in one second");
    }

    #[test]
    fn a_crowd_beyond_the_last_turn_is_spread_all_the_same() {
        let turns = turns(10, 10_000);
        assert!(turns.iter().all(|turn| (1..=TURN_S_MAX).contains(turn)));
        let late = &turns[1_000..];
        for at in 31..=60 {
            let count = late.iter().filter(|turn| **turn == at).count();
            assert!((250..350).contains(&count), "{count} after {at} s");
        }
    }

    #[test]
    fn turns_pass_with_time() {
        let mut rate = AcceptRate::new(1, 1);
        assert_eq!(rate.admit(0), Ok(()));
        let early: Vec<u8> = (0..20).filter_map(|_| rate.admit(0).err()).collect();
        assert!(early.last().is_some_and(|turn| *turn >= 20), "{early:?}");
        assert_eq!(rate.admit(60_000), Ok(()));
        assert!(rate.admit(60_000).is_err_and(|turn| turn <= 2), "nobody waits any more");
    }
}
