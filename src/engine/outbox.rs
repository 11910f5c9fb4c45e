//! The queue of what one connection has yet to be sent: a list of ranges in shared buffers.
//!
//! The links of all outboxes of a loop live in one arena, so that an outbox at rest is a few words
//! and delivering to a member allocates nothing. Not here: when an outbox is too full (`overflow`).
//! Invariants: a frame once begun is finished before anything else is sent; control frames stand
//! before data; `bytes` and `messages` are the sums over the list; a gap is no frame yet and is not
//! offered.

use super::batch::{Frame, Run};
use super::buffers::{BufferId, Buffers};
use super::gaps::Gaps;
use crate::limits::PONGS_QUEUED_MAX;
use std::io::IoSlice;

const NONE: u32 = u32::MAX;

/// What a range holds: decides whether it may be split, dropped, or passed by control frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// Messages of a room: frames of that run of the buffer.
    Run(u32),
    /// An HTTP response, that of a handshake among them: nothing passes it, nothing drops it.
    Response,
    /// WebSocket messages for this connection alone.
    Answer,
    /// The begin of a message whose rest is in the chunks behind it.
    Opening,
    /// More of the message that the chunk before it is of.
    Rest,
    /// A pong: may be replaced by a newer one.
    Pong,
    /// A ping or a close.
    Control,
    /// The place of a notice of what was dropped there, not laid out yet: no bytes, no buffer.
    Gap(u32),
}

/// A range of a buffer, held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) buffer: BufferId,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) content: Content,
    /// Room messages in it; 0 for anything else.
    pub(crate) messages: u32,
}

impl Chunk {
    pub(crate) const fn len(&self) -> u32 {
        self.end - self.start
    }

    /// Whether it is a message, or part of one, for this connection alone.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(self.content, Content::Answer | Content::Opening | Content::Rest)
    }

    /// Whether a control frame queues behind it: RFC 6455 knows frames only after the handshake.
    const fn is_before_control(&self) -> bool {
        matches!(self.content, Content::Pong | Content::Control | Content::Response)
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    chunk: Chunk,
    next: u32,
}

/// The links of all outboxes of one loop.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    free: u32,
    /// What the gaps among them say.
    pub(crate) gaps: Gaps,
}

impl Nodes {
    pub(crate) const fn new() -> Self {
        Self { nodes: Vec::new(), free: NONE, gaps: Gaps::new() }
    }

    /// Links that stand in a queue. O(links).
    pub(crate) fn taken(&self) -> usize {
        let free = std::iter::successors(self.get(self.free), |node| self.get(node.next));
        self.nodes.len() - free.count()
    }

    fn take(&mut self, chunk: Chunk) -> u32 {
        let index = self.free;
        match self.nodes.get_mut(index as usize) {
            Some(node) => {
                self.free = node.next;
                *node = Node { chunk, next: NONE };
                index
            }
            None => {
                self.nodes.push(Node { chunk, next: NONE });
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 chunks are queued")
            }
        }
    }

    fn give_back(&mut self, index: u32) {
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.next = self.free;
            self.free = index;
        }
    }

    fn get(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    head: u32,
    tail: u32,
    bytes: u32,
    /// Those of them that are for this connection alone.
    answer_bytes: u32,
    messages: u32,
    /// Gaps that are no frames yet.
    gaps: u16,
    pongs: u8,
    /// Part of the head chunk has been sent.
    begun: bool,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        let (bytes, answer_bytes, messages) = (0, 0, 0);
        let (gaps, pongs, begun) = (0, 0, false);
        Self { head: NONE, tail: NONE, bytes, answer_bytes, messages, gaps, pongs, begun }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Bytes queued.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Bytes queued but for those of answers: what a room's bound is held against. What a
    /// connection asked for does not make it slow.
    pub(crate) const fn room_bytes(&self) -> usize {
        (self.bytes - self.answer_bytes) as usize
    }

    /// Room messages queued, a begun one included, those sent whole not.
    pub(crate) const fn messages(&self) -> u32 {
        self.messages
    }

    /// Gaps queued that are no frames yet.
    pub(crate) const fn gaps(&self) -> u16 {
        self.gaps
    }

    /// Queues `chunk`, which the caller holds, behind everything else.
    pub(crate) fn push(&mut self, nodes: &mut Nodes, chunk: Chunk) {
        self.link_last(nodes, chunk);
        self.count(&chunk);
    }

    /// As [`Self::push`], for frames of a run.
    pub(crate) fn push_run(&mut self, nodes: &mut Nodes, chunk: Chunk) {
        debug_assert!(matches!(chunk.content, Content::Run(_)), "nothing else is to be counted");
        self.link_last(nodes, chunk);
        self.bytes += chunk.len();
        self.messages += chunk.messages;
    }

    fn link_last(&mut self, nodes: &mut Nodes, chunk: Chunk) {
        let index = nodes.take(chunk);
        match nodes.get_mut(self.tail) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
    }

    /// Lets the last chunk go on by `more` of the same run, where that follows it in the buffer;
    /// whether it does.
    pub(crate) fn extend(&mut self, nodes: &mut Nodes, more: &Chunk) -> bool {
        let Some(node) = nodes.get_mut(self.tail) else { return false };
        let chunk = &mut node.chunk;
        let follows =
            (chunk.buffer, chunk.content, chunk.end) == (more.buffer, more.content, more.start);
        if follows {
            chunk.end = more.end;
            chunk.messages += more.messages;
            self.bytes += more.len();
            self.messages += more.messages;
        }
        follows
    }

    /// Queues a control frame before all data, behind the frame that has been begun, behind
    /// responses, and behind earlier control frames. Returns a held chunk that it took the place
    /// of: with [`PONGS_QUEUED_MAX`] pongs queued, a further one replaces the newest (RFC 6455
    /// §5.5.3).
    pub(crate) fn push_control(
        &mut self,
        nodes: &mut Nodes,
        buffers: &mut Buffers,
        chunk: Chunk,
    ) -> Option<BufferId> {
        let mut before = self.after_begun(nodes, buffers);
        let mut newest_pong = NONE;
        let mut at = self.after(nodes, before);
        while let Some(node) = nodes.get(at).filter(|node| node.chunk.is_before_control()) {
            if node.chunk.content == Content::Pong {
                newest_pong = at;
            }
            (before, at) = (at, node.next);
        }
        if chunk.content == Content::Pong
            && self.pongs >= PONGS_QUEUED_MAX
            && let Some(node) = nodes.get_mut(newest_pong)
        {
            let replaced = std::mem::replace(&mut node.chunk, chunk);
            self.bytes = self.bytes - replaced.len() + chunk.len();
            return Some(replaced.buffer);
        }
        let index = nodes.take(chunk);
        self.link_after(nodes, before, index);
        self.count(&chunk);
        None
    }

    /// Puts `chunks`, which the caller holds, where the empty chunk stands that keeps their place;
    /// whether there is one.
    pub(crate) fn fill_in(
        &mut self,
        nodes: &mut Nodes,
        buffers: &mut Buffers,
        chunks: &[Chunk],
    ) -> bool {
        let (mut before, mut place) = (NONE, self.head);
        let keeps_it = |chunk: &Chunk| chunk.len() == 0 && chunk.content == Content::Answer;
        while let Some(node) = nodes.get(place).filter(|node| !keeps_it(&node.chunk)) {
            (before, place) = (place, node.next);
        }
        if nodes.get(place).is_none() {
            return false;
        }
        self.unlink_after(nodes, buffers, before, place);
        for chunk in chunks {
            let index = nodes.take(*chunk);
            self.link_after(nodes, before, index);
            self.count(chunk);
            before = index;
        }
        true
    }

    /// All that is queued, where it is one piece: the common case, spared the list of slices.
    pub(crate) fn only<'a>(&self, nodes: &Nodes, buffers: &'a Buffers) -> Option<&'a [u8]> {
        let Node { chunk, next } = nodes.get(self.head)?;
        (*next == NONE).then(|| buffers.bytes(chunk.buffer, chunk.start, chunk.end))
    }

    /// Fills `slices` with what is to be sent next and returns how many it filled.
    pub(crate) fn slices<'a>(
        &self,
        nodes: &Nodes,
        buffers: &'a Buffers,
        slices: &mut [IoSlice<'a>],
    ) -> usize {
        let mut at = self.head;
        let mut filled = 0;
        for slice in slices {
            let Some(Node { chunk, next }) = nodes.get(at) else { break };
            if matches!(chunk.content, Content::Gap(_)) {
                break;
            }
            *slice = IoSlice::new(buffers.bytes(chunk.buffer, chunk.start, chunk.end));
            filled += 1;
            at = *next;
        }
        filled
    }

    /// Takes `written` bytes off the front, giving back what is done with.
    pub(crate) fn advance(&mut self, nodes: &mut Nodes, buffers: &mut Buffers, written: usize) {
        let mut left = super::buffers::offset(written);
        while left > 0 {
            let Some(node) = nodes.get_mut(self.head) else {
                debug_assert!(false, "more was written than was queued");
                return;
            };
            let len = node.chunk.len();
            if left < len {
                node.chunk.start += left;
                self.bytes -= left;
                self.answer_bytes -= if node.chunk.is_answer() { left } else { 0 };
                self.begun = true;
                if let Content::Run(run) = node.chunk.content
                    && let Some((_, frames)) = buffers.run(node.chunk.buffer, run)
                {
                    // What was sent whole no longer counts; what was begun does.
                    let messages = messages_between(frames, node.chunk.start, node.chunk.end);
                    self.messages -= node.chunk.messages - messages;
                    node.chunk.messages = messages;
                }
                return;
            }
            left -= len;
            self.pop(nodes, buffers);
        }
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self, nodes: &mut Nodes, buffers: &mut Buffers) {
        while !self.is_empty() {
            self.pop(nodes, buffers);
        }
    }

    /// Gives back all but the rest of a frame that has been begun, and responses: what follows is
    /// a close, which means nothing to a peer that has not read the answer to its handshake.
    pub(crate) fn keep_begun(&mut self, nodes: &mut Nodes, buffers: &mut Buffers) {
        let mut last = self.after_begun(nodes, buffers);
        loop {
            let next = self.after(nodes, last);
            match nodes.get(next).map(|node| node.chunk.content) {
                Some(Content::Response) => last = next,
                Some(
                    Content::Run(_)
                    | Content::Answer
                    | Content::Opening
                    | Content::Rest
                    | Content::Pong
                    | Content::Control
                    | Content::Gap(_),
                ) => {
                    self.unlink_after(nodes, buffers, last, next);
                }
                None => break,
            }
        }
    }

    /// The first chunk, and the one behind a given place: for walks that drop.
    pub(crate) const fn first(&self) -> u32 {
        self.head
    }

    /// The chunk at a place of the list, and the place behind it.
    pub(crate) fn at(&self, nodes: &Nodes, place: u32) -> Option<(Chunk, u32)> {
        nodes.get(place).map(|node| (node.chunk, node.next))
    }

    /// Whether part of the head chunk has been sent.
    pub(crate) const fn is_begun(&self) -> bool {
        self.begun
    }

    /// Parts the head chunk where the frame that has been begun ends, so that what follows may be
    /// passed or dropped; returns the place of the begun frame's rest, or none.
    pub(crate) fn split_begun(&mut self, nodes: &mut Nodes, buffers: &mut Buffers) -> u32 {
        let Some(&Node { chunk, next }) = nodes.get(self.head) else { return NONE };
        let Content::Run(run) = chunk.content else { return self.head };
        let Some((run, frames)) = buffers.run(chunk.buffer, run) else { return self.head };
        let boundary = frame_end(run, frames, chunk.start);
        if boundary == chunk.start {
            self.begun = false; // The last write ended between two frames.
            return NONE;
        }
        if boundary >= chunk.end {
            return self.head;
        }
        let messages = messages_between(frames, boundary, chunk.end);
        let index = nodes.take(Chunk { start: boundary, messages, ..chunk });
        buffers.hold(chunk.buffer, 1);
        if let Some(node) = nodes.get_mut(index) {
            node.next = next;
        }
        if let Some(head) = nodes.get_mut(self.head) {
            head.chunk.end = boundary;
            head.chunk.messages = chunk.messages - messages;
            head.next = index;
        }
        if self.tail == self.head {
            self.tail = index;
        }
        self.head
    }

    /// The place of the last chunk of the frame that has been begun, or none: whatever passes what
    /// is queued goes behind it.
    fn after_begun(&mut self, nodes: &mut Nodes, buffers: &mut Buffers) -> u32 {
        let is_rest = |nodes: &Nodes, place: u32| {
            nodes.get(place).is_some_and(|node| node.chunk.content == Content::Rest)
        };
        let mut last = match self.begun {
            true => self.split_begun(nodes, buffers),
            false if is_rest(nodes, self.head) => self.head,
            false => NONE,
        };
        while let Some(node) = nodes.get(last).filter(|node| is_rest(nodes, node.next)) {
            last = node.next;
        }
        last
    }

    /// Links `chunk`, a gap or one that the caller holds, in behind `before` (or as the head); says
    /// its place.
    pub(crate) fn insert_after(&mut self, nodes: &mut Nodes, before: u32, chunk: Chunk) -> u32 {
        let index = nodes.take(chunk);
        self.link_after(nodes, before, index);
        self.count(&chunk);
        self.gaps += u16::from(matches!(chunk.content, Content::Gap(_)));
        index
    }

    /// Takes the chunk behind `before` (or the head) out of the list and gives it back.
    pub(crate) fn unlink_after(
        &mut self,
        nodes: &mut Nodes,
        buffers: &mut Buffers,
        before: u32,
        place: u32,
    ) {
        let Some(&Node { chunk, next }) = nodes.get(place) else { return };
        match nodes.get_mut(before) {
            Some(node) => node.next = next,
            None => self.head = next,
        }
        if self.tail == place {
            self.tail = before;
        }
        self.discount(&chunk);
        nodes.give_back(place);
        if let Content::Gap(gap) = chunk.content {
            nodes.gaps.take(gap);
            self.gaps -= 1;
        }
        buffers.release(chunk.buffer);
    }

    /// Replaces the chunk at `place` by `moved`: the same bytes elsewhere, held by the caller.
    pub(crate) fn replace(
        &mut self,
        nodes: &mut Nodes,
        buffers: &mut Buffers,
        place: u32,
        moved: Chunk,
    ) {
        if let Some(node) = nodes.get_mut(place) {
            let old = std::mem::replace(&mut node.chunk, moved);
            debug_assert_eq!(old.len(), moved.len(), "the same bytes elsewhere");
            self.messages = self.messages + moved.messages - old.messages;
            buffers.release(old.buffer);
        }
    }

    /// Puts a frame, which the caller holds, where a gap is.
    pub(crate) fn fill(&mut self, nodes: &mut Nodes, place: u32, frame: Chunk) {
        let Some(node) = nodes.get_mut(place) else { return };
        let gap = std::mem::replace(&mut node.chunk, frame);
        debug_assert!(matches!(gap.content, Content::Gap(_)), "only gaps are filled");
        self.gaps -= 1;
        self.count(&frame);
    }

    /// The last place of the list.
    pub(crate) const fn last(&self) -> u32 {
        self.tail
    }

    /// The place behind `before`, or the first one.
    pub(crate) fn after(&self, nodes: &Nodes, before: u32) -> u32 {
        nodes.get(before).map_or(self.head, |node| node.next)
    }

    fn link_after(&mut self, nodes: &mut Nodes, before: u32, index: u32) {
        let next = match nodes.get_mut(before) {
            Some(node) => std::mem::replace(&mut node.next, index),
            None => std::mem::replace(&mut self.head, index),
        };
        if let Some(node) = nodes.get_mut(index) {
            node.next = next;
        }
        if next == NONE {
            self.tail = index;
        }
    }

    fn pop(&mut self, nodes: &mut Nodes, buffers: &mut Buffers) {
        self.begun = false;
        let place = self.head;
        let Some(&Node { chunk, next }) = nodes.get(place) else { return };
        let Content::Run(_) = chunk.content else {
            return self.unlink_after(nodes, buffers, NONE, place);
        };
        // What there is most of, and nothing but bytes and messages to be counted.
        self.head = next;
        if next == NONE {
            self.tail = NONE;
        }
        self.bytes -= chunk.len();
        self.messages -= chunk.messages;
        nodes.give_back(place);
        buffers.release(chunk.buffer);
    }

    fn count(&mut self, chunk: &Chunk) {
        self.bytes += chunk.len();
        self.answer_bytes += if chunk.is_answer() { chunk.len() } else { 0 };
        self.messages += chunk.messages;
        self.pongs += u8::from(chunk.content == Content::Pong);
    }

    fn discount(&mut self, chunk: &Chunk) {
        self.bytes -= chunk.len();
        self.answer_bytes -= if chunk.is_answer() { chunk.len() } else { 0 };
        self.messages -= chunk.messages;
        self.pongs -= u8::from(chunk.content == Content::Pong);
    }
}

/// Where the frame that `at` lies in ends: `at` itself when it is the start of a frame.
pub(crate) fn frame_end(run: &Run, frames: &[Frame], at: u32) -> u32 {
    if at == run.start {
        return at;
    }
    let index = frames.partition_point(|frame| frame.end < at);
    frames.get(index).map_or(run.end, |frame| frame.end)
}

/// How many messages lie between two frame boundaries; one that is begun at `from` counts.
pub(crate) fn messages_between(frames: &[Frame], from: u32, to: u32) -> u32 {
    messages_upto(frames, to) - messages_upto(frames, from)
}

/// How many messages of the run have ended at that place.
fn messages_upto(frames: &[Frame], at: u32) -> u32 {
    messages_before(frames, frames.partition_point(|frame| frame.end <= at))
}

/// How many messages of the run come before its `nth` frame.
pub(crate) fn messages_before(frames: &[Frame], nth: usize) -> u32 {
    nth.checked_sub(1).and_then(|before| frames.get(before)).map_or(0, |frame| frame.upto)
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
