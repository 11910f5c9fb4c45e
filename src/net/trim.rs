//! Lets the allocator give back what a crowd has left behind.
//!
//! It keeps freed memory for a second in case it is needed again, and looks through what it keeps
//! only after so many allocations: a loop that has become idle would hold a crowd's memory for good
//! (`docs/decisions/0005-mimalloc-without-huge-pages.md`). So some time after many have left, the
//! loop makes that many. Not here: what is freed when a connection ends.

use std::hint::black_box;

/// Connections that leave before it is worth while.
const CROWD: usize = 512;
/// Longer than the allocator keeps what is free, which is a second.
const DELAY_MS: u64 = 1_500;
/// Allocations after which mimalloc looks (its option `generic_collect`, 10,000), and some more.
const PIECES: usize = 10_500;
/// Large enough to be counted by it: what is below 1 KiB is not.
const PIECE_BYTES: usize = 2 * 1024;

/// One loop's connections since it last did so.
#[derive(Debug, Default)]
pub(super) struct Trim {
    most: usize,
    due_ms: Option<u64>,
}

impl Trim {
    /// Looks at how many connections there are. Once a tick.
    pub(super) fn handle_tick(&mut self, connections: usize, now_ms: u64) {
        self.most = self.most.max(connections);
        if self.most - connections >= CROWD {
            self.most = connections;
            self.due_ms = Some(now_ms + DELAY_MS);
        } else if self.due_ms.is_some_and(|due| due <= now_ms) {
            self.due_ms = None;
            // Half a millisecond, once for a crowd.
            for _ in 0..PIECES {
                drop(black_box(Vec::<u8>::with_capacity(PIECE_BYTES)));
            }
        }
    }

    /// Notes that memory was given up which somebody waits for.
    pub(super) fn handle_relief(&mut self, now_ms: u64) {
        self.due_ms.get_or_insert(now_ms + DELAY_MS);
    }

    /// Milliseconds until it wants a tick.
    pub(super) fn poll_timeout(&self, now_ms: u64) -> Option<u64> {
        self.due_ms.map(|due| due.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_after_many_have_left_and_never_after_few() {
        let mut trim = Trim::default();
        for (connections, now_ms, wait_ms) in [
            (0, 0, None),
            (1_000, 10, None),
            (1_000 - CROWD + 1, 20, None),
            (1_000 - CROWD, 30, Some(DELAY_MS)),
            (0, 1_000, Some(DELAY_MS + 30 - 1_000)),
            (0, DELAY_MS + 30, None),
            (0, 100_000, None),
        ] {
            trim.handle_tick(connections, now_ms);
            assert_eq!(trim.poll_timeout(now_ms), wait_ms, "{connections} at {now_ms}");
        }
    }
}
