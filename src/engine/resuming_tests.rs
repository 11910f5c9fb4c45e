//! Sessions taken up: one loop and one client at a time, and several loops with batches carried by
//! hand in every order.

use crate::auth::{Authority, GUEST, Grant, Grants, Trust};
use crate::broker::{
    ConnKey, Disconnect, LoopId, Now, RoomName, RoomOptions, RoomPattern, RoomPolicies,
};
use crate::engine::batch::Batch;
use crate::engine::hash::{HashKey, home_of};
use crate::engine::rig::Rig;
use crate::engine::session::Pause;
use crate::engine::settings::Settings;
use crate::engine::shard::{Admission, Progress, Setup, Shard};
use crate::limits::SESSION_TIMEOUT_MS;
use crate::ws::{self, Opcode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

/// A client's frame of one JSON object.
fn text(object: &Value) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, object.to_string().as_bytes(), [1, 2, 3, 4]);
    frame
}

/// Takes the whole frames off the front of what came, the answer to the handshake among them: the
/// objects of texts, the codes of closes.
fn objects(came: &mut Vec<u8>) -> Vec<Value> {
    let mut objects = Vec::new();
    if came.starts_with(b"HTTP/1.1 101") {
        let head = came.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        came.drain(..head + 4);
    }
    while let [first, second, rest @ ..] = came.as_slice() {
        let (wide, len) = match (second, rest) {
            (126, [a, b, ..]) => (2, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [eight @ .., _]) if eight.len() >= 8 => {
                let eight = *eight.first_chunk().expect("eight bytes");
                (8, usize::try_from(u64::from_be_bytes(eight)).expect("short"))
            }
            (126 | 127, _) => break,
            (len, _) => (0, usize::from(*len)),
        };
        let Some(payload) = rest.get(wide..wide + len) else { break };
        match *first {
            0x81 => objects.push(serde_json::from_slice(payload).expect("JSON")),
            0x88 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                objects.push(json!({"type": "close", "code": code}));
            }
            _ => {}
        }
        let end = 2 + wide + len;
        came.drain(..end);
    }
    objects
}

impl Rig {
    fn native(&mut self) -> (ConnKey, String) {
        let key = self.ask_for("/ws");
        let told = self.told(key);
        (key, told[0]["session"].as_str().expect("a session").to_owned())
    }

    fn say(&mut self, key: ConnKey, object: &Value) -> Vec<Value> {
        self.shard.handle_bytes(key, &mut text(object), self.now);
        self.told(key)
    }

    fn told(&mut self, key: ConnKey) -> Vec<Value> {
        for _ in 0..6 {
            self.shard.end_tick(self.now);
        }
        objects(&mut self.read_all(key))
    }

    fn cut(&mut self, key: ConnKey) {
        self.shard.handle_error(key, self.now);
        self.shard.end_tick(self.now);
        while self.shard.poll_action().is_some() {}
    }

    fn parked(&self) -> u64 {
        self.shard.counters().sessions_parked
    }
}

fn rig() -> Rig {
    Rig::new(RoomOptions::default())
}

fn join(room: &str) -> Value {
    json!({"type": "join-room", "room": room})
}

fn publish(room: &str, content: u64) -> Value {
    json!({"type": "room-message", "room": room, "content": content})
}

fn contents(room: &Value) -> Vec<u64> {
    let messages = room["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["content"].as_u64().expect("a number")).collect()
}

#[test]
fn a_session_comes_back_with_its_rooms_and_what_it_missed_in_one_welcome() {
    let mut rig = rig();
    let (key, session) = rig.native();
    let joined = rig.say(key, &join("a"));
    rig.say(key, &join("b"));
    let (other, _) = rig.native();
    rig.say(other, &join("a"));
    for content in 1..=2 {
        rig.say(other, &publish("a", content));
    }
    rig.cut(key);
    assert_eq!((rig.parked(), rig.shard.counters().members), (1, 1));
    rig.say(other, &publish("a", 3));
    let since = |seq: u64| json!({"epoch": joined[0]["epoch"], "seq": seq});
    // What is proved is that it joined; what it names counts before that.
    for (positions, missed) in [
        (json!({}), vec![1, 2, 3]),
        (json!({"a": since(2), "never": since(1)}), vec![3, 4]),
        (json!({"a": since(5)}), vec![]),
        (json!({}), vec![]),
    ] {
        let (back, _) = rig.native();
        let hello = json!({"type": "hello", "id": 7, "session": session, "positions": positions});
        let told = rig.say(back, &hello);
        let [welcome] = told.as_slice() else { panic!("one reply: {told:?}") };
        assert_eq!((&welcome["type"], &welcome["id"]), (&json!("welcome"), &json!(7)));
        assert_eq!(welcome["session"], json!(session));
        let rooms = welcome["rooms"].as_array().expect("rooms");
        assert_eq!(rooms.len(), 2);
        assert_eq!((&rooms[0]["type"], &rooms[0]["room"]), (&json!("room-joined"), &json!("a")));
        assert_eq!(rooms[0]["recovered"], json!(true));
        assert_eq!(contents(&rooms[0]), missed);
        assert_eq!((&rooms[1]["room"], contents(&rooms[1])), (&json!("b"), vec![]));
        assert_eq!(rig.parked(), 0);
        if !missed.is_empty() {
            let next = missed[missed.len() - 1] + 1;
            rig.say(other, &publish("a", next));
            assert_eq!(rig.told(back).last().expect("live again")["content"], json!(next));
        }
        rig.cut(back);
    }
    assert_eq!(rig.shard.counters().sessions_resumed, 4);
}

#[test]
fn a_session_that_still_lives_moves_and_its_old_connection_is_told_to_stop() {
    let mut rig = rig();
    let (old, session) = rig.native();
    rig.say(old, &join("a"));
    let (new, _) = rig.native();
    let told = rig.say(new, &json!({"type": "hello", "session": session}));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["rooms"][0]["room"], json!("a"));
    assert_eq!(told[0]["rooms"][0]["members"], json!(1));
    assert_eq!(rig.told(old), [json!({"type": "close", "code": 4003})]);
    assert_eq!((rig.shard.counters().members, rig.parked()), (1, 0));
}

#[test]
fn what_is_no_session_of_ones_own_is_a_plain_welcome() {
    let mut rig = rig();
    let (key, own) = rig.native();
    for named in [own.clone(), "0".repeat(32), "F".repeat(32)] {
        let told = rig.say(key, &json!({"type": "hello", "id": "x", "session": named}));
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0]["session"], &told[0]["id"]), (&json!(own), &json!("x")));
        assert_eq!(told[0].get("rooms"), None);
    }
    // What else is asked for is had.
    let wish = json!({"type": "hello", "session": "0".repeat(32), "presence": true, "batch": true});
    let (other, _) = rig.native();
    let told = rig.say(other, &wish);
    assert_eq!((&told[0]["presence"], &told[0]["batch"]), (&json!(true), &json!(true)));
    rig.native();
    let told = rig.told(other);
    assert_eq!(told.first().map(|told| &told["type"]), Some(&json!("user-online")), "{told:?}");
    // One that left nothing is not kept.
    rig.cut(key);
    assert_eq!(rig.parked(), 0);
    let (key, _) = rig.native();
    assert_eq!(rig.say(key, &json!({"type": "hello", "session": own}))[0].get("rooms"), None);
    // Its rooms would be two sessions' rooms.
    rig.say(key, &join("a"));
    let told = rig.say(key, &json!({"type": "hello", "session": own}));
    assert_eq!((&told[0]["code"], &told[0]["field"]), (&json!("bad-field"), &json!("session")));
}

#[test]
fn who_does_not_get_its_own_messages_gets_their_numbers_when_it_comes_back() {
    let mut rig = rig();
    let (key, session) = rig.native();
    rig.say(key, &json!({"type": "join-room", "room": "a", "echo": false}));
    let (other, _) = rig.native();
    rig.say(other, &join("a"));
    rig.say(key, &publish("a", 1));
    rig.say(other, &publish("a", 2));
    rig.say(key, &publish("a", 3));
    rig.cut(key);
    let (back, _) = rig.native();
    let told = rig.say(back, &json!({"type": "hello", "session": session}));
    let room = &told[0]["rooms"][0];
    assert_eq!((contents(room), &room["own"]), (vec![2], &json!([1, 3])));
    assert_eq!(rig.say(back, &publish("a", 4)).len(), 1, "an ack, as echo is still off");
}

#[test]
fn default_rooms_give_way_to_those_of_the_session() {
    let mut settings = Settings::default();
    settings.native.default_rooms = vec![RoomName::parse("lobby").expect("a name")];
    let mut rig = Rig::with(RoomOptions::default(), settings);
    let (key, session) = rig.native();
    rig.say(key, &json!({"type": "leave-room", "room": "lobby"}));
    rig.say(key, &join("a"));
    rig.cut(key);
    let back = rig.ask_for("/ws");
    let mut hello = text(&json!({"type": "hello", "session": session}));
    rig.shard.handle_bytes(back, &mut hello, rig.now);
    let told = rig.told(back);
    let kinds: Vec<&str> = told.iter().filter_map(|told| told["type"].as_str()).collect();
    assert_eq!(kinds, ["welcome", "room-joined", "welcome"], "the session is asked for after it");
    assert_eq!(told[2]["rooms"].as_array().expect("rooms").len(), 1);
    assert_eq!(rig.shard.counters().members, 1);
}

#[test]
fn sessions_that_nobody_comes_back_for_leave_nothing() {
    let mut rig = rig();
    let count = 10_000;
    let keys: Vec<ConnKey> = (0..count).map(|_| rig.ask_for("/ws")).collect();
    rig.shard.end_tick(rig.now);
    for key in &keys {
        rig.shard.handle_bytes(*key, &mut text(&join("a")), rig.now);
    }
    rig.shard.end_tick(rig.now);
    for key in keys {
        rig.shard.handle_error(key, rig.now);
    }
    rig.shard.end_tick(rig.now);
    assert_eq!(rig.parked(), count);
    while rig.shard.poll_action().is_some() {}
    rig.now = rig.now.plus_ms(SESSION_TIMEOUT_MS - 1);
    rig.shard.handle_deadlines(rig.now);
    assert_eq!(rig.parked(), count);
    assert_eq!(rig.shard.next_session_expiry_ms(), Some(SESSION_TIMEOUT_MS));
    rig.now = rig.now.plus_ms(1);
    rig.shard.handle_deadlines(rig.now);
    let counters = rig.shard.counters();
    assert_eq!((counters.sessions_parked, counters.sessions_ended), (0, count));
    assert_eq!(rig.shard.next_session_expiry_ms(), None);
}

#[test]
fn who_wants_heartbeats_as_messages_gets_no_pings() {
    let mut rig = rig();
    let (key, _) = rig.native();
    rig.say(key, &json!({"type": "hello", "heartbeat": true}));
    for _ in 0..3 {
        let asked_at = rig.now.plus_ms(30_000);
        while rig.now.mono_ms < asked_at.mono_ms + 200 {
            rig.now = rig.now.plus_ms(100);
            rig.shard.handle_deadlines(rig.now);
        }
        assert_eq!(objects(&mut rig.read_all(key)), [json!({"type": "heartbeat"})]);
        assert_eq!(rig.say(key, &json!({"type": "heartbeat"})), Vec::<Value>::new());
    }
    // One of its own accord is answered.
    assert_eq!(rig.say(key, &json!({"type": "heartbeat"})), [json!({"type": "heartbeat"})]);
}

/// Loops whose batches are carried by hand.
struct Net {
    shards: Vec<Shard>,
    links: BTreeMap<(usize, usize), VecDeque<Batch>>,
    now: Now,
}

impl Net {
    fn new(loops: u8) -> Self {
        Self::with(loops, RoomOptions::default())
    }

    fn with(loops: u8, options: RoomOptions) -> Self {
        let policies = RoomPolicies::new(options, Vec::new());
        let settings = Arc::new(Settings { policies, ..Settings::default() });
        let now = Now::default();
        let shard = |id| {
            let (room_key, epoch_key) = (HashKey([1, 2]), HashKey([3, 4]));
            let settings = Arc::clone(&settings);
            let id = LoopId(id);
            Shard::new(Setup { id, loops, room_key, epoch_key, settings, stopwatch: || 0 }, now)
        };
        Self { shards: (0..loops).map(shard).collect(), links: BTreeMap::new(), now }
    }

    /// One turn of one loop, with so many batches of each other loop.
    fn tick(&mut self, at: usize, most: usize) {
        while self.shards[at].poll_action().is_some() {}
        for from in 0..self.shards.len() {
            let link = self.links.entry((from, at)).or_default();
            let batches: Vec<Batch> = link.drain(..link.len().min(most)).collect();
            for batch in batches {
                self.shards[at].handle_batch(batch, self.now);
            }
        }
        self.shards[at].end_tick(self.now);
        while let Some((to, batch)) = self.shards[at].poll_batch() {
            self.links.entry((at, to.index())).or_default().push_back(batch);
        }
        while self.shards[at].poll_notice().is_some() {}
    }

    /// Whether its loop would read that connection.
    fn reads(&mut self, at: usize, key: ConnKey) -> bool {
        let session = self.shards[at].session(key);
        session.is_some_and(|session| session.pause == Pause::No && session.unread.is_none())
    }

    fn settle(&mut self) {
        for _ in 0..12 {
            for at in 0..self.shards.len() {
                self.tick(at, usize::MAX);
            }
        }
    }
}

/// A client that comes back, and what it knows.
#[derive(Default)]
struct Client {
    conn: Option<(usize, ConnKey)>,
    came: Vec<u8>,
    session: Option<String>,
    /// Its rooms, with epoch and last `seq`.
    rooms: BTreeMap<String, (Value, u64)>,
    /// It has asked for its session and not been answered.
    waits: bool,
    resumed: u32,
}

impl Client {
    fn open(&mut self, net: &mut Net, at: usize) {
        let key = net.shards[at].handle_open(Admission::Served, Trust::Stranger, None, net.now);
        let mut input = Vec::new();
        ws::client_request(&mut input, "broker.test", "/ws", &[7; 16], None);
        if let Some(session) = &self.session {
            let positions: serde_json::Map<String, Value> = self
                .rooms
                .iter()
                .map(|(room, (epoch, seq))| (room.clone(), json!({"epoch": epoch, "seq": seq})))
                .collect();
            let hello = json!({"type": "hello", "session": session, "positions": positions});
            input.extend(text(&hello));
            self.waits = true;
        } else {
            for room in ["a", "b", "c"] {
                input.extend(text(&join(room)));
            }
        }
        net.shards[at].handle_bytes(key, &mut input, net.now);
        self.conn = Some((at, key));
        self.came.clear();
    }

    /// Reads all that its loop offers, if its loop would offer it.
    fn read(&mut self, net: &mut Net, seed: u64) {
        let Some((at, key)) = self.conn else { return };
        let shard = &mut net.shards[at];
        if shard.session(key).is_none_or(|session| session.corked) {
            return;
        }
        let mut slices = vec![IoSlice::new(&[]); 4_096];
        let filled = shard.output(key, &mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        shard.handle_written(key, bytes.len(), Progress::Ready, net.now);
        self.came.extend(bytes);
        for object in objects(&mut self.came) {
            self.take(&object, seed);
        }
    }

    fn take(&mut self, object: &Value, seed: u64) {
        match object["type"].as_str().expect("a type") {
            "welcome" if object.get("rooms").is_some() => {
                assert_eq!(object["session"].as_str(), self.session.as_deref(), "seed {seed}");
                for room in object["rooms"].as_array().expect("rooms") {
                    assert_eq!(room["recovered"], json!(true), "seed {seed}: {room}");
                    self.take_room(room, seed);
                }
                (self.waits, self.resumed) = (false, self.resumed + 1);
            }
            "welcome" if self.session.is_none() => {
                self.session = object["session"].as_str().map(str::to_owned);
            }
            "room-joined" => {
                let name = object["room"].as_str().expect("a name").to_owned();
                let seq = object["seq"].as_u64().expect("a seq");
                self.rooms.insert(name, (object["epoch"].clone(), seq));
            }
            "room-message" => {
                assert!(!self.waits, "seed {seed}: the welcome comes first");
                self.take_message(object, seed);
            }
            _ => {}
        }
    }

    fn take_room(&mut self, room: &Value, seed: u64) {
        for message in room["messages"].as_array().expect("messages") {
            self.take_message(message, seed);
        }
        let (epoch, seq) = &self.rooms[room["room"].as_str().expect("a name")];
        assert_eq!((epoch, json!(seq)), (&room["epoch"], room["seq"].clone()), "seed {seed}");
    }

    fn take_message(&mut self, message: &Value, seed: u64) {
        let name = message["room"].as_str().expect("a name");
        let (_, last) = self.rooms.get_mut(name).expect("a room that it is in");
        assert_eq!(message["seq"], json!(*last + 1), "seed {seed}: in {name}");
        *last += 1;
    }
}

#[test]
fn clients_that_are_cut_at_any_time_miss_nothing_and_get_nothing_twice() {
    let mut resumed = 0;
    for seed in 0..60 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut net = Net::new(dice.u8(1..4));
        let loops = net.shards.len();
        let mut clients: Vec<Client> = (0..3).map(|_| Client::default()).collect();
        for client in &mut clients {
            client.open(&mut net, dice.usize(..loops));
            net.settle();
            client.read(&mut net, seed);
        }
        let mut half_open = Vec::new();
        for nth in 0..150 {
            net.now = net.now.plus_ms(1);
            let at = dice.usize(..loops);
            let client = dice.usize(..clients.len());
            match dice.u8(..10) {
                0 => {
                    // Cut, or left half-open: then only the broker finds out.
                    let old = clients[client].conn.take().expect("it has been opened");
                    match dice.bool() {
                        true => net.shards[old.0].handle_error(old.1, net.now),
                        false => half_open.push(old),
                    }
                    clients[client].open(&mut net, at);
                }
                1..4 => {
                    if let Some((at, key)) = clients[client].conn
                        && net.reads(at, key)
                    {
                        let room = *dice.choice(&["a", "b", "c"]).expect("rooms");
                        net.shards[at].handle_bytes(key, &mut text(&publish(room, nth)), net.now);
                    }
                }
                4 => clients[client].read(&mut net, seed),
                _ => net.tick(at, dice.usize(..3)),
            }
        }
        net.settle();
        for client in &mut clients {
            client.read(&mut net, seed);
            assert!(!client.waits, "seed {seed}: it is answered");
            resumed += client.resumed;
        }
        let known: Vec<_> = clients.iter().map(|client| &client.rooms).collect();
        assert!(known.iter().all(|rooms| *rooms == known[0]), "seed {seed}: {known:?}");
        half_open.extend(clients.iter().filter_map(|client| client.conn));
        for (at, key) in half_open {
            net.shards[at].handle_error(key, net.now);
        }
        net.settle();
        let sum = |of: fn(&Shard) -> u64| net.shards.iter().map(of).sum::<u64>();
        assert_eq!(sum(|shard| shard.counters().members), 0, "seed {seed}");
        assert_eq!(sum(|shard| shard.counters().sessions_parked), 3, "seed {seed}");
        assert_eq!(sum(|shard| shard.counters().natives), 0, "seed {seed}");
        let claims: usize = net.shards.iter().map(|shard| shard.resumable.claims()).sum();
        assert_eq!(claims, 0, "seed {seed}");
    }
    assert!(resumed > 200, "{resumed} were resumed");
}

#[path = "resuming_half_tests.rs"]
mod half;

#[test]
fn a_resume_reads_no_more_of_a_default_room_than_was_missed_where_the_past_is_not_granted() {
    let everywhere = || RoomPattern::parse("**").into_iter();
    let grants = Grants::default().with(Grant::Join, everywhere());
    let mut authority = Authority::default();
    authority.roles.set(GUEST, grants.with(Grant::Publish, everywhere()));
    let mut settings = Settings { authority: Arc::new(authority), ..Settings::default() };
    settings.native.default_rooms = vec![RoomName::parse("lobby").expect("a name")];
    let mut rig = Rig::with(RoomOptions::default(), settings);
    let (speaker, _) = rig.native();
    let joined = rig.say(speaker, &join("lobby"));
    rig.say(speaker, &publish("lobby", 1));
    let (key, session) = rig.native();
    rig.cut(key);
    rig.say(speaker, &publish("lobby", 2));
    let (key, _) = rig.native();
    let positions = json!({"lobby": {"epoch": joined[0]["epoch"], "seq": 0}});
    let hello = json!({"type": "hello", "session": session, "positions": positions});
    let welcome = rig.say(key, &hello);
    let room = &welcome[0]["rooms"][0];
    assert_eq!((&room["room"], contents(room)), (&json!("lobby"), vec![2]), "{welcome:?}");
}
