//! Compressed messages inflated (RFC 7692 §7.2.2), into one buffer with a bound.
//!
//! Not here: frames and fragments (`reader`). Invariants: the buffer never has room for more than
//! one byte beyond the message bound, and grows with what came out, never with what was announced;
//! a message comes out whole and valid or not at all; after an error everything is as at the start.

use super::{Context, DataKind, ProtocolError, utf8};
use crate::limits::{COMPRESSED_SLACK_BYTES, DEFLATE_STREAMS_MAX, INFLATED_KEPT_BYTES};
use std::fmt;
use zlib_rs::{Inflate, InflateFlush, Status};

/// What a sender cut off the message's end (RFC 7692 §7.2.1), and a byte that must be left over.
const TAIL_AND_MORE: [u8; 5] = [0x00, 0x00, 0xFF, 0xFF, 0x00];
/// The largest window: whatever was agreed on, it reads.
const WINDOW_BITS: u8 = 15;
/// What a context of zlib-rs 0.6 allocates, in one piece: 32 KiB of window, and its tables.
const CONTEXT_BYTES: usize = 47_552;
/// Smallest buffer.
const BUFFER_BYTES_MIN: usize = 1024;
const _: () = assert!(BUFFER_BYTES_MIN <= INFLATED_KEPT_BYTES);

/// Bytes that a compressed message may have on the wire where an inflated one may have
/// `message_bytes_max`: more can't come of a sender that means well.
///
/// Data that does not compress is stored, at 5 bytes for each block, or coded with fixed codes of
/// at most 9 bits a byte. Compressors that store no less than 40 bytes at a time add at most an
/// eighth either way. The constant is for messages of a few bytes, and for flushes.
pub const fn compressed_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_add(message_bytes_max / 8).saturating_add(COMPRESSED_SLACK_BYTES)
}

/// Inflates messages: one per loop for all whose contexts are reset, or one per connection whose
/// client keeps its context.
pub struct Inflater {
    stream: Inflate,
    context: Context,
    /// Room for what comes out. All of it is initialised; what is in it is of no meaning.
    buffer: Vec<u8>,
}

/// What one call of the decompressor came to.
struct Step {
    consumed: usize,
    /// There may be more to come out of what it has.
    filled: bool,
    ended: bool,
}

impl Inflater {
    /// One that has seen nothing yet.
    pub fn new(context: Context) -> Self {
        Self { stream: Inflate::new(false, WINDOW_BITS), context, buffer: Vec::new() }
    }

    /// The whole message that was compressed to `compressed`, of at most `bytes_max` bytes.
    ///
    /// With [`Context::Kept`] an error means that later messages can't be read either; all errors
    /// close the connection.
    pub fn message(
        &mut self,
        kind: DataKind,
        compressed: &[u8],
        bytes_max: usize,
    ) -> Result<&[u8], ProtocolError> {
        let len = match self.inflate(compressed, bytes_max) {
            Ok(len) => len,
            Err(error) => {
                self.stream.reset(false);
                self.rest();
                return Err(error);
            }
        };
        let message = self.buffer.get(..len).unwrap_or_default();
        if kind == DataKind::Text {
            utf8::text(message)?;
        }
        Ok(message)
    }

    /// Gives back what large messages made the buffer grow by, and all of it where it is one
    /// connection's. To be called when there is no more input for now.
    pub fn rest(&mut self) {
        let kept = match self.context {
            Context::Reset => INFLATED_KEPT_BYTES,
            Context::Kept => 0,
        };
        if self.buffer.len() > kept {
            self.buffer = Vec::new();
        }
    }

    /// Memory it holds, for accounting.
    pub const fn heap_bytes(&self) -> usize {
        CONTEXT_BYTES + self.buffer.capacity()
    }

    /// Inflates all of `compressed` and the tail; how many bytes came out.
    fn inflate(&mut self, compressed: &[u8], bytes_max: usize) -> Result<usize, ProtocolError> {
        let (mut rest, mut len, mut streams) = (compressed, 0, 0);
        self.make_room(compressed.len().saturating_mul(4).min(INFLATED_KEPT_BYTES), bytes_max);
        if self.context == Context::Reset {
            self.stream.reset(false);
        }
        if compressed.is_empty() {
            // Not even an empty block's beginning: a compressor that kept its context may have
            // nothing to flush for an empty message. The tail would then end no block.
            return Ok(0);
        }
        loop {
            let step = self.step(rest, InflateFlush::NoFlush, &mut len, bytes_max)?;
            rest = rest.get(step.consumed..).unwrap_or_default();
            if step.ended {
                // RFC 7692 §7.2.3.4: a block may be its stream's last; the message goes on with a
                // fresh stream, or ends there.
                self.stream.reset(false);
                streams += 1;
                if rest.is_empty() {
                    return Ok(len);
                }
                if streams > DEFLATE_STREAMS_MAX {
                    return Err(ProtocolError::BadDeflate);
                }
            } else if !step.filled {
                break;
            }
        }
        self.end(&mut len, bytes_max)?;
        Ok(len)
    }

    /// Reads the tail, which must end the block that the message left open, and nothing else.
    fn end(&mut self, len: &mut usize, bytes_max: usize) -> Result<(), ProtocolError> {
        let before = *len;
        // `Block` stops behind a block: anywhere else the last byte would be taken in as well.
        match self.step(&TAIL_AND_MORE, InflateFlush::Block, len, bytes_max) {
            Ok(step) if step.consumed + 1 == TAIL_AND_MORE.len() && *len == before => Ok(()),
            Ok(_) | Err(_) => Err(ProtocolError::BadDeflate),
        }
    }

    /// Feeds `input` to the decompressor once, and counts what came out into `len`.
    fn step(
        &mut self,
        input: &[u8],
        flush: InflateFlush,
        len: &mut usize,
        bytes_max: usize,
    ) -> Result<Step, ProtocolError> {
        let room_max = bytes_max.saturating_add(1);
        if *len >= self.buffer.len().min(room_max) {
            self.make_room(self.buffer.len().saturating_mul(2), bytes_max);
        }
        let end = self.buffer.len().min(room_max);
        let output = self.buffer.get_mut(*len..end).unwrap_or_default();
        let room = output.len() as u64;
        let before = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, output, flush);
        let produced = self.stream.total_out() - before.1;
        // Neither is more than what was handed in.
        let consumed = usize::try_from(self.stream.total_in() - before.0).unwrap_or(input.len());
        *len += usize::try_from(produced).unwrap_or_default();
        if *len > bytes_max {
            return Err(ProtocolError::MessageTooBig); // Before what it may have found behind that.
        }
        let status = status.map_err(|_| ProtocolError::BadDeflate)?;
        Ok(Step { consumed, filled: produced == room, ended: status == Status::StreamEnd })
    }

    /// Makes the buffer at least so large, within its bounds.
    fn make_room(&mut self, wanted: usize, bytes_max: usize) {
        let wanted = wanted.max(BUFFER_BYTES_MIN).min(bytes_max.saturating_add(1));
        if let Some(missing) = wanted.checked_sub(self.buffer.len()) {
            self.buffer.reserve_exact(missing);
            self.buffer.resize(wanted, 0);
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("context", &self.context)
            .field("buffer_bytes", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
