//! Abuse, end to end: what it costs the broker, and that a healthy bystander notices nothing.
//!
//! Not here: refusals over HTTP (`e2e_refusals`), slow readers (`e2e_slow`). Invariant: memory is
//! judged by the broker's own accounts; what the system says is told, because allocators keep what
//! they like.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::bystander::Bystander;
use e2e::raw::{
    BEGIN_TEXT, CLOSE, CONTINUE, LAST, PING, PONG, Raw, TEXT, close_payload, frame, upgrade,
};
use e2e::scaled;
use e2e::scrape::{Metrics, Scraper};
use e2e::wait::DEADLINE;
use fanfare::limits::{READ_BYTES_PER_TICK_MAX, READ_SHARE_BYTES_MIN};
use rustix::process::Signal;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// What all of an attack may move the accounts by.
const HELD_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Tells the resident memory before and after; the accounts are what is judged.
fn tell(what: &str, broker: &Broker, before_kib: u64) {
    eprintln!("{what}: resident {before_kib} KiB before, {} KiB after", broker.resident_kib());
}

/// One of the ways in which a connection is made and reset.
fn storm_once(address: SocketAddr, way: usize) {
    let mut stream = TcpStream::connect(address).expect("the broker accepts");
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a reset at the close");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    // Few rooms, so that there is always someone there to deliver to.
    let open = upgrade(&format!("/raw/storm-{}", way % 7), "test", &[]);
    let message = frame(TEXT, &[b'x'; 2_000]);
    let post =
        b"POST /v1/rooms/storm-1/messages HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    let bytes = match way % 10 {
        0 => Vec::new(),
        1 => open[..40].to_vec(),
        2 | 3 => open,
        4 => [open, message.repeat(3)].concat(),
        5 | 6 => [open, message, frame(BEGIN_TEXT, b"unfini")].concat(),
        7 => [open, message, frame(CLOSE, &close_payload(1000))].concat(),
        8 => b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".repeat(20),
        _ => [post.repeat(20), post[..60].to_vec()].concat(),
    };
    stream.write_all(&bytes).expect("sent");
    match way % 10 {
        3 | 5 | 8 => assert!(stream.read(&mut [0; 256]).expect("an answer") > 100),
        6 => stream.shutdown(Shutdown::Write).expect("half closed"),
        _ => {}
    }
}

#[test]
fn a_storm_of_connects_and_resets_leaves_nothing_behind() {
    const THREADS: usize = 4;
    let broker = Broker::start(&["--loops", "2", "--room-grace", "1ms", "--history-age", "1s"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    scraper.until("the bystander to join", |now| now.value("members") == 1);
    let (descriptors, resident) = (broker.descriptors(), broker.resident_kib());
    let cycles = scaled(20_000);
    let address = broker.address();
    thread::scope(|scope| {
        for first in 0..THREADS {
            let storm = move || {
                (first..cycles).step_by(THREADS).for_each(|cycle| storm_once(address, cycle));
            };
            thread::Builder::new().spawn_scoped(scope, storm).expect("a thread");
        }
    });
    // The one who asks, and the bystander.
    scraper.until("all to be gone", |now| {
        now.value("connections") == 2
            && now.value("members") == 1
            && now.value("rooms") == 1
            && now.is_at_rest()
    });
    assert_eq!(broker.descriptors(), descriptors, "no descriptor is left behind");
    let opened = scraper.metrics().value("connections_opened_total");
    // A connection that was reset while it waited to be accepted may never be seen.
    assert!(opened > cycles as u64 / 2, "{opened} of {cycles}");
    bystander.stop();
    tell("storm", &broker, resident);
    broker.stop();
}

/// Writes `portion` so many times, or until the broker hangs up.
fn write_on(stream: &mut TcpStream, portion: &[u8], times: usize) {
    for _ in 0..times {
        match stream.write_all(portion).map_err(|error| error.kind()) {
            Ok(()) => {}
            Err(kind) => {
                assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
                return;
            }
        }
    }
}

/// By how much the accounts have grown since `before`.
fn grown(now: &Metrics, before: &Metrics) -> u64 {
    now.held_bytes().saturating_sub(before.held_bytes())
}

#[test]
fn pings_that_are_never_read_cost_next_to_nothing() {
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let (before, resident) = (scraper.metrics(), broker.resident_kib());
    let mut flood = Raw::open(broker.address(), "/raw/pings");
    let count = scaled(400_000);
    let portion: Vec<u8> = (0..1_000).flat_map(|nth: u32| frame(PING, &ping(nth))).collect();
    let mut most = 0;
    for _ in 0..count / 1_000 {
        flood.0.send(&portion);
        most = most.max(grown(&scraper.metrics(), &before));
    }
    let now = scraper
        .until("all pings to be read", |now| now.value("pings_received_total") >= count as u64);
    most = most.max(grown(&now, &before));
    eprintln!("{count} pings: {most} bytes at most");
    assert!(most < HELD_BYTES_MAX / 8, "{most} bytes");
    assert!(now.value("pongs_coalesced_total") > 0, "there was more than a kernel takes");
    assert_eq!(now.value("websockets"), 2, "nobody is cut for it");
    tell("pings", &broker, resident);
    // It reads at last: the newest ping has its pong.
    loop {
        let pong = flood.next().expect("pongs");
        assert_eq!((pong.first, pong.payload.len()), (PONG, 125));
        let is_newest = pong.payload == ping(999);
        if is_newest && scraper.metrics().value("outbox_bytes") == 0 && flood.0.unread.is_empty() {
            break;
        }
    }
    bystander.stop();
    drop(flood);
    broker.stop();
}

fn ping(nth: u32) -> Vec<u8> {
    let mut payload = vec![0x55; 125];
    payload[..4].copy_from_slice(&nth.to_be_bytes());
    payload
}

#[test]
fn endless_empty_fragments_end_the_connection() {
    let broker = Broker::start(&["--loops", "1"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let (before, resident) = (scraper.metrics(), broker.resident_kib());
    // As many as are allowed, then one that is not empty: a message.
    let mut odd = Raw::open(broker.address(), "/raw/odd");
    odd.0.send(&[frame(BEGIN_TEXT, b""), frame(CONTINUE, b"").repeat(1_000)].concat());
    odd.send(LAST, b"still honest");
    assert_eq!(odd.next().expect("a message").payload, b"still honest");
    // Far more than are allowed.
    let mut endless = Raw::open(broker.address(), "/raw/endless");
    endless.send(BEGIN_TEXT, b"");
    let mut stream = endless.stream().try_clone().expect("a second handle");
    let count = scaled(300_000);
    let sender = thread::Builder::new().spawn(move || {
        let portion = frame(CONTINUE, b"").repeat(1_000);
        write_on(&mut stream, &portion, count / 1_000);
    });
    assert_eq!(endless.close_code(), Some(1008));
    let now = scraper.metrics();
    assert!(grown(&now, &before) < HELD_BYTES_MAX / 8, "{} bytes", grown(&now, &before));
    sender.expect("a thread").join().expect("it writes or is cut");
    drop(endless);
    scraper.until("it to be counted", |now| now.closed("policy") == 1);
    bystander.stop();
    tell("empty fragments", &broker, resident);
    drop(odd);
    broker.stop();
}

#[test]
fn tiny_fragments_are_a_message_like_any_other() {
    let broker = Broker::start(&["--loops", "1"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let before = scraper.metrics();
    let mut tiny = Raw::open(broker.address(), "/raw/tiny");
    let count = scaled(300_000);
    tiny.send(BEGIN_TEXT, b"b");
    let portion = frame(CONTINUE, b"x").repeat(1_000);
    let mut most = 0;
    for _ in 0..count / 1_000 {
        tiny.0.send(&portion);
        most = most.max(grown(&scraper.metrics(), &before));
    }
    tiny.send(LAST, b"e");
    let message = tiny.next().expect("a message");
    assert_eq!(message.first, TEXT);
    assert_eq!(message.payload.len(), count / 1_000 * 1_000 + 2);
    assert!(message.payload.starts_with(b"bxx") && message.payload.ends_with(b"xxe"));
    assert!(most <= count as u64 + 64 * 1024, "{most} bytes for {count} received");
    bystander.stop();
    drop(tiny);
    broker.stop();
}

#[test]
fn floods_on_many_connections_are_read_in_turns_of_a_bounded_size() {
    const CONNECTIONS: usize = 40;
    let broker = Broker::start(&["--loops", "1"]);
    let mut scraper = Scraper::new(&broker);
    let open = |nth| Raw::open(broker.address(), &format!("/raw/many-{nth}?echo=0"));
    let mut floods: Vec<Raw> = (0..CONNECTIONS).map(open).collect();
    let middle = frame(CONTINUE, &[b'x'; 1_000]).repeat(100);
    let message = [frame(BEGIN_TEXT, b"x"), middle, frame(LAST, b"x")].concat();
    let before = scraper.metrics();
    // While it stands still, the kernel takes on its behalf as much as it can.
    broker.signal(Signal::STOP);
    let mut sent = 0;
    for flood in &mut floods {
        let stream = &mut flood.0.stream;
        stream.set_nonblocking(true).expect("not blocking");
        let mut at = 0;
        while let Ok(count) = stream.write(&message[at..]) {
            at = (at + count) % message.len();
            sent += count as u64;
        }
    }
    assert!(sent > 4 * READ_BYTES_PER_TICK_MAX as u64, "{sent} bytes are no flood");
    broker.signal(Signal::CONT);
    let received = |now: &Metrics| now.value("received_bytes_total");
    let now = scraper.until("all to be read", |now| received(now) - received(&before) >= sent);
    let ticks = now.value("ticks_total") - before.value("ticks_total");
    eprintln!("{sent} bytes in {ticks} ticks");
    // The last turn of a tick may go over by a share.
    let most = ticks * (READ_BYTES_PER_TICK_MAX + READ_SHARE_BYTES_MIN) as u64;
    assert!(sent <= most, "{sent} bytes in {ticks} ticks");
    drop(floods);
    broker.stop();
}

#[test]
fn unfinished_messages_cost_what_was_sent_and_little_more() {
    const CONNECTIONS: usize = 40;
    const FRAGMENTS: usize = 16_000;
    let broker = Broker::start(&["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let (before, resident) = (scraper.metrics(), broker.resident_kib());
    let mut held: Vec<Raw> = (0..CONNECTIONS)
        .map(|nth| Raw::open(broker.address(), &format!("/raw/held-{nth}")))
        .collect();
    let fragments = frame(CONTINUE, b"x").repeat(FRAGMENTS - 1);
    for one in &mut held {
        one.0.send(&[frame(BEGIN_TEXT, b"x"), fragments.clone()].concat());
    }
    // A pong proves that all before it was read.
    for one in &mut held {
        one.send(PING, b"read?");
        assert_eq!(one.next().expect("a pong").first, PONG);
    }
    let now = scraper.metrics();
    let sent = (CONNECTIONS * FRAGMENTS) as u64;
    let spilled = now.value("spill_bytes");
    eprintln!("{spilled} bytes spilled, {} held, for {sent} sent", grown(&now, &before));
    assert!(spilled >= sent, "{spilled} bytes for {sent} received");
    assert!(spilled <= sent + CONNECTIONS as u64 * (4_096 + 512), "{spilled} for {sent}");
    assert!(grown(&now, &before) < HELD_BYTES_MAX);
    tell("unfinished messages", &broker, resident);
    bystander.stop();
    for one in &mut held {
        one.send(LAST, b"x");
        assert_eq!(one.next().expect("the message").payload.len(), FRAGMENTS + 1);
    }
    drop(held);
    scraper.until("everything to be given back", Metrics::is_at_rest);
    broker.stop();
}

#[test]
fn what_is_only_announced_costs_nothing() {
    let broker = Broker::start(&["--loops", "1", "--close-timeout", "50s"]);
    let mut scraper = Scraper::new(&broker);
    let bystander = Bystander::start(&broker);
    let before = scraper.metrics();
    let header = |length: u64| {
        let mut bytes = vec![TEXT, 0x80 | 127];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let mut allowed = Raw::open(broker.address(), "/raw/announced");
    allowed.0.send(&header(1_048_576));
    for (length, code) in [(1_048_577, 1009), (1 << 40, 1009), (1 << 63, 1002), (u64::MAX, 1002)] {
        let mut liar = Raw::open(broker.address(), "/raw/announced");
        liar.0.send(&header(length));
        assert_eq!(liar.close_code(), Some(code), "{length} announced");
    }
    // Two fragments whose sum is too long: judged at the second one's header.
    let mut sum = Raw::open(broker.address(), "/raw/announced");
    sum.send(BEGIN_TEXT, &[b'x'; 1_000]);
    let mut second = header(1_048_576);
    second[0] = LAST;
    sum.0.send(&second);
    assert_eq!(sum.close_code(), Some(1009));
    let now = scraper.metrics();
    assert!(grown(&now, &before) < 64 * 1024, "{} bytes", grown(&now, &before));
    bystander.stop();
    drop((allowed, sum));
    broker.stop();
}
