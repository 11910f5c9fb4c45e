//! What a native connection asks of a home, beside publishing: owned, so that it may cross loops.
//!
//! Not here: what homes do with it (`answers`), how it came in (`native`). Messages have a way of
//! their own (`HomeCommand::Say`), as they are what there is most of.

use super::batch::Say;
use super::sessions::SessionAsk;
use super::told::Notice;
use crate::broker::{
    ConnKey, Encoding, Position, ReceiptStatus, RoomHandle, RoomName, Status, User,
};
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
    /// To the home of the asker's user: the connection is there.
    Online,
    /// The same: it is no longer there.
    Offline,
    /// To the home of the asker's user: what that says of being there.
    Status {
        status: Status,
        info: Option<Box<str>>,
    },
    /// To the home of a room that the asker is in: the same.
    StatusIn {
        room: RoomHandle,
        status: Status,
    },
    /// The connection wants to be told of all users at that home; its join has that ticket.
    Watch {
        encoding: Encoding,
        ticket: u32,
    },
    /// To the home of a user.
    Tell(Tell),
    /// To the home of a room.
    Notify {
        name: RoomName,
        hash: u64,
        /// The notice's JSON.
        text: Box<[u8]>,
    },
    /// To the home of a session.
    Session(SessionAsk),
}

/// Something for all connections of a user.
#[derive(Clone, Debug)]
pub(crate) struct Tell {
    pub(crate) to: Box<str>,
    /// The notice's JSON.
    pub(crate) text: Box<[u8]>,
    pub(crate) notice: Notice,
    pub(crate) told: Told,
}

/// Who is told how many connections something went to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Nobody,
    /// A native connection.
    Native,
    /// An HTTP request.
    Request,
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
    /// Whether it may read what the room keeps: its latest message too.
    pub(crate) may_read: bool,
    /// Whether the room may be created for it.
    pub(crate) may_create: bool,
}

impl Asked {
    /// Bytes that it brings along, for the credit and the inbox.
    pub(crate) fn bytes(&self) -> usize {
        let brought = match &self.what {
            What::Tell(tell) => tell.to.len() + tell.text.len(),
            What::Notify { text, .. } => text.len(),
            What::Status { info, .. } => info.as_ref().map_or(0, |info| info.len()),
            What::Session(ask) => ask.bytes(),
            What::Join(_)
            | What::Leave { .. }
            | What::Create { .. }
            | What::Typing { .. }
            | What::Receipt { .. }
            | What::Info { .. }
            | What::Members { .. }
            | What::History { .. }
            | What::Online
            | What::Offline
            | What::StatusIn { .. }
            | What::Watch { .. } => 0,
        };
        size_of::<Self>() + self.id.as_ref().map_or(0, |id| id.len()) + brought
    }

    /// The bytes of credit that it takes; leaves take none, nor do sessions and users that come and
    /// go, of which each connection has one.
    pub(crate) fn spends(&self) -> Option<usize> {
        match self.what {
            What::Leave { .. } | What::Online | What::Offline | What::Session(_) => None,
            What::Join(_)
            | What::Create { .. }
            | What::Typing { .. }
            | What::Receipt { .. }
            | What::Info { .. }
            | What::Members { .. }
            | What::History { .. }
            | What::Status { .. }
            | What::StatusIn { .. }
            | What::Watch { .. }
            | What::Tell(_)
            | What::Notify { .. } => Some(self.bytes()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::SessionId;

    #[test]
    fn a_connection_that_begins_spends_no_credit_as_it_does_not_wait_for_any() {
        let user = Arc::new(User::guest(1));
        let key = ConnKey { index: 0, generation: 0 };
        for what in [What::Online, What::Session(SessionAsk::Begin(SessionId(1)))] {
            let asked = Asked { key, id: None, user: Arc::clone(&user), tag: 0, what };
            assert_eq!(asked.spends(), None, "{asked:?}");
        }
    }
}
