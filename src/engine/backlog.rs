//! What a room's stalled members wait for: one copy for all of them, in segments that grow.
//!
//! A batch is made for one tick and may hold a few bytes of this room, and much of others. Whoever
//! stalls must not keep it, and a buffer for each small message would cost several times what is in
//! it. So runs are appended to the room's segment, and the chunk at the end of an outbox goes on
//! with it. Not here: how much may wait (`overflow`). Invariants: what a chunk covers never
//! changes; a segment holds one run of one room without holes; nobody but outboxes keeps a segment
//! alive.

use super::buffers::BufferId;
use super::members::LocalRoom;
use super::outbox::{Chunk, Content};
use super::overflow::copy;
use super::shard::Shard;
use crate::broker::RoomOptions;
use crate::limits::BACKLOG_SEGMENT_BYTES;

impl Shard {
    /// The run in a form that may be kept for long. Held once, by the caller.
    pub(super) fn keep_for_long(
        &mut self,
        room: LocalRoom,
        whole: Chunk,
        options: &RoomOptions,
    ) -> Chunk {
        let len = whole.len() as usize;
        // Small beside what may wait in all, so that half a segment more is no matter.
        let segment_bytes = BACKLOG_SEGMENT_BYTES.min(options.outbox_bytes_max / 8);
        if len > segment_bytes / 4 {
            // Worth a buffer of its own, which is the batch's if that holds little else.
            let is_most = len >= self.buffers.capacity(whole.buffer) / 5 * 4;
            if is_most {
                self.buffers.hold(whole.buffer, 1);
                return whole;
            }
            return copy(&mut self.buffers, &whole);
        }
        let segment = self.members.get(room).map_or(BufferId::NONE, |members| members.backlog);
        if let Some(chunk) = self.append_to(segment, &whole, segment_bytes) {
            return chunk;
        }
        let chunk = copy(&mut self.buffers, &whole);
        if let Some(members) = self.members.get_mut(room) {
            members.backlog = chunk.buffer;
        }
        chunk
    }

    /// Appends a run to a segment that ends where it begins.
    fn append_to(
        &mut self,
        segment: BufferId,
        whole: &Chunk,
        segment_bytes: usize,
    ) -> Option<Chunk> {
        let Content::Run(index) = whole.content else { return None };
        let (start, end) =
            self.buffers.extend_run(segment, (whole.buffer, index), segment_bytes)?;
        self.buffers.hold(segment, 1);
        Some(Chunk { buffer: segment, start, end, content: Content::Run(0), ..*whole })
    }
}
