//! Messages of one room taken out of one outbox, and the gaps that stand in their place.
//!
//! Not here: which of them have to go (`overflow`). Invariants: a frame that has been begun stays;
//! other rooms' messages stay; a member that can be told has a gap before the next message of the
//! room behind what it missed; two gaps of a room have something between them that it gets.

use super::batch::{Frame, Run};
use super::buffers::Buffers;
use super::gaps::{Missed, merged, place_of};
use super::outbox::{Chunk, Content, Nodes, Outbox, messages_before};
use super::overflow::RoomForm;
use super::shard::Shard;
use crate::broker::{ConnKey, Disconnect, Gap, GapReason, RoomHandle};
use crate::limits::GAPS_QUEUED_MAX;
use hashbrown::HashTable;

/// A frame in an outbox, to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) bytes: u32,
    /// 0 for a notice.
    pub(super) messages: u32,
    pub(super) mark: u32,
}

/// What is to become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judgement {
    Keep,
    Drop,
    /// It stays, and so does all behind it.
    Stop,
}

/// Messages dropped from one outbox in one go.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    gap: Option<Gap>,
}

impl Dropped {
    /// Adds `count` messages from `first` on.
    pub(super) fn add(&mut self, first: u64, count: u32, reason: GapReason) {
        let Some(to) = (first + u64::from(count)).checked_sub(1).filter(|_| count > 0) else {
            return;
        };
        let more = Gap { from: first, to, count: u64::from(count), reason };
        self.gap = Some(self.gap.map_or(more, |gap| merged(gap, &more)));
    }

    /// All of them, as one gap.
    pub(super) const fn gap(&self) -> Option<Gap> {
        self.gap
    }

    pub(super) const fn is_nothing(&self) -> bool {
        self.gap.is_none()
    }
}

/// A part of a chunk whose frames share one fate.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u32,
    end: u32,
    first_seq: u64,
    messages: u32,
    is_kept: bool,
}

/// What a walk along an outbox knows of the room's gaps so far.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// The gap that is told before anything that the member got since: what is missed here is
    /// part of it.
    open: Option<u32>,
    /// The last one.
    last: Option<u32>,
    /// A notice was dropped that no gap tells of.
    owes: bool,
}

impl Shard {
    /// Takes those of the room's frames out of an outbox that `judge`, which sees each in order,
    /// does not keep. What has been begun was parted off before.
    pub(super) fn shed(
        &mut self,
        key: ConnKey,
        room: RoomForm,
        reason: GapReason,
        dropped: &mut Dropped,
        mut judge: impl FnMut(&Queued) -> Judgement,
    ) {
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        let queued_before = session.outbox.bytes();
        let mut before = if session.outbox.is_begun() { session.outbox.first() } else { u32::MAX };
        let mut told = Told::default();
        let mut is_over = false;
        while !is_over {
            let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
            let place = session.outbox.after(&self.nodes, before);
            let Some((chunk, _)) = session.outbox.at(&self.nodes, place) else { break };
            let Some((run, frames)) = run_of(&self.buffers, &chunk, room.0) else {
                before = self.pass(key, (before, place), &chunk, room.0, &mut told);
                continue;
            };
            let parts = parts(run, frames, &chunk, &mut told, &mut judge);
            is_over = parts.stopped;
            if parts.list.iter().all(|part| part.is_kept) {
                (told.open, before) = (None, place);
                continue;
            }
            for part in parts.list {
                let Part { start, end, messages, first_seq, is_kept } = part;
                if is_kept {
                    self.buffers.hold(chunk.buffer, 1);
                    let kept = Chunk { start, end, messages, ..chunk };
                    before = self.insert(key, before, kept);
                    told.open = None;
                    continue;
                }
                let mut here = Dropped::default();
                here.add(first_seq, messages, reason);
                if let Some(gap) = here.gap() {
                    dropped.add(first_seq, messages, reason);
                    before = self.tell_at(key, before, room, gap, &mut told);
                }
            }
            let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
            session.outbox.unlink_after(&mut self.nodes, &mut self.buffers, before, place);
        }
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        self.counters.outbox_bytes -= (queued_before - session.outbox.bytes()) as u64;
        if told.owes {
            self.doomed.push((key, Disconnect::SlowConsumer));
        }
    }

    /// Goes past what is no message of the room; gaps that nothing stands between become one.
    fn pass(
        &mut self,
        key: ConnKey,
        (before, place): (u32, u32),
        chunk: &Chunk,
        room: RoomHandle,
        told: &mut Told,
    ) -> u32 {
        match chunk.content {
            Content::Gap(entry) if self.nodes.gaps.room(entry) == Some(room) => {
                told.owes = false;
                let Some(open) = told.open else {
                    (told.open, told.last) = (Some(entry), Some(entry));
                    return place;
                };
                let Some(missed) = self.nodes.gaps.take(entry) else { return place };
                self.nodes.gaps.extend(open, &missed.gap);
                let Some(session) = self.sessions.get_mut(key.index, key.generation) else {
                    return place;
                };
                session.outbox.unlink_after(&mut self.nodes, &mut self.buffers, before, place);
                before
            }
            // It may be the word that the member has left the room, or is in it again.
            Content::Answer | Content::Opening | Content::Rest | Content::Response => {
                told.open = None;
                place
            }
            Content::Gap(_) | Content::Run(_) | Content::Pong | Content::Control => place,
        }
    }

    /// Tells of a gap behind `before`; the place that what follows goes behind.
    fn tell_at(
        &mut self,
        key: ConnKey,
        before: u32,
        room: RoomForm,
        gap: Gap,
        told: &mut Told,
    ) -> u32 {
        if !room.1.form.has_notices() {
            return before;
        }
        let queued = self.session(key).map_or(0, |session| session.outbox.gaps());
        // Of many gaps the later ones are told early: that is no mistake, only less exact.
        let earlier = told.last.filter(|_| queued >= GAPS_QUEUED_MAX);
        if let Some(entry) = told.open.or(earlier) {
            self.nodes.gaps.extend(entry, &gap);
            return before;
        }
        let members = self.members.find(room.0, room.1).filter(|_| queued < GAPS_QUEUED_MAX);
        let Some((_, members)) = members else {
            self.doomed.push((key, Disconnect::SlowConsumer));
            return before;
        };
        let (name, epoch) = (members.name.clone(), members.epoch);
        let entry = self.nodes.gaps.insert(Missed { room: room.0, name, epoch, gap });
        (told.open, told.last) = (Some(entry), Some(entry));
        self.insert(key, before, place_of(entry))
    }

    /// Tells of a gap behind everything that is queued.
    pub(super) fn tell_behind(&mut self, key: ConnKey, room: RoomForm, gap: Gap) {
        let mut told = self.told_at_end(key, room.0);
        let Some(session) = self.session(key) else { return };
        let last = session.outbox.last();
        self.tell_at(key, last, room, gap, &mut told);
    }

    /// Whether the end of an outbox is told as missed already.
    pub(super) fn stands_behind_gap(&self, key: ConnKey, room: RoomHandle) -> bool {
        self.told_at_end(key, room).open.is_some()
    }

    fn told_at_end(&self, key: ConnKey, room: RoomHandle) -> Told {
        let mut told = Told::default();
        let Some(session) = self.sessions.get(key.index, key.generation) else { return told };
        let outbox = &session.outbox;
        let gap_of = |chunk: &Chunk| match chunk.content {
            Content::Gap(entry) => {
                Some(entry).filter(|entry| self.nodes.gaps.room(*entry) == Some(room))
            }
            Content::Run(_)
            | Content::Answer
            | Content::Opening
            | Content::Rest
            | Content::Response
            | Content::Pong
            | Content::Control => None,
        };
        // Who is in one room has its gap here.
        if let Some((chunk, _)) = outbox.at(&self.nodes, outbox.last())
            && let Some(entry) = gap_of(&chunk)
        {
            return Told { open: Some(entry), last: Some(entry), ..told };
        }
        if outbox.gaps() == 0 {
            return told;
        }
        let mut place = outbox.first();
        while let Some((chunk, next)) = outbox.at(&self.nodes, place) {
            match chunk.content {
                Content::Gap(_) => {
                    if let Some(entry) = gap_of(&chunk) {
                        (told.open, told.last) = (Some(entry), Some(entry));
                    }
                }
                Content::Run(_) if run_of(&self.buffers, &chunk, room).is_none() => {}
                Content::Pong | Content::Control => {}
                Content::Run(_)
                | Content::Answer
                | Content::Opening
                | Content::Rest
                | Content::Response => told.open = None,
            }
            place = next;
        }
        told
    }

    fn insert(&mut self, key: ConnKey, before: u32, chunk: Chunk) -> u32 {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return before };
        session.outbox.insert_after(&mut self.nodes, before, chunk)
    }
}

/// A chunk's parts, in order.
struct Parts {
    list: Vec<Part>,
    stopped: bool,
}

fn parts(
    run: &Run,
    frames: &[Frame],
    chunk: &Chunk,
    told: &mut Told,
    judge: &mut impl FnMut(&Queued) -> Judgement,
) -> Parts {
    let first = frames.partition_point(|frame| frame.end <= chunk.start);
    let mut upto = messages_before(frames, first);
    let mut start = chunk.start;
    let mut list: Vec<Part> = Vec::new();
    let mut is_told = told.open.is_some();
    for frame in frames.iter().skip(first).take_while(|frame| frame.end <= chunk.end) {
        let (bytes, messages) = (frame.end - start, frame.upto - upto);
        let first_seq = run.first_seq + u64::from(upto);
        let judgement = match judge(&Queued { bytes, messages, mark: frame.mark }) {
            // A notice goes together with a message, so that its member is told of something.
            Judgement::Stop if told.owes => Judgement::Drop,
            other @ (Judgement::Stop | Judgement::Keep | Judgement::Drop) => other,
        };
        if judgement == Judgement::Stop {
            let messages = chunk.messages - list.iter().map(|part| part.messages).sum::<u32>();
            list.push(Part { start, end: chunk.end, first_seq, messages, is_kept: true });
            return Parts { list, stopped: true };
        }
        let is_kept = judgement == Judgement::Keep;
        if messages > 0 || is_kept {
            is_told = !is_kept;
        }
        told.owes = match (is_kept, messages) {
            (false, 0) => told.owes || !is_told && !frame.volatile,
            (false, _) => false,
            (true, _) => told.owes,
        };
        match list.last_mut().filter(|part| part.is_kept == is_kept) {
            Some(part) => {
                part.end = frame.end;
                part.messages += messages;
            }
            None => list.push(Part { start, end: frame.end, first_seq, messages, is_kept }),
        }
        (start, upto) = (frame.end, frame.upto);
    }
    Parts { list, stopped: false }
}

fn run_of<'a>(
    buffers: &'a Buffers,
    chunk: &Chunk,
    room: RoomHandle,
) -> Option<(&'a Run, &'a [Frame])> {
    let Content::Run(run) = chunk.content else { return None };
    buffers.run(chunk.buffer, run).filter(|(run, _)| run.room == room)
}

/// How many of a room's queued messages have each mark, so that the last one is known.
pub(super) struct Marks(HashTable<(u32, u32)>);

impl Marks {
    fn count(&mut self, mark: u32) {
        let hash = |(mark, _): &(u32, u32)| mix(*mark);
        let entry = self.0.entry(mix(mark), |(other, _)| *other == mark, hash);
        entry.or_insert((mark, 0)).into_mut().1 += 1;
    }

    /// Whether the next message with that mark, in order, is the last one.
    pub(super) fn is_next_kept(&mut self, mark: u32) -> bool {
        self.0.find_mut(mix(mark), |(other, _)| *other == mark).is_none_or(|(_, left)| {
            *left = left.saturating_sub(1);
            *left == 0
        })
    }
}

/// Marks are hashes already; the multiplier spreads them (Knuth, TAOCP 6.4).
fn mix(mark: u32) -> u64 {
    u64::from(mark).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The marks of a room's queued messages but for what has been begun, which was parted off before.
pub(super) fn newest_of_each_mark(
    outbox: &Outbox,
    nodes: &Nodes,
    buffers: &Buffers,
    room: RoomHandle,
) -> Marks {
    let mut marks = Marks(HashTable::new());
    let mut place =
        if outbox.is_begun() { outbox.after(nodes, outbox.first()) } else { outbox.first() };
    while let Some((chunk, next)) = outbox.at(nodes, place) {
        place = next;
        let Some((_, frames)) = run_of(buffers, &chunk, room) else { continue };
        let first = frames.partition_point(|frame| frame.end <= chunk.start);
        let mut upto = messages_before(frames, first);
        for frame in frames.iter().skip(first).take_while(|frame| frame.end <= chunk.end) {
            if frame.upto > upto {
                marks.count(frame.mark);
            }
            upto = frame.upto;
        }
    }
    marks
}
