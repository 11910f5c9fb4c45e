//! What a room keeps beside its members: its history, who is there, which messages were repeats,
//! and what waits to be sent in a batch.
//!
//! Not here: the room's numbers and its life (`homes`), who is told (`told`). Made when first
//! needed, so that a room without any of it costs nothing for it. Invariant: the messages that wait
//! for a batch are the room's last ones, without holes.

use crate::broker::{Dedupe, History, Presence};

/// One room's past and present.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) history: History,
    pub(crate) presence: Option<Box<Presence>>,
    pub(crate) dedupe: Dedupe,
    pub(crate) draft: Draft,
    /// A notice of who came and went is due at some time.
    pub(crate) diff_due: bool,
}

impl Past {
    /// Whether there is nothing in it that a room without members needs.
    pub(crate) fn is_bare(&self) -> bool {
        self.history.is_empty()
            && self.presence.as_ref().is_none_or(|presence| presence.users() == 0)
            && self.dedupe.is_empty()
            && !self.draft.is_due
            && !self.diff_due
    }
}

/// Messages that wait for a batch, as their JSON, with a comma between any two.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) items: Vec<u8>,
    pub(crate) messages: u32,
    /// Where the last message begins.
    last_from: usize,
    /// It is due at some time, and not at the end of this tick.
    pub(crate) is_due: bool,
}

impl Draft {
    /// Adds a message.
    pub(crate) fn push(&mut self, item: &[u8]) {
        if self.messages > 0 {
            self.items.push(b',');
        }
        self.last_from = self.items.len();
        self.items.extend_from_slice(item);
        self.messages += 1;
    }

    /// Takes the last message out, unless it is the only one.
    pub(crate) fn take_last(&mut self) -> Option<Vec<u8>> {
        if self.messages < 2 {
            return None;
        }
        let last = self.items.split_off(self.last_from);
        self.items.truncate(self.last_from - 1); // The comma before it.
        self.messages -= 1;
        Some(last)
    }

    /// Forgets what was sent, and keeps what it needs again.
    pub(crate) fn clear(&mut self, bytes_kept: usize) {
        self.items.clear();
        self.items.shrink_to(bytes_kept);
        self.messages = 0;
    }
}
