//! What native clients do in a run: they join with positions and without, publish, repeat, leave,
//! come back, and ask for one thing or another.
//!
//! Not here: when (`ops`), what they are told (`native_reading`). Invariant: a client asks for
//! nothing that it would be refused, so that any error is a violation.

use super::client::{HEADER, Kind, Sig};
use super::native::{Asked, Key, Native, Since, Speech, Stay};
use super::world::World;
use fanfare::broker::{PayloadKind, RoomHandle};
use fanfare::protocol::binary;
use fanfare::ws::DataKind;

/// Users that a trusted proxy names.
const USERS: u8 = 4;
/// How long a repeat is surely known as one, however long it is held up.
const REPEAT_MS: u64 = 40_000;
/// A native client's content is seldom larger.
const CONTENT_MAX: usize = 20_000;

impl World {
    pub(crate) fn open_native(&mut self, how: u16, user: Option<String>) -> usize {
        let shard = self.dice.usize(..self.shards.len());
        let speech = match how % 4 {
            0 => Speech::Json,
            1 => Speech::Batch,
            _ => Speech::Binary,
        };
        let id = self.open_at(shard, 0, Kind::Native);
        let names: Vec<String> = self.rooms.iter().map(|room| room.name.clone()).collect();
        self.clients[id].pass = self.pass_for(Kind::Native, user.as_deref(), id);
        self.clients[id].native = Some(Box::new(Native::new(id, speech, user, &names)));
        self.clients[id].push_native_handshake();
        if speech == Speech::Batch {
            self.native_ask(id, Asked::Other, r#""type":"hello","batch":true"#);
        }
        id
    }

    /// A native client that is in some rooms from the start.
    pub(crate) fn come(&mut self, who: usize, how: u16) {
        if self.is_crowded() {
            return;
        }
        let user = self.dice.bool().then(|| format!("user-{}", self.dice.u8(..USERS)));
        let id = self.open_native(how, user);
        for _ in 0..=how / 4 % 3 {
            let room = (who + self.dice.usize(..self.rooms.len())) % self.rooms.len();
            let how = self.dice.u16(..);
            self.native_join(id, room, how);
            self.chat(id, usize::from(how % 3));
        }
    }

    /// A native client ends and another one goes on from where it was.
    pub(crate) fn come_back(&mut self, who: usize, how: u16) {
        let Some(old) = self.pick_native(who) else { return };
        self.end(old, how);
        let Some(native) = &self.clients[old].native else { return };
        let (user, now) = (native.user.clone(), self.now.mono_ms);
        let known: Vec<Stay> = native.stays.iter().map(Stay::remembered).collect();
        let id = self.open_native(how / 4, user.clone());
        for (room, before) in known.into_iter().enumerate() {
            let Some(native) = &mut self.clients[id].native else { return };
            (native.stays[room].epoch, native.stays[room].at) = (before.epoch, before.at);
            if !before.wants {
                continue;
            }
            let how = self.dice.u16(..);
            self.native_join(id, room, how);
            let keys = before.keys.into_iter().filter(|(_, then)| now < then + REPEAT_MS);
            for (first, _) in keys.filter(|_| user.is_some()) {
                self.native_say(id, room, HEADER, Some(first));
            }
        }
    }

    pub(crate) fn pick_native(&self, who: usize) -> Option<usize> {
        self.pick(who, |world, id| {
            world.clients[id].kind == Kind::Native && world.clients[id].is_present()
        })
    }

    /// One of its rooms changes: it joins, joins again, or leaves.
    pub(crate) fn move_one(&mut self, who: usize, how: u16) {
        let Some(id) = self.pick_native(who) else { return };
        let room = usize::from(how / 16) % self.rooms.len();
        let Some(native) = &self.clients[id].native else { return };
        match (native.stays[room].wants, how % 8) {
            (true, 0..6) => {
                self.native_leave(id, room);
                if how.is_multiple_of(2) {
                    let how = self.dice.u16(..);
                    self.native_join(id, room, how);
                }
            }
            (true | false, _) => self.native_join(id, room, how),
        }
    }

    /// Publishes in some of its rooms.
    pub(crate) fn chat(&mut self, id: usize, messages: usize) {
        for _ in 0..messages {
            let room = self.dice.usize(..self.rooms.len());
            let usual = self.rooms[room].usual_bytes;
            let len = match self.dice.u8(..100) {
                0 => self.dice.usize(..CONTENT_MAX),
                1..10 => self.dice.usize(..(4 * usual).min(CONTENT_MAX)),
                _ => self.dice.usize(..usual),
            };
            self.native_say(id, room, HEADER + len, None);
        }
    }

    pub(crate) fn native_join(&mut self, id: usize, room: usize, how: u16) {
        let Some(native) = &mut self.clients[id].native else { return };
        let stay = &mut native.stays[room];
        let since = match (stay.at, how % 16) {
            (Some(at), 0..10) => Since::Seq(at),
            (Some(at), 10) => Since::Ahead(at + 1_000),
            (Some(_), 11) => Since::OtherEpoch,
            (Some(_) | None, _) => Since::Nothing,
        };
        let mut fields = format!(r#""type":"join-room","room":"{}""#, stay.name);
        if let (Some(at), Some(epoch)) = (stay.at, &stay.epoch) {
            let number = u64::from_str_radix(epoch, 16).unwrap_or_default();
            let (epoch, seq) = match since {
                Since::Nothing => (0, None),
                Since::OtherEpoch => (number ^ 1, Some(at)),
                Since::Seq(seq) | Since::Ahead(seq) => (number, Some(seq)),
            };
            if let Some(seq) = seq {
                fields += &format!(r#","since":{{"epoch":"{epoch:016x}","seq":{seq}}}"#);
            }
        }
        let echo = match (stay.wants, how / 16 % 4) {
            (true, _) | (false, 0) => None,
            (false, said) => Some(said < 3),
        };
        if let Some(echo) = echo {
            fields += &format!(r#","echo":{echo}"#);
        }
        let history = u64::from(how / 64 % 4) * 3;
        let presence = !(how / 256).is_multiple_of(4);
        fields += &format!(r#","history":{history},"presence":{presence}"#);
        if !stay.wants {
            stay.asks_echo = echo.unwrap_or(true);
        }
        stay.wants = true;
        stay.moves += 1;
        self.native_ask(id, Asked::Join { room, since, echo, history, presence }, &fields);
    }

    fn native_leave(&mut self, id: usize, room: usize) {
        let Some(native) = &mut self.clients[id].native else { return };
        let stay = &mut native.stays[room];
        stay.wants = false;
        stay.moves += 1;
        let fields = format!(r#""type":"leave-room","room":"{}""#, stay.name);
        self.native_ask(id, Asked::Leave { room }, &fields);
    }

    /// Publishes, perhaps under a key: its own, or that of a message of its user's connection
    /// before.
    fn native_say(&mut self, id: usize, room: usize, len: usize, before: Option<Sig>) {
        let (how, now) = (self.dice.u16(..), self.now.mono_ms);
        let client = &mut self.clients[id];
        let Some(mut native) = client.native.take() else { return };
        let stay = &native.stays[room];
        if stay.wants && (before.is_none() || stay.asks_echo) {
            let is_settled = stay.is_in && stay.moves == 0;
            let may_record = native.speech == Speech::Binary && is_settled && before.is_none();
            let by_record = may_record && !how.is_multiple_of(4);
            let (payload, kind, sig) = client.next_payload(len, !by_record);
            let own = stay.keys.iter().rev().find(|(_, then)| now < then + REPEAT_MS);
            let key = match (before, how / 4 % 8, own) {
                (Some(first), _, _) => Key::Before(first),
                (None, 0..3, _) if by_record => Key::None,
                (None, 0, Some((first, _))) => Key::Repeat(*first),
                (None, 0..3, _) => Key::New,
                (None, _, _) => Key::None,
            };
            let has_id = before.is_some() || how / 32 % 4 < 3;
            let number = native.say(room, sig, key, has_id, now);
            let (mask, packed) = (self.dice.u32(..).to_le_bytes(), self.dice.bool());
            let stay = &native.stays[room];
            if by_record {
                let as_json = how / 128 % 2 == 0;
                let record = record_of(number, stay.handle, kind, &payload, as_json);
                client.push_data(DataKind::Binary, &record, mask, packed);
            } else {
                let request = request_of(number, &stay.name, key.under(sig), &payload);
                client.push_data(DataKind::Text, request.as_bytes(), mask, packed);
            }
        }
        self.clients[id].native = Some(native);
    }

    /// Something that changes nothing.
    pub(crate) fn wonder(&mut self, who: usize, how: u16) {
        let Some(id) = self.pick_native(who) else { return };
        let room = usize::from(how / 16) % self.rooms.len();
        let Some(native) = &self.clients[id].native else { return };
        let (wants, name) = (native.stays[room].wants, &native.stays[room].name);
        let fields = |kind: &str| format!(r#""type":"{kind}","room":"{name}""#);
        match how % 8 {
            0..3 if wants => {
                let fields = fields("typing");
                let text = format!(r#"{{{fields},"isTyping":true}}"#);
                let mask = self.dice.u32(..).to_le_bytes();
                self.clients[id].push_data(DataKind::Text, text.as_bytes(), mask, false);
            }
            3 if wants => {
                let fields = fields("get-history") + &format!(r#","limit":{}"#, how / 64 % 20 + 1);
                self.native_ask(id, Asked::Page { room }, &fields);
            }
            4 if wants => self.native_ask(id, Asked::Other, &fields("get-members")),
            5 => self.native_ask(id, Asked::Other, r#""type":"ping""#),
            _ => self.native_ask(id, Asked::Other, &fields("get-room")),
        }
    }

    fn native_ask(&mut self, id: usize, asked: Asked, fields: &str) {
        let mask = self.dice.u32(..).to_le_bytes();
        let client = &mut self.clients[id];
        let Some(native) = &mut client.native else { return };
        let text = format!(r#"{{"id":{},{fields}}}"#, native.ask(asked));
        client.push_data(DataKind::Text, text.as_bytes(), mask, false);
    }

    /// Whether that client may be slow.
    pub(crate) fn may_tire(&self, id: usize) -> bool {
        !self.is_witness(id) && self.clients[id].kind != Kind::Bearer
    }
}

/// A message as a JSON client publishes it.
fn request_of(number: Option<u64>, room: &str, key: Option<Sig>, payload: &[u8]) -> String {
    let mut text = format!(r#"{{"type":"room-message","room":"{room}""#);
    if let Some(number) = number {
        text += &format!(r#","id":{number}"#);
    }
    if let Some(Sig::Known { client, nth }) = key {
        text += &format!(r#","dedupe":"{client}-{nth}""#);
    }
    text + &format!(r#","content":"{}"}}"#, String::from_utf8_lossy(payload))
}

/// A message as a binary client publishes it.
fn record_of(
    number: Option<u64>,
    handle: Option<u64>,
    kind: DataKind,
    payload: &[u8],
    as_json: bool,
) -> Vec<u8> {
    let handle = handle.and_then(RoomHandle::from_wire).expect("it was told");
    let mut record = Vec::new();
    match (kind, as_json) {
        (DataKind::Text, true) => {
            let json = [b"\"", payload, b"\""].concat();
            binary::push_publish(&mut record, number, handle, PayloadKind::Json, &json);
        }
        (DataKind::Text, false) => {
            binary::push_publish(&mut record, number, handle, PayloadKind::Text, payload);
        }
        (DataKind::Binary, _) => {
            binary::push_publish(&mut record, number, handle, PayloadKind::Binary, payload);
        }
    }
    record
}
