//! Users, end to end: words to one user and to everyone, receipts, who is online, and lists that
//! span loops; over the native protocol and over HTTP, with one loop and with two.
//!
//! Not here: rooms and their messages (`e2e_rooms`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Expect, Http};
use e2e::raw::{PING, PONG, Raw, TEXT, upgrade};
use e2e::scrape::Scraper;
use serde_json::{Value, json};
use std::net::SocketAddr;

const TRUSTING: [&str; 6] = [
    "--identity-user-header",
    "X-User",
    "--identity-trusted-proxies",
    "127.0.0.0/8",
    "--identity-admins",
    "root",
];

/// Runs `test` against a broker with one loop and against one with two.
fn with_loops(further: &[&str], test: impl Fn(&Broker)) {
    for loops in ["1", "2"] {
        let mut args = vec!["--loops", loops];
        args.extend(TRUSTING);
        args.extend(further);
        let broker = Broker::start(&args);
        test(&broker);
        broker.stop();
    }
}

/// A native client that speaks JSON.
struct Person {
    raw: Raw,
    asked: u32,
}

impl Person {
    /// Connects as `user`, or as a guest where that is empty, and reads the welcome.
    fn connect(address: SocketAddr, user: &str) -> Self {
        let mut http = Http::connect(address);
        let field = format!("X-User: {user}");
        let fields: &[&str] = if user.is_empty() { &[] } else { &[&field] };
        http.send(&upgrade("/ws", "test", fields));
        assert_eq!(http.answer(Expect::HeadOnly).status, 101);
        let mut person = Self { raw: Raw(http), asked: 0 };
        assert_eq!(person.next()["type"], "welcome");
        person
    }

    fn send(&mut self, request: &Value) {
        self.raw.send(TEXT, request.to_string().as_bytes());
    }

    /// The next object.
    fn next(&mut self) -> Value {
        loop {
            let frame = self.raw.next().expect("an object before the connection ends");
            match frame.first {
                TEXT => return serde_json::from_slice(&frame.payload).expect("JSON"),
                first => {
                    assert_eq!(first, PING, "{frame:?}");
                    self.raw.send(PONG, &frame.payload);
                }
            }
        }
    }

    /// Reads until an object of that type; what comes before is thrown away.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let object = self.next();
            if object["type"] == kind {
                return object;
            }
        }
    }

    /// Asks, and reads until the answer.
    fn ask(&mut self, mut request: Value) -> Value {
        self.asked += 1;
        request["id"] = self.asked.into();
        self.send(&request);
        loop {
            let object = self.next();
            if object["id"] == request["id"] && object["type"] != "room-message" {
                return object;
            }
        }
    }

    /// Asks, and checks that it is refused with that code and for that field.
    fn refused(&mut self, request: Value, code: &str, field: &str) -> String {
        let error = self.ask(request);
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{error}");
        assert_eq!(error["field"].as_str().unwrap_or_default(), field, "{error}");
        error["message"].as_str().expect("a message").to_owned()
    }

    /// Everything that came before this: the answer to a ping comes behind it.
    fn rest(&mut self) -> Vec<Value> {
        self.asked += 1;
        let id = json!(self.asked);
        self.send(&json!({ "type": "ping", "id": id }));
        let mut rest = Vec::new();
        loop {
            let object = self.next();
            if object["type"] == "pong" && object["id"] == id {
                return rest;
            }
            rest.push(object);
        }
    }
}

/// Waits until the broker knows that many users, each with a connection.
fn wait_for_users(broker: &Broker, wanted: u64) {
    let mut scraper = Scraper::new(broker);
    e2e::wait::until("users to be known", || {
        (scraper.metrics().value("users_online") == wanted).then_some(())
    });
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let entries = list.as_array().expect("a list");
    entries.iter().map(|entry| entry[field].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_direct_message_reaches_all_connections_of_its_user() {
    with_loops(&[], |broker| {
        let mut tabs: Vec<Person> =
            (0..3).map(|_| Person::connect(broker.address(), "ada")).collect();
        let mut others: Vec<Person> =
            ["bob", "cyd", ""].map(|user| Person::connect(broker.address(), user)).into();
        wait_for_users(broker, 4);
        let message = json!({ "type": "direct-message", "user": "ada", "content": { "n": [1] } });
        let ack = others[0].ask(message.clone());
        assert_eq!((&ack["type"], &ack["receivers"]), (&json!("ack"), &json!(3)), "{ack}");
        for tab in &mut tabs {
            let told = tab.next();
            assert_eq!(told["type"], "direct-message");
            assert_eq!(told["sender"], json!({ "id": "bob", "username": "bob" }));
            assert_eq!(told["content"], json!({ "n": [1] }));
            assert!(told["time"].is_u64() && told.get("id").is_none(), "{told}");
        }
        drop(tabs.pop());
        e2e::wait::until("a tab to be gone", || {
            let ack = others[0].ask(message.clone());
            (ack["receivers"] == 2).then_some(())
        });
        // Without an id there is no ack; to who is not there it goes nowhere.
        others[1].send(&json!({ "type": "direct-message", "user": "bob", "content": 5 }));
        assert_eq!(others[0].until("direct-message")["content"], 5);
        assert_eq!(others[1].rest(), [] as [Value; 0]);
        let ack =
            others[1].ask(json!({ "type": "direct-message", "user": "nobody", "content": 1 }));
        assert_eq!(ack["receivers"], 0);
        let ack =
            others[1].ask(json!({ "type": "direct-message", "user": "cyd", "content": "me" }));
        assert_eq!(ack["receivers"], 1, "a user may write to itself");
    });
}

#[test]
fn direct_messages_are_bounded_and_checked() {
    with_loops(&["--content-bytes-max", "16"], |broker| {
        let mut bob = Person::connect(broker.address(), "bob");
        let long = "x".repeat(15);
        let request =
            |content: &str| json!({ "type": "direct-message", "user": "bob", "content": content });
        bob.refused(request(&long), "too-long", "content");
        assert_eq!(bob.ask(request(&long[1..]))["type"], "ack");
        bob.refused(json!({ "type": "direct-message", "content": 1 }), "bad-field", "user");
        bob.refused(json!({ "type": "direct-message", "user": "bob" }), "bad-field", "content");
    });
}

#[test]
fn a_broadcast_needs_the_role_and_reaches_every_native_connection() {
    with_loops(&["--content-bytes-max", "64"], |broker| {
        let mut root = Person::connect(broker.address(), "root");
        let mut others: Vec<Person> =
            ["ada", "ada", ""].map(|user| Person::connect(broker.address(), user)).into();
        let _raw = Raw::open(broker.address(), "/raw/lobby");
        let broadcast = json!({ "type": "broadcast", "content": "hear, hear" });
        for person in &mut others {
            let message = person.refused(broadcast.clone(), "forbidden", "");
            assert!(message.contains("admin"), "{message}");
        }
        let long = "x".repeat(64);
        root.refused(json!({ "type": "broadcast", "content": long }), "too-long", "content");
        let ack = root.ask(broadcast.clone());
        assert_eq!((&ack["type"], &ack["receivers"]), (&json!("ack"), &json!(4)), "{ack}");
        for person in &mut others {
            let told = person.next();
            assert_eq!(
                (&told["type"], &told["content"]),
                (&json!("admin-message"), &broadcast["content"])
            );
            assert_eq!(told["sender"]["id"], "root");
        }
        root.send(&broadcast);
        assert_eq!(others[0].until("admin-message")["content"], "hear, hear");
        assert_eq!(root.until("admin-message")["sender"]["id"], "root");
        assert_eq!(root.rest(), [] as [Value; 0], "without an id there is no ack");
        let mut apart = Person::connect(broker.address(), "root");
        root.send(&json!({ "type": "broadcast", "content": 1, "echo": false, "id": "b" }));
        assert_eq!(root.next(), json!({ "type": "ack", "id": "b", "receivers": 4 }));
        assert_eq!(root.rest(), [] as [Value; 0], "without echo it does not get its own");
        assert_eq!(apart.next()["type"], "admin-message", "that is about the connection alone");
    });
}

#[test]
fn lists_of_rooms_and_users_are_those_of_all_loops_in_order() {
    with_loops(&[], |broker| {
        let mut people: Vec<Person> = ["u3", "u1", "u4", "u2", "u1"]
            .map(|user| Person::connect(broker.address(), user))
            .into();
        wait_for_users(broker, 4);
        for (nth, person) in people.iter_mut().enumerate() {
            for room in 0..=nth {
                person.ask(json!({ "type": "join-room", "room": format!("room-{room}") }));
            }
        }
        let ada = &mut people[0];
        let list = ada.ask(json!({ "type": "get-rooms", "prefix": "room-", "limit": 3 }));
        assert_eq!((&list["type"], &list["more"]), (&json!("rooms-list"), &json!(true)), "{list}");
        let counts = |list: &Value| {
            list["rooms"].as_array().map(|rooms| {
                rooms
                    .iter()
                    .map(|room| (room["room"].to_string(), room["members"].as_u64()))
                    .collect::<Vec<_>>()
            })
        };
        let room = |nth: u64| (format!("\"room-{nth}\""), Some(5 - nth));
        assert_eq!(counts(&list), Some(vec![room(0), room(1), room(2)]));
        let list = ada.ask(json!({ "type": "get-rooms", "prefix": "room-", "after": "room-2" }));
        assert_eq!((counts(&list), &list["more"]), (Some(vec![room(3), room(4)]), &json!(false)));
        ada.refused(json!({ "type": "get-rooms", "limit": 0 }), "bad-field", "limit");

        let list = ada.ask(json!({ "type": "get-online-users", "limit": 2 }));
        assert_eq!(
            (&list["type"], &list["more"]),
            (&json!("online-users"), &json!(true)),
            "{list}"
        );
        assert_eq!(names(&list["users"], "id"), ["u1", "u2"]);
        assert!(list["users"][0]["since"].is_u64() && list["users"][0]["status"] == "online");
        let list = ada.ask(json!({ "type": "get-online-users", "after": "u2" }));
        assert_eq!(
            (names(&list["users"], "id"), &list["more"]),
            (vec!["u3".into(), "u4".into()], &json!(false))
        );
    });
}

#[test]
fn receipts_go_to_who_sent_the_message_and_to_nobody_else() {
    with_loops(&[], |broker| {
        let join = json!({ "type": "join-room", "room": "lobby" });
        let mut ada = Person::connect(broker.address(), "ada");
        let mut bob = Person::connect(broker.address(), "bob");
        wait_for_users(broker, 2);
        ada.ask(join.clone());
        bob.ask(join);
        let said = ada.ask(json!({ "type": "room-message", "room": "lobby", "content": 1 }));
        bob.until("room-message");
        let receipt = |seq: &Value, status| json!({ "type": "receipt", "room": "lobby", "seq": seq, "status": status });
        bob.send(&receipt(&json!(99), "read"));
        ada.send(&receipt(&said["seq"], "read"));
        bob.send(&receipt(&said["seq"], "delivered"));
        bob.send(&receipt(&said["seq"], "read"));
        for status in ["delivered", "read"] {
            let told = ada.until("receipt");
            assert_eq!(
                (&told["status"], &told["room"]),
                (&json!(status), &json!("lobby")),
                "{told}"
            );
            assert_eq!((&told["seq"], &told["sender"]["id"]), (&said["seq"], &json!("bob")));
        }
        assert_eq!(ada.rest(), [] as [Value; 0]);
        assert_eq!(bob.rest(), [] as [Value; 0]);
        let elsewhere = json!({ "type": "receipt", "room": "other", "seq": 1, "status": "read" });
        bob.refused(elsewhere, "not-in-room", "");
    });
}

#[test]
fn watchers_are_told_who_comes_goes_and_says_what_of_itself() {
    with_loops(&[], |broker| {
        let mut watcher = Person::connect(broker.address(), "watcher");
        let welcome = watcher.ask(json!({ "type": "hello", "presence": true }));
        assert_eq!(welcome["type"], "welcome");
        let users = ["u1", "u2", "u3", "u4"];
        for user in users {
            let mut person = Person::connect(broker.address(), user);
            let told = watcher.next();
            assert_eq!((&told["type"], &told["status"]), (&json!("user-online"), &json!("online")));
            assert_eq!(told["user"], json!({ "id": user, "username": user }));
            let second = Person::connect(broker.address(), user);
            person.send(&json!({ "type": "presence", "status": "away", "info": { "mood": 1 } }));
            let told = watcher.next();
            assert_eq!((&told["type"], &told["status"]), (&json!("user-status"), &json!("away")));
            let list = watcher.ask(json!({ "type": "get-online-users", "after": "u" }));
            assert_eq!(list["users"][0]["status"], "away", "{list}");
            assert_eq!(list["users"][0]["info"], json!({ "mood": 1 }));
            e2e::wait::until("the second connection to be known", || {
                let request = json!({ "type": "direct-message", "user": user, "content": 0 });
                (watcher.ask(request)["receivers"] == 2).then_some(())
            });
            drop((person, second));
            let told = watcher.next();
            assert_eq!(
                (&told["type"], &told["user"]["id"]),
                (&json!("user-offline"), &json!(user))
            );
        }
        // The room by which it is told is nobody's business.
        let list = watcher.ask(json!({ "type": "get-rooms" }));
        assert_eq!(list["rooms"], json!([]));
        assert_eq!(Scraper::new(broker).metrics().value("rooms"), 0);
        let welcome = watcher.ask(json!({ "type": "hello", "presence": false }));
        assert_eq!(welcome["type"], "welcome");
        let mut other = Person::connect(broker.address(), "other");
        other.ask(json!({ "type": "direct-message", "user": "watcher", "content": 1 }));
        assert_eq!(watcher.next()["type"], "direct-message");
        let welcome = watcher.ask(json!({ "type": "hello", "presence": true }));
        assert_eq!(welcome["type"], "welcome");
        drop(other);
        assert_eq!(watcher.until("user-offline")["user"]["id"], "other");
    });
}

#[test]
fn who_is_gone_for_the_grace_is_told_to_be() {
    with_loops(&["--presence-grace", "300ms"], |broker| {
        let mut watcher = Person::connect(broker.address(), "watcher");
        watcher.ask(json!({ "type": "hello", "presence": true }));
        for _ in 0..3 {
            drop(Person::connect(broker.address(), "ada"));
        }
        assert_eq!(watcher.next()["type"], "user-online");
        assert_eq!(watcher.until("user-offline")["user"]["id"], "ada");
    });
}

#[test]
fn a_status_shows_in_the_rooms_that_its_user_is_in() {
    with_loops(&[], |broker| {
        let mut ada = Person::connect(broker.address(), "ada");
        let rooms = ["a", "b", "c", "d"];
        for room in rooms {
            ada.ask(json!({ "type": "join-room", "room": room }));
        }
        ada.send(&json!({ "type": "presence", "status": "away" }));
        for room in rooms {
            let list = ada.ask(json!({ "type": "get-members", "room": room }));
            assert_eq!(list["members"][0]["status"], "away", "{room}: {list}");
        }
        let long = "x".repeat(2_000);
        let request = json!({ "type": "presence", "status": "away", "info": long });
        ada.refused(request, "too-long", "info");
        ada.refused(json!({ "type": "presence", "status": "gone" }), "bad-field", "status");
    });
}

/// Posts a body; the status, and the JSON of the answer.
fn post(broker: &Broker, path: &str, fields: &[&str], body: &str) -> (u16, Value) {
    let mut http = Http::connect(broker.address());
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: test\r\n");
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    http.send(request.as_bytes());
    let answer = http.answer(Expect::Body);
    (answer.status, answer.json())
}

const JSON: &str = "Content-Type: application/json";

#[test]
fn the_backend_writes_to_users_and_to_everyone() {
    with_loops(&[], |broker| {
        let mut tabs = ["ada", "ada", "a/b c"].map(|user| Person::connect(broker.address(), user));
        wait_for_users(broker, 2);
        let (path, server) =
            ("/v1/users/ada/messages", json!({ "id": "server", "username": "server" }));
        let told = post(broker, path, &[JSON], r#"{"n":1}"#);
        assert_eq!(told, (200, json!({ "receivers": 2 })));
        for tab in &mut tabs[..2] {
            let message = tab.next();
            assert_eq!(message["type"], "direct-message");
            assert_eq!((&message["content"], &message["sender"]), (&json!({ "n": 1 }), &server));
        }
        let told = post(broker, "/v1/users/a%2Fb%20c/messages", &[], "plain \"text\"");
        assert_eq!(told, (200, json!({ "receivers": 1 })));
        assert_eq!(tabs[2].next()["content"], "plain \"text\"");
        assert_eq!(
            post(broker, "/v1/users/nobody/messages", &[], "x").1,
            json!({ "receivers": 0 })
        );

        let told = post(broker, "/v1/broadcast", &[JSON], "[1]");
        assert_eq!(told, (200, json!({ "receivers": 3 })));
        for tab in &mut tabs {
            let message = tab.next();
            assert_eq!(
                (&message["type"], &message["content"]),
                (&json!("admin-message"), &json!([1]))
            );
            assert_eq!(message["sender"], server);
        }

        let body = r#"{"title":"T","body":"B","data":{"a":[1]}}"#;
        let told = post(broker, "/v1/users/ada/notifications", &[JSON], body);
        assert_eq!(told, (200, json!({ "receivers": 2 })));
        for tab in &mut tabs[..2] {
            let notice = tab.next();
            assert_eq!((&notice["type"], &notice["title"]), (&json!("notification"), &json!("T")));
            assert_eq!((&notice["body"], &notice["data"]), (&json!("B"), &json!({ "a": [1] })));
            assert!(notice["time"].is_u64() && notice.get("room").is_none(), "{notice}");
        }
        for (path, body, status, said) in [
            ("/v1/users/ada/messages", "{", 400, "one JSON value"),
            ("/v1/broadcast", "{", 400, "one JSON value"),
            ("/v1/users/ada/notifications", "{}", 400, "title: "),
            ("/v1/rooms/lobby/notifications", r#"{"title":"T","body":1}"#, 400, "body: "),
        ] {
            let (answered, problem) = post(broker, path, &[JSON], body);
            assert_eq!(answered, status, "{path}: {problem}");
            assert!(
                problem["detail"].as_str().is_some_and(|detail| detail.contains(said)),
                "{problem}"
            );
            let evil = post(broker, path, &["Origin: http://evil.example"], body);
            assert_eq!(evil.0, 403, "{path}");
        }
        for tab in &mut tabs {
            assert_eq!(tab.rest(), [] as [Value; 0]);
        }
    });
}

#[test]
fn a_rooms_notification_goes_to_its_native_members_and_is_not_numbered() {
    with_loops(&[], |broker| {
        let join = json!({ "type": "join-room", "room": "lobby" });
        let path = "/v1/rooms/lobby/notifications";
        let body = r#"{"title":"T"}"#;
        assert_eq!(post(broker, path, &[JSON], body), (200, json!({ "receivers": 0 })));
        let mut members = ["ada", "bob"].map(|user| Person::connect(broker.address(), user));
        for member in &mut members {
            assert_eq!(member.ask(join.clone())["type"], "room-joined");
        }
        let _raw = Raw::open(broker.address(), "/raw/lobby");
        assert_eq!(post(broker, path, &[JSON], body), (200, json!({ "receivers": 2 })));
        for member in &mut members {
            let notice = member.until("notification");
            assert_eq!((&notice["title"], &notice["room"]), (&json!("T"), &json!("lobby")));
            assert!(notice.get("seq").is_none() && notice.get("data").is_none(), "{notice}");
        }
        let history = members[0].ask(json!({ "type": "get-history", "room": "lobby" }));
        assert_eq!(history["messages"], json!([]));
        let (_, published) = post(broker, "/v1/rooms/lobby/messages", &[], "x");
        assert_eq!(published["seq"], 1);
    });
}

#[test]
fn a_repeated_publish_is_answered_again_and_not_delivered_again() {
    with_loops(&[], |broker| {
        let mut ada = Person::connect(broker.address(), "ada");
        ada.ask(json!({ "type": "join-room", "room": "lobby" }));
        let publish = |key: &str, body| {
            let field = format!("Idempotency-Key: {key}");
            post(broker, "/v1/rooms/lobby/messages", &[&field], body)
        };
        let first = publish("k-1", "one");
        assert_eq!((first.0, &first.1["seq"], &first.1["receivers"]), (200, &json!(1), &json!(1)));
        assert_eq!(publish("k-1", "one"), first);
        assert_eq!(publish("k-2", "two").1["seq"], 2);
        assert_eq!(publish("k-1", "something else"), first, "the key decides, not the body");
        // Keys of clients and of the backend are apart.
        let say = json!({ "type": "room-message", "room": "lobby", "content": 3, "dedupe": "k-1" });
        assert_eq!(ada.ask(say)["seq"], 3);
        let history = ada.ask(json!({ "type": "get-history", "room": "lobby" }));
        let contents: Vec<&Value> = history["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|m| &m["content"])
            .collect();
        assert_eq!(contents, [&json!("one"), &json!("two"), &json!(3)]);
        assert_eq!(publish(&"k".repeat(129), "x").0, 400);
        assert_eq!(Scraper::new(broker).metrics().value("repeats_total"), 2);
    });
}
