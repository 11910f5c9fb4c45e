//! A bound on the lines of one kind in the log: a storm of errors must not become one of lines.
//!
//! Not here: which kinds there are (a caller keeps one limiter for each), the clock (`now_ms` is
//! an argument). Invariants: in no span of one second are more than [`LOG_LINES_PER_SECOND_MAX`]
//! lines admitted; every line that is not is counted, and told with the next one that is.

use crate::limits::LOG_LINES_PER_SECOND_MAX;

const LINES_MAX: usize = LOG_LINES_PER_SECOND_MAX as usize;
const SECOND_MS: u64 = 1_000;

/// Admits the lines of one kind, or counts them.
#[derive(Clone, Debug, Default)]
pub struct LineLimiter {
    /// When the newest lines were admitted: a ring, the oldest at `next`.
    admitted_ms: [Option<u64>; LINES_MAX],
    next: usize,
    suppressed: u64,
}

/// The line may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// Lines of this kind that were not written since the last one that was. Say so in this line.
    pub suppressed: u64,
}

impl LineLimiter {
    /// Asks for one line. None: don't write it, it is counted.
    ///
    /// `now_ms` is monotonic; should it go back all the same, nothing worse happens than silence
    /// until it has caught up.
    pub fn admit(&mut self, now_ms: u64) -> Option<Admitted> {
        let oldest = self.admitted_ms.get_mut(self.next)?;
        if oldest.is_some_and(|oldest| now_ms.saturating_sub(oldest) < SECOND_MS) {
            self.suppressed += 1;
            return None;
        }
        *oldest = Some(now_ms);
        self.next = (self.next + 1) % LINES_MAX;
        Some(Admitted { suppressed: std::mem::take(&mut self.suppressed) })
    }

    /// Lines not written since the last one that was, for a summary when the storm is over.
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_cut_and_its_size_told_with_the_next_line() {
        let mut limiter = LineLimiter::default();
        let admitted = (0..1_000).filter(|_| limiter.admit(5).is_some()).count();
        assert_eq!(admitted, LINES_MAX);
        assert_eq!(limiter.admit(1_004), None);
        let suppressed = 1_001 - LINES_MAX as u64;
        assert_eq!(limiter.suppressed(), suppressed);
        assert_eq!(limiter.admit(1_005), Some(Admitted { suppressed }));
        assert_eq!(limiter.admit(1_005), Some(Admitted { suppressed: 0 }));
    }

    #[test]
    fn no_second_holds_more_lines_than_allowed_and_none_is_lost_from_the_count() {
        for seed in 0..500 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut limiter = LineLimiter::default();
            let mut admitted_ms: Vec<u64> = Vec::new();
            let (mut now_ms, mut told) = (0, 0);
            for _ in 0..500 {
                let pause_ms_max = dice.u64(1..300);
                now_ms += dice.u64(..pause_ms_max);
                // The slow twin: count what the last second holds.
                let held = admitted_ms.iter().filter(|at| now_ms - **at < SECOND_MS).count();
                let line = limiter.admit(now_ms);
                assert_eq!(line.is_some(), held < LINES_MAX, "seed {seed}, at {now_ms} ms");
                if let Some(line) = line {
                    admitted_ms.push(now_ms);
                    told += line.suppressed;
                }
            }
            let asked = admitted_ms.len() as u64 + told + limiter.suppressed();
            assert_eq!(asked, 500, "seed {seed}");
        }
    }
}
