//! A connection that takes up a session: the rooms it was in, what it missed there, one welcome.
//!
//! Not here: where sessions wait (`sessions`). The connection is corked while its rooms answer:
//! what is for it queues up behind the place that is kept for the welcome. Invariants: it is not
//! read meanwhile; what it asks for waits for credit like any join; if it ends in the middle,
//! nothing that came behind the kept place is sent, and the session is left behind as it was.

use super::asking::plain_error;
use super::asks::{Asked, Join, What};
use super::batch::PastReply;
use super::hash::home_of;
use super::joined::{Joined, Membership, PendingJoin, Standing};
use super::members::Place;
use super::native::{Go, Native};
use super::outbox::{Chunk, Content};
use super::session::{Pause, Phase};
use super::sessions::SessionAsk;
use super::shard::Shard;
use crate::auth::{Access, Grant};
use crate::broker::{
    ConnKey, Disconnect, ErrorCode, Now, Parked, ParkedRoom, Piece, Position, Role, RoomName,
    SessionId,
};
use crate::limits::RESUME_BYTES_MAX;
use crate::protocol::json::{self, ErrorReply, Hello, RequestId};
use crate::ws::{Opcode, push_header};
use std::sync::Arc;

/// A session that a connection is taking up.
#[derive(Debug)]
pub(crate) struct Resuming {
    session: SessionId,
    /// The request's id, as JSON.
    id: Option<Box<str>>,
    /// What the client knows of its rooms, in the order of their names.
    positions: Vec<(Box<str>, Position)>,
    batch: Option<bool>,
    watches: Option<bool>,
    /// What there is to be done, once the session was handed over.
    rejoining: Option<Rejoining>,
}

/// The rooms of a session that was handed over.
#[derive(Debug)]
struct Rejoining {
    /// Each with the position from which it goes on.
    rooms: Vec<ParkedRoom>,
    /// How many of them were asked.
    asked: usize,
    answers: Vec<Answer>,
    /// Answers that no room gave.
    refused: usize,
    bytes: usize,
}

/// What a room answered.
#[derive(Debug)]
enum Answer {
    Joined(PastReply),
    Refused(RoomName, ErrorCode),
    /// It was joined and is to be left: what was missed there is too much.
    Beyond(RoomName, u64, Place),
}

/// What of a resume is to be done when nobody is in the middle of a room's list.
#[derive(Debug)]
pub(crate) enum Step {
    /// The session's home has answered.
    Given(SessionId, Option<Box<Parked>>),
    /// Another connection wants the session.
    Superseded(SessionId),
    /// All rooms have answered.
    Complete,
}

impl Native {
    /// The rooms of a session that was handed over and is not resumed yet.
    pub(super) fn rejoins(&self) -> Option<&[ParkedRoom]> {
        Some(&self.resuming.as_ref()?.rejoining.as_ref()?.rooms)
    }

    /// Whether there are rooms to be asked when there is credit.
    pub(super) fn has_joins_to_make(&self) -> bool {
        let rejoining = self.resuming.as_ref().and_then(|resuming| resuming.rejoining.as_ref());
        rejoining.is_some_and(|rejoining| rejoining.asked < rejoining.rooms.len())
    }
}

impl Resuming {
    fn new(session: SessionId, id: Option<RequestId<'_>>, hello: &Hello<'_>) -> Self {
        let named = hello.positions.iter().map(|(room, position)| ((**room).into(), *position));
        let mut positions: Vec<(Box<str>, Position)> = named.collect();
        positions.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self {
            session,
            id: id.map(|id| id.json().into()),
            positions,
            batch: hello.batch,
            watches: hello.presence,
            rejoining: None,
        }
    }

    /// The rooms, each at the position that the client named, or else at the proven one; where it
    /// may not read the past, at the proven one in any case.
    /// Those that are not granted any more have answered by that.
    fn begin(&mut self, mut rooms: Vec<ParkedRoom>, ungranted: Vec<RoomName>, access: &Access) {
        let positions = std::mem::take(&mut self.positions);
        for room in &mut rooms {
            let name = room.name.as_str();
            let after = positions.partition_point(|(named, _)| &**named <= name);
            let named = after.checked_sub(1).and_then(|at| positions.get(at));
            if let Some((_, position)) = named.filter(|(named, _)| &**named == name)
                && access.allows(Grant::History, name)
            {
                room.position = *position;
            }
        }
        let refused = ungranted.into_iter().map(|name| Answer::Refused(name, ErrorCode::Forbidden));
        let answers: Vec<Answer> = refused.collect();
        let refused = answers.len();
        self.rejoining = Some(Rejoining { rooms, asked: 0, answers, refused, bytes: 0 });
    }
}

impl Shard {
    /// Begins to take up the session that a `hello` names. `None`: it names none but its own.
    pub(super) fn resume(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
        hello: &Hello<'_>,
        now: Now,
    ) -> Option<Go> {
        let session = SessionId::parse(hello.session.as_deref()?)?;
        if session == native.session || !self.keeps_sessions() {
            return None;
        }
        if native.tickets > native.given {
            let message = "session: a session is resumed before any room is joined";
            let error = plain_error(ErrorCode::BadField, message, id);
            self.answer_error(key, &ErrorReply { field: Some("session"), ..error });
            return Some(Go::On);
        }
        if native.in_flight > 0 {
            return Some(Go::Wait { pause: Pause::Answer, from: 0 });
        }
        native.resuming = Some(Box::new(Resuming::new(session, id, hello)));
        self.tell_session(key, &native.user, SessionAsk::Resume(session, now.mono_ms), now);
        Some(Go::On) // Nothing more is read until that is answered.
    }

    /// Does what of resumes has become possible: before the rooms' messages of this tick are laid
    /// out, so that who joins now gets none of them twice.
    pub(super) fn handle_steps(&mut self, now: Now) {
        for (key, step) in std::mem::take(&mut self.steps) {
            match step {
                Step::Given(session, parked) => self.take_up(key, session, parked, now),
                Step::Superseded(session) => {
                    if self.native(key).is_some_and(|native| native.session == session) {
                        self.doomed.push((key, Disconnect::Superseded));
                    }
                }
                Step::Complete => self.complete(key, now),
            }
        }
        self.end_doomed(now);
    }

    /// Becomes the session that its home has handed over, or goes on as it is.
    fn take_up(&mut self, key: ConnKey, session: SessionId, parked: Option<Box<Parked>>, now: Now) {
        let waits =
            |resuming: &Resuming| resuming.session == session && resuming.rejoining.is_none();
        let resuming = self.native(key).and_then(|native| native.resuming.as_deref());
        if !resuming.is_some_and(waits) {
            return self.give_back(key, session, parked, now);
        }
        let Some(mut native) = self.take_native(key) else { return };
        let Some(mut resuming) = native.resuming.take() else { return };
        let Some(parked) = parked else {
            if resuming.watches == Some(true) && !native.watches {
                self.begin_to_watch(key, &mut native, now);
            }
            native.batch = resuming.batch.unwrap_or(native.batch);
            let id = resuming.id.as_deref().map(RequestId::of_json);
            self.welcome(key, &native, id, now);
            self.put_phase(key, Phase::Native(native));
            return self.unpause(key);
        };
        self.leave_all(key, &native, now);
        self.go_offline(key, &native, now);
        native.rooms = Joined::default();
        self.tell_session(key, &native.user, SessionAsk::End(native.session, None), now);
        let Parked { user, tag, mut rooms, batch, presence } = *parked;
        (native.session, native.tag) = (session, tag);
        // A guest is again the guest that it was; of anyone else, what its new token says is true.
        if user.role() == Role::Guest {
            let access = Access { user, ..Access::clone(&native.access) };
            native.become_user(&Arc::new(access));
        }
        // What a resume brings is of the past, so that has to be granted too.
        let is_granted = |room: &ParkedRoom| {
            let name = &room.name;
            let of = |grant| native.access.allows(grant, name.as_str());
            self.is_put_in(&native.access, name) || of(Grant::Join) && of(Grant::History)
        };
        let ungranted = rooms.extract_if(.., |room| !is_granted(room));
        let ungranted = ungranted.map(|room| room.name).collect();
        native.batch = resuming.batch.unwrap_or(batch);
        native.watches = resuming.watches.unwrap_or(presence);
        self.come_online(key, &native, now);
        resuming.begin(rooms, ungranted, &native.access);
        native.resuming = Some(resuming);
        self.cork(key);
        let is_complete = !native.has_joins_to_make();
        let pause = self.rejoin(key, &mut native, now);
        self.put_phase(key, Phase::Native(native));
        self.pause(key, pause);
        if is_complete {
            self.complete(key, now);
        }
    }

    /// Leaves a session behind that was handed to a connection which has ended meanwhile.
    fn give_back(
        &mut self,
        key: ConnKey,
        session: SessionId,
        parked: Option<Box<Parked>>,
        now: Now,
    ) {
        let Some(parked) = parked else { return };
        let user = Arc::clone(&parked.user);
        self.tell_session(key, &user, SessionAsk::End(session, Some(parked)), now);
    }

    /// Asks the session's rooms to count the connection in, as far as there is credit; says what it
    /// waits for then.
    pub(super) fn rejoin(&mut self, key: ConnKey, native: &mut Native, now: Now) -> Pause {
        loop {
            let resuming =
                native.resuming.as_ref().and_then(|resuming| resuming.rejoining.as_ref());
            let room = resuming.and_then(|rejoining| rejoining.rooms.get(rejoining.asked));
            let Some(ParkedRoom { name, position, echo, presence }) = room.cloned() else {
                return Pause::Answer;
            };
            let presence = presence && native.access.allows(Grant::Presence, name.as_str());
            let may_read = native.access.allows(Grant::History, name.as_str());
            let hash = self.room_key.name(name.as_str());
            let home = home_of(hash, self.loops);
            if !self.may_send_to(home) {
                return Pause::Credit(home);
            }
            if let Some(resuming) = &mut native.resuming
                && let Some(rejoining) = &mut resuming.rejoining
            {
                rejoining.asked += 1;
            }
            let ticket = native.next_ticket();
            let pending = Box::new(PendingJoin { name: name.clone(), ticket });
            let standing = Standing::Pending(pending);
            let (proven, marked) = (0, 0);
            let may_publish = native.access.allows(Grant::Publish, name.as_str());
            let membership =
                Membership { hash, standing, echo, presence, may_publish, proven, marked };
            native.rooms.push(membership);
            let join = Join {
                encoding: self.encoding_in(key, native, name.as_str()),
                name: name.clone(),
                hash,
                ticket: Some(ticket),
                since: Some(position),
                // Where the history does not reach back far enough, what there is: the client may
                // have read further than could be proved.
                history: if may_read { u32::MAX } else { 0 },
                presence,
                echo: Some(echo),
                may_read,
                may_create: native.access.allows(Grant::Create, name.as_str()),
            };
            let (user, tag, what) = (Arc::clone(&native.user), native.tag, What::Join(join));
            self.submit_ask(home, Asked { key, id: None, user, tag, what }, now);
        }
    }

    /// Keeps what a room answered to a connection that is resuming, which is in its list by now;
    /// gives it back if it is not resuming.
    pub(super) fn collect(
        &mut self,
        key: ConnKey,
        past: PastReply,
        place: Place,
        name: &RoomName,
    ) -> Option<PastReply> {
        let hash = self.members.get(place.room).map_or(0, |room| room.hash);
        let Some(rejoining) = self.rejoining(key) else { return Some(past) };
        let bytes = rejoining.bytes + past.len();
        let answer = if bytes > RESUME_BYTES_MAX {
            Answer::Beyond(name.clone(), hash, place)
        } else {
            rejoining.bytes = bytes;
            Answer::Joined(past)
        };
        self.add_answer(key, answer);
        None
    }

    /// Keeps that a room refused a connection that is resuming; false if it is not resuming.
    pub(super) fn collect_refused(
        &mut self,
        key: ConnKey,
        refused: Option<Membership>,
        code: ErrorCode,
    ) -> bool {
        if self.rejoining(key).is_none() {
            return false;
        }
        let Some(Standing::Pending(pending)) = refused.map(|membership| membership.standing) else {
            return false;
        };
        self.add_answer(key, Answer::Refused(pending.name, code));
        true
    }

    fn add_answer(&mut self, key: ConnKey, answer: Answer) {
        let Some(rejoining) = self.rejoining(key) else { return };
        rejoining.answers.push(answer);
        if rejoining.answers.len() == rejoining.rooms.len() + rejoining.refused {
            self.steps.push((key, Step::Complete));
        }
    }

    fn rejoining(&mut self, key: ConnKey) -> Option<&mut Rejoining> {
        self.native(key)?.resuming.as_mut()?.rejoining.as_mut()
    }

    fn take_native(&mut self, key: ConnKey) -> Option<Box<Native>> {
        self.native(key)?;
        let Some(Phase::Native(native)) = self.take_phase(key) else { return None };
        Some(native)
    }

    /// Sends the welcome, and what has queued up behind its place.
    fn complete(&mut self, key: ConnKey, now: Now) {
        let Some(mut native) = self.take_native(key) else { return };
        let resuming = native.resuming.take();
        let Some(resuming) = resuming else {
            return self.put_phase(key, Phase::Native(native));
        };
        let id = resuming.id.as_deref().map(RequestId::of_json);
        let mut letter = Letter::default();
        let session = native.session.to_string();
        let welcome = self.welcome_of(&native, &session, id, now);
        json::push_welcome_head(&mut letter.text, &welcome);
        json::push_welcome_rooms(&mut letter.text);
        let answers = resuming.rejoining.map(|rejoining| rejoining.answers).unwrap_or_default();
        for (nth, answer) in answers.into_iter().enumerate() {
            if nth > 0 {
                letter.text.push(b',');
            }
            match answer {
                Answer::Joined(past) => letter.push_past(past),
                Answer::Refused(name, code) => {
                    json::push_room_refused(&mut letter.text, name.as_str(), code);
                }
                Answer::Beyond(name, hash, place) => {
                    let code = ErrorCode::Unavailable;
                    json::push_room_refused(&mut letter.text, name.as_str(), code);
                    let is_it = |it: &Membership| match &it.standing {
                        Standing::Joined(other) => other.room == place.room,
                        Standing::Pending(_) => false,
                    };
                    if let Some(membership) = native.rooms.remove(hash, is_it) {
                        self.leave_one(key, &native.user, &membership, now);
                    }
                }
            }
        }
        json::push_list_tail(&mut letter.text);
        if native.watches {
            self.begin_to_watch(key, &mut native, now);
        }
        self.put_phase(key, Phase::Native(native));
        self.deliver_letter(key, letter);
        self.unpause(key);
    }

    /// From here on what is queued stays queued; a place is kept for what is to come before it.
    fn cork(&mut self, key: ConnKey) {
        self.push_answer(key, |_| {});
        if let Some(session) = self.session(key) {
            session.corked = true;
        }
    }

    /// Lets go of a connection that ends while it is corked: of its rooms nothing is sent, as it
    /// was not told of what comes before that.
    pub(super) fn uncork_ended(&mut self, key: ConnKey) {
        let Some(session) = self.session(key).filter(|session| session.corked) else { return };
        session.corked = false;
        self.drop_queued(key);
    }

    /// Puts the letter into the place that is kept for it, and lets all go out.
    fn deliver_letter(&mut self, key: ConnKey, letter: Letter) {
        let chunks = self.lay_out_letter(letter);
        let bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.len())).sum();
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        session.corked = false;
        if session.outbox.fill_in(&mut self.nodes, &mut self.buffers, &chunks) {
            self.counters.outbox_bytes += bytes;
            if !self.session(key).is_some_and(|session| session.blocked) {
                self.tell_gaps(key); // Who is blocked is told when it takes data again.
            }
            return self.mark_dirty(key.index, true);
        }
        debug_assert!(false, "a place is kept");
        for chunk in chunks {
            self.push_chunk(key, chunk);
        }
    }

    /// The letter as one frame in chunks, each held once.
    fn lay_out_letter(&mut self, letter: Letter) -> Vec<Chunk> {
        let Letter { mut parts, text, bytes } = letter;
        let len = bytes + text.len();
        parts.push(Part::Text(text));
        let mut header = Vec::new();
        push_header(&mut header, Opcode::Text, true, len);
        let mut content = if parts.len() == 1 { Content::Answer } else { Content::Opening };
        let mut chunks = Vec::with_capacity(parts.len());
        for part in parts {
            chunks.push(match part {
                Part::Piece(piece) => self.shared_chunk(piece),
                Part::Text(text) => {
                    let write = |out: &mut Vec<u8>| {
                        out.append(&mut header); // Before the first text; empty from then on.
                        out.extend_from_slice(&text);
                    };
                    let (buffer, start, end) = self.buffers.append(write);
                    Chunk { buffer, start, end, content, messages: 0 }
                }
            });
            content = Content::Rest;
        }
        chunks
    }
}

/// One JSON object in the making, most of which is shared.
#[derive(Debug, Default)]
struct Letter {
    parts: Vec<Part>,
    /// Bytes of the parts.
    bytes: usize,
    /// What follows them.
    text: Vec<u8>,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Piece(Piece),
}

impl Letter {
    fn push_past(&mut self, past: PastReply) {
        self.text.extend_from_slice(&past.head);
        for piece in past.pieces {
            let text = std::mem::take(&mut self.text);
            if !text.is_empty() {
                self.bytes += text.len();
                self.parts.push(Part::Text(text));
            }
            self.bytes += (piece.end - piece.start) as usize;
            self.parts.push(Part::Piece(piece));
        }
        self.text.extend_from_slice(&past.tail);
    }
}

#[cfg(test)]
#[path = "resuming_tests.rs"]
mod tests;
