//! What homes answer, as it reaches the loops of those who asked.
//!
//! Not here: publications (`fanout`). Invariant: a reply for a stale key changes nothing here, and
//! takes back what it changed at the home.

use super::asks::{Asked, What};
use super::batch::{JoinReply, NativeJoined, PastReply, Reply, Span};
use super::buffers::offset;
use super::joined::{Membership, Standing};
use super::members::{LocalRoom, Place};
use super::native::Native;
use super::outbox::{Chunk, Content};
use super::resuming::Step;
use super::session::{Membership as RawMembership, Pause, Phase};
use super::shard::Shard;
use super::timers::tick_of;
use super::told::Notice;
use crate::api;
use crate::broker::{CommandError, ConnKey, Disconnect, Now, Piece, PresenceMode, User};
use crate::limits::OUTBOX_BYTES_MAX;
use crate::ws::{Opcode, push_header};
use std::sync::Arc;

impl Shard {
    /// Handles one reply of a batch with these texts; rooms with newcomers are noted in `fresh`.
    pub(super) fn handle_reply(
        &mut self,
        reply: Reply,
        texts: &[u8],
        fresh: &mut Vec<LocalRoom>,
        now: Now,
    ) {
        match reply {
            Reply::Joined(reply) => self.handle_joined(*reply, fresh, now),
            Reply::Seat { key, address, granted } => self.handle_seat(key, address, granted),
            Reply::Lent { ask, loan } => self.receive_loan(&ask, loan, now),
            Reply::JoinRefused { key, error } => {
                let reason = match error {
                    CommandError::RoomLimit | CommandError::ShortOfMemory => {
                        Disconnect::OverCapacity
                    }
                    CommandError::MayNotCreate => Disconnect::Policy,
                };
                self.doomed.push((key, reason));
            }
            Reply::Ack { key, published } => {
                let response = api::published(published.seq, published.epoch, published.receivers);
                self.answer(key, &response, now);
            }
            Reply::PublishRefused { key, error } => self.answer_refused(key, error, now),
            Reply::Text { key, text, is_answer } => {
                self.handle_text(key, text_of(texts, text), is_answer)
            }
            Reply::Told { keys, text, notice } => {
                self.push_to_all(&keys, Arc::new(text_of(texts, text).to_vec()), notice);
            }
            Reply::Receivers { key, receivers } => {
                self.answer(key, &api::told(receivers), now);
            }
            Reply::NativeRefused { key, hash, ticket, code, text } => {
                let Some(native) = self.native(key) else { return };
                let is_it = |membership: &Membership| {
                    ticket.is_some_and(|ticket| is_pending(membership, ticket))
                };
                let refused = native.rooms.remove(hash, is_it);
                if self.collect_refused(key, refused, code) {
                    return;
                }
                self.handle_text(key, text_of(texts, text), true);
            }
            Reply::Session { key, session, parked } => {
                self.steps.push((key, Step::Given(session, parked)));
            }
            Reply::Superseded { key, session } => {
                self.steps.push((key, Step::Superseded(session)));
            }
            Reply::Past { key, past } => {
                if self.note_answered(key) {
                    self.push_past(key, *past);
                }
            }
        }
    }

    fn handle_joined(&mut self, reply: JoinReply, fresh: &mut Vec<LocalRoom>, now: Now) {
        let JoinReply { key, room, encoding, .. } = reply;
        let place = match &reply.native {
            None => self.enter(&reply),
            Some(native) => self.enter_native(&reply, native),
        };
        let name = reply.name;
        match (place, reply.native) {
            (Some(place), native) => {
                fresh.push(place.room);
                if let Some(room) = self.members.get_mut(place.room) {
                    room.used = tick_of(now.mono_ms);
                }
                self.counters.joins += 1;
                if let Some(native) = native
                    && let Some(past) = self.collect(key, native.past, place, &name)
                {
                    self.note_answered(key);
                    // Of its joining a room of the broker's own a client is told nothing.
                    if !past.head.is_empty() {
                        self.push_past(key, past);
                    }
                }
            }
            // It left, or its slot has another tenant: the home must not count it.
            (None, None) => self.tell_leave(room, encoding, now),
            (None, Some(native)) => {
                self.note_answered(key); // A connection that is there thought better of it.
                let what = What::Leave { room, encoding, answer: false };
                let asked = Asked { key, id: None, user: native.user, tag: 0, what };
                self.submit_ask(room.home, asked, now);
            }
        }
    }

    /// Enters a raw member whose join its home has counted. `None` for a stale key.
    fn enter(&mut self, reply: &JoinReply) -> Option<Place> {
        let key = reply.key;
        let session = self.sessions.get_mut(key.index, key.generation)?;
        let Phase::Raw(raw) = &mut session.phase else { return None };
        if !matches!(raw.membership, RawMembership::Pending(_)) {
            return None;
        }
        let place = self.members.join(reply);
        raw.membership = RawMembership::Joined(place);
        Some(place)
    }

    /// The same for a native member, whose join has that ticket.
    fn enter_native(&mut self, reply: &JoinReply, joined: &NativeJoined) -> Option<Place> {
        let key = reply.key;
        let session = self.sessions.get_mut(key.index, key.generation)?;
        let Phase::Native(native) = &mut session.phase else { return None };
        let is_it = |membership: &Membership| is_pending(membership, joined.ticket);
        let membership = native.rooms.find_mut(reply.hash, is_it)?;
        let place = self.members.join(reply);
        membership.standing = Standing::Joined(place);
        membership.echo = joined.echo;
        (membership.proven, membership.marked) = (joined.proven, joined.proven);
        Some(place)
    }

    /// Passes a ready frame on.
    fn handle_text(&mut self, key: ConnKey, text: &[u8], is_answer: bool) {
        if is_answer {
            if self.note_answered(key) {
                self.push_answer(key, |out| out.extend_from_slice(text));
            }
            return;
        }
        if self.native(key).is_none() {
            return;
        }
        let Some(session) = self.session(key) else { return };
        let waits = session.blocked || session.corked;
        if waits && session.outbox.bytes() + text.len() > OUTBOX_BYTES_MAX {
            return self.doomed.push((key, Disconnect::SlowConsumer));
        }
        self.push_answer(key, |out| out.extend_from_slice(text));
    }

    /// Passes one frame on to several native connections: one buffer, and a reference for each. How
    /// many of them got it.
    pub(super) fn push_to_all(
        &mut self,
        keys: &[ConnKey],
        frame: Arc<Vec<u8>>,
        notice: Notice,
    ) -> u32 {
        let end = offset(frame.len());
        let buffer = self.buffers.insert_shared(frame);
        self.buffers.hold(buffer, 1); // While it is handed out.
        let mut given = 0;
        for &key in keys {
            if self.native(key).is_none() {
                continue;
            }
            let Some(session) = self.session(key) else { continue };
            let is_full = session.outbox.bytes() + end as usize > OUTBOX_BYTES_MAX;
            match (session.blocked || session.corked, notice) {
                (true, Notice::Volatile) => self.counters.volatile_dropped += 1,
                (true, Notice::Kept) if is_full => {
                    self.doomed.push((key, Disconnect::SlowConsumer));
                }
                (true, Notice::Kept) | (false, _) => {
                    self.buffers.hold(buffer, 1);
                    let content = Content::Answer;
                    self.push_chunk(key, Chunk { buffer, start: 0, end, content, messages: 0 });
                    given += 1;
                }
            }
        }
        self.buffers.release(buffer);
        self.dirty.give(end);
        given
    }

    /// Notes that a request was answered; false where nobody waits for it any more.
    pub(super) fn note_answered(&mut self, key: ConnKey) -> bool {
        let Some(native) = self.native(key) else { return false };
        debug_assert!(native.in_flight > 0, "an answer was asked for");
        native.in_flight = native.in_flight.saturating_sub(1);
        if self.session(key).is_some_and(|session| session.pause == Pause::Answer) {
            self.unpause(key);
        }
        true
    }

    /// Queues a frame of an object that is in pieces.
    pub(super) fn push_past(&mut self, key: ConnKey, past: PastReply) {
        let len = past.len();
        let PastReply { head, pieces, tail } = past;
        if pieces.is_empty() {
            return self.push_answer(key, |out| {
                push_header(out, Opcode::Text, true, len);
                out.extend_from_slice(&head);
                out.extend_from_slice(&tail);
            });
        }
        self.push_answer_part(key, Content::Opening, |out| {
            push_header(out, Opcode::Text, true, len);
            out.extend_from_slice(&head);
        });
        for piece in pieces {
            let chunk = self.shared_chunk(piece);
            self.push_chunk(key, chunk);
        }
        self.push_answer_part(key, Content::Rest, |out| out.extend_from_slice(&tail));
    }

    /// A piece of a room's past as a part of a frame, held once.
    pub(super) fn shared_chunk(&mut self, piece: Piece) -> Chunk {
        let (start, end) = (piece.start, piece.end);
        let buffer = self.buffers.insert_shared(piece.bytes);
        self.buffers.hold(buffer, 1);
        Chunk { buffer, start, end, content: Content::Rest, messages: 0 }
    }

    pub(super) fn native(&mut self, key: ConnKey) -> Option<&mut Native> {
        match &mut self.session(key)?.phase {
            Phase::Native(native) => Some(native),
            Phase::Proxied(_)
            | Phase::Head(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Raw(_)
            | Phase::Unauthenticated(_)
            | Phase::Echo(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Finishing
            | Phase::Gone => None,
        }
    }

    /// Takes a native connection out of all of its rooms, here and at their homes.
    pub(super) fn leave_all(&mut self, key: ConnKey, native: &Native, now: Now) {
        for membership in native.rooms.iter() {
            self.leave_one(key, &native.user, membership, now);
        }
    }

    /// Takes a native connection out of one of its rooms, here and at its home, without an answer.
    pub(super) fn leave_one(
        &mut self,
        key: ConnKey,
        user: &Arc<User>,
        membership: &Membership,
        now: Now,
    ) {
        // A pending join is answered with a leave when its reply finds the key stale.
        let Standing::Joined(place) = &membership.standing else { return };
        let mode = self.members.get(place.room).map(|room| room.options.presence.mode);
        let Some((room, encoding)) = self.leave_table(*place) else { return };
        if mode == Some(PresenceMode::Off) {
            return self.tell_leave(room, encoding, now);
        }
        let what = What::Leave { room, encoding, answer: false };
        let asked = Asked { key, id: None, user: Arc::clone(user), tag: 0, what };
        self.submit_ask(room.home, asked, now);
    }

    /// Notes that a session stands elsewhere in a room's list: where the one at `place` stood.
    pub(super) fn note_moved(&mut self, index: u32, hash: u64, place: Place) {
        let Some(session) = self.sessions.at_mut(index) else { return };
        match &mut session.phase {
            Phase::Raw(raw) => {
                if let RawMembership::Joined(other) = &mut raw.membership {
                    other.position = place.position;
                }
            }
            Phase::Native(native) => {
                let membership = native.rooms.in_room_mut(hash, place.room);
                if let Some(Standing::Joined(other)) = membership.map(|m| &mut m.standing) {
                    other.position = place.position;
                }
            }
            Phase::Proxied(_)
            | Phase::Head(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Unauthenticated(_)
            | Phase::Echo(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Finishing
            | Phase::Gone => debug_assert!(false, "who is in no room moves nowhere"),
        }
    }
}

fn is_pending(membership: &Membership, ticket: u32) -> bool {
    matches!(&membership.standing, Standing::Pending(pending) if pending.ticket == ticket)
}

fn text_of(texts: &[u8], span: Span) -> &[u8] {
    texts.get(span.start as usize..span.end as usize).unwrap_or_default()
}
