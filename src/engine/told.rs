//! What a home tells a room's members of beside messages, and by when: batches, who came and went,
//! notices.
//!
//! Not here: messages themselves (`homes`). Invariants: what is due stands in the agenda once; who
//! leaves within a tick is told of in one run, however many they are.

use super::homes::Homes;
use super::past::Past;
use super::staging::{LeftOut, LineId};
use crate::broker::{
    Change, Departure, Form, Now, Presence, PresenceMode, RoomHandle, Status, User,
};
use crate::protocol::json;
use crate::ws::{Opcode, push_frame_with};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// What an empty draft keeps allocated, to be filled again.
const DRAFT_BYTES_KEPT: usize = 4 * 1024;

/// What is due at some time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Item {
    Batch,
    Diff,
}

/// What a home has to do because time passes.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BinaryHeap<Reverse<(u64, u32, u32, Item)>>,
    /// Users whose last connection left a room, in the order in which they are taken to be gone.
    /// Each is there once: who comes back is taken out.
    departures: BTreeMap<Departure, (RoomHandle, Arc<User>)>,
    departures_noted: u64,
}

/// Whether a notice is the first to go where a member's socket takes no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    Kept,
    Volatile,
}

impl Agenda {
    /// What is to be done later.
    pub(super) fn len(&self) -> usize {
        self.due.len() + self.departures.len()
    }
}

impl Homes {
    /// Tells those of a room's members that can be told of notices. `write` appends the JSON.
    pub(crate) fn tell(
        &mut self,
        handle: RoomHandle,
        notice: Notice,
        left_out: LeftOut,
        write: impl FnOnce(&mut Vec<u8>, &str),
    ) {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { return };
        if Form::ALL.into_iter().all(|form| !form.has_notices() || home.room.members_in(form) == 0)
        {
            return;
        }
        let name = home.name.as_str();
        let (start, ()) = self.staging.write(|out| {
            push_frame_with(out, Opcode::Text, |out| write(out, name));
        });
        if home.line == LineId::NONE {
            self.lined.push(handle);
        }
        let line = (handle, &mut home.line);
        self.staging.push_notice(line, start, left_out, notice == Notice::Volatile);
    }

    /// Notes that a connection of `user` has joined, and tells the others.
    pub(crate) fn arrive(
        &mut self,
        handle: RoomHandle,
        user: &Arc<User>,
        left_out: LeftOut,
        now: Now,
    ) {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { return };
        let options = home.options.presence;
        if options.mode == PresenceMode::Off {
            return;
        }
        let past = home.past.get_or_insert_default();
        let presence = past.presence.get_or_insert_with(|| Box::new(Presence::new(&options)));
        let change = presence.join(user, now.unix_ms, &options);
        if change == Change::Rejoined
            && let Some(noted) = presence.note_departure(user.id(), None)
        {
            self.agenda.departures.remove(&noted);
        }
        // Who comes in the tick in which its user left is told of both: of the one alone it would
        // be led to believe that it is not there.
        let left_out = left_out.filter(|_| !home.departed);
        match (presence.mode(), change) {
            (PresenceMode::Full, Change::Joined) => {
                self.tell(handle, Notice::Kept, left_out, |out, room| {
                    json::push_user_joined(out, room, &json_of(user), now.unix_ms);
                });
            }
            (PresenceMode::Full, Change::None | Change::Left | Change::Rejoined)
            | (PresenceMode::Off, _) => {}
            (PresenceMode::Diff | PresenceMode::Count, _) => self.schedule_diff(handle, now),
        }
    }

    /// Notes that a connection of `user` has left, and tells the others, at once or when the grace
    /// is over.
    pub(crate) fn depart(&mut self, handle: RoomHandle, user: &Arc<User>, now: Now) {
        let grace_ms = self.presence_grace_ms;
        self.agenda.departures_noted += 1;
        let noted = (now.mono_ms + grace_ms, self.agenda.departures_noted);
        let Some(past) = self.past_mut(handle) else { return };
        let Some(presence) = &mut past.presence else { return };
        let change = presence.leave(user.id());
        if change == Change::Left && grace_ms > 0 {
            presence.note_departure(user.id(), Some(noted));
        }
        if presence.mode() == PresenceMode::Count {
            self.schedule_diff(handle, now);
        }
        if change == Change::Left && grace_ms == 0 {
            self.end_presence(handle, user, now);
        } else if change == Change::Left {
            self.agenda.departures.insert(noted, (handle, Arc::clone(user)));
        }
    }

    /// Notes what a user says of being there, for those who list a room's users.
    pub(crate) fn set_status(&mut self, handle: RoomHandle, user: &User, status: Status) {
        let Some(past) = self.past_mut(handle) else { return };
        if let Some(presence) = &mut past.presence {
            presence.set_status(user.id(), status);
        }
    }

    fn end_presence(&mut self, handle: RoomHandle, user: &Arc<User>, now: Now) {
        let Some(past) = self.past_mut(handle) else { return };
        let Some(presence) = &mut past.presence else { return };
        if presence.depart(user.id()) != Change::Left {
            return;
        }
        match presence.mode() {
            PresenceMode::Full => {
                self.tell(handle, Notice::Kept, None, |out, room| {
                    json::push_user_left(out, room, &json_of(user), now.unix_ms);
                });
                if let Some(home) = self.room_mut(handle).filter(|home| home.line != LineId::NONE) {
                    home.departed = true;
                }
            }
            PresenceMode::Diff | PresenceMode::Count => self.schedule_diff(handle, now),
            PresenceMode::Off => {}
        }
    }

    fn schedule_diff(&mut self, handle: RoomHandle, now: Now) {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { return };
        let due = now.mono_ms + u64::from(home.options.presence.interval_ms);
        let Some(past) = &mut home.past else { return };
        if std::mem::replace(&mut past.diff_due, true) {
            return;
        }
        self.agenda.due.push(Reverse((due, handle.slot, handle.generation, Item::Diff)));
    }

    /// Does what is due: its notices are staged for the end of this tick.
    pub(crate) fn handle_due(&mut self, now: Now) {
        while let Some(departure) = self.agenda.departures.first_entry()
            && departure.key().0 <= now.mono_ms
        {
            let (handle, user) = departure.remove();
            self.end_presence(handle, &user, now);
        }
        while let Some(Reverse((due, slot, generation, item))) = self.agenda.due.peek().copied() {
            if due > now.mono_ms {
                break;
            }
            self.agenda.due.pop();
            let Some(handle) = self.handle_at(slot, generation) else { continue };
            match item {
                Item::Batch => {
                    if let Some(past) = self.past_mut(handle) {
                        past.draft.is_due = false;
                    }
                    self.flush(handle);
                }
                Item::Diff => self.tell_diff(handle),
            }
        }
    }

    /// When [`Self::handle_due`] next has something to do.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let departure = self.agenda.departures.first_key_value().map(|((due, _), _)| *due);
        let item = self.agenda.due.peek().map(|Reverse((due, ..))| *due);
        departure.into_iter().chain(item).min()
    }

    fn tell_diff(&mut self, handle: RoomHandle) {
        let Some(past) = self.past_mut(handle) else { return };
        past.diff_due = false;
        let Some(presence) = past.presence.as_mut().filter(|presence| presence.has_diff()) else {
            return;
        };
        let diff = presence.take_diff();
        let count = u32::try_from(presence.users()).unwrap_or(u32::MAX);
        self.tell(handle, Notice::Kept, None, |out, room| {
            let json_of = |user: &Arc<User>| json_of(user);
            let joined: Vec<Vec<u8>> = diff.joined.iter().map(json_of).collect();
            let left: Vec<Vec<u8>> = diff.left.iter().map(json_of).collect();
            json::push_presence_diff(out, room, joined, left, count);
        });
    }

    /// Sends what of a room waits for a batch.
    pub(super) fn flush(&mut self, handle: RoomHandle) {
        self.flush_without(handle, None);
    }

    /// Sends what waits, the last message of it by itself and not to its sender.
    pub(super) fn flush_apart(&mut self, handle: RoomHandle, left_out: LeftOut) {
        let Some(past) = self.past_mut(handle) else { return };
        if let Some(last) = past.draft.take_last() {
            self.flush(handle);
            let Some(past) = self.past_mut(handle) else { return };
            past.draft.push(&last);
        }
        self.flush_without(handle, left_out);
    }

    fn flush_without(&mut self, handle: RoomHandle, left_out: LeftOut) {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { return };
        let Some(past) = &mut home.past else { return };
        let draft = &mut past.draft;
        if draft.messages == 0 {
            return;
        }
        if home.room.members_in(Form::Batch) > 0 {
            let name = home.name.as_str();
            let (start, ()) = self.staging.write(|out| {
                push_frame_with(out, Opcode::Text, |out| {
                    json::push_batch_head(out, name);
                    out.extend_from_slice(&draft.items);
                    json::push_list_tail(out);
                });
            });
            if home.line == LineId::NONE {
                self.lined.push(handle);
            }
            let line = (handle, &mut home.line);
            self.staging.push_batch(line, start, draft.messages, left_out);
        }
        draft.clear(DRAFT_BYTES_KEPT);
    }

    /// At the end of a tick: sends what was collected in it, or sees to it that it is sent in time.
    pub(super) fn end_drafts(&mut self, now: Now) {
        let mut drafted = std::mem::take(&mut self.drafted);
        for handle in drafted.drain(..) {
            let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { continue };
            let interval_ms = u64::from(home.options.batch.interval_ms);
            let Some(past) = &mut home.past else { continue };
            if interval_ms == 0 || self.draining {
                self.flush(handle);
            } else if past.draft.messages > 0 && !past.draft.is_due {
                past.draft.is_due = true;
                let due = now.mono_ms + interval_ms;
                self.agenda.due.push(Reverse((due, handle.slot, handle.generation, Item::Batch)));
            }
        }
        self.drafted = drafted; // Keeps what it allocated.
    }

    /// Sends all that waits for a batch: nobody is to wait for it any more.
    pub(crate) fn flush_all(&mut self) {
        self.draining = true;
        let due: Vec<(u32, u32)> = self
            .agenda
            .due
            .iter()
            .filter(|Reverse((.., item))| *item == Item::Batch)
            .map(|Reverse((_, slot, generation, _))| (*slot, *generation))
            .collect();
        for (slot, generation) in due {
            if let Some(handle) = self.handle_at(slot, generation) {
                self.flush(handle);
            }
        }
    }

    fn handle_at(&self, slot: u32, generation: u32) -> Option<RoomHandle> {
        self.rooms.get(slot, generation)?;
        Some(RoomHandle { home: self.id, slot, generation })
    }

    fn past_mut(&mut self, handle: RoomHandle) -> Option<&mut Past> {
        self.rooms.get_mut(handle.slot, handle.generation)?.past.as_deref_mut()
    }
}

/// A user as it stands in what others are told.
pub(super) fn json_of(user: &User) -> Vec<u8> {
    let mut json = Vec::new();
    json::push_user(&mut json, user);
    json
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::super::settings::Settings;
    use crate::broker::{ConnKey, RoomOptions};
    use crate::ws::{Opcode, push_masked_frame};

    const GRACE_MS: u64 = 1_000;

    fn ask(rig: &mut Rig, key: ConnKey, kind: &str) {
        let request = format!("{{\"type\":\"{kind}\",\"room\":\"hall\"}}");
        let mut frame = Vec::new();
        push_masked_frame(&mut frame, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
        rig.shard.end_tick(rig.now);
    }

    fn told_of_leaving(rig: &mut Rig, key: ConnKey, after_ms: u64) -> bool {
        rig.now = rig.now.plus_ms(after_ms);
        rig.shard.handle_deadlines(rig.now);
        rig.shard.end_tick(rig.now);
        String::from_utf8_lossy(&rig.read_all(key)).contains("\"user-left\"")
    }

    #[test]
    fn the_grace_begins_anew_each_time_a_user_leaves() {
        let settings = Settings { presence_grace_ms: GRACE_MS, ..Settings::default() };
        let mut rig = Rig::with(RoomOptions::default(), settings);
        let [watcher, other] = [(); 2].map(|()| rig.ask_for("/ws"));
        for key in [watcher, other] {
            ask(&mut rig, key, "join-room");
        }
        ask(&mut rig, other, "leave-room");
        assert!(!told_of_leaving(&mut rig, watcher, GRACE_MS / 2));
        ask(&mut rig, other, "join-room");
        assert!(!told_of_leaving(&mut rig, watcher, GRACE_MS / 4));
        ask(&mut rig, other, "leave-room");
        assert!(!told_of_leaving(&mut rig, watcher, GRACE_MS / 2), "the first grace is over");
        assert!(told_of_leaving(&mut rig, watcher, GRACE_MS / 2), "the second is");
        assert_eq!(rig.shard.homes.agenda.departures.len(), 0);
    }

    #[test]
    fn who_comes_and_goes_is_noted_once() {
        let settings = Settings { presence_grace_ms: GRACE_MS, ..Settings::default() };
        let mut rig = Rig::with(RoomOptions::default(), settings);
        let [watcher, other] = [(); 2].map(|()| rig.ask_for("/ws"));
        ask(&mut rig, watcher, "join-room");
        for _ in 0..100 {
            ask(&mut rig, other, "join-room");
            ask(&mut rig, other, "leave-room");
        }
        assert_eq!(rig.shard.homes.agenda.departures.len(), 1);
    }

    fn send(rig: &mut Rig, key: ConnKey, request: &str) {
        let mut frame = Vec::new();
        push_masked_frame(&mut frame, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
    }

    #[test]
    fn who_leaves_and_comes_back_within_a_tick_is_not_left_with_having_left() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.ask_for("/ws");
        send(&mut rig, key, r#"{"type":"join-room","room":"a","presence":true}"#);
        rig.shard.end_tick(rig.now);
        rig.read_all(key);
        send(&mut rig, key, r#"{"type":"leave-room","room":"a"}"#);
        send(&mut rig, key, r#"{"type":"join-room","room":"a","presence":true}"#);
        rig.shard.end_tick(rig.now);
        let told = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
        let (left, joined) = (told.rfind("user-left"), told.rfind("user-joined"));
        assert!(left <= joined, "{told}");

        send(&mut rig, key, r#"{"type":"leave-room","room":"a"}"#);
        rig.shard.end_tick(rig.now);
        rig.read_all(key);
        send(&mut rig, key, r#"{"type":"join-room","room":"a","presence":true}"#);
        rig.shard.end_tick(rig.now);
        let told = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
        assert!(!told.contains("user-"), "to the others only: {told}");
    }
}
