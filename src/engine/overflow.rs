//! Members that don't keep up: what of a run still fits, what is dropped, and what is told of it.
//!
//! An outbox is judged only when the kernel left some of it: a burst to a healthy reader is not a
//! slow reader (`docs/decisions/0002-overflow-when-blocked.md`). Invariants: a frame that has been
//! begun is never dropped; every dropped message is counted and stands in a gap.

use super::batch::{Frame, Run};
use super::buffers::{BufferId, Buffers, offset};
use super::outbox::{Chunk, Content, frame_end, messages_before, messages_between, messages_upto};
use super::session::{Membership, Phase, Session};
use super::shard::{Notice, Shard};
use crate::broker::{ConnKey, Disconnect, Gap, GapReason, Now, Overflow, RoomHandle, RoomOptions};
use crate::limits::BACKLOG_SEGMENT_BYTES;

/// Messages dropped from one outbox in one go.
#[derive(Debug, Default)]
struct Dropped {
    gap: Option<(u64, u64, u64)>,
}

impl Dropped {
    /// Adds `count` messages from `first` on.
    fn add(&mut self, first: u64, count: u32) {
        let Some(last) = (first + u64::from(count)).checked_sub(1).filter(|_| count > 0) else {
            return;
        };
        self.gap = Some(match self.gap {
            None => (first, last, u64::from(count)),
            Some((from, to, n)) => (from.min(first), to.max(last), n + u64::from(count)),
        });
    }
}

impl Shard {
    /// Queues a piece of a run for a member that is blocked, fresh, or left out of parts of it.
    pub(super) fn push_piece(&mut self, key: ConnKey, piece: Chunk, options: &RoomOptions) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        if fits(session, &piece, options) {
            return self.take_in(key, piece);
        }
        match options.raw_overflow() {
            Overflow::Disconnect => self.doomed.push((key, Disconnect::SlowConsumer)),
            Overflow::DropNewest => self.drop_newest(key, piece, options),
            Overflow::DropOldest => {
                self.take_in(key, piece);
                self.drop_queued_front(key, options, GapReason::SlowConsumer);
            }
            Overflow::Latest => {
                self.take_in(key, piece);
                let newest = RoomOptions { outbox_messages_max: 1, ..*options };
                self.drop_queued_front(key, &newest, GapReason::Conflated);
            }
        }
    }

    /// After a write that the kernel did not take whole: what stays is judged, and small rests of
    /// large buffers are copied out so that they don't pin them.
    pub(super) fn handle_left(&mut self, key: ConnKey, now: Now) {
        self.counters.writes_blocked += 1;
        self.copy_out(key);
        let Some(options) = self.options_of(key) else { return };
        let Some(session) = self.session(key) else { return };
        if session.outbox.bytes() <= options.outbox_bytes_max
            && session.outbox.messages() <= options.outbox_messages_max
        {
            return;
        }
        match options.raw_overflow() {
            Overflow::Disconnect => self.disconnect(key, Disconnect::SlowConsumer, now),
            // What came in while the kernel still seemed to take it goes by age.
            Overflow::DropOldest | Overflow::DropNewest => {
                self.drop_queued_front(key, &options, GapReason::SlowConsumer);
            }
            Overflow::Latest => {
                let newest = RoomOptions { outbox_messages_max: 1, ..options };
                self.drop_queued_front(key, &newest, GapReason::Conflated);
            }
        }
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
    fn drop_newest(&mut self, key: ConnKey, piece: Chunk, options: &RoomOptions) {
        let Some((run, frames)) = self.run_of(piece) else { return };
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        let room_bytes = options.outbox_bytes_max.saturating_sub(session.outbox.bytes());
        let room_messages =
            options.outbox_messages_max.saturating_sub(session.outbox.messages()) as usize;
        let first = frames.partition_point(|frame| frame.end <= piece.start);
        let limit = piece.start.saturating_add(u32::try_from(room_bytes).unwrap_or(u32::MAX));
        let fitting = frames
            .iter()
            .skip(first)
            .take(room_messages)
            .take_while(|frame| frame.end <= limit.min(piece.end))
            .last();
        let end = fitting.map_or(piece.start, |frame| frame.end);
        let kept = messages_between(frames, piece.start, end);
        let mut dropped = Dropped::default();
        let before = messages_before(frames, first);
        dropped.add(run.first_seq + u64::from(before + kept), piece.messages - kept);
        let room = run.room;
        if kept > 0 {
            self.take_in_part(key, Chunk { end, messages: kept, ..piece });
        }
        self.record(key, room, &dropped, GapReason::SlowConsumer);
    }

    /// Drops the oldest queued messages until the outbox is within its bounds.
    fn drop_queued_front(&mut self, key: ConnKey, options: &RoomOptions, reason: GapReason) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        let (nodes, buffers) = (&mut self.nodes, &mut self.buffers);
        let outbox = &mut session.outbox;
        let queued_before = outbox.bytes();
        let mut before =
            if outbox.is_begun() { outbox.split_begun(nodes, buffers) } else { u32::MAX };
        // The begun frame can't be dropped, so it is not held against the rest.
        let begun = outbox
            .at(nodes, before)
            .map_or((0, 0), |(chunk, _)| (chunk.len() as usize, chunk.messages));
        let mut place = outbox.at(nodes, before).map_or(outbox.first(), |(_, next)| next);
        let mut dropped = Dropped::default();
        let mut room = None;
        while let Some((chunk, next)) = outbox.at(nodes, place) {
            let bytes_over = outbox.bytes().saturating_sub(begun.0 + options.outbox_bytes_max);
            let messages_over =
                outbox.messages().saturating_sub(begun.1 + options.outbox_messages_max);
            if bytes_over == 0 && messages_over == 0 {
                break;
            }
            let Content::Run(run) = chunk.content else {
                (before, place) = (place, next);
                continue;
            };
            let Some((run, frames)) = buffers.run(chunk.buffer, run) else { break };
            room = Some(run.room);
            let (start, count) = cut(&chunk, frames, bytes_over, messages_over);
            let ahead = messages_upto(frames, chunk.start);
            dropped.add(run.first_seq + u64::from(ahead), count);
            if start >= chunk.end {
                outbox.unlink_after(nodes, buffers, before, place);
                place = next;
            } else {
                outbox.shorten(nodes, place, start, count);
            }
        }
        let freed = queued_before - outbox.bytes();
        self.counters.outbox_bytes -= freed as u64;
        if let Some(room) = room {
            self.record(key, room, &dropped, reason);
        }
    }

    /// Counts what was dropped and emits its gap.
    fn record(&mut self, key: ConnKey, room: RoomHandle, dropped: &Dropped, reason: GapReason) {
        let Some((from, to, count)) = dropped.gap else { return };
        self.counters.messages_dropped += count;
        self.counters.gaps += 1;
        self.notice(Notice::Gap { key, room, gap: Gap { from, to, count, reason } });
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

    fn options_of(&self, key: ConnKey) -> Option<RoomOptions> {
        let session = self.sessions.get(key.index, key.generation)?;
        let Phase::Raw(raw) = &session.phase else { return None };
        let Membership::Joined(place) = &raw.membership else { return None };
        Some(self.members.get(place.room)?.options)
    }

    fn run_of(&self, chunk: Chunk) -> Option<(&Run, &[Frame])> {
        let Content::Run(run) = chunk.content else { return None };
        self.buffers.run(chunk.buffer, run)
    }
}

/// Whether a piece may be queued: always, while the kernel is offered what is queued and takes it.
pub(super) fn fits(session: &Session, piece: &Chunk, options: &RoomOptions) -> bool {
    !(session.blocked || session.corked) || {
        let bytes = session.outbox.bytes() + piece.len() as usize;
        let messages = session.outbox.messages() + piece.messages;
        bytes <= options.outbox_bytes_max && messages <= options.outbox_messages_max
    }
}

/// Where a chunk begins once so many bytes or messages are dropped off its front, whole messages
/// at a time, and how many messages that is.
fn cut(chunk: &Chunk, frames: &[Frame], bytes_over: usize, messages_over: u32) -> (u32, u32) {
    let first = frames.partition_point(|frame| frame.end <= chunk.start);
    let before = messages_before(frames, first);
    let mut start = chunk.start;
    let mut count = 0;
    for frame in frames.iter().skip(first).take_while(|frame| frame.end <= chunk.end) {
        let enough = (start - chunk.start) as usize >= bytes_over && count >= messages_over;
        if enough {
            break;
        }
        start = frame.end;
        count = frame.upto - before;
    }
    (start, count)
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
        | Content::Control => None,
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
