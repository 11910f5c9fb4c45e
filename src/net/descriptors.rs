//! The descriptor limit: raised as far as it goes, and what it leaves for connections.

use super::start_error::StartError;
use crate::limits::{DESCRIPTORS_RESERVED, REFUSALS_MAX};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a loop opens for itself: its poll, its wake-up, the acceptor's reserve.
const DESCRIPTORS_PER_LOOP: usize = 3;

/// Limits as they hold for this run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitsInForce {
    /// Descriptors that the process may open.
    pub descriptors: u64,
    /// Connections served at once: the setting, or what the descriptors allow.
    pub connections_max: usize,
}

impl LimitsInForce {
    /// What is left of `wanted` connections when at most `descriptors` may be open, with `loops`
    /// loops that hold `listeners` listeners together.
    pub(super) fn new(
        wanted: usize,
        descriptors: u64,
        loops: usize,
        listeners: usize,
    ) -> Result<Self, StartError> {
        let held = DESCRIPTORS_RESERVED + loops * DESCRIPTORS_PER_LOOP + listeners;
        let open = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(held);
        // Those who are refused hold a descriptor until they have read why. Where there are few,
        // serving comes first; a shortage of the moment is the acceptor's affair.
        let refusals = (loops * REFUSALS_MAX).min(open / 8);
        match wanted.min(open - refusals) {
            0 => Err(StartError::Descriptors(descriptors)),
            connections_max => Ok(Self { descriptors, connections_max }),
        }
    }
}

/// Raises the soft limit to the hard one. Returns the limit in force.
pub fn raise() -> u64 {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    // None is infinity.
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => found.maximum,
        Err(_) => found.current, // Not allowed by a sandbox: what there is has to do.
    };
    limit.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections_max(wanted: usize, descriptors: u64, loops: usize) -> Option<usize> {
        let limits = LimitsInForce::new(wanted, descriptors, loops, loops).ok()?;
        assert_eq!(limits.descriptors, descriptors);
        Some(limits.connections_max)
    }

    #[test]
    fn the_setting_holds_while_descriptors_allow() {
        assert_eq!(connections_max(10_000, 1_048_576, 8), Some(10_000));
        assert_eq!(connections_max(10_000, u64::MAX, 64), Some(10_000));
    }

    #[test]
    fn all_that_a_full_house_opens_fits() {
        for (descriptors, loops) in [(1_024, 1), (1_024, 2), (4_096, 16), (20_000, 64)] {
            let served = connections_max(usize::MAX, descriptors, loops).expect("some");
            let held = DESCRIPTORS_RESERVED + loops * (DESCRIPTORS_PER_LOOP + 1);
            let left = usize::try_from(descriptors).expect("few") - held - served;
            assert!(left >= (loops * REFUSALS_MAX).min(served / 8), "{descriptors}, {loops}");
        }
    }

    #[test]
    fn too_few_to_serve_anyone_is_an_error() {
        assert_eq!(connections_max(10_000, 64, 1), None);
        assert_eq!(connections_max(10_000, 0, 64), None);
        assert_eq!(connections_max(10_000, 69, 1), Some(1));
    }

    #[test]
    fn raising_reaches_the_hard_limit() {
        let limit = raise();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), limit);
        assert_eq!(raise(), limit);
    }
}
