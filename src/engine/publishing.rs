//! What a home does with a message: numbers it, lays it out for those who are there, and keeps it
//! for those who come.
//!
//! Not here: rooms and their life (`homes`), frames until the end of the tick (`staging`).
//! Invariant: a message is encoded once for each form that somebody or the history has a use for.

use super::homes::{HomeRoom, Homes};
use super::publication::Publication;
use super::staging::{Forms, LineId};
use crate::broker::{CommandError, Form, Kept, Now, Published, RoomHandle};
use crate::limits::BATCH_BYTES_MAX;
use crate::protocol::{binary, json, raw};
use crate::ws::{Opcode, push_frame_with};
use std::cmp::Reverse;
use std::ops::Range;

/// Rooms that have no history any more and may be in the list of those that have, beside as many
/// as there are rooms.
const OLDEST_SPARE: usize = 64;

/// A message as it was laid out, by places in the staging area.
struct LaidOut {
    start: usize,
    forms: Forms,
    /// Its JSON, and where the sender's is within that.
    item: Option<(Range<usize>, Range<usize>)>,
}

impl Homes {
    /// Numbers a publication, lays its frames out, and keeps what the room is to remember of it.
    pub(crate) fn publish(
        &mut self,
        handle: RoomHandle,
        publication: &Publication<'_>,
        now: Now,
    ) -> Result<Published, CommandError> {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else {
            debug_assert!(false, "a member's room exists");
            return Err(CommandError::RoomLimit);
        };
        home.used_ms = now.mono_ms;
        let published = home.room.publish(u32::from(publication.left_out.is_some()));
        let nobody = home.room.loops().is_empty();
        if nobody && !home.keeps_history() {
            return Ok(published);
        }
        let LaidOut { start, forms, item } = self.encode(handle, publication, &published, now);
        if let Some((item, sender)) = item {
            self.keep(handle, publication, &published, (item, sender), now);
        }
        if nobody {
            self.staging.take_back(start);
        } else if let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) {
            if home.line == LineId::NONE {
                self.lined.push(handle);
            }
            let (left_out, mark) = (publication.left_out, publication.mark);
            self.staging.push_message((handle, &mut home.line), (start, forms), left_out, mark);
        }
        self.after_publish(handle, publication);
        self.keep_histories_within_bound();
        Ok(published)
    }

    /// Appends the forms of a message to the staging area.
    fn encode(
        &mut self,
        handle: RoomHandle,
        publication: &Publication<'_>,
        published: &Published,
        now: Now,
    ) -> LaidOut {
        let Self { rooms, staging, .. } = self;
        let Publication { kind, payload, sender, id, .. } = *publication;
        let Published { epoch, seq, .. } = *published;
        let (start, (forms, item)) = staging.write(|out| {
            let mut forms = Forms { raw_end: out.len(), json_end: out.len() };
            let Some(home) = rooms.get(handle.slot, handle.generation) else {
                return (forms, None);
            };
            let has = |form| home.room.members_in(form) > 0;
            if has(Form::Raw) {
                raw::push_message(out, kind, payload);
            }
            forms.raw_end = out.len();
            let mut written = None;
            if home.keeps_history() || has(Form::Json) || has(Form::Batch) {
                let (room, time_ms) = (home.name.as_str(), now.unix_ms);
                let item = json::Item { room, epoch, seq, time_ms, sender, id, kind, payload };
                let (sender, bytes) = push_frame_with(out, Opcode::Text, |out| {
                    let from = out.len();
                    (json::push_item(out, &item), out.len() - from)
                });
                written = Some((out.len() - bytes..out.len(), sender));
            }
            forms.json_end = out.len();
            if has(Form::Binary) {
                push_frame_with(out, Opcode::Binary, |out| {
                    binary::push_message(out, handle, seq, kind, payload);
                });
            }
            (forms, written)
        });
        LaidOut { start, forms, item }
    }

    /// Keeps a message's JSON in the room's history, and for its members that get batches.
    fn keep(
        &mut self,
        handle: RoomHandle,
        publication: &Publication<'_>,
        published: &Published,
        (item, sender): (Range<usize>, Range<usize>),
        now: Now,
    ) {
        let Some(home) = self.rooms.get_mut(handle.slot, handle.generation) else { return };
        let item = self.staging.written(item);
        let mut has_begun = false;
        if home.keeps_history() {
            let history = &mut home.past.get_or_insert_default().history;
            let (before, was_empty) = (history.bytes(), history.is_empty());
            let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            let sender = place(sender.start)..place(sender.end);
            let (seq, mono_ms, author) = (published.seq, now.mono_ms, publication.tag);
            history.push(Kept { seq, mono_ms, author, sender, item }, &home.options.history);
            self.history_bytes = self.history_bytes + history.bytes() - before;
            has_begun = was_empty && !history.is_empty();
        }
        if home.room.members_in(Form::Batch) > 0 {
            let draft = &mut home.past.get_or_insert_default().draft;
            if draft.messages == 0 && !draft.is_due {
                self.drafted.push(handle);
            }
            draft.push(item);
        }
        if has_begun {
            self.note_oldest(handle, now);
        }
    }

    /// Notes that a room has a history from now on. Rooms whose history went in another way than by
    /// the bound are still in the list, and are taken out when they are the half of it.
    fn note_oldest(&mut self, handle: RoomHandle, now: Now) {
        self.oldest.push(Reverse((now.mono_ms, handle.slot, handle.generation)));
        if self.oldest.len() <= OLDEST_SPARE + 2 * self.rooms.len() {
            return;
        }
        let rooms = &self.rooms;
        let true_now = |Reverse((_, slot, generation)): Reverse<(u64, u32, u32)>| {
            let oldest_ms = rooms.get(slot, generation)?.past.as_ref()?.history.oldest_ms()?;
            Some(Reverse((oldest_ms, slot, generation)))
        };
        let mut kept: Vec<_> = self.oldest.drain().filter_map(true_now).collect();
        kept.sort_unstable();
        kept.dedup();
        self.oldest = kept.into();
    }

    /// Sends a batch that is full, or that ends with a message that its sender is not to get.
    fn after_publish(&mut self, handle: RoomHandle, publication: &Publication<'_>) {
        let Some(home) = self.rooms.get(handle.slot, handle.generation) else { return };
        let Some(past) = &home.past else { return };
        let draft = &past.draft;
        let is_full = draft.messages >= home.options.batch.messages_max
            || draft.items.len() >= BATCH_BYTES_MAX;
        if draft.messages == 0 {
            return;
        }
        match publication.left_out {
            Some(_) => self.flush_apart(handle, publication.left_out),
            None if is_full => self.flush(handle),
            None => {}
        }
    }

    /// Lets go of the oldest messages of all rooms while all histories are too large.
    fn keep_histories_within_bound(&mut self) {
        self.shrink_histories(self.limits.history_bytes_max);
    }

    /// As above, for a bound of the moment.
    pub(super) fn shrink_histories(&mut self, bytes_max: usize) {
        while self.history_bytes > bytes_max {
            let Some(Reverse((ms, slot, generation))) = self.oldest.pop() else { break };
            let Some(past) =
                self.rooms.get_mut(slot, generation).and_then(|home| home.past.as_mut())
            else {
                continue;
            };
            let before = past.history.bytes();
            let Some(oldest_ms) = past.history.oldest_ms() else { continue };
            if oldest_ms == ms {
                past.history.evict_oldest();
                self.evicted += 1;
                self.history_bytes = self.history_bytes + past.history.bytes() - before;
            }
            if let Some(oldest_ms) = past.history.oldest_ms() {
                self.oldest.push(Reverse((oldest_ms, slot, generation)));
            }
        }
    }
}

impl HomeRoom {
    fn keeps_history(&self) -> bool {
        self.options.history.messages_max > 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::homes::Creator;
    use super::super::publication::{Publication, SERVER};
    use super::super::rig::Rig;
    use super::OLDEST_SPARE;
    use crate::broker::{PayloadKind, RoomOptions};

    #[test]
    fn rooms_whose_history_has_gone_are_not_remembered_for_ever() {
        let mut options = RoomOptions::default();
        options.history.age_ms = 1_000;
        let mut rig = Rig::new(options);
        let (kind, payload, sender) = (PayloadKind::Text, b"x".as_slice(), SERVER);
        let (tag, id, mark, left_out) = (0, None, 0, None);
        let publication = Publication { kind, payload, sender, tag, id, mark, left_out };
        let mut most = 0;
        for nth in 0..10_000 {
            let homes = &mut rig.shard.homes;
            // One room that comes back again and again, and others that come once.
            let name = if nth % 2 == 0 { "room".to_owned() } else { format!("room-{nth}") };
            let room = homes.open((&name, nth % 2 * nth), Creator::Route, rig.now);
            let room = room.expect("there is room");
            homes.publish(room, &publication, rig.now).expect("the room is there");
            rig.now = rig.now.plus_ms(1_000);
            rig.shard.homes.forget_old(room, rig.now);
            rig.shard.handle_deadlines(rig.now);
            rig.shard.end_tick(rig.now);
            most = most.max(rig.shard.homes.len());
        }
        let known = rig.shard.homes.oldest.len();
        assert!(known <= OLDEST_SPARE + 2 * most, "{known} for {most} rooms at most");
    }
}
