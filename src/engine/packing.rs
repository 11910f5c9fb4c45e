//! The compressed forms of what a room published in one tick: made once, for all members that get
//! them (RFC 7692).
//!
//! Every message is compressed by itself, so that its bytes depend on nothing but itself: no other
//! message, no other room, no receiver. Not here: who gets which form (`members`, `homes`), and how
//! to compress (`ws::deflate`). Invariants: a message below the threshold, or one that does not get
//! smaller, stays as it is; where that holds for all, there is no compressed form.

use super::buffers::offset;
use super::settings::CompressionSettings;
use crate::broker::{Encoding, LoopMembers};
use crate::limits::OUTGOING_BYTES_MAX;
use crate::observe::Counters;
use crate::ws::{self, Decoded, Deflater, FrameHeader, Role, WindowClass};

/// Nanoseconds on some monotonic clock. Only told in metrics, it decides nothing
/// (`docs/decisions/0009-a-stopwatch-for-compression.md`).
pub type Stopwatch = fn() -> u64;

/// The compressors of one loop, and what they made of the room in hand.
#[derive(Debug)]
pub(crate) struct Packing {
    settings: CompressionSettings,
    stopwatch: Stopwatch,
    large: Packed,
    small: Packed,
}

/// A room's frames in one compressed form.
#[derive(Debug)]
pub(crate) struct Packed {
    window: WindowClass,
    /// Made when first needed: it is larger than all else that a loop keeps.
    deflater: Option<Box<Deflater>>,
    bytes: Vec<u8>,
    /// Where each frame ends; empty where there is no compressed form.
    ends: Vec<u32>,
    /// Bytes less than in the plain form.
    saved: usize,
}

impl Packing {
    pub(crate) const fn new(settings: CompressionSettings, stopwatch: Stopwatch) -> Self {
        let large = Packed::new(WindowClass::Large);
        Self { settings, stopwatch, large, small: Packed::new(WindowClass::Small) }
    }

    /// Makes the forms in which members on `loops` get these frames of a room.
    pub(crate) fn pack<'a>(
        &mut self,
        loops: &[LoopMembers],
        frames: impl Iterator<Item = &'a [u8]> + Clone,
        counters: &mut Counters,
    ) {
        for encoding in [Encoding::RawDeflate, Encoding::RawDeflateSmall] {
            let wanted = loops.iter().any(|members| members.count(encoding) > 0);
            let (settings, stopwatch) = (self.settings, self.stopwatch);
            let Some(packed) = self.form_mut(encoding) else { continue };
            packed.clear();
            if wanted && frames.clone().any(|frame| frame.len() >= settings.threshold_bytes) {
                packed.pack(&settings, frames.clone(), stopwatch, counters);
            }
        }
    }

    /// The compressed form of the room in hand; none where it is the plain one.
    pub(crate) fn packed(&self, encoding: Encoding) -> Option<&Packed> {
        let packed = match encoding {
            Encoding::Raw => return None,
            Encoding::RawDeflate => &self.large,
            Encoding::RawDeflateSmall => &self.small,
        };
        (!packed.ends.is_empty()).then_some(packed)
    }

    const fn form_mut(&mut self, encoding: Encoding) -> Option<&mut Packed> {
        match encoding {
            Encoding::Raw => None,
            Encoding::RawDeflate => Some(&mut self.large),
            Encoding::RawDeflateSmall => Some(&mut self.small),
        }
    }

    /// Lets go of what one large tick needed and the next may not.
    pub(crate) fn end_tick(&mut self) {
        for packed in [&mut self.large, &mut self.small] {
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

    /// Bytes less than in the plain form.
    pub(crate) fn saved(&self) -> u32 {
        offset(self.saved)
    }

    fn clear(&mut self) {
        self.saved = 0;
        self.bytes.clear();
        self.ends.clear();
    }

    fn pack<'a>(
        &mut self,
        settings: &CompressionSettings,
        frames: impl Iterator<Item = &'a [u8]>,
        stopwatch: Stopwatch,
        counters: &mut Counters,
    ) {
        let started = stopwatch();
        let Self { window, deflater, bytes, ends, saved } = self;
        let deflater = deflater
            .get_or_insert_with(|| Box::new(Deflater::new(*window, settings.level)));
        let mut smaller = false;
        for frame in frames {
            let (before, laid) = (payload(frame), bytes.len());
            let is_packed = before.is_some_and(|(kind, payload)| {
                payload.len() >= settings.threshold_bytes
                    && deflater.push_frame(bytes, kind, payload)
            });
            if is_packed {
                smaller = true;
                *saved += frame.len().saturating_sub(bytes.len() - laid);
                counters.deflated_messages += 1;
                counters.deflate_bytes_in += frame.len() as u64;
                counters.deflate_bytes_out += (bytes.len() - laid) as u64;
            } else {
                bytes.extend_from_slice(frame);
            }
            ends.push(offset(bytes.len()));
        }
        if !smaller {
            self.clear();
        }
        counters.deflate_ns += stopwatch().saturating_sub(started);
    }
}

/// A plain frame's kind and payload.
fn payload(frame: &[u8]) -> Option<(ws::DataKind, &[u8])> {
    match FrameHeader::decode(frame, Role::Client) {
        Ok(Decoded::Complete(header)) => {
            Some((header.opcode.data_kind()?, frame.get(header.header_bytes()..)?))
        }
        Ok(Decoded::Partial(_)) | Err(_) => None,
    }
}
