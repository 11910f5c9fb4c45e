//! Strangers at the door, end to end: heads without end, requests that drip, frames that can't be,
//! odd names, and what of it all gets into the log.
//!
//! Not here: handshakes that are refused for what they say (`e2e_refusals`), what frames cost once
//! inside (`e2e_abuse`). Invariant: a bystander is served through each attack, and memory is judged
//! by the broker's own accounts.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::bystander::Bystander;
use e2e::drip::Dripper;
use e2e::http::{Expect, Http};
use e2e::raw::{BEGIN_TEXT, CLOSE, PING, PONG, Raw, TEXT, close_payload, frame, upgrade};
use e2e::scaled;
use e2e::scrape::Scraper;
use e2e::wait::{Stopwatch, until};
use std::io::Write;
use std::net::Shutdown;

/// What may have been read of a head before it is refused.
const HEAD_BYTES_BEFORE_REFUSAL: usize = 20 * 1024;

/// What all connections of an attack on heads may hold together once they were refused.
const REFUSED_BYTES_MAX: u64 = 1024 * 1024;

// --- heads ------------------------------------------------------------------------------------

#[test]
fn endless_heads_are_refused_within_20_kib_and_hold_nothing() {
    let broker = Broker::start(&["--loops", "2", "--close-timeout", "50s"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let before = scraper.metrics();
    let line = "GET /raw/lobby HTTP/1.1\r\nHost: test\r\n";
    let kinds = [
        (format!("{line}X: "), "a", 431),
        (format!("{line}Cookie: "), "a=b; ", 431),
        (line.to_owned(), "X-1: a\r\n", 431),
        (line.to_owned(), "Sec-WebSocket-Protocol: a\r\n", 431),
        ("GET /raw/".to_owned(), "a", 414),
        ("GET /raw/lobby?".to_owned(), "echo=1&", 414),
    ];
    let mut refused = Vec::new();
    for (begin, more, status) in &kinds {
        for _ in 0..scaled(30) {
            let mut endless = Http::connect(broker.address());
            let mut head = begin.clone().into_bytes();
            head.extend(more.bytes().cycle().take(HEAD_BYTES_BEFORE_REFUSAL - head.len()));
            endless.send(&head);
            let answer = endless.answer(Expect::Body);
            assert_eq!((answer.status, answer.field("connection")), (*status, Some("close")));
            refused.push(endless);
        }
    }
    let now = scraper.metrics();
    assert_eq!(now.value("spill_bytes"), 0, "a head that was refused is not kept");
    let held = now.held_bytes().saturating_sub(before.held_bytes());
    assert!(held < REFUSED_BYTES_MAX, "{held} bytes held for {} connections", refused.len());
    for endless in &mut refused {
        assert_eq!(endless.rest(), b"", "nothing follows");
    }
    bystander.stop();
    drop(refused);
    scraper.until("all to be gone", |now| now.value("connections") == 1);
    broker.stop();
}

#[test]
fn hundreds_who_drip_are_told_that_time_is_up_while_newcomers_are_served() {
    const DRIPPED_BYTES_MAX: u64 = 8 * 1024;
    let broker = Broker::start(&["--loops", "2", "--handshake-timeout", "1s"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let mut dripping: Vec<_> = (0..scaled(300)).map(|_| Dripper::new(&broker)).collect();
    let mut silent: Vec<_> = (0..scaled(100)).map(|_| Dripper::new(&broker)).collect();
    let all = (dripping.len() + silent.len()) as u64;
    scraper.until("all to be there", |now| now.value("connections_opened_total") >= all + 2);
    let (mut newcomers, mut told, mut most) = (0, 0, 0);
    let waiting = Stopwatch::start();
    while !dripping.is_empty() || !silent.is_empty() {
        waiting.check("all to be sent away");
        dripping.retain_mut(|one| {
            let stays = one.drip();
            if !stays {
                assert!(one.got.starts_with(b"HTTP/1.1 408 "), "{}", one.got.escape_ascii());
                told += 1;
            }
            stays
        });
        silent.retain_mut(|one| {
            let stays = one.is_served();
            assert_eq!(one.got, b"", "who says nothing is not answered");
            stays
        });
        let now = scraper.metrics();
        let (spilled, there) = (now.value("spill_bytes"), dripping.len() as u64);
        most = most.max(spilled);
        assert!(spilled <= all * DRIPPED_BYTES_MAX, "{spilled} bytes for {there} who drip");
        if there > 0 {
            let mut newcomer = Raw::open(broker.address(), "/raw/newcomers");
            newcomer.send(PING, b"served?");
            assert_eq!(newcomer.next().expect("a pong").first, PONG);
            newcomers += 1;
        }
    }
    eprintln!("{all} held, {most} bytes at most, {newcomers} newcomers meanwhile");
    assert_eq!(told, scaled(300), "who has begun is told");
    assert!(newcomers > 0 && most > 0, "{newcomers} newcomers, {most} bytes");
    bystander.stop();
    scraper.until("all to be gone", |now| now.value("connections") == 1);
    assert_eq!(scraper.metrics().value("spill_bytes"), 0);
    broker.stop();
}

// --- frames -----------------------------------------------------------------------------------

#[test]
fn frames_that_can_not_be_are_refused_on_the_header_alone() {
    // Reserved bits, alone and together, on data and control frames; opcodes without a meaning.
    let reserved: [&[u8]; 22] = [
        &[0xC1],
        &[0xA1],
        &[0x91],
        &[0xE1],
        &[0xD1],
        &[0xB1],
        &[0xF1],
        &[0xC2],
        &[0x41],
        &[0xC8],
        &[0xC9],
        &[0xCA],
        &[0x83],
        &[0x84],
        &[0x85],
        &[0x86],
        &[0x87],
        &[0x8B],
        &[0x8C],
        &[0x8D],
        &[0x8E],
        &[0x8F],
    ];
    // Control frames in pieces, and longer than they may be; within a fragmented message too.
    let begun = frame(BEGIN_TEXT, b"begun");
    let control: [Vec<u8>; 11] = [
        vec![0x08],
        vec![0x09],
        vec![0x0A],
        vec![0x88, 0xFE],
        vec![0x89, 0xFE],
        vec![0x8A, 0xFE],
        vec![0x88, 0xFF],
        vec![0x89, 0xFF],
        vec![0x8A, 0xFF],
        [&begun[..], &[0x09]].concat(),
        [&begun[..], &[0x89, 0xFE]].concat(),
    ];
    // And one without a mask.
    let unmasked: [&[u8]; 1] = [&[0x81, 0x05]];
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let control = control.iter().map(Vec::as_slice);
    let all: Vec<&[u8]> = reserved.into_iter().chain(control).chain(unmasked).collect();
    for bytes in &all {
        let mut odd = Raw::open(broker.address(), "/raw/odd");
        odd.0.send(bytes);
        let close = odd.next().expect("a close frame");
        assert_eq!(close.close_code(), Some(1002), "after {bytes:02x?}");
    }
    let now = scraper.until("all to be counted", |now| now.closed("protocol") == all.len() as u64);
    assert_eq!(now.value("messages_received_total"), 0, "none of it was a message");
    assert_eq!(now.value("spill_bytes"), 0, "none of it is kept");
    bystander.stop();
    broker.stop();
}

#[test]
fn a_close_is_answered_by_its_code_or_as_a_breach_and_nothing_follows() {
    let valid = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    let wrong = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 32_768, 65_534,
        65_535,
    ];
    let valid = valid.into_iter().map(|code: u16| (code.to_be_bytes().to_vec(), Some(code)));
    let wrong = wrong.into_iter().map(|code: u16| (code.to_be_bytes().to_vec(), Some(1002)));
    let odd = [
        (Vec::new(), None),
        (vec![0x03], Some(1002)),
        ([&close_payload(1000)[..], b"\xff"].concat(), Some(1007)),
    ];
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let all: Vec<_> = valid.chain(wrong).chain(odd).collect();
    assert_eq!(all.len(), 35);
    for (payload, code) in all {
        let mut closing = Raw::open(broker.address(), "/raw/closing");
        // What stands behind a close is read by nobody.
        closing.0.send(&[frame(CLOSE, &payload), frame(TEXT, b"more"), frame(PING, b"")].concat());
        let close = closing.next().expect("a close frame");
        assert_eq!((close.first, close.close_code()), (CLOSE, code), "after {payload:02x?}");
        closing.0.stream.shutdown(Shutdown::Write).expect("half closed");
        assert_eq!(closing.next(), None, "nothing follows");
    }
    assert_eq!(scraper.metrics().value("messages_received_total"), 0);
    bystander.stop();
    broker.stop();
}

// --- names ------------------------------------------------------------------------------------

/// Segments of a path that are no room's name. Percent-encoded, as only ASCII may be in a target.
fn odd_names() -> Vec<String> {
    let odd = [
        "%00",
        "lobby%00",
        "%00lobby",
        "lobby%0A",
        "lobby%0D%0Aevil:%201",
        "lobby%20",
        "lob%09by",
        "%1B%5B31mlobby",
        "%7F",
        "%C3%A4",
        "l%D0%BEbby",
        "%EF%BD%8Cobby",
        "lobby%CC%81",
        "%E2%80%AElobby",
        "lobby%E2%80%8B",
        "%FF",
        "%C0%AF",
        "%ED%A0%80",
        "%",
        "%4",
        "%zz",
        "lobby%u006f",
    ];
    let long = ["x".repeat(129), "%78".repeat(129), "%C3%A4".repeat(64)];
    odd.into_iter().map(str::to_owned).chain(long).collect()
}

#[test]
fn odd_names_make_no_room_and_twins_are_one_room() {
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    scraper.until("the bystander to join", |now| now.value("members") == 1);
    for name in odd_names() {
        let mut joining = Http::connect(broker.address());
        joining.send(&upgrade(&format!("/raw/{name}"), "test", &[]));
        assert_eq!(joining.answer(Expect::Body).status, 400, "{name}");
        // A refusal may end the connection, so each has its own.
        let mut http = Http::connect(broker.address());
        assert_eq!(http.post(&name, "text/plain", b"hello").status, 400, "{name}");
    }
    // More than one segment, or none, is no path of ours; bytes beyond ASCII are no target.
    for (name, status) in [("", 404), ("a/b", 404), ("../lobby", 404), ("\u{e4}", 400)] {
        let mut joining = Http::connect(broker.address());
        joining.send(&upgrade(&format!("/raw/{name}"), "test", &[]));
        assert_eq!(joining.answer(Expect::Body).status, status, "{name}");
    }
    let mut endless = Http::connect(broker.address());
    // The rest of it goes nowhere: whether it can still be sent is not the point.
    endless.stream.write_all(upgrade(&"/raw/x".repeat(1024 * 1024), "test", &[]).as_slice()).ok();
    let status = endless.next_answer(Expect::HeadOnly).map(|answer| answer.status);
    assert!(matches!(status, None | Some(414)), "{status:?}");
    assert_eq!(scraper.metrics().value("rooms"), 1, "the bystander's");

    // However it is written, it is the same room; dots and slashes in a name mean nothing.
    let longest = "%78".repeat(128);
    let mut http = Http::connect(broker.address());
    for (name, twins) in [
        ("lobby", &["%6Cobby", "%6cobby", "%6C%6F%62%62%79"][..]),
        ("..", &["%2E%2E", "%2e."]),
        ("..%2F..%2Fetc", &["%2E.%2f..%2Fetc"]),
        (&longest, &[&"x".repeat(128)]),
    ] {
        let mut member = Raw::open(broker.address(), &format!("/raw/{name}"));
        member.send(TEXT, b"here");
        assert_eq!(member.next().expect("its own").payload, b"here", "{name}");
        for twin in twins {
            let answer = http.post(twin, "text/plain", b"hello");
            assert_eq!((answer.status, &answer.json()["receivers"]), (200, &1.into()), "{twin}");
            assert_eq!(member.next().expect("a message").payload, b"hello", "{twin}");
        }
    }
    bystander.stop();
    broker.stop();
}

/// A name of the greatest length.
fn long_name(nth: usize) -> String {
    format!("{nth:x>128}")
}

/// One client publishes to so many rooms, many requests at a time; how many it was let make.
fn make_rooms(broker: &Broker, count: usize) -> u64 {
    const PORTION: usize = 100;
    let mut http = Http::connect(broker.address());
    let mut made = 0;
    for first in (0..count).step_by(PORTION) {
        let requests: String = (first..first + PORTION)
            .map(|nth| {
                let name = long_name(nth);
                format!(
                    "POST /v1/rooms/{name}/messages HTTP/1.1\r\nHost: test\r\n\
                     Content-Length: 0\r\n\r\n"
                )
            })
            .collect();
        http.send(requests.as_bytes());
        for _ in 0..PORTION {
            match http.answer(Expect::Body).status {
                200 => made += 1,
                status => assert_eq!(status, 503, "there are too many rooms"),
            }
        }
    }
    made
}

#[test]
fn one_client_makes_no_more_rooms_than_there_may_be() {
    const ROOMS_MAX: u64 = 300;
    for loops in ["1", "2"] {
        let rooms_max = ROOMS_MAX.to_string();
        let broker = Broker::start(&["--loops", loops, "--rooms-max", &rooms_max]);
        let mut scraper = Scraper::new(&broker);
        let bystander = Bystander::start(&broker);
        scraper.until("the bystander to join", |now| now.value("members") == 1);
        let resident = broker.resident_kib();
        let asked = scaled(3_000).next_multiple_of(100).max(1_000);
        let made = make_rooms(&broker, asked);
        let now = scraper.metrics();
        assert_eq!(now.value("rooms"), made + 1, "the bystander's, and what was made");
        assert_eq!(made, ROOMS_MAX - 1, "{loops} loops: all that there may be");
        assert_eq!(now.value("rooms_refused_total"), asked as u64 - made);
        // Who joins one more is told so; rooms that exist are served as ever.
        let mut late = Raw::open(broker.address(), "/raw/one-more");
        assert_eq!(late.close_code(), Some(1013));
        let mut http = Http::connect(broker.address());
        assert_eq!(http.post(&long_name(0), "text/plain", b"hello").status, 200);
        eprintln!("{made} rooms: resident {resident} KiB, then {} KiB", broker.resident_kib());
        drop((late, http));
        bystander.stop();
        broker.stop();
    }
}

#[test]
fn rooms_that_one_client_made_are_gone_after_their_grace() {
    let broker = Broker::start(&["--loops", "2", "--room-grace", "1ms", "--history-age", "1s"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    scraper.until("the bystander to join", |now| now.value("members") == 1);
    let asked = scaled(3_000).next_multiple_of(100);
    assert_eq!(
        make_rooms(&broker, asked),
        asked as u64,
        "there is room for them one after the other"
    );
    // Joined and left as well, without a message.
    let members: Vec<_> = (0..scaled(100))
        .map(|nth| Raw::open(broker.address(), &format!("/raw/{}", long_name(nth))))
        .collect();
    drop(members);
    let now = scraper.until("all but one to be gone", |now| {
        (now.value("rooms"), now.value("members")) == (1, 1) && now.is_at_rest()
    });
    assert_eq!(now.value("rooms_created_total"), now.value("rooms_deleted_total") + 1);
    bystander.stop();
    broker.stop();
}

// --- the log ----------------------------------------------------------------------------------

/// A mark that is in everything sent below.
const MARK: &str = "evil-mark";

/// Requests and frames that carry the mark and what a terminal, a line or a parser trips over.
fn poison() -> Vec<Vec<u8>> {
    let bad: [&[u8]; 6] = [
        b"\x1b[31m\x1b]0;owned\x07",
        b"\r\n{\"level\":\"ERROR\"}",
        b"\n",
        b"\0",
        b"\xff\xfe",
        b"\x9b1m",
    ];
    let mut all = Vec::new();
    for bad in bad {
        let with = |before: &str, after: &str| {
            let before = before.replace("MARK", MARK);
            [before.as_bytes(), bad, after.as_bytes()].concat()
        };
        let end = "\r\nHost: test\r\n\r\n";
        all.push(with("GET /MARK", &format!(" HTTP/1.1{end}")));
        all.push(with("GET /raw/MARK", &format!(" HTTP/1.1{end}")));
        all.push(with("MARK", &format!(" / HTTP/1.1{end}")));
        all.push(with("GET / HTTP/1.1MARK", end));
        all.push(with("GET / HTTP/1.1\r\nUser-Agent: MARK", end));
        all.push(with("GET /raw/MARK HTTP/1.1\r\nOrigin: http://MARK", end));
        all.push(with("GET / HTTP/1.1\r\nHost: MARK", "\r\n\r\n"));
        all.push(with("GET / HTTP/1.1\r\nMARK", &format!(": a{end}")));
        let encoded: String = bad.iter().map(|byte| format!("%{byte:02X}")).collect();
        all.push(upgrade(&format!("/raw/{MARK}{encoded}"), "test", &[]));
        // Inside: a bad frame, bad text, and a close whose reason is the mark.
        let open = upgrade(&format!("/raw/{MARK}"), "test", &[]);
        let reason = [&close_payload(4999)[..], MARK.as_bytes(), bad].concat();
        all.push([&open[..], &frame(0x88, &reason)].concat());
        all.push([&open[..], &frame(TEXT, &with("MARK", ""))].concat());
        all.push([&open[..], &frame(0xF3, &with("MARK", ""))].concat());
    }
    all.push(format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", MARK.repeat(2_000)).into_bytes());
    all
}

#[test]
fn nothing_that_a_client_says_gets_into_the_log() {
    const LINE_BYTES_MAX: usize = 512;
    let poison = poison();
    for format in ["json", "pretty"] {
        let args = ["--loops", "2", "--log-format", format, "--log-level", "trace"];
        let broker = Broker::start(&args);
        let mut scraper = Scraper::new(&broker);
        let bystander = Bystander::start(&broker);
        for bytes in &poison {
            let mut http = Http::connect(broker.address());
            http.send(bytes);
            http.stream.shutdown(Shutdown::Write).expect("half closed");
            http.rest();
        }
        bystander.stop();
        let ended = poison.len() as u64 + 1;
        scraper.until("all to be gone", |now| now.value("connections") == 1);
        until("all to be told", || (closed_lines(&broker) as u64 >= ended).then_some(()));
        assert_eq!(closed_lines(&broker) as u64, ended, "one line for each connection");
        let log = broker.log();
        assert!(!log.contains(MARK), "{format}: a client's text is in the log:\n{log}");
        for line in log.lines() {
            assert!(line.len() < LINE_BYTES_MAX, "{format}: {line}");
            let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
            assert!(!line.contains(is_odd), "{format}: {line:?}");
            if format == "json" {
                let parsed: serde_json::Value = serde_json::from_str(line).expect(line);
                assert!(parsed["level"].is_string() && parsed["message"].is_string(), "{line}");
            }
        }
        broker.stop();
    }
}

/// Lines that say of a connection that it ended.
fn closed_lines(broker: &Broker) -> usize {
    let log = broker.log();
    let is_one =
        |line: &&str| line.contains("\"message\":\"closed\"") || line.contains(": closed ");
    log.lines().filter(is_one).count()
}

// --- pages ------------------------------------------------------------------------------------

/// Asks for a WebSocket from a page of that origin: the answer, which is no 101.
fn refused(broker: &Broker, origin: &str) -> (u16, String) {
    let mut http = Http::connect(broker.address());
    http.send(&upgrade("/raw/lobby", "broker.example", &[&format!("Origin: {origin}")]));
    let answer = http.answer(Expect::Body);
    (answer.status, answer.detail())
}

#[test]
fn only_pages_on_the_list_connect() {
    let allowed = ["--origins", "https://app.example.com", "--origins", "https://*.example.org"];
    let broker = Broker::start(&allowed);
    for origin in ["https://app.example.com", "https://a.b.example.org"] {
        let mut http = Http::connect(broker.address());
        http.send(&upgrade("/raw/lobby", "broker.example", &[&format!("Origin: {origin}")]));
        assert_eq!(http.answer(Expect::HeadOnly).status, 101, "{origin}");
    }
    // Who is no browser sends none.
    Raw::open(broker.address(), "/raw/lobby");
    let foreign = ["https://example.org", "https://app.example.com.evil.com", "null"];
    for origin in foreign {
        let told = format!("pages of {origin} may not connect");
        assert_eq!(refused(&broker, origin), (403, told));
    }
    // The default is replaced.
    assert_eq!(refused(&broker, "http://broker.example").0, 403);
    let remedy = "origin.allowed would have to list ";
    until("the remedy to be told", || broker.log().contains(remedy).then_some(()));
    let now = Scraper::new(&broker).metrics();
    assert_eq!(now.value("origins_refused_total"), foreign.len() as u64 + 1);
    broker.stop();
}

#[test]
fn a_refused_origin_is_in_the_log_in_one_short_line_of_plain_text() {
    const LINE_BYTES_MAX: usize = 512;
    let broker = Broker::start(&["--log-format", "json"]);
    let long = "a".repeat(4_000);
    for origin in
        ["http://\"},{\"level\":\"ERROR\"", "http://\u{202e}evil", "http://\u{9b}1m", &long]
    {
        assert_eq!(refused(&broker, origin).0, 403);
    }
    let told = || broker.log().lines().filter(|line| line.contains("origin.allowed")).count();
    until("all to be told", || (told() == 4).then_some(()));
    for line in broker.log().lines() {
        assert!(line.is_ascii() && line.len() < LINE_BYTES_MAX, "{line}");
        let parsed: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_ne!(parsed["level"], "ERROR", "{line}");
    }
    broker.stop();
}

#[test]
fn who_sends_no_origin_may_be_kept_out_but_may_publish() {
    let broker = Broker::start(&["--origin-missing=false"]);
    let mut http = Http::connect(broker.address());
    http.send(&upgrade("/raw/lobby", "broker.example", &[]));
    let answer = http.answer(Expect::Body);
    assert_eq!(answer.status, 403);
    assert!(answer.detail().starts_with("Origin is missing"), "{answer:?}");
    assert_eq!(Http::connect(broker.address()).post("lobby", "text/plain", b"x").status, 200);
    broker.stop();
}
