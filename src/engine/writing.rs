//! From outboxes to sockets: who is to be written next, what, and what became of it.
//!
//! Invariants: a connection that has output is in a dirty queue, blocked or corked; one that the
//! kernel refuses is not offered again before its writable edge, one that it took a part of is.

use super::session::{Dirty, Pause, Phase};
use super::shard::{Action, Progress, Shard};
use super::timers::tick_of;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::limits::{OUTBOX_HIGH_WATER_BYTES, UNOFFERED_BYTES_MAX};
use std::io::IoSlice;

impl Shard {
    /// The next connection that has output.
    pub fn poll_dirty(&mut self) -> Option<ConnKey> {
        loop {
            let (index, kind) = self.dirty.pop()?;
            // The slot may have changed hands or queues since: its flag says what is true now.
            let Some(session) = self.sessions.at_mut(index).filter(|s| s.dirty == kind) else {
                continue;
            };
            session.dirty = Dirty::No;
            if session.blocked || session.corked || session.outbox.is_empty() {
                continue;
            }
            let generation = self.sessions.generation_at(index)?;
            return Some(ConnKey { index, generation });
        }
    }

    /// Whether any connection has output that was not offered to the kernel yet.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether so much has been laid out for connections that were not offered it yet that no
    /// more is to be taken in: neither from other loops nor from publishers.
    pub fn is_behind(&self) -> bool {
        self.dirty.behind_bytes() > UNOFFERED_BYTES_MAX as u64
    }

    /// All that the connection is to be sent, where it is one piece; where it is not, and only
    /// then, there is [`Self::output`].
    pub fn output_whole(&self, key: ConnKey) -> Option<&[u8]> {
        let session = self.sessions.get(key.index, key.generation)?;
        session.outbox.only(&self.nodes, &self.buffers)
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
                self.handle_left(key, now);
            }
            // A socket is full for a moment more often than its peer is slow: a paced one takes
            // little at a time, and one write a round would leave it behind those that are not.
            Progress::Part => {
                self.handle_left(key, now);
                self.tell_gaps(key);
                self.mark_dirty(key.index, self.dirty.was_small());
            }
            Progress::Ready if queued > 0 => self.mark_dirty_again(key.index),
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
            self.tell_gaps(key);
            self.mark_dirty(key.index, true);
        }
    }

    /// Queues a connection again that one write call could not offer everything.
    fn mark_dirty_again(&mut self, index: u32) {
        if let Some(session) = self.sessions.at_mut(index).filter(|s| s.dirty == Dirty::No) {
            session.dirty = Dirty::Small;
            self.dirty.push_again(index);
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
            Phase::Proxied(_)
            | Phase::Head(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Raw(_)
            | Phase::Unauthenticated(_)
            | Phase::Native(_)
            | Phase::Echo(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, frame};
    use super::super::shard::Appetite;
    use super::*;
    use crate::broker::RoomOptions;
    use crate::limits::{SMALL_ROOM_MEMBERS_MAX, WRITES_PER_SLICE_MAX};

    fn crowd(rig: &mut Rig, room: &str, count: usize) -> Vec<ConnKey> {
        let keys: Vec<ConnKey> = (0..count).map(|_| rig.ask_for(&format!("/raw/{room}"))).collect();
        rig.shard.end_tick(rig.now);
        while write_slice(rig, usize::MAX) > 0 {}
        keys
    }

    /// Writes what the next connections have; how many there were.
    fn write_slice(rig: &mut Rig, most: usize) -> usize {
        let mut written = 0;
        while written < most
            && let Some(key) = rig.shard.poll_dirty()
        {
            rig.read_all(key);
            written += 1;
        }
        written
    }

    #[test]
    fn busy_small_rooms_do_not_starve_a_large_one() {
        let mut rig = Rig::new(RoomOptions::default());
        let large = crowd(&mut rig, "large", SMALL_ROOM_MEMBERS_MAX + 1);
        let small = ["one", "two"].map(|room| crowd(&mut rig, room, SMALL_ROOM_MEMBERS_MAX));
        rig.publish(large[0], b"all");
        for _ in 0..5 {
            for keys in &small {
                rig.publish(keys[0], b"few");
            }
            rig.shard.end_tick(rig.now);
            write_slice(&mut rig, WRITES_PER_SLICE_MAX);
        }
        assert!(large.iter().all(|key| rig.offered(*key).is_empty()));
    }

    #[test]
    fn who_was_written_in_part_has_another_turn_after_the_others() {
        for members in [3, SMALL_ROOM_MEMBERS_MAX + 1] {
            let mut rig = Rig::new(RoomOptions::default());
            let keys = crowd(&mut rig, "room", members);
            let (&first, others) = keys.split_first().expect("a room has members");
            rig.publish(first, b"to all");
            rig.shard.end_tick(rig.now);
            assert_eq!(rig.shard.poll_dirty(), Some(first));
            let mut seen = rig.write(first, 3, Progress::Part);
            for key in others {
                assert_eq!(rig.shard.poll_dirty(), Some(*key), "of {members}");
                rig.read_all(*key);
            }
            assert_eq!(rig.shard.poll_dirty(), Some(first), "it waits for no edge");
            seen.extend(rig.write(first, 0, Progress::Blocked));
            assert_eq!(rig.shard.poll_dirty(), None, "but when it refuses");
            rig.shard.handle_writable(first, rig.now);
            assert_eq!(rig.shard.poll_dirty(), Some(first));
            seen.extend(rig.read_all(first));
            assert_eq!(seen, frame(b"to all"), "of {members}");
        }
    }

    #[test]
    fn a_publisher_waits_until_members_have_been_offered_what_it_sent_before() {
        let mut rig = Rig::new(RoomOptions::default());
        let keys = crowd(&mut rig, "room", 10);
        let mut sent = 0;
        let mut frame = Vec::new();
        crate::ws::push_masked_frame(&mut frame, crate::ws::Opcode::Binary, &[7; 1 << 20], [0; 4]);
        while rig.shard.handle_bytes(keys[0], &mut frame.clone(), rig.now) == Appetite::More {
            rig.shard.end_tick(rig.now);
            sent += 1;
            assert!(sent < 10, "nobody slows it");
        }
        assert!(rig.shard.is_behind());
        while write_slice(&mut rig, usize::MAX) > 0 {}
        assert!(!rig.shard.is_behind());
        rig.shard.end_tick(rig.now); // Lets it go on.
        rig.shard.end_tick(rig.now);
        assert_eq!(rig.shard.poll_action(), Some(Action::Resume(keys[0])));
        assert!(rig.shard.has_dirty(), "what was held back is on its way");
    }
}
