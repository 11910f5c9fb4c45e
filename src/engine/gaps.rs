//! What members are told of messages that they will not get.
//!
//! A gap takes the place of what was dropped: before the next higher `seq` of its room. While its
//! member is stalled it is a few numbers beside the outbox, and what is dropped right behind it
//! becomes part of it; it is laid out when the socket takes data again. Not here: what is dropped
//! (`overflow`). Invariant: a gap in an outbox has an entry here, and no other has.

use super::buffers::BufferId;
use super::outbox::{Chunk, Content};
use super::shard::Shard;
use crate::broker::{ConnKey, Gap, GapReason, RoomHandle, RoomName};
use crate::protocol::json;
use crate::ws::{Opcode, push_frame_with};

/// Messages of one room that one member will be told of.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) room: RoomHandle,
    pub(crate) name: RoomName,
    pub(crate) epoch: u64,
    pub(crate) gap: Gap,
}

/// What the gaps in the outboxes of one loop say.
#[derive(Debug)]
pub(crate) struct Gaps {
    slots: Vec<Option<Missed>>,
    free: Vec<u32>,
}

impl Gaps {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Entries, each of a gap in an outbox.
    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes an entry in; its place.
    pub(crate) fn insert(&mut self, missed: Missed) -> u32 {
        match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.slots.get_mut(place as usize) {
                    *slot = Some(missed);
                }
                place
            }
            None => {
                self.slots.push(Some(missed));
                super::buffers::offset(self.slots.len() - 1)
            }
        }
    }

    /// The room of an entry.
    pub(crate) fn room(&self, place: u32) -> Option<RoomHandle> {
        self.slots.get(place as usize)?.as_ref().map(|missed| missed.room)
    }

    /// Adds to an entry what was missed right behind it.
    pub(crate) fn extend(&mut self, place: u32, more: &Gap) {
        if let Some(missed) = self.slots.get_mut(place as usize).and_then(Option::as_mut) {
            missed.gap = merged(missed.gap, more);
        }
    }

    /// Takes an entry out.
    pub(crate) fn take(&mut self, place: u32) -> Option<Missed> {
        let missed = self.slots.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(missed)
    }
}

/// Both gaps as one.
pub(crate) fn merged(one: Gap, other: &Gap) -> Gap {
    let reason = match (one.reason, other.reason) {
        // No value stands for those that were dropped by age.
        (GapReason::SlowConsumer, _) | (_, GapReason::SlowConsumer) => GapReason::SlowConsumer,
        (GapReason::Conflated, GapReason::Conflated) => GapReason::Conflated,
    };
    Gap {
        from: one.from.min(other.from),
        to: one.to.max(other.to),
        count: one.count + other.count,
        reason,
    }
}

/// The chunk that stands for an entry in an outbox.
pub(crate) const fn place_of(entry: u32) -> Chunk {
    let content = Content::Gap(entry);
    Chunk { buffer: BufferId::NONE, start: 0, end: 0, content, messages: 0 }
}

impl Shard {
    /// Lays out the gaps in an outbox that is about to be offered to the kernel.
    pub(super) fn tell_gaps(&mut self, key: ConnKey) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        let mut left = session.outbox.gaps();
        let before = session.outbox.bytes();
        let mut place = session.outbox.first();
        while let Some((chunk, next)) = session.outbox.at(&self.nodes, place).filter(|_| left > 0) {
            if let Content::Gap(entry) = chunk.content
                && let Some(Missed { name, epoch, gap, .. }) = self.nodes.gaps.take(entry)
            {
                let (buffer, start, end) = self.buffers.append(|out| {
                    push_frame_with(out, Opcode::Text, |out| {
                        json::push_gap(out, name.as_str(), epoch, &gap);
                    });
                });
                let content = Content::Answer;
                let frame = Chunk { buffer, start, end, content, messages: 0 };
                session.outbox.fill(&mut self.nodes, place, frame);
                self.counters.gaps_told += 1;
                left -= 1;
            }
            place = next;
        }
        self.counters.outbox_bytes += (session.outbox.bytes() - before) as u64;
    }
}

#[cfg(test)]
#[path = "gaps_tests.rs"]
mod tests;
