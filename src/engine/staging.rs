//! What rooms published in this tick, as finished frames, until it is laid out for the loops that
//! have members.
//!
//! Not here: numbers and members of rooms (`homes`, `broker::Room`). Frames are laid out once for
//! each form, in the order in which they were numbered; at the end of the tick each room's frames
//! are copied, contiguous, into the batch of every loop that has members, once for each encoding in
//! which it has some. Invariant: the area is empty between ticks.

use super::batch::{Batch, Frame, Run};
use super::buffers::offset;
use super::packing::Packing;
use crate::broker::{ConnKey, Encoding, Form, LoopId, LoopMembers, Room, RoomHandle};
use crate::limits::OUTGOING_BYTES_MAX;
use crate::observe::Counters;
use std::ops::Range;

const NONE: u32 = u32::MAX;

/// Whom a frame leaves out.
pub(crate) type LeftOut = Option<(LoopId, ConnKey)>;

/// A room's frames of this tick: its place in [`Staging::lines`], or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LineId(u32);

impl LineId {
    /// Nothing in this tick so far.
    pub(crate) const NONE: Self = Self(NONE);
}

/// The list of a room's frames.
#[derive(Clone, Copy, Debug)]
struct Line {
    room: RoomHandle,
    first: u32,
    last: u32,
    /// Bytes of its frames, by form.
    bytes: [u32; Form::COUNT],
    /// No frame is worth compressing.
    is_plain: bool,
}

/// A frame, or the forms of one message.
#[derive(Clone, Copy, Debug)]
struct Staged {
    next: u32,
    mark: u32,
    what: What,
    left_out: LeftOut,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The forms of a message, one after the other; one that nobody needs is empty.
    Message { start: u32, raw_end: u32, json_end: u32, end: u32 },
    /// For all forms that have notices.
    Notice { start: u32, end: u32, volatile: bool },
    /// Messages that were collected.
    Batch { start: u32, end: u32, messages: u32 },
}

/// One frame in one form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    bytes: &'a [u8],
    messages: u32,
    mark: u32,
    volatile: bool,
    left_out: LeftOut,
}

/// Where the forms of a message end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms {
    pub(crate) raw_end: usize,
    pub(crate) json_end: usize,
}

/// The staging area of one loop.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    bytes: Vec<u8>,
    staged: Vec<Staged>,
    lines: Vec<Line>,
    /// Bytes that the batch for each loop has yet to take of them as they are.
    needed: Vec<usize>,
    /// Frames up to that size have no compressed form.
    plain_bytes_max: usize,
}

impl Staging {
    pub(crate) fn new(plain_bytes_max: usize) -> Self {
        Self { plain_bytes_max, ..Self::default() }
    }

    /// Bytes laid out in this tick and not yet in a batch.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Lets `write` append to the area; what it appended is to be taken in or back.
    pub(crate) fn write<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> (usize, R) {
        let start = self.bytes.len();
        (start, write(&mut self.bytes))
    }

    /// What was appended, by its place in the area.
    pub(crate) fn written(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Takes back what was appended from there on.
    pub(crate) fn take_back(&mut self, start: usize) {
        self.bytes.truncate(start);
    }

    /// Takes in the forms of a message that were appended from `start` on.
    pub(crate) fn push_message(
        &mut self,
        (room, line): (RoomHandle, &mut LineId),
        (start, forms): (usize, Forms),
        left_out: LeftOut,
        mark: u32,
    ) {
        let (raw_end, json_end) = (offset(forms.raw_end), offset(forms.json_end));
        let (start, end) = (offset(start), offset(self.bytes.len()));
        let what = What::Message { start, raw_end, json_end, end };
        self.push((room, line), Staged { next: NONE, mark, what, left_out });
    }

    /// Takes in the frame of a notice that was appended from `start` on.
    pub(crate) fn push_notice(
        &mut self,
        (room, line): (RoomHandle, &mut LineId),
        start: usize,
        left_out: LeftOut,
        volatile: bool,
    ) {
        let what = What::Notice { start: offset(start), end: offset(self.bytes.len()), volatile };
        self.push((room, line), Staged { next: NONE, mark: 0, what, left_out });
    }

    /// Takes in the frame of a batch of messages that was appended from `start` on.
    pub(crate) fn push_batch(
        &mut self,
        (room, line): (RoomHandle, &mut LineId),
        start: usize,
        messages: u32,
        left_out: LeftOut,
    ) {
        let what = What::Batch { start: offset(start), end: offset(self.bytes.len()), messages };
        self.push((room, line), Staged { next: NONE, mark: 0, what, left_out });
    }

    fn push(&mut self, (room, line): (RoomHandle, &mut LineId), staged: Staged) {
        let index = offset(self.staged.len());
        self.staged.push(staged);
        if *line == LineId::NONE {
            *line = LineId(offset(self.lines.len()));
            self.lines.push(Line {
                room,
                first: index,
                last: NONE,
                bytes: [0; Form::COUNT],
                is_plain: true,
            });
        }
        let Some(line) = self.lines.get_mut(line.0 as usize) else { return };
        if let Some(before) = self.staged.get_mut(line.last as usize) {
            before.next = index;
        }
        line.last = index;
        for form in Form::ALL {
            let Some((start, end)) = staged.range(form) else { continue };
            if let Some(bytes) = line.bytes.get_mut(form.index()) {
                *bytes += end - start;
            }
            line.is_plain &= (end - start) as usize <= self.plain_bytes_max;
        }
    }

    /// Copies all into the batches of the loops that have members: one contiguous run per room,
    /// encoding and loop. `room` finds a room and the number of messages that wait to be sent in
    /// batches; a line whose room is gone is skipped.
    pub(crate) fn lay_out<'r>(
        &mut self,
        outgoing: &mut [Batch],
        packing: &mut Packing,
        counters: &mut Counters,
        mut room: impl FnMut(RoomHandle) -> Option<(&'r Room, u32)>,
    ) {
        let lines = std::mem::take(&mut self.lines);
        self.reserve(outgoing, &lines, &mut room);
        for line in &lines {
            let Some((room, waiting)) = room(line.room) else { continue };
            for form in Form::ALL {
                self.lay_out_form(line, (room, waiting), form, outgoing, packing, counters);
            }
        }
        self.lines = lines; // Keeps what it allocated.
        self.lines.clear();
        self.staged.clear();
        self.bytes.clear();
        if self.bytes.capacity() > OUTGOING_BYTES_MAX {
            self.bytes = Vec::new();
        }
        packing.end_tick();
    }

    /// Makes room for little more than what is to come: a batch may be kept for long by members
    /// that stall, and what it has to spare would be kept with it.
    fn reserve<'r>(
        &mut self,
        outgoing: &mut [Batch],
        lines: &[Line],
        room: &mut impl FnMut(RoomHandle) -> Option<(&'r Room, u32)>,
    ) {
        self.needed.clear();
        self.needed.resize(outgoing.len(), 0);
        for line in lines {
            let Some((room, _)) = room(line.room) else { continue };
            for members in room.loops() {
                let Some(needed) = self.needed.get_mut(members.loop_id.index()) else { continue };
                *needed += line.plain_bytes(members);
            }
        }
        for (batch, needed) in outgoing.iter_mut().zip(&self.needed) {
            batch.bytes.reserve_exact(*needed);
        }
    }

    fn lay_out_form(
        &mut self,
        line: &Line,
        (room, waiting): (&Room, u32),
        form: Form,
        outgoing: &mut [Batch],
        packing: &mut Packing,
        counters: &mut Counters,
    ) {
        if line.bytes_of(form) == 0 || room.members_in(form) == 0 {
            return;
        }
        let pieces = Pieces { staged: &self.staged, bytes: &self.bytes, at: line.first, form };
        let messages: u32 = pieces.clone().map(|piece| piece.messages).sum();
        let waiting = if form == Form::Batch { waiting } else { 0 };
        let first_seq = room.seq() + 1 - u64::from(waiting + messages);
        let plain_bytes = line.bytes_of(form);
        packing.pack(room.loops(), form, pieces.clone().map(|piece| piece.bytes), counters);
        for members in room.loops() {
            let to = members.loop_id;
            let Some(batch) = outgoing.get_mut(to.index()) else { continue };
            let Some(needed) = self.needed.get_mut(to.index()) else { continue };
            if line.takes_plain(members, form) {
                *needed = needed.saturating_sub(plain_bytes); // By what comes after it.
            }
            let mut plain: Option<Run> = None;
            for encoding in members.encodings(form) {
                let run = Run::named(line.room, encoding, first_seq);
                let run = match (packing.packed(encoding.deflate), plain) {
                    (Some(packed), _) => {
                        let run = Run { saved: packed.saved(), ..run };
                        make_room(&mut batch.bytes, packed.len() + *needed);
                        let packed = packed.frames().zip(pieces.clone());
                        append_run(run, batch, to, packed.map(|(bytes, p)| Piece { bytes, ..p }))
                    }
                    (None, Some(plain)) => Run { encoding, ..plain },
                    (None, None) => {
                        make_room(&mut batch.bytes, plain_bytes + *needed);
                        *plain.insert(append_run(run, batch, to, pieces.clone()))
                    }
                };
                batch.runs.push(run);
            }
        }
    }
}

impl Line {
    fn bytes_of(&self, form: Form) -> usize {
        self.bytes.get(form.index()).map_or(0, |bytes| *bytes as usize)
    }

    /// Whether that loop gets this form as it is.
    fn takes_plain(&self, members: &LoopMembers, form: Form) -> bool {
        let plain = Encoding { form, ..Encoding::RAW };
        members.count(plain) > 0 || self.is_plain && members.encodings(form).next().is_some()
    }

    /// Bytes that one loop takes as they are.
    fn plain_bytes(&self, members: &LoopMembers) -> usize {
        let takes_it = |form: &Form| self.bytes_of(*form) > 0 && self.takes_plain(members, *form);
        Form::ALL.into_iter().filter(takes_it).map(|form| self.bytes_of(form)).sum()
    }
}

impl Staged {
    /// Where its bytes in that form are, if it has any.
    fn range(&self, form: Form) -> Option<(u32, u32)> {
        let (start, end) = match (self.what, form) {
            (What::Message { start, raw_end, .. }, Form::Raw) => (start, raw_end),
            (What::Message { raw_end, json_end, .. }, Form::Json) => (raw_end, json_end),
            (What::Message { json_end, end, .. }, Form::Binary) => (json_end, end),
            (What::Notice { start, end, .. }, Form::Json | Form::Batch | Form::Binary)
            | (What::Batch { start, end, .. }, Form::Batch) => (start, end),
            (What::Message { .. }, Form::Batch)
            | (What::Notice { .. }, Form::Raw)
            | (What::Batch { .. }, Form::Raw | Form::Json | Form::Binary) => return None,
        };
        (start < end).then_some((start, end))
    }
}

/// A room's frames of this tick in one form, in order.
#[derive(Clone)]
struct Pieces<'a> {
    staged: &'a [Staged],
    bytes: &'a [u8],
    at: u32,
    form: Form,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let staged = self.staged.get(self.at as usize)?;
            self.at = staged.next;
            let Some((start, end)) = staged.range(self.form) else { continue };
            let bytes = self.bytes.get(start as usize..end as usize).unwrap_or_default();
            let (messages, volatile) = match staged.what {
                What::Message { .. } => (1, false),
                What::Notice { volatile, .. } => (0, volatile),
                What::Batch { messages, .. } => (messages, false),
            };
            let Staged { mark, left_out, .. } = *staged;
            return Some(Piece { bytes, messages, mark, volatile, left_out });
        }
    }
}

/// Makes room for `more` bytes and little else, and yet not anew for each of many rooms: how small
/// their compressed forms are is not known beforehand.
fn make_room(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len() / 8));
    }
}

/// Copies frames behind those of the batch, and says where they are.
fn append_run<'a>(
    run: Run,
    batch: &mut Batch,
    to: LoopId,
    pieces: impl Iterator<Item = Piece<'a>>,
) -> Run {
    let (start, frames_from) = (offset(batch.bytes.len()), offset(batch.frames.len()));
    let (mut leaves_out, mut has_volatile, mut upto) = (false, false, 0);

    for Piece { bytes, messages, mark, volatile, left_out } in pieces {
        batch.bytes.extend_from_slice(bytes);
        let left_out = left_out.filter(|(at, _)| *at == to).map(|(_, key)| key);
        leaves_out |= left_out.is_some();
        has_volatile |= volatile;
        upto += messages;
        let end = offset(batch.bytes.len());
        batch.frames.push(Frame { end, upto, mark, volatile, left_out });
    }
    let (end, frames_to) = (offset(batch.bytes.len()), offset(batch.frames.len()));
    Run { start, end, frames_from, frames_to, leaves_out, has_volatile, ..run }
}

#[cfg(test)]
mod tests {
    use super::make_room;

    #[test]
    fn many_rooms_grow_a_batch_seldom_and_leave_little_to_spare() {
        let mut bytes: Vec<u8> = Vec::new();
        let mut grown = 0;
        for _ in 0..4_000 {
            let before = bytes.capacity();
            make_room(&mut bytes, 450);
            grown += usize::from(bytes.capacity() != before);
            bytes.resize(bytes.len() + 450, 0);
        }
        assert!(grown < 100, "it grew {grown} times");
        assert!(bytes.capacity() - bytes.len() <= bytes.len() / 8, "{}", bytes.capacity());
    }
}
