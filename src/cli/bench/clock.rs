//! The load tester's clock: microseconds since the process began to measure.

use std::time::Instant;

/// A monotonic clock that starts at 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts at 0.
    #[expect(clippy::disallowed_methods, reason = "the one place where the load tester reads it")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the start.
    pub(super) fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Microseconds of CPU time that this process has used.
pub(super) fn busy_us() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let us = spent.tv_sec * 1_000_000 + spent.tv_nsec / 1_000;
    u64::try_from(us).unwrap_or_default()
}
