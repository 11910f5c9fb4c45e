//! Native members that stop reading, end to end: what they get and what they are told that they
//! don't is what was published, to the message.
//!
//! Not here: raw members (`e2e_slow`). Invariant: how much a kernel takes before it refuses is
//! never assumed: what is checked is that published, received and told agree.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Expect, Http};
use e2e::raw::{BINARY, CLOSE, Frame, Raw, TEXT, upgrade};
use e2e::scrape::{Metrics, Scraper};
use e2e::wait::DEADLINE;
use fanfare::protocol::binary::{self, Op};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::net::TcpStream;

/// More than a kernel takes for a socket that is not read.
const MESSAGES: usize = 3_000;
const CONTENT_BYTES: usize = 8 * 1024;
/// Messages that are published before the publisher waits for its acks.
const PORTION: usize = 12;

const POLICIES: &str = r#"
[[rooms]]
pattern = "oldest:*"
overflow = "drop-oldest"
outbox_bytes_max = "2MiB"
outbox_messages_max = 20

[[rooms]]
pattern = "newest:*"
overflow = "drop-newest"
outbox_bytes_max = "2MiB"
outbox_messages_max = 20

[[rooms]]
pattern = "latest:*"
overflow = "latest"
outbox_bytes_max = "2MiB"
outbox_messages_max = 20
"#;

const ROOMS: [&str; 3] = ["oldest:1", "newest:1", "latest:1"];
const FORMS: [&str; 3] = ["json", "batch", "binary"];

/// What a client knows of a room.
#[derive(Debug, Default)]
struct Seat {
    next: u64,
    got: u64,
    missed: u64,
}

/// A native client that counts.
struct Native {
    raw: Raw,
    rooms: BTreeMap<String, Seat>,
    handles: BTreeMap<u64, String>,
    acks: usize,
    gaps: u64,
}

impl Native {
    /// A member in that form, over a socket with as small a window as the kernel allows.
    fn open(broker: &Broker, form: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        socket.connect(&broker.address().into()).expect("the broker accepts");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        let mut http = Http::over(stream);
        let protocol = if form == "binary" { "bin" } else { "json" };
        let field = format!("Sec-WebSocket-Protocol: fanfare.v1.{protocol}");
        http.send(&upgrade("/ws", "test", &[&field]));
        assert_eq!(http.answer(Expect::HeadOnly).status, 101);
        let (rooms, handles) = (BTreeMap::new(), BTreeMap::new());
        let mut native = Self { raw: Raw(http), rooms, handles, acks: 0, gaps: 0 };
        if form == "batch" {
            native.say(&json!({ "type": "hello", "batch": true }));
        }
        native
    }

    fn say(&mut self, request: &Value) {
        self.raw.send(TEXT, request.to_string().as_bytes());
    }

    fn join(&mut self, room: &str, echo: bool) {
        self.say(&json!({ "type": "join-room", "room": room, "echo": echo }));
        while !self.rooms.contains_key(room) {
            self.read();
        }
    }

    /// Reads one frame.
    fn read(&mut self) {
        let Frame { first, payload } = self.raw.next().expect("it stays connected");
        if first == BINARY {
            for record in binary::decode(&payload) {
                let record = record.expect("a record");
                assert_eq!(record.op, Op::Message);
                let room = &self.handles[&record.handle.expect("a handle").to_wire()];
                let seat = self.rooms.get_mut(room).expect("it is in the room");
                seat.take(record.seq.expect("a seq"));
            }
            return;
        }
        assert_eq!(first, TEXT);
        let object: Value = serde_json::from_slice(&payload).expect("JSON");
        let number = |name: &str| object[name].as_u64().expect("a number");
        let room = object["room"].as_str().unwrap_or_default();
        match object["type"].as_str().expect("a type") {
            "room-joined" => {
                let seat = Seat { next: number("seq") + 1, ..Seat::default() };
                self.rooms.insert(room.to_owned(), seat);
                self.handles.insert(number("handle"), room.to_owned());
            }
            "room-message" => {
                self.rooms.get_mut(room).expect("it is in the room").take(number("seq"));
            }
            "message-batch" => {
                let seat = self.rooms.get_mut(room).expect("it is in the room");
                for message in object["messages"].as_array().expect("a list") {
                    seat.take(message["seq"].as_u64().expect("a seq"));
                }
            }
            "gap" => {
                let seat = self.rooms.get_mut(room).expect("it is in the room");
                assert_eq!(number("from"), seat.next, "{room}: in order");
                assert_eq!(number("count"), number("to") + 1 - seat.next, "{room}");
                seat.next = number("to") + 1;
                seat.missed += number("count");
                self.gaps += 1;
            }
            "ack" => self.acks += 1,
            other => {
                assert!(matches!(other, "welcome" | "user-joined" | "user-left"), "{object}");
            }
        }
    }
}

impl Seat {
    fn take(&mut self, seq: u64) {
        assert_eq!(seq, self.next, "nothing is missed without a word");
        self.next += 1;
        self.got += 1;
    }
}

/// Publishes so many, room by room; each one's ack is read.
fn talk(publisher: &mut Native, rooms: &[&str], messages: usize) {
    let content = "x".repeat(CONTENT_BYTES);
    for portion in (0..messages).step_by(PORTION) {
        let count = PORTION.min(messages - portion);
        for nth in portion..portion + count {
            let (room, key) = (rooms[nth % rooms.len()], format!("k{}", nth % 5));
            publisher.say(
                &json!({ "type": "room-message", "room": room, "key": key, "content": content }),
            );
        }
        let due = publisher.acks + count;
        while publisher.acks < due {
            publisher.read();
        }
    }
}

#[test]
fn received_and_told_missing_is_published() {
    let messages = e2e::scaled(MESSAGES).max(MESSAGES / 2);
    for loops in ["1", "2"] {
        let broker = Broker::start_with_file(POLICIES, &["--loops", loops]);
        let mut scraper = Scraper::new(&broker);
        let mut publisher = Native::open(&broker, "json");
        let mut slow = FORMS.map(|form| Native::open(&broker, form));
        for room in ROOMS {
            publisher.join(room, false);
            slow.iter_mut().for_each(|member| member.join(room, true));
        }
        talk(&mut publisher, &ROOMS, messages);
        let now = scraper.metrics();
        assert!(now.value("dropped_messages_total") > 0, "something did not fit");
        let bound = 3 * 21 * (CONTENT_BYTES as u64 + 512);
        assert!(now.value("outbox_bytes") <= bound, "{} bytes wait", now.value("outbox_bytes"));

        let last = (messages / ROOMS.len()) as u64;
        for (member, form) in slow.iter_mut().zip(FORMS) {
            while member.rooms.values().any(|seat| seat.next <= last) {
                member.read();
            }
            for (room, seat) in &member.rooms {
                assert_eq!(seat.got + seat.missed, last, "{form} in {room}: {seat:?}");
                assert!(seat.missed > 0, "{form} in {room} was slow: {seat:?}");
            }
        }
        // Who reads again misses nothing more.
        let now = scraper.until("all to be written", Metrics::is_at_rest);
        let missed: u64 = slow.iter().flat_map(|one| one.rooms.values()).map(|s| s.missed).sum();
        assert_eq!(missed, now.value("dropped_messages_total"));
        assert_eq!(slow.iter().map(|one| one.gaps).sum::<u64>(), now.value("gaps_told_total"));
        talk(&mut publisher, &ROOMS, ROOMS.len());
        for member in &mut slow {
            while member.rooms.values().any(|seat| seat.next <= last + 1) {
                member.read();
            }
        }
        assert_eq!(scraper.metrics().value("dropped_messages_total"), missed);
        drop((slow, publisher));
        broker.stop();
    }
}

#[test]
fn a_room_that_drops_nothing_cuts_who_does_not_read() {
    let broker = Broker::start_with_file(POLICIES, &["--loops", "2", "--close-timeout", "50s"]);
    let mut scraper = Scraper::new(&broker);
    let mut publisher = Native::open(&broker, "json");
    let mut slow = FORMS.map(|form| Native::open(&broker, form));
    publisher.join("strict", false);
    slow.iter_mut().for_each(|member| member.join("strict", true));
    talk(&mut publisher, &["strict"], MESSAGES);
    scraper.until("all but the publisher to be cut", |now| now.value("websockets") == 1);
    for mut member in slow {
        let code = loop {
            let frame = member.raw.next().expect("a close before the connection ends");
            if frame.first == CLOSE {
                break frame.close_code();
            }
        };
        assert_eq!(code, Some(4101));
    }
    assert_eq!(scraper.metrics().value("dropped_messages_total"), 0);
    drop(publisher);
    broker.stop();
}
