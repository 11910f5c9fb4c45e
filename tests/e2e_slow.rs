//! Slow readers, end to end: one that stalls hurts itself alone, whatever its room's policy.
//!
//! Not here: clients that keep up (`e2e_rooms`). Invariant: how much a kernel takes before it
//! refuses is never assumed: what is checked is that sent, received and counted agree.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::bystander::Bystander;
use e2e::crowd::{Client, Crowd};
use e2e::http::Http;
use e2e::plan::{Kind, Letter, Seen};
use e2e::raw::{BINARY, CLOSE, Raw, TEXT};
use e2e::scrape::{Metrics, Scraper};
use e2e::wait::DEADLINE;
use socket2::{Domain, SockRef, Socket, Type};
use std::net::TcpStream;

/// Members that read, one of which sends.
const HEALTHY: usize = 8;
/// More than a kernel takes for a socket that is not read.
const LETTERS: usize = 600;
const LETTER: Letter = Letter { kind: Kind::Binary, bytes: 32 * 1024 };

/// A letter as a frame, and a close.
const FRAME_BYTES_MAX: u64 = LETTER.bytes as u64 + 32;

/// A member that does not read, with as small a window as the kernel allows.
fn stalled(broker: &Broker, room: &str) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.connect(&broker.address().into()).expect("the broker accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    Raw::over(Http::over(stream), &format!("/raw/{room}"))
}

/// The healthy ones, all joined.
fn healthy(broker: &Broker, room: &str) -> Crowd {
    let mut crowd = Crowd::new();
    for sender in 0..HEALTHY {
        crowd.join(broker, room, u32::try_from(sender).expect("few"));
    }
    crowd
}

/// The first member sends; each healthy one gets all of it, in order.
///
/// In portions, each read before the next is sent: so that only who stalls is slow.
fn talk(crowd: &mut Crowd, letters: usize) {
    let before = crowd.clients[0].seen.len();
    for portion in (0..letters).step_by(10) {
        let size = (letters - portion).min(10);
        let due = before + portion + size;
        crowd.give(0, vec![LETTER; size]);
        let has_all = move |clients: &[Client]| clients.iter().all(|one| one.seen.len() >= due);
        crowd.run("the healthy members to get everything", has_all);
    }
    for client in &crowd.clients {
        assert_eq!(client.closed, None, "a healthy member stays");
        let order = client.seen.iter().map(|seen| seen.place().expect("long letters").1);
        assert!(order.eq(0..before + letters), "a healthy member misses nothing");
    }
}

#[test]
fn who_stalls_is_cut_and_the_others_miss_nothing() {
    for loops in ["1", "2"] {
        // A long time to close, so that the one who wakes up again finds out why.
        let broker = Broker::start(&["--loops", loops, "--close-timeout", "50s"]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = healthy(&broker, "busy");
        let (mut sleeper, goner) = (stalled(&broker, "busy"), stalled(&broker, "busy"));
        let joined = HEALTHY as u64 + 2;
        scraper.until("all to have joined", |now| now.value("members") == joined);
        let bystander = Bystander::start(&broker);
        talk(&mut crowd, e2e::scaled(3_000).max(LETTERS));
        bystander.stop();

        let now = scraper.until("both to be cut", |now| now.value("websockets") == joined - 2);
        // Cut, each holds the frame that was begun, and no longer what waited behind it.
        assert!(now.value("outbox_bytes") < 2 * FRAME_BYTES_MAX, "{now:?}");
        assert!(now.held_bytes() < 512 * 1024, "{} bytes are held", now.held_bytes());
        let mut got = 0;
        let code = loop {
            let frame = sleeper.next().expect("a close before the connection ends");
            if frame.first == CLOSE {
                break frame.close_code();
            }
            assert_eq!(frame.first, BINARY);
            let seen = Seen::new(Kind::Binary, &frame.payload);
            assert_eq!(seen.place(), Some((0, got)), "what it gets is whole and in order");
            got += 1;
        };
        assert_eq!(code, Some(4101), "after {got} messages");
        assert!(got < LETTERS, "it missed something");
        sleeper.send(CLOSE, &4101_u16.to_be_bytes());
        assert_eq!(sleeper.next(), None, "nothing follows the close");
        drop(goner);
        let now = scraper.until("both to be gone", |now| now.closed("slow-consumer") == 2);
        assert!(now.is_at_rest(), "nothing is held for anyone: {now}");
        assert_eq!(now.value("dropped_messages_total"), 0, "who is cut is not dropped from");
        drop(crowd);
        broker.stop();
    }
}

#[test]
fn who_never_wakes_up_is_dropped_after_the_time_to_close() {
    let broker = Broker::start(&["--loops", "2", "--close-timeout", "300ms"]);
    let mut scraper = Scraper::new(&broker);
    let mut crowd = healthy(&broker, "busy");
    let stalled = stalled(&broker, "busy");
    let joined = HEALTHY as u64 + 1;
    scraper.until("all to have joined", |now| now.value("members") == joined);
    talk(&mut crowd, LETTERS);
    let now = scraper.until("it to be gone", |now| now.closed("slow-consumer") == 1);
    assert!(now.is_at_rest(), "nothing is held for anyone: {now}");
    assert_eq!(now.value("connections"), joined, "the healthy ones, and the one who asks");
    drop((stalled, crowd));
    broker.stop();
}

const POLICIES: &str = r#"
[[rooms]]
pattern = "silent:*"
raw_drops = "silent"
overflow = "POLICY"
outbox_bytes_max = "2MiB"
outbox_messages_max = 20

[[rooms]]
pattern = "strict:*"
overflow = "POLICY"
"#;

/// A stalled member of a room that drops silently: which messages it got, by their number.
fn silent(policy: &str, loops: &str) -> (Vec<usize>, usize) {
    let file = POLICIES.replace("POLICY", policy);
    let broker = Broker::start_with_file(&file, &["--loops", loops]);
    let mut scraper = Scraper::new(&broker);
    let mut crowd = healthy(&broker, "silent:1");
    let mut slow = stalled(&broker, "silent:1");
    let joined = HEALTHY as u64 + 1;
    scraper.until("all to have joined", |now| now.value("members") == joined);
    talk(&mut crowd, LETTERS);
    let now = scraper.metrics();
    let dropped = now.value("dropped_messages_total");
    assert!(dropped > 0, "{policy}: something did not fit");
    assert_eq!(now.value("websockets"), joined, "{policy}: nobody was disconnected");
    // What waits for it is bounded, and does not keep others' buffers.
    let bound = 21 * FRAME_BYTES_MAX;
    assert!(now.value("outbox_bytes") <= bound, "{policy}: {} bytes", now.value("outbox_bytes"));
    assert!(now.held_bytes() <= 4 * bound, "{policy}: {} bytes held", now.held_bytes());

    let mut got = Vec::new();
    while got.len() + usize::try_from(dropped).expect("a count") < LETTERS {
        got.push(number(&slow.next().expect("it stays connected").payload));
    }
    scraper.until("all to be written", Metrics::is_at_rest);
    // Once it reads again it gets what comes, and gets nothing else before.
    talk(&mut crowd, 1);
    assert_eq!(number(&slow.next().expect("a last message").payload), LETTERS, "{policy}");
    assert_eq!(scraper.metrics().value("dropped_messages_total"), dropped, "{policy}");
    assert!(got.is_sorted_by(|a, b| a < b), "{policy}: {got:?}");
    drop((slow, crowd));
    broker.stop();
    (got, usize::try_from(dropped).expect("a count"))
}

fn number(payload: &[u8]) -> usize {
    Seen::new(Kind::Binary, payload).place().expect("a long letter").1
}

#[test]
fn drop_oldest_keeps_the_newest_without_a_word() {
    for loops in ["1", "2"] {
        let (got, _) = silent("drop-oldest", loops);
        let newest: Vec<usize> = (LETTERS - 20..LETTERS).collect();
        assert!(got.ends_with(&newest), "{got:?}");
        // Before them is what the kernel had taken.
        let (first, _) = got.split_at(got.len() - newest.len());
        assert!(first.iter().copied().eq(0..first.len()), "{got:?}");
    }
}

#[test]
fn drop_newest_keeps_the_oldest_without_a_word() {
    for loops in ["1", "2"] {
        let (got, dropped) = silent("drop-newest", loops);
        assert_eq!(got[..10], (0..10).collect::<Vec<_>>(), "{got:?}");
        assert_eq!(got.len() + dropped, LETTERS);
    }
}

#[test]
fn latest_skips_to_the_newest_without_a_word() {
    for loops in ["1", "2"] {
        let (got, _) = silent("latest", loops);
        // What the kernel had taken, then what came since the outbox was last full.
        let kernel = got.iter().enumerate().take_while(|(nth, number)| nth == *number).count();
        let newest = &got[kernel..];
        assert!((1..=20).contains(&newest.len()), "{got:?}");
        assert!(newest.iter().copied().eq(LETTERS - newest.len()..LETTERS), "{got:?}");
    }
}

#[test]
fn a_policy_that_drops_cuts_raw_members_unless_silence_is_asked_for() {
    for policy in ["drop-oldest", "drop-newest", "latest"] {
        let file = POLICIES.replace("POLICY", policy);
        let broker = Broker::start_with_file(&file, &["--loops", "2", "--close-timeout", "50s"]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = healthy(&broker, "strict:1");
        let mut slow = stalled(&broker, "strict:1");
        let joined = HEALTHY as u64 + 1;
        scraper.until("all to have joined", |now| now.value("members") == joined);
        talk(&mut crowd, LETTERS);
        scraper.until("it to be cut", |now| now.value("websockets") == joined - 1);
        assert_eq!(slow.close_code(), Some(4101), "{policy}");
        drop((slow, crowd));
        broker.stop();
    }
}

#[test]
fn a_few_who_stall_in_a_large_room_hold_no_more_than_their_outboxes() {
    const MEMBERS: u32 = 200;
    const STALLED: usize = 4;
    const OUTBOX_BYTES_MAX: u64 = 1024 * 1024;
    for loops in ["1", "2"] {
        let broker = Broker::start(&[
            "--loops",
            loops,
            "--message-bytes-max",
            "64KiB",
            "--outbox-bytes-max",
            "1MiB",
            "--close-timeout",
            "50s",
        ]);
        let mut scraper = Scraper::new(&broker);
        let mut crowd = Crowd::new();
        for sender in 0..MEMBERS {
            crowd.join(&broker, "large", sender);
        }
        let mut sleepers: Vec<Raw> = (0..STALLED).map(|_| stalled(&broker, "large")).collect();
        let joined = u64::from(MEMBERS) + STALLED as u64;
        scraper.until("all to have joined", |now| now.value("members") == joined);
        let bystander = Bystander::start(&broker);
        let mut most = 0;
        let mut rounds = 0;
        while scraper.metrics().value("websockets") > u64::from(MEMBERS) + 1 {
            talk(&mut crowd, 10);
            most = most.max(scraper.metrics().held_bytes());
            rounds += 1;
            assert!(rounds < 100, "who takes nothing of {rounds}0 letters is cut");
        }
        eprintln!("{loops} loops: {most} bytes held for {STALLED} after {rounds}0 letters");
        assert!(most > OUTBOX_BYTES_MAX, "{most} bytes: they had something to wait for");
        // What they wait for is held once for all, and by capacity half as much again.
        let bound = STALLED as u64 * OUTBOX_BYTES_MAX + OUTBOX_BYTES_MAX * 3 / 2 + FRAME_BYTES_MAX;
        assert!(most <= bound, "{most} bytes held, {bound} are the bound");
        for sleeper in &mut sleepers {
            assert_eq!(sleeper.close_code(), Some(4101), "it is told");
        }
        bystander.stop();
        drop((crowd, sleepers));
        broker.stop();
    }
}

#[test]
fn a_burst_is_no_slowness_to_a_reader_that_keeps_up() {
    // A small outbox, and a burst far over it: the kernel takes it all, so nobody is cut.
    let broker = Broker::start(&["--loops", "1", "--outbox-messages-max", "16"]);
    let mut scraper = Scraper::new(&broker);
    let mut member = Raw::open(broker.address(), "/raw/burst");
    let mut sender = Raw::open(broker.address(), "/raw/burst?echo=0");
    scraper.until("both to have joined", |now| now.value("members") == 2);
    let burst: Vec<u8> = (0..500).flat_map(|_| e2e::raw::frame(TEXT, b"tick")).collect();
    sender.0.send(&burst);
    for _ in 0..500 {
        assert_eq!(member.next().expect("nobody is cut").payload, b"tick");
    }
    assert!(SockRef::from(member.stream()).take_error().expect("no error").is_none());
    drop((member, sender));
    broker.stop();
}
