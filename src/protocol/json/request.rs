//! What a native client can ask, as types. Valid by existing: names, ids and numbers were checked.
//!
//! Not here: whether the user may, whether the room exists, how large content may be there
//! (`engine`). Invariant: what is only passed on is kept as the JSON it came as.

use crate::broker::{Overflow, Position, PresenceMode, ReceiptStatus, RoomOptions, Status};
use crate::limits::REQUEST_ID_BYTES_MAX;
use std::borrow::Cow;

/// One request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request<'a> {
    /// The name that the client gave it, which its reply echoes.
    pub id: Option<RequestId<'a>>,
    /// What it wants.
    pub ask: Ask<'a>,
}

/// A request's id as the JSON it came as: a string with its quotes, or a number. Echoed as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId<'a>(&'a str);

impl<'a> RequestId<'a> {
    /// Longest [`Self::json`]: the quotes of a string don't count towards its limit.
    pub const JSON_BYTES_MAX: usize = REQUEST_ID_BYTES_MAX + 2;

    /// Takes an id back that was taken apart to cross loops; `json` is from [`Self::json`].
    pub const fn of_json(json: &'a str) -> Self {
        debug_assert!(json.len() <= Self::JSON_BYTES_MAX);
        Self(json)
    }

    /// The id as JSON.
    pub const fn json(self) -> &'a str {
        self.0
    }
}

/// What a client wants. Content is the raw text of one JSON value.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask<'a> {
    /// Agree on how to go on, and resume a session.
    Hello(Box<Hello<'a>>),
    /// Say who one is.
    Auth {
        /// The proof.
        token: Cow<'a, str>,
    },
    /// Say so again, before the last token expires.
    Refresh {
        /// The proof.
        token: Cow<'a, str>,
    },
    /// Become a member.
    Join {
        /// The room's name.
        room: Cow<'a, str>,
        /// The last message that the client knows.
        since: Option<Position>,
        /// How many of the latest messages it wants.
        history: Option<u32>,
        /// Whether it wants to know who else is there.
        presence: Option<bool>,
        /// Whether it wants its own messages.
        echo: Option<bool>,
    },
    /// Be no member any more.
    Leave {
        /// The room's name.
        room: Cow<'a, str>,
    },
    /// Create a room.
    Create {
        /// The room's name.
        room: Cow<'a, str>,
        /// What it is to be like.
        options: Created,
    },
    /// Send to a room's members.
    Publish {
        /// The room's name.
        room: Cow<'a, str>,
        /// The message.
        content: &'a str,
        /// What the message is the latest value of.
        key: Option<Cow<'a, str>>,
        /// By what a repeat is recognised.
        dedupe: Option<Cow<'a, str>>,
    },
    /// Send to one user.
    Direct {
        /// The user's id.
        user: Cow<'a, str>,
        /// The message.
        content: &'a str,
    },
    /// Send to everyone.
    Broadcast {
        /// The message.
        content: &'a str,
        /// Whether the sender gets it too.
        echo: Option<bool>,
    },
    /// Say that one is typing, or has stopped.
    Typing {
        /// The room's name.
        room: Cow<'a, str>,
        /// Whether one is.
        is_typing: bool,
    },
    /// Say what became of a message.
    Receipt {
        /// The room's name.
        room: Cow<'a, str>,
        /// The message.
        seq: u64,
        /// What became of it.
        status: ReceiptStatus,
    },
    /// Say whether one is there.
    Presence {
        /// Whether one is.
        status: Status,
        /// What else others may know, as JSON.
        info: Option<&'a str>,
    },
    /// What is known of a room.
    Room {
        /// The room's name.
        room: Cow<'a, str>,
    },
    /// The rooms there are.
    Rooms {
        /// How their names begin.
        prefix: Option<Cow<'a, str>>,
        /// How many.
        limit: Option<u32>,
        /// The name after which to go on.
        after: Option<Cow<'a, str>>,
    },
    /// A room's members.
    Members {
        /// The room's name.
        room: Cow<'a, str>,
        /// How many.
        limit: Option<u32>,
        /// The user id after which to go on.
        after: Option<Cow<'a, str>>,
    },
    /// A room's past.
    History {
        /// The room's name.
        room: Cow<'a, str>,
        /// How many messages.
        limit: Option<u32>,
        /// Only those before that `seq`.
        before: Option<u64>,
        /// Only those after that position.
        since: Option<Position>,
    },
    /// Who is there at all.
    OnlineUsers {
        /// How many.
        limit: Option<u32>,
        /// The user id after which to go on.
        after: Option<Cow<'a, str>>,
    },
    /// A sign of life, to be answered.
    Ping,
    /// A sign of life of clients that have a heartbeat of their own.
    Heartbeat,
}

/// How a client wants to go on.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hello<'a> {
    /// Whether it takes messages in batches.
    pub batch: Option<bool>,
    /// Whether it wants heartbeats as messages.
    pub heartbeat: Option<bool>,
    /// Whether it wants to know which users come and go.
    pub presence: Option<bool>,
    /// The session to resume: 32 hexadecimal digits.
    pub session: Option<Cow<'a, str>>,
    /// The last message it knows of each room. A room named twice is there twice.
    pub positions: Vec<(Cow<'a, str>, Position)>,
}

/// What a client may choose of a room that it creates; what it does not say stays as configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Created {
    /// `historyMessages`: messages kept.
    pub history_messages: Option<u32>,
    /// `presence`: what members are told of each other.
    pub presence: Option<PresenceMode>,
    /// `overflow`: what happens when a member's outbox is full.
    pub overflow: Option<Overflow>,
    /// `lastValue`: whether a newcomer gets the latest message without asking.
    pub last_value: Option<bool>,
    /// `echo`: whether members get their own messages, where they don't say.
    pub echo: Option<bool>,
}

impl Created {
    /// The options of a room that is created with these wishes, over those of its pattern. A
    /// history can be made shorter and no longer.
    pub fn over(&self, options: RoomOptions) -> RoomOptions {
        let mut over = options;
        over.overflow = self.overflow.unwrap_or(options.overflow);
        over.last_value = self.last_value.unwrap_or(options.last_value);
        over.echo = self.echo.unwrap_or(options.echo);
        over.presence.mode = self.presence.unwrap_or(options.presence.mode);
        let kept_max = options.history.messages_max;
        over.history.messages_max = self.history_messages.map_or(kept_max, |n| n.min(kept_max));
        over
    }
}

const _: () = assert!(size_of::<Request<'_>>() <= 144, "a request is moved, not boxed");
