//! Chunked bodies, byte for byte as RFC 9112 §7.1 has them.
//!
//! Not here: keeping the payload (`body`). Invariants: framing is never kept, only counted; every
//! verdict falls at the first byte that deserves it; framing can't outweigh payload without end.

use super::RequestError;
use super::target::is_token_byte;
use crate::limits::{HTTP_CHUNK_LINE_BYTES_MAX, HTTP_TRAILER_BYTES_MAX};

/// A size line of this length costs nothing; what is beyond it is weighed against the payload.
const LINE_BYTES_FREE: usize = 16;

/// Takes payload out of chunks. Owns no memory.
#[derive(Debug)]
pub(super) struct ChunkDecoder {
    phase: Phase,
    /// Payload bytes of this chunk, still to come.
    left: usize,
    /// Bytes of this chunk's size line so far.
    line_bytes: usize,
    /// By how much size lines outweigh the payload so far.
    excess_bytes: usize,
    trailer_bytes: usize,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Size,
    /// Blanks after the size; only an extension may follow.
    SizeBlank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// What [`ChunkDecoder::read`] did with its input.
pub(super) struct ChunkStep<'a> {
    pub(super) consumed: usize,
    /// Payload found in the consumed bytes; at its end.
    pub(super) data: &'a [u8],
}

impl ChunkDecoder {
    pub(super) const fn new() -> Self {
        Self { phase: Phase::Size, left: 0, line_bytes: 0, excess_bytes: 0, trailer_bytes: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Reads up to the end of the next piece of payload, of the body, or of `input`. A chunk that
    /// announces more than `room` payload bytes is too large at once.
    pub(super) fn read<'a>(
        &mut self,
        input: &'a [u8],
        room: usize,
    ) -> Result<ChunkStep<'a>, RequestError> {
        let mut bytes = input.iter();
        while self.phase != Phase::Data && self.phase != Phase::Done {
            let Some(&byte) = bytes.next() else { break };
            self.phase = self.next_phase(byte, room)?;
        }
        let rest = bytes.as_slice();
        let (data, after) = rest.split_at(self.left_in_data().min(rest.len()));
        self.left -= data.len();
        if self.phase == Phase::Data && self.left == 0 {
            self.phase = Phase::DataCr;
        }
        Ok(ChunkStep { consumed: input.len() - after.len(), data })
    }

    fn left_in_data(&self) -> usize {
        if self.phase == Phase::Data { self.left } else { 0 }
    }

    fn next_phase(&mut self, byte: u8, room: usize) -> Result<Phase, RequestError> {
        match self.phase {
            Phase::Size | Phase::SizeBlank | Phase::Extension | Phase::SizeLf => {
                self.next_in_size_line(byte, room)
            }
            Phase::DataCr if byte == b'\r' => Ok(Phase::DataLf),
            Phase::DataLf if byte == b'\n' => {
                self.line_bytes = 0;
                Ok(Phase::Size)
            }
            Phase::DataCr | Phase::DataLf => Err(RequestError::BadChunk),
            Phase::TrailerStart
            | Phase::TrailerName
            | Phase::TrailerValue
            | Phase::TrailerLf
            | Phase::LastLf => self.next_in_trailer(byte),
            // `read` deals with these two itself.
            Phase::Data | Phase::Done => Ok(self.phase),
        }
    }

    fn next_in_size_line(&mut self, byte: u8, room: usize) -> Result<Phase, RequestError> {
        self.line_bytes += 1;
        if self.line_bytes > HTTP_CHUNK_LINE_BYTES_MAX {
            return Err(RequestError::BadChunk);
        }
        let has_digit = self.line_bytes > 1;
        match (self.phase, byte) {
            (Phase::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.left = push_digit(self.left, byte)
                    .filter(|&size| size <= room)
                    .ok_or(RequestError::BodyTooLarge)?;
                Ok(Phase::Size)
            }
            (Phase::Size, b' ' | b'\t') if has_digit => Ok(Phase::SizeBlank),
            (Phase::SizeBlank, b' ' | b'\t') => Ok(Phase::SizeBlank),
            (Phase::Size, b';') if has_digit => Ok(Phase::Extension),
            (Phase::SizeBlank, b';') => Ok(Phase::Extension),
            (Phase::Size, b'\r') if has_digit => Ok(Phase::SizeLf),
            (Phase::Extension, b'\r') => Ok(Phase::SizeLf),
            (Phase::Extension, value) if is_value_byte(value) => Ok(Phase::Extension),
            (Phase::SizeLf, b'\n') => self.end_size_line(),
            (_, _) => Err(RequestError::BadChunk),
        }
    }

    /// Tiny chunks with long extensions would have us read hundreds of bytes for each one kept.
    fn end_size_line(&mut self) -> Result<Phase, RequestError> {
        let earned = LINE_BYTES_FREE.saturating_add(self.left);
        self.excess_bytes = (self.excess_bytes + self.line_bytes).saturating_sub(earned);
        if self.excess_bytes > HTTP_TRAILER_BYTES_MAX {
            return Err(RequestError::BadChunk);
        }
        Ok(if self.left == 0 { Phase::TrailerStart } else { Phase::Data })
    }

    /// Trailers are checked for shape and dropped: nothing here asks for one.
    fn next_in_trailer(&mut self, byte: u8) -> Result<Phase, RequestError> {
        self.trailer_bytes += 1;
        match (self.phase, byte) {
            (Phase::LastLf, b'\n') => return Ok(Phase::Done),
            (Phase::TrailerStart, b'\r') => return Ok(Phase::LastLf),
            (_, _) if self.trailer_bytes > HTTP_TRAILER_BYTES_MAX => {
                return Err(RequestError::TrailerTooLarge);
            }
            (_, _) => {}
        }
        match (self.phase, byte) {
            (Phase::TrailerStart | Phase::TrailerName, name) if is_token_byte(name) => {
                Ok(Phase::TrailerName)
            }
            (Phase::TrailerName, b':') => Ok(Phase::TrailerValue),
            (Phase::TrailerValue, b'\r') => Ok(Phase::TrailerLf),
            (Phase::TrailerValue, value) if is_value_byte(value) => Ok(Phase::TrailerValue),
            (Phase::TrailerLf, b'\n') => Ok(Phase::TrailerStart),
            (_, _) => Err(RequestError::BadField),
        }
    }
}

/// `None` where the size does not fit.
fn push_digit(size: usize, byte: u8) -> Option<usize> {
    let digit = char::from(byte).to_digit(16)?;
    size.checked_mul(16)?.checked_add(usize::try_from(digit).ok()?)
}

/// What may stand in a field value or an extension: RFC 9110 §5.5.
const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
