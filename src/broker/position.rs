//! A place in a room's order: what a member names to get what it missed.

use std::fmt;

/// The life of a room and a `seq` in it; `seq` 0 is before the first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The room's epoch.
    pub epoch: u64,
    /// The last message that is known.
    pub seq: u64,
}

/// Why a position can't be gone on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unrecoverable {
    /// The room has had another life since.
    Epoch,
    /// The room has not come that far.
    Ahead,
    /// The history no longer reaches back that far.
    Evicted,
}

/// An epoch as it is written on every wire: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochText(pub u64);

impl Unrecoverable {
    /// Stable word, as in `reason` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Ahead => "ahead",
            Self::Evicted => "evicted",
        }
    }
}

impl EpochText {
    /// Reads an epoch as written by [`fmt::Display`].
    pub fn parse(raw: &str) -> Option<u64> {
        let hex = raw.len() == 16 && raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| u64::from_str_radix(raw, 16).ok()).flatten()
    }
}

impl fmt::Display for EpochText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_read_back_as_written() {
        for epoch in [0, 1, 0xf00d, u64::MAX] {
            assert_eq!(EpochText::parse(&EpochText(epoch).to_string()), Some(epoch));
        }
        for bad in ["", "f00d", "000000000000F00D", "+00000000000f00d", "0000000000000f00d"] {
            assert_eq!(EpochText::parse(bad), None, "{bad}");
        }
    }
}
