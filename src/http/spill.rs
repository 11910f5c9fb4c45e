//! Bytes of something unfinished: what arrived so far, in segments that are never moved.
//!
//! Not here: what the bytes mean, or how many there may be. Invariant: the segments hold at most
//! what was pushed and one [`SPILL_SLACK_BYTES`] more, however small the pieces were.

use crate::limits::SPILL_SLACK_BYTES;

/// A growing run of bytes that costs what was pushed plus a constant.
#[derive(Debug, Default)]
pub struct Spill {
    segments: Vec<Vec<u8>>,
    len: usize,
    capacity: usize,
}

impl Spill {
    /// An empty spill, which holds no memory.
    pub const fn new() -> Self {
        Self { segments: Vec::new(), len: 0, capacity: 0 }
    }

    /// Appends `bytes`: into the last segment's slack first, the rest into a new segment.
    pub fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        let mut rest = bytes;
        if let Some(last) = self.segments.last_mut() {
            let slack = last.capacity() - last.len();
            let (fits, beyond) = rest.split_at(slack.min(rest.len()));
            last.extend_from_slice(fits);
            rest = beyond;
        }
        if !rest.is_empty() {
            let mut segment = Vec::with_capacity(rest.len().max(SPILL_SLACK_BYTES));
            segment.extend_from_slice(rest);
            self.capacity += segment.capacity();
            self.segments.push(segment);
        }
    }

    /// Bytes pushed so far.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held, for accounting.
    pub const fn held_bytes(&self) -> usize {
        self.capacity + self.segments.capacity() * size_of::<Vec<u8>>()
    }

    /// Everything that was pushed: the only segment as it is, several in one exact allocation.
    pub fn take(mut self) -> Vec<u8> {
        match self.segments.pop() {
            Some(only) if self.segments.is_empty() => only,
            Some(last) => {
                self.segments.push(last);
                self.segments.concat()
            }
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_out_whatever_the_pieces() {
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut spill, mut pushed) = (Spill::new(), Vec::new());
            for _ in 0..dice.usize(..40) {
                let piece = vec![dice.u8(..); dice.usize(..3 * SPILL_SLACK_BYTES)];
                spill.push(&piece);
                pushed.extend(piece);
            }
            assert_eq!(spill.len(), pushed.len(), "seed {seed}");
            assert_eq!(spill.take(), pushed, "seed {seed}");
        }
    }

    #[test]
    fn tiny_pieces_cost_what_they_hold_plus_one_slack() {
        let mut spill = Spill::new();
        for pushed in 1..=300_000_usize {
            spill.push(b"x");
            let bound = pushed + pushed / 64 + SPILL_SLACK_BYTES + 128;
            assert!(spill.held_bytes() <= bound, "{} after {pushed}", spill.held_bytes());
        }
    }

    #[test]
    fn an_empty_spill_holds_nothing() {
        let mut spill = Spill::new();
        spill.push(b"");
        assert_eq!((spill.held_bytes(), spill.is_empty(), spill.take()), (0, true, Vec::new()));
    }
}
