//! The native protocol, end to end: mistakes, limits, subprotocols, repeats, last values, records.
//!
//! Not here: what one exchange looks like (`native_docs`), order (`e2e_order`), who is there
//! (`e2e_presence`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::Http;
use e2e::native::{Came, Native, ask_to_open, records, seq, seqs};
use e2e::wait::until;
use fanfare::broker::{PayloadKind, RoomHandle};
use fanfare::protocol::binary::{self, Op};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SETTINGS: &str = r#"
[identity]
user_header = "X-User"
trusted_proxies = ["127.0.0.1/32"]
admins = ["root"]

[presence]
mode = "off"

[limits]
rooms_max = 2000

[[rooms]]
pattern = "private:*"
create = "users"

[[rooms]]
pattern = "closed:*"
create = "nobody"

[[rooms]]
pattern = "plain:*"
compression = "off"

[[rooms]]
pattern = "price:*"
last_value = true

[[rooms]]
pattern = "feed:*"
batch_messages_max = 9
batch_interval = "10s"
"#;

fn broker(loops: &str) -> Broker {
    Broker::start_with_file(SETTINGS, &["--loops", loops])
}

#[test]
fn every_mistake_is_told_and_the_connection_is_kept() {
    let broker = broker("2");
    let mut guest = Native::open(&broker);
    guest.join("lobby");
    let long = |bytes: usize| "x".repeat(bytes);
    for (text, code, field) in [
        ("{".to_owned(), "bad-json", None),
        ("[]".to_owned(), "bad-json", None),
        (String::new(), "bad-json", None),
        (r#"{"type":"ping","type":"ping"}"#.to_owned(), "bad-json", Some("type")),
        (r#"{"type":"leave-room","room":"a","roomId":"a"}"#.to_owned(), "bad-json", Some("room")),
        (r#"{"type":"ping","x":1e999}"#.to_owned(), "bad-json", None),
        (format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)), "bad-json", None),
        (r#"{"a":"b"}"#.to_owned(), "bad-field", Some("type")),
        (r#"{"type":7}"#.to_owned(), "bad-field", Some("type")),
        (r#"{"type":"dance"}"#.to_owned(), "unknown-type", Some("type")),
        (r#"{"type":"join-room"}"#.to_owned(), "bad-field", Some("room")),
        (r#"{"type":"join-room","room":"a b"}"#.to_owned(), "bad-field", Some("room")),
        (r#"{"type":"join-room","room":5}"#.to_owned(), "bad-field", Some("room")),
        (r#"{"type":"join-room","room":"a","since":1}"#.to_owned(), "bad-field", Some("since")),
        (r#"{"type":"room-message","room":"lobby"}"#.to_owned(), "bad-field", Some("content")),
        (r#"{"type":"ping","id":[1]}"#.to_owned(), "bad-field", Some("id")),
        (format!(r#"{{"type":"ping","id":"{}"}}"#, long(65)), "too-long", Some("id")),
        (
            format!(r#"{{"type":"room-message","room":"lobby","content":"{}"}}"#, long(65_536)),
            "too-long",
            Some("content"),
        ),
        (
            format!(
                r#"{{"type":"room-message","room":"lobby","content":1,"dedupe":"{}"}}"#,
                long(129)
            ),
            "too-long",
            Some("dedupe"),
        ),
        (r#"{"type":"refresh","token":"t"}"#.to_owned(), "unauthorized", None),
        (r#"{"type":"join-room","room":"private:1"}"#.to_owned(), "no-such-room", None),
        (r#"{"type":"create-room","room":"private:1"}"#.to_owned(), "forbidden", None),
        (r#"{"type":"join-room","room":"closed:1"}"#.to_owned(), "no-such-room", None),
        (r#"{"type":"room-message","room":"a","content":1}"#.to_owned(), "not-in-room", None),
        (r#"{"type":"leave-room","room":"a"}"#.to_owned(), "not-in-room", None),
        (r#"{"type":"get-members","room":"a"}"#.to_owned(), "not-in-room", None),
        (r#"{"type":"get-history","room":"a"}"#.to_owned(), "not-in-room", None),
        (r#"{"type":"typing","room":"a","isTyping":true}"#.to_owned(), "not-in-room", None),
        (
            r#"{"type":"get-history","room":"lobby","since":{"epoch":"0000000000000000","seq":1}}"#
                .to_owned(),
            "unrecoverable-position",
            Some("since"),
        ),
    ] {
        guest.send_text(&text);
        let error = guest.next();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{error}");
        assert_eq!(error.get("field"), field.map(Value::from).as_ref(), "{error}");
        assert!(error["message"].as_str().is_some_and(|told| !told.is_empty() && told.len() < 512));
        assert_eq!(guest.so_far(), [Value::Null; 0], "one mistake, one answer: {text:.200}");
    }
    guest.send_records(b"\x02\x01\x00");
    assert_eq!(guest.next()["code"], "bad-json", "a JSON member sends no records");
    assert_eq!(seq(&guest.say("lobby", &json!("still here"))), 1);
    let mut user = Native::open_as(&broker, "ada");
    user.join("private:1");
    guest.join("private:1"); // It exists now.
    let closed = json!({ "type": "join-room", "room": "closed:1" });
    assert_eq!(user.refused(&closed)["code"], "no-such-room");
    assert_eq!(Http::connect(broker.address()).post("closed:1", "text/plain", b"x").status, 200);
    user.join("closed:1");
}

#[test]
fn who_fails_to_prove_who_it_is_is_closed() {
    let broker = broker("1");
    let mut guest = Native::open(&broker);
    guest.send(&json!({ "type": "auth", "token": "t", "id": 1 }));
    let failed = guest.next();
    assert_eq!((&failed["type"], &failed["id"]), (&json!("auth-failed"), &json!(1)));
    assert_eq!(guest.came(), Came::Close(Some(4001)));
}

#[test]
fn a_broker_has_so_many_rooms_and_a_connection_a_thousand() {
    let broker = broker("2");
    let mut one = Native::open(&broker);
    let join = |room: usize| json!({ "type": "join-room", "room": format!("r{room}") });
    let ids: Vec<Value> = (0..1_000).map(|room| one.submit(&join(room))).collect();
    let mut handles = BTreeSet::new();
    let mut joined = BTreeSet::new();
    for _ in &ids {
        let reply = one.next();
        assert_eq!(reply["type"], "room-joined", "{reply}");
        handles.insert(reply["handle"].as_u64().expect("a number"));
        joined.insert(reply["id"].to_string());
    }
    assert_eq!((handles.len(), joined.len()), (1_000, 1_000));
    let error = one.refused(&join(1_000));
    assert_eq!((&error["code"], &error["room"]), (&json!("too-many-rooms"), &json!("r1000")));
    for room in 0..1_000 {
        let room = format!("r{room}");
        one.send(&json!({ "type": "room-message", "room": room, "content": room }));
    }
    let mut heard = BTreeSet::new();
    for message in one.next_messages(1_000) {
        assert_eq!((seq(&message), &message["room"]), (1, &message["content"]));
        assert!(heard.insert(message["room"].to_string()), "{message}");
    }
    assert_eq!(one.ask(&json!({ "type": "leave-room", "room": "r7" }))["type"], "room-left");
    one.join("r1000");
    let mut other = Native::open(&broker);
    let created = (1_001..3_000).map(|room| {
        let room = format!("r{room}");
        other.ask(&json!({ "type": "create-room", "room": room }))
    });
    let created: Vec<Value> = created.collect();
    let refused = created.iter().filter(|reply| reply["code"] == "room-limit").count();
    // Each loop has its share of them.
    let made = created.iter().filter(|reply| reply["success"] == true).count();
    assert_eq!((made + refused, 1_001 + made), (created.len(), 2_000));
    assert_eq!(other.refused(&join(5_000))["code"], "room-limit");
    drop(one);
    let members = |other: &mut Native, room: &str| {
        other.ask(&json!({ "type": "get-room", "room": room }))["members"].clone()
    };
    until("the rooms to be empty", || (members(&mut other, "r1000") == 0).then_some(()));
    for room in 0..1_000 {
        let room = format!("r{room}");
        until("a room to be empty", || (members(&mut other, &room) == 0).then_some(()));
    }
}

#[test]
fn a_subprotocol_is_chosen_among_those_that_are_offered() {
    let broker = broker("1");
    for (offered, chosen) in [
        ("fanfare.v1.json", Some("fanfare.v1.json")),
        ("fanfare.v1.bin", Some("fanfare.v1.bin")),
        ("chat, fanfare.v1.bin, fanfare.v1.json", Some("fanfare.v1.bin")),
    ] {
        let field = format!("Sec-WebSocket-Protocol: {offered}");
        let (_, answer) = ask_to_open(&broker, &[&field]);
        assert_eq!((answer.status, answer.field("sec-websocket-protocol")), (101, chosen));
    }
    let (_, answer) = ask_to_open(&broker, &[]);
    assert_eq!((answer.status, answer.field("sec-websocket-protocol")), (101, None));
    let (_, answer) = ask_to_open(&broker, &["Sec-WebSocket-Protocol: chat"]);
    assert_eq!(answer.status, 400);
}

#[test]
fn a_repeat_is_acknowledged_as_the_first_was_and_not_delivered() {
    let broker = broker("2");
    let mut ada = Native::open_as(&broker, "ada");
    let mut bob = Native::open_as(&broker, "bob");
    for room in ["lobby", "other"] {
        ada.join(room);
        bob.join(room);
    }
    let say = |room: &str, content: &str| json!({ "type": "room-message", "room": room, "content": content, "dedupe": "k" });
    let without_id = |mut ack: Value| {
        ack.as_object_mut().and_then(|ack| ack.remove("id")).expect("an id");
        ack
    };
    let first = without_id(ada.ask(&say("lobby", "one")));
    assert_eq!((seq(&first), &first["receivers"]), (1, &json!(2)));
    assert_eq!(without_id(ada.ask(&say("lobby", "again"))), first);
    // The same user on another connection, as after a reconnect; it need only be in the room.
    let mut later = Native::open_as(&broker, "ada");
    later.join("lobby");
    assert_eq!(without_id(later.ask(&say("lobby", "again"))), first);
    assert_eq!(seq(&ada.ask(&say("other", "another room"))), 1);
    assert_eq!(seq(&bob.ask(&say("lobby", "another user"))), 2);
    let heard = bob.next_messages(3);
    let mut heard: Vec<String> =
        heard.iter().map(|message| message["content"].to_string()).collect();
    heard.sort_unstable();
    assert_eq!(heard, [r#""another room""#, r#""another user""#, r#""one""#]);
    assert_eq!(bob.so_far(), [Value::Null; 0]);
}

#[test]
fn a_newcomer_gets_the_last_value_where_the_room_says_so() {
    let broker = broker("2");
    let mut one = Native::open(&broker);
    for room in ["price:oil", "lobby"] {
        assert_eq!(one.join(room)["messages"], json!([]));
        for n in 1..=3 {
            one.say(room, &json!(n));
        }
    }
    let mut two = Native::open(&broker);
    assert_eq!(seqs(&two.join("price:oil")["messages"]), [3]);
    assert_eq!(seqs(&two.join("lobby")["messages"]), [0; 0]);
    assert_eq!(
        seqs(&two.join_with(&json!({ "room": "price:oil", "history": 2 }))["messages"]),
        [2, 3]
    );
}

#[test]
fn what_waits_for_a_batch_is_sent_before_a_shutdown_closes_anyone() {
    for loops in ["1", "2"] {
        let broker = broker(loops);
        // Some live on each loop, and some rooms too.
        let mut members: Vec<Native> = (0..8).map(|_| Native::open(&broker)).collect();
        let rooms = ["feed:1", "feed:2", "feed:3", "feed:4"];
        for member in &mut members {
            assert_eq!(member.ask(&json!({ "type": "hello", "batch": true }))["batch"], true);
            for room in rooms {
                member.join(room);
            }
        }
        for (member, room) in members.iter_mut().zip(rooms) {
            let say = json!({ "type": "room-message", "room": room, "content": room });
            assert_eq!(seq(&member.ask(&say)), 1);
        }
        broker.signal(Signal::TERM);
        for member in &mut members {
            let mut heard = BTreeSet::new();
            while heard.len() < rooms.len() {
                let batch = member.next();
                assert_eq!(batch["type"], "message-batch", "{batch}");
                heard.insert(batch["messages"][0]["content"].to_string());
            }
            assert_eq!(member.next()["type"], "advice");
            assert_eq!(member.came(), Came::Close(Some(1001)));
        }
    }
}

#[test]
fn what_a_request_does_not_know_is_passed_over() {
    let broker = broker("1");
    let mut ada = Native::open_as(&broker, "ada");
    // Names of a field that this request does not have, whatever they say.
    ada.send_text(r#"{"type":"ping","id":1,"text":1,"data":2,"room":[],"later":{"x":null}}"#);
    assert_eq!(ada.next(), json!({ "type": "pong", "id": 1 }));
    ada.join("lobby");
    let forged = json!({ "type": "room-message", "room": "lobby", "content": 1, "seq": 99,
        "epoch": "ffffffffffffffff", "time": 1, "sender": { "id": "root" }, "user": "root" });
    let ack = ada.ask(&forged);
    assert_eq!(seq(&ack), 1);
    let message = &ada.next_messages(1)[0];
    assert_eq!((seq(message), &message["epoch"]), (1, &ack["epoch"]));
    assert_eq!(message["sender"], json!({ "id": "ada", "username": "ada" }));
    assert!(message["time"].as_u64() > Some(1), "{message}");
}

#[test]
fn records_are_handled_one_by_one_up_to_one_that_can_not_be_read() {
    for loops in ["1", "2"] {
        let broker = broker(loops);
        let mut member = Native::open_with(&broker, &["Sec-WebSocket-Protocol: fanfare.v1.bin"]);
        let handle = member.join("lobby")["handle"].as_u64().expect("a number");
        let handle = RoomHandle::from_wire(handle).expect("a handle");
        let stranger = RoomHandle { slot: handle.slot + 9, ..handle };
        let mut frame = Vec::new();
        let mut publish = |id: u64, handle, kind, payload: &[u8]| {
            binary::push_publish(&mut frame, Some(id), handle, kind, payload);
        };
        publish(1, handle, PayloadKind::Text, b"one");
        publish(2, stranger, PayloadKind::Text, b"two");
        publish(3, handle, PayloadKind::Json, b"{no json");
        publish(4, handle, PayloadKind::Text, b"\xff");
        publish(5, handle, PayloadKind::Binary, &[0; 65_537]);
        publish(6, handle, PayloadKind::Binary, b"\xff\0");
        // Its request id is no number.
        frame.extend_from_slice(&[3, 1, 1, 0x80]);
        binary::push_publish(&mut frame, Some(7), handle, PayloadKind::Text, b"lost");
        member.send_records(&frame);
        let (mut answers, mut heard) = (Vec::new(), Vec::new());
        while answers.len() < 7 || heard.len() < 2 {
            let Came::Binary(frame) = member.came() else { panic!("records come as records") };
            for record in records(&frame) {
                let text = String::from_utf8_lossy(record.payload).into_owned();
                let word = text.split(' ').next().unwrap_or_default().to_owned();
                match record.op {
                    Op::Message => heard.push((record.seq, record.payload.to_vec())),
                    Op::Ack => answers.push((record.request_id, format!("{:?}", record.seq))),
                    Op::Error => answers.push((record.request_id, word)),
                }
            }
        }
        answers.sort_unstable();
        let told: Vec<(Option<u64>, &str)> =
            answers.iter().map(|(id, word)| (*id, word.as_str())).collect();
        assert_eq!(
            told,
            [
                (None, "bad-field"),
                (Some(1), "Some(1)"),
                (Some(2), "not-in-room"),
                (Some(3), "bad-field"),
                (Some(4), "bad-field"),
                (Some(5), "too-long"),
                (Some(6), "Some(2)"),
            ]
        );
        assert_eq!(heard, [(Some(1), b"one".to_vec()), (Some(2), b"\xff\0".to_vec())]);
        member.send_records(&[]);
        let Came::Binary(frame) = member.came() else { panic!("an error comes as a record") };
        assert!(records(&frame)[0].payload.starts_with(b"bad-json "));
        assert_eq!(member.so_far(), [Value::Null; 0], "it goes on");
    }
}

#[test]
fn who_agreed_to_compression_sends_records_to_rooms_with_and_without_it() {
    let broker = broker("2");
    let fields =
        ["Sec-WebSocket-Protocol: fanfare.v1.bin", "Sec-WebSocket-Extensions: permessage-deflate"];
    let mut member = Native::open_with(&broker, &fields);
    for room in ["lobby", "plain:1"] {
        let handle = member.join(room)["handle"].as_u64().expect("a number");
        let handle = RoomHandle::from_wire(handle).expect("a handle");
        let mut record = Vec::new();
        binary::push_publish(&mut record, None, handle, PayloadKind::Text, b"short");
        member.send_records(&record);
        let Came::Binary(frame) = member.came() else { panic!("messages come as records") };
        let records = records(&frame);
        assert_eq!((records[0].op, records[0].payload), (Op::Message, &b"short"[..]), "{room}");
    }
}
