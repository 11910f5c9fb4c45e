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

    /// Bytes that this loop holds for connections and rooms, as far as they may grow quickly.
    pub fn held_bytes(&self) -> u64 {
        let histories = self.homes.history_bytes() + self.homes.staged_bytes();
        self.counters.spill_bytes + (self.buffers.pinned_bytes() + histories) as u64
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
        | Route::Login
        | Route::Revocations
        | Route::Healthz
        | Route::Readyz
        | Route::Metrics
        | Route::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::super::settings::Settings;
    use super::super::shard::Progress;
    use super::*;
    use crate::auth::Trust;
    use crate::broker::RoomOptions;
    use crate::ws;

    const ENOUGH: MemoryUse = MemoryUse { used_bytes: 1, max_bytes: 9, pressure: Pressure::None };

    fn short(over_bytes: u64) -> MemoryUse {
        MemoryUse { used_bytes: 9, max_bytes: 9, pressure: Pressure::High { over_bytes } }
    }

    /// A member of a room of its own that does not read, and for whom so much waits.
    fn stalled(rig: &mut Rig, room: &str, kib: usize) -> ConnKey {
        let key = rig.ask_for(&format!("/raw/{room}"));
        rig.shard.end_tick(rig.now);
        rig.read_all(key);
        for _ in 0..kib / 32 {
            rig.publish(key, &[7; 32 * 1024]);
            rig.shard.end_tick(rig.now);
            rig.write(key, 0, Progress::Blocked);
        }
        key
    }

    /// Why each of them is being closed, if it is.
    fn reasons(rig: &mut Rig, keys: &[ConnKey]) -> Vec<Option<Disconnect>> {
        let mut reason = |key: &ConnKey| rig.shard.session(*key).map(|session| session.reason);
        // What nobody decided on would look like a failed socket.
        keys.iter().map(|key| reason(key).filter(|reason| *reason != Disconnect::Io)).collect()
    }

    #[test]
    fn those_who_hold_the_most_go_first_and_no_more_than_must() {
        let mut rig = Rig::new(RoomOptions::default());
        let sizes = [("a", 128), ("b", 1_024), ("c", 32), ("d", 512)];
        let keys = sizes.map(|(room, kib)| stalled(&mut rig, room, kib));
        let gone = Some(Disconnect::OverCapacity);
        assert_eq!(rig.shard.handle_memory(short(0), rig.now), Relief::default());
        let relief = rig.shard.handle_memory(short(100_000), rig.now);
        assert!(relief.members == 1 && relief.bytes >= 900_000, "{relief:?}");
        assert_eq!(reasons(&mut rig, &keys), [None, gone, None, None]);
        let relief = rig.shard.handle_memory(short(600_000), rig.now);
        assert!(relief.members == 2, "{relief:?}");
        assert_eq!(reasons(&mut rig, &keys), [gone, gone, None, gone], "little is left alone");
        assert_eq!(rig.shard.counters().pressure_shed, 3);
        // Of what waited only the frame that was begun is left, and the close behind it.
        assert!(rig.offered(keys[1]).ends_with(&[0x88, 2, 0x03, 0xF5]), "1013");
    }

    #[test]
    fn who_reads_is_not_closed_and_of_those_who_do_not_so_many_at_a_time() {
        let mut rig = Rig::new(RoomOptions::default());
        let reader = rig.ask_for("/raw/reader");
        rig.shard.end_tick(rig.now);
        rig.read_all(reader);
        for _ in 0..10 {
            rig.publish(reader, &[7; 64 * 1024]);
            rig.shard.end_tick(rig.now);
        }
        for nth in 0..SHED_PER_TICK_MAX + 3 {
            stalled(&mut rig, &format!("room-{nth}"), 96);
        }
        let shed = |rig: &mut Rig| rig.shard.handle_memory(short(u64::MAX), rig.now).members;
        assert_eq!([shed(&mut rig), shed(&mut rig), shed(&mut rig)], [SHED_PER_TICK_MAX, 3, 0]);
        assert_eq!(reasons(&mut rig, &[reader]), [None]);
    }

    #[test]
    fn histories_go_when_nobody_is_slow_and_only_as_much_as_must() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.settled(false);
        for _ in 0..20 {
            rig.publish(key, &[7; 32 * 1024]);
            rig.shard.end_tick(rig.now);
        }
        let before = rig.shard.counters().history_bytes;
        let relief = rig.shard.handle_memory(short(200_000), rig.now);
        let after = rig.shard.counters().history_bytes;
        assert_eq!((relief.members, relief.bytes), (0, before - after));
        assert!((200_000..400_000).contains(&relief.bytes), "{relief:?} of {before}");
    }

    #[test]
    fn while_memory_is_short_nothing_new_begins_and_what_is_there_goes_on() {
        let mut rig = Rig::with(RoomOptions::default(), Settings::default());
        let old = rig.settled(true);
        rig.shard.handle_memory(short(0), rig.now);
        for target in ["/raw/room", "/ws"] {
            let key = rig.ask_for(target);
            let told = String::from_utf8(rig.read_all(key)).expect("text");
            assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("memory: "), "{told}");
        }
        let ask = |rig: &mut Rig, request: &str| {
            let key = rig.open();
            rig.shard.handle_bytes(key, &mut request.as_bytes().to_vec(), rig.now);
            rig.shard.end_tick(rig.now);
            String::from_utf8(rig.read_all(key)).expect("text")
        };
        let post = |room| {
            let line = format!("POST /v1/rooms/{room}/messages HTTP/1.1\r\nHost: a\r\n");
            format!("{line}Content-Length: 1\r\n\r\nx")
        };
        let told = ask(&mut rig, &post("new"));
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("memory: "), "{told}");
        let told = ask(&mut rig, &post("room"));
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        rig.shard.end_tick(rig.now);
        assert!(rig.read_all(old).ends_with(b"x"), "members go on");
        let ready = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(ask(&mut rig, ready).starts_with("HTTP/1.1 503 "));
        assert_eq!(rig.shard.counters().pressure_refused, 3);

        rig.shard.handle_memory(ENOUGH, rig.now);
        assert!(ask(&mut rig, ready).starts_with("HTTP/1.1 200 "));
        assert!(ask(&mut rig, &post("new")).starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn who_is_turned_away_at_the_door_is_told_why_whatever_it_asks() {
        let mut rig = Rig::new(RoomOptions::default());
        for (admission, told) in [
            (Admission::OverCapacity, ("over-capacity: ", "5")),
            (Admission::TooFast { retry_after_s: 23 }, ("accept-rate: ", "23")),
            (Admission::ShortOfMemory, ("memory: ", "5")),
        ] {
            for target in ["/raw/room", "/healthz"] {
                let key = rig.shard.handle_open(admission, Trust::Stranger, None, rig.now);
                let mut request = Vec::new();
                ws::client_request(&mut request, "broker.test", target, &[7; 16], None);
                rig.shard.handle_bytes(key, &mut request, rig.now);
                let answer = String::from_utf8(rig.read_all(key)).expect("text");
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(told.0), "{answer}");
                assert!(answer.contains(&format!("Retry-After: {}\r\n", told.1)), "{answer}");
            }
        }
    }
}
