//! One room's past: its newest messages, as they go out, in buffers that readers share.
//!
//! Not here: how a message is laid out (`protocol`), what all rooms keep together (`engine`).
//! Invariants: what is kept is contiguous in `seq` and ends with the last push; a room that keeps
//! nothing has nothing allocated; what is told to be kept is what the buffers take, not what is in
//! them.

mod reading;
mod segment;

pub use reading::{Piece, Reading};

use super::{HistoryOptions, Position, Unrecoverable};
use crate::limits::HISTORY_SEGMENT_BYTES;
use segment::{Open, Segment, Wanted};
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

/// Of the bytes that a room may keep, a segment takes at most this part: what is evicted for its
/// bytes goes by the segment.
const SEGMENTS_MIN: usize = 8;

/// A message, as it is given to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept<'a> {
    /// Its number, the one behind the last push's.
    pub seq: u64,
    /// When it was published; never before the last push's.
    pub mono_ms: u64,
    /// Stands for the session that published it, 0 for none.
    pub author: u64,
    /// Where in `item` its sender lies.
    pub sender: Range<u32>,
    /// The message as it goes out.
    pub item: &'a [u8],
}

/// One room's ring of messages. One that keeps nothing costs a pointer.
#[derive(Debug, Default)]
pub struct History(Option<Box<Ring>>);

/// What is kept; never without a message.
#[derive(Debug)]
struct Ring {
    finished: VecDeque<Segment>,
    open: Open,
    /// The oldest message that counts; those before it, in its segment, are gone.
    first_seq: u64,
    /// Sums over `finished`.
    buffer_bytes: usize,
    index_bytes: usize,
}

impl History {
    /// An empty history.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Keeps a message, and lets go of what no longer fits the options. One that does not fit by
    /// itself empties the history, which would else have a hole.
    pub fn push(&mut self, kept: Kept<'_>, options: &HistoryOptions) {
        debug_assert!(self.last_seq().is_none_or(|last| last + 1 == kept.seq), "a hole in seq");
        debug_assert!(kept.sender.end as usize <= kept.item.len());
        let fits = kept.item.len() < options.bytes_max.min(u32::MAX as usize / 2);
        if !fits || options.messages_max == 0 {
            self.0 = None;
            return;
        }
        let ring = self.0.get_or_insert_with(|| Box::new(Ring::new(kept.seq)));
        ring.push(&kept, options);
        ring.keep_messages(options.messages_max);
        ring.keep_buffers(options.bytes_max);
        self.expire(kept.mono_ms, options);
    }

    /// Lets go of what has reached its age.
    pub fn expire(&mut self, mono_ms: u64, options: &HistoryOptions) {
        let Some(ring) = self.0.as_deref_mut() else { return };
        let is_old = |then: u64| mono_ms.saturating_sub(then) >= options.age_ms;
        let mut first = ring.first_seq;
        while ring.time(first).is_some_and(is_old) {
            first += 1;
        }
        if first == ring.open.next_seq() {
            self.0 = None;
        } else {
            ring.keep_from(first);
        }
    }

    /// Lets go of the oldest segment, for the sake of other rooms. False: there was none.
    pub fn evict_oldest(&mut self) -> bool {
        let Some(ring) = self.0.as_deref_mut() else { return false };
        let next = ring.finished.front().map(Segment::next_seq);
        match next.filter(|next| *next < ring.open.next_seq()) {
            Some(next) => ring.keep_from(next),
            None => self.0 = None,
        }
        true
    }

    /// Bytes that it keeps allocated: buffers, what is unused of them too, and index.
    pub fn bytes(&self) -> usize {
        self.0.as_deref().map_or(0, Ring::bytes)
    }

    /// Whether it keeps nothing.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The oldest message kept.
    pub fn first_seq(&self) -> Option<u64> {
        self.0.as_deref().map(|ring| ring.first_seq)
    }

    /// The newest message kept.
    pub fn last_seq(&self) -> Option<u64> {
        self.0.as_deref().map(|ring| ring.open.next_seq() - 1)
    }

    /// When the oldest message kept was published.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.0.as_deref().and_then(|ring| ring.time(ring.first_seq))
    }

    /// Those messages of the range that are kept, in order. Messages of the author `without` are
    /// left out and named instead; 0 is nobody.
    pub fn read(&mut self, seqs: RangeInclusive<u64>, without: Option<u64>) -> Reading {
        let mut reading = Reading::default();
        if let Some(ring) = self.0.as_deref_mut() {
            let seqs = *seqs.start().max(&ring.first_seq)..=*seqs.end();
            ring.read(
                &Wanted { seqs, without: without.filter(|author| *author != 0) },
                &mut reading,
            );
            reading.finish();
        }
        reading
    }

    /// The sender of a message, as it is laid out in it; `None` when it is not kept.
    pub fn sender(&self, seq: u64) -> Option<&[u8]> {
        let ring = self.0.as_deref().filter(|ring| ring.first_seq <= seq)?;
        match ring.segment(seq) {
            Some(segment) => segment.sender(seq),
            None => ring.open.sender(seq),
        }
    }
}

impl Ring {
    const fn new(first_seq: u64) -> Self {
        Self {
            finished: VecDeque::new(),
            open: Open::new(first_seq),
            first_seq,
            buffer_bytes: 0,
            index_bytes: 0,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.finished.capacity() * size_of::<Segment>()
            + self.buffer_bytes
            + self.index_bytes
            + self.open.buffer_bytes()
            + self.open.index_bytes()
    }

    fn push(&mut self, kept: &Kept<'_>, options: &HistoryOptions) {
        let wanted = HISTORY_SEGMENT_BYTES.min(options.bytes_max / SEGMENTS_MIN);
        let needed = kept.item.len() + 1;
        if self.open.is_full_for(needed) {
            self.open.drop_before(self.first_seq);
        }
        if !self.open.is_empty() && self.open.len_bytes() + needed > wanted {
            self.finish();
        }
        self.open.push(kept, wanted);
    }

    fn finish(&mut self) {
        let segment = self.open.finish();
        self.buffer_bytes += segment.buffer_bytes();
        self.index_bytes += segment.index_bytes();
        self.finished.push_back(segment);
    }

    fn keep_messages(&mut self, messages_max: u32) {
        let first = self.open.next_seq().saturating_sub(u64::from(messages_max));
        if first > self.first_seq {
            self.keep_from(first);
        }
    }

    /// The open segment alone fits: its buffer is no larger than its share or its only message.
    fn keep_buffers(&mut self, bytes_max: usize) {
        while self.buffer_bytes + self.open.buffer_bytes() > bytes_max
            && let Some(oldest) = self.finished.front()
        {
            self.keep_from(oldest.next_seq());
        }
    }

    /// Lets go of what comes before `seq`, which is kept.
    fn keep_from(&mut self, seq: u64) {
        self.first_seq = seq;
        while let Some(gone) = self.finished.pop_front_if(|segment| segment.next_seq() <= seq) {
            self.buffer_bytes -= gone.buffer_bytes();
            self.index_bytes -= gone.index_bytes();
        }
    }

    /// The finished segment that `seq` lies in.
    fn segment(&self, seq: u64) -> Option<&Segment> {
        let at = self.finished.partition_point(|segment| segment.next_seq() <= seq);
        self.finished.get(at)
    }

    fn time(&self, seq: u64) -> Option<u64> {
        match self.segment(seq) {
            Some(segment) => segment.time(seq),
            None => self.open.time(seq),
        }
    }

    fn read(&mut self, wanted: &Wanted, reading: &mut Reading) {
        if wanted.seqs.is_empty() {
            return;
        }
        let (start, end) = (*wanted.seqs.start(), *wanted.seqs.end());
        let at = self.finished.partition_point(|segment| segment.next_seq() <= start);
        let finished = self.finished.range(at..).take_while(|segment| segment.first_seq() <= end);
        finished.for_each(|segment| segment.read(wanted, reading));
        if self.open.first_seq() <= end && !self.open.read(wanted, reading) {
            self.finish();
            if let Some(newest) = self.finished.back() {
                newest.read(wanted, reading);
            }
        }
    }
}

/// What somebody who knows a room up to `position` missed, if that can be had. `epoch` and `seq`
/// are the room's. A range that is empty: nothing was missed, which needs no history.
pub fn recover(
    position: Position,
    epoch: u64,
    seq: u64,
    history: &History,
) -> Result<RangeInclusive<u64>, Unrecoverable> {
    if position.epoch != epoch {
        return Err(Unrecoverable::Epoch);
    }
    if position.seq > seq {
        return Err(Unrecoverable::Ahead);
    }
    let missed = position.seq.saturating_add(1)..=seq;
    let reaches_back = history.first_seq().is_some_and(|first| first <= *missed.start());
    let reaches_on = history.last_seq() == Some(seq);
    match missed.is_empty() || (reaches_back && reaches_on) {
        true => Ok(missed),
        false => Err(Unrecoverable::Evicted),
    }
}

#[cfg(test)]
mod tests;
