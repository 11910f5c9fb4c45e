//! A native client in any form, for tests: believes nothing that it is not told, and fails when it
//! misses a message without a word.

use crate::broker::ConnKey;
use crate::engine::Progress;
use crate::engine::rig::Rig;
use crate::protocol::binary::{self, Op};
use crate::ws::{self, Opcode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    Json,
    Batch,
    Binary,
}

/// What a client knows of a room that it is in.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) next: u64,
    /// Its own messages, which acks told of.
    pub(super) own: BTreeSet<u64>,
}

impl Seat {
    /// The next message that is not its own.
    pub(super) fn due(&mut self) -> u64 {
        while self.own.remove(&self.next) {
            self.next += 1;
        }
        self.next
    }
}

/// A native client that believes nothing it is not told.
pub(super) struct Client {
    pub(super) key: ConnKey,
    pub(super) unread: Vec<u8>,
    pub(super) rooms: BTreeMap<String, Seat>,
    pub(super) handles: BTreeMap<u64, String>,
    /// By room, what came and what was told, in order: `5`, `gap 6-9 conflated`.
    pub(super) log: Vec<String>,
    pub(super) typing: u64,
    pub(super) pongs: u64,
    pub(super) gaps: u64,
    pub(super) missed: u64,
    pub(super) close: Option<u16>,
    pub(super) blocked: bool,
}

impl Client {
    pub(super) fn open(rig: &mut Rig, speaks: Speaks) -> Self {
        let key = rig.open();
        let protocol = match speaks {
            Speaks::Json | Speaks::Batch => "json",
            Speaks::Binary => "bin",
        };
        let mut request = format!(
            "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: fanfare.v1.{protocol}\r\n\r\n"
        )
        .into_bytes();
        rig.shard.handle_bytes(key, &mut request, rig.now);
        let answer = rig.read_all(key);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
        let mut client = Self {
            key,
            unread: answer[end + 4..].to_vec(),
            rooms: BTreeMap::new(),
            handles: BTreeMap::new(),
            log: Vec::new(),
            typing: 0,
            pongs: 0,
            gaps: 0,
            missed: 0,
            close: None,
            blocked: false,
        };
        if speaks == Speaks::Batch {
            client.say(rig, r#"{"type":"hello","batch":true}"#);
        }
        client
    }

    pub(super) fn say(&mut self, rig: &mut Rig, json: &str) {
        self.send(rig, Opcode::Text, json.as_bytes());
    }

    pub(super) fn send(&mut self, rig: &mut Rig, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        ws::push_masked_frame(&mut frame, opcode, payload, [5, 6, 7, 8]);
        rig.shard.handle_bytes(self.key, &mut frame, rig.now);
    }

    /// The socket takes so much; says so as a socket does.
    pub(super) fn take(&mut self, rig: &mut Rig, len: usize, left: Progress) {
        let whole = len >= rig.offered(self.key).len();
        let progress = if whole { Progress::Ready } else { left };
        self.unread.extend(rig.write(self.key, len, progress));
        self.blocked = progress == Progress::Blocked;
        self.read();
    }

    pub(super) fn stall(&mut self, rig: &mut Rig) {
        self.unread.extend(rig.write(self.key, 0, Progress::Blocked));
        self.blocked = true;
    }

    pub(super) fn read_on(&mut self, rig: &mut Rig) {
        if std::mem::take(&mut self.blocked) {
            rig.shard.handle_writable(self.key, rig.now);
        }
        self.take(rig, usize::MAX, Progress::Ready);
    }

    pub(super) fn read(&mut self) {
        while let Some((opcode, payload)) = next_frame(&mut self.unread) {
            match opcode {
                1 => self.read_json(&serde_json::from_slice(&payload).expect("JSON")),
                2 => {
                    for record in binary::decode(&payload) {
                        let record = record.expect("a record");
                        assert_eq!(record.op, Op::Message);
                        let handle = record.handle.expect("a handle").to_wire();
                        let room = self.handles[&handle].clone();
                        self.read_message(&room, record.seq.expect("a seq"));
                    }
                }
                8 => self.close = payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                10 => self.pongs += 1,
                other => panic!("opcode {other}"),
            }
        }
    }

    pub(super) fn read_json(&mut self, object: &Value) {
        let room = object["room"].as_str().unwrap_or_default();
        match object["type"].as_str().expect("a type") {
            "room-joined" => {
                let next = object["seq"].as_u64().expect("seq") + 1;
                self.handles.insert(object["handle"].as_u64().expect("handle"), room.to_owned());
                let before =
                    self.rooms.insert(room.to_owned(), Seat { next, own: BTreeSet::new() });
                assert!(before.is_none(), "joined twice");
            }
            "room-left" => assert!(self.rooms.remove(room).is_some(), "it was in {room}"),
            "room-message" => self.read_message(room, object["seq"].as_u64().expect("seq")),
            "message-batch" => {
                for message in object["messages"].as_array().expect("a list") {
                    self.read_message(room, message["seq"].as_u64().expect("seq"));
                }
            }
            "gap" => {
                let number = |name: &str| object[name].as_u64().expect("a number");
                let (from, to, count) = (number("from"), number("to"), number("count"));
                assert_eq!(object["epoch"].as_str().map(str::len), Some(16));
                let seat = self.rooms.get_mut(room).expect("of a room that it is in");
                assert_eq!(from, seat.due(), "what was missed before {room} {from}?");
                let own = seat.own.range(from..=to).count() as u64;
                assert_eq!(count, to + 1 - from - own, "what is missing is all of it");
                seat.own.retain(|seq| *seq > to);
                seat.next = to + 1;
                self.missed += count;
                self.gaps += 1;
                let reason = object["reason"].as_str().expect("a reason");
                self.log.push(format!("{room} gap {from}-{to} {reason}"));
            }
            "typing" => self.typing += 1,
            "ack" => {
                let seq = object["seq"].as_u64().expect("seq");
                if let Some(seat) = self.rooms.get_mut(room) {
                    seat.own.insert(seq);
                }
            }
            "error" => assert_eq!(object["code"], "not-in-room"),
            "welcome" | "user-joined" | "user-left" => {}
            other => panic!("{other}: {object}"),
        }
    }

    pub(super) fn read_message(&mut self, room: &str, seq: u64) {
        let seat = self.rooms.get_mut(room).expect("of a room that it is in");
        assert_eq!(seq, seat.due(), "nothing of {room} is missed without a word");
        seat.next += 1;
        self.log.push(format!("{room} {seq}"));
    }
}

pub(super) fn next_frame(unread: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, &second) = (unread.first()?, unread.get(1)?);
    let (start, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*unread.get(2..)?.first_chunk()?))),
        127 => panic!("no message is that long"),
        len => (2, usize::from(len)),
    };
    assert_eq!(first & 0xF0, 0x80, "whole frames");
    let payload = unread.get(start..start + len)?.to_vec();
    unread.drain(..start + len);
    Some((first & 0x0F, payload))
}
