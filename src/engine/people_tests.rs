//! Requests about users: who is told what, who waits, and what of it all one client can ask for.

use crate::auth::{Identity, Trust};
use crate::broker::{ConnKey, LoopId, RoomOptions};
use crate::engine::hash::HashKey;
use crate::engine::rig::Rig;
use crate::engine::settings::{NativeSettings, Settings};
use crate::engine::shard::{Progress, Setup, Shard};
use crate::limits::{
    GATHER_TIMEOUT_MS, GATHERS_MAX, OUTGOING_BYTES_MAX, PAGES_IN_FLIGHT_MAX, STATUSES_PER_TICK_MAX,
};
use crate::ws::{self, Opcode};
use std::sync::Arc;

fn say(rig: &mut Rig, key: ConnKey, request: &str) {
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
    rig.shard.handle_bytes(key, &mut frame, rig.now);
}

fn read(rig: &mut Rig, key: ConnKey) -> String {
    rig.shard.end_tick(rig.now);
    String::from_utf8_lossy(&rig.read_all(key)).into_owned()
}

/// Connects as a user, and joins `lobby`.
fn connect(rig: &mut Rig, user: &str) -> ConnKey {
    let key = rig.open_as(Trust::Proxy);
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
    say(rig, key, r#"{"type":"join-room","room":"lobby"}"#);
    assert!(read(rig, key).contains("room-joined"));
    key
}

fn rig() -> Rig {
    let identity = Identity { user_header: Some("X-User".into()), ..Identity::default() };
    Rig::with(RoomOptions::default(), Settings { identity, ..Settings::default() })
}

#[test]
fn a_receipt_is_not_kept_for_who_takes_nothing_but_words_are() {
    let mut rig = rig();
    let (ada, bob) = (connect(&mut rig, "ada"), connect(&mut rig, "bob"));
    say(&mut rig, ada, r#"{"type":"room-message","room":"lobby","content":1}"#);
    rig.shard.end_tick(rig.now);
    rig.write(ada, 1, Progress::Blocked);
    say(&mut rig, bob, r#"{"type":"receipt","room":"lobby","seq":1,"status":"read"}"#);
    say(&mut rig, bob, r#"{"type":"direct-message","user":"ada","content":"kept"}"#);
    rig.shard.end_tick(rig.now);
    let told = String::from_utf8_lossy(&rig.offered(ada)).into_owned();
    assert!(told.contains("kept") && !told.contains("receipt"), "{told}");
    assert_eq!(rig.shard.counters().volatile_dropped, 1);
    rig.shard.handle_writable(ada, rig.now);
    rig.read_all(ada);
    say(&mut rig, bob, r#"{"type":"receipt","room":"lobby","seq":1,"status":"read"}"#);
    assert!(read(&mut rig, ada).contains(r#""type":"receipt""#));
}

#[test]
fn words_to_who_takes_nothing_end_it_when_its_outbox_is_full() {
    let mut rig = rig();
    let (ada, bob) = (connect(&mut rig, "ada"), connect(&mut rig, "bob"));
    say(&mut rig, bob, r#"{"type":"direct-message","user":"ada","content":1}"#);
    rig.shard.end_tick(rig.now);
    rig.write(ada, 1, Progress::Blocked);
    let content = "x".repeat(60_000);
    let request = format!(r#"{{"type":"direct-message","user":"ada","content":"{content}"}}"#);
    let sent = (0..1_000).find(|_| {
        say(&mut rig, bob, &request);
        rig.shard.end_tick(rig.now);
        while rig.shard.poll_dirty().is_some() {}
        rig.shard.counters().natives == 1
    });
    let bytes = sent.expect("it is closed at last") * content.len();
    let bound = crate::limits::OUTBOX_BYTES_MAX;
    assert!((bound - 2 * content.len()..=bound).contains(&bytes), "{bytes}");
    assert_eq!(rig.shard.counters().users_online, 1);
}

#[test]
fn a_loop_that_does_not_answer_is_named() {
    let mut rig = rig();
    let setup = Setup {
        id: LoopId(0),
        loops: 2,
        room_key: HashKey([1, 2]),
        epoch_key: HashKey([3, 4]),
        settings: Arc::clone(&rig.shard.settings),
        stopwatch: || 0,
    };
    rig.shard = Shard::new(setup, rig.now);
    let key = rig.ask_for("/ws");
    for (nth, request) in ["get-rooms", "get-online-users"].into_iter().enumerate() {
        say(&mut rig, key, &format!(r#"{{"type":"{request}","id":{nth}}}"#));
    }
    assert!(!read(&mut rig, key).contains("unavailable"));
    rig.now = rig.now.plus_ms(GATHER_TIMEOUT_MS);
    rig.shard.handle_deadlines(rig.now);
    let told = read(&mut rig, key);
    for nth in 0..2 {
        let error = format!(r#""id":{nth},"code":"unavailable""#);
        assert!(told.contains(&error) && told.contains("in time: 1;"), "{told}");
    }
}

#[test]
fn watching_takes_no_room_from_those_that_are_asked_for() {
    let native = NativeSettings { rooms_per_conn_max: 1, ..NativeSettings::default() };
    let settings = Settings { rooms_max: 1, native, ..Settings::default() };
    let mut rig = Rig::with(RoomOptions::default(), settings);
    let key = rig.ask_for("/ws");
    say(&mut rig, key, r#"{"type":"hello","presence":true}"#);
    say(&mut rig, key, r#"{"type":"join-room","room":"one"}"#);
    say(&mut rig, key, r#"{"type":"join-room","room":"two","id":2}"#);
    let told = read(&mut rig, key);
    assert!(told.contains(r#""room-joined","room":"one""#), "{told}");
    assert!(told.contains(r#""id":2,"code":"too-many-rooms""#), "{told}");
    assert_eq!((rig.shard.counters().rooms, rig.shard.counters().members), (1, 2));
}

#[test]
fn who_thinks_twice_about_watching_watches_as_it_said_last() {
    let mut rig = rig();
    let key = rig.ask_for("/ws");
    for (nth, wanted) in [true, false, true, true, false].into_iter().enumerate() {
        say(&mut rig, key, &format!(r#"{{"type":"hello","presence":{wanted}}}"#));
        if nth == 2 {
            rig.shard.end_tick(rig.now);
            assert_eq!(rig.shard.counters().members, 1, "the first join was taken back");
        }
    }
    rig.shard.end_tick(rig.now);
    rig.shard.end_tick(rig.now);
    assert_eq!(rig.shard.counters().members, 0);
    rig.read_all(key);
    connect(&mut rig, "ada");
    assert_eq!(read(&mut rig, key), "");
    say(&mut rig, key, r#"{"type":"hello","presence":true}"#);
    rig.shard.end_tick(rig.now);
    connect(&mut rig, "bob");
    let told = read(&mut rig, key);
    assert!(told.contains(r#""user-online","user":{"id":"bob""#), "{told}");
}

#[test]
fn who_thinks_twice_about_watching_owes_no_answers() {
    let mut rig = rig();
    let key = rig.ask_for("/ws");
    for nth in 0..10 {
        let wanted = nth % 2 == 0;
        say(&mut rig, key, &format!(r#"{{"type":"hello","presence":{wanted}}}"#));
    }
    read(&mut rig, key);
    assert_eq!(rig.shard.native(key).map(|native| native.in_flight), Some(0));
}

#[test]
fn too_many_questions_at_a_time_are_refused() {
    let mut rig = rig();
    let each = PAGES_IN_FLIGHT_MAX as usize;
    let most = GATHERS_MAX / 4 * 3;
    let keys: Vec<ConnKey> = (0..most / each).map(|_| rig.ask_for("/ws")).collect();
    let last = rig.ask_for("/ws");
    rig.shard.end_tick(rig.now);
    for nth in 0..most {
        say(&mut rig, keys[nth / each], r#"{"type":"get-rooms"}"#);
    }
    say(&mut rig, last, r#"{"type":"get-rooms"}"#);
    let health = rig.open();
    rig.shard.handle_bytes(
        health,
        &mut b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        rig.now,
    );
    assert_eq!(read(&mut rig, last).matches("unavailable").count(), 1);
    assert!(read(&mut rig, health).starts_with("HTTP/1.1 200 "), "clients can't make it fail");
    for key in keys {
        assert_eq!(read(&mut rig, key).matches("rooms-list").count(), each);
    }
}

#[test]
fn long_answers_are_made_a_few_at_a_time() {
    let mut rig = rig();
    let key = connect(&mut rig, "ada");
    let (mut frames, request) = (Vec::new(), br#"{"type":"get-members","room":"lobby"}"#);
    for _ in 0..100 {
        ws::push_masked_frame(&mut frames, Opcode::Text, request, [1, 2, 3, 4]);
    }
    rig.shard.handle_bytes(key, &mut frames, rig.now);
    let mut answered = 0;
    while answered < 100 {
        let made = read(&mut rig, key).matches("members-list").count();
        assert!((1..=PAGES_IN_FLIGHT_MAX as usize).contains(&made), "{made}");
        answered += made;
    }
}

#[test]
fn what_many_ask_for_at_once_is_answered_within_the_outgoing_bound() {
    let mut rig = rig();
    let keys: Vec<ConnKey> = (0..500).map(|nth| connect(&mut rig, &format!("{nth:099}"))).collect();
    rig.shard.end_tick(rig.now);
    for key in &keys {
        rig.read_all(*key);
    }
    let request = r#"{"type":"get-members","room":"lobby","limit":1000}"#;
    for key in &keys {
        say(&mut rig, *key, request);
    }
    let made = rig.shard.outgoing[0].bytes();
    assert!(made < OUTGOING_BYTES_MAX + 200_000, "{made}");
    let mut answered = 0;
    for _ in 0..20 {
        rig.shard.end_tick(rig.now);
        for key in &keys {
            let told = String::from_utf8_lossy(&rig.read_all(*key)).into_owned();
            answered += told.matches("members-list").count();
        }
    }
    assert_eq!(answered, keys.len());
}

#[test]
fn a_client_in_many_rooms_that_says_how_it_is_without_end_leaves_time_for_others() {
    let mut rig = rig();
    let key = rig.ask_for("/ws");
    let mut frames = Vec::new();
    for nth in 0..1_000 {
        let request = format!(r#"{{"type":"join-room","room":"room-{nth}"}}"#);
        ws::push_masked_frame(&mut frames, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
    }
    for nth in 0..100 {
        let status = ["away", "online"][nth % 2];
        let request = format!(r#"{{"type":"presence","status":"{status}"}}"#);
        ws::push_masked_frame(&mut frames, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
    }
    ws::push_masked_frame(&mut frames, Opcode::Text, br#"{"type":"ping","id":7}"#, [1, 2, 3, 4]);
    rig.shard.handle_bytes(key, &mut frames, rig.now);
    let mut turns = 0;
    while !read(&mut rig, key).contains(r#""type":"pong","id":7"#) {
        assert!(rig.shard.statuses <= STATUSES_PER_TICK_MAX + 1_000, "{}", rig.shard.statuses);
        turns += 1;
        assert!(turns < 1_000, "it is not forgotten");
    }
    assert!(turns > 100_000 / (STATUSES_PER_TICK_MAX + 1_000), "{turns}");
}
