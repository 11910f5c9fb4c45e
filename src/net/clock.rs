//! The clock: read once a tick, the same start for all loops of the process.

use crate::broker::Now;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds on the monotonic clock, for how long something took.
pub(super) fn stopwatch() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let number = |part: i64| u64::try_from(part).unwrap_or_default();
    number(now.tv_sec) * 1_000_000_000 + number(now.tv_nsec)
}

/// Both clocks of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic clock at 0.
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// This moment.
    pub(super) fn now(self) -> Now {
        let mono = self.start.elapsed();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis());
        Now { mono_ms: ms(mono).unwrap_or(u64::MAX), unix_ms: ms(unix).unwrap_or(u64::MAX) }
    }
}
