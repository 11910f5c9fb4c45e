//! Messages compressed into frames (RFC 7692 §7.2.1).
//!
//! Not here: which messages are worth it, and who gets them (`engine`). Invariants: a frame is
//! whole and its message's only one; it is smaller than the plain one, or `out` is as it was; with
//! [`Context::Reset`] its bytes depend on the message, the level and the window alone.

use super::{Context, DataKind, FrameHeader, WindowClass, compressed_bytes_max, mask};
use crate::limits::DEFLATE_STEP_BYTES;
use std::fmt;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Method, Strategy};

/// Bytes at the end of a flush that are left out (RFC 7692 §7.2.1): an empty stored block but for
/// the bits that begin it.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// Least room that is made for what comes out: what is left in the compressor comes in few pieces.
const STEP_BYTES_MIN: usize = 1024;
const _: () = assert!(STEP_BYTES_MIN <= DEFLATE_STEP_BYTES);
/// zlib's default: 2^14 symbols are collected before a block is made of them.
const MEM_LEVEL: i32 = 8;

/// How hard to look for repetitions: 1, the fastest, to 9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Level(u8);

/// What [`Deflater::push_frame`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deflated {
    /// It appended a frame.
    Smaller {
        /// Bytes of the message.
        before: usize,
        /// Bytes of the frame's payload.
        after: usize,
    },
    /// It appended nothing: the message is to be sent plain.
    NotSmaller,
}

/// Compresses messages: one per loop and window for all whose contexts are reset, or one per
/// connection for which the server keeps its context.
pub struct Deflater {
    stream: Deflate,
    window: WindowClass,
    context: Context,
}

impl Level {
    /// The fastest.
    pub const MIN: Self = Self(1);
    /// The smallest output.
    pub const MAX: Self = Self(9);

    /// The level of that number, from 1 to 9.
    pub const fn new(level: u8) -> Option<Self> {
        if level >= Self::MIN.0 && level <= Self::MAX.0 { Some(Self(level)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Deflater {
    /// One that has seen nothing yet.
    pub fn new(window: WindowClass, level: Level, context: Context) -> Self {
        let config = DeflateConfig {
            level: i32::from(level.0),
            method: Method::Deflated,
            window_bits: -window_bits(window), // Negative: bare, without a header of zlib's.
            mem_level: MEM_LEVEL,
            strategy: Strategy::Default,
        };
        Self { stream: Deflate::new_with_config(config), window, context }
    }

    /// Appends a server's frame: a whole message, compressed.
    pub fn push_frame(&mut self, out: &mut Vec<u8>, kind: DataKind, payload: &[u8]) -> Deflated {
        self.push(out, kind, payload, None)
    }

    /// Appends a client's frame: a whole message, compressed, then masked with `mask`, which must
    /// be unpredictable to whoever chose the payload (RFC 6455 §5.3).
    pub fn push_masked_frame(
        &mut self,
        out: &mut Vec<u8>,
        kind: DataKind,
        payload: &[u8],
        mask: [u8; 4],
    ) -> Deflated {
        self.push(out, kind, payload, Some(mask))
    }

    /// Memory it holds, for accounting.
    pub const fn heap_bytes(&self) -> usize {
        heap_bytes(self.window)
    }

    fn push(
        &mut self,
        out: &mut Vec<u8>,
        kind: DataKind,
        payload: &[u8],
        key: Option<[u8; 4]>,
    ) -> Deflated {
        // One byte less is smaller; nothing is smaller than an empty message.
        let Some(bytes_max) = payload.len().checked_sub(1) else { return Deflated::NotSmaller };
        let start = out.len();
        let header = |payload_len: usize| FrameHeader {
            fin: true,
            opcode: kind.opcode(),
            compressed: true,
            mask: key,
            payload_len: payload_len as u64,
        };
        // The length is known last. Room is left for the plain message's header; where less will
        // do, the payload is moved up, which is at most 64 KiB.
        let guess = header(payload.len()).header_bytes();
        out.resize(start + guess, 0);
        let Some(after) = self.compress(out, payload, bytes_max) else {
            out.truncate(start);
            return Deflated::NotSmaller;
        };
        let header = header(after);
        let payload_at = start + header.header_bytes();
        if payload_at < start + guess {
            out.copy_within(start + guess.., payload_at);
            out.truncate(payload_at + after);
        }
        if let Some(key) = key {
            mask::apply(key, 0, out.get_mut(payload_at..).unwrap_or_default());
        }
        // Written behind the payload and moved: a header is encoded to the end of a vector.
        let end = out.len();
        header.encode(out);
        out.copy_within(end.., start);
        out.truncate(end);
        Deflated::Smaller { before: payload.len(), after }
    }

    /// Appends `payload` compressed, without the tail, and says how many bytes that is. `None` if
    /// it is more than `bytes_max`: `out` then ends in garbage, and the context is reset.
    fn compress(&mut self, out: &mut Vec<u8>, payload: &[u8], bytes_max: usize) -> Option<usize> {
        if self.context == Context::Reset {
            self.stream.reset();
        }
        // A compressor that leaves room has flushed everything. It is not stopped before, though it
        // may be plain that nothing comes of it: in zlib-rs 0.6 a reset forgets to move what is
        // pending to the front, and after some of those there is no room and it panics. Nothing
        // is larger than it was by more than an eighth, so that is what it costs.
        let (mut rest, mut written) = (payload, 0);
        loop {
            // All that can come of it where that is little: what is made room for is cleared first.
            let room = compressed_bytes_max(rest.len()).clamp(STEP_BYTES_MIN, DEFLATE_STEP_BYTES);
            let at = out.len();
            out.resize(at + room, 0);
            let output = out.get_mut(at..).unwrap_or_default();
            let before = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.compress(rest, output, DeflateFlush::SyncFlush);
            debug_assert!(status.is_ok(), "{status:?}: its state is sound");
            let consumed = self.stream.total_in() - before.0;
            let produced = usize::try_from(self.stream.total_out() - before.1).unwrap_or(room);
            rest = usize::try_from(consumed).ok().and_then(|len| rest.get(len..))?;
            written += produced;
            if produced < room {
                out.truncate(at + produced);
                break;
            }
        }
        debug_assert!(rest.is_empty() && out.ends_with(&TAIL), "flushed");
        let after = written.saturating_sub(TAIL.len());
        if after > bytes_max {
            // What the other side will never see must not be referred to either.
            self.stream.reset();
            return None;
        }
        out.truncate(out.len().saturating_sub(TAIL.len()));
        Some(after)
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window", &self.window)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

const fn window_bits(window: WindowClass) -> i32 {
    match window {
        WindowClass::Small => 9,
        WindowClass::Full => 15,
    }
}

/// What a context of zlib-rs 0.6 allocates, in one piece.
const fn heap_bytes(window: WindowClass) -> usize {
    const HASH_TABLE_BYTES: usize = (1 << 16) * size_of::<u16>();
    const SYMBOLS_BYTES: usize = (1 << (MEM_LEVEL + 6)) * 7;
    const STATE_BYTES: usize = 3_200;
    // Two windows of bytes, and a chain of 16-bit positions.
    let window_bytes = (1 << window_bits(window)) * (2 + size_of::<u16>());
    window_bytes + HASH_TABLE_BYTES + SYMBOLS_BYTES + STATE_BYTES
}
