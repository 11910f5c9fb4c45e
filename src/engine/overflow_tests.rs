//! Every overflow policy against a list of whole messages, under random partial writes.

use crate::broker::{ConnKey, Overflow, RawDrops, RoomOptions};
use crate::engine::Progress;
use crate::engine::rig::{Rig, frame};
use crate::protocol::raw;
use crate::ws;
use std::collections::VecDeque;

/// What a member's queue is: messages by `seq`, the first of which may have been begun.
struct Reference {
    options: RoomOptions,
    queue: VecDeque<(u64, Vec<u8>)>,
    begun: usize,
    blocked: bool,
    closed: bool,
    dropped: Vec<u64>,
}

impl Reference {
    fn bytes(&self) -> usize {
        self.queue.iter().map(|(_, frame)| frame.len()).sum::<usize>() - self.begun
    }

    fn exceeds(&self, messages_max: usize, begun: (usize, usize)) -> bool {
        self.bytes() > begun.0 + self.options.outbox_bytes_max
            || self.queue.len() > begun.1 + messages_max
    }

    fn messages_max(&self) -> usize {
        self.options.outbox_messages_max as usize
    }

    fn handle_run(&mut self, run: Vec<(u64, Vec<u8>)>) {
        let before = self.queue.len();
        if self.closed {
            return;
        }
        self.queue.extend(run);
        if !self.blocked || !self.exceeds(self.messages_max(), (0, 0)) {
            return;
        }
        match self.options.overflow {
            Overflow::DropNewest => {
                let fitting = (before..=self.queue.len()).rev().find(|len| {
                    let kept: usize = self.queue.iter().take(*len).map(|(_, f)| f.len()).sum();
                    *len == before
                        || kept - self.begun <= self.options.outbox_bytes_max
                            && *len <= self.messages_max()
                });
                let dropped = self.queue.split_off(fitting.unwrap_or(before));
                self.dropped.extend(dropped.iter().map(|(seq, _)| *seq));
            }
            Overflow::Disconnect | Overflow::DropOldest | Overflow::Latest => self.judge(),
        }
    }

    fn handle_left(&mut self, progress: Progress) {
        self.blocked = progress == Progress::Blocked;
        if !self.closed && self.exceeds(self.messages_max(), (0, 0)) {
            self.judge();
        }
    }

    fn judge(&mut self) {
        let begun = if self.begun > 0 { (self.queue[0].1.len() - self.begun, 1) } else { (0, 0) };
        let messages_max = match self.options.overflow {
            Overflow::Latest => 1,
            Overflow::Disconnect => {
                self.queue.truncate(begun.1);
                self.closed = true;
                let mut close = Vec::new();
                ws::push_close(&mut close, 4101, "");
                return self.queue.push_back((0, close));
            }
            Overflow::DropOldest | Overflow::DropNewest => self.messages_max(),
        };
        while self.queue.len() > begun.1 && self.exceeds(messages_max, begun) {
            let (seq, _) = self.queue.remove(begun.1).expect("it was counted");
            self.dropped.push(seq);
        }
    }

    fn send(&mut self, len: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while let Some((_, frame)) = self.queue.front().filter(|_| sent.len() < len) {
            let end = frame.len().min(self.begun + len - sent.len());
            sent.extend_from_slice(&frame[self.begun..end]);
            self.begun = end % frame.len();
            if self.begun == 0 {
                self.queue.pop_front();
            }
        }
        sent
    }
}

fn agrees(overflow: Overflow, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let options = RoomOptions {
        overflow,
        raw_drops: RawDrops::Silent,
        outbox_bytes_max: dice.usize(1..200),
        outbox_messages_max: dice.u32(1..12),
        ..RoomOptions::default()
    };
    let mut rig = Rig::new(options);
    let (publisher, member) = (rig.settled(true), rig.settled(true));
    let mut model = Reference {
        options,
        queue: VecDeque::new(),
        begun: 0,
        blocked: false,
        closed: false,
        dropped: Vec::new(),
    };
    let (mut seq, mut told) = (0, 0);
    for _ in 0..60 {
        if dice.bool() {
            let mut run = Vec::new();
            for _ in 0..dice.usize(1..6) {
                seq += 1;
                let payload = vec![u8::try_from(seq % 256).expect("a byte"); dice.usize(..40)];
                rig.publish(publisher, &payload);
                run.push((seq, frame(&payload)));
            }
            rig.shard.end_tick(rig.now);
            rig.read_all(publisher);
            model.handle_run(run);
        } else if model.blocked {
            rig.shard.handle_writable(member, rig.now);
            model.blocked = false;
        } else {
            let len = dice.usize(..120);
            let offered = rig.offered(member).len();
            let progress = match dice.bool() {
                _ if len >= offered => Progress::Ready,
                true if len > 0 => Progress::Part,
                true | false => Progress::Blocked,
            };
            assert_eq!(rig.write(member, len, progress), model.send(len), "{overflow:?} {seed}");
            if progress != Progress::Ready {
                model.handle_left(progress);
            }
        }
        let queued: Vec<u8> = model.queue.iter().flat_map(|(_, f)| f.clone()).collect();
        assert_eq!(rig.offered(member), queued[model.begun..], "{overflow:?} {seed}");
        for gap in rig.gaps() {
            let fresh = &model.dropped[told..];
            let (from, to) = (fresh.iter().min(), fresh.iter().max());
            let expected = (from.copied(), to.copied(), fresh.len() as u64);
            assert_eq!((Some(gap.from), Some(gap.to), gap.count), expected, "{overflow:?} {seed}");
            told = model.dropped.len();
        }
        assert_eq!(told, model.dropped.len(), "{overflow:?} {seed}: a drop is not told");
        let counters = rig.shard.counters();
        assert_eq!(counters.outbox_bytes, model.bytes() as u64, "{overflow:?} {seed}");
        assert_eq!(counters.messages_dropped, told as u64, "{overflow:?} {seed}");
    }
}

#[test]
fn every_policy_agrees_with_a_list_of_messages() {
    use Overflow::{Disconnect, DropNewest, DropOldest, Latest};
    for overflow in [Disconnect, DropOldest, DropNewest, Latest] {
        for seed in 0..200 {
            agrees(overflow, seed);
        }
    }
}

#[test]
fn a_raw_member_that_may_not_miss_anything_is_closed_with_its_code() {
    let options = RoomOptions {
        overflow: Overflow::Latest,
        raw_drops: RawDrops::Disconnect,
        outbox_bytes_max: 10,
        ..RoomOptions::default()
    };
    let mut rig = Rig::new(options);
    let (publisher, member) = (rig.settled(true), rig.settled(true));
    rig.publish(publisher, b"whole");
    rig.shard.end_tick(rig.now);
    let mut seen = rig.write(member, 3, Progress::Blocked);
    rig.publish(publisher, b"too much");
    rig.shard.end_tick(rig.now);
    assert!(rig.gaps().is_empty());
    seen.extend(rig.offered(member));
    let mut expected = frame(b"whole");
    let code = raw::close_code(crate::broker::Disconnect::SlowConsumer);
    ws::push_close(&mut expected, code.expect("it has one"), "");
    assert_eq!(seen, expected);
}

#[test]
fn a_small_rest_does_not_pin_a_large_batch() {
    let mut rig = Rig::new(RoomOptions::default());
    let (publisher, member) = (rig.settled(true), rig.settled(true));
    rig.publish(publisher, &[1; 100_000]);
    rig.publish(publisher, &[2; 1_000]);
    rig.shard.end_tick(rig.now);
    rig.read_all(publisher);
    let offered = rig.offered(member);
    let mut seen = rig.write(member, 100_500, Progress::Blocked);
    assert!(rig.shard.counters().pinned_bytes < 10_000, "{:?}", rig.shard.counters());
    seen.extend(rig.offered(member));
    assert_eq!(seen, offered);
}

#[test]
fn a_stalled_member_of_a_quiet_room_does_not_pin_what_a_busy_room_gets() {
    let mut rig = Rig::new(RoomOptions::default());
    let stalled = [rig.settled(true), rig.settled(true)];
    let speaker = rig.settled(true);
    let busy = rig.ask_for("/raw/busy");
    rig.shard.end_tick(rig.now);
    rig.read_all(busy);
    for nth in 0..50_u8 {
        rig.publish(speaker, &[nth]);
        rig.publish(busy, &[nth; 64 * 1024]);
        rig.shard.end_tick(rig.now);
        rig.read_all(speaker);
        rig.read_all(busy);
        if nth == 0 {
            for key in stalled {
                rig.write(key, 0, Progress::Blocked);
            }
        }
    }
    assert!(
        rig.shard.counters().pinned_bytes < 256 * 1024,
        "{}",
        rig.shard.counters().pinned_bytes
    );
    let queued: Vec<u8> = (0..50_u8).flat_map(|nth| frame(&[nth])).collect();
    for key in stalled {
        assert_eq!(rig.offered(key), queued);
    }
}

#[test]
fn a_backlog_at_its_bound_pins_at_most_one_and_a_half_times_that() {
    const BOUND: usize = 1024 * 1024;
    for (bytes, burst) in
        [(8, 1), (128, 1), (128, 64), (500, 7), (1_000, 1), (5_000, 3), (70_000, 1), (300_000, 2)]
    {
        let options = RoomOptions {
            overflow: Overflow::DropOldest,
            raw_drops: RawDrops::Silent,
            outbox_bytes_max: BOUND,
            ..RoomOptions::default()
        };
        let mut rig = Rig::new(options);
        let (speaker, stalled) = (rig.settled(true), rig.settled(true));
        for nth in 0..3 * BOUND / (bytes * burst) {
            for _ in 0..burst {
                rig.publish(speaker, &vec![7; bytes]);
            }
            rig.shard.end_tick(rig.now);
            rig.read_all(speaker);
            if nth == 0 {
                rig.write(stalled, 0, Progress::Blocked);
            }
            let pinned = rig.shard.counters().pinned_bytes;
            assert!(pinned <= (BOUND + BOUND / 2) as u64, "{bytes} B by {burst}: {pinned}");
        }
        let counters = rig.shard.counters();
        assert!(counters.messages_dropped > 0, "{bytes} B by {burst}: it was at its bound");
    }
}

#[test]
fn stalled_members_of_a_room_share_what_they_wait_for() {
    let mut rig = Rig::new(RoomOptions::default());
    let speaker = rig.settled(true);
    let stalled: Vec<ConnKey> = (0..10).map(|_| rig.settled(true)).collect();
    let mut expected = Vec::new();
    for nth in 0..2_000_u32 {
        let payload = nth.to_be_bytes().repeat(32);
        rig.publish(speaker, &payload);
        expected.extend(frame(&payload));
        rig.shard.end_tick(rig.now);
        rig.read_all(speaker);
        if nth == 0 {
            stalled.iter().for_each(|key| drop(rig.write(*key, 0, Progress::Blocked)));
        }
    }
    let pinned = usize::try_from(rig.shard.counters().pinned_bytes).expect("it fits");
    assert!(pinned < expected.len() / 2 * 3, "{pinned} for {} bytes once", expected.len());
    for key in stalled {
        rig.shard.handle_writable(key, rig.now);
        assert!(rig.read_all(key) == expected, "each gets all of it, in order");
    }
    assert_eq!(rig.shard.counters().outbox_bytes, 0);
}

#[test]
fn who_stalls_later_goes_on_where_the_others_are() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new(RoomOptions::default());
        let speaker = rig.settled(true);
        let members: Vec<ConnKey> = (0..4).map(|_| rig.settled(dice.bool())).collect();
        let mut due = vec![Vec::new(); members.len()];
        for nth in 0..100_u8 {
            let payload = vec![nth; dice.usize(0..400)];
            rig.publish(speaker, &payload);
            due.iter_mut().for_each(|due| due.extend(frame(&payload)));
            rig.shard.end_tick(rig.now);
            rig.read_all(speaker);
            for (key, due) in members.iter().zip(&mut due) {
                let (bytes, progress) = match dice.u8(..4) {
                    0 => (usize::MAX, Progress::Ready),
                    1 => (dice.usize(0..1_000), Progress::Blocked),
                    _ => continue,
                };
                rig.shard.handle_writable(*key, rig.now);
                let queued = rig.offered(*key).len();
                let whole = bytes >= queued;
                let progress = if whole { Progress::Ready } else { progress };
                let taken = rig.write(*key, bytes, progress);
                assert!(due.starts_with(&taken), "seed {seed}");
                due.drain(..taken.len());
            }
        }
        for (key, due) in members.iter().zip(due) {
            rig.shard.handle_writable(*key, rig.now);
            assert_eq!(rig.read_all(*key), due, "seed {seed}");
        }
        assert_eq!(rig.shard.counters().outbox_bytes, 0, "seed {seed}");
    }
}
