//! The end of what connections were let in with: told before, enforced to the second, or at once
//! when it is revoked.
//!
//! A token ends by the wall clock, and deadlines are set by the other one: when the two drift apart
//! by more than a moment, deadlines are set again. Invariant: who is let in by a token stays no
//! longer than its `exp`, whatever it was forgiven at the door.

use super::asking::plain_error;
use super::batch::{Answer, Topic};
use super::session::{Exchange, Phase, Session};
use super::shard::Shard;
use super::timers::{TICK_MS, tick_of};
use crate::api;
use crate::auth::{Access, BadToken, Revocation};
use crate::broker::{ConnKey, Disconnect, ErrorCode, Now, Role};
use crate::limits::TOKEN_WARNING_MS;
use crate::protocol::json::ErrorReply;
use std::sync::Arc;

/// By how much the clocks may drift apart before deadlines are set again.
const DRIFT_MS: u64 = 500;
/// Where tokens end, the clocks are compared this often: nothing else tells of one that was set, or
/// that ran on while the machine slept.
const CLOCK_LOOK_MS: u64 = 500;

impl Shard {
    /// Notes what a connection was let in with; guests leave no trace.
    pub(super) fn let_in(&mut self, key: ConnKey, access: Option<Arc<Access>>) {
        let Some(access) = access.filter(|access| access.user.role() != Role::Guest) else {
            return;
        };
        if let Some(session) = self.session(key) {
            let papers = session.papers_mut();
            papers.access = Some(access);
            papers.warned = false;
        }
    }

    /// The tick at which something is due because of the connection's token.
    pub(super) fn expiry_due(&self, session: &Session) -> Option<u32> {
        let papers = session.papers.as_deref()?;
        let expires_ms = papers.access.as_ref()?.expires_ms()?;
        let warns = matches!(session.phase, Phase::Native(_)) && !papers.warned;
        let due_ms = if warns { expires_ms.saturating_sub(TOKEN_WARNING_MS) } else { expires_ms };
        // The first tick at or after it.
        let mono_ms = due_ms.saturating_sub(self.unix_offset_ms).div_ceil(TICK_MS) * TICK_MS;
        let horizon_ms = u64::from(u32::MAX / 2) * TICK_MS;
        Some(tick_of(mono_ms.min(horizon_ms)))
    }

    /// Whether a connection's token has ended; tells it if that is near.
    pub(super) fn check_expiry(&mut self, key: ConnKey, now: Now) -> bool {
        let Some(session) = self.session(key) else { return false };
        let is_native = matches!(session.phase, Phase::Native(_));
        let Some(papers) = session.papers.as_deref_mut() else { return false };
        let expires_ms = papers.access.as_ref().and_then(|access| access.expires_ms());
        let Some(expires_ms) = expires_ms else { return false };
        if expires_ms <= now.unix_ms {
            self.counters.tokens_expired += 1;
            return true;
        }
        let left_ms = expires_ms - now.unix_ms;
        if is_native && !papers.warned && left_ms <= TOKEN_WARNING_MS {
            papers.warned = true;
            let message = "the token is about to expire: send refresh with a new one";
            let error = plain_error(ErrorCode::Unauthorized, message, None);
            self.answer_error(key, &ErrorReply { retry_after_ms: Some(left_ms), ..error });
        }
        false
    }

    /// Milliseconds after which the shard wants a tick though nothing is due, so that a wall clock
    /// that was set is seen; `None` where no token can end.
    pub fn poll_clock_ms(&self) -> Option<u64> {
        let may_end = self.authority.wants_tokens() && self.sessions.len() > 0;
        may_end.then_some(CLOCK_LOOK_MS)
    }

    /// Sets the deadlines of tokens again when the wall clock was set.
    pub(super) fn follow_clock(&mut self, now: Now) {
        let offset_ms = now.unix_ms.saturating_sub(now.mono_ms);
        if offset_ms.abs_diff(self.unix_offset_ms) < DRIFT_MS {
            return;
        }
        self.unix_offset_ms = offset_ms;
        let keys: Vec<(u32, u32)> = self.sessions.keys().collect();
        for (index, generation) in keys {
            let key = ConnKey { index, generation };
            if self.session(key).is_some_and(|session| session.papers.is_some()) {
                self.arm(key);
            }
        }
    }

    /// Has every loop do what a request says, and answers it then.
    pub(super) fn run_revoke(&mut self, key: ConnKey, body: &[u8], exchange: Exchange, now: Now) {
        match api::read_revocation(body) {
            Ok(revocation) => {
                let revocation = revocation.as_of(now.unix_ms / 1_000);
                self.gather(key, exchange, Topic::Revoke(Arc::new(revocation)), now);
            }
            Err(response) => self.respond(key, &response, exchange, now),
        }
    }

    /// Lets nobody in any more by what is revoked, and closes who is.
    pub(super) fn apply_revocation(&mut self, revocation: &Revocation, now: Now) -> Answer {
        if self.revocations.add(revocation, now.unix_ms / 1_000).is_err() {
            return Answer::Full;
        }
        let revocations = std::mem::take(&mut self.revocations);
        let is_over = |access: &Access| {
            let token = access.token.as_ref();
            token.is_some_and(|token| revocations.is_revoked(access.user.id(), token))
        };
        let ended = self.end_access(is_over, now);
        self.revocations = revocations;
        Answer::Told(ended)
    }

    /// Closes the WebSockets whose access `is_over`; how many there were.
    fn end_access(&mut self, is_over: impl Fn(&Access) -> bool, now: Now) -> u32 {
        let keys: Vec<(u32, u32)> = self.sessions.keys().collect();
        let mut ended = 0;
        for (index, generation) in keys {
            let key = ConnKey { index, generation };
            let is_open = |session: &&mut Session| session.phase.is_websocket();
            let Some(session) = self.session(key).filter(is_open) else { continue };
            let access = session.papers.as_deref().and_then(|papers| papers.access.as_deref());
            if access.is_some_and(&is_over) {
                ended += 1;
                self.counters.tokens_revoked += 1;
                if self.native(key).is_some() {
                    let message = BadToken::Revoked.to_string();
                    let error = plain_error(ErrorCode::Unauthorized, &message, None);
                    self.answer_error(key, &error);
                }
                self.disconnect(key, Disconnect::Unauthorized, now);
            }
        }
        ended
    }
}
