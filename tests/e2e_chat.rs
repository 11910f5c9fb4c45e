//! A chat room of fifty users, in clients that others wrote: they talk, are cut off at random and
//! come back by session or by position, and all have seen the same.
//!
//! Not here: what a user does (`chat_user.mjs` and `chat.py` in `tests/clients`); here is what must
//! come of it. `CHAT_SECONDS` says for how long they talk.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::Http;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{env, fs};

const SEED: u64 = 20_250_812;
const ROOM: &str = "chat";

/// The last thing that anybody hears.
const END: &str = "end";

/// Far more than any client needs beside its talking: tests share their machine.
const PATIENCE_SECONDS: u64 = 150;

/// Complaints that are shown; often one mistake makes thousands.
const COMPLAINTS_SHOWN: usize = 10;

/// One entry of a transcript: epoch, `seq`, who said it, what was said.
type Entry = (String, u64, String, Value);

/// A user as the client tells of it.
#[derive(Clone, Deserialize, Debug)]
struct User {
    name: String,
    transcript: Vec<Entry>,
    /// What was acknowledged, and as which number.
    acks: Vec<(String, u64, Value)>,
    faults: Vec<String>,
    cuts: u64,
    resumed: u64,
    rejoined: u64,
}

/// A process that plays some users, and ends with this value.
#[derive(Debug)]
struct Player {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Player {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Player {
    fn start(broker: &Broker, interpreter: &Path, program: &str, users: usize, seed: u64) -> Self {
        let numbers = [users as u64, seed, seconds()].map(|number| number.to_string());
        let mut child = Command::new("timeout")
            .arg((seconds() + PATIENCE_SECONDS).to_string())
            .arg(interpreter)
            .arg(folder().join(program))
            .args([format!("ws://{}", broker.address()), ROOM.to_owned()])
            .args(numbers)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("what ./test installs is there");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("its stdout is text");
        line.trim_end().to_owned()
    }

    /// What its users tell in the end.
    fn users(mut self) -> Vec<User> {
        let line = self.line();
        let users = serde_json::from_str(&line).expect("what its users have seen");
        assert!(self.child.wait().expect("it ends").success());
        users
    }
}

fn seconds() -> u64 {
    let asked = env::var("CHAT_SECONDS").ok();
    asked.map_or(60, |seconds| seconds.parse().expect("CHAT_SECONDS is a number"))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What is wrong with what users have seen.
fn complaints(users: &[User]) -> Vec<String> {
    let mut all = BTreeMap::new();
    let mut wrong: Vec<String> = users.iter().flat_map(|user| user.faults.clone()).collect();
    let end = users.iter().filter_map(|user| user.transcript.last()).map(|entry| entry.1).max();
    for user in users {
        let name = &user.name;
        for pair in user.transcript.windows(2) {
            if let [(_, before, ..), (_, after, ..)] = pair
                && *after != before + 1
            {
                wrong.push(format!("{name} has {after} after {before}"));
            }
        }
        for entry in &user.transcript {
            let known = all.entry(entry.1).or_insert(entry);
            if *known != entry {
                wrong.push(format!("{name} has {entry:?}, another has {known:?}"));
            }
        }
        if user.transcript.last().map(|entry| entry.1) != end {
            wrong.push(format!("{name} did not see the end"));
        }
    }
    let epochs: BTreeSet<&String> = all.values().map(|entry| &entry.0).collect();
    if epochs.len() != 1 {
        wrong.push(format!("the room had {} lives", epochs.len()));
    }
    let mut contents = BTreeSet::new();
    for (seq, (.., content)) in &all {
        if !contents.insert(content.to_string()) {
            wrong.push(format!("{seq} says {content} again"));
        }
    }
    for (epoch, seq, content) in users.iter().flat_map(|user| &user.acks) {
        let found = all.get(seq).is_some_and(|entry| (&entry.0, &entry.3) == (epoch, content));
        if !found {
            wrong.push(format!("{content} was acknowledged as {seq}, and is not there"));
        }
    }
    wrong
}

#[test]
fn all_users_of_a_room_see_the_same_however_often_they_are_cut_off() {
    eprintln!("seed {SEED}, {} s", seconds());
    for needed in ["node_modules/ws", ".venv/bin/python"] {
        let is_there = fs::exists(folder().join(needed)).expect("a folder");
        assert!(is_there, "the clients are not installed: tests/clients/install");
    }
    let broker = Broker::start(&["--loops", "2"]);
    let (node, python) = (Path::new("node"), folder().join(".venv/bin/python"));
    let mut players = [
        Player::start(&broker, node, "chat.mjs", 20, SEED),
        Player::start(&broker, &python, "chat.py", 20, SEED + 100),
        Player::start(&broker, node, "chat_chromium.mjs", 10, SEED + 200),
    ];
    for player in &mut players {
        assert_eq!(player.line(), "quiet");
    }
    let end = json!(END).to_string();
    let answer = Http::connect(broker.address()).post(ROOM, "application/json", end.as_bytes());
    assert_eq!(answer.status, 200);
    let users: Vec<User> = players.into_iter().flat_map(Player::users).collect();
    assert_eq!(users.len(), 50);
    let sum = |of: fn(&User) -> u64| users.iter().map(of).sum::<u64>();
    let (cuts, resumed, rejoined) =
        (sum(|user| user.cuts), sum(|user| user.resumed), sum(|user| user.rejoined));
    let said = sum(|user| user.acks.len() as u64);
    eprintln!("{said} acknowledged, {cuts} cuts, {resumed} resumed, {rejoined} rejoined");
    let wrong = complaints(&users);
    let first = wrong.get(..COMPLAINTS_SHOWN).unwrap_or(&wrong);
    assert!(wrong.is_empty(), "{} complaints: {first:#?}", wrong.len());
    assert!(said > 0 && resumed > 0 && rejoined > 0, "nobody was put to the test");
    broker.stop();
}

/// A user that has seen these numbers, each saying itself.
fn who_saw(seqs: impl IntoIterator<Item = u64>) -> User {
    let entry = |seq| ("e".to_owned(), seq, "s".to_owned(), json!(seq));
    User {
        name: "user".to_owned(),
        transcript: seqs.into_iter().map(entry).collect(),
        acks: vec![("e".to_owned(), 3, json!(3))],
        faults: Vec::new(),
        cuts: 0,
        resumed: 0,
        rejoined: 0,
    }
}

#[test]
fn each_way_in_which_transcripts_can_differ_is_noticed() {
    let good = who_saw(1..=5);
    assert_eq!(complaints(&[good.clone(), who_saw(3..=5)]), [""; 0]);
    let changed = |change: fn(&mut User)| {
        let mut user = good.clone();
        change(&mut user);
        user
    };
    for (bad, said) in [
        (who_saw([1, 2, 4, 5]), "has 4 after 2"),
        (who_saw([1, 2, 2, 3, 4, 5]), "has 2 after 2"),
        (who_saw([1, 3, 2, 4, 5]), "has 2 after 3"),
        (who_saw(1..=4), "did not see the end"),
        (who_saw([]), "did not see the end"),
        (changed(|user| user.transcript[1].3 = json!(9)), "another has"),
        (changed(|user| user.transcript[1].2 = "x".to_owned()), "another has"),
        (changed(|user| user.transcript[1].0 = "x".to_owned()), "another has"),
        (changed(|user| user.acks[0].1 = 4), "is not there"),
        (changed(|user| user.acks[0].1 = 7), "is not there"),
        (changed(|user| user.faults.push("a fault".to_owned())), "a fault"),
    ] {
        let wrong = complaints(&[good.clone(), bad]).join("\n");
        assert!(wrong.contains(said), "{said}: {wrong}");
    }
    let twice = changed(|user| user.transcript[4].3 = json!(1));
    assert!(complaints(&[twice]).join("\n").contains("again"));
    let lives = changed(|user| user.transcript[4].0 = "f".to_owned());
    assert!(complaints(&[lives]).join("\n").contains("2 lives"));
}
