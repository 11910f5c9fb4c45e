//! Bytes that came before their message was complete, in a list of segments.
//!
//! Not here: when a message is complete, and how large it may be. Invariants: what is held exceeds
//! what was pushed by at most [`SPILL_SLACK_BYTES`] and the list itself (24 bytes a segment, of at
//! least that many bytes each; the list may double); nothing pushed is ever moved before the end,
//! so appending is O(what is appended).

use crate::limits::SPILL_SLACK_BYTES;

/// Bytes of an unfinished body or message. Empty, it owns no memory.
#[derive(Default, Debug)]
pub struct Spill {
    segments: Vec<Vec<u8>>,
    len: usize,
    segments_bytes: usize,
}

impl Spill {
    /// An empty one, without an allocation.
    pub const fn new() -> Self {
        Self { segments: Vec::new(), len: 0, segments_bytes: 0 }
    }

    /// Appends `bytes`: first into the slack of the last segment, the rest into a new one.
    pub fn push(&mut self, bytes: &[u8]) {
        let slack = self.segments.last().map_or(0, |last| last.capacity() - last.len());
        let (fits, rest) = bytes.split_at(slack.min(bytes.len()));
        if let Some(last) = self.segments.last_mut() {
            last.extend_from_slice(fits);
        }
        if !rest.is_empty() {
            let mut segment = Vec::with_capacity(rest.len().max(SPILL_SLACK_BYTES));
            segment.extend_from_slice(rest);
            self.segments_bytes += segment.capacity();
            self.segments.push(segment);
        }
        self.len += bytes.len();
    }

    /// Bytes pushed so far.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory kept for it, by capacity.
    pub const fn held_bytes(&self) -> usize {
        self.segments_bytes + self.segments.capacity() * size_of::<Vec<u8>>()
    }

    /// All that was pushed, in one piece: a single segment as it is, several in one allocation of
    /// exactly their length.
    pub fn take(mut self) -> Vec<u8> {
        match self.segments.as_mut_slice() {
            [] => Vec::new(),
            [only] => std::mem::take(only),
            several => {
                let mut whole = Vec::with_capacity(self.len);
                for segment in several {
                    whole.append(segment);
                }
                whole
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by_counting(spill: &Spill) -> usize {
        let segments: usize = spill.segments.iter().map(Vec::capacity).sum();
        segments + spill.segments.capacity() * size_of::<Vec<u8>>()
    }

    #[test]
    fn an_empty_spill_owns_nothing_and_gives_nothing() {
        let mut spill = Spill::new();
        spill.push(b"");
        assert!(spill.is_empty());
        assert_eq!(spill.held_bytes(), 0);
        assert_eq!(spill.take().capacity(), 0);
    }

    #[test]
    fn one_segment_is_handed_out_where_it_lies() {
        let mut spill = Spill::new();
        spill.push(&[7; 100]);
        spill.push(&[8; 100]);
        let place = spill.segments[0].as_ptr();
        let whole = spill.take();
        assert_eq!(whole.as_ptr(), place);
        assert_eq!((whole.len(), whole[99], whole[100]), (200, 7, 8));
    }

    #[test]
    fn several_segments_are_joined_in_an_exact_allocation() {
        let mut spill = Spill::new();
        for byte in 0..5 {
            spill.push(&[byte; 3_000]);
        }
        let whole = spill.take();
        assert_eq!((whole.len(), whole.capacity()), (15_000, 15_000));
        assert!(whole.iter().enumerate().all(|(at, &byte)| usize::from(byte) == at / 3_000));
    }

    #[test]
    fn any_pushes_come_out_in_order_within_the_slack() {
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut spill, mut reference) = (Spill::new(), Vec::new());
            for _ in 0..dice.usize(0..60) {
                let longest = [3, 200, 6_000, 70_000][dice.usize(0..4)];
                let bytes: Vec<u8> = (0..dice.usize(0..longest)).map(|_| dice.u8(..)).collect();
                spill.push(&bytes);
                reference.extend_from_slice(&bytes);
                let list = spill.segments.capacity() * size_of::<Vec<u8>>();
                assert_eq!(spill.held_bytes(), held_by_counting(&spill), "seed {seed}");
                assert!(
                    spill.held_bytes() <= spill.len() + SPILL_SLACK_BYTES + list,
                    "seed {seed}: {} held for {}",
                    spill.held_bytes(),
                    spill.len()
                );
                assert!(list <= 48 * (spill.len() / SPILL_SLACK_BYTES + 2), "seed {seed}");
            }
            assert_eq!(spill.len(), reference.len(), "seed {seed}");
            assert_eq!(spill.take(), reference, "seed {seed}");
        }
    }
}
