//! When messages are due: at a rate, or as soon as there is credit.
//!
//! Invariant: at a rate, a message is due at its time however late one looks, so that a stall is
//! not left out of the latencies.

/// How fast publishers publish.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Pace {
    /// Each has so many messages under way, counted by its own coming back.
    Window(u32),
    /// So many messages a second over all publishers, whether the last ones arrived or not.
    Rate(f64),
}

/// When messages are due.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    start_us: u64,
    end_us: u64,
    done: u64,
}

impl Schedule {
    /// The schedule of a phase.
    pub(super) const fn new(pace: Pace, start_us: u64, end_us: u64) -> Self {
        Self { pace, start_us, end_us, done: 0 }
    }

    /// When the next message that is due by now was due; asked again, the one after it.
    pub(super) fn pop_due(&mut self, now_us: u64) -> Option<u64> {
        let due_us = self.next_us().filter(|next_us| *next_us <= now_us)?;
        self.done += 1;
        Some(due_us)
    }

    /// When the next message is due, if one is.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an hour in µs is far below 2^53"
    )]
    pub(super) fn next_us(&self) -> Option<u64> {
        match self.pace {
            Pace::Window(_) => None,
            Pace::Rate(rate) => {
                let after_us = (self.done as f64 * 1e6 / rate) as u64;
                let next_us = self.start_us.saturating_add(after_us);
                (next_us < self.end_us).then_some(next_us)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_messages_due_evenly_however_late_one_looks() {
        let pace = Pace::Rate(100.0);
        let mut schedule = Schedule::new(pace, 5_000, 45_001);
        let mut due =
            |now_us| -> Vec<u64> { std::iter::from_fn(|| schedule.pop_due(now_us)).collect() };
        assert_eq!(due(4_999), [0_u64; 0]);
        assert_eq!(due(26_000), [5_000, 15_000, 25_000]);
        assert_eq!(due(1_000_000), [35_000, 45_000]);
        assert_eq!(schedule.next_us(), None, "the phase is over");
    }

    #[test]
    fn a_rate_too_low_for_a_second_message_is_no_crash() {
        for rate in [1e-14, 1e-300, f64::MIN_POSITIVE] {
            let mut schedule = Schedule::new(Pace::Rate(rate), 5_000, 45_000);
            assert_eq!(schedule.pop_due(5_000), Some(5_000));
            assert_eq!(schedule.next_us(), None, "{rate}");
        }
    }
}
