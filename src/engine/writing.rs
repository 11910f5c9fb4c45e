//! From outboxes to sockets: who is to be written next, what, and what became of it.
//!
//! Members of small rooms come before members of large ones, so that a room of 10,000 stalls
//! nobody. Invariants: a connection that has output is in a dirty queue or blocked; one that the
//! kernel refuses is not offered again before its writable edge.

use super::session::{Dirty, Pause, Phase};
use super::shard::{Action, Progress, Shard};
use super::timers::tick_of;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::limits::OUTBOX_HIGH_WATER_BYTES;
use std::io::IoSlice;

impl Shard {
    /// The next connection that has output.
    pub fn poll_dirty(&mut self) -> Option<ConnKey> {
        self.pop_dirty(Dirty::Small).or_else(|| self.pop_dirty(Dirty::Large))
    }

    /// Whether any connection has output that was not offered to the kernel yet.
    pub fn has_dirty(&self) -> bool {
        !self.dirty_small.is_empty() || !self.dirty_large.is_empty()
    }

    /// Fills `slices` with what the connection is to be sent next; returns how many it filled.
    pub fn output<'a>(&'a self, key: ConnKey, slices: &mut [IoSlice<'a>]) -> usize {
        let session = self.sessions.get(key.index, key.generation);
        session.map_or(0, |session| session.outbox.slices(&self.nodes, &self.buffers, slices))
    }

    /// Takes note that the kernel took `bytes` of what [`Self::output`] offered.
    pub fn handle_written(&mut self, key: ConnKey, bytes: usize, progress: Progress, now: Now) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        session.outbox.advance(&mut self.nodes, &mut self.buffers, bytes);
        self.counters.outbox_bytes -= bytes as u64;
        self.counters.bytes_out += bytes as u64;
        // What the kernel takes counts as life, but for our own question: a dead peer's kernel is
        // not asked, ours takes the ping in its place.
        if bytes > 0 && session.pings == 0 {
            session.heard = tick_of(now.mono_ms);
        }
        let queued = session.outbox.bytes();
        let resumes = session.pause == Pause::Output && queued < OUTBOX_HIGH_WATER_BYTES / 2;
        match progress {
            Progress::Blocked => {
                session.blocked = true;
                self.handle_blocked(key, now);
            }
            Progress::Ready if queued > 0 => self.mark_dirty(key.index, true),
            Progress::Ready => self.settle_if_flushed(key, now),
        }
        if resumes {
            self.unpause(key);
        }
    }

    /// Takes note that a connection the kernel refused is writable again.
    pub fn handle_writable(&mut self, key: ConnKey, now: Now) {
        let Some(session) = self.session(key) else { return };
        if !std::mem::replace(&mut session.blocked, false) {
            return;
        }
        // The peer's kernel has drained something.
        session.heard = tick_of(now.mono_ms);
        session.pings = 0;
        if session.outbox.is_empty() {
            self.settle_if_flushed(key, now);
        } else {
            self.mark_dirty(key.index, true);
        }
    }

    /// Goes on with an ending that waited for the outbox.
    pub(super) fn settle_if_flushed(&mut self, key: ConnKey, now: Now) {
        let Some(session) = self.session(key).filter(|session| session.outbox.is_empty()) else {
            return;
        };
        match session.phase {
            Phase::Finishing => {
                let reason = session.reason;
                self.close_now(key, reason, now);
            }
            Phase::Linger(_) | Phase::Closing(None) if session.eof => {
                self.close_now(key, Disconnect::Http, now);
            }
            Phase::Linger(_) | Phase::Closing(None) if !session.shut => {
                session.shut = true;
                self.actions.push_back(Action::Shutdown(key));
            }
            Phase::Head(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Raw(_)
            | Phase::Echo(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Gone => {}
        }
    }

    fn pop_dirty(&mut self, kind: Dirty) -> Option<ConnKey> {
        loop {
            let index = match kind {
                Dirty::Small => self.dirty_small.pop_front(),
                Dirty::Large => self.dirty_large.pop_front(),
                Dirty::No => None,
            }?;
            // The slot may have changed hands or queues since: its flag says what is true now.
            let Some(session) = self.sessions.at_mut(index).filter(|s| s.dirty == kind) else {
                continue;
            };
            session.dirty = Dirty::No;
            if session.blocked || session.outbox.is_empty() {
                continue;
            }
            let generation = self.sessions.generation_at(index)?;
            return Some(ConnKey { index, generation });
        }
    }
}
