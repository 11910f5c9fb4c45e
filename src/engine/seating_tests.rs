//! So many connections of one address and no more, wherever the address is counted.

use super::{address_hash, home_of};
use crate::auth::{ForwardedHeader, Network, Trust, TrustedProxies};
use crate::broker::{ConnKey, LoopId, PeerAddr, RoomOptions};
use crate::engine::hash::HashKey;
use crate::engine::rig::Rig;
use crate::engine::settings::Settings;
use crate::engine::shard::{Action, Admission, Setup, Shard};
use std::sync::Arc;

const PROXY: PeerAddr = PeerAddr::v4([10, 0, 0, 1]);

fn rig(most: u32) -> Rig {
    let networks = Network::v4([10, 0, 0, 0], 8).into_iter().collect();
    let settings = Settings {
        connections_per_address_max: most,
        trusted_proxies: TrustedProxies { networks, unix: false },
        client_address_header: ForwardedHeader::XForwardedFor,
        needs_addresses: true,
        ..Settings::default()
    };
    Rig::with(RoomOptions::default(), settings)
}

fn open(rig: &mut Rig, peer: PeerAddr) -> ConnKey {
    while rig.shard.poll_action().is_some() {}
    let trust = rig.shard.settings.trusted_proxies.trust(&peer);
    rig.shard.handle_open(Admission::Served, trust, Some(peer), rig.now)
}

/// The status that a request for a WebSocket gets.
fn ask(rig: &mut Rig, key: ConnKey, fields: &str) -> String {
    let request = format!(
        "GET /raw/a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
    rig.shard.end_tick(rig.now);
    let answer = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn close(rig: &mut Rig, key: ConnKey) {
    rig.shard.handle_error(key, rig.now);
    assert!(matches!(rig.shard.poll_action(), Some(Action::Close { .. })));
}

#[test]
fn one_too_many_of_an_address_is_refused_until_another_is_gone() {
    let mut rig = rig(2);
    let peers = [[192, 0, 2, 1], [192, 0, 2, 2]].map(PeerAddr::v4);
    let keys: Vec<ConnKey> = (0..3).map(|_| open(&mut rig, peers[0])).collect();
    let answers: Vec<String> = keys.iter().map(|key| ask(&mut rig, *key, "")).collect();
    assert_eq!(answers, ["101", "101", "429"]);
    let other = open(&mut rig, peers[1]);
    assert_eq!(ask(&mut rig, other, ""), "101");
    let counters = rig.shard.counters();
    assert_eq!((counters.addresses, counters.addresses_refused), (2, 1));
    close(&mut rig, keys[0]);
    let again = open(&mut rig, peers[0]);
    assert_eq!(ask(&mut rig, again, ""), "101");
    for key in [keys[1], other, again] {
        close(&mut rig, key);
    }
    assert_eq!(rig.shard.counters().addresses, 0, "nothing is left of addresses that are gone");
}

#[test]
fn addresses_of_one_ipv6_network_count_as_one() {
    let mut rig = rig(1);
    let address = |text: &str| PeerAddr::parse(text).expect("an address");
    let status = |rig: &mut Rig, text: &str| {
        let key = open(rig, address(text));
        ask(rig, key, "")
    };
    assert_eq!(status(&mut rig, "2001:db8::1"), "101");
    assert_eq!(status(&mut rig, "2001:db8::ffff:1"), "429");
    assert_eq!(status(&mut rig, "2001:db8:0:1::1"), "101");
    assert_eq!(status(&mut rig, "::ffff:192.0.2.1"), "101");
    assert_eq!(status(&mut rig, "192.0.2.1"), "429");
}

#[test]
fn behind_a_proxy_its_clients_count_and_not_the_proxy() {
    let mut rig = rig(1);
    let status = |rig: &mut Rig, fields: &str| {
        let key = open(rig, PROXY);
        assert_eq!(rig.shard.session(key).map(|session| session.trust), Some(Trust::Proxy));
        ask(rig, key, fields)
    };
    assert_eq!(status(&mut rig, "X-Forwarded-For: 192.0.2.1\r\n"), "101");
    assert_eq!(status(&mut rig, "X-Forwarded-For: 192.0.2.1\r\n"), "429");
    assert_eq!(status(&mut rig, "X-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n"), "429", "a lie");
    assert_eq!(status(&mut rig, "X-Forwarded-For: 192.0.2.2\r\n"), "101");
    for _ in 0..3 {
        assert_eq!(status(&mut rig, ""), "101", "the proxy's own");
    }
    let mut stranger = |fields: &str| {
        let key = open(&mut rig, PeerAddr::v4([203, 0, 113, 1]));
        ask(&mut rig, key, fields)
    };
    assert_eq!(stranger("X-Forwarded-For: 192.0.2.7\r\n"), "101");
    assert_eq!(stranger("X-Forwarded-For: 192.0.2.8\r\n"), "429");
}

#[test]
fn each_request_of_a_proxys_connection_may_be_of_another_client() {
    let mut rig = rig(1);
    let key = open(&mut rig, PROXY);
    let health = |rig: &mut Rig, client: &str| {
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\n\r\n");
        rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
        rig.shard.end_tick(rig.now);
        rig.read_all(key).starts_with(b"HTTP/1.1 200 ")
    };
    assert!(health(&mut rig, "192.0.2.1") && health(&mut rig, "192.0.2.2"));
    assert_eq!(rig.shard.counters().addresses, 1, "the first was given back");
    close(&mut rig, key);
    assert_eq!(rig.shard.counters().addresses, 0);
}

#[test]
fn one_too_many_that_says_nothing_is_told_at_once_and_goes() {
    let mut rig = rig(1);
    let peer = PeerAddr::v4([192, 0, 2, 1]);
    let keys: Vec<ConnKey> = (0..5).map(|_| open(&mut rig, peer)).collect();
    rig.shard.handle_deadlines(rig.now);
    rig.now = rig.now.plus_ms(100);
    rig.shard.handle_deadlines(rig.now);
    for key in &keys[1..] {
        let told = String::from_utf8(rig.read_all(*key)).expect("text");
        assert!(told.starts_with("HTTP/1.1 429 ") && told.contains("Retry-After: "), "{told}");
        assert!(told.contains("Connection: close"), "{told}");
    }
    assert!(rig.read_all(keys[0]).is_empty());
}

/// One loop of two, whose other is silent, and an address at home there.
fn half(most: u32) -> (Rig, PeerAddr) {
    let mut rig = rig(most);
    let settings = Arc::clone(&rig.shard.settings);
    let (room_key, epoch_key) = (HashKey([1, 2]), HashKey([3, 4]));
    let (id, loops) = (LoopId(0), 2);
    let setup = Setup { id, loops, room_key, epoch_key, settings, stopwatch: || 0 };
    rig.shard = Shard::new(setup, rig.now);
    let peers = (1..=255).map(|last| PeerAddr::v4([192, 0, 2, last]));
    let home = |peer: &PeerAddr| home_of(address_hash(room_key, peer.bucket().bits()), loops);
    (rig, peers.into_iter().find(|peer| home(peer) == LoopId(1)).expect("one in two"))
}

#[test]
fn who_waits_for_a_seat_that_does_not_come_is_told_and_closed() {
    for drains in [true, false] {
        let (mut rig, peer) = half(1);
        let key = open(&mut rig, peer);
        assert_eq!(ask(&mut rig, key, ""), "", "the other loop has not answered");
        assert!(rig.shard.counters().spill_bytes > 0);
        if drains {
            rig.shard.handle_drain(rig.now);
        }
        for _ in 0..200 {
            rig.now = rig.now.plus_ms(100);
            rig.shard.handle_deadlines(rig.now);
            rig.shard.end_tick(rig.now);
            rig.read_all(key);
        }
        let counters = rig.shard.counters();
        while rig.shard.poll_action().is_some() {}
        assert_eq!(rig.shard.counters().connections, 0, "{drains} {counters:?}");
        assert_eq!(rig.shard.counters().spill_bytes, 0);
    }
}

#[test]
fn whom_a_proxy_speaks_for_is_refused_by_another_loop_once_and_told() {
    let (mut rig, client) = half(1);
    let key = open(&mut rig, PROXY);
    assert_eq!(ask(&mut rig, key, &format!("X-Forwarded-For: {client}\r\n")), "");
    rig.shard.handle_seat(key, client.bucket(), false);
    rig.shard.end_tick(rig.now);
    let answer = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_eq!(rig.shard.counters().addresses_refused, 1);
}
