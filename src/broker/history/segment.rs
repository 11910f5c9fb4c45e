//! Messages one behind the other in one buffer, each followed by a comma, and where each lies.
//!
//! Not here: which of them still count (`mod.rs`). Invariants: a finished segment never changes, so
//! that readers share it; the entry at index `i` is that of `first_seq + i`.

use super::{Kept, Reading};
use crate::limits::HISTORY_COPY_BYTES_MAX;
use std::mem;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// Where one message lies in its buffer, and what is asked about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the item begins; its comma is the byte before `end`.
    start: u32,
    end: u32,
    /// The sender's place in the item.
    sender_start: u32,
    sender_end: u32,
    author: u64,
    mono_ms: u64,
}

const _: () = assert!(size_of::<Entry>() <= 40, "what a kept message costs beside its bytes");

/// What of one segment is wanted: runs of neighbours, each with the comma behind its last item.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) runs: Vec<Range<u32>>,
    pub(super) messages: u32,
    pub(super) bytes: u32,
}

/// A finished segment.
#[derive(Debug)]
pub(super) struct Segment {
    bytes: Arc<Vec<u8>>,
    entries: Box<[Entry]>,
    first_seq: u64,
}

/// The segment that still grows.
#[derive(Debug)]
pub(super) struct Open {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    first_seq: u64,
}

/// What is asked of a history: which messages, and whose are left out.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) seqs: RangeInclusive<u64>,
    pub(super) without: Option<u64>,
}

impl Selection {
    /// Whether it is cut up so much that its pieces are no larger than what is copied anyway.
    fn is_scattered(&self) -> bool {
        self.runs.len() > 1 && self.bytes as usize <= self.runs.len() * HISTORY_COPY_BYTES_MAX
    }
}

impl Segment {
    /// Bytes of the buffer that it keeps alive.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that it keeps beside the buffer: the index, and what a shared buffer costs.
    pub(super) fn index_bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of::<Vec<u8>>() + 2 * size_of::<usize>()
    }

    pub(super) const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The `seq` behind its last.
    pub(super) const fn next_seq(&self) -> u64 {
        self.first_seq + self.entries.len() as u64
    }

    pub(super) fn time(&self, seq: u64) -> Option<u64> {
        find(&self.entries, self.first_seq, seq).map(|entry| entry.mono_ms)
    }

    pub(super) fn sender(&self, seq: u64) -> Option<&[u8]> {
        find(&self.entries, self.first_seq, seq)?.sender(&self.bytes)
    }

    pub(super) fn read(&self, wanted: &Wanted, reading: &mut Reading) {
        let selection = select(&self.entries, self.first_seq, wanted, &mut reading.own);
        if selection.is_scattered() {
            reading.copy(&self.bytes, &selection);
        } else {
            reading.share(&self.bytes, selection);
        }
    }
}

impl Open {
    /// An empty one, which keeps nothing allocated.
    pub(super) const fn new(first_seq: u64) -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), first_seq }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn buffer_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) const fn index_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    pub(super) const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The `seq` behind its last.
    pub(super) const fn next_seq(&self) -> u64 {
        self.first_seq + self.entries.len() as u64
    }

    pub(super) fn time(&self, seq: u64) -> Option<u64> {
        find(&self.entries, self.first_seq, seq).map(|entry| entry.mono_ms)
    }

    pub(super) fn sender(&self, seq: u64) -> Option<&[u8]> {
        find(&self.entries, self.first_seq, seq)?.sender(&self.bytes)
    }

    /// Whether `bytes` more would need another allocation.
    pub(super) const fn is_full_for(&self, bytes: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() < bytes
    }

    /// Appends a message, whose `seq` is the next. The buffer doubles up to `bytes_wanted`, and
    /// becomes larger than that only for one message that is.
    pub(super) fn push(&mut self, kept: &Kept<'_>, bytes_wanted: usize) {
        let len = self.bytes.len() + kept.item.len() + 1;
        if self.is_full_for(kept.item.len() + 1) {
            let capacity = (2 * self.bytes.capacity()).min(bytes_wanted).max(len);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        let start = offset(self.bytes.len());
        self.bytes.extend_from_slice(kept.item);
        self.bytes.push(b',');
        self.entries.push(Entry {
            start,
            end: offset(len),
            sender_start: kept.sender.start,
            sender_end: kept.sender.end,
            author: kept.author,
            mono_ms: kept.mono_ms,
        });
    }

    /// Closes the gap that messages before `seq` leave, if they are half of it or more: then what
    /// is moved was paid for by what is dropped.
    pub(super) fn drop_before(&mut self, seq: u64) {
        let gone = entries_before(self.first_seq, seq, self.entries.len());
        let Some(start) = self.entries.get(gone).map(|entry| entry.start) else { return };
        if gone == 0 || (start as usize) * 2 < self.bytes.len() {
            return;
        }
        self.bytes.drain(..start as usize);
        self.entries.drain(..gone);
        for entry in &mut self.entries {
            entry.start -= start;
            entry.end -= start;
        }
        self.first_seq = seq;
    }

    /// Makes a finished segment of it, trimmed to its size, and begins anew.
    pub(super) fn finish(&mut self) -> Segment {
        let next = Self::new(self.next_seq());
        let Self { mut bytes, entries, first_seq } = mem::replace(self, next);
        bytes.shrink_to_fit();
        Segment { bytes: Arc::new(bytes), entries: entries.into_boxed_slice(), first_seq }
    }

    /// Reads from it, if what is wanted is little enough to be copied; else it must be finished.
    pub(super) fn read(&self, wanted: &Wanted, reading: &mut Reading) -> bool {
        let known = reading.own.len();
        let selection = select(&self.entries, self.first_seq, wanted, &mut reading.own);
        if selection.bytes as usize > HISTORY_COPY_BYTES_MAX {
            reading.own.truncate(known);
            return false;
        }
        reading.copy(&self.bytes, &selection);
        true
    }
}

impl Entry {
    fn sender<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let item = bytes.get(self.start as usize..self.end as usize - 1)?;
        item.get(self.sender_start as usize..self.sender_end as usize)
    }
}

/// How many of `len` entries from `first_seq` on come before `seq`.
fn entries_before(first_seq: u64, seq: u64, len: usize) -> usize {
    usize::try_from(seq.saturating_sub(first_seq)).map_or(len, |before| before.min(len))
}

fn find(entries: &[Entry], first_seq: u64, seq: u64) -> Option<&Entry> {
    entries.get(usize::try_from(seq.checked_sub(first_seq)?).ok()?)
}

fn select(entries: &[Entry], first_seq: u64, wanted: &Wanted, own: &mut Vec<u64>) -> Selection {
    let (start, end) = wanted.seqs.clone().into_inner();
    let from = entries_before(first_seq, start, entries.len());
    let to = entries_before(first_seq, end.saturating_add(1), entries.len());
    let mut selection = Selection::default();
    let selected = entries.get(from..to).unwrap_or_default();
    for (seq, entry) in (first_seq + from as u64..).zip(selected) {
        if wanted.without == Some(entry.author) {
            own.push(seq);
        } else {
            selection.messages += 1;
            selection.bytes += entry.end - entry.start;
            match selection.runs.last_mut() {
                Some(run) if run.end == entry.start => run.end = entry.end,
                Some(_) | None => selection.runs.push(entry.start..entry.end),
            }
        }
    }
    selection
}

/// A place in a buffer. A segment is no larger than `HISTORY_SEGMENT_BYTES` or its only message.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("History::push keeps no message that is larger")
}
