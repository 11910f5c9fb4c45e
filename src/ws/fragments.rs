//! A message that has begun and is not finished: its pieces, checked as they come, or as they came
//! if they are compressed (docs/decisions/0008-compressed-fragments-wait-compressed.md).
//!
//! Not here: headers, and how many bytes a message may have (`reader`).

use super::utf8::Utf8Check;
use super::{DataKind, FrameHeader, Message, Payload, ProtocolError};
use crate::http::Spill;
use crate::limits::EMPTY_FRAGMENTS_MAX;

/// A data message of which not everything is there.
#[derive(Debug)]
pub(super) struct Fragments {
    kind: DataKind,
    compressed: bool,
    spill: Spill,
    text: Utf8Check,
    empty_in_a_row: u16,
}

impl Fragments {
    /// A message of which nothing is there yet.
    pub(super) const fn new(kind: DataKind, compressed: bool) -> Self {
        Self { kind, compressed, spill: Spill::new(), text: Utf8Check::new(), empty_in_a_row: 0 }
    }

    /// Whether its pieces are compressed.
    pub(super) const fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Bytes of all its pieces so far.
    pub(super) const fn len(&self) -> usize {
        self.spill.len()
    }

    /// Memory held, for accounting.
    pub(super) const fn held_bytes(&self) -> usize {
        self.spill.held_bytes()
    }

    /// Appends an unmasked piece of the payload.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        if self.kind == DataKind::Text && !self.compressed {
            self.text.push(piece)?;
        }
        self.spill.push(piece);
        Ok(())
    }

    /// Counts a fragment that ended and was not the last, so that they can't be empty for ever.
    pub(super) fn count_empty(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        self.empty_in_a_row = if header.payload_len == 0 { self.empty_in_a_row + 1 } else { 0 };
        if self.empty_in_a_row > EMPTY_FRAGMENTS_MAX {
            return Err(ProtocolError::EmptyFragments);
        }
        Ok(())
    }

    /// The message, all of whose fragments are here.
    pub(super) fn finish(self) -> Result<Message<'static>, ProtocolError> {
        self.text.finish()?;
        let (kind, payload) = (self.kind, Payload::Owned(self.spill.take()));
        Ok(match self.compressed {
            true => Message::Compressed { kind, payload },
            false => Message::Data { kind, payload },
        })
    }
}
