//! Connections of proxies: what they begin with, whom they are of, and who is turned away.

use super::*;
use crate::auth::{ForwardedHeader, Network, TrustedProxies};
use crate::broker::RoomOptions;
use crate::engine::rig::Rig;
use crate::engine::settings::Settings;
use crate::engine::shard::{Action, Admission, Appetite};

const PROXY: PeerAddr = PeerAddr::v4([10, 0, 0, 1]);
const STRANGER: PeerAddr = PeerAddr::v4([203, 0, 113, 5]);
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

fn rig(proxy_protocol: ProxyProtocol) -> Rig {
    let networks = Network::v4([10, 0, 0, 0], 8).into_iter().collect();
    let trusted_proxies = TrustedProxies { networks, unix: true };
    let settings = Settings { proxy_protocol, trusted_proxies, ..Settings::default() };
    Rig::with(RoomOptions::default(), settings)
}

fn open(rig: &mut Rig, peer: PeerAddr) -> ConnKey {
    let trust = rig.shard.settings.trusted_proxies.trust(&peer);
    rig.shard.handle_open(Admission::Served, trust, Some(peer), rig.now)
}

/// A request for a WebSocket with these fields, complete with the blank line.
fn request(fields: &str) -> Vec<u8> {
    let mut request = Vec::new();
    crate::ws::client_request(&mut request, "h", "/raw/room", &[7; 16], None);
    request.truncate(request.len() - 2);
    request.extend_from_slice(fields.as_bytes());
    request.extend_from_slice(b"\r\n");
    request
}

/// Where the client is, once the connection is a WebSocket.
fn upgraded(rig: &mut Rig, key: ConnKey, pieces: &[&[u8]]) -> Option<String> {
    for piece in pieces {
        rig.shard.handle_bytes(key, &mut piece.to_vec(), rig.now);
    }
    let answer = String::from_utf8(rig.read_all(key)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    rig.shard.address(key).map(|address| address.to_string())
}

/// Why the connection was closed, if it was, without a word.
fn closed(rig: &mut Rig, key: ConnKey) -> Option<Disconnect> {
    assert_eq!(rig.read_all(key), b"");
    let mut found = None;
    while let Some(action) = rig.shard.poll_action() {
        if let Action::Close { key: closed, reason, .. } = action {
            assert_eq!(closed, key);
            found = Some(reason);
        }
    }
    found
}

#[test]
fn a_proxy_says_whom_it_speaks_for_in_whatever_pieces() {
    let request = request("");
    let whole = [HEADER, &request].concat();
    for how in [ProxyProtocol::Optional, ProxyProtocol::Required] {
        for cut in 0..whole.len() {
            let mut rig = rig(how);
            let key = open(&mut rig, PROXY);
            let (first, rest) = whole.split_at(cut);
            let found = upgraded(&mut rig, key, &[first, rest]);
            assert_eq!(found.as_deref(), Some("192.0.2.1"), "cut at {cut}");
            assert_eq!(rig.shard.counters().proxy_headers_refused, 0);
        }
    }
}

#[test]
fn a_proxy_may_speak_for_itself_and_where_it_may_say_nothing_too() {
    let request = request("");
    for how in [ProxyProtocol::Optional, ProxyProtocol::Required] {
        let mut rig = rig(how);
        let key = open(&mut rig, PROXY);
        let found = upgraded(&mut rig, key, &[UNKNOWN, &request]);
        assert_eq!(found.as_deref(), Some("10.0.0.1"));
    }
    let mut rig = rig(ProxyProtocol::Optional);
    let key = open(&mut rig, PROXY);
    assert_eq!(upgraded(&mut rig, key, &[&request]).as_deref(), Some("10.0.0.1"));
    // What begins as a header might and is none is a request, byte by byte too.
    for request in ["POST /v1/rooms/a/messages HTTP/1.1\r\nHost: h\r\n\r\n", "PR / HTTP/1.1\r\n"] {
        let answers: Vec<Vec<u8>> = [1, request.len()]
            .into_iter()
            .map(|size| {
                let key = open(&mut rig, PROXY);
                for piece in request.as_bytes().chunks(size) {
                    rig.shard.handle_bytes(key, &mut piece.to_vec(), rig.now);
                }
                rig.shard.end_tick(rig.now);
                rig.read_all(key)
            })
            .collect();
        let [slow, fast] = &answers[..] else { panic!("two answers") };
        let status = |answer: &[u8]| answer.get(..12).map(<[u8]>::to_vec);
        assert_eq!(status(slow), status(fast), "{request}");
    }
}

#[test]
fn who_breaks_the_proxy_protocol_is_closed_without_a_word_and_counted() {
    for (peer, sent, reason) in [
        (PROXY, &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], Disconnect::Policy),
        (PROXY, b"PROXY TCP4 nonsense\r\n", Disconnect::Protocol),
        (PROXY, &[b'P'; 1], Disconnect::Io),
        (STRANGER, b"", Disconnect::Policy),
    ] {
        let mut rig = rig(ProxyProtocol::Required);
        let key = open(&mut rig, peer);
        if !sent.is_empty() {
            rig.shard.handle_bytes(key, &mut sent.to_vec(), rig.now);
        }
        let found = closed(&mut rig, key);
        let expected = Some(reason).filter(|reason| *reason != Disconnect::Io);
        assert_eq!(found, expected, "{}", sent.escape_ascii());
        let counters = rig.shard.counters();
        let refused = u64::from(found.is_some());
        assert_eq!(counters.proxy_headers_refused, refused, "{}", sent.escape_ascii());
        assert_eq!(counters.connections, 1 - refused);
        let told = matches!(rig.shard.poll_notice(), Some(Notice::ProxyHeader { .. }));
        assert_eq!(told, found.is_some());
    }
}

#[test]
fn a_strangers_header_is_a_bad_request() {
    for (how, peer) in [(ProxyProtocol::Optional, STRANGER), (ProxyProtocol::Off, PROXY)] {
        let mut rig = rig(how);
        let key = open(&mut rig, peer);
        rig.shard.handle_bytes(key, &mut [HEADER, &request("")].concat(), rig.now);
        let answer = String::from_utf8(rig.read_all(key)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(rig.shard.counters().proxy_headers_refused, 0);
    }
}

#[test]
fn a_header_that_does_not_come_has_the_time_of_a_handshake() {
    let mut rig = rig(ProxyProtocol::Required);
    let (silent, slow) = (open(&mut rig, PROXY), open(&mut rig, PROXY));
    rig.shard.handle_bytes(slow, &mut b"PROXY ".to_vec(), rig.now);
    let time_ms = rig.shard.settings.handshake_timeout_ms;
    rig.now = rig.now.plus_ms(time_ms / 2);
    rig.shard.handle_bytes(slow, &mut b"TCP4 ".to_vec(), rig.now);
    rig.shard.handle_deadlines(rig.now);
    assert_eq!(rig.shard.poll_action(), None);
    rig.now = rig.now.plus_ms(time_ms);
    rig.shard.handle_deadlines(rig.now);
    let mut gone = Vec::new();
    while let Some(action) = rig.shard.poll_action() {
        let Action::Close { key, reason: Disconnect::RequestTimeout, .. } = action else {
            panic!("{action:?}")
        };
        gone.push(key);
    }
    gone.sort_unstable_by_key(|key| key.index);
    assert_eq!(gone, [silent, slow]);
    assert_eq!(rig.shard.counters().spill_bytes, 0);
}

#[test]
fn who_hangs_up_or_is_there_at_a_drain_is_let_go() {
    let mut rig = rig(ProxyProtocol::Required);
    let key = open(&mut rig, PROXY);
    rig.shard.handle_bytes(key, &mut b"PRO".to_vec(), rig.now);
    rig.shard.handle_eof(key, rig.now);
    assert_eq!(closed(&mut rig, key), Some(Disconnect::Http));
    let key = open(&mut rig, PROXY);
    rig.shard.handle_drain(rig.now);
    assert!(rig.read_all(key).starts_with(b"HTTP/1.1 503 "));
    let appetite = rig.shard.handle_bytes(key, &mut HEADER.to_vec(), rig.now);
    assert_eq!(appetite, Appetite::More, "it lingers");
    assert_eq!(rig.shard.counters().spill_bytes, 0);
}

#[test]
fn whom_the_proxy_protocol_names_is_trusted_by_its_own_address() {
    let forwarded = request("X-Forwarded-For: 198.51.100.9\r\n");
    let line = |from: &str| format!("PROXY TCP4 {from} 10.0.0.9 4711 80\r\n").into_bytes();
    for (from, client) in [("192.0.2.1", "192.0.2.1"), ("10.0.0.2", "198.51.100.9")] {
        let mut rig = rig(ProxyProtocol::Required);
        let key = open(&mut rig, PROXY);
        let found = upgraded(&mut rig, key, &[&line(from), &forwarded]);
        assert_eq!(found.as_deref(), Some(client), "through {from}");
    }
    // One of whom the proxy knows nothing is no proxy; the proxy itself, as in its checks, is.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, client) in [(UNKNOWN, "10.0.0.1"), (local, "198.51.100.9")] {
        let mut rig = rig(ProxyProtocol::Required);
        let key = open(&mut rig, PROXY);
        let found = upgraded(&mut rig, key, &[header, &forwarded]);
        assert_eq!(found.as_deref(), Some(client), "{}", header.escape_ascii());
    }
    // Through a Unix socket of the proxy's, which is none of ours.
    let mut rig = rig(ProxyProtocol::Required);
    let key = open(&mut rig, PROXY);
    let block = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".as_slice(), &[b'a'; 216]].concat();
    assert_eq!(upgraded(&mut rig, key, &[&block, &forwarded]).as_deref(), Some("unix"));
}

#[test]
fn a_trusted_proxys_header_says_where_each_client_is() {
    let mut rig = rig(ProxyProtocol::Off);
    let forwarded =
        request("X-Forwarded-For: 198.51.100.9, 192.0.2.1\r\nForwarded: for=1.1.1.1\r\n");
    for (peer, client) in
        [(PROXY, "192.0.2.1"), (PeerAddr::Unix, "192.0.2.1"), (STRANGER, "203.0.113.5")]
    {
        let key = open(&mut rig, peer);
        assert_eq!(upgraded(&mut rig, key, &[&forwarded]).as_deref(), Some(client), "{peer}");
    }
    // Requests that open no WebSocket may each be of another client: nothing is noted of them.
    let key = open(&mut rig, PROXY);
    let ready = b"GET /readyz HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
    rig.shard.handle_bytes(key, &mut ready.to_vec(), rig.now);
    assert!(rig.read_all(key).starts_with(b"HTTP/1.1 200 "));
    assert_eq!(rig.shard.address(key), Some(PROXY));
    assert_eq!(upgraded(&mut rig, key, &[&forwarded]).as_deref(), Some("192.0.2.1"));
}

#[test]
fn the_header_is_the_one_that_was_chosen() {
    for (header, client) in
        [(ForwardedHeader::Forwarded, "1.1.1.1"), (ForwardedHeader::None, "10.0.0.1")]
    {
        let settings = rig(ProxyProtocol::Off).shard.settings;
        let settings = Settings { client_address_header: header, ..(*settings).clone() };
        let mut rig = Rig::with(RoomOptions::default(), settings);
        let key = open(&mut rig, PROXY);
        let request = request("X-Forwarded-For: 192.0.2.1\r\nForwarded: for=1.1.1.1\r\n");
        assert_eq!(upgraded(&mut rig, key, &[&request]).as_deref(), Some(client));
    }
}

#[test]
fn where_nobody_asks_nothing_is_kept() {
    let mut rig = Rig::new(RoomOptions::default());
    let key = rig.join(true);
    rig.shard.end_tick(rig.now);
    assert_eq!(rig.shard.address(key), None);
    let session = rig.shard.session(key).expect("a session");
    assert!(session.papers.is_none());
}
