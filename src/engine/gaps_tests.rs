//! What native members get and what they are told that they don't, as their clients read it.

#[path = "gaps_client.rs"]
mod client;

use super::*;
use crate::broker::{
    Overflow, PresenceMode, PresenceOptions, RoomOptions, RoomPattern, RoomPolicies,
};
use crate::engine::Progress;
use crate::engine::rig::Rig;
use crate::engine::settings::Settings;
use crate::limits::GAPS_QUEUED_MAX;
use client::{Client, Speaks, next_frame};
use serde_json::Value;

const POLICIES: [(&str, Overflow); 4] = [
    ("oldest", Overflow::DropOldest),
    ("newest", Overflow::DropNewest),
    ("latest", Overflow::Latest),
    ("strict", Overflow::Disconnect),
];

/// Rooms of each policy, by name.
fn rig(bytes: usize, messages: u32, presence: PresenceMode) -> Rig {
    let presence = PresenceOptions { mode: presence, ..PresenceOptions::default() };
    let patterns = POLICIES.map(|(name, overflow)| {
        let options = RoomOptions {
            overflow,
            outbox_bytes_max: bytes,
            outbox_messages_max: messages,
            presence,
            ..RoomOptions::default()
        };
        (RoomPattern::parse(name).expect("a pattern"), options)
    });
    let policies = RoomPolicies::new(RoomOptions::default(), patterns.into());
    Rig::under(Settings { policies, ..Settings::default() })
}

fn join(rig: &mut Rig, client: &mut Client, room: &str) {
    client.say(rig, &format!(r#"{{"type":"join-room","room":"{room}"}}"#));
}

fn publish(rig: &mut Rig, publisher: &mut Client, room: &str, mark: &str, len: usize) {
    let content = "x".repeat(len);
    let key = if mark.is_empty() { String::new() } else { format!(r#","key":"{mark}""#) };
    publisher.say(
        rig,
        &format!(r#"{{"type":"room-message","room":"{room}"{key},"content":"{content}"}}"#),
    );
}

/// A publisher that hears nothing of what it says, and members of all rooms but the strict one, the
/// first of which does not hear itself either.
fn cast(rig: &mut Rig) -> (Client, Vec<Client>) {
    let mut publisher = Client::open(rig, Speaks::Json);
    for (room, _) in POLICIES {
        publisher.say(rig, &format!(r#"{{"type":"join-room","room":"{room}","echo":false}}"#));
    }
    let mut members: Vec<Client> = [Speaks::Json, Speaks::Batch, Speaks::Binary]
        .into_iter()
        .map(|speaks| Client::open(rig, speaks))
        .collect();
    for (nth, member) in members.iter_mut().enumerate() {
        for room in ["oldest", "newest", "latest"] {
            let echo = nth > 0;
            member.say(rig, &format!(r#"{{"type":"join-room","room":"{room}","echo":{echo}}}"#));
        }
    }
    rig.shard.end_tick(rig.now);
    publisher.read_on(rig);
    members.iter_mut().for_each(|member| member.read_on(rig));
    (publisher, members)
}

/// What happened to the cast beside messages.
#[derive(Default)]
struct Tally {
    typed: u64,
    pinged: u64,
}

const ROOMS: [&str; 3] = ["oldest", "newest", "latest"];

/// Something happens, whatever the dice say.
fn turn(
    rig: &mut Rig,
    (publisher, members): (&mut Client, &mut [Client]),
    dice: &mut fastrand::Rng,
    tally: &mut Tally,
) {
    let room = ROOMS[dice.usize(..3)];
    match dice.u8(..12) {
        0..4 => {
            for _ in 0..dice.usize(1..6) {
                let (room, mark) = (ROOMS[dice.usize(..3)], ["", "a", "b"][dice.usize(..3)]);
                publish(rig, publisher, room, mark, dice.usize(..200));
            }
        }
        4 | 5 => publish(rig, &mut members[0], room, "", 20), // In vain, if it has left.
        6 => {
            publisher.say(rig, &format!(r#"{{"type":"typing","room":"{room}","isTyping":true}}"#));
            rig.shard.end_tick(rig.now);
            tally.typed += members.len() as u64;
        }
        7 => {
            let member = &mut members[dice.usize(..3)];
            if member.blocked || dice.bool() {
                member.send(rig, Opcode::Ping, b"");
                tally.pinged += 1;
                return;
            }
            member.read_on(rig);
            let word = if member.rooms.contains_key(room) { "leave-room" } else { "join-room" };
            member.say(rig, &format!(r#"{{"type":"{word}","room":"{room}"}}"#));
            rig.shard.end_tick(rig.now);
            if dice.bool() {
                member.read_on(rig);
            }
        }
        _ => {
            rig.shard.end_tick(rig.now);
            publisher.read_on(rig);
            let member = &mut members[dice.usize(..3)];
            if std::mem::take(&mut member.blocked) {
                return rig.shard.handle_writable(member.key, rig.now);
            }
            let left = if dice.bool() { Progress::Part } else { Progress::Blocked };
            member.take(rig, dice.usize(..1_500), left);
        }
    }
}

#[test]
fn what_is_received_and_what_is_told_missing_is_what_was_published() {
    let mut all_missed = 0;
    for seed in 0..300 {
        eprintln!("seed {seed}");
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut rig = rig(dice.usize(1..3_000), dice.u32(1..20), PresenceMode::Off);
        let (mut publisher, mut members) = cast(&mut rig);
        let mut tally = Tally::default();
        for _ in 0..80 {
            turn(&mut rig, (&mut publisher, &mut members), &mut dice, &mut tally);
        }
        rig.shard.end_tick(rig.now);
        publisher.read_on(&mut rig);
        for member in &mut members {
            member.read_on(&mut rig);
            assert_eq!(member.close, None, "nobody is disconnected");
            for (room, seat) in &mut member.rooms {
                let hash = rig.shard.room_key.name(room);
                let handle = rig.shard.homes.find(room, hash).expect("it has members");
                let last = rig.shard.homes.room(handle).expect("it is there").room.seq();
                assert_eq!(seat.due(), last + 1, "{room}: it knows of all that was published");
            }
        }
        let counters = rig.shard.counters();
        let sum = |of: fn(&Client) -> u64| members.iter().map(of).sum::<u64>();
        assert_eq!(sum(|one| one.missed), counters.messages_dropped);
        assert_eq!(sum(|one| one.gaps), counters.gaps_told);
        assert_eq!(counters.outbox_bytes, 0);
        assert!(sum(|one| one.typing) + counters.volatile_dropped <= tally.typed);
        assert_eq!(sum(|one| one.pongs) + counters.pongs_coalesced, tally.pinged);
        assert_eq!(rig.shard.nodes.gaps.free.len(), rig.shard.nodes.gaps.slots.len());
        all_missed += counters.messages_dropped;
    }
    assert!(all_missed > 10_000, "{all_missed} messages were dropped: the test says something");
}

/// What members of each form read of a room, ten messages of which came while they were stalled.
fn stalled_in(room: &str, marks: [&str; 10]) -> Vec<Vec<String>> {
    let mut rig = rig(1 << 20, 3, PresenceMode::Off);
    let (mut publisher, mut members) = cast(&mut rig);
    members.iter_mut().for_each(|member| member.stall(&mut rig));
    for mark in marks {
        publish(&mut rig, &mut publisher, room, mark, 10);
        rig.shard.end_tick(rig.now);
    }
    members
        .into_iter()
        .map(|mut member| {
            member.read_on(&mut rig);
            member.log
        })
        .collect()
}

#[test]
fn every_form_is_told_of_what_its_rooms_policy_dropped() {
    for (room, marks, expected) in [
        (
            "oldest",
            [""; 10],
            &["oldest gap 1-7 slow-consumer", "oldest 8", "oldest 9", "oldest 10"],
        ),
        (
            "newest",
            [""; 10],
            &["newest 1", "newest 2", "newest 3", "newest gap 4-10 slow-consumer"],
        ),
    ] {
        for log in stalled_in(room, marks) {
            assert_eq!(log, expected);
        }
    }
    let [json, _, binary] =
        stalled_in("latest", ["a", "b", "a", "a", "b", "b", "b", "c", "a", "b"])
            .try_into()
            .expect("three forms");
    let expected = ["latest gap 1-7 conflated", "latest 8", "latest 9", "latest 10"];
    assert_eq!(json, expected);
    assert_eq!(binary, expected);
}

#[test]
fn the_newest_of_each_key_stays_with_a_gap_before_each() {
    let mut rig = rig(1 << 20, 4, PresenceMode::Off);
    let (mut publisher, mut members) = cast(&mut rig);
    let member = &mut members[0];
    member.stall(&mut rig);
    for mark in ["a", "b", "a", "c", "a"] {
        publish(&mut rig, &mut publisher, "latest", mark, 10);
        rig.shard.end_tick(rig.now);
    }
    member.read_on(&mut rig);
    let expected = [
        "latest gap 1-1 conflated",
        "latest 2",
        "latest gap 3-3 conflated",
        "latest 4",
        "latest 5",
    ];
    assert_eq!(member.log, expected);
}

#[test]
fn a_room_that_is_too_full_takes_nothing_from_another() {
    let mut rig = rig(1 << 20, 4, PresenceMode::Off);
    let (mut publisher, mut members) = cast(&mut rig);
    let member = &mut members[0];
    member.stall(&mut rig);
    for room in ["newest", "oldest", "newest", "oldest", "oldest", "oldest", "newest"] {
        publish(&mut rig, &mut publisher, room, "", 10);
        rig.shard.end_tick(rig.now);
    }
    member.read_on(&mut rig);
    let expected = [
        "newest 1",
        "oldest gap 1-2 slow-consumer",
        "newest 2",
        "oldest 3",
        "oldest 4",
        "newest gap 3-3 slow-consumer",
    ];
    assert_eq!(member.log, expected);
}

#[test]
fn the_room_of_the_message_that_does_not_fit_decides() {
    let mut rig = rig(1 << 20, 4, PresenceMode::Off);
    let (mut publisher, mut members) = cast(&mut rig);
    let member = &mut members[0];
    join(&mut rig, member, "strict");
    rig.shard.end_tick(rig.now);
    member.read_on(&mut rig);
    member.stall(&mut rig);
    for _ in 0..3 {
        publish(&mut rig, &mut publisher, "strict", "", 10);
    }
    for _ in 0..5 {
        publish(&mut rig, &mut publisher, "oldest", "", 10);
        rig.shard.end_tick(rig.now);
    }
    member.take(&mut rig, 0, Progress::Blocked);
    assert_eq!(rig.gaps().len(), 4, "the room that lets messages go makes room");
    publish(&mut rig, &mut publisher, "strict", "", 10);
    rig.shard.end_tick(rig.now);
    member.read_on(&mut rig);
    assert_eq!(member.close, Some(4101));
}

#[test]
fn who_comes_and_goes_is_not_dropped_without_a_word() {
    for (room, _) in POLICIES.into_iter().filter(|(room, _)| *room != "strict") {
        let mut rig = rig(600, 100, PresenceMode::Full);
        let (mut publisher, mut members) = cast(&mut rig);
        let member = &mut members[0];
        member.stall(&mut rig);
        for _ in 0..2 {
            publish(&mut rig, &mut publisher, room, "", 10);
            rig.shard.end_tick(rig.now);
        }
        for _ in 0..6 {
            let mut guest = Client::open(&mut rig, Speaks::Json);
            join(&mut rig, &mut guest, room);
            rig.shard.end_tick(rig.now);
        }
        member.read_on(&mut rig);
        assert_eq!(member.close, None, "{room}");
        assert!(member.missed > 0, "{room}: it knows that it missed something");
    }
}

#[test]
fn a_notice_goes_together_with_a_message() {
    let mut rig = rig(500, 100, PresenceMode::Full);
    let (mut publisher, mut members) = cast(&mut rig);
    let member = &mut members[0];
    member.stall(&mut rig);
    let mut guests = 0;
    while rig
        .shard
        .sessions
        .get(member.key.index, member.key.generation)
        .is_some_and(|session| session.outbox.bytes() < 300)
    {
        let mut guest = Client::open(&mut rig, Speaks::Json);
        join(&mut rig, &mut guest, "oldest");
        rig.shard.end_tick(rig.now);
        guests += 1;
    }
    for _ in 0..2 {
        publish(&mut rig, &mut publisher, "oldest", "", 10);
        rig.shard.end_tick(rig.now);
    }
    member.read_on(&mut rig);
    assert!(guests > 1, "more than one notice was queued");
    assert_eq!(member.log, ["oldest gap 1-1 slow-consumer", "oldest 2"]);
}

#[test]
fn who_would_miss_notices_alone_is_disconnected() {
    let mut rig = rig(400, 100, PresenceMode::Full);
    let (_, mut members) = cast(&mut rig);
    let member = &mut members[0];
    for _ in 0..6 {
        let mut guest = Client::open(&mut rig, Speaks::Json);
        join(&mut rig, &mut guest, "oldest");
        rig.shard.end_tick(rig.now);
    }
    member.stall(&mut rig);
    member.read_on(&mut rig);
    assert_eq!(member.close, Some(4101), "no gap would tell of them");
}

#[test]
fn who_is_blocked_is_not_told_that_others_type() {
    let mut rig = rig(1 << 20, 100, PresenceMode::Off);
    let (mut publisher, mut members) = cast(&mut rig);
    for member in members.iter_mut().take(2) {
        member.stall(&mut rig);
    }
    publish(&mut rig, &mut publisher, "oldest", "", 10);
    publisher.say(&mut rig, r#"{"type":"typing","room":"oldest","isTyping":true}"#);
    publish(&mut rig, &mut publisher, "oldest", "", 10);
    rig.shard.end_tick(rig.now);
    for (member, typing) in members.iter_mut().zip([0, 0, 1]) {
        member.read_on(&mut rig);
        assert_eq!((member.typing, member.missed), (typing, 0));
        assert_eq!(member.log, ["oldest 1", "oldest 2"]);
    }
    assert_eq!(rig.shard.counters().volatile_dropped, 2);
}

#[test]
fn of_too_many_gaps_the_last_tells_of_the_rest() {
    const PAIRS: usize = GAPS_QUEUED_MAX as usize + 100;
    let most = u32::try_from(2 * PAIRS - 1).expect("a count");
    let mut rig = rig(64 << 20, most, PresenceMode::Off);
    let (mut publisher, mut members) = cast(&mut rig);
    let member = &mut members[0];
    member.stall(&mut rig);
    for nth in 0..PAIRS {
        publish(&mut rig, &mut publisher, "latest", "same", 1);
        publish(&mut rig, &mut publisher, "latest", &nth.to_string(), 1);
        rig.shard.end_tick(rig.now);
        publisher.read_on(&mut rig);
    }
    rig.shard.handle_writable(member.key, rig.now);
    let mut unread = Vec::new();
    while !rig.offered(member.key).is_empty() {
        unread.extend(rig.read_all(member.key));
    }
    let mut seen = vec![false; 2 * PAIRS + 1];
    let (mut gaps, mut count, mut told_to) = (0, 0, 0);
    while let Some((_, payload)) = next_frame(&mut unread) {
        let object: Value = serde_json::from_slice(&payload).expect("JSON");
        let number =
            |name: &str| usize::try_from(object[name].as_u64().expect("a number")).expect("few");
        if object["type"] == "gap" {
            (gaps, count, told_to) = (gaps + 1, count + number("count"), number("to"));
            continue;
        }
        let seq = number("seq");
        let passed = seen.iter().take(seq).rposition(|seen| *seen).map_or(1, |last| last + 1);
        assert!(passed == seq || told_to >= seq - 1, "{passed} is missed without a word");
        seen[seq] = true;
    }
    assert_eq!(gaps, GAPS_QUEUED_MAX);
    assert_eq!(count + seen.iter().filter(|seen| **seen).count(), 2 * PAIRS);
}

#[test]
fn a_gap_of_both_kinds_says_the_worse() {
    let of = |from, to, reason| Gap { from, to, count: 1, reason };
    let newest = of(1, 2, GapReason::Conflated);
    assert_eq!(merged(newest, &of(4, 4, GapReason::Conflated)).reason, GapReason::Conflated);
    let both = merged(newest, &of(4, 4, GapReason::SlowConsumer));
    assert_eq!(both, Gap { from: 1, to: 4, count: 2, reason: GapReason::SlowConsumer });
}
