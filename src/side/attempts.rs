//! How often each name has tried to log in within the last minute.
//!
//! Not here: whether a name is a user's; names that are none are counted like the others, or they
//! could be told apart. Invariant: the table is bounded, and who does not fit in is refused.

use crate::limits::{LOGIN_NAMES_MAX, LOGINS_PER_MINUTE_MAX};
use std::collections::HashMap;

/// A minute from a name's first attempt on.
const WINDOW_MS: u64 = 60_000;

/// When a name may try again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RetryAfterMs(pub(super) u64);

#[derive(Clone, Copy, Debug)]
struct Window {
    ends_ms: u64,
    count: u32,
}

impl Window {
    const fn is_over(self, now_ms: u64) -> bool {
        self.ends_ms <= now_ms
    }
}

/// The attempts of a minute. Its table's hash is keyed: names are what strangers send.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<Box<str>, Window>);

impl Attempts {
    /// Counts an attempt, or says when there may be one.
    pub(super) fn count(&mut self, name: &str, now_ms: u64) -> Result<(), RetryAfterMs> {
        if let Some(window) = self.0.get_mut(name).filter(|window| !window.is_over(now_ms)) {
            if window.count >= LOGINS_PER_MINUTE_MAX {
                return Err(RetryAfterMs(window.ends_ms.saturating_sub(now_ms)));
            }
            window.count += 1;
            return Ok(());
        }
        if self.0.len() >= LOGIN_NAMES_MAX {
            self.0.retain(|_, window| !window.is_over(now_ms));
        }
        if self.0.len() >= LOGIN_NAMES_MAX {
            return Err(RetryAfterMs(WINDOW_MS));
        }
        self.0.insert(name.into(), Window { ends_ms: now_ms + WINDOW_MS, count: 1 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_so_many_attempts_a_minute_and_others_have_theirs() {
        let mut attempts = Attempts::default();
        for n in 0..LOGINS_PER_MINUTE_MAX {
            assert_eq!(attempts.count("ada", 1_000 + u64::from(n)), Ok(()), "attempt {n}");
        }
        assert_eq!(attempts.count("ada", 11_000), Err(RetryAfterMs(50_000)));
        assert_eq!(attempts.count("bob", 11_000), Ok(()));
        assert_eq!(attempts.count("ada", 60_999), Err(RetryAfterMs(1)));
        assert_eq!(attempts.count("ada", 61_000), Ok(()), "a minute later");
        assert_eq!(attempts.count("ada", 61_001), Ok(()));
    }

    #[test]
    fn a_full_table_refuses_new_names_until_a_minute_has_passed() {
        let mut attempts = Attempts::default();
        for n in 0..LOGIN_NAMES_MAX {
            assert_eq!(attempts.count(&n.to_string(), 0), Ok(()));
        }
        assert_eq!(attempts.count("ada", 59_999), Err(RetryAfterMs(WINDOW_MS)));
        assert_eq!(attempts.count("0", 59_999), Ok(()), "who is in it may go on");
        assert_eq!(attempts.count("ada", 60_000), Ok(()));
        assert_eq!(attempts.0.len(), 1);
    }
}
