//! The compressed forms of what a room published in one tick: made once, for all members that get
//! them (RFC 7692).
//!
//! Every message is compressed by itself, so that its bytes depend on nothing but itself: no other
//! message, no other room, no receiver. Not here: who gets which form (`members`, `homes`), and how
//! to compress (`ws::deflate`). Invariants: a message below the threshold, or one that does not get
//! smaller, stays as it is; where that holds for all, there is no compressed form.

use super::buffers::offset;
use super::settings::CompressionSettings;
use crate::broker::{Deflate, Encoding, Form, LoopMembers};
use crate::limits::{COMPRESSION_PRIVATE_BYTES, OUTGOING_BYTES_MAX};
use crate::observe::Counters;
use crate::ws::{
    Context, DataKind, Decoded, Deflated, Deflater, FrameHeader, Level, Role, Rsv1, WindowClass,
};

/// Nanoseconds on some monotonic clock. Told in metrics alone, it decides nothing
/// (`docs/decisions/0009-a-stopwatch-for-compression.md`).
pub type Stopwatch = fn() -> u64;

/// Which messages are worth compressing, and how hard to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Press {
    pub(crate) level: Level,
    threshold_bytes: usize,
    stopwatch: Stopwatch,
}

/// The compressors of one loop, and what they made of the room in hand.
#[derive(Debug)]
pub(crate) struct Packing {
    pub(crate) press: Press,
    full: Packed,
    small: Packed,
}

/// A room's frames in one compressed form.
#[derive(Debug)]
pub(crate) struct Packed {
    window: WindowClass,
    /// Made when first needed: it is larger than all else that a loop at rest keeps.
    deflater: Option<Box<Deflater>>,
    bytes: Vec<u8>,
    /// Where each frame ends; empty where there is no compressed form.
    ends: Vec<u32>,
    /// Bytes less than in the plain form.
    saved: usize,
}

impl Press {
    pub(crate) fn new(settings: &CompressionSettings, stopwatch: Stopwatch) -> Self {
        let level = Level::new(settings.level);
        debug_assert!(level.is_some(), "levels are checked with the configuration");
        let threshold_bytes = settings.threshold_bytes;
        Self { level: level.unwrap_or(Level::MIN), threshold_bytes, stopwatch }
    }

    /// For connections with a context of their own.
    pub(crate) fn private(self) -> Self {
        Self { threshold_bytes: self.threshold_bytes.min(COMPRESSION_PRIVATE_BYTES), ..self }
    }

    /// Appends a message as a compressed frame. `false`: that is not worth it, and `out` is as it
    /// was.
    pub(crate) fn push(
        &self,
        deflater: &mut Deflater,
        out: &mut Vec<u8>,
        kind: DataKind,
        payload: &[u8],
        counters: &mut Counters,
    ) -> bool {
        if payload.len() < self.threshold_bytes {
            return false;
        }
        let started = (self.stopwatch)();
        let deflated = deflater.push_frame(out, kind, payload);
        counters.deflate_ns += (self.stopwatch)().saturating_sub(started);
        match deflated {
            Deflated::Smaller { before, after } => {
                counters.deflated_messages += 1;
                counters.deflate_bytes_in += before as u64;
                counters.deflate_bytes_out += after as u64;
                true
            }
            Deflated::NotSmaller => false,
        }
    }

    /// Appends a plain frame, compressed if that is worth it; says whether it was.
    pub(crate) fn push_frame(
        &self,
        deflater: &mut Deflater,
        out: &mut Vec<u8>,
        frame: &[u8],
        counters: &mut Counters,
    ) -> bool {
        let is_packed = match message(frame) {
            Some((kind, payload)) => self.push(deflater, out, kind, payload, counters),
            None => false,
        };
        if !is_packed {
            out.extend_from_slice(frame);
        }
        is_packed
    }
}

impl Packing {
    pub(crate) const fn new(press: Press) -> Self {
        let full = Packed::new(WindowClass::Full);
        Self { press, full, small: Packed::new(WindowClass::Small) }
    }

    /// Makes the compressed forms in which members on `loops` get these frames of a room.
    pub(crate) fn pack<'a>(
        &mut self,
        loops: &[LoopMembers],
        form: Form,
        frames: impl Iterator<Item = &'a [u8]> + Clone,
        counters: &mut Counters,
    ) {
        let press = self.press;
        for deflate in [Deflate::Full, Deflate::Small] {
            let encoding = Encoding { form, deflate };
            let wanted = loops.iter().any(|members| members.count(encoding) > 0);
            let Some(packed) = self.packed_mut(deflate) else { continue };
            packed.clear();
            if wanted && frames.clone().any(|frame| frame.len() > press.threshold_bytes) {
                packed.pack(press, frames.clone(), counters);
            }
        }
    }

    /// The compressed form of the frames in hand; none where it is the plain one.
    pub(crate) fn packed(&self, deflate: Deflate) -> Option<&Packed> {
        let packed = match deflate {
            Deflate::Off => return None,
            Deflate::Full => &self.full,
            Deflate::Small => &self.small,
        };
        (!packed.ends.is_empty()).then_some(packed)
    }

    /// The compressor of a kind, for what a single connection is sent.
    pub(crate) fn deflater(&mut self, deflate: Deflate) -> Option<&mut Deflater> {
        let level = self.press.level;
        self.packed_mut(deflate).map(|packed| packed.deflater(level))
    }

    const fn packed_mut(&mut self, deflate: Deflate) -> Option<&mut Packed> {
        match deflate {
            Deflate::Off => None,
            Deflate::Full => Some(&mut self.full),
            Deflate::Small => Some(&mut self.small),
        }
    }

    /// Lets go of what one large tick needed and the next may not.
    pub(crate) fn end_tick(&mut self) {
        for packed in [&mut self.full, &mut self.small] {
            packed.clear();
            if packed.bytes.capacity() > OUTGOING_BYTES_MAX {
                packed.bytes = Vec::new();
            }
        }
    }
}

impl Packed {
    const fn new(window: WindowClass) -> Self {
        Self { window, deflater: None, bytes: Vec::new(), ends: Vec::new(), saved: 0 }
    }

    /// The frames, in their order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let range = start as usize..end as usize;
            start = end;
            self.bytes.get(range).unwrap_or_default()
        })
    }

    /// Bytes of all frames.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes less than in the plain form.
    pub(crate) fn saved(&self) -> u32 {
        offset(self.saved)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.saved = 0;
    }

    fn deflater(&mut self, level: Level) -> &mut Deflater {
        let new = || Box::new(Deflater::new(self.window, level, Context::Reset));
        self.deflater.get_or_insert_with(new)
    }

    fn pack<'a>(
        &mut self,
        press: Press,
        frames: impl Iterator<Item = &'a [u8]>,
        counters: &mut Counters,
    ) {
        self.deflater(press.level);
        let Self { deflater: Some(deflater), bytes, ends, saved, .. } = self else { return };
        let mut plain_bytes = 0;
        for frame in frames {
            press.push_frame(deflater, bytes, frame, counters);
            plain_bytes += frame.len();
            ends.push(offset(bytes.len()));
        }
        *saved = plain_bytes - bytes.len();
        if *saved == 0 {
            self.clear(); // Nothing got smaller: the plain form is as good.
        }
    }
}

/// A plain frame's kind and payload.
fn message(frame: &[u8]) -> Option<(DataKind, &[u8])> {
    match FrameHeader::decode(frame, Role::Client, Rsv1::Reserved) {
        Ok(Decoded::Complete(header)) => {
            Some((header.opcode.data_kind()?, frame.get(header.header_bytes()..)?))
        }
        Ok(Decoded::Partial(_)) | Err(_) => None,
    }
}
