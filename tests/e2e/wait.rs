//! Waiting: for a condition, with a deadline, never for time to pass.
//!
//! Invariant: how often a condition is looked at decides nothing.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must come. Generous: tests share their machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(2);

/// The time since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline is real time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Fails when the deadline has passed: `what` did not come.
    pub(crate) fn check(self, what: &str) {
        assert!(self.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
    }
}

/// Looks until there is something, and returns it; fails after the deadline.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let waiting = Stopwatch::start();
    loop {
        if let Some(found) = look() {
            return found;
        }
        waiting.check(what);
        thread::park_timeout(PAUSE);
    }
}
