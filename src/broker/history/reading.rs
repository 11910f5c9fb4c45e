//! What was read of a room's history: slices of buffers that are shared, not copied.
//!
//! Not here: where the items lie (`segment.rs`). Invariant: the pieces, put one behind the other,
//! are `item,item,item` without a comma at either end.

use super::segment::Selection;
use std::sync::Arc;

/// A part of a shared buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The buffer; it never changes.
    pub bytes: Arc<Vec<u8>>,
    /// Where the part begins in it.
    pub start: u32,
    /// Where it ends, exclusive.
    pub end: u32,
}

/// Messages of a room in their order, ready to go out between `[` and `]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// The items, with one `,` between any two.
    pub pieces: Vec<Piece>,
    /// How many items they hold.
    pub messages: u32,
    /// Bytes of all pieces.
    pub bytes: usize,
    /// The `seq`s within the range whose messages were left out as the reader's own, in order.
    pub own: Vec<u64>,
}

impl Piece {
    /// The bytes of the part.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Reading {
    /// Adds what was selected of `bytes`, without copying it.
    pub(super) fn share(&mut self, bytes: &Arc<Vec<u8>>, selection: Selection) {
        self.count(&selection);
        self.pieces.extend(selection.runs.into_iter().map(|run| Piece {
            bytes: Arc::clone(bytes),
            start: run.start,
            end: run.end,
        }));
    }

    /// Adds what was selected of `bytes` as a piece of its own: it is small, or in small parts.
    pub(super) fn copy(&mut self, bytes: &[u8], selection: &Selection) {
        if selection.runs.is_empty() {
            return;
        }
        let mut copy = Vec::with_capacity(selection.bytes as usize);
        for run in &selection.runs {
            copy.extend_from_slice(
                bytes.get(run.start as usize..run.end as usize).unwrap_or_default(),
            );
        }
        self.count(selection);
        self.pieces.push(Piece { bytes: Arc::new(copy), start: 0, end: selection.bytes });
    }

    /// Takes the comma off the end.
    pub(super) fn finish(&mut self) {
        if let Some(last) = self.pieces.last_mut() {
            last.end -= 1;
            self.bytes -= 1;
        }
    }

    fn count(&mut self, selection: &Selection) {
        self.messages += selection.messages;
        self.bytes += selection.bytes as usize;
    }
}
