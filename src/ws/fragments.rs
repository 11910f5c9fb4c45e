//! A message that has begun and is not finished: its pieces, checked as they come.
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
    spill: Spill,
    text: Utf8Check,
    empty_in_a_row: u16,
}

impl Fragments {
    /// A message of which nothing is there yet.
    pub(super) const fn new(kind: DataKind) -> Self {
        Self { kind, spill: Spill::new(), text: Utf8Check::new(), empty_in_a_row: 0 }
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
        if self.kind == DataKind::Text {
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
        Ok(Message::Data { kind: self.kind, payload: Payload::Owned(self.spill.take()) })
    }
}
