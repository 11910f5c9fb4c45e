//! The bytes that outboxes point into: one buffer per batch, counted without atomics.
//!
//! Members hold a slot and a range, never the buffer. Beside the batches there is one open buffer
//! for what goes to a single connection (answers, control frames, echoes). Invariants: a buffer
//! lives while its count is above zero; what a queued range covers never changes; bytes that are
//! kept alive are accounted for by capacity, each buffer once.

use super::batch::{Frame, Run};
use std::sync::Arc;

/// Size at which the open buffer is left to its holders and a new one is begun.
const OPEN_BYTES_MAX: usize = 64 * 1024;
/// Largest capacity that is kept for reuse. What is reused becomes the open buffer, which rests
/// with the loop and which one small answer may pin: so it is not to be a large one.
const SPARE_BYTES_MAX: usize = 2 * OPEN_BYTES_MAX;
/// Dead buffers kept for reuse.
const SPARES_MAX: usize = 8;

/// A buffer's place; valid while the holder's count is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BufferId(pub(crate) u32);

impl BufferId {
    /// No buffer's place.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// All buffers of one loop.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    slots: Vec<Buffer>,
    free: Vec<u32>,
    open: Option<BufferId>,
    spares: Vec<Vec<u8>>,
    pinned_bytes: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// In the place of `bytes`: what others hold too, and nobody changes.
    shared: Option<Arc<Vec<u8>>>,
    runs: Vec<Run>,
    frames: Vec<Frame>,
    holders: u32,
}

impl Buffer {
    fn slice(&self) -> &[u8] {
        self.shared.as_ref().map_or(&self.bytes, |shared| shared)
    }

    fn slice_capacity(&self) -> usize {
        self.shared.as_ref().map_or(self.bytes.capacity(), |shared| shared.capacity())
    }

    /// What it keeps allocated.
    fn footprint(&self) -> usize {
        size_of::<Self>()
            + self.slice_capacity()
            + self.runs.capacity() * size_of::<Run>()
            + self.frames.capacity() * size_of::<Frame>()
    }
}

impl Buffers {
    /// What all buffers that are alive keep allocated, each counted once.
    pub(crate) const fn pinned_bytes(&self) -> usize {
        self.pinned_bytes
    }

    /// Buffers that somebody holds. O(buffers).
    pub(crate) fn held(&self) -> usize {
        self.slots.iter().filter(|buffer| buffer.holders > 0).count()
    }

    /// An empty vector, reused where one is spare.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// Takes in the bytes of a batch with nobody holding them yet: follow with [`Self::hold`] for
    /// each holder, then [`Self::settle`].
    pub(crate) fn insert(
        &mut self,
        bytes: Vec<u8>,
        runs: Vec<Run>,
        frames: Vec<Frame>,
    ) -> BufferId {
        self.place(Buffer { bytes, shared: None, runs, frames, holders: 0 })
    }

    /// Takes in bytes that others hold too.
    pub(crate) fn insert_shared(&mut self, shared: Arc<Vec<u8>>) -> BufferId {
        self.place(Buffer { shared: Some(shared), ..Buffer::default() })
    }

    fn place(&mut self, buffer: Buffer) -> BufferId {
        self.pinned_bytes += buffer.footprint();
        match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = buffer;
                }
                BufferId(slot)
            }
            None => {
                self.slots.push(buffer);
                BufferId(u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 buffers"))
            }
        }
    }

    /// Counts `holders` more ranges into the buffer.
    pub(crate) fn hold(&mut self, id: BufferId, holders: u32) {
        if let Some(buffer) = self.slots.get_mut(id.0 as usize) {
            buffer.holders += holders;
        }
    }

    /// Gives one range back; the last one frees the buffer.
    pub(crate) fn release(&mut self, id: BufferId) {
        let Some(buffer) = self.slots.get_mut(id.0 as usize) else { return };
        debug_assert!(buffer.holders > 0, "a range is given back once");
        buffer.holders -= 1;
        if buffer.holders == 0 {
            self.settle(id);
        }
    }

    /// Frees the buffer if nobody holds it.
    pub(crate) fn settle(&mut self, id: BufferId) {
        let Some(buffer) = self.slots.get_mut(id.0 as usize) else { return };
        if buffer.holders > 0 {
            return;
        }
        if self.open == Some(id) {
            if buffer.bytes.capacity() <= SPARE_BYTES_MAX {
                buffer.bytes.clear(); // Nobody looks into it: it goes on from the start.
                return;
            }
            self.open = None; // A large answer has gone through it.
        }
        self.pinned_bytes -= buffer.footprint();
        let Buffer { mut bytes, .. } = std::mem::take(buffer);
        self.free.push(id.0);
        if self.spares.len() < SPARES_MAX && (1..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            self.spares.push(bytes);
        }
    }

    /// Appends what `write` writes to the open buffer, held once, and says where it is.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (BufferId, u32, u32) {
        let id = self.open_buffer();
        let buffer = self.slots.get_mut(id.0 as usize).expect("the open buffer is alive");
        let (start, capacity) = (buffer.bytes.len(), buffer.bytes.capacity());
        write(&mut buffer.bytes);
        buffer.holders += 1;
        self.pinned_bytes += buffer.bytes.capacity() - capacity;
        let end = buffer.bytes.len();
        (id, offset(start), offset(end))
    }

    /// As [`Self::append`], in a buffer of its own that is no larger than need be.
    pub(crate) fn apart(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (BufferId, u32, u32) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        bytes.shrink_to_fit();
        let end = offset(bytes.len());
        let id = self.insert(bytes, Vec::new(), Vec::new());
        self.hold(id, 1);
        (id, 0, end)
    }

    /// The bytes of a range that the caller holds.
    pub(crate) fn bytes(&self, id: BufferId, start: u32, end: u32) -> &[u8] {
        let buffer = self.slots.get(id.0 as usize);
        buffer
            .and_then(|buffer| buffer.slice().get(start as usize..end as usize))
            .unwrap_or_default()
    }

    /// Bytes that the buffer keeps allocated.
    pub(crate) fn capacity(&self, id: BufferId) -> usize {
        self.slots.get(id.0 as usize).map_or(0, Buffer::slice_capacity)
    }

    /// A run of the buffer and its frames.
    pub(crate) fn run(&self, id: BufferId, run: u32) -> Option<(&Run, &[Frame])> {
        let buffer = self.slots.get(id.0 as usize)?;
        let run = buffer.runs.get(run as usize)?;
        let frames = buffer.frames.get(run.frames_from as usize..run.frames_to as usize)?;
        Some((run, frames))
    }

    /// Appends a run of another buffer to the only run of buffer `id`, whose messages it follows.
    /// `None`: the buffer is gone, holds something else, or is full with it (then it keeps no more
    /// allocated than it uses).
    pub(crate) fn extend_run(
        &mut self,
        id: BufferId,
        (from, run): (BufferId, u32),
        bytes_max: usize,
    ) -> Option<(u32, u32)> {
        let pair = self.slots.get_disjoint_mut([id.0 as usize, from.0 as usize]);
        let [buffer, other] = pair.ok()?;
        let next = other.runs.get(run as usize)?;
        let frames = other.frames.get(next.frames_from as usize..next.frames_to as usize)?;
        let bytes = other.bytes.get(next.start as usize..next.end as usize)?;
        let [run] = buffer.runs.as_slice() else { return None };
        let messages = buffer.frames.last().map_or(0, |frame| frame.upto);
        let next_seq = run.first_seq + u64::from(messages);
        if buffer.holders == 0
            || (run.room, run.encoding) != (next.room, next.encoding)
            || next_seq != next.first_seq
        {
            return None;
        }
        let before = buffer.footprint();
        let is_full = buffer.bytes.len() + bytes.len() > bytes_max;
        let start = offset(buffer.bytes.len());
        if is_full {
            buffer.bytes.shrink_to_fit();
            buffer.frames.shrink_to_fit();
        } else {
            buffer.bytes.extend_from_slice(bytes);
            let rebased = |frame: &Frame| Frame {
                end: start + (frame.end - next.start),
                upto: messages + frame.upto,
                ..*frame
            };
            buffer.frames.extend(frames.iter().map(rebased));
        }
        let (end, frames_to) = (offset(buffer.bytes.len()), offset(buffer.frames.len()));
        if let [run] = buffer.runs.as_mut_slice() {
            (run.end, run.frames_to) = (end, frames_to);
            run.leaves_out |= next.leaves_out;
            run.has_volatile |= next.has_volatile;
        }
        self.pinned_bytes = self.pinned_bytes - before + buffer.footprint();
        (!is_full).then_some((start, end))
    }

    fn open_buffer(&mut self) -> BufferId {
        if let Some(id) = self.open {
            let full =
                self.slots.get(id.0 as usize).is_none_or(|b| b.bytes.len() >= OPEN_BYTES_MAX);
            if !full {
                return id;
            }
            self.open = None;
            self.settle(id);
        }
        let bytes = self.spare();
        let id = self.insert(bytes, Vec::new(), Vec::new());
        self.open = Some(id);
        id
    }
}

/// An offset into a buffer; buffers stay far below 4 GiB (asserted in `limits`).
pub(crate) fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("buffers stay below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_frees_and_the_vector_is_reused() {
        let mut buffers = Buffers::default();
        let id = buffers.insert(vec![7; 100], Vec::new(), Vec::new());
        buffers.hold(id, 2);
        assert_eq!(buffers.pinned_bytes(), 100 + size_of::<Buffer>());
        buffers.release(id);
        assert_eq!(buffers.bytes(id, 98, 100), [7, 7]);
        buffers.release(id);
        assert_eq!(buffers.pinned_bytes(), 0);
        assert_eq!(buffers.spare().capacity(), 100);
    }

    #[test]
    fn a_batch_without_holders_is_gone_at_once() {
        let mut buffers = Buffers::default();
        let id = buffers.insert(vec![0; 10], Vec::new(), Vec::new());
        buffers.settle(id);
        assert_eq!(buffers.pinned_bytes(), 0);
    }

    #[test]
    fn the_open_buffer_goes_on_while_held_and_starts_again_when_not() {
        let mut buffers = Buffers::default();
        let (id, start, end) = buffers.append(|out| out.extend(b"one"));
        let (same, from, to) = buffers.append(|out| out.extend(b"three"));
        assert_eq!((id, start, end, from, to), (same, 0, 3, 3, 8));
        assert_eq!(buffers.bytes(id, from, to), b"three");
        buffers.release(id);
        buffers.release(id);
        let (_, start, _) = buffers.append(|out| out.extend(b"x"));
        assert_eq!(start, 0);
    }

    #[test]
    fn a_large_answer_or_batch_leaves_no_large_buffer_behind() {
        let mut buffers = Buffers::default();
        let batch = buffers.insert(vec![0; SPARE_BYTES_MAX + 1], Vec::new(), Vec::new());
        buffers.settle(batch);
        let (large, ..) = buffers.append(|out| out.resize(SPARE_BYTES_MAX + 1, 1));
        assert!(buffers.pinned_bytes() > SPARE_BYTES_MAX);
        buffers.release(large);
        assert_eq!(buffers.pinned_bytes(), 0);
        let (small, ..) = buffers.append(|out| out.push(1));
        assert!(buffers.pinned_bytes() <= SPARE_BYTES_MAX);
        buffers.release(small);
    }

    #[test]
    fn a_full_open_buffer_is_left_to_its_holders() {
        let mut buffers = Buffers::default();
        let (first, start, end) = buffers.append(|out| out.resize(OPEN_BYTES_MAX, 1));
        let (second, ..) = buffers.append(|out| out.push(2));
        assert_ne!(first, second);
        assert_eq!(buffers.bytes(first, start, end).len(), OPEN_BYTES_MAX);
        buffers.release(first);
        buffers.release(second);
        assert!(buffers.bytes(first, start, end).is_empty());
    }
}
