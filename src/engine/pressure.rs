//! Too much of something for newcomers: who is turned away at the door, and what makes way while
//! memory is short.
//!
//! Not here: how much memory there is and how much is used (`net` looks), what limits there are at
//! the accept queue. Invariants: whoever is turned away is told why and when to come back; only
//! members that the kernel takes nothing more for are closed, the fullest outboxes first.

use super::shard::{Admission, Shard};
use crate::api;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::http::{Response, Route, route};
use crate::limits::{BACKLOG_SEGMENT_BYTES, SHED_PER_TICK_MAX};

/// Whether new work is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pressure {
    /// There is memory.
    #[default]
    None,
    /// There is not: no new connections, WebSockets or rooms, and slow members are closed.
    High {
        /// Bytes that would have to go for it to be over.
        over_bytes: u64,
    },
}

/// Memory, as it was last looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUse {
    /// What the process uses.
    pub used_bytes: u64,
    /// What it may use; 0 is as much as there is.
    pub max_bytes: u64,
    /// What follows.
    pub pressure: Pressure,
}

/// What was given up because memory was short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Relief {
    /// Slow members that were closed.
    pub members: usize,
    /// Bytes that will be free once the allocator has noticed.
    pub bytes: u64,
}

impl Shard {
    /// Takes note of how much memory is used, and gives up what can be if it is too much: what
    /// waits for the slowest members, so many at a time, and if that is not enough the oldest
    /// history.
    pub fn handle_memory(&mut self, memory: MemoryUse, now: Now) -> Relief {
        self.memory = memory;
        self.homes.short_of_memory = self.is_short_of_memory();
        let Pressure::High { over_bytes } = memory.pressure else { return Relief::default() };
        let members = self.shed_slowest(over_bytes, now);
        let left_bytes = over_bytes.saturating_sub(members.bytes);
        let histories = self.homes.history_bytes();
        let kept = histories.saturating_sub(usize::try_from(left_bytes).unwrap_or(usize::MAX));
        self.homes.shrink_histories(kept);
        let forgotten = histories - self.homes.history_bytes();
        Relief { bytes: members.bytes + forgotten as u64, ..members }
    }

    /// Whether new work is refused.
    pub fn is_short_of_memory(&self) -> bool {
        self.memory.pressure != Pressure::None
    }

    /// Closes members whose outboxes pin the most, until that is enough.
    fn shed_slowest(&mut self, over_bytes: u64, now: Now) -> Relief {
        let sessions = &self.sessions;
        let mut slowest: Vec<(usize, ConnKey)> = sessions
            .keys()
            .filter_map(|(index, generation)| {
                let session = sessions.get(index, generation)?;
                let bytes = session.outbox.bytes();
                // What is on its way to a healthy reader is neither much nor there for long.
                let is_slow = session.blocked && bytes >= BACKLOG_SEGMENT_BYTES;
                (is_slow && session.phase.is_websocket())
                    .then_some((bytes, ConnKey { index, generation }))
            })
            .collect();
        slowest.sort_unstable_by_key(|(bytes, key)| (std::cmp::Reverse(*bytes), key.index));
        let mut relief = Relief::default();
        for (_, key) in slowest.into_iter().take(SHED_PER_TICK_MAX) {
            if relief.bytes >= over_bytes {
                break;
            }
            let before = self.buffers.pinned_bytes();
            self.drop_queued(key);
            self.disconnect(key, Disconnect::OverCapacity, now);
            relief.bytes += before.saturating_sub(self.buffers.pinned_bytes()) as u64;
            relief.members += 1;
        }
        self.counters.pressure_shed += relief.members as u64;
        relief
    }

    /// What a request is told that is not looked into: of a connection that is one too many, of
    /// any while the process drains, and of new WebSockets while memory is short.
    pub(super) fn turn_away(&mut self, key: ConnKey, path: &str) -> Option<Response> {
        let admission = self.session(key)?.admission;
        let (response, counter) = match admission {
            // What these are was counted as they came.
            Admission::TooFast { retry_after_s } => return Some(api::too_fast(retry_after_s)),
            Admission::ShortOfMemory => return Some(api::short_of_memory()),
            Admission::OverCapacity => {
                (api::over_capacity(), &mut self.counters.connections_refused)
            }
            Admission::Served if self.draining => {
                (api::draining(), &mut self.counters.connections_refused)
            }
            Admission::Served if self.is_short_of_memory() && is_websocket(path) => {
                (api::short_of_memory(), &mut self.counters.pressure_refused)
            }
            Admission::Served => return None,
        };
        *counter += 1;
        Some(response)
    }
}

/// Whether what is asked for there would stay.
fn is_websocket(path: &str) -> bool {
    match route(path) {
        Route::Raw { .. } | Route::Native | Route::Echo => true,
        Route::Messages { .. }
        | Route::RoomNotifications { .. }
        | Route::UserMessages { .. }
        | Route::UserNotifications { .. }
        | Route::Broadcast
        | Route::Healthz
        | Route::Readyz
        | Route::Metrics
        | Route::Unknown => false,
    }
}
