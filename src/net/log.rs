//! What a loop tells the log: the shard's notices and its own troubles, none of them in a flood.
//!
//! Not here: where lines go (`cli` sets that up; a slow reader of ours never stalls a loop).
//! Invariant: of one kind at most [`LOG_LINES_PER_SECOND_MAX`] lines are written in a second; the
//! rest is counted and told with the next one.
//!
//! [`LOG_LINES_PER_SECOND_MAX`]: crate::limits::LOG_LINES_PER_SECOND_MAX

use super::accept::Shortage;
use crate::broker::{ConnKey, Disconnect, LoopId, Now};
use crate::engine::{MemoryUse, Notice, Pressure, Relief};
use crate::observe::LineLimiter;
use std::mem::{Discriminant, discriminant};

/// What is limited together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Notice(Discriminant<Notice>),
    Shortage,
    TooFast,
    Memory,
}

/// One loop's voice in the log.
#[derive(Debug)]
pub(super) struct Log {
    id: LoopId,
    limiters: Vec<(Kind, LineLimiter)>,
}

impl Log {
    /// The voice of loop `id`.
    pub(super) const fn new(id: LoopId) -> Self {
        Self { id, limiters: Vec::new() }
    }

    /// Passes on what the shard noticed.
    pub(super) fn notice(&mut self, notice: &Notice, now: Now) {
        let (Notice::Upgraded { key, .. }
        | Notice::Refused { key, .. }
        | Notice::Violation { key, .. }
        | Notice::TokenRefused { key, .. }
        | Notice::AddressFull { key, .. }
        | Notice::RateLimited { key }
        | Notice::Gap { key, .. }
        | Notice::OriginRefused { key, .. }
        | Notice::ProxyHeader { key, .. }) = notice;
        let (loop_id, ConnKey { index, generation }) = (self.id.0, *key);
        if matches!(notice, Notice::Upgraded { .. }) {
            // At debug level only, where a flood was asked for.
            tracing::debug!(loop_id, index, generation, "{notice}");
        } else if let Some(suppressed) = self.admit(Kind::Notice(discriminant(notice)), now) {
            tracing::info!(loop_id, index, generation, suppressed, "{notice}");
        }
    }

    /// Says that accepting rests.
    #[cold]
    pub(super) fn shortage(&mut self, shortage: &Shortage, now: Now) {
        let Shortage { error, shed, rest_ms } = shortage;
        if let Some(suppressed) = self.admit(Kind::Shortage, now) {
            tracing::warn!(
                loop_id = self.id.0,
                %error,
                shed,
                rest_ms,
                suppressed,
                "cannot accept connections"
            );
        }
    }

    /// Says that more connections came than may in a second.
    #[cold]
    pub(super) fn too_fast(&mut self, retry_after_s: u8, now: Now) {
        if let Some(suppressed) = self.admit(Kind::TooFast, now) {
            tracing::warn!(
                loop_id = self.id.0,
                retry_after_s,
                suppressed,
                "connection refused: too many came at once"
            );
        }
    }

    /// Says that memory is short, or no longer, and what was given up.
    #[cold]
    pub(super) fn memory(&mut self, memory: &MemoryUse, relief: Relief, now: Now) {
        let Some(suppressed) = self.admit(Kind::Memory, now) else { return };
        let (loop_id, MemoryUse { used_bytes, max_bytes, pressure }) = (self.id.0, *memory);
        let Relief { members, bytes } = relief;
        match pressure {
            Pressure::None => {
                tracing::info!(
                    loop_id,
                    used_bytes,
                    max_bytes,
                    suppressed,
                    "memory is enough again"
                );
            }
            Pressure::High { over_bytes } => tracing::warn!(
                loop_id,
                used_bytes,
                max_bytes,
                over_bytes,
                members_closed = members,
                bytes_freed = bytes,
                suppressed,
                "memory is short: newcomers are refused, slow members closed"
            ),
        }
    }

    /// Says that a connection ended. At debug level only, where a flood was asked for.
    pub(super) fn closed(&self, key: ConnKey, reason: Disconnect, code: Option<u16>) {
        let ConnKey { index, generation } = key;
        let reason = reason.label();
        tracing::debug!(loop_id = self.id.0, index, generation, reason, code, "closed");
    }

    /// Says that the drain began.
    pub(super) fn draining(&self, connections: usize) {
        tracing::info!(loop_id = self.id.0, connections, "draining");
    }

    /// Says that the drain's time was up before it was done.
    #[cold]
    pub(super) fn cut_short(&self, connections: usize) {
        tracing::warn!(loop_id = self.id.0, connections, "drain time is up, connections are cut");
    }

    /// How many lines of `kind` were left out since the last one. None: leave this one out.
    fn admit(&mut self, kind: Kind, now: Now) -> Option<u64> {
        let at = match self.limiters.iter().position(|(known, _)| *known == kind) {
            Some(at) => at,
            None => {
                self.limiters.push((kind, LineLimiter::default()));
                self.limiters.len() - 1
            }
        };
        let (_, limiter) = self.limiters.get_mut(at)?;
        limiter.admit(now.mono_ms).map(|admitted| admitted.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOG_LINES_PER_SECOND_MAX;

    #[test]
    fn a_flood_of_one_kind_is_cut_and_counted() {
        let mut log = Log::new(LoopId(0));
        let now = Now { mono_ms: 10, unix_ms: 0 };
        let lines = (0..1_000).filter(|_| log.admit(Kind::Shortage, now).is_some()).count();
        assert_eq!(lines, LOG_LINES_PER_SECOND_MAX as usize);
        let later = log.admit(Kind::Shortage, now.plus_ms(1_000));
        assert_eq!(later, Some(1_000 - u64::from(LOG_LINES_PER_SECOND_MAX)));
        assert_eq!(log.limiters.len(), 1);
    }
}
