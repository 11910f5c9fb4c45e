//! Frames from open WebSockets: messages become commands, control frames are answered.
//!
//! Invariant: a message is taken only while its home has credit for it, so what was read and not
//! taken stays with the connection and nowhere else.

use super::batch::{RoomRef, Sender};
use super::hash::home_of;
use super::metering::Toll;
use super::outbox::Content;
use super::raw_asks::Post;
use super::session::{Membership, Pause, Phase, Raw, Session};
use super::shard::Shard;
use crate::broker::{Command, ConnKey, Disconnect, LoopId, Now};
use crate::limits::OUTBOX_HIGH_WATER_BYTES;
use crate::protocol::raw;
use crate::ws::{self, DataKind, Message};
use std::sync::Arc;

/// What a raw member's message waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Credit(LoopId),
    Loan,
    Ms(u64),
}

impl Shard {
    /// Handles input of a member of a raw room; returns how much was consumed.
    pub(super) fn read_raw(
        &mut self,
        key: ConnKey,
        mut member: Raw,
        input: &mut [u8],
        now: Now,
    ) -> usize {
        let rules = self.rules(key);
        let home = self.home_of_member(&member);
        let mut at = 0;
        if let Some(wait) = self.take_held(key, &member, home, now) {
            self.put_phase(key, Phase::Raw(member));
            self.hold_back(key, wait, now);
            return 0;
        }
        while at < input.len() {
            if !self.may_send_to(home) {
                self.pause(key, Pause::Credit(home));
                break;
            }
            let rest = input.get_mut(at..).unwrap_or_default();
            let step = match member.reader.read(rest, &rules) {
                Ok(step) => step,
                Err(error) => {
                    self.put_phase(key, Phase::Raw(member));
                    self.fail(key, error, now);
                    return input.len();
                }
            };
            at += step.consumed;
            match step.message {
                None => break,
                Some(Message::Data { .. } | Message::Compressed { .. }) if !member.may_publish => {
                    self.counters.requests_forbidden += 1;
                    self.put_phase(key, Phase::Raw(member));
                    self.disconnect(key, Disconnect::Policy, now);
                    return input.len();
                }
                Some(Message::Data { kind, payload }) => {
                    self.counters.messages_in += 1;
                    let wait = self.take_raw(key, &member, home, (kind, &payload), now);
                    if let Some(wait) = wait {
                        self.put_phase(key, Phase::Raw(member));
                        self.hold_back(key, wait, now);
                        return at;
                    }
                }
                Some(Message::Compressed { kind, payload }) => {
                    self.counters.messages_in += 1;
                    let mut wait = None;
                    let take = |shard: &mut Self, payload: &[u8]| {
                        wait = shard.take_raw(key, &member, home, (kind, payload), now);
                    };
                    let inflated = self.inflate(key, kind, &payload, take);
                    if inflated.is_ok() && wait.is_none() {
                        continue;
                    }
                    self.put_phase(key, Phase::Raw(member));
                    if let Err(error) = inflated {
                        self.fail(key, error, now);
                        return input.len();
                    }
                    self.hold_back(key, wait.unwrap_or(Held::Loan), now);
                    return at;
                }
                Some(Message::Close(frame)) => {
                    self.put_phase(key, Phase::Raw(member));
                    self.answer_close(key, frame.code, now);
                    return input.len();
                }
                Some(Message::Ping(payload)) => self.pong(key, &payload),
                Some(Message::Pong(_)) => self.counters.pongs_in += 1,
            }
        }
        self.put_phase(key, Phase::Raw(member));
        at
    }

    /// Handles input on the echo route; returns how much was consumed.
    pub(super) fn read_echo(
        &mut self,
        key: ConnKey,
        mut reader: ws::Reader,
        input: &mut [u8],
        now: Now,
    ) -> usize {
        let rules = self.rules(key);
        let (mut at, mut echoed) = (0, 0);
        while at < input.len() {
            // Compressed, a thousand times as much may be in the input, and next to nothing in the
            // outbox: so much is done, and it goes on when that was sent.
            if self.has_high_water(key) || echoed > OUTBOX_HIGH_WATER_BYTES {
                self.pause(key, Pause::Output);
                break;
            }
            let rest = input.get_mut(at..).unwrap_or_default();
            let step = match reader.read(rest, &rules) {
                Ok(step) => step,
                Err(error) => {
                    self.put_phase(key, Phase::Echo(reader));
                    self.fail(key, error, now);
                    return input.len();
                }
            };
            at += step.consumed;
            match step.message {
                None => break,
                Some(Message::Data { kind, payload }) => {
                    self.counters.messages_in += 1;
                    echoed += payload.len();
                    self.echo(key, kind, &payload);
                }
                Some(Message::Compressed { kind, payload }) => {
                    self.counters.messages_in += 1;
                    let mut plain = Vec::new();
                    let keep = |_: &mut Self, payload: &[u8]| plain.extend_from_slice(payload);
                    if let Err(error) = self.inflate(key, kind, &payload, keep) {
                        self.put_phase(key, Phase::Echo(reader));
                        self.fail(key, error, now);
                        return input.len();
                    }
                    echoed += plain.len();
                    self.echo(key, kind, &plain);
                }
                Some(Message::Close(frame)) => {
                    self.put_phase(key, Phase::Echo(reader));
                    self.answer_close(key, frame.code, now);
                    return input.len();
                }
                Some(Message::Ping(payload)) => self.pong(key, &payload),
                Some(Message::Pong(_)) => self.counters.pongs_in += 1,
            }
        }
        self.put_phase(key, Phase::Echo(reader));
        at
    }

    /// Handles input after our close frame: only the peer's close still counts.
    pub(super) fn read_closing(
        &mut self,
        key: ConnKey,
        reader: Option<ws::Reader>,
        input: &mut [u8],
        now: Now,
    ) -> usize {
        let Some(mut reader) = reader else {
            self.put_phase(key, Phase::Closing(None));
            return input.len();
        };
        let rules = self.rules(key);
        let mut at = 0;
        while at < input.len() {
            let rest = input.get_mut(at..).unwrap_or_default();
            match reader.read(rest, &rules) {
                Ok(step) => {
                    at += step.consumed;
                    match step.message {
                        None => break,
                        Some(Message::Close(_)) => {
                            self.put_phase(key, Phase::Closing(None));
                            self.finish(key, Disconnect::Normal, now);
                            return input.len();
                        }
                        Some(
                            Message::Data { .. }
                            | Message::Compressed { .. }
                            | Message::Ping(_)
                            | Message::Pong(_),
                        ) => {}
                    }
                }
                Err(_) => {
                    self.put_phase(key, Phase::Closing(None));
                    return input.len();
                }
            }
        }
        self.put_phase(key, Phase::Closing(Some(reader)));
        at
    }

    /// Publishes what a raw member sends once it is paid for; keeps it, and says why, if not. It
    /// can't be told, so it is not refused: it waits, and its client with it.
    fn take_raw(
        &mut self,
        key: ConnKey,
        member: &Raw,
        home: LoopId,
        (kind, payload): (DataKind, &[u8]),
        now: Now,
    ) -> Option<Held> {
        let held = match self.toll(key, payload.len(), now) {
            Toll::Go => {
                self.publish_raw(key, member, home, raw::decode(kind, payload), now);
                return None;
            }
            Toll::Wait => Held::Loan,
            refused @ (Toll::Refuse { .. } | Toll::Close) => Held::Ms(refused.wait_ms()),
        };
        if let Some(session) = self.session(key) {
            session.papers_mut().held = Some(Box::new((kind, payload.to_vec())));
            self.counters.spill_bytes += payload.len() as u64;
        }
        Some(held)
    }

    /// The same with what was kept, if anything was.
    fn take_held(&mut self, key: ConnKey, member: &Raw, home: LoopId, now: Now) -> Option<Held> {
        if !self.session(key)?.holds_message() {
            return None;
        }
        if !self.may_send_to(home) {
            return Some(Held::Credit(home));
        }
        let (kind, payload) = *self.session(key)?.papers.as_deref_mut()?.held.take()?;
        self.counters.spill_bytes -= payload.len() as u64;
        self.take_raw(key, member, home, (kind, &payload), now)
    }

    /// Has a raw member wait until it may send more.
    fn hold_back(&mut self, key: ConnKey, held: Held, now: Now) {
        match held {
            Held::Credit(home) => self.pause(key, Pause::Credit(home)),
            Held::Loan => self.pause(key, Pause::Answer),
            Held::Ms(ms) => {
                self.rest(key, ms, now);
                self.arm(key);
            }
        }
    }

    fn publish_raw(
        &mut self,
        key: ConnKey,
        member: &Raw,
        home: LoopId,
        command: Command<'_>,
        now: Now,
    ) {
        let Command::Publish { kind, payload } = command;
        let said_by = self.said_by(key);
        let post = Post {
            kind,
            payload,
            dedupe: "",
            sender: said_by.as_deref().unwrap_or_default(),
            may_create: false, // Its join has opened the room, unless that was refused.
        };
        let sender = if member.echo { Sender::Member(key) } else { Sender::LeftOut(key) };
        match &member.membership {
            Membership::Joined(place) => {
                let Some(room) = self.members.get(place.room) else {
                    debug_assert!(false, "a joined member's room has members");
                    return;
                };
                let room = RoomRef::Handle(room.handle);
                self.submit_publish(home, room, post, sender, now);
            }
            Membership::Pending(pending) => {
                let room = RoomRef::Name { name: pending.name.as_str(), hash: pending.hash };
                self.submit_publish(home, room, post, sender, now);
            }
        }
    }

    /// Who is told to have sent what a raw member publishes; none for a guest.
    fn said_by(&self, key: ConnKey) -> Option<Arc<[u8]>> {
        let session = self.sessions.get(key.index, key.generation)?;
        session.papers.as_deref()?.sender.clone()
    }

    fn home_of_member(&self, member: &Raw) -> LoopId {
        match &member.membership {
            Membership::Joined(place) => {
                self.members.get(place.room).map_or(self.id, |room| room.handle.home)
            }
            Membership::Pending(pending) => home_of(pending.hash, self.loops),
        }
    }

    pub(super) fn pong(&mut self, key: ConnKey, payload: &[u8]) {
        self.counters.pings_in += 1;
        self.counters.pongs_out += 1;
        self.push_control(key, Content::Pong, |out| {
            ws::push_frame(out, ws::Opcode::Pong, payload);
        });
    }

    pub(super) fn has_high_water(&mut self, key: ConnKey) -> bool {
        self.session(key).is_some_and(|session| session.outbox.bytes() > OUTBOX_HIGH_WATER_BYTES)
    }

    pub(super) fn rules(&self, key: ConnKey) -> ws::Rules {
        let session = self.sessions.get(key.index, key.generation);
        ws::Rules {
            role: ws::Role::Server,
            rsv1: session.map_or(ws::Rsv1::Reserved, Session::rsv1),
            message_bytes_max: self.settings.message_bytes_max,
        }
    }
}
