//! What may be sent in a second, by whom, and what becomes of the rest.

use super::Rates;
use crate::auth::{Authority, Identity, Secret, Trust};
use crate::broker::{ConnKey, PeerAddr, RoomOptions};
use crate::engine::Rate;
use crate::engine::rig::Rig;
use crate::engine::settings::Settings;
use crate::engine::shard::Admission;
use crate::limits::RATE_VIOLATIONS_MAX;
use crate::ws::{self, Opcode};
use std::sync::Arc;

const TEN: Rate = Rate { messages_per_s: 10, bytes_per_s: 0 };

fn rig(rates: Rates) -> Rig {
    let identity = Identity { user_header: Some("X-User".into()), ..Identity::default() };
    let api_keys = vec![Secret::new(*b"the key of a server")];
    let authority = Arc::new(Authority { api_keys, ..Authority::default() });
    let settings = Settings { rates, identity, authority, ..Settings::default() };
    Rig::with(RoomOptions::default(), settings)
}

fn connect(rig: &mut Rig, path: &str, user: &str, address: [u8; 4]) -> ConnKey {
    while rig.shard.poll_action().is_some() {}
    let peer = Some(PeerAddr::v4(address));
    let key = rig.shard.handle_open(Admission::Served, Trust::Proxy, peer, rig.now);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
    read(rig, key);
    key
}

fn read(rig: &mut Rig, key: ConnKey) -> String {
    rig.shard.end_tick(rig.now);
    String::from_utf8_lossy(&rig.read_all(key)).into_owned()
}

fn say(rig: &mut Rig, key: ConnKey, request: &str) -> String {
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
    rig.shard.handle_bytes(key, &mut frame, rig.now);
    read(rig, key)
}

const PING: &str = r#"{"type":"ping","id":5}"#;

fn pass(rig: &mut Rig, ms: u64) {
    for _ in 0..ms / 100 {
        rig.now = rig.now.plus_ms(100);
        rig.shard.handle_deadlines(rig.now);
        rig.shard.end_tick(rig.now);
    }
}

#[test]
fn who_sends_too_fast_is_told_then_closed_and_who_slows_down_goes_on() {
    let mut rig = rig(Rates { connection: TEN, ..Rates::default() });
    let key = connect(&mut rig, "/ws", "ada", [192, 0, 2, 1]);
    for _ in 0..10 {
        assert!(say(&mut rig, key, PING).contains("pong"), "a second's worth at once");
    }
    let told = say(&mut rig, key, PING);
    assert!(told.contains(r#""code":"rate-limited""#) && told.contains(r#""id":5"#), "{told}");
    assert!(told.contains(r#""retryAfter":100"#), "{told}");
    pass(&mut rig, 100);
    assert!(say(&mut rig, key, PING).contains("pong"));
    pass(&mut rig, 2_000);
    for _ in 0..10 {
        assert!(say(&mut rig, key, PING).contains("pong"));
    }
    for _ in 0..RATE_VIOLATIONS_MAX {
        assert!(say(&mut rig, key, PING).contains("rate-limited"));
    }
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, PING.as_bytes(), [1, 2, 3, 4]);
    rig.shard.handle_bytes(key, &mut frame, rig.now);
    assert_eq!(rig.shard.session(key).map(|session| session.close_code), Some(4002));
    assert_eq!(u64::from(RATE_VIOLATIONS_MAX) + 2, rig.shard.counters().rate_limited);
}

#[test]
fn the_connections_of_a_user_and_of_an_address_pay_from_one_bucket() {
    for rates in
        [Rates { user: TEN, ..Rates::default() }, Rates { address: TEN, ..Rates::default() }]
    {
        let mut rig = rig(rates);
        let keys: Vec<ConnKey> =
            (0..3).map(|_| connect(&mut rig, "/ws", "ada", [192, 0, 2, 1])).collect();
        let other = connect(&mut rig, "/ws", "bob", [192, 0, 2, 2]);
        let through = keys.iter().cycle().take(30).filter(|key| {
            let told = say(&mut rig, **key, PING);
            assert!(told.contains("pong") || told.contains("rate-limited"), "{told}");
            told.contains("pong")
        });
        assert_eq!(through.count(), 10, "{rates:?}");
        assert!(say(&mut rig, other, PING).contains("pong"));
        for key in keys.into_iter().chain([other]) {
            rig.shard.handle_error(key, rig.now);
        }
        while rig.shard.poll_action().is_some() {}
        pass(&mut rig, 3_000);
        assert_eq!(rig.shard.counters().buckets, 0, "full buckets are forgotten");
    }
}

#[test]
fn a_raw_member_is_made_to_wait_and_loses_nothing() {
    let mut rig = rig(Rates { connection: TEN, ..Rates::default() });
    let key = connect(&mut rig, "/raw/a", "ada", [192, 0, 2, 1]);
    let mut frames = Vec::new();
    for number in 0..40_u8 {
        ws::push_masked_frame(&mut frames, Opcode::Binary, &[number], [0; 4]);
    }
    rig.shard.handle_bytes(key, &mut frames, rig.now);
    rig.shard.end_tick(rig.now);
    assert_eq!(rig.shard.counters().publications, 10);
    pass(&mut rig, 1_000);
    let numbered = rig.shard.counters().publications;
    assert!((14..=20).contains(&numbered), "no faster than the rate: {numbered}");
    pass(&mut rig, 6_000);
    assert_eq!(rig.shard.counters().publications, 40);
    let sent = rig.read_all(key);
    let numbers: Vec<u8> = sent.chunks(3).map(|frame| frame[2]).collect();
    assert_eq!(numbers, (0..40).collect::<Vec<u8>>(), "in order");
    assert_eq!(rig.shard.counters().spill_bytes, 0);
}

#[test]
fn requests_over_http_are_refused_with_the_time_to_come_back() {
    let mut rig = rig(Rates { connection: TEN, ..Rates::default() });
    let post = |rig: &mut Rig, fields: &str| {
        let key = rig.open();
        let request = format!(
            "POST /v1/rooms/a/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{fields}\r\nx"
        );
        (0..12)
            .map(|_| {
                rig.shard.handle_bytes(key, &mut request.clone().into_bytes(), rig.now);
                read(rig, key)
            })
            .collect::<Vec<String>>()
    };
    let server = post(&mut rig, "X-API-Key: the key of a server\r\n");
    assert!(server.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{server:?}");
    let mut open = self::rig(Rates { connection: TEN, ..Rates::default() });
    Arc::make_mut(&mut open.shard.authority).api_keys.clear();
    let answers = post(&mut open, "");
    let (good, bad) = answers.split_at(10);
    assert!(good.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{good:?}");
    for answer in bad {
        assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("Retry-After: 1\r\n"));
    }
}

#[test]
fn who_only_looks_pays_nothing() {
    let mut rig = rig(Rates { connection: TEN, address: TEN, ..Rates::default() });
    let key = rig.open();
    for target in ["/healthz", "/readyz", "/metrics"].iter().cycle().take(60) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
        assert!(read(&mut rig, key).starts_with("HTTP/1.1 200 "), "{target}");
    }
}

#[test]
fn a_raw_member_whose_message_waits_can_be_closed_like_any_other() {
    let mut rig = rig(Rates { connection: TEN, ..Rates::default() });
    let key = connect(&mut rig, "/raw/a", "ada", [192, 0, 2, 1]);
    let mut frames = Vec::new();
    for number in 0..12_u8 {
        ws::push_masked_frame(&mut frames, Opcode::Binary, &[number], [0; 4]);
    }
    rig.shard.handle_bytes(key, &mut frames, rig.now);
    assert!(rig.shard.session(key).is_some_and(|session| session.holds_message()));
    rig.shard.handle_drain(rig.now);
    pass(&mut rig, 500);
    assert_eq!(rig.shard.session(key).map(|session| session.close_code), Some(1001));
    rig.shard.handle_error(key, rig.now);
    while rig.shard.poll_action().is_some() {}
    assert_eq!(rig.shard.counters().spill_bytes, 0);
}

#[test]
fn what_waits_to_be_paid_for_is_published_though_its_sender_has_ended_its_half() {
    let mut rig = rig(Rates { connection: TEN, ..Rates::default() });
    let key = connect(&mut rig, "/raw/a", "ada", [192, 0, 2, 1]);
    for number in 0..11_u8 {
        let mut frame = Vec::new();
        ws::push_masked_frame(&mut frame, Opcode::Binary, &[number], [0; 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
    }
    rig.shard.handle_eof(key, rig.now);
    assert_eq!(rig.shard.counters().publications, 10);
    pass(&mut rig, 1_000);
    assert_eq!(rig.shard.counters().publications, 11);
}
