//! What a native connection asks of a home, beside publishing: owned, so that it may cross loops.
//!
//! Not here: what homes do with it (`answers`), how it came in (`native`). Messages have a way of
//! their own (`HomeCommand::Say`), as they are what there is most of.

use super::batch::Say;
use super::sessions::SessionAsk;
use crate::broker::{ConnKey, Encoding, Position, ReceiptStatus, RoomHandle, RoomName, User};
use crate::protocol::json::Created;
use std::sync::Arc;

/// A request to a home, and who waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: ConnKey,
    /// The request's id, as the JSON it came as.
    pub(crate) id: Option<Box<str>>,
    pub(crate) user: Arc<User>,
    /// Tells the session's own messages from others.
    pub(crate) tag: u64,
    pub(crate) what: What,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Join(Join),
    /// The member has left its loop's table already. Without `answer` its connection has ended.
    Leave {
        room: RoomHandle,
        encoding: Encoding,
        answer: bool,
    },
    Create {
        name: RoomName,
        hash: u64,
        options: Created,
    },
    Typing {
        room: RoomHandle,
        is_typing: bool,
    },
    Receipt {
        room: RoomHandle,
        seq: u64,
        status: ReceiptStatus,
    },
    Info {
        name: RoomName,
        hash: u64,
    },
    Members {
        room: RoomHandle,
        after: Option<Box<str>>,
        limit: u32,
    },
    History {
        room: RoomHandle,
        limit: u32,
        before: Option<u64>,
        since: Option<Position>,
    },
    Session(SessionAsk),
}

/// A join, or another one by who is a member already.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) name: RoomName,
    pub(crate) hash: u64,
    pub(crate) encoding: Encoding,
    /// Tells the answer from that of an earlier join; none where it is a member already.
    pub(crate) ticket: Option<u32>,
    pub(crate) since: Option<Position>,
    /// Newest messages asked for.
    pub(crate) history: u32,
    pub(crate) presence: bool,
    pub(crate) echo: Option<bool>,
}

impl Asked {
    /// Bytes that it brings along, for the credit and the inbox.
    pub(crate) fn bytes(&self) -> usize {
        let left = if let What::Session(ask) = &self.what { ask.bytes() } else { 0 };
        size_of::<Self>() + self.id.as_ref().map_or(0, |id| id.len()) + left
    }

    /// The bytes of credit that it takes; leaves take none, and sessions, of which each connection
    /// has one.
    pub(crate) fn spends(&self) -> Option<usize> {
        match self.what {
            What::Leave { .. } | What::Session(_) => None,
            What::Join(_)
            | What::Create { .. }
            | What::Typing { .. }
            | What::Receipt { .. }
            | What::Info { .. }
            | What::Members { .. }
            | What::History { .. } => Some(self.bytes()),
        }
    }
}

/// A message of a native member on its way to its home: what is not its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    /// The sender, as the JSON that goes into each message.
    pub(crate) sender: &'a [u8],
    /// The request's id, as JSON; empty for none.
    pub(crate) id: &'a [u8],
    /// The key under which a repeat is recognised; empty for none.
    pub(crate) dedupe: &'a [u8],
}

impl Words<'_> {
    pub(crate) const fn len(&self) -> usize {
        self.sender.len() + self.id.len() + self.dedupe.len()
    }

    /// Appends all of them.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        for word in [self.sender, self.id, self.dedupe] {
            out.extend_from_slice(word);
        }
    }

    /// How long each is, to be told apart again.
    pub(crate) fn lengths(&self) -> [u16; 3] {
        [self.sender, self.id, self.dedupe].map(|word| u16::try_from(word.len()).unwrap_or(0))
    }
}

impl Say {
    /// Parts the words again that were appended one after the other.
    pub(crate) fn words<'a>(&self, bytes: &'a [u8]) -> Words<'a> {
        let [sender, id, _] = self.lengths.map(usize::from);
        let (sender, rest) = bytes.split_at_checked(sender).unwrap_or_default();
        let (id, dedupe) = rest.split_at_checked(id).unwrap_or_default();
        Words { sender, id, dedupe }
    }
}
