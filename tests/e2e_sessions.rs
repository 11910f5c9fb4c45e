//! Native sessions, end to end: the real binary, real connections, cut and taken up again.
//!
//! Not here: every order in which loops may hear of it (`engine`, and the simulator).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Expect, Http};
use e2e::raw::{self, Raw, close_payload, upgrade};
use e2e::scaled;
use e2e::scrape::Scraper;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::thread;

/// A native client that knows what it has.
struct Client {
    raw: Raw,
    session: String,
    /// Epoch and last `seq` of each room.
    rooms: BTreeMap<String, (Value, u64)>,
}

/// Whether a client says where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Named {
    Exactly,
    NotAtAll,
}

impl Client {
    fn open(broker: &Broker) -> Self {
        Self::open_as(broker, None)
    }

    /// As the user that a proxy names.
    fn open_as(broker: &Broker, user: Option<&str>) -> Self {
        let mut http = Http::connect(broker.address());
        let field = user.map(|user| format!("X-User: {user}"));
        http.send(&upgrade("/ws", "test", &field.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(http.answer(Expect::HeadOnly).status, 101);
        let mut raw = Raw(http);
        let welcome = next(&mut raw);
        let session = welcome["session"].as_str().expect("a session").to_owned();
        Self { raw, session, rooms: BTreeMap::new() }
    }

    fn say(&mut self, object: &Value) {
        self.raw.send(raw::TEXT, object.to_string().as_bytes());
    }

    /// The next object of that type, whatever comes before it.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let object = next(&mut self.raw);
            if object["type"] == json!(kind) {
                return object;
            }
        }
    }

    fn join(&mut self, room: &str) {
        self.say(&json!({"type": "join-room", "room": room}));
        let joined = self.until("room-joined");
        let seq = joined["seq"].as_u64().expect("a seq");
        self.rooms.insert(room.to_owned(), (joined["epoch"].clone(), seq));
    }

    /// Goes on with the session of `old`, and with what it knew.
    fn resume(&mut self, old: Self, named: Named) -> Value {
        let position = |(epoch, seq): &(Value, u64)| json!({"epoch": epoch, "seq": seq});
        let positions: serde_json::Map<String, Value> = match named {
            Named::Exactly => {
                old.rooms.iter().map(|(room, known)| (room.clone(), position(known))).collect()
            }
            Named::NotAtAll => serde_json::Map::new(),
        };
        self.say(&json!({"type": "hello", "session": old.session, "positions": positions}));
        let welcome = next(&mut self.raw);
        assert_eq!(welcome["type"], json!("welcome"), "it comes before all else");
        assert_eq!(welcome["session"], json!(old.session));
        (self.session, self.rooms) = (old.session, old.rooms);
        for room in welcome["rooms"].as_array().expect("rooms") {
            assert_eq!(room["recovered"], json!(true), "{room}");
            for message in room["messages"].as_array().expect("messages") {
                self.take(message, named);
            }
            let name = room["room"].as_str().expect("a name");
            assert_eq!(json!(self.rooms[name].1), room["seq"]);
        }
        welcome
    }

    fn take(&mut self, message: &Value, named: Named) {
        let seq = message["seq"].as_u64().expect("a seq");
        let name = message["room"].as_str().expect("a name");
        let (_, last) = self.rooms.get_mut(name).expect("a room that it is in");
        assert!(seq == *last + 1 || named == Named::NotAtAll && seq <= *last, "{seq} after {last}");
        *last = seq.max(*last);
    }

    /// Reads messages until that of the room.
    fn read_until(&mut self, room: &str, seq: u64) {
        while self.rooms[room].1 < seq {
            let message = self.until("room-message");
            self.take(&message, Named::Exactly);
        }
    }
}

fn next(raw: &mut Raw) -> Value {
    loop {
        let frame = raw.next().expect("another frame");
        if frame.first == raw::TEXT {
            return serde_json::from_slice(&frame.payload).expect("JSON");
        }
        assert_ne!(frame.first, raw::CLOSE, "{frame:?}");
    }
}

const HISTORY: &str = "[history]\nmessages_max = 100000\nbytes_max = \"16MiB\"\n";

/// What became of the old connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Cut,
    Closed,
    HalfOpen,
}

fn brokers() -> impl Iterator<Item = Broker> {
    ["1", "2"].into_iter().map(|loops| Broker::start_with_file(HISTORY, &["--loops", loops]))
}

fn post(http: &mut Http, room: &str, content: &str) -> u64 {
    let answer = http.post(room, "text/plain", content.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["seq"].as_u64().expect("a seq")
}

#[test]
fn however_a_connection_ended_its_session_is_taken_up_without_loss() {
    for broker in brokers() {
        let mut http = Http::connect(broker.address());
        let mut scraper = Scraper::new(&broker);
        for end in [End::Cut, End::Closed, End::HalfOpen] {
            for named in [Named::Exactly, Named::NotAtAll] {
                let mut old = Client::open(&broker);
                let rooms = ["a", "b", "c"].map(|room| format!("{room}-{end:?}-{named:?}"));
                for room in &rooms {
                    old.join(room);
                    let seq = post(&mut http, room, "before");
                    old.read_until(room, seq);
                }
                let stream = old.raw.stream().try_clone().expect("a stream");
                match end {
                    End::Cut => stream.shutdown(Shutdown::Both).expect("it can be cut"),
                    End::Closed => {
                        old.raw.send(raw::CLOSE, &close_payload(1000));
                        assert_eq!(old.raw.close_code(), Some(1000));
                    }
                    End::HalfOpen => {}
                }
                if end != End::HalfOpen {
                    scraper.until("it to be parked", |now| now.value("sessions_parked") == 1);
                }
                for nth in 0..20 {
                    post(&mut http, &rooms[nth % 3], "meanwhile");
                }
                let mut new = Client::open(&broker);
                new.resume(old, named);
                for room in &rooms {
                    let seq = post(&mut http, room, "after");
                    new.read_until(room, seq);
                }
                if end == End::HalfOpen {
                    let mut old = Raw(Http::over(stream));
                    assert_eq!(old.close_code(), Some(4003));
                }
                new.raw.stream().shutdown(Shutdown::Both).expect("it can be cut");
                scraper.until("it to be parked", |now| now.value("sessions_parked") == 1);
                let mut last = Client::open(&broker);
                last.resume(new, Named::NotAtAll);
                for room in &rooms {
                    last.say(&json!({"type": "leave-room", "room": room}));
                    last.until("room-left");
                }
                last.raw.stream().shutdown(Shutdown::Both).expect("it can be cut");
                scraper.until("nothing to be left", |now| {
                    now.value("sessions_parked") == 0 && now.value("natives") == 0
                });
            }
        }
        broker.stop();
    }
}

#[test]
fn what_is_published_while_a_session_moves_comes_once_and_in_order() {
    for broker in brokers() {
        let count = scaled(6_000) as u64;
        let mut client = Client::open(&broker);
        let rooms = ["x", "y", "z"];
        for room in rooms {
            client.join(room);
        }
        thread::scope(|scope| {
            let mut publisher = Client::open(&broker);
            let published = thread::Builder::new().spawn_scoped(scope, move || {
                for room in rooms {
                    publisher.say(&json!({"type": "join-room", "room": room, "echo": false}));
                    publisher.until("room-joined");
                }
                for nth in 0..count {
                    for room in rooms {
                        let content = json!({"type": "room-message", "room": room, "content": nth});
                        publisher.say(&content);
                    }
                    for _ in rooms {
                        publisher.until("ack");
                    }
                }
            });
            let mut moves = 0;
            while client.rooms.values().any(|(_, seq)| *seq < count) {
                for _ in 0..97 {
                    if client.rooms.values().all(|(_, seq)| *seq == count) {
                        break;
                    }
                    let message = client.until("room-message");
                    client.take(&message, Named::Exactly);
                }
                if moves % 2 == 0 {
                    let stream = client.raw.stream();
                    stream.shutdown(Shutdown::Both).expect("it can be cut");
                }
                let mut new = Client::open(&broker);
                new.resume(client, Named::Exactly);
                client = new;
                moves += 1;
            }
            published.expect("a thread").join().expect("all is published");
            assert!(moves > 2, "{moves} moves");
        });
        broker.stop();
    }
}

#[test]
fn a_session_is_had_by_its_own_user_alone_and_not_for_ever() {
    let text = "[session]\ntimeout = \"300ms\"\n[identity]\nuser_header = \"X-User\"\n\
                trusted_proxies = [\"127.0.0.1\"]\n";
    let broker = Broker::start_with_file(text, &["--loops", "2"]);
    let mut scraper = Scraper::new(&broker);
    let mut ada = Client::open_as(&broker, Some("ada"));
    ada.join("room");
    for other in [Some("eve"), None] {
        let mut other = Client::open_as(&broker, other);
        let own = other.session.clone();
        other.say(&json!({"type": "hello", "session": ada.session}));
        assert_eq!(next(&mut other.raw)["session"], json!(own));
        other.raw.stream().shutdown(Shutdown::Both).expect("it can be cut");
    }
    ada.raw.stream().shutdown(Shutdown::Both).expect("it can be cut");
    let ended = |count| {
        move |now: &e2e::scrape::Metrics| {
            now.value("sessions_ended_total") == count && now.value("sessions_parked") == 0
        }
    };
    scraper.until("the session to end", ended(1));
    let mut late = Client::open_as(&broker, Some("ada"));
    let own = late.session.clone();
    late.say(&json!({"type": "hello", "session": ada.session}));
    let welcome = next(&mut late.raw);
    assert_eq!((&welcome["session"], welcome.get("rooms")), (&json!(own), None));
    drop(late);
    broker.stop();
}
