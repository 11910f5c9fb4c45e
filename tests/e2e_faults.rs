//! What hits the whole process, end to end: a drain under load, a kill, a suspension, and what an
//! attacker could learn from one life for the next.
//!
//! Not here: how it starts and drains at rest (`e2e_life`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::{Broker, fanfare};
use e2e::crowd::{Client, Crowd};
use e2e::http::{Expect, Http};
use e2e::plan::{Kind, Letter, POSTS, Seen, payload};
use e2e::raw::{PING, PONG, Raw, TEXT, frame, upgrade};
use e2e::scaled;
use e2e::scrape::Scraper;
use e2e::wait::{Stopwatch, until};
use rustix::process::Signal;
use std::io::Write;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const LETTER: Letter = Letter { kind: Kind::Text, bytes: 100 };

// --- a drain under load -----------------------------------------------------------------------

const ROOMS: usize = 40;

/// Publishes to all rooms by turns until it is refused; how many were accepted, by room.
fn publish_until_refused(address: SocketAddr) -> JoinHandle<Vec<usize>> {
    let publish = move || {
        let mut http = Http::connect(address);
        let mut accepted = vec![0; ROOMS];
        for nth in 0.. {
            for (room, count) in accepted.iter_mut().enumerate() {
                let sender = POSTS + u32::try_from(room).expect("few rooms");
                let body = payload(LETTER, sender, nth);
                let name = format!("room-{room}");
                let request = format!(
                    "POST /v1/rooms/{name}/messages HTTP/1.1\r\nHost: test\r\n\
                     Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                // It may be gone while we send.
                let sent = http.stream.write_all(&[request.as_bytes(), &body].concat());
                let answer = sent.ok().and_then(|()| http.next_answer(Expect::Body));
                match answer.map(|answer| answer.status) {
                    Some(200) => *count += 1,
                    Some(503) | None => return accepted,
                    Some(other) => unreachable!("{other}"),
                }
            }
        }
        accepted
    };
    thread::Builder::new().name("publisher".to_owned()).spawn(publish).expect("a thread")
}

/// What was published to the room over HTTP, of what a member saw.
fn posted(seen: &[Seen], room: usize) -> usize {
    let sender = POSTS + u32::try_from(room).expect("few rooms");
    seen.iter().filter(|one| one.place().is_some_and(|(from, _)| from == sender)).count()
}

#[test]
fn a_drain_under_load_tells_everyone_and_loses_nothing_that_was_accepted() {
    for loops in ["1", "2"] {
        let mut broker = Broker::start(&["--loops", loops, "--drain-window", "500ms"]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = Crowd::new();
        let members = scaled(2_000).next_multiple_of(ROOMS);
        for member in 0..members {
            let sender = u32::try_from(member).expect("few members");
            crowd.join(&broker, &format!("room-{}", member % ROOMS), sender);
        }
        scraper.until("all to have joined", |now| now.value("members") == members as u64);
        let publisher = publish_until_refused(broker.address());
        // One member of each room publishes too, more than it will be let.
        (0..ROOMS).for_each(|place| crowd.give(place, vec![LETTER; 5_000]));
        let has_some = |clients: &[Client]| clients.iter().all(|one| one.seen.len() >= 5);
        crowd.run("everyone to have got something", has_some);

        broker.signal(Signal::TERM);
        let closed = |clients: &[Client]| clients.iter().all(|one| one.closed.is_some());
        crowd.run("all to be closed", closed);
        let accepted = publisher.join().expect("it was refused in the end");
        assert!(accepted.iter().sum::<usize>() > 0, "{accepted:?}");
        for (place, client) in crowd.clients.iter().enumerate() {
            assert_eq!(client.closed, Some(Some(1001)), "member {place}");
        }
        for (room, accepted) in accepted.into_iter().enumerate() {
            let of_room = || crowd.clients.iter().skip(room).step_by(ROOMS);
            let longest = of_room().map(|one| &one.seen).max_by_key(|seen| seen.len());
            let longest = longest.expect("members");
            for member in of_room() {
                // Whoever is closed earlier sees less, and misses nothing until then.
                assert!(longest.starts_with(&member.seen), "room {room}");
                let got = posted(&member.seen, room);
                // One of two loops may accept a little longer than the other one delivers.
                let all = loops == "2" || got >= accepted;
                assert!(all, "room {room}: {got} of {accepted} accepted");
            }
        }
        drop(crowd);
        assert_eq!(broker.wait(), Some(0), "exit code");
    }
}

// --- a kill -----------------------------------------------------------------------------------

#[test]
fn killed_under_load_it_serves_again_at_once_on_the_same_port() {
    let mut broker = Broker::start(&["--loops", "2"]);
    let address = broker.address().to_string();
    let mut epochs = Vec::new();
    for life in 0..5 {
        let mut members: Vec<Raw> =
            (0..scaled(100)).map(|_| Raw::open(broker.address(), "/raw/lobby")).collect();
        // The room starts anew, under a new epoch: who was there before can tell.
        let answer = Http::connect(broker.address()).post("lobby", "text/plain", b"hello").json();
        assert_eq!(answer["seq"], 1, "life {life}: {answer}");
        epochs.push(answer["epoch"].to_string());
        let mut sender = Raw::open(broker.address(), "/raw/lobby?echo=0");
        let load = frame(TEXT, b"load").repeat(1_000);
        let load =
            thread::Builder::new().spawn(move || while sender.0.stream.write_all(&load).is_ok() {});
        for member in &mut members {
            assert_eq!(member.next().expect("a message").payload, b"hello");
            assert_eq!(member.next().expect("a message").payload, b"load");
        }
        broker.signal(Signal::KILL);
        assert_eq!(broker.wait(), None, "killed");
        // At once, while the kernel still has all those connections.
        broker = Broker::run(fanfare(&["serve", "--listen", &address, "--loops", "2"]), 1);
        assert_eq!(Http::connect(broker.address()).get("/readyz").status, 200);
        for member in &mut members {
            // Whole messages, then the end: no close, and nothing in between.
            while let Some(got) = member.next() {
                assert_eq!((got.first, &got.payload[..]), (TEXT, &b"load"[..]));
            }
        }
        load.expect("a thread").join().expect("it was cut off");
    }
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), 5, "an epoch is never used again");
    broker.stop();
}

// --- a suspension -----------------------------------------------------------------------------

#[test]
fn nobody_is_cut_for_the_time_in_which_the_broker_was_suspended() {
    const ALL_TIME_OUTS: Duration = Duration::from_millis(1_600);
    for loops in ["1", "2"] {
        let broker = Broker::start(&[
            "--loops",
            loops,
            "--heartbeat-interval",
            "400ms",
            "--heartbeat-timeout",
            "900ms",
            "--handshake-timeout",
            "1200ms",
        ]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = Crowd::new();
        let members = u32::try_from(scaled(200)).expect("few members");
        for sender in 0..members {
            crowd.join(&broker, "lobby", sender);
        }
        let mut halfway = Http::connect(broker.address());
        let request = upgrade("/raw/lobby", "test", &[]);
        halfway.send(&request[..40]);
        scraper.until("the half to be read", |now| now.value("spill_bytes") > 0);
        let before = scraper.metrics().value("pongs_received_total");

        broker.signal(Signal::STOP);
        let stopped = Stopwatch::start();
        halfway.send(&request[40..]);
        // The clients live on: they answer what comes, and nothing comes.
        until("every time-out to pass", || {
            crowd.turn();
            (stopped.elapsed() > ALL_TIME_OUTS).then_some(())
        });
        broker.signal(Signal::CONT);

        assert_eq!(halfway.answer(Expect::HeadOnly).status, 101, "all of it had come in time");
        let mut halfway = Raw(halfway);
        halfway.send(PING, b"served?");
        while halfway.next().expect("it stays").first != PONG {}
        let waiting = Stopwatch::start();
        loop {
            crowd.turn();
            let now = scraper.metrics();
            assert_eq!(now.closed("no-pong"), 0, "{loops} loops: nobody is cut");
            if now.value("pongs_received_total") >= before + 2 * u64::from(members) {
                break;
            }
            waiting.check("two more pongs of each");
        }
        assert!(crowd.clients.iter().all(|one| one.closed.is_none()), "nobody was closed");
        drop((crowd, halfway));
        broker.stop();
    }
}

// --- hashes -----------------------------------------------------------------------------------

/// Which of these rooms are at home on the loop that this broker's asker is on.
fn homes(names: &[String]) -> Vec<bool> {
    const MESSAGES: u64 = 20;
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let mut http = Http::connect(broker.address());
    let is_here = |name: &String| {
        let before = scraper.metrics().value("batches_total");
        for _ in 0..MESSAGES {
            assert_eq!(http.post(name, "text/plain", b"").status, 200);
        }
        // To another loop, each takes a batch there and one back.
        scraper.metrics().value("batches_total") - before < MESSAGES
    };
    let mut found: Vec<bool> = names.iter().map(is_here).collect();
    // Which loop the asker is on is chance: compare with the first.
    let first = found[0];
    found.iter_mut().for_each(|here| *here ^= first);
    drop(http);
    broker.stop();
    found
}

#[test]
fn where_a_room_is_at_home_says_nothing_about_another_process() {
    let names: Vec<String> = (0..48).map(|nth| format!("room-{nth}")).collect();
    let (one, other) = (homes(&names), homes(&names));
    assert_ne!(one, other, "the hash has a key of each process's own");
    for homes in [one, other] {
        let here = homes.iter().filter(|here| **here).count();
        assert!((4..=44).contains(&here), "{here} of 48 at home on one of two loops");
    }
}
