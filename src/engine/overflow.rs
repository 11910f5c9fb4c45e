//! Members that don't keep up: what of a run still fits, what is dropped, and what is told of it.
//!
//! An outbox is judged only when the kernel left some of it: a burst to a healthy reader is not a
//! slow reader (`docs/decisions/0002-overflow-when-blocked.md`). It is judged by the bounds of the
//! room whose messages are too many, and loses messages of that room alone. Not here: how they are
//! taken out and told of (`shedding`). Invariants: a frame that has been begun is never dropped;
//! every dropped message is counted and stands in a gap.

use super::batch::{Frame, Run};
use super::buffers::{BufferId, Buffers, offset};
use super::outbox::{Chunk, Content, frame_end, messages_before, messages_between};
use super::session::Session;
use super::shard::{Notice, Shard};
use super::shedding::{Dropped, Judgement, Queued, newest_of_each_mark};
use crate::broker::{
    ConnKey, Disconnect, Encoding, GapReason, Now, Overflow, RoomHandle, RoomOptions,
};
use crate::limits::BACKLOG_SEGMENT_BYTES;

/// A room in the form in which a member gets it.
pub(super) type RoomForm = (RoomHandle, Encoding);

impl Shard {
    /// Queues a piece of a run for a member that is blocked, fresh, or left out of parts of it.
    pub(super) fn push_piece(&mut self, key: ConnKey, piece: Chunk, options: &RoomOptions) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        if fits(session, &piece, options) {
            return self.take_in(key, piece);
        }
        let Some((run, _)) = self.run_of(piece) else { return };
        let room = (run.room, run.encoding);
        match policy(options, run.encoding) {
            Overflow::Disconnect => self.doomed.push((key, Disconnect::SlowConsumer)),
            Overflow::DropNewest => self.drop_newest(key, room, piece, options),
            Overflow::DropOldest => {
                self.take_in(key, piece);
                self.drop_oldest(key, room, options);
            }
            Overflow::Latest => {
                self.take_in(key, piece);
                self.conflate(key, room, options);
            }
        }
    }

    /// After a write that the kernel did not take whole: what stays is judged, room by room, and
    /// small rests of large buffers are copied out so that they don't pin them.
    pub(super) fn handle_left(&mut self, key: ConnKey, now: Now) {
        self.counters.writes_blocked += 1;
        self.copy_out(key);
        let Some(session) = self.session(key) else { return };
        if session.outbox.messages() == 0 || !session.phase.is_websocket() {
            return;
        }
        let mut cuts_off = Vec::new();
        for room in self.rooms_queued(key) {
            let Some((_, members)) = self.members.find(room.0, room.1) else { continue };
            let options = members.options;
            if !self.is_over(key, &options) {
                continue;
            }
            match policy(&options, room.1) {
                Overflow::Disconnect => cuts_off.push(options),
                // What came in while the kernel still seemed to take it goes by age.
                Overflow::DropOldest | Overflow::DropNewest => {
                    self.drop_oldest(key, room, &options)
                }
                Overflow::Latest => self.conflate(key, room, &options),
            }
        }
        // Rooms that let messages go have made what room they could.
        if cuts_off.iter().any(|options| self.is_over(key, options)) {
            self.disconnect(key, Disconnect::SlowConsumer, now);
        }
        self.end_doomed(now);
    }

    /// Queues a piece behind everything else; it is held once more.
    pub(super) fn take_in(&mut self, key: ConnKey, piece: Chunk) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        if !session.outbox.extend(&mut self.nodes, &piece) {
            self.buffers.hold(piece.buffer, 1);
            session.outbox.push(&mut self.nodes, piece);
        }
        self.counters.messages_out += u64::from(piece.messages);
        self.counters.outbox_bytes += u64::from(piece.len());
        self.mark_dirty(key.index, true);
    }

    /// Takes in what is left of a piece whose rest was dropped; it is not to pin that too.
    fn take_in_part(&mut self, key: ConnKey, part: Chunk) {
        let capacity = self.buffers.capacity(part.buffer);
        if capacity <= BACKLOG_SEGMENT_BYTES || part.len() as usize >= capacity / 5 * 4 {
            return self.take_in(key, part);
        }
        let own = copy(&mut self.buffers, &part);
        self.take_in(key, own);
        self.buffers.release(own.buffer);
    }

    /// Takes in as many of the piece's first messages as fit.
    fn drop_newest(&mut self, key: ConnKey, room: RoomForm, piece: Chunk, options: &RoomOptions) {
        let Some((run, frames)) = self.run_of(piece) else { return };
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        let room_bytes = options.outbox_bytes_max.saturating_sub(session.outbox.room_bytes());
        let room_messages = options.outbox_messages_max.saturating_sub(session.outbox.messages());
        let first = frames.partition_point(|frame| frame.end <= piece.start);
        let before = messages_before(frames, first);
        let limit = piece.start.saturating_add(u32::try_from(room_bytes).unwrap_or(u32::MAX));
        let fitting = frames
            .iter()
            .skip(first)
            .take_while(|frame| frame.end <= limit.min(piece.end))
            .take_while(|frame| frame.upto - before <= room_messages)
            .last();
        let end = fitting.map_or(piece.start, |frame| frame.end);
        let kept = messages_between(frames, piece.start, end);
        let mut dropped = Dropped::default();
        let first_seq = run.first_seq + u64::from(before + kept);
        dropped.add(first_seq, piece.messages - kept, GapReason::SlowConsumer);
        if dropped.is_nothing() && !self.stands_behind_gap(key, room.0) {
            // Of a notice alone no gap would tell: something older that counts makes way.
            self.take_in(key, piece);
            return self.drop_oldest(key, room, options);
        }
        if end > piece.start {
            self.take_in_part(key, Chunk { end, messages: kept, ..piece });
        }
        if let Some(gap) = dropped.gap() {
            self.tell_behind(key, room, gap);
        }
        self.record(key, room, &dropped);
    }

    /// Drops the room's oldest queued messages until the outbox is within its bounds.
    fn drop_oldest(&mut self, key: ConnKey, room: RoomForm, options: &RoomOptions) {
        let mut dropped = Dropped::default();
        self.drop_by_age(key, room, options, &mut dropped);
        self.record(key, room, &dropped);
    }

    fn drop_by_age(
        &mut self,
        key: ConnKey,
        room: RoomForm,
        options: &RoomOptions,
        dropped: &mut Dropped,
    ) {
        let (mut bytes_over, mut messages_over) = self.excess(key, options);
        self.shed(key, room, GapReason::SlowConsumer, dropped, |queued: &Queued| {
            if bytes_over == 0 && messages_over == 0 {
                return Judgement::Stop;
            }
            bytes_over = bytes_over.saturating_sub(queued.bytes as usize);
            messages_over = messages_over.saturating_sub(queued.messages);
            Judgement::Drop
        });
    }

    /// Drops all of the room's queued messages but the newest of each mark, and the oldest of those
    /// if that does not make room.
    fn conflate(&mut self, key: ConnKey, room: RoomForm, options: &RoomOptions) {
        let mut dropped = Dropped::default();
        self.excess(key, options); // Parts off what has been begun: that is no candidate.
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        let mut newest = newest_of_each_mark(&session.outbox, &self.nodes, &self.buffers, room.0);
        self.shed(key, room, GapReason::Conflated, &mut dropped, |queued: &Queued| {
            match queued.messages > 0 && !newest.is_next_kept(queued.mark) {
                true => Judgement::Drop,
                false => Judgement::Keep,
            }
        });
        self.drop_by_age(key, room, options, &mut dropped);
        self.record(key, room, &dropped);
        self.copy_out(key); // Little may be left of much.
    }

    /// By how much an outbox exceeds its bounds. The frame that has been begun, which is parted
    /// off, can't be dropped, so it is not held against the rest.
    fn excess(&mut self, key: ConnKey, options: &RoomOptions) -> (usize, u32) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return (0, 0) };
        let outbox = &mut session.outbox;
        let begun = match outbox.is_begun() {
            true => outbox.split_begun(&mut self.nodes, &mut self.buffers),
            false => u32::MAX,
        };
        let (bytes, messages) = outbox
            .at(&self.nodes, begun)
            .filter(|(chunk, _)| !chunk.is_answer())
            .map_or((0, 0), |(chunk, _)| (chunk.len() as usize, chunk.messages));
        (
            outbox.room_bytes().saturating_sub(bytes + options.outbox_bytes_max),
            outbox.messages().saturating_sub(messages + options.outbox_messages_max),
        )
    }

    fn is_over(&self, key: ConnKey, options: &RoomOptions) -> bool {
        self.sessions.get(key.index, key.generation).is_some_and(|session| {
            session.outbox.room_bytes() > options.outbox_bytes_max
                || session.outbox.messages() > options.outbox_messages_max
        })
    }

    /// The rooms that an outbox has messages of, each once.
    fn rooms_queued(&self, key: ConnKey) -> Vec<RoomForm> {
        let Some(session) = self.sessions.get(key.index, key.generation) else { return Vec::new() };
        let mut rooms: Vec<RoomForm> = Vec::new();
        let mut place = session.outbox.first();
        while let Some((chunk, next)) = session.outbox.at(&self.nodes, place) {
            if let Some((run, _)) = self.run_of(chunk)
                && rooms.last() != Some(&(run.room, run.encoding))
            {
                rooms.push((run.room, run.encoding));
            }
            place = next;
        }
        rooms.sort_unstable_by_key(|(room, encoding)| {
            (room.home.index(), room.slot, room.generation, encoding.index())
        });
        rooms.dedup();
        rooms
    }

    /// Counts what was dropped in one go and notes it for the log.
    fn record(&mut self, key: ConnKey, (room, _): RoomForm, dropped: &Dropped) {
        let Some(gap) = dropped.gap() else { return };
        self.counters.messages_dropped += gap.count;
        self.counters.gaps += 1;
        self.notice(Notice::Gap { key, room, gap });
    }

    /// Copies out every chunk that covers less than a quarter of its buffer.
    pub(super) fn copy_out(&mut self, key: ConnKey) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        let mut place = session.outbox.first();
        while let Some((chunk, next)) = session.outbox.at(&self.nodes, place) {
            if let Some(moved) = copy_small(&mut self.buffers, &chunk) {
                session.outbox.replace(&mut self.nodes, &mut self.buffers, place, moved);
            }
            place = next;
        }
    }

    fn run_of(&self, chunk: Chunk) -> Option<(&Run, &[Frame])> {
        let Content::Run(run) = chunk.content else { return None };
        self.buffers.run(chunk.buffer, run)
    }
}

/// What happens to members of that room in that form whose outbox is full.
const fn policy(options: &RoomOptions, encoding: Encoding) -> Overflow {
    match encoding.form.has_notices() {
        true => options.overflow,
        false => options.raw_overflow(),
    }
}

/// Whether a piece may be queued: always, while the kernel is offered what is queued and takes it.
pub(super) fn fits(session: &Session, piece: &Chunk, options: &RoomOptions) -> bool {
    !(session.blocked || session.corked) || {
        let bytes = session.outbox.room_bytes() + piece.len() as usize;
        let messages = session.outbox.messages() + piece.messages;
        bytes <= options.outbox_bytes_max && messages <= options.outbox_messages_max
    }
}

/// A copy of the chunk, held once, if the chunk covers less than a quarter of its buffer.
pub(super) fn copy_small(buffers: &mut Buffers, chunk: &Chunk) -> Option<Chunk> {
    let is_small = (chunk.len() as usize) < buffers.capacity(chunk.buffer) / 4;
    is_small.then(|| copy(buffers, chunk))
}

/// The same bytes in a buffer of their own, with as much of the run as they cover.
pub(super) fn copy(buffers: &mut Buffers, chunk: &Chunk) -> Chunk {
    let covered = match chunk.content {
        Content::Run(run) => buffers.run(chunk.buffer, run).map(|(run, frames)| {
            // From the start of the frame that has been begun, so that its end stays known.
            let first = frames.partition_point(|frame| frame.end <= chunk.start);
            let origin = match first.checked_sub(1).and_then(|before| frames.get(before)) {
                Some(before) => before.end,
                None => run.start,
            };
            debug_assert!(frame_end(run, frames, origin) == origin);
            let before = messages_before(frames, first);
            let covered: Vec<Frame> = frames
                .iter()
                .skip(first)
                .take_while(|frame| frame.end <= chunk.end)
                .map(|frame| Frame { end: frame.end - origin, upto: frame.upto - before, ..*frame })
                .collect();
            let copied = Run {
                first_seq: run.first_seq + u64::from(before),
                start: 0,
                end: chunk.end - origin,
                frames_from: 0,
                frames_to: offset(covered.len()),
                ..*run
            };
            (origin, vec![copied], covered)
        }),
        Content::Response
        | Content::Answer
        | Content::Opening
        | Content::Rest
        | Content::Pong
        | Content::Control
        | Content::Gap(_) => None,
    };
    let (origin, runs, frames) = covered.unwrap_or((chunk.start, Vec::new(), Vec::new()));
    let bytes = buffers.bytes(chunk.buffer, origin, chunk.end).to_vec();
    let messages = frames.last().map_or(0, |frame| frame.upto);
    let content = if runs.is_empty() { chunk.content } else { Content::Run(0) };
    let id: BufferId = buffers.insert(bytes, runs, frames);
    buffers.hold(id, 1);
    Chunk { buffer: id, start: chunk.start - origin, end: chunk.end - origin, content, messages }
}

#[cfg(test)]
#[path = "overflow_tests.rs"]
mod tests;
