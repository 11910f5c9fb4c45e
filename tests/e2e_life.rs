//! The life of the process, end to end: starting, listening, draining, running out of descriptors.
//!
//! Not here: what it serves meanwhile (`e2e_rooms`, `e2e_http`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::{Broker, fanfare, fanfare_under};
use e2e::crowd::Crowd;
use e2e::http::{Expect, Http};
use e2e::raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT, close_payload, frame, upgrade};
use e2e::scrape::Scraper;
use e2e::wait::{DEADLINE, Stopwatch, until};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

// --- draining ---------------------------------------------------------------------------------

/// Waits until every loop drains.
fn drain_begun(broker: &Broker) {
    let loops = if broker.log().contains("loops        1,") { 1 } else { 2 };
    let line = "\"message\":\"draining\",\"loop_id\"";
    until("the drain to begin", || (broker.log().matches(line).count() == loops).then_some(()));
}

#[test]
fn a_drain_closes_every_client_with_1001_and_ends_well() {
    for loops in ["1", "2"] {
        let mut broker = Broker::start(&["--loops", loops, "--drain-window", "500ms"]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = Crowd::new();
        for sender in 0..100 {
            crowd.join(&broker, &format!("room-{}", sender % 5), sender);
        }
        scraper.until("all to have joined", |now| now.value("members") == 100);
        // Two requests that have begun: they are new ones when they are complete.
        let mut asking: Vec<Http> = (0..2).map(|_| Http::connect(broker.address())).collect();
        for http in &mut asking {
            http.send(b"GET /readyz HTTP/1.1\r\n");
        }
        scraper.until("all to be there", |now| now.value("connections") == 103);
        broker.signal(Signal::TERM);
        drain_begun(&broker);
        for http in &mut asking {
            http.send(b"Host: test\r\n\r\n");
            let answer = http.answer(Expect::Body);
            assert_eq!((answer.status, answer.field("connection")), (503, Some("close")));
            assert!(answer.field("retry-after").is_some(), "{answer:?}");
            assert!(answer.detail().starts_with("draining"), "{answer:?}");
        }
        crowd.run("all to be closed", |clients| clients.iter().all(|one| one.closed.is_some()));
        for client in &crowd.clients {
            assert_eq!(client.closed, Some(Some(1001)));
        }
        drop((crowd, asking));
        assert_eq!(broker.wait(), Some(0), "exit code");
        assert!(TcpStream::connect(broker.address()).is_err(), "nobody listens any more");
    }
}

#[test]
fn a_drain_flushes_what_is_queued_before_it_closes() {
    const LETTERS: usize = 40;
    for loops in ["1", "2"] {
        let args = ["--loops", loops, "--outbox-bytes-max", "64MiB", "--drain-window", "1ms"];
        let mut broker = Broker::start(&args);
        let mut scraper = Scraper::new(&broker);
        let mut slow = Raw::open(broker.address(), "/raw/queue");
        let mut http = Http::connect(broker.address());
        scraper.until("it to join", |now| now.value("members") == 1);
        let letter = vec![0xff; 512 * 1024];
        for _ in 0..LETTERS {
            assert_eq!(http.post("queue", "application/octet-stream", &letter).status, 200);
        }
        scraper.until("the queue to fill", |now| now.value("outbox_bytes") > 1_000_000);
        broker.signal(Signal::INT);
        drain_begun(&broker);
        for nth in 0..LETTERS {
            let got = slow.next().expect("all that was queued");
            assert_eq!((got.first, got.payload.len()), (BINARY, letter.len()), "{nth}");
        }
        assert_eq!(slow.next().expect("a close").close_code(), Some(1001));
        slow.send(CLOSE, &close_payload(1001));
        assert_eq!(slow.next(), None);
        assert_eq!(broker.wait(), Some(0), "exit code");
    }
}

#[test]
fn a_drain_answers_who_waits_to_be_accepted_and_who_was_accepted_just_before() {
    for loops in ["1", "2"] {
        let mut broker = Broker::start(&["--loops", loops]);
        // While it stands still, the kernel takes connections and requests on its behalf, more of
        // them than one tick accepts.
        broker.signal(Signal::STOP);
        let mut waiting: Vec<Http> = (0..200).map(|_| Http::connect(broker.address())).collect();
        for http in &mut waiting {
            http.send(b"GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        broker.signal(Signal::TERM);
        broker.signal(Signal::CONT);
        for http in &mut waiting {
            let answer = http.answer(Expect::Body);
            assert!([200, 503].contains(&answer.status), "{loops} loops: {answer:?}");
        }
        drop(waiting);
        assert_eq!(broker.wait(), Some(0), "exit code");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in
        [(Signal::TERM, Signal::TERM, 143), (Signal::TERM, Signal::INT, 130)]
    {
        let mut broker = Broker::start(&["--loops", "2", "--close-timeout", "1h"]);
        let stubborn = Raw::open(broker.address(), "/raw/lobby");
        broker.signal(first);
        drain_begun(&broker);
        broker.signal(second);
        assert_eq!(broker.wait(), Some(code));
        drop(stubborn);
    }
}

#[test]
fn a_drain_ends_when_its_time_is_up() {
    let mut broker = Broker::start(&[
        "--loops",
        "2",
        "--close-timeout",
        "1h",
        "--drain-window",
        "1ms",
        "--drain-timeout",
        "300ms",
    ]);
    let mut stubborn = Raw::open(broker.address(), "/raw/lobby");
    broker.signal(Signal::TERM);
    assert_eq!(stubborn.close_code(), Some(1001));
    // It never answers.
    assert_eq!(broker.wait(), Some(0));
    assert!(broker.log().contains("drain time is up"), "{}", broker.log());
}

// --- listening --------------------------------------------------------------------------------

#[test]
fn a_port_in_use_is_an_error_that_names_the_mend_and_can_be_taken_over() {
    let first = Broker::start(&["--loops", "2"]);
    let address = first.address().to_string();
    let output = fanfare(&["serve", "--listen", &address]).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("{address} is in use")), "{stderr}");
    assert!(stderr.contains("--takeover"), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "it never listened");

    let args = ["serve", "--listen", &address, "--loops", "2", "--takeover"];
    let second = Broker::run(fanfare(&args), 1);
    // Both listen: whoever gets it answers.
    assert_eq!(Http::connect(first.address()).get("/healthz").status, 200);
    first.stop();
    for _ in 0..20 {
        let mut http = Http::connect(second.address());
        assert_eq!(http.get("/healthz").status, 200, "the second one serves");
    }
    second.stop();
}

#[test]
fn a_unix_socket_serves_as_a_port_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fanfare.sock");
    let unix = format!("unix:{}", path.display());
    let serve = ["serve", "--loops", "2", "--listen", &unix, "--listen", "127.0.0.1:0"];
    let mut broker = Broker::run(fanfare(&serve), 2);
    assert_eq!(broker.addresses()[0], unix);
    let tcp = broker.addresses()[1].parse().expect("an address");
    let over = || {
        let stream = UnixStream::connect(&path).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        stream
    };
    // Members on both, and on both loops.
    let mut members: Vec<_> = (0..4)
        .map(|_| tungstenite::client("ws://localhost/raw/lobby", over()).expect("a handshake").0)
        .collect();
    let mut by_port = Raw::open(tcp, "/raw/lobby");
    let mut http = Http::over(over());
    until("all to join", || {
        let text = String::from_utf8(http.get("/metrics").body).expect("text");
        text.contains("\nfanfare_members 5\n").then_some(())
    });
    let answer = http.post("lobby", "text/plain", b"hello");
    assert_eq!((answer.status, &answer.json()["receivers"]), (200, &5.into()));
    for member in &mut members {
        let text = member.read().expect("a message").into_text().expect("text");
        assert_eq!(text.as_str(), "hello");
    }
    assert_eq!(by_port.next().expect("a message").payload, b"hello");
    drop((members, by_port, http));

    // Someone listens: a second one is refused. Nobody does any more: the file is in nobody's way.
    let output = fanfare(&["serve", "--listen", &unix]).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("in use") && stderr.contains("--takeover"), "{stderr}");
    broker.signal(Signal::KILL);
    assert_eq!(broker.wait(), None, "killed");
    assert!(path.exists(), "it could not clear up");
    let again = Broker::run(fanfare(&["serve", "--loops", "1", "--listen", &unix]), 1);
    assert_eq!(Http::over(over()).get("/healthz").status, 200);
    again.stop();
    assert!(!path.exists(), "it has cleared up");
}

/// How many connections each of two loops closed, as its log says.
fn closed_by_loop(broker: &Broker) -> [usize; 2] {
    let log = broker.log();
    let lines = log.lines().filter(|line| line.contains("\"message\":\"closed\""));
    let lines: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(line).expect(line)).collect();
    [0, 1].map(|id| lines.iter().filter(|line| line["loop_id"] == id).count())
}

#[test]
fn connections_are_dealt_as_asked() {
    for (accept, expected) in [
        ("reuseport", None),
        ("random", None),
        ("round-robin", Some([17, 17])),
        ("least-connections", Some([22, 12])),
    ] {
        let args = ["--loops", "2", "--accept", accept, "--log-level", "debug"];
        let mut broker = Broker::start(&args);
        let join = |_| Raw::open(broker.address(), "/raw/lobby");
        let mut members: Vec<Raw> = (0..24).map(join).collect();
        // Every second one leaves: where they are dealt by turns, all of one loop's but two.
        let mut nth = 0;
        members.retain(|_| {
            nth += 1;
            nth % 2 == 0 || nth > 20
        });
        until("ten to be gone", || {
            (closed_by_loop(&broker).iter().sum::<usize>() == 10).then_some(())
        });
        members.extend((0..10).map(join));
        let mut sender = Raw::open(broker.address(), "/raw/other");
        sender.send(PING, b"");
        assert_eq!(sender.next().expect("a pong").first, PONG);
        drop((members, sender));
        until("all to be gone", || {
            (closed_by_loop(&broker).iter().sum::<usize>() == 35).then_some(())
        });
        let [mut one, mut other] = closed_by_loop(&broker);
        assert!(one > 0 && other > 0, "{accept}: {one} and {other}");
        if let Some([more, fewer]) = expected {
            // The last one may be on either.
            (one, other) = (one.max(other), one.min(other));
            assert!(
                (one, other) == (more + 1, fewer) || (one, other) == (more, fewer + 1),
                "{accept}: {one} and {other}"
            );
        }
        broker.signal(Signal::TERM);
        assert_eq!(broker.wait(), Some(0));
    }
}

#[test]
fn the_defaults_serve_on_pinned_loops() {
    let broker = Broker::run(fanfare(&["serve", "--listen", "127.0.0.1:0"]), 1);
    let mut http = Http::connect(broker.address());
    let answer = http.get("/healthz");
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"ok".into()));
    let metrics = Scraper::new(&broker).metrics();
    assert_eq!(answer.json()["loops"], metrics.value("loops"));
    let answer = http.get("/metrics");
    let told = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.field("content-type"), Some(told));
    let text = String::from_utf8(answer.body).expect("text");
    assert!(text.ends_with("\n# EOF\n"));
    for name in metrics.samples().keys() {
        assert!(name.starts_with("fanfare_"), "{name}");
    }
    drop(http);
    broker.stop();
}

// --- descriptors ------------------------------------------------------------------------------

#[test]
fn a_low_limit_lowers_the_seats_and_is_never_reached() {
    let under = ["sh", "-c", "ulimit -n 128 && exec \"$@\"", "sh"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--loops", "2"];
    let broker = Broker::run(fanfare_under(&under, &serve), 1);
    let mut scraper = Scraper::new(&broker);
    let seats = scraper.metrics().value("connections_max");
    assert!((1..128).contains(&seats), "{seats}");
    let mut seated = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        let mut http = Http::connect(broker.address());
        // Who is dropped without an answer may be gone before it has asked.
        http.stream.write_all(&upgrade("/raw/lobby", "test", &[])).ok();
        match http.next_answer(Expect::HeadOnly).map(|answer| answer.status) {
            Some(101) => seated.push(http),
            Some(503) | None => refused += 1,
            Some(other) => panic!("{other}"),
        }
        assert!(broker.descriptors() < 128);
    }
    assert_eq!((seated.len() as u64, refused), (seats - 1, 301 - seats), "one seat is the asker's");
    assert_eq!(scraper.metrics().value("accepts_exhausted_total"), 0);
    drop(seated);
    scraper.until("the seats to be free", |now| now.value("connections") == 1);
    assert_eq!(Http::connect(broker.address()).get("/healthz").status, 200);
    broker.stop();
}

#[test]
fn without_descriptors_it_rests_and_goes_on_when_there_are_some() {
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let mut member = Raw::open(broker.address(), "/raw/lobby");
    scraper.until("it to join", |now| now.value("members") == 1);
    let all = getrlimit(Resource::Nofile).maximum;
    // The hard limit stays: lowering it could not be undone.
    let limit = |soft| {
        let new = Rlimit { current: soft, maximum: all };
        prlimit(Some(broker.pid()), Resource::Nofile, new).expect("it is our child");
    };
    let open = broker.descriptors() as u64;
    limit(Some(open + 2));
    let watch = Stopwatch::start();
    let mut waiting: Vec<TcpStream> = Vec::new();
    // Newcomers keep coming; who is there is served as ever.
    let now = until("a shortage that lasts", || {
        waiting.extend(TcpStream::connect(broker.address()));
        member.send(TEXT, b"still here");
        assert_eq!(member.next().expect("its message").payload, b"still here");
        let now = scraper.metrics();
        (now.value("accepts_exhausted_total") >= 10).then_some(now)
    });
    let (took, rests) = (watch.elapsed(), now.value("accepts_exhausted_total"));
    // Two loops that rest at least 10 ms each time.
    let most = 2 * (took.as_millis() / 10 + 2);
    assert!(u128::from(rests) <= most, "{rests} shortages in {took:?} is a spin");
    // From here on nothing is asked of it but to accept.
    let lines = || broker.log().matches("cannot accept connections").count();
    let (watch, ticks, before) = (Stopwatch::start(), broker.cpu_ticks(), lines());
    until("the shortage to go on", || {
        waiting.extend(TcpStream::connect(broker.address()));
        (lines() > before + 3).then_some(())
    });
    let (took, used) = (watch.elapsed(), Duration::from_millis(10 * (broker.cpu_ticks() - ticks)));
    eprintln!("{rests} shortages; then {used:?} of CPU in {took:?}");
    assert!(used < took / 2, "{used:?} of CPU in {took:?} is a spin");
    limit(all);
    let mut http = Http::connect(broker.address());
    assert_eq!(http.get("/healthz").status, 200, "it accepts again");
    drop((waiting, http, member));
    let now = scraper.until("all to be gone", |now| now.value("connections") == 1);
    assert_eq!(now.value("members"), 0);
    broker.stop();
}

// --- heartbeat --------------------------------------------------------------------------------

#[test]
fn who_shows_no_life_is_closed_and_who_answers_is_not() {
    let broker = Broker::start(&[
        "--loops",
        "2",
        "--heartbeat-interval",
        "200ms",
        "--heartbeat-timeout",
        "600ms",
    ]);
    let mut scraper = Scraper::new(&broker);
    let mut dead = Raw::open(broker.address(), "/raw/dead");
    let mut pings = 0;
    let code = loop {
        let frame = dead.next().expect("a close before the connection ends");
        if frame.first == CLOSE {
            break frame.close_code();
        }
        assert_eq!(frame.first, PING);
        pings += 1;
    };
    assert_eq!((pings, code), (3, Some(4201)));
    assert_eq!(dead.next(), None, "nobody is waited for");
    // Who answers is pinged again and again, and stays.
    let mut crowd = Crowd::new();
    crowd.join(&broker, "alive", 0);
    let mut answered = 0;
    while answered < 5 {
        crowd.turn();
        answered = scraper.metrics().value("pongs_received_total");
    }
    assert_eq!(crowd.clients[0].closed, None);
    let now = scraper.metrics();
    assert_eq!((now.value("websockets"), now.closed("no-pong")), (1, 1));
    // So does who answers nothing and sends a byte now and then: any byte is life.
    let mut quiet = Raw::open(broker.address(), "/raw/quiet");
    for byte in frame(TEXT, b"z") {
        assert_eq!(quiet.next().expect("it stays").first, PING);
        quiet.0.send(&[byte]);
        crowd.turn();
    }
    let got = until("its message", || quiet.next().filter(|frame| frame.first != PING));
    assert_eq!(got.payload, b"z");
    drop((crowd, quiet));
    broker.stop();
}
