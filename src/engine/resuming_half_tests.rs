//! Sessions that are taken up half way: one room has answered, another has not; and what stands
//! in the way of the welcome.

use super::*;
use crate::broker::Overflow;
use crate::engine::settings::NativeSettings;
use crate::limits::{OUTBOX_BYTES_MAX, RESUME_BYTES_MAX};

/// Two loops, a client at the first, and its session taken up as far as the room there (`near`);
/// the other loop (`far`) has not answered.
struct HalfWay {
    net: Net,
    client: Client,
    near: &'static str,
    far: &'static str,
}

impl HalfWay {
    fn new() -> Self {
        Self::with(RoomOptions::default())
    }

    fn with(options: RoomOptions) -> Self {
        let home = |room: &&str| home_of(HashKey([1, 2]).name(room), 2);
        let [near, far] = [LoopId(0), LoopId(1)].map(|at| {
            let room = ["a", "b", "c"].into_iter().find(|room| home(room) == at);
            room.expect("three rooms are on both loops")
        });
        let (mut net, mut client) = (Net::with(2, options), Client::default());
        client.open(&mut net, 0);
        net.settle();
        client.read(&mut net, 0);
        let (at, key) = client.conn.expect("it was opened");
        net.shards[at].handle_error(key, net.now);
        net.settle();
        client.open(&mut net, 0);
        let (_, key) = client.conn.expect("it was opened");
        while !net.shards[0].session(key).is_some_and(|session| session.corked) {
            net.tick(0, usize::MAX);
            if !net.shards[0].session(key).is_some_and(|session| session.corked) {
                net.tick(1, usize::MAX);
            }
        }
        Self { net, client, near, far }
    }

    /// Something is published in the room that has answered.
    fn publish(&mut self) {
        let mut other = Client::default();
        other.open(&mut self.net, 0);
        let (_, key) = other.conn.expect("it was opened");
        self.net.tick(0, 0);
        let mut said = text(&publish(self.near, 1));
        self.net.shards[0].handle_bytes(key, &mut said, self.net.now);
        self.net.tick(0, 0);
    }
}

#[test]
fn what_comes_while_rooms_answer_waits_for_the_welcome() {
    let mut half = HalfWay::new();
    half.publish();
    let (_, key) = half.client.conn.expect("it was opened");
    let queued = half.net.shards[0].session(key).map(|session| session.outbox.messages());
    assert_eq!(queued, Some(1), "it is a member already");
    let offered = std::iter::from_fn(|| half.net.shards[0].poll_dirty()).any(|it| it == key);
    assert!(!offered, "nothing of it is written");
    half.net.settle();
    half.client.read(&mut half.net, 0);
    assert_eq!((half.client.resumed, half.client.rooms[half.near].1), (1, 1));
}

#[test]
fn who_ends_half_way_is_sent_nothing_of_its_rooms_and_comes_back_as_before() {
    let mut half = HalfWay::new();
    half.publish();
    let (_, key) = half.client.conn.expect("it was opened");
    half.net.shards[0].disconnect(key, Disconnect::Draining, half.net.now);
    half.client.waits = false; // It will not be answered.
    let known = half.client.rooms.clone();
    half.client.read(&mut half.net, 0);
    assert_eq!((half.client.resumed, &half.client.rooms), (0, &known));
    half.net.settle();
    let sum = |of: fn(&Shard) -> u64| half.net.shards.iter().map(of).sum::<u64>();
    assert_eq!(sum(|shard| shard.counters().sessions_parked), 1);
    assert_eq!(sum(|shard| shard.counters().members), 3, "those of the other client");
    half.client.open(&mut half.net, 1);
    half.net.settle();
    half.client.read(&mut half.net, 0);
    assert_eq!((half.client.resumed, half.client.rooms[half.near].1), (1, 1));
}

#[test]
fn a_room_with_too_much_past_is_named_and_left() {
    let mut half = HalfWay::new();
    let (_, key) = half.client.conn.expect("it was opened");
    half.net.tick(0, 0);
    half.net.shards[0].rejoining(key).expect("half way").bytes = RESUME_BYTES_MAX;
    half.net.settle();
    let mut slices = vec![IoSlice::new(&[]); 100];
    let filled = half.net.shards[0].output(key, &mut slices);
    let mut came: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
    let told = objects(&mut came);
    let rooms = told.last().expect("a welcome")["rooms"].as_array().expect("rooms");
    let refused = json!({"room": half.far, "error": "unavailable"});
    assert!(rooms.contains(&refused), "{rooms:?}");
    let joined = rooms.iter().filter(|room| room.get("type").is_some()).count() as u64;
    let members: u64 = half.net.shards.iter().map(|shard| shard.counters().members).sum();
    assert_eq!(members, joined, "it is in the rooms that it was told of");
    half.net.settle();
    let staying = half.net.shards[0].native(key).map(|native| native.rooms.len() as u64);
    assert_eq!(staying, Some(joined));
}

#[test]
fn what_was_dropped_while_rooms_answer_is_told_of_behind_the_welcome() {
    for is_blocked in [false, true] {
        let options = RoomOptions {
            overflow: Overflow::DropOldest,
            outbox_messages_max: 2,
            ..RoomOptions::default()
        };
        let mut half = HalfWay::with(options);
        for _ in 0..5 {
            half.publish();
        }
        let (_, key) = half.client.conn.expect("it was opened");
        half.net.shards[0].session(key).expect("it is there").blocked = is_blocked;
        half.net.settle();
        half.net.shards[0].handle_writable(key, half.net.now);
        let mut slices = vec![IoSlice::new(&[]); 100];
        let filled = half.net.shards[0].output(key, &mut slices);
        let mut came: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        let told = objects(&mut came);
        let types = told.iter().filter_map(|told| told["type"].as_str());
        let types: Vec<&str> = types.filter(|kind| *kind != "user-joined").collect();
        assert!(types.ends_with(&["welcome", "gap", "room-message", "room-message"]), "{types:?}");
    }
}

#[test]
fn what_a_stalled_client_missed_before_it_took_a_session_up_stays_told() {
    let policies = RoomPolicies::new(
        RoomOptions {
            overflow: Overflow::DropOldest,
            outbox_messages_max: 2,
            ..RoomOptions::default()
        },
        Vec::new(),
    );
    let native = NativeSettings {
        default_rooms: vec![RoomName::parse("news").expect("a name")],
        ..NativeSettings::default()
    };
    let mut rig = Rig::under(Settings { policies, native, ..Settings::default() });
    let (old, session) = rig.native();
    rig.say(old, &join("a"));
    rig.cut(old);
    let (key, _) = rig.native();
    let (other, _) = rig.native();
    rig.say(other, &publish("news", 0));
    rig.write(key, 1, Progress::Blocked);
    for content in 1..=4 {
        rig.say(other, &publish("news", content));
    }
    let hello = json!({"type": "hello", "session": session});
    rig.shard.handle_bytes(key, &mut text(&hello), rig.now);
    for _ in 0..6 {
        rig.shard.end_tick(rig.now);
    }
    rig.shard.handle_writable(key, rig.now);
    let told = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
    let (gap, welcome) = (told.find("\"gap\""), told.find("\"welcome\""));
    assert!(gap.is_some() && gap < welcome, "{told}");
    assert!(rig.shard.session(key).is_some_and(|session| session.outbox.is_empty()));
}

#[test]
fn who_reads_a_long_welcome_is_not_taken_for_slow() {
    let mut rig = rig();
    let (old, session) = rig.native();
    let (other, _) = rig.native();
    let content = "x".repeat(60_000);
    let rooms: Vec<String> = (0..10).map(|nth| format!("room-{nth}")).collect();
    for room in &rooms {
        rig.say(old, &join(room));
        rig.say(other, &join(room));
    }
    rig.cut(old);
    for room in &rooms {
        for _ in 0..15 {
            let said = json!({"type": "room-message", "room": room, "content": content});
            rig.say(other, &said);
            while rig.shard.poll_dirty().is_some() {}
        }
    }
    let (key, _) = rig.native();
    rig.shard.handle_bytes(key, &mut text(&json!({"type": "hello", "session": session})), rig.now);
    for _ in 0..6 {
        rig.shard.end_tick(rig.now);
    }
    let queued = rig.shard.session(key).map_or(0, |session| session.outbox.bytes());
    assert!(queued > OUTBOX_BYTES_MAX, "{queued}");
    rig.say(other, &publish(&rooms[0], 1));
    for progress in [Progress::Part, Progress::Blocked] {
        rig.write(key, 100_000, progress);
    }
    rig.say(other, &publish(&rooms[0], 2));
    assert_eq!(rig.shard.counters().natives, 2, "it has had no time to read it");
    let counters = rig.shard.counters();
    let queued = rig.shard.session(key).map_or(0, |session| session.outbox.bytes());
    assert_eq!(counters.outbox_bytes, queued as u64);
}
