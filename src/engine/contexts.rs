//! What one connection alone needs of compression: its messages inflated, and, where its route
//! gives contexts away, a compressor and a decompressor of its own (RFC 7692 §7.1.1).
//!
//! Not here: what a room's members share (`packing`). Invariants: at rest a connection without a
//! context of its own holds nothing; there are never more contexts than the configuration says; a
//! context goes with its connection.

use super::batch::{Frame, Run};
use super::buffers::offset;
use super::outbox::{Chunk, Content, messages_before};
use super::overflow::fits;
use super::shard::Shard;
use crate::broker::{Compression, ConnKey, Deflate, Disconnect, RoomOptions};
use crate::http::Head;
use crate::ws::{
    self, Agreement, Context, DataKind, DeflatePolicy, Deflater, Inflater, ProtocolError,
    WindowClass,
};
use std::collections::BTreeMap;

/// Largest capacity that is kept for the next message that is compressed for one connection.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// The contexts of one loop.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    /// For all connections without one of their own.
    shared: Option<Box<Inflater>>,
    /// By the connection's slot.
    own: BTreeMap<u32, Box<Own>>,
}

/// One connection's own contexts, as far as it agreed to any.
#[derive(Debug)]
struct Own {
    inflater: Option<Inflater>,
    deflater: Option<Deflater>,
}

impl Contexts {
    /// Connections that have one.
    pub(crate) fn len(&self) -> usize {
        self.own.len()
    }

    /// Lets go of what the connection in that slot had.
    pub(crate) fn remove(&mut self, index: u32) {
        self.own.remove(&index);
    }

    /// Gives back what large messages needed. At the end of a tick.
    pub(crate) fn rest(&mut self) {
        if let Some(inflater) = &mut self.shared {
            inflater.rest();
        }
    }

    /// The same for a connection's own, which may not be used again for long.
    fn rest_own(&mut self, index: u32) {
        if let Some(inflater) = self.own.get_mut(&index).and_then(|own| own.inflater.as_mut()) {
            inflater.rest();
        }
    }

    fn inflater(&mut self, index: u32) -> &mut Inflater {
        match self.own.get_mut(&index).and_then(|own| own.inflater.as_mut()) {
            Some(inflater) => inflater,
            None => self.shared.get_or_insert_with(|| Box::new(Inflater::new(Context::Reset))),
        }
    }

    fn deflater(&mut self, index: u32) -> Option<&mut Deflater> {
        self.own.get_mut(&index)?.deflater.as_mut()
    }
}

impl Shard {
    /// What a client that asks for a route with `compression` may have, if it offers any.
    pub(super) fn agree(&mut self, head: &Head<'_>, compression: Compression) -> Option<Agreement> {
        let offers = || head.fields("sec-websocket-extensions");
        let policy = |enabled, takeover| DeflatePolicy {
            enabled,
            client_takeover: takeover,
            server_takeover: takeover,
        };
        let agreed = match compression {
            Compression::Off => None,
            Compression::Shared => ws::agree_on_deflate(offers(), policy(true, false)),
            Compression::Private => {
                let agreed = ws::agree_on_deflate(offers(), policy(true, true));
                let takes_one = agreed.is_some_and(keeps_context);
                if takes_one && self.contexts.len() >= self.contexts_max {
                    self.counters.contexts_refused += 1;
                    ws::agree_on_deflate(offers(), policy(true, false))
                } else {
                    agreed
                }
            }
        };
        self.counters.upgrades_compressed += u64::from(agreed.is_some());
        agreed
    }

    /// Lets the connection speak as agreed.
    pub(super) fn apply_agreement(&mut self, key: ConnKey, agreement: Agreement) {
        let level = self.packing.press.level;
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        session.encoding.deflate = match agreement.server_window() {
            WindowClass::Full => Deflate::Full,
            WindowClass::Small => Deflate::Small,
        };
        if !keeps_context(agreement) {
            return;
        }
        session.has_context = true;
        let inflater =
            (!agreement.client_no_context_takeover).then(|| Inflater::new(Context::Kept));
        let deflater = (!agreement.server_no_context_takeover)
            .then(|| Deflater::new(agreement.server_window(), level, Context::Kept));
        if deflater.is_some() {
            session.apart = true;
            session.encoding.deflate = Deflate::Off; // It is compressed from the plain form.
        }
        self.contexts.own.insert(key.index, Box::new(Own { inflater, deflater }));
    }

    /// Hands what a compressed message says to `then`.
    pub(super) fn inflate(
        &mut self,
        key: ConnKey,
        kind: DataKind,
        compressed: &[u8],
        then: impl FnOnce(&mut Self, &[u8]),
    ) -> Result<(), ProtocolError> {
        let mut contexts = std::mem::take(&mut self.contexts);
        let started = (self.stopwatch)();
        let inflater = contexts.inflater(key.index);
        let inflated = inflater.message(kind, compressed, self.settings.message_bytes_max);
        self.counters.inflate_ns += (self.stopwatch)().saturating_sub(started);
        self.counters.inflated_messages += 1;
        self.counters.inflate_bytes_in += compressed.len() as u64;
        let handed = inflated.map(|payload| {
            self.counters.inflate_bytes_out += payload.len() as u64;
            then(self, payload);
        });
        contexts.rest_own(key.index);
        self.contexts = contexts;
        handed
    }

    /// Queues a piece of a run for a member with a compressor of its own.
    pub(super) fn push_apart(&mut self, key: ConnKey, piece: Chunk, options: &RoomOptions) {
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        // What has gone through the context can't be dropped any more: it is given where slow
        // members are disconnected, and nowhere else.
        if !fits(session, &piece, options) {
            return self.doomed.push((key, Disconnect::SlowConsumer));
        }
        let is_offered_it = !session.blocked;
        let Some(packed) = self.compress_apart(key, piece) else { return };
        self.count_saved(piece.len() as usize, packed.len() as usize);
        self.take_in(key, packed);
        self.buffers.release(packed.buffer);
        if is_offered_it {
            self.dirty.give(packed.len());
        }
    }

    /// A piece of a run as that member gets it: a run in a buffer of its own, so that whoever
    /// stalls keeps nobody else's messages. Held once, by the caller.
    fn compress_apart(&mut self, key: ConnKey, piece: Chunk) -> Option<Chunk> {
        let Content::Run(index) = piece.content else { return None };
        let (run, frames) = self.buffers.run(piece.buffer, index)?;
        let first = frames.partition_point(|frame| frame.end <= piece.start);
        let before = messages_before(frames, first);
        let run = Run::named(run.room, run.encoding, run.first_seq + u64::from(before));
        let press = self.packing.press.private();
        let deflater = self.contexts.deflater(key.index)?;
        let mut out = std::mem::take(&mut self.scratch);
        let mut packed = Vec::with_capacity(piece.messages as usize);
        let mut start = piece.start;
        for frame in frames.iter().skip(first).take_while(|frame| frame.end <= piece.end) {
            let plain = self.buffers.bytes(piece.buffer, start, frame.end);
            press.push_frame(deflater, &mut out, plain, &mut self.counters);
            let (end, upto) = (offset(out.len()), frame.upto - before);
            packed.push(Frame { end, upto, left_out: None, ..*frame });
            start = frame.end;
        }
        let (end, messages) = (offset(out.len()), packed.last().map_or(0, |frame| frame.upto));
        let run = Run { end, frames_to: offset(packed.len()), ..run };
        let buffer = self.buffers.insert(out.as_slice().to_vec(), vec![run], packed);
        self.buffers.hold(buffer, 1);
        self.put_scratch(out);
        Some(Chunk { buffer, start: 0, end, content: Content::Run(0), messages })
    }

    /// Sends a message back to its sender, compressed as was agreed.
    pub(super) fn echo(&mut self, key: ConnKey, kind: DataKind, payload: &[u8]) {
        self.counters.messages_out += 1;
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        let mut out = std::mem::take(&mut self.scratch);
        let shared = self.packing.press;
        let (press, deflater) = match session.apart {
            true => (shared.private(), self.contexts.deflater(key.index)),
            false => (shared, self.packing.deflater(session.encoding.deflate)),
        };
        let is_packed = deflater.is_some_and(|deflater| {
            press.push(deflater, &mut out, kind, payload, &mut self.counters)
        });
        if is_packed {
            self.count_saved(ws::frame_bytes(payload.len()), out.len());
        }
        self.push_answer(key, |buffer| match is_packed {
            true => buffer.extend_from_slice(&out),
            false => ws::push_frame(buffer, kind.opcode(), payload),
        });
        self.put_scratch(out);
    }

    fn count_saved(&mut self, before: usize, after: usize) {
        self.counters.deflate_bytes_saved += before.saturating_sub(after) as u64;
    }

    /// Keeps a vector for the next one, unless it has grown large.
    fn put_scratch(&mut self, mut scratch: Vec<u8>) {
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
            scratch.clear();
            self.scratch = scratch;
        }
    }
}

/// Whether either side keeps a context that we have to hold.
const fn keeps_context(agreement: Agreement) -> bool {
    !agreement.server_no_context_takeover || !agreement.client_no_context_takeover
}

#[cfg(test)]
#[path = "contexts_tests.rs"]
mod tests;
