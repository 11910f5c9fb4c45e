//! Limits on newcomers and on memory, end to end: who is too much is told so, and the others go on.
//!
//! Not here: the limit on connections in all (`e2e_refusals`), slow readers that memory is left for
//! (`e2e_slow`). Invariant: nothing is judged by how long it took.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::crowd::Crowd;
use e2e::drip::Dripper;
use e2e::http::{Answer, Expect, Http};
use e2e::plan::{Kind, Letter};
use e2e::raw::{BINARY, CLOSE, Raw, frame, upgrade};
use e2e::scaled;
use e2e::scrape::Scraper;
use e2e::wait::{DEADLINE, Stopwatch, until};
use socket2::{Domain, Socket, Type};
use std::net::TcpStream;

/// What a newcomer is told, whatever it asks.
fn knock(broker: &Broker) -> Answer {
    let mut http = Http::connect(broker.address());
    http.send(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    http.answer(Expect::Body)
}

/// The seconds that a refusal for that reason names.
fn turn_s(answer: &Answer, reason: &str) -> u64 {
    assert_eq!(answer.status, 503);
    assert!(answer.detail().starts_with(&format!("{reason}: ")), "{answer:?}");
    answer.field("retry-after").expect("a time").parse().expect("a number")
}

#[test]
fn newcomers_beyond_the_rate_are_given_a_turn_and_come_in_later() {
    for (loops, accept) in [("1", "reuseport"), ("2", "round-robin")] {
        let arguments = ["--loops", loops, "--accept", accept, "--accepts-per-second", "4"];
        let since = Stopwatch::start();
        let broker = Broker::start(&arguments);
        let mut scraper = Scraper::new(&broker);
        let answers: Vec<Answer> = (0..40).map(|_| knock(&broker)).collect();
        let come_in = answers.iter().filter(|answer| answer.status == 200).count() as u64;
        let most = 4 + since.elapsed().as_secs() * 4 + 4;
        assert!((1..=most).contains(&come_in), "{come_in} came in where {most} may");
        let refused = answers.iter().filter(|answer| answer.status != 200);
        let turns: Vec<u64> = refused.map(|answer| turn_s(answer, "accept-rate")).collect();
        assert!(turns.iter().all(|turn| (1..=60).contains(turn)), "{turns:?}");
        let busiest = turns.iter().filter(|turn| **turn == turns[0]).count();
        assert!(turns.len() < 12 || busiest <= turns.len() / 2, "they are spread: {turns:?}");
        let counted = scraper.metrics().value("accepts_limited_total");
        assert_eq!(counted, turns.len() as u64);
        // Who was in before goes on, and the next turn comes.
        until("a turn", || (knock(&broker).status == 200).then_some(()));
        assert_eq!(scraper.metrics().value("connections_refused_total"), 0);
        broker.stop();
    }
}

#[test]
fn thousands_who_drip_take_less_than_8_kib_each_and_are_gone_when_their_time_is_up() {
    const DRIPPED_BYTES_MAX: u64 = 8 * 1024;
    let broker = Broker::start(&["--loops", "2", "--log-level", "warn"]);
    let mut scraper = Scraper::new(&broker);
    // Once, so that what loops keep at hand is there.
    assert_eq!(knock(&broker).status, 200);
    let before_kib = broker.resident_kib();
    let since = Stopwatch::start();
    let mut dripping: Vec<Dripper> = (0..scaled(2_000)).map(|_| Dripper::new(&broker)).collect();
    let all = dripping.len() as u64;
    // For as long as a handshake may take by default.
    let (mut there, mut most_kib, mut most_bytes, mut newcomers, mut rounds) = (0, 0, 0, 0, 0);
    while !dripping.is_empty() {
        since.check("all to be sent away");
        dripping.retain_mut(|one| {
            let stays = one.drip();
            assert!(stays || one.got.starts_with(b"HTTP/1.1 408 "), "{}", one.got.escape_ascii());
            stays
        });
        let now = scraper.metrics();
        there = there.max(now.value("connections"));
        most_bytes = most_bytes.max(now.held_bytes());
        most_kib = most_kib.max(broker.resident_kib());
        newcomers += u64::from(knock(&broker).status == 200);
        rounds += 1;
    }
    let each = (most_kib - before_kib) * 1024 / all;
    eprintln!("{there} at once, {each} bytes each, {most_bytes} held, {rounds} rounds");
    assert!(there > all / 2, "{there} of {all} were there at once");
    assert!(most_bytes < all * DRIPPED_BYTES_MAX, "{most_bytes} bytes held");
    assert!(each < DRIPPED_BYTES_MAX, "{each} bytes each");
    assert_eq!(newcomers, rounds, "every newcomer is served");
    scraper.until("all to be gone", |now| now.value("connections") == 1);
    assert_eq!(scraper.metrics().value("spill_bytes"), 0);
    broker.stop();
}

const LETTER: Letter = Letter { kind: Kind::Binary, bytes: 32 * 1024 };

/// A member that does not read, with as small a window as the kernel allows.
fn stalled(broker: &Broker) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.connect(&broker.address().into()).expect("the broker accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    Raw::over(Http::over(stream), "/raw/busy")
}

#[test]
fn who_makes_memory_short_is_closed_and_the_others_miss_nothing() {
    const MAX_KIB: u64 = 96 * 1024;
    for loops in ["1", "2"] {
        // Outboxes that would take more than there is.
        let broker = Broker::start(&[
            "--loops",
            loops,
            "--memory-max",
            "96MiB",
            "--outbox-bytes-max",
            "256MiB",
            "--outbox-messages-max",
            "1000000",
            "--close-timeout",
            "50s",
        ]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = Crowd::new();
        for sender in 0..4 {
            crowd.join(&broker, "busy", sender);
        }
        let mut sleepers: Vec<Raw> = (0..4).map(|_| stalled(&broker)).collect();
        let now = scraper.until("all to have joined", |now| now.value("members") == 8);
        assert_eq!(now.value("memory_max_bytes"), MAX_KIB * 1024);
        let (mut said, mut most_kib) = (0, 0);
        while scraper.metrics().value("pressure_shed_total") < 4 {
            assert!(said < 20_000, "nobody was closed: {most_kib} KiB");
            crowd.give(0, vec![LETTER; 20]);
            said += 20;
            crowd.run("the healthy members to get everything", |clients| {
                clients.iter().all(|one| one.seen.len() >= said)
            });
            most_kib = most_kib.max(broker.resident_kib());
        }
        eprintln!("{said} letters, {most_kib} KiB at most");
        assert!(most_kib < MAX_KIB, "{most_kib} KiB");
        for client in &crowd.clients {
            assert_eq!(client.closed, None, "a healthy member stays");
            let order = client.seen.iter().map(|seen| seen.place().expect("long letters").1);
            assert!(order.eq(0..said), "a healthy member misses nothing");
        }
        let mut slept = sleepers.pop().expect("four");
        let close = std::iter::from_fn(|| slept.next()).find(|frame| frame.first == CLOSE);
        assert_eq!(close.and_then(|frame| frame.close_code()), Some(1013));
        drop((slept, sleepers));
        until("newcomers to be welcome", || (knock(&broker).status == 200).then_some(()));
        scraper.until("the slow to be gone", |now| now.closed("over-capacity") == 4);
        let enough = MAX_KIB * 1024 / 100 * 85;
        scraper.until("memory to be enough", |now| now.value("memory_bytes") < enough);
        assert!(broker.log().contains("memory is short"), "{}", broker.log());
        drop(crowd);
        broker.stop();
    }
}

/// A member that has sent most of a message of 1 MiB, or why it is none.
fn begin(broker: &Broker) -> Result<Http, Answer> {
    let mut http = Http::connect(broker.address());
    http.send(&upgrade("/raw/busy", "test", &[]));
    let answer = http.answer(Expect::HeadOnly);
    if answer.status != 101 {
        return Err(answer);
    }
    let whole = frame(BINARY, &vec![7; 1024 * 1024]);
    http.send(&whole[..whole.len() - 1]);
    Ok(http)
}

#[test]
fn while_memory_is_short_newcomers_are_told_and_those_who_are_in_go_on() {
    const MAX: u64 = 64 * 1024 * 1024;
    for loops in ["1", "2"] {
        let broker = Broker::start(&["--loops", loops, "--memory-max", "64MiB"]);
        let mut scraper = Scraper::new(&broker);
        let mut early = Http::connect(broker.address());
        assert_eq!(early.get("/readyz").status, 200);
        let mut member = Raw::open(broker.address(), "/raw/lobby");
        // What is unfinished can't be given up, so this lasts as long as they stay.
        let mut unfinished = Vec::new();
        let refused = loop {
            match begin(&broker) {
                Ok(one) => unfinished.push(one),
                Err(answer) => break answer,
            }
            assert!(unfinished.len() < 64, "more than there is");
        };
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("5")));
        until("a newcomer to be told", || {
            let answer = knock(&broker);
            (answer.status == 503).then(|| assert_eq!(turn_s(&answer, "memory"), 5))
        });
        until("all loops to know", || (early.get("/readyz").status == 503).then_some(()));
        let mut tried = 0;
        until("no room to be created", || {
            tried += 1; // Another each time: one that was created could stay.
            let answer = early.post(&format!("new-{tried}"), "text/plain", b"x");
            (answer.status == 503).then(|| assert_eq!(turn_s(&answer, "memory"), 5))
        });
        assert_eq!(early.post("lobby", "text/plain", b"on we go").status, 200);
        assert_eq!(member.next().expect("it stays").payload, b"on we go");
        let now = scraper.metrics();
        assert!(now.value("pressure_refused_total") >= 2 && now.value("pressure_shed_total") == 0);
        assert!(broker.resident_kib() * 1024 < MAX, "{} KiB", broker.resident_kib());

        drop(unfinished);
        until("newcomers to be welcome", || (knock(&broker).status == 200).then_some(()));
        until("all loops to know", || (early.get("/readyz").status == 200).then_some(()));
        drop(member);
        broker.stop();
    }
}
