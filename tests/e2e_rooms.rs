//! Rooms, end to end: real clients, the real binary, every message to every member in one order.
//!
//! Not here: clients that misbehave (`e2e_slow`, `e2e_abuse`), and how the process lives
//! (`e2e_life`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::{Broker, fanfare};
use e2e::crowd::{Client, Crowd};
use e2e::http::Http;
use e2e::node::Node;
use e2e::plan::{END, Kind, Letter, Member, POSTS, Plan, Seen, payload};
use e2e::scaled;
use e2e::scrape::{Metrics, Scraper};
use e2e::wait::until;
use std::io::Read;
use std::process::{Child, Output, Stdio};
use std::thread;

const SEED: u64 = 20_250_807;

/// Lengths at which the form of a frame or the way through a buffer changes.
const EDGES: [usize; 14] =
    [0, 1, 15, 16, 125, 126, 127, 4_096, 65_535, 65_536, 262_130, 262_144, 1_048_575, 1_048_576];

/// `members` in `rooms`, by turns; each third is left out of its own messages.
fn plan(rooms: usize, members: usize, letters: usize, posts: usize) -> Plan {
    eprintln!("seed {SEED}");
    let mut dice = fastrand::Rng::with_seed(SEED);
    let kind = |dice: &mut fastrand::Rng| if dice.bool() { Kind::Text } else { Kind::Binary };
    let letter = |dice: &mut fastrand::Rng, echo: bool| {
        let bytes = match dice.u8(..10) {
            0..6 => dice.usize(16..200),
            6 if echo => dice.usize(..16),
            6..9 => dice.usize(16..2_000),
            _ => dice.usize(16..20_000),
        };
        Letter { kind: kind(dice), bytes }
    };
    let mut plan = Plan { rooms, members: Vec::new(), posts: Vec::new() };
    for place in 0..members {
        let echo = (place / rooms) % 3 != 2;
        let mut own: Vec<Letter> = (0..letters).map(|_| letter(&mut dice, echo)).collect();
        if place < rooms {
            // The first of each room sends all lengths at which something changes.
            own.extend(EDGES.map(|bytes| Letter { kind: kind(&mut dice), bytes }));
            dice.shuffle(&mut own);
        }
        plan.members.push(Member { room: place % rooms, echo, letters: own });
    }
    let post = |dice: &mut fastrand::Rng| letter(dice, true);
    plan.posts = (0..rooms).map(|_| (0..posts).map(|_| post(&mut dice)).collect()).collect();
    plan
}

/// Publishes a letter over HTTP; its `seq`, its room's epoch and its receivers.
fn post(http: &mut Http, room: usize, letter: Letter, sender: u32, nth: usize) -> Posted {
    let content_type = match letter.kind {
        Kind::Text => "text/plain",
        Kind::Binary => "application/octet-stream",
    };
    let answer = http.post(&Plan::name(room), content_type, &payload(letter, sender, nth));
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    Posted {
        seq: told["seq"].as_u64().expect("seq"),
        epoch: told["epoch"].as_str().expect("epoch").to_owned(),
        receivers: told["receivers"].as_u64().expect("receivers"),
    }
}

#[derive(Debug)]
struct Posted {
    seq: u64,
    epoch: String,
    receivers: u64,
}

/// Publishes what the plan says, one room after the other, while the members send.
fn post_all(broker: &Broker, plan: &Plan) {
    let mut http = Http::connect(broker.address());
    let mut last: Vec<Option<Posted>> = (0..plan.rooms).map(|_| None).collect();
    for nth in 0..plan.posts[0].len() {
        for (room, last) in last.iter_mut().enumerate() {
            let sender = POSTS + u32::try_from(room).expect("few rooms");
            let posted = post(&mut http, room, plan.posts[room][nth], sender, nth);
            assert_eq!(posted.receivers, plan.members_of(room) as u64, "room {room}");
            if let Some(before) = last.replace(posted) {
                let posted = last.as_ref().expect("it was just put there");
                assert!(before.seq < posted.seq, "room {room}: {before:?}, then {posted:?}");
                assert_eq!(before.epoch, posted.epoch, "room {room}");
            }
        }
    }
}

/// Carries the plan out with the crowd's clients, and Node's where `nodes` says so.
fn carry_out(broker: &Broker, plan: &Plan, nodes: impl Fn(usize) -> bool + Copy) {
    let mut scraper = Scraper::new(broker);
    let mut crowd = Crowd::new();
    crowd.join_all(broker, plan, |place| !nodes(place));
    let has_nodes = (0..plan.members.len()).any(nodes);
    let mut node = has_nodes.then(|| Node::join(broker, plan, nodes));
    let members = plan.members.len() as u64;
    scraper.until("all members to have joined", |now| now.value("members") == members);
    if let Some(node) = &mut node {
        node.go();
    }
    crowd.give_all(plan);
    thread::scope(|scope| {
        let posts = thread::Builder::new().spawn_scoped(scope, || post_all(broker, plan));
        crowd.run("all letters to be sent", |clients| clients.iter().all(Client::has_sent));
        let total: usize = (0..plan.rooms).map(|room| plan.publications(room)).sum();
        let ends = thread::Builder::new().spawn_scoped(scope, move || {
            posts.expect("a thread").join().expect("every post is answered");
            let numbered = |now: &Metrics| now.value("publications_total");
            scraper.until("everything to be numbered", |now| numbered(now) >= total as u64);
            assert_eq!(numbered(&scraper.metrics()), total as u64, "nothing is numbered twice");
            end_all(broker, plan);
        });
        crowd.run("all rooms to end", |clients| clients.iter().all(has_ended));
        ends.expect("a thread").join().expect("the rooms end");
    });
    let mut others = node.map(Node::seen).unwrap_or_default().into_iter();
    let mut ours = crowd.clients.into_iter().map(|mut client| {
        client.seen.pop(); // The end.
        client.seen
    });
    let by_place = |place| if nodes(place) { others.next() } else { ours.next() };
    let seen: Option<Vec<Vec<Seen>>> = (0..plan.members.len()).map(by_place).collect();
    plan.verify(&seen.expect("everybody reported"));
}

fn has_ended(client: &Client) -> bool {
    assert_eq!(client.closed, None, "nobody is closed");
    client.seen.last().is_some_and(Seen::is_end)
}

/// Publishes the message that ends each room: its `seq` says that nothing is missing before it.
fn end_all(broker: &Broker, plan: &Plan) {
    let mut http = Http::connect(broker.address());
    for room in 0..plan.rooms {
        let letter = Letter { kind: Kind::Text, bytes: 16 };
        let posted = post(&mut http, room, letter, END, 0);
        assert_eq!(posted.seq, plan.publications(room) as u64 + 1, "room {room}");
        assert_eq!(posted.receivers, plan.members_of(room) as u64, "room {room}");
    }
}

fn two_hundred_in_twenty(loops: &str) {
    let plan = plan(20, 200, scaled(100), 20);
    let broker = Broker::start(&["--loops", loops]);
    carry_out(&broker, &plan, |_| false);
    broker.stop();
}

#[test]
fn two_hundred_clients_in_twenty_rooms_miss_nothing_on_one_loop() {
    two_hundred_in_twenty("1");
}

#[test]
fn two_hundred_clients_in_twenty_rooms_miss_nothing_on_two_loops() {
    two_hundred_in_twenty("2");
}

#[test]
fn node_clients_miss_nothing_on_one_loop_and_on_two() {
    for loops in ["1", "2"] {
        let plan = plan(4, 24, scaled(100), 20);
        let broker = Broker::start(&["--loops", loops]);
        carry_out(&broker, &plan, |_| true);
        broker.stop();
    }
}

#[test]
fn clients_of_two_makers_share_rooms_in_one_order() {
    for loops in ["1", "2"] {
        let plan = plan(3, 30, scaled(100), 40);
        let broker = Broker::start(&["--loops", loops]);
        // Rooms are dealt by threes, so that each has both.
        carry_out(&broker, &plan, |place| (place / 3) % 2 == 1);
        broker.stop();
    }
}

/// Runs to the end: exit code, stdout, stderr.
fn outcome(child: Child) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("its output is text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn sub_prints_what_pub_and_curl_send() {
    let broker = Broker::start(&["--loops", "2"]);
    let url = format!("ws://{}", broker.address());
    let mut scraper = Scraper::new(&broker);
    let run = |args: &[&str]| {
        let mut command = fanfare(&[args, &["--url", &url]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let sub = run(&["sub", "a/b", "--count", "3"]);
    scraper.until("sub to join", |now| now.value("members") == 1);
    assert_eq!(outcome(run(&["pub", "a/b", "héllo"])), (Some(0), String::new(), String::new()));
    let curl = std::process::Command::new("curl")
        .args(["-sS", "-d", "from curl"])
        .arg(format!("http://{}/v1/rooms/a%2Fb/messages", broker.address()))
        .output()
        .expect("curl is installed");
    let told: serde_json::Value = serde_json::from_slice(&curl.stdout).expect("JSON");
    assert_eq!((&told["seq"], &told["receivers"]), (&2.into(), &1.into()), "{told}");
    let mut input = run(&["pub", "a/b", "last"]);
    assert!(input.wait().expect("it ends").success());
    let (code, stdout, stderr) = outcome(sub);
    assert_eq!((code, stdout.as_str()), (Some(0), "héllo\nfrom curl\nlast\n"), "{stderr}");
    broker.stop();
}

#[test]
fn sub_ends_with_the_brokers_reason_when_the_broker_drains() {
    let broker = Broker::start(&["--loops", "2", "--drain-window", "1ms"]);
    let url = format!("ws://{}", broker.address());
    let mut command = fanfare(&["sub", "lobby", "--url", &url]);
    let mut sub = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    Scraper::new(&broker).until("sub to join", |now| now.value("members") == 1);
    broker.stop();
    let status = until("sub to end", || sub.try_wait().expect("it has a status"));
    let mut stderr = String::new();
    sub.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("1001"), "{stderr}");
}

/// What the members of a plan see where everything goes well.
fn ideal(plan: &Plan) -> Vec<Vec<Seen>> {
    let sent = |room: usize| {
        let members = plan.members.iter().enumerate().filter(move |(_, one)| one.room == room);
        let members =
            members.map(|(place, one)| (u32::try_from(place).expect("few"), &one.letters));
        let posts = (POSTS + u32::try_from(room).expect("few"), &plan.posts[room]);
        members.chain([posts]).flat_map(|(sender, letters)| {
            let seen = move |(nth, letter): (usize, &Letter)| {
                (sender, Seen::new(letter.kind, &payload(*letter, sender, nth)))
            };
            letters.iter().enumerate().map(seen)
        })
    };
    let members = plan.members.iter().enumerate();
    members
        .map(|(place, one)| {
            let is_due = |(sender, _): &(u32, Seen)| one.echo || *sender as usize != place;
            sent(one.room).filter(is_due).map(|(_, seen)| seen).collect()
        })
        .collect()
}

#[test]
fn any_message_lost_repeated_moved_or_changed_is_noticed() {
    let plan = plan(2, 8, 4, 2);
    let ideal = ideal(&plan);
    plan.verify(&ideal);
    let notices = |what: &str, harm: &dyn Fn(&mut Vec<Seen>)| {
        for place in 0..plan.members.len() {
            let mut seen = ideal.clone();
            harm(&mut seen[place]);
            let verdict = std::panic::catch_unwind(|| plan.verify(&seen));
            assert!(verdict.is_err(), "member {place}: {what}");
        }
    };
    notices("lost", &|seen| drop(seen.remove(3)));
    notices("lost at the end", &|seen| drop(seen.pop()));
    notices("repeated", &|seen| seen.insert(3, seen[2].clone()));
    notices("moved", &|seen| seen.swap(1, 2));
    notices("cut", &|seen| seen[1].bytes -= 1);
    notices("of another kind", &|seen| {
        seen[1].kind = if seen[1].kind == Kind::Text { Kind::Binary } else { Kind::Text };
    });
    let all = |what: &str, harm: &dyn Fn(&mut Vec<Seen>)| {
        let mut seen = ideal.clone();
        seen.iter_mut().for_each(harm);
        assert!(std::panic::catch_unwind(|| plan.verify(&seen)).is_err(), "everywhere: {what}");
    };
    all("lost", &|seen| drop(seen.pop()));
    all("repeated", &|seen| seen.extend(seen.last().cloned()));
}
