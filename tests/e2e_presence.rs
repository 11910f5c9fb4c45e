//! Who is there, end to end: users from a proxy, rooms from the start, presence in each mode, and
//! a thousand members who go at once.
//!
//! Not here: messages (`e2e_native`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::bystander::Bystander;
use e2e::native::{Native, ask_to_open};
use e2e::scaled;
use e2e::scrape::Scraper;
use e2e::wait::until;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SETTINGS: &str = r#"
[identity]
user_header = "X-User"
username_header = "X-Username"
trusted_proxies = ["127.0.0.1/32"]
admins = ["root"]

[[rooms]]
pattern = "full:*"

[[rooms]]
pattern = "small:*"
presence_full_users_max = 2
presence_diff_users_max = 3
presence_interval = "20ms"

[[rooms]]
pattern = "diff:*"
presence = "diff"
presence_diff_users_max = 10000
presence_interval = "20ms"

[[rooms]]
pattern = "count:*"
presence = "count"
presence_interval = "20ms"

[[rooms]]
pattern = "quiet:*"
presence = "off"
"#;

fn start(loops: &str) -> Broker {
    Broker::start_with_file(SETTINGS, &["--loops", loops])
}

fn leave(room: &str) -> Value {
    json!({ "type": "leave-room", "room": room })
}

/// The ids of a list of users.
fn ids(users: &Value) -> Vec<&str> {
    let users = users.as_array().expect("a list");
    users.iter().map(|user| user["id"].as_str().expect("an id")).collect()
}

#[test]
fn only_a_trusted_proxy_says_who_its_users_are() {
    let user = |client: &Native| -> Value {
        serde_json::from_str::<Value>(&client.welcome).expect("JSON")["user"].clone()
    };
    let trusting = start("1");
    let ada = Native::open_with(&trusting, &["X-User: 42", "X-Username: Ada"]);
    assert_eq!(user(&ada), json!({ "id": "42", "username": "Ada", "roles": ["member"] }));
    let root = Native::open_with(&trusting, &["X-User: root"]);
    assert_eq!(user(&root), json!({ "id": "root", "username": "root", "roles": ["admin"] }));
    let guests = [(); 2].map(|()| user(&Native::open(&trusting)));
    for guest in &guests {
        assert!(guest["id"].as_str().is_some_and(|id| id.starts_with("guest-") && id.len() == 22));
        assert_eq!((&guest["username"], &guest["roles"]), (&json!("guest"), &json!(["guest"])));
    }
    assert_ne!(guests[0], guests[1]);
    for bad in [&["X-User: 42", "X-User: 43"][..], &["X-User: "]] {
        assert_eq!(ask_to_open(&trusting, bad).1.status, 400, "{bad:?}");
    }
    let others = SETTINGS.replace("127.0.0.1/32", "10.0.0.0/8");
    let wary = Broker::start_with_file(&others, &["--loops", "1"]);
    let stranger = user(&Native::open_with(&wary, &["X-User: root"]));
    assert_eq!(stranger["roles"], json!(["guest"]));
    assert_ne!(stranger["id"], "root");
}

#[test]
fn everyone_is_in_the_default_rooms_from_the_start() {
    let rooms = ["--native-default-rooms", "hall", "--native-default-rooms", "news"];
    let broker = Broker::start_with_file("", &[&["--loops", "2"][..], &rooms].concat());
    let mut one = Native::open(&broker);
    let mut joined: Vec<Value> =
        (0..2).map(|_| one.next_of("room-joined")["room"].clone()).collect();
    joined.sort_unstable_by_key(ToString::to_string);
    assert_eq!(joined, ["hall", "news"]);
    assert_eq!(one.say("hall", &json!("hi"))["receivers"], 1);
}

#[test]
fn full_presence_tells_the_others_of_each_user_once() {
    for loops in ["1", "2"] {
        let broker = start(loops);
        let mut ada = Native::open_as(&broker, "ada");
        ada.join("full:1");
        let mut tabs = [(); 2].map(|()| Native::open_as(&broker, "bob"));
        for tab in &mut tabs {
            tab.join("full:1");
        }
        let list = ada.ask(&json!({ "type": "get-members", "room": "full:1" }));
        assert_eq!(ids(&list["members"]), ["ada", "bob"]);
        let [mut first, second] = tabs;
        assert_eq!(first.so_far(), [Value::Null; 0], "nobody is told of its own coming");
        drop(second);
        let info = json!({ "type": "get-room", "room": "full:1" });
        until("one tab to be gone", || (ada.ask(&info)["members"] == 2).then_some(()));
        first.ask(&leave("full:1"));
        let told: Vec<Value> = (0..2).map(|_| ada.next()).collect();
        let kinds: Vec<&Value> = told.iter().map(|notice| &notice["type"]).collect();
        assert_eq!(kinds, ["user-joined", "user-left"]);
        for notice in &told {
            assert_eq!(notice["user"], json!({ "id": "bob", "username": "bob" }));
            assert_eq!(notice["room"], "full:1");
        }
        assert_eq!(ada.so_far(), [Value::Null; 0], "two tabs are one user");
    }
}

#[test]
fn who_comes_back_within_the_grace_was_never_gone() {
    let broker = Broker::start_with_file(SETTINGS, &["--loops", "2", "--presence-grace", "2s"]);
    let mut ada = Native::open_as(&broker, "ada");
    ada.join("full:1");
    let mut bob = Native::open_as(&broker, "bob");
    bob.join("full:1");
    for _ in 0..20 {
        bob.ask(&leave("full:1"));
        bob.join("full:1");
    }
    assert_eq!(ada.next()["type"], "user-joined");
    assert_eq!(ada.so_far(), [Value::Null; 0]);
    bob.ask(&leave("full:1"));
    let list = ada.ask(&json!({ "type": "get-members", "room": "full:1" }));
    assert_eq!(ids(&list["members"]), ["ada", "bob"], "it may still come back");
    assert_eq!(ada.next()["type"], "user-left");
    let list = ada.ask(&json!({ "type": "get-members", "room": "full:1" }));
    assert_eq!(ids(&list["members"]), ["ada"]);
    assert_eq!(ada.so_far(), [Value::Null; 0], "and it is told once");
}

#[test]
fn a_room_that_grows_tells_less_until_it_is_empty() {
    let broker = start("2");
    let room = "small:1";
    let mut users = ["a", "b", "c", "d"].map(|user| Native::open_as(&broker, user));
    let [a, b, c, d] = &mut users;
    a.join(room);
    b.join(room);
    assert_eq!(a.next()["type"], "user-joined");
    c.join(room);
    let diff = a.next();
    assert_eq!((&diff["type"], &diff["count"]), (&json!("presence-diff"), &json!(3)), "{diff}");
    assert_eq!((ids(&diff["joined"]), ids(&diff["left"])), (vec!["c"], vec![]));
    d.join(room);
    let count = a.next();
    let wanted =
        json!({ "type": "presence-diff", "room": room, "joined": [], "left": [], "count": 4 });
    assert_eq!(count, wanted);
    let list = a.ask(&json!({ "type": "get-members", "room": room }));
    assert_eq!(list["members"], json!([]), "no list is kept any more");
    for user in [&mut *b, &mut *c, &mut *d] {
        user.ask(&leave(room));
    }
    until("the count to fall", || (a.next()["count"] == 1).then_some(()));
    a.ask(&leave(room));
    a.join(room);
    b.join(room);
    assert_eq!(a.next_of("user-joined")["user"]["id"], "b", "it began anew");
}

#[test]
fn other_modes_tell_the_count_or_nothing() {
    let broker = start("2");
    let mut ada = Native::open_as(&broker, "ada");
    let mut bob = Native::open_as(&broker, "bob");
    let joined = ada.join_with(&json!({ "room": "quiet:1", "presence": true }));
    assert_eq!((&joined["members"], &joined["presence"]), (&json!(1), &json!([])));
    bob.join("quiet:1");
    bob.ask(&leave("quiet:1"));
    ada.join("count:1");
    bob.join("count:1");
    let told = until("a count of two", || {
        let told = ada.next();
        assert_eq!((&told["joined"], &told["left"]), (&json!([]), &json!([])), "{told}");
        (told["count"] == 2).then_some(told)
    });
    assert_eq!((&told["type"], &told["room"]), (&json!("presence-diff"), &json!("count:1")));
    drop(bob);
    until("a count of one", || (ada.next()["count"] == 1).then_some(()));
}

#[test]
fn a_thousand_who_go_at_once_leave_nobody_behind_and_disturb_nobody() {
    let count = scaled(1_000);
    for loops in ["1", "2"] {
        let broker = start(loops);
        let mut watcher = Native::open_as(&broker, "watcher");
        watcher.join("diff:1");
        let bystander = Bystander::start(&broker);
        let mut crowd: Vec<Native> = (0..count).map(|_| Native::open(&broker)).collect();
        let join = json!({ "type": "join-room", "room": "diff:1" });
        crowd.iter_mut().for_each(|member| member.send(&join));
        for member in &mut crowd {
            member.next_of("room-joined");
        }
        let mut there = BTreeSet::new();
        let mut notices = 0;
        let mut see = |watcher: &mut Native, wanted: usize| {
            until("the watcher to see them", || {
                let diff = watcher.next_of("presence-diff");
                notices += 1;
                for id in ids(&diff["joined"]) {
                    assert!(there.insert(id.to_owned()), "{id} came twice");
                }
                for id in ids(&diff["left"]) {
                    assert!(there.remove(id), "{id} left and was not there");
                }
                assert_eq!(diff["count"], there.len());
                (there.len() == wanted).then_some(())
            });
        };
        see(&mut watcher, count + 1);
        drop(crowd);
        see(&mut watcher, 1);
        eprintln!("{loops} loops: {notices} notices of {count} who came and went");
        let list = watcher.ask(&json!({ "type": "get-members", "room": "diff:1" }));
        assert_eq!(ids(&list["members"]), ["watcher"]);
        let info = watcher.ask(&json!({ "type": "get-room", "room": "diff:1" }));
        assert_eq!(info["members"], 1);
        watcher.ask(&leave("diff:1"));
        let info = watcher.ask(&json!({ "type": "get-room", "room": "diff:1" }));
        assert_eq!(info["members"], 0);
        bystander.stop();
    }
}

#[test]
fn who_is_gone_before_its_join_is_answered_is_in_no_room() {
    let broker = start("2");
    let mut watcher = Native::open_as(&broker, "watcher");
    watcher.join("diff:1");
    for nth in 0..scaled(200) {
        let mut hasty = Native::open_as(&broker, &format!("hasty-{}", nth % 7));
        for _ in 0..1 + nth % 3 {
            hasty.send(&json!({ "type": "join-room", "room": "diff:1" }));
            hasty.send(&leave("diff:1"));
        }
        hasty.send(&json!({ "type": "join-room", "room": "diff:1" }));
    }
    let info = json!({ "type": "get-room", "room": "diff:1" });
    until("all of them to be gone", || (watcher.ask(&info)["members"] == 1).then_some(()));
    let list = watcher.ask(&json!({ "type": "get-members", "room": "diff:1" }));
    assert_eq!(ids(&list["members"]), ["watcher"]);
    let mut scraper = Scraper::new(&broker);
    scraper.until("the connections to be gone", |metrics| metrics.value("natives") == 1);
}
