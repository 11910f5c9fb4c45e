//! Order in the native protocol, end to end: members of every kind see one, joins with a position
//! miss and repeat nothing, batches and members without echo have no holes.
//!
//! Not here: mistakes, repeats and records (`e2e_native`).

#![expect(clippy::panic, reason = "who gets something unexpected fails its test, and says what")]

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::Http;
use e2e::native::{Came, Native, records, seq, seqs};
use e2e::raw::{Raw, TEXT};
use e2e::scaled;
use e2e::wait::until;
use fanfare::broker::{PayloadKind, RoomHandle};
use fanfare::protocol::binary::{self, Op};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;

const SETTINGS: &str = r#"
[presence]
mode = "off"

[[rooms]]
pattern = "live:*"
history_messages_max = 0

[[rooms]]
pattern = "long:*"
history_messages_max = 100000
history_bytes_max = "32MiB"

[[rooms]]
pattern = "three:*"
batch_messages_max = 3
batch_interval = "10s"

[[rooms]]
pattern = "soon:*"
batch_messages_max = 1000
batch_interval = "20ms"
"#;

fn broker(loops: &str) -> Broker {
    Broker::start_with_file(SETTINGS, &["--loops", loops])
}

/// What a member saw, in order: the number where it is told, and what was said.
type Seen = Vec<(Option<u64>, String)>;

fn raw_member(mut raw: Raw, own: usize, all: usize) -> Seen {
    for n in 0..own {
        raw.send(TEXT, format!("raw-{n}").as_bytes());
    }
    let said = |raw: &mut Raw| raw.next().expect("a message").payload;
    (0..all).map(|_| (None, String::from_utf8(said(&mut raw)).expect("text"))).collect()
}

fn json_member(mut member: Native, name: &str, own: usize, all: usize) -> Seen {
    for n in 0..own {
        let content = format!("{name}-{n}");
        member.send(&json!({ "type": "room-message", "room": "mixed", "content": content }));
    }
    let text = |message: &Value| message["content"].as_str().expect("a text").to_owned();
    let messages = member.next_messages(all);
    messages.iter().map(|message| (Some(seq(message)), text(message))).collect()
}

fn binary_member(mut member: Native, handle: RoomHandle, own: usize, all: usize) -> Seen {
    for n in 0..own {
        let mut record = Vec::new();
        let content = format!("bin-{n}");
        binary::push_publish(&mut record, None, handle, PayloadKind::Text, content.as_bytes());
        member.send_records(&record);
    }
    let mut seen = Vec::new();
    while seen.len() < all {
        let Came::Binary(frame) = member.came() else { panic!("messages come as records") };
        for record in records(&frame) {
            let text = String::from_utf8(record.payload.to_vec()).expect("UTF-8");
            let content = match record.kind {
                PayloadKind::Json => serde_json::from_str(&text).expect("a JSON string"),
                PayloadKind::Text | PayloadKind::Binary => text,
            };
            assert_eq!((record.op, record.handle), (Op::Message, Some(handle)));
            seen.push((record.seq, content));
        }
    }
    seen
}

#[test]
fn members_of_every_kind_see_one_order() {
    let own = scaled(400);
    let all = 5 * own;
    for loops in ["1", "2"] {
        let broker = broker(loops);
        let mut json = Native::open(&broker);
        json.join("mixed");
        let mut batch = Native::open(&broker);
        batch.ask(&json!({ "type": "hello", "batch": true }));
        batch.join("mixed");
        let mut binary = Native::open_with(&broker, &["Sec-WebSocket-Protocol: fanfare.v1.bin"]);
        let handle = binary.join("mixed")["handle"].as_u64().expect("a number");
        let handle = RoomHandle::from_wire(handle).expect("a handle");
        let raw = Raw::open(broker.address(), "/raw/mixed");
        let info = json!({ "type": "get-room", "room": "mixed" });
        until("four members", || (json.ask(&info)["members"] == 4).then_some(()));
        let mut http = Http::connect(broker.address());
        let seen = thread::scope(|scope| {
            let members = [
                scope.spawn(|| json_member(json, "json", own, all)),
                scope.spawn(|| json_member(batch, "batch", own, all)),
                scope.spawn(|| binary_member(binary, handle, own, all)),
                scope.spawn(|| raw_member(raw, own, all)),
            ];
            for n in 0..own {
                let answer = http.post("mixed", "text/plain", format!("http-{n}").as_bytes());
                assert_eq!(answer.status, 200);
            }
            members.map(|member| member.join().expect("a member that saw all"))
        });
        let [json, batch, binary, raw] = seen;
        let numbers: Vec<Option<u64>> = json.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(numbers, (1..=all as u64).map(Some).collect::<Vec<_>>(), "{loops} loops");
        assert!(json == batch && json == binary, "{loops} loops");
        assert!(json.iter().map(|(_, text)| text).eq(raw.iter().map(|(_, text)| text)));
        for name in ["json", "batch", "bin", "raw", "http"] {
            let of_one = json.iter().filter_map(|(_, text)| text.strip_prefix(name));
            let expected: Vec<String> = (0..own).map(|n| format!("-{n}")).collect();
            assert!(of_one.eq(expected.iter().map(String::as_str)), "what {name} sent, in order");
        }
    }
}

#[test]
fn joins_with_a_position_while_thousands_are_published_miss_and_repeat_nothing() {
    let count = scaled(6_000) as u64;
    for loops in ["1", "2"] {
        let broker = broker(loops);
        let mut publisher = Native::open(&broker);
        let epoch =
            publisher.join_with(&json!({ "room": "long:1", "echo": false }))["epoch"].clone();
        let (position, joins) = thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                for n in 1..=count {
                    publisher
                        .send(&json!({ "type": "room-message", "room": "long:1", "content": n }));
                    if n % 64 == 0 {
                        // An ack for each, in order: no more than that are under way.
                        for acked in n - 63..=n {
                            assert_eq!(seq(&publisher.next()), acked);
                        }
                    }
                }
            });
            let (mut at, mut joins) = (0, 0);
            while at < count {
                let mut member = Native::open(&broker);
                let since = json!({ "epoch": epoch, "seq": at });
                let joined = member.join_with(&json!({ "room": "long:1", "since": since }));
                assert_eq!((&joined["recovered"], &joined["epoch"]), (&json!(true), &epoch));
                let missed = seqs(&joined["messages"]);
                assert!(missed.iter().copied().eq(at + 1..=seq(&joined)), "{missed:?}");
                at = seq(&joined);
                joins += 1;
                for _ in 0..(joins * 7 % 50).min(count - at) {
                    let message = member.next();
                    assert_eq!((seq(&message), &message["content"]), (at + 1, &json!(at + 1)));
                    at += 1;
                }
            }
            publishing.join().expect("all was published");
            (at, joins)
        });
        eprintln!("{loops} loops: {joins} joins");
        assert_eq!(position, count);
        assert!(joins > 1, "nobody joined while there was something to miss");
    }
}

#[test]
fn a_room_without_history_recovers_who_missed_nothing() {
    let broker = broker("2");
    let mut one = Native::open(&broker);
    one.join("live:1");
    let ack = one.say("live:1", &json!("heard"));
    let since = json!({ "epoch": ack["epoch"], "seq": 1 });
    let join = json!({ "room": "live:1", "since": since, "history": 10 });
    let joined = Native::open(&broker).join_with(&join);
    assert_eq!((&joined["recovered"], &joined["messages"]), (&json!(true), &json!([])));
    assert_eq!(joined.get("reason"), None);
    one.say("live:1", &json!("missed"));
    let joined = Native::open(&broker).join_with(&join);
    assert_eq!((&joined["recovered"], &joined["messages"]), (&json!(false), &json!([])));
    assert_eq!((&joined["reason"], seq(&joined)), (&json!("evicted"), 2));
}

fn batched(broker: &Broker, room: &str) -> Native {
    let mut member = Native::open(broker);
    member.ask(&json!({ "type": "hello", "batch": true }));
    member.join(room);
    member
}

fn text_of(came: Came) -> String {
    match came {
        Came::Text(text) => text,
        Came::Binary(_) | Came::Close(_) => panic!("instead of a text: {came:?}"),
    }
}

#[test]
fn batches_are_the_same_bytes_for_all_and_full_at_so_many() {
    let broker = broker("2");
    let [mut one, mut two] = [(); 2].map(|()| batched(&broker, "three:1"));
    let mut plain = Native::open(&broker);
    plain.join("three:1");
    for n in 1..=7 {
        plain.say("three:1", &json!(n));
    }
    let items: Vec<Value> = plain.next_messages(7);
    for expected in [&items[..3], &items[3..6]] {
        let text = text_of(one.came());
        assert_eq!(text, text_of(two.came()));
        let batch: Value = serde_json::from_str(&text).expect("JSON");
        let wanted = json!({ "type": "message-batch", "room": "three:1", "messages": expected });
        assert_eq!(batch, wanted);
    }
    assert_eq!(one.so_far(), [Value::Null; 0], "the seventh waits for two others");
    broker.signal(Signal::TERM);
    let text = text_of(one.came());
    assert_eq!(text, text_of(two.came()));
    let batch: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(seqs(&batch["messages"]), [7], "what waits is sent before the end");
    for mut member in [one, two, plain] {
        assert_eq!(member.next()["type"], "advice");
        assert_eq!(member.came(), Came::Close(Some(1001)));
    }
    let mut broker = broker;
    assert_eq!(broker.wait(), Some(0));
}

#[test]
fn batches_wait_no_longer_than_their_room_says() {
    let broker = broker("2");
    let mut member = batched(&broker, "soon:1");
    let mut plain = Native::open(&broker);
    plain.join("soon:1");
    for n in 1..=10 {
        plain.say("soon:1", &json!(n));
    }
    // No test of how soon: they are far fewer than a full batch, so time alone can have sent them.
    let messages = member.next_messages(10);
    assert_eq!(messages.iter().map(seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn who_joined_without_echo_knows_its_own_messages_by_their_acks() {
    for loops in ["1", "2"] {
        let broker = broker(loops);
        let mut silent = Native::open(&broker);
        let joined = silent.join_with(&json!({ "room": "lobby", "echo": false }));
        let mut other = Native::open(&broker);
        other.join("lobby");
        let say = json!({ "type": "room-message", "room": "lobby", "content": "mine" });
        silent.send(&say);
        let ack = silent.next();
        assert_eq!((&ack["type"], seq(&ack), &ack["receivers"]), (&json!("ack"), 1, &json!(1)));
        assert_eq!(ack.get("id"), None, "it had none");
        other.say("lobby", &json!("theirs"));
        assert_eq!(seq(&silent.next()), 2, "its own did not come");
        silent.send(&say);
        assert_eq!(seq(&silent.next()), 3);
        let since = json!({ "epoch": joined["epoch"], "seq": 0 });
        // It is without echo still: it need not say so again.
        let again = silent.join_with(&json!({ "room": "lobby", "since": since }));
        assert_eq!((&again["own"], seqs(&again["messages"])), (&json!([1, 3]), vec![2]));
        let theirs = other.join_with(&json!({ "room": "lobby", "since": since }));
        assert_eq!((theirs.get("own"), seqs(&theirs["messages"])), (None, vec![1, 2, 3]));
        assert_eq!(silent.so_far(), [Value::Null; 0]);
    }
}

/// Publishes `own` messages and reads until it has heard of all, be it by an ack.
fn talker(mut member: Native, name: &str, room: &str, (own, all): (usize, usize)) -> Vec<Value> {
    for n in 0..own {
        let content = format!("{name}-{n}");
        member.send(&json!({ "type": "room-message", "room": room, "content": content }));
    }
    let (mut messages, mut known): (Vec<Value>, BTreeSet<u64>) = Default::default();
    while known.len() < all {
        let next = member.next();
        let fresh = match next["type"].as_str() {
            Some("message-batch") => next["messages"].as_array().expect("a list").clone(),
            Some("room-message" | "ack") => vec![next],
            other => panic!("{other:?}"),
        };
        for one in fresh {
            assert!(known.insert(seq(&one)), "{name} hears of {} again", seq(&one));
            messages.extend((one["type"] == "room-message").then_some(one));
        }
    }
    assert!(known.into_iter().eq(1..=all as u64), "{name} has a hole");
    assert!(messages.is_sorted_by_key(seq), "{name} has them out of order");
    messages
}

#[test]
fn acks_and_messages_together_have_no_holes() {
    let own = scaled(200);
    for (loops, room) in [("1", "lobby"), ("2", "lobby"), ("2", "soon:1")] {
        let broker = broker(loops);
        let members = [false, false, true, true].map(|batch| {
            [false, true].map(|echo| {
                let mut member = Native::open(&broker);
                member.ask(&json!({ "type": "hello", "batch": batch }));
                member.join_with(&json!({ "room": room, "echo": echo }));
                (member, echo)
            })
        });
        let members: Vec<(Native, bool)> = members.into_iter().flatten().collect();
        let all = members.len() * own;
        thread::scope(|scope| {
            for (place, (member, echo)) in members.into_iter().enumerate() {
                scope.spawn(move || {
                    let name = format!("{loops}-{place}");
                    let heard = talker(member, &name, room, (own, all));
                    let prefix = format!("{name}-");
                    let is_own = |message: &&Value| {
                        message["content"].as_str().is_some_and(|text| text.starts_with(&prefix))
                    };
                    let own_heard = heard.iter().filter(is_own).count();
                    assert_eq!(own_heard, if echo { own } else { 0 }, "{name}");
                });
            }
        });
    }
}

/// A message of a room of which that was told: it comes behind its ack, and not behind a leave.
fn message_behind(told: &[String], seq: u64) -> String {
    assert!(told.contains(&format!("ack {seq}")), "{seq} after {told:?}");
    assert!(!told.contains(&"room-left".to_owned()), "{seq} after {told:?}");
    format!("message {seq}")
}

#[test]
fn requests_that_are_sent_ahead_are_handled_in_their_order() {
    let rounds = scaled(300);
    for loops in ["1", "2"] {
        let broker = broker(loops);
        let mut member = Native::open(&broker);
        for round in 0..rounds {
            let room = format!("r{round}");
            let say = json!({ "type": "room-message", "room": room, "content": round });
            for request in [
                &json!({ "type": "join-room", "room": room }),
                &say,
                &say,
                &json!({ "type": "leave-room", "room": room }),
                &say,
                &json!({ "type": "join-room", "room": room, "history": 9 }),
                &json!({ "type": "get-room", "room": room }),
                &json!({ "type": "leave-room", "room": room }),
            ] {
                member.submit(request);
            }
        }
        let mut told = vec![Vec::new(); rounds];
        let mut answers = 0;
        while answers < 8 * rounds {
            let next = member.next();
            answers += usize::from(next["type"] != "room-message");
            let room = next["room"].as_str().and_then(|room| room.strip_prefix('r'));
            let round: usize = room.and_then(|round| round.parse().ok()).expect("a room");
            let what = match next["type"].as_str().expect("a type") {
                "room-message" => message_behind(&told[round], seq(&next)),
                "ack" => format!("ack {}", seq(&next)),
                "room-joined" => format!("joined {:?}", seqs(&next["messages"])),
                "room-info" => format!("{} there, {}", next["members"], seq(&next)),
                "error" => next["code"].as_str().expect("a code").to_owned(),
                other => other.to_owned(),
            };
            told[round].push(what);
        }
        for (round, told) in told.iter().enumerate() {
            // An error of the connection's own loop needs no way to the home and back, and who
            // leaves may get no more of what was on the way.
            let is_of_home = |what: &&str| *what != "not-in-room" && !what.starts_with("message");
            let of_home: Vec<&str> = told.iter().map(String::as_str).filter(is_of_home).collect();
            let wanted = [
                "joined []",
                "ack 1",
                "ack 2",
                "room-left",
                "joined [1, 2]",
                "1 there, 2",
                "room-left",
            ];
            assert_eq!(of_home, wanted, "{loops} loops, round {round}: {told:?}");
        }
        assert_eq!(member.so_far(), [Value::Null; 0]);
    }
}

#[test]
fn pages_of_history_join_up_in_both_directions() {
    const COUNT: u64 = 1_120;
    let broker = broker("2");
    let mut member = Native::open(&broker);
    let epoch = member.join_with(&json!({ "room": "lobby", "echo": false }))["epoch"].clone();
    for n in 1..=COUNT {
        member.say("lobby", &json!(n));
    }
    // As many as are kept: the oldest are forgotten, perhaps some more at a time than one.
    let page = |member: &mut Native, fields: &Value| {
        let mut request = fields.clone();
        request["type"] = json!("get-history");
        request["room"] = json!("lobby");
        let page = member.ask(&request);
        assert_eq!((&page["type"], &page["epoch"]), (&json!("message-history"), &epoch), "{page}");
        (seqs(&page["messages"]), page["more"] == true)
    };
    let (mut pages, mut before, mut more) = (Vec::new(), COUNT + 1, true);
    while more {
        let (mut messages, has_more) = page(&mut member, &json!({ "before": before, "limit": 64 }));
        assert!(messages.len() == 64 || !has_more, "{messages:?}");
        (before, more) = (messages[0], has_more);
        messages.append(&mut pages);
        pages = messages;
    }
    let first = pages[0];
    assert!(pages.iter().copied().eq(first..=COUNT), "{pages:?}");
    assert!(pages.len() >= 1_000, "the newest thousand are kept: {first}");
    let (mut forth, mut at, mut more) = (Vec::new(), first - 1, true);
    while more {
        let since = json!({ "epoch": epoch, "seq": at });
        let (messages, has_more) = page(&mut member, &json!({ "since": since, "limit": 64 }));
        at = *messages.last().expect("messages");
        more = has_more;
        forth.extend(messages);
    }
    assert_eq!(forth, pages);
    assert_eq!(page(&mut member, &json!({})).0.len(), 50);
    for nothing in [json!({ "before": 0 }), json!({ "before": 1 }), json!({ "before": first })] {
        assert_eq!(page(&mut member, &nothing), (vec![], false), "{nothing}");
    }
    let end = json!({ "since": { "epoch": epoch, "seq": COUNT } });
    assert_eq!(page(&mut member, &end), (vec![], false));
    let joined = Native::open(&broker).join_with(&json!({ "room": "lobby", "history": 1_000_000 }));
    assert_eq!(seqs(&joined["messages"]), pages);
    member.join("live:1");
    member.say("live:1", &json!(1));
    let none = member.ask(&json!({ "type": "get-history", "room": "live:1" }));
    assert_eq!((&none["messages"], &none["more"]), (&json!([]), &json!(false)));
}
