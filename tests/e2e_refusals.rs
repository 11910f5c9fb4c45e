//! Refusals, end to end: who is late, too many, foreign or forged gets the right answer and nothing
//! else.
//!
//! Not here: what attacks cost (`e2e_abuse`). Invariant: behind a refusal nothing is served.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Answer, Expect, Http};
use e2e::raw::{CLOSE, Raw, TEXT, close_payload, frame, upgrade};
use e2e::scrape::Scraper;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};

/// Sends `request` on a connection of its own: all that comes back until the broker hangs up.
fn ask(address: SocketAddr, request: &[u8]) -> (Answer, Vec<u8>) {
    let mut http = Http::connect(address);
    http.send(request);
    let answer = http.answer(Expect::Body);
    (answer, http.rest())
}

#[test]
fn who_sends_half_a_request_is_told_that_time_is_up() {
    let broker = Broker::start(&["--loops", "2", "--handshake-timeout", "300ms"]);
    for half in [
        &b"G"[..],
        b"GET /raw/lobby HTTP/1.1\r\nHost: test\r\nUpgra",
        b"POST /v1/rooms/a/messages HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nhalf",
        b"POST /v1/rooms/a/messages HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
    ] {
        let (answer, rest) = ask(broker.address(), half);
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
        assert_eq!(answer.detail(), "the request did not arrive in time");
        assert!(rest.is_empty(), "nothing follows");
    }
    // Who drips is not waited for any longer.
    let mut dripping = Http::connect(broker.address());
    let mut head = upgrade("/raw/lobby", "test", &[]).into_iter().cycle();
    while let Ok(1) = dripping.stream.write(&[head.next().expect("it goes on")]) {
        let waited = dripping.stream.set_read_timeout(Some(std::time::Duration::from_millis(20)));
        waited.expect("a time-out");
        let mut bytes = [0; 1_024];
        if let Ok(count) = std::io::Read::read(&mut dripping.stream, &mut bytes) {
            assert!(bytes[..count].starts_with(b"HTTP/1.1 408 "), "{}", bytes.escape_ascii());
            break;
        }
    }
    // Who says nothing at all is not answered either.
    let mut silent = Http::connect(broker.address());
    assert_eq!(silent.rest(), b"");
    let mut scraper = Scraper::new(&broker);
    let now = scraper.until("all to be gone", |now| now.value("connections") <= 2);
    assert_eq!(now.closed("request-timeout"), 1, "the silent one");
    drop(dripping);
    broker.stop();
}

#[test]
fn who_comes_when_all_seats_are_taken_is_told_to_come_back() {
    let broker = Broker::start(&["--loops", "2", "--connections-max", "4"]);
    let mut scraper = Scraper::new(&broker);
    let mut seated: Vec<Raw> = (0..3).map(|_| Raw::open(broker.address(), "/raw/lobby")).collect();
    assert_eq!(scraper.metrics().value("connections_max"), 4);
    for _ in 0..3 {
        for request in [
            upgrade("/raw/lobby", "test", &[]),
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ] {
            let (answer, rest) = ask(broker.address(), &request);
            assert_eq!((answer.status, answer.field("retry-after")), (503, Some("5")));
            assert!(answer.detail().starts_with("over-capacity"), "{answer:?}");
            assert!(rest.is_empty(), "nothing follows");
        }
    }
    // Those who were refused never saw the room.
    seated[0].send(TEXT, b"who is here?");
    for one in &mut seated {
        assert_eq!(one.next().expect("a message").payload, b"who is here?");
    }
    seated.pop();
    let now = scraper.until("a seat to be free", |now| now.value("connections") == 3);
    assert_eq!(now.value("connections_refused_total"), 6);
    seated.push(Raw::open(broker.address(), "/raw/lobby"));
    drop(seated);
    broker.stop();
}

/// The fields of a good handshake, but for the one named, with these in its place.
fn handshake(line: &str, without: &str, with: &[&str]) -> Vec<u8> {
    let good = [
        "Host: test",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let name = format!("{without}:");
    let kept = good.iter().filter(|field| !field.starts_with(&name));
    let fields: Vec<&str> = kept.chain(with).copied().collect();
    format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes()
}

const GET: &str = "GET /raw/lobby HTTP/1.1";

#[test]
fn what_is_no_upgrade_is_refused_with_its_status_and_fields() {
    let broker = Broker::start(&["--loops", "1"]);
    let key = "Sec-WebSocket-Key";
    let version = "Sec-WebSocket-Version";
    for (line, without, with, status) in [
        (GET, "Host", &[][..], 400),
        (GET, "", &["Host: other"], 400),
        (GET, "Upgrade", &[], 426),
        (GET, "Upgrade", &["Upgrade: h2c"], 426),
        (GET, "Connection", &[], 400),
        (GET, "Connection", &["Connection: keep-alive"], 400),
        (GET, version, &[], 426),
        (GET, version, &["Sec-WebSocket-Version: 8"], 426),
        (GET, version, &["Sec-WebSocket-Version: 013"], 426),
        (GET, "", &["Sec-WebSocket-Version: 13"], 426),
        (GET, key, &[], 400),
        (GET, key, &["Sec-WebSocket-Key: c2hvcnQ="], 400),
        (GET, "", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], 400),
        (GET, "", &["Content-Length: 5"], 400),
        ("GET /raw/lobby HTTP/1.0", "", &[], 400),
        ("POST /raw/lobby HTTP/1.1", "", &[], 405),
        ("HEAD /raw/lobby HTTP/1.1", "", &[], 405),
        ("GET /raw/ HTTP/1.1", "", &[], 404),
        ("GET /raw/a/b HTTP/1.1", "", &[], 404),
        ("GET /raw/a%20b HTTP/1.1", "", &[], 400),
        ("GET /raw/%ff HTTP/1.1", "", &[], 400),
        ("GET /raw/lobby?echo=2 HTTP/1.1", "", &[], 400),
        ("GET /echo HTTP/1.1", "", &[], 404),
        ("GET /nowhere HTTP/1.1", "", &[], 404),
    ] {
        let request = handshake(line, without, with);
        let shown = String::from_utf8_lossy(&request).into_owned();
        let mut http = Http::connect(broker.address());
        http.send(&request);
        let is_head = line.starts_with("HEAD");
        let answer = http.answer(if is_head { Expect::HeadOnly } else { Expect::Body });
        assert_eq!(answer.status, status, "{shown}{answer:?}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{shown}");
        assert_eq!(answer.field("allow"), (status == 405).then_some("GET"), "{shown}");
        let is_426 = status == 426;
        assert_eq!(answer.field("upgrade"), is_426.then_some("websocket"), "{shown}");
        assert_eq!(answer.field(version), is_426.then_some("13"), "{shown}");
        if !is_head {
            assert!(!answer.detail().is_empty(), "{shown}");
        }
    }
    let now = Scraper::new(&broker).metrics();
    assert_eq!((now.value("websockets"), now.value("rooms")), (0, 0));
    broker.stop();
}

#[test]
fn hosts_and_keys_that_are_missing_doubled_or_bad_are_refused() {
    const KEY: &str = "Sec-WebSocket-Key";
    let key = |value: &str| vec![format!("{KEY}: {value}")];
    let host = |value: &str| vec![format!("Host: {value}")];
    let broker = Broker::start(&["--loops", "1"]);
    for (without, with) in [
        ("Host", vec![]),
        ("Host", host("")),
        ("Host", host("a b")),
        ("Host", host("user@test")),
        ("Host", [host("test"), host("test")].concat()),
        ("Host", [host("test"), host("other")].concat()),
        (KEY, vec![]),
        (KEY, key("")),
        (KEY, [key("dGhlIHNhbXBsZSBub25jZQ=="), key("dGhlIHNhbXBsZSBub25jZQ==")].concat()),
        (KEY, [key("dGhlIHNhbXBsZSBub25jZQ=="), key("AQIDBAUGBwgJCgsMDQ4PEC==")].concat()),
        (KEY, key("dGhlIHNhbXBsZSBub25j!Q==")),
        (KEY, key("dGhlIHNhbXBsZSBub25jZXM=")),
    ] {
        let fields: Vec<&str> = with.iter().map(String::as_str).collect();
        let mut http = Http::connect(broker.address());
        http.send(&handshake(GET, without, &fields));
        assert_eq!(http.answer(Expect::Body).status, 400, "{without}: {with:?}");
    }
    assert_eq!(Scraper::new(&broker).metrics().value("websockets"), 0);
    broker.stop();
}

#[test]
fn versions_other_than_13_are_told_the_right_one() {
    const VERSION: &str = "Sec-WebSocket-Version";
    let broker = Broker::start(&["--loops", "1"]);
    for version in ["", "0", "7", "8", "12", "14", "130", "013", "+13", "13.0", "13, 8"] {
        let mut http = Http::connect(broker.address());
        http.send(&handshake(GET, VERSION, &[&format!("{VERSION}: {version}")]));
        let answer = http.answer(Expect::Body);
        assert_eq!((answer.status, answer.field(VERSION)), (426, Some("13")), "{version:?}");
    }
    assert_eq!(Scraper::new(&broker).metrics().value("websockets"), 0);
    broker.stop();
}

#[test]
fn pages_of_other_origins_neither_connect_nor_publish() {
    let broker = Broker::start(&["--loops", "1"]);
    let host = broker.address().to_string();
    let port = broker.address().port();
    let foreign = [
        "http://evil.example".to_owned(),
        format!("http://{host}.evil.example"),
        format!("http://evil-{host}"),
        format!("http://evil.example/{host}"),
        format!("http://{host}@evil.example"),
        format!("http://127.0.0.1:{}", port.wrapping_add(1)),
        "http://127.0.0.1".to_owned(),
        format!("http://localhost:{port}"),
        "null".to_owned(),
        "file://".to_owned(),
        "NULL".to_owned(),
        String::new(),
        host.clone(),
        format!("//{host}"),
        format!("ws://{host}"),
        format!("http://{host}/"),
        format!("http://{host}."),
        format!("http://user@{host}"),
        format!("http://evil.example#{host}"),
        format!("http://{host}, http://evil.example"),
        format!("http://{host} http://{host}"),
    ];
    for origin in &foreign {
        let field = format!("Origin: {origin}");
        let (answer, _) = ask_once(&host, &upgrade("/raw/lobby", &host, &[&field]));
        assert_eq!(answer.status, 403, "{field}");
        let post = format!(
            "POST /v1/rooms/lobby/messages HTTP/1.1\r\nHost: {host}\r\n{field}\r\n\
             Content-Length: 5\r\n\r\nhello"
        );
        let (answer, rest) = ask(broker.address(), post.as_bytes());
        assert_eq!((answer.status, answer.field("connection")), (403, Some("close")), "{field}");
        assert!(rest.is_empty(), "{field}");
    }
    let two = [format!("Origin: http://{host}"), "Origin: http://evil.example".to_owned()];
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    assert_eq!(ask_once(&host, &upgrade("/raw/lobby", &host, &two)).0.status, 403);
    // Its own pages may, and so may who is no page.
    for field in [format!("Origin: http://{host}"), format!("Origin: HTTP://{host}")] {
        let (answer, _) = ask_once(&host, &upgrade("/raw/lobby", &host, &[&field]));
        assert_eq!(answer.status, 101, "{field}");
    }
    assert_eq!(ask_once(&host, &upgrade("/raw/lobby", &host, &[])).0.status, 101);
    let now = Scraper::new(&broker).metrics();
    assert_eq!(now.value("publications_total"), 0, "no foreign page published");
    broker.stop();
}

/// Asks, without waiting for the connection to end.
fn ask_once(host: &str, request: &[u8]) -> (Answer, Http) {
    let mut http = Http::connect(host.parse().expect("an address"));
    http.send(request);
    let mut answer = http.answer(Expect::HeadOnly);
    answer.body.clear();
    (answer, http)
}

/// A request line and `Host`, then these fields, as they are.
fn forged(fields: &str) -> Vec<u8> {
    format!("POST /v1/rooms/forged/messages HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n")
        .into_bytes()
}

#[test]
fn what_reads_two_ways_is_refused_and_nothing_behind_it_is_served() {
    let broker = Broker::start(&["--loops", "1"]);
    let upgrade_with = |more: &str| handshake(GET, "", &[more]);
    let samples: Vec<(&str, Vec<u8>)> = vec![
        ("both lengths", forged("Content-Length: 5\r\nTransfer-Encoding: chunked")),
        ("two lengths", forged("Content-Length: 5\r\nContent-Length: 5")),
        ("two lengths that differ", forged("Content-Length: 5\r\nContent-Length: 6")),
        ("a list of lengths", forged("Content-Length: 5, 5")),
        ("a signed length", forged("Content-Length: +5")),
        ("a length in hexadecimal", forged("Content-Length: 0x5")),
        ("an endless length", forged("Content-Length: 99999999999999999999")),
        ("a blank before the colon", forged("Content-Length : 5")),
        ("a fold", forged("X: a\r\n Content-Length: 5")),
        ("a bare line feed", forged("X: a\nContent-Length: 5")),
        ("a bare carriage return", forged("X: a\rContent-Length: 5")),
        ("a NUL", forged("X: a\0b")),
        ("no colon", forged("Content-Length 5")),
        ("an empty name", forged(": 5")),
        ("chunked twice", forged("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        ("chunked not last", forged("Transfer-Encoding: chunked, identity")),
        ("an odd chunked", forged("Transfer-Encoding: \x0bchunked")),
        ("two hosts", forged("Host: other")),
        ("a blank before the first field", b"GET / HTTP/1.1\r\n Host: test\r\n\r\n".to_vec()),
        (
            "an upgrade with a blank before the colon",
            handshake(GET, "Upgrade", &["Upgrade : websocket"]),
        ),
        ("an upgrade with a body", upgrade_with("Content-Length: 10")),
        ("an upgrade with chunks", upgrade_with("Transfer-Encoding: chunked")),
        ("frames without a request", frame(TEXT, b"hello")),
        ("the greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
    ];
    for (what, mut bytes) in samples {
        // Behind it: a request and a frame that must not be taken for what they are.
        bytes.extend(b"POST /v1/rooms/smuggled/messages HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx");
        bytes.extend(frame(TEXT, b"smuggled"));
        let mut http = Http::connect(broker.address());
        http.send(&bytes);
        http.stream.shutdown(Shutdown::Write).expect("half closed");
        let answer = http.answer(Expect::Body);
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{what}");
        assert_eq!(http.rest(), b"", "{what}: nothing follows");
    }
    let now = Scraper::new(&broker).metrics();
    for name in ["publications_total", "messages_received_total", "rooms", "websockets"] {
        assert_eq!(now.value(name), 0, "{name}");
    }
    broker.stop();
}

#[test]
fn frames_glued_to_the_handshake_are_served_after_the_switch() {
    for loops in ["1", "2"] {
        let broker = Broker::start(&["--loops", loops, "--echo-route"]);
        for path in ["/raw/lobby", "/echo"] {
            let mut http = Http::connect(broker.address());
            let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
            let bye = frame(CLOSE, &close_payload(1000));
            http.send(&[&upgrade(path, "test", &[])[..], hello, &frame(TEXT, b""), &bye].concat());
            let answer = http.answer(Expect::HeadOnly);
            assert_eq!(answer.status, 101);
            let served = http.rest();
            if path == "/echo" {
                assert_eq!(served, b"\x81\x05Hello\x81\x00\x88\x02\x03\xe8", "on {path}");
            } else {
                // A member is closed before its room may have answered; never out of order.
                assert!(served.ends_with(b"\x88\x02\x03\xe8"), "{}", served.escape_ascii());
            }
        }
        let mut glued = Http::connect(broker.address());
        glued.send(&[upgrade("/raw/lobby", "test", &[]), frame(TEXT, b"first")].concat());
        assert_eq!(glued.answer(Expect::HeadOnly).status, 101);
        let mut glued = Raw(glued);
        let first = glued.next().expect("its own message");
        assert_eq!((first.first, &first.payload[..]), (TEXT, &b"first"[..]));
        drop(glued);
        broker.stop();
    }
}

#[test]
fn heads_and_bodies_over_their_limits_are_refused() {
    let broker = Broker::start(&["--loops", "1"]);
    let line = "GET /healthz HTTP/1.1\r\nHost: test\r\n";
    let many: String = (0..101).map(|nth| format!("X-{nth}: a\r\n")).collect();
    let long = "a".repeat(20_000);
    for (what, request, status) in [
        ("a long head", format!("{line}X: {long}\r\n\r\n"), 431),
        ("many fields", format!("{line}{many}\r\n"), 431),
        ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n"), 414),
        (
            "a large body",
            "POST /v1/rooms/a/messages HTTP/1.1\r\nHost: test\r\nContent-Length: 1048577\r\n\r\n"
                .to_owned(),
            413,
        ),
        ("an odd expectation", format!("{line}Expect: wonders\r\n\r\n"), 417),
        ("an odd coding", format!("{line}Transfer-Encoding: gzip, chunked\r\n\r\n"), 501),
        ("an odd version", "GET / HTTP/2.0\r\nHost: test\r\n\r\n".to_owned(), 505),
    ] {
        let (answer, rest) = ask(broker.address(), request.as_bytes());
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{what}");
        assert!(!answer.detail().is_empty() && rest.is_empty(), "{what}");
    }
    broker.stop();
}
