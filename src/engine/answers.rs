//! What a home does with the requests of native members, and what it answers: ready frames, which
//! travel the same queue as the room's messages.
//!
//! Not here: how a request came in and what of it the member's own loop decides (`native`), the
//! room's frames of this tick (`staging`). Invariant: every request that waits for an answer gets
//! exactly one.

use super::asks::{Asked, Join, What, Words};
use super::batch::{Batch, JoinReply, NativeJoined, PastReply, Say, Wire};
use super::homes::{Creator, HomeRoom};
use super::publication::Publication;
use super::shard::Shard;
use super::told::Notice;
use crate::broker::{
    CommandError, ConnKey, ErrorCode, History, LoopId, Now, Position, Published, Reading,
    RoomHandle, RoomName, Unrecoverable, User, recover,
};
use crate::limits::{HISTORY_PAGE_MESSAGES, LIST_ENTRIES_MAX};
use crate::protocol::binary;
use crate::protocol::json::{self, ErrorReply, RequestId};
use crate::ws::{Opcode, push_frame_with};
use std::ops::RangeInclusive;
use std::sync::Arc;

impl Shard {
    /// Numbers a native member's message, or recognises that it did so before.
    pub(super) fn apply_say(
        &mut self,
        from: LoopId,
        say: &Say,
        (words, payload): (&[u8], &[u8]),
        now: Now,
    ) {
        let words = say.words(words);
        let id = std::str::from_utf8(words.id).ok().filter(|id| !id.is_empty());
        let id = id.map(RequestId::of_json);
        let published = match self.find_repeat(say, &words, now) {
            Some(published) => Some(published),
            None => {
                let publication = Publication {
                    kind: say.kind,
                    payload,
                    sender: words.sender,
                    tag: say.tag,
                    id,
                    mark: say.mark,
                    left_out: (!say.echo).then_some((from, say.key)),
                };
                let published = self.homes.publish(say.room, &publication, now).ok();
                self.counters.publications += u64::from(published.is_some());
                if let Some(published) = published {
                    self.remember(say, &words, published, now);
                }
                published
            }
        };
        let (Some(published), Some(batch)) = (published, self.outgoing.get_mut(from.index()))
        else {
            return;
        };
        if !say.wants_ack {
            return;
        }
        match say.wire {
            Wire::Json => {
                let Some(home) = self.homes.room(say.room) else { return };
                let Published { seq, epoch, receivers } = published;
                batch.push_text(say.key, true, |out| {
                    push_frame_with(out, Opcode::Text, |out| {
                        json::push_ack(out, id, Some(home.name.as_str()), seq, epoch, receivers);
                    });
                });
            }
            Wire::Binary(number) => {
                batch.push_text(say.key, true, |out| {
                    push_frame_with(out, Opcode::Binary, |out| {
                        let Published { seq, epoch, receivers } = published;
                        binary::push_ack(out, number, say.room, seq, epoch, receivers);
                    });
                });
            }
        }
    }

    fn find_repeat(&mut self, say: &Say, words: &Words<'_>, now: Now) -> Option<Published> {
        let (user, key) =
            (std::str::from_utf8(words.sender).ok()?, std::str::from_utf8(words.dedupe).ok()?);
        self.find_key(say.room, (user, key), now)
    }

    /// What `user` published in a room under that key, if it did.
    pub(super) fn find_key(
        &mut self,
        room: RoomHandle,
        (user, key): (&str, &str),
        now: Now,
    ) -> Option<Published> {
        if key.is_empty() {
            return None;
        }
        let hash = self.room_key.pair(user, key);
        let past = self.homes.room_mut(room)?.past.as_mut()?;
        let found = past.dedupe.find(hash, user, key, now.mono_ms);
        self.counters.repeats += u64::from(found.is_some());
        found
    }

    fn remember(&mut self, say: &Say, words: &Words<'_>, published: Published, now: Now) {
        let user = std::str::from_utf8(words.sender).unwrap_or_default();
        let key = std::str::from_utf8(words.dedupe).unwrap_or_default();
        self.remember_key(say.room, (user, key), published, now);
    }

    /// Notes what `user` published in a room under that key.
    pub(super) fn remember_key(
        &mut self,
        room: RoomHandle,
        (user, key): (&str, &str),
        published: Published,
        now: Now,
    ) {
        if key.is_empty() {
            return;
        }
        let hash = self.room_key.pair(user, key);
        let Some(home) = self.homes.room_mut(room) else { return };
        let past = home.past.get_or_insert_default();
        let evicted = past.dedupe.insert(hash, user, key, published, now.mono_ms);
        self.counters.dedupe_evictions += u64::from(evicted.0);
    }

    /// Does what a native connection asks of this home.
    pub(super) fn apply_ask(&mut self, from: LoopId, asked: Asked, now: Now) {
        let Asked { key, id, user, tag, what } = asked;
        let asker = Asker { from, key, id };
        match what {
            What::Join(join) => self.apply_native_join(&asker, &user, tag, &join, now),
            What::Leave { room, encoding, answer } => {
                self.homes.depart(room, &user, now);
                self.homes.leave(room, from, encoding, 1, now);
                if answer {
                    self.answer_json(&asker, |shard, out| {
                        let name = shard.room_name(room);
                        json::push_left(out, asker.id(), name);
                    });
                }
            }
            What::Create { name, hash, options } => {
                self.apply_create(&asker, &user, (&name, hash), options, now);
            }
            What::Typing { room, is_typing } => {
                self.homes.tell(room, Notice::Volatile, Some((from, key)), |out, name| {
                    let mut sender = Vec::new();
                    json::push_user(&mut sender, &user);
                    json::push_typing(out, name, &sender, is_typing);
                });
            }
            What::Receipt { room, seq, status } => {
                self.relay_receipt(room, (seq, status), &user, now)
            }
            What::Session(ask) => self.apply_session((from, key), &user, ask, now),
            What::Info { name, hash } => {
                let room = self.homes.find(name.as_str(), hash);
                self.answer_json(&asker, |shard, out| {
                    let life =
                        room.and_then(|room| shard.homes.room(room)).map(|home| json::RoomLife {
                            members: home.room.members(),
                            epoch: home.room.epoch(),
                            seq: home.room.seq(),
                        });
                    let room = name.as_str();
                    json::push_room_info(out, &json::RoomInfo { id: asker.id(), room, life });
                });
            }
            What::Members { room, after, limit } => {
                let past = self.homes.room_mut(room).and_then(|home| home.past.as_mut());
                if let Some(presence) = past.and_then(|past| past.presence.as_mut()) {
                    presence.note_listed();
                }
                self.answer_json(&asker, |shard, out| {
                    let Some(home) = shard.homes.room(room) else { return };
                    let limit = limit.min(LIST_ENTRIES_MAX) as usize;
                    let (entries, more) = entries(home, after.as_deref(), limit);
                    json::push_members_list(out, asker.id(), home.name.as_str(), entries, more);
                });
            }
            What::History { room, limit, before, since } => {
                self.apply_history(&asker, room, (limit, before, since), now);
            }
            What::Online => self.apply_online(&asker, &user, now),
            What::Offline => self.apply_offline(&asker, &user, now),
            What::Status { status, info } => {
                self.apply_status(&user, (status, info.as_deref()), now);
            }
            What::StatusIn { room, status } => self.homes.set_status(room, &user, status),
            What::Watch { encoding, ticket } => {
                self.apply_watch(&asker, user, (encoding, ticket), now);
            }
            What::Tell(tell) => self.apply_tell(&asker, &tell),
            What::Notify { name, hash, text } => self.apply_notify(&asker, (&name, hash), &text),
        }
    }

    fn apply_native_join(
        &mut self,
        asker: &Asker,
        user: &Arc<User>,
        tag: u64,
        join: &Join,
        now: Now,
    ) {
        let name = (join.name.as_str(), join.hash);
        let room = match self.open_room(name, join.creator(user), now) {
            Ok(room) => room,
            Err(error) => return self.refuse_join(asker, join, error),
        };
        self.homes.forget_old(room, now);
        let is_new = join.ticket.is_some();
        if is_new {
            self.homes.join(room, asker.from, join.encoding);
            self.homes.arrive(room, user, Some((asker.from, asker.key)), now);
        }
        let Some(home) = self.homes.room_mut(room) else { return };
        let (epoch, seq, options) = (home.room.epoch(), home.room.seq(), *home.options);
        let echo = join.echo.unwrap_or(options.echo);
        let past = home.past.get_or_insert_default();
        if let Some(presence) = past.presence.as_mut().filter(|_| join.presence) {
            presence.note_listed();
        }
        let before = past.history.bytes();
        let (missed, reason) = match join.since {
            Some(since) => match recover(since, epoch, seq, &past.history) {
                Ok(missed) => (Some(missed), None),
                Err(reason) => (None, Some(reason)),
            },
            None => (None, None),
        };
        let recovered = missed.is_some();
        let newest = join.history.max(u32::from(options.last_value && join.may_read));
        let wanted = missed.unwrap_or_else(|| newest_of(seq, newest));
        let own = (!echo && tag != 0 && recovered).then_some(tag);
        let reading = past.history.read(wanted, own);
        let after = past.history.bytes();
        let presence = join.presence.then(|| presence_list(home));
        let joined = json::Joined {
            id: asker.id(),
            room: home.name.as_str(),
            handle: room,
            members: home.room.members(),
            epoch,
            seq,
            recovered,
            reason,
            own: &reading.own,
            presence: presence.as_deref(),
        };
        let mut head = Vec::new();
        json::push_joined_head(&mut head, &joined);
        let reply = in_pieces(head, reading);
        self.note_read((before, after), &reply);
        let Some(batch) = self.outgoing.get_mut(asker.from.index()) else { return };
        match join.ticket {
            None => batch.push_past(asker.key, reply),
            Some(ticket) => batch.push_joined(JoinReply {
                key: asker.key,
                room,
                name: join.name.clone(),
                hash: join.hash,
                encoding: join.encoding,
                epoch,
                seq,
                options,
                native: Some(NativeJoined {
                    ticket,
                    user: Arc::clone(user),
                    echo,
                    proven: join.since.filter(|_| recovered).map_or(seq, |since| since.seq),
                    past: reply,
                }),
            }),
        }
    }

    fn refuse_join(&mut self, asker: &Asker, join: &Join, error: CommandError) {
        self.counters.rooms_refused += 1;
        let mut frame = Vec::new();
        let told = match error {
            CommandError::MayNotCreate => (ErrorCode::NoSuchRoom, told_refusal(error).1),
            CommandError::RoomLimit | CommandError::ShortOfMemory => told_refusal(error),
        };
        push_refusal(&mut frame, asker, told, join.name.as_str());
        let Some(batch) = self.outgoing.get_mut(asker.from.index()) else { return };
        batch.push_refused(asker.key, (join.hash, join.ticket), told.0, &frame);
    }

    fn apply_create(
        &mut self,
        asker: &Asker,
        user: &User,
        (name, hash): (&RoomName, u64),
        options: json::Created,
        now: Now,
    ) {
        if self.homes.find(name.as_str(), hash).is_some() {
            return self.answer_json(asker, |_, out| {
                json::push_created(out, asker.id(), name.as_str(), false);
            });
        }
        let creator = Creator::User(user.role());
        let created =
            self.homes.create((name.as_str(), hash), creator, |all| options.over(all), now);
        match created {
            Ok(_) => {
                self.counters.rooms_created += 1;
                self.answer_json(asker, |_, out| {
                    json::push_created(out, asker.id(), name.as_str(), true);
                });
            }
            Err(error) => {
                self.counters.rooms_refused += 1;
                let Some(batch) = self.outgoing.get_mut(asker.from.index()) else { return };
                batch.push_text(asker.key, true, |out| {
                    push_refusal(out, asker, told_refusal(error), name.as_str());
                });
            }
        }
    }

    fn apply_history(
        &mut self,
        asker: &Asker,
        room: RoomHandle,
        (limit, before, since): (u32, Option<u64>, Option<Position>),
        now: Now,
    ) {
        self.homes.forget_old(room, now);
        let Some(home) = self.homes.room_mut(room) else { return };
        let (epoch, seq) = (home.room.epoch(), home.room.seq());
        let past = home.past.get_or_insert_default();
        let bytes_before = past.history.bytes();
        let wanted = page_of(&past.history, (epoch, seq), (limit, before, since));
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(reason) => return self.refuse_history(asker, room, reason),
        };
        let first = past.history.first_seq().unwrap_or(u64::MAX);
        let more = match since {
            Some(_) => {
                *wanted.end() < seq.min(before.map_or(seq, |before| before.saturating_sub(1)))
            }
            None => *wanted.start() > first && !wanted.is_empty(),
        };
        let reading = past.history.read(wanted, None);
        let after = past.history.bytes();
        let mut head = Vec::new();
        let room = home.name.as_str();
        json::push_history_head(&mut head, &json::History { id: asker.id(), room, epoch, more });
        let reply = in_pieces(head, reading);
        self.note_read((bytes_before, after), &reply);
        if let Some(batch) = self.outgoing.get_mut(asker.from.index()) {
            batch.push_past(asker.key, reply);
        }
    }

    /// Notes what reading did to a history's bytes, and what the answer weighs.
    fn note_read(&mut self, (before, after): (usize, usize), reply: &PastReply) {
        self.homes.recount(before, after);
        self.told_bytes += reply.own_bytes();
    }

    fn refuse_history(&mut self, asker: &Asker, room: RoomHandle, reason: Unrecoverable) {
        let message = match reason {
            Unrecoverable::Epoch => "since.epoch: the room has begun anew; read it without since",
            Unrecoverable::Ahead => "since.seq: the room has not come that far",
            Unrecoverable::Evicted => {
                "since: the history no longer reaches back that far; read it without since"
            }
        };
        self.answer_json(asker, |shard, out| {
            json::push_error(
                out,
                &ErrorReply {
                    code: ErrorCode::UnrecoverablePosition,
                    message,
                    field: Some("since"),
                    room: Some(shard.room_name(room)),
                    id: asker.id(),
                    retry_after_ms: None,
                },
            );
        });
    }

    /// Answers with one JSON object.
    pub(super) fn answer_json(&mut self, asker: &Asker, write: impl FnOnce(&Self, &mut Vec<u8>)) {
        let Some(place) = self.outgoing.get_mut(asker.from.index()) else { return };
        let mut batch = std::mem::replace(place, Batch::new(self.id));
        let before = batch.texts.len();
        batch.push_text(asker.key, true, |out| {
            push_frame_with(out, Opcode::Text, |out| write(self, out));
        });
        self.told_bytes += batch.texts.len() - before;
        if let Some(place) = self.outgoing.get_mut(asker.from.index()) {
            *place = batch;
        }
    }

    fn room_name(&self, room: RoomHandle) -> &str {
        self.homes.room(room).map_or("", |home| home.name.as_str())
    }
}

impl Join {
    /// As whom it may have its room created.
    fn creator(&self, user: &User) -> Creator {
        if self.may_create { Creator::User(user.role()) } else { Creator::Ungranted }
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) from: LoopId,
    pub(super) key: ConnKey,
    pub(super) id: Option<Box<str>>,
}

impl Asker {
    pub(super) fn id(&self) -> Option<RequestId<'_>> {
        self.id.as_deref().map(RequestId::of_json)
    }
}

/// The newest `count` messages of a room.
fn newest_of(seq: u64, count: u32) -> RangeInclusive<u64> {
    seq.saturating_sub(u64::from(count)).saturating_add(1)..=seq
}

/// The messages of a page, oldest first: those after `since`, or else the newest before `before`.
fn page_of(
    history: &History,
    (epoch, seq): (u64, u64),
    (limit, before, since): (u32, Option<u64>, Option<Position>),
) -> Result<RangeInclusive<u64>, Unrecoverable> {
    let limit = if limit == 0 { HISTORY_PAGE_MESSAGES } else { limit };
    let last = before.map_or(seq, |before| before.saturating_sub(1).min(seq));
    match since {
        Some(since) => {
            let missed = recover(since, epoch, seq, history)?;
            let end = missed.start().saturating_add(u64::from(limit)).saturating_sub(1);
            Ok(*missed.start()..=end.min(last))
        }
        None => {
            let first = history.first_seq().unwrap_or(seq + 1);
            let newest = newest_of(last, limit);
            Ok((*newest.start()).max(first)..=last)
        }
    }
}

/// An object of that head, the messages that were read, and the end of the list they are in.
fn in_pieces(head: Vec<u8>, reading: Reading) -> PastReply {
    let mut tail = Vec::new();
    json::push_list_tail(&mut tail);
    PastReply { head, pieces: reading.pieces, tail }
}

/// Who is in a room, as a JSON list.
fn presence_list(home: &HomeRoom) -> Vec<u8> {
    let (entries, _) = entries(home, None, LIST_ENTRIES_MAX as usize);
    let mut list = b"[".to_vec();
    for (nth, entry) in entries.iter().enumerate() {
        if nth > 0 {
            list.push(b',');
        }
        list.extend_from_slice(entry);
    }
    list.push(b']');
    list
}

/// A page of who is in a room, each as JSON, and whether there are more.
fn entries(home: &HomeRoom, after: Option<&str>, limit: usize) -> (Vec<Vec<u8>>, bool) {
    let presence = home.past.as_ref().and_then(|past| past.presence.as_ref());
    let Some(presence) = presence else { return (Vec::new(), false) };
    let mut entries: Vec<Vec<u8>> = presence
        .list(after, limit + 1)
        .map(|present| {
            let mut out = Vec::new();
            let (user, status, since_ms) = (&*present.user, present.status, present.since_ms);
            json::push_entry(&mut out, &json::Entry { user, status, since_ms, info: None });
            out
        })
        .collect();
    let more = entries.len() > limit;
    entries.truncate(limit);
    (entries, more)
}

/// Appends the frame that says why a room can't be had.
fn push_refusal(out: &mut Vec<u8>, asker: &Asker, (code, message): (ErrorCode, &str), room: &str) {
    push_frame_with(out, Opcode::Text, |out| {
        json::push_error(
            out,
            &ErrorReply {
                code,
                message,
                field: None,
                room: Some(room),
                id: asker.id(),
                retry_after_ms: None,
            },
        );
    });
}

/// What is said of a room that can't be had.
const fn told_refusal(error: CommandError) -> (ErrorCode, &'static str) {
    match error {
        CommandError::RoomLimit => {
            (ErrorCode::RoomLimit, "the broker holds as many rooms as it may; try again later")
        }
        CommandError::ShortOfMemory => {
            (ErrorCode::Unavailable, "the broker is short of memory; try again later")
        }
        CommandError::MayNotCreate => {
            (ErrorCode::Forbidden, "the room does not exist, and you may not create it")
        }
    }
}
