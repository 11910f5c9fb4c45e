//! Who an event of the poll is for, packed into its token.
//!
//! Invariant: a connection's token carries its generation, so that a stale event misses.

use crate::broker::ConnKey;
use mio::Token;

const _: () = assert!(usize::BITS == 64, "a token holds an index and a generation");

/// Index that no connection has: the shard's slots are dense, and descriptors run out before.
const OURS: u32 = u32::MAX;

/// The receiver of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The inbox.
    Wake,
    /// A listener of this loop, by its place.
    Listener(u32),
    /// A connection.
    Connection(ConnKey),
}

impl Target {
    /// The token to register with.
    pub(super) const fn token(self) -> Token {
        let (index, generation) = match self {
            Self::Wake => (OURS, 0),
            Self::Listener(place) => (OURS, place + 1),
            Self::Connection(key) => (key.index, key.generation),
        };
        Token(index as usize | (generation as usize) << 32)
    }

    /// The receiver that was registered with `token`.
    pub(super) const fn of(token: Token) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "each half by itself")]
        let (index, generation) = (token.0 as u32, (token.0 >> 32) as u32);
        match (index, generation) {
            (OURS, 0) => Self::Wake,
            (OURS, place) => Self::Listener(place - 1),
            (index, generation) => Self::Connection(ConnKey { index, generation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_receiver() {
        let key = |index, generation| Target::Connection(ConnKey { index, generation });
        for target in [
            Target::Wake,
            Target::Listener(0),
            Target::Listener(7),
            key(0, 0),
            key(0, u32::MAX),
            key(u32::MAX - 1, 0),
            key(u32::MAX - 1, u32::MAX),
        ] {
            assert_eq!(Target::of(target.token()), target);
        }
    }
}
