//! Bytes in, batches across, bytes out; and what the shard wants done to its sockets.
//!
//! Not here: the system calls themselves (`socket`). Invariants: a connection is read at most
//! [`READS_PER_TICK_MAX`] times a tick and not while the shard wants a pause, all of them together
//! for hardly more than [`READ_BYTES_PER_TICK_MAX`]; at most
//! [`WRITES_PER_SLICE_MAX`] connections are written between two polls, each by one call.

use super::event_loop::EventLoop;
use super::peer::Sent;
use super::socket::{Input, Output, read_once, write_once};
use super::token::Target;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::engine::{Action, Appetite, Progress};
use crate::limits::{
    READ_BYTES_PER_TICK_MAX, READ_SHARE_BYTES_MIN, READS_PER_TICK_MAX, WRITES_PER_SLICE_MAX,
    WRITEV_SLICES_MAX,
};
use std::io::IoSlice;

impl EventLoop {
    /// Reads the connections of the ready list once around, as far as the tick's bytes go; what is
    /// left queues again.
    pub(super) fn read_ready(&mut self, now: Now) {
        self.read_round(READ_BYTES_PER_TICK_MAX, now);
    }

    /// Reads every connection of the ready list, however much that is.
    pub(super) fn read_all_ready(&mut self, now: Now) {
        self.read_round(usize::MAX, now);
    }

    fn read_round(&mut self, mut left: usize, now: Now) {
        let turns = self.ready.len();
        let share = (left / turns.max(1)).max(READ_SHARE_BYTES_MIN);
        for _ in 0..turns {
            if left == 0 {
                return;
            }
            let Some(key) = self.ready.pop_front() else { return };
            let Some(entry) = self.sockets.get_mut(key) else { continue };
            entry.handle_taken();
            left = left.saturating_sub(self.read(key, share, now));
            if self.sockets.get_mut(key).is_some_and(|entry| entry.wants_queueing()) {
                self.ready.push_back(key);
            }
        }
    }

    /// Reads a connection for its turn of at most `share` bytes; how many there were.
    fn read(&mut self, key: ConnKey, share: usize, now: Now) -> usize {
        let mut taken = 0;
        for _ in 0..READS_PER_TICK_MAX {
            // Looked up each time: the shard may have closed it over the last bytes.
            let Some(entry) = self.sockets.get_mut(key) else { return taken };
            if entry.paused || !entry.side.is_ready() || taken >= share {
                return taken;
            }
            let most = self.buffer.len().min(share - taken);
            let buffer = self.buffer.get_mut(..most).unwrap_or_default();
            let input = read_once(&mut entry.socket, buffer, &mut entry.side);
            self.shard.counters_mut().reads += 1;
            match input {
                Input::Bytes(count) => {
                    taken += count;
                    let bytes = self.buffer.get_mut(..count).unwrap_or_default();
                    let appetite = self.shard.handle_bytes(key, bytes, now);
                    // Before the actions: one of them may be to resume.
                    entry.paused = appetite == Appetite::Pause;
                }
                Input::Blocked => return taken,
                Input::Eof => self.shard.handle_eof(key, now),
                Input::Failed => self.shard.handle_error(key, now),
            }
            self.act();
        }
        taken
    }

    /// Hands this tick's batches to the other loops, with one wake-up each.
    pub(super) fn send_batches(&mut self) {
        while let Some((to, batch)) = self.shard.poll_batch() {
            let Some(peer) = self.shared.peers.get(to.index()) else {
                debug_assert!(false, "a batch for loop {to}, which does not exist");
                continue;
            };
            match peer.send_batch(batch) {
                Ok(sent) => self.shard.counters_mut().wakes += u64::from(sent == Sent::Woke),
                Err(batch) => {
                    self.shard.handle_refused_batch(to, *batch);
                }
            }
        }
    }

    /// Writes a slice of the connections that have output, in the shard's order.
    pub(super) fn write_dirty(&mut self, now: Now) {
        for _ in 0..WRITES_PER_SLICE_MAX {
            let Some(key) = self.shard.poll_dirty() else { return };
            self.write(key, now);
            self.act();
        }
    }

    fn write(&mut self, key: ConnKey, now: Now) {
        let Some(entry) = self.sockets.get_mut(key) else {
            debug_assert!(false, "slot {} has output and no socket", key.index);
            return;
        };
        let output = match self.shard.output_whole(key) {
            Some(bytes) => write_once(&mut entry.socket, &[IoSlice::new(bytes)]),
            None => {
                let mut slices = [IoSlice::new(&[]); WRITEV_SLICES_MAX];
                let count = self.shard.output(key, &mut slices);
                write_once(&mut entry.socket, slices.get(..count).unwrap_or_default())
            }
        };
        self.shard.counters_mut().writes += 1;
        match output {
            Output::Taken(bytes, progress) => {
                entry.blocked = progress == Progress::Blocked;
                let is_first = entry.blocked && !entry.watches_writes;
                entry.watches_writes |= entry.blocked;
                let token = Target::Connection(key).token();
                if is_first && entry.socket.watch_writes(self.poll.registry(), token).is_err() {
                    return self.shard.handle_error(key, now); // No memory left for the watch.
                }
                self.shard.handle_written(key, bytes, progress, now);
            }
            Output::Failed => self.shard.handle_error(key, now),
        }
    }

    /// Carries out what the shard wants done to its sockets.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.shard.poll_action() {
            match action {
                Action::Resume(key) => self.resume(key),
                Action::Shutdown(key) => self.shutdown(key),
                Action::Close { key, reason, code } => self.close(key, reason, code),
            }
        }
    }

    fn resume(&mut self, key: ConnKey) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.paused = false;
        if entry.wants_queueing() {
            self.ready.push_back(key);
        }
    }

    fn shutdown(&mut self, key: ConnKey) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        // It fails when the peer is gone already; the edge that tells us so is on its way.
        drop(entry.socket.shutdown_write());
    }

    fn close(&mut self, key: ConnKey, reason: Disconnect, code: Option<u16>) {
        let Some(entry) = self.sockets.remove(key) else { return };
        self.free(entry.seat);
        drop(entry); // Closes the descriptor, and with it the poll's interest.
        self.log.closed(key, reason, code);
    }
}
