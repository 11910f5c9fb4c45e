//! What a loop does with a batch for its own connections: replies first, then each room's run to
//! each of the room's members.
//!
//! This is the hot path: per member it touches the session and one link, and allocates nothing.
//! Invariants: a member gets a run from the `seq` after the one at which it joined; a sender left
//! out gets the pieces around its own messages; nobody joins or leaves while a run is handed out.

use super::batch::{Batch, Frame, Run};
use super::buffers::BufferId;
use super::members::LocalRoom;
use super::outbox::{Chunk, Content, messages_between};
use super::session::{Dirty, Session};
use super::shard::{Shard, is_small};
use super::table::Table;
use super::timers::tick_of;
use crate::broker::{ConnKey, Now, RoomOptions};

impl Shard {
    /// Handles the replies and publications of a batch.
    pub(super) fn deliver(&mut self, batch: Batch, now: Now) {
        let Batch { replies, texts, runs, frames, bytes, .. } = batch;
        let mut fresh: Vec<LocalRoom> = Vec::new();
        for reply in replies {
            self.handle_reply(reply, &texts, &mut fresh, now);
        }
        if !runs.is_empty() {
            let tick = tick_of(now.mono_ms);
            let count = runs.len();
            let buffer = self.buffers.insert(bytes, runs, frames);
            self.buffers.hold(buffer, 1); // While it is handed out.
            for run in 0..count {
                self.hand_out(buffer, super::buffers::offset(run), tick);
            }
            self.buffers.release(buffer);
        }
        for room in fresh {
            self.members.settle(room);
        }
        self.end_doomed(now);
    }

    /// Gives one room's run to each of the room's members on this loop.
    fn hand_out(&mut self, buffer: BufferId, run_index: u32, tick: u32) {
        let Some((run, frames)) = self.buffers.run(buffer, run_index) else { return };
        let run = *run;
        let messages = frames.last().map_or(0, |frame| frame.upto);
        self.counters.run_messages.observe(u64::from(messages));
        let left_out: Vec<ConnKey> = if run.leaves_out {
            frames.iter().filter_map(|f| f.left_out).collect()
        } else {
            Vec::new()
        };
        mark(&mut self.sessions, &left_out, true);
        let Some((local, room)) = self.members.find(run.room, run.encoding) else {
            return mark(&mut self.sessions, &left_out, false);
        };
        room.last_seq = run.first_seq + u64::from(messages) - 1;
        if messages > 0 {
            room.used = tick;
        }
        let kind = if is_small(room.conns.len()) { Dirty::Small } else { Dirty::Large };
        let settled = room.conns.len() - room.fresh.len();
        let whole = Chunk {
            buffer,
            start: run.start,
            end: run.end,
            content: Content::Run(run_index),
            messages,
        };
        let mut given = 0;
        for &index in room.conns.iter().take(settled) {
            let Some(session) = self.sessions.at_mut(index) else { continue };
            if session.blocked || session.left_out || session.apart || session.corked {
                self.special.push((index, run.start));
                continue;
            }
            session.outbox.push_run(&mut self.nodes, whole);
            given += 1;
            if session.dirty == Dirty::No {
                session.dirty = kind;
                self.dirty.push(index, kind);
            }
        }
        for (&index, &seq) in room.conns.iter().skip(settled).zip(&room.fresh) {
            self.special.push((index, start_after(&run, frames, seq)));
        }
        let options = room.options;
        self.buffers.hold(buffer, given);
        self.counters.messages_out += u64::from(given) * u64::from(messages);
        self.counters.outbox_bytes += u64::from(given) * u64::from(whole.len());
        self.counters.deflate_bytes_saved += u64::from(given) * u64::from(run.saved);
        self.hand_special(local, whole, &options);
        self.dirty.give(whole.len());
        mark(&mut self.sessions, &left_out, false);
    }

    /// Gives a run to those who don't get all of it as it is. Who is blocked may keep it for long,
    /// so that a small run is copied out first, once for all of them but those for whom it is
    /// compressed apart.
    fn hand_special(&mut self, room: LocalRoom, whole: Chunk, options: &RoomOptions) {
        let mut special = std::mem::take(&mut self.special);
        let mut kept: Option<Chunk> = None;
        for (index, start) in special.drain(..) {
            let keeps_it = |session: &Session| session.blocked && !session.apart;
            let given = match (self.sessions.at(index).is_some_and(keeps_it), kept) {
                (false, _) => whole,
                (true, Some(kept)) => kept,
                (true, None) => *kept.insert(self.keep_for_long(room, whole, options)),
            };
            let start = start - whole.start + given.start;
            self.hand_pieces(index, Chunk { start, ..given }, options);
        }
        if let Some(kept) = kept {
            self.buffers.release(kept.buffer);
        }
        self.special = special; // Keeps what it allocated.
    }

    /// Gives one member what it is to get of a run: all of `chunk` but its own messages if it is
    /// left out of those, and without what is volatile if it is blocked, as far as its outbox takes
    /// it.
    fn hand_pieces(&mut self, index: u32, chunk: Chunk, options: &RoomOptions) {
        let Content::Run(run) = chunk.content else { return };
        let Some(generation) = self.sessions.generation_at(index) else { return };
        let key = ConnKey { index, generation };
        let Some(session) = self.sessions.at(index) else { return };
        let (left_out, apart, blocked) = (session.left_out, session.apart, session.blocked);
        let mut start = chunk.start;
        let mut pieces: Vec<Chunk> = Vec::new();
        let mut spared = 0;
        if let Some((run, frames)) = self.buffers.run(chunk.buffer, run) {
            let spares = blocked && run.has_volatile;
            let mut piece = |from: u32, to: u32| {
                if from < to {
                    let messages = messages_between(frames, from, to);
                    pieces.push(Chunk { start: from, end: to, messages, ..chunk });
                }
            };
            let mut before = chunk.start;
            let around = if left_out || spares { frames } else { &[] };
            for frame in around.iter().filter(|frame| frame.end > chunk.start) {
                let is_own = left_out && frame.left_out == Some(key);
                let is_spared = spares && frame.volatile && !is_own;
                spared += u64::from(is_spared);
                if is_own || is_spared {
                    piece(start, before);
                    start = frame.end;
                }
                before = frame.end;
            }
            piece(start, chunk.end);
        }
        self.counters.volatile_dropped += spared;
        for piece in pieces {
            match apart {
                true => self.push_apart(key, piece, options),
                false => self.push_piece(key, piece, options),
            }
        }
    }

    /// Disconnects those for whom handing out found no other way.
    pub(super) fn end_doomed(&mut self, now: Now) {
        for (key, reason) in std::mem::take(&mut self.doomed) {
            if self.session(key).is_some_and(|session| session.phase.is_websocket()) {
                self.disconnect(key, reason, now);
            }
        }
    }
}

/// Marks the sessions that are left out of parts of the run in hand.
fn mark(sessions: &mut Table<Session>, keys: &[ConnKey], left_out: bool) {
    for key in keys {
        if let Some(session) = sessions.get_mut(key.index, key.generation) {
            session.left_out = left_out;
        }
    }
}

/// Where the part of a run begins that comes after `seq`. Notices behind that message belong to it:
/// who gets one that came before its join knows what it says already.
fn start_after(run: &Run, frames: &[Frame], seq: u64) -> u32 {
    let Some(known) = (seq + 1).checked_sub(run.first_seq).filter(|known| *known > 0) else {
        return run.start;
    };
    let last_known = frames.partition_point(|frame| u64::from(frame.upto) < known);
    frames.get(last_known).map_or(run.end, |frame| frame.end)
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, frame};
    use crate::broker::{ConnKey, RoomOptions};

    #[test]
    fn a_sender_left_out_gets_the_pieces_around_its_own() {
        let mut rig = Rig::new(RoomOptions::default());
        let (left_out, other) = (rig.settled(false), rig.settled(true));
        for (sender, payload) in
            [(other, "a"), (left_out, "B"), (left_out, "C"), (other, "d"), (left_out, "E")]
        {
            rig.publish(sender, payload.as_bytes());
        }
        rig.shard.end_tick(rig.now);
        assert_eq!(rig.offered(left_out), [frame(b"a"), frame(b"d")].concat());
        let all: Vec<u8> = ["a", "B", "C", "d", "E"]
            .iter()
            .flat_map(|payload| frame(payload.as_bytes()))
            .collect();
        assert_eq!(rig.offered(other), all);
    }

    #[test]
    fn who_joins_in_the_middle_of_a_tick_gets_the_rest_of_it() {
        let mut rig = Rig::new(RoomOptions::default());
        let first = rig.settled(true);
        rig.publish(first, b"before");
        let second = rig.join(true);
        rig.publish(first, b"after");
        let third = rig.join(true);
        rig.shard.end_tick(rig.now);
        assert!(rig.offered(second).ends_with(&[b"\r\n\r\n", &frame(b"after")[..]].concat()));
        assert!(rig.offered(third).ends_with(b"\r\n\r\n"));
        rig.publish(first, b"next");
        rig.shard.end_tick(rig.now);
        assert!(rig.offered(third).ends_with(&[b"\r\n\r\n", &frame(b"next")[..]].concat()));
    }

    /// A member as a list of what it is due.
    struct Due {
        key: ConnKey,
        echo: bool,
        frames: Vec<u8>,
    }

    #[test]
    fn joins_leaves_and_own_messages_in_one_tick_agree_with_a_list_per_member() {
        for seed in 0..500 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut rig = Rig::new(RoomOptions::default());
            let mut members: Vec<Due> = Vec::new();
            for nth in 0..80_u8 {
                match dice.u8(..8) {
                    0 | 1 => {
                        let echo = dice.bool();
                        let key = rig.join(echo);
                        members.push(Due { key, echo, frames: Vec::new() });
                    }
                    2 if !members.is_empty() => {
                        let gone = members.swap_remove(dice.usize(..members.len()));
                        rig.shard.handle_error(gone.key, rig.now);
                    }
                    3 => {
                        rig.shard.end_tick(rig.now);
                        for member in &mut members {
                            let seen = rig.read_all(member.key);
                            let head = seen.windows(4).position(|four| four == b"\r\n\r\n");
                            let frames = &seen[head.map_or(0, |at| at + 4)..];
                            assert_eq!(frames, member.frames, "seed {seed}");
                            member.frames.clear();
                        }
                    }
                    _ if members.is_empty() => {}
                    _ => {
                        let sender = dice.usize(..members.len());
                        let payload = vec![nth; dice.usize(..9)];
                        rig.publish(members[sender].key, &payload);
                        for (at, member) in members.iter_mut().enumerate() {
                            if member.echo || at != sender {
                                member.frames.extend(frame(&payload));
                            }
                        }
                    }
                }
            }
        }
    }
}
