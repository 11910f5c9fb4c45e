//! What a member and a room cost on the heap, in one loop's shard.
//!
//! Not here: what the process holds resident (`cargo load`), what a reader holds (`ws_memory`).
//! Counted is what was asked of the allocator.

use fanfare::auth::Trust;
use fanfare::broker::{
    ConnKey, HistoryOptions, LoopId, Now, PresenceMode, PresenceOptions, RoomOptions, RoomPolicies,
};
use fanfare::engine::{Admission, HashKey, Progress, Settings, Setup, Shard};
use fanfare::ws::{self, Opcode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::IoSlice;
use std::sync::Arc;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Now = Now { mono_ms: 1_000, unix_ms: 1_000 };

/// One loop's shard, whose rooms all have the same options.
struct House {
    shard: Shard,
}

impl House {
    fn new(options: RoomOptions) -> Self {
        let policies = RoomPolicies::new(options, Vec::new());
        let setup = Setup {
            id: LoopId(0),
            loops: 1,
            room_key: HashKey([1, 2]),
            epoch_key: HashKey([3, 4]),
            settings: Arc::new(Settings { policies, ..Settings::default() }),
            stopwatch: || 0,
        };
        Self { shard: Shard::new(setup, NOW) }
    }

    fn open(&mut self) -> ConnKey {
        let key = self.shard.handle_open(Admission::Served, Trust::Stranger, None, NOW);
        let mut request = Vec::new();
        ws::client_request(&mut request, "localhost", "/ws", b"the sample nonce", None);
        self.shard.handle_bytes(key, &mut request, NOW);
        self.settle();
        key
    }

    fn send(&mut self, key: ConnKey, text: &str) {
        let mut frame = Vec::new();
        ws::push_masked_frame(&mut frame, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.shard.handle_bytes(key, &mut frame, NOW);
        self.settle();
    }

    /// Ends the tick; every socket takes all that it is offered.
    fn settle(&mut self) {
        self.shard.end_tick(NOW);
        while let Some(key) = self.shard.poll_dirty() {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = self.shard.output(key, &mut slices);
            let bytes = slices[..filled].iter().map(|slice| slice.len()).sum();
            self.shard.handle_written(key, bytes, Progress::Ready, NOW);
        }
        while self.shard.poll_action().is_some() {}
        while self.shard.poll_notice().is_some() {}
    }
}

/// Bytes that `work` leaves allocated.
fn kept(work: impl FnOnce()) -> isize {
    let region = Region::new(HEAP);
    work();
    let change = region.change();
    let signed = |bytes: usize| isize::try_from(bytes).expect("it fits");
    signed(change.bytes_allocated) - signed(change.bytes_deallocated)
}

// One test: the counts are of the whole process.
#[test]
fn members_rooms_and_replays_cost_little() {
    a_member_costs_64_bytes();
    an_empty_room_costs_256_bytes();
    a_replay_copies_no_messages();
}

fn a_member_costs_64_bytes() {
    const MEMBERS: isize = 10_000;
    let mut house = House::new(RoomOptions::default());
    let keys: Vec<ConnKey> = (0..MEMBERS).map(|_| house.open()).collect();
    let bytes = kept(|| {
        for &key in &keys {
            house.send(key, r#"{"type":"join-room","room":"hall"}"#);
        }
    });
    let each = bytes / MEMBERS;
    eprintln!("a member of a room of {MEMBERS}: {each} bytes beyond its connection");
    assert!((1..=64).contains(&each), "{each} bytes for a member");
}

fn an_empty_room_costs_256_bytes() {
    const ROOMS: isize = 10_000;
    let history = HistoryOptions { messages_max: 0, ..HistoryOptions::default() };
    let presence = PresenceOptions { mode: PresenceMode::Full, ..PresenceOptions::default() };
    let mut house = House::new(RoomOptions { history, presence, ..RoomOptions::default() });
    let key = house.open();
    let bytes = kept(|| {
        for nth in 0..ROOMS {
            house.send(key, &format!(r#"{{"type":"create-room","room":"chat:{nth}"}}"#));
        }
    });
    let each = bytes / ROOMS;
    eprintln!("an empty room of {ROOMS}: {each} bytes");
    assert!((1..=256).contains(&each), "{each} bytes for an empty room");
}

fn a_replay_copies_no_messages() {
    const MESSAGES: usize = 1_000;
    let mut house = House::new(RoomOptions::default());
    let publisher = house.open();
    house.send(publisher, r#"{"type":"join-room","room":"hall"}"#);
    let content = "x".repeat(126);
    for _ in 0..MESSAGES {
        house.send(
            publisher,
            &format!(r#"{{"type":"room-message","room":"hall","content":"{content}"}}"#),
        );
    }
    let newcomer = house.open();
    let mut frame = Vec::new();
    let join = r#"{"type":"join-room","room":"hall","history":1000}"#;
    ws::push_masked_frame(&mut frame, Opcode::Text, join.as_bytes(), [1, 2, 3, 4]);
    let region = Region::new(HEAP);
    house.shard.handle_bytes(newcomer, &mut frame, NOW);
    house.shard.end_tick(NOW);
    let allocated = region.change().bytes_allocated;
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = house.shard.output(newcomer, &mut slices);
    let bytes: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
    eprintln!("{MESSAGES} messages: {bytes} bytes in {filled} slices, {allocated} allocated");
    assert!(bytes > MESSAGES * 250, "all of them are there: {bytes}");
    assert!(filled <= bytes.div_ceil(64 * 1024) + 3, "{filled} slices");
    assert!(allocated < 16 * 1024, "{allocated} bytes allocated for {bytes} bytes sent");
}
